package verdict

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"time"

	"viaduct/probe"
)

// Thresholds say how many answers of a check it takes. Zero values are the
// defaults.
type Thresholds struct {
	Fall    int // failures in a row until it is down; 0 is 3
	Rise    int // successes in a row until it is up again; 0 is 2
	Damping Damping
}

// Damping slows the return of endpoints that come and go.
type Damping struct {
	Flaps  int           // times that one may go down before it counts; 0 is 3, negative is no damping
	Within time.Duration // the time that they are counted in; 0 is 5 min
	Most   int           // successes that are ever asked for; 0 is 32
}

// Fill puts the defaults in.
func (t *Thresholds) Fill() {
	t.Fall = cmp.Or(max(t.Fall, 0), 3)
	t.Rise = cmp.Or(max(t.Rise, 0), 2)
	t.Damping.Flaps = cmp.Or(t.Damping.Flaps, 3)
	t.Damping.Within = cmp.Or(max(t.Damping.Within, 0), 5*time.Minute)
	t.Damping.Most = cmp.Or(max(t.Damping.Most, 0), 32)
}

// Count is what one check thinks of one endpoint: a machine that takes its
// answers.
type Count struct {
	State  Active
	Streak int // answers against the state it came from, in Falling and Rising only

	// Watched says that the endpoint tells by itself what changes: one word is
	// enough then, and it says nothing twice.
	Watched bool

	name   string
	rise   int             // successes that it takes now
	flaps  []time.Duration // when it went from up to down, lately
	passes int             // in a row, of answers that were asked for after the ejection
	failed int             // failures in a row
	own    Own
	weight int // percent, -1: none said
	limit  int // -1: none said
	why    string
}

// NewCount is of a check that has not answered yet. The name is for people.
func NewCount(name string) Count { return Count{name: name, weight: -1, limit: -1} }

// Rename gives the check another name.
func (c *Count) Rename(name string) { c.name = name }

// Name is that of the check.
func (c *Count) Name() string { return c.name }

// Take counts one answer. A fresh one was asked for after the last ejection of
// the endpoint, and so says something of what came of it.
func (c *Count) Take(t *Thresholds, now time.Duration, r *probe.Result, fresh bool) {
	passed := r.Err == nil && r.Word != probe.SaysDown && r.Word != probe.SaysStopped
	c.rise = c.Needed(t, now)
	was := c.State
	c.step(passed, t.Fall)
	if passed {
		c.failed = 0
		if fresh {
			c.passes++
		}
	} else {
		c.failed++
		c.passes = 0
		c.why = c.failure(r)
		if r.Word != probe.NoWord || c.Watched {
			c.State, c.Streak = Down, 0 // in so many words: there is nothing to wait for
		}
	}
	if c.State == Down && (was == Up || was == Falling) {
		c.flap(t, now)
	}
	if c.State == Up {
		c.why = ""
	}
	c.listen(r)
}

// step takes the machine to the state after one more answer: up falls in fall
// steps, down rises in rise steps, one answer that speaks for the old state ends
// the count, and of what nothing was known the first answer is believed.
func (c *Count) step(passed bool, fall int) {
	state, streak := Falling, c.Streak+1
	switch {
	case passed && (c.State == Unknown || c.State == Up || c.State == Falling):
		state, streak = Up, 0
	case passed && streak < c.rise:
		state = Rising
	case passed:
		state, streak = Up, 0
	case c.State == Unknown, c.State == Down, c.State == Rising, streak >= fall:
		state, streak = Down, 0
	}
	c.State, c.Streak = state, streak
}

// listen heeds what the endpoint says of itself, at once. A word stands until
// another one is said.
func (c *Count) listen(r *probe.Result) {
	switch r.Word {
	case probe.NoWord:
		if r.Err != nil {
			return // nobody spoke
		}
	case probe.SaysDrain:
		c.own = OwnDrain
	case probe.SaysMaint:
		c.own = OwnMaint
	case probe.SaysUp, probe.SaysReady, probe.SaysDown, probe.SaysStopped:
		c.own = OwnNothing
	}
	if r.Weight >= 0 {
		c.weight = r.Weight
	}
	if r.Limit >= 0 {
		c.limit = r.Limit
	}
}

// Restless tells whether the next answer is wanted soon.
func (c *Count) Restless() bool { return c.State != Up && c.State != Down }

// Needed is how many successes in a row it takes to be up again: twice as many
// for each time beyond the usual that it went down of late.
func (c *Count) Needed(t *Thresholds, now time.Duration) int {
	n, most := t.Rise, max(t.Damping.Most, t.Rise)
	if t.Damping.Flaps < 0 {
		return n
	}
	for range c.Flaps(t, now) - t.Damping.Flaps {
		if n = 2 * n; n >= most {
			return most
		}
	}
	return n
}

// Flaps is how often it went from up to down within the time of the damping.
func (c *Count) Flaps(t *Thresholds, now time.Duration) int {
	n := 0
	for _, at := range c.flaps {
		if now-at < t.Damping.Within {
			n++
		}
	}
	return n
}

// mostFlaps are remembered: more than the damping can tell apart.
const mostFlaps = 64

func (c *Count) flap(t *Thresholds, now time.Duration) {
	if t.Damping.Flaps < 0 {
		return
	}
	if len(c.flaps) >= mostFlaps {
		c.flaps = append(c.flaps[:0], c.flaps[1:]...)
	}
	c.flaps = append(c.flaps, now)
}

// Resume starts a check after a restart, one answer before its decision.
func (c *Count) Resume(state Active, t *Thresholds) {
	c.why = "it was so before the restart"
	switch state {
	case Up, Falling:
		c.State, c.Streak = Falling, t.Fall-1
	case Down, Rising:
		c.State, c.Streak = Rising, t.Rise-1
	}
}

// Anew forgets what passed: the endpoint has just been ejected.
func (c *Count) Anew() { c.passes = 0 }

// Proven tells whether every check has passed as often as it takes to come up,
// since the endpoint was ejected, and how often the one that passed least did.
// What is watched and up has no more to say.
func Proven(t *Thresholds, now time.Duration, counts iter.Seq[*Count]) (passes int, yes bool) {
	passes = math.MaxInt
	for c := range counts {
		if c.Watched && c.State == Up {
			continue
		}
		if c.passes < c.Needed(t, now) {
			return 0, false
		}
		passes = min(passes, c.passes)
	}
	if passes == math.MaxInt {
		return 0, false
	}
	return passes, true
}

// failure words an answer that did not pass, with the evidence.
func (c *Count) failure(r *probe.Result) string {
	found := r.Note
	if r.Err != nil {
		found = r.Err.Error()
	}
	if found == "" || r.Word != probe.NoWord {
		found = "it says " + r.Word.String() + " itself"
	}
	if c.failed > 1 {
		return Tidy(fmt.Sprintf("%s: %s (%d in a row)", c.name, found, c.failed))
	}
	return Tidy(c.name + ": " + found)
}

// Evidence is what an answer that was just taken brings forward.
func (c *Count) Evidence(r *probe.Result) Evidence {
	e := Evidence{Cause: c.why, Check: c.name, Streak: c.failed}
	switch {
	case r.Word != probe.NoWord && c.failed == 0:
		e.Cause = e.Check + ": it says " + r.Word.String() + " itself"
	case c.failed == 0:
		e.Cause = e.Check + ": passed"
		if r.Note != "" {
			e.Cause += ", " + r.Note
		}
		e.Streak = max(c.Streak, 1)
		if c.State == Up && c.rise > 1 {
			e.Streak = c.rise
		}
	}
	return e
}
