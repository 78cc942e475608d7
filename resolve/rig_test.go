package resolve_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"viaduct/resolve"
)

// patience is how long a test waits for what must happen: a loaded machine
// takes its time.
const patience = time.Minute

// TestMain fails the package if goroutines or descriptors are left.
func TestMain(m *testing.M) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the poller's own descriptors are open from here on
	if err != nil {
		panic(err)
	}
	_ = l.Close()
	fds, routines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if !fuzzing && !eventually(func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds }) {
		fmt.Printf("left: %d goroutines, were %d; %d descriptors, were %d\n", runtime.NumGoroutine(), routines, descriptors(), fds)
		buf := make([]byte, 1<<20)
		fmt.Printf("%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func eventually(look func() bool) bool {
	for end := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		if look() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func poll(t testing.TB, what string, look func() bool) {
	t.Helper()
	if !eventually(look) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

func noFlights(t testing.TB, r *resolve.Resolver) {
	t.Helper()
	poll(t, "no flight is left", func() bool { _, n := r.Waiters(""); return n == 0 })
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// write replaces a file, so that nobody sees half of it.
func write(t testing.TB, path, text string) {
	t.Helper()
	next := filepath.Join(t.TempDir(), "next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func fifo(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clock is the real time and what a test adds to it.
type clock struct{ added atomic.Int64 }

func (c *clock) now() time.Time      { return time.Now().Add(time.Duration(c.added.Load())) }
func (c *clock) add(d time.Duration) { c.added.Add(int64(d)) }

// play is a question that a scripted server has to answer, or not.
type play struct {
	stage *stage
	w     dns.ResponseWriter
	q     *dns.Msg
}

func (p *play) name() string { return strings.ToLower(p.q.Question[0].Name) }
func (p *play) isV6() bool   { return p.q.Question[0].Qtype == dns.TypeAAAA }
func (p *play) isTCP() bool  { return p.w.RemoteAddr().Network() == "tcp" }

// reply is an answer to the question, without records yet.
func (p *play) reply() *dns.Msg {
	m := new(dns.Msg).SetReply(p.q)
	m.RecursionAvailable = true
	return m
}

func (p *play) send(m *dns.Msg) { _ = p.w.WriteMsg(m) }

// garbage is what claims to be the answer, and cannot be read.
func (p *play) garbage() {
	b, _ := p.reply().Pack()
	b[7] = 9 // records that are not there
	_, _ = p.w.Write(append(b, 0xc0, 0xff, 0xc0))
}

func (p *play) rcode(code int) {
	m := p.reply()
	m.Rcode = code
	p.send(m)
}

// answer answers with records of the name and type asked for, written as "A
// 192.0.2.1" with a TTL of 300 s, or in full. Those of other types stay out.
func (p *play) answer(records ...string) {
	m := p.reply()
	for _, text := range records {
		if len(strings.Fields(text)) == 2 {
			text = p.name() + " 300 " + text
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		if t := rr.Header().Rrtype; t == dns.TypeSOA {
			m.Ns = append(m.Ns, rr)
		} else if t != dns.TypeA && t != dns.TypeAAAA || t == p.q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	p.send(m)
}

// zone answers with the records of a zone; other names do not exist.
func zone(t testing.TB, records ...string) func(*play) {
	t.Helper()
	for _, text := range records {
		must[dns.RR](t)(dns.NewRR(text))
	}
	return func(p *play) {
		var mine []string
		for _, text := range records {
			if strings.HasPrefix(text, p.name()+" ") {
				mine = append(mine, text)
			}
		}
		if mine == nil {
			p.rcode(dns.RcodeNameError)
			return
		}
		p.answer(mine...)
	}
}

// stage is a DNS server on the loopback that plays a script, over UDP and TCP on
// one port.
type stage struct {
	addr   string
	script atomic.Pointer[func(*play)]
	asked  atomic.Int64
	plays  sync.WaitGroup
	ending chan struct{} // closed when scripts that wait are to end
	end    sync.Once
}

func open(t testing.TB, script func(*play)) *stage {
	t.Helper()
	s := newStage(t, script)
	u, l := pair(t)
	s.addr = l.Addr().String()
	s.serve(t, &dns.Server{PacketConn: u, Handler: s})
	s.serve(t, &dns.Server{Listener: l, Handler: s})
	return s
}

func newStage(t testing.TB, script func(*play)) *stage {
	s := &stage{ending: make(chan struct{})}
	s.play(script)
	t.Cleanup(s.plays.Wait)
	return s
}

// pair listens with both protocols on one port.
func pair(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
		if u, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			return u, l
		}
		_ = l.Close()
	}
	t.Fatal("no port is free for both protocols")
	return nil, nil
}

func (s *stage) serve(t testing.TB, server *dns.Server) {
	t.Helper()
	up, ended := make(chan struct{}), make(chan struct{})
	server.NotifyStartedFunc = func() { close(up) }
	go func() { defer close(ended); _ = server.ActivateAndServe() }()
	<-up
	t.Cleanup(func() {
		s.end.Do(func() { close(s.ending) })
		_ = server.Shutdown()
		<-ended
	})
}

// play changes the script.
func (s *stage) play(script func(*play)) { s.script.Store(&script) }

func (s *stage) count() int { return int(s.asked.Load()) }

// ServeDNS is for dns.Server.
func (s *stage) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.plays.Add(1)
	defer s.plays.Done()
	s.asked.Add(1)
	(*s.script.Load())(&play{s, w, q})
}

// resolver makes a resolver that asks the stage, and a hosts file of nobody.
func (s *stage) resolver(t testing.TB, o resolve.Options) *resolve.Resolver {
	t.Helper()
	if o.Servers == nil {
		o.Servers = []string{s.addr}
	}
	return newResolver(t, o)
}

func newResolver(t testing.TB, o resolve.Options) *resolve.Resolver {
	t.Helper()
	if o.Hosts == "" {
		o.Hosts = "/dev/null"
	}
	r := must[*resolve.Resolver](t)(resolve.New(o))
	t.Cleanup(r.Close)
	return r
}

// authority issues certificates for the loopback.
type authority struct {
	pool *x509.CertPool
	cert tls.Certificate
}

// issue makes a certificate for names and addresses, and a pool that trusts it.
func issue(t testing.TB, names ...string) authority {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for _, name := range names {
		if a, err := netip.ParseAddr(name); err == nil {
			c.IPAddresses = append(c.IPAddresses, a.AsSlice())
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key))
	a := authority{pool: x509.NewCertPool(), cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	a.pool.AddCert(must[*x509.Certificate](t)(x509.ParseCertificate(der)))
	return a
}

func (a authority) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.cert}, MinVersion: tls.VersionTLS12}
}

func name(i int) string { return fmt.Sprintf("n%d.test", i) }
