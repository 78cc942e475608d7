package parent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"viaduct/fault"
	"viaduct/parent"
)

// counting counts what is written, and how often.
type counting struct {
	net.Conn
	writes atomic.Int32
	wrote  strings.Builder
}

func (c *counting) Write(b []byte) (int, error) {
	c.writes.Add(1)
	c.wrote.Write(b)
	return c.Conn.Write(b)
}

func TestRequestIsOneWrite(t *testing.T) {
	for _, tt := range []struct {
		name, target string
		p            parent.Proxy
		want         string
	}{
		{"name", "Example.COM:443", parent.Proxy{}, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"},
		{"ipv6", "[2001:DB8::1]:22", parent.Proxy{}, "CONNECT [2001:db8::1]:22 HTTP/1.1\r\nHost: [2001:db8::1]:22\r\n\r\n"},
		{"idn", "bücher.example:443", parent.Proxy{}, "CONNECT xn--bcher-kva.example:443 HTTP/1.1\r\nHost: xn--bcher-kva.example:443\r\n\r\n"},
		{
			"credentials", "a:1",
			parent.Proxy{User: "Aladdin", Password: parent.Hide("open sesame")},
			"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
		},
		{"password alone, via", "a:1", parent.Proxy{Password: parent.Hide("x"), Via: "1.1 viaduct"}, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nProxy-Authorization: Basic Ong=\r\nVia: 1.1 viaduct\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nc := &counting{Conn: dial(t, peer(t, says("HTTP/1.1 200 OK\r\n\r\n")))}
			over, early, err := tt.p.Tunnel(bounded(t), nc, tt.target)
			if err != nil || over != net.Conn(nc) || early != nil {
				t.Fatalf("%v %q %v", over, early, err)
			}
			if nc.writes.Load() != 1 || nc.wrote.String() != tt.want {
				t.Errorf("%d writes: %q", nc.writes.Load(), nc.wrote.String())
			}
		})
	}
}

func TestNothingIsInjected(t *testing.T) {
	good := parent.Proxy{Host: "p", Port: 1}
	with := func(change func(*parent.Proxy)) parent.Proxy {
		p := good
		change(&p)
		return p
	}
	for _, tt := range []struct {
		name, target string
		p            parent.Proxy
		kind         fault.Kind
	}{
		{"line end", "a:1\r\nX: y", good, fault.RequestError},
		{"line end in the name", "a\r\nX: y:1", good, fault.RequestError},
		{"space", "a:1 HTTP/1.1", good, fault.RequestError},
		{"nul", "a\x00:1", good, fault.RequestError},
		{"no port", "a", good, fault.RequestError},
		{"port 0", "a:0", good, fault.RequestError},
		{"userinfo", "u@a:1", good, fault.RequestError},
		{"zone", "[fe80::1%eth0]:1", good, fault.RequestError},
		{"empty", "", good, fault.RequestError},
		{"long name", strings.Repeat("a.", 127) + "aa:1", good, fault.RequestError},
		{"user", "a:1", with(func(p *parent.Proxy) { p.User = "u\r\nX: y" }), fault.ConfigurationError},
		{"user with a colon", "a:1", with(func(p *parent.Proxy) { p.User = "u:v" }), fault.ConfigurationError},
		{"password", "a:1", with(func(p *parent.Proxy) { p.Password = parent.Hide("\x7f") }), fault.ConfigurationError},
		{"via", "a:1", with(func(p *parent.Proxy) { p.Via = "1.1 x\r\nX: y" }), fault.ConfigurationError},
		{"scheme", "a:1", with(func(p *parent.Proxy) { p.Scheme = 9 }), fault.ConfigurationError},
		{"no user for socks5", "a:1", with(func(p *parent.Proxy) { p.Scheme, p.Password = parent.SOCKS5, parent.Hide("x") }), fault.ConfigurationError},
		{"long password for socks5", "a:1", with(func(p *parent.Proxy) {
			p.Scheme, p.User, p.Password = parent.SOCKS5, "u", parent.Hide(strings.Repeat("x", 256))
		}), fault.ConfigurationError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nc := &counting{Conn: dial(t, peer(t, echo))}
			_, _, err := tt.p.Tunnel(bounded(t), nc, tt.target)
			judged(t, err, tt.kind, tt.kind.Status(), parent.Us)
			closed(t, nc)
			if nc.writes.Load() != 0 {
				t.Errorf("written: %q", nc.wrote.String())
			}
		})
	}
}

func TestEveryYesIsTaken(t *testing.T) {
	const banner = "SSH-2.0-OpenSSH\r\n"
	for _, tt := range []struct {
		name  string
		parts []string
	}{
		{"200", []string{"HTTP/1.1 200 Connection established\r\n\r\n"}},
		{"201", []string{"HTTP/1.1 201 Created\r\n\r\n"}},
		{"204, no reason", []string{"HTTP/1.1 204\r\n\r\n"}},
		{"299", []string{"HTTP/1.1 299 \r\nX: y\r\n\r\n"}},
		{"HTTP/1.0", []string{"HTTP/1.0 200 OK\r\nProxy-agent: x\r\n\r\n"}},
		{"a length that means nothing", []string{"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"}},
		{"a coding that means nothing", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}},
		{"close that means nothing", []string{"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"}},
		{"interim answers", []string{"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"}},
		{"interim answers at once", []string{strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 8) + "HTTP/1.1 200 OK\r\n\r\n"}},
		{"a large head", []string{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 15<<10) + "\r\n\r\n"}},
		{"byte by byte", strings.SplitAfter("HTTP/1.1 200 OK\r\nX: y\r\n\r\n", "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parts := append([]string(nil), tt.parts...)
			parts[len(parts)-1] += banner // T48: in one packet with the answer
			addr := peer(t, says(parts...))
			nc := dial(t, addr)
			over, early, err := proxy(t, parent.HTTP, addr).Tunnel(bounded(t), nc, "a:22")
			if err != nil || over != net.Conn(nc) {
				t.Fatal(over, err)
			}
			if rest := make([]byte, len(banner)-len(early)); len(rest) > 0 {
				if _, err := io.ReadFull(over, rest); err != nil {
					t.Fatal(err)
				}
				early = append(early, rest...)
			}
			if string(early) != banner {
				t.Errorf("the target said %q", early)
			}
		})
	}
}

// TestManyEarlyBytes: a target that speaks first may say much.
func TestManyEarlyBytes(t *testing.T) {
	said := strings.Repeat("0123456789", 30_000)
	addr := peer(t, says("HTTP/1.1 200 OK\r\n\r\n"+said[:100_000], said[100_000:]))
	over, early, err := proxy(t, parent.HTTP, addr).Tunnel(bounded(t), dial(t, addr), "a:1")
	if err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, len(said)-len(early))
	if _, err := io.ReadFull(over, rest); err != nil || string(early)+string(rest) != said {
		t.Errorf("not what was said: %v", err)
	}
}

func TestEveryNoIsJudged(t *testing.T) {
	const (
		none  = ""
		field = "Proxy-Status: "
	)
	for _, tt := range []struct {
		status, field string
		kind          fault.Kind
		code          int
		party         parent.Party
	}{
		{"407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=x", fault.ConfigurationError, 500, parent.Us},
		{"407 x", field + "p; error=connection_refused", fault.ConfigurationError, 500, parent.Us},
		{"400 Bad Request", none, fault.ConfigurationError, 500, parent.Us},
		{"405 Method Not Allowed", none, fault.ConfigurationError, 500, parent.Us},
		{"421 Misdirected", none, fault.LoopDetected, 421, parent.Us},
		{"429 Slow Down", none, fault.ConnectionLimitReached, 503, parent.Us},
		{"403 Forbidden", none, fault.RequestDenied, 403, parent.Target},
		{"404 Not Found", none, fault.RequestDenied, 403, parent.Target},
		{"451 Not Here", none, fault.RequestDenied, 403, parent.Target},
		{"502 Bad Gateway", none, fault.DestinationUnavailable, 502, parent.Target},
		{"503 Unavailable", none, fault.DestinationUnavailable, 503, parent.Target},
		{"504 Gateway Timeout", none, fault.ConnectionTimeout, 504, parent.Target},
		{"500 Oops", none, fault.DestinationUnavailable, 502, parent.Target},
		{"401 Unauthorized", none, fault.ConfigurationError, 500, parent.Us},
		{"501 What", none, fault.DestinationUnavailable, 502, parent.Parent},
		{"599 ", none, fault.DestinationUnavailable, 502, parent.Parent},
		{"302 Found", "Location: http://login.example/", fault.ProtocolError, 502, parent.Parent},
		{"302 Found", field + "p; error=connection_refused", fault.ProtocolError, 502, parent.Parent},

		{"502 x", field + "viaduct; error=connection_refused", fault.ConnectionRefused, 502, parent.Target},
		{"500 x", field + "a; error=dns_error; rcode=NXDOMAIN, b", fault.DNSError, 502, parent.Target},
		{"502 x", field + "a;error=dns_timeout;details=\"no, \\\"really\\\"; error=loop\", b; error=connection_refused", fault.DNSTimeout, 504, parent.Target},
		{"502 x", field + `a; details="x; error=dns_error; y", b; error=tls_certificate_error`, fault.TLSCertificateError, 502, parent.Target},
		{"502 x", field + `a; details="x\"; error=dns_error; y", b; error=connection_refused`, fault.ConnectionRefused, 502, parent.Target},
		{"503 x", field + "a; error=connection_limit_reached", fault.DestinationUnavailable, 502, parent.Parent},
		{"502 x", field + "a; error=proxy_internal_error", fault.DestinationUnavailable, 502, parent.Parent},
		{"503 x", field + "a; error=proxy_configuration_error", fault.DestinationUnavailable, 502, parent.Parent},
		{"503 x", field + "a; error=proxy_internal_response", fault.DestinationUnavailable, 503, parent.Target},
		{"403 x", field + "viaduct; error=http_request_denied; details=deny#2", fault.RequestDenied, 403, parent.Target},
		{"403 x", field + "viaduct; error=destination_ip_prohibited", fault.DestinationIPProhibited, 403, parent.Target},
		{"502 x", field + "viaduct; error=proxy_loop_detected", fault.LoopDetected, 421, parent.Us},
		{"502 x", field + "viaduct; error=http_request_error", fault.ConfigurationError, 500, parent.Us},
		{"503 x", field + "a; error=never_heard_of", fault.DestinationUnavailable, 503, parent.Target},
		{"503 x", field + "a; error=", fault.DestinationUnavailable, 503, parent.Target},
		{"503 x", field + `a; details="open`, fault.DestinationUnavailable, 503, parent.Target},
		{"503 x", field + `a; details="open\`, fault.DestinationUnavailable, 503, parent.Target},
		{"502 x", "X-Proxy-Status: a; error=dns_error", fault.DestinationUnavailable, 502, parent.Target},
	} {
		t.Run(tt.status+" "+tt.field, func(t *testing.T) {
			answer := "HTTP/1.1 " + tt.status + "\r\nContent-Length: 4\r\n"
			if tt.field != "" {
				answer += tt.field + "\r\n"
			}
			addr := peer(t, says(answer+"\r\nbody"))
			nc := dial(t, addr)
			over, early, err := proxy(t, parent.HTTP, addr).Tunnel(bounded(t), nc, "a:1")
			if over != nil || early != nil {
				t.Errorf("%v %q", over, early)
			}
			judged(t, err, tt.kind, tt.code, tt.party)
			closed(t, nc)
			r, ok := errors.AsType[*parent.RefusedError](err)
			if !ok || !strings.HasPrefix(tt.status, r.Reason) && !strings.HasSuffix(tt.status, r.Reason) || r.Status < 300 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestReasonsAreBounded: what a parent says is shown to the operator, in a line.
func TestReasonsAreBounded(t *testing.T) {
	addr := peer(t, says("HTTP/1.1 403 \xff\t"+strings.Repeat("x", 5000)+"\r\n\r\n"))
	_, _, err := proxy(t, parent.HTTP, addr).Tunnel(bounded(t), dial(t, addr), "a:1")
	if s := err.Error(); len(s) > 300 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%q", s)
	}
}

func TestGarbageIsTheParentsFault(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		kind         fault.Kind
	}{
		{"another protocol", "SSH-2.0-OpenSSH_9.9\r\n", fault.ProtocolError},
		{"no text", "\x15\x03\x01\x00\x02\x02\x46\r\n", fault.ProtocolError},
		{"a line end before", "\r\nHTTP/1.1 200 OK\r\n\r\n", fault.ProtocolError},
		{"bare line ends", "HTTP/1.1 200 OK\n\n", fault.ProtocolError},
		{"version 2", "HTTP/2.0 200 OK\r\n\r\n", fault.ProtocolError},
		{"status 20", "HTTP/1.1 20 OK\r\n\r\n", fault.ProtocolError},
		{"status 600", "HTTP/1.1 600 OK\r\n\r\n", fault.ProtocolError},
		{"status 0200", "HTTP/1.1 0200 OK\r\n\r\n", fault.ProtocolError},
		{"a folded line", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", fault.ProtocolError},
		{"space before the colon", "HTTP/1.1 200 OK\r\nX : y\r\n\r\n", fault.ProtocolError},
		{"nul", "HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n", fault.ProtocolError},
		{"another protocol that nobody asked for", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", fault.ProtocolError},
		{"interim answers without end", strings.Repeat("HTTP/1.1 100 x\r\n\r\n", 100), fault.ProtocolError},
		{"a line without end", strings.Repeat("x", 100_000), fault.ResponseHeaderSize},
		{"a field without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 100_000), fault.ResponseHeaderSize},
		{"too large in one piece", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 17<<10) + "\r\n\r\n", fault.ResponseHeaderSize},
		{"fields without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 20_000), fault.ResponseHeaderSize},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := peer(t, says(tt.answer))
			nc := dial(t, addr)
			_, _, err := proxy(t, parent.HTTP, addr).Tunnel(bounded(t), nc, "a:1")
			judged(t, err, tt.kind, 502, parent.Parent)
			closed(t, nc)
		})
	}
}

// TestEndWithoutAnAnswer: a parent that goes away has not done its part.
func TestEndWithoutAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		reset        bool
	}{
		{"at once", "", false},
		{"in the status line", "HTTP/1.1 20", false},
		{"in the head", "HTTP/1.1 200 OK\r\nX: y\r\n", false},
		{"after an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", false},
		{"reset", "HTTP/1.1 200 OK\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := peer(t, func(c net.Conn) {
				_, _ = readHead(c)
				_, _ = io.WriteString(c, tt.answer)
				if tt.reset {
					_ = c.(*net.TCPConn).SetLinger(0)
				}
			})
			nc := dial(t, addr)
			_, _, err := proxy(t, parent.HTTP, addr).Tunnel(bounded(t), nc, "a:1")
			judged(t, err, fault.ConnectionTerminated, 502, parent.Parent)
			closed(t, nc)
		})
	}
}

// TestDialErrorsAreJudgedToo: Blame is also for the dial before Tunnel.
func TestDialErrorsAreJudgedToo(t *testing.T) {
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	addr := l.Addr().String()
	_ = l.Close()
	_, refused := net.Dial("tcp", addr)
	_, late := new(net.Dialer).DialContext(expired(t), "tcp", addr)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, left := new(net.Dialer).DialContext(gone, "tcp", addr)
	for _, tt := range []struct {
		err  error
		want parent.Party
	}{
		{refused, parent.Parent},
		{late, parent.Parent},
		{context.Canceled, parent.Unclear},
		{left, parent.Unclear},
		{nil, parent.Unclear},
	} {
		if got := parent.Blame(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
