package pool_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/pool"
)

// Whatever becomes of requests, what they had is given back exactly once.
func TestStormLeavesNothing(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, rand.Uint64()} {
		o := inOrder(6)
		o.LB.Policy, o.LB.Queue, o.LB.QueueTimeout = lb.P2CEWMA, 4, 5*time.Millisecond
		o.Throttle, o.Adaptive, o.HedgeAfter = true, true, time.Millisecond
		o.Limits = overload.Limits{Requests: 20, Pending: 12, Retries: 5}
		o.Budget = overload.BudgetOptions{Share: 10, PerSecond: 1000}
		for i := range o.Endpoints {
			o.Endpoints[i].Limit = 3
		}
		p := newPool(t, o)
		errs := []error{errDown, errSlow, errLoop, answer("503 No"), answer("407 Who"), answer("500 No"), silence(), context.Canceled}
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				w := walker{dice: rand.New(rand.NewPCG(seed, uint64(i))), p: p, errs: errs}
				for range 60 {
					w.walk(t)
				}
			})
		}
		all.Wait()
		if !eventually(func() bool { return p.View().Pending.InUse == 0 }) {
			t.Error("somebody is still waiting")
		}
		idle(t, p)
		if t.Failed() {
			t.Logf("seed %d", seed)
			return
		}
	}
}

// walker makes requests of all kinds, one after another.
type walker struct {
	dice *rand.Rand
	p    *pool.Pool
	r    pool.Request
	errs []error
}

func (w *walker) walk(t *testing.T) {
	a := to([]string{"x.test", "y.test", "z.test"}[w.dice.IntN(3)])
	a.DialTimeout = 8 * time.Millisecond
	if w.r.Begin(w.p, a, clock.Now()) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+w.dice.IntN(20))*time.Millisecond)
	defer cancel()
	if w.dice.IntN(3) == 0 {
		_, _ = w.r.Pick(clock.Now())
	}
	for range w.dice.IntN(4) {
		s := script{}
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			switch err := w.errs[w.dice.IntN(len(w.errs))]; w.dice.IntN(4) {
			case 0:
				s[id] = says(err)
			case 1:
				s[id] = hangs(err)
			}
		}
		if _, _, err := open(ctx, &w.r, s); err != nil {
			break
		}
		if w.dice.IntN(2) == 0 {
			w.r.Await(clock.Now(), nobody)
		}
		if w.dice.IntN(2) == 0 {
			w.r.Answered(clock.Now())
		}
		if w.dice.IntN(3) == 0 {
			w.r.Failed(clock.Now(), w.errs[w.dice.IntN(len(w.errs))])
			w.r.MayRetry(clock.Now())
		}
	}
	rep := health.Report{Status: 200 + 101*w.dice.IntN(4), Blame: health.Blame(w.dice.IntN(5)), Fault: fault.Kind(w.dice.IntN(12))}
	if w.dice.IntN(2) == 0 {
		w.r.End(clock.Now(), rep)
		if w.dice.IntN(4) == 0 {
			w.r.End(clock.Now(), rep)
		}
		return
	}
	l := w.r.Take()
	w.r.End(clock.Now(), rep)
	l.End(clock.Now(), rep)
	if w.dice.IntN(4) == 0 {
		l.End(clock.Now(), rep)
	}
}
