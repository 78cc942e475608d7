package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"viaduct/config"
)

// Small texts that would unfold to very much.
func TestBombs(t *testing.T) {
	laughs := "forward:\n- listen: &a0 [127.0.0.1:0]\n"
	for i := 1; i < 60; i++ {
		laughs += fmt.Sprintf("  k%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	wide := "forward:\n- &f\n  listen: [" + strings.Repeat("'127.0.0.1:0',", 1000) + "]\n" + strings.Repeat("- *f\n", 100_000)
	for name, text := range map[string]string{
		"billion laughs":   laughs,
		"entries of lists": wide,
		"self":             "forward: &a [*a, *a]\n",
		"self, deeper":     "forward: &a [{listen: &b [*a, *b]}]\n",
		"long list":        "forward: [{listen: [" + strings.Repeat("a,", 150_000) + "]}]",
		"deep list":        strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"deeper list":      strings.Repeat("[", 500_000),
		"deep sections":    strings.Repeat("a: {", 9000),
		"many keys":        strings.Repeat("lisen: 1\n", 40_000),
		"long key":         strings.Repeat("a", 1<<20-10) + ": 1\n",
		"long value":       "watch: " + strings.Repeat("a", 1<<20-10),
		"many documents":   strings.Repeat("---\n", 1<<18),
		"many rules":       "forward: [{rules: [" + strings.Repeat("{deny: {}},", 40_000) + "]}]",
		"many same names":  "forward: [{rules: [" + strings.Repeat("{name: x, deny: {port: 1}},", 30_000) + "]}]",
		"many filters":     "forward: [{filters: [" + strings.Repeat("{deny: {}},", 40_000) + "]}]",
		"many fields":      "forward: [{filters: [{request: {set: [" + strings.Repeat("'A: b',", 40_000) + "]}}]}]",
		"large expression": "forward: [{filters: [{request: {replace: [{header: a, match: '" + strings.Repeat("(x{1000}){1000}", 10_000) + "'}]}}]}]",
		"filters of rules": "forward: [{rules: &r [{deny: {port: 1}}], filters: *r, inspect: *r}]",
		"rules of rules":   "forward: [{rules: &r [{deny: {host: *r}}, {allow: *r}, *r]}]",
		"many pools":       "forward: [{}]\npools: {" + strings.Repeat("p: {endpoints: direct},", 30_000) + "}",
		"pools of pools":   "forward: [{}]\npools: &p {a: *p, b: {endpoints: *p, tls: *p}}",
		"long check":       pools("{endpoints: direct, health: {check: " + strings.Repeat("x", 100_000) + "}, hash_key: " + strings.Repeat("x", 100_000) + "}"),
		"long endpoint":    pools("{endpoints: ['" + strings.Repeat("x", 100_000) + "', 'http://" + strings.Repeat("x", 100_000) + "', 'http://a?id=" + strings.Repeat("x", 100_000) + "']}"),
		"long pool":        "forward: [{via: " + strings.Repeat("x", 100_000) + "}]\npools: {" + strings.Repeat("x", 100_000) + ": {}, " + strings.Repeat("x", 64) + ": {endpoints: direct}}",
		"many terms":       "forward: [{rules: [{deny: {" + strings.Repeat("host: a,", 40_000) + "}}]}]",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Read("v.yaml", []byte(text))
			var all config.Problems
			if !errors.As(err, &all) {
				t.Fatalf("%v", err)
			}
			for _, p := range all {
				if len(p.String()) > 1000 {
					t.Fatalf("a problem of %d bytes", len(p.String()))
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, m := range mistakes {
		f.Add([]byte(m.text))
	}
	for _, m := range slices.Concat(ruleMistakes, clientMistakes, secureMistakes, inspectMistakes, filterMistakes, poolMistakes, routeMistakes) {
		f.Add([]byte(m.text))
	}
	f.Add([]byte(allFilters))
	f.Add([]byte(allPools))
	f.Add([]byte("forward: [{via: a, route: &r [{host: a, via: b}, {via: direct}]}, {listen: 127.0.0.1:1, route: *r}]\npools: {a: &p {endpoints: 'http://u@a', hash_bound: 1.1, balance: hash}, b: *p}\n"))
	f.Add([]byte("forward:\n- listen: ['https://127.0.0.1:1']\n  tls: {cert: [a, b], client_ca: '@c'}\n  inspect: [{pass: {host: .bank.example}}, {name: x, decrypt: {}}]\n  ca: -\n  filters: &f [{respond: {body: \"\\x85 \\n\", status: 299}}]\n- {filters: *f}\n"))
	var full strings.Builder
	if err := config.Default().Print(&full); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(full.String()))
	f.Add([]byte("forward:\n- &a {listen: &b [127.0.0.1:1], drain_grace: 1s}\n- {listen: 127.0.0.1:2, resolver: &c ['9.9.9.9']}\n- {listen: '[::1]:1', resolver: *c}\n"))
	f.Add([]byte(policy("{name: ads, deny: {host: ['@ads', .a.example], time: mon-fri/09:00-17:00}, report_only: true}", "allow: {user: [ann, 1], group: ci, port: [443, 80-90], path: /a}", "deny: {}")))
	f.Add([]byte("forward:\n- rules: &r [{deny: &t {method: TRACE, addr: 10.0.0.0/8}}, {allow: *t}]\n- {listen: 127.0.0.1:1, rules: *r, auth_url: 'http://a', sni: report, contact: é}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Read("dir/v.yaml", text)
		if err != nil {
			soundProblems(t, err, text)
			return
		}
		if err := c.Check(); err != nil {
			t.Errorf("what was read is refused: %v", err)
		}
		var b bytes.Buffer
		if err := c.Print(&b); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b.Bytes(), []byte(":***@")) {
			return // there was a password
		}
		again, err := config.Read("elsewhere/v.yaml", b.Bytes())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%v: reads back as\n%+v\nfrom\n%s\nwant\n%+v", err, again, b.Bytes(), c)
		}
	})
}

// soundProblems wants problems in order, with places in the text, a line each.
func soundProblems(t *testing.T, err error, text []byte) {
	t.Helper()
	var all config.Problems
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("%v", err)
	}
	lines := 2 + bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) + bytes.Count(text, []byte("\u0085")) + bytes.Count(text, []byte("\u2028")) + bytes.Count(text, []byte("\u2029"))
	line, col := 1, 1
	for _, p := range all {
		if p.File != "dir/v.yaml" || p.Line < line || p.Line == line && p.Col < col || p.Line > lines || p.Col > len(text)+1 {
			t.Errorf("place after %d:%d of %d lines: %+v", line, col, lines, p)
		}
		line, col = p.Line, p.Col
		if p.Text == "" || strings.ContainsAny(p.String(), "\n\r\x00\x1b") {
			t.Errorf("%q", p)
		}
	}
}

// FuzzFlags: whatever stands on the command line is read or refused, and what is
// read can be printed and read back.
func FuzzFlags(f *testing.F) {
	for _, flag := range config.Flags() {
		f.Add(flag.Name, flag.Default)
		f.Add(flag.Name, "x")
	}
	for _, rule := range []string{"all", "host=.a.example,@ads port=443", "addr=10.0.0.0/8 time=sat/22:00-06:00 method=GET path=/a=b", "hots=a", "host=a host=b", "user=\"a b\"", "port=", "@", "=", "all all"} {
		f.Add("allow", rule)
		f.Add("inspect", rule)
		f.Add("deny", rule)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		c, err := config.FromFlags(map[string]config.Given{name: {Values: []string{value}}})
		if err != nil {
			if strings.ContainsAny(strings.ReplaceAll(err.Error(), "\n--", ""), "\n\r\x00\x1b") {
				t.Errorf("%q", err)
			}
			return
		}
		if err := c.Check(); err != nil {
			t.Errorf("what was read is refused: %v", err)
		}
	})
}
