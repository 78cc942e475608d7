package health

import (
	"time"

	"viaduct/verdict"
)

// View is what a status page shows of one endpoint, as plain data.
type View struct {
	ID        string    `json:"id"`
	Addr      string    `json:"addr"`
	Standing  string    `json:"standing"`          // what the pool was told: ready, affine, sick, out
	Cause     string    `json:"cause,omitempty"`   // why it is not ready, a token
	Text      string    `json:"text,omitempty"`    // and a sentence
	Admin     string    `json:"admin"`             // ready, drain, maint
	AdminBy   string    `json:"admin_by,omitzero"` // who said so
	Discovery string    `json:"discovery"`
	Own       string    `json:"own"`
	Active    string    `json:"active"`
	Passive   string    `json:"passive"`
	Errors    int       `json:"errors"` // of requests, in a row
	Ejections int       `json:"ejections"`
	Ends      time.Time `json:"ends,omitzero"` // of the ejection
	Weight    int       `json:"weight"`        // as the endpoint says, in percent; -1 is as configured
	Limit     int       `json:"limit"`         // as the endpoint says; -1 is as configured
	InFlight  int       `json:"in_flight"`
	Checks    []Seen    `json:"checks"`
}

// Seen is what one check found last.
type Seen struct {
	Check  string        `json:"check"`
	State  string        `json:"state"`
	Streak int           `json:"streak,omitempty"` // answers in a row against the old state
	Needed int           `json:"needed,omitempty"` // how many it takes
	Flaps  int           `json:"flaps,omitempty"`  // how often it went down lately
	At     time.Time     `json:"at,omitzero"`      // of the last answer; zero is never
	Took   time.Duration `json:"took_ns,omitempty"`
	Note   string        `json:"note,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// Facts are those of an endpoint, and why it takes no new requests, if so.
func (b *Board) Facts(id string) (verdict.Facts, verdict.Cause, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.endpoints[id]
	if e == nil {
		return verdict.Facts{}, verdict.Cause{}, false
	}
	_, c := e.facts.Standing()
	return e.facts, c, true
}

// Ledger is the last transitions of an endpoint, the oldest first.
func (b *Board) Ledger(id string) []verdict.Transition {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.endpoints[id]
	if e == nil {
		return nil
	}
	return e.ledger.List()
}

// Capped is how many ejections the caps forbade so far.
func (b *Board) Capped() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.capped
}

// View is what a status page shows of an endpoint, false if there is none.
func (b *Board) View(id string) (View, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.endpoints[id]
	if e == nil {
		return View{}, false
	}
	return b.view(e, b.now()), true
}

// Views are those of all endpoints, in the order of the list.
func (b *Board) Views() []View {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, now := make([]View, 0, len(b.order)), b.now()
	for _, e := range b.order {
		all = append(all, b.view(e, now))
	}
	return all
}

func (b *Board) view(e *Endpoint, now time.Duration) View {
	f := &e.facts
	s, c := f.Standing()
	v := View{
		ID: e.id, Addr: e.member.At.Addr, Standing: s.String(), Cause: c.Token, Text: c.Text,
		Admin: f.Admin.String(), AdminBy: f.AdminBy, Discovery: f.Discovery.String(), Own: f.Own.String(),
		Active: f.Active.String(), Passive: f.Passive.String(), Errors: int(e.errors.Load()), Ejections: f.Ejections,
		Weight: f.OwnWeight, Limit: f.OwnLimit, InFlight: e.inFlight(), Checks: []Seen{},
	}
	if ends, some := f.Ends(); some {
		v.Ends = time.Now().Add(ends - now)
	}
	for _, c := range e.checks {
		v.Checks = append(v.Checks, c.view(&b.o.Thresholds, now))
	}
	return v
}

func (c *check) view(t *verdict.Thresholds, now time.Duration) Seen {
	s := Seen{
		Check: c.Name(), State: c.State.String(), Streak: c.Streak, Flaps: c.Flaps(t, now),
		At: c.lastAt, Took: c.last.Took, Note: verdict.Tidy(c.last.Note),
	}
	switch c.State {
	case verdict.Falling:
		s.Needed = t.Fall
	case verdict.Rising, verdict.Down:
		s.Needed = c.Needed(t, now)
	}
	if c.last.Err != nil {
		s.Error = verdict.Tidy(c.last.Err.Error())
	}
	return s
}
