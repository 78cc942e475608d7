package config_test

import (
	"strings"
	"testing"

	"viaduct/config"
)

// routed is a file with two pools, and this entry.
func routed(entry string) string {
	return "forward: [{" + entry + "}]\npools: {one: {endpoints: 'http://a'}, two: {endpoints: direct, resolve: here}, far: {endpoints: 'socks5://a', resolve: parent}}\n"
}

var routeMistakes = []struct {
	name, text string
	want       []string
}{
	{"no pool", "forward: [{via: one, route: [{host: a, via: two}]}]\n", []string{
		`1:17: forward[0].via: "one": there is no pool: write one under pools, or direct`, `1:45: forward[0].route[0].via: "two": there is no pool`,
	}},
	{"no such pool", routed("via: on, route: [{host: a, via: tow}, {host: b, via: zzzzzz}, {host: c}, {host: d, via: ''}]"), []string{
		`1:17: forward[0].via: "on": there is no such pool: did you mean one?`, `1:44: forward[0].route[0].via: "tow": there is no such pool: did you mean two?`,
		`1:65: forward[0].route[1].via: "zzzzzz": there is no such pool: write one of direct, one, two, far`,
		`1:74: forward[0].route[2].via: write the way out, such as far`, `1:100: forward[0].route[3].via: is empty: write something, or leave it out`,
	}},
	{"pools that could not be read", "forward: [{via: one}]\npools: {One: {}}\n", []string{"2:9: a name in pools"}},
	{"pools that are none", "forward: [{via: one}]\npools: [one]\n", []string{"2:1: pools: a list stands here"}},
	{"strange", routed("route: [{host: a, vai: one}, {hots: a, via: one}]"), []string{
		`1:30: unknown key "vai" in forward[0].route[0]: did you mean "via"?`, `1:42: unknown key "hots" in forward[0].route[1]: did you mean "host"?`,
	}},
	{"terms", routed("route: [{host: [], port: 0, via: one}, {addr: 10.0.0.1, user: ann, via: two}, x]"), []string{
		"1:21: forward[0].route[0].host: no value: write at least one, or take host out", `1:37: forward[0].route[0].port[0]: "0": `,
		"1:52: forward[0].route[1].addr: is not known before the way out is chosen: write host, or take this out",
		"1:68: forward[0].route[1].user: never holds, as nobody authenticates: add users or auth_url",
		`1:90: forward[0].route[2]: "x" stands here: write keys`,
	}},
	{"names", routed("route: [{name: a, host: a, via: one}, {name: a, host: b, via: two}, {name: default, host: c, via: one}]"), []string{
		`1:57: forward[0].route[1].name: "a": is the name of route[0] already: write another one`, `1:87: forward[0].route[2].name: "default": is what a check of viaduct's own is called`,
	}},
	{"never reached", routed("via: two, route: [{host: .a.example, via: one}, {host: b.a.example, via: two}, {via: one}, {host: c, via: two}]"), []string{
		`1:17: forward[0].via: "two": is never reached: forward[0].route[2] has no terms`,
		"1:60: forward[0].route[1]: is never reached: forward[0].route[0] before it has all its hosts",
		"1:103: forward[0].route[3]: is never reached: forward[0].route[2] before it has no terms",
	}},
	{"nothing new", routed("via: one, route: [{host: a, via: two}, {host: b, via: one}]"), []string{"1:51: forward[0].route[1]: does nothing, as what no route names leaves by one, too: take it out"}},
	{"nothing new, direct", routed("route: [{host: b, via: direct}]"), []string{"1:20: forward[0].route[0]: does nothing, as what no route names leaves by direct, too: take it out"}},
	{"unjudged", routed("via: far, rules: [{deny: {host: a}}, {deny: {addr: 10.0.0.0/8}}, {allow: {addr: 10.0.0.1}}]"), []string{
		"1:57: forward[0].rules[1].deny.addr: is not known here, as the parents of pool far look names up: write resolve: here for it, or deny by host",
	}},
	{"unjudged by a route", routed("route: [{host: a, via: far}], rules: [{deny: {addr: 10.0.0.0/8}}]"), []string{"1:58: forward[0].rules[0].deny.addr: is not known here"}},
}

func TestRouteProblems(t *testing.T) {
	for _, c := range routeMistakes {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.text, c.want) })
	}
}

func TestRoutesThatAreFine(t *testing.T) {
	for _, entry := range []string{
		"via: direct", "via: one", "via: two, rules: [{deny: {addr: 10.0.0.0/8}}]", "via: far, rules: [{allow: {addr: 10.0.0.0/8}}]", "route: []", "route: ~",
		"via: one, egress: [10.0.0.1, 10.0.0.2], egress_by: host", "route: [{via: one}]", "via: one, route: [{host: a, via: one}, {host: .a, via: two}]",
	} {
		read(t, routed(entry))
	}
}

// Of a route is printed what it says.
func TestPrintOfRoutes(t *testing.T) {
	c := with(func(c *config.Config, f *config.Forward) {
		c.Pools = []config.Pool{usual("true", "direct")}
		f.Route = []config.Route{{Name: "forward[0].route[0]", Terms: config.Terms{Host: []string{"a"}}, Via: "true"}, {Name: "x", Via: "true"}}
	})
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"  via: direct\n  route:\n  - host: [a]\n    via: 'true'\n  - name: x\n    via: 'true'\n", "pools:\n  'true':\n    endpoints: [direct]\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no\n%s\nin\n%s", want, b.String())
		}
	}
}
