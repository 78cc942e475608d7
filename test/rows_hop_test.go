package test

import (
	"fmt"
	"strings"
	"testing"
)

var hopRows = []row{
	{"9110-7.6.1/connection-named", "T9", "Fields that Connection names never reach the origin, nor does Connection.", "", connectionNamed},
	{"9110-7.6.1/connection-lines", "T9", "Several Connection lines, empty ones, empty members and other letter case count alike.", "", connectionLines},
	{"9110-7.6.1/connection-names-framing", "T9", "`Connection: content-length`, `host` or `transfer-encoding` is refused or changes nothing.", "", connectionNamesFraming},
	{"9110-7.6.1/connection-names-trailer", "T9, T36", "What Connection names does not go on in the trailer section either, both ways.", "", connectionNamesTrailer},
	{"9110-7.6.1/close-is-for-one-hop", "T9", "`Connection: close` ends the client's connection after the answer; the origin's is reused.", "", closeIsForOneHop},
	{"9110-7.6.1/hop-by-hop-request", "T10", "Keep-Alive, TE, Proxy-Connection, Upgrade without Connection, HTTP2-Settings, Trailer and Proxy-* do not reach the origin.", "", hopByHopRequest},
	{"9110-7.6.1/hop-by-hop-answer", "T11", "Keep-Alive, Proxy-Authenticate, Proxy-Connection, Upgrade, Connection and what it names do not reach the client.", "", hopByHopAnswer},
	{"9110-11.7.1/origin-407", "T12", "An origin's 407 becomes 502; no challenge reaches the client.", "", origin407},
	{"9110-11.7.2/proxy-authorization", "T13", "Proxy-Authorization never reaches the origin.", "", proxyAuthorization},
	{"9110-11.7.2/proxy-authorization-tricks", "T14", "Named in Connection, sent twice, in other letter case: still never at the origin.", "", proxyAuthorizationTricks},
	{"9110-5.3/request-order-and-case", "T15", "Kept fields keep their order and letter case; Host stands where the client put it.", "", requestOrder},
	{"9110-5.3/answer-order-and-case", "T11", "An answer's fields keep their order, letter case and repetition, and nothing is added.", "", answerOrder},
	{"9110-7.7/nothing-invented", "T17", "No User-Agent, Accept-Encoding or Date is invented; coded bodies pass unchanged.", "", nothingInvented},
	{"9110-5.1/unknown-passes", "T17", "Unknown methods and unknown fields pass.", "", unknownPasses},
	{"9110-9.3.8/trace", "T18", "TRACE with Max-Forwards: 0 is answered 200 message/http without Cookie, Authorization and Proxy-Authorization.", "", trace},
	{"9110-7.6.2/trace-forwarded", "T18", "TRACE with more Max-Forwards goes on with one less.", "", traceForwarded},
	{"9110-7.6.2/options-decremented", "T19", "OPTIONS with Max-Forwards: 1 reaches the origin with 0.", "", optionsDecremented},
	{"9110-7.6.2/options-zero", "T19", "OPTIONS with Max-Forwards: 0 is answered 200 by the proxy.", "", optionsZero},
	{"9110-7.6.2/invalid-max-forwards", "T19", "A Max-Forwards that is no number never lets a TRACE pass uncounted: 400, or it goes on unchanged.", "", invalidMaxForwards},
	{"9112-3.2.4/options-asterisk", "T20", "OPTIONS for a target without path reaches the origin as `OPTIONS *`, with a path as it was.", "", optionsAsterisk},
}

// pass sends one request through p, wants 200 and returns what the origin got.
func pass(t *testing.T, p *proxy, l ...string) *message {
	t.Helper()
	c, o := stage(t, p, says(ok("fine")))
	c.ask(l...)
	c.answer().want(t, 200, "fine")
	return o.seen()[0]
}

// without fails when the message has one of the fields.
func (m *message) without(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if m.has(name) {
			t.Errorf("%s got through: %q", name, m.raw)
		}
	}
}

func connectionNamed(t *testing.T, p *proxy) {
	got := pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close, X-A", "X-A: 1", "X-B: 2")
	got.without(t, "Connection", "X-A")
	if got.get("X-B") != "2" {
		t.Errorf("X-B is lost: %q", got.raw)
	}
}

func connectionLines(t *testing.T, p *proxy) {
	got := pass(t, p, "GET http://{O}/ HTTP/1.1", "X-d: 4", "Connection:", "Host: {O}", "X-A: 1", "connection: x-a,,keep-alive",
		"x-B: 2", "CONNECTION: \tX-b ,\t, x-C", "X-C: 3", "x-c: 3", "Connection: x-D", "X-E: 5")
	got.without(t, "Connection", "X-A", "X-B", "X-C", "X-D")
	if got.get("X-E") != "5" {
		t.Errorf("X-E is lost: %q", got.raw)
	}
}

// connectionNamesFraming sends bodies whose framing field Connection names,
// and a second request behind them. Either the first is refused, or both
// arrive as they were meant.
func connectionNamesFraming(t *testing.T, p *proxy) {
	second := lines("GET http://{O}/second HTTP/1.1", "Host: {O}")
	inner := lines("GET /smuggled HTTP/1.1", "Host: ab")
	for _, first := range []string{
		lines("POST http://{O}/first HTTP/1.1", "Host: {O}", "Connection: content-length", fmt.Sprint("Content-Length: ", len(inner))) + inner,
		lines("POST http://{O}/first HTTP/1.1", "Host: {O}", "Connection: Transfer-Encoding", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n",
		lines("GET http://{O}/first HTTP/1.1", "Host: {O}", "Connection: host, keep-alive"),
		lines("GET http://{O}/first HTTP/1.1", "Connection: Host", "Host: evil.invalid"),
		lines("POST http://{O}/first HTTP/1.1", "Host: {O}", "Connection: close, , Content-length", "Content-Length: 0"),
	} {
		c, o := stage(t, p, serve(func(r *message) string { return ok(r.target()) }))
		c.send(first + second)
		if m := c.answer(); m.status() != 200 {
			m.wantOwn(t, 400, "http_request_error")
			c.ends()
		} else if m.body != "/first" {
			t.Errorf("%q: the first answer is %q", first, m.body)
		}
		for _, r := range o.seen() {
			if r.target() != "/first" && r.target() != "/second" || r.get("Host") != o.addr {
				t.Errorf("%q: the origin got %q", first, r.raw)
			}
		}
	}
}

func closeIsForOneHop(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close")
	m := c.answer()
	m.want(t, 200, "fine")
	if !strings.EqualFold(m.get("Connection"), "close") {
		t.Errorf("the answer does not announce the close: %q", m.raw)
	}
	c.endsOrderly()
	again := dial(t, p)
	again.fill = o.places
	again.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	if o.dials() != 1 {
		t.Errorf("the origin was dialled %d times for two requests", o.dials())
	}
}

func hopByHopRequest(t *testing.T, p *proxy) {
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "Keep-Alive: timeout=5", "TE: gzip", "Proxy-Connection: keep-alive",
		"Upgrade: websocket", "HTTP2-Settings: AAMAAABkAAQAAP__", "Trailer: X-Sum", "Proxy-Foo: 1", "Proxy-Authenticate: Basic").
		without(t, "Keep-Alive", "TE", "Proxy-Connection", "Upgrade", "HTTP2-Settings", "Trailer", "Proxy-Foo", "Proxy-Authenticate", "Connection")
}

func hopByHopAnswer(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic realm=x\r\nX-Inner: 1\r\nProxy-Connection: close\r\n"+
		"Proxy-Authentication-Info: x\r\nUpgrade: h2c\r\nConnection: X-Inner, upgrade\r\nx-inner: 2\r\nX-Kept: 3\r\nContent-Length: 2\r\n\r\nhi"))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	m := c.answer()
	m.want(t, 200, "hi")
	m.without(t, "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Connection", "Upgrade", "X-Inner", "Connection")
	if m.get("X-Kept") != "3" {
		t.Errorf("X-Kept is lost: %q", m.raw)
	}
}

func origin407(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=phish\r\nContent-Length: 4\r\n\r\nlure"))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	m := c.answer()
	m.wantOwn(t, 502)
	m.without(t, "Proxy-Authenticate")
	if strings.Contains(m.body, "lure") {
		t.Error("the origin's text reached the client")
	}
}

func proxyAuthorization(t *testing.T, p *proxy) {
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "Proxy-Authorization: Basic dTpw").without(t, "Proxy-Authorization")
}

func proxyAuthorizationTricks(t *testing.T, p *proxy) {
	for _, l := range [][]string{
		{"Connection: Proxy-Authorization", "Proxy-Authorization: Basic dTpw"},
		{"Proxy-Authorization: Basic dTpw", "proxy-authorization: Basic dTpx"},
		{"PROXY-AUTHORIZATION: Basic dTpw"},
		{"Proxy-Authorization:Basic dTpw", "Connection: keep-alive"},
	} {
		c, o := stage(t, p, says(ok("fine")))
		c.ask(append([]string{"GET http://{O}/ HTTP/1.1", "Host: {O}"}, l...)...)
		if m := c.answer(); m.status() != 200 && m.status() != 400 && m.status() != 407 {
			t.Errorf("%q: %q", l, m.line)
		}
		for _, got := range o.bytes() {
			if strings.Contains(strings.ToLower(got), "proxy-auth") || strings.Contains(got, "dTp") {
				t.Errorf("%q: the origin got %q", l, got)
			}
		}
	}
}

func requestOrder(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "user-AGENT: x/1", "X-b: 2", "Host: other", "ACCEPT: */*", "Connection: keep-alive", "x-A: 1",
		"cookie: b=2", "Cookie: a=1", "X-b: 1", "x-empty:", "Accept-Language: de, en;q=0.5")
	c.answer().want(t, 200, "fine")
	want := o.places(lines("GET / HTTP/1.1", "user-AGENT: x/1", "X-b: 2", "Host: {O}", "ACCEPT: */*", "x-A: 1",
		"cookie: b=2", "Cookie: a=1", "X-b: 1", "x-empty:", "Accept-Language: de, en;q=0.5"))
	if got := o.seen()[0].raw; strings.ReplaceAll(got, "x-empty: \r\n", "x-empty:\r\n") != want {
		t.Errorf("the origin got\n%q, want\n%q", got, want)
	}
}

func answerOrder(t *testing.T, p *proxy) {
	head := "SERVER: x\r\nset-Cookie: b=2\r\nX-b: 2\r\nSet-Cookie: a=1\r\ncontent-TYPE: text/plain\r\nx-A: 1\r\nContent-Length: 2\r\nX-b: 1\r\n\r\n"
	c, _ := stage(t, p, says("HTTP/1.1 200 OK\r\n"+head+"hi"))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	m := c.answer()
	m.want(t, 200, "hi")
	if _, got, _ := strings.Cut(m.raw, "\r\n"); got != head {
		t.Errorf("the client got\n%q, want\n%q", got, head)
	}
}

func nothingInvented(t *testing.T, p *proxy) {
	coded := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00"
	c, o := stage(t, p, says("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 21\r\n\r\n"+coded))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	m := c.answer()
	m.want(t, 200, coded)
	if got, want := o.seen()[0].raw, o.places(lines("GET / HTTP/1.1", "Host: {O}")); got != want {
		t.Errorf("the origin got %q, want %q", got, want)
	}
	if want := lines("HTTP/1.1 200 OK", "Content-Encoding: gzip", "Content-Length: 21"); m.raw != want {
		t.Errorf("the client got %q, want %q", m.raw, want)
	}
}

func unknownPasses(t *testing.T, p *proxy) {
	for _, method := range []string{"PROPFIND", "M-SEARCH", "QUERY", "x!#$%&'*+-.^_`|~"} {
		if got := pass(t, p, method+" http://{O}/ HTTP/1.1", "Host: {O}", "X!#$%&'*+-.^_`|~: \x80\xff tab\tin"); got.method() != method ||
			got.get("X!#$%&'*+-.^_`|~") != "\x80\xff tab\tin" {
			t.Errorf("%s: the origin got %q", method, got.raw)
		}
	}
}

func trace(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("reached")))
	c.ask("TRACE http://{O}/path HTTP/1.1", "Host: {O}", "Max-Forwards: 0", "X-Seen: 1", "Cookie: secret", "authorization: secret", "Proxy-Authorization: secret")
	m := c.answer()
	if m.status() != 200 || m.get("Content-Type") != "message/http" || m.err != nil {
		t.Fatalf("got %q (%v)", m.raw, m.err)
	}
	if !strings.HasPrefix(m.body, o.places("TRACE http://{O}/path HTTP/1.1\r\n")) || !strings.Contains(m.body, "X-Seen: 1\r\n") {
		t.Errorf("the echo is %q", m.body)
	}
	if strings.Contains(m.body, "secret") {
		t.Errorf("the echo tells secrets: %q", m.body)
	}
	if o.dials() != 0 {
		t.Error("the origin was dialled")
	}
}

func traceForwarded(t *testing.T, p *proxy) {
	for sent, want := range map[string]string{"1": "0", "10": "9", "007": "6"} {
		if got := pass(t, p, "TRACE http://{O}/ HTTP/1.1", "Host: {O}", "Max-Forwards: "+sent).get("Max-Forwards"); strings.TrimLeft(got, "0") != strings.TrimLeft(want, "0") || got == "" {
			t.Errorf("Max-Forwards %s became %q", sent, got)
		}
	}
	pass(t, p, "TRACE http://{O}/ HTTP/1.1", "Host: {O}").without(t, "Max-Forwards")
}

func optionsDecremented(t *testing.T, p *proxy) {
	if got := pass(t, p, "OPTIONS http://{O}/ HTTP/1.1", "Host: {O}", "Max-Forwards: 1").get("Max-Forwards"); got != "0" {
		t.Errorf("Max-Forwards %q, want 0", got)
	}
}

func optionsZero(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("reached")))
	c.ask("OPTIONS http://{O}/ HTTP/1.1", "Host: {O}", "Max-Forwards: 0")
	if m := c.answer(); m.status() != 200 || m.body == "reached" || !strings.HasPrefix(m.get("Proxy-Status"), "viaduct") {
		t.Errorf("got %q %q", m.raw, m.body)
	}
	if o.dials() != 0 {
		t.Error("the origin was dialled")
	}
}

func invalidMaxForwards(t *testing.T, p *proxy) {
	for _, value := range []string{"-1", "abc", "", "1, 1", "99999999999999999999999", "1.5"} {
		c, o := stage(t, p, says(ok("reached")))
		c.ask("OPTIONS http://{O}/ HTTP/1.1", "Host: {O}", "Max-Forwards: "+value)
		m := c.answer()
		if m.status() != 400 && m.status() != 200 {
			t.Errorf("Max-Forwards %q: %q", value, m.line)
		}
		if seen := o.seen(); len(seen) == 1 && value != "99999999999999999999999" && seen[0].get("Max-Forwards") != value {
			t.Errorf("Max-Forwards %q became %q", value, seen[0].get("Max-Forwards"))
		}
	}
}

func optionsAsterisk(t *testing.T, p *proxy) {
	for target, want := range map[string]string{"http://{O}": "*", "http://{O}/": "/", "http://{O}/x": "/x"} {
		if got := pass(t, p, "OPTIONS "+target+" HTTP/1.1", "Host: {O}").target(); got != want {
			t.Errorf("OPTIONS %s reached the origin as %q, want %q", target, got, want)
		}
	}
}

func connectionNamesTrailer(t *testing.T, p *proxy) {
	c, o := stage(t, p, says("HTTP/1.1 200 OK\r\nConnection: X-Inner\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Inner: 1\r\nX-Sum: 2\r\n\r\n"))
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nConnection: X-Outer\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Outer: 1\r\nX-Sum: 2\r\n\r\n")
	m := c.answer()
	m.want(t, 200, "hello")
	if _, there := find(m.trailer, "X-Inner"); there {
		t.Errorf("X-Inner reached the client in the trailer %q", m.trailer)
	}
	if got := o.seen()[0].trailer; len(got) != 1 || got[0].name != "X-Sum" {
		t.Errorf("the origin got the trailer %q", got)
	}
}
