package health_test

import (
	"slices"
	"testing"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/verdict"
)

func TestOperatorWinsOverAll(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.b.SetAdmin("a", verdict.Drain, "eve"))
	r.stands("a", lb.Affine)
	must(r.b.SetAdmin("a", verdict.Maint, "eve"))
	must(r.b.SetDiscovery("a", verdict.Present))
	r.stands("a", lb.Out)
	r.update("b", "c")
	r.update("a", "b", "c") // it registered again
	r.stands("a", lb.Out)
	must(r.b.SetAdmin("a", verdict.Enabled, "bob"))
	r.stands("a", lb.Ready)
	must(r.b.SetDiscovery("b", verdict.Draining))
	r.stands("b", lb.Affine)
	for _, err := range []error{
		r.b.SetDiscovery("z", verdict.Absent),
		r.b.SetAdmin("a", 9, ""), r.b.SetDiscovery("a", 9),
	} {
		if err == nil {
			t.Error("no error")
		}
	}
	last := r.b.Ledger("a")
	if l := last[len(last)-1]; l.Fact != "admin" || l.From != "maint" || l.To != "ready" || l.Cause != "said by bob" || l.Standing != lb.Ready {
		t.Errorf("%+v", l)
	}
}

func TestAbsentIsSparedOnlyWhileTheRegistryIsSick(t *testing.T) {
	r := newBed(t, health.Options{}, 4)
	lose := func(id string) {
		t.Helper()
		if err := r.b.SetDiscovery(id, verdict.Absent); err != nil {
			t.Fatal(err)
		}
	}
	lose("a")
	r.stands("a", lb.Out) // at once
	r.b.SetRegistrySick(true)
	lose("a")
	r.stands("a", lb.Out) // what is gone does not come back by that
	lose("b")
	r.stands("b", lb.Ready)
	r.pass(89e9)
	lose("b") // said again: the time runs on
	r.stands("b", lb.Ready)
	r.pass(1e9)
	r.stands("b", lb.Out)
	lose("c")
	r.stands("c", lb.Ready)
	r.report("c", 5, health.Report{Status: 503})
	r.stands("c", lb.Sick) // it will be tried again
	if got := r.b.Gone(); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
	lose("d")
	r.b.SetRegistrySick(false)
	r.stands("d", lb.Out)
	if got := r.b.Gone(); len(got) != 4 {
		t.Error(got)
	}
	if err := r.b.SetDiscovery("d", verdict.Present); err != nil {
		t.Fatal(err)
	}
	r.stands("d", lb.Ready)
}

// TestWordsAreSaidOfWhoIsAway, and taken back.
func TestWordsAreSaidOfWhoIsAway(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	say := func(id string, a verdict.Admin) {
		t.Helper()
		if err := r.b.SetAdmin(id, a, "eve"); err != nil {
			t.Error(err)
		}
	}
	say("a", verdict.Maint)
	r.update("b", "c")
	say("a", verdict.Enabled)
	say("d", verdict.Drain)
	r.update("a", "b", "c", "d")
	r.stands("a", lb.Ready)
	r.stands("d", lb.Affine)
}

func TestNoGraceEndsWhenItIsForever(t *testing.T) {
	r := newBed(t, health.Options{AbsentGrace: -1}, 2)
	r.b.SetRegistrySick(true)
	if err := r.b.SetDiscovery("a", verdict.Absent); err != nil {
		t.Fatal(err)
	}
	r.pass(1e15)
	r.stands("a", lb.Ready)
	r.b.SetRegistrySick(false)
	r.stands("a", lb.Out)
}
