package health

import (
	"fmt"
	"time"

	"viaduct/verdict"
)

// Save is the state that Restore takes, as JSON: operators' words, ejections and
// verdicts. What nothing is known of is not in it.
func (b *Board) Save() ([]byte, error) { return b.saved().Encode() }

func (b *Board) saved() *verdict.Saved {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, wall := b.now(), time.Now()
	s := verdict.NewSaved(wall)
	for f := range b.words.Away(wall) { // first: what was found is found again
		s.Add(f)
	}
	for _, e := range b.order {
		s.Add(b.findings(e, now))
	}
	return s
}

func (b *Board) findings(e *Endpoint, now time.Duration) verdict.Findings {
	f := verdict.Findings{ID: e.id}
	b.words.Note(&f)
	f.Eject(&e.facts.Outlier, now)
	for _, c := range e.checks {
		f.Note(c.key, c.State)
	}
	return f
}

// Restore takes in what Save gave, before the first Update or after it. What is
// not valid is refused, and nothing changes then.
//
// An operator's word holds whatever its age, until its endpoint has been away for
// three months. What was learned counts if it is no
// older than MostAge, and not as gospel: what was up starts falling, what was
// down starts rising, so that the first check decides, and until then nothing is
// sent to what was down. An ejection goes on for the time it had left. What this
// board knows already is not overwritten.
func (b *Board) Restore(data []byte) error {
	s, err := verdict.Decode(data)
	if err != nil {
		return fmt.Errorf("restore health: %w", err)
	}
	b.mu.Lock()
	defer b.unlock()
	now, age := b.now(), time.Since(s.At)
	b.restored, b.restoredAt = map[string]verdict.Findings{}, now
	for i := range s.Endpoints {
		f := &s.Endpoints[i]
		if b.words.Resume(f, s.At) {
			b.admit(f.ID, "restored")
		}
		f.EjectedFor = min(max(f.EjectedFor-age, 0), b.o.Ejection.Most)
		if age <= b.o.MostAge && age >= 0 { // else from a clock that has run ahead
			b.restored[f.ID] = *f
		}
	}
	b.recall(now)
	b.stir()
	return nil
}

// recall gives endpoints back what was known of them before the restart. It comes
// when all of a list are there: the caps of ejections count them.
func (b *Board) recall(now time.Duration) {
	if now-b.restoredAt > b.o.MostAge {
		b.restored = nil
	}
	for _, e := range b.order {
		if f, ok := b.restored[e.id]; ok {
			delete(b.restored, e.id)
			b.resume(e, &f, now)
		}
	}
}

// resume goes on with what was found of an endpoint.
func (b *Board) resume(e *Endpoint, f *verdict.Findings, now time.Duration) {
	before := e.facts
	for _, c := range e.checks {
		if c.State == verdict.Unknown && !c.seen {
			c.Resume(f.Found(c.key), &b.o.Thresholds)
		}
	}
	e.gather(now)
	b.settle(e, now, before, verdict.Evidence{Cause: "restored"})
	if e.facts.Passive != verdict.Fine || e.facts.Ejections > 0 || b.o.Passive.Off {
		return
	}
	before = e.facts
	e.facts.Outlier.Resume(&b.o.Ejection, now, f.Ejections)
	if left := f.EjectedFor - (now - b.restoredAt); f.EjectedFor > 0 && b.mayEject(e) {
		e.facts.ResumeOut(now, left, f.Why)
		e.anew()
	}
	b.settle(e, now, before, verdict.Evidence{Cause: "restored"})
}
