package config_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"viaduct/acl"
	"viaduct/config"
)

// policy is a file of one proxy that has users and these rules.
func policy(rules ...string) string {
	return "forward:\n- users: u\n  groups: g\n  rules:\n  - " + strings.Join(rules, "\n  - ") + "\n"
}

// ruleMistakes are rules with what is wrong with them, as mistakes are.
var ruleMistakes = []struct {
	name, text string
	want       []string // after "v.yaml:"
}{
	{"no effect", policy("{}", "~", "{name: a, report_only: true}"), []string{
		"5:5: forward[0].rules[0]: write allow or deny with its terms, such as deny: {host: [.example.com]}",
		"6:5: forward[0].rules[1]: write allow or deny",
		"7:5: forward[0].rules[2]: write allow or deny",
	}},
	{"both effects", policy("{allow: {port: 1}, deny: {port: 1}}"), []string{"5:5: forward[0].rules[0]: is allow and deny at once: write two rules"}},
	{"empty effect", policy("{deny: }", "deny:", "{allow: ~}", "{deny: {port: 1}}"), []string{
		"5:6: forward[0].rules[0].deny: nothing stands here: write {} for everything",
		"6:5: forward[0].rules[1].deny: nothing stands here",
		"7:6: forward[0].rules[2].allow: nothing stands here",
	}},
	{"effect of another form", policy("{deny: .example.com}", "{deny: [host]}", "deny host=x"), []string{
		`5:12: forward[0].rules[0].deny: ".example.com" stands here: write keys and their values, such as user: …`,
		`6:12: forward[0].rules[1].deny: a list stands here: write keys and their values`,
		`7:5: forward[0].rules[2]: "deny host=x" stands here: write keys and their values, such as name: …`,
	}},
	{"no list", "forward: [{rules: {deny: {}}}]\n", []string{`1:12: forward[0].rules: a section stands here: write a list, with "- " before the first key of each entry`}},
	{"report only", policy("{allow: {port: 1}, report_only: true}", "{deny: {}, report_only: 1}"), []string{
		"5:37: forward[0].rules[0].report_only: is for deny: an allow refuses nothing that could be told, so take this out",
		`6:29: forward[0].rules[1].report_only: "1": write true or false`,
	}},

	{"names", policy(`{name: "a\nb", deny: {port: 1}}`, "{name: guard, deny: {port: 1}}", "{name: x, deny: {port: 1}}", "{name: x, deny: {port: 1}}",
		"{name: '"+strings.Repeat("x", 101)+"', deny: {port: 1}}", "{name: \u202ex, deny: {port: 1}}"), []string{
		`5:12: forward[0].rules[0].name: "a\nb": write a name of one line, with at most 100 bytes`,
		`6:12: forward[0].rules[1].name: "guard": is what a check of viaduct's own is called: write another name`,
		`8:12: forward[0].rules[3].name: "x": is the name of rules[2] already: write another one`,
		`9:12: forward[0].rules[4].name: "` + strings.Repeat("x", 60) + `…": write a name of one line`,
		`10:12: forward[0].rules[5].name: "\u202ex": write a name of one line`,
	}},
	{"names of viaduct", policy("{name: default, deny: {port: 1}}", "{name: own_address, deny: {port: 1}}", "{name: clients, deny: {port: 1}}",
		"{name: connect_ports, deny: {port: 1}}", "{name: auth, deny: {port: 1}}", "{name: sni, deny: {port: 1}}"), []string{
		`5:12: forward[0].rules[0].name: "default": is what`, "6:12: ", "7:12: ", "8:12: ", "9:12: ", "10:12: ",
	}},
	{"name of another's place", policy("{name: 'forward[0].rules[1]', deny: {port: 1}}", "{deny: {port: 1}}"), []string{
		`6:5: forward[0].rules[1].name: "forward[0].rules[1]": is the name of rules[0] already`,
	}},

	{"unknown terms", policy("{deny: {hots: x, dst: y, dstdomain: z, src: a, ip: b, url: c, Host: d, users: e, zzz: f, names: g}}"), []string{
		`5:13: unknown key "hots" in forward[0].rules[0].deny: did you mean "host"?`,
		`5:22: unknown key "dst" in forward[0].rules[0].deny: did you mean "host" or "addr"?`,
		`5:30: unknown key "dstdomain" in forward[0].rules[0].deny: did you mean "host"?`,
		`5:44: unknown key "src" in forward[0].rules[0].deny: did you mean "client"?`,
		`5:52: unknown key "ip" in forward[0].rules[0].deny: did you mean "client" or "addr"?`,
		`5:59: unknown key "url" in forward[0].rules[0].deny: did you mean "path"?`,
		`5:67: unknown key "Host" in forward[0].rules[0].deny: did you mean "host"?`,
		`5:76: unknown key "users" in forward[0].rules[0].deny: did you mean "user"?`,
		`5:86: unknown key "zzz" in forward[0].rules[0].deny: write one of user, group, client, host, addr, port, method, path, time`,
		`5:94: unknown key "names" in forward[0].rules[0].deny: `,
	}},
	{"keys of a rule elsewhere", "forward: [{allow: {port: 1}, host: x, http_access: y, rules: [{host: x}, {rule: {}}, {deny: {name: x}}]}]\nrules: []\n", []string{
		`1:12: unknown key "allow" in forward[0]: it belongs under forward[].rules[]`,
		`1:30: unknown key "host" in forward[0]: it belongs under forward[].rules[].allow, or under forward[].rules[].deny`,
		`1:39: unknown key "http_access" in forward[0]: did you mean "rules"?`,
		`1:64: unknown key "host" in forward[0].rules[0]: it belongs under forward[].rules[].allow, or under forward[].rules[].deny`,
		`1:75: unknown key "rule" in forward[0].rules[1]: `,
		`1:94: unknown key "name" in forward[0].rules[2].deny: it belongs under forward[].rules[]`,
		`2:1: unknown key "rules" at the top level: it belongs under forward[]`,
	}},
	{"no values", policy("{deny: {host: [], port: ~, user: '', group: [a, '']}}"), []string{
		"5:13: forward[0].rules[0].deny.host: no value: write at least one, or take host out",
		"5:23: forward[0].rules[0].deny.port[0]: nothing stands here: write one value",
		"5:38: forward[0].rules[0].deny.user[0]: no value: write one, or take user out",
		"5:53: forward[0].rules[0].deny.group[1]: no value: write one, or take group out",
	}},
	{"values", policy("{deny: {host: [a.example, 'b:80', '@'], addr: 10.0.0.1/8, client: [x], port: 443x, path: v1, time: noon}}"), []string{
		`5:31: forward[0].rules[0].deny.host[1]: "b:80": `,
		`5:39: forward[0].rules[0].deny.host[2]: "@": write the file behind its @, such as @list.txt`,
		`5:51: forward[0].rules[0].deny.addr[0]: "10.0.0.1/8": `,
		`5:72: forward[0].rules[0].deny.client[0]: "x": `,
		`5:82: forward[0].rules[0].deny.port[0]: "443x": `,
		`5:94: forward[0].rules[0].deny.path[0]: "v1": `,
		`5:104: forward[0].rules[0].deny.time[0]: "noon": `,
	}},
	{"values of another form", policy("{deny: {host: {a: b}, port: [[1]]}}"), []string{
		"5:19: forward[0].rules[0].deny.host[0]: a section stands here: write one value",
		"5:34: forward[0].rules[0].deny.port[0]: a list stands here: write one value",
	}},

	{"never reached", policy("{deny: {}, report_only: true}", "allow: {}", "deny: {port: 1}", "deny: {port: 2}"), []string{
		"7:5: forward[0].rules[2]: is never reached: forward[0].rules[1] before it has no terms",
	}},
	{"never reached, both empty", policy("deny: {}", "{name: b, allow: {}}"), []string{
		"6:5: forward[0].rules[1]: is never reached: forward[0].rules[0] before it has no terms",
	}},
	{"terms that nobody knows are terms", policy("deny: {hots: a}", "deny: {port: 1}", "{allw: {}}", "deny: {host: []}", "deny: {port: 2}"), []string{
		`5:12: unknown key "hots"`, `7:6: unknown key "allw" in forward[0].rules[2]: did you mean "allow"?`, "8:12: forward[0].rules[3].deny.host: no value",
	}},

	{"nobody is known", "forward: [{groups: g, rules: [{deny: {user: a, group: b}}, {allow: {group: [c, d]}}]}]\n", []string{
		`1:20: forward[0].groups: "`,
		"1:39: forward[0].rules[0].deny.user: never holds, as nobody authenticates: add users or auth_url",
		"1:48: forward[0].rules[0].deny.group: never holds, as nobody authenticates: add users or auth_url",
		"1:69: forward[0].rules[1].allow.group: never holds, as nobody authenticates: add users or auth_url",
	}},
	{"no groups", "forward: [{users: u, rules: [{deny: {user: a, group: b}}]}]\n", []string{
		"1:47: forward[0].rules[0].deny.group: never holds, as no user has groups: add groups",
	}},
	{"users that could not be read", "forward: [{users: [u], groups: {}, listen: '0.0.0.0:1', rules: [{deny: {user: a, group: b}}]}]\n", []string{
		"1:19: forward[0].users: a list stands here: write one value",
		"1:32: forward[0].groups: a section stands here: write one value",
	}},
}

func TestRuleProblems(t *testing.T) {
	for _, c := range ruleMistakes {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.text, c.want) })
	}
}

// A rule without a name is called by its place, in each entry that it stands in.
func TestRulesHaveNames(t *testing.T) {
	c := read(t, "forward:\n- rules: &all\n  - deny: {port: 1}\n  - {name: two, deny: {port: 2}}\n- {listen: 127.0.0.1:1, rules: *all}\n- {listen: 127.0.0.1:2, rules: [{name: '', allow: {port: 3}}]}\n")
	var names []string
	for _, f := range c.Forward {
		for _, r := range f.Rules {
			names = append(names, r.Name)
		}
	}
	if got := strings.Join(names, " "); got != "forward[0].rules[0] two forward[1].rules[0] two forward[2].rules[0]" {
		t.Error(got)
	}
}

// Files among the values are beside the one they are named in, whatever they are
// called.
func TestFilesOfRules(t *testing.T) {
	c := read(t, policy("deny: {user: '@off', host: ['@a/b.txt', '@-', '@/abs', 'a.example', '@../x'], path: '/@x'}"))
	want := &config.Terms{User: []string{"@/etc/viaduct/off"}, Host: []string{"@/etc/viaduct/a/b.txt", "@/etc/viaduct/-", "@/abs", "a.example", "@/etc/x"}, Path: []string{"/@x"}}
	if got := c.Forward[0].Rules[0].Deny; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// The terms of a rule are those that package acl knows, in its order.
func TestTerms(t *testing.T) {
	var keys []string
	for f := range reflect.TypeFor[config.Terms]().Fields() {
		keys = append(keys, f.Tag.Get("key"))
	}
	if !slices.Equal(keys, acl.Fields()) {
		t.Errorf("%q, want %q", keys, acl.Fields())
	}
}

func TestNoRules(t *testing.T) {
	for _, text := range []string{"forward: [{rules: []}]", "forward: [{rules: }]", "forward: [{rules: ~}]"} {
		if got := read(t, text); !reflect.DeepEqual(got, config.Default()) {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// rule is what was given for --allow or --deny, with its place on the line.
type rule struct {
	flag, text string
}

// ruled are flags with rules in this order.
func ruled(rules []rule, words ...string) map[string]config.Given {
	m := given(words...)
	for i, r := range rules {
		g := m[r.flag]
		m[r.flag] = config.Given{Values: append(g.Values, r.text), Order: append(g.Order, i)}
	}
	return m
}

func TestRulesOfFlags(t *testing.T) {
	c, err := config.FromFlags(ruled([]rule{
		{"deny", "host=@ads.txt,.example.com"}, {"allow", "  user=ann,bob\tport=443,8000-8999 path=/a=b "}, {"deny", "method=TRACE"}, {"allow", "client=::1 time=mon-fri/09:00-17:00"}, {"deny", "all"},
	}, "users=u"))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Rule{
		{Name: "deny#1", Deny: &config.Terms{Host: []string{"@ads.txt", ".example.com"}}},
		{Name: "allow#1", Allow: &config.Terms{User: []string{"ann", "bob"}, Port: []string{"443", "8000-8999"}, Path: []string{"/a=b"}}},
		{Name: "deny#2", Deny: &config.Terms{Method: []string{"TRACE"}}},
		{Name: "allow#2", Allow: &config.Terms{Client: []string{"::1"}, Time: []string{"mon-fri/09:00-17:00"}}},
		{Name: "deny#3", Deny: &config.Terms{}},
	}
	if got := c.Forward[0].Rules; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// The twins hold several rules. A flag of either kind wins over both.
func TestRulesOfTheEnvironment(t *testing.T) {
	twin := func(text string) config.Given {
		return config.Given{Values: []string{text}, Order: []int{0}, Env: true}
	}
	for _, c := range []struct {
		given map[string]config.Given
		want  string
	}{
		{map[string]config.Given{"deny": twin("host=a;port=1\n; host=b \n")}, "deny#1 deny#2 deny#3"},
		{map[string]config.Given{"allow": twin("all")}, "allow#1"},
		{map[string]config.Given{"allow": twin("host=a"), "deny": {Values: []string{"host=c"}, Order: []int{7}}}, "deny#1"},
		{map[string]config.Given{"deny": twin("nonsense"), "allow": {Values: []string{"host=c"}}}, "allow#1"},
	} {
		got, err := config.FromFlags(c.given)
		if err != nil {
			t.Errorf("%v: %v", c.given, err)
			continue
		}
		var names []string
		for _, r := range got.Forward[0].Rules {
			names = append(names, r.Name)
		}
		if strings.Join(names, " ") != c.want {
			t.Errorf("%v: %q", c.given, names)
		}
	}
	_, err := config.FromFlags(map[string]config.Given{"deny": twin("host=a"), "allow": twin("host=b")})
	if err == nil || err.Error() != "VIADUCT_ALLOW and VIADUCT_DENY: nothing says which rule comes first: give them as flags, or in a file (viaduct run -c FILE)" {
		t.Error(err)
	}
}

func TestProblemsOfRulesOfFlags(t *testing.T) {
	const spaced = "; what has a space or a comma in it is for a file (viaduct run -c FILE)"
	env := func(text string) map[string]config.Given {
		return map[string]config.Given{"deny": {Values: []string{text}, Env: true}}
	}
	deny := func(rules ...string) map[string]config.Given {
		var all []rule
		for _, text := range rules {
			all = append(all, rule{"deny", text})
		}
		return ruled(all)
	}
	for _, c := range []struct {
		given map[string]config.Given
		want  []string
	}{
		{deny(""), []string{`--deny "": no term: write field=value, such as host=.example.com, or all for everything`}},
		{deny("example.com"), []string{`--deny example.com: "example.com" is no term: write field=value, such as host=.example.com` + spaced}},
		{deny("all host=a"), []string{`--deny "all host=a": all stands alone: take it out, or the other terms`}},
		{deny("all all"), []string{`--deny "all all": all stands alone`, `--deny "all all": all stands alone`}},
		{deny("All"), []string{`--deny All: "All" is no term`}},
		{deny("hots=a port=x"), []string{`--deny "hots=a port=x": unknown term "hots": did you mean "host"?`, `--deny "hots=a port=x": port=x: `}},
		{deny("Host=a"), []string{`--deny Host=a: unknown term "Host": did you mean "host"?`}},
		{deny("=a"), []string{`--deny =a: unknown term "": write one of user, group, client, host, addr, port, method, path, time`}},
		{deny("ip=1.2.3.4"), []string{`--deny ip=1.2.3.4: unknown term "ip": did you mean "client" or "addr"?`}},
		{deny("name=a host=b"), []string{`--deny "name=a host=b": name is for a rule in a file (viaduct run -c FILE): take it out`}},
		{deny("host=a host=b"), []string{`--deny "host=a host=b": host stands twice: write it once, with commas between the values`}},
		{deny("host=a,,b port="), []string{`--deny "host=a,,b port=": host="": no value: write one, or take host out`, `--deny "host=a,,b port=": port="": no value`}},
		{deny("host=@"), []string{`--deny host=@: host=@: write the file behind its @`}},
		{deny(`host="a b"`), []string{`--deny "host=\"a b\"": quotes are not taken off here: write host=a` + spaced, `--deny "host=\"a b\"": "b\"" is no term`}},
		{deny("host='a'"), []string{`--deny host='a': quotes are not taken off here: write host=a` + spaced}},
		{deny("user=a"), []string{"--deny user=a: user: never holds, as nobody authenticates: add --users or --auth-url"}},
		{deny("port=1\x1b"), []string{`--deny "port=1\x1b": port="1\x1b": `}},
		{deny("port=" + strings.Repeat("9", 1000)), []string{`--deny "port=` + strings.Repeat("9", 55) + `…": port="` + strings.Repeat("9", 60) + `…": `}},
		{ruled([]rule{{"deny", "all"}, {"allow", "host=a"}, {"deny", "host=b"}}), []string{"--allow host=a: is never reached: --deny all before it has no terms"}},
		{env("host=a;port=x"), []string{"VIADUCT_DENY=port=x (--deny): port=x: "}},
		{env(";\n"), []string{`VIADUCT_DENY=";\n" (--deny): ";" is no term`}},
		{env("  "), []string{`VIADUCT_DENY="  " (--deny): no term`}},
	} {
		_, err := config.FromFlags(c.given)
		var all config.Problems
		if !errors.As(err, &all) || len(all) != len(c.want) {
			t.Errorf("%v: %v, want %q", c.given, err, c.want)
			continue
		}
		for i := range all {
			if !strings.HasPrefix(all[i].String(), c.want[i]) {
				t.Errorf("%v: %s, want %s", c.given, all[i], c.want[i])
			}
		}
	}
}
