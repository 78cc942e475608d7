package test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var authUsersRows = []row{
	{"product-2/users-change", "T69", "A users file that changes, renamed into place, written over or behind a link, is taken within seconds: removed users and old passwords are refused on kept connections, and no request of others is lost.", own, usersChange},
	{"product-2/users-broken", "T69", "A users file that cannot be taken changes nothing, and standard error says why, with its line and without what stands there; the mended one is taken.", own, usersBroken},
	{"product-2/users-hup", "T69", "SIGHUP reads users and groups anew; their paths are taken from the folder of the configuration file.", own, usersReload},
	{"product-2/users-schemes", "–", "bcrypt, SHA-crypt, MD5 of Apache and of crypt, {SHA} and {SSHA} are understood; comments and blank lines are nothing.", own, usersSchemes},
	{"product-2/users-refused", "–", "Plain text, DES, unknown or cut hashes, costs beyond reason, users twice and files without users: no start, and a sentence with file and line that tells no hash.", own, usersRefused},
	{"product-2/users-empty", "–", "--users and --auth-url with an empty value, as a variable that is not set leaves them: no start, for it would let everybody in.", own, usersEmpty},
	{"product-2/users-beyond-loopback", "–", "With --users a listener beyond the loopback starts, and everybody authenticates, on the loopback too.", own, usersBeyond},
	{"product-2/groups", "–", "Rules by user and group hold by the users and groups files; a change of the groups holds for the next request of a kept connection.", own, groupRules},
	{"product-2/groups-refused", "–", "A groups file that cannot be taken: no start, and its line is named; later the groups of before go on.", own, groupsRefused},
	{"product-1/passwd", "–", "`viaduct passwd FILE USER` makes a file with mode 0600, adds and changes users, keeps mode, comments and links; a running proxy takes it.", own, passwdServes},
	{"product-1/passwd-refuses", "–", "Names with colons or control characters, empty and overlong passwords, passwords on the command line: exit 1, and nothing is written; what cannot be written: exit 2.", own, passwdRefuses},
}

// asking is a user who asks again and again on a connection that is kept.
type asking struct {
	working sync.WaitGroup
	over    chan struct{}
	n       int
	err     error
}

// keepsAsking has somebody ask until the end of the test; each answer must be
// fine.
func keepsAsking(t *testing.T, p *proxy, o *origin, line string) *asking {
	t.Helper()
	a := &asking{over: make(chan struct{})}
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	a.working.Go(func() {
		defer conn.Close()
		in, tick := bufio.NewReader(conn), time.NewTicker(5*time.Millisecond)
		defer tick.Stop()
		for ; !done(a.over); <-tick.C {
			conn.SetDeadline(time.Now().Add(patience))
			fmt.Fprint(conn, o.places(lines("GET http://{O}/ HTTP/1.1", "Host: {O}", line)))
			m, err := readAnswer(in, "GET")
			if err != nil || m.err != nil || m.status() != 200 || m.body != "fine" {
				a.err = fmt.Errorf("after %d answers: %w, %+v", a.n, err, m)
				return
			}
			a.n++
		}
	})
	return a
}

func (a *asking) end(t *testing.T) {
	t.Helper()
	close(a.over)
	a.working.Wait()
	if a.err != nil || a.n < 10 {
		t.Errorf("%d requests went well, then %v", a.n, a.err)
	}
}

// until asks as somebody who is served until the status is this one.
func until(t *testing.T, c *client, line string, status int) {
	t.Helper()
	poll(t, fmt.Sprintf("%d with %q", status, line), func() bool {
		m := getAs(c, line)
		if m.status() != 200 && m.status() != status {
			t.Fatalf("got %q", m.raw)
		}
		return m.status() == status
	})
}

// untilServed asks as somebody who is not known until it is, each time as another
// client, so that none is throttled.
func untilServed(t *testing.T, p *proxy, o *origin, line string) {
	t.Helper()
	n := 0
	poll(t, fmt.Sprintf("200 with %q", line), func() bool {
		n++
		c := clientAt(t, p, fmt.Sprintf("127.1.%d.%d", n/200, 1+n%200), o)
		defer c.conn.Close()
		m := getAs(c, line)
		if m.status() != 200 {
			m.wantChallenge(t)
		}
		return m.status() == 200
	})
}

func usersChange(t *testing.T, _ *proxy) {
	bobs := hashed(t, "bob", "swordfish")
	first, without := hashed(t, "alice", "open sesame")+bobs, "# alice has left\n"+bobs
	changed := bobs + hashed(t, "alice", "new words")
	for name, change := range map[string]func(t testing.TB, path, text string){
		"renamed": replaceFile, "written over": overwrite, "link": relink,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			write := func(path, text string) { t.Helper(); change(t, path, text) }
			path := saved(t, first)
			p := start(t, "--users", path)
			o := newOrigin(t, says(ok("fine")))
			c := clientAt(t, p, "127.0.0.1", o)
			getAs(c, alice).want(t, 200, "fine")
			tunnel, _ := stage(t, p, echo)
			tunnel.ask("CONNECT {O} HTTP/1.1", "Host: {O}", alice).answerTo("CONNECT")
			a := keepsAsking(t, p, o, bob)
			write(path, without)
			until(t, c, alice, 407)
			write(path, changed)
			c = clientAt(t, p, "127.0.4.2", o) // whose failures are none yet
			untilServed(t, p, o, basic("alice", "new words"))
			getAs(c, alice).wantChallenge(t)
			getAs(c, basic("alice", "new words")).want(t, 200, "fine")
			write(path, first)
			until(t, c, basic("alice", "new words"), 407)
			getAs(c, alice).want(t, 200, "fine")
			tunnel.send("ping").read("ping")
			a.end(t)
		})
	}
}

// overwrite writes a file where it is.
func overwrite(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}

// relink leads a path to another file.
func relink(t testing.TB, path, text string) {
	t.Helper()
	if err := os.Symlink(saved(t, text), path+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// badUsers are lines of a users file that cannot be taken, by what is wrong.
var badUsers = map[string]string{
	"plain text":        "carol:sesame-plain",
	"DES":               "carol:rqXexS6ZhobKA",
	"argon2":            "carol:$argon2id$v=19$m=65536,t=3,p=4$c2VzYW1lc2FsdA$sesame0123456789",
	"yescrypt":          "carol:$y$j9T$sesamesalt$sesame0123456789",
	"LDAP crypt":        "carol:{CRYPT}sesame",
	"clear":             "carol:{CLEAR}sesame",
	"cut bcrypt":        "carol:$2y$05$sesameWoMPo3SXsafkva",
	"bcrypt of 31":      "carol:$2y$31$sesameWoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s",
	"bcrypt of 3":       "carol:$2y$03$sesameWoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s",
	"no rounds":         "carol:$6$rounds=$sesame$sesame",
	"odd rounds":        "carol:$5$rounds=abc$sesame$FCXV7sZScvj7c1HrVpp9np/tJA17WjgqSlGSb/nA.59",
	"endless rounds":    "carol:$5$rounds=999999999$sesame$FCXV7sZScvj7c1HrVpp9np/tJA17WjgqSlGSb/nA.59",
	"cut SHA":           "carol:{SHA}sesame==",
	"no password":       "carol:",
	"no colon":          "sesame-without-colon",
	"no name":           ":$apr1$sesame00$/AZLRii0ig4fnu1fHeEOg1",
	"twice":             "alice:$apr1$sesame00$/AZLRii0ig4fnu1fHeEOg1",
	"control character": "ca\x01rol:$apr1$sesame00$/AZLRii0ig4fnu1fHeEOg1",
	"not UTF-8":         "c\xe4rol:$apr1$sesame00$/AZLRii0ig4fnu1fHeEOg1",
	"separated by tab":  "carol\t$apr1$sesame00$/AZLRii0ig4fnu1fHeEOg1",
}

// hushed fails if a text names something of a users file that is secret: in
// these rows all of it has sesame in it, or is bcrypt.
func hushed(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"sesame", "$2a$04$", "rqXexS6ZhobKA"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q tells %q", text, secret)
		}
	}
}

func usersBroken(t *testing.T, _ *proxy) {
	good := hashed(t, "alice", "open sesame")
	path := saved(t, good)
	p := start(t, "--users", path)
	c, _ := stage(t, p, says(ok("fine")))
	getAs(c, alice).want(t, 200, "fine")
	texts := map[string]string{"empty": "", "only comments": "# nobody\n\n"}
	for _, what := range []string{"plain text", "DES", "cut bcrypt", "no rounds", "twice", "control character"} {
		texts[what] = good + badUsers[what] + "\n"
	}
	for what, text := range texts {
		before := len(p.log())
		replaceFile(t, path, text)
		poll(t, what+" is told", func() bool { return strings.Contains(p.log()[before:], path) })
		told := p.log()[before:]
		hushed(t, told)
		if !strings.Contains(told, "not taken") || strings.Contains(text, good) && !strings.Contains(told, "line 2") || strings.Count(told, "\n") != 1 {
			t.Errorf("%s: standard error says %q", what, told)
		}
		getAs(c, alice).want(t, 200, "fine")
		getAs(dialTo(t, p, c), alice).want(t, 200, "fine")
	}
	if err := os.Remove(path); err != nil { // some who write one do, for a moment
		t.Fatal(err)
	}
	getAs(c, alice).want(t, 200, "fine")
	replaceFile(t, path, hashed(t, "carol", "words"))
	until(t, c, alice, 407)
	getAs(c, basic("carol", "words")).want(t, 200, "fine")
}

// dialTo is another client of the same origin.
func dialTo(t *testing.T, p *proxy, as *client) *client {
	t.Helper()
	c := dial(t, p)
	c.fill = as.fill
	return c
}

func usersReload(t *testing.T, _ *proxy) {
	text := func(more string) string {
		return conf("users: users.htpasswd", "groups: users.groups", "contact: the desk", "rules:", "  - {name: only-ci, allow: {group: [ci]}}"+more)
	}
	dir := t.TempDir()
	write := func(name, text string) { t.Helper(); replaceFile(t, filepath.Join(dir, name), text) }
	write("users.htpasswd", hashed(t, "alice", "open sesame", "bob", "swordfish"))
	write("users.groups", "ci: alice\n")
	write("viaduct.yaml", text(""))
	p := launch{args: []string{"run", "-c", filepath.Join(dir, "viaduct.yaml")}}.start(t)
	p.conf = filepath.Join(dir, "viaduct.yaml")
	c, _ := stage(t, p, says(ok("fine")))
	getAs(c, alice).want(t, 200, "fine")
	getAs(c, bob).wantDenied(t, "default")
	getAs(c).wantChallenge(t)
	write("users.groups", "ci: bob\nops: alice bob\n")
	write("users.htpasswd", hashed(t, "alice", "new words", "bob", "swordfish"))
	p.reload(t, text("\n    anonymity: via"))
	getAs(c, bob).want(t, 200, "fine")
	getAs(c, alice).wantChallenge(t)
	getAs(c, basic("alice", "new words")).wantDenied(t, "default")
	p.reload(t, conf()) // and nobody is asked any more
	getAs(c).want(t, 200, "fine")
	p.reload(t, text(""))
	getAs(c).wantChallenge(t)
}

func usersSchemes(t *testing.T, _ *proxy) {
	const secret = "open sesame"
	bcrypted := strings.TrimPrefix(hashed(t, "x", secret), "x:")
	p := start(t, "--users", saved(t, "\ufeff# users\r\n\r\n  \n"+
		"md5:$1$viaductA$8w3IQW5D2jn1rBgahQxxo.\n"+
		"apr1:$apr1$viaductA$/AZLRii0ig4fnu1fHeEOg1\r\n"+
		"sha256:$5$viaductA$FCXV7sZScvj7c1HrVpp9np/tJA17WjgqSlGSb/nA.59\n"+
		"sha512:$6$viaductA$HwUCNOPFgcZFLPWeflvyyMKlyVQO1tZ8elW8lg7p8cwi6h2qAybZIuK6HvgU1OM7ZvqzfPP1DNOnNsV/JkMZp1\n"+
		"sha:{SHA}W8r/fyL/UzygmbNAjq2HbA67qac=\n"+
		"ssha:{SSHA}hN5uxFJUEWCPg56kk42tnVCdJ61zYWx0\n"+
		"2a:"+bcrypted+"2b:"+strings.Replace(bcrypted, "$2a$", "$2b$", 1)+"2y:"+strings.TrimSpace(strings.Replace(bcrypted, "$2a$", "$2y$", 1))))
	o := newOrigin(t, says(ok("fine")))
	for n, user := range []string{"md5", "apr1", "sha256", "sha512", "sha", "ssha", "2a", "2b", "2y"} {
		c := clientAt(t, p, fmt.Sprintf("127.0.4.%d", n+1), o)
		for _, password := range []string{"", "open", secret + " ", "viaductA", user} {
			getAs(c, basic(user, password)).wantChallenge(t)
		}
		if m := getAs(c, basic(user, secret)); m.status() != 200 {
			t.Errorf("%s: got %q", user, m.line)
		}
	}
}

// refusesToStart wants a start to end with 1 or 2, and with these words.
func refusesToStart(t *testing.T, what string, args []string, words ...string) {
	t.Helper()
	code, stdout, stderr := exits(t, nil, append([]string{"forward", "--listen", "127.0.0.1:0"}, args...)...)
	if code != 1 && code != 2 || stdout != "" || strings.Contains(stderr, "goroutine ") {
		t.Errorf("%s: exit code %d, %q, %q", what, code, clip(stdout), clip(stderr))
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("%s: %q does not name %q", what, clip(stderr), word)
		}
	}
	hushed(t, stderr)
}

func usersRefused(t *testing.T, _ *proxy) {
	for what, line := range badUsers {
		path := saved(t, hashed(t, "alice", "open sesame")+line+"\n"+hashed(t, "dave", "words"))
		words := []string{path, "line 2"}
		if what == "plain text" || what == "DES" || what == "cut bcrypt" || what == "argon2" {
			words = append(words, "viaduct passwd")
		}
		refusesToStart(t, what, []string{"--users", path}, words...)
	}
	for what, path := range map[string]string{
		"empty": saved(t, ""), "comments": saved(t, "# nobody\n"), "none": "/nonexistent/users", "folder": t.TempDir(),
	} {
		refusesToStart(t, what, []string{"--users", path}, path, "users")
	}
}

func usersEmpty(t *testing.T, _ *proxy) {
	for _, flag := range []string{"--users", "--auth-url"} {
		for _, more := range [][]string{{}, {"--allow", "client=127.0.0.0/8"}} {
			complains(t, 1, nil, append([]string{"forward", "--listen", "127.0.0.1:0", flag, ""}, more...), []string{flag})
		}
	}
}

func usersBeyond(t *testing.T, _ *proxy) {
	file := saved(t, hashed(t, "alice", "open sesame"))
	for _, listen := range []string{"0.0.0.0:0", ":0"} {
		p := launch{args: []string{"forward", "--listen", listen, "--users", file, "--allow-private", "--access-log", "off"}}.start(t)
		_, port, err := net.SplitHostPort(p.addr)
		if err != nil {
			t.Fatal(err)
		}
		p.addr = "127.0.0.1:" + port
		c, _ := stage(t, p, says(ok("fine")))
		getAs(c).wantChallenge(t)
		getAs(c, alice).want(t, 200, "fine")
		for _, ip := range machineAddrs(t) {
			p.addr = net.JoinHostPort(ip, port)
			c = dialTo(t, p, c)
			getAs(c).wantChallenge(t)
			getAs(c, alice).want(t, 200, "fine")
		}
	}
}

// machineAddrs are addresses of this machine beyond the loopback, of IPv4.
func machineAddrs(t *testing.T) (all []string) {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			all = append(all, n.IP.String())
		}
	}
	return all
}
