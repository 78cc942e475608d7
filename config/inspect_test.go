package config_test

import (
	"reflect"
	"strings"
	"testing"

	"viaduct/config"
)

// opening is a file of one proxy that inspects tunnels by these entries.
func opening(entries ...string) string {
	return "forward:\n- users: u\n  groups: g\n  ca: ca\n  inspect:\n  - " + strings.Join(entries, "\n  - ") + "\n"
}

// inspectMistakes are entries with what is wrong with them.
var inspectMistakes = []struct {
	name, text string
	want       []string // after "v.yaml:"
}{
	{"no effect", opening("{}", "{name: a}", "decrypt:", "decrypt: {port: 443}"), []string{
		"6:5: forward[0].inspect[0]: write decrypt or pass with its terms, such as decrypt: {host: [.example.com]}",
		"7:5: forward[0].inspect[1]: write decrypt or pass",
		"8:5: forward[0].inspect[2].decrypt: nothing stands here: write {} for everything",
	}},
	{"both effects", opening("{decrypt: {port: 443}, pass: {port: 443}}"), []string{"6:5: forward[0].inspect[0]: is decrypt and pass at once: write two entries"}},
	{"terms that are not known yet", opening("decrypt: {addr: 10.0.0.0/8, method: GET, path: /a, host: a}", "pass: {addr: x}"), []string{
		"6:15: forward[0].inspect[0].decrypt.addr: is not known before a tunnel is inspected: write host, or take this out",
		"6:33: forward[0].inspect[0].decrypt.method: is CONNECT of every tunnel that is inspected: take this out, and write a rule about the requests inside",
		"6:46: forward[0].inspect[0].decrypt.path: is not known before a tunnel is inspected: take this out, and write a rule",
		"7:12: forward[0].inspect[1].pass.addr: is not known before",
	}},
	{"values", opening("decrypt: {host: ['a:1', '@'], client: x, port: 0, time: noon, user: '', group: []}"), []string{
		`6:22: forward[0].inspect[0].decrypt.host[0]: "a:1": `, `6:29: forward[0].inspect[0].decrypt.host[1]: "@": write the file`,
		`6:43: forward[0].inspect[0].decrypt.client[0]: "x": `, `6:52: forward[0].inspect[0].decrypt.port[0]: "0": `, `6:61: forward[0].inspect[0].decrypt.time[0]: "noon": `,
		"6:73: forward[0].inspect[0].decrypt.user[0]: no value: write one, or take user out", "6:77: forward[0].inspect[0].decrypt.group: no value",
	}},
	{"never reached", opening("pass: {port: 8443}", "{name: all, decrypt: {}}", "pass: {host: a}", "pass: {host: b}"), []string{
		"8:5: forward[0].inspect[2]: is never reached: forward[0].inspect[1] before it has no terms",
	}},
	{"never reached, by their hosts", opening("decrypt: {host: [.Example.com, '*.b.example', c.example., '@l']}", "pass: {host: [bank.example.com]}", "pass: {host: [a.b.example, '*.b.example', c.example], port: 443}",
		"pass: {host: b.example}", "pass: {host: [.c.example]}", "pass: {host: ['@l']}", "pass: {host: [example.com, d.example]}", "decrypt: {host: [.b.example, e.example]}", "pass: {host: .b.example}", "{name: n, pass: {host: e.example}, decrypt: {}}", "pass: {client: ::1, host: xexample.com}", "decrypt: {port: 443}"), []string{
		"7:5: forward[0].inspect[1]: is never reached: forward[0].inspect[0] before it has all its hosts",
		"8:5: forward[0].inspect[2]: is never reached: forward[0].inspect[0] before it has all its hosts",
		"14:5: forward[0].inspect[8]: is never reached: what stands before it has all its hosts",
		"15:5: forward[0].inspect[9]: is decrypt and pass at once",
		"16:5: forward[0].inspect[10]: is never reached: forward[0].inspect[9] before it has no terms",
	}},
	{"hosts beside other terms", opening("decrypt: {host: a.example, port: 443}", "decrypt: {host: b.example, clint: a}", "decrypt: {host: ['192.0.2.1', c.example]}", "pass: {host: [a.example]}", "pass: {host: [b.example]}", "pass: {host: ['192.0.2.1']}", "pass: {}"), []string{
		`7:32: unknown key "clint" in forward[0].inspect[1].decrypt: did you mean "client"?`,
	}},
	{"ports that nobody reaches", opening("decrypt: {port: [443, 444, 8000-8999, 1-442, x]}", "pass: {port: '@p'}", "pass: {port: 22}"), []string{
		`6:27: forward[0].inspect[0].decrypt.port[1]: "444": no CONNECT reaches this port: add it to connect_ports, or take it out`,
		`6:43: forward[0].inspect[0].decrypt.port[3]: "1-442": no CONNECT reaches`, `6:50: forward[0].inspect[0].decrypt.port[4]: "x": `,
		`8:18: forward[0].inspect[2].pass.port[0]: "22": no CONNECT reaches`,
	}},
	{"ports that could not be read", "forward: [{ca: c, connect_ports: x, inspect: [{decrypt: {port: 22}}]}, {listen: 127.0.0.1:1, ca: c, connect_ports: any, inspect: [{decrypt: {port: 22}}]}]\n", []string{`1:34: forward[0].connect_ports[0]: "x" is no port`}},
	{"a name alone", "forward: [{ca: c, inspect: [{name: x}]}, {listen: 127.0.0.1:1, inspect: [{open: {host: a}}, {allow: {}}]}]\n", []string{
		"1:29: forward[0].inspect[0]: write decrypt or pass with its terms",
		`1:75: unknown key "open" in forward[1].inspect[0]: did you mean "decrypt"?`,
		`1:94: unknown key "allow" in forward[1].inspect[1]: did you mean "pass"?`,
	}},
	{"names", "forward: [{ca: c, rules: [{name: x, deny: {port: 1}}, {name: y, deny: {port: 2}}], inspect: [{name: y, decrypt: {}}], filters: [{name: x, deny: {}}, {name: sni, deny: {}}]}]\n", []string{
		`1:101: forward[0].inspect[0].name: "y": is the name of rules[1] already: write another one`,
		`1:136: forward[0].filters[0].name: "x": is the name of rules[0] already: write another one`,
		"1:150: forward[0].filters[1]: is never reached",
		`1:157: forward[0].filters[1].name: "sni": is what a check of viaduct's own is called: write another name`,
	}},
	{"no authority", "forward: [{inspect: [{pass: {host: a}}, {decrypt: {host: b}}, {decrypt: {}}]}]\n", []string{
		"1:42: forward[0].inspect[1].decrypt: decrypts nothing without an authority that clients trust: make one (viaduct ca init DIR), and add ca: DIR",
	}},
	{"empty authority", "forward: [{ca: '', inspect: [{decrypt: {}}]}]\n", []string{"1:16: forward[0].ca: is empty: write something, or leave it out"}},
	{"nothing to open", "forward: [{ca: /c, origin_ca: /o}, {listen: 127.0.0.1:1, ca: /c, inspect: [{pass: {}}]}]\n", []string{
		`1:16: forward[0].ca: "/c": does nothing where no tunnel is inspected: add inspect: [{decrypt: …}], or take this out`,
		`1:31: forward[0].origin_ca: "/o": does nothing where no tunnel is inspected`,
		`1:62: forward[1].ca: "/c": does nothing where no tunnel is inspected`,
		"1:76: forward[1].inspect[0]: does nothing where no tunnel is inspected",
	}},
	{"what may be an entry", "forward: [{ca: /c, inspect: x}, {listen: 127.0.0.1:1, ca: /c, inspect: [{decypt: {}}]}]\n", []string{
		"1:20: forward[0].inspect: \"x\" stands here: write a list", `1:74: unknown key "decypt" in forward[1].inspect[0]: did you mean "decrypt"?`,
	}},
	{"words of other programs", "forward: [{ssl_bump: x, mitm: y, decrypt: {}, splice: z, upstream_ca: a}]\n", []string{
		`1:12: unknown key "ssl_bump" in forward[0]: did you mean "inspect"?`,
		`1:25: unknown key "mitm" in forward[0]: did you mean "inspect"?`,
		`1:34: unknown key "decrypt" in forward[0]: it belongs under forward[].inspect[]`,
		`1:47: unknown key "splice" in forward[0]: it belongs under forward[].inspect[] as pass`,
		`1:58: unknown key "upstream_ca" in forward[0]: it belongs under pools.NAME.tls as ca`,
	}},
}

func TestInspectProblems(t *testing.T) {
	for _, c := range inspectMistakes {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.text, c.want) })
	}
}

// What both flags say is one list, in the order of the command line.
func TestInspectFlags(t *testing.T) {
	c, err := config.FromFlags(ruled([]rule{
		{"inspect-pass", "host=.bank.example,@pinned.txt"}, {"inspect", "group=ci port=443"}, {"deny", "port=25"}, {"inspect-pass", "client=10.0.0.1"}, {"inspect", "all"},
	}, "users=u", "groups=g", "ca=ca", "origin-ca=o.pem"))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Inspection{
		{Name: "inspect-pass#1", Pass: &config.Terms{Host: []string{".bank.example", "@pinned.txt"}}},
		{Name: "inspect#1", Decrypt: &config.Terms{Group: []string{"ci"}, Port: []string{"443"}}},
		{Name: "inspect-pass#2", Pass: &config.Terms{Client: []string{"10.0.0.1"}}},
		{Name: "inspect#2", Decrypt: &config.Terms{}},
	}
	f := c.Forward[0]
	if !reflect.DeepEqual(f.Inspect, want) || len(f.Rules) != 1 || f.Rules[0].Name != "deny#1" || f.CA != "ca" || f.OriginCA != "o.pem" {
		t.Errorf("%+v", f)
	}
	twin := func(text string) config.Given { return config.Given{Values: []string{text}, Env: true} }
	c, err = config.FromFlags(map[string]config.Given{"inspect": twin("host=a;host=b\nall"), "deny": twin("port=25"), "ca": twin("ca")})
	if err != nil || len(c.Forward[0].Inspect) != 3 || c.Forward[0].Inspect[2].Name != "inspect#3" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, c := range []struct {
		given map[string]config.Given
		want  string
	}{
		{given("inspect=all"), "--inspect all: decrypts nothing without an authority that clients trust: make one (viaduct ca init DIR), and add --ca DIR"},
		{given("inspect=host=a path=/x", "ca=c"), `--inspect "host=a path=/x": path: is not known before a tunnel is inspected: take this out, and write a rule about the requests inside`},
		{given("inspect=user=ann", "ca=c"), "--inspect user=ann: user: never holds, as nobody authenticates: add --users or --auth-url"},
		{given("ca=c"), "--ca c: does nothing where no tunnel is inspected: add --inspect, or take this out"},
		{given("inspect=example.com", "ca=c"), `--inspect example.com: "example.com" is no term: write field=value, such as host=.example.com; what has a space or a comma in it is for a file (viaduct run -c FILE)`},
		{given("inspect=deny=all", "ca=c"), `--inspect deny=all: unknown term "deny": write one of user, group, client, host, port, time`},
		{given("inspect=port=444", "ca=c"), "--inspect port=444: port=444: no CONNECT reaches this port: add it to --connect-ports, or take it out"},
		{ruled([]rule{{"inspect", "host=.a.example"}, {"inspect-pass", "host=b.a.example"}}, "ca=c"), "--inspect-pass host=b.a.example: is never reached: --inspect host=.a.example before it has all its hosts"},
		{map[string]config.Given{"inspect": twin("all"), "inspect-pass": twin("host=a")}, "VIADUCT_INSPECT and VIADUCT_INSPECT_PASS: nothing says which rule comes first: give them as flags, or in a file (viaduct run -c FILE)"},
		{ruled([]rule{{"inspect", "all"}, {"inspect-pass", "host=a"}}, "ca=c"), "--inspect-pass host=a: is never reached: --inspect all before it has no terms"},
	} {
		if _, err := config.FromFlags(c.given); err == nil || err.Error() != c.want {
			t.Errorf("%v:\n%v\nwant %s", c.given, err, c.want)
		}
	}
}
