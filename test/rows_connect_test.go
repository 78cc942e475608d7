package test

import (
	"fmt"
	"strings"
	"testing"
)

var connectRows = []row{
	{"9110-9.3.6/tunnel", "T41", "CONNECT: 200 without Content-Length and Transfer-Encoding, then bytes both ways.", "", connectTunnel},
	{"9110-9.3.6/host-field", "T42", "The authority alone counts: Host without port, another Host, none in HTTP/1.0.", "", connectHost},
	{"9110-9.3.6/close-means-nothing", "T43", "`Connection: close` and `Proxy-Connection: close` on CONNECT leave the tunnel alone.", "", connectClose},
	{"9110-9.3.6/bad-authority", "T44", "No port, an empty one, 0, too large, a name for a port; a path, a URL, userinfo, a zone, nothing: 400, closed, nothing dialled.", "", badAuthority},
	{"9110-9.3.6/early-bytes", "T46", "Bytes in the same packet as CONNECT are the tunnel's first, in order.", "", earlyBytes},
	{"9110-9.3.6/server-first", "T46", "A server that speaks first is heard.", "", serverFirst},
	{"9110-9.3.6/body-fields", "T44", "Content-Length or Transfer-Encoding on CONNECT: refused and closed, or without meaning; never two readings.", "", connectBody},
	{"9931-4/rejected-closes", "T47", "A rejected CONNECT carries `Connection: close` and closes; what came with it is never read as a request.", "guarded", rejectedCloses},
	{"9931-4/failed-dial-closes", "T47", "The same when the destination refuses.", "", failedDialCloses},
	{"9110-9.3.6/keep-alive-before", "T41", "CONNECT after other requests on the same connection.", "", connectAfterGet},
	{"9110-9.3.6/nothing-leaks", "T15", "A tunnel's origin receives the tunnel's bytes and nothing else.", "", connectLeaksNothing},
	{"product-2/connect-ports", "T55", "By default CONNECT reaches ports 443 and 8443 only; others are 403 http_request_denied, nothing dialled.", "lifted", connectPorts},
	{"product-2/connect-ports-list", "T55", "`--connect-ports` takes a list; plain requests are not bound by it.", own, connectPortsList},
}

func connectTunnel(t *testing.T, p *proxy) {
	c, o := stage(t, p, echo)
	c.ask("CONNECT {O} HTTP/1.1", "Host: {O}")
	m := c.answerTo("CONNECT")
	if m.status() != 200 || m.has("Content-Length") || m.has("Transfer-Encoding") || !strings.HasPrefix(m.line, "HTTP/1.1 200 ") {
		t.Fatalf("got %q", m.raw)
	}
	c.send("ping").read("ping")
	c.closeWrite()
	c.endsOrderly()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func connectHost(t *testing.T, p *proxy) {
	for _, l := range [][]string{
		{"CONNECT {O} HTTP/1.1", "Host: 127.0.0.1"},
		{"CONNECT {O} HTTP/1.1", "Host: other.invalid:1"},
		{"CONNECT {O} HTTP/1.0"},
		{"CONNECT {O} HTTP/1.0", "Host: other.invalid"},
		{"CONNECT LOCALHOST:{P} HTTP/1.1", "Host: localhost"},
		{"CONNECT localhost.:{P} HTTP/1.1", "Host: localhost"},
		{"CONNECT {O} HTTP/1.1", "Host: {O}", "User-Agent: x", "Proxy-Authorization: Basic dTpw"},
	} {
		c, _ := stage(t, p, echo)
		c.ask(l...)
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Errorf("%q: got %q", l, m.line)
			continue
		}
		c.send("ping").read("ping")
	}
	c, _ := stage(t, p, echo)
	c.ask("CONNECT {O} HTTP/1.1").answer().wantOwn(t, 400, "http_request_error")
}

func connectClose(t *testing.T, p *proxy) {
	for _, f := range []string{"Connection: close", "Proxy-Connection: close", "Proxy-Connection: keep-alive", "Connection: upgrade"} {
		c, _ := stage(t, p, echo)
		c.ask("CONNECT {O} HTTP/1.1", "Host: {O}", f)
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("%s: got %q", f, m.raw)
		}
		for range 3 {
			c.send("ping").read("ping")
		}
	}
}

func badAuthority(t *testing.T, p *proxy) {
	for _, authority := range []string{
		"127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.1:65536", "127.0.0.1:https", "127.0.0.1:+{P}", "127.0.0.1: {P}", "127.0.0.1:-1", "127.0.0.1:{P}:{P}",
		"/x", "/", "http://{O}/", "http://{O}", "{O}/", "{O}/x", "{O}?x", "{O}#x", "u@{O}", "u:p@{O}", "@{O}", ":{P}", ":", "", "*", "{P}", "::1:{P}", "[::1]", "[::1:{P}", "::1]:{P}",
		"[127.0.0.1]:{P}", "[localhost]:{P}", "[fe80::1%25lo]:{P}", "[fe80::1%lo]:{P}", "[::1]x:{P}", "[]:{P}", "127.0.0.1\\:{P}", "127.0.0.1,x:{P}", "a b:{P}", "127.0.0.1%00:{P}", "127.0.0.1:0x50", "127.0.0.1:０", ".:{P}", "..:{P}", "<x>:{P}",
	} {
		c, o := stage(t, p, echo)
		c.send("CONNECT " + authority + " HTTP/1.1\r\nHost: {O}\r\n\r\n")
		m := c.answerTo("CONNECT")
		m.wantOwn(t, 400, "http_request_error")
		c.ends()
		if o.dials() != 0 {
			t.Errorf("%q: the origin was dialled", authority)
		}
	}
}

func earlyBytes(t *testing.T, p *proxy) {
	for _, size := range []int{1, 100, 5000, 70_000} {
		c, _ := stage(t, p, echo)
		early := strings.Repeat("early bytes ", size/12+1)[:size]
		c.send("CONNECT {O} HTTP/1.1\r\nHost: {O}\r\n\r\n" + early)
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
		c.read(early)
		c.send("later").read("later")
	}
}

func serverFirst(t *testing.T, p *proxy) {
	c, _ := stage(t, p, func(o *originConn) {
		o.send("220 ready\r\n")
		echo(o)
	})
	c.tunnel("{O}").read("220 ready\r\n")
	c.send("EHLO").read("EHLO")
}

func connectBody(t *testing.T, p *proxy) {
	for _, f := range []string{"Content-Length: 4", "Transfer-Encoding: chunked", "Content-Length: 4\r\nTransfer-Encoding: chunked", "Content-Length: 4, 4", "Content-Length: x"} {
		c, o := stage(t, p, echo)
		c.send("CONNECT {O} HTTP/1.1\r\nHost: {O}\r\n" + f + "\r\n\r\nping")
		m := c.answerTo("CONNECT")
		if m.status() == 200 {
			c.read("ping")
			continue
		}
		m.wantOwn(t, m.status(), "http_request_error")
		c.ends()
		if o.dials() != 0 {
			t.Errorf("%q: the origin was dialled", f)
		}
	}
}

func rejectedCloses(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("reached")))
	c.send("CONNECT {O} HTTP/1.1\r\nHost: {O}\r\n\r\nGET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n")
	m := c.answerTo("CONNECT")
	m.wantOwn(t, 403, "http_request_denied", "destination_ip_prohibited")
	closesOrderly(t, c, m)
	if o.dials() != 0 {
		t.Error("the origin was dialled")
	}
}

// closesOrderly wants the end of the connection announced and made.
func closesOrderly(t *testing.T, c *client, m *message) {
	t.Helper()
	if !strings.EqualFold(m.get("Connection"), "close") {
		t.Errorf("the answer does not announce the close: %q", m.raw)
	}
	c.endsOrderly()
}

func failedDialCloses(t *testing.T, p *proxy) {
	c := dial(t, p)
	target := refusing(t)
	c.send("CONNECT " + target + " HTTP/1.1\r\nHost: x\r\n\r\nGET http://x.invalid/ HTTP/1.1\r\nHost: x\r\n\r\n")
	m := c.answerTo("CONNECT")
	m.wantOwn(t, 502, "connection_refused")
	closesOrderly(t, c, m)
}

func connectAfterGet(t *testing.T, p *proxy) {
	web := newOrigin(t, says(ok("fine")))
	c, _ := stage(t, p, echo)
	c.ask("GET http://"+web.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
	c.tunnel("{O}").send("ping").read("ping")
}

func connectLeaksNothing(t *testing.T, p *proxy) {
	c, o := stage(t, p, echo)
	c.ask("CONNECT {O} HTTP/1.1", "Host: {O}", "Proxy-Authorization: Basic dTpw", "X-Forwarded-For: 10.1.2.3", "User-Agent: x")
	c.answerTo("CONNECT")
	c.send("ping").read("ping")
	if got := o.bytes(); len(got) != 1 || got[0] != "ping" {
		t.Errorf("the origin got %q", got)
	}
}

func connectPorts(t *testing.T, p *proxy) {
	for _, port := range []string{"{P}", "80", "25", "22", "444"} {
		c, o := stage(t, p, echo)
		c.ask("CONNECT 127.0.0.1:"+port+" HTTP/1.1", "Host: x")
		m := c.answerTo("CONNECT")
		m.wantOwn(t, 403, "http_request_denied")
		closesOrderly(t, c, m)
		if o.dials() != 0 {
			t.Error("the origin was dialled")
		}
	}
	for _, port := range []int{443, 8443} {
		c := dial(t, p)
		c.ask(fmt.Sprintf("CONNECT 127.0.0.1:%d HTTP/1.1", port), "Host: x")
		if m := c.answerTo("CONNECT"); m.status() == 403 {
			t.Errorf("port %d: got %q", port, m.raw)
		}
	}
}

func connectPortsList(t *testing.T, _ *proxy) {
	o := newOrigin(t, echo)
	other := newOrigin(t, says(ok("fine")))
	p := startBare(t, "--allow-private", "--connect-ports", "443,"+o.port)
	dial(t, p).tunnel(o.addr).send("ping").read("ping")
	dial(t, p).ask("CONNECT "+other.addr+" HTTP/1.1", "Host: x").answerTo("CONNECT").wantOwn(t, 403, "http_request_denied")
	dial(t, p).ask("GET http://"+other.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
}
