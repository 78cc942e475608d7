package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var parentAnswerRows = []row{
	{"9110-9.3.6/parent-says-no", "T64", "One parent that answers CONNECT with 400 to 599, 302, garbage, too much or nothing: each has its own kind and sentence, a 407 is never the client's, and only what is the parent's fault counts against it.", own, parentSaysNo},
	{"9110-9.3.6/parent-never-answers", "T64", "One parent that is silent, or drips: 504 connection_timeout within 1.5 × --dial-timeout, and nobody is blamed.", own, parentNeverAnswers},
	{"9110-9.3.6/parent-next", "T64", "Two parents: whatever the first says or leaves out, the tunnel is made by the second within one request.", own, parentNext},
	{"9110-9.3.6/parent-next-late", "T64", "The same where the first never answers: it is joined by the second after half of --dial-timeout.", own, parentNextLate},
	{"9110-15.5.8/parent-plain-407", "T64", "A parent's 407 to a plain request is never the client's: another parent is asked, or it is our 500; with the body, POST too.", own, parentPlain407},
	{"9110-15/parent-plain-answers", "T64", "Other answers to a plain request pass as they came, by status and body: 403, 404, 429, 5xx; an origin that fails again and again is no fault of the parent.", own, parentPlainAnswers},
	{"9110-9.2.2/parent-plain-next", "T64", "A plain GET that the parent has dropped without an answer is asked of the next one; a POST is not, and no answer that has begun is asked for twice.", own, parentPlainNext},
	{"9110-9.2.2/parent-post-once", "–", "A POST whose parent cannot be connected to goes to the next one, once, whole.", own, parentPostOnce},
	{"product-2/parent-retries", "–", "`--retries 0`: no second parent is asked; the default asks two more, and no fourth.", own, parentRetries},
	{"product-2/parent-hedge", "–", "`--hedge-after`: a connect that takes so long is joined by one to another parent; a POST is still sent once, and who loses is not blamed.", own, parentHedge},
	{"product-7/parent-all-down", "–", "All parents down: 503 destination_unavailable with Retry-After within 8 seconds, GET and CONNECT alike, and never direct.", own, parentAllDown},
	{"product-2/parent-direct-last", "–", "`direct` as the last tier is gone by when no parent can be reached, and not before.", own, parentDirectLast},
	{"product-2/parent-rests-there", "–", "A parent that does not reach a destination which another one reaches is passed over for that destination alone.", own, parentRestsThere},
	{"product-2/parent-rests-everywhere", "T64", "A parent that does not like our credentials is passed over for all destinations, and asked all the same when nobody is left.", own, parentRestsEverywhere},
	{"product-2/parent-back-in-use", "–", "A parent that vanishes and comes back: nobody notices but the log, and it is in use again.", own, parentBackInUse},
	{"product-2/parent-tunnels-prove", "–", "Tunnels alone: each that is made speaks for its parent, whoever ends it and if nobody does, so that single failures eject nobody, and who was ejected comes back.", own, parentTunnelsProve},
	{"product-4/parent-check", "–", "A check that fails takes the parent out before a request meets it, and puts it back.", own, parentChecked},
}

// told is a parent's answer to CONNECT, and what becomes of it.
type told struct {
	name   string
	deed   deed
	status int
	token  string
	blamed bool // it counts against the parent's health
}

// fromParents are answers that say something of one destination, or of the
// parent; those about our credentials have it passed over everywhere.
var fromParents = []told{
	{"a403", turnsDown("403 Forbidden"), 403, "http_request_denied", false},
	{"a404", turnsDown("404 Not Found"), 403, "http_request_denied", false},
	{"a451", turnsDown("451 Unavailable For Legal Reasons"), 403, "http_request_denied", false},
	{"a502", turnsDown("502 Bad Gateway"), 502, "destination_unavailable", false},
	{"a503", turnsDown("503 Service Unavailable"), 503, "destination_unavailable", false},
	{"a504", turnsDown("504 Gateway Timeout"), 504, "connection_timeout", false},
	{"a500", turnsDown("500 Internal Server Error"), 502, "destination_unavailable", false},
	{"a302", answers("HTTP/1.1 302 Found\r\nLocation: http://login.inner/\r\nContent-Length: 0\r\n\r\n"), 502, "http_protocol_error", true},
	{"ssh", answers("SSH-2.0-inner\r\n"), 502, "http_protocol_error", true},
	{"binary", answers("\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"), 502, "http_protocol_error", true},
	{"large", answers("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n"), 502, "http_response_header_section_size", true},
	{"nothing", hangsUp, 502, "connection_terminated", true},
	{"half", answers("HTTP/1.1 200 O"), 502, "connection_terminated", true},
	{"reset", breaksOff, 502, "connection_terminated", true},
}

// fromParentsToUs are answers that are about what we are configured to say.
var fromParentsToUs = []told{
	{"a407", answers(wantsLogin), 500, "proxy_configuration_error", false},
	{"a400", turnsDown("400 Bad Request"), 500, "proxy_configuration_error", false},
	{"a405", turnsDown("405 Method Not Allowed"), 500, "proxy_configuration_error", false},
	{"a429", turnsDown("429 Too Many Requests"), 503, "connection_limit_reached", false},
}

// byName is a deed that goes by the name of what is asked for: a403.test.
func byName(list []told) deed {
	deeds := map[string]deed{}
	for _, w := range list {
		deeds[w.name] = w.deed
	}
	return byHost(deeds)
}

// connect asks for a tunnel and wants an answer of our own, or a 200.
func connect(t *testing.T, p *proxy, target string) *message {
	t.Helper()
	m := dial(t, p).ask("CONNECT "+target+" HTTP/1.1", "Host: "+target).answerTo("CONNECT")
	if m.status() != 200 {
		m.discreet(t)
		m.without(t, "Proxy-Authenticate", "Location")
		if strings.Contains(m.raw+m.body, "inner") {
			t.Errorf("%s: the client reads what the parent has said: %q %q", target, m.raw, m.body)
		}
	}
	return m
}

func parentSaysNo(t *testing.T, _ *proxy) {
	all := slices.Concat(fromParents, fromParentsToUs)
	u := newUpper(t, byName(all))
	p := through(t, []string{u.url()}, "")
	o := newOrigin(t, echo)
	for _, w := range all {
		if m := connect(t, p, o.addr); m.status() != 200 { // and errors in a row end
			t.Fatalf("before %s: got %q %q", w.name, m.raw, m.body)
		}
		before := p.endpoint(t, u.id())
		m := connect(t, p, w.name+".test:443")
		if m.status() != w.status || !strings.HasPrefix(m.get("Proxy-Status"), "viaduct; error="+w.token) {
			t.Errorf("%s: got %q %q %q, want %d %s", w.name, m.line, m.get("Proxy-Status"), m.body, w.status, w.token)
		}
		after := p.endpoint(t, u.id())
		if blamed := after.Failures > before.Failures; blamed != w.blamed {
			t.Errorf("%s: blamed is %v: %+v, then %+v", w.name, blamed, before, after)
		}
	}
}

func parentNeverAnswers(t *testing.T, _ *proxy) {
	for name, does := range map[string]deed{"silence": isSilent, "drip": drips} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpper(t, does)
			p := through(t, []string{u.url()}, "", "dial_timeout: 1s")
			connect(t, p, "a.test:443").wantOwn(t, 504, "connection_timeout")
			if e := p.endpoint(t, u.id()); e.Errors > 0 || e.Everywhere || e.Resting > 0 {
				t.Errorf("it is blamed: %+v", e)
			}
			poll(t, "the parent is let go", func() bool { return u.open() == 0 })
		})
	}
}

func parentNext(t *testing.T, _ *proxy) {
	type group struct {
		name string
		list []told
	}
	groups := []group{{"destinations", fromParents}}
	for _, w := range fromParentsToUs { // each has the parent passed over from then on
		groups = append(groups, group{w.name, []told{w}})
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			bad, good := newUpper(t, byName(g.list)), newUpper(t)
			p := through(t, []string{bad.url(), good.url()}, "balance: first")
			o := newOrigin(t, echo)
			for n, w := range g.list {
				if m := connect(t, p, fmt.Sprintf("fine%d.test:%s", n, o.port)); m.status() != 200 { // it is still of use
					t.Fatalf("%s: got %q", w.name, m.raw)
				}
				target := w.name + ".test:" + o.port
				c := dial(t, p).tunnel(target)
				c.send("ping").read("ping")
				if got := bad.asked(); got[len(got)-1] != "CONNECT "+target {
					t.Errorf("%s: the first parent was asked for %q", w.name, got)
				}
				if got := good.asked(); got[len(got)-1] != "CONNECT "+target {
					t.Errorf("%s: the second parent was asked for %q", w.name, got)
				}
			}
			if n := len(good.asked()); n != len(g.list) {
				t.Errorf("the second parent was asked %d times: %q", n, good.asked())
			}
		})
	}
}

func parentNextLate(t *testing.T, _ *proxy) {
	for name, does := range map[string]deed{"silence": isSilent, "drip": drips} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := newUpper(t, does), newUpper(t)
			p := through(t, []string{bad.url(), good.url()}, "balance: first", "dial_timeout: 2s")
			c, o := stage(t, p, echo)
			c.tunnel("{O}").send("ping").read("ping")
			if len(bad.asked()) != 1 || o.dials() != 1 {
				t.Errorf("%q, %d connections at the origin", bad.asked(), o.dials())
			}
			poll(t, "the first is let go", func() bool { return bad.open() == 0 })
			if e := p.endpoint(t, bad.id()); e.Errors > 0 || e.Everywhere {
				t.Errorf("it is blamed: %+v", e)
			}
		})
	}
	t.Run("black hole", func(t *testing.T) {
		t.Parallel()
		p := through(t, []string{"http://" + blackhole(t, "127.0.0.1", 0), newUpper(t).url()}, "balance: first", "dial_timeout: 2s")
		c, _ := stage(t, p, echoes)
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/")
	})
}

func parentPlain407(t *testing.T, _ *proxy) {
	bad, good := newUpper(t, answers(wantsLogin)), newUpper(t)
	alone := through(t, []string{bad.url()}, "")
	m := fetch(t, alone, "a.test")
	m.wantOwn(t, 500, "proxy_configuration_error")
	m.without(t, "Proxy-Authenticate")
	if strings.Contains(m.body, "inner") {
		t.Errorf("got %q", m.body)
	}
	if e := alone.endpoint(t, bad.id()); e.Errors > 0 {
		t.Errorf("it is blamed: %+v", e)
	}
	for _, l := range []string{"GET", "POST"} {
		p := through(t, []string{bad.url(), good.url()}, "balance: first")
		c, o := stage(t, p, echoes)
		m := c.send(l + " http://{O}/x HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello").answer()
		if l == "POST" && m.status() == 500 { // its body may be gone; what comes next goes elsewhere
			m.wantOwn(t, 500, "proxy_configuration_error")
		} else {
			m.want(t, 200, l+"/xhello")
		}
		fetch(t, p, o.addr).want(t, 200, "GET/")
	}
}

func parentPlainAnswers(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := through(t, []string{u.url()}, "")
	c, _ := stage(t, p, serve(func(r *message) string {
		return strings.Replace(ok("origin"), "200 OK", r.target()[1:]+" Told", 1)
	}))
	for _, status := range []int{403, 404, 429, 500, 502, 503, 504, 599} {
		for range 6 { // what an origin says so often is no fault of the parent
			c.ask(fmt.Sprintf("GET http://{O}/%d HTTP/1.1", status), "Host: {O}").answer().want(t, status, "origin")
		}
	}
	c, _ = stage(t, p, saysAndCloses("HTTP/1.1 304 Not Modified\r\n\r\n"))
	if m := c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer(); m.status() != 304 {
		t.Errorf("got %q", m.raw)
	}
	if e := p.endpoint(t, u.id()); e.Everywhere || e.Errors > 0 || e.Ejections > 0 || e.Resting > 0 {
		t.Errorf("it is blamed: %+v", e)
	}
}

func parentPlainNext(t *testing.T, _ *proxy) {
	half := func(c *originConn, _ *message) bool {
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		reset(c)
		return false
	}
	bad, good := newUpper(t, byHost(map[string]deed{
		"nothing": hangsUp, "reset": breaksOff, "half": half, "post-nothing": hangsUp, "post-reset": breaksOff,
	})), newUpper(t)
	p := through(t, []string{bad.url(), good.url()}, "balance: first")
	o := newOrigin(t, echoes)
	for _, name := range []string{"nothing", "reset"} {
		fetch(t, p, name+".test:"+o.port).want(t, 200, "GET/")
		fetch(t, p, "fine.test:"+o.port).want(t, 200, "GET/") // by the first again, or by the second
	}
	before := len(good.asked())
	for _, name := range []string{"nothing", "reset"} {
		m := dial(t, p).send("POST http://post-" + name + ".test:" + o.port + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").answer()
		m.wantOwn(t, 502, "connection_terminated")
	}
	c := dial(t, p).ask("GET http://half.test:"+o.port+"/ HTTP/1.1", "Host: x")
	if m := c.answer(); m.err == nil || m.body != "hello" {
		t.Errorf("got %q %q, %v", m.raw, m.body, m.err)
	}
	for _, asked := range good.asked()[before:] {
		t.Errorf("the second parent was asked for %q", asked)
	}
}

func parentPostOnce(t *testing.T, _ *proxy) {
	good := newUpper(t)
	p := through(t, []string{"http://" + refusing(t), "http://" + refusing(t), good.url()}, "balance: first")
	c, o := stage(t, p, echoes)
	body := strings.Repeat("0123456789", 20_000)
	c.send(fmt.Sprintf("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: %d\r\n\r\n%s", len(body), body)).answer().want(t, 200, "POST/"+body)
	good.wantAsked(t, "POST http://"+o.addr+"/")
	if n := len(o.seen()); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func parentRetries(t *testing.T, _ *proxy) {
	for _, turn := range []struct {
		options string
		asked   int
	}{{"retries: 0", 1}, {"balance: random", 3}} {
		var all []*upper
		for range 4 {
			all = append(all, newUpper(t, hangsUp))
		}
		p := through(t, urls(all...), turn.options)
		if m := connect(t, p, "a.test:443"); m.status() != 502 && m.status() != 503 {
			t.Errorf("%s: got %q", turn.options, m.raw)
		}
		n := 0
		for _, u := range all {
			n += len(u.asked())
		}
		if n != turn.asked {
			t.Errorf("%s: %d parents were asked, want %d", turn.options, n, turn.asked)
		}
	}
	o := newOrigin(t, echo)
	refused := []string{"http://" + refusing(t), "http://" + refusing(t), "http://" + refusing(t), "http://" + refusing(t), newUpper(t).url()}
	if m := connect(t, through(t, refused, "balance: first"), o.addr); m.status() != 200 { // these do not count
		t.Errorf("got %q %q", m.raw, m.body)
	}
	if m := connect(t, through(t, refused, "balance: first, retries: 0"), o.addr); m.status() < 500 {
		t.Errorf("retries: 0: got %q %q", m.raw, m.body)
	}
}

func parentHedge(t *testing.T, _ *proxy) {
	const dialTimeout = 12 * time.Second
	silent, good := newUpper(t, isSilent), newUpper(t)
	for name, turn := range map[string]struct{ first, how string }{
		"tunnel": {silent.url(), "CONNECT"}, "black hole": {"http://" + blackhole(t, "127.0.0.1", 0), "POST"},
	} {
		p := through(t, []string{turn.first, good.url()}, "balance: first, hedge_after: 100ms", "dial_timeout: "+dialTimeout.String())
		c, o := stage(t, p, echoes)
		began, before := time.Now(), len(good.asked())
		if turn.how == "CONNECT" {
			c.tunnel("{O}")
		} else {
			c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello").answer().want(t, 200, "POST/hello")
		}
		if took := time.Since(began); took > dialTimeout/2 {
			t.Errorf("%s: %v, as if nobody had joined", name, took)
		}
		poll(t, "the origin has the connection", func() bool { return o.dials() > 0 })
		if got := good.asked()[before:]; len(got) != 1 || o.dials() != 1 {
			t.Errorf("%s: the second was asked for %q, %d connections at the origin", name, got, o.dials())
		}
		if e := p.endpoint(t, strings.TrimSuffix(turn.first, "/")); e.Errors > 0 || e.Everywhere || e.InFlight > 0 {
			t.Errorf("%s: who lost is %+v", name, e)
		}
	}
	poll(t, "who lost is let go", func() bool { return silent.open() == 0 })
}

func parentAllDown(t *testing.T, _ *proxy) {
	for name, endpoints := range map[string][]string{
		"refused":    {"http://" + refusing(t), "socks5://" + refusing(t), "https://" + refusing(t)},
		"black hole": {"http://" + blackhole(t, "127.0.0.1", 0), "http://" + blackhole(t, "127.0.0.1", 0)},
		"one":        {"http://" + refusing(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := through(t, endpoints, "", "dial_timeout: 500ms")
			o := newOrigin(t, echoes)
			began := time.Now()
			for _, m := range []*message{fetch(t, p, o.addr), connect(t, p, o.addr)} {
				m.wantOwn(t, 503, "destination_unavailable")
				if n := m.get("Retry-After"); n == "" || strings.Trim(n, "0123456789") != "" {
					t.Errorf("Retry-After %q", n)
				}
				if !strings.Contains(m.body, "No way out is available.") {
					t.Errorf("got %q", m.body)
				}
			}
			if took := time.Since(began); took > 2*8*time.Second {
				t.Errorf("two answers after %v", took)
			}
			if n := o.dials(); n > 0 {
				t.Errorf("the origin was reached %d times", n)
			}
		})
	}
}

func parentDirectLast(t *testing.T, _ *proxy) {
	for _, direct := range []string{"direct?tier=3", "direct?backup=true"} {
		at := freePort(t)
		u := upperSpec{addr: at}.start(t)
		p := through(t, []string{direct, u.url()}, "")
		o := newOrigin(t, echoes)
		for range 4 {
			fetch(t, p, o.addr).want(t, 200, "GET/")
		}
		if o.strangers() > 0 {
			t.Errorf("%s: %d connections went direct", direct, o.strangers())
		}
		u.close()
		fetch(t, p, o.addr).want(t, 200, "GET/")
		dial(t, p).tunnel(o.addr)
		poll(t, "both went direct", func() bool { return o.strangers() == 2 })
		lines := p.lines(t, 5)
		wantFields(t, lines[0], map[string]any{"pool": "parents", "endpoint": u.id()})
		wantFields(t, lines[4], map[string]any{"pool": "parents", "tries": 2.0, "status": 200.0})
		if e, _ := lines[4]["endpoint"].(string); e != "direct" && e != o.addr {
			t.Errorf("the log says endpoint %q", e)
		}
	}
}

func parentRestsThere(t *testing.T, _ *proxy) {
	for name, does := range map[string]deed{"denied": turnsDown("403 Forbidden"), "unreached": turnsDown("503 Service Unavailable")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := newUpper(t, byHost(map[string]deed{"hard": does})), newUpper(t)
			p := through(t, []string{bad.url(), good.url()}, "balance: first")
			o := newOrigin(t, echo)
			for range 3 {
				dial(t, p).tunnel("hard.test:" + o.port)
			}
			dial(t, p).tunnel("easy.test:" + o.port)
			bad.wantAsked(t, "CONNECT hard.test:"+o.port, "CONNECT easy.test:"+o.port)
			e := p.endpoint(t, bad.id())
			if e.Errors > 0 || e.Resting != 1 || e.Everywhere || e.Standing != "ready" {
				t.Errorf("it is %+v", e)
			}
		})
	}
}

func parentRestsEverywhere(t *testing.T, _ *proxy) {
	bad, good := newUpper(t, answers(wantsLogin)), newUpper(t)
	p := through(t, []string{bad.url(), good.url()}, "balance: first")
	o := newOrigin(t, echo)
	for n := range 4 {
		dial(t, p).tunnel(fmt.Sprintf("a%d.test:%s", n, o.port))
	}
	bad.wantAsked(t, "CONNECT a0.test:"+o.port)
	if e := p.endpoint(t, bad.id()); !e.Everywhere || e.Errors > 0 || e.Ejections > 0 {
		t.Errorf("it is %+v", e)
	}
	good.close()
	bad.does(forwards) // somebody has put it right
	dial(t, p).tunnel("a9.test:" + o.port)
}

func parentBackInUse(t *testing.T, _ *proxy) {
	at := freePort(t)
	u, other := upperSpec{addr: at}.start(t), newUpper(t)
	p := through(t, []string{u.url(), other.url()}, "balance: round_robin, health: {check: tcp, interval: 200ms, timeout: 1s, fall: 1, rise: 1}, eject: {time: 1s}", "dial_timeout: 2s")
	o := newOrigin(t, echoes)
	asks := func(n int) {
		t.Helper()
		for range n {
			fetch(t, p, o.addr).want(t, 200, "GET/")
		}
	}
	asks(4)
	u.close()
	asks(12)
	again := upperSpec{addr: at}.start(t)
	poll(t, "it is asked again", func() bool { asks(1); return len(again.asked()) > 0 })
	if o.strangers() > 0 {
		t.Errorf("%d connections went direct", o.strangers())
	}
}

func parentTunnelsProve(t *testing.T, _ *proxy) {
	bad, good := newUpper(t, byHost(map[string]deed{"bad": hangsUp})), newUpper(t)
	p := through(t, []string{bad.url(), good.url()}, "balance: first, eject: {errors: 3, time: 1s}")
	o := newOrigin(t, echo)
	open := func(host string, ends func(c *client)) {
		t.Helper()
		c := dial(t, p).tunnel(host + ".test:" + o.port)
		ends(c.send("ping").read2("ping"))
	}
	stays, leaves := func(*client) {}, func(c *client) { c.closeWrite(); c.endsOrderly() }
	for n := range 12 {
		open(fmt.Sprint("fine", n), []func(*client){stays, leaves}[n%2])
		open("bad", leaves)
	}
	if e := p.endpoint(t, bad.id()); e.Ejections > 0 {
		t.Errorf("single failures have ejected it: %+v", e)
	}
	for range 4 {
		open("bad", leaves)
	}
	poll(t, "it is ejected", func() bool { open("bad", leaves); return p.endpoint(t, bad.id()).Ejections > 0 })
	poll(t, "it is tried", func() bool {
		before := len(bad.asked())
		open("trial", leaves)
		return len(bad.asked()) > before
	})
	open("trial", stays)
	before := len(bad.asked())
	for range 4 {
		open("fine", stays)
	}
	if n := len(bad.asked()) - before; n != 4 {
		t.Errorf("%d of 4 tunnels went by who is back", n)
	}
	if e := p.endpoint(t, bad.id()); e.Passive != "ok" {
		t.Errorf("it is %+v", e)
	}
}

func parentChecked(t *testing.T, _ *proxy) {
	at := freePort(t)
	u, other := upperSpec{addr: at}.start(t), newUpper(t)
	p := through(t, []string{u.url(), other.url()}, "balance: first, health: {check: tcp, interval: 100ms, timeout: 1s, fall: 2, rise: 2}")
	o := newOrigin(t, echoes)
	poll(t, "it is up", func() bool { return p.endpoint(t, u.id()).Active == "up" })
	fetch(t, p, o.addr).want(t, 200, "GET/")
	u.close()
	poll(t, "it is down", func() bool { e := p.endpoint(t, u.id()); return e.Active == "down" && e.Standing != "ready" })
	if e := p.endpoint(t, u.id()); e.Reason == "" && e.Cause == "" {
		t.Errorf("no reason for %+v", e)
	}
	fetch(t, p, o.addr).want(t, 200, "GET/")
	if line := p.lines(t, 2)[1]; line["endpoint"] != other.id() || line["tries"] != 1.0 {
		t.Errorf("the log says %v", line)
	}
	upperSpec{addr: at}.start(t)
	poll(t, "it is back", func() bool { return p.endpoint(t, u.id()).Standing == "ready" })
	fetch(t, p, o.addr).want(t, 200, "GET/")
	if line := p.lines(t, 3)[2]; line["endpoint"] != u.id() {
		t.Errorf("the log says %v", line)
	}
}
