package health

import (
	"time"

	"viaduct/lb"
	"viaduct/verdict"
)

// record enters which facts differ from before.
func (b *Board) record(e *Endpoint, now time.Duration, before *verdict.Facts, s lb.Standing, why verdict.Evidence) {
	for _, c := range e.facts.Changes(before) {
		t := verdict.Transition{When: time.Now(), At: now, Endpoint: e.id, Change: c, Evidence: why, Standing: s}
		t.Cause = verdict.Tidy(t.Cause)
		e.ledger.Add(t, b.o.Ledger)
		if b.o.Changed != nil {
			b.queue = append(b.queue, t)
		}
	}
}

// unlock gives the lock back, and tells what has changed to whom it concerns. One
// goroutine tells at a time, so that all comes in order; one that finds it at work
// leaves its news there. What a panic of the listener keeps from being told is
// told the next time.
func (b *Board) unlock() {
	defer b.mu.Unlock()
	if b.telling {
		return
	}
	b.telling = true
	defer func() { b.telling = false }()
	for len(b.queue) > 0 {
		b.tell()
	}
}

// tell tells the oldest news, and gives the lock back meanwhile.
func (b *Board) tell() {
	news, changed := b.queue[0], b.o.Changed
	b.queue = b.queue[1:]
	b.mu.Unlock()
	defer b.mu.Lock()
	if changed != nil {
		changed(news)
	}
}
