package cmd_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"viaduct/admin"
	"viaduct/forward"
)

// answering runs an admin address that explains, and returns where.
func answering(t *testing.T, o admin.Options) string {
	t.Helper()
	return serving(t, admin.New(o))
}

// serving runs an HTTP server, and returns where.
func serving(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := admin.Server(h, nil)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// explained is what a running instance is asked, and what it answers.
func explained(t *testing.T, line string, found ...forward.Explanation) (q admin.ExplainQuery, out string) {
	t.Helper()
	addr := answering(t, admin.Options{Explain: func(asked admin.ExplainQuery) (any, error) { q = asked; return found, nil }})
	code, out, errOut := run(t, strings.ReplaceAll(line, "ADDR", addr))
	if code != 0 || errOut != "" {
		t.Fatalf("viaduct %s: exit %d, %s", line, code, errOut)
	}
	return q, out
}

var allowed = forward.Explanation{Listener: "forward[0]", Listen: []string{"127.0.0.1:3128"}, Decision: "allow", Via: "direct"}

func step(rule, effect, result string) forward.RuleStep {
	return forward.RuleStep{Rule: rule, Effect: effect, Result: result}
}

// TestExplainAsksAnInstance: the whole question arrives, wherever its words stand.
func TestExplainAsksAnInstance(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	whole := admin.ExplainQuery{
		Listener: "forward[0]", Client: netip.MustParseAddr("192.0.2.7"), User: "joe&b=c", Method: "POST", Host: "example.com", Port: 8080,
		Path: "/a?b=c&d", Addr: netip.MustParseAddr("2001:db8::1"),
	}
	tunnel := admin.ExplainQuery{Client: loopback, Method: "CONNECT", Host: "example.com", Port: 443, Connect: true}
	inside := admin.ExplainQuery{Client: loopback, Method: "GET", Host: "example.com", Port: 443, Connect: true, Path: "/secret"}
	put := inside
	put.Method = "PUT"
	page := admin.ExplainQuery{Client: loopback, Method: "GET", Host: "example.com", Port: 80, Path: "/"}
	for line, want := range map[string]admin.ExplainQuery{
		"explain --admin ADDR --user joe&b=c --client 192.0.2.7 --addr 2001:db8::1 --listener forward[0] POST http://example.com:8080/a?b=c&d":            whole,
		"explain POST http://example.com:8080/a?b=c&d --admin ADDR --user joe&b=c --client 192.0.2.7 --addr 2001:db8::1 --listener forward[0]":            whole,
		"--admin ADDR --user=joe&b=c --client 192.0.2.7 --addr=2001:db8::1 explain --listener forward[0] --method POST http://EXAMPLE.com:8080/a?b=c&d#e": whole,
		"explain --admin ADDR https://example.com/secret":         inside,
		"explain --admin ADDR GET https://example.com/secret#top": inside,
		"explain --admin ADDR PUT https://example.com/secret":     put,
		"explain --admin ADDR CONNECT https://example.com/secret": tunnel,
		"explain --admin ADDR example.com:443":                    tunnel,
		"explain --admin ADDR CONNECT example.com:443":            tunnel,
		"explain --admin http://ADDR/ CONNECT -- example.com:443": tunnel,
		"explain --admin ADDR http://example.com":                 page,
		"explain -admin ADDR GET http://example.com/":             page,
		"explain --admin ADDR --user= http://example.com/":        page,
	} {
		if got, _ := explained(t, line, allowed); got != want {
			t.Errorf("%s: asked is\n%+v, want\n%+v", line, got, want)
		}
	}
}

func TestExplainTellsPeople(t *testing.T) {
	both := []string{"127.0.0.1:3128", "[::1]:3128"}
	for _, c := range []struct {
		name string
		in   []forward.Explanation
		want string
	}{
		{"allow", []forward.Explanation{allowed}, "allow: direct\n"},
		{
			"allow by a rule, one egress address",
			[]forward.Explanation{{Decision: "allow", Phase: "name", Rule: "ci", Via: "direct", Egress: []string{"203.0.113.7"}}},
			"allow by rule ci (name): direct, from 203.0.113.7\n",
		},
		{
			"allow, several egress addresses, through a pool",
			[]forward.Explanation{{Decision: "allow", Phase: "name", Via: "parents", Egress: []string{"203.0.113.7", "2001:db8::7"}}},
			"allow: by way of parents, from one of 203.0.113.7, 2001:db8::7\n",
		},
		{
			"open",
			[]forward.Explanation{{Decision: "allow", Open: "the guard still judges the address of example.com", Via: "direct"}},
			"allow, so far: direct\nopen: the guard still judges the address of example.com\n",
		},
		{
			"deny",
			[]forward.Explanation{{
				Decision: "deny", Phase: "name", Rule: "ads", Status: 403, Says: "This request is not allowed here.",
				Rules: []forward.RuleStep{step("forward[0].rules[0]", "allow", "host is not in .example.com"), step("ads", "deny", "matches")},
			}},
			"deny by rule ads (name): 403 This request is not allowed here.\n" +
				"  RULE                 EFFECT  RESULT\n" +
				"  forward[0].rules[0]  allow   host is not in .example.com\n" +
				"  ads                  deny    matches\n",
		},
		{"deny without a rule", []forward.Explanation{{Decision: "deny", Phase: "auth", Status: 407, Says: "Who is it?"}}, "deny (auth): 407 Who is it?\n"},
		{"deny by what is no rule of the operator's", []forward.Explanation{{Decision: "deny", Phase: "address", Rule: "guard", Status: 403, Says: "No."}}, "deny by guard (address): 403 No.\n"},
		{"deny by the last word", []forward.Explanation{{Decision: "deny", Phase: "name", Rule: "default", Status: 403, Says: "No."}}, "deny by default (name): 403 No.\n"},
		{"deny without an answer", []forward.Explanation{{Decision: "deny", Phase: "sni", Rule: "sni"}}, "deny by sni (sni)\n"},
		{
			"observe",
			[]forward.Explanation{{Decision: "observe", Phase: "name", Rule: "ads", Via: "direct"}},
			"observe (name): rule ads would deny it: direct\n",
		},
		{
			"several entries",
			[]forward.Explanation{
				{Listen: both, Decision: "deny", Phase: "client", Rule: "clients", Status: 403, Says: "No."},
				{Listen: both[:1], Decision: "allow", Via: "direct", Rules: []forward.RuleStep{step("a", "deny", "passed")}},
			},
			"127.0.0.1:3128, [::1]:3128: deny by clients (client): 403 No.\n\n" +
				"127.0.0.1:3128: allow: direct\n  RULE  EFFECT  RESULT\n  a     deny    passed\n",
		},
		{
			"a tunnel that is opened",
			[]forward.Explanation{{
				Decision: "allow", Phase: "name", Rule: "ci", Rules: []forward.RuleStep{step("ci", "allow", "matches")},
				Inspect: &forward.RuleStep{Rule: "glass", Effect: "decrypt", Result: "opens the tunnel"},
				Inside: &forward.Explanation{
					Decision: "deny", Phase: "name", Rule: "post", Status: 403, Says: "No.", Rules: []forward.RuleStep{step("post", "deny", "matches")},
				},
			}},
			"tunnel: allow by rule ci (name)\ninspect: glass opens the tunnel\n  RULE  EFFECT  RESULT\n  ci    allow   matches\n" +
				"inside: deny by rule post (name): 403 No.\n  RULE  EFFECT  RESULT\n  post  deny    matches\n",
		},
		{
			"a tunnel that stays closed",
			[]forward.Explanation{{Decision: "allow", Phase: "name", Open: "the guard", Via: "direct", Inspect: &forward.RuleStep{Effect: "pass", Result: "no entry speaks of it"}}},
			"allow, so far: direct\ninspect: no entry speaks of it\nopen: the guard\n",
		},
		{
			"filters",
			[]forward.Explanation{{Decision: "observe", Phase: "name", Rule: "ads", Via: "direct", Filters: []string{"team", "last"}}},
			"observe (name): rule ads would deny it: direct\nfilters: team, last\n",
		},
		{
			"a filter that refuses",
			[]forward.Explanation{{Decision: "deny", Phase: "filter", Rule: "guard", Status: 403, Says: "No.", Filters: []string{"team", "guard"}}},
			"deny by filter guard: 403 No.\nfilters: team, guard\n",
		},
		{
			"a filter that answers",
			[]forward.Explanation{{Decision: "allow", Phase: "filter", Rule: "gone", Status: 200, Filters: []string{"gone"}}},
			"answered by filter gone: 200\nfilters: gone\n",
		},
		{
			"a filter that sends elsewhere, inside a tunnel",
			[]forward.Explanation{{Decision: "allow", Phase: "name", Inside: &forward.Explanation{
				Decision: "allow", Phase: "filter", Rule: "old", Status: 308, Says: "https://new.example/a", Filters: []string{"old"},
			}}},
			"tunnel: allow\ninside: answered by filter old: 308 https://new.example/a\nfilters: old\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, got := explained(t, "explain --admin ADDR http://example.com/", c.in...); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

// TestExplainShowsNoControls: what an instance answers may come from anywhere,
// and must neither move a cursor nor a column.
func TestExplainShowsNoControls(t *testing.T) {
	for _, hostile := range []string{"\x1b[2J\x1b]0;x\a", "a\tb", "a\nallow: direct", "a\rb", "\u202eevil", "\x00", "\u0085", "\u2028"} {
		e := forward.Explanation{
			Listener: hostile, Listen: []string{hostile}, Decision: hostile, Phase: hostile, Rule: hostile, Says: hostile, Open: hostile,
			Rules: []forward.RuleStep{step(hostile, hostile, hostile)}, Via: hostile, Egress: []string{hostile},
			Inspect: &forward.RuleStep{Rule: hostile, Effect: hostile, Result: hostile}, Filters: []string{hostile, "b"},
		}
		inside := e
		e.Inside = &inside
		for _, decision := range []string{hostile, "deny", "observe"} {
			e.Decision, e.Status = decision, 403
			_, out := explained(t, "explain --admin ADDR http://example.com/", e, e)
			if strings.ContainsAny(strings.ReplaceAll(out, "\n", ""), hostile[:1]) && hostile[0] < 0x80 && hostile[0] != 'a' || strings.ContainsAny(out, "\x1b\t\r\x00\u202e\u0085\u2028") {
				t.Errorf("%q: it prints %q", hostile, out)
			}
			if n := strings.Count(out, "\n"); n != 2*2*6+1 {
				t.Errorf("%q: %d lines: %s", hostile, n, out)
			}
		}
	}
}

func TestExplainJSON(t *testing.T) {
	want := []forward.Explanation{
		{Listener: "forward[0]", Listen: []string{"a:1"}, Decision: "deny", Phase: "name", Rule: "x\x1b\"", Status: 403, Says: "<No>\n", Rules: []forward.RuleStep{step("x", "deny", "matches")}},
		{Listener: "forward[1]", Listen: []string{"b:1", "c:1"}, Decision: "allow", Open: "o", Via: "direct", Egress: []string{"203.0.113.7"}},
	}
	_, out := explained(t, "explain --json --admin ADDR http://example.com/", want...)
	var got []forward.Explanation
	if err := json.Unmarshal([]byte(out), &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.HasPrefix(out, "[\n  {\n    \"listener\": \"forward[0]\",\n") || strings.ContainsAny(out, "\x1b\t") {
		t.Errorf("it prints %s", out)
	}
}

func TestExplainMistakes(t *testing.T) {
	file := write(t, quiet)
	addr := answering(t, admin.Options{Explain: func(admin.ExplainQuery) (any, error) {
		return nil, errors.New("no listener \x1b here")
	}})
	for line, want := range map[string]string{
		"explain":                                                 "what is asked for? write viaduct explain -c FILE http://example.com/",
		"explain -c FILE":                                         "what is asked for?",
		"explain http://example.com/":                             "which file? write viaduct explain -c FILE",
		"explain -c - http://example.com/":                        "for standard input write /dev/stdin",
		"explain -c FILE --admin ADDR http://a/":                  "-c asks the file and --admin a running instance: choose one",
		"explain -c FILE --admin-token-file x http://a/":          "--admin-token-file goes with --admin ADDR",
		"explain --admin-token-file x http://a/":                  "--admin-token-file goes with --admin ADDR",
		"explain -c FILE get http://a/":                           `the method in upper case, but there is "http://a/"`,
		"explain -c FILE http://a/ http://b/":                     `but there is "http://b/"`,
		"explain -c FILE GET http://a/ x":                         `but there is "http://a/"`,
		"explain -c FILE GET POST http://a/":                      `but there is "POST"`,
		"explain -c FILE --method PUT GET http://a/":              "the method is there twice: leave GET or --method out",
		"explain -c FILE GET":                                     "url: write http://GET, or host:port for a CONNECT",
		"explain -c FILE example.com":                             "url: write http://example.com, or host:port for a CONNECT",
		"explain -c FILE GET example.com:443":                     `--method: host:port means a CONNECT: leave "GET" out, or write https:// or http:// before it`,
		"explain -c FILE CONNECT http://example.com/":             "--method: CONNECT asks for host:port",
		"explain -c FILE ftp://example.com/":                      `url: "ftp" is no scheme of a proxy's`,
		"explain -c FILE http://joe:pw@example.com/":              "url: leave the user name and password out",
		"explain -c FILE --client 10.0.0.0/8 http://a/":           `--client: "10.0.0.0/8" is no address`,
		"explain -c FILE --addr a.example http://a/":              `--addr: "a.example" is no address`,
		"explain -c FILE --user a\x01b http://a/":                 "--user: there is a control character in it",
		"explain -c FILE --listener 0.0.0.0:1 http://a/":          "--listener 0.0.0.0:1: there are forward[0], 127.0.0.1:0",
		"explain -c FILE --usr joe http://a/":                     "unknown flag --usr: did you mean --user?",
		"explain -c FILE --open http://a/":                        "unknown flag --open: explain takes its options from the file",
		"explain -c FILE -c FILE http://a/":                       "-c is given twice",
		"explain -c":                                              "-c needs a value",
		"run -c FILE --json":                                      "unknown flag --json: it belongs to viaduct explain",
		"explain --admin 9090 http://a/":                          "--admin 9090: write host:port, such as 127.0.0.1:9090",
		"explain --admin https://127.0.0.1:9090 http://a/":        "write host:port",
		"explain --admin http://joe@127.0.0.1:9090 http://a/":     "write host:port",
		"explain --admin http://127.0.0.1:9090/metrics http://a/": "write host:port",
		"explain --admin http://127.0.0.1: http://a/":             "write host:port",
		"explain --admin unix://run/s http://a/":                  "--admin unix://run/s: write the whole path",
		"explain --admin ADDR http://a/":                          `"no listener \x1b here"`,
		"explain --admin ADDR example.com":                        "url: write http://example.com, or host:port for a CONNECT",
		"explain --admin ADDR --client x http://a/":               `client: "x" is no address`,
	} {
		wantMistake(t, strings.NewReplacer("FILE", file, "ADDR", addr).Replace(line), 1, strings.ReplaceAll(want, "-c "+file, "-c FILE"))
	}
	bad := write(t, "forwrd: []")
	if code, out, errOut := run(t, "explain http://a/ -c "+bad); code != 1 || out != "" || !strings.HasPrefix(errOut, bad+":1:1: unknown key") {
		t.Errorf("exit %d, %q, %q", code, out, errOut)
	}
}

func TestExplainWhatCannotBeReachedIsExit2(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	wantMistake(t, "explain --admin "+nobody+" http://a/", 2, "no viaduct answers at http://"+nobody+": dial tcp "+nobody+": connect: connection refused")
	wantMistake(t, "explain --admin "+nobody+" --admin-token-file /nowhere/token http://a/", 2, "/nowhere/token: no such file")
	wantMistake(t, "explain -c /nowhere/viaduct.yaml http://a/", 2, "/nowhere/viaduct.yaml: no such file")
	wantMistake(t, "explain --admin "+answering(t, admin.Options{})+" http://a/", 2, "answers 404, and not as viaduct does")
}

// TestExplainIsNotFooled by what answers in an instance's place.
func TestExplainIsNotFooled(t *testing.T) {
	say := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/api/explain" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	for name, c := range map[string]struct {
		handler http.Handler
		code    int
		want    string
	}{
		"a page":                  {say(200, "<html>"), 2, "answers 200, and not as viaduct does"},
		"another object":          {say(200, `{"a":1}`), 2, "answers 200, and not as viaduct does"},
		"two lists":               {say(200, "[][]"), 2, "answers 200, and not as viaduct does"},
		"no answer to give":       {say(200, "[]"), 1, "there is no forward proxy"},
		"nothing":                 {say(200, ""), 2, "answers 200, and not as viaduct does"},
		"a redirect":              {say(302, ""), 2, "answers 302, and not as viaduct does"},
		"an error without reason": {say(400, "{}"), 2, "answers 400, and not as viaduct does"},
		"an error in words":       {say(400, "Bad Request\x1b[2J"), 2, "answers 400, and not as viaduct does"},
		"its own error":           {say(500, "[]"), 2, "answers 500, and not as viaduct does"},
		"too much":                {say(200, "["+strings.Repeat(" ", 17<<20)+"]"), 2, "and not as viaduct does"},
		"an answer that ends early": {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "[")
		}), 2, "breaks off: unexpected EOF"},
		"one that hangs up": {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), 2, "no viaduct answers at http://127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			wantMistake(t, "explain --admin "+serving(t, c.handler)+" http://a/", c.code, c.want)
		})
	}
}

func TestExplainShowsItsToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for _, token := range []string{"sesame", "other"} {
		if err := os.WriteFile(file+"."+token, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr := answering(t, admin.Options{Token: "sesame", Explain: func(admin.ExplainQuery) (any, error) { return []forward.Explanation{allowed}, nil }})
	if code, out, errOut := run(t, "explain --admin "+addr+" --admin-token-file "+file+".sesame http://a/"); code != 0 || out != "allow: direct\n" {
		t.Errorf("exit %d, %q, %q", code, out, errOut)
	}
	wantMistake(t, "explain --admin "+addr+" http://a/", 1, "asks for a token: add --admin-token-file FILE")
	wantMistake(t, "explain --admin "+addr+" --admin-token-file "+file+".other http://a/", 1, "knows another token")
	wantMistake(t, "explain --admin "+addr+" --admin-token-file "+t.TempDir()+" http://a/", 2, "is no ordinary file")
}

// TestExplainFindsThisMachine: an address that listens everywhere is reached by
// the loopback, as its Host must be a name of its own.
func TestExplainFindsThisMachine(t *testing.T) {
	addr := answering(t, admin.Options{Explain: func(admin.ExplainQuery) (any, error) { return []forward.Explanation{allowed}, nil }})
	_, port, _ := net.SplitHostPort(addr)
	for _, host := range []string{"0.0.0.0", "", "localhost", "127.0.0.1"} {
		if code, out, errOut := run(t, "explain http://a/ --admin "+host+":"+port); code != 0 || out != "allow: direct\n" {
			t.Errorf("%s: exit %d, %q, %q", host, code, out, errOut)
		}
	}
}

// TestExplainHelp shows every flag.
func TestExplainHelp(t *testing.T) {
	code, out, errOut := run(t, "explain --help")
	if code != 0 || errOut != "" {
		t.Errorf("exit %d, %s", code, errOut)
	}
	for _, word := range []string{
		"viaduct explain -c FILE [flags] [METHOD] URL", "viaduct explain --admin ADDR", "--config FILE, -c FILE", "--user USER", "--client IP",
		"--addr IP", "--method METHOD", "--listener NAME", "--json", "--admin ADDR", "--admin-token-file FILE", "no name is looked up",
	} {
		if !strings.Contains(out, word) {
			t.Errorf("it does not tell of %q:\n%s", word, out)
		}
	}
}

const policy = `
log: {access: {path: 'off'}}
forward:
- listen: 127.0.0.1:0
  users: USERS
  rules:
  - {name: ads, deny: {host: [.ads.example, "@ADS"]}}
  - {name: probe, deny: {method: TRACE}, report_only: true}
  - {name: inside, allow: {addr: 10.1.0.0/16}}
  - {allow: {user: joe, host: .example.com}}
  - {name: labs, allow: {addr: 192.0.2.0/24, user: ann}}
- listen: '[::1]:0'
  egress: 203.0.113.7
  connect_ports: 443
`

// policyFile writes a configuration, and the files that it names.
func policyFile(t *testing.T) string {
	t.Helper()
	file := write(t, "")
	dir := filepath.Dir(file)
	for name, text := range map[string]string{
		"users":   "joe:$2y$04$/59WjnzHVAV0Wa9ZErn0gOt6VuJ7RiTPT0Pz/JcDzyzA.M4z3RaJ6\nann:$2y$04$/59WjnzHVAV0Wa9ZErn0gOt6VuJ7RiTPT0Pz/JcDzyzA.M4z3RaJ6\n",
		"ads.txt": "# bad ones\n0.0.0.0 tracker.example\n||spam.example^\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(t, file, strings.NewReplacer("USERS", "users", "ADS", "ads.txt").Replace(policy))
	return file
}

// TestExplainFromAFile: the file alone says it, and nothing is opened or asked.
func TestExplainFromAFile(t *testing.T) {
	file := policyFile(t)
	for _, c := range []struct{ question, want string }{
		{"http://www.Ads.Example./", "deny by rule ads (name): 403 "},
		{"tracker.example:443", "deny by rule ads (name): 403 "},
		{"http://a.spam.example/", "deny by rule ads (name): 403 "},
		{"http://www.example.com/", "allow by rule forward[0].rules[3] (name), so far: direct\nopen: "},
		{"TRACE http://www.example.com/", "observe (name): rule probe would deny it, so far: direct\nopen: "},
		{"http://other.example/", "deny by default (name): 403 "},
		{"http://Bücher.example.com/", "allow by rule forward[0].rules[3] (name), so far: direct\n"},
		{"--user nobody http://www.example.com/", "deny by auth (auth): 407 "},
		{"--user ann --addr 192.0.2.1 http://other.example/", "allow by rule labs (address): direct\n"},
		{"--user ann --addr 198.51.100.1 http://other.example/", "deny by default (address): 403 "},
		{"http://169.254.169.254/latest", "deny by "},
		{"--addr 169.254.169.254 http://www.example.com/", "deny by "},
		{"--addr 10.1.2.3 http://www.example.com/", "allow by rule forward[0].rules[3] "},
	} {
		line := "explain --listener forward[0] -c " + file + " " + c.question
		if !strings.Contains(c.question, "--user") {
			line += " --user joe"
		}
		code, out, errOut := run(t, line)
		if code != 0 || errOut != "" || !strings.HasPrefix(out, c.want) || !strings.Contains(out, "\n  RULE ") {
			t.Errorf("%s: exit %d, %q, want %q; it says\n%s", c.question, code, errOut, c.want, out)
		}
	}
	code, out, errOut := run(t, "explain -c "+file+" --listener forward[1] example.com:25")
	if code != 0 || errOut != "" || !strings.HasPrefix(out, "deny by connect_ports (port): 403 ") {
		t.Errorf("exit %d, %q: %s", code, errOut, out)
	}
	code, out, errOut = run(t, "explain -c "+file+" --listener forward[1] http://1.2.3/")
	if code != 0 || errOut != "" || out != "deny: 400 An IPv4 address must be written as four decimal numbers with dots between them.\n" {
		t.Errorf("exit %d, %q: %s", code, errOut, out)
	}
	code, out, errOut = run(t, "explain -c "+file+" http://93.184.216.34/")
	if code != 0 || errOut != "" || !strings.HasPrefix(out, "127.0.0.1:0: deny by auth (auth): 407 ") || !strings.Contains(out, "\n\n[::1]:0: allow: direct, from 203.0.113.7\n") {
		t.Errorf("exit %d, %q: %s", code, errOut, out)
	}
}

// TestExplainLooksInside: with an authority of its own.
func TestExplainLooksInside(t *testing.T) {
	file := write(t, "")
	if code, _, errOut := run(t, "ca init "+filepath.Join(filepath.Dir(file), "ca")); code != 0 {
		t.Fatal(errOut)
	}
	rewrite(t, file, glass)
	for question, want := range map[string]string{
		"https://www.example.com/":                   "allow\ninspect: glass opens the tunnel\n  RULE ",
		"https://www.example.com:444/":               "deny by connect_ports (port): 403 CONNECT may not reach this port here.\n  RULE ",
		"POST https://www.example.com/a":             "inside: deny by rule read-only (name): 403 This request is not allowed here.\n  RULE ",
		"PUT https://www.example.com/a":              "inside: allow, so far: direct\nopen: the guard still judges the address that www.example.com turns out to have\nfilters: team\n  RULE ",
		"https://old.example.com/a?b":                "inside: answered by filter old: 301 https://new.example.com/a?b\nfilters: team, old\n  RULE ",
		"http://old.example.com/a?b":                 "answered by filter old: 301 https://new.example.com/a?b\nfilters: team, old\n  RULE ",
		"https://a.bank.example":                     "\ninspect: bank keeps the tunnel closed: GET / in it is not seen\nopen: the guard ",
		"https://a.test/x":                           "\ninspect: no entry speaks of it, and the tunnel stays closed: GET /x in it is not seen\nopen: the guard ",
		"www.example.com:443":                        "allow, so far\ninspect: glass opens the tunnel\nopen: each request inside is judged by itself: ask for one, such as https://www.example.com/\n",
		"https://www.example.com --addr 169.254.1.1": "\ninside: deny by guard (address): 403 ",
		"https://www.example.com/\u009b\u202e":       "allow\ninspect: glass opens the tunnel\n  RULE ",
		"https://a.test/\u009b\u202e":                "\ninspect: " + `"no entry speaks of it, and the tunnel stays closed: GET /\u009b\u202e in it is not seen"` + "\n",
	} {
		code, out, errOut := run(t, "explain -c "+file+" "+question)
		if code != 0 || errOut != "" || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, %q, want %q; it says\n%s", question, code, errOut, want, out)
		}
	}
}

const glass = `
log: {access: {path: 'off'}}
forward:
- listen: 127.0.0.1:0
  connect_ports: 443
  ca: ca
  rules: [{name: read-only, deny: {method: POST}}]
  inspect:
  - {name: bank, pass: {host: .bank.example}}
  - {name: glass, decrypt: {host: .example.com}}
  filters:
  - {name: team, request: {set: "X-Team: payments"}}
  - {name: old, match: {host: old.example.com}, redirect: {to: https://new.example.com, keep_path: true, status: 301}}
`

// TestExplainNamesTheFileThatIsMissing.
func TestExplainNamesTheFileThatIsMissing(t *testing.T) {
	file := policyFile(t)
	list := filepath.Join(filepath.Dir(file), "ads.txt")
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	wantMistake(t, "explain http://a/ -c "+file, 2, list+": no such file")
}

// TestExplainsAgree: the file, and the instance that runs it.
func TestExplainsAgree(t *testing.T) {
	file := policyFile(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := run(t, "ca init "+filepath.Join(filepath.Dir(file), "ca")); code != 0 {
		t.Fatal(errOut)
	}
	_, opened, _ := strings.Cut(glass, "forward:\n")
	rewrite(t, file, "admin: {listen: 127.0.0.1:0}\n"+strings.Replace(string(text), "203.0.113.7", "127.0.0.1", 1)+opened)
	r := start(t, "run -c "+file)
	var addr string
	if !eventually(func() bool {
		_, after, _ := strings.Cut(r.errOut.String(), `msg="admin listening" admin=`)
		addr, _, _ = strings.Cut(after, "\n")
		return addr != ""
	}) {
		t.Fatalf("no admin address: %s", r.errOut.String())
	}
	for _, question := range []string{
		"http://www.ads.example/ --user joe", "http://Example.com:81/a --user joe", "www.example.com:443 --user ann", "http://a.example",
		"http://[::1]/ --client 192.0.2.1", "http://B%C3%BCcher.example", "https://a.example --addr 10.0.0.1", "http://bücher.example/ü --user joe",
		"POST https://www.example.com/a --user joe", "https://old.example.com:443/ü?%20", "PUT https://a.bank.example/x", "a.test:443", "CONNECT https://old.example.com/a",
	} {
		code, want, errOut := run(t, "explain --json -c "+file+" "+question)
		code2, got, errOut2 := run(t, "explain --json --admin "+addr+" "+question)
		if code != code2 || got != want || errOut != errOut2 {
			t.Errorf("%s: the file says %d %s%s\nthe instance %d %s%s", question, code, want, errOut, code2, got, errOut2)
		}
	}
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}
