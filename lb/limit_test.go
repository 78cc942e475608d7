package lb_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"viaduct/lb"
)

// limited are n members that take so many requests at a time.
func limited(n, limit int) []lb.Member {
	list := members(n)
	for i := range list {
		list[i].Limit = limit
	}
	return list
}

// Every place is found, whatever the policy prefers, and then none is left.
func TestLimitsAreFilledAndKept(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, n := range []int{1, 4, 100, 300} {
				list := limited(n, 3)
				list[0].Limit = 7
				p := newPool(t, seed, lb.Options{Policy: policy}, list)
				a := lb.Ask{Key: 5, Keyed: true}
				for range 3*n + 4 {
					take(t, p, a)
				}
				for i, node := range p.Nodes() {
					if node.InFlight() != int64(list[i].Limit) {
						t.Fatalf("%s has %d of %d places taken", node.ID(), node.InFlight(), list[i].Limit)
					}
				}
				for range 10 {
					if got, how := p.Pick(&a); got != nil || how != lb.Full {
						t.Fatalf("all are full: %v, %v", got, how)
					}
				}
				free := p.Nodes()[n-1]
				free.End()
				if got := take(t, p, a); got != free {
					t.Fatalf("%s has a place, and %s was picked", free.ID(), got.ID())
				}
				if got, how := p.Pick(&lb.Ask{Sticky: free}); got != nil || how != lb.Full {
					t.Fatalf("it belongs to one that is full: %v, %v", got, how)
				}
			}
		})
	})
}

func TestLimitIsKeptByManyHands(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p, err := lb.New(lb.Options{Policy: policy, HashBound: 1.5}, limited(4, 3), 0)
		if err != nil {
			t.Fatal(err)
		}
		var mine [4]atomic.Int64
		var done sync.WaitGroup
		for hand := range 16 {
			done.Go(func() {
				for i := range 1000 {
					n, _ := p.Pick(&lb.Ask{Key: key(hand + i%3), Keyed: true})
					if n == nil {
						continue
					}
					if x := mine[at(n)].Add(1); x > 3 {
						t.Errorf("%s has %d requests at a time", n.ID(), x)
					}
					mine[at(n)].Add(-1)
					n.End()
				}
			})
		}
		done.Wait()
		idle(t, p)
	})
}

func TestSetLimitCounts(t *testing.T) {
	p := newPool(t, 1, lb.Options{}, limited(1, 1))
	n := take(t, p, lb.Ask{})
	n.SetLimit(2)
	take(t, p, lb.Ask{})
	n.SetLimit(1)
	n.End()
	if got, how := p.Pick(&lb.Ask{}); got != nil || how != lb.Full {
		t.Fatalf("one of one: %v, %v", got, how)
	}
	n.SetLimit(0)
	take(t, p, lb.Ask{})
	update(t, p, 1, lb.Options{}, limited(1, 1), 0) // says the same as before
	take(t, p, lb.Ask{})
	update(t, p, 1, lb.Options{}, limited(1, 2), 0)
	if got, how := p.Pick(&lb.Ask{}); got != nil || how != lb.Full {
		t.Fatalf("three of two: %v, %v", got, how)
	}
}
