package verdict_test

import (
	"slices"
	"testing"
	"time"

	"viaduct/lb"
	"viaduct/probe"
	"viaduct/verdict"
)

// TestOneFunctionDecides compares every combination of facts with the law.
func TestOneFunctionDecides(t *testing.T) {
	for admin := range verdict.Maint + 1 {
		for discovery := range verdict.Absent + 1 {
			for own := range verdict.OwnMaint + 1 {
				for active := range verdict.Down + 1 {
					for passive := range verdict.Probing + 1 {
						f := verdict.Facts{Admin: admin, Discovery: discovery, Own: own, Active: active}
						f.Passive = passive
						got, cause := f.Standing()
						if want := law(f); got != want {
							t.Errorf("%s, %s, own %s, %s, %s: %s (%v), want %s", admin, discovery, own, active, passive, got, cause, want)
						}
						if (got == lb.Ready) != (cause == verdict.Cause{}) || got != lb.Ready && (cause.Token == "" || cause.Text == "") {
							t.Errorf("%+v: %s because of %+v", f, got, cause)
						}
						if f.Lost() != (discovery == verdict.Absent || discovery == verdict.Missing && active == verdict.Down) {
							t.Errorf("%+v: lost %v", f, f.Lost())
						}
						f.Passive = verdict.Fine
						if only := passive == verdict.Ejected && law(f) == lb.Ready; onlyEjected(f, passive) != only {
							t.Errorf("%+v: only its ejection keeps it: %v", f, !only)
						}
					}
				}
			}
		}
	}
}

func onlyEjected(f verdict.Facts, p verdict.Passive) bool {
	f.Passive = p
	return f.OnlyEjected()
}

// law is the eligibility of an endpoint, said in another way: who may be given
// something new, something sticky, something in panic.
func law(f verdict.Facts) lb.Standing {
	well := f.Active != verdict.Down && f.Active != verdict.Rising && f.Passive != verdict.Ejected
	listed := f.Discovery == verdict.Present || f.Discovery == verdict.Missing && f.Active != verdict.Down
	fresh := f.Admin == verdict.Enabled && listed && f.Own == verdict.OwnNothing
	sticky := f.Admin != verdict.Maint && (listed || f.Discovery == verdict.Draining) && f.Own != verdict.OwnMaint
	switch {
	case fresh && well:
		return lb.Ready
	case sticky && well:
		return lb.Affine
	case fresh:
		return lb.Sick
	}
	return lb.Out
}

func TestCausesAreSentences(t *testing.T) {
	for _, c := range []struct {
		f           verdict.Facts
		token, text string
	}{
		{verdict.Facts{Admin: verdict.Maint, AdminBy: "eve", Discovery: verdict.Absent}, "maint", "in maintenance, says eve"},
		{verdict.Facts{Admin: verdict.Drain}, "drain", "draining"},
		{verdict.Facts{Discovery: verdict.Absent}, "absent", "gone from the list of endpoints"},
		{verdict.Facts{Active: verdict.Down, ActiveWhy: "tcp: refused"}, "down", "down: tcp: refused"},
		{verdict.Facts{Active: verdict.Rising, Streak: 1, Needed: 2}, "rising", "coming back: 1 of 2 checks passed"},
		{verdict.Facts{Active: verdict.Rising, Streak: 1, Needed: 8, Flaps: 5}, "rising", "coming back: 1 of 8 checks passed, more than usual, as it went down 5 times lately"},
		{verdict.Facts{Outlier: verdict.Outlier{Passive: verdict.Ejected, Ejections: 2, PassiveWhy: "x"}}, "ejected", "ejected for the time 2: x"},
	} {
		if _, got := c.f.Standing(); got.Token != c.token || got.Text != c.text {
			t.Errorf("%+v", got)
		}
	}
	if _, err := verdict.ParseAdmin("off"); err == nil || err.Error() != `admin state "off": write one of ready, drain, maint` {
		t.Error(err)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for a := range verdict.Maint + 1 {
		if got, err := verdict.ParseAdmin(a.String()); err != nil || got != a {
			t.Errorf("%s: %v, %v", a, got, err)
		}
	}
	for a := range verdict.Down + 1 {
		if got, err := verdict.ParseActive(a.String()); err != nil || got != a {
			t.Errorf("%s: %v, %v", a, got, err)
		}
	}
	for _, s := range []string{verdict.Admin(9).String(), verdict.Discovery(9).String(), verdict.Own(9).String(), verdict.Active(9).String(), verdict.Passive(9).String()} {
		if s != "9" {
			t.Error(s)
		}
	}
	if _, err := verdict.ParseActive("fine"); err == nil || err.Error() != `state of a check "fine": write one of unknown, up, falling, rising, down` {
		t.Error(err)
	}
}

// thresholds are the defaults, damping too.
func thresholds() *verdict.Thresholds {
	var t verdict.Thresholds
	t.Fill()
	return &t
}

// count is a check that was given these answers.
func count(name string, answers ...probe.Result) *verdict.Count {
	c := verdict.NewCount(name)
	for i := range answers {
		c.Take(thresholds(), 0, &answers[i], true)
	}
	return &c
}

func gathered(counts ...*verdict.Count) verdict.Facts {
	return verdict.Fresh().Gather(thresholds(), 0, slices.Values(counts))
}

// TestWorstCheckCounts, in whatever order they come: what forbids requests before
// what does not, what was found before what is not known.
func TestWorstCheckCounts(t *testing.T) {
	up, unknown := count("up", passing), count("unknown")
	falling, down := count("falling", passing, failing), count("down", failing)
	rising := count("rising", failing, passing)
	ranked := []*verdict.Count{up, unknown, falling, rising, down}
	for i, a := range ranked {
		for j, b := range ranked {
			worst := ranked[max(i, j)]
			if f := gathered(a, b); f.Active != worst.State || f.Streak != worst.Streak {
				t.Errorf("%s and %s: %s, %d", a.Name(), b.Name(), f.Active, f.Streak)
			}
		}
	}
	if f := gathered(); f.Active != verdict.Unknown || f != verdict.Fresh() {
		t.Errorf("no check: %+v", f)
	}
	if f := gathered(falling, rising); f.Needed != 2 || f.ActiveWhy != "rising: it is broken" {
		t.Errorf("%+v", f)
	}
	if f := gathered(up, falling); f.Needed != 3 || f.ActiveWhy != "falling: it is broken" {
		t.Errorf("%+v", f)
	}
}

// TestWishesOfSeveralChecks: the strongest wish, the least weight and limit, and
// none only where nobody has one.
func TestWishesOfSeveralChecks(t *testing.T) {
	says := func(w probe.Word, weight, limit int) *verdict.Count {
		return count("x", probe.Result{Word: w, Weight: weight, Limit: limit})
	}
	for _, c := range []struct {
		a, b          *verdict.Count
		own           verdict.Own
		weight, limit int
	}{
		{says(probe.SaysUp, -1, -1), says(probe.NoWord, -1, -1), verdict.OwnNothing, -1, -1},
		{says(probe.SaysDrain, 50, -1), says(probe.NoWord, -1, 7), verdict.OwnDrain, 50, 7},
		{says(probe.SaysDrain, 50, 9), says(probe.SaysMaint, 20, 7), verdict.OwnMaint, 20, 7},
		{says(probe.SaysUp, 0, 0), says(probe.SaysUp, 20, 7), verdict.OwnNothing, 0, 7}, // limit 0 is none
		{says(probe.SaysUp, 100, 0), says(probe.NoWord, -1, -1), verdict.OwnNothing, 100, 0},
	} {
		for _, order := range [][]*verdict.Count{{c.a, c.b}, {c.b, c.a}} {
			if f := gathered(order...); f.Own != c.own || f.OwnWeight != c.weight || f.OwnLimit != c.limit {
				t.Errorf("%+v, want %s, %d, %d", f, c.own, c.weight, c.limit)
			}
		}
	}
}

// TestGatherLeavesTheOtherFacts, as no source overwrites another.
func TestGatherLeavesTheOtherFacts(t *testing.T) {
	f := verdict.Fresh()
	f.Admin, f.AdminBy, f.Discovery = verdict.Drain, "eve", verdict.Draining
	f.Eject(ejection(), time.Hour, 0, "x")
	after := f.Gather(thresholds(), 0, slices.Values([]*verdict.Count{count("x", failing)}))
	if after.Active != verdict.Down {
		t.Errorf("%+v", after)
	}
	if after.Gather(thresholds(), 0, slices.Values([]*verdict.Count(nil))) != f {
		t.Errorf("%+v, was %+v", after, f)
	}
}
