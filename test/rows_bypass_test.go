package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var bypassRows = []row{
	{"product-2/deny-host", "T55", "A denied name in every spelling (letter case, final dot, IDNA, wide letters and dots), with any Host and any field beside it: 403 by its rule; what has no single meaning: 400. No name is looked up, nothing is dialled.", own, denyHost.run},
	{"product-2/deny-path", "–", "A denied path with %2e, %2F, //, /./, /../, ;x, backslashes, and all at once: 403.", own, denyPath.run},
	{"product-2/allow-path", "–", "An allowed path is no way to its neighbours: what means another path to any reader is denied, and a tunnel has no path.", own, allowPath.run},
	{"product-2/deny-method", "–", "A denied method in any case, an extension method too: 403.", own, denyMethod.run},
	{"product-2/allow-method", "–", "Allowed is the very method alone.", own, allowMethod.run},
	{"product-2/deny-port", "–", "A denied port counts when it is left out, too.", own, denyPort.run},
	{"product-2/allow-host", "–", "An allow list lets pass no sibling of a name, no name that only begins with it, no other port of it, by no request and no tunnel.", own, allowHost.run},
	{"product-2/allow-addr-and-host", "–", "A host and its addresses allowed by one rule: neither alone is enough.", own, allowBoth.run},
	{"9112-9.3/each-request-decides", "T55", "Allowed first, denied second: on a kept connection, pipelined, after 100-continue; a denied body is never read as a request.", own, eachDecides},
}

// yard is a proxy behind which every name leads to 127.0.0.1, where an origin
// answers, unless it is one of the others.
type yard struct {
	*testing.T
	*proxy
	names *names
	web   *origin
}

// elsewhere are names of a yard with other addresses, all of which mean
// 127.0.0.2 to somebody.
var elsewhere = map[string]string{
	"inner.test": "127.0.0.2", "www.inner.test": "127.0.0.2", "mapped.test": "::ffff:127.0.0.2", "translated.test": "64:ff9b::7f00:2",
	"local-translated.test": "64:ff9b:1::7f00:2", "six-to-four.test": "2002:7f00:2::1", "compatible.test": "::7f00:2",
}

func newYard(t *testing.T, flags ...string) *yard {
	t.Helper()
	s := newNames(t, func(q query) reply {
		if addr := elsewhere[q.name]; addr != "" {
			return reply{addrs: []string{addr}}
		}
		return reply{addrs: []string{"127.0.0.1"}}
	})
	web := newOrigin(t, says(ok("fine")))
	for i := range flags {
		flags[i] = web.places(flags[i])
	}
	return &yard{t, s.start(t, flags...), s, web}
}

// try sends a request on a connection of its own. It is written METHOD TARGET
// with fields behind bars, and has a Host field if it names none.
func (y *yard) try(request string) *message {
	y.Helper()
	l := strings.Split(request, "|")
	if !strings.Contains(l[0], " HTTP/") {
		l[0] += " HTTP/1.1"
	}
	if !strings.Contains(request, "|Host:") {
		l = append(l, "Host: x.test")
	}
	c := dial(y, y.proxy)
	defer c.conn.Close()
	c.fill = y.web.places
	method, _, _ := strings.Cut(request, " ")
	return c.ask(l...).answerTo(method)
}

// lookups counts the questions at the name server.
func (s *names) lookups() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.asked {
		n += times
	}
	return n
}

// details is the rule in Proxy-Status.
func (m *message) details() string {
	_, rule, _ := strings.Cut(m.get("Proxy-Status"), "; details=")
	return rule
}

// wantDenied fails unless the answer is a denial by a rule.
func (m *message) wantDenied(t testing.TB, rule string) {
	t.Helper()
	m.wantOwn(t, 403, "http_request_denied")
	if want := `"rule ` + rule + `"`; m.details() != want {
		t.Fatalf("Proxy-Status %q, want details=%s", m.get("Proxy-Status"), want)
	}
	m.withoutAny(t, "Proxy-Authenticate", "WWW-Authenticate")
}

func (m *message) withoutAny(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if m.has(name) {
			t.Fatalf("there is %s in %q", name, m.raw)
		}
	}
}

// bypass is a policy, and what is tried against it.
type bypass struct {
	flags  []string
	rule   string   // that denies
	denied []string // 403, by the name
	bad    []string // 400
	passed []string // 200: the rule is not simply everything
}

func (b bypass) run(t *testing.T, _ *proxy) {
	y := newYard(t, slices.Clone(b.flags)...)
	y.tries(b)
	if n := y.names.lookups(); n != 0 {
		t.Errorf("%d names were looked up", n)
	}
	y.passes(b.passed...)
}

// tries tries what is to be refused; nothing of it goes any further.
func (y *yard) tries(b bypass) {
	y.Helper()
	before := y.web.dials()
	for _, request := range b.denied {
		if m := y.try(request); m.status() != 403 || m.details() != `"rule `+b.rule+`"` {
			y.Errorf("%s: got %q %q", request, m.line, m.get("Proxy-Status"))
		} else {
			m.wantDenied(y, b.rule)
		}
	}
	for _, request := range b.bad {
		if m := y.try(request); m.status() != 400 {
			y.Errorf("%s: got %q", request, m.line)
		} else {
			m.wantOwn(y, 400, "http_request_error")
		}
	}
	if n := y.web.dials() - before; n != 0 {
		y.Errorf("the origin was dialled %d times", n)
	}
}

func (y *yard) passes(requests ...string) {
	y.Helper()
	for _, request := range requests {
		if m := y.try(request); m.status() != 200 {
			y.Errorf("%s: got %q %q", request, m.line, m.get("Proxy-Status"))
		}
	}
}

var denyHost = bypass{
	flags: []string{"--deny", "host=.evil.test,bücher.test,192.0.2.9"}, rule: "deny#1",
	denied: []string{
		"GET http://evil.test:{P}/", "GET http://EVIL.TEST:{P}/", "GET HTTP://eViL.tEsT:{P}/", "GET http://evil.test.:{P}/", "GET http://EVIL.test./",
		"GET http://www.evil.test:{P}/", "GET http://a.b.C.evil.test.:{P}/", "GET http://_x.evil.test/", "GET http://" + strings.Repeat("a.", 120) + "evil.test/", "GET http://evil.test", "GET http://evil.test?q", "GET http://evil.test:65535/",
		"GET http://evil.test:{P}/|Host: good.test", "GET http://evil.test:{P}/|Host: good.test:{P}", "GET http://evil.test:{P}/|Host: evil.test:{P}", "GET http://evil.test:{P}/|Host: evil.test", "GET http://evil.test:{P}/|Host:",
		"GET http://evil.test:{P}/|X-Forwarded-Host: good.test|Forwarded: host=good.test|X-Original-URL: http://good.test/|X-Rewrite-URL: /|X-HTTP-Method-Override: CONNECT",
		"GET http://evil.test:{P}/ HTTP/1.0", "POST http://evil.test:{P}/|Content-Length: 0", "OPTIONS http://evil.test:{P}", "OPTIONS http://evil.test/|Max-Forwards: 0", "TRACE http://evil.test/|Max-Forwards: 0",
		"GET http://evil.test:{P}/|Connection: Upgrade|Upgrade: websocket", "BREW http://evil.test:{P}/", "GET http://evil.test:{P}//good.test/", "GET http://evil.test/@good.test/",
		"CONNECT evil.test:{P}", "CONNECT EVIL.test.:443", "CONNECT www.evil.test:{P}|Host: good.test:{P}", "CONNECT evil.test:443|Host: good.test", "CONNECT evil.test:{P} HTTP/1.0",
		"GET http://xn--bcher-kva.test:{P}/", "GET http://XN--BCHER-KVA.TEST.:{P}/", "GET http://bücher.test:{P}/", "GET http://BÜCHER.test:{P}/", "GET http://bu\u0308cher.test:{P}/", "CONNECT bücher.test:{P}", "CONNECT xn--Bcher-KVA.test:{P}",
		"GET http://evil。test:{P}/", "GET http://evil．test:{P}/", "GET http://evil｡test:{P}/", "GET http://ｅｖｉｌ.test:{P}/", "GET http://ⓔvil.test:{P}/", "CONNECT www。evil。test:{P}", "GET http://evil\u00ad.test:{P}/",
		"GET http://192.0.2.9/", "CONNECT 192.0.2.9:443", "GET http://[::ffff:192.0.2.9]/", "GET http://[::FFFF:c000:0209]:{P}/", "GET http://[64:ff9b::192.0.2.9]/", "CONNECT [2002:c000:209::1]:443", "GET http://[::192.0.2.9]/", "GET http://192.0.2.9./",
	},
	bad: []string{
		"GET http://evil%2Etest:{P}/", "GET http://%65vil.test:{P}/", "GET http://evil.test%00.good.test/", "GET http://evil.test%2f.good.test/", "GET http://b%C3%BCcher.test:{P}/",
		"GET http://good.test@evil.test:{P}/", "GET http://evil.test@good.test:{P}/", "GET http://:@evil.test/", "CONNECT good.test@evil.test:{P}",
		"GET http://evil.test:080/", "GET http://evil.test:/", "GET http://evil.test:0/", "GET http://evil.test:65536/", "GET http://evil.test:+80/", "GET http://evil.test:80:80/", "CONNECT evil.test:0443", "CONNECT evil.test", "CONNECT evil.test:443:443",
		"GET http://evil.test..:{P}/", "GET http://.evil.test:{P}/", "GET http://evil..test:{P}/", `GET http://evil.test\.good.test/`, `GET http://good.test\@evil.test/`, "GET http:///evil.test/", "GET http://good.test#@evil.test/", "GET http://evil.test,good.test/", "GET http://" + strings.Repeat("a.", 125) + "evil.test/", "CONNECT " + strings.Repeat("a", 64) + ".evil.test:443",
		"GET evil.test:{P}", "GET //evil.test/", "GET /|Host: evil.test", "GET http:evil.test/", "GET http:/evil.test/", "CONNECT http://evil.test:443", "CONNECT evil.test:443/", "connect evil.test:{P}",
		"CONNECT [evil.test]:{P}", "GET http://[evil.test]:{P}/", "GET http://evil.test/|Host: evil.test|Host: good.test", "GET https://evil.test/",
	},
	passed: []string{
		"GET http://good.test:{P}/", "GET http://good.test:{P}/|Host: evil.test", "GET http://good.test:{P}/|X-Forwarded-Host: evil.test", "GET http://good.test:{P}/evil.test", "GET http://good.test:{P}/?http://evil.test/",
		"GET http://notevil.test:{P}/", "GET http://evil.test.good.test:{P}/", "GET http://evil.tes:{P}/", "GET http://vil.test:{P}/", "GET http://www.xn--bcher-kva.test:{P}/", "CONNECT good.test:{P}|Host: evil.test:{P}",
	},
}

// both are requests to hosts by GET and by CONNECT.
func both(hosts ...string) (requests []string) {
	for _, host := range hosts {
		requests = append(requests, "GET http://"+host+":{P}/", "CONNECT "+host+":{P}")
	}
	return requests
}

var denyPath = bypass{
	flags: []string{"--deny", "path=/admin", "--deny", "host=deep.test path=/v1/users/"}, rule: "deny#1",
	denied: []string{
		"GET http://a.test:{P}/admin", "GET http://a.test:{P}/admin/", "GET http://a.test:{P}/admin/x", "GET http://a.test:{P}/admin?x", "GET http://a.test:{P}/admin?/public", "POST http://a.test:{P}/admin|Content-Length: 0",
		"GET http://a.test:{P}/%61dmin", "GET http://a.test:{P}/%61%64%6D%69%6e", "GET http://a.test:{P}/%2561dmin", "GET http://a.test:{P}/%252561dmin", "GET http://a.test:{P}/admin%2Fx", "GET http://a.test:{P}/%2Fadmin", "GET http://a.test:{P}/%2fadmin%2f",
		"GET http://a.test:{P}//admin", "GET http://a.test:{P}///admin//", "GET http://a.test:{P}/./admin", "GET http://a.test:{P}/.//./admin", "GET http://a.test:{P}/x/../admin", "GET http://a.test:{P}/x/y/../../admin", "GET http://a.test:{P}/../admin", "GET http://a.test:{P}/../../../admin",
		"GET http://a.test:{P}/%2e/admin", "GET http://a.test:{P}/x/%2e%2E/admin", "GET http://a.test:{P}/x/.%2e/admin", "GET http://a.test:{P}/x%2F..%2Fadmin", "GET http://a.test:{P}/x/..%2fadmin", "GET http://a.test:{P}/x/%252e%252e/admin",
		"GET http://a.test:{P}/admin;x", "GET http://a.test:{P}/admin;x=1/y", "GET http://a.test:{P}/admin%3Bx", "GET http://a.test:{P}/;x/admin", "GET http://a.test:{P}/.;x/admin", "GET http://a.test:{P}/x/..;y/admin",
		`GET http://a.test:{P}/\admin`, `GET http://a.test:{P}/x\..\admin`, "GET http://a.test:{P}/%5Cadmin", "GET http://a.test:{P}/x%5c..%5Cadmin", `GET http://a.test:{P}/admin\x`, "GET http://a.test:{P}/x/./..//%61dmin;y/z", "GET http://a.test:{P}/admin/../public", "GET http://a.test:{P}/admin/..;/public",
	},
	bad: []string{"GET http://a.test:{P}/#/admin", "GET http://a.test:{P}/x#/../admin", `GET http://a.test:{P}\admin`},
	passed: []string{
		"GET http://a.test:{P}/", "GET http://a.test:{P}", "GET http://a.test:{P}/administrator", "GET http://a.test:{P}/public", "GET http://a.test:{P}/?/admin", "GET http://a.test:{P}/x?../admin", "GET http://a.test:{P}/x/admin", "GET http://a.test:{P}?x/../admin",
		"GET http://deep.test:{P}/v1/users", "GET http://deep.test:{P}/v1/user", "CONNECT a.test:{P}",
	},
}

var allowPath = bypass{
	flags: []string{"--allow", "path=/pub,/v1/users/"}, rule: "default",
	denied: []string{
		"GET http://a.test:{P}/", "GET http://a.test:{P}", "GET http://a.test:{P}/secret", "GET http://a.test:{P}/pubs", "GET http://a.test:{P}/PUB", "GET http://a.test:{P}/x/pub", "GET http://a.test:{P}/?/pub", "GET http://a.test:{P}/v1/users",
		"GET http://a.test:{P}/pub/../secret", "GET http://a.test:{P}/pub/..", "GET http://a.test:{P}/pub/%2e%2e/secret", "GET http://a.test:{P}/pub/..%2fsecret", "GET http://a.test:{P}/pub/%252e%252e/secret", `GET http://a.test:{P}/pub/..\secret`, "GET http://a.test:{P}/pub/..%5Csecret", "GET http://a.test:{P}/pub/..;x/secret", "GET http://a.test:{P}/pub/x/../../secret", "GET http://a.test:{P}/pub/./.././secret", "GET http://a.test:{P}/pub//../../secret",
		"GET http://a.test:{P}/secret/../pub", "GET http://a.test:{P}/%70ub", "CONNECT a.test:{P}", "CONNECT a.test:443",
	},
	passed: []string{"GET http://a.test:{P}/pub", "GET http://a.test:{P}/pub/", "GET http://a.test:{P}/pub/x/y", "GET http://a.test:{P}/pub?x=/../secret", "GET http://a.test:{P}/pub/a%20b", "GET http://a.test:{P}/pub/x/../y", "GET http://a.test:{P}/v1/users/7"},
}

var denyMethod = bypass{
	flags: []string{"--deny", "method=POST,purge,CONNECT"}, rule: "deny#1",
	denied: []string{"POST http://a.test:{P}/|Content-Length: 0", "post http://a.test:{P}/", "PoSt http://a.test:{P}/", "PURGE http://a.test:{P}/", "purge http://a.test:{P}/", "Purge http://a.test:{P}/", "CONNECT a.test:{P}", "POST http://a.test:{P}/|X-HTTP-Method-Override: GET|Content-Length: 0"},
	bad:    []string{"connect a.test:{P}", "Connect a.test:{P}"},
	passed: []string{"GET http://a.test:{P}/", "PUT http://a.test:{P}/|Content-Length: 0", "PURGES http://a.test:{P}/", "POS http://a.test:{P}/", "GET http://a.test:{P}/|X-HTTP-Method-Override: POST"},
}

var allowMethod = bypass{
	flags: []string{"--allow", "method=GET,PROPFIND"}, rule: "default",
	denied: []string{"get http://a.test:{P}/", "Get http://a.test:{P}/", "propfind http://a.test:{P}/", "GETS http://a.test:{P}/", "POST http://a.test:{P}/|Content-Length: 0", "OPTIONS http://a.test:{P}", "TRACE http://a.test:{P}/|Max-Forwards: 0", "CONNECT a.test:{P}"},
	passed: []string{"GET http://a.test:{P}/", "PROPFIND http://a.test:{P}/"},
}

var denyPort = bypass{
	flags: []string{"--deny", "port=80,8000-8999"}, rule: "deny#1",
	denied: []string{"GET http://a.test/", "GET http://a.test", "GET http://a.test?x", "GET http://a.test:80/", "GET HTTP://A.TEST.:80", "GET http://a.test/|Host: a.test:{P}", "CONNECT a.test:80", "CONNECT a.test:8000", "GET http://a.test:8999/", "CONNECT 127.0.0.1:8443", "GET http://[::1]/"},
	bad:    []string{"GET http://a.test:080/", "GET http://a.test:00080/", "GET http://a.test:/", "CONNECT a.test:080", "CONNECT a.test:", "GET http://a.test:65616/", "GET http://a.test:8e1/", "GET http://a.test:0x50/"},
	passed: []string{"GET http://a.test:{P}/", "GET http://a.test:{P}/|Host: a.test", "GET http://a.test:{P}/|Host: a.test:80", "CONNECT a.test:{P}|Host: a.test:80"},
}

var allowHost = bypass{
	flags: []string{"--allow", "host=good.test,*.below.test port={P}", "--allow", "host=.all.test"}, rule: "default",
	denied: append(both(
		"other.test", "notgood.test", "xgood.test", "good.test.evil.test", "good.tes", "good.test.example.com", "www.good.test", "good-test", "below.test", "notbelow.test", "below.test.evil.test", "notall.test", "all.test.evil.test",
		"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "xn--good-.test.evil.test", "goοd.test",
	), "CONNECT good.test:1", "CONNECT good.test:443", "GET http://good.test/", "GET http://good.test:1/", "GET http://other.test:{P}/|Host: good.test:{P}", "CONNECT other.test:{P}|Host: good.test:{P}", "GET http://other.test:{P}/good.test", "CONNECT x.below.test:22"),
	bad:    []string{"GET http://good.test@other.test:{P}/", "CONNECT good.test@other.test:{P}", "GET http://other.test#good.test:{P}/", `GET http://other.test\.good.test:{P}/`, "GET http://other.test%2f.all.test:{P}/", "CONNECT other.test%00.all.test:{P}"},
	passed: both("good.test", "GOOD.test.", "x.below.test", "a.b.Below.test", "all.test", "x.all.test", "goo。all.test"),
}

var allowBoth = bypass{
	flags: []string{"--allow", "host=good.test addr=127.0.0.2"}, rule: "default",
	denied: both("other.test", "inner.test", "127.0.0.2"),
}

// closes is closesOrderly for a client whose last bytes nobody may have read.
func closes(t testing.TB, c *client, m *message) {
	t.Helper()
	if !strings.EqualFold(m.get("Connection"), "close") {
		t.Errorf("the answer does not announce the close: %q", m.raw)
	}
	c.ends()
}

func eachDecides(t *testing.T, _ *proxy) {
	y := newYard(t, "--deny", "host=.evil.test")
	web := newOrigin(t, func(o *originConn) {
		for r := o.head(); r != nil; r = o.head() {
			if r.has("Expect") {
				o.send("HTTP/1.1 100 Continue\r\n\r\n")
			}
			r.readBody(o.in, false)
			o.send(ok("fine"))
		}
	})
	c := dial(t, y.proxy)
	c.fill = web.places
	good, evil := lines("GET http://good.test:{P}/ HTTP/1.1", "Host: x"), lines("GET http://evil.test:{P}/ HTTP/1.1", "Host: good.test:{P}")
	for range 2 { // kept
		c.send(good).answer().want(t, 200, "fine")
		c.send(evil).answer().wantDenied(t, "deny#1")
	}
	c.send(good + evil + good + evil + evil + good) // pipelined
	for _, status := range []int{200, 403, 200, 403, 403, 200} {
		if m := c.answer(); m.status() != status {
			t.Fatalf("got %q, want %d", m.raw, status)
		}
	}
	c.ask("POST http://good.test:{P}/ HTTP/1.1", "Host: x", "Expect: 100-continue", "Content-Length: 5")
	if m := c.head(); m.status() != 100 {
		t.Fatalf("got %q", m.raw)
	}
	c.send("hello").answer().want(t, 200, "fine")
	smuggled := lines("GET http://good.test:{P}/smuggled HTTP/1.1", "Host: x")
	c.ask("POST http://evil.test:{P}/ HTTP/1.1", "Host: x", "Expect: 100-continue", fmt.Sprintf("Content-Length: %d", len(web.places(smuggled))))
	m := c.answer()
	m.wantDenied(t, "deny#1")
	c.try(smuggled)
	closes(t, c, m)
	for _, framing := range []string{"Content-Length: 9999", "Transfer-Encoding: chunked"} {
		c := dial(t, y.proxy)
		c.fill = web.places
		c.send(lines("POST http://evil.test:{P}/ HTTP/1.1", "Host: x", framing) + smuggled)
		m := c.answer()
		if m.status() != 400 { // the smuggled request is no chunk
			m.wantDenied(t, "deny#1")
		}
		closes(t, c, m)
	}
	c = dial(t, y.proxy)
	c.fill = web.places
	c.send(lines("CONNECT evil.test:{P} HTTP/1.1", "Host: x") + smuggled)
	m = c.answerTo("CONNECT")
	m.wantDenied(t, "deny#1")
	closes(t, c, m)
	if n := len(web.seen()); n != 6 {
		t.Errorf("the origin got %d requests, want 6", n)
	}
	for _, r := range web.seen() {
		if r.target() != "/" || !strings.HasPrefix(r.get("Host"), "good.test") {
			t.Errorf("the origin got %q", r.raw)
		}
	}
}
