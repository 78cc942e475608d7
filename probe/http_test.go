package probe_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"viaduct/fault"
	"viaduct/probe"
)

func TestHTTPStatus(t *testing.T) {
	for _, tt := range []struct{ answer, status, err, note string }{
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", "", "200 OK"},
		{"HTTP/1.0 200\r\n\r\n", "", "", "200 OK"},
		{"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "", "", "302 Found"},
		{"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "200-299", "status 302, not of 200-299", "302 Found"},
		{"HTTP/1.1 503 Service Unavailable\r\n\r\n", "", "status 503, not of 200-399", "503 Service Unavailable"},
		{"HTTP/1.1 503 Service Unavailable\r\n\r\n", "200, 503", "", "503 Service Unavailable"},
		{"HTTP/1.1 200 \x1b]0;x\x07\xff" + strings.Repeat("y", 500) + "\r\n\r\n", "", "", "200 ?]0;x?" + strings.Repeat("y", 93)},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "", "", "204 No Content"},
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "", "status 101", "101 Switching Protocols"},
		{"HTTP/1.1 000 No\r\n\r\n", "", "status 0", "000 No"},
		{"HTTP/1.1 999 No\r\n\r\n", "", "status 999", "999 No"},
	} {
		r := run(t, probe.Check{Kind: probe.HTTP, Status: tt.status}, peer(t, say(tt.answer)))
		if tt.err == "" {
			passes(t, r)
		} else {
			fails(t, r, tt.err)
		}
		if r.Note != tt.note {
			t.Errorf("note %q, want %q", r.Note, tt.note)
		}
	}
}

func TestHTTPHostileAnswers(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(net.Conn)
		want string
	}{
		{"nothing", say(""), "unexpected EOF"},
		{"garbage", say("SSH-2.0-OpenSSH\r\n\r\n"), "malformed HTTP"},
		{"half a head", say("HTTP/1.1 200 OK\r\nA: b\r\n"), "unexpected EOF"},
		{"endless head", endless("HTTP/1.1 200 OK\r\n", "A: b\r\n"), "read the answer: "},
		{"endless line", endless("HTTP/1.1 200 OK\r\nA: ", "b"), "read the answer: "},
		{"endless first line", endless("", "H"), "read the answer: "},
		{"endless interim answers", endless("", "HTTP/1.1 102 Processing\r\n\r\n"), "more than 5 interim answers"},
		{"five interim answers", say(strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 5) + "HTTP/1.1 500 x\r\n\r\n"), "status 500"},
		{"reset", reset, "reset by peer"},
		{"two lengths", say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "read the answer: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fails(t, run(t, probe.Check{Kind: probe.HTTP}, peer(t, tt.play)), tt.want)
		})
	}
}

func TestHTTPRequest(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	got := make(chan string, 1)
	addr := peer(t, func(nc net.Conn) {
		got <- request(nc)
		nc.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	})
	c := probe.Check{Kind: probe.HTTP, Path: "/a/b%2Fc?d=%20&e", Method: "HEAD", Host: "own.example:81", Fields: []string{"X-A: 1", "x-a:2 ", "User-Agent: me"}}
	passes(t, run(t, c, addr))
	want := "HEAD /a/b%2Fc?d=%20&e HTTP/1.1\r\nHost: own.example:81\r\nUser-Agent: me\r\nConnection: close\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
	if s := <-got; s != want {
		t.Errorf("sent %q, want %q", s, want)
	}
	passes(t, run(t, probe.Check{Kind: probe.HTTP, Method: "POST"}, addr))
	want = "POST / HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: viaduct\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	if s := <-got; s != want {
		t.Errorf("sent %q, want %q", s, want)
	}
}

func TestHTTPBody(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n\r\n"
	for _, tt := range []struct {
		name, body string
		play       func(net.Conn)
		want       string
	}{
		{"matches", `"status":\s*"up"`, say(head + `{"status": "up"}`), ""},
		{"does not", `^up$`, say(head + "down\x1b[0m"), `it begins with "down\x1b[0m"`},
		{"chunked", `^up$`, say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nu\r\n1\r\np\r\n0\r\n\r\n"), ""},
		{"bad chunks", `up`, say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nup\r\n"), "read the body: "},
		{"tiny chunks for ever", `up`, endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"), "does not match"},
		{"endless", `x`, endless(head, "x"), ""},
		{"too late", `up`, say(head + strings.Repeat("x", 64<<10) + "up"), "does not match"},
		{"cut", `up`, say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nup"), "unexpected EOF"},
		{"not read", "", endless(head, "x"), ""},
		{"costly expression", `(x+x+)+y`, say(head + strings.Repeat("x", 5000)), "does not match"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, probe.Check{Kind: probe.HTTP, Body: tt.body}, peer(t, tt.play))
			if tt.want == "" {
				passes(t, r)
			} else {
				fails(t, r, tt.want)
			}
		})
	}
	slow := peer(t, func(nc net.Conn) { request(nc); nc.Write([]byte(head + "up")); hang(nc) })
	late(t, runFor(t, short, probe.Check{Kind: probe.HTTP, Body: "up"}, probe.Endpoint{Addr: slow}))
	passes(t, run(t, probe.Check{Kind: probe.HTTP}, slow))
	passes(t, run(t, probe.Check{Kind: probe.HTTP, Body: "^$"}, peer(t, drip("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))))
}

func TestHTTPOverTLS(t *testing.T) {
	cert, client := trusted(t)
	hellos := make(chan tls.ConnectionState, 9)
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, VerifyConnection: func(s tls.ConnectionState) error {
		hellos <- s
		return nil
	}}
	got := make(chan string, 9)
	addr := secure(t, config, func(nc net.Conn) {
		got <- request(nc)
		nc.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	})
	c, err := probe.Parse("https:/up")
	if err != nil {
		t.Fatal(err)
	}
	c.TLS, c.Host = client, "own.example"
	passes(t, run(t, c, addr))
	if s := <-hellos; s.ServerName != "own.example" || s.NegotiatedProtocol != "http/1.1" {
		t.Errorf("asked for %q, speaks %q", s.ServerName, s.NegotiatedProtocol)
	}
	if s := <-got; !strings.HasPrefix(s, "GET /up HTTP/1.1\r\nHost: own.example\r\n") {
		t.Errorf("sent %q", s)
	}
	if len(client.NextProtos) > 0 || client.ServerName != "" {
		t.Error("the configuration was changed")
	}
	c.Host = "other.example"
	r := run(t, c, addr)
	fails(t, r, "tls handshake: ")
	if fault.Classify(r.Err) != fault.TLSCertificateError {
		t.Errorf("error %v", r.Err)
	}
	fails(t, run(t, probe.Check{Kind: probe.HTTP}, addr), "read the answer: ")
	plain := run(t, c, peer(t, say("HTTP/1.1 400 Bad Request\r\n\r\n")))
	if _, ok := errors.AsType[tls.RecordHeaderError](plain.Err); !ok {
		t.Errorf("error %v", plain.Err)
	}
}
