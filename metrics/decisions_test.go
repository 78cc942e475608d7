package metrics_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"viaduct/acl"
	"viaduct/metrics"
)

// decisions are the series of decisions that a scrape finds.
func decisions(t testing.TB, m *metrics.Metrics) values {
	t.Helper()
	all := scrape(t, m)
	for name := range all {
		if !strings.HasPrefix(name, "decisions_total{") {
			delete(all, name)
		}
	}
	return all
}

// decided is the name of a series.
func decided(listener, phase, decision, rule string) string {
	return fmt.Sprintf("decisions_total{decision=%q,listener=%q,phase=%q,rule=%q}", decision, listener, phase, rule)
}

func manyRules() []string {
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("forward[0].rules[%d]", i))
	}
	return names
}

func TestDecisionsAreCounted(t *testing.T) {
	m := metrics.New("test")
	r := m.Front("f").Rules([]string{"ads", "ci", "default"})
	m.Front("g").Rules([]string{"ads"}).Decided(metrics.PhaseName, 0, metrics.Denied)
	r.Decided(metrics.PhaseName, 0, metrics.Denied)
	r.Decided(metrics.PhaseName, 0, metrics.Denied)
	r.Decided(metrics.PhaseName, 0, metrics.Observed)
	r.Decided(metrics.PhaseAddress, 1, metrics.Allowed)
	r.Decided(metrics.PhaseName, 2, metrics.Denied)
	r.Decided(metrics.PhaseClient, -1, metrics.Denied)
	r.Decided(metrics.PhaseAuth, -1, metrics.Denied)
	r.Decided(metrics.PhasePort, -1<<63, metrics.Denied)
	r.Decided(metrics.PhaseSNI, 3, metrics.Observed) // there is no such rule
	r.Decided(metrics.PhaseSNI, 1<<62, metrics.Observed)
	decisions(t, m).want(t,
		decided("g", "name", "deny", "ads")+" 1",
		decided("f", "name", "deny", "ads")+" 2",
		decided("f", "name", "observe", "ads")+" 1",
		decided("f", "address", "allow", "ci")+" 1",
		decided("f", "name", "deny", "default")+" 1",
		decided("f", "client", "deny", "")+" 1",
		decided("f", "auth", "deny", "")+" 1",
		decided("f", "port", "deny", "")+" 1",
		decided("f", "sni", "observe", "")+" 2",
	)
}

// TestDecisionsAreTheEffects: the room acl may not be imported, so its effects are
// repeated here, and convert.
func TestDecisionsAreTheEffects(t *testing.T) {
	for e := range acl.Effect(0xff) {
		if d := metrics.Decision(e); d.String() != e.String() {
			t.Errorf("%d: %s is %s", e, e, d)
		}
	}
	if metrics.Denied.String() != "deny" || metrics.Allowed.String() != "allow" || metrics.Observed.String() != "observe" {
		t.Error("a decision is called otherwise")
	}
}

// TestOnlyWhatHappenedIsTold: a thousand rules are not there until they decide.
func TestOnlyWhatHappenedIsTold(t *testing.T) {
	m := metrics.New("test")
	before := len(scrape(t, m))
	r := m.Front("f").Rules(manyRules())
	if n := len(decisions(t, m)); n != 0 {
		t.Errorf("%d series before anything was decided", n)
	}
	r.Decided(metrics.PhaseName, 7, metrics.Allowed)
	if n := len(decisions(t, m)); n != 1 {
		t.Errorf("%d series, want one; there were %d of everything", n, before)
	}
}

// TestUnknownPhasesCountNothing: the sets are closed.
func TestUnknownPhasesCountNothing(t *testing.T) {
	m := metrics.New("test")
	r := m.Front("f").Rules(nil)
	for p := range metrics.Phase(0xff) {
		for d := range metrics.Decision(0xff) {
			r.Decided(p, 0, d)
		}
	}
	r.Decided(0xff, 0, 0)
	r.Decided(0, 0, 0xff)
	if n := len(decisions(t, m)); n != 7*3 {
		t.Errorf("%d series, want those of 7 phases and 3 decisions", n)
	}
	if metrics.Phase(7).String() != "" || metrics.Decision(3).String() != "deny" || metrics.AuthResult(7).String() != "unavailable" {
		t.Error("what is none has a name")
	}
}

// TestReloadKeepsTheRulesThatStay, wherever they stand now, and the others go.
func TestReloadKeepsTheRulesThatStay(t *testing.T) {
	m := metrics.New("test")
	old := m.Front("f").Rules([]string{"ads", "old", "default"})
	for i := range 3 {
		old.Decided(metrics.PhaseName, i, metrics.Denied)
	}
	old.Decided(metrics.PhaseName, -1, metrics.Allowed)
	next := m.Front("f").Rules([]string{"new", "ads", "default"})
	before := []string{
		decided("f", "name", "deny", "ads") + " 1", decided("f", "name", "deny", "old") + " 1",
		decided("f", "name", "deny", "default") + " 1", decided("f", "name", "allow", "") + " 1",
	}
	decisions(t, m).want(t, before...) // it is not in force yet
	next.Decided(metrics.PhaseName, 1, metrics.Denied)
	next.Decided(metrics.PhaseName, -1, metrics.Allowed)
	after := []string{
		decided("f", "name", "deny", "ads") + " 2", decided("f", "name", "deny", "default") + " 1",
		decided("f", "name", "allow", "") + " 2",
	}
	v := decisions(t, m)
	v.want(t, after...)
	if len(v) != 3 {
		t.Errorf("%d series, want 3: %v", len(v), v)
	}
	old.Decided(metrics.PhaseName, 0, metrics.Denied) // of a request that began before
	old.Decided(metrics.PhaseName, 1, metrics.Denied)
	decisions(t, m).want(t, append(after[1:], decided("f", "name", "deny", "ads")+" 3")...)
}

// TestReloadThatFailsChangesNothing: its rules were made, and never decide.
func TestReloadThatFailsChangesNothing(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	r := f.Rules([]string{"ads"})
	r.Decided(metrics.PhaseName, 0, metrics.Denied)
	for range 10 {
		f.Rules([]string{"other"})
		f.Rules(nil)
	}
	r.Decided(metrics.PhaseName, 0, metrics.Denied)
	decisions(t, m).want(t, decided("f", "name", "deny", "ads")+" 2")
	good := f.Rules([]string{"other", "ads"})
	good.Decided(metrics.PhaseName, 1, metrics.Denied)
	decisions(t, m).want(t, decided("f", "name", "deny", "ads")+" 3")
}

// TestManyReloadsLeaveNothing: names that came and went are not kept.
func TestManyReloadsLeaveNothing(t *testing.T) {
	m := metrics.New("test")
	for i := range 100 {
		r := m.Front("f").Rules([]string{fmt.Sprint(i), "ads"})
		r.Decided(metrics.PhaseName, 0, metrics.Denied)
		r.Decided(metrics.PhaseName, 1, metrics.Denied)
	}
	v := decisions(t, m)
	v.want(t, decided("f", "name", "deny", "99")+" 1", decided("f", "name", "deny", "ads")+" 100")
	if len(v) != 2 {
		t.Errorf("%d series, want 2", len(v))
	}
}

// TestNamesCannotBreakAScrape: those that are there twice count together, and
// those that are no text are told all the same.
func TestNamesCannotBreakAScrape(t *testing.T) {
	m := metrics.New("test")
	names := []string{"a", "a", "", "\xff", "\\xff", "\"}\n", strings.Repeat("x", 1<<16), "\u202e"}
	r := m.Front("f").Rules(names)
	for i := range names {
		r.Decided(metrics.PhaseName, i, metrics.Denied)
	}
	r.Decided(metrics.PhaseName, -1, metrics.Denied)
	v := decisions(t, m)
	for rule, want := range map[string]float64{"a": 2, "": 2, "\\xff": 2, "\"}\n": 1, strings.Repeat("x", 1<<16): 1, "\u202e": 1} {
		if got := v[decided("f", "name", "deny", rule)]; got != want {
			t.Errorf("%.20q: %v, want %v", rule, got, want)
		}
	}
}

func TestAuthenticationsAreCounted(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	if n := count(scrape(t, m), "authentications_total{"); n != 7 {
		t.Errorf("%d results stand at zero, want 7", n)
	}
	var want []string
	for a, label := range []string{"ok", "missing", "wrong", "malformed", "throttled", "busy", "unavailable"} {
		f.Authenticated(metrics.AuthResult(a))
		want = append(want, fmt.Sprintf("authentications_total{listener=%q,result=%q} 1", "f", label))
	}
	scrape(t, m).want(t, want...)
	f.Authenticated(0xff) // it could not be told
	want[6] = `authentications_total{listener="f",result="unavailable"} 2`
	scrape(t, m).want(t, want...)
}

// TestDecidingWhileReloadedAndScraped loses nothing of the rules that stay.
func TestDecidingWhileReloadedAndScraped(t *testing.T) {
	m := metrics.New("test")
	f := m.Front("f")
	const each, workers = 2000, 8
	var all, others sync.WaitGroup
	done := make(chan struct{})
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				f.Rules([]string{fmt.Sprint(i), "ads"}).Decided(metrics.PhaseName, 0, metrics.Denied)
				scrape(t, m)
			}
		}
	})
	for range workers {
		all.Go(func() {
			for range each {
				f.Rules([]string{"ads", "x"}).Decided(metrics.PhaseAddress, 0, metrics.Allowed)
			}
		})
	}
	all.Wait()
	close(done)
	others.Wait()
	if got := decisions(t, m)[decided("f", "address", "allow", "ads")]; got != each*workers {
		t.Errorf("%v were counted, want %d", got, each*workers)
	}
}
