package test

import (
	"fmt"
	"strings"
	"testing"
)

var parentHostileRows = []row{
	{"product-2/parent-hostile-destination", "–", "One destination that closes, resets or breaks off behind a parent, again and again, whatever the way to it, takes no parent out of the pool.", own, parentHostileDestination},
	{"9110-15.5.8/parent-hostile-407", "T64", "An origin that answers 407 or 421 behind a parent, with or without words of a proxy: the client gets no challenge, a POST is sent once, and the parent goes on to serve every other destination.", own, parentHostile407},
	{"9110-7.6.3/parent-provoked-loop", "T61", "A client that has a parent answer 421, by a Via of its own or by the parent's own address, takes it from nobody else.", own, parentProvokedLoop},
	{"product-2/parent-no-way-round", "–", "What a parent has said no to is not asked of `direct`: that is for parents that cannot be reached.", own, parentNoWayRound},
	{"product-5/parent-rule-comes", "T69", "A reload that brings a rule by address holds for the next request, also by a kept connection that was made by name.", own, parentRuleComes},
}

func parentHostileDestination(t *testing.T, _ *proxy) {
	for name, options := range map[string]string{"asked for the url": "", "through tunnels": ", resolve: here"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, other := newUpper(t), newUpper(t)
			p := through(t, urls(u, other), "balance: first, eject: {errors: 3}"+options)
			for end, script := range map[string]func(*originConn){
				"closes": func(*originConn) {}, "resets": func(o *originConn) { reset(o) },
				"half": saysAndCloses("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), "half in chunks": saysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
			} {
				o := newOrigin(t, script)
				for range 5 {
					c := dial(t, p).ask("CONNECT localhost:"+o.port+" HTTP/1.1", "Host: x")
					c.answerTo("CONNECT") // a 502, where the end was there before the connection
					if !strings.HasPrefix(end, "half") {
						c.rest()
					}
					c.conn.Close()
					c = dial(t, p).ask("GET http://localhost:"+o.port+"/ HTTP/1.1", "Host: x", "Connection: close")
					c.rest()
					c.conn.Close()
				}
				for _, by := range []*upper{u, other} {
					if e := p.endpoint(t, by.id()); e.Ejections > 0 || e.Passive != "ok" || e.Everywhere {
						t.Errorf("a destination that %s has taken out %+v", end, e)
					}
				}
			}
			fetch(t, p, newOrigin(t, echoes).addr).want(t, 200, "GET/")
		})
	}
}

func parentHostile407(t *testing.T, _ *proxy) {
	u, other := newUpper(t), newUpper(t)
	p := through(t, append(urls(u, other), "direct?tier=1"), "balance: first")
	good := newOrigin(t, echoes)
	for _, answer := range []string{
		wantsLogin, "HTTP/1.1 421 Misdirected\r\nContent-Length: 5\r\n\r\ninner",
		"HTTP/1.1 421 Misdirected\r\nProxy-Status: evil; error=proxy_loop_detected\r\nContent-Length: 5\r\n\r\ninner",
		"HTTP/1.1 503 No\r\nProxy-Status: evil; error=connection_limit_reached\r\nContent-Length: 5\r\n\r\ninner",
	} {
		evil := newOrigin(t, says(answer))
		for range 3 {
			c := dial(t, p)
			c.fill = evil.places
			m := c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello").answer()
			if m.status() == 407 || m.has("Proxy-Authenticate") || m.status() < 400 {
				t.Errorf("%q: the client got %q", answer, m.raw)
			}
		}
		if n := len(evil.seen()); n != 3 || evil.strangers() > 0 {
			t.Errorf("%q: 3 requests have become %d, %d of them direct", answer, n, evil.strangers())
		}
		for range 2 {
			fetch(t, p, evil.addr)
		}
		if evil.strangers() > 0 {
			t.Errorf("%q: GET went direct", answer)
		}
		for n := range 3 {
			before := len(u.asked())
			fetch(t, p, fmt.Sprintf("good%d.test:%s", n, good.port)).want(t, 200, "GET/")
			if len(u.asked()) != before+1 {
				t.Errorf("%q: other destinations do not go by the first parent any more: %+v", answer, p.endpoint(t, u.id()))
			}
		}
	}
	for _, by := range []*upper{u, other} {
		if e := p.endpoint(t, by.id()); e.Everywhere || e.Ejections > 0 {
			t.Errorf("an origin has taken out %+v", e)
		}
	}
}

func parentProvokedLoop(t *testing.T, _ *proxy) {
	next := newUpper(t)
	far := through(t, []string{next.url()}, "") // a proxy of our kind, with a parent of its own
	other := newUpper(t)
	p := through(t, []string{"http://" + far.addr, other.url(), "direct?tier=1"}, "balance: first")
	o := newOrigin(t, echoes)
	var tags []string
	for n := range 15 {
		tags = append(tags, fmt.Sprintf("1.1 viaduct-%016x", n))
	}
	for _, l := range [][]string{
		{"GET http://" + o.addr + "/ HTTP/1.1", "Host: x", "Via: " + strings.Join(tags, ", ")},
		{"GET http://" + far.addr + "/ HTTP/1.1", "Host: x"},
		{"CONNECT " + far.addr + " HTTP/1.1", "Host: x"},
		{"CONNECT a.test:443 HTTP/1.1", "Host: x", "Via: " + strings.Join(tags, ", ")},
	} {
		m := dial(t, p).ask(append(l, "Connection: close")...).answerTo(l[0][:7])
		if m.status() != 421 && l[0] != "CONNECT "+far.addr+" HTTP/1.1" { // another parent may be asked for what one has called a loop
			t.Errorf("%q: got %q", l, m.raw)
		}
		fetch(t, p, "good.test:"+o.port).want(t, 200, "GET/")
		if e := p.endpoint(t, "http://"+far.addr); e.Everywhere || e.Ejections > 0 || e.Errors > 0 {
			t.Errorf("%q has taken out %+v", l, e)
		}
	}
	if n := len(next.asked()); n != 4 || o.strangers() > 0 {
		t.Errorf("%d of 4 requests of others went by the first parent, %d direct", n, o.strangers())
	}
}

func parentNoWayRound(t *testing.T, _ *proxy) {
	deeds := map[string]deed{
		"a403": turnsDown("403 Forbidden"), "a503": turnsDown("503 No"), "a502": turnsDown("502 No"), "a407": answers(wantsLogin),
	}
	for name, does := range deeds {
		u := newUpper(t, does)
		p := through(t, []string{u.url(), "direct?tier=1"}, "")
		o := newOrigin(t, echo)
		if m := connect(t, p, o.addr); m.status() == 200 || o.dials() > 0 {
			t.Errorf("%s: got %q, and the origin was dialled %d times", name, m.raw, o.dials())
		}
		if m := connect(t, p, o.addr); name == "a403" && (m.status() == 200 || o.dials() > 0) {
			t.Errorf("%s: the second time: got %q, and the origin was dialled %d times", name, m.raw, o.dials())
		}
		u.close() // and now it cannot be reached
		dial(t, p).tunnel(o.addr)
	}
}

func parentRuleComes(t *testing.T, _ *proxy) {
	for _, scheme := range []string{"socks5", "http"} {
		u := upperSpec{scheme: scheme}.start(t)
		p := through(t, []string{u.url()}, "")
		c, o := stage(t, p, echoes)
		other := dial(t, p)
		for range 2 {
			c.ask("GET http://localhost:{P}/ HTTP/1.1", "Host: x").answer().want(t, 200, "GET/")
			other.ask("GET http://localhost:"+o.port+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "GET/")
		}
		p.reload(t, way([]string{u.url()}, "", "rules: [{name: cellar, deny: {addr: [127.0.0.0/8]}}]"))
		c.ask("GET http://localhost:{P}/ HTTP/1.1", "Host: x").answer().wantDenied(t, "cellar")
		other.ask("GET http://localhost:"+o.port+"/ HTTP/1.1", "Host: x").answer().wantDenied(t, "cellar")
		if n := len(o.seen()); n != 4 {
			t.Errorf("%s: %d requests at the origin", scheme, n)
		}
	}
}
