package acl_test

import (
	"strings"
	"testing"

	"viaduct/acl"
	"viaduct/guard"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name, query, addr string
		rules, want       []string
	}{
		{
			"what does not hold, and what does", "user=bob client=10.0.0.1 port=81", "",
			[]string{"allow host=.a.example,b.example", "deny user=ann,eve,joe,kim,lee port=80-90", "allow list=x.test,y.test host=a,b,c,d", "allow port=443 group=ci client=192.168.0.0/16", "deny"},
			[]string{
				"r0 allow host is not in .a.example, b.example",
				"r1 deny user is not in ann, eve, joe, 2 more (what holds: port)",
				"r2 allow host is not in a, b, c, 1 more, a list of 2",
				"r3 allow group is not in ci; client is not in 192.168.0.0/16; port is not in 443",
				"r4 deny matches",
			},
		},
		{
			"nobody authenticated, and a tunnel", "connect", "",
			[]string{"deny user=bob", "deny path=/v1", "deny method=CONNECT"},
			[]string{"r0 deny user is not known", "r1 deny a tunnel has no path", "r2 deny matches"},
		},
		{
			"what comes after", "", "",
			[]string{"report deny", "deny host=example.com", "allow", "deny host=x.test"},
			[]string{"r0 report matches, and only reports it", "r1 deny matches", "r2 allow would match, but r1 decides before it", "r3 deny host is not in x.test"},
		},
		{
			"no address yet", "", "",
			[]string{"deny addr=10.0.0.0/8", "allow addr=::1,::2 port=81", "allow addr=11.0.0.0/8", "deny"},
			[]string{
				"r0 deny would match if the address were in 10.0.0.0/8", "r1 allow port is not in 81",
				"r2 allow would match if the address were in 11.0.0.0/8", "r3 deny matches",
			},
		},
		{
			"an address", "", "64:ff9b::a00:1",
			[]string{"deny addr=10.0.0.0/24 port=81", "deny addr=10.0.1.0/24", "report deny addr=10.0.0.0/8", "deny addr=10.0.0.1", "deny"},
			[]string{
				"r0 deny port is not in 81", "r1 deny address is not in 10.0.1.0/24", "r2 report matches, and only reports it",
				"r3 deny matches", "r4 deny would match, but r3 decides before it",
			},
		},
		{
			"a settled address", "", "10.0.0.1",
			[]string{"allow addr=10.0.0.0/8", "deny addr=10.0.0.1", "allow host=example.com"},
			[]string{"r0 allow matches: lifts the guard for this address, and lets nothing pass by itself", "r1 deny is not asked: r0 settles the address before it", "r2 allow matches"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := compile(t, acl.Options{Guard: &guard.Guard{}}, c.rules...)
			steps := p.Explain(asked(t, c.query), at(c.addr))
			if len(steps) != len(c.want) {
				t.Fatalf("%d steps", len(steps))
			}
			for i, s := range steps {
				if got := strings.Join([]string{s.Rule, s.Effect, s.Result}, " "); got != c.want[i] {
					t.Errorf("%s, want %s", got, c.want[i])
				}
			}
		})
	}
	if steps := compile(t, acl.Options{}).Explain(asked(t, ""), at("")); len(steps) != 0 {
		t.Errorf("%v", steps)
	}
}
