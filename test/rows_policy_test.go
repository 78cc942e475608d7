package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

var policyRows = []row{
	{"product-7/denied-connect", "T55", "A CONNECT denied by name: 403 with the rule and the contact in the status line and in Proxy-Status, no 407, no lookup, no dial, closed; what came behind it is never read.", own, deniedConnect},
	{"product-7/denied-request", "T55", "A plain request denied by name: 403 with rule and contact in its status line and its text, a page for a browser, both escaped; no lookup, no dial; the connection is kept.", own, deniedRequest},
	{"product-7/last-word", "T55", "As soon as one allow stands that is more than addr=, what no rule allows is denied by `default`; before that it is allowed. The first rule that holds decides.", own, lastWord},
	{"product-2/decisions", "–", "Allow, deny and observe have decision, rule and phase (client, port, name, address) in the access log, and are counted with them.", own, decisions},
	{"product-2/report-only-rule", "–", "A rule that only reports opens nothing: what a later rule denies is denied by that one, what none denies passes and is told.", own, reportOnlyRule},
	{"product-2/report-only", "–", "--report-only passes all that rules deny, and tells by which; it lifts neither the guard, nor the ports of CONNECT, nor our own addresses.", own, reportOnly},
	{"product-2/who-gets-in", "–", "A listener beyond the loopback without users, auth_url, an allow with client= or --open: exit 1, and all four are named. --allow client= lets in whom it names, and nobody else.", own, whoGetsIn},
	{"product-2/rules-misspelt", "–", "A rule that makes no sense: exit 1, with the flag or the place, and what to write instead; a list that is not there: exit 2.", own, rulesMisspelt},
	{"product-1/rule-twins", "–", "VIADUCT_DENY and VIADUCT_ALLOW: rules with ; between them; both at once are refused, and one --deny or --allow puts both aside.", own, ruleTwins},
}

func deniedConnect(t *testing.T, _ *proxy) {
	y := newYard(t, "--deny", "host=.evil.test", "--contact", "ask net@corp.example, room Ü7")
	for _, target := range []string{"evil.test:443", "www.EVIL.test.:{P}", "evil.test:1"} {
		for _, behind := range []string{"", lines("GET http://good.test:{P}/ HTTP/1.1", "Host: x"), "\x16\x03\x01\x00\x05hello"} {
			c := dial(t, y.proxy)
			c.fill = y.web.places
			c.send(lines("CONNECT "+target+" HTTP/1.1", "Host: good.test") + behind)
			m := c.answerTo("CONNECT")
			m.wantDenied(t, "deny#1")
			if want := "HTTP/1.1 403 Forbidden (http_request_denied: rule deny#1; ask net@corp.example, room ?7)"; m.line != want {
				t.Errorf("got %q, want %q", m.line, want)
			}
			if want := "The rule that decided is deny#1. Questions: ask net@corp.example, room Ü7\n"; !strings.HasSuffix(m.body, want) {
				t.Errorf("the text is %q", m.body)
			}
			closesOrderly(t, c, m)
		}
	}
	if y.names.lookups() != 0 || y.web.dials() != 0 {
		t.Errorf("%d lookups, %d dials", y.names.lookups(), y.web.dials())
	}
}

func deniedRequest(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	text := conf("resolver: [\""+s.addr+"\"]", `contact: 'see <wiki> & "ask" Zoë'`, "rules:", `  - {name: '<b>"ads"\& Ü', deny: {host: [.evil.test]}}`)
	p := launch{conf: text}.start(t)
	c, o := stage(t, p, says(ok("fine")))
	const line = `HTTP/1.1 403 Forbidden (http_request_denied: rule <b>"ads"\& ?; see <wiki> & "ask" Zo?)`
	for _, accept := range []string{"*/*", "application/json", "text/html,application/xhtml+xml"} {
		for range 2 {
			m := c.ask("GET http://www.evil.test:{P}/x?y HTTP/1.1", "Host: x", "Accept: "+accept).answer()
			m.wantOwn(t, 403, "http_request_denied")
			m.withoutAny(t, "Proxy-Authenticate", "Connection")
			if want := `"rule <b>\"ads\"\\& ?"`; m.details() != want || m.line != line {
				t.Errorf("%q: details %s, want %s", m.line, m.details(), want)
			}
			want, kind := []string{`The rule that decided is <b>"ads"\& Ü. Questions: see <wiki> & "ask" Zoë` + "\n"}, "text/plain; charset=utf-8"
			if strings.HasPrefix(accept, "text/html") {
				want, kind = []string{`>&lt;b&gt;&#34;ads&#34;\&amp; Ü<`, `>see &lt;wiki&gt; &amp; &#34;ask&#34; Zoë<`}, "text/html; charset=utf-8"
			}
			for _, part := range want {
				if m.get("Content-Type") != kind || !strings.Contains(m.body, part) || strings.Contains(m.body, "<b>") != (len(want) == 1) {
					t.Errorf("%s: got %q %q, want %s", accept, m.get("Content-Type"), m.body, part)
				}
			}
		}
	}
	m := c.ask("HEAD http://evil.test/ HTTP/1.1", "Host: x").answerTo("HEAD")
	if m.status() != 403 || m.details() == "" || m.has("Connection") {
		t.Errorf("HEAD: got %q", m.raw)
	}
	if s.lookups() != 0 || o.dials() != 0 {
		t.Errorf("%d lookups, %d dials", s.lookups(), o.dials())
	}
	c.ask("GET http://good.test:{P}/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
}

// lastWord tries lists of rules: who decides about good.test and other.test, ""
// for nobody.
func lastWord(t *testing.T, _ *proxy) {
	for rules, want := range map[string][2]string{
		"":                                     {"", ""},
		"deny host=other.test":                 {"", "deny#1"},
		"allow addr=127.0.0.1":                 {"", ""},
		"allow addr=127.0.0.1;deny host=x.y":   {"", ""},
		"allow host=good.test":                 {"", "default"},
		"allow port=1":                         {"default", "default"},
		"allow host=good.test;deny all":        {"", "deny#1"},
		"allow all":                            {"", ""},
		"deny host=other.test;allow all":       {"", "deny#1"},
		"deny all":                             {"deny#1", "deny#1"},
		"allow host=.test;deny host=good.test": {"", ""},
		"deny host=good.test;allow host=.test": {"deny#1", ""},
		"deny host=.test method=POST":          {"", ""},
		"allow host=good.test method=POST;allow host=other.test port=1-65535 method=GET":         {"default", ""},
		"deny host=other.test addr=127.0.0.1;allow host=.test addr=127.0.0.0/8":                  {"", "deny#1"},
		"deny addr=127.0.0.2;allow host=good.test;deny addr=127.0.0.1":                           {"", "default"}, // each address leads to a denial: none is looked up
		"allow addr=127.0.0.1;deny addr=127.0.0.0/8;allow host=good.test":                        {"", "default"},
		"deny time=mon-sun/00:00-24:00 host=other.test;deny time=00:00-00:01,00:01-24:00 port=1": {"", "deny#1"},
	} {
		var flags []string
		for rule := range strings.SplitSeq(rules, ";") {
			if effect, terms, ok := strings.Cut(rule, " "); ok {
				flags = append(flags, "--"+effect, terms)
			}
		}
		y := newYard(t, flags...)
		for i, host := range []string{"good.test", "other.test"} {
			if m := y.try("GET http://" + host + ":{P}/"); want[i] == "" {
				m.want(t, 200, "fine")
			} else if m.details() != `"rule `+want[i]+`"` || m.status() != 403 {
				t.Errorf("%s: %s: got %q %s, want rule %s", rules, host, m.line, m.details(), want[i])
			}
		}
	}
}

// decided is what a request is answered, and what the log says of it.
type decided struct {
	from, request         string
	status                int
	decision, rule, phase any
}

func decisions(t *testing.T, _ *proxy) {
	own := ownAddresses(t)[0]
	s := newNames(t, func(q query) reply {
		switch q.name {
		case "cellar.test":
			return reply{addrs: []string{"127.0.0.2"}}
		case "attic.test":
			return reply{addrs: []string{"127.0.0.3"}}
		}
		return reply{addrs: []string{"127.0.0.1"}}
	})
	text := strings.Replace(confWith("admin: {listen: 127.0.0.1:0}\n", "resolver: [\""+s.addr+"\"]", "rules:",
		"  - {name: banned, deny: {host: [banned.test]}}",
		"  - {name: watched, deny: {host: [watched.test, both.test]}, report_only: true}",
		"  - {name: both, deny: {host: [both.test]}}",
		"  - {name: cellar, deny: {host: [cellar.test, attic.test], addr: [127.0.0.2]}}",
		"  - {name: attic, deny: {host: [attic.test], addr: [127.0.0.3]}, report_only: true}",
		"  - {name: house, allow: {client: [127.0.0.0/8], host: [.test]}}",
	), "127.0.0.1:0]\n    allow_private", "\"*:0\"]\n    allow_private", 1)
	text = strings.Replace(strings.Replace(text, `"*:0"`, `"0.0.0.0:0"`, 1), "connect_ports: any", "connect_ports: [443]", 1)
	p := launch{conf: text}.start(t)
	o := newOriginAt(t, "0.0.0.0:0", says(ok("fine")))
	turns := []decided{
		{"127.0.0.1", "GET http://banned.test:{P}/", 403, "deny", "banned", "name"},
		{"127.0.0.1", "GET http://watched.test:{P}/", 200, "observe", "watched", "name"},
		{"127.0.0.1", "GET http://both.test:{P}/", 403, "deny", "both", "name"},
		{"127.0.0.1", "GET http://cellar.test:{P}/", 403, "deny", "cellar", "address"},
		{"127.0.0.1", "GET http://attic.test:{P}/", 200, "observe", "attic", "address"},
		{"127.0.0.7", "GET http://fine.test:{P}/", 200, "allow", "house", "name"},
		{"127.0.0.1", "GET http://fine.example:{P}/", 403, "deny", "default", "name"},
		{"127.0.0.1", "CONNECT fine.test:{P}", 403, "deny", "connect_ports", "port"},
		{"127.0.0.1", "CONNECT banned.test:443", 403, "deny", "banned", "name"},
		{own.String(), "GET http://fine.test:{P}/", 403, "deny", "clients", "client"},
		{own.String(), "CONNECT banned.test:{P}", 403, "deny", "clients", "client"},
	}
	counts := map[string]float64{}
	for n, turn := range turns {
		at := p.at(netip.AddrPortFrom(netip.MustParseAddr(turn.from), netip.MustParseAddrPort(p.addr).Port()).String())
		c := dialFrom(t, at, turn.from)
		c.fill = o.places
		m := c.ask(turn.request+" HTTP/1.1", "Host: x").answer()
		if m.status() != turn.status {
			t.Errorf("%s: got %q %q", turn.request, m.raw, m.body)
		}
		if turn.status == 403 {
			m.wantDenied(t, fmt.Sprint(turn.rule))
		}
		c.conn.Close()
		line := p.lines(t, n+1)[n]
		wantFields(t, line, map[string]any{"status": float64(turn.status), "decision": turn.decision, "rule": turn.rule, "phase": turn.phase})
		counts[fmt.Sprintf(`viaduct_decisions_total{decision="%v",listener="0.0.0.0:0",phase="%v",rule="%v"}`, turn.decision, turn.phase, turn.rule)]++
	}
	for series, want := range counts {
		if got := p.metric(t, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	if n := strings.Count(p.admin(t, "/metrics").body, "\nviaduct_decisions_total{"); n != len(counts) {
		t.Errorf("%d series of decisions, want %d", n, len(counts))
	}
}

func reportOnlyRule(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	rules := []string{
		"resolver: [\"" + s.addr + "\"]", "rules:",
		"  - {name: one, deny: {host: [.test]}, report_only: true}", "  - {name: two, deny: {addr: [127.0.0.0/8]}, report_only: true}",
	}
	for _, turn := range []struct {
		more     []string
		status   int
		decision any
		rule     any
		phase    string // "" is any
	}{
		{nil, 200, "observe", "one", "name"},
		{[]string{"  - {name: three, deny: {host: [a.test]}}"}, 403, "deny", "three", "name"},
		{[]string{"  - {name: three, deny: {addr: [127.0.0.1]}}"}, 403, "deny", "three", "address"},
		{[]string{"  - {name: three, allow: {host: [b.test]}}"}, 403, "deny", "default", "name"},
		{[]string{"  - {name: three, allow: {host: [a.test]}}", "  - {name: four, deny: {}}"}, 200, "observe", "one", "name"},
		{[]string{"  - {name: three, allow: {host: [a.test], addr: [127.0.0.1]}}", "  - {name: four, deny: {}}"}, 200, "observe", "one", "address"},
	} {
		p := launch{conf: conf(append(rules, turn.more...)...)}.start(t)
		c, _ := stage(t, p, says(ok("fine")))
		if m := c.ask("GET http://a.test:{P}/ HTTP/1.1", "Host: x").answer(); m.status() != turn.status {
			t.Errorf("%q: got %q", turn.more, m.raw)
		}
		wantFields(t, p.lines(t, 1)[0], map[string]any{"decision": turn.decision, "rule": turn.rule, "phase": turn.phase, "status": float64(turn.status)})
	}
}

func reportOnly(t *testing.T, _ *proxy) {
	y := newYard(t, "--report-only", "--deny", "host=evil.test", "--deny", "host=inner.test addr=127.0.0.2", "--allow", "host=good.test,inner.test", "--allow", "port=1")
	newOriginAt(t, "127.0.0.2:"+y.web.port, says(ok("fine")))
	for n, turn := range []decided{
		{"", "GET http://evil.test:{P}/", 200, "observe", "deny#1", "name"},
		{"", "CONNECT EVIL.test.:{P}", 200, "observe", "deny#1", "name"},
		{"", "GET http://inner.test:{P}/", 200, "observe", "deny#2", "address"},
		{"", "GET http://other.test:{P}/", 200, "observe", "default", "name"},
		{"", "GET http://good.test:{P}/", 200, "allow", "allow#1", "name"},
		{"", "GET http://evil.test%2e:{P}/", 400, nil, nil, nil},
		{"", "GET http://me.test:" + y.port + "/", 421, "deny", "own_address", "address"},
	} {
		if m := y.try(turn.request); m.status() != turn.status {
			t.Errorf("%s: got %q %q", turn.request, m.raw, m.body)
		}
		wantFields(t, y.lines(t, n+1)[n], map[string]any{"decision": turn.decision, "rule": turn.rule, "phase": turn.phase, "status": float64(turn.status)})
	}
	p := startBare(t, "--report-only", "--deny", "host=127.0.0.1", "--deny", "addr=10.0.0.0/8", "--resolver", y.names.addr)
	for n, turn := range []decided{
		{"", "GET http://127.0.0.1:" + y.web.port + "/", 403, "deny", "guard", "address"},
		{"", "GET http://evil.test:" + y.web.port + "/", 403, "deny", "guard", "address"},
		{"", "GET http://10.0.0.1/", 403, "deny", "guard", "address"},
		{"", "CONNECT evil.test:" + y.web.port, 403, "deny", "connect_ports", "port"},
	} {
		m := dial(t, p).ask(turn.request+" HTTP/1.1", "Host: x").answer()
		if m.status() != turn.status || m.details() != fmt.Sprintf(`"rule %v"`, turn.rule) {
			t.Errorf("%s: got %q", turn.request, m.raw)
		}
		wantFields(t, p.lines(t, n+1)[n], map[string]any{"decision": turn.decision, "rule": turn.rule, "phase": turn.phase})
	}
}

func whoGetsIn(t *testing.T, _ *proxy) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0", ":0"} {
		for _, more := range [][]string{nil, {"--allow", "host=good.test"}, {"--deny", "client=127.0.0.2"}, {"--allow", "addr=127.0.0.1"}} {
			complains(t, 1, nil, append([]string{"forward", "--listen", listen}, more...), []string{listen, "--users", "--auth-url", "client=", "--open"})
		}
	}
	complains(t, 1, []string{"VIADUCT_LISTEN=0.0.0.0:0"}, []string{"forward"}, []string{"--users", "--open"})
	own := ownAddresses(t)[0].String()
	for _, turn := range []struct {
		client string            // let in
		want   map[string]string // rule, by client
	}{
		{"127.0.0.2", map[string]string{"127.0.0.2": "", "127.0.0.1": "default", "127.0.0.3": "default", own: "clients"}},
		{own, map[string]string{"127.0.0.2": "default", own: ""}},
		{"127.0.0.0/30," + own, map[string]string{"127.0.0.3": "", "127.0.0.4": "default", own: ""}},
		{"10.0.0.0/8", map[string]string{"127.0.0.1": "default", own: "clients"}},
	} {
		p := launch{args: []string{"forward", "--listen", "0.0.0.0:0", "--access-log", "off", "--allow-private", "--connect-ports", "any", "--allow", "client=" + turn.client}}.start(t)
		for from, rule := range turn.want {
			at := p.at(from + ":" + p.port)
			for _, request := range []string{"GET http://{O}/ HTTP/1.1", "CONNECT {O} HTTP/1.1"} {
				o := newOrigin(t, says(ok("fine")))
				m := clientAt(t, at, from, o).ask(request, "Host: x", "X-Forwarded-For: 127.0.0.2", "Forwarded: for=127.0.0.2").answerTo(request[:7])
				if rule != "" {
					m.wantDenied(t, rule)
				} else if m.status() != 200 {
					t.Errorf("client=%s: %s from %s: got %q", turn.client, request, from, m.raw)
				}
			}
		}
	}
}

func rulesMisspelt(t *testing.T, _ *proxy) {
	for rule, words := range map[string][]string{
		"hots=evil.test": {"hots", "host"}, "dstdomain=evil.test": {"dstdomain", "host"}, "src=10.0.0.1": {"src", "client"}, "url=/x": {"url", "path"}, "HOST=x.test": {"HOST", "host"},
		"evil.test": {"evil.test", "host="}, "": {"host="}, "host=": {"host"}, "host=a.test,": {"host"}, "all host=a.test": {"all"}, "host=a.test host=b.test": {"host", "twice"},
		"host=evil.test:443": {"evil.test:443", "port="}, "host=*": {"*"}, "host=.": {"host"}, "host=http://evil.test/": {"http://evil.test/"}, "host=ev*l.test": {"ev*l.test"},
		"addr=10.1.2.3/8": {"10.1.2.3/8", "10.0.0.0/8"}, "addr=evil.test": {"evil.test"}, "client=10.0.0.256": {"10.0.0.256"}, "addr=fe80::1%eth0": {"fe80::1%eth0"}, "addr=127.1": {"127.1"},
		"port=99999": {"99999"}, "port=0": {"0"}, "port=90-80": {"90-80"}, "port=https": {"https"}, "method=GE T": {"T"}, "method=GET()": {"GET()"}, "path=v1": {"v1", "/v1"}, "time=monday": {"monday"}, "time=25:00-26:00": {"25:00-26:00"},
		"user=ann": {"--users", "--auth-url"}, "group=ci": {"--users"}, "host=@": {"@"},
	} {
		complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--deny", rule}, append(words, "--deny"))
	}
	complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--deny", "all", "--allow", "host=good.test"}, []string{"never reached"})
	complains(t, 2, nil, []string{"forward", "--listen", "127.0.0.1:0", "--deny", "host=@/nonexistent/list.txt"}, []string{"/nonexistent/list.txt", "deny#1"})
	complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--contact", "one\ntwo"}, []string{"--contact"})
	complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--sni", "on"}, []string{"--sni", "enforce"})
	for text, words := range map[string][]string{
		"{name: guard, deny: {host: [a.test]}}": {"name", "guard"}, "{deny: {host: [a.test]}, allow: {}}": {"two rules"}, "{name: x}": {"allow or deny"}, "{allow: {}, report_only: true}": {"report_only"},
		"{deny: {hots: [a.test]}}": {"hots", "host"}, "{deny: {addr: [10.1.2.3/8]}}": {"10.0.0.0/8"}, "{deny: {host: [\"@none.txt\"]}}": {"none.txt", "forward[0].rules[0]"},
	} {
		file := saved(t, conf("rules:", "  - "+text))
		code, _, stderr := exits(t, nil, "check", "-c", file)
		if want := map[bool]int{false: 1, true: 2}[strings.Contains(text, "@")]; code != want {
			t.Errorf("check of %s: exit code %d, want %d", text, code, want)
		}
		for _, word := range words {
			if !strings.Contains(stderr, word) {
				t.Errorf("check of %s says %q, not %q", text, stderr, word)
			}
		}
		if !strings.Contains(text, "@") && !strings.Contains(stderr, file+":7:") {
			t.Errorf("check of %s says %q, not the line", text, stderr)
		}
	}
}

func ruleTwins(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	o := newOrigin(t, says(ok("fine")))
	flags := append([]string{"--resolver", s.addr}, lenient...)
	for _, turn := range []struct {
		env, flags []string
		want       map[string]string // rule, by host
	}{
		{[]string{"VIADUCT_DENY=host=evil.test; host=bad.test,worse.test\nport=1"}, nil, map[string]string{"evil.test": "deny#1", "worse.test": "deny#2", "good.test": ""}},
		{[]string{"VIADUCT_ALLOW=host=good.test"}, nil, map[string]string{"good.test": "", "evil.test": "default"}},
		{[]string{"VIADUCT_DENY=host=evil.test"}, []string{"--deny", "host=bad.test"}, map[string]string{"evil.test": "", "bad.test": "deny#1"}},
		{[]string{"VIADUCT_DENY=host=evil.test"}, []string{"--allow", "host=evil.test"}, map[string]string{"evil.test": "", "bad.test": "default"}},
		{[]string{"VIADUCT_DENY=all", "VIADUCT_ALLOW=host=good.test"}, []string{"--deny", "host=bad.test", "--allow", "host=.test", "--deny", "host=good.test"}, map[string]string{"evil.test": "", "bad.test": "deny#1", "good.test": "", "x.example": "default"}},
		{[]string{"VIADUCT_DENY=host=evil.test", "VIADUCT_REPORT_ONLY=true"}, nil, map[string]string{"evil.test": ""}},
	} {
		p := launch{env: turn.env, flags: append(turn.flags, flags...)}.start(t)
		for host, rule := range turn.want {
			if m := fetch(t, p, host+":"+o.port); rule != "" {
				m.wantDenied(t, rule)
			} else {
				m.want(t, 200, "fine")
			}
		}
	}
	forward := []string{"forward", "--listen", "127.0.0.1:0"}
	complains(t, 1, []string{"VIADUCT_ALLOW=host=good.test", "VIADUCT_DENY=host=evil.test"}, forward, []string{"VIADUCT_ALLOW", "VIADUCT_DENY"})
	complains(t, 1, []string{"VIADUCT_DENY=hots=evil.test"}, forward, []string{"VIADUCT_DENY", "hots", "host"})
}
