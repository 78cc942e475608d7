package lb_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"viaduct/lb"
)

// A node that is allowed k more requests gets k, whatever it had before, and
// then none: neither by the policy, nor because they belong to it.
func TestAllowIsExact(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		for _, n := range []int{1, 3, 300} {
			p := newPool(t, 1, lb.Options{Policy: policy}, members(n))
			node, others := p.Nodes()[0], p.Nodes()[1:]
			a := lb.Ask{Key: 3, Keyed: true, Tried: others}
			for range 5 {
				once(t, p, a)
			}
			for _, k := range []int{0, 1, 7} {
				node.Allow(99) // the last word counts
				node.Allow(k)
				for i := range k {
					if a.Sticky = nil; i%2 == 0 {
						a.Sticky = node
					}
					once(t, p, a)
				}
				for _, a.Sticky = range []*lb.Node{nil, node} {
					if got, how := p.Pick(&a); got != nil || how != lb.Full {
						t.Fatalf("after %d of %d: %v, %v", k, k, got, how)
					}
				}
				for i := range 20 * (n - 1) {
					if got := once(t, p, lb.Ask{Key: key(i), Keyed: true}); got == node {
						t.Fatalf("%s was allowed %d, and has one more", got.ID(), k)
					}
				}
			}
			if node.Picks() != 5+0+1+7 {
				t.Fatalf("it has %d picks", node.Picks())
			}
			node.Allow(-1)
			for range 100 {
				once(t, p, a)
			}
		}
	})
}

// An allowance and a limit: what runs at a time is bounded by the one, what is
// begun by the other.
func TestAllowBesideALimit(t *testing.T) {
	p := newPool(t, 1, lb.Options{}, limited(1, 2))
	n := p.Nodes()[0]
	n.Allow(3)
	take(t, p, lb.Ask{})
	take(t, p, lb.Ask{})
	full := func(what string) {
		t.Helper()
		if got, how := p.Pick(&lb.Ask{}); got != nil || how != lb.Full {
			t.Fatalf("%s: %v, %v", what, got, how)
		}
	}
	full("two of two at a time")
	n.End()
	take(t, p, lb.Ask{})
	n.End()
	full("three of three")
	if n.InFlight() != 1 || p.InFlight() != 1 {
		t.Fatalf("%d and %d in flight: who was refused counts", n.InFlight(), p.InFlight())
	}
	update(t, p, 1, lb.Options{}, limited(1, 2), 0)
	full("the same list again")
	n.Allow(1)
	take(t, p, lb.Ask{})
	full("one more")
}

func TestAllowIsExactForManyHands(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p, err := lb.New(lb.Options{Policy: policy, HashBound: 2}, limited(3, 4), 0)
		if err != nil {
			t.Fatal(err)
		}
		const each = 500
		for _, n := range p.Nodes() {
			n.Allow(0)
		}
		var served atomic.Int64
		var done sync.WaitGroup
		for hand := range 8 {
			done.Go(func() {
				for i := 0; served.Load() < 3*each; i++ {
					a := lb.Ask{Key: key(hand + i), Keyed: true}
					if n, _ := p.Pick(&a); n != nil {
						served.Add(1)
						n.End()
					}
				}
			})
		}
		for _, n := range p.Nodes() {
			n.Allow(each)
		}
		done.Wait()
		for i := range 100 {
			if n, how := p.Pick(&lb.Ask{Key: key(i), Keyed: true}); n != nil || how != lb.Full {
				t.Fatalf("all were used: %v, %v", n, how)
			}
		}
		for _, n := range p.Nodes() {
			if n.Picks() != each {
				t.Errorf("%s was allowed %d and has %d", n.ID(), each, n.Picks())
			}
		}
		idle(t, p)
	})
}

// Who waits is served as soon as more is allowed, and only so many.
func TestAllowServesThoseWhoWait(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		l := newLine(t, lb.Options{Policy: policy}, members(1))
		n := l.pool.Nodes()[0]
		n.Allow(0)
		var order []int
		for range 8 {
			order = append(order, l.join(t.Context(), lb.Ask{}))
		}
		n.Allow(2)
		l.bySet(order[:2])
		if l.pool.Waiting() != 6 || n.InFlight() != 2 {
			t.Fatalf("of 8 two are allowed: %d wait, %d are in flight", l.pool.Waiting(), n.InFlight())
		}
		n.End() // is no allowance
		n.Allow(1)
		l.bySet(order[2:3])
		n.Allow(-1)
		l.bySet(order[3:])
		for range 7 {
			n.End()
		}
		idle(t, l.pool)
	})
}

// bySet wants these to be served next; served at once, they tell it in any order.
func (l *line) bySet(who []int) {
	l.t.Helper()
	want := map[int]bool{}
	for _, w := range who {
		want[w] = true
	}
	for range who {
		if a := l.answer(); a.node == nil || !want[a.who] {
			l.t.Fatalf("waiter %d is answered %v, want one of %v served", a.who, a.how, who)
		}
	}
}

func TestExplainSaysThatMoreIsNotAllowed(t *testing.T) {
	p := newPool(t, 1, lb.Options{}, members(2))
	n := p.Nodes()
	n[0].Allow(0)
	e := p.Explain(&lb.Ask{})
	if e.Chosen != n[1] || !strings.Contains(e.Candidates[0].Excluded, "full") || e.Candidates[1].Excluded != "" {
		t.Errorf("one is allowed nothing: %v, %q", naming(e.Chosen, e.How), e.Candidates[0].Excluded)
	}
	n[1].Allow(0)
	if e := p.Explain(&lb.Ask{}); e.Chosen != nil || e.How != lb.Full {
		t.Errorf("both are: %v", naming(e.Chosen, e.How))
	}
	n[0].Allow(1)
	for range 3 { // and asking uses nothing of it
		if e := p.Explain(&lb.Ask{}); e.Chosen != n[0] || e.Candidates[0].Excluded != "" {
			t.Errorf("one more is allowed: %v, %q", naming(e.Chosen, e.How), e.Candidates[0].Excluded)
		}
	}
}
