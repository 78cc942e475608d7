package lb_test

import (
	"context"
	"testing"
	"time"

	"viaduct/lb"
)

// A long line costs an end of a request little, whoever waits in it: many times
// as many, all of whom may or may not have the place, do not take that many
// times as long.
func TestLongLineCostsLittle(t *testing.T) {
	alone(t)
	for _, kind := range []string{"plain", "tried another", "tried that one"} {
		took := map[int]time.Duration{}
		for _, waiters := range []int{100, 2000} {
			took[waiters] = ends(t, kind, waiters)
		}
		if short, long := took[100], took[2000]; long > 200*short+20*time.Millisecond {
			t.Errorf("%s: fifty ends take %v while 100 wait, %v while 2000 do", kind, short, long)
		}
	}
}

// ends is how long it takes fifty requests to end while so many wait.
func ends(t *testing.T, kind string, waiters int) time.Duration {
	t.Helper()
	const n = 100
	l := newLine(t, lb.Options{Policy: lb.P2CEWMA, Queue: waiters}, limited(n, 1))
	l.answers = make(chan answer, waiters)
	nodes := l.pool.Nodes()
	for range n {
		take(t, l.pool, lb.Ask{})
	}
	tried := map[string][]*lb.Node{"tried another": nodes[50:51], "tried that one": nodes[:50]}[kind]
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for i := range waiters {
		go waitFor(l.pool, ctx, i, lb.Ask{Tried: tried}, l.answers)
	}
	l.until("all wait", func() bool { return l.pool.Waiting() == waiters })
	start := time.Now()
	for _, n := range nodes[:50] {
		n.End()
	}
	took := time.Since(start)
	want := 50
	if kind == "tried that one" {
		want = 0
	}
	if got := waiters - l.pool.Waiting(); got != want {
		t.Errorf("%s: of %d waiters %d have the 50 places", kind, waiters, got)
	}
	leave()
	for range waiters {
		l.answer()
	}
	return took
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
