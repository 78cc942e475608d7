package test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"
)

var authServiceRows = []row{
	{"product-2/auth-url", "–", "--auth-url: the service is asked by GET with the client's credentials and address, and nothing else of the client's; Remote-User and Remote-Groups are who it is, for rules and log.", own, serviceYes},
	{"product-2/auth-url-no", "T57", "401, 403 or 407 of the service are a 407 of ours, a line on standard error, and nothing else of its answer is told.", own, serviceNo},
	{"product-2/auth-url-unsure", "–", "Whatever is neither yes nor no, 500, a redirect, garbage, silence: 503 with Retry-After, nobody gets in, the operator is told why, and it is not remembered.", own, serviceUnsure},
	{"product-2/auth-url-hangs", "–", "A service that hangs: 503 within --auth-timeout, and those who were verified go on meanwhile.", own, serviceHangs},
	{"product-2/auth-url-cache", "–", "Credentials that were verified are believed for --auth-cache, on every connection; many at once are one question.", own, serviceCache},
	{"product-2/auth-url-injection", "–", "Control characters in credentials never reach the service, and no name that it answers breaks a log or a message.", own, serviceInjection},
	{"product-2/egress-by-user", "T72", "--egress-by user: each user has its address, on one connection too and by CONNECT; no user's request leaves by a kept connection of another address.", own, egressByUser},
}

// startService runs a lenient proxy that asks a scripted service, which knows
// who has credentials by the value of Authorization.
func startService(t *testing.T, script func(*originConn), flags ...string) (*proxy, *origin) {
	t.Helper()
	service := newOrigin(t, script)
	return start(t, append([]string{"--auth-url", "http://" + service.addr + "/check?key=k"}, flags...)...), service
}

// yes is an answer of the service, with more lines.
func yes(more ...string) string {
	return lines(append([]string{"HTTP/1.1 200 OK", "Content-Length: 0"}, more...)...)
}

// knows is a script: those who have these credentials are let in.
func knows(answers map[string]string) func(*originConn) {
	return serve(func(m *message) string {
		for line, answer := range answers {
			if _, value, _ := strings.Cut(line, "Proxy-Authorization: "); m.get("Authorization") == value {
				return answer
			}
		}
		return lines("HTTP/1.1 401 Unauthorized", "WWW-Authenticate: Basic realm=inner", "X-Inner: inner", "Content-Length: 5") + "inner"
	})
}

func serviceYes(t *testing.T, _ *proxy) {
	p, service := startService(t, knows(map[string]string{
		alice: yes("Remote-User: alice.liddell", "Remote-Groups: ops, ci,,"),
		bob:   strings.Replace(yes("Remote-Groups: ops"), "200", "204", 1),
		guess: yes("remote-user: carol", "Remote-Groups: staff", "Remote-Groups: ci"),
	}), "--deny", "user=alice.liddell path=/secret", "--deny", "user=alice", "--allow", "group=ci", "--anonymity", "transparent")
	o := newOrigin(t, says(ok("fine")))
	c := clientAt(t, p, "127.0.4.7", o)
	getAs(c, alice, "Cookie: a=b", "X-Forwarded-For: 9.9.9.9", "Remote-User: root", "Remote-Groups: root", "Authorization: Basic b3JpZ2lu", "User-Agent: mine").want(t, 200, "fine")
	getAs(c, bob, "Remote-Groups: ci").wantDenied(t, "default")
	getAs(c, guess).want(t, 200, "fine")
	c.ask("GET http://{O}/secret HTTP/1.1", "Host: {O}", alice).answer().wantDenied(t, "deny#1")
	seen := service.seen()
	if len(seen) != 3 {
		t.Fatalf("%d questions", len(seen))
	}
	q := seen[0]
	if q.line != "GET /check?key=k HTTP/1.1" || q.get("Host") != service.addr || q.get("Authorization") != "Basic "+token("alice", "open sesame") || q.get("X-Forwarded-For") != "127.0.4.7" {
		t.Errorf("the service got %q", q.raw)
	}
	q.without(t, "Proxy-Authorization", "Cookie", "Remote-User", "Remote-Groups", "Proxy-Connection", "Via", "Forwarded")
	if strings.Contains(q.raw, "mine") || strings.Contains(q.raw, "9.9.9.9") || len(q.all("X-Forwarded-For")) != 1 || len(q.all("Authorization")) != 1 {
		t.Errorf("the service got %q", q.raw)
	}
	if got := o.seen()[0]; got.get("Authorization") != "Basic b3JpZ2lu" || strings.Contains(got.raw, "alice") || strings.Contains(got.raw, token("alice", "open sesame")) {
		t.Errorf("the origin got %q", got.raw)
	}
	for n, want := range []string{"alice.liddell", "bob", "carol", "alice.liddell"} {
		if line := p.lines(t, 4)[n]; line["user"] != want {
			t.Errorf("line %d: the user is %v, want %s", n, line["user"], want)
		}
	}
}

func serviceNo(t *testing.T, _ *proxy) {
	for _, status := range []string{"401 Unauthorized", "403 Forbidden", "407 Proxy Authentication Required"} {
		p, service := startService(t, says("HTTP/1.1 "+status+"\r\nWWW-Authenticate: Basic realm=inner\r\nProxy-Authenticate: Basic realm=inner\r\nRemote-User: alice\r\nX-Inner: inner\r\nContent-Length: 5\r\n\r\ninner"))
		c, o := stage(t, p, says(ok("reached")))
		for _, line := range []string{alice, guess} {
			m := getAs(c, line)
			m.wantChallenge(t)
			m.goesOn(t)
			if strings.Contains(m.raw+m.body, "inner") {
				t.Errorf("%s: the service's answer is told: %q %q", status, m.raw, m.body)
			}
		}
		getAs(c).wantChallenge(t)
		getAs(c, "Proxy-Authorization: Bearer abc").wantChallenge(t)
		getAs(c, "Proxy-Authorization: Basic !").wantChallenge(t)
		c.ask("CONNECT {O} HTTP/1.1", "Host: {O}", bob).answerTo("CONNECT").wantChallenge(t)
		if len(service.seen()) != 3 || o.dials() != 0 {
			t.Errorf("%s: %d questions, %d dials", status, len(service.seen()), o.dials())
		}
		poll(t, "three lines", func() bool { return p.says("authentication failed") == 3 })
	}
}

// wantUnsure fails unless the answer is our 503 to who may be somebody.
func (m *message) wantUnsure(t testing.TB) {
	t.Helper()
	m.wantOwn(t, 503)
	if !m.has("Retry-After") || m.has("Proxy-Authenticate") || !strings.Contains(m.get("Proxy-Status"), `details="rule auth"`) || strings.Contains(m.raw+m.body, "inner") {
		t.Fatalf("got %q %q", m.raw, m.body)
	}
}

func serviceUnsure(t *testing.T, _ *proxy) {
	elsewhere := newOrigin(t, says(yes()))
	for _, answer := range []string{
		"HTTP/1.1 500 Internal Server Error\r\nRemote-User: alice\r\nContent-Length: 5\r\n\r\ninner", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://" + elsewhere.addr + "/\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 307 Temporary Redirect\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "inner garbage\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 100_000) + "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "",
	} {
		p, _ := startService(t, func(c *originConn) {
			switch c.request(); {
			case len(c.o.seen()) == 1:
				c.send(answer)
			default:
				c.send(yes("Connection: close"))
			}
		})
		c, o := stage(t, p, says(ok("fine")))
		getAs(c, alice).wantUnsure(t)
		if o.dials() != 0 {
			t.Errorf("%q: the origin was dialled", clip(answer))
		}
		if line := p.lines(t, 1)[0]; line["status"] != 503.0 || line["rule"] != "auth" || !strings.Contains(fmt.Sprint(line["error"])+p.log(), "ask ") {
			t.Errorf("%q: nothing says why; the log has %v, standard error %s", clip(answer), line, p.log())
		}
		poll(t, "the next question is answered", func() bool {
			m := getAs(c, alice)
			if m.status() != 200 {
				m.wantUnsure(t)
			}
			return m.status() == 200
		})
	}
	if elsewhere.dials() != 0 {
		t.Error("credentials went where a redirect led")
	}
	p := start(t, "--auth-url", "http://"+refusing(t)+"/")
	c, _ := stage(t, p, says(ok("reached")))
	getAs(c, alice).wantUnsure(t)
	m := c.ask("CONNECT {O} HTTP/1.1", "Host: {O}", alice).answerTo("CONNECT")
	m.wantUnsure(t)
	closesOrderly(t, c, m)
}

func serviceHangs(t *testing.T, _ *proxy) {
	drips := func(c *originConn) {
		for c.send("HTTP/1.1 200 OK\r\nX: ") == nil {
			pause(100 * time.Millisecond)
		}
	}
	for name, stuck := range map[string]func(*originConn){"silent": waits, "drips": drips} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, service := startService(t, func(c *originConn) {
				for m := c.request(); m != nil; m = c.request() {
					if m.get("Authorization") != "Basic "+token("alice", "open sesame") {
						stuck(c)
						return
					}
					c.send(yes())
				}
			}, "--auth-timeout", "1s")
			o := newOrigin(t, says(ok("fine")))
			c := clientAt(t, p, "127.0.0.1", o)
			getAs(c, alice).want(t, 200, "fine")
			waiting := clientAt(t, p, "127.0.0.1", o)
			waiting.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", bob)
			poll(t, "the question about bob", func() bool { return len(service.seen()) == 2 })
			for range 10 {
				getAs(c, alice).want(t, 200, "fine")
			}
			waiting.answer().wantUnsure(t)
			for _, line := range p.lines(t, 12) {
				if status, total := number(line, "status"), number(line, "total_s"); status == 503 && total < 0.9 {
					t.Errorf("it waited %v s", total)
				}
			}
			poll(t, "the question has ended", func() bool { return service.open() <= 1 })
			gone := clientAt(t, p, "127.0.0.1", o) // who does not wait leaves nothing behind
			gone.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", mallory)
			poll(t, "the question about mallory", func() bool { return len(service.seen()) == 3 })
			reset(gone.conn)
			poll(t, "the question has ended", func() bool { return service.open() <= 1 })
			getAs(c, alice).want(t, 200, "fine")
		})
	}
	p, _ := startService(t, func(c *originConn) { // a body is not waited for
		if c.request() != nil {
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello")
			c.drain()
		}
	}, "--auth-timeout", "1s")
	c, _ := stage(t, p, says(ok("fine")))
	getAs(c, alice).want(t, 200, "fine")
}

func serviceCache(t *testing.T, _ *proxy) {
	script := knows(map[string]string{alice: yes(), bob: yes()})
	p, service := startService(t, script)
	o := newOrigin(t, says(ok("fine")))
	for range 3 {
		c := clientAt(t, p, "127.0.0.1", o)
		getAs(c, alice).want(t, 200, "fine")
		getAs(c, strings.Replace(alice, "Basic ", "basic  ", 1)).want(t, 200, "fine")
		getAs(clientAt(t, p, "127.0.4.1", o), alice).want(t, 200, "fine")
	}
	if n := len(service.seen()); n != 2 {
		t.Errorf("%d questions about the same from two addresses", n)
	}
	poll(t, "a no is asked again", func() bool {
		getAs(clientAt(t, p, "127.0.0.1", o), guess).wantChallenge(t)
		return len(service.seen()) > 3
	})
	before := len(service.seen())
	if err := eachOf(50, 50, func(int) error { return authOnce(p.addr, o.addr, bob) }); err != nil {
		t.Error(err)
	}
	if n := len(service.seen()) - before; n != 1 {
		t.Errorf("fifty at once were %d questions", n)
	}
	p, service = startService(t, script, "--auth-cache", "1s")
	c := clientAt(t, p, "127.0.0.1", o)
	poll(t, "a second question", func() bool {
		getAs(c, alice).want(t, 200, "fine")
		return len(service.seen()) == 2
	})
}

func serviceInjection(t *testing.T, _ *proxy) {
	p, service := startService(t, says(yes()))
	o := newOrigin(t, says(ok("fine")))
	c := clientAt(t, p, "127.0.0.1", o)
	for _, plain := range []string{"alice\r\nX-Admin: 1:pw", "alice:pw\r\nX-Admin: 1", "alice:pw\n\nGET / HTTP/1.1", "al\x00ice:pw", "alice:p\x7fw", "al\x1b[31mice:pw"} {
		user, password, _ := strings.Cut(plain, ":")
		getAs(c, basic(user, password)).wantChallenge(t)
	}
	if n := len(service.seen()); n > 0 {
		t.Errorf("%d questions: %q", n, service.bytes())
	}
	for _, name := range []string{
		`a" ,"status":200,"x":"`, "two words", "jürgen", "<script>", "a\tb", "a\x7fb", "a\xffb", "\xc2\x85", strings.Repeat("x", 8000), "%0d%0a", `\u000a`, ",", "alice, bob", "",
	} {
		p, _ := startService(t, says(yes("Remote-User: "+name, "Remote-Groups: "+name)), "--anonymity", "transparent")
		c := clientAt(t, p, "127.0.0.1", o)
		m := getAs(c, alice)
		if m.status() != 200 {
			m.wantUnsure(t)
		}
		p.stop(t)
		if log := p.accessLog(t); strings.Count(log, "\n") != 1 || !plainLines["json"].MatchString(strings.TrimSpace(log)) || len(log) > 2000 {
			t.Errorf("%q: the log has %q", clip(name), clip(log))
		}
		if line := parseLines(t, p.access)[0]; m.status() == 200 && line["user"] != latin1(strings.TrimSpace(cmp.Or(name, "alice"))) {
			t.Errorf("the user is %q, not %q", line["user"], clip(name))
		}
	}
	for _, r := range o.seen() {
		r.without(t, "Remote-User", "Remote-Groups", "X-Admin")
	}
}

func egressByUser(t *testing.T, _ *proxy) {
	addresses := []string{"127.0.0.2", "127.0.0.3"}
	var pairs []string
	for n := range 12 {
		pairs = append(pairs, fmt.Sprint("user", n), "words")
	}
	p := start(t, "--users", saved(t, hashed(t, pairs...)), "--egress", strings.Join(addresses, ","), "--egress-by", "user")
	o := newOrigin(t, whence)
	shared := clientAt(t, p, "127.0.4.1", o)
	first, used := map[string]string{}, map[string]int{}
	for round := range 4 {
		for n := range 12 {
			line := basic(pairs[2*n], "words")
			c := shared // of all users, and then one of its own
			if round%2 == 1 {
				c = clientAt(t, p, fmt.Sprintf("127.0.5.%d", n+1), o)
			}
			m := getAs(c, line)
			if first[line] == "" {
				first[line] = m.body
				used[m.body]++
			}
			m.want(t, 200, first[line])
			if round%2 == 1 {
				c.conn.Close()
			}
		}
	}
	if len(used) != 2 || used[addresses[0]] < 2 || used[addresses[1]] < 2 {
		t.Fatalf("12 users have used %v", used)
	}
	if n := o.dials(); n > 12 {
		t.Errorf("%d connections to the origin for requests one after another", n)
	}
	for line, address := range first {
		c, _ := stage(t, p, new(visitors).greets)
		c.ask("CONNECT {O} HTTP/1.1", "Host: {O}", line)
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
		c.read(address + "\n")
	}
	for _, line := range p.lines(t, 48) {
		if who := basic(fmt.Sprint(line["user"]), "words"); line["status"] == 200.0 && line["egress"] != first[who] {
			t.Errorf("the log says %v, but the user leaves from %s", line, first[who])
		}
	}
}
