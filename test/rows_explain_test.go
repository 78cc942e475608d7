package test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var explainRows = []row{
	{"product-1/explain", "–", "`viaduct explain`, from the file and by the running instance, says the same as /api/explain, and what then happens: decision, rule, phase, status and sentence. It sends nothing and looks nothing up.", own, explains},
	{"product-1/explain-open", "–", "What the address of a name decides is said to be open; --addr closes it. People get a verdict and a table of the rules, programs JSON.", own, explainsOpen},
	{"product-1/explain-mistakes", "–", "An unknown listener, a url that is none, both sources at once: exit 1; a file or an instance that is not there: exit 2; each says what to do.", own, explainMistakes},
	{"product-2/explain-inside", "–", "A question for an https:// address goes on inside a tunnel that is opened, by method and path, and names the filters and the one that ends it: as it then happens. A tunnel that stays closed is said to hide them.", own, explainsInside},
	{"product-2/explain-certificates", "–", "With --tls-client-ca, a question without a user is answered as a client without a certificate is, one with a user as who shows one for it; that a certificate has groups of its own is said to be open.", own, explainsCertificates},
	{"product-6/api-explain-protected", "–", "/api/explain is under the protections of /metrics: token, Host, GET alone.", own, explainProtected},
}

// question is what is asked of explain, and then of the proxy.
type question struct {
	method, url, user, client, addr string

	decision, rule, phase string
	status                float64
}

// flags are those of the question.
func (q *question) flags(word string) (flags []string) {
	for _, f := range [][2]string{{"user", q.user}, {"client", q.client}, {"addr", q.addr}, {"method", q.method}} {
		if f[1] != "" {
			flags = append(flags, word+f[0], f[1])
		}
	}
	return flags
}

// explained runs viaduct explain --json.
func explained(t *testing.T, args ...string) (all []map[string]any) {
	t.Helper()
	args = append([]string{"explain", "--json"}, args...)
	code, stdout, stderr := exits(t, nil, args...)
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || code != 0 || len(all) == 0 {
		t.Fatalf("%q: exit code %d, %v, %q %q", args, code, err, stdout, stderr)
	}
	return all
}

// explaining is a proxy with every kind of rule.
func explaining(t *testing.T) (*proxy, *names, *origin, string) {
	t.Helper()
	s := newNames(t, func(q query) reply {
		if q.name == "inner.test" {
			return reply{addrs: []string{"127.0.0.2"}}
		}
		return reply{addrs: []string{"127.0.0.1"}}
	})
	o := newOrigin(t, says(ok("fine")))
	admin := freePort(t)
	text := o.places(fmt.Sprintf(`admin: {listen: "%s"}
log: {access: {path: access.log}}
forward:
  - listen: ["%s"]
    connect_ports: [443, {P}]
    resolver: ["%s"]
    contact: ask the net team
    users: %s
    groups: %s
    rules:
      - {name: ads, deny: {host: [ads.test, "@%s"]}}
      - {name: watch, deny: {host: [watch.test]}, report_only: true}
      - {name: cellar, deny: {addr: [127.0.0.2]}}
      - {name: post, deny: {method: [POST], path: [/admin]}}
      - {name: late, deny: {client: [127.0.0.9]}}
      - {name: ci, allow: {group: [ci], host: [.ci.test], port: [{P}]}}
      - {name: ben, allow: {user: [ben]}}
      - {name: loopback, allow: {addr: [127.0.0.0/8]}}
  - listen: [127.0.0.2:0]
    report_only: true
    rules: [{deny: {}}]
`, admin, freePort(t), s.addr, saved(t, hashed(t, "ann", "one", "ben", "two")), saved(t, "ci: ann\n"), saved(t, "listed.test\n")))
	p := launch{conf: text}.start(t)
	p.access = filepath.Join(filepath.Dir(p.conf), "access.log")
	return p, s, o, admin
}

func explains(t *testing.T, _ *proxy) {
	p, s, o, admin := explaining(t)
	questions := []question{
		{url: "http://ads.test/", user: "ann", decision: "deny", rule: "ads", phase: "name", status: 403},
		{url: "https://ADS.test./x", user: "ann", decision: "deny", rule: "ads", phase: "name", status: 403},
		{url: "listed.test:443", user: "ben", decision: "deny", rule: "ads", phase: "name", status: 403},
		{url: "http://listed.test:{P}/", decision: "deny", rule: "auth", phase: "auth", status: 407},
		{url: "http://listed.test/", user: "mallory", decision: "deny", rule: "auth", phase: "auth", status: 407},
		{url: "http://watch.test:{P}/", user: "ben", addr: "127.0.0.1", decision: "observe", rule: "watch", phase: "address"},
		{url: "http://watch.test:{P}/", user: "ann", addr: "127.0.0.1", decision: "deny", rule: "default", phase: "name", status: 403},
		{url: "http://inner.test:{P}/", user: "ben", addr: "127.0.0.2", decision: "deny", rule: "cellar", phase: "address", status: 403},
		{url: "inner.test:{P}", user: "ben", addr: "127.0.0.2", decision: "deny", rule: "cellar", phase: "address", status: 403},
		{url: "http://127.0.0.2:{P}/", user: "ben", decision: "deny", rule: "cellar", phase: "address", status: 403},
		{method: "POST", url: "http://x.ci.test:{P}/x/../%61dmin?q", user: "ann", decision: "deny", rule: "post", phase: "name", status: 403},
		{method: "PUT", url: "http://x.ci.test:{P}/admin", user: "ann", addr: "127.0.0.1", decision: "allow", rule: "ci", phase: "address"},
		{url: "http://x.ci.test:{P}/", user: "ann", client: "127.0.0.9", decision: "deny", rule: "late", phase: "name", status: 403},
		{url: "http://x.ci.test:{P}", user: "ben", addr: "127.0.0.1", decision: "allow", rule: "ben", phase: "address"},
		{url: "http://x.ci.test/", user: "ann", decision: "deny", rule: "default", phase: "name", status: 403},
		{url: "x.ci.test:{P}", user: "ann", addr: "127.0.0.1", decision: "allow", rule: "ci", phase: "address"},
		{url: "https://x.ci.test:8443", user: "ann", decision: "deny", rule: "connect_ports", phase: "port", status: 403},
		{url: "http://169.254.169.254/latest", user: "ben", decision: "deny", rule: "guard", phase: "address", status: 403},
		{url: "http://[::1]:{P}/", user: "ben", decision: "deny", rule: "guard", phase: "address", status: 403},
		{url: "http://127.0.0.1:{P}/", user: "ben", decision: "allow", rule: "ben", phase: "address"},
		{url: "http://" + p.addr + "/", user: "ben", decision: "deny", rule: "own_address", phase: "address", status: 421},
		{url: "http://" + admin + "/metrics", user: "ben", decision: "deny", rule: "own_address", phase: "address", status: 421},
	}
	said := make([]map[string]any, len(questions))
	for i := range questions {
		q := &questions[i]
		q.url = o.places(q.url)
		ask := append(q.flags("--"), "--listener", p.addr, q.url)
		said[i] = explained(t, append([]string{"-c", p.conf}, ask...)...)[0]
		running := explained(t, append([]string{"--admin", admin}, ask...)...)[0]
		v := url.Values{"url": {q.url}, "listener": {"forward[0]"}}
		for flag := range pairs(q.flags("")) {
			v.Set(flag[0], flag[1])
		}
		var api []map[string]any
		if m := p.admin(t, "/api/explain?"+v.Encode()); m.status() != 200 || json.Unmarshal([]byte(m.body), &api) != nil {
			t.Fatalf("got %q %q", m.raw, m.body)
		}
		if !reflect.DeepEqual(said[i], running) || !reflect.DeepEqual(said[i], api[0]) {
			t.Errorf("%+v:\nfrom the file      %v\nby the instance    %v\nby /api/explain    %v", *q, said[i], running, api[0])
		}
	}
	if s.lookups() != 0 || o.dials() != 0 || p.accessLog(t) != "" {
		t.Errorf("explaining made %d lookups and %d dials, and logged %q", s.lookups(), o.dials(), p.accessLog(t))
	}
	for i := range questions {
		q := &questions[i]
		m := q.ask(t, p, o)
		line := p.lines(t, i+1)[i]
		what := fmt.Sprintf("%+v", *q)
		for key, want := range map[string]any{"decision": q.decision, "rule": q.rule, "phase": q.phase} {
			if said[i][key] != want || line[key] != want {
				t.Errorf("%s: %s is explained as %v and logged as %v", what, key, said[i][key], line[key])
			}
		}
		if q.status == 0 {
			if m.status() != 200 || said[i]["status"] != nil || said[i]["via"] != "direct" {
				t.Errorf("%s: got %q; %v", what, m.raw, said[i])
			}
			continue
		}
		says, _ := said[i]["says"].(string)
		if float64(m.status()) != q.status || said[i]["status"] != q.status || says == "" || !strings.HasPrefix(m.body, says) {
			t.Errorf("%s: got %q %q; %v", what, m.line, m.body, said[i])
		}
	}
}

// pairs goes through a list by two.
func pairs(list []string) func(func([2]string) bool) {
	return func(yield func([2]string) bool) {
		for i := 0; i+1 < len(list) && yield([2]string{list[i], list[i+1]}); i += 2 {
		}
	}
}

// ask really asks.
func (q *question) ask(t *testing.T, p *proxy, o *origin) *message {
	t.Helper()
	if q.client == "" {
		q.client = "127.0.0.1"
	}
	c := clientAt(t, p, q.client, o)
	defer c.conn.Close()
	l := []string{"GET " + q.url, "Host: x", "Connection: close"}
	switch rest, isTLS := strings.CutPrefix(q.url, "https://"); {
	case isTLS:
		host, _, _ := strings.Cut(rest, "/")
		if !strings.Contains(host, ":") {
			host += ":443"
		}
		l[0] = "CONNECT " + host
	case !strings.HasPrefix(q.url, "http://"):
		l[0] = "CONNECT " + q.url
	case q.method != "":
		l[0] = q.method + " " + q.url
		l = append(l, "Content-Length: 0")
	}
	l[0] += " HTTP/1.1"
	if q.user != "" {
		l = append(l, basic(q.user, map[string]string{"ann": "one", "ben": "two"}[q.user]))
	}
	return c.ask(l...).answerTo(l[0][:7])
}

func explainsOpen(t *testing.T, _ *proxy) {
	p, _, o, admin := explaining(t)
	target := o.places("http://x.ci.test:{P}/")
	for _, from := range [][]string{{"-c", p.conf}, {"--admin", admin}} {
		all := explained(t, append(from, "--user", "ann", target)...)
		if len(all) != 2 || all[0]["listener"] != "forward[0]" || all[1]["listener"] != "forward[1]" {
			t.Fatalf("got %v, want both entries", all)
		}
		if all[0]["decision"] != "allow" || !strings.Contains(fmt.Sprint(all[0]["open"]), "x.ci.test") {
			t.Errorf("the address is not open: %v", all[0])
		}
		wantFields(t, all[1], map[string]any{"decision": "observe", "rule": "forward[1].rules[0]", "phase": "name"})
		if rules, _ := all[0]["rules"].([]any); len(rules) != 8 {
			t.Errorf("rules are %v", rules)
		}
		_, stdout, _ := exits(t, nil, append(append([]string{"explain"}, from...), "--listener", "forward[0]", "--user", "ann", "POST", o.places("http://y.ci.test:{P}/admin"))...)
		first, table, _ := strings.Cut(stdout, "\n")
		if !strings.HasPrefix(first, "deny by rule post (name): 403 ") {
			t.Errorf("got %q", first)
		}
		for _, name := range []string{"ads", "watch", "cellar", "post", "late", "ci", "ben", "loopback"} {
			if !strings.Contains(table, "  "+name+" ") {
				t.Errorf("the table has no rule %s:\n%s", name, table)
			}
		}
	}
}

// hidden is a question about a request inside a tunnel.
type hidden struct {
	method, host, path, addr string

	decision, rule, phase string
	status                float64
}

func explainsInside(t *testing.T, _ *proxy) {
	s := newNames(t, func(q query) reply {
		if q.name == "inner.test" {
			return reply{addrs: []string{"127.0.0.2"}}
		}
		return reply{addrs: []string{"127.0.0.1"}}
	})
	admin := freePort(t)
	p := launch{conf: fmt.Sprintf("admin: {listen: %q}\n", admin) + glassText(t, "[{name: bank, pass: {host: [.bank.test]}}, {name: glass, decrypt: {host: [.test]}}]",
		`resolver: ["`+s.addr+`"]`, "rules:",
		"  - {name: uploads, deny: {method: [POST], path: [/upload]}}",
		"  - {name: cellar, deny: {addr: [127.0.0.2]}}", "filters:",
		`  - {name: team, request: {set: ["Content-Type: a/b"]}}`,
		"  - {name: typed, match: {path: [/typed]}, deny: {request_type: [a/b]}}",
		"  - {name: zips, deny: {request_type: [application/zip]}}",
		"  - {name: none, match: {path: [/none]}, deny: {}}",
		"  - {name: old, match: {path: [/old]}, redirect: {to: \"https://new.test\", keep_path: true, status: 308}}",
		"  - {name: gone, match: {path: [/gone]}, respond: {status: 410}}")}.start(t)
	o := newSecure(t, says(ok("fine")))
	for _, h := range []hidden{
		{method: "GET", host: "a.test", path: "/", addr: "127.0.0.1", decision: "allow", phase: "address"},
		{method: "POST", host: "a.test", path: "/x/../upload?q", decision: "deny", rule: "uploads", phase: "name", status: 403},
		{method: "GET", host: "inner.test", path: "/", addr: "127.0.0.2", decision: "deny", rule: "cellar", phase: "address", status: 403},
		{method: "GET", host: "inner.test", path: "/old?q", addr: "127.0.0.2", decision: "allow", rule: "old", phase: "filter", status: 308},
		{method: "GET", host: "a.test", path: "/gone", decision: "allow", rule: "gone", phase: "filter", status: 410},
		{method: "PUT", host: "a.test", path: "/none", decision: "deny", rule: "none", phase: "filter", status: 403},
		{method: "GET", host: "a.test", path: "/typed", decision: "deny", rule: "typed", phase: "filter", status: 403},
	} {
		h.wantSame(t, p, o, admin)
	}
	all := explained(t, "-c", p.conf, "POST", "https://a.bank.test/upload")
	bank, _ := all[0]["inspect"].(map[string]any)
	wantFields(t, bank, map[string]any{"rule": "bank", "effect": "pass"})
	if says, _ := bank["result"].(string); !strings.Contains(says, "POST /upload in it is not seen") || all[0]["decision"] != "allow" || all[0]["inside"] != nil {
		t.Errorf("a closed tunnel: %v", all[0])
	}
	if alone := explained(t, "-c", p.conf, "a.test:443")[0]; alone["inside"] != nil || !strings.Contains(fmt.Sprint(alone["open"]), "https://a.test/") {
		t.Errorf("a tunnel alone: %v", alone)
	}
}

// wantSame fails unless it is explained as it happens.
func (h *hidden) wantSame(t *testing.T, p *proxy, o *origin, admin string) {
	t.Helper()
	address := "https://" + h.host + ":" + o.port + h.path
	ask := []string{h.method, address}
	if h.addr != "" {
		ask = append([]string{"--addr", h.addr}, ask...)
	}
	all := explained(t, append([]string{"-c", p.conf}, ask...)...)
	if running := explained(t, append([]string{"--admin", admin}, ask...)...); !reflect.DeepEqual(all, running) {
		t.Errorf("%+v:\nfrom the file    %v\nby the instance  %v", *h, all, running)
	}
	opened, _ := all[0]["inspect"].(map[string]any)
	wantFields(t, opened, map[string]any{"rule": "glass", "effect": "decrypt"})
	wantFields(t, all[0], map[string]any{"decision": "allow", "status": nil})

	c := look(t, p, h.host, o)
	m := c.ask(h.method+" "+h.path+" HTTP/1.1", "Host: "+h.host+":{P}", "Content-Length: 0").answer()
	c.conn.Close()
	path, _, _ := strings.Cut(address, "?")
	line := p.of(t, path, 1)[0]
	said, _ := all[0]["inside"].(map[string]any)
	for key, want := range map[string]any{"decision": h.decision, "rule": h.rule, "phase": h.phase} {
		if want == "" {
			want = nil
		}
		if said[key] != want || line[key] != want {
			t.Errorf("%+v: %s is explained as %v and logged as %v", *h, key, said[key], line[key])
		}
	}
	if h.status == 0 {
		m.want(t, 200, "fine")
		wantFields(t, said, map[string]any{"status": nil, "via": "direct"})
		return
	}
	says, _ := said["says"].(string)
	if float64(m.status()) != h.status || said["status"] != h.status || !strings.HasPrefix(m.body, says) && m.get("Location") != says {
		t.Errorf("%+v: got %q %q; %v", *h, m.raw, m.body, said)
	}
}

func explainsCertificates(t *testing.T, _ *proxy) {
	people, file := clientCA(t)
	g := newGate(t, ", client_ca: "+file, "rules: [{name: ann, allow: {user: [ann]}}, {name: ops, allow: {group: [ops]}}]")
	c, o := g.stage(t, says(ok("fine")))
	nobody := explained(t, "-c", g.conf, "http://"+o.addr+"/")[0]
	m := c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer()
	m.wantDenied(t, "auth")
	wantFields(t, nobody, map[string]any{"decision": "deny", "rule": "auth", "phase": "auth", "status": 403.0, "open": nil})
	if says, _ := nobody["says"].(string); !strings.Contains(m.body, says) || !strings.Contains(says, "client certificate") {
		t.Errorf("the text is %q, not %q", m.body, nobody["says"])
	}
	for user, want := range map[string]map[string]any{
		"ann": {"decision": "allow", "rule": "ann", "via": "direct"},
		"ben": {"decision": "deny", "rule": "default", "status": 403.0},
	} {
		known := explained(t, "-c", g.conf, "--user", user, "http://"+o.addr+"/")[0]
		wantFields(t, known, want)
		if open, _ := known["open"].(string); !strings.Contains(open, "certificate of "+user+" has groups") {
			t.Errorf("open is %q", known["open"])
		}
		c := g.dial(t, g.showing(people.signs(t, person(user))))
		c.fill = o.places
		m := c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer()
		if status, denied := want["status"]; denied != (m.status() == 403) || denied && status != 403.0 {
			t.Errorf("%s: got %q", user, m.raw)
		}
	}
}

func explainMistakes(t *testing.T, _ *proxy) {
	p, _, _, admin := explaining(t)
	for _, from := range [][]string{{"-c", p.conf}, {"--admin", admin}} {
		for _, turn := range []struct{ args, words []string }{
			{[]string{"--listener", "nope", "http://a.test/"}, []string{"nope", "forward[0]", p.addr}},
			{[]string{"http://u:p@a.test/"}, []string{"user name"}},
			{[]string{"a.test"}, []string{"http://a.test", "host:port"}},
			{[]string{"ftp://a.test/"}, []string{"ftp", "http://"}},
			{[]string{"--client", "nobody", "http://a.test/"}, []string{"client", "nobody"}},
			{[]string{"--addr", "127.1", "http://a.test/"}, []string{"addr", "127.1"}},
			{[]string{"http://a.test:99999/"}, []string{"99999"}},
			{nil, []string{"explain -c FILE"}},
			{[]string{"PUT", "a.test:443"}, []string{"CONNECT"}},
		} {
			complains(t, 1, nil, append(append([]string{"explain"}, from...), turn.args...), turn.words)
		}
	}
	complains(t, 1, nil, []string{"explain", "-c", p.conf, "--admin", admin, "http://a.test/"}, []string{"-c", "--admin"})
	complains(t, 1, nil, []string{"explain", "-c", saved(t, "forward: [{hots: x}]\n"), "http://a.test/"}, []string{":1:12", "hots"})
	complains(t, 2, nil, []string{"explain", "-c", "/nonexistent/file.yaml", "http://a.test/"}, []string{"/nonexistent/file.yaml"})
	complains(t, 2, nil, []string{"explain", "--admin", refusing(t), "http://a.test/"}, []string{"127.0.0.1"})
	for query, word := range map[string]string{"": "url", "?url=a.test": "host:port", "?url=http://a.test/&hots=1": "hots", "?url=http://a.test/&listener=nope": "nope", "?url=http://a.test/&url=http://b.test/": "twice", "?url=%zz": "percent-encoded"} {
		var wrong struct{ Error string }
		if m := p.admin(t, "/api/explain"+query); m.status() != 400 || json.Unmarshal([]byte(m.body), &wrong) != nil || !strings.Contains(wrong.Error, word) {
			t.Errorf("%s: got %q %q", query, m.line, m.body)
		}
	}
}

func explainProtected(t *testing.T, _ *proxy) {
	secret := saved(t, "a-long-admin-token-of-this-test\n")
	for _, flags := range [][]string{nil, {"--admin-token-file", secret}} {
		p := start(t, append([]string{"--admin", "127.0.0.1:0", "--deny", "host=evil.test"}, flags...)...)
		poll(t, "an admin address", func() bool { return adminOf.MatchString(p.log()) })
		at := adminOf.FindStringSubmatch(p.log())[1]
		served := 0
		for _, l := range [][]string{
			{"Host: " + at},
			{"Host: evil.example"},
			{"Host: 127.0.0.1.evil.example"},
			{"Host: " + at, "Authorization: Bearer wrong"},
			{"Host: " + at, "Authorization: Bearer a-long-admin-token-of-this-test"},
			{"Host: evil.example", "Authorization: Bearer a-long-admin-token-of-this-test"},
			{"Host: " + at, "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"},
		} {
			statuses := map[int]bool{}
			for _, target := range []string{"/metrics", "/api/explain?url=http://evil.test/", "http://" + at + "/metrics"} {
				if strings.HasPrefix(target, "http") && l[0] != "Host: "+at {
					continue
				}
				m := dial(t, p.at(at)).ask(append([]string{"GET " + target + " HTTP/1.1"}, append(l, "Connection: close")...)...).answer()
				if statuses[m.status()] = true; m.status() != 200 && strings.Contains(m.body, "evil.test") {
					t.Errorf("%q: got %q %q", l, m.line, m.body)
				}
			}
			if len(statuses) != 1 {
				t.Errorf("%q %q: metrics and explanations differ: %v", flags, l, statuses)
			}
			if statuses[200] {
				served++
			}
		}
		if want := map[bool]int{true: 1, false: 4}[flags != nil]; served != want {
			t.Errorf("%q: %d of the requests are served, want %d", flags, served, want)
		}
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			m := dial(t, p.at(at)).ask(method+" /api/explain?url=http://evil.test/ HTTP/1.1", "Host: "+at, "Authorization: Bearer a-long-admin-token-of-this-test", "Content-Length: 0", "Connection: close").answer()
			if m.status() != 405 {
				t.Errorf("%s: got %q", method, m.line)
			}
		}
	}
}
