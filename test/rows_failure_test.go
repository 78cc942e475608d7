package test

import (
	"fmt"
	"strings"
	"testing"
)

var failureRows = []row{
	{"9209-2.3.7/refused", "T54", "A destination that refuses: 502 connection_refused, for GET and CONNECT, no inner address in any byte.", "", refused},
	{"9209-2.3.9/black-hole", "T54", "A destination that never answers the attempt: 504 connection_timeout within --dial-timeout.", "impatient", blackHole},
	{"9209-2.3.2/unknown-name", "T54", "A name that does not exist: 502 dns_error (504 dns_timeout where the machine's resolver cannot be reached).", "", unknownName},
	{"9209-2.3.2/nxdomain", "T54", "NXDOMAIN from a name server: 502 dns_error.", own, dnsAnswers(reply{code: nameError}, 502, "dns_error")},
	{"9209-2.3.2/servfail", "T54", "SERVFAIL from the only name server: 502 dns_error.", own, dnsAnswers(reply{code: serverFailure}, 502, "dns_error")},
	{"9209-2.3.1/silent-resolver", "T54", "A name server that keeps silent: 504 dns_timeout.", own, dnsAnswers(reply{silent: true}, 504, "dns_timeout")},
	{"8305-5/black-hole-first", "T65", "A name with a dead IPv6 and a living IPv4 address is reached.", own, blackHoleFirst},
	{"8305-5/refused-first", "T65", "The same when one of the addresses refuses, whichever family it is.", own, refusedFirst},
	{"product-7/answer-shape", "T54", "Our own answers: Content-Length, a text body of one sentence, Proxy-Status; HEAD gets no body.", "", answerShape},
	{"product-7/browser", "T54", "A client that accepts HTML gets a page; nothing of the request stands in it.", "", browser},
	{"product-7/rejected-request-goes-on", "T39", "A plain request that is rejected keeps its connection, unless its body was not read.", "", rejectedGoesOn},
}

// fails asks for target by GET and by CONNECT and wants the same failure.
func fails(t *testing.T, p *proxy, target string, status int, tokens ...string) {
	t.Helper()
	dial(t, p).ask("GET http://"+target+"/ HTTP/1.1", "Host: x").answer().wantOwn(t, status, tokens...)
	c := dial(t, p)
	m := c.ask("CONNECT "+target+" HTTP/1.1", "Host: x").answerTo("CONNECT")
	m.wantOwn(t, status, tokens...)
	closesOrderly(t, c, m)
}

func refused(t *testing.T, p *proxy) {
	fails(t, p, refusing(t), 502, "connection_refused")
}

func blackHole(t *testing.T, p *proxy) {
	fails(t, p, blackhole(t, "127.0.0.1", 0), 504, "connection_timeout")
}

func unknownName(t *testing.T, p *proxy) {
	c := dial(t, p).ask("GET http://nonexistent.invalid/ HTTP/1.1", "Host: x")
	m := c.answer()
	if m.status() == 504 {
		m.wantOwn(t, 504, "dns_timeout")
		return
	}
	m.wantOwn(t, 502, "dns_error")
}

// dnsAnswers makes a row: with a name server that answers so, every name
// fails in this way.
func dnsAnswers(r reply, status int, token string) func(*testing.T, *proxy) {
	return func(t *testing.T, _ *proxy) {
		server := newNames(t, func(query) reply { return r })
		p := server.start(t, "--dial-timeout", "3s")
		fails(t, p, "name.example:80", status, token)
	}
}

func blackHoleFirst(t *testing.T, _ *proxy) {
	o := newOrigin(t, says(ok("alive")))
	blackhole(t, "::1", atoi(o.port))
	p := newNames(t, always("::1", "127.0.0.1")).start(t)
	for range 3 {
		c := dial(t, p)
		c.ask("GET http://two.example:"+o.port+"/ HTTP/1.1", "Host: x", "Connection: close").answer().want(t, 200, "alive")
	}
	dial(t, p).tunnel("two.example:" + o.port)
}

func refusedFirst(t *testing.T, _ *proxy) {
	bound(t, "::1", 0) // skips where there is no IPv6
	four := newOrigin(t, says(ok("four")))
	six := newOriginAt(t, "[::1]:0", says(ok("six")))
	p := newNames(t, always("::1", "127.0.0.1")).start(t)
	dial(t, p).ask("GET http://two.example:"+four.port+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "four")
	dial(t, p).ask("GET http://two.example:"+six.port+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "six")
}

func answerShape(t *testing.T, p *proxy) {
	target := refusing(t)
	c := dial(t, p)
	m := c.ask("GET http://"+target+"/ HTTP/1.1", "Host: x").answer()
	m.wantOwn(t, 502, "connection_refused")
	if ct := m.get("Content-Type"); ct != "text/plain" && ct != "text/plain; charset=utf-8" {
		t.Errorf("Content-Type %q", ct)
	}
	m.without(t, "Server", "Via")
	c.ask("HEAD http://"+target+"/ HTTP/1.1", "Host: x")
	if m := c.answerTo("HEAD"); m.status() != 502 {
		t.Errorf("got %q", m.raw)
	}
	c.ask("GET http://"+target+"/ HTTP/1.1", "Host: x").answer().wantOwn(t, 502, "connection_refused")
}

func rejectedGoesOn(t *testing.T, p *proxy) {
	c, o := stage(t, p, serve(func(r *message) string { return ok(r.target()) }))
	target := refusing(t)
	for range 3 {
		c.ask("GET http://"+target+"/ HTTP/1.1", "Host: x").answer().wantOwn(t, 502, "connection_refused")
		c.ask("GET http://{O}/good HTTP/1.1", "Host: {O}").answer().want(t, 200, "/good")
	}
	body := c.fill(lines("GET http://{O}/smuggled HTTP/1.1", "Host: {O}"))
	for _, part := range []string{body, body[:10], ""} { // of the body that comes at once
		c = dial(t, p)
		c.fill = o.places
		m := c.send(fmt.Sprintf("POST http://%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", target, len(body), part)).answer()
		m.wantOwn(t, 502, "connection_refused")
		if strings.EqualFold(m.get("Connection"), "close") {
			c.try(body[len(part):]) // the refusal may have closed already
			c.ends()
			continue
		}
		c.send(body[len(part):])
		c.ask("GET http://{O}/good HTTP/1.1", "Host: {O}").answer().want(t, 200, "/good")
	}
	for _, r := range o.seen() {
		if r.target() != "/good" {
			t.Errorf("the origin got %q", r.raw)
		}
	}
}

func browser(t *testing.T, p *proxy) {
	for _, target := range []string{"http://" + refusing(t) + "/<script>x</script>", "http://<script>x</script>/", "/<script>x</script>"} {
		m := dial(t, p).ask("GET "+target+" HTTP/1.1", "Host: x", "Accept: text/html,*/*", "Referer: <script>x</script>").answer()
		m.discreet(t)
		if !strings.HasPrefix(m.get("Content-Type"), "text/html") || strings.Contains(m.body, "script") {
			t.Errorf("%s: %q %q", target, m.raw, m.body)
		}
	}
}
