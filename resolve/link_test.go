package resolve_test

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"viaduct/fault"
	"viaduct/resolve"
)

// serveTLS makes the stage a server of DNS over TLS.
func (s *stage) serveTLS(t testing.TB, ca authority) *guests {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	s.addr = l.Addr().String()
	g := &guests{Listener: l}
	s.serve(t, &dns.Server{Listener: tls.NewListener(g, ca.config()), Handler: s})
	return g
}

// guests counts the connections of a listener.
type guests struct {
	net.Listener
	came atomic.Int64

	mu   sync.Mutex // guards list
	list []net.Conn
}

func (g *guests) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err == nil {
		g.came.Add(1)
		g.mu.Lock()
		g.list = append(g.list, c)
		g.mu.Unlock()
	}
	return c, err
}

// leave closes all connections.
func (g *guests) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.list {
		_ = c.Close()
	}
}

// What comes before the answer, and is none, is passed over.
func TestForgedAnswersArePassedOver(t *testing.T) {
	for name, forge := range map[string]func(p *play, m *dns.Msg){
		"number":   func(p *play, m *dns.Msg) { m.Id ^= 1; p.send(m) },
		"question": func(p *play, m *dns.Msg) { m.Question[0].Name = "other.test."; p.send(m) },
		"type":     func(p *play, m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX; p.send(m) },
		"class":    func(p *play, m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS; p.send(m) },
		"a query":  func(p *play, m *dns.Msg) { m.Response = false; p.send(m) },
		"opcode":   func(p *play, m *dns.Msg) { m.Opcode = dns.OpcodeNotify; p.send(m) },
		"no words": func(p *play, _ *dns.Msg) { _, _ = p.w.Write([]byte{1, 2, 3}) },
		"nothing":  func(p *play, _ *dns.Msg) { _, _ = p.w.Write(nil) },
		"two questions": func(p *play, m *dns.Msg) {
			m.Question = append(m.Question, m.Question[0])
			p.send(m)
		},
		"no question": func(p *play, m *dns.Msg) {
			m.Question = nil
			p.send(m)
		},
		"source": func(p *play, m *dns.Msg) {
			c, err := net.Dial("udp", p.w.RemoteAddr().String())
			if err != nil {
				return
			}
			defer c.Close()
			b, _ := m.Pack()
			_, _ = c.Write(b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(p *play) {
				bad := p.reply()
				rr, _ := dns.NewRR(p.name() + " 300 A 192.0.2.66")
				bad.Answer = []dns.RR{rr}
				bad.Question = slices.Clone(bad.Question)
				for range 10 {
					forge(p, bad.Copy())
				}
				p.answer("A 192.0.2.1", "AAAA ::1")
			})
			r := s.resolver(t, resolve.Options{Timeout: patience})
			want(t, r, "www.test", "::1", "192.0.2.1")
			if n := r.Stats().Failures; n != 0 {
				t.Errorf("%d failures", n)
			}
		})
	}
}

func TestTruncatedAnswerIsAskedForOverTCP(t *testing.T) {
	s := open(t, func(p *play) {
		if p.isTCP() {
			p.answer("A 192.0.2.1", "AAAA ::1")
			return
		}
		m := p.reply()
		m.Truncated = true
		rr, _ := dns.NewRR(p.name() + " 300 A 192.0.2.66")
		m.Answer = []dns.RR{rr}
		p.send(m)
	})
	want(t, s.resolver(t, resolve.Options{}), "www.test", "::1", "192.0.2.1")
}

// Truncated, over TCP too; then nobody can say.
func TestTruncatedOverTCPIsGarbage(t *testing.T) {
	s := open(t, func(p *play) {
		m := p.reply()
		m.Truncated = true
		p.send(m)
	})
	_, err := s.resolver(t, resolve.Options{}).Lookup(within(t), "www.test")
	if fault.Classify(err) != fault.DNSError || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("%v", err)
	}
}

func TestDatagramLongerThanAskedFor(t *testing.T) {
	s := open(t, func(p *play) {
		var list []string
		for i := range 100 {
			list = append(list, fmt.Sprintf("A 10.0.0.%d", i), fmt.Sprintf("AAAA 2001:db8::%d", i+1))
		}
		p.answer(list...)
	})
	got, err := s.resolver(t, resolve.Options{}).Lookup(within(t), "b.test")
	if err != nil || len(got) != 128 {
		t.Errorf("%d addresses, %v", len(got), err)
	}
}

func TestStreams(t *testing.T) {
	for _, scheme := range []string{"tcp", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			ca := issue(t, "127.0.0.1")
			s := newStage(t, func(p *play) { p.answer("A 192.0.2.1", "AAAA ::1") })
			g := s.serveStream(t, scheme, ca)
			r := s.resolver(t, resolve.Options{Servers: []string{scheme + "://" + s.addr}, RootCAs: ca.pool, Timeout: patience})
			for i := range 20 {
				want(t, r, name(i), "::1", "192.0.2.1")
			}
			if n := g.came.Load(); n > 2 {
				t.Errorf("%d connections for 20 lookups", n)
			}
			g.leave() // idle connections that are dead by now are no reason to fail
			want(t, r, "after.test", "::1", "192.0.2.1")
			if n := r.Stats().Failures; n != 0 {
				t.Errorf("%d failures", n)
			}
			r.Close()
			s.play(func(p *play) { p.rcode(dns.RcodeServerFailure) })
			r = s.resolver(t, resolve.Options{Servers: []string{scheme + "://" + s.addr}, RootCAs: ca.pool, Timeout: patience})
			before := g.came.Load()
			for i := range 20 {
				wantNone(t, r, name(i))
			}
			if n := g.came.Load() - before; n > 2 {
				t.Errorf("%d connections for 20 failures", n)
			}
		})
	}
}

func (s *stage) serveStream(t *testing.T, scheme string, ca authority) *guests {
	t.Helper()
	if scheme == "tls" {
		return s.serveTLS(t, ca)
	}
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	s.addr = l.Addr().String()
	g := &guests{Listener: l}
	s.serve(t, &dns.Server{Listener: g, Handler: s})
	return g
}

func TestWrongCertificateIsRefused(t *testing.T) {
	ours, others := issue(t, "127.0.0.1"), issue(t, "127.0.0.1")
	elsewhere := issue(t, "127.0.0.2", "dns.test")
	for _, tt := range []struct {
		name            string
		serving, trusts authority
	}{
		{"unknown authority", others, ours},
		{"other address", elsewhere, elsewhere},
	} {
		for _, scheme := range []string{"tls", "https"} {
			t.Run(tt.name+"/"+scheme, func(t *testing.T) {
				s := newStage(t, func(p *play) { p.answer("A 192.0.2.66") })
				s.serveTLS(t, tt.serving)
				r := s.resolver(t, resolve.Options{Servers: []string{scheme + "://" + s.addr}, RootCAs: tt.trusts.pool, Timeout: patience})
				_, err := r.Lookup(within(t), "a.test")
				if fault.Classify(err) != fault.DNSError || !strings.Contains(err.Error(), "x509") || s.count() != 0 {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// A server that takes a connection and then does as it likes.
func TestHostileStreams(t *testing.T) {
	for name, rude := range map[string]func(net.Conn, []byte){
		"says nothing":   func(c net.Conn, _ []byte) { _, _ = io.Copy(io.Discard, c) },
		"drips":          drip,
		"closes":         func(net.Conn, []byte) {},
		"resets":         func(c net.Conn, _ []byte) { _ = c.(*net.TCPConn).SetLinger(0) },
		"half a length":  func(c net.Conn, _ []byte) { _, _ = c.Write([]byte{1}) },
		"half an answer": func(c net.Conn, _ []byte) { _, _ = c.Write([]byte{0, 100, 1, 2, 3}) },
		"empty":          func(c net.Conn, _ []byte) { _, _ = c.Write([]byte{0, 0}) },
		"a header":       func(c net.Conn, q []byte) { _, _ = c.Write(append([]byte{0, 12}, q[2:14]...)) },
		"the query":      func(c net.Conn, q []byte) { _, _ = c.Write(q) },
		"zeros":          func(c net.Conn, _ []byte) { _, _ = c.Write(make([]byte, 1<<16)) },
		"http":           func(c net.Conn, _ []byte) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"other number": func(c net.Conn, q []byte) {
			q = slices.Clone(q)
			q[2] ^= 1
			q[4] |= 0x80
			_, _ = c.Write(q)
		},
	} {
		for _, scheme := range []string{"tcp", "tls", "https"} {
			t.Run(name+"/"+scheme, func(t *testing.T) {
				t.Parallel()
				addr := listen(t, rude)
				r := newResolver(t, resolve.Options{Servers: []string{scheme + "://" + addr}, Timeout: 300 * time.Millisecond})
				got, err := r.Lookup(within(t), "a.test")
				if k := fault.Classify(err); k != fault.DNSError && k != fault.DNSTimeout {
					t.Errorf("%v, %v", got, err)
				}
				noFlights(t, r)
			})
		}
	}
}

// drip sends an answer so slowly that it never ends.
func drip(c net.Conn, _ []byte) {
	for _, err := c.Write([]byte{1, 0}); err == nil; _, err = c.Write([]byte{0}) {
		time.Sleep(10 * time.Millisecond)
	}
}

// listen hands each connection, and what it said first, to a script.
func listen(t *testing.T, script func(net.Conn, []byte)) string {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	var conns sync.WaitGroup
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			conns.Go(func() {
				defer c.Close()
				b := make([]byte, 4<<10)
				if n, err := c.Read(b); err == nil {
					script(c, b[:n])
				}
			})
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended; conns.Wait() })
	return l.Addr().String()
}

// An answer as long as a message can be.
func TestHugeAnswerOverTCP(t *testing.T) {
	addr := listen(t, func(c net.Conn, q []byte) {
		m := new(dns.Msg)
		if err := m.Unpack(q[2:]); err != nil {
			return
		}
		r := new(dns.Msg).SetReply(m)
		r.Compress = true
		for i := range 4000 {
			rr, _ := dns.NewRR(fmt.Sprintf("%s 300 A 10.0.%d.%d", m.Question[0].Name, i/250, i%250))
			r.Answer = append(r.Answer, rr)
		}
		b, err := r.Pack()
		if err != nil {
			panic(err)
		}
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	})
	r := newResolver(t, resolve.Options{Servers: []string{"tcp://" + addr}, Timeout: patience})
	got, err := r.Lookup(within(t), "a.test")
	if err != nil || len(got) != 64 {
		t.Errorf("%d addresses, %v", len(got), err)
	}
}

// Questions that wait for a place are bounded, too.
func TestQueriesAtATimeAreBounded(t *testing.T) {
	var open, most atomic.Int64
	addr := listen(t, func(c net.Conn, _ []byte) {
		n := open.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		_, _ = io.Copy(io.Discard, c)
		open.Add(-1)
	})
	r := newResolver(t, resolve.Options{Servers: []string{"tcp://" + addr}, Timeout: 500 * time.Millisecond})
	var all sync.WaitGroup
	for i := range 600 {
		all.Go(func() { _, _ = r.Lookup(t.Context(), name(i)) })
	}
	all.Wait()
	if n := most.Load(); n > 2*256 { // one generation may end while the next begins
		t.Errorf("%d connections at a time", n)
	}
}

// A stream loses nothing: who is silent there is not asked again meanwhile.
func TestSilentStreamIsAskedOnce(t *testing.T) {
	t.Parallel()
	var queries atomic.Int64
	addr := listen(t, func(c net.Conn, _ []byte) {
		queries.Add(1)
		_, _ = io.Copy(io.Discard, c)
	})
	r := newResolver(t, resolve.Options{Servers: []string{"tcp://" + addr}, Timeout: 1500 * time.Millisecond})
	if _, err := r.Lookup(within(t), "a.test"); fault.Classify(err) != fault.DNSTimeout {
		t.Error(err)
	}
	if n := queries.Load(); n > 4 { // two families, and again when a try has ended
		t.Errorf("%d queries", n)
	}
}

// A connection that nobody has used for a while is closed, by us.
func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes ten seconds")
	}
	var conns atomic.Int64
	addr := listen(t, func(c net.Conn, q []byte) {
		conns.Add(1)
		defer conns.Add(-1)
		for {
			m := new(dns.Msg)
			if err := m.Unpack(q[2:]); err != nil {
				t.Error(err)
			}
			b, _ := new(dns.Msg).SetRcode(m, dns.RcodeServerFailure).Pack()
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
			q = make([]byte, 4<<10)
			n, err := c.Read(q)
			if err != nil {
				return
			}
			q = q[:n]
		}
	})
	r := newResolver(t, resolve.Options{Servers: []string{"tcp://" + addr}, Timeout: patience})
	wantNone(t, r, "a.test")
	if conns.Load() == 0 {
		t.Error("no connection was kept")
	}
	poll(t, "they are closed", func() bool { return conns.Load() == 0 })
}
