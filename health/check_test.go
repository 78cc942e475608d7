package health_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/probe"
	"viaduct/verdict"
)

// TestTimesOfChecks: spread at first, the interval while nothing changes, fast
// while something does, all with jitter.
func TestTimesOfChecks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 5))
	check := newScript("x")
	running(t, health.Options{Checks: []health.Checker{check}, Rand: random.Uint64}, 26, func(t *testing.T, r *bed) {
		start := time.Now()
		<-time.After(61 * time.Second)
		synctest.Wait()
		var first, gaps []time.Duration
		for _, id := range r.ids {
			times := check.times(id)
			first = append(first, times[0].Sub(start))
			for i := range times[1:] {
				gaps = append(gaps, times[i+1].Sub(times[i]))
			}
		}
		slices.Sort(first)
		slices.Sort(gaps)
		if first[0] > 2500*time.Millisecond || first[25] < 2500*time.Millisecond || first[25] > 5*time.Second {
			t.Errorf("first checks from %s to %s", first[0], first[25]) // 2^-26: one run in many millions
		}
		if lo, hi := gaps[0], gaps[len(gaps)-1]; lo < 4*time.Second || hi > 6*time.Second || lo > 4300*time.Millisecond || hi < 5700*time.Millisecond {
			t.Errorf("from %s to %s between checks", lo, hi)
		}
		check.set("a", failing())
		n := len(check.times("a"))
		took := waits(t, "down", func() bool { return r.facts("a").Active == verdict.Down })
		times := check.times("a")[n:]
		if len(times) != 3 || took > 9*time.Second {
			t.Errorf("down after %d checks and %s", len(times), took)
		}
		for i := range times[1:] {
			if gap := times[i+1].Sub(times[i]); gap < 800*time.Millisecond || gap > 1200*time.Millisecond {
				t.Errorf("%s between checks while falling", gap)
			}
		}
		r.stands("a", lb.Sick)
		check.set("a", passing())
		waits(t, "up", func() bool { return r.facts("a").Active == verdict.Up })
		if l := r.b.Ledger("a"); !slices.EqualFunc(l, []string{"up", "falling", "down", "rising", "up"}, func(l verdict.Transition, to string) bool { return l.Fact == "active" && l.To == to }) {
			t.Errorf("%+v", l)
		} else if l[2].Cause != "x: it is broken (3 in a row)" || l[2].Streak != 3 || l[2].Check != "x" || l[4].Streak != 2 || l[4].When.Before(l[3].When) {
			t.Errorf("%+v", l)
		}
	})
}

func TestWordsActAtOnce(t *testing.T) {
	check := newScript("agent")
	say := func(w probe.Word, weight, limit int) {
		r := probe.Result{Word: w, Weight: weight, Limit: limit}
		if w == probe.SaysDown || w == probe.SaysStopped {
			r.Err = errBroken
		}
		check.set("a", r)
	}
	running(t, health.Options{Checks: []health.Checker{check}}, 2, func(t *testing.T, r *bed) {
		node := r.pool.Node("a")
		for _, c := range []struct {
			word          probe.Word
			weight, limit int
			standing      lb.Standing
			w             uint32
			l             int
		}{
			{probe.SaysUp, -1, -1, lb.Ready, 10, 0},
			{probe.SaysDrain, 75, -1, lb.Affine, 8, 0},
			{probe.NoWord, -1, 30, lb.Affine, 8, 30}, // what is not said anew stays
			{probe.SaysMaint, -1, -1, lb.Out, 8, 30},
			{probe.SaysReady, 100, 0, lb.Ready, 10, 0},
			{probe.SaysUp, 0, -1, lb.Ready, 0, 0},
			{probe.SaysUp, 150, -1, lb.Ready, 15, 0},
			{probe.SaysDown, -1, -1, lb.Sick, 15, 0},
			{probe.SaysUp, 1, 7, lb.Ready, 1, 7},
			{probe.SaysStopped, -1, -1, lb.Sick, 1, 7},
		} {
			say(c.word, c.weight, c.limit)
			waits(t, c.word.String(), func() bool {
				return node.Standing() == c.standing && node.Weight() == c.w && node.Limit() == c.l
			})
			asked := len(check.times("a"))
			say(c.word, c.weight, c.limit)
			waits(t, "asked", func() bool { return len(check.times("a")) > asked })
			if s := node.Standing(); s != c.standing {
				t.Errorf("%s: %s", c.word, s)
			}
		}
		down := r.b.Ledger("a")
		if l := down[len(down)-1]; l.To != "down" || l.From != "up" || !strings.Contains(l.Cause, "it says stopped itself") {
			t.Errorf("%+v", l)
		}
		r.o.Checks = nil
		r.update(r.ids...)
		if node.Weight() != 10 || node.Limit() != 0 || node.Standing() != lb.Ready {
			t.Errorf("without the agent: %d, %d, %s", node.Weight(), node.Limit(), node.Standing())
		}
	})
}

func TestWorstCheckCounts(t *testing.T) {
	one, two := newScript("one"), newScript("two")
	running(t, health.Options{Checks: []health.Checker{one, two, one}}, 1, func(t *testing.T, r *bed) {
		waits(t, "up", func() bool { return r.facts("a").Active == verdict.Up })
		two.set("a", failing())
		waits(t, "down", func() bool { return r.facts("a").Active == verdict.Down })
		if _, c, _ := r.b.Facts("a"); c.Text != "down: two: it is broken (3 in a row)" {
			t.Error(c)
		}
		v, _ := r.b.View("a")
		if len(v.Checks) != 2 || v.Checks[0].State != "up" || v.Checks[1].State != "down" || v.Checks[1].Error != "it is broken" || v.Standing != "sick" {
			t.Errorf("%+v", v)
		}
		// What is defined as before keeps its verdict, what is gone has none.
		r.o.Checks = []health.Checker{newScript("one")}
		r.update(r.ids...)
		if f := r.facts("a"); f.Active != verdict.Up {
			t.Errorf("%+v", f)
		}
		r.o.Checks = []health.Checker{one, newScript("two")}
		r.update(r.ids...)
		if f := r.facts("a"); f.Active != verdict.Unknown {
			t.Errorf("%+v", f)
		}
	})
}

// TestFlapsAreDamped: who goes down too often has to pass more checks each time,
// up to a bound, and is believed again when that is long ago.
func TestFlapsAreDamped(t *testing.T) {
	check := newScript("x")
	running(t, health.Options{Checks: []health.Checker{check}, Fast: 100 * time.Millisecond, Interval: 200 * time.Millisecond, Thresholds: verdict.Thresholds{Damping: verdict.Damping{Most: 12}}}, 1, func(t *testing.T, r *bed) {
		is := func(want verdict.Active) func() bool { return func() bool { return r.facts("a").Active == want } }
		waits(t, "up", is(verdict.Up))
		for i, want := range []int{2, 2, 2, 4, 8, 12, 12} {
			check.set("a", failing())
			waits(t, "down", is(verdict.Down))
			n := len(check.times("a"))
			check.set("a", passing())
			waits(t, "rising", is(verdict.Rising))
			_, cause, _ := r.b.Facts("a")
			if damped := strings.Contains(cause.Text, "more than usual"); damped != (want > 2) {
				t.Error(cause)
			}
			waits(t, "up", is(verdict.Up))
			if got := len(check.times("a")) - n; got != want {
				t.Errorf("flap %d: up after %d checks, want %d", i+1, got, want)
			}
		}
		<-time.After(5 * time.Minute)
		check.set("a", failing())
		waits(t, "down", is(verdict.Down))
		n := len(check.times("a"))
		check.set("a", passing())
		waits(t, "up", is(verdict.Up))
		if got := len(check.times("a")) - n; got != 2 {
			t.Errorf("long after: up after %d checks", got)
		}
	})
}

// TestFlapMovesNoKeyForGood: after twenty flaps each key is where it was.
func TestFlapMovesNoKeyForGood(t *testing.T) {
	r := newBed(t, health.Options{Ejection: verdict.Ejection{Base: 10, Heal: 1}}, 5)
	r.lo.Policy = lb.Maglev
	r.update(r.ids...)
	homes := func() (ids []string) {
		for key := range uint64(500) {
			n, _ := r.pool.Pick(&lb.Ask{Key: key * 0x9e3779b97f4a7c15, Keyed: true, Now: r.at})
			n.End()
			ids = append(ids, n.ID())
		}
		return ids
	}
	before := homes()
	for range 20 {
		r.report("c", 5, broken)
		if slices.Contains(homes(), "c") {
			t.Fatal("an ejected endpoint has keys")
		}
		r.pass(1000)
		r.report("c", 1, served)
	}
	if !slices.Equal(homes(), before) {
		t.Error("keys moved")
	}
}

// TestPanicIgnoresHealthAndNothingElse: all fail their checks, so all are used,
// but for one in maintenance and one that drains.
func TestPanicIgnoresHealthAndNothingElse(t *testing.T) {
	check := newScript("x")
	running(t, health.Options{Checks: []health.Checker{check}}, 4, func(t *testing.T, r *bed) {
		r.lo.PanicBelow = 0
		r.update(r.ids...)
		_, _ = r.b.SetAdmin("a", verdict.Maint, "eve"), r.b.SetAdmin("b", verdict.Drain, "eve")
		for _, id := range r.ids {
			check.set(id, failing())
		}
		waits(t, "down", func() bool { return r.facts("c").Active == verdict.Down && r.facts("d").Active == verdict.Down })
		if got := r.try(20); got["c"] == 0 || got["d"] == 0 || got["c"]+got["d"] != 20 {
			t.Error(got)
		}
		r.lo.PanicRefuse = true
		r.update(r.ids...)
		if got := r.try(20); len(got) != 0 {
			t.Error(got)
		}
	})
}

// stream is a check that is told what changes.
type stream struct {
	*script
	words chan probe.Result
	end   chan error
}

func (s *stream) WatchRun(ctx context.Context, _ probe.Endpoint, tell func(probe.Result)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.end:
			return err
		case r := <-s.words:
			tell(r)
		}
	}
}

func TestWatchIsBelievedAtOnce(t *testing.T) {
	running(t, health.Options{}, 0, func(t *testing.T, r *bed) {
		s := &stream{script: newScript("w"), words: make(chan probe.Result), end: make(chan error)}
		r.o.Checks = []health.Checker{s}
		r.update("a")
		s.words <- passing()
		waits(t, "up", func() bool { return r.facts("a").Active == verdict.Up })
		s.words <- failing()
		if took := waits(t, "down", func() bool { return r.facts("a").Active == verdict.Down }); took > 0 {
			t.Errorf("down after %s", took)
		}
		<-time.After(time.Minute)
		s.words <- passing()
		took := waits(t, "up", func() bool { return r.facts("a").Active == verdict.Up })
		if took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("up after %s: rise is 2, so silence has to pass once", took)
		}
		for range 5 { // connections grow old
			n := len(r.b.Ledger("a"))
			s.end <- nil
			s.words <- passing()
			synctest.Wait()
			if l := r.b.Ledger("a"); len(l) != n || r.facts("a").Active != verdict.Up {
				t.Errorf("%+v", l[n:])
			}
		}
		began := time.Now()
		s.end <- nil
		s.end <- nil // it has not spoken again
		waits(t, "falling", func() bool { return r.facts("a").Active == verdict.Falling })
		if took := time.Since(began); took > 1300*time.Millisecond {
			t.Errorf("watched again after %s", took)
		}
		waits(t, "silent", func() bool { return r.facts("a").Active == verdict.Down }) // by the timeout
		if l := r.b.Ledger("a"); !strings.Contains(l[len(l)-1].Cause, "the watch says nothing") {
			t.Errorf("%+v", l)
		}
		s.words <- passing()
		waits(t, "up", func() bool { return r.facts("a").Active == verdict.Up })
		s.end <- nil
		s.end <- probe.ErrUnimplemented
		waits(t, "asked", func() bool { return len(s.times("a")) > 3 })
		if f := r.facts("a"); f.Active != verdict.Up {
			t.Errorf("%+v", f)
		}
	})
}

// TestReloadIsNoHerd: checks whose times have changed are spread over the whole
// of the new ones.
func TestReloadIsNoHerd(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 5))
	check := newScript("x")
	o := health.Options{Checks: []health.Checker{check}, Interval: 20 * time.Second, Rand: random.Uint64}
	running(t, o, 0, func(t *testing.T, r *bed) {
		for i := range 1000 {
			r.ids = append(r.ids, fmt.Sprint("e", i))
		}
		r.update(r.ids...)
		<-time.After(21 * time.Second)
		r.o.Interval = 10 * time.Second
		reload := time.Now()
		r.update(r.ids...)
		<-time.After(10 * time.Second)
		synctest.Wait()
		var seconds [10]int
		for _, id := range r.ids {
			for _, at := range check.times(id) {
				if at.After(reload) {
					seconds[min(at.Sub(reload)/time.Second, 9)]++
					break
				}
			}
		}
		for _, n := range seconds { // of 1000, each with one chance in ten: 9 sigma
			if n < 15 || n > 190 {
				t.Errorf("asked in each second: %v", seconds)
				break
			}
		}
	})
}

// TestAgentThatCannotBeAsked says nothing of its endpoint, however often.
func TestAgentThatCannotBeAsked(t *testing.T) {
	agent := probe.Check{Kind: probe.Agent, Port: 1}
	for _, check := range []health.Checker{agent, &agent} {
		running(t, health.Options{Checks: []health.Checker{check}}, 0, func(t *testing.T, r *bed) {
			tries := 0
			r.b.Update(r.o, []health.Member{{ID: "a", At: probe.Endpoint{Addr: "a:80", Dial: func(context.Context, string, string) (net.Conn, error) {
				tries++
				return nil, errBroken
			}}}})
			<-time.After(time.Minute)
			synctest.Wait()
			v, _ := r.b.View("a")
			if v.Active != "unknown" || v.Standing != "ready" || !strings.Contains(v.Checks[0].Error, "it is broken") || v.Checks[0].At.IsZero() {
				t.Errorf("%+v", v)
			}
			if tries < 9 || tries > 16 {
				t.Errorf("asked %d times in a minute", tries)
			}
		})
	}
}

// TestOurOwnLimitsAreNobodysFault: without descriptors or ports we can't tell.
func TestOurOwnLimitsAreNobodysFault(t *testing.T) {
	check := newScript("x")
	running(t, health.Options{Checks: []health.Checker{check}}, 2, func(t *testing.T, r *bed) {
		waits(t, "up", func() bool { return r.facts("a").Active == verdict.Up && r.facts("b").Active == verdict.Up })
		for id, err := range map[string]error{"a": syscall.EMFILE, "b": syscall.EADDRNOTAVAIL} {
			check.set(id, probe.Result{Err: &net.OpError{Op: "dial", Err: err}, Weight: -1, Limit: -1})
		}
		<-time.After(time.Minute)
		for _, id := range r.ids {
			if v, _ := r.b.View(id); v.Active != "up" || v.Checks[0].Error == "" || len(r.b.Ledger(id)) != 1 {
				t.Errorf("%+v", v)
			}
		}
	})
}

// TestQueryIsNotShown: there may be a token in it.
func TestQueryIsNotShown(t *testing.T) {
	check := probe.Check{Kind: probe.HTTP, Path: "/healthz?token=hunter2"}
	running(t, health.Options{Checks: []health.Checker{check}}, 0, func(t *testing.T, r *bed) {
		r.b.Update(r.o, []health.Member{{ID: "a", At: probe.Endpoint{Addr: "a:80", Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errBroken
		}}}})
		waits(t, "down", func() bool { return r.facts("a").Active == verdict.Down })
		v, _ := r.b.View("a")
		if s := fmt.Sprintf("%+v %+v", v, r.b.Ledger("a")); strings.Contains(s, "hunter2") || v.Checks[0].Check != "http:/healthz" {
			t.Error(s)
		}
	})
}

func TestPanickingCheckFails(t *testing.T) {
	check := &hooked{key: "p", run: func(context.Context, probe.Endpoint) probe.Result { panic("ouch") }}
	running(t, health.Options{Checks: []health.Checker{check}}, 1, func(t *testing.T, r *bed) {
		waits(t, "down", func() bool { return r.facts("a").Active == verdict.Down })
		if _, c, _ := r.b.Facts("a"); c.Text != "down: p: the check panicked: ouch" {
			t.Error(c.Text)
		}
	})
}

// TestManyEndpoints: ten thousand are checked, and a list that changes all the
// time does not keep checks from their turn.
func TestManyEndpoints(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	n := 0
	check := &hooked{key: "p", run: func(context.Context, probe.Endpoint) probe.Result { return passing() }}
	synctest.Test(t, func(t *testing.T) {
		members := make([]health.Member, 10_000)
		for i := range members {
			members[i].ID = "e" + string(rune('0'+i%10)) + time.Duration(i).String()
		}
		o := health.Options{Checks: []health.Checker{check}}
		b := health.New(o, nil)
		b.Update(o, members)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		for range 6 {
			<-time.After(time.Second)
			b.Update(o, members)
		}
		synctest.Wait()
		for _, v := range b.Views() {
			if v.Active == "up" {
				n++
			}
		}
		cancel()
		<-done
	})
	if n != 10_000 {
		t.Errorf("%d are up", n)
	}
}
