package health_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/verdict"
)

// TestStateOutlivesRestart: words, ejections and verdicts come back, the last
// ones only until the first check.
func TestStateOutlivesRestart(t *testing.T) {
	check := newScript("x with a secret")
	o := health.Options{Checks: []health.Checker{check}}
	check.set("b", failing())
	var data []byte
	running(t, o, 6, func(t *testing.T, r *bed) {
		waits(t, "known", func() bool {
			return r.facts("a").Active == verdict.Up && r.facts("b").Active == verdict.Down && r.facts("e").Active == verdict.Up
		})
		_, _ = r.b.SetAdmin("c", verdict.Maint, "eve"), r.b.SetAdmin("d", verdict.Drain, "eve")
		for range 5 {
			r.b.Endpoint("e").Report(r.o.Now(), broken)
		}
		var err error
		if data, err = r.b.Save(); err != nil {
			t.Fatal(err)
		}
	})
	if strings.Contains(string(data), "secret") {
		t.Errorf("%s", data)
	}
	data = savedNow(t, data)
	for _, late := range []bool{false, true} { // the list may come after the state, or before
		r := newBed(t, o, 0)
		if late {
			r.update("a", "b", "c", "d", "e", "f")
		}
		if err := r.b.Restore(data); err != nil {
			t.Fatal(err)
		}
		r.update("a", "b", "c", "d", "e", "f")
		for id, want := range map[string]lb.Standing{"a": lb.Ready, "b": lb.Sick, "c": lb.Out, "d": lb.Affine, "e": lb.Sick} {
			r.stands(id, want)
		}
		if a, b := r.facts("a"), r.facts("b"); a.Active != verdict.Falling || a.Streak != 2 || b.Active != verdict.Rising || b.Streak != 1 {
			t.Errorf("%+v, %+v", a, b)
		}
		if e := r.facts("e"); e.Passive != verdict.Ejected || e.Ejections != 1 || e.Until-r.at > 33*time.Second || e.Until-r.at < 15*time.Second {
			t.Errorf("%+v at %s", e, r.at)
		}
		if f := r.facts("c"); f.AdminBy != "eve" {
			t.Errorf("%+v", f)
		}
		r.pass(34 * time.Second)
		if e := r.facts("e"); e.Passive != verdict.Probing {
			t.Errorf("%+v", e)
		}
	}
	check = newScript(check.key)
	o.Checks = []health.Checker{check}
	running(t, o, 0, func(t *testing.T, r *bed) { // the first check decides
		check.set("a", failing())
		check.set("b", passing())
		if err := r.b.Restore(savedNow(t, data)); err != nil {
			t.Fatal(err)
		}
		r.update("a", "b")
		waits(t, "decided", func() bool { return len(check.times("a")) > 0 && len(check.times("b")) > 0 })
		if a, b := r.facts("a"), r.facts("b"); a.Active != verdict.Down || b.Active != verdict.Up {
			t.Errorf("%s, %s", a.Active, b.Active)
		}
	})
}

// savedNow makes saved state of another clock new.
func savedNow(t *testing.T, data []byte) []byte { return savedAt(t, data, time.Now()) }

func savedAt(t *testing.T, data []byte, at time.Time) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	m["saved"] = at
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOldFindingsAreForgotten, but not what an operator said, who may have been
// away over the weekend; nor is it lost by saving again before the list is there.
func TestOldFindingsAreForgotten(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	_ = r.b.SetAdmin("a", verdict.Maint, "eve")
	r.report("b", 5, broken)
	data, err := r.b.Save()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{time.Now().Add(-72 * time.Hour), time.Now().Add(time.Hour)} {
		r := newBed(t, health.Options{}, 0)
		if err := r.b.Restore(savedAt(t, data, at)); err != nil {
			t.Fatal(err)
		}
		again, err := r.b.Save()
		if err != nil {
			t.Fatal(err)
		}
		r = newBed(t, health.Options{}, 0)
		if err := r.b.Restore(again); err != nil {
			t.Fatal(err)
		}
		r.update("a", "b", "c")
		r.stands("a", lb.Out)
		r.stands("b", lb.Ready)
	}
	live := newBed(t, health.Options{}, 3)
	_ = live.b.SetAdmin("a", verdict.Drain, "bob")
	if err := live.b.Restore(data); err != nil {
		t.Fatal(err)
	}
	live.stands("a", lb.Affine) // what is said now wins
	_ = live.b.SetAdmin("a", verdict.Enabled, "bob")
	if err := live.b.Restore(data); err != nil {
		t.Fatal(err)
	}
	live.stands("a", lb.Ready) // that all is well, too
}

// TestAllEjectionsAreRestored, whatever their place in the list and whether it is
// there already.
func TestAllEjectionsAreRestored(t *testing.T) {
	r := newBed(t, health.Options{}, 10)
	for _, id := range []string{"a", "b", "c"} {
		r.report(id, 5, broken)
	}
	data, err := r.b.Save()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 10} {
		r := newBed(t, health.Options{}, n)
		if err := r.b.Restore(data); err != nil {
			t.Fatal(err)
		}
		r.update("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
		for _, id := range []string{"a", "b", "c"} {
			r.stands(id, lb.Sick)
		}
	}
}

// TestOddNamesCostNobodyTheirWord: IDs that JSON can't tell apart are left out.
func TestOddNamesCostNobodyTheirWord(t *testing.T) {
	r := newBed(t, health.Options{}, 0)
	r.update("a", "a\xff", "a\xfe")
	for _, id := range []string{"a", "a\xff", "a\xfe"} {
		_ = r.b.SetAdmin(id, verdict.Maint, "eve")
	}
	data, err := r.b.Save()
	if err != nil {
		t.Fatal(err)
	}
	r = newBed(t, health.Options{}, 1)
	if err := r.b.Restore(data); err != nil {
		t.Fatal(err)
	}
	r.stands("a", lb.Out)
}

const savedOne = `{"version":1,"saved":"2026-11-01T00:00:00Z","endpoints":[{"id":"a","admin":"drain"}]}`

// TestMalformedStateChangesNothing, not even by what stands before the mistake.
func TestMalformedStateChangesNothing(t *testing.T) {
	for _, in := range []string{
		"", savedOne + "{}",
		strings.Replace(savedOne, `]}`, `,{"id":"b","admin":"off"}]}`, 1),
		strings.Replace(savedOne, `]}`, `,{"id":"b","ejections":-1}]}`, 1),
	} {
		r := newBed(t, health.Options{}, 2)
		if err := r.b.Restore([]byte(in)); err == nil || !strings.HasPrefix(err.Error(), "restore health: ") {
			t.Errorf("%s: %v", in, err)
		}
		r.stands("a", lb.Ready)
	}
}

// FuzzRestore: whatever is given, it is refused or taken, and what is saved then
// is taken again.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(savedOne))
	f.Add([]byte(`{"version":1,"saved":"2026-11-01T00:00:00Z","endpoints":[{"id":"b","ejections":3,"ejected_for_ns":9000000000,"why":"x","verdicts":{"2d711642b726b044":"down"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o := health.Options{Checks: []health.Checker{newScript("x")}, MostAge: 1 << 62}
		r := newBed(t, o, 3)
		before := r.b.Views()
		if err := r.b.Restore(data); err != nil {
			if !reflect.DeepEqual(r.b.Views(), before) {
				t.Fatalf("refused with %v, but not without effect", err)
			}
			return
		}
		first, err := r.b.Save()
		if err != nil {
			t.Fatal(err)
		}
		if err := newBed(t, o, 3).b.Restore(first); err != nil {
			t.Fatalf("%v: %s", err, first)
		}
		r.pass(1 << 50)
		for _, id := range r.ids {
			if r.facts(id).Passive == verdict.Ejected {
				t.Fatal("an ejection without end")
			}
		}
	})
}
