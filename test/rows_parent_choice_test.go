package test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

var parentChoiceRows = []row{
	{"product-4/parent-round-robin", "–", "`round_robin` over three parents: 30 requests and 30 tunnels are 20 for each.", own, parentRoundRobin},
	{"product-4/parent-weighted", "–", "`weighted` with 3, 2 and 1: 60 requests are 30, 20 and 10, and no six of them differ; weight 0 gets none.", own, parentWeighted},
	{"product-4/parent-default", "–", "The default: every parent is used, also when requests come one after another.", own, parentDefault},
	{"product-4/parent-hash-user", "–", "`hash` with hash_key user: each user keeps one parent, over connections and a reload, and not all the same.", own, parentHashUser},
	{"product-4/parent-hash-keys", "–", "hash_key host, client_ip and header:NAME: who says the same meets the same parent.", own, parentHashKeys},
	{"product-4/parent-hash-moves", "–", "When a parent vanishes its users alone move, and they come home.", own, parentHashMoves},
	{"product-4/parent-tiers", "–", "Tiers and backup=true: a further tier is used when nobody of the one before is left, and no longer.", own, parentTiers},
	{"product-4/parent-zones", "–", "With a zone of ours its parents serve alone, until there are none.", own, parentZones},
	{"product-5/parent-via", "–", "`via: POOL` for one entry, none for the other: each by its own way.", own, parentViaEntry},
	{"product-5/parent-route", "–", "`route`: by host, port, client, user, group, method and path the first match decides; then via.", own, parentRoute},
	{"product-5/parent-route-connect", "–", "Routes hold for CONNECT, and kept connections of a client are routed request by request.", own, parentRouteConnect},
	{"product-5/parent-route-never-direct", "–", "A route into a pool that is down is no way around it: 503, and nothing goes direct.", own, parentRouteNeverDirect},
	{"product-5/parent-limits", "–", "`limits: {requests: 1}`: the second at a time is 503, and there is room again when the first has ended; a tunnel counts as long as it stands.", own, parentLimits},
	{"product-5/parent-endpoint-max", "–", "`max=1` of a parent: the next request goes to another; where there is none it waits in the queue, or is 503.", own, parentEndpointMax},
	{"product-5/parent-reload", "T69", "A reload that changes the parents: tunnels through old ones go on, new requests go to new ones, those that stay keep their counts.", own, parentReload},
}

// shares is how often each of some parents was asked.
func shares(all []*upper) (counts []int) {
	for _, u := range all {
		counts = append(counts, len(u.asked()))
	}
	return counts
}

func wantShares(t *testing.T, what string, all []*upper, want ...int) {
	t.Helper()
	if got := shares(all); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: the parents were asked %v times, want %v", what, got, want)
	}
}

func parentRoundRobin(t *testing.T, _ *proxy) {
	all := newUppers(t, 3)
	p := through(t, urls(all...), "balance: round_robin")
	o := newOrigin(t, echoes)
	c := dial(t, p)
	for n := range 30 {
		if n == 15 {
			c = dial(t, p)
		}
		c.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "GET/")
	}
	wantShares(t, "requests", all, 10, 10, 10)
	for range 30 {
		c := dial(t, p).tunnel(o.addr)
		c.conn.Close()
	}
	wantShares(t, "with tunnels", all, 20, 20, 20)
}

func parentWeighted(t *testing.T, _ *proxy) {
	all := newUppers(t, 4)
	p := through(t, []string{all[0].url() + "?weight=3", all[1].url() + "?weight=2", all[2].url(), all[3].url() + "?weight=0"}, "balance: weighted")
	o := newOrigin(t, echoes)
	c := dial(t, p)
	for n := range 60 {
		c.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "GET/")
		if k := (n + 1) / 6; n%6 == 5 {
			wantShares(t, fmt.Sprint(n+1, " requests"), all, 3*k, 2*k, k, 0)
		}
	}
}

func parentDefault(t *testing.T, _ *proxy) {
	all := newUppers(t, 3)
	p := through(t, urls(all...), "")
	o := newOrigin(t, echoes)
	c := dial(t, p)
	const most = 600
	for range most {
		c.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "GET/")
		used := 0
		for _, n := range shares(all) {
			used += min(n, 1)
		}
		if used == len(all) {
			return
		}
	}
	t.Errorf("of %d requests the parents got %v", most, shares(all))
}

// homes is which parent serves whom: who sends a request of his own, and the
// answer says which parent it came by.
type homes map[string]string

// namedUpper is a parent whose answers say who it is.
func namedUpper(t testing.TB, name string) *upper {
	return newUpper(t, answersKept(name))
}

// answersKept is a deed: this body, again and again.
func answersKept(body string) deed {
	return func(c *originConn, _ *message) bool { return c.send(ok(body)) == nil }
}

// visit asks as each of some people, and wants each at home.
func (h homes) visit(t *testing.T, people []string, ask func(who string) *message) {
	t.Helper()
	for _, who := range people {
		m := ask(who)
		if m.want(t, 200, m.body); h[who] == "" {
			h[who] = m.body
		}
		if h[who] != m.body {
			t.Errorf("%s was served by %s, and now by %s", who, h[who], m.body)
		}
	}
}

// used is how many parents serve somebody.
func (h homes) used() int {
	all := map[string]bool{}
	for _, home := range h {
		all[home] = true
	}
	return len(all)
}

func parentHashUser(t *testing.T, _ *proxy) {
	const n = 16
	var people, pairs []string
	for i := range n {
		people = append(people, fmt.Sprint("user", i))
		pairs = append(pairs, people[i], "x")
	}
	all := urls(namedUpper(t, "a"), namedUpper(t, "b"), namedUpper(t, "c"))
	users := "users: " + saved(t, hashed(t, pairs...))
	p := through(t, all, "balance: hash, hash_key: user", users)
	ask := func(who string) *message {
		return dial(t, p).ask("GET http://a.test/ HTTP/1.1", "Host: x", "Connection: close", basic(who, "x")).answer()
	}
	h := homes{}
	h.visit(t, people, ask)
	h.visit(t, people, ask)
	p.reload(t, way(all, "balance: hash, hash_key: user, retries: 1", users))
	h.visit(t, people, ask)
	if h.used() < 2 {
		t.Errorf("%d users have one parent", n)
	}
}

func parentHashKeys(t *testing.T, _ *proxy) {
	all := urls(namedUpper(t, "a"), namedUpper(t, "b"), namedUpper(t, "c"))
	var people []string
	for i := range 16 {
		people = append(people, fmt.Sprint(i+1))
	}
	for key, ask := range map[string]func(p *proxy, who string) *message{
		"host":        func(p *proxy, who string) *message { return fetch(t, p, "h"+who+".test") },
		"header:x-id": func(p *proxy, who string) *message { return headed(t, p, who) },
		"client_ip": func(p *proxy, who string) *message {
			return dialFrom(t, p, "127.0.4."+who).ask("GET http://a.test/ HTTP/1.1", "Host: x", "Connection: close").answer()
		},
	} {
		p := through(t, all, "balance: ring, hash_key: \""+key+"\"")
		h := homes{}
		for range 3 {
			h.visit(t, people, func(who string) *message { return ask(p, who) })
		}
		if h.used() < 2 {
			t.Errorf("%s: all have one parent", key)
		}
	}
}

// headed asks with X-Id.
func headed(t *testing.T, p *proxy, id string) *message {
	t.Helper()
	return dial(t, p).ask("GET http://a.test/ HTTP/1.1", "Host: x", "Connection: close", "X-Id: "+id).answer()
}

func parentHashMoves(t *testing.T, _ *proxy) {
	at := freePort(t)
	c := upperSpec{addr: at, act: answersKept("c")}.start(t)
	all := urls(namedUpper(t, "a"), namedUpper(t, "b"), c)
	p := through(t, all, "balance: hash, hash_key: \"header:x-id\", health: {check: tcp, interval: 100ms, timeout: 1s, fall: 1, rise: 1}")
	var people []string
	for i := range 24 {
		people = append(people, fmt.Sprint(i))
	}
	ask := func(who string) *message { return headed(t, p, who) }
	before, during := homes{}, homes{}
	before.visit(t, people, ask)
	if before.used() != 3 {
		t.Fatalf("24 keys have %d parents of 3", before.used())
	}
	c.close()
	during.visit(t, people, ask)
	for who, home := range before {
		if now := during[who]; now == "c" || home != "c" && now != home {
			t.Errorf("%s was at %s, and is at %s while c is gone", who, home, now)
		}
	}
	upperSpec{addr: at, act: answersKept("c")}.start(t)
	poll(t, "all are at home", func() bool {
		for _, who := range people {
			if ask(who).body != before[who] {
				return false
			}
		}
		return true
	})
}

func parentTiers(t *testing.T, _ *proxy) {
	first, second := freePort(t), freePort(t)
	spec := func(at, name string) upperSpec { return upperSpec{addr: at, act: answersKept(name)} }
	a, b, c := spec(first, "a").start(t), spec(second, "b").start(t), namedUpper(t, "c")
	p := through(t, []string{c.url() + "?tier=2", b.url() + "?backup=true", a.url()}, "health: {check: tcp, interval: 100ms, timeout: 1s, fall: 1, rise: 1}")
	serves := func(name string) {
		t.Helper()
		poll(t, name+" serves", func() bool { return fetch(t, p, "a.test").body == name })
		for range 5 {
			fetch(t, p, "a.test").want(t, 200, name)
		}
	}
	serves("a")
	a.close()
	serves("b")
	b.close()
	serves("c")
	spec(second, "b").start(t)
	serves("b")
	spec(first, "a").start(t)
	serves("a")
}

func parentZones(t *testing.T, _ *proxy) {
	all := newUppers(t, 7)
	var endpoints []string
	for n, u := range all { // four of ours, which are told apart as long as there are six
		endpoints = append(endpoints, u.url()+"?zone="+[]string{"a", "b"}[n/4])
	}
	p := through(t, endpoints, "zone: a, balance: round_robin")
	o := newOrigin(t, echoes)
	for range 20 {
		fetch(t, p, o.addr).want(t, 200, "GET/")
	}
	wantShares(t, "near and far", all, 5, 5, 5, 5, 0, 0, 0)
	for _, u := range all[:4] {
		u.close()
	}
	for range 6 {
		fetch(t, p, o.addr).want(t, 200, "GET/")
	}
	if got := shares(all); got[4]+got[5]+got[6] != 6 || o.strangers() > 0 {
		t.Errorf("without ours the others were asked %v times", got)
	}
}

func parentViaEntry(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := launch{conf: way([]string{u.url()}, "") + "  - {listen: [127.0.0.2:0], allow_private: true, connect_ports: any}\n"}.start(t)
	poll(t, "two listeners", func() bool { return len(p.listeners()) == 2 })
	c, o := stage(t, p, whence)
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, upperAddress)
	m := fetch(t, p.at(p.listeners()[1]), o.addr)
	if m.status() != 200 || m.body == upperAddress || len(u.asked()) != 1 {
		t.Errorf("got %q %q; the parent was asked for %q", m.line, m.body, u.asked())
	}
}

// routed is a request, and which way it goes.
type routed struct {
	user, client, line, way string
}

// routes is a proxy with a pool for each of several terms. Its pools answer with
// their names.
func routes(t *testing.T) *proxy {
	t.Helper()
	pools := ""
	for _, name := range []string{"inner", "ports", "ops", "ann", "cellar", "write", "docs", "rest"} {
		u := newUpper(t, func(c *originConn, r *message) bool {
			if r.method() == "CONNECT" {
				return grants("", name)(c, r)
			}
			return answersKept(name)(c, r)
		})
		pools += poolText(name, urls(u), "")
	}
	s := newNames(t, always("127.0.0.1"))
	return launch{conf: confWith("admin: {listen: 127.0.0.1:0}\npools:\n"+pools,
		"users: "+saved(t, hashed(t, "ann", "x", "ben", "x", "eve", "x")), "groups: "+saved(t, "ops: ben\n"), `resolver: ["`+s.addr+`"]`,
		"via: rest", "route:",
		"  - {host: [direct.inner.test], via: direct}",
		"  - {host: [.inner.test, \"@"+saved(t, "listed.test\n")+"\"], via: inner}",
		"  - {port: [8443], via: ports}",
		"  - {group: [ops], via: ops}",
		"  - {user: [ann], method: [GET], via: ann}",
		"  - {client: [127.0.0.9], via: cellar}",
		"  - {method: [POST, PUT], path: [/write], via: write}",
		"  - {host: [docs.test], path: [/docs], via: docs}",
	)}.start(t)
}

func parentRoute(t *testing.T, _ *proxy) {
	p := routes(t)
	o := newOrigin(t, says(ok("direct")))
	for _, r := range []routed{
		{"eve", "", "GET http://a.inner.test/", "inner"},
		{"eve", "", "GET http://INNER.test./", "inner"},
		{"eve", "", "GET http://listed.test/", "inner"},
		{"eve", "", "GET http://xinner.test/", "rest"},
		{"eve", "", "GET http://direct.inner.test:" + o.port + "/", "direct"},
		{"eve", "", "GET http://a.test:8443/", "ports"},
		{"ben", "", "GET http://a.test:8443/", "ports"},
		{"ben", "", "GET http://a.test/", "ops"},
		{"ann", "", "GET http://a.test/", "ann"},
		{"ann", "", "POST http://a.test/", "rest"},
		{"ann", "", "POST http://a.test/write/x", "write"},
		{"eve", "127.0.0.9", "POST http://a.test/write", "cellar"},
		{"eve", "", "GET http://docs.test/docs/a", "docs"},
		{"eve", "", "GET http://docs.test/other", "rest"},
	} {
		client := r.client
		if client == "" {
			client = "127.0.0.1"
		}
		m := dialFrom(t, p, client).ask(r.line+" HTTP/1.1", "Host: x", "Content-Length: 0", "Connection: close", basic(r.user, "x")).answer()
		if m.status() != 200 || m.body != r.way {
			t.Errorf("%+v: got %q %q", r, m.line, m.body)
		}
		if ex := p.explainsWay(t, r, client); ex != r.way {
			t.Errorf("%+v is explained as %q", r, ex)
		}
	}
}

// explainsWay is by which way explain says that a request goes.
func (p *proxy) explainsWay(t *testing.T, r routed, client string) string {
	t.Helper()
	method, address, _ := strings.Cut(r.line, " ")
	v := url.Values{"method": {method}, "url": {address}, "user": {r.user}, "client": {client}, "addr": {"127.0.0.1"}}
	m := p.admin(t, "/api/explain?"+v.Encode())
	var said []struct{ Via string }
	if err := json.Unmarshal([]byte(m.body), &said); err != nil || len(said) != 1 {
		t.Fatalf("%v: %q %q", err, m.line, m.body)
	}
	return said[0].Via
}

func parentRouteConnect(t *testing.T, _ *proxy) {
	p := routes(t)
	far := newOrigin(t, func(o *originConn) { o.send("direct"); echo(o) })
	for target, way := range map[string]string{
		"a.inner.test:443": "inner", "a.test:8443": "ports", "a.test:443": "rest", "direct.inner.test:" + far.port: "direct",
	} {
		c := dial(t, p).ask("CONNECT "+target+" HTTP/1.1", "Host: x", basic("eve", "x"))
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("%s: got %q %q", target, m.raw, m.body)
		}
		c.read(way)
	}
	c, o := stage(t, p, says(ok("direct")))
	for _, turn := range [][2]string{
		{"GET http://a.inner.test/", "inner"},
		{"GET http://a.test/", "rest"},
		{"GET http://direct.inner.test:" + o.port + "/", "direct"},
		{"POST http://a.test/write", "write"},
		{"GET http://a.inner.test/", "inner"},
	} {
		c.ask(turn[0]+" HTTP/1.1", "Host: x", "Content-Length: 0", basic("eve", "x")).answer().want(t, 200, turn[1])
	}
}

func parentRouteNeverDirect(t *testing.T, _ *proxy) {
	text := confWith("pools:\n"+poolText("down", []string{"http://" + refusing(t)}, ""), "route: [{host: [127.0.0.1, .test], via: down}]")
	p := launch{conf: text}.start(t)
	o := newOrigin(t, echoes)
	fetch(t, p, o.addr).wantOwn(t, 503, "destination_unavailable")
	connect(t, p, o.addr).wantOwn(t, 503, "destination_unavailable")
	connect(t, p, "a.test:"+o.port).wantOwn(t, 503, "destination_unavailable")
	if o.dials() > 0 {
		t.Errorf("the origin was reached %d times", o.dials())
	}
	at := newOriginAt(t, "127.0.0.3:0", says(ok("direct")))
	fetch(t, p, at.addr).want(t, 200, "direct")
}

func parentLimits(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := through(t, []string{u.url()}, "limits: {requests: 1}")
	c, o := stage(t, p, echo)
	c.tunnel("{O}").send("ping").read("ping")
	for _, m := range []*message{connect(t, p, o.addr), fetch(t, p, o.addr)} {
		m.wantOwn(t, 503)
	}
	if n := len(u.asked()); n != 1 {
		t.Errorf("the parent was asked for %q", u.asked())
	}
	c.closeWrite()
	c.endsOrderly()
	web := newOrigin(t, echoes)
	poll(t, "there is room", func() bool { return fetch(t, p, web.addr).status() == 200 })
	for range 5 {
		dial(t, p).ask("GET http://"+web.addr+"/ HTTP/1.1", "Host: x").answer() // each gives its place back
	}
	poll(t, "nothing is in flight", func() bool { return p.pools(t)[0].InFlight == 0 })
	fetch(t, p, web.addr).want(t, 200, "GET/")
}

func parentEndpointMax(t *testing.T, _ *proxy) {
	a, b := newUpper(t), newUpper(t)
	p := through(t, []string{a.url() + "?max=1", b.url() + "?max=1"}, "balance: first")
	o := newOrigin(t, echo)
	one := dial(t, p).tunnel(o.addr)
	dial(t, p).tunnel(o.addr)
	wantShares(t, "two tunnels", []*upper{a, b}, 1, 1)
	connect(t, p, o.addr).wantOwn(t, 503)
	p.reload(t, way([]string{a.url() + "?max=1", b.url() + "?max=1"}, "balance: first, queue: 5, queue_timeout: 10s"))
	waiting := dial(t, p).ask("CONNECT "+o.addr+" HTTP/1.1", "Host: x")
	one.closeWrite()
	one.endsOrderly()
	if m := waiting.answerTo("CONNECT"); m.status() != 200 {
		t.Fatalf("got %q %q", m.raw, m.body)
	}
	waiting.send("ping").read("ping")
	wantShares(t, "three tunnels", []*upper{a, b}, 2, 1)
}

func parentReload(t *testing.T, _ *proxy) {
	gone, stays, comes := newUpper(t), newUpper(t), newUpper(t)
	p := through(t, urls(gone, stays), "balance: round_robin")
	far, o := newOrigin(t, echo), newOrigin(t, echoes)
	var tunnels []*client
	for range 4 {
		c := dial(t, p).tunnel(far.addr)
		c.send("ping").read("ping")
		tunnels = append(tunnels, c)
	}
	kept := dial(t, p)
	for range 4 {
		kept.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "GET/")
	}
	before := p.endpoint(t, stays.id())
	p.reload(t, way(urls(stays, comes), "balance: round_robin"))
	asked := len(gone.asked())
	for range 6 {
		kept.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "GET/")
	}
	dial(t, p).tunnel(far.addr)
	if len(gone.asked()) != asked || len(comes.asked()) < 3 {
		t.Errorf("after the reload: %q of the old one, %q of the new one", gone.asked()[asked:], comes.asked())
	}
	for _, c := range tunnels {
		c.send("pong").read("pong")
	}
	after := p.endpoint(t, stays.id())
	if after.Picks < before.Picks+3 || before.Picks < 4 || after.InFlight < 2 {
		t.Errorf("who stays was %+v, and is %+v", before, after)
	}
	for _, e := range p.pools(t)[0].Endpoints {
		if e.ID == gone.id() && e.Standing == "ready" {
			t.Errorf("who is gone is %+v", e)
		}
	}
	for _, c := range tunnels {
		c.closeWrite()
		c.endsOrderly()
	}
	p.reload(t, conf())
	fetch(t, p, o.addr).want(t, 200, "GET/")
	if n := o.strangers(); n != 1 {
		t.Errorf("%d connections went direct when the pool had gone, want 1", n)
	}
}
