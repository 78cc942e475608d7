package lb_test

import (
	"strconv"
	"testing"
	"time"

	"viaduct/lb"
)

// exchange is what a request costs the balancer.
func exchange(p *lb.Pool, a *lb.Ask, i int) {
	a.Now = time.Duration(i) * time.Millisecond
	a.Key = key(i)
	n, _ := p.Pick(a)
	if n == nil {
		return
	}
	n.Observe(a.Now, time.Duration(5+i%10)*time.Millisecond, lb.Outcome(i%20/19))
	n.End()
}

func TestChoosingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	settings := map[string]lb.Options{
		"plain": {}, "bounded": {HashBound: 1.25}, "starting": {SlowStart: 1000 * time.Hour},
		"zones": {Zone: "a"}, "panicking": {PanicBelow: 1},
	}
	for _, policy := range lb.Policies() {
		for name, o := range settings {
			list := members(64)
			for i := range list {
				list[i].Weight = uint32(1 + i%4)
				list[i].Zone = string(rune('a' + i%4/2*3))
				list[i].Limit = 1000 * (i % 2)
			}
			o.Policy = policy
			p := newPool(t, 1, o, list)
			p.Set(p.Nodes()[0], lb.Sick, 0)
			p.Set(p.Nodes()[1], lb.Out, 0)
			p.Set(p.Nodes()[1], lb.Ready, 1)
			a, i := lb.Ask{Keyed: true, Tried: p.Nodes()[:3]}, 0
			if got := testing.AllocsPerRun(2000, func() {
				i++
				exchange(p, &a, i)
			}); got != 0 {
				t.Errorf("%v, %s: %v allocations for a request", policy, name, got)
			}
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, n := range []int{64, 10_000} {
		for _, policy := range lb.Policies() {
			b.Run(policy.String()+"/"+strconv.Itoa(n), func(b *testing.B) {
				p := benchPool(b, policy, n)
				a, i := lb.Ask{Keyed: true}, 0
				b.ReportAllocs()
				for b.Loop() {
					i++
					exchange(p, &a, i)
				}
			})
		}
	}
}

// BenchmarkPick is the choice and its end, without what is learnt from it, while
// two requests for each endpoint are in flight.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{64, 10_000} {
		for _, policy := range lb.Policies() {
			b.Run(policy.String()+"/"+strconv.Itoa(n), func(b *testing.B) {
				p := benchPool(b, policy, n)
				for i := range 2 * n {
					take(b, p, lb.Ask{Key: key(i), Keyed: true})
				}
				a := lb.Ask{Keyed: true}
				b.ReportAllocs()
				for b.Loop() {
					a.Now += time.Millisecond
					a.Key = key(int(a.Now))
					if got, _ := p.Pick(&a); got != nil {
						got.End()
					}
				}
			})
		}
	}
}

func BenchmarkExchangeParallel(b *testing.B) {
	for _, n := range []int{64, 10_000} {
		for _, policy := range lb.Policies() {
			b.Run(policy.String()+"/"+strconv.Itoa(n), func(b *testing.B) {
				p := benchPool(b, policy, n)
				b.ReportAllocs()
				b.ResetTimer() // tables are made before
				b.RunParallel(func(pb *testing.PB) {
					a, i := lb.Ask{Keyed: true}, 0
					for pb.Next() {
						i++
						exchange(p, &a, i)
					}
				})
			})
		}
	}
}

// BenchmarkUpdate is a list in which one endpoint comes or goes.
func BenchmarkUpdate(b *testing.B) {
	for _, policy := range lb.Policies() {
		b.Run(policy.String(), func(b *testing.B) {
			p := benchPool(b, policy, 1000)
			i := 0
			for b.Loop() {
				i++
				if err := p.Update(lb.Options{Policy: policy, Seed: 1}, members(1000-i%2), time.Duration(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFlap is one endpoint of a thousand that turns sick or ready.
func BenchmarkFlap(b *testing.B) {
	for _, policy := range lb.Policies() {
		b.Run(policy.String(), func(b *testing.B) {
			p := benchPool(b, policy, 1000)
			n, i := p.Nodes()[500], 0
			for b.Loop() {
				i++
				p.Set(n, lb.Standing(i%2*2), time.Duration(i))
			}
		})
	}
}

func benchPool(b *testing.B, policy lb.Policy, n int) *lb.Pool {
	b.Helper()
	p, err := lb.New(lb.Options{Policy: policy, Seed: 1}, members(n), 0)
	if err != nil {
		b.Fatal(err)
	}
	for i, node := range p.Nodes() {
		node.Observe(0, time.Duration(5+i%10)*time.Millisecond, lb.Served)
	}
	return p
}

// Some of ten thousand are full, or start slowly.
func BenchmarkSomeDiffer(b *testing.B) {
	const n = 10_000
	for _, policy := range []lb.Policy{lb.Random, lb.P2C, lb.P2CEWMA, lb.RoundRobin, lb.LeastConn} {
		list := members(n)
		for i := range list {
			list[i].Limit = i % 2
		}
		half := newPool(b, 1, lb.Options{Policy: policy}, list)
		for i, node := range half.Nodes() {
			if i%2 == 1 {
				half.Pick(&lb.Ask{Sticky: node})
			}
		}
		slow := newPool(b, 1, lb.Options{Policy: policy, SlowStart: window}, members(n))
		for _, node := range slow.Nodes()[:n/10] {
			slow.Set(node, lb.Sick, time.Second)
			slow.Set(node, lb.Ready, 2*time.Hour)
		}
		for name, p := range map[string]*lb.Pool{"full": half, "slow start": slow} {
			b.Run(policy.String()+"/"+name, func(b *testing.B) {
				for b.Loop() {
					node, _ := p.Pick(&lb.Ask{Now: 2 * time.Hour})
					node.End()
				}
			})
		}
	}
}
