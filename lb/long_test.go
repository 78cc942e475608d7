package lb_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"viaduct/lb"
)

// A long line costs an end of a request little, whoever waits in it: with many
// times as many, all of whom may or may not have the place, no more choices are
// tried. A choice rolls dice.
func TestLongLineCostsLittle(t *testing.T) {
	alone(t)
	for _, kind := range []string{"plain", "tried another", "tried that one"} {
		if short, long := ends(t, kind, 100), ends(t, kind, 2000); long > 2*short {
			t.Errorf("%s: fifty ends roll %d dice while 100 wait, %d while 2000 do", kind, short, long)
		}
	}
}

// ends is how many dice are rolled when fifty requests end while so many wait.
func ends(t *testing.T, kind string, waiters int) (rolled int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		const n = 100
		var rolls atomic.Int64
		pool := newPool(t, 1, lb.Options{Policy: lb.P2CEWMA, Queue: waiters, Rand: func() uint64 {
			rolls.Add(1)
			return rand.Uint64()
		}}, limited(n, 1))
		nodes := pool.Nodes()
		for range n {
			take(t, pool, lb.Ask{})
		}
		tried := map[string][]*lb.Node{"tried another": nodes[50:51], "tried that one": nodes[:50]}[kind]
		ctx, leave := context.WithCancel(t.Context())
		answers := make(chan answer, waiters)
		for i := range waiters {
			go waitFor(pool, ctx, i, lb.Ask{Tried: tried}, answers)
		}
		synctest.Wait() // all have looked, and wait
		before := rolls.Load()
		for _, n := range nodes[:50] {
			n.End()
		}
		rolled = rolls.Load() - before
		want := 50
		if kind == "tried that one" {
			want = 0
		}
		if got := waiters - pool.Waiting(); got != want {
			t.Errorf("%s: of %d waiters %d have the 50 places", kind, waiters, got)
		}
		leave()
		for range waiters {
			<-answers
		}
	})
	return rolled
}

// However many wait in front who can't use a place, who can is served.
func TestWaiterBehindManyIsServed(t *testing.T) {
	list := limited(2, 0)
	list[1].Limit = 1
	l := newLine(t, lb.Options{Policy: lb.RoundRobin, PanicBelow: -1, Queue: 1000}, list)
	idle := l.pool.Nodes()[0]
	l.pool.Set(idle, lb.Sick, 0)
	held := take(t, l.pool, lb.Ask{})
	for range 90 {
		l.join(t.Context(), lb.Ask{Tried: []*lb.Node{idle}})
	}
	last := l.join(t.Context(), lb.Ask{})
	l.pool.Set(idle, lb.Ready, 0)
	if got := l.served(last); got != idle {
		t.Fatalf("%s is ready, and it was served by %s", idle.ID(), got.ID())
	}
	for range 90 {
		held.End()
		held = l.answer().node
	}
}
