package verdict

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"viaduct/lb"
)

// Transition is one change of one fact, with its cause.
type Transition struct {
	When     time.Time     `json:"when"`
	At       time.Duration `json:"-"` // by the board's clock
	Endpoint string        `json:"endpoint"`
	Change
	Evidence
	Standing lb.Standing `json:"-"` // afterwards
}

// Change is what one fact was and is.
type Change struct {
	Fact string `json:"fact"` // "admin", "discovery", "own", "weight", "limit", "active", "passive"
	From string `json:"from"`
	To   string `json:"to"`
}

// Evidence is why a fact changed.
type Evidence struct {
	Cause  string `json:"cause,omitempty"`  // check, error or status, who
	Check  string `json:"check,omitempty"`  // whose answer it was
	Streak int    `json:"streak,omitempty"` // answers in a row that led to it
}

// Changes are the facts that differ from before.
func (f Facts) Changes(before *Facts) []Change {
	var all []Change
	for _, c := range [...]struct {
		fact     string
		changed  bool
		from, to fmt.Stringer
	}{
		{"admin", before.Admin != f.Admin, before.Admin, f.Admin},
		{"discovery", before.Discovery != f.Discovery, before.Discovery, f.Discovery},
		{"own", before.Own != f.Own, before.Own, f.Own},
		{"weight", before.OwnWeight != f.OwnWeight, wish{before.OwnWeight, "%"}, wish{f.OwnWeight, "%"}},
		{"limit", before.OwnLimit != f.OwnLimit, wish{before.OwnLimit, ""}, wish{f.OwnLimit, ""}},
		{"active", before.Active != f.Active, before.Active, f.Active},
		{"passive", before.Passive != f.Passive, before.Passive, f.Passive},
	} {
		if c.changed {
			all = append(all, Change{Fact: c.fact, From: c.from.String(), To: c.to.String()})
		}
	}
	return all
}

// wish is a number that an endpoint asked for, or none.
type wish struct {
	n    int
	unit string
}

func (w wish) String() string {
	if w.n < 0 {
		return "as configured"
	}
	return fmt.Sprintf("%d%s", w.n, w.unit)
}

// Tidy makes a short line of what may come from a stranger.
func Tidy(s string) string {
	const most = 256
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
