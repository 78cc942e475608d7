package health

import (
	"cmp"
	"fmt"
	"time"

	"viaduct/verdict"
)

// SetAdmin sets what an operator wants of an endpoint. It stays until the
// operator says otherwise, when the endpoint leaves the list and comes back too.
// It may be said while the endpoint is away.
func (b *Board) SetAdmin(id string, a verdict.Admin, who string) error {
	if a > verdict.Maint {
		return fmt.Errorf("admin state %d: there is none", a)
	}
	b.mu.Lock()
	defer b.unlock()
	if err := b.words.Say(id, a, who, time.Now(), b.endpoints[id] != nil); err != nil {
		return err
	}
	b.admit(id, "said by "+cmp.Or(who, "an operator"))
	return nil
}

// admit lets the operator's word have its effect, if the endpoint is there.
func (b *Board) admit(id, why string) {
	e := b.endpoints[id]
	if e == nil {
		return
	}
	before := e.facts
	b.words.Leave(id, time.Time{})
	e.facts.Admin, e.facts.AdminBy = b.words.Of(id)
	b.settle(e, b.now(), before, verdict.Evidence{Cause: why})
}

// SetDiscovery sets what the list says of an endpoint. Absent is gone at once,
// unless the registry is known to be sick: then it is Missing for the time of
// AbsentGrace, and used unless its checks find it down.
func (b *Board) SetDiscovery(id string, d verdict.Discovery) error {
	if d > verdict.Absent {
		return fmt.Errorf("discovery state %d: there is none", d)
	}
	return b.say(id, func(e *Endpoint, now time.Duration) verdict.Evidence {
		if d != verdict.Absent && d != verdict.Missing {
			e.facts.Discovery = d
			return verdict.Evidence{Cause: "so says the list"}
		}
		switch {
		case e.facts.Discovery == verdict.Missing && b.sick: // its time runs already
		case e.facts.Discovery == verdict.Absent || !b.sick:
			e.facts.Discovery = verdict.Absent
		default:
			e.facts.Discovery = verdict.Missing
			e.missingTo = 0
			if b.o.AbsentGrace > 0 {
				e.missingTo = now + b.o.AbsentGrace
			}
			return verdict.Evidence{Cause: "not in the list, but the registry is sick"}
		}
		return verdict.Evidence{Cause: "not in the list"}
	})
}

// say changes facts of one endpoint in the list.
func (b *Board) say(id string, change func(e *Endpoint, now time.Duration) verdict.Evidence) error {
	b.mu.Lock()
	defer b.unlock()
	e := b.endpoints[id]
	if e == nil {
		return fmt.Errorf("endpoint %.80q: there is none in this pool", id)
	}
	before, now := e.facts, b.now()
	ev := change(e, now)
	b.settle(e, now, before, ev)
	b.stir()
	return nil
}

// SetRegistrySick says whether the registry that the list comes from is known to
// be sick. When it is well again, what it does not list is gone.
func (b *Board) SetRegistrySick(sick bool) {
	b.mu.Lock()
	defer b.unlock()
	b.sick = sick
	if sick {
		return
	}
	now := b.now()
	for _, e := range b.order {
		if e.facts.Discovery == verdict.Missing {
			before := e.facts
			e.facts.Discovery = verdict.Absent
			b.settle(e, now, before, verdict.Evidence{Cause: "not in the list, and the registry is well again"})
		}
	}
}

// Gone are the endpoints that the list has lost for good, or that are missing and
// down, in its order: its owner may drop them.
func (b *Board) Gone() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for _, e := range b.order {
		if e.facts.Lost() {
			ids = append(ids, e.id)
		}
	}
	return ids
}
