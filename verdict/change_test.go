package verdict_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"viaduct/verdict"
)

// TestChangesNameEachFact, and only those that differ.
func TestChangesNameEachFact(t *testing.T) {
	before := verdict.Fresh()
	if got := before.Changes(&before); got != nil {
		t.Error(got)
	}
	after := verdict.Facts{
		Admin: verdict.Drain, AdminBy: "eve", Discovery: verdict.Missing, Own: verdict.OwnMaint,
		OwnWeight: 50, OwnLimit: 0, Active: verdict.Falling, Streak: 1,
	}
	after.Passive = verdict.Ejected
	want := []verdict.Change{
		{"admin", "ready", "drain"},
		{"discovery", "present", "missing"},
		{"own", "nothing", "maint"},
		{"weight", "as configured", "50%"},
		{"limit", "as configured", "0"},
		{"active", "unknown", "falling"},
		{"passive", "ok", "ejected"},
	}
	if got := after.Changes(&before); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	more := after
	more.Streak, more.ActiveWhy, more.AdminBy, more.Ejections = 2, "x", "bob", 7
	if got := more.Changes(&after); got != nil {
		t.Errorf("evidence is no change: %+v", got)
	}
}

func TestTransitionAsJSON(t *testing.T) {
	data, err := json.Marshal(verdict.Transition{
		When: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), At: 5, Endpoint: "a",
		Change:   verdict.Change{Fact: "active", From: "falling", To: "down"},
		Evidence: verdict.Evidence{Cause: "tcp: refused", Check: "tcp", Streak: 3},
	})
	const want = `{"when":"2026-11-01T00:00:00Z","endpoint":"a","fact":"active","from":"falling","to":"down","cause":"tcp: refused","check":"tcp","streak":3}`
	if err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
}

// TestTidyIsAShortLine of whatever a stranger sends.
func TestTidyIsAShortLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"a line":                             "a line",
		"two\r\nlines\x1b[31m\x00":           "two  lines [31m ",
		"schön":                              "schön",
		strings.Repeat("x", 256):             strings.Repeat("x", 256),
		strings.Repeat("x", 257):             strings.Repeat("x", 256) + "…",
		"x" + strings.Repeat("ö", 128) + "…": "x" + strings.Repeat("ö", 127) + "…",
	} {
		if got := verdict.Tidy(in); got != want || verdict.Tidy(got) != got {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := verdict.Tidy(strings.Repeat("\x80", 1000)); len(got) > 1000 || !utf8.ValidString(got) {
		t.Errorf("%q", got)
	}
}
