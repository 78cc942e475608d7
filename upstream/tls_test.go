package upstream_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/upstream"
	"viaduct/wire"
)

// issuer is an authority of the tests.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	made := i.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, ecKey(t))
	i.cert, i.key = made.Leaf, made.PrivateKey.(crypto.Signer)
	return i
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// sign makes a certificate, by itself when the issuer is new.
func (i *issuer) sign(t testing.TB, c *x509.Certificate, key crypto.Signer) tls.Certificate {
	t.Helper()
	c.SerialNumber = must[*big.Int](t)(rand.Int(rand.Reader, big.NewInt(1<<62)))
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-2 * time.Hour)
	}
	parent, signer := i.cert, i.key
	if parent == nil {
		parent, signer = c, key
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must[*x509.Certificate](t)(x509.ParseCertificate(der))}
}

func (i *issuer) named(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	return i.sign(t, &x509.Certificate{DNSNames: names}, ecKey(t))
}

func (i *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.cert)
	return p
}

// visited is an origin that does with each connection what play does.
func visited(t testing.TB, address string, play func(net.Conn)) (port uint16) {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", net.JoinHostPort(address, "0")))
	var (
		all   sync.WaitGroup
		mu    sync.Mutex // guards conns
		conns []net.Conn
	)
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() { defer c.Close(); play(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// secure is an origin that answers by TLS. It tells of each handshake.
func secure(t testing.TB, address string, config *tls.Config, answer string, told func(tls.ConnectionState)) uint16 {
	t.Helper()
	return visited(t, address, func(nc net.Conn) {
		c := tls.Server(nc, config)
		if err := c.Handshake(); err != nil {
			_ = nc.(*net.TCPConn).CloseWrite() // a close could overtake the alert
			_, _ = io.Copy(io.Discard, nc)
			return
		}
		if told != nil {
			told(c.ConnectionState())
		}
		converse(c, answer)
	})
}

func byTLS(d upstream.Destination) upstream.Destination {
	d.TLS = true
	return d
}

// caller dials by TLS, and counts handshakes.
type caller struct {
	pool        *upstream.Idle
	dialer      *upstream.Dialer
	good, wrong atomic.Int32
}

func newCaller(t testing.TB, roots *x509.CertPool) *caller {
	t.Helper()
	c := &caller{pool: upstream.NewIdle(upstream.Options{Roots: roots})}
	t.Cleanup(c.pool.Close)
	c.dialer = &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge), Shaken: func(ok bool) {
		if ok {
			c.good.Add(1)
		} else {
			c.wrong.Add(1)
		}
	}}
	return c
}

func (c *caller) dial(ctx context.Context, to upstream.Destination) (*upstream.Conn, error) {
	o := c.pool.Origin(to, nil)
	defer o.Release()
	return o.Dial(ctx, c.dialer)
}

// fails dials in vain, and holds what is told against a kind and a sentence.
func (c *caller) fails(t *testing.T, limit time.Duration, to upstream.Destination, want fault.Kind, say string) {
	t.Helper()
	before := descriptors()
	conn, err := c.dial(within(t, limit), to)
	if err == nil {
		_ = conn.Close()
		t.Errorf("connected, want %v", want)
		return
	}
	bad, ok := errors.AsType[*fault.Error](err)
	if !ok || bad.Kind != want || bad.Err == nil || say != "" && bad.Say() != say {
		t.Errorf("%v says %q, want %v, %q", err, bad.Say(), want, say)
	}
	if strings.ContainsAny(bad.Say(), "0123456789:") || strings.Contains(bad.Say(), ".test") {
		t.Errorf("%q names somebody", bad.Say())
	}
	if c.good.Load() != 0 || c.wrong.Load() != 1 {
		t.Errorf("%d handshakes are told of as good, %d as failed", c.good.Load(), c.wrong.Load())
	}
	poll(t, "the connection is closed", func() bool { return descriptors() <= before+1 }) // +1: the origin may keep its end
	if origins, _ := c.pool.Len(); origins != 0 {
		t.Errorf("%d origins are left", origins)
	}
}

func TestCertificateOfAnOriginIsVerified(t *testing.T) {
	good, stranger := newIssuer(t), newIssuer(t)
	at := func(addrs ...string) tls.Certificate {
		c := &x509.Certificate{}
		for _, a := range addrs {
			c.IPAddresses = append(c.IPAddresses, net.ParseIP(a))
		}
		return good.sign(t, c, ecKey(t))
	}
	when := func(from, until time.Duration) tls.Certificate {
		return good.sign(t, &x509.Certificate{DNSNames: []string{"origin.test"}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until)}, ecKey(t))
	}
	const (
		other   = "The certificate of the destination is for another name."
		unknown = "The certificate of the destination comes from an unknown authority."
		ended   = "The certificate of the destination has expired."
		early   = "The certificate of the destination is not valid yet."
	)
	for name, c := range map[string]struct {
		host string // "": origin.test
		cert tls.Certificate
		say  string // "": it is good
	}{
		"good":                {"", good.named(t, "origin.test"), ""},
		"RSA":                 {"", good.sign(t, &x509.Certificate{DNSNames: []string{"origin.test"}}, must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))), ""},
		"wildcard":            {"", good.named(t, "*.test"), ""},
		"other letter case":   {"", good.named(t, "ORIGIN.Test"), ""},
		"address":             {"127.0.0.1", at("192.0.2.1", "127.0.0.1"), ""},
		"mapped address":      {"::ffff:127.0.0.1", at("127.0.0.1"), ""},
		"address as of old":   {"0x7f.1", at("127.0.0.1"), ""},
		"other address":       {"127.0.0.1", at("127.0.0.2"), other},
		"name for an address": {"127.0.0.1", good.named(t, "127.0.0.1", "origin.test"), other},
		"address for a name":  {"", at("127.0.0.1"), other},
		"other name":          {"", good.named(t, "other.test"), other},
		"deeper wildcard":     {"", good.named(t, "*.origin.test"), other},
		"common name alone":   {"", good.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "origin.test"}}, ecKey(t)), other},
		"no name":             {"", good.sign(t, &x509.Certificate{}, ecKey(t)), other},
		"expired":             {"", when(-2*time.Hour, -time.Hour), ended},
		"not yet valid":       {"", when(time.Hour, 2*time.Hour), early},
		"unknown authority":   {"", stranger.named(t, "origin.test"), unknown},
		"signed by itself":    {"", new(issuer).named(t, "origin.test"), unknown},
		"for clients": {"", good.sign(t, &x509.Certificate{
			DNSNames: []string{"origin.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, ecKey(t)), fault.TLSCertificateError.Say()},
	} {
		t.Run(name, func(t *testing.T) {
			port := secure(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{c.cert}}, fine, nil)
			to := byTLS(named(port))
			if c.host != "" {
				to = upstream.Destination{Host: c.host, Port: port, TLS: true}
				if to.Addr, _ = netip.ParseAddr(c.host); !to.Addr.IsValid() {
					to.Addr = netip.MustParseAddr("127.0.0.1")
				}
			}
			caller := newCaller(t, good.pool())
			if c.say != "" {
				caller.fails(t, patience, to, fault.TLSCertificateError, c.say)
				return
			}
			conn := must[*upstream.Conn](t)(caller.dial(within(t, patience), to))
			defer conn.Close()
			exchange(t, conn, false)
			if want := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port); conn.Remote() != want {
				t.Errorf("the other end is %v, want %v", conn.Remote(), want)
			}
			if caller.good.Load() != 1 || caller.wrong.Load() != 0 {
				t.Error("the handshake is not told of as good")
			}
		})
	}
}

func TestIPv6LiteralIsVerified(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6")
	} else {
		_ = l.Close()
	}
	good := newIssuer(t)
	cert := good.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv6loopback}}, ecKey(t))
	port := secure(t, "::1", &tls.Config{Certificates: []tls.Certificate{cert}}, fine, nil)
	conn := must[*upstream.Conn](t)(newCaller(t, good.pool()).dial(within(t, patience), byTLS(literal("::1", port))))
	defer conn.Close()
	exchange(t, conn, false)
}

// Without authorities of its own a pool asks those of the system, which do not
// know that of a test.
func TestAuthoritiesOfTheSystemAreTheDefault(t *testing.T) {
	port := secure(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{newIssuer(t).named(t, "origin.test")}}, fine, nil)
	newCaller(t, nil).fails(t, patience, byTLS(named(port)), fault.TLSCertificateError, "The certificate of the destination comes from an unknown authority.")
}

// What an origin learns: the name, HTTP/1.1, and nothing that links this
// connection to another one.
func TestWhatIsOffered(t *testing.T) {
	good := newIssuer(t)
	cert := good.sign(t, &x509.Certificate{DNSNames: []string{"origin.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, ecKey(t))
	hellos, states := make(chan tls.ClientHelloInfo, 8), make(chan tls.ConnectionState, 8)
	port := secure(t, "127.0.0.1", &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) { hellos <- *h; return nil, nil },
	}, fine, func(s tls.ConnectionState) { states <- s })
	caller := newCaller(t, good.pool())
	for _, to := range []upstream.Destination{named(port), named(port), literal("127.0.0.1", port)} {
		conn := must[*upstream.Conn](t)(caller.dial(within(t, patience), byTLS(to)))
		exchange(t, conn, false)
		_ = conn.Close()
		h, s := receive(t, hellos), receive(t, states)
		want := to.Host
		if to.Addr.IsValid() {
			want = "" // RFC 6066 section 3: no literals
		}
		if h.ServerName != want || strings.Join(h.SupportedProtos, " ") != "http/1.1" || s.NegotiatedProtocol != "http/1.1" || s.DidResume {
			t.Errorf("%s: name %q, protocols %q (%q), resumed %v", to.Host, h.ServerName, h.SupportedProtos, s.NegotiatedProtocol, s.DidResume)
		}
		for _, v := range h.SupportedVersions {
			if v < tls.VersionTLS12 {
				t.Errorf("%s is offered", tls.VersionName(v))
			}
		}
	}
}

func TestOriginsThatCannotBeSpokenTo(t *testing.T) {
	good := newIssuer(t)
	certs := []tls.Certificate{good.named(t, "origin.test")}
	for name, c := range map[string]struct {
		config *tls.Config
		want   fault.Kind
	}{
		"too old":                  {&tls.Config{MaxVersion: tls.VersionTLS11}, fault.TLSAlertReceived},
		"another protocol":         {&tls.Config{NextProtos: []string{"acme-tls/1"}}, fault.TLSAlertReceived},
		"no certificate":           {&tls.Config{Certificates: []tls.Certificate{}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }}, fault.TLSAlertReceived},
		"for clients it knows":     {&tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}, fault.TLSAlertReceived},
		"with a key not its own":   {&tls.Config{Certificates: []tls.Certificate{{Certificate: certs[0].Certificate, PrivateKey: ecKey(t)}}}, fault.TLSProtocolError},
		"with suites of old alone": {&tls.Config{CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}, MaxVersion: tls.VersionTLS12}, fault.TLSAlertReceived},
	} {
		t.Run(name, func(t *testing.T) {
			config := c.config.Clone()
			if config.Certificates == nil {
				config.Certificates = certs
			}
			if config.MinVersion == 0 {
				config.MinVersion = tls.VersionTLS10
			}
			port := secure(t, "127.0.0.1", config, fine, nil)
			newCaller(t, good.pool()).fails(t, patience, byTLS(named(port)), c.want, "")
		})
	}
}

// In TLS 1.3 a client is told that its certificate is missing after the
// handshake, with the first answer.
func TestMissingCertificateIsToldLate(t *testing.T) {
	good := newIssuer(t)
	port := secure(t, "127.0.0.1", &tls.Config{
		Certificates: []tls.Certificate{good.named(t, "origin.test")}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13,
	}, fine, nil)
	conn, err := newCaller(t, good.pool()).dial(within(t, patience), byTLS(named(port)))
	if err == nil {
		defer conn.Close()
		_, err = conn.Exchange([]byte(request), false, nil)
	}
	if fault.Classify(err) != fault.TLSAlertReceived {
		t.Errorf("%v is %v", err, fault.Classify(err))
	}
}

func TestHostileHandshakes(t *testing.T) {
	record := func(kind byte, body string) string {
		return string([]byte{kind, 3, 3, byte(len(body) >> 8), byte(len(body))}) + body
	}
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, text)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}
	}
	const late, plain = "The destination did not set up TLS in time.", "The destination does not speak TLS."
	for name, c := range map[string]struct {
		play func(net.Conn)
		want fault.Kind
		say  string
	}{
		"silence":            {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, fault.ConnectionTimeout, late},
		"a drop at a time":   {dripping(record(22, strings.Repeat("\x00", 9000))), fault.ConnectionTimeout, late},
		"half a record":      {func(c net.Conn) { _, _ = io.WriteString(c, "\x16\x03\x03\x40"); _, _ = io.Copy(io.Discard, c) }, fault.ConnectionTimeout, late},
		"an end at once":     {func(net.Conn) {}, fault.ConnectionTerminated, ""},
		"an end in a record": {say("\x16\x03\x03\x01\x00\x02"), fault.ConnectionTerminated, ""},
		"a reset":            {reset, fault.ConnectionTerminated, ""},
		"HTTP":               {say("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), fault.TLSProtocolError, plain},
		"SSH":                {say("SSH-2.0-OpenSSH_9.9\r\n"), fault.TLSProtocolError, plain},
		"zeros":              {say(strings.Repeat("\x00", 1<<16)), fault.TLSProtocolError, plain},
		"a record too large": {say("\x16\x03\x03\xff\xff"), fault.TLSProtocolError, ""},
		"an endless message": {say(record(22, "\x02\xff\xff\xff") + strings.Repeat(record(22, strings.Repeat("x", 1<<14)), 64)), fault.TLSProtocolError, ""},
		"nothing, often":     {say(strings.Repeat(record(22, ""), 1000)), fault.TLSProtocolError, ""},
		"warnings, often":    {say(strings.Repeat(record(21, "\x01\x70"), 1000)), fault.TLSProtocolError, ""},
		"a message astray":   {say(record(22, "\x0b\x00\x00\x03\x00\x00\x00")), fault.TLSProtocolError, ""},
		"an alert":           {say(record(21, "\x02\x28")), fault.TLSAlertReceived, ""},
		"a polite end":       {say(record(21, "\x01\x00")), fault.ConnectionTerminated, ""},
	} {
		t.Run(name, func(t *testing.T) {
			limit := patience
			if c.want == fault.ConnectionTimeout {
				limit = 100 * time.Millisecond
			}
			port := visited(t, "127.0.0.1", c.play)
			newCaller(t, newIssuer(t).pool()).fails(t, limit, byTLS(named(port)), c.want, c.say)
		})
	}
}

// dripping sends a byte at a time, without an end.
func dripping(text string) func(net.Conn) {
	return func(c net.Conn) {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}

func reset(c net.Conn) {
	_, _ = c.Read(make([]byte, 1)) // it has begun
	_ = c.(*net.TCPConn).SetLinger(0)
}

func TestCancelEndsAHandshake(t *testing.T) {
	begun := make(chan struct{}, 1)
	port := visited(t, "127.0.0.1", func(c net.Conn) { _, _ = c.Read(make([]byte, 1)); begun <- struct{}{}; _, _ = io.Copy(io.Discard, c) })
	before := descriptors()
	caller := newCaller(t, newIssuer(t).pool())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { _, err := caller.dial(ctx, byTLS(named(port))); ended <- err }()
	receive(t, begun)
	cancel()
	if err := receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
	poll(t, "the connection is closed", func() bool { return descriptors() <= before })
}

// Who is not reached has no handshake.
func TestFailedDialIsNoHandshake(t *testing.T) {
	caller := newCaller(t, newIssuer(t).pool())
	_, err := caller.dial(within(t, patience), byTLS(named(freePort(t))))
	if fault.Classify(err) != fault.ConnectionRefused || caller.good.Load()+caller.wrong.Load() != 0 {
		t.Errorf("%v, %d good, %d failed", err, caller.good.Load(), caller.wrong.Load())
	}
}

// asked takes a connection that must be there.
func asked(t testing.TB, o *upstream.Origin, d *upstream.Dialer) *upstream.Conn {
	t.Helper()
	c := o.Take(d.Guard, time.Hour)
	if c == nil {
		t.Fatal("no idle connection")
	}
	return c
}

func TestSecureConnectionIsUsedAgain(t *testing.T) {
	good := newIssuer(t)
	var shaken atomic.Int32
	port := secure(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{good.named(t, "origin.test")}}, fine, func(tls.ConnectionState) { shaken.Add(1) })
	caller := newCaller(t, good.pool())
	plain, origin := caller.pool.Origin(named(port), nil), caller.pool.Origin(byTLS(named(port)), nil)
	defer plain.Release()
	defer origin.Release()
	idle(t, origin, caller.dialer, 1)
	if c := plain.Take(caller.dialer.Guard, time.Hour); c != nil {
		t.Error("a connection with TLS is taken for one without")
	}
	for range 5 {
		c := asked(t, origin, caller.dialer)
		exchange(t, c, true)
		c.Put(clock.Now())
	}
	if shaken.Load() != 1 || caller.good.Load() != 1 {
		t.Errorf("%d handshakes, %d told of", shaken.Load(), caller.good.Load())
	}
	if caller.dialer.Guard = (&judge{refuse: func(netip.AddrPort) bool { return true }}); origin.Take(caller.dialer.Guard, time.Hour) != nil {
		t.Error("the guard is not asked again")
	}
	wantIdle(t, caller.pool, 1)
}

// The bytes that nobody asked for are the next answer to an attacker: they come
// in the record of the answer or behind it, where a look at the socket does not
// see what TLS has read ahead.
func TestSurplusIsNotAnAnswer(t *testing.T) {
	good := newIssuer(t)
	config := &tls.Config{Certificates: []tls.Certificate{good.named(t, "origin.test")}}
	for name, how := range map[string]func(c *tls.Conn){
		"in one record":  func(c *tls.Conn) { _, _ = io.WriteString(c, fine+fine) },
		"in two records": func(c *tls.Conn) { sendAtOnce(c, fine, fine) },
		"much more":      func(c *tls.Conn) { sendAtOnce(c, fine, strings.Repeat(fine, 2000)) },
	} {
		t.Run(name, func(t *testing.T) {
			port := visited(t, "127.0.0.1", func(nc net.Conn) {
				c := tls.Server(&held{Conn: nc}, config)
				if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
					return
				}
				how(c)
				_, _ = io.Copy(io.Discard, c)
			})
			caller := newCaller(t, good.pool())
			origin := caller.pool.Origin(byTLS(named(port)), nil)
			defer origin.Release()
			conn := must[*upstream.Conn](t)(origin.Dial(within(t, patience), caller.dialer))
			exchange(t, conn, false)
			conn.Put(clock.Now())
			if next := unclean(t, origin, caller.dialer); next != nil {
				defer next.Close()
				if sent, err := next.Exchange([]byte(request), true, nil); !errors.Is(err, wire.ErrStale) || sent {
					t.Errorf("sent %v, %v: the connection is used", sent, err)
				}
			}
		})
	}
}

// unclean waits until the idle connection is known to be of no use: nil when it
// is not kept at all. What comes to it may take its time.
func unclean(t testing.TB, o *upstream.Origin, d *upstream.Dialer) (c *upstream.Conn) {
	t.Helper()
	poll(t, "the connection is of no use", func() bool {
		if c = o.Take(d.Guard, time.Hour); c == nil || !c.Clean() {
			return true
		}
		c.Put(clock.Now())
		return false
	})
	return c
}

// held keeps what is written, until it is sent in one piece.
type held struct {
	net.Conn
	holds bool
	text  []byte
}

func (h *held) Write(p []byte) (int, error) {
	if !h.holds {
		return h.Conn.Write(p)
	}
	h.text = append(h.text, p...)
	return len(p), nil
}

// sendAtOnce sends a record each in one piece.
func sendAtOnce(c *tls.Conn, records ...string) {
	h := c.NetConn().(*held)
	h.holds = true
	for _, r := range records {
		_, _ = io.WriteString(c, r)
	}
	_, _ = h.Conn.Write(h.text)
	h.holds = false
}

func TestSecureConnectionThatEndedIsStale(t *testing.T) {
	good := newIssuer(t)
	config := &tls.Config{Certificates: []tls.Certificate{good.named(t, "origin.test")}}
	port := visited(t, "127.0.0.1", func(nc net.Conn) {
		c := tls.Server(nc, config)
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			_, _ = io.WriteString(c, fine)
		}
		_ = c.Close()
	})
	caller := newCaller(t, good.pool())
	origin := caller.pool.Origin(byTLS(named(port)), nil)
	defer origin.Release()
	idle(t, origin, caller.dialer, 1)
	if c := unclean(t, origin, caller.dialer); c != nil {
		_ = c.Close()
	}
}

func TestConnectSetsUpNoTLS(t *testing.T) {
	port := scripted(t, fine).port
	caller := newCaller(t, nil)
	nc, err := caller.pool.Connect(within(t, patience), caller.dialer, byTLS(named(port)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, request)
	if line, err := bufio.NewReader(nc).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
		t.Errorf("%q, %v", line, err)
	}
	if caller.good.Load()+caller.wrong.Load() != 0 {
		t.Error("a handshake is told of")
	}
}

func TestSecureConnectionHasOneOwner(t *testing.T) {
	good := newIssuer(t)
	port := secure(t, "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{good.named(t, "origin.test")}}, fine, nil)
	caller := newCaller(t, good.pool())
	var (
		owned sync.Map
		all   sync.WaitGroup
	)
	for range 6 {
		all.Go(func() {
			for range 40 {
				o := caller.pool.Origin(byTLS(named(port)), nil)
				c := o.Take(caller.dialer.Guard, time.Hour)
				if c == nil {
					c = must[*upstream.Conn](t)(o.Dial(within(t, patience), caller.dialer))
				}
				if _, taken := owned.LoadOrStore(c, true); taken {
					t.Error("a connection has two owners")
				}
				exchange(t, c, false)
				owned.Delete(c)
				c.Put(clock.Now())
				o.Release()
			}
		})
	}
	all.Wait()
	caller.pool.Close()
	if origins, idle := caller.pool.Len(); origins != 0 || idle != 0 {
		t.Errorf("%d origins and %d idle connections are left", origins, idle)
	}
}
