package test

import (
	"fmt"
	"strings"
	"testing"
)

var parentPairRows = []row{
	{"product-2/parent-of-its-kind", "–", "One viaduct behind another, with users at the second: GET, POST and CONNECT work, what the second denies or cannot reach has the same status and kind at the first, and never the second's 407.", own, parentOfItsKind},
	{"9110-7.6.3/parent-tags-end", "T15", "The last proxy of a chain takes the tags out: under strict the origin reads no Via, under via the one that is due.", own, parentTagsEnd},
	{"product-5/parent-route-idle", "T40", "Requests to one origin that go different ways, by user, on one client connection: none goes by the idle connection of another way.", own, parentRouteIdle},
	{"product-5/parent-comes", "T69", "A reload that puts a pool before what went direct: from the next request on nothing goes direct, kept connections or not.", own, parentComes},
	{"product-5/parent-password-changes", "T69", "A reload with another password of a parent: the next request, plain or CONNECT, says the new one.", own, parentPasswordChanges},
	{"9113-8.5/parent-trunk-vanishes", "–", "An HTTP/2 parent that vanishes ends its tunnels; the next request goes to another one, and back when it has come back.", own, parentTrunkVanishes},
	{"product-2/parent-name", "–", "A parent may have a name; one that is not there is a parent that cannot be reached, and says nothing of the destination.", own, parentByName},
	{"product-2/parent-name-by-resolver", "–", "The name of --upstream is looked up by --resolver.", own, parentByResolver},
	{"product-2/parent-private", "T45", "Parents on private addresses may be used under the guard: what an operator names is not what a client asks for.", own, parentPrivate},
	{"4291-2.2/parent-ipv6", "–", "IPv6 literals through parents: in brackets for HTTP, as an address for SOCKS5.", own, parentIPv6},
}

func parentOfItsKind(t *testing.T, _ *proxy) {
	far := start(t, "--users", saved(t, hashed(t, "edge", "secret")), "--deny", "host=denied.test")
	p := through(t, []string{"http://edge:secret@" + far.addr}, "")
	wantPair := func(m *message, status int, token string) {
		t.Helper()
		if m.status() != status || !strings.HasPrefix(m.get("Proxy-Status"), "viaduct; error="+token) {
			t.Errorf("got %q %q %q, want %d %s", m.line, m.get("Proxy-Status"), m.body, status, token)
		}
		if m.has("Proxy-Authenticate") {
			t.Errorf("got %q", m.raw)
		}
	}
	c, o := stage(t, p, echoes)
	c.ask("GET http://{O}/a HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/a")
	c.send("POST http://{O}/b HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello").answer().want(t, 200, "POST/bhello")
	dial(t, p).tunnel(o.addr).ask("GET /c HTTP/1.1", "Host: x").answer().want(t, 200, "GET/c")
	if m := fetch(t, p, "denied.test"); m.status() != 403 || m.has("Proxy-Authenticate") { // its answer, as any other one
		t.Errorf("got %q", m.raw)
	}
	wantPair(connect(t, p, "denied.test:443"), 403, "http_request_denied")
	dead := refusing(t)
	wantPair(fetch(t, p, dead), 502, "")
	wantPair(connect(t, p, dead), 502, "connection_refused")
	for n, line := range far.lines(t, 6) {
		if line["user"] != "edge" {
			t.Errorf("line %d of the second: %v", n, line)
		}
	}
	if e := p.endpoint(t, "http://"+far.addr); e.Errors > 0 || e.Everywhere {
		t.Errorf("the second is blamed: %+v", e)
	}
	q := through(t, []string{"http://edge:wrong@" + far.addr}, "")
	wantPair(fetch(t, q, o.addr), 500, "proxy_configuration_error")
	wantPair(connect(t, q, o.addr), 500, "proxy_configuration_error")
}

func parentTagsEnd(t *testing.T, _ *proxy) {
	for level, want := range map[string]string{"strict": "", "via": "1.1 viaduct"} {
		far := start(t, "--anonymity", level)
		p := through(t, []string{"http://" + far.addr}, "")
		c, o := stage(t, p, says(ok("fine")))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Via: 1.0 inner").answer().want(t, 200, "fine")
		via := o.seen()[0].all("Via")
		if level == "strict" && len(via) > 0 || strings.Contains(fmt.Sprint(via), "viaduct-") || !strings.HasSuffix(strings.Join(via, ", "), want) {
			t.Errorf("%s: the origin reads Via %q", level, via)
		}
	}
}

func parentRouteIdle(t *testing.T, _ *proxy) {
	one, two := newUpper(t), newUpper(t)
	text := confWith("pools:\n"+poolText("one", urls(one), "")+poolText("two", urls(two), ""),
		"users: "+saved(t, hashed(t, "ann", "x", "ben", "x", "eve", "x")), "route: [{user: [ann], via: one}, {user: [ben], via: two}]")
	p := launch{conf: text}.start(t)
	c, o := stage(t, p, whence)
	for n := range 8 {
		for user, from := range map[string]string{"ann": upperAddress, "ben": upperAddress, "eve": "127.0.0.1"} {
			c.ask("GET http://{O}/"+user+" HTTP/1.1", "Host: {O}", basic(user, "x")).answer().want(t, 200, from)
		}
		if n == 4 {
			c = dial(t, p)
			c.fill = o.places
		}
	}
	for u, user := range map[*upper]string{one: "ann", two: "ben"} {
		for _, asked := range u.asked() {
			if !strings.HasSuffix(asked, "/"+user) {
				t.Errorf("%s's parent was asked for %q", user, asked)
			}
		}
		if len(u.asked()) != 8 {
			t.Errorf("%s's parent was asked %d times", user, len(u.asked()))
		}
	}
}

func parentComes(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := launch{conf: conf()}.start(t)
	c, o := stage(t, p, whence)
	for range 3 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "127.0.0.1")
	}
	p.reload(t, way([]string{u.url()}, ""))
	for range 3 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, upperAddress)
		fetch(t, p, o.addr).want(t, 200, upperAddress)
	}
}

func parentPasswordChanges(t *testing.T, _ *proxy) {
	u := upperSpec{login: "ann:new"}.start(t)
	old := strings.Replace(u.url(), "new", "old", 1)
	p := through(t, []string{old}, "")
	c, o := stage(t, p, echoes)
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().wantOwn(t, 500, "proxy_configuration_error")
	connect(t, p, o.addr).wantOwn(t, 500, "proxy_configuration_error")
	p.reload(t, way([]string{u.url()}, ""))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/")
	dial(t, p).tunnel(o.addr)
	if e := p.endpoint(t, u.id()); e.Everywhere {
		t.Errorf("with the new password it rests still: %+v", e)
	}
	p.reload(t, way([]string{old}, ""))
	if m := connect(t, p, o.addr); m.status() != 500 {
		t.Errorf("with the old password again: got %q", m.raw)
	}
}

func parentTrunkVanishes(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	h, good := newManyTunnels(t, freePort(t), conf), newUpper(t)
	p := through(t, []string{"https://" + h.addr, good.url()}, "balance: first, "+option)
	o := newOrigin(t, echo)
	c := dial(t, p).tunnel(o.addr)
	c.send("ping").read("ping")
	h.server.Close()
	if rest, _ := c.rest(); rest != "" {
		t.Errorf("after its end came %q", rest)
	}
	for range 3 {
		dial(t, p).tunnel(o.addr).send("ping").read("ping")
	}
	if n := len(good.asked()); n != 3 {
		t.Errorf("the other one was asked %d times", n)
	}
	again := newManyTunnels(t, h.addr, conf)
	poll(t, "it is in use again", func() bool {
		dial(t, p).tunnel(o.addr).send("ping").read("ping")
		return again.two.Load() > 0
	})
}

func parentByName(t *testing.T, _ *proxy) {
	u := newUpper(t)
	there, missing := "http://localhost:"+u.port, "http://missing.invalid:"+u.port
	o := newOrigin(t, echoes)
	for _, endpoints := range [][]string{{there}, {missing, there}} {
		p := through(t, endpoints, "balance: first", "dial_timeout: 2s")
		fetch(t, p, o.addr).want(t, 200, "GET/")
		dial(t, p).tunnel(o.addr)
		wantFields(t, p.lines(t, 1)[0], map[string]any{"endpoint": there})
	}
	p := through(t, []string{missing}, "", "dial_timeout: 1s")
	for _, m := range []*message{fetch(t, p, o.addr), connect(t, p, o.addr)} {
		m.wantOwn(t, 503, "destination_unavailable")
	}
}

func parentByResolver(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	u := newUpper(t)
	p := s.start(t, "--upstream", "http://parent.example:"+u.port, "--health-check", "none")
	o := newOrigin(t, echoes)
	fetch(t, p, o.addr).want(t, 200, "GET/")
	dial(t, p).tunnel(o.addr)
	u.wantAsked(t, "GET http://"+o.addr+"/", "CONNECT "+o.addr)
}

func parentPrivate(t *testing.T, _ *proxy) {
	for _, scheme := range []string{"http", "socks5"} {
		u := upperSpec{scheme: scheme}.start(t) // on the loopback
		p := startBare(t, "--upstream", u.url(), "--health-check", "none", "--connect-ports", "any", "--upstream-resolve", "parent")
		o := newOrigin(t, echoes)
		fetch(t, p, "a.test:"+o.port).want(t, 200, "GET/")
		dial(t, p).tunnel("a.test:" + o.port)
		connect(t, p, u.addr).wantOwn(t, 403, "destination_ip_prohibited")
		fetch(t, p, u.addr).wantOwn(t, 403, "destination_ip_prohibited")
	}
}

func parentIPv6(t *testing.T, _ *proxy) {
	for _, scheme := range []string{"http", "socks5"} {
		u := upperSpec{scheme: scheme}.start(t)
		p := through(t, []string{u.url()}, "")
		o := newOrigin(t, echoes)
		far := "[2606:4700::1111]:" + o.port
		dial(t, p).tunnel(far)
		u.wantAsked(t, "CONNECT "+far)
		fetch(t, p, "[2606:4700:0::1111]:"+o.port).want(t, 200, "GET/")
		if m := u.seen()[1]; !strings.Contains(m.target(), far) {
			t.Errorf("%s: asked for %q", scheme, m.line)
		}
		if r := o.seen()[0]; r.get("Host") != far {
			t.Errorf("%s: the origin got %q", scheme, r.raw)
		}
	}
}
