package verdict_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"viaduct/verdict"
)

// TestWordsOutliveTheList: what counts is how long the endpoint has been away,
// not how old the word is.
func TestWordsOutliveTheList(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	w := verdict.Words{}
	for _, id := range []string{"here", "left", "lost"} {
		if err := w.Say(id, verdict.Maint, "eve", now.Add(-400*day), true); err != nil {
			t.Fatal(err)
		}
	}
	w.Leave("left", now.Add(-89*day))
	w.Leave("lost", now.Add(-90*day))
	w.Leave("nobody spoke of it", now)
	away := slices.Collect(w.Away(now))
	if len(w) != 3 || len(away) != 1 || away[0].ID != "left" || away[0].Admin != "maint" || away[0].By != "eve" || away[0].Left != now.Add(-89*day) {
		t.Errorf("%+v", away)
	}
	w.Leave("left", time.Time{}) // it is back
	if away := slices.Collect(w.Away(now)); len(away) != 0 {
		t.Errorf("%+v", away)
	}
	if a, by := w.Of("left"); a != verdict.Maint || by != "eve" {
		t.Errorf("%s by %s", a, by)
	}
}

// TestRestoredWordsGiveWay to what was said since, that all is well too.
func TestRestoredWordsGiveWay(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	w := verdict.Words{}
	if err := w.Say("a", verdict.Enabled, "bob", now, true); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"a": false, "b": true} {
		if got := w.Resume(&verdict.Findings{ID: id, Admin: "drain", By: "eve\n"}, now); got != want {
			t.Errorf("%s: taken %v", id, got)
		}
	}
	if w.Resume(&verdict.Findings{ID: "c", Ejections: 1}, now) {
		t.Error("no word is one")
	}
	if a, by := w.Of("b"); a != verdict.Drain || by != "eve " || w["b"].Left != now {
		t.Errorf("%s by %q, left %s", a, by, w["b"].Left)
	}
	if a, by := w.Of("a"); a != verdict.Enabled || by != "" {
		t.Errorf("%s by %q", a, by)
	}
}

// TestWordsAreBounded for what is not in the list, for nothing else.
func TestWordsAreBounded(t *testing.T) {
	w := verdict.Words{}
	for i := range 20_000 {
		if err := w.Say(fmt.Sprint(i), verdict.Drain, "", time.Now(), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Say("one more", verdict.Drain, "", time.Now(), false); err == nil {
		t.Error("no error")
	}
	for id, listed := range map[string]bool{"7": false, "in the list": true} {
		if err := w.Say(id, verdict.Enabled, "", time.Now(), listed); err != nil {
			t.Error(err)
		}
	}
}
