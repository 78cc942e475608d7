package test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// printable is a password of every sign that one can type, the colon included.
const printable = " !\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ "

func authForms(t *testing.T, _ *proxy) {
	long := strings.Repeat("long pass", 8) // 72 bytes
	file := saved(t, hashed(t, "alice", "open sesame", "bob", "pa:ss:word:", "jürgen", "пароль ü", "two words", printable,
		"o'neil@example.org", "??>>~~ÿ", "long", long, "x", ":"))
	p := start(t, "--users", file)
	a := token("alice", "open sesame")
	for line, user := range map[string]string{
		"Proxy-Authorization: Basic " + a:                 "alice",
		"Proxy-Authorization: basic " + a:                 "alice",
		"Proxy-Authorization: BASIC " + a:                 "alice",
		"Proxy-Authorization: bAsIc " + a:                 "alice",
		"proxy-authorization: Basic " + a:                 "alice",
		"PROXY-AUTHORIZATION:Basic " + a:                  "alice",
		"Proxy-Authorization: \t Basic " + a + " \t ":     "alice",
		"Proxy-Authorization: Basic   " + a:               "alice",
		basic("bob", "pa:ss:word:"):                       "bob",
		basic("jürgen", "пароль ü"):                       "jürgen",
		basic("two words", printable):                     "two words",
		basic("o'neil@example.org", "??>>~~ÿ"):            "o'neil@example.org",
		basic("long", long):                               "long",
		basic("x", ":"):                                   "x",
		basic("alice", "open sesame") + "\r\nX-After: it": "alice",
	} {
		c, _ := stage(t, p, says(ok("fine")))
		if m := getAs(c, line); m.status() != 200 {
			t.Errorf("%q of %s: got %q %q", line, user, m.line, m.body)
		}
		c, _ = stage(t, p, echo)
		c.ask("CONNECT {O} HTTP/1.1", "Host: {O}", line)
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Errorf("CONNECT with %q of %s: got %q", line, user, m.line)
		}
	}
}

// malformed are values of Proxy-Authorization that are alice's with something
// wrong with them, or nobody's.
func malformed(t *testing.T) []string {
	t.Helper()
	encode := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	const plain = "alice:open sesame"
	a := token("alice", "open sesame")
	spare := a[:22] + string(a[22]+1) + a[23:] // bits that stand for nothing are set
	url := base64.URLEncoding.EncodeToString([]byte("carol:??>>~~ÿ"))
	if got, err := base64.StdEncoding.DecodeString(spare); err != nil || string(got) != plain || !strings.ContainsAny(url, "-_") {
		t.Fatalf("the table is wrong: %q, %v, %q", got, err, url)
	}
	return []string{
		"", "Basic", "Basic ", "Basic =", "Basic ====", "Basic !!!!", "Basic :", "Basic alice:open sesame", "alice:open sesame", a,
		// base64
		"Basic " + strings.TrimRight(a, "="), "Basic " + a + "=", "Basic " + a + "==", "Basic =" + a, "Basic " + spare, "Basic " + url,
		"Basic " + a[:12] + " " + a[12:], "Basic " + a[:12] + "\t" + a[12:], "Basic " + a[:8] + "=" + a[8:], "Basic " + a[:20], "Basic " + a[:23],
		"Basic " + strings.ToLower(a), "Basic %59" + a[1:], "Basic " + a[:4] + "*" + a[4:], "Basic " + a[:8] + "\xc3\xa9" + a[8:], encode(encode(plain)[6:]),
		// the scheme
		"Basic\t" + a, "Basic:" + a, "Basic=" + a, "Basic" + a, "Basics " + a, "Bas " + a, "Basic, " + a, "\"Basic\" " + a, "Ba\xc5\xbfic " + a, "Basic\xc2\xa0" + a,
		"Bearer " + a, "Digest " + a, `Digest username="alice", realm="viaduct"`, "NTLM TlRMTVNTUAABAAAA", "Negotiate " + a, "Bearer x, Basic " + a,
		// around it
		"Basic " + a + " x", "Basic " + a + ",", "Basic " + a + "," + a, "Basic " + a + ", Basic " + a, "Basic " + a + ";", "Basic \"" + a + "\"", "Basic " + a + " realm=x", "Basic Basic " + a, "x Basic " + a, ", Basic " + a, "Basic ," + a,
		// what it says
		encode(""), encode("alice"), encode(":"), encode("::"), encode(":open sesame"), encode("alice:"), encode("alice\x00:open sesame"), encode("alice:open sesame\x00"), encode("alice:open sesame\n"), encode("alice:open sesame\r\n"),
		encode("alice\x00bob:swordfish"), encode("alice:open\x00sesame"), encode("alice\r\nX-A: 1:open sesame"), encode("alice\x7f:open sesame"), encode("alice\u0085:open sesame"), encode("\ufeffalice:open sesame"),
		encode(" alice:open sesame"), encode("alice :open sesame"), encode("alice: open sesame"), encode("alice:open sesame "), encode("Alice:open sesame"), encode("ALICE:open sesame"), encode("alice:Open sesame"), encode("alice;open sesame"),
		encode("alice:open sesam"), encode("alice:open sesame:"), encode("alice::open sesame"), encode("al\u0131ce:open sesame"), encode("\xffalice:open sesame"), encode("j\xfcrgen:x"), encode("ａlice:open sesame"),
		encode("alice:open sesame\nbob:swordfish"), encode("../alice:open sesame"), encode("alice@viaduct:open sesame"), encode("viaduct\\alice:open sesame"), encode("alice%3Aopen sesame"),
		encode("alice:" + strings.Repeat("open sesame", 300)), encode(strings.Repeat("alice", 300) + ":open sesame"), encode(plain + strings.Repeat("\x00", 1000)), "Basic " + strings.Repeat(" ", 2000) + "x", "Basic " + strings.Repeat("A", 20_000),
	}
}

func authMalformed(t *testing.T, _ *proxy) {
	text := hashed(t, "alice", "open sesame", "carol", "??>>~~ÿ")
	p := start(t, "--users", saved(t, text))
	o := newOrigin(t, says(ok("reached")))
	_, hash, _ := strings.Cut(strings.SplitN(text, "\n", 2)[0], ":")
	n := 0
	for _, value := range append(malformed(t), "Basic "+token("alice", hash), "Basic "+token("alice", text)) {
		for _, request := range []string{"GET http://{O}/ HTTP/1.1", "CONNECT {O} HTTP/1.1"} {
			n++ // another client each time: none is throttled
			c := clientAt(t, p, fmt.Sprintf("127.0.%d.%d", 6+n/200, 1+n%200), o)
			m := c.ask(request, "Host: {O}", "Proxy-Authorization: "+value).answer()
			if m.status() != 407 {
				t.Errorf("%q: got %q", clip(value), m.line)
				continue
			}
			m.wantChallenge(t)
		}
	}
	for _, l := range [][]string{ // and where they do not belong
		{"Authorization: Basic " + token("alice", "open sesame")},
		{"Proxy-Authentication: Basic " + token("alice", "open sesame")},
		{"Proxy_Authorization: Basic " + token("alice", "open sesame")},
		{"X-Proxy-Authorization: Basic " + token("alice", "open sesame")},
		{"Cookie: " + alice},
		{"Remote-User: alice", "X-Remote-User: alice", "X-Forwarded-User: alice"},
	} {
		c := clientAt(t, p, "127.0.4.1", o)
		getAs(c, l...).wantChallenge(t)
	}
	if n := o.dials(); n > 0 {
		t.Errorf("the origin was dialled %d times: %q", n, o.bytes())
	}
}

func authSameAnswer(t *testing.T, _ *proxy) {
	p := startUsers(t)
	wrong := []string{guess, basic("mallory", "open barley"), basic("mallory", "open sesame"), basic("Alice", "open sesame"), basic("bob", "open sesame"), basic("", "open sesame"), basic("alice", ""), basic("alice", strings.Repeat("x", 900))}
	for _, head := range [][]string{
		{"GET http://{O}/ HTTP/1.1", "Host: {O}"},
		{"GET http://localhost:{P}/ HTTP/1.1", "Host: {O}", "Accept: text/html"},
		{"CONNECT {O} HTTP/1.1", "Host: {O}"},
		{"GET http://{O}/ HTTP/1.0"},
	} {
		first, o := "", newOrigin(t, says(ok("reached")))
		for n, line := range wrong {
			c := clientAt(t, p, fmt.Sprintf("127.0.5.%d", n+1), o)
			m := c.ask(append(slices.Clip(head), line)...).answer()
			m.wantChallenge(t)
			if first == "" {
				first = undated(m)
			}
			if got := undated(m); got != first {
				t.Errorf("%q is told from another: %q and %q", line, got, first)
			}
		}
	}
}

func authLastHop(t *testing.T, _ *proxy) {
	p := startUsers(t)
	c, o := stage(t, p, says(ok("reached")))
	for _, method := range []string{"TRACE", "OPTIONS"} {
		for _, line := range []string{"X: none", guess} {
			c.ask(method+" http://{O}/ HTTP/1.1", "Host: {O}", "Max-Forwards: 0", line).answer().wantChallenge(t)
		}
		m := c.ask(method+" http://{O}/ HTTP/1.1", "Host: {O}", "Max-Forwards: 0", "X-A: shown", alice).answer()
		if m.status() != 200 || m.err != nil {
			t.Fatalf("%s with credentials: got %q", method, m.raw)
		}
		if all := strings.ToLower(m.raw + m.body); strings.Contains(all, "proxy-auth") || strings.Contains(m.body, token("alice", "open sesame")) || (method == "TRACE") != strings.Contains(all, "shown") {
			t.Errorf("%s answers %q %q", method, m.raw, m.body)
		}
	}
	if n := o.dials(); n > 0 {
		t.Errorf("the origin was dialled %d times", n)
	}
}

func authPage(t *testing.T, _ *proxy) {
	p := startUsers(t, "--contact", "help & <desk@example.org>")
	const browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, request := range []string{"GET http://localhost:{P}/ HTTP/1.1", "CONNECT localhost:{P} HTTP/1.1"} {
		for _, line := range []string{"X: none", guess} {
			c, _ := stage(t, p, says(ok("reached")))
			m := c.ask(request, "Host: {O}", line).answer()
			m.wantChallenge(t)
			if !strings.HasPrefix(m.get("Content-Type"), "text/plain") || !strings.Contains(m.body, "help & <desk@example.org>") || strings.Count(m.body, "\n") != 1 {
				t.Errorf("got %q %q", m.raw, m.body)
			}
			c, _ = stage(t, p, says(ok("reached")))
			m = c.ask(request, "Host: {O}", browser, line).answer()
			m.wantChallenge(t)
			if !strings.HasPrefix(m.get("Content-Type"), "text/html") || !strings.Contains(m.body, "<html") || !strings.Contains(m.body, "407") || !strings.Contains(m.body, "help &amp; &lt;desk@example.org&gt;") {
				t.Errorf("a browser gets %q %q", m.raw, m.body)
			}
		}
	}
}
