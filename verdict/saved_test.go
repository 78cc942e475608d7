package verdict_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"viaduct/verdict"
)

const savedOne = `{"version":1,"saved":"2026-11-01T00:00:00Z","endpoints":[{"id":"a","admin":"drain"}]}`

func TestMalformedIsRefused(t *testing.T) {
	head := `{"version":1,"saved":"2026-11-01T00:00:00Z","endpoints":[`
	for _, c := range []struct{ in, want string }{
		{"", "unexpected end of JSON input"},
		{"null", "version 0: this program reads version 1"},
		{"[]", "cannot unmarshal array"},
		{`{"version":2}`, "version 2: this program reads version 1"},
		{`{"version":1,"endpoints":[]}`, "does not say when it was saved"},
		{savedOne + "{}", "after top-level value"},
		{head + `{"id":"a","admin":"drain"},{"id":"b","admin":"off"}]}`, `admin state "off": write one of ready, drain, maint`},
		{head + `{"id":"a","admin":"drain"},{"id":"b","verdicts":{"x":"fine"}}]}`, `state of a check "fine"`},
		{head + `{"id":"a","admin":"drain","more":1}]}`, "unknown field"},
		{head + `{"id":"a","ejections":-1}]}`, "-1 ejections"},
		{head + `{"id":"a","ejected_for_ns":5}]}`, "ejected for 5ns, 0 times"},
		{head + `{"id":"a","ejections":1,"ejected_for_ns":-5}]}`, "ejected for -5ns"},
		{head + `{"id":"` + strings.Repeat("a", 2000) + `"}]}`, "an ID of 2000 bytes"},
		{head + strings.Repeat(`{"id":"a"},`, 20_001) + `{"id":"a"}]}`, "more than 20000 are never saved"},
		{strings.Repeat(" ", 33<<20), "never saved"},
	} {
		s, err := verdict.Decode([]byte(c.in))
		if err == nil || s != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s: %v, want %s", c.in, err, c.want)
		}
	}
}

// TestSavedIsReadAgain, all of it, without the definitions of checks.
func TestSavedIsReadAgain(t *testing.T) {
	at := time.Date(2026, 11, 1, 2, 3, 4, 5, time.UTC)
	s := verdict.NewSaved(at)
	full := verdict.Findings{ID: "a", Admin: "maint", By: "eve", Since: at.Add(-time.Hour)}
	full.Note("x with a secret", verdict.Up)
	full.Note("y", verdict.Down)
	full.Note("z", verdict.Unknown)
	var o verdict.Outlier
	o.Eject(ejection(), time.Hour, 0.5, "it was bad")
	full.Eject(&o, time.Hour+20*time.Second)
	s.Add(full)
	s.Add(verdict.Findings{ID: "nothing is known of it"})
	s.Add(verdict.Findings{ID: strings.Repeat("x", 1025), Admin: "drain"})
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "secret") {
		t.Errorf("%s", data)
	}
	got, err := verdict.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, s) || len(got.Endpoints) != 1 {
		t.Errorf("%+v, want %+v", got, s)
	}
	f := got.Endpoints[0]
	if f.Admin != "maint" || f.Ejections != 1 || f.EjectedFor != 10*time.Second || f.Why != "it was bad" || len(f.Verdicts) != 2 {
		t.Errorf("%+v", f)
	}
	for key, want := range map[string]verdict.Active{"x with a secret": verdict.Up, "y": verdict.Down, "z": verdict.Unknown, "": verdict.Unknown} {
		if got := f.Found(key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	var none verdict.Findings
	if none.Found("x") != verdict.Unknown {
		t.Errorf("%+v", none)
	}
}

// TestSavedHoldsItsBounds, so that what is saved is always read again.
func TestSavedHoldsItsBounds(t *testing.T) {
	s := verdict.NewSaved(time.Now())
	for i := range 20_005 {
		f := verdict.Findings{ID: fmt.Sprintf("%d%s", i, strings.Repeat("x", 900*(i%2))), Ejections: i + 1}
		for n := range 100 * (1 - min(i, 1)) {
			f.Note(fmt.Sprint(n), verdict.Up)
		}
		s.Add(f)
	}
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := verdict.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Endpoints) != 20_000 || len(got.Endpoints[0].Verdicts) != 64 {
		t.Errorf("%d, %d", len(got.Endpoints), len(got.Endpoints[0].Verdicts))
	}
}

// TestSavedIsNeverTooLarge to be read again, whatever JSON makes of the IDs.
func TestSavedIsNeverTooLarge(t *testing.T) {
	s := verdict.NewSaved(time.Now())
	s.Add(verdict.Findings{ID: "<", Admin: "maint"})
	for i := range 5700 { // six bytes of JSON for each of an ID
		s.Add(verdict.Findings{ID: fmt.Sprint(i, strings.Repeat("\x01", 1000)), Admin: "maint"})
	}
	data, err := s.Encode()
	if err != nil || !strings.Contains(string(data), `"id":"<"`) {
		t.Fatal(err)
	}
	got, err := verdict.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Endpoints); n < 5000 || got.Endpoints[0].ID != "<" {
		t.Errorf("%d endpoints are left", n)
	}
}

// TestDoublesAndOddNames: of two with one ID the first counts, and what JSON
// would give another name is left out.
func TestDoublesAndOddNames(t *testing.T) {
	got, err := verdict.Decode([]byte(strings.Replace(savedOne, `]}`, `,{"id":"b"},{"id":"a","admin":"maint"}]}`, 1)))
	if err != nil || len(got.Endpoints) != 2 || got.Endpoints[0].Admin != "drain" {
		t.Errorf("%+v, %v", got, err)
	}
	s := verdict.NewSaved(time.Now())
	if s.Add(verdict.Findings{ID: "a\xff", Admin: "maint"}); len(s.Endpoints) != 0 {
		t.Errorf("%+v", s.Endpoints)
	}
}

// TestEjectionThatIsOverIsSavedAsSuch: a rest of nothing still tells that it was
// out.
func TestEjectionThatIsOverIsSavedAsSuch(t *testing.T) {
	var o verdict.Outlier
	o.Eject(ejection(), 0, 0, "x")
	var f verdict.Findings
	if f.Eject(&o, time.Hour); f.EjectedFor != 1 || f.Ejections != 1 {
		t.Errorf("%+v", f)
	}
	o.Release(ejection(), time.Hour)
	f = verdict.Findings{}
	if f.Eject(&o, time.Hour); f.EjectedFor != 1 || f.Ejections != 1 || f.Why != "x" {
		t.Errorf("a trial: %+v", f)
	}
	o.Forgive(ejection(), time.Hour)
	f = verdict.Findings{}
	if f.Eject(&o, time.Hour); f.EjectedFor != 0 || f.Ejections != 1 || f.Why != "" {
		t.Errorf("%+v", f)
	}
}
