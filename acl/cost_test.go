package acl_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"viaduct/acl"
	"viaduct/guard"
)

// mixed are so many rules of all terms, none of which matches what askMixed asks.
func mixed(n int) []string {
	rules := make([]string, n)
	for i := range rules {
		rules[i] = []string{
			"deny host=.bad%d.example,*.worse%d.example port=443",
			"allow user=bob%d,ann%d host=.example.com",
			"deny path=/admin%d,/private%d method=GET,POST",
			"allow group=ci%d,ops%d port=80,443",
			"deny client=192.168.%d.0/24,172.16.%d.0/24",
			"deny addr=10.%d.0.0/16,192.168.%d.0/24 port=80",
			"report deny host=a%d.example.org,b%d.example.org",
			"allow time=sat/0%d:00-0%d:30",
			"deny method=TRACE port=1%d,2%d",
			"deny host=ads%d.example.com,1.2.3.%d",
		}[i%10]
		k := i / 10 % 10
		rules[i] = fmt.Sprintf(rules[i], k, k)
	}
	return rules
}

const askMixed = "user=eve groups=dev,web host=www.shop.example.com path=/some/%61/path?query port=80 at=2026-11-23T12:00:00"

// million is a list of a million names, and some of them.
var million = sync.OnceValues(func() ([]byte, []string) {
	r := rand.New(rand.NewPCG(1, 2))
	var b []byte
	var some []string
	for i := range 1_000_000 {
		name := make([]byte, 6+r.IntN(8))
		for k := range name {
			name[k] = "abcdefghijklmnopqrstuvwxyz0123456789-"[r.IntN(36)]
		}
		host := fmt.Sprintf("%s%x.%s", name, i, []string{"com", "net", "co.uk", "ads.example", "io"}[r.IntN(5)])
		if i%10 == 0 {
			host = "www." + host
		}
		if b = fmt.Appendf(b, "%s%s\n", []string{"", "."}[i%2], host); i%100 == 1 {
			some = append(some, host)
		}
	}
	return b, some
})

func TestDecidingAllocatesNothing(t *testing.T) {
	skipUnderRace(t)
	guard := guard.New(guard.Options{Own: own("0.0.0.0:3128"), LocalAddrs: machine("8.8.4.4")})
	for _, c := range []struct {
		name  string
		rules []string
		asks  []string
	}{
		{"none", nil, []string{""}},
		{"mixed", mixed(100), []string{askMixed, askMixed + " connect", "user=bob1 host=x.example.com", "host=1.2.3.4", "host=[64:ff9b::102:304]", "client=none"}},
		{"paths", []string{"deny path=/v1", "allow path=/a"}, []string{
			"path=/a/b", "path=/%76%31", "path=//x/../;y/%2561\\b", "path=" + strings.Repeat("/x/..", 5000), "path=" + strings.Repeat("/%2e", 5000),
		}},
	} {
		p := compile(t, acl.Options{Guard: guard}, c.rules...)
		for _, ask := range c.asks {
			q := asked(t, ask)
			for _, addr := range own("8.8.8.8:443", "10.1.0.1:80", "8.8.4.4:3128", "[64:ff9b::a00:1]:80", "[::ffff:8.8.8.8]:80") {
				if n := testing.AllocsPerRun(100, func() { p.Decide(q); p.DecideAddr(q, addr) }); n != 0 {
					t.Errorf("%s, %.40s at %v: %v allocations", c.name, ask, addr, n)
				}
			}
		}
	}
}

// TestDecidingIsSafeForConcurrentUse: what is borrowed for one path is not lent
// to another.
func TestDecidingIsSafeForConcurrentUse(t *testing.T) {
	p := compile(t, acl.Options{}, "deny path=/v1", "allow path=/a,/b", "deny")
	var wg sync.WaitGroup
	for i := range 8 {
		q, want := asked(t, []string{"path=/%76%31/x", "path=/a/%62", "path=/b/./c", "path=/c//"}[i%4]), []string{"deny r0", "allow r1", "allow r1", "deny r2"}[i%4]
		wg.Go(func() {
			for range 2000 {
				if d := p.Decide(q); d.Effect.String()+" "+d.Rule != want {
					t.Errorf("%s: %+v", q.Path, d)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name  string
		rules []string
		ask   string
	}{
		{"no_rules", nil, ""},
		{"one_host", []string{"deny host=.bad.example"}, "host=www.example.com"},
		{"100_mixed", mixed(100), askMixed},
	} {
		p := compile(b, acl.Options{}, c.rules...)
		q := asked(b, c.ask)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(q)
			}
		})
		b.Run(c.name+"_addr", func(b *testing.B) {
			a := at("93.184.216.34")
			b.ReportAllocs()
			for b.Loop() {
				p.DecideAddr(q, a)
			}
		})
	}
}

// BenchmarkDecideMillionNames asks about one host again and again, and about ten
// thousand in turn, whose places no cache has.
func BenchmarkDecideMillionNames(b *testing.B) {
	text, some := million()
	names, _ := acl.ParseNames(text)
	p, err := acl.Compile([]acl.Rule{{Name: "list", HostLists: []*acl.Names{names}}}, acl.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		host func(i int) string
	}{
		{"hit", func(i int) string { return strings.Clone(some[i]) }},
		{"miss", func(i int) string { return "www.x" + some[i] }},
		{"deep", func(i int) string { return "a.b.c.d.e.f.g.x" + some[i] }},
	} {
		for _, n := range []int{1, len(some)} {
			queries := make([]*acl.Query, n)
			for i := range queries {
				queries[i] = asked(b, "")
				queries[i].Host = c.host(i)
			}
			b.Run(fmt.Sprintf("%s/of_%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					p.Decide(queries[i%n])
				}
			})
		}
	}
}

func BenchmarkBuildMillionNames(b *testing.B) {
	text, _ := million()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var n *acl.Names
	for b.Loop() {
		n, _ = acl.ParseNames(text)
	}
	b.ReportMetric(float64(heap()-before)/1e6, "MB")
	if n.Len() != 1_000_000 {
		b.Fatal(n.Len())
	}
}
