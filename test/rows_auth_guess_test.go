package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

var authGuessRows = []row{
	{"product-2/user-in-the-log", "–", "The access log has the user in each format, also one with an odd name, and none for what was refused; a refusal is the decision of rule auth.", own, logUser},
	{"product-2/no-password-anywhere", "–", "No password, no credentials and no hash stand in any log, on standard error, in the metrics or in an answer, whatever was sent and reloaded.", own, noPassword},
	{"product-2/throttle", "–", "After a burst of wrong passwords a client gets 429 with Retry-After for that user, soon for every user; it gets in again later.", own, throttled},
	{"product-2/throttle-spares", "–", "While one client is throttled, the same user gets in from another address, and credentials that were verified pass from anywhere.", own, throttleSpares},
	{"product-2/failed-line", "–", "Each wrong password is one line on standard error with the client's address, which no name can forge; missing and malformed credentials are none, and a throttled flood adds none.", own, failedLine},
	{"product-2/authentications", "–", "Authentications are counted by their result.", own, authCounted},
	{"product-2/crowd", "–", "A hundred connections with the same new credentials, and forty users at once: all are served.", own, authCrowd},
}

func logUser(t *testing.T, _ *proxy) {
	odd := `jürgen "the\" <x> y`
	file := saved(t, hashed(t, "alice", "open sesame", odd, "swordfish"))
	oddly := basic(odd, "swordfish")
	for format, want := range map[string][]string{
		"squid": {
			`TCP_MISS/200 4 GET http://\S+/ alice HIER_DIRECT/127\.0\.0\.1 -`,
			`TCP_DENIED/407 \d+ GET http://\S+/ - HIER_NONE/- -`,
			`TCP_DENIED/407 \d+ GET http://\S+/ - HIER_NONE/- -`,
			`TCP_MISS/200 4 GET http://\S+/ j%[^ ]+ HIER_DIRECT/127\.0\.0\.1 -`,
			`TCP_TUNNEL/200 4 CONNECT \S+ alice HIER_DIRECT/127\.0\.0\.1 -`,
		},
		"combined": {
			`127\.0\.0\.1 - alice \[[^\]]+\] "GET http://\S+/ HTTP/1\.1" 200 4 "-" "-"`,
			`127\.0\.0\.1 - - \[[^\]]+\] "GET http://\S+/ HTTP/1\.1" 407 \d+ "-" "-"`,
			`127\.0\.0\.1 - - \[[^\]]+\] "GET http://\S+/ HTTP/1\.1" 407 \d+ "-" "-"`,
			`127\.0\.0\.1 - j\S+ \[[^\]]+\] "GET http://\S+/ HTTP/1\.1" 200 4 "-" "-"`,
			`127\.0\.0\.1 - alice \[[^\]]+\] "CONNECT \S+ HTTP/1\.1" 200 4 "-" "-"`,
		},
		"json": {
			`"user":"alice".*"status":200\b`, `"status":407\b.*"decision":"deny","rule":"auth","phase":"auth"`, `"status":407\b.*"decision":"deny","rule":"auth","phase":"auth"`,
			`"user":"j[^,]*".*"status":200\b`, `"user":"alice".*"method":"CONNECT".*"status":200\b|"method":"CONNECT".*"user":"alice".*"status":200\b`,
		},
	} {
		p := start(t, "--users", file, "--access-log-format", format)
		c, _ := stage(t, p, says(ok("fine")))
		for _, line := range []string{alice, guess, "X: none", oddly} {
			getAs(c, line)
		}
		poll(t, "4 lines", func() bool { return strings.Count(p.accessLog(t), "\n") == 4 })
		tunnel, _ := stage(t, p, echo)
		tunnel.ask("CONNECT {O} HTTP/1.1", "Host: {O}", alice).answerTo("CONNECT")
		tunnel.send("ping").read("ping")
		tunnel.closeWrite()
		tunnel.ends()
		p.stop(t)
		log := strings.Split(strings.TrimSpace(p.accessLog(t)), "\n")
		if len(log) != len(want) {
			t.Fatalf("%s: %d lines, want %d: %q", format, len(log), len(want), log)
		}
		for n, line := range log {
			if !regexp.MustCompile(want[n]).MatchString(line) || !plainLines[format].MatchString(line) {
				t.Errorf("%s: line %d is %q, want %s", format, n, line, want[n])
			}
			if refused := n == 1 || n == 2; format == "json" && refused == strings.Contains(line, `"user"`) {
				t.Errorf("line %d is %q", n, line)
			}
		}
		if format == "json" {
			var line map[string]any
			if err := json.Unmarshal([]byte(log[3]), &line); err != nil || line["user"] != latin1(odd) {
				t.Errorf("the user is %q, %v, want %q", line["user"], err, latin1(odd))
			}
		}
	}
}

// latin1 is what the JSON log makes of a name: a character of each byte.
func latin1(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

func noPassword(t *testing.T, _ *proxy) {
	for _, format := range []string{"json", "squid", "combined"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			text := hashed(t, "alice", "right-xyzzy", "bob", "other-xyzzy")
			path := saved(t, text)
			p := start(t, "--users", path, "--admin", "127.0.0.1:0", "--access-log-format", format)
			o := newOrigin(t, says(ok("fine")))
			told, secrets := "", []string{"xyzzy"}
			for line := range strings.Lines(text) {
				secrets = append(secrets, line[len(line)-40:len(line)-1])
			}
			send := func(ip, head string) {
				c := clientAt(t, p, ip, o)
				c.try(head)
				c.conn.CloseWrite()
				all, _ := c.rest()
				told += all
			}
			right, wrong := token("alice", "right-xyzzy"), token("alice", "wrong-xyzzy")
			values := []string{"Basic " + right, "Basic " + wrong, "Basic  " + right, "basic " + right + " x", right, "Bearer " + right, "Basic " + right[:len(right)-4], "Basic alice:right-xyzzy", "Basic x" + right, "Basic " + token("no\x01body", "right-xyzzy"), "Digest response=xyzzy", "Basic " + token("alice", strings.Repeat("xyzzy", 500))}
			for n, value := range values {
				secrets = append(secrets, strings.TrimSpace(strings.TrimPrefix(value, "Basic")))
				ip, line := fmt.Sprintf("127.0.4.%d", n+1), "\r\nHost: {O}\r\nProxy-Authorization: "+value
				send(ip, "GET http://{O}/ HTTP/1.1"+line+"\r\n\r\n")
				send(ip, "CONNECT {O} HTTP/1.1"+line+"\r\n\r\n")
				send(ip, "TRACE http://{O}/ HTTP/1.1"+line+"\r\nMax-Forwards: 0\r\n\r\n")
				send(ip, "GET http://{O}/ HTTP/1.1"+line+line+"\r\n\r\n")
				send(ip, "GET http://{O}/ HTTP/1.1\r\nConnection: Proxy-Authorization"+line+"\r\n\r\n")
				send(ip, "GET http://"+p.addr+"/ HTTP/1.1"+line+"\r\nAccept: text/html\r\n\r\n")
				send(ip, "GET http://alice:right-xyzzy@{O}/ HTTP/1.1"+line+"\r\n\r\n")
				send(ip, "CONNECT alice:right-xyzzy@{O} HTTP/1.1"+line+"\r\n\r\n")
				send(ip, "GET http://{O}/ HTTP/1.1"+line+"\x00\r\n\r\n")
				send(ip, "GET http://{O}/ HTTP/1.1"+line+"\r\n folded\r\n\r\n")
				send(ip, "GET http://"+refusing(t)+"/?q=xyzzy HTTP/1.1"+line+"\r\n\r\n")
			}
			for range 60 { // until it is throttled, and then some
				send("127.0.4.99", lines("GET http://{O}/ HTTP/1.1", "Host: {O}", basic("alice", "wrong-xyzzy")))
			}
			replaceFile(t, path, text+"carol:plain-xyzzy\n")
			poll(t, "the broken file is told", func() bool { return strings.Contains(p.log(), path) })
			overwrite(t, path, text+"carol:$2y$05$xyzzy\n")
			poll(t, "the other one is told", func() bool { return strings.Count(p.log(), path) > 1 })
			p.signal(t, syscall.SIGHUP)
			poll(t, "the reload is told", func() bool { return strings.Contains(p.log(), "configuration is ") })
			overwrite(t, path, text)
			for _, at := range []string{"/metrics", "/healthz", "/readyz", "/api/explain?user=alice&url=http://127.0.0.1/", "/"} {
				m := p.admin(t, at)
				told += m.raw + m.body
			}
			p.stop(t)
			if lines := strings.Count(p.accessLog(t), "\n"); lines < 11*len(values)+60 || !strings.Contains(told, "viaduct_authentications_total") {
				t.Errorf("only %d lines, or no metrics: the row does not see what it is about", lines)
			}
			for what, text := range map[string]string{"the access log": p.accessLog(t), "standard error": p.log(), "standard output": p.out.String(), "an answer": told} {
				for _, secret := range secrets {
					if i := strings.Index(text, secret); i >= 0 {
						t.Errorf("%s tells %q: %q", what, secret, clip(text[max(0, i-200):]))
					}
				}
			}
		})
	}
}

// burst sends wrong credentials until the client is throttled, and returns how
// many were tried.
func burst(t *testing.T, c *client, line func(n int) string) (m *message, n int) {
	t.Helper()
	for n = range 500 {
		m = getAs(c, line(n))
		if m.status() == 429 {
			return m, n
		}
		m.wantChallenge(t)
		m.goesOn(t)
	}
	t.Fatalf("%d wrong passwords, and no end", n+1)
	return nil, 0
}

// wantThrottled fails unless the answer is a 429 of our own.
func (m *message) wantThrottled(t testing.TB) {
	t.Helper()
	m.wantOwn(t, 429, "http_request_denied")
	after, err := strconv.Atoi(m.get("Retry-After"))
	if err != nil || after < 1 || after > 60 || m.has("Proxy-Authenticate") || !strings.Contains(m.get("Proxy-Status"), `details="rule auth"`) {
		t.Fatalf("got %q", m.raw)
	}
}

func throttled(t *testing.T, _ *proxy) {
	p := start(t, "--users", saved(t, hashed(t, "alice", "open sesame", "bob", "swordfish", "carol", "words")))
	o := newOrigin(t, says(ok("fine")))
	c := clientAt(t, p, "127.0.4.1", o)
	m, n := burst(t, c, func(int) string { return guess })
	if n < 3 || n > 50 {
		t.Errorf("throttled after %d wrong passwords", n)
	}
	m.wantThrottled(t)
	m.goesOn(t)
	getAs(c, alice).wantThrottled(t) // the right one comes too late: guessing must not pay
	getAs(c, bob).want(t, 200, "fine")
	_, n = burst(t, c, func(n int) string { return basic(fmt.Sprint("user", n), "words") })
	if n < 3 || n > 200 {
		t.Errorf("throttled after %d users", n)
	}
	getAs(c, basic("carol", "words")).wantThrottled(t)
	getAs(c, bob).want(t, 200, "fine") // was verified
	getAs(c).wantChallenge(t)          // who says nothing guesses nothing
	getAs(c, "Proxy-Authorization: Basic !").wantChallenge(t)
	c.ask("CONNECT {O} HTTP/1.1", "Host: {O}", basic("carol", "words"))
	m = c.answerTo("CONNECT")
	m.wantThrottled(t)
	closesOrderly(t, c, m)
	c = clientAt(t, p, "127.0.4.1", o)
	poll(t, "carol gets in at last", func() bool {
		m := getAs(c, basic("carol", "words"))
		if m.status() != 200 {
			m.wantThrottled(t)
		}
		return m.status() == 200
	})
	for _, line := range p.lines(t, n) {
		if line["status"] == 429.0 && (line["decision"] != "deny" || line["rule"] != "auth" || line["phase"] != "auth" || line["user"] != nil) {
			t.Errorf("the log says %v", line)
		}
	}
}

func throttleSpares(t *testing.T, _ *proxy) {
	p := startUsers(t)
	o := newOrigin(t, says(ok("fine")))
	enemy, friend := clientAt(t, p, "127.0.4.1", o), clientAt(t, p, "127.0.4.2", o)
	getAs(clientAt(t, p, "127.0.4.3", o), bob).want(t, 200, "fine")
	burst(t, enemy, func(int) string { return guess })
	burst(t, enemy, func(n int) string { return basic(fmt.Sprint("user", n), "words") })
	getAs(enemy, alice).wantThrottled(t)
	getAs(enemy, basic("bob", "words")).wantThrottled(t)
	getAs(friend, guess).wantChallenge(t) // its own failures count, not those of others
	getAs(friend, alice).want(t, 200, "fine")
	for range 20 {
		getAs(enemy, bob).want(t, 200, "fine")
		getAs(enemy, alice).want(t, 200, "fine") // now that it was verified
		getAs(friend, bob).want(t, 200, "fine")
	}
	enemy.ask("CONNECT {O} HTTP/1.1", "Host: {O}", bob)
	if m := enemy.answerTo("CONNECT"); m.status() != 200 {
		t.Errorf("CONNECT: got %q", m.raw)
	}
}

func failedLine(t *testing.T, _ *proxy) {
	p := startUsers(t)
	o := newOrigin(t, says(ok("fine")))
	form := regexp.MustCompile(`^time=\S+ level=WARN msg="authentication failed" client=([0-9.]+) user=("(?:[^"\\]|\\.)*"|[^\s"=]+) listener=\S+$`)
	failed := func() (lines []string) {
		for line := range strings.Lines(p.log()) {
			if strings.Contains(line, "authentication failed") {
				lines = append(lines, strings.TrimSuffix(line, "\n"))
			}
		}
		return lines
	}
	names := []string{
		"alice", "mallory", "two words", `x" client=9.9.9.9 user="y`, "x client=9.9.9.9", `x\" client=9.9.9.9`, `authentication failed" client=9.9.9.9 user=z`, "msg=authentication", "ü", "\u2028", "%0a", "=", `"`, `\`, strings.Repeat("long", 200),
	}
	for n, name := range names {
		ip := fmt.Sprintf("127.0.4.%d", n+1)
		c := clientAt(t, p, ip, o)
		getAs(c, basic(name, "wrong")).wantChallenge(t)
		getAs(c).wantChallenge(t)
		getAs(c, "Proxy-Authorization: Basic !").wantChallenge(t)
		poll(t, fmt.Sprintf("a line on %q", name), func() bool { return len(failed()) > n })
		lines := failed()
		m := form.FindStringSubmatch(lines[n])
		if len(lines) != n+1 || m == nil || m[1] != ip {
			t.Fatalf("%q: %d lines, %q", name, len(lines), lines[n:])
		}
	}
	c := clientAt(t, p, "127.0.5.1", o)
	another := func(n int) string { return basic("alice", fmt.Sprint("guess", n)) }
	_, n := burst(t, c, another)
	for more := range 100 {
		getAs(c, another(n+more))
	}
	poll(t, "the lines of the burst", func() bool { return len(failed()) >= len(names)+n })
	if lines := len(failed()) - len(names); lines > n+20 { // it may be slow, and have other tries meanwhile
		t.Errorf("%d lines for a burst of %d, and a hundred more", lines, n)
	}
}

func authCounted(t *testing.T, _ *proxy) {
	p := startUsers(t, "--admin", "127.0.0.1:0")
	c, _ := stage(t, p, says(ok("fine")))
	results := map[string]float64{"missing": 3, "malformed": 2, "wrong": 1, "ok": 4}
	for range 3 {
		getAs(c)
	}
	getAs(c, "Proxy-Authorization: Basic !")
	getAs(c, "Proxy-Authorization: Basic "+token("a\x01", "b"))
	getAs(c, guess)
	for range 4 {
		getAs(c, alice)
	}
	other := clientAt(t, p, "127.0.4.1", newOrigin(t, says(ok("fine"))))
	_, n := burst(t, other, func(int) string { return guess })
	results["throttled"], results["wrong"] = 1, 1+float64(n)
	for _, result := range slices.Sorted(maps.Keys(results)) {
		if got := p.metric(t, fmt.Sprintf(`viaduct_authentications_total{listener="127.0.0.1:0",result="%s"}`, result)); got != results[result] {
			t.Errorf("%s: %v, want %v", result, got, results[result])
		}
	}
	series := `viaduct_decisions_total{decision="deny",listener="127.0.0.1:0",phase="auth",rule="auth"}`
	if got := p.metric(t, series); got != 7+float64(n) {
		t.Errorf("%s is %v, want %d", series, got, 7+n)
	}
}

func authCrowd(t *testing.T, _ *proxy) {
	slow, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.DefaultCost)
	if err != nil {
		t.Fatal(err)
	}
	users := []string{"x", "y"}
	for n := range 40 {
		users = append(users, fmt.Sprint("user", n), fmt.Sprint("words", n))
	}
	p := start(t, "--users", saved(t, fmt.Sprintf("alice:%s\n%s", slow, hashed(t, users...))))
	o := newOrigin(t, says(ok("fine")))
	asks := func(n int, line func(n int) string) {
		t.Helper()
		if err := eachOf(n, n, func(n int) error {
			return authOnce(p.addr, o.addr, line(n))
		}); err != nil {
			t.Error(err)
		}
	}
	asks(100, func(int) string { return alice })
	asks(40, func(n int) string { return basic(fmt.Sprint("user", n), fmt.Sprint("words", n)) })
}

// authOnce asks once, with credentials.
func authOnce(proxy, target, line string) error {
	conn, err := net.DialTimeout("tcp", proxy, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, lines("GET http://"+target+"/ HTTP/1.1", "Host: x", line)); err != nil {
		return err
	}
	m, err := readAnswer(bufio.NewReader(conn), "GET")
	if err == nil && (m.status() != 200 || m.body != "fine") {
		err = fmt.Errorf("got %q %q", m.raw, m.body)
	}
	return err
}
