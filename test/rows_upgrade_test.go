package test

import (
	"strings"
	"testing"
)

var upgradeRows = []row{
	{"9110-7.8/websocket", "T62", "A WebSocket handshake passes; first frames in the same packet as the heads, both ways, arrive in order.", "", websocket},
	{"9110-7.8/hints-before-switching", "T62", "103 before 101: both reach the client.", "", hintsBeforeSwitching},
	{"9110-7.8/origin-closes-first", "T62", "The origin closes first: the client reads what was sent, then the end; the tunnel is gone.", "", upgradeOriginCloses},
	{"9110-7.8/other-token", "T63", "An unknown Upgrade token is relayed like WebSocket.", "", otherToken},
	{"9110-7.8/refused-by-origin", "T63", "An origin that ignores the Upgrade answers like any other request, and the connection goes on.", "", upgradeRefused},
	{"9110-7.8/frames-after-refusal", "T63", "Frames that a client sends without waiting, and the origin did not switch: they are no request and reach nobody.", "", framesAfterRefusal},
	{"9110-7.8/h2c-removed", "T10, T63", "h2c and HTTP2-Settings are removed, alone or in a list; the request goes on as plain HTTP/1.1.", "", h2cRemoved},
	{"9110-15.2.2/unasked-101", "T63", "101 without asking, or to another protocol: 502 http_upgrade_failed; no tunnel opens.", "", unasked101},
	{"9110-7.8/with-body", "T63", "An Upgrade with a request body: the body reaches the origin before the switch, or the Upgrade is dropped or refused.", "", upgradeWithBody},
	{"9110-7.8/http10", "T63", "An HTTP/1.0 client cannot upgrade: the origin is not asked to.", "", upgradeHTTP10},
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

func websocket(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		o.head()
		o.send(switching + "hello")
		echo(o)
	})
	c.send("GET http://{O}/chat HTTP/1.1\r\nHost: {O}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\nfirst")
	m := c.answer()
	if m.status() != 101 || m.get("Sec-WebSocket-Accept") == "" || m.get("Upgrade") != "websocket" || !strings.EqualFold(m.get("Connection"), "upgrade") {
		t.Fatalf("got %q", m.raw)
	}
	c.read("hellofirst")
	c.send("second").read("second")
	got := o.seen()[0]
	if got.get("Upgrade") != "websocket" || !strings.EqualFold(got.get("Connection"), "upgrade") || got.get("Sec-WebSocket-Key") != "x" {
		t.Errorf("the origin got %q", got.raw)
	}
	c.closeWrite()
	c.endsOrderly()
}

func upgradeOriginCloses(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		o.head()
		o.send(switching + "bye")
		o.closeWrite()
		o.drain()
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket")
	c.answer()
	if rest, err := c.rest(); rest != "bye" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
	c.conn.Close()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func otherToken(t *testing.T, p *proxy) {
	for _, token := range []string{"something-else", "IRC/6.9", "TLS/1.0"} {
		c, o := stage(t, p, func(o *originConn) {
			r := o.head()
			o.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + r.get("Upgrade") + "\r\nConnection: Upgrade\r\n\r\n")
			echo(o)
		})
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: upgrade", "Upgrade: "+token)
		if m := c.answer(); m.status() != 101 || m.get("Upgrade") != token {
			t.Fatalf("got %q", m.raw)
		}
		c.send("ping").read("ping")
		if got := o.seen()[0].get("Upgrade"); got != token {
			t.Errorf("the origin got %q", got)
		}
	}
}

func upgradeRefused(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("plain")))
	for range 2 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket")
		c.answer().want(t, 200, "plain")
	}
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "plain")
	o.seen()[2].without(t, "Upgrade", "Connection")
}

func h2cRemoved(t *testing.T, p *proxy) {
	for _, token := range []string{"h2c", "H2C", "websocket, h2c", "h2c,foo/2", "foo, h2c ,bar", "\"h2c\"", "h2c/1"} {
		c, o := stage(t, p, says(ok("plain")))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: "+token, "HTTP2-Settings: AAMAAABkAAQAAP__")
		if m := c.answer(); m.status() != 200 && m.status() != 400 {
			t.Errorf("%q: %q", token, m.line)
		}
		if got := strings.ToLower(strings.Join(o.bytes(), "")); strings.Contains(got, "h2c") || strings.Contains(got, "http2-settings") {
			t.Errorf("%q: the origin got %q", token, got)
		}
	}
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: x", "Upgrade: h2c", "HTTP2-Settings: AAMA").without(t, "HTTP2-Settings")
	got := pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")
	got.without(t, "Upgrade", "Connection", "HTTP2-Settings")
}

func unasked101(t *testing.T, p *proxy) {
	for name, l := range map[string][]string{
		"not asked":      nil,
		"other protocol": {"Connection: Upgrade", "Upgrade: foo"},
		"h2c":            {"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"},
	} {
		c, o := stage(t, p, func(o *originConn) {
			o.head()
			o.send(switching)
			o.drain()
		})
		c.ask(append([]string{"GET http://{O}/ HTTP/1.1", "Host: {O}"}, l...)...)
		m := c.answer()
		if m.status() != 502 {
			t.Errorf("%s: got %q", name, m.raw)
			continue
		}
		m.wantOwn(t, 502, "http_upgrade_failed")
		poll(t, "the origin's connection is closed", func() bool { return o.open() == 0 })
	}
}

func upgradeWithBody(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		r := o.request()
		if r == nil || r.body != "hello" {
			return
		}
		if !r.has("Upgrade") {
			o.send(ok("plain"))
			return
		}
		o.send(switching)
		echo(o)
	})
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhellofirst")
	switch m := c.answer(); m.status() {
	case 101:
		c.read("first")
	case 200, 400, 501:
	default:
		t.Errorf("got %q; the origin got %q", m.raw, o.bytes())
	}
}

func upgradeHTTP10(t *testing.T, p *proxy) {
	pass(t, p, "GET http://{O}/ HTTP/1.0", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket").without(t, "Upgrade", "Connection")
}

func hintsBeforeSwitching(t *testing.T, p *proxy) {
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + switching)
		echo(o)
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket")
	for _, status := range []int{103, 101} {
		if m := c.answer(); m.status() != status {
			t.Fatalf("got %q, want %d", m.raw, status)
		}
	}
	c.send("ping").read("ping")
}

func framesAfterRefusal(t *testing.T, p *proxy) {
	frame := "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + marker
	c, o := stage(t, p, says(ok("plain")))
	c.send("GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + frame)
	c.answer().want(t, 200, "plain")
	isRefused(t, c, "a frame")
	if got := o.bytes(); len(got) != 1 || strings.Contains(got[0], "arker") {
		t.Errorf("the origin got %q", got)
	}
}
