package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var parentOperatorRows = []row{
	{"product-1/parent-misspelt", "–", "Endpoints that make no sense, pools that are not there, options that do nothing: exit 1, what is wrong is named, and no password.", own, parentMisspelt},
	{"product-1/parent-file-misspelt", "–", "The same in a file, with FILE:LINE:COL.", own, parentFileMisspelt},
	{"product-1/parent-status", "–", "`viaduct status` prints each pool and endpoint with its state and the reason; --json is what /api/status says.", own, parentStatus},
	{"product-1/parent-status-empty", "–", "`viaduct status` of an instance without pools says so; of none: exit 2.", own, parentStatusEmpty},
	{"product-6/admin-unix-socket", "–", "`admin: unix:///path`: for its owner alone, without a token, status by it; a stale socket is replaced, it goes at the end.", own, adminOnSocket},
	{"product-6/admin-unix-taken", "–", "A socket that somebody listens on, or a file that is none, is not taken: exit 2.", own, adminSocketTaken},
	{"product-1/parent-explain", "–", "`viaduct explain` names the pool, the candidates with their scores, and who would be chosen; nothing is asked of anybody.", own, parentExplain},
	{"product-6/parent-metrics", "–", "Requests, failures and what is in flight of each endpoint are metrics, by pool and id.", own, parentMetrics},
}

// wrong is a value of a flag that is to be complained of, in these words.
type wrong struct {
	flag, value string
	words       []string
}

func parentMisspelt(t *testing.T, _ *proxy) {
	const at = "http://a.test:1"
	for _, group := range [][]wrong{{
		{"upstream", "htp://a.test:3128", []string{"htp", "http://", "socks5"}},
		{"upstream", "socks4://a.test:1080", []string{"socks4", "socks5"}},
		{"upstream", "a.test:3128", []string{"a.test:3128", "http://"}},
		{"upstream", "http://a.test:99999", []string{"99999", "port"}},
		{"upstream", "http://a.test:0", []string{"http://a.test:0", "port"}},
		{"upstream", "http://:3128", []string{"http://:3128", "host"}},
		{"upstream", "http://a.test:3128/path", []string{"/path"}},
		{"upstream", "http://a.test:3128?wieght=3", []string{"wieght", "weight"}},
		{"upstream", "http://a.test:3128?weight=many", []string{"weight", "many"}},
		{"upstream", "http://a.test:3128?weight=-1", []string{"weight", "-1"}},
		{"upstream", "http://ann:s3cret@a.test:3128?tear=1", []string{"tear", "tier"}},
		{"upstream", "http://ann:s3cret@b.test:99999", []string{"***", "port"}},
		{"upstream", "hxxp://ann:s3cret@a.test:1", []string{"***", "http://"}},
		{"upstream", "http://ann:s3%zzcret@a.test:1", []string{"***"}},
		{"upstream", "direct:80", []string{"direct:80"}},
		{"upstream", "http://a.test:1 -> http://b.test:1 -> http://c.test:1", []string{"two"}},
		{"upstream", at, nil},
		{"upstream", at, []string{at, "already", "?id="}},
		{"upstream", "http://c.test:1?id=x", nil},
		{"upstream", "http://d.test:1?id=x", []string{"d.test", "already"}},
		{"upstream", "", []string{"--upstream"}},
	}, {
		{"upstream", at, nil},
		{"balance", "p3c", []string{"--balance", "p3c", "p2c"}},
		{"hash-key", "usr", []string{"--hash-key", "usr", "user"}},
		{"health-check", "ping", []string{"--health-check", "ping"}},
		{"retries", "-1", []string{"--retries"}},
		{"retry-budget", "200%", []string{"--retry-budget", "200%"}},
		{"hedge-after", "10", []string{"--hedge-after", "10s"}},
		{"upstream-resolve", "moon", []string{"--upstream-resolve", "moon", "here"}},
	}, {
		{"upstream", "https://a.test:1", nil},
		{"upstream-cert", "/nonexistent.crt", []string{"key"}},
	}, {
		{"balance", "first", []string{"--balance", "--upstream"}},
	}, {
		{"upstream", at, nil},
		{"hash-key", "user", []string{"--hash-key"}},
	}} {
		args := []string{"forward", "--listen", "127.0.0.1:0"}
		for _, w := range group {
			args = append(args, "--"+w.flag, w.value)
		}
		code, stdout, stderr := exits(t, nil, args...)
		if code != 1 || stdout != "" || strings.Contains(stderr, "cret") || strings.Contains(stderr, "panic") {
			t.Errorf("%q: exit code %d, %q %q", args, code, stdout, stderr)
		}
		for _, w := range group {
			if !slices.ContainsFunc(strings.Split(stderr, "\n"), func(line string) bool { return containsAll(line, w.words) }) {
				t.Errorf("--%s %s: no line names %q in\n%s", w.flag, w.value, w.words, stderr)
			}
		}
	}
	complains(t, 2, nil, []string{"forward", "--listen", "127.0.0.1:0", "--upstream", "https://a.test:1", "--upstream-ca", "/nonexistent/ca.crt"}, []string{"/nonexistent/ca.crt"})
}

func containsAll(s string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(s, w) })
}

func parentFileMisspelt(t *testing.T, _ *proxy) {
	const at = "http://a.test:1"
	for _, turn := range []struct {
		text  string
		place string // LINE:COL
		words []string
	}{
		{confWith("pools:\n"+poolText("parents", []string{at}, ""), "via: parent"), "8:10", []string{"parent", "parents"}},
		{confWith("pools:\n"+poolText("parents", []string{at}, ""), "route: [{host: [a.test], via: perents}]"), "8:", []string{"perents", "parents"}},
		{way([]string{at}, "ballance: first"), "3:", []string{"ballance", "balance"}},
		{way([]string{at, at}, ""), "3:", []string{"already"}},
		{way([]string{at, "direct", "direct?backup=true"}, ""), "3:", []string{"direct"}},
		{way(nil, ""), "3:", []string{"endpoint"}},
		{way([]string{at}, "panic: maybe"), "3:", []string{"maybe", "spread"}},
		{way([]string{at}, "hash_key: user"), "3:", []string{"hash_key"}},
		{confWith("pools:\n"+poolText("direct", []string{at}, ""), "via: direct"), "2:3", []string{"direct"}},
		{confWith("pools:\n" + poolText("Parents!", []string{at}, "")), "2:3", []string{"small letters"}},
		{confWith("pools:\n"+poolText("a", []string{at}, "")+poolText("a", []string{at}, ""), "via: a"), "3:3", []string{"a"}},
	} {
		file := saved(t, turn.text)
		code, _, stderr := exits(t, nil, "check", "-c", file)
		if code != 1 || !strings.Contains(stderr, file+":"+turn.place) {
			t.Errorf("exit code %d, %q; want %s in\n%s", code, stderr, turn.place, turn.text)
		}
		for _, word := range turn.words {
			if !strings.Contains(strings.ReplaceAll(stderr, file, "FILE"), word) {
				t.Errorf("%q does not name %q", stderr, word)
			}
		}
	}
}

func parentStatus(t *testing.T, _ *proxy) {
	admin := freePort(t)
	good, dead := newUpper(t), "http://"+refusing(t)
	text := strings.Replace(way([]string{good.url(), dead + "?weight=3&tier=1"}, "balance: round_robin, health: {check: tcp, interval: 100ms, fall: 1}"), "127.0.0.1:0}", admin+"}", 1)
	p := launch{conf: text}.start(t)
	fetch(t, p, newOrigin(t, echoes).addr).want(t, 200, "GET/")
	poll(t, "one is down", func() bool { return p.endpoint(t, dead).Active == "down" })
	code, stdout, stderr := exits(t, nil, "status", "--admin", admin)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %q", code, stderr)
	}
	for _, word := range []string{"parents", "round_robin", good.id(), dead, "ready", "down", "tcp"} {
		if !strings.Contains(stdout, word) {
			t.Errorf("the table has no %q:\n%s", word, stdout)
		}
	}
	for line := range strings.Lines(stdout) {
		if len([]rune(strings.TrimRight(line, "\n"))) > 200 {
			t.Errorf("a line of %d: %q", len(line), line)
		}
	}
	code, stdout, stderr = exits(t, nil, "status", "--json", "--admin", admin)
	var said, api struct {
		Version string
		Pools   []struct {
			Name      string
			Endpoints []struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &said); code != 0 || err != nil || len(said.Pools) != 1 || len(said.Pools[0].Endpoints) != 2 {
		t.Errorf("exit code %d, %v, %q %q", code, err, stdout, stderr)
	}
	if err := json.Unmarshal([]byte(p.admin(t, "/api/status").body), &api); err != nil || fmt.Sprint(said) != fmt.Sprint(api) {
		t.Errorf("%v: %v by the command, %v by the API", err, said, api)
	}
	e := p.endpoint(t, dead)
	if e.Weight != 3 || e.Tier != 1 || e.Reason == "" {
		t.Errorf("the dead one is %+v", e)
	}
	if e := p.endpoint(t, good.id()); e.Standing != "ready" || e.Picks != 1 || e.InFlight != 0 || e.Admin != "ready" || e.Active != "up" || e.Passive != "ok" {
		t.Errorf("the good one is %+v", e)
	}
}

func parentStatusEmpty(t *testing.T, _ *proxy) {
	admin := freePort(t)
	launch{conf: confWith("admin: {listen: \"" + admin + "\"}\n")}.start(t)
	code, stdout, stderr := exits(t, nil, "status", "--admin", admin)
	if code != 0 || !strings.Contains(strings.ToLower(stdout), "no pool") {
		t.Errorf("exit code %d, %q %q", code, stdout, stderr)
	}
	complains(t, 2, nil, []string{"status", "--admin", refusing(t)}, []string{"127.0.0.1"})
	complains(t, 2, nil, []string{"status", "--admin", "unix:///nonexistent/viaduct.sock"}, []string{"/nonexistent/viaduct.sock"})
	complains(t, 1, nil, []string{"status", "surplus"}, []string{"surplus"})
}

func adminOnSocket(t *testing.T, _ *proxy) {
	path := filepath.Join(t.TempDir(), "viaduct.sock")
	u := newUpper(t)
	text := strings.Replace(way([]string{u.url()}, ""), "127.0.0.1:0}", "\"unix://"+path+"\"}", 1)
	p := launch{conf: text}.start(t)
	status := func() (int, string) {
		code, stdout, stderr := exits(t, nil, "status", "--admin", "unix://"+path)
		return code, stdout + stderr
	}
	poll(t, "status by the socket", func() bool { code, _ := status(); return code == 0 })
	if _, said := status(); !strings.Contains(said, u.id()) {
		t.Errorf("it says %q", said)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode()&os.ModeSocket == 0 {
		t.Errorf("%v, %v", info, err)
	}
	explained(t, "--admin", "unix://"+path, "http://a.test/")
	p.reload(t, strings.Replace(text, "check: none", "check: tcp", 1))
	if code, said := status(); code != 0 {
		t.Errorf("after a reload: %q", said)
	}
	p.stop(t)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	q := launch{conf: text}.start(t) // is killed, and leaves its socket
	q.cmd.Process.Kill()
	receive(t, "its end", q.ended)
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a killed process took its socket away: %v", err)
	}
	launch{conf: text}.start(t)
	poll(t, "status by the socket", func() bool { code, _ := status(); return code == 0 })
}

func adminSocketTaken(t *testing.T, _ *proxy) {
	path := filepath.Join(t.TempDir(), "viaduct.sock")
	text := strings.Replace(way([]string{"http://a.test:1"}, ""), "127.0.0.1:0}", "\"unix://"+path+"\"}", 1)
	launch{conf: text}.start(t)
	wontStart(t, 2, []string{"run", "-c", saved(t, text)}, []string{path})
	if code, _, stderr := exits(t, nil, "status", "--admin", "unix://"+path); code != 0 {
		t.Errorf("the first has lost its socket: %q", stderr)
	}
	file := path + ".txt"
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	wontStart(t, 2, []string{"run", "-c", saved(t, strings.Replace(text, path, file, 1))}, []string{file})
	if left, err := os.ReadFile(file); err != nil || string(left) != "mine" {
		t.Errorf("the file is %q, %v", left, err)
	}
}

func parentExplain(t *testing.T, _ *proxy) {
	admin := freePort(t)
	a, b := newUpper(t), newUpper(t)
	text := strings.Replace(way([]string{a.url(), b.url() + "?weight=5"}, "balance: hash, hash_key: host", "route: [{host: [direct.test], via: direct}]"), "127.0.0.1:0}", admin+"}", 1)
	p := launch{conf: text}.start(t)
	for _, from := range [][]string{{"-c", p.conf}, {"--admin", admin}} {
		one := explained(t, append(from, "http://a.test/")...)[0]
		pool, _ := one["pool"].(map[string]any)
		candidates, _ := pool["candidates"].([]any)
		if one["via"] != "parents" || pool["name"] != "parents" || pool["balance"] != "hash" || len(candidates) != 2 {
			t.Fatalf("%q: got %v", from, one)
		}
		chosen := pool["chosen"]
		if chosen != a.id() && chosen != b.id() {
			t.Errorf("%q: %v would be chosen", from, chosen)
		}
		for _, candidate := range candidates {
			c, _ := candidate.(map[string]any)
			if id := c["id"]; id != a.id() && id != b.id() || c["standing"] == nil || c["score"] == nil || c["in_flight"] == nil {
				t.Errorf("%q: candidate %v", from, c)
			}
		}
		if direct := explained(t, append(from, "http://direct.test/")...)[0]; direct["via"] != "direct" || direct["pool"] != nil {
			t.Errorf("%q: got %v", from, direct)
		}
		code, stdout, stderr := exits(t, nil, append(append([]string{"explain"}, from...), "http://a.test/")...)
		for _, word := range []string{"parents", "hash", a.id(), b.id()} {
			if code != 0 || !strings.Contains(stdout, word) {
				t.Errorf("%q: exit code %d, no %q in %q %q", from, code, word, stdout, stderr)
			}
		}
	}
	a.wantAsked(t)
	b.wantAsked(t)
	said, _ := explained(t, "--admin", admin, "http://a.test/")[0]["pool"].(map[string]any)
	fetch(t, p, "a.test:"+newOrigin(t, echoes).port).want(t, 200, "GET/")
	if line := p.lines(t, 1)[0]; line["endpoint"] != said["chosen"] {
		t.Errorf("explained as %v, and then %v", said["chosen"], line["endpoint"])
	}
}

func parentMetrics(t *testing.T, _ *proxy) {
	good, dead := newUpper(t), "http://"+refusing(t)
	p := through(t, []string{dead, good.url()}, "balance: first")
	o := newOrigin(t, echoes)
	fetch(t, p, o.addr).want(t, 200, "GET/")
	tunnel := dial(t, p).tunnel(newOrigin(t, echo).addr)
	tunnel.send("ping").read("ping")
	text := p.admin(t, "/metrics").body
	of := func(id string) string { return fmt.Sprintf(`{endpoint=%q,pool="parents"}`, id) }
	for _, line := range []string{
		"viaduct_endpoint_picks_total" + of(good.id()) + " 2\n", "viaduct_endpoint_in_flight" + of(good.id()) + " 1\n", `viaduct_pool_in_flight{pool="parents"} 1`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in the metrics:\n%s", line, poolLines(text))
		}
	}
	if n := p.metric(t, "viaduct_endpoint_failures_total"+of(dead)); n < 1 {
		t.Errorf("the dead one has failed %v times", n)
	}
}

// poolLines are the metrics of pools.
func poolLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "viaduct_pool") || strings.HasPrefix(line, "viaduct_endpoint") {
			b.WriteString(line)
		}
	}
	return b.String()
}
