package policy_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"

	"viaduct/acl"
)

func TestInspectionDecides(t *testing.T) {
	p, err := read(t, `
users: users
groups: groups
ca: ca
inspect:
  - {name: pinned, pass: {host: [bank.example, "@pinned"]}}
  - {name: office, decrypt: {group: ci, port: 443}}
  - {name: lan, decrypt: {client: "@lan", host: .example}}
  - {name: rest, pass: {host: .example}}`, map[string]string{
		"users": "bench:" + hash + "\n", "groups": "ci: bench\n", "pinned": "pinned.example\n", "lan": "10.0.0.0/8\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		query acl.Query
		rule  string
		yes   bool
	}{
		{acl.Query{Host: "bank.example", Port: 443, Groups: []string{"ci"}}, "pinned", false},
		{acl.Query{Host: "pinned.example", Port: 443, Groups: []string{"ci"}}, "pinned", false},
		{acl.Query{Host: "a.example", Port: 443, Groups: []string{"ci"}}, "office", true},
		{acl.Query{Host: "a.example", Port: 8443, Groups: []string{"ci"}}, "rest", false},
		{acl.Query{Host: "a.example", Port: 8443, Client: netip.MustParseAddr("10.1.2.3")}, "lan", true},
		{acl.Query{Host: "a.test", Port: 8443, Client: netip.MustParseAddr("10.1.2.3")}, "", false},
		{acl.Query{Host: "192.0.2.1", Port: 443}, "", false},
	} {
		c.query.Method = "CONNECT"
		if rule, yes := p.Inspect.Decide(&c.query); rule != c.rule || yes != c.yes {
			t.Errorf("%+v: %q %v, want %+v", c.query, rule, yes, c)
		}
	}
	if p.Inspect.Timed() {
		t.Error("an entry asks for the time")
	}
	// Rules know nothing of it.
	if d := p.Rules.Decide(&acl.Query{Host: "a.example", Port: 443, Method: "CONNECT"}); d.Effect != acl.Allow {
		t.Errorf("%+v", d)
	}
}

// Without an entry that speaks of it a tunnel stays closed, whatever kinds there are.
func TestTunnelsStayClosed(t *testing.T) {
	q := &acl.Query{Host: "a.test", Port: 443, Method: "CONNECT"}
	for _, entries := range []string{"", "ca: ca\ninspect: [{decrypt: {host: b.test}}]", "ca: ca\ninspect: [{pass: {port: 8443}}, {decrypt: {host: b.test}}]"} {
		p, err := read(t, "contact: me\n"+entries, nil)
		if err != nil {
			t.Fatal(err)
		}
		if rule, yes := p.Inspect.Decide(q); rule != "" || yes {
			t.Errorf("%s: %q %v", entries, rule, yes)
		}
		if entries == "" && (p.Inspect != nil || p.Inspect.Timed()) {
			t.Errorf("%+v", p.Inspect)
		}
	}
}

func TestInspectionAllocatesNothing(t *testing.T) {
	p, err := read(t, "ca: ca\ninspect: [{pass: {host: [.bank.example]}}, {decrypt: {host: .example}}]", nil)
	if err != nil {
		t.Fatal(err)
	}
	q := &acl.Query{Host: "a.b.example", Port: 443, Method: "CONNECT"}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				p.Inspect.Decide(q)
			}
		})
	}
	all.Wait()
	skipUnderRace(t)
	if n := testing.AllocsPerRun(100, func() { p.Inspect.Decide(q) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMistakesInInspections(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		texts      map[string]string
		want       []string
	}{
		{"no list", `inspect: [{pass: {host: "@pinned"}}, {decrypt: {}}]`, nil, []string{"inspect forward[0].inspect[0]: host: ", "pinned", "no such file"}},
		{"empty list", `inspect: [{name: x, decrypt: {client: "@lan"}}]`, map[string]string{"lan": "\n"}, []string{"inspect x: client: ", "nothing in it"}},
		{"bad value", `inspect: [{name: x, decrypt: {client: "@lan"}}]`, map[string]string{"lan": "10.0.0.0/33\n"}, []string{"inspect x: client: ", "10.0.0.0/33"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(t, "ca: ca\n"+c.yaml, c.texts)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v says nothing of %q", err, want)
				}
			}
		})
	}
}
