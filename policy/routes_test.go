package policy_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"viaduct/acl"
	"viaduct/auth"
	"viaduct/config"
	"viaduct/files"
	"viaduct/policy"
)

// routed makes the policy of an entry that is written in YAML, where pools a and b are.
func routed(t *testing.T, entry string) (*policy.Policy, error) {
	t.Helper()
	conf, err := config.Read("viaduct.yaml", []byte("forward: [{"+entry+"}]\npools: {a: {endpoints: direct}, b: {endpoints: direct}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	return policy.New(policy.Options{Conf: &conf.Forward[0], Files: files.New(nil), Memory: auth.NewMemory()})
}

func TestFirstRouteThatHoldsDecides(t *testing.T) {
	p, err := routed(t, "route: [{name: plain, host: .a.example, method: GET, path: /v1, via: a}, {host: [.a.example, x.example], via: b}, {port: 8443, via: a}]")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		q    acl.Query
		want int
	}{
		{acl.Query{Host: "b.a.example", Port: 80, Method: "GET", Path: []byte("/v1/x")}, 0},
		{acl.Query{Host: "b.a.example", Port: 80, Method: "GET", Path: []byte("/v2")}, 1},
		{acl.Query{Host: "b.a.example", Port: 8443, Method: "CONNECT"}, 1},
		{acl.Query{Host: "x.example", Port: 443, Method: "CONNECT"}, 1},
		{acl.Query{Host: "y.x.example", Port: 443, Method: "CONNECT"}, -1},
		{acl.Query{Host: "192.0.2.1", Port: 8443, Method: "CONNECT"}, 2},
		{acl.Query{}, -1},
	} {
		if got := p.Routes.Decide(&c.q); got != c.want {
			t.Errorf("%+v takes route %d, want %d", c.q, got, c.want)
		}
	}
	if got := p.Routes.Names(); !slices.Equal(got, []string{"plain", "forward[0].route[1]", "forward[0].route[2]"}) || p.Routes.Timed() {
		t.Errorf("%q", got)
	}
}

func TestRouteWithoutTermsTakesTheRest(t *testing.T) {
	p, err := routed(t, "route: [{host: x.example, via: direct}, {via: a}]")
	if err != nil {
		t.Fatal(err)
	}
	if x, y := p.Routes.Decide(&acl.Query{Host: "x.example", Port: 80}), p.Routes.Decide(&acl.Query{Host: "y.example", Port: 80}); x != 0 || y != 1 {
		t.Errorf("%d, %d", x, y)
	}
}

func TestNoRoutes(t *testing.T) {
	p, err := routed(t, "via: a")
	if err != nil || p.Routes != nil || p.Routes.Decide(&acl.Query{Host: "a.example"}) != -1 || p.Routes.Timed() || p.Routes.Names() != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := routed(t, "route: [{time: mon-fri, via: a}]"); err != nil || !p.Routes.Timed() {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestRoutesHaveTheValuesOfTheirFiles(t *testing.T) {
	const pools = "route: [{host: '@partner', client: '@lan', via: direct}]\nvia: p"
	for _, c := range []struct {
		texts map[string]string
		want  string
	}{
		{map[string]string{"partner": "x.example\n", "lan": "10.0.0.0/8\n"}, ""},
		{map[string]string{"lan": "10.0.0.0/8\n"}, "route forward[0].route[0]: host: "},
		{map[string]string{"partner": "\n", "lan": "10.0.0.0/8\n"}, "nothing in it"},
		{map[string]string{"partner": "x.example\n", "lan": "10.0.0.0/33\n"}, "10.0.0.0/33"},
	} {
		p, err := readWith(t, pools, "pools: {p: {endpoints: direct}}\n", c.texts)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v says nothing of %s", err, c.want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Routes.Decide(&acl.Query{Host: "b.x.example"}) != -1 || len(p.Lists) != 2 {
			t.Errorf("a client of nowhere takes it, or lists are not told: %v", p.Lists)
		}
	}
}

func TestRemarksOfRoutes(t *testing.T) {
	p, err := readWith(t, "users: users\nroute: [{user: [bench, nobody], via: p}]", "pools: {p: {endpoints: direct}}\n", map[string]string{"users": "bench:" + hash + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Remarks(); len(got) != 1 || got[0] != `route forward[0].route[0]: there is no user "nobody"` {
		t.Errorf("%q", got)
	}
}

func TestJudgesAddr(t *testing.T) {
	for rules, want := range map[string]bool{
		"[]": false, "[{deny: {host: a}}, {allow: {port: 443}}]": false, "[{deny: {addr: 10.0.0.1}}]": true, "[{deny: {host: a}}, {allow: {addr: 10.0.0.1}}]": true,
	} {
		if p, err := routed(t, "rules: "+rules); err != nil || p.JudgesAddr() != want {
			t.Errorf("%s: %v", rules, err)
		}
	}
}

func TestRoutesAllocateNothing(t *testing.T) {
	p, err := routed(t, "route: [{host: [.a.example], via: a}, {host: .b.example, via: b}]")
	if err != nil {
		t.Fatal(err)
	}
	q := &acl.Query{Host: "a.b.example", Port: 443, Method: "CONNECT"}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				p.Routes.Decide(q)
			}
		})
	}
	all.Wait()
	skipUnderRace(t)
	if n := testing.AllocsPerRun(100, func() { p.Routes.Decide(q) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
