package test

import (
	"fmt"
	"strings"
	"testing"
)

var persistRows = []row{
	{"9112-9.3/two-origins", "T38", "On one connection each request reaches the origin of its own target.", "", twoOrigins},
	{"9112-9.3/reuse", "T38", "Requests of one client, and of the next, share the origin's connection.", "", reuse},
	{"9112-9.3.2/pipelining", "T39", "Pipelined requests are answered in order, bodies and all.", "", pipelining},
	{"9112-9.3.2/pipelining-one-write", "T39", "Fifty requests in one write: fifty answers in order.", "", pipeliningOneWrite},
	{"9112-9.3.2/first-unreachable", "T39", "Two pipelined requests, the first target refuses: 502, then the second answer.", "", firstUnreachable},
	{"9112-9.3.2/byte-by-byte", "T39", "Requests that come byte by byte are understood alike.", "", byteByByte},
	{"9112-9.3/http10", "T30", "An HTTP/1.0 client gets its answer, then the end; keep-alive is not honoured by a proxy.", "", http10},
	{"9112-9.3/http10-persistent", "T30", "Proxy-Connection and Connection: keep-alive of HTTP/1.0 reach no origin.", "", http10Persistent},
	{"9112-9.6/half-closed-client", "T49", "A client that ends its side behind its request still gets the answer of an origin that is not slow.", "", halfClosedClient},
	{"9112-9.6/origin-says-close", "T40", "An origin's `Connection: close` is its own: the client's connection stays.", "", originSaysClose},
	{"9112-9.6/close-and-stay", "T40", "An origin that says close and does not: the proxy closes, and asks on a fresh connection.", "", closeAndStay},
	{"9110-9.2.2/stale-get", "T40", "The origin closes idle connections: every GET still succeeds, on a fresh one.", "", staleGet},
	{"9110-9.2.2/stale-post", "T40", "The origin closes its idle connection as the POST arrives: the POST succeeds on a fresh one or is a clean 502, and is read at most once.", "", stalePost},
	{"9110-9.2.2/no-retry", "T40", "A POST that an origin has read is never sent again, whatever the origin does.", "", noRetry},
	{"9110-9.2.2/no-retry-once-answered", "T40", "On a reused connection an origin that says 103, or half a head, and dies has answered: the request is not sent again.", "", noRetryOnceAnswered},
	{"9112-9.2/surplus-answer", "T40", "An answer with another complete one behind it, in the same packet: the surplus is never another client's answer.", "", surplusAnswer},
	{"9112-9.2/surplus-later", "T40", "The same when the surplus comes while the connection is idle.", "", surplusLater},
	{"9112-9.2/surplus-after-chunks", "T40", "The same behind a chunked answer.", "", surplusAfterChunks},
	{"9112-9.2/unasked-408", "T40", "An origin that says 408 on an idle connection: the next client does not read it.", "", unasked408},
}

func twoOrigins(t *testing.T, p *proxy) {
	c, a := stage(t, p, says(ok("from a")))
	b := newOrigin(t, says(ok("from b")))
	for range 3 {
		c.ask("GET http://"+a.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "from a")
		c.ask("GET http://"+b.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "from b")
	}
}

func reuse(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("fine")))
	for range 5 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	}
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close").answer().want(t, 200, "fine")
	c.ends() // so that the proxy is done with it
	other := dial(t, p)
	other.fill = o.places
	other.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	if o.dials() != 1 {
		t.Errorf("%d connections for seven requests in turn", o.dials())
	}
}

func pipelining(t *testing.T, p *proxy) {
	c, _ := stage(t, p, serve(func(r *message) string { return ok(r.method() + " " + r.target() + " " + r.body) }))
	c.send("GET http://{O}/1 HTTP/1.1\r\nHost: {O}\r\n\r\n" +
		"POST http://{O}/2 HTTP/1.1\r\nHost: {O}\r\nContent-Length: 3\r\n\r\ntwo" +
		"POST http://{O}/3 HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n" +
		"HEAD http://{O}/4 HTTP/1.1\r\nHost: {O}\r\n\r\n" +
		"GET http://{O}/5 HTTP/1.1\r\nHost: {O}\r\nConnection: close\r\n\r\n" +
		"GET http://{O}/6 HTTP/1.1\r\nHost: {O}\r\n\r\n")
	c.answer().want(t, 200, "GET /1 ")
	c.answer().want(t, 200, "POST /2 two")
	c.answer().want(t, 200, "POST /3 three")
	c.answerTo("HEAD").want(t, 200, "")
	c.answer().want(t, 200, "GET /5 ")
	c.ends()
}

func pipeliningOneWrite(t *testing.T, p *proxy) {
	c, _ := stage(t, p, serve(func(r *message) string { return ok(r.target()) }))
	var all strings.Builder
	for n := range 50 {
		fmt.Fprintf(&all, "GET http://{O}/%d HTTP/1.1\r\nHost: {O}\r\nX-Pad: %s\r\n\r\n", n, strings.Repeat("p", n*37))
	}
	c.send(all.String())
	for n := range 50 {
		c.answer().want(t, 200, fmt.Sprint("/", n))
	}
}

func firstUnreachable(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says(ok("second")))
	c.send("GET http://" + refusing(t) + "/ HTTP/1.1\r\nHost: x\r\n\r\nGET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n")
	c.answer().wantOwn(t, 502, "connection_refused")
	c.answer().want(t, 200, "second")
}

func byteByByte(t *testing.T, p *proxy) {
	c, _ := stage(t, p, serve(func(r *message) string { return ok(r.target() + r.body) }))
	for _, b := range []byte(c.fill("GET http://{O}/1 HTTP/1.1\r\nHost: {O}\r\n\r\nPOST http://{O}/2 HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nthree\r\n0\r\nX: 1\r\n\r\n")) {
		c.send(string(b))
	}
	c.answer().want(t, 200, "/1")
	c.answer().want(t, 200, "/2three")
}

func http10(t *testing.T, p *proxy) {
	for _, l := range [][]string{nil, {"Connection: keep-alive"}, {"Proxy-Connection: keep-alive"}, {"Connection: close"}} {
		c, _ := stage(t, p, says(ok("fine")))
		c.ask(append([]string{"GET http://{O}/ HTTP/1.0", "Host: {O}"}, l...)...)
		m := c.answer()
		m.want(t, 200, "fine")
		if strings.EqualFold(m.get("Connection"), "keep-alive") {
			t.Errorf("%q: %q", l, m.raw)
		}
		c.endsOrderly()
	}
}

func http10Persistent(t *testing.T, p *proxy) {
	pass(t, p, "GET http://{O}/ HTTP/1.0", "Host: {O}", "Connection: keep-alive", "Proxy-Connection: keep-alive", "Keep-Alive: 300").
		without(t, "Connection", "Proxy-Connection", "Keep-Alive")
}

func halfClosedClient(t *testing.T, p *proxy) {
	for _, request := range []string{
		"GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n", "GET http://{O}/ HTTP/1.0\r\n\r\n",
		"POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello", "POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		c, _ := stage(t, p, says(ok("fine")))
		c.send(request)
		c.closeWrite()
		c.answer().want(t, 200, "fine")
		c.endsOrderly()
	}
}

func originSaysClose(t *testing.T, p *proxy) {
	c, o := stage(t, p, saysAndCloses("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfine"))
	for range 3 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		m := c.answer()
		m.want(t, 200, "fine")
		m.without(t, "Connection")
	}
	if o.dials() != 3 {
		t.Errorf("%d connections, want 3", o.dials())
	}
}

func closeAndStay(t *testing.T, p *proxy) {
	for _, answer := range []string{"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 4\r\n\r\nfine", "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine", "HTTP/1.1 200 OK\r\nconnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n"} {
		c, o := stage(t, p, func(o *originConn) {
			o.request()
			o.send(answer)
			o.drain()
		})
		for range 3 {
			c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
		}
		poll(t, "the origin's connections are closed", func() bool { return o.open() == 0 })
	}
}

func staleGet(t *testing.T, p *proxy) {
	c, o := stage(t, p, saysAndCloses(ok("fine")))
	for range 12 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	}
	if n := len(o.seen()); n != 12 {
		t.Errorf("the origins read %d requests, want 12", n)
	}
}

// stalePost lets the origin close its idle connection exactly when the POST
// comes: it reads nothing of it.
func stalePost(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		if r := o.request(); r != nil {
			o.send(ok(r.method()))
		}
	})
	for range 10 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET")
		c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 3\r\n\r\nabc")
		if m := c.answer(); m.status() != 200 {
			m.wantOwn(t, 502, "connection_terminated", "http_response_incomplete")
			if strings.EqualFold(m.get("Connection"), "close") {
				c = dial(t, p)
				c.fill = o.places
			}
		}
	}
	posts := 0
	for _, r := range o.seen() {
		if r.method() == "POST" {
			posts++
		}
	}
	if posts > 10 {
		t.Errorf("10 POSTs were read %d times", posts)
	}
}

func noRetry(t *testing.T, p *proxy) {
	for name, end := range map[string]func(*originConn){
		"closes": func(*originConn) {}, "resets": func(o *originConn) { reset(o) }, "half": func(o *originConn) { o.send("HTTP/1.1 200") },
	} {
		c, o := stage(t, p, func(o *originConn) {
			if r := o.request(); r != nil && r.method() == "GET" {
				o.send(ok("fine"))
				o.request()
			}
			end(o)
		})
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine") // the POST finds a pooled connection
		c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 3\r\n\r\nabc")
		c.answer().wantOwn(t, 502)
		posts := 0
		for _, r := range o.seen() {
			if r.method() == "POST" {
				posts++
			}
		}
		if posts != 1 {
			t.Errorf("%s: the POST was read %d times", name, posts)
		}
	}
}

// poisoned asks twice for the first answer and then, as other clients, for
// their own; spoiled is called between.
func poisoned(t *testing.T, p *proxy, script func(*originConn), spoiled func()) {
	t.Helper()
	c, o := stage(t, p, script)
	c.ask("GET http://{O}/first HTTP/1.1", "Host: {O}").answer().want(t, 200, "first")
	spoiled()
	for n := range 4 {
		victim := dial(t, p)
		victim.fill = o.places
		victim.ask(fmt.Sprintf("GET http://{O}/%d HTTP/1.1", n), "Host: {O}").answer().want(t, 200, fmt.Sprint("/", n))
	}
	c.ask("GET http://{O}/own HTTP/1.1", "Host: {O}").answer().want(t, 200, "/own")
}

func surplusAnswer(t *testing.T, p *proxy) {
	poisoned(t, p, serve(func(r *message) string {
		if r.target() == "/first" {
			return ok("first") + ok("poison")
		}
		return ok(r.target())
	}), func() {})
}

func surplusAfterChunks(t *testing.T, p *proxy) {
	poisoned(t, p, serve(func(r *message) string {
		if r.target() == "/first" {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n" + ok("poison")
		}
		return ok(r.target())
	}), func() {})
}

func surplusLater(t *testing.T, p *proxy) {
	for _, poison := range []string{ok("poison"), "HTTP/1.1 ", "\r\n", "x"} {
		idle, spoilt := make(chan struct{}), make(chan struct{})
		poisoned(t, p, func(o *originConn) {
			for r := o.request(); r != nil; r = o.request() {
				if r.target() != "/first" {
					o.send(ok(r.target()))
					continue
				}
				o.send(ok("first"))
				<-idle
				o.send(poison)
				close(spoilt)
			}
		}, func() {
			close(idle)
			receive(t, "the poison is out", spoilt)
		})
	}
}

func unasked408(t *testing.T, p *proxy) {
	idle, spoilt := make(chan struct{}), make(chan struct{})
	poisoned(t, p, func(o *originConn) {
		for r := o.request(); r != nil; r = o.request() {
			if r.target() != "/first" {
				o.send(ok(r.target()))
				continue
			}
			o.send(ok("first"))
			<-idle
			o.send("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			close(spoilt)
			return
		}
	}, func() {
		close(idle)
		receive(t, "the 408 is out", spoilt)
	})
}

func noRetryOnceAnswered(t *testing.T, p *proxy) {
	for _, words := range []string{"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-", "H"} {
		c, o := stage(t, p, func(o *originConn) {
			if r := o.request(); r != nil && r.target() == "/first" {
				o.send(ok("fine"))
				o.request()
			}
			o.send(words)
		})
		c.ask("GET http://{O}/first HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
		m := c.ask("GET http://{O}/second HTTP/1.1", "Host: {O}").answer()
		if m.status() == 103 {
			m = c.answer()
		}
		if m.status() != 502 {
			t.Errorf("%q: got %q, want 502", words, m.raw)
		}
		if n := len(o.seen()); n != 2 {
			t.Errorf("%q: the origin read %d requests, want 2", words, n)
		}
	}
}
