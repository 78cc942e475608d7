package test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

var authRows = []row{
	{"9110-11.7.1/challenge", "T56", "With --users and no credentials: 407 with one well-formed challenge and Content-Length; a CONNECT closes, other requests go on; nothing is dialled.", own, authChallenge},
	{"9110-11.7.1/goes-on", "T56", "After a 407 the next request of the connection is served if it has credentials; a body that has not been read closes it, and is never read as a request.", own, authGoesOn},
	{"9110-11.7.1/each-request", "–", "Credentials hold for their own request: on one connection, pipelined too, each request is that of its own user, and one without is 407.", own, authEachRequest},
	{"9110-11.7.1/before-all-else", "T56", "Whoever has no credentials learns nothing: rules, ports, guard, names and own addresses are all the same 407, and no name is looked up.", own, authFirst},
	{"9931-4/wrong-credentials-close", "T47", "A CONNECT with wrong credentials and a request behind it in one write: one 407, closed, nothing dialled, what came behind is never read.", own, authConnectCloses},
	{"7617-2/forms", "T57", "The scheme in any case, spaces around it, the first colon splits, UTF-8, every printable sign: served.", own, authForms},
	{"7617-2/malformed", "T57", "Every malformed, cut, doubled, decorated or foreign form of credentials: 407 with the challenge, nothing dialled.", own, authMalformed},
	{"9110-11.7.2/stays-here", "T13, T14", "Proxy-Authorization, plain, nominated by Connection, in a trailer, on CONNECT and Upgrade: in no profile does an origin see it.", own, authStaysHere},
	{"9110-11.7.2/twice", "T14", "Two Proxy-Authorization fields, whatever they say: 400, closed, nothing dialled.", own, authTwice},
	{"product-2/constant-answers", "–", "An unknown user and a wrong password get the same bytes, the date aside.", own, authSameAnswer},
	{"9110-7.6.2/last-hop-authenticates", "T18", "TRACE and OPTIONS with Max-Forwards: 0 need credentials too, and show none.", own, authLastHop},
	{"product-7/407-page", "T56", "A 407 is a sentence, and a page for a browser, with the contact.", own, authPage},
}

// challenge is what a 407 asks for.
const challenge = `Basic realm="viaduct", charset="UTF-8"`

// token is a user and a password as Basic authentication writes them.
func token(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// basic is the line with a user's credentials.
func basic(user, password string) string {
	return "Proxy-Authorization: Basic " + token(user, password)
}

// Users of most rows.
var (
	alice   = basic("alice", "open sesame")
	bob     = basic("bob", "swordfish")
	mallory = basic("mallory", "let me in")
	guess   = basic("alice", "open barley")
)

// hashed is a users file of names and passwords by turns. Its hashes are quick.
func hashed(t testing.TB, pairs ...string) string {
	t.Helper()
	var b strings.Builder
	for pair := range slices.Chunk(pairs, 2) {
		hash, err := bcrypt.GenerateFromPassword([]byte(pair[1]), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s:%s\n", pair[0], hash)
	}
	return b.String()
}

// saved is a file with a text.
func saved(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startUsers runs a lenient proxy that knows alice and bob.
func startUsers(t testing.TB, flags ...string) *proxy {
	t.Helper()
	file := saved(t, hashed(t, "alice", "open sesame", "bob", "swordfish"))
	return start(t, append([]string{"--users", file}, flags...)...)
}

// getAs asks the client's origin for something, with more lines.
func getAs(c *client, more ...string) *message {
	c.Helper()
	return c.ask(append([]string{"GET http://{O}/ HTTP/1.1", "Host: {O}"}, more...)...).answer()
}

// clientAt is a client with an address of its own, before an origin.
func clientAt(t testing.TB, p *proxy, ip string, o *origin) *client {
	t.Helper()
	c := dialFrom(t, p, ip)
	c.fill = o.places
	return c
}

// wantChallenge fails unless the answer is a 407 of our own.
func (m *message) wantChallenge(t testing.TB) {
	t.Helper()
	m.wantOwn(t, 407, "http_request_denied")
	m.challenges(t)
}

func (m *message) challenges(t testing.TB) {
	t.Helper()
	if got := m.all("Proxy-Authenticate"); !slices.Equal(got, []string{challenge}) {
		t.Fatalf("Proxy-Authenticate is %q in %q", got, m.raw)
	}
	if !strings.Contains(m.get("Proxy-Status"), `details="rule auth"`) || m.has("Retry-After") || m.has("WWW-Authenticate") {
		t.Fatalf("got %q", m.raw)
	}
}

// goesOn fails if the answer announces the end of its connection.
func (m *message) goesOn(t testing.TB) {
	t.Helper()
	if m.has("Connection") {
		t.Fatalf("the connection ends: %q", m.raw)
	}
}

func authChallenge(t *testing.T, _ *proxy) {
	p := startUsers(t)
	c, o := stage(t, p, says(ok("reached")))
	for _, method := range []string{"GET", "DELETE", "OPTIONS", "BREW", "POST"} {
		c.ask(method+" http://{O}/ HTTP/1.1", "Host: {O}")
		m := c.answer()
		m.wantChallenge(t)
		m.goesOn(t)
	}
	c.ask("HEAD http://{O}/ HTTP/1.1", "Host: {O}")
	m := c.answerTo("HEAD")
	if m.status() != 407 || !m.has("Content-Length") {
		t.Fatalf("got %q", m.raw)
	}
	m.challenges(t)
	getAs(c, "Upgrade: websocket", "Connection: upgrade").wantChallenge(t)
	c.ask("CONNECT {O} HTTP/1.1", "Host: {O}")
	m = c.answerTo("CONNECT")
	m.wantChallenge(t)
	closesOrderly(t, c, m)
	for _, l := range [][]string{{"GET http://{O}/ HTTP/1.0"}, {"GET http://{O}/ HTTP/1.0", "Connection: keep-alive"}, {"CONNECT {O} HTTP/1.0"}} {
		c = dial(t, p)
		c.fill = o.places
		m = c.ask(l...).answer()
		m.wantChallenge(t)
		closesOrderly(t, c, m)
	}
	if n := o.dials(); n > 0 {
		t.Errorf("the origin was dialled %d times", n)
	}
}

func authGoesOn(t *testing.T, _ *proxy) {
	p := startUsers(t)
	c, o := stage(t, p, says(ok("fine")))
	for _, line := range []string{"X: none", guess, mallory, "Proxy-Authorization: Basic", "Proxy-Authorization: Bearer abc"} {
		m := getAs(c, line)
		m.wantChallenge(t)
		m.goesOn(t)
		getAs(c, alice).want(t, 200, "fine")
	}
	evil := lines("GET http://{O}/smuggled HTTP/1.1", "Host: {O}", alice)
	length := fmt.Sprint(len(o.places(evil)))
	for _, s := range []string{ // all of the request is there
		"Content-Length: " + length + "\r\n\r\n" + evil,
		"Transfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n",
	} {
		m := c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\n" + s).answer()
		m.wantChallenge(t)
		if m.has("Connection") { // it may rather go than read
			c.ends()
			c = dial(t, p)
			c.fill = o.places
		}
		getAs(c, alice).want(t, 200, "fine")
	}
	for _, s := range []string{ // and here it is not
		"Content-Length: 1000000\r\n\r\n" + evil,
		"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nGET ",
		"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
	} {
		c, _ := stage(t, p, echo)
		c.fill = o.places
		m := c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\n" + s).answer()
		m.wantChallenge(t)
		if !strings.EqualFold(m.get("Connection"), "close") {
			t.Errorf("%q: the answer does not announce the close: %q", s, m.raw)
		}
		c.ends()
	}
	for _, r := range o.seen() {
		if r.method() != "GET" || r.target() != "/" {
			t.Errorf("the origin got %q", r.line)
		}
	}
}

func authEachRequest(t *testing.T, _ *proxy) {
	p := startUsers(t)
	c, _ := stage(t, p, says(ok("fine")))
	turns := []struct {
		line   string
		user   any
		status int
	}{
		{alice, "alice", 200},
		{"X: none", nil, 407},
		{bob, "bob", 200},
		{guess, nil, 407},
		{alice, "alice", 200},
		{mallory, nil, 407},
		{"Authorization: Basic " + token("alice", "open sesame"), nil, 407},
		{alice, "alice", 200},
	}
	all := ""
	for _, turn := range turns {
		all += lines("GET http://{O}/ HTTP/1.1", "Host: {O}", turn.line)
		if m := getAs(c, turn.line); m.status() != turn.status {
			t.Errorf("%q: got %q", turn.line, m.line)
		}
	}
	c.send(all)
	for _, turn := range turns {
		if m := c.answer(); m.status() != turn.status {
			t.Errorf("pipelined %q: got %q", turn.line, m.line)
		}
	}
	c.ask("CONNECT {O} HTTP/1.1", "Host: {O}").answerTo("CONNECT").wantChallenge(t)
	c.ends()
	log := p.lines(t, 2*len(turns)+1)
	for i, turn := range append(slices.Concat(turns, turns), turns[1]) {
		if log[i]["user"] != turn.user || number(log[i], "status") != float64(turn.status) {
			t.Errorf("line %d is %v, want user %v and status %d", i, log[i], turn.user, turn.status)
		}
	}
}

func authFirst(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	file := saved(t, hashed(t, "alice", "open sesame"))
	p := startBare(t, "--resolver", s.addr, "--users", file, "--deny", "host=denied.example", "--deny", "user=alice host=.mine.example")
	requests := map[string]int{ // with their answers to alice
		"GET http://denied.example/":       403,
		"GET http://a.mine.example/":       403,
		"GET http://other.example/":        403, // leads to the loopback
		"GET http://127.0.0.1/":            403,
		"GET http://169.254.169.254/":      403,
		"GET http://" + p.addr + "/":       421,
		"CONNECT denied.example:443":       403,
		"CONNECT other.example:25":         403,
		"CONNECT " + p.addr:                403,
		"CONNECT a.mine.example:443":       403,
		"OPTIONS http://denied.example":    403,
		"TRACE http://other.example/":      403,
		"GET http://[::ffff:127.0.0.1]/":   403,
		"CONNECT [::1]:443":                403,
		"GET http://denied.example:8080/x": 403,
	}
	seen, n := map[string]string{}, 0
	for request := range requests {
		for _, line := range []string{"X: none", guess, mallory} {
			n++ // another client each time: none is throttled
			m := dialFrom(t, p, fmt.Sprintf("127.0.4.%d", n)).ask(request+" HTTP/1.1", "Host: x", line).answer()
			m.wantChallenge(t)
			kind := line + strings.SplitN(request, " ", 2)[0]
			if got := undated(m); seen[kind] == "" {
				seen[kind] = got
			} else if got != seen[kind] {
				t.Errorf("%s is told from others: %q and %q", request, got, seen[kind])
			}
		}
	}
	s.mu.Lock()
	if len(s.asked) > 0 {
		t.Errorf("names were looked up: %v", s.asked)
	}
	s.mu.Unlock()
	for request, status := range requests {
		dial(t, p).ask(request+" HTTP/1.1", "Host: x", alice).answer().wantOwn(t, status)
	}
}

var dateOf = regexp.MustCompile(`\r\nDate: [^\r]*|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// undated is all of an answer but its date.
func undated(m *message) string { return dateOf.ReplaceAllString(m.raw+m.body, "") }

func authConnectCloses(t *testing.T, _ *proxy) {
	p := startUsers(t)
	wrong := []string{guess, mallory, "X: none", "Proxy-Authorization: Basic !!!!", "Proxy-Authorization: Digest username=alice"}
	for n, line := range wrong {
		c, o := stage(t, p, says(ok("reached")))
		c.send(lines("CONNECT {O} HTTP/1.1", "Host: {O}", line) +
			lines("GET http://{O}/ HTTP/1.1", "Host: {O}", alice) + lines("CONNECT {O} HTTP/1.1", "Host: {O}", alice))
		m := c.answerTo("CONNECT")
		m.wantChallenge(t)
		closesOrderly(t, c, m)
		if o.dials() != 0 {
			t.Errorf("%q: the origin was dialled", line)
		}
		p.lines(t, n+1)
	}
	p.stop(t)
	if n := len(p.lines(t, len(wrong))); n != len(wrong) {
		t.Errorf("%d lines for %d requests:\n%s", n, len(wrong), p.accessLog(t))
	}
}

func authStaysHere(t *testing.T, _ *proxy) {
	for _, profile := range []string{"strict", "via", "transparent"} {
		p := startUsers(t, "--anonymity", profile)
		for _, more := range [][]string{
			{alice},
			{strings.Replace(alice, "Proxy-Authorization", "proxy-authorization", 1)},
			{"Connection: Proxy-Authorization", alice},
			{alice, "Connection: keep-alive, proxy-authorization"},
			{"Proxy-Connection: keep-alive", alice},
			{alice, "Connection: Upgrade", "Upgrade: websocket"},
			{"Connection: Upgrade, Proxy-Authorization", "Upgrade: websocket", alice},
		} {
			c, o := stage(t, p, says(ok("fine")))
			if m := getAs(c, more...); m.status() != 200 {
				t.Errorf("%q: got %q", more, m.line)
			}
			keeps(t, o, token("alice", "open sesame"))
		}
		c, o := stage(t, p, says(ok("fine")))
		trailed := "Host: {O}\r\nTransfer-Encoding: chunked\r\nTrailer: Proxy-Authorization\r\n\r\n1\r\nx\r\n0\r\n" + alice + "\r\n\r\n"
		if m := c.send("POST http://{O}/ HTTP/1.1\r\n" + alice + "\r\n" + trailed).answer(); m.status() != 200 && m.status() != 400 {
			t.Errorf("in a trailer: got %q", m.line)
		}
		c = dial(t, p)
		c.fill = o.places
		c.send("POST http://{O}/ HTTP/1.1\r\n" + trailed).answer().wantChallenge(t)
		keeps(t, o, token("alice", "open sesame"))
		c, o = stage(t, p, echo)
		c.send(lines("CONNECT {O} HTTP/1.1", "Host: {O}", "Connection: Proxy-Authorization", alice) + "ping")
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("CONNECT: got %q", m.raw)
		}
		c.read("ping")
		if got := o.bytes(); len(got) != 1 || got[0] != "ping" {
			t.Errorf("the origin got %q", got)
		}
	}
}

// keeps fails if an origin has seen credentials, or a field for them. That a
// trailer may have one is what the client says.
func keeps(t *testing.T, o *origin, secret string) {
	t.Helper()
	for _, got := range o.bytes() {
		got = strings.Replace(got, "Trailer: Proxy-Authorization\r\n", "", 1)
		if strings.Contains(strings.ToLower(got), "proxy-auth") || strings.Contains(got, secret) {
			t.Errorf("the origin got %q", got)
		}
	}
}

func authTwice(t *testing.T, _ *proxy) {
	p := startUsers(t)
	for _, two := range [][]string{
		{alice, alice},
		{alice, guess},
		{guess, alice},
		{alice, bob},
		{alice, "Proxy-Authorization: Bearer x"},
		{alice, "Proxy-Authorization:"},
		{strings.ToLower(alice), strings.ToUpper(alice)},
		{alice, "X-A: 1", alice},
		{"Connection: Proxy-Authorization", alice, alice},
	} {
		for _, request := range []string{"GET http://{O}/ HTTP/1.1", "CONNECT {O} HTTP/1.1"} {
			c, o := stage(t, p, says(ok("reached")))
			m := c.ask(append([]string{request, "Host: {O}"}, two...)...).answerTo("GET")
			m.wantOwn(t, 400, "http_request_error")
			closesOrderly(t, c, m)
			if o.dials() != 0 {
				t.Errorf("%q: the origin was dialled", two)
			}
		}
	}
}
