package lb_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/lb"
)

// answer is what Wait has answered.
type answer struct {
	who  int
	node *lb.Node
	how  lb.How
}

// line is a pool with waiters that tell when they are served.
type line struct {
	t       *testing.T
	pool    *lb.Pool
	answers chan answer
	waiters int
}

func newLine(t *testing.T, o lb.Options, list []lb.Member) *line {
	t.Helper()
	if o.Queue == 0 {
		o.Queue = 100
	}
	o.Rand = rand.Uint64 // a seeded one is for one goroutine
	return &line{t: t, pool: newPool(t, 1, o, list), answers: make(chan answer, 100)}
}

func waitFor(p *lb.Pool, ctx context.Context, who int, a lb.Ask, to chan<- answer) { //nolint:revive // the context is what is waited for
	n, how := p.Wait(ctx, &a)
	to <- answer{who, n, how}
}

// join lets one more wait, and comes back when it stands in the line.
func (l *line) join(ctx context.Context, a lb.Ask) int {
	l.t.Helper()
	before := l.pool.Waiting()
	l.waiters++
	go waitFor(l.pool, ctx, l.waiters, a, l.answers)
	l.until("it waits", func() bool { return l.pool.Waiting() == before+1 })
	return l.waiters
}

func (l *line) until(what string, holds func() bool) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(end) {
			l.t.Fatalf("not within 20 s: %s", what)
		}
		pause()
	}
}

func pause() { <-time.After(100 * time.Microsecond) }

func (l *line) answer() answer {
	l.t.Helper()
	select {
	case a := <-l.answers:
		return a
	case <-time.After(20 * time.Second):
		l.t.Fatal("a waiter is forgotten")
		panic("unreachable")
	}
}

// served wants this waiter to be the next.
func (l *line) served(who int) *lb.Node {
	l.t.Helper()
	a := l.answer()
	if a.node == nil || a.who != who {
		l.t.Fatalf("waiter %d is answered %v, want waiter %d served", a.who, a.how, who)
	}
	return a.node
}

func TestWaitersAreServedInOrder(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		l := newLine(t, lb.Options{Policy: policy}, limited(2, 1))
		held := []*lb.Node{take(t, l.pool, lb.Ask{}), take(t, l.pool, lb.Ask{})}
		var order []int
		for i := range 10 {
			order = append(order, l.join(t.Context(), lb.Ask{Key: key(i), Keyed: true}))
		}
		for i, who := range order {
			held[i%2].End()
			held[i%2] = l.served(who)
		}
		held[0].End()
		held[1].End()
		idle(t, l.pool)
		if l.pool.Waiting() != 0 {
			t.Fatalf("%d wait for nothing", l.pool.Waiting())
		}
	})
}

// A place that is new is a place that is free: the first in the line has it.
func TestWaitersAreWokenByEveryChange(t *testing.T) {
	for name, change := range map[string]func(p *lb.Pool){
		"a higher limit": func(p *lb.Pool) { p.Nodes()[0].SetLimit(2) },
		"one is ready":   func(p *lb.Pool) { p.Set(p.Nodes()[1], lb.Ready, 0) },
		"one is new": func(p *lb.Pool) {
			list := append(limited(2, 1), lb.Member{ID: "new", Weight: 1, Limit: 1})
			update(t, p, 1, lb.Options{Queue: 100, Rand: rand.Uint64}, list, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 8 {
				l := newLine(t, lb.Options{}, limited(2, 1))
				l.pool.Set(l.pool.Nodes()[1], lb.Out, 0)
				held := take(t, l.pool, lb.Ask{})
				var order []int
				for range 5 {
					order = append(order, l.join(t.Context(), lb.Ask{}))
				}
				change(l.pool)
				free := l.served(order[0])
				for _, who := range order[1:] {
					free.End()
					free = l.served(who)
				}
				free.End()
				held.End()
				idle(t, l.pool)
			}
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	l := newLine(t, lb.Options{Queue: 2}, limited(1, 1))
	held := take(t, l.pool, lb.Ask{})
	one, two := l.join(t.Context(), lb.Ask{}), l.join(t.Context(), lb.Ask{})
	if n, how := l.pool.Wait(t.Context(), &lb.Ask{}); n != nil || how != lb.QueueFull {
		t.Fatalf("two of two wait: %v, %v", n, how)
	}
	held.End()
	l.served(one).End()
	l.served(two).End()
	none := newPool(t, 1, lb.Options{}, limited(1, 1))
	take(t, none, lb.Ask{})
	if n, how := none.Wait(t.Context(), &lb.Ask{}); n != nil || how != lb.Full && how != lb.QueueFull {
		t.Fatalf("without a queue: %v, %v", n, how)
	}
}

func TestWaitDoesNotWaitForNothing(t *testing.T) {
	p := newPool(t, 1, lb.Options{Queue: 5}, members(1))
	if n, how := p.Wait(t.Context(), &lb.Ask{}); n == nil || how != lb.ByPolicy {
		t.Fatalf("with a free one: %v, %v", n, how)
	}
	p.Set(p.Nodes()[0], lb.Out, 0)
	if n, how := p.Wait(t.Context(), &lb.Ask{}); n != nil || how != lb.None {
		t.Fatalf("with nobody to wait for: %v, %v", n, how)
	}
}

// Those for whom nobody is left need not stay.
func TestWaitersLeaveWhenNobodyIsLeft(t *testing.T) {
	l := newLine(t, lb.Options{}, limited(1, 1))
	take(t, l.pool, lb.Ask{})
	l.join(t.Context(), lb.Ask{})
	l.join(t.Context(), lb.Ask{})
	l.pool.Set(l.pool.Nodes()[0], lb.Out, 0)
	for range 2 {
		if a := l.answer(); a.node != nil || a.how != lb.None {
			t.Fatalf("%v, %v", a.node, a.how)
		}
	}
}

func TestWaitEnds(t *testing.T) {
	l := newLine(t, lb.Options{QueueTimeout: 30 * time.Millisecond}, limited(1, 1))
	held := take(t, l.pool, lb.Ask{})
	start := time.Now()
	l.join(t.Context(), lb.Ask{})
	if a := l.answer(); a.node != nil || a.how != lb.QueueTimeout {
		t.Fatalf("in time: %v, %v", a.node, a.how)
	}
	if time.Since(start) < 30*time.Millisecond {
		t.Fatalf("it waited for %v", time.Since(start))
	}
	l = newLine(t, lb.Options{}, limited(1, 1))
	held = errorless(held, take(t, l.pool, lb.Ask{}))
	ctx, cancel := context.WithCancelCause(t.Context())
	one, two := l.join(ctx, lb.Ask{}), l.join(t.Context(), lb.Ask{})
	cancel(errors.New("the client left"))
	if a := l.answer(); a.who != one || a.node != nil || a.how != lb.Gone {
		t.Fatalf("waiter %d: %v, %v", a.who, a.node, a.how)
	}
	held.End()
	l.served(two).End()
	idle(t, l.pool)
}

// errorless ends the first and keeps the second.
func errorless(old, held *lb.Node) *lb.Node {
	old.End()
	return held
}

// A place that the first in the line cannot use, since it has tried it, is not
// kept from those behind.
func TestWaiterThatCannotUseAPlaceHoldsNobodyUp(t *testing.T) {
	l := newLine(t, lb.Options{}, limited(2, 1))
	held := []*lb.Node{take(t, l.pool, lb.Ask{}), take(t, l.pool, lb.Ask{})}
	one := l.join(t.Context(), lb.Ask{Tried: held[:1]})
	two := l.join(t.Context(), lb.Ask{})
	held[0].End()
	got := l.served(two)
	held[1].End()
	l.served(one).End()
	got.End()
	idle(t, l.pool)
}

// Many wait, leave, are late: no place is lost, nobody is forgotten, and no
// node ever has more than its limit.
func TestNobodyIsForgotten(t *testing.T) {
	for _, policy := range []lb.Policy{lb.P2CEWMA, lb.RoundRobin, lb.LeastConn, lb.Hash} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			p, err := lb.New(lb.Options{Policy: policy, Queue: 1000}, limited(3, 2), 0)
			if err != nil {
				t.Fatal(err)
			}
			var mine [3]atomic.Int64
			var served atomic.Int64
			patient, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			var done sync.WaitGroup
			for hand := range 40 {
				done.Go(func() {
					dice := newDice(uint64(hand))
					for i := range 100 {
						ctx, cancel := patient, context.CancelFunc(func() {})
						if hand%4 == 0 { // these leave soon
							ctx, cancel = context.WithTimeout(patient, time.Duration(dice.IntN(200))*time.Microsecond)
						}
						n, how := p.Wait(ctx, &lb.Ask{Key: key(i), Keyed: true})
						cancel()
						switch {
						case n != nil:
							if x := mine[at(n)].Add(1); x > 2 {
								t.Errorf("%s has %d at a time", n.ID(), x)
							}
							if dice.IntN(4) == 0 {
								pause()
							}
							mine[at(n)].Add(-1)
							n.End()
							served.Add(1)
						case hand%4 != 0:
							t.Errorf("a patient one is sent away: %v", how)
							return
						}
					}
				})
			}
			done.Wait()
			idle(t, p)
			if served.Load() < 3000 {
				t.Errorf("%d were served", served.Load())
			}
			if p.Waiting() != 0 {
				t.Errorf("%d are left in the line", p.Waiting())
			}
			for range 6 {
				take(t, p, lb.Ask{})
			}
		})
	}
}

// While it is full, and nodes come and go.
func TestWaitersOutliveChanges(t *testing.T) {
	p, err := lb.New(lb.Options{Queue: 1000}, limited(4, 1), 0)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	var left atomic.Int64
	for range 16 {
		left.Add(1)
		done.Go(func() {
			defer left.Add(-1)
			for range 100 {
				n, how := p.Wait(t.Context(), &lb.Ask{})
				if n == nil {
					t.Errorf("sent away: %v", how)
					return
				}
				n.End()
			}
		})
	}
	for i := 0; left.Load() > 0; i++ {
		if i%2 == 0 {
			_ = p.Update(lb.Options{Queue: 1000}, slices.Delete(limited(4, 1), i%4, i%4+1), 0)
		} else {
			_ = p.Update(lb.Options{Queue: 1000}, limited(4, 1), 0)
		}
	}
	done.Wait()
	idle(t, p)
}

// A place that only those may have who belong to it is not kept from them by
// those who came first, who can't use it.
func TestWaiterThatBelongsThereIsServed(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		l := newLine(t, lb.Options{Policy: policy}, limited(2, 1))
		nodes := l.pool.Nodes()
		take(t, l.pool, lb.Ask{})
		take(t, l.pool, lb.Ask{})
		l.pool.Set(nodes[1], lb.Affine, 0)
		plain := l.join(t.Context(), lb.Ask{Key: 1, Keyed: true})
		own := l.join(t.Context(), lb.Ask{Sticky: nodes[1]})
		nodes[1].End()
		if got := l.served(own); got != nodes[1] {
			t.Fatalf("it was served by %s", got.ID())
		}
		nodes[0].End()
		if got := l.served(plain); got != nodes[0] {
			t.Fatalf("the other was served by %s", got.ID())
		}
	})
}
