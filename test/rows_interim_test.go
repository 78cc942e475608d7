package test

import (
	"strings"
	"testing"
)

var interimRows = []row{
	{"9110-15.2/early-hints", "T33", "103 reaches an HTTP/1.1 client, before the final answer exists, then the final answer.", "", earlyHints},
	{"9110-15.2/several-interim", "T33", "Several interim answers pass in order, 102 and unknown ones too, without their hop-by-hop fields.", "", severalInterim},
	{"9110-15.2/http10", "T33", "Interim answers are withheld from an HTTP/1.0 client.", "", interimForHTTP10},
	{"9110-15.2/interim-without-final", "T33", "An origin that closes after 103: 502 follows the 103.", "", interimWithoutFinal},
	{"9110-10.1.1/refused", "T34", "Expect: 100-continue, and the origin answers 417 or 401 at once: only that, no 100.", "", expectRefused},
	{"9110-10.1.1/continue", "T35", "Expect: 100-continue: 100 comes when the origin sends it, not before; the body follows.", "", expectContinue},
	{"9110-10.1.1/without-waiting", "T35", "Expect: 100-continue with the body sent at once, and an origin that never says 100: works.", "", expectWithoutWaiting},
	{"9110-10.1.1/next-request", "T34", "After a refused expectation the next request is not taken for the body.", "", expectThenNext},
	{"9110-10.1.1/http10", "T35", "An Expect from an HTTP/1.0 client is not waited for.", "", expectHTTP10},
}

func earlyHints(t *testing.T, p *proxy) {
	seen := make(chan struct{})
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
		<-seen
		o.send(ok("final"))
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	m := c.answer()
	close(seen)
	if m.status() != 103 || m.get("Link") != "</a.css>; rel=preload" {
		t.Errorf("got %q", m.raw)
	}
	c.answer().want(t, 200, "final")
}

func severalInterim(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nConnection: X-A\r\nX-A: 1\r\nLink: <a>\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n"+ok("final")))
	for range 2 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		for _, want := range []int{102, 103, 199} {
			m := c.answer()
			m.without(t, "X-A", "Connection")
			if m.status() != want {
				t.Fatalf("got %q, want %d", m.raw, want)
			}
		}
		c.answer().want(t, 200, "final")
	}
}

func interimForHTTP10(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"+ok("final")))
	c.ask("GET http://{O}/ HTTP/1.0").answer().want(t, 200, "final")
}

func interimWithoutFinal(t *testing.T, p *proxy) {
	c, _ := stage(t, p, saysAndCloses("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	if m := c.answer(); m.status() != 103 {
		t.Fatalf("got %q", m.raw)
	}
	c.answer().wantOwn(t, 502, "connection_terminated", "http_response_incomplete")
}

func expectRefused(t *testing.T, p *proxy) {
	for _, status := range []string{"417 Expectation Failed", "401 Unauthorized"} {
		c, o := stage(t, p, func(o *originConn) {
			o.head()
			o.send("HTTP/1.1 " + status + "\r\nContent-Length: 2\r\n\r\nno")
			o.drain()
		})
		c.ask("POST http://{O}/ HTTP/1.1", "Host: {O}", "Expect: 100-continue", "Content-Length: 5")
		if m := c.answer(); !strings.HasPrefix(m.line, "HTTP/1.1 "+status[:3]) || m.body != "no" {
			t.Errorf("got %q %q", m.raw, m.body)
		}
		if !strings.Contains(o.seen()[0].raw, "\r\nExpect: 100-continue\r\n") {
			t.Errorf("the origin got %q", o.seen()[0].raw)
		}
	}
}

func expectContinue(t *testing.T, p *proxy) {
	asked, release := make(chan struct{}), make(chan struct{})
	c, _ := stage(t, p, func(o *originConn) {
		r := o.head()
		asked <- struct{}{}
		<-release
		o.send("HTTP/1.1 100 Continue\r\n\r\n")
		r.readBody(o.in, false)
		o.send(ok("got " + r.body))
		serve(func(r *message) string { return ok(r.target()) })(o)
	})
	c.ask("POST http://{O}/ HTTP/1.1", "Host: {O}", "Expect: 100-continue", "Content-Length: 5")
	receive(t, "the head at the origin", asked)
	if n := c.in.Buffered(); n != 0 {
		t.Errorf("%d bytes came before the origin spoke", n)
	}
	close(release)
	if m := c.answer(); m.status() != 100 {
		t.Fatalf("got %q", m.raw)
	}
	c.send("hello").answer().want(t, 200, "got hello")
	c.ask("GET http://{O}/next HTTP/1.1", "Host: {O}").answer().want(t, 200, "/next")
}

func expectWithoutWaiting(t *testing.T, p *proxy) {
	c, _ := stage(t, p, serve(func(r *message) string { return ok("got " + r.body) }))
	for range 2 {
		c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
		m := c.answer()
		if m.status() == 100 {
			t.Errorf("a 100 that no origin said")
			m = c.answer()
		}
		m.want(t, 200, "got hello")
	}
}

// expectThenNext sends the next request without a body after the refusal. The
// proxy may close, or may take it as what it is; it may not send it on as the
// body of the first.
func expectThenNext(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		for r := o.head(); r != nil; r = o.head() {
			o.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
		}
	})
	c.ask("POST http://{O}/ HTTP/1.1", "Host: {O}", "Expect: 100-continue", "Content-Length: 500")
	m := c.answer()
	m.want(t, 417, "no")
	if strings.EqualFold(m.get("Connection"), "close") {
		c.ends()
	} else if c.try(lines("GET http://{O}/next HTTP/1.1", "Host: {O}")) == nil {
		c.rest() // only what the origin received counts
	}
	for _, got := range o.bytes() {
		if strings.Contains(got, "GET http://") {
			t.Errorf("the next request was sent as a body: %q", got)
		}
	}
}

func expectHTTP10(t *testing.T, p *proxy) {
	c, _ := stage(t, p, serve(func(r *message) string { return ok("got " + r.body) }))
	c.send("POST http://{O}/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello").answer().want(t, 200, "got hello")
}
