package verdict_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"viaduct/lb"
	"viaduct/verdict"
)

// ejection is the defaults.
func ejection() *verdict.Ejection {
	var e verdict.Ejection
	e.Fill()
	return &e
}

// TestCapCountsTheNextEjection: as many as the share allows go, one after the
// other, but for the last one that takes requests.
func TestCapCountsTheNextEjection(t *testing.T) {
	for _, c := range []struct {
		n     int
		share float64
		want  int
	}{
		{1, 0, 0},
		{2, 0, 1},
		{3, 0, 1},
		{4, 0, 2},
		{5, 0, 2},
		{20, 0, 10},
		{20, 0.1, 2},
		{9, 0.1, 0},
		{10, 0.1, 1},
		{4, 1, 3},
		{2, 1, 1},
		{1, 1, 0},
		{4, -1, 0},
	} {
		rules := verdict.Ejection{Share: c.share}
		rules.Fill()
		var tally verdict.Tally
		fine, out := verdict.Part{Used: true, Ready: true}, verdict.Part{Used: true, Ejected: true}
		for range c.n {
			tally.Replace(verdict.Part{}, fine)
		}
		got := 0
		for range c.n {
			if rules.Allows(tally, fine) {
				tally.Replace(fine, out)
				got++
			}
		}
		if got != c.want || tally != (verdict.Tally{Used: c.n, Ready: c.n - got, Ejected: got}) {
			t.Errorf("%d endpoints, share %v: %d ejected, want %d; %+v", c.n, c.share, got, c.want, tally)
		}
	}
}

func TestErrorsThatAreDue(t *testing.T) {
	var due []int
	for n := 1; n <= 16; n++ {
		if ejection().Due(n) {
			due = append(due, n)
		}
	}
	if len(due) != 3 || due[0] != 5 || due[1] != 10 || due[2] != 15 {
		t.Error(due)
	}
}

// TestPartsAgreeWithTheTally: for every combination of facts, what is counted in
// is counted out, and only what takes requests is ready.
func TestPartsAgreeWithTheTally(t *testing.T) {
	var tally verdict.Tally
	for admin := range verdict.Maint + 1 {
		for active := range verdict.Down + 1 {
			for passive := range verdict.Probing + 1 {
				for _, weightless := range []bool{false, true} {
					f := verdict.Facts{Admin: admin, Active: active}
					f.Passive = passive
					s, _ := f.Standing()
					p := f.Part(s, weightless)
					want := verdict.Part{
						Used: s != lb.Out, Ready: s == lb.Ready && !weightless,
						Ejected: s != lb.Out && passive == verdict.Ejected, Probing: s == lb.Ready && !weightless && passive == verdict.Probing,
					}
					if p != want {
						t.Errorf("%+v: %+v", f, p)
					}
					tally.Replace(verdict.Part{}, p)
					if p.Ready && tally.Ready != 1 || tally.Lone() != p.Probing || tally.Stuck() != (p.Ejected && !p.Ready) {
						t.Errorf("%+v: %+v", f, tally)
					}
					if tally.Replace(p, verdict.Part{}); tally != (verdict.Tally{}) {
						t.Errorf("%+v: %+v are left", f, tally)
					}
				}
			}
		}
	}
	for tally, lone := range map[verdict.Tally]bool{
		{Ready: 2, Probing: 2}: true, {Ready: 2, Probing: 1}: false, {Ready: 2}: false, {}: false,
	} {
		if tally.Lone() != lone || tally.Stuck() {
			t.Errorf("%+v", tally)
		}
	}
}

// TestEjectionsGrowAndAreForgiven: the n-th in a row lasts n times as long, up to
// the most, give or take a tenth, and each healthy interval forgets one.
func TestEjectionsGrowAndAreForgiven(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	rules, now := ejection(), time.Hour
	var o verdict.Outlier
	for n := 1; n <= 14; n++ {
		o.Eject(rules, now, random.Float64(), "it was\nbad")
		want := min(30*float64(n), 300)
		at, some := o.Ends()
		if left := (at - now).Seconds(); !some || o.Passive != verdict.Ejected || o.Ejections != n || left < want*0.9 || left > want*1.1 {
			t.Fatalf("ejection %d: %+v, %v s left, want %v", n, o, left, want)
		}
		if _, some := o.Heals(); some || o.PassiveWhy != "it was bad" {
			t.Errorf("%+v", o)
		}
		if !o.After(now) || o.After(now-1) {
			t.Error("what began before the ejection counts")
		}
		now = at
		o.Release(rules, now)
		if _, some := o.Ends(); some || o.Passive != verdict.Probing {
			t.Errorf("%+v", o)
		}
		if _, some := o.Heals(); some {
			t.Error("forgiven without a request")
		}
	}
	now += time.Hour
	o.Forgive(rules, now)
	for n := 13; n >= 0; n-- {
		at, some := o.Heals()
		if !some || at != now+10*time.Second || o.Passive != verdict.Fine || o.PassiveWhy != "" {
			t.Fatalf("%d: %+v", n, o)
		}
		now = at
		if o.Heal(rules); o.Ejections != n {
			t.Fatalf("%d, want %d", o.Ejections, n)
		}
	}
	if _, some := o.Heals(); some {
		t.Errorf("%+v", o)
	}
}

// TestTrialHasItsTime: what began before it says nothing, and when it has said
// nothing itself for as long as a first ejection lasts, there is another one.
func TestTrialHasItsTime(t *testing.T) {
	var o verdict.Outlier
	o.Eject(ejection(), 0, 0, "x")
	if _, some := o.Again(); some {
		t.Error("a trial while it is ejected")
	}
	o.Release(ejection(), time.Hour)
	if !o.Stale(time.Hour-1) || o.Stale(time.Hour) {
		t.Error("the trial itself is stale, or what was before it is not")
	}
	if at, some := o.Again(); !some || at != time.Hour+30*time.Second {
		t.Errorf("again at %s, %v", at, some)
	}
	for _, now := range []time.Duration{time.Hour, time.Hour + 30*time.Second, 5 * time.Hour} {
		o.Retry(ejection(), now)
		if at, some := o.Again(); !some || at != now+30*time.Second {
			t.Errorf("again after %s, %v", at-now, some)
		}
	}
	if o.Stale(time.Hour) {
		t.Error("the first trial no longer counts")
	}
	o.Forgive(ejection(), 3*time.Hour)
	if _, some := o.Again(); some {
		t.Error("a trial of one that is fine")
	}
}

// TestResumedEjectionGoesOn for what was left of it, however little.
func TestResumedEjectionGoesOn(t *testing.T) {
	rules := ejection()
	for left, ends := range map[time.Duration]time.Duration{time.Minute: time.Hour + time.Minute, -time.Minute: time.Hour} {
		var o verdict.Outlier
		o.Resume(rules, time.Hour, 3)
		if at, some := o.Heals(); !some || at != time.Hour+10*time.Second {
			t.Errorf("%+v", o)
		}
		o.ResumeOut(time.Hour, left, "x")
		if at, some := o.Ends(); !some || at != ends || o.Ejections != 3 || o.PassiveWhy != "x" {
			t.Errorf("%+v", o)
		}
		o.Release(rules, time.Hour)
		o.Eject(rules, time.Hour, 0.5, "again")
		if at, _ := o.Ends(); at != time.Hour+2*time.Minute {
			t.Errorf("the fourth ends after %s", at-time.Hour)
		}
	}
}
