// Package verdict decides how an endpoint is, from what is known of it.
//
// Five facts are known, from five sources that never overwrite one another: what
// an operator wants, what the list says, what the endpoint says of itself and
// checks find, what requests find, and (in lb) how full it is. Facts.Standing
// makes one verdict of them.
//
// Two of the facts are machines. A Count takes the answers of one check and says
// when they are enough; an Outlier is ejected for errors of requests, tried again
// and forgiven, by the rules of an Ejection. The rest is plain data: what changed
// and why, for the ledger, and what is saved over a restart.
//
// Nothing here has a lock, a clock or a goroutine. Times are those of the
// caller's clock, and one caller at a time uses a value: package health does.
package verdict

import (
	"fmt"
	"iter"
	"time"

	"viaduct/lb"
)

// Facts are what is known of an endpoint, each fact from a source of its own.
// The fifth, its capacity, is counted where requests are: by lb, which refuses
// a node that is full and ramps one that is new.
type Facts struct {
	Admin   Admin
	AdminBy string // who said so

	Discovery Discovery
	Own       Own
	OwnWeight int // percent of the configured weight; -1 is as configured
	OwnLimit  int // requests at a time, 0 is no limit; -1 is as configured

	Active    Active
	Streak    int    // answers in a row that speak against its present state
	Needed    int    // how many it takes
	Flaps     int    // how often it went down lately
	ActiveWhy string // what the check found

	Outlier
}

// Fresh are the facts of an endpoint of which nothing is known.
func Fresh() Facts { return Facts{OwnWeight: -1, OwnLimit: -1} }

// Cause is why an endpoint takes no new requests, for logs and for people. It
// is empty where it does.
type Cause struct {
	Token string // "maint", "absent", "own_maint", "drain", "draining", "own_drain", "down", "rising", "ejected"
	Text  string
}

// Standing is what follows from the facts. This is the one place where it is
// decided who takes new requests:
//
//	ready: admin ready, present (or spared), no own wish, checks unknown, up or falling, not ejected
//	affine: one that drains, and is well
//	sick: would be ready but for its checks or its requests; panic overrides these two alone
//	out: in maintenance, gone, both leaving and ill, or both missing and down
func (f Facts) Standing() (lb.Standing, Cause) {
	if c := f.away(); c.Token != "" {
		return lb.Out, c
	}
	drain, ill := f.leaving(), f.ill()
	switch {
	case ill.Token != "" && drain.Token != "", f.Lost():
		return lb.Out, ill // panic overrides health, never a wish that nothing new comes
	case drain.Token != "":
		return lb.Affine, drain
	case ill.Token != "":
		return lb.Sick, ill
	}
	return lb.Ready, Cause{}
}

// Lost tells whether an endpoint is gone for good: the list says so, or it is
// missing and its checks find it down. An ejection passes, so it is no proof.
func (f Facts) Lost() bool {
	return f.Discovery == Absent || f.Discovery == Missing && f.Active == Down
}

// away is why nothing goes there, whatever its health.
func (f Facts) away() Cause {
	switch {
	case f.Admin == Maint:
		return Cause{"maint", "in maintenance" + by(f.AdminBy)}
	case f.Discovery == Absent:
		return Cause{"absent", "gone from the list of endpoints"}
	case f.Own == OwnMaint:
		return Cause{"own_maint", "says itself that it is in maintenance"}
	}
	return Cause{}
}

// leaving is why it takes only what belongs to it.
func (f Facts) leaving() Cause {
	switch {
	case f.Admin == Drain:
		return Cause{"drain", "draining" + by(f.AdminBy)}
	case f.Discovery == Draining:
		return Cause{"draining", "about to leave the list of endpoints"}
	case f.Own == OwnDrain:
		return Cause{"own_drain", "says itself that it drains"}
	}
	return Cause{}
}

// ill is what checks and requests have against it.
func (f Facts) ill() Cause {
	switch {
	case f.Active == Down:
		return Cause{"down", "down: " + f.ActiveWhy}
	case f.Active == Rising:
		text := fmt.Sprintf("coming back: %d of %d checks passed", f.Streak, f.Needed)
		if f.Flaps > 0 {
			text += fmt.Sprintf(", more than usual, as it went down %d times lately", f.Flaps)
		}
		return Cause{"rising", text}
	case f.Passive == Ejected:
		return Cause{"ejected", fmt.Sprintf("ejected for the time %d: %s", f.Ejections, f.PassiveWhy)}
	}
	return Cause{}
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return ", says " + who
}

// OnlyEjected tells whether nothing but its ejection keeps an endpoint from
// requests.
func (f Facts) OnlyEjected() bool {
	if f.Passive != Ejected {
		return false
	}
	f.Passive = Fine
	s, _ := f.Standing()
	return s == lb.Ready
}

// Gather are the facts with what all checks found as the active one: the worst of
// them, the strongest wish, the least weight and limit.
func (f Facts) Gather(t *Thresholds, now time.Duration, counts iter.Seq[*Count]) Facts {
	f.Active, f.Streak, f.Needed, f.Flaps, f.ActiveWhy = Unknown, 0, 0, 0, ""
	f.Own, f.OwnWeight, f.OwnLimit = OwnNothing, -1, -1
	first := true
	for c := range counts {
		if first || c.State.worse(f.Active) {
			f.Active, f.Streak, f.ActiveWhy = c.State, c.Streak, c.why
			f.Needed, f.Flaps = c.Needed(t, now), 0
			if f.Needed > t.Rise {
				f.Flaps = c.Flaps(t, now)
			}
		}
		first = false
		f.Own = max(f.Own, c.own)
		f.OwnWeight = Least(f.OwnWeight, c.weight, -1)
		f.OwnLimit = Least(f.OwnLimit, c.limit, -1, 0)
	}
	if f.Active == Falling {
		f.Needed, f.Flaps = t.Fall, 0
	}
	return f
}

// Least is the lesser of two numbers. Some words are no numbers but mean that
// there is none: each of them gives way to the other number, the first given
// before the next.
func Least(a, b int, none ...int) int {
	for _, word := range none {
		switch word {
		case a:
			return b
		case b:
			return a
		}
	}
	return min(a, b)
}
