package pool_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/pool"
)

func TestNextEndpointTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(3))
		r := begin(t, p, to("x.test"), clock.Now())
		if e, err := r.Pick(clock.Now()); err != nil || e.ID() != "a" {
			t.Fatal(e, err)
		}
		got, e, err := open(t.Context(), r, script{"a": says(errDown)})
		if err != nil || got != "b" || e.ID() != "b" || r.Endpoint() != e || r.Tries() != 2 {
			t.Fatal(got, e, err, r.Tries())
		}
		r.Answered(clock.Now())
		r.End(clock.Now(), served)
		idle(t, p)
		if a := endpoint(t, p, "a"); a.Failures != 1 || a.Picks != 1 || a.Errors != 1 {
			t.Errorf("%+v", a)
		}
		if b := endpoint(t, p, "b"); b.Failures != 0 || b.Picks != 1 {
			t.Errorf("%+v", b)
		}
	})
}

func TestAllDownIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(3))
		for _, how := range []struct {
			err    error
			within time.Duration
		}{{errDown, 0}, {errSlow, 6 * time.Second}} {
			begun := time.Now()
			r := begin(t, p, to("x.test"), clock.Now())
			do := says(how.err)
			if how.err == errSlow {
				do = hangs(how.err)
			}
			_, e, err := open(t.Context(), r, script{"a": do, "b": do, "c": do})
			r.End(clock.Now(), health.Report{Blame: health.ByUs})
			bad, is := errors.AsType[*fault.Error](err)
			if !is || bad.Kind != fault.DestinationUnavailable || bad.Status() != 503 || bad.Say() != "No way out is available." || !errors.Is(err, how.err) || e != nil {
				t.Errorf("%v: %v", how.err, err)
			}
			if took := time.Since(begun); took > how.within {
				t.Errorf("%v: after %v", how.err, took)
			}
			idle(t, p)
		}
		if n := p.View().Unavailable["unreached"]; n != 2 {
			t.Errorf("%d requests without a way out", n)
		}
	})
}

func TestEndpointThatWasNotConnectedToDoesNotCount(t *testing.T) {
	for _, c := range []struct {
		name    string
		retries int
		err     error
		tries   int
	}{
		{"down, 2 retries", 2, errDown, 8},
		{"down, 1 retry", 1, errDown, 8},
		{"down, none", 0, errDown, 1},
		{"no, 2 retries", 2, answer("503 No"), 3},
		{"no, 1 retry", 1, answer("403 No"), 2},
		{"no, none", 0, answer("403 No"), 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := inOrder(8)
			o.Retries = c.retries
			p := newPool(t, o)
			s := script{}
			for _, e := range o.Endpoints {
				s[e.ID] = says(c.err)
			}
			r := begin(t, p, to("x.test"), clock.Now())
			_, _, err := open(t.Context(), r, s)
			if r.Tries() != c.tries || !errors.Is(err, c.err) {
				t.Errorf("%s: %d tries: %v", c.name, r.Tries(), err)
			}
			r.End(clock.Now(), health.Report{Blame: health.ByUs})
			idle(t, p)
		})
	}
}

func TestLaterFailureToConnectHidesNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(2))
		no := answer("403 No")
		r := begin(t, p, to("x.test"), clock.Now())
		_, _, err := open(t.Context(), r, script{"a": says(no), "b": says(errDown)})
		r.End(clock.Now(), health.Report{Blame: health.ByUs})
		if !errors.Is(err, no) {
			t.Error(err)
		}
	})
}

func TestSilentTryIsJoined(t *testing.T) {
	for _, c := range []struct {
		after, took time.Duration
		doubted     int
	}{{0, 2 * time.Second, 1}, {100 * time.Millisecond, 100 * time.Millisecond, 0}} {
		synctest.Test(t, func(t *testing.T) {
			o := inOrder(3)
			o.HedgeAfter = c.after
			p := newPool(t, o)
			begun := time.Now()
			r := begin(t, p, to("x.test"), clock.Now())
			got, _, err := open(t.Context(), r, script{"a": hangs(errSlow)})
			if took := time.Since(begun); err != nil || got != "b" || took != c.took {
				t.Error(got, err, took)
			}
			r.Answered(clock.Now())
			r.End(clock.Now(), served)
			v := p.View()
			if v.Hedges != 1 || v.Retries.Taken != 1 {
				t.Errorf("%+v", v)
			}
			a := endpoint(t, p, "a")
			if a.Resting != c.doubted || a.Errors != 0 {
				t.Errorf("%+v", a)
			}
			synctest.Wait()
			idle(t, p)
		})
	}
}

func TestTwoTriesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inOrder(6)
		o.Retries, o.HedgeAfter = 5, 10*time.Millisecond
		p := newPool(t, o)
		var now, most atomic.Int32
		s := script{}
		for _, e := range o.Endpoints {
			s[e.ID] = func(ctx context.Context) (string, error) {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				return hangs(errSlow)(ctx)
			}
		}
		begun := time.Now()
		r := begin(t, p, to("x.test"), clock.Now())
		_, _, err := open(t.Context(), r, s)
		if took := time.Since(begun); err == nil || took != 6*time.Second {
			t.Errorf("%v after %v, want 1.5 times the dial timeout", err, took)
		}
		r.End(clock.Now(), health.Report{Blame: health.ByUs})
		synctest.Wait()
		if most.Load() != 2 || now.Load() != 0 {
			t.Errorf("%d tries at a time, %d left", most.Load(), now.Load())
		}
		idle(t, p)
	})
}

func TestTryThatDoesNotHeedItsContextIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(1))
		var dropped []string
		release := make(chan struct{})
		begun := time.Now()
		r := begin(t, p, to("x.test"), clock.Now())
		_, _, err := pool.Open(t.Context(), r, func(context.Context, *pool.Endpoint) (string, error) {
			<-release
			return "late", nil
		}, func(s string) { dropped = append(dropped, s) })
		if took := time.Since(begun); fault.Classify(err) != fault.ConnectionTimeout || took > 7*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		r.End(clock.Now(), health.Report{Blame: health.ByUs})
		idle(t, p)
		close(release)
		synctest.Wait()
		if len(dropped) != 1 {
			t.Errorf("dropped %v", dropped)
		}
	})
}

func TestNothingIsTriedWhenTheClientHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(5))
		var tries, dropped atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		r := begin(t, p, to("x.test"), clock.Now())
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		_, e, err := pool.Open(ctx, r, func(ctx context.Context, _ *pool.Endpoint) (string, error) {
			tries.Add(1)
			<-ctx.Done()
			return "too late", nil
		}, func(string) { dropped.Add(1) })
		if !errors.Is(err, context.Canceled) || e != nil || time.Since(begun) != time.Second {
			t.Error(err, e, time.Since(begun))
		}
		r.End(clock.Now(), health.Report{Blame: health.ByClient})
		time.Sleep(time.Minute) // of the bubble
		if tries.Load() != 1 || dropped.Load() != 1 {
			t.Errorf("%d tries, %d dropped", tries.Load(), dropped.Load())
		}
		idle(t, p)
		if a := endpoint(t, p, "a"); a.Failures != 0 || a.Errors != 0 {
			t.Errorf("%+v", a)
		}
	})
}

func TestWinnerIsTakenOnceAndLoserDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inOrder(2)
		o.HedgeAfter = time.Second
		p := newPool(t, o)
		var dropped []string
		r := begin(t, p, to("x.test"), clock.Now())
		got, e, err := pool.Open(t.Context(), r, func(_ context.Context, e *pool.Endpoint) (string, error) {
			time.Sleep(map[string]time.Duration{"a": 3 * time.Second, "b": 2 * time.Second}[e.ID()]) // both at 3 s
			return e.ID(), nil
		}, func(s string) { dropped = append(dropped, s) })
		synctest.Wait()
		if err != nil || e.ID() != got || len(dropped) != 1 || dropped[0] == got {
			t.Error(got, e, err, dropped)
		}
		r.Answered(clock.Now())
		r.End(clock.Now(), served)
		idle(t, p)
	})
}

func TestLoopEndsARequestAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, err := range map[string]error{
			"our own tag": errLoop, "the parent's answer": answer("421 Loop"), "what was asked for": fault.Bad(400, "No."),
			"our guard": fault.New(fault.DestinationIPProhibited, nil),
		} {
			p := newPool(t, inOrder(3))
			r := begin(t, p, to("x.test"), clock.Now())
			_, _, got := open(t.Context(), r, script{"a": says(err)})
			r.End(clock.Now(), health.Report{Blame: health.ByUs})
			if !errors.Is(got, err) || r.Tries() != 1 {
				t.Errorf("%s: %d tries: %v", name, r.Tries(), got)
			}
			if rests := endpoint(t, p, "a").RestsEverywhere; rests {
				t.Errorf("%s: rests %v", name, rests)
			}
			idle(t, p)
		}
	})
}

func TestPanicOfATryIsThatOfItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(2))
		r := begin(t, p, to("x.test"), clock.Now())
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, "the try of a test") || !strings.Contains(text, "open_test.go") {
					t.Errorf("panicked with %q", text)
				}
			}()
			_, _, _ = pool.Open(t.Context(), r, func(context.Context, *pool.Endpoint) (string, error) { panic("the try of a test") }, keep)
		}()
		r.End(clock.Now(), health.Report{Blame: health.ByUs})
		idle(t, p)
	})
}

func TestSentRequestIsTriedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(3))
		r := begin(t, p, to("x.test"), clock.Now())
		first, _ := r.Pick(clock.Now())
		r.Failed(clock.Now(), fault.New(fault.ConnectionTerminated, nil))
		if r.Endpoint() != nil || !r.MayRetry(clock.Now()) || !r.MayRetry(clock.Now()) {
			t.Fatal("no other endpoint may be tried")
		}
		_, e, err := open(t.Context(), r, script{})
		if err != nil || e == first {
			t.Fatal(e, err)
		}
		if v := p.View(); v.Retries.Taken != 1 || v.Retries.InUse != 1 {
			t.Errorf("asked twice whether it may, it counts once: %+v", v.Retries)
		}
		r.Failed(clock.Now(), fault.New(fault.ConnectionTerminated, nil))
		if !r.MayRetry(clock.Now()) {
			t.Fatal("the second retry is refused")
		}
		_, _, _ = open(t.Context(), r, script{})
		r.Failed(clock.Now(), fault.New(fault.ConnectionTerminated, nil))
		if r.MayRetry(clock.Now()) {
			t.Error("there is no fourth endpoint")
		}
		r.End(clock.Now(), health.Report{})
		idle(t, p)
	})
}

func TestFullPoolIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inOrder(2)
		o.LB.Queue, o.LB.QueueTimeout = 1, 5*time.Second
		for i := range o.Endpoints {
			o.Endpoints[i].Limit = 1
		}
		p := newPool(t, o)
		var held []*pool.Request
		for range 2 {
			r := begin(t, p, to("x.test"), clock.Now())
			if _, err := r.Pick(clock.Now()); err != nil {
				t.Fatal(err)
			}
			held = append(held, r)
		}
		r := begin(t, p, to("x.test"), clock.Now())
		if _, err := r.Pick(clock.Now()); !errors.Is(err, pool.ErrWait) {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { held[1].End(clock.Now(), served) })
		begun := time.Now()
		_, e, err := open(t.Context(), r, script{})
		if err != nil || e.ID() != "b" || time.Since(begun) != time.Second {
			t.Error(e, err, time.Since(begun))
		}
		late := begin(t, p, to("x.test"), clock.Now())
		_, _, err = open(t.Context(), late, script{})
		if fault.Classify(err) != fault.DestinationUnavailable || time.Since(begun) != 6*time.Second {
			t.Error(err, time.Since(begun))
		}
		late.End(clock.Now(), health.Report{Blame: health.ByUs})
		gone := begin(t, p, to("x.test"), clock.Now())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, _, err = open(ctx, gone, script{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		gone.End(clock.Now(), health.Report{Blame: health.ByClient})
		r.End(clock.Now(), served)
		held[0].End(clock.Now(), served)
		if v := p.View(); v.Unavailable["queue_timeout"] != 1 {
			t.Errorf("%v", v.Unavailable)
		}
		idle(t, p)
	})
}

func TestPendingLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inOrder(2)
		o.Limits = overload.Limits{Pending: 1}
		o.Retries = 0
		p := newPool(t, o)
		first := begin(t, p, to("x.test"), clock.Now())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, _, err := open(ctx, first, script{"a": hangs(errSlow)})
			ended <- err
		}()
		synctest.Wait()
		r := begin(t, p, to("x.test"), clock.Now())
		_, _, err := open(t.Context(), r, script{})
		if bad, is := errors.AsType[*fault.Error](err); !is || bad.Status() != 503 || bad.Kind != fault.ConnectionLimitReached {
			t.Error(err)
		}
		r.End(clock.Now(), health.Report{Blame: health.ByUs})
		cancel()
		<-ended
		first.End(clock.Now(), health.Report{Blame: health.ByClient})
		idle(t, p)
	})
}

// Parents behind which everything fails are asked little more than was asked for,
// however many of them can't even be connected to.
func TestBudgetBoundsWhatIsSaidWhenAllFails(t *testing.T) {
	for down := range 8 {
		synctest.Test(t, func(t *testing.T) {
			o := inOrder(8)
			o.LB.Policy, o.Retries = lb.RoundRobin, 5
			o.Health.Passive.Off = true // or there were none to try
			p := newPool(t, o)
			s, said := script{}, 0
			for i, e := range o.Endpoints {
				if s[e.ID] = says(errDown); i >= down {
					no := answer("503 No")
					s[e.ID] = func(context.Context) (string, error) { said++; return "", no }
				}
			}
			const requests = 2000
			begun := time.Now()
			for range requests {
				r := begin(t, p, to("x.test"), clock.Now())
				_, _, _ = open(t.Context(), r, s)
				r.End(clock.Now(), health.Report{Blame: health.ByUs})
				time.Sleep(time.Millisecond)
			}
			most := int(1.2*requests + 10*(time.Since(begun).Seconds()+1))
			if said > most || said < requests*9/10 {
				t.Errorf("%d of 8 down: asked %d times for %d requests, want %d at most", down, said, requests, most)
			}
			idle(t, p)
		})
	}
}

// Who can't be connected to costs no budget, and the ones that can are found.
func TestDeadEndpointsCostNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inOrder(12)
		o.Health.Passive.Off = true
		o.Budget = overload.BudgetOptions{Share: -1, PerSecond: -1}
		p := newPool(t, o)
		s := script{}
		for _, e := range o.Endpoints[:11] {
			s[e.ID] = says(errDown)
		}
		for range 50 {
			r := begin(t, p, to("x.test"), clock.Now())
			if got, _, err := open(t.Context(), r, s); got != "l" || r.Tries() != 12 {
				t.Fatalf("%q after %d tries: %v", got, r.Tries(), err)
			}
			r.Answered(clock.Now())
			r.End(clock.Now(), served)
		}
		if v := p.View().Retries; v.Taken != 50*11 || v.Refused != 0 {
			t.Errorf("%+v", v)
		}
		idle(t, p)
	})
}

// However many are dead, one request does not try them all.
func TestOneRequestTriesNoMoreThanSixteen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inOrder(40)
		o.Health.Passive.Off = true
		p := newPool(t, o)
		s := script{}
		for _, e := range o.Endpoints {
			s[e.ID] = says(errDown)
		}
		r := begin(t, p, to("x.test"), clock.Now())
		if _, _, err := open(t.Context(), r, s); r.Tries() != 16 || !errors.Is(err, errDown) {
			t.Errorf("%d tries: %v", r.Tries(), err)
		}
		r.End(clock.Now(), health.Report{Blame: health.ByUs})
		idle(t, p)
	})
}

// A hedge does not go by what a dead endpoint would have been free for.
func TestHedgesCostBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inOrder(3)
		o.HedgeAfter = time.Second
		o.Budget = overload.BudgetOptions{Share: -1, PerSecond: -1}
		p := newPool(t, o)
		r := begin(t, p, to("x.test"), clock.Now())
		_, _, err := open(t.Context(), r, script{"a": says(errDown), "b": hangs(silence())})
		if err == nil || r.Tries() != 2 {
			t.Errorf("%d tries: %v", r.Tries(), err)
		}
		r.End(clock.Now(), health.Report{Blame: health.ByUs})
		synctest.Wait()
		idle(t, p)
		if v := p.View(); v.Hedges != 0 || v.Retries.Refused == 0 {
			t.Errorf("%+v", v.Retries)
		}
	})
}
