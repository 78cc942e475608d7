package test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

var parentWireRows = []row{
	{"9110-7.6.1/parent-hop-by-hop", "T14", "Fields of one hop pass a parent in neither direction: what Connection names, Keep-Alive, TE, Proxy-Connection, and what the parent says of authentication.", own, parentHopByHop},
	{"9112-6.3/parent-http10", "T29", "A parent that speaks HTTP/1.0 and ends its answers with the connection: each is whole, one that breaks off within its length is not.", own, parentHTTP10},
	{"9110-10.1.1/parent-expect", "T33", "Expect: 100-continue through a parent: the 100 comes from behind it, 103 and trailer fields pass.", own, parentExpect},
	{"9110-15.5/parent-early-answer", "T34", "A parent that answers before the body has come is heard, and its connection is not used again.", own, parentEarlyAnswer},
	{"9112-9.3/parent-surplus", "T27", "A parent that says more than its answer: the connection is closed, and nobody gets the surplus for an answer.", own, parentSurplus},
	{"9112-11/parent-smuggling", "T21", "A parent gets nothing that could be read in two ways: such requests are refused before it is asked.", own, parentSmuggling},
	{"product-2/parent-mixups", "T40", "16 clients, some leaving halfway, and three parents that close, reset, break off and say too much: each whole answer is the right one, each POST is read at most once, nothing is left.", own, parentMixups},
	{"product-2/parent-client-leaves", "T52", "A client that leaves while its parent is silent, on GET and on CONNECT: the parent is let go, and nothing counts as in flight.", own, parentClientLeaves},
	{"product-8/parent-drain", "T70", "SIGTERM: an exchange and a tunnel through a parent end in peace, idle connections to it are closed; exit 0.", own, parentDrain},
	{"product-2/parent-recheck", "T69", "--reload-tunnels recheck ends a tunnel through a parent that the new rules forbid; others stay.", own, parentRecheck},
	{"9110-7.6.3/parent-long-chain", "T61", "A request that has come through very many proxies of this kind is 421, and asked of nobody.", own, parentLongChain},
}

func parentHopByHop(t *testing.T, _ *proxy) {
	u := newUpper(t, answersAlways("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: keep-alive, X-Drop\r\nX-Drop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n"+
		"Proxy-Authenticate: Basic realm=\"inner\"\r\nProxy-Authentication-Info: inner\r\nX-Kept: 1\r\n\r\nfine"))
	p := through(t, []string{u.url()}, "")
	c := dial(t, p)
	for range 3 {
		c.ask("GET http://a.test/ HTTP/1.1", "Host: a.test", "Connection: X-Gone, keep-alive", "X-Gone: 1", "Keep-Alive: timeout=5", "TE: trailers", "Proxy-Connection: keep-alive", "X-Kept: 1")
		m := c.answer()
		m.want(t, 200, "fine")
		m.without(t, "X-Drop", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Via")
		if m.get("X-Kept") != "1" {
			t.Errorf("got %q", m.raw)
		}
	}
	for _, r := range u.seen() {
		r.without(t, "X-Gone", "Keep-Alive", "Proxy-Connection")
		if r.get("X-Kept") != "1" || len(r.all("Host")) != 1 || r.get("Host") != "a.test" {
			t.Errorf("the parent got %q", r.raw)
		}
	}
	if u.dials() != 1 {
		t.Errorf("%d connections", u.dials())
	}
}

// answersAlways is a deed: these bytes, again and again.
func answersAlways(text string) deed {
	return func(c *originConn, _ *message) bool { return c.send(text) == nil }
}

func parentHTTP10(t *testing.T, _ *proxy) {
	u := newUpper(t, byHost(map[string]deed{
		"end":    answers("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
		"length": answers("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine"),
		"short":  answers("HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nfine"),
		"kept":   answersAlways("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nkept"),
	}))
	p := through(t, []string{u.url()}, "")
	c := dial(t, p)
	for range 2 {
		c.ask("GET http://end.test/ HTTP/1.1", "Host: x").answer().want(t, 200, "until the end")
		c.ask("GET http://length.test/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
		c.ask("GET http://kept.test/ HTTP/1.1", "Host: x").answer().want(t, 200, "kept")
	}
	if m := c.ask("GET http://short.test/ HTTP/1.1", "Host: x").answer(); m.err == nil {
		t.Errorf("a short answer is whole: %q %q", m.raw, m.body)
	}
}

func parentExpect(t *testing.T, _ *proxy) {
	u := upperSpec{script: func(c *originConn) { // reads the head alone, and then what follows
		for r := c.head(); r != nil; r = c.head() {
			if r.has("Expect") {
				c.send("HTTP/1.1 100 Continue\r\n\r\n")
			}
			if r.take(c.in, atoi(r.get("Content-Length"))) != nil {
				return
			}
			c.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\n" + r.body + "\r\n0\r\nX-Sum: 7\r\n\r\n")
		}
	}}.start(t)
	p := through(t, []string{u.url()}, "")
	c := dial(t, p)
	for range 2 {
		c.ask("POST http://a.test/ HTTP/1.1", "Host: x", "Expect: 100-continue", "Content-Length: 5", "TE: trailers")
		if m := c.head(); m.status() != 100 {
			t.Fatalf("got %q", m.raw)
		}
		c.send("hello")
		if m := c.head(); m.status() != 103 || m.get("Link") != "</x>" {
			t.Fatalf("got %q", m.raw)
		}
		m := c.answer()
		m.want(t, 200, "hello")
		if sum, _ := find(m.trailer, "X-Sum"); sum != "7" {
			t.Errorf("the trailer is %v", m.trailer)
		}
	}
}

func parentEarlyAnswer(t *testing.T, _ *proxy) {
	u := upperSpec{script: func(c *originConn) {
		if c.head() != nil {
			c.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
			c.drain()
		}
	}}.start(t)
	p := through(t, []string{u.url()}, "")
	for range 2 {
		c := dial(t, p)
		c.ask("POST http://a.test/ HTTP/1.1", "Host: x", "Content-Length: 1000000")
		c.try(strings.Repeat("x", 1000))
		c.answer().want(t, 413, "large")
		c.conn.Close()
	}
	if n := u.dials(); n != 2 {
		t.Errorf("%d connections for two requests whose bodies were cut", n)
	}
	poll(t, "the parent's connections end", func() bool { return u.open() == 0 })
}

func parentSurplus(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	poison := answersAlways(ok("fine") + ok("poison"))
	for _, s := range []upperSpec{{act: poison}, {scheme: "https", tls: conf, act: poison}} {
		u := s.start(t)
		options := ""
		if s.tls != nil {
			options = option
		}
		p := through(t, []string{u.url()}, options)
		c := dial(t, p)
		for range 5 {
			c.ask("GET http://a.test/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
		}
		if n := u.dials(); n != 5 {
			t.Errorf("%s: %d connections for 5 answers with surplus", u.scheme, n)
		}
	}
}

func parentSmuggling(t *testing.T, _ *proxy) {
	u := newUpper(t, answersAlways(ok("reached")))
	p := through(t, []string{u.url()}, "")
	for _, head := range []string{
		"POST http://a.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST http://a.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"POST http://a.test/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
		"POST http://a.test/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n",
		"GET http://a.test/ HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
		"GET http://a.test/ HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n",
		"GET http://a.test/\tx HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://a.test:80@b.test/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT a.test:443\r\nHost: x\r\n\r\n",
		"CONNECT a.test:443 HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
	} {
		c := dial(t, p)
		if m := c.send(head + "0\r\n\r\nGET http://smuggled.test/ HTTP/1.1\r\nHost: x\r\n\r\n").answer(); m.status() < 400 || m.status() == 502 {
			t.Errorf("%q: got %q", head, m.raw)
		}
		c.rest()
	}
	u.wantAsked(t)
}

// unrulyParent is unruly for a parent that plain requests are asked of.
func (l *ledger) unrulyParent(seed uint64) func(*originConn) {
	return func(c *originConn) {
		dice := rand.New(rand.NewPCG(seed, 1000+uint64(c.n)))
		for {
			r, err := readRequest(c.in)
			if err != nil {
				return
			}
			at, err := url.Parse(r.target())
			if err != nil {
				return
			}
			l.enter(r.method() + " " + at.Path)
			answer := ok(r.method() + " " + at.Path + " " + r.body)
			if r.method() == "HEAD" {
				answer = "HTTP/1.1 200 OK\r\nX-Id: " + at.Path + "\r\nContent-Length: 10\r\n\r\n"
			}
			if c.harm(dice, answer) {
				return
			}
		}
	}
}

func parentMixups(t *testing.T, _ *proxy) {
	const clients, each = 16, 60
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &ledger{read: map[string]int{}}
	var all []*upper
	for range 3 {
		all = append(all, upperSpec{script: l.unrulyParent(seed)}.start(t))
	}
	p := through(t, urls(all...), "retry_budget: 50%, eject: {errors: 1000000}", "upstream_idle_timeout: 1s")
	fetch(t, p, "warm.test")
	base := p.descriptors(t)
	origins := []*origin{{addr: "a.test"}, {addr: "b.test:81"}, {addr: "127.0.0.1:1"}}
	whole := make(chan int, clients)
	if err := eachOf(clients, clients, func(n int) error {
		w := &wanderer{proxy: p.addr, n: n, dice: rand.New(rand.NewPCG(seed, uint64(n))), origins: origins}
		defer func() { whole <- w.whole }()
		return w.roam(each)
	}); err != nil {
		t.Error(err)
	}
	sum := 0
	for range clients {
		sum += receive(t, "a count", whole)
	}
	if sum < clients*each/4 {
		t.Errorf("only %d answers of %d were whole", sum, clients*each)
	}
	l.mu.Lock()
	for id, times := range l.read {
		if times > 1 && strings.HasPrefix(id, "POST") {
			t.Errorf("%s was read %d times", id, times)
		}
	}
	l.mu.Unlock()
	poll(t, "the parents have no connection any more", func() bool { return all[0].open()+all[1].open()+all[2].open() == 0 })
	if s := p.pools(t)[0]; s.InFlight != 0 {
		t.Errorf("%d are in flight when nothing is: %+v", s.InFlight, s)
	}
	p.settles(t, base)
}

func parentClientLeaves(t *testing.T, _ *proxy) {
	u := newUpper(t, isSilent)
	p := through(t, []string{u.url()}, "")
	var leaving []func()
	for _, head := range []string{"GET http://a.test/ HTTP/1.1", "CONNECT a.test:443 HTTP/1.1", "CONNECT b.test:443 HTTP/1.1"} {
		c := dial(t, p).ask(head, "Host: x")
		leaving = append(leaving, func() { reset(c.conn) })
		if strings.Contains(head, "b.test") {
			leaving[2] = func() { c.conn.Close() }
		}
	}
	poll(t, "the parent is asked", func() bool { return len(u.asked()) == len(leaving) })
	for _, leave := range leaving {
		leave()
	}
	poll(t, "the parent is let go", func() bool { return u.open() == 0 })
	poll(t, "nothing is in flight", func() bool { return p.pools(t)[0].InFlight == 0 })
	if e := p.endpoint(t, u.id()); e.InFlight != 0 || e.Errors > 0 || e.Everywhere || e.Resting > 0 {
		t.Errorf("the parent is blamed for clients that leave: %+v", e)
	}
}

func parentDrain(t *testing.T, _ *proxy) {
	asked, release := make(chan struct{}, 1), make(chan struct{})
	u := newUpper(t)
	p := through(t, []string{u.url()}, "")
	idle, _ := stage(t, p, says(ok("fine")))
	idle.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	tunnel, _ := stage(t, p, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	c, _ := stage(t, p, func(o *originConn) {
		if o.request() != nil {
			asked <- struct{}{}
			<-release
			o.send(ok("late"))
		}
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	receive(t, "the request at the origin", asked)
	p.signal(t, syscall.SIGTERM)
	p.deaf(t)
	close(release)
	c.answer().want(t, 200, "late")
	idle.ends()
	tunnel.send("pong").read("pong")
	tunnel.closeWrite()
	tunnel.endsOrderly()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	poll(t, "the parent has no connection any more", func() bool { return u.open() == 0 })
}

func parentRecheck(t *testing.T, _ *proxy) {
	u := newUpper(t)
	more := []string{"reload_tunnels: recheck"}
	p := through(t, []string{u.url()}, "", more...)
	o := newOrigin(t, echo)
	stays, goes := dial(t, p).tunnel("stays.test:"+o.port), dial(t, p).tunnel("goes.test:"+o.port)
	stays.send("ping").read("ping")
	goes.send("ping").read("ping")
	p.reload(t, way([]string{u.url()}, "", append(more, "rules: [{deny: {host: [goes.test]}}]")...))
	if rest, _ := goes.rest(); rest != "" {
		t.Errorf("after its end came %q", rest)
	}
	stays.send("pong").read("pong")
	poll(t, "one is in flight", func() bool { return p.pools(t)[0].InFlight == 1 })
}

func parentLongChain(t *testing.T, _ *proxy) {
	u := newUpper(t, answersAlways(ok("reached")))
	p := through(t, []string{u.url()}, "")
	var tags []string
	for n := range 200 {
		tags = append(tags, fmt.Sprintf("1.1 viaduct-%016x", n))
	}
	fetchVia := func(n int) *message {
		return dial(t, p).ask("GET http://a.test/ HTTP/1.1", "Host: x", "Connection: close", "Via: "+strings.Join(tags[:n], ", ")).answer()
	}
	fetchVia(3).want(t, 200, "reached")
	fetchVia(200).wantOwn(t, 421, "proxy_loop_detected")
	if got := u.seen(); len(got) != 1 || !strings.HasPrefix(got[0].get("Via"), strings.Join(tags[:3], ", ")+", 1.1 viaduct-") {
		t.Errorf("the parent got %q", got[0].raw)
	}
}
