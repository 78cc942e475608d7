package health

import (
	"time"

	"viaduct/lb"
	"viaduct/verdict"
)

// settle draws the consequences after the facts of an endpoint changed: the
// ledger, the pool, the timer, the others.
func (b *Board) settle(e *Endpoint, now time.Duration, before verdict.Facts, why verdict.Evidence) {
	standing, _ := e.facts.Standing()
	e.passive.Store(uint32(e.facts.Passive))
	b.weigh(e, now)
	part := e.facts.Part(standing, e.node != nil && e.node.Weight() == 0)
	b.tally.Replace(e.part, part)
	e.part = part
	b.record(e, now, &before, standing, why)
	b.limit(e)
	if standing == lb.Ready { // a ration is there before the requests, and goes after them
		b.ration(e)
	}
	if e.node != nil {
		b.pool.Set(e.node, standing, now)
	}
	b.ration(e)
	b.schedule(e)
	b.balance(now)
}

// weigh gives the node the weight that the endpoint wants of its own.
func (b *Board) weigh(e *Endpoint, now time.Duration) {
	if e.node == nil {
		return
	}
	if percent := e.facts.OwnWeight; percent >= 0 {
		share := (uint64(e.member.Weight)*uint64(percent) + 99) / 100
		b.pool.SetWeight(e.node, uint32(min(share, lb.MostWeight)), now)
		e.weighed = true
	} else if e.weighed {
		b.pool.SetWeight(e.node, e.member.Weight, now)
		e.weighed = false
	}
}

// limit tells the node how many requests it takes at a time: what the list says,
// or the endpoint itself.
func (b *Board) limit(e *Endpoint) {
	if e.node == nil {
		return
	}
	limit, own := e.member.Limit, false
	if e.facts.OwnLimit >= 0 {
		limit, own = e.facts.OwnLimit, true
	}
	if (own || e.limited) && e.node.Limit() != limit {
		e.node.SetLimit(limit)
	}
	e.limited = own
}

// ration tells the node that it takes one request while it is on trial, and then
// none until that has told.
func (b *Board) ration(e *Endpoint) {
	trial := e.facts.Passive == verdict.Probing && !b.lone
	if e.node == nil || trial == e.rationed {
		return
	}
	e.rationed = trial
	if trial {
		e.node.Allow(1)
	} else {
		e.node.Allow(-1)
	}
}

func (e *Endpoint) inFlight() int {
	if e.node == nil {
		return 0
	}
	return int(e.node.InFlight())
}

// balance keeps the pool usable when the others of an endpoint change: a trial
// is not rationed where nothing else is left, and an ejection ends where nothing
// at all is.
func (b *Board) balance(now time.Duration) {
	if lone := b.tally.Lone(); lone != b.lone {
		b.lone = lone
		for _, e := range b.order {
			if e.part.Probing {
				b.ration(e)
			}
		}
	}
	if !b.tally.Stuck() {
		return
	}
	var next *Endpoint
	for _, e := range b.order {
		if e.part.Ejected && (next == nil || e.facts.Until < next.facts.Until) && e.facts.OnlyEjected() {
			next = e
		}
	}
	if next != nil {
		b.release(next, now, "no other endpoint is left")
	}
}
