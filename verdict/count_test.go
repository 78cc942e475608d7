package verdict_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/probe"
	"viaduct/verdict"
)

var (
	passing = probe.Result{Weight: -1, Limit: -1}
	failing = probe.Result{Err: errors.New("it is broken"), Weight: -1, Limit: -1}
)

// TestDownAfterFallUpAfterRise plays random answers to a check and to the law in
// its plainest words, for many thresholds.
func TestDownAfterFallUpAfterRise(t *testing.T) {
	for _, seed := range append(slices.Collect(upTo(200)), rand.Uint64()) {
		random := rand.New(rand.NewPCG(seed, 5))
		fall, rise := 1+random.IntN(5), 1+random.IntN(5)
		rules := &verdict.Thresholds{Fall: fall, Rise: rise, Damping: verdict.Damping{Flaps: -1}}
		rules.Fill()
		c := verdict.NewCount("x")
		want, passes, fails := verdict.Unknown, 0, 0
		for i := range 300 {
			r := passing
			if random.IntN(3) == 0 {
				r = failing
				passes, fails = 0, fails+1
			} else {
				passes, fails = passes+1, 0
			}
			want = next(want, passes, fails, fall, rise)
			c.Take(rules, time.Duration(i), &r, true)
			f := verdict.Fresh().Gather(rules, 0, slices.Values([]*verdict.Count{&c}))
			if c.State != want || f.Active != want || f.Streak != c.Streak {
				t.Fatalf("seed %d, fall %d, rise %d, answer %d: %s (%+v), want %s", seed, fall, rise, i, c.State, f, want)
			}
			if want == verdict.Falling && c.Streak != fails || want == verdict.Rising && c.Streak != passes {
				t.Fatalf("seed %d, answer %d: streak %d", seed, i, c.Streak)
			}
			if settled := want == verdict.Up || want == verdict.Down; settled == c.Restless() || settled && c.Streak != 0 {
				t.Fatalf("seed %d, answer %d: %s, streak %d, restless %v", seed, i, c.State, c.Streak, c.Restless())
			}
		}
	}
}

func upTo(n uint64) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// next is the law, from the answers in a row: one of the two is 0.
func next(was verdict.Active, passes, fails, fall, rise int) verdict.Active {
	switch {
	case passes > 0 && (was == verdict.Unknown || was == verdict.Up || was == verdict.Falling || passes >= rise):
		return verdict.Up
	case passes > 0:
		return verdict.Rising
	case was == verdict.Unknown || was == verdict.Down || was == verdict.Rising || fails >= fall:
		return verdict.Down
	}
	return verdict.Falling
}

func TestDefaults(t *testing.T) {
	want := verdict.Thresholds{Fall: 3, Rise: 2, Damping: verdict.Damping{Flaps: 3, Within: 5 * time.Minute, Most: 32}}
	for _, rules := range []verdict.Thresholds{{}, {Fall: -1, Rise: -1, Damping: verdict.Damping{Within: -1, Most: -1}}} {
		if rules.Fill(); rules != want {
			t.Errorf("%+v", rules)
		}
	}
	e := verdict.Ejection{Errors: -1, Base: -1, Most: -1, Heal: -1}
	if e.Fill(); e != *ejection() || e != (verdict.Ejection{Errors: 5, Base: 30 * time.Second, Most: 300 * time.Second, Share: 0.5, Heal: 10 * time.Second}) {
		t.Errorf("%+v", e)
	}
}

// TestFlapsAreDamped: each time beyond the usual doubles what it takes, up to a
// bound that is never less than the usual, and what is long ago is forgotten.
func TestFlapsAreDamped(t *testing.T) {
	for _, c := range []struct {
		rise  int
		d     verdict.Damping
		wants []int
	}{
		{2, verdict.Damping{}, []int{2, 2, 2, 4, 8, 16, 32, 32}},
		{2, verdict.Damping{Most: 12}, []int{2, 2, 2, 4, 8, 12, 12}},
		{5, verdict.Damping{Flaps: 1, Most: 3}, []int{5, 5, 5}},
		{1, verdict.Damping{Flaps: 1, Most: math.MaxInt / 4}, []int{1, 2, 4, 8, 16}},
		{3, verdict.Damping{Flaps: -1}, []int{3, 3, 3, 3, 3, 3}},
	} {
		rules := &verdict.Thresholds{Fall: 1, Rise: c.rise, Damping: c.d}
		rules.Fill()
		count, now := verdict.NewCount("x"), time.Duration(0)
		count.Take(rules, now, &passing, true)
		for i, want := range c.wants {
			now += time.Second
			count.Take(rules, now, &failing, true)
			for n := 1; count.State != verdict.Up; n++ {
				count.Take(rules, now, &passing, true)
				if count.State == verdict.Up && n != want {
					t.Errorf("%+v: flap %d: up after %d, want %d", c, i+1, n, want)
				}
			}
		}
		if e := count.Evidence(&passing); e.Streak != c.wants[len(c.wants)-1] || e.Cause != "x: passed" {
			t.Errorf("%+v", e)
		}
		if now += rules.Damping.Within; count.Needed(rules, now) != c.rise || count.Flaps(rules, now) != 0 {
			t.Errorf("%+v: long after: %d", c, count.Needed(rules, now))
		}
	}
}

// TestFlapsAreBounded: who flaps for ever costs no more memory for it.
func TestFlapsAreBounded(t *testing.T) {
	rules := &verdict.Thresholds{Fall: 1, Rise: 1, Damping: verdict.Damping{Most: 1}}
	rules.Fill()
	c := verdict.NewCount("x")
	for i := range 10_000 {
		c.Take(rules, time.Duration(i), &passing, true)
		c.Take(rules, time.Duration(i), &failing, true)
	}
	if n := c.Flaps(rules, 10_000); n != 64 {
		t.Errorf("%d flaps are remembered", n)
	}
}

// TestWordsActAtOnce: down in so many words, and wishes; a word stands until
// another one is said.
func TestWordsActAtOnce(t *testing.T) {
	c := count("agent", passing)
	for _, s := range []struct {
		r      probe.Result
		active verdict.Active
		own    verdict.Own
		weight int
		limit  int
	}{
		{probe.Result{Word: probe.SaysUp, Weight: -1, Limit: -1}, verdict.Up, verdict.OwnNothing, -1, -1},
		{probe.Result{Word: probe.SaysDrain, Weight: 75, Limit: -1}, verdict.Up, verdict.OwnDrain, 75, -1},
		{probe.Result{Weight: -1, Limit: 30}, verdict.Up, verdict.OwnDrain, 75, 30},
		{failing, verdict.Falling, verdict.OwnDrain, 75, 30},
		{probe.Result{Word: probe.SaysMaint, Weight: -1, Limit: -1}, verdict.Up, verdict.OwnMaint, 75, 30},
		{probe.Result{Word: probe.SaysStopped, Weight: -1, Limit: -1}, verdict.Down, verdict.OwnNothing, 75, 30},
		{probe.Result{Word: probe.SaysUp, Weight: -1, Limit: -1}, verdict.Rising, verdict.OwnNothing, 75, 30},
		{probe.Result{Word: probe.SaysReady, Weight: 0, Limit: 0}, verdict.Up, verdict.OwnNothing, 0, 0},
		{probe.Result{Word: probe.SaysDown, Err: failing.Err, Weight: -1, Limit: -1}, verdict.Down, verdict.OwnNothing, 0, 0},
	} {
		c.Take(thresholds(), 0, &s.r, true)
		if f := gathered(c); f.Active != s.active || f.Own != s.own || f.OwnWeight != s.weight || f.OwnLimit != s.limit {
			t.Errorf("%+v: %+v", s, f)
		}
	}
	if f := gathered(c); f.ActiveWhy != "agent: it says down itself" {
		t.Error(f.ActiveWhy)
	}
}

// TestWatchIsBelievedAtOnce when it says that it is ill; back it comes as always.
func TestWatchIsBelievedAtOnce(t *testing.T) {
	c := count("w", passing)
	c.Watched = true
	for i, want := range []verdict.Active{verdict.Down, verdict.Rising, verdict.Up} {
		r := passing
		if i == 0 {
			r = failing
		}
		if c.Take(thresholds(), 0, &r, true); c.State != want {
			t.Errorf("%d: %s, want %s", i, c.State, want)
		}
	}
}

// TestResumeIsOneAnswerFromItsDecision: until then what was up is used, and what
// was down is not.
func TestResumeIsOneAnswerFromItsDecision(t *testing.T) {
	for _, s := range []struct{ was, is, passed, failed verdict.Active }{
		{verdict.Unknown, verdict.Unknown, verdict.Up, verdict.Down},
		{verdict.Up, verdict.Falling, verdict.Up, verdict.Down},
		{verdict.Falling, verdict.Falling, verdict.Up, verdict.Down},
		{verdict.Rising, verdict.Rising, verdict.Up, verdict.Down},
		{verdict.Down, verdict.Rising, verdict.Up, verdict.Down},
	} {
		for _, r := range []probe.Result{passing, failing} {
			c := verdict.NewCount("x")
			if c.Resume(s.was, thresholds()); c.State != s.is {
				t.Errorf("%s resumes as %s", s.was, c.State)
			}
			c.Take(thresholds(), 0, &r, true)
			want := s.passed
			if r.Err != nil {
				want = s.failed
			}
			if c.State != want {
				t.Errorf("%s, then %v: %s", s.was, r.Err, c.State)
			}
		}
	}
}

// TestProvenCountsWhatIsFresh: every check, as often as it takes to come up, of
// answers that were asked for after the ejection.
func TestProvenCountsWhatIsFresh(t *testing.T) {
	a, b := count("a", passing, passing, passing), count("b", passing)
	proven := func(counts ...*verdict.Count) int {
		n, yes := verdict.Proven(thresholds(), 0, slices.Values(counts))
		if yes != (n > 0) {
			t.Errorf("%d, %v", n, yes)
		}
		return n
	}
	take := func(c *verdict.Count, r probe.Result, fresh bool, want int) {
		t.Helper()
		c.Take(thresholds(), 0, &r, fresh)
		if n := proven(a, b); n != want {
			t.Errorf("proven %d times, want %d", n, want)
		}
	}
	if n := proven(); n != 0 {
		t.Errorf("without checks: %d", n)
	}
	take(a, passing, true, 0)
	take(b, passing, true, 2)
	a.Anew()
	b.Anew()
	take(a, passing, true, 0)
	take(a, passing, true, 0)
	take(b, passing, false, 0)
	take(b, passing, true, 0)
	take(b, passing, true, 2)
	take(a, failing, true, 0)
	take(a, passing, true, 0)
	take(a, passing, true, 2)
	b.Anew()
	b.Watched = true
	take(a, passing, true, 3) // b is up and has no more to say
}

func TestEvidence(t *testing.T) {
	c := count("tcp", passing)
	c.Rename("tcp again")
	for _, s := range []struct {
		r    probe.Result
		want verdict.Evidence
	}{
		{probe.Result{Weight: -1, Limit: -1, Note: "slow"}, verdict.Evidence{Cause: "tcp again: passed, slow", Check: "tcp again", Streak: 2}},
		{failing, verdict.Evidence{Cause: "tcp again: it is broken", Check: "tcp again", Streak: 1}},
		{failing, verdict.Evidence{Cause: "tcp again: it is broken (2 in a row)", Check: "tcp again", Streak: 2}},
		{failing, verdict.Evidence{Cause: "tcp again: it is broken (3 in a row)", Check: "tcp again", Streak: 3}},
		{passing, verdict.Evidence{Cause: "tcp again: passed", Check: "tcp again", Streak: 1}},
		{probe.Result{Word: probe.SaysUp, Weight: -1, Limit: -1}, verdict.Evidence{Cause: "tcp again: it says up itself", Check: "tcp again"}},
		{probe.Result{Err: errors.New(strings.Repeat("x", 999)), Weight: -1, Limit: -1}, verdict.Evidence{Cause: "tcp again: " + strings.Repeat("x", 245) + "…", Check: "tcp again", Streak: 1}},
	} {
		c.Take(thresholds(), 0, &s.r, true)
		if got := c.Evidence(&s.r); got != s.want {
			t.Errorf("%+v, want %+v", got, s.want)
		}
	}
}
