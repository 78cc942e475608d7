package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

var parentGuardRows = []row{
	{"product-2/parent-resolve", "–", "`--upstream-resolve here`: we look names up and parents are asked for addresses; `parent`: they are asked for names, and nobody looks anything up; `auto`: here as soon as a rule or the guard judges addresses.", own, parentResolve},
	{"product-2/parent-resolve-keeps-name", "–", "With `here` the origin still reads the name in Host, and an address literal goes in absolute-form.", own, parentResolveKeepsName},
	{"6890/parent-mixed-answers", "T58", "A name with a public and a private address: parents by every scheme are asked for the public one alone.", own, parentMixed},
	{"6890/parent-rebinding", "T58", "A name that is public now and private then: no parent is ever asked for the private address, nor for the name.", own, parentRebinding},
	{"6890/parent-names", "T45", "A name with private addresses alone: 403 destination_ip_prohibited, and no parent is asked.", own, parentPrivateNames},
	{"6890/parent-literals", "T45", "Private, loopback and metadata addresses in every notation: 403 and no parent is asked, also where the parents look names up.", own, parentLiterals},
	{"product-2/parent-rules-by-address", "T55", "A rule by address holds in front of a parent: by the address that was looked up, and by a literal where the parent looks up.", own, parentRulesByAddress},
	{"9110-7.6/parent-own-address", "T60", "The proxy's own address is 421 in front of a parent, too.", own, parentOwnAddress},
	{"9110-7.6.3/parent-loop", "T61", "Two proxies that are each other's parent: one round, then 421 proxy_loop_detected, for GET, POST and CONNECT.", own, parentLoop},
	{"9110-7.6.3/parent-loop-self", "T61", "A proxy that is its own parent: one round, 421.", own, parentLoopSelf},
	{"9110-7.6.3/parent-own-tag", "T61", "A request that carries our own tag is answered 421 and asked of nobody; another proxy's tag, or one that is like it, is none of ours.", own, parentOwnTag},
}

func parentResolve(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	for n, turn := range []struct {
		flags []string
		here  bool
	}{
		{[]string{"--upstream-resolve", "here", "--allow-private"}, true},
		{[]string{"--upstream-resolve", "parent", "--allow-private"}, false},
		{[]string{"--upstream-resolve", "parent"}, false},
		{[]string{"--allow-private"}, false},
		{[]string{"--upstream-resolve", "auto", "--allow-private"}, false},
		{[]string{"--allow-private", "--deny", "addr=127.0.0.9"}, true},
		{[]string{"--allow", "addr=127.0.0.1"}, true},
	} {
		for _, scheme := range []string{"http", "socks5"} {
			t.Run(fmt.Sprint(scheme, " ", turn.flags), func(t *testing.T) {
				t.Parallel()
				u := upperSpec{scheme: scheme}.start(t)
				p := startBare(t, append([]string{"--connect-ports", "any", "--resolver", s.addr, "--upstream", u.url(), "--health-check", "none"}, turn.flags...)...)
				o := newOrigin(t, echoes)
				host := fmt.Sprintf("%s-%d.example", scheme, n)
				c := dial(t, p)
				c.ask("GET http://"+host+":"+o.port+"/a HTTP/1.1", "Host: x").answer().want(t, 200, "GET/a")
				dial(t, p).tunnel(host + ":" + o.port)
				four, six := s.count(host)
				want := host
				if turn.here {
					want = "127.0.0.1"
				}
				for _, m := range u.seen() {
					if target := strings.TrimPrefix(m.target(), "http://"); !strings.HasPrefix(target, want+":"+o.port) {
						t.Errorf("the parent was asked for %q, want %s", m.line, want)
					}
				}
				if looked := four+six > 0; looked != turn.here || len(u.seen()) != 2 || o.strangers() > 0 {
					t.Errorf("%d lookups, the parent was asked for %q", four+six, u.asked())
				}
				if r := o.seen()[0]; r.get("Host") != host+":"+o.port {
					t.Errorf("the origin got %q", r.raw)
				}
			})
		}
	}
}

func parentResolveKeepsName(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	u := newUpper(t)
	p := through(t, []string{u.url()}, "resolve: here", `resolver: ["`+s.addr+`"]`)
	c, o := stage(t, p, echoes)
	c.ask("GET http://{O}/literal HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/literal")
	c.ask("GET http://named.example:{P}/named HTTP/1.1", "Host: x").answer().want(t, 200, "GET/named")
	c.ask("GET http://named.example:{P}/named HTTP/1.1", "Host: x").answer().want(t, 200, "GET/named")
	u.wantAsked(t, "GET http://"+o.addr+"/literal", "CONNECT "+o.addr)
	if r := o.seen()[1]; r.get("Host") != "named.example:"+o.port || r.has("Via") && !tag.MatchString(r.get("Via")) {
		t.Errorf("the origin got %q", r.raw)
	}
}

// publics are addresses that the guard lets pass; scripted parents find them on
// the loopback.
var publics = []string{nowhere, "93.184.215.14"}

// asksPublic fails when a parent was asked for anything but public addresses.
func (u *upper) asksPublic(t *testing.T) {
	t.Helper()
	for _, m := range u.seen() {
		target := strings.TrimPrefix(m.target(), "http://")
		if !slices.ContainsFunc(publics, func(a string) bool {
			return strings.HasPrefix(target, a+":") || strings.HasPrefix(target, "["+a+"]:")
		}) {
			t.Errorf("the parent was asked for %q", m.line)
		}
	}
}

func parentMixed(t *testing.T, _ *proxy) {
	sets := map[string][]string{
		"a.example": {"93.184.215.14", "127.0.0.1"}, "b.example": {"10.0.0.1", "93.184.215.14"}, "c.example": {"::1", nowhere, "169.254.169.254"},
		"d.example": {"::1", "127.0.0.1", "93.184.215.14", "::ffff:127.0.0.1"},
	}
	s := newNames(t, func(q query) reply { return reply{addrs: sets[q.name]} })
	for _, scheme := range []string{"http", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			u := upperSpec{scheme: scheme}.start(t)
			p := startBare(t, "--connect-ports", "any", "--resolver", s.addr, "--upstream", u.url(), "--health-check", "none")
			o := newOrigin(t, echoes)
			for host := range sets {
				fetch(t, p, host+":"+o.port).want(t, 200, "GET/")
				dial(t, p).tunnel(host + ":" + o.port)
			}
			u.asksPublic(t)
			if len(u.seen()) < len(sets) || o.strangers() > 0 {
				t.Errorf("the parent was asked for %q", u.asked())
			}
		})
	}
}

func parentRebinding(t *testing.T, _ *proxy) {
	s := newNames(t, func(q query) reply {
		switch {
		case q.six:
			return reply{ttl: 1}
		case q.nth%2 == 0:
			return reply{ttl: 1, addrs: []string{"93.184.215.14"}}
		}
		return reply{ttl: 1, addrs: []string{"127.0.0.1"}}
	})
	u := newUpper(t)
	p := startBare(t, "--connect-ports", "any", "--resolver", s.addr, "--upstream", u.url(), "--health-check", "none")
	o := newOrigin(t, echoes)
	seen := map[int]bool{}
	poll(t, "both answers", func() bool {
		for _, m := range []*message{fetch(t, p, "flips.example:"+o.port), connect(t, p, "flips.example:"+o.port)} {
			seen[m.status()] = true
			if code := m.status(); code != 403 && code != 200 {
				t.Fatalf("got %q", m.raw)
			}
		}
		return seen[403] && seen[200]
	})
	u.asksPublic(t)
	if o.strangers() > 0 {
		t.Error("the origin was reached by no parent")
	}
}

func parentPrivateNames(t *testing.T, _ *proxy) {
	sets := map[string][]string{"a.example": {"127.0.0.1"}, "b.example": {"10.0.0.1", "::1"}, "c.example": {"169.254.169.254"}, "d.example": {"64:ff9b::7f00:1"}}
	s := newNames(t, func(q query) reply { return reply{addrs: sets[q.name]} })
	u := newUpper(t)
	p := startBare(t, "--connect-ports", "any", "--resolver", s.addr, "--upstream", u.url(), "--health-check", "none")
	o := newOrigin(t, echoes)
	for host := range sets {
		fails(t, p, host+":"+o.port, 403, "destination_ip_prohibited")
	}
	fails(t, p, "localhost:"+o.port, 403, "destination_ip_prohibited")
	u.wantAsked(t)
}

func parentLiterals(t *testing.T, _ *proxy) {
	for _, resolve := range []string{"here", "parent"} {
		u := newUpper(t)
		p := startBare(t, "--connect-ports", "any", "--upstream", u.url(), "--health-check", "none", "--upstream-resolve", resolve)
		c := dial(t, p)
		for _, address := range prohibited {
			m := c.ask("GET http://"+address+":80/ HTTP/1.1", "Host: x").answer()
			if m.status() != 403 {
				t.Errorf("%s: GET %s: got %q", resolve, address, m.line)
				continue
			}
			m.wantOwn(t, 403, "destination_ip_prohibited")
			if m := connect(t, p, address+":443"); m.status() != 403 {
				t.Errorf("%s: CONNECT %s: got %q", resolve, address, m.line)
			}
		}
		for _, m := range u.seen() { // notations that are names to us may be addresses to a parent
			t.Errorf("%s: the parent was asked for %q", resolve, m.line)
		}
		for _, address := range []string{"127.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.0.0.1.", "%31%32%37.0.0.1", "１２７.0.0.1"} {
			m := connect(t, p, address+":443")
			if m.status() == 200 || len(u.seen()) > 0 {
				t.Errorf("%s: CONNECT %s: got %q; the parent was asked for %q", resolve, address, m.line, u.asked())
			}
		}
	}
}

func parentRulesByAddress(t *testing.T, _ *proxy) {
	s := newNames(t, func(q query) reply {
		if q.name == "cellar.example" {
			return reply{addrs: []string{"127.0.0.2"}}
		}
		return reply{addrs: []string{"127.0.0.1"}}
	})
	u := newUpper(t)
	p := through(t, []string{u.url()}, "", `resolver: ["`+s.addr+`"]`, "rules: [{name: cellar, deny: {addr: [127.0.0.2]}}]")
	o := newOrigin(t, echoes)
	for _, target := range []string{"cellar.example:" + o.port, "127.0.0.2:" + o.port, "[::ffff:127.0.0.2]:" + o.port} {
		for _, m := range []*message{fetch(t, p, target), connect(t, p, target)} {
			m.wantDenied(t, "cellar")
		}
	}
	u.wantAsked(t)
	fetch(t, p, "other.example:"+o.port).want(t, 200, "GET/")
	u.wantAsked(t, "CONNECT "+o.addr)
	text := way([]string{u.url()}, "resolve: parent", "rules: [{name: cellar, deny: {addr: [127.0.0.2]}}]")
	wontStart(t, 1, []string{"run", "-c", saved(t, text)}, []string{"addr", "parent"})
}

func parentOwnAddress(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := through(t, []string{u.url()}, "")
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "127.0.0.7"} {
		fetch(t, p, host+":"+p.port).wantOwn(t, 421, "proxy_loop_detected")
		connect(t, p, host+":"+p.port).wantOwn(t, 421, "proxy_loop_detected")
	}
	u.wantAsked(t)
}

// startAt starts a proxy by way on an address that is known before.
func startAt(t *testing.T, addr string, endpoints []string, options string, more ...string) *proxy {
	t.Helper()
	text := strings.Replace(way(endpoints, options, more...), "listen: [127.0.0.1:0]", fmt.Sprintf("listen: [%q]", addr), 1)
	return launch{conf: text}.start(t)
}

func parentLoop(t *testing.T, _ *proxy) {
	atA, atB := freePort(t), freePort(t)
	a, b := startAt(t, atA, []string{"http://" + atB}, ""), startAt(t, atB, []string{"http://" + atA}, "")
	o := newOrigin(t, echoes)
	asks := []func() *message{
		func() *message { return fetch(t, a, o.addr) },
		func() *message { return connect(t, a, o.addr) },
		func() *message {
			return dial(t, a).send("POST http://" + o.addr + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").answer()
		},
		func() *message { return fetch(t, a, "a.test:"+o.port) },
	}
	for n, ask := range asks {
		ask().wantOwn(t, 421, "proxy_loop_detected")
		if got, far := len(a.lines(t, 2*(n+1))), len(b.lines(t, n+1)); got != 2*(n+1) || far != n+1 {
			t.Errorf("%d requests have become %d at the first proxy and %d at the second", n+1, got, far)
		}
	}
	if o.dials() > 0 {
		t.Errorf("the origin was reached %d times", o.dials())
	}
	if e := a.endpoint(t, "http://"+atB); e.Errors > 0 || e.Ejections > 0 {
		t.Errorf("the other proxy is blamed: %+v", e)
	}
}

func parentLoopSelf(t *testing.T, _ *proxy) {
	at := freePort(t)
	p := startAt(t, at, []string{"http://" + at}, "")
	o := newOrigin(t, echoes)
	fetch(t, p, o.addr).wantOwn(t, 421, "proxy_loop_detected")
	connect(t, p, o.addr).wantOwn(t, 421, "proxy_loop_detected")
	if n := len(p.lines(t, 4)); n != 4 || o.dials() > 0 {
		t.Errorf("2 requests have become %d", n)
	}
}

func parentOwnTag(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := through(t, []string{u.url()}, "")
	c, o := stage(t, p, echoes)
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/")
	via := u.seen()[0].get("Via")
	if !tag.MatchString(via) {
		t.Fatalf("Via is %q", via)
	}
	before := len(u.seen())
	name := strings.TrimPrefix(via, "1.1 ")
	for _, value := range []string{via, "1.0 first, " + via, "HTTP/1.1 " + name + ", 1.1 last (squid)"} {
		m := dial(t, p).ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x", "Via: "+value).answer()
		m.wantOwn(t, 421, "proxy_loop_detected")
		m = dial(t, p).ask("CONNECT "+o.addr+" HTTP/1.1", "Host: x", "Via: 1.1 a", "Via: "+value).answerTo("CONNECT")
		m.wantOwn(t, 421, "proxy_loop_detected")
	}
	if got := u.asked()[before:]; len(got) > 0 {
		t.Errorf("the parent was asked for %q", got)
	}
	for _, value := range []string{"1.1 viaduct", "1.1 viaduct-0123456789abcdef", via + "0", "1.1 x" + name, "1.1 other (" + name + ")"} {
		m := dial(t, p).ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x", "Via: "+value).answer()
		m.want(t, 200, "GET/")
	}
}
