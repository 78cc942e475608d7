package lb

import (
	"slices"

	"viaduct/hashing"
)

// How says why a node was chosen, or why none was.
type How uint8

// The reasons, by their tokens.
const (
	ByPolicy     How = iota // policy
	Sticky                  // sticky: the request belongs to it
	Home                    // home: its key does
	Overflow                // overflow: another one than its key's, which can't take it
	Probe                   // probe: it was left alone for too long
	Ramp                    // ramp: its part while it starts slowly
	Zone                    // zone: another zone than ours
	Spill                   // spill: another tier than the first
	Panic                   // panic: too few are healthy, so health is ignored
	None                    // none: no node takes requests, or all were tried
	Full                    // full: all have as many as they may
	Panicking               // panicking: too few are healthy, and then there shall be none
	QueueFull               // queue_full: as many wait as may
	QueueTimeout            // queue_timeout: it waited for too long
	Gone                    // gone: its context ended while it waited
)

var hows = [...]string{
	"policy", "sticky", "home", "overflow", "probe", "ramp", "zone", "spill", "panic",
	"none", "full", "panicking", "queue_full", "queue_timeout", "gone",
}

func (h How) String() string {
	if int(h) < len(hows) {
		return hows[h]
	}
	return "unknown"
}

// draw is one choice, while it is made.
type draw struct {
	p      *Pool
	o      *Options
	ask    *Ask
	dry    bool  // changes nothing
	stale  bool  // who is ready has changed since the view was made
	panics bool  // the health of the tier is ignored
	most   int64 // requests in flight that the node may reach, where its load is bounded; else 0
	full   bool  // somebody was passed over for being full
	how    How

	boost float64 // of byKey
}

// races is how often a choice is made again because others were faster to take
// the last place of the node that was chosen.
const races = 16

// Pick chooses a node for a request, which counts as in flight from now until
// the node's End. Without a node How says why.
func (p *Pool) Pick(a *Ask) (*Node, How) {
	v := p.view.Load()
	if a.Now >= v.due && v.stale.Load() {
		v = p.refresh(a.Now, false)
	}
	n, how, raced := p.pick(v, a)
	if n == nil && v.stale.Load() {
		n, how, raced = p.pick(p.refresh(a.Now, true), a)
	}
	if raced { // it stood in a place for a moment, and somebody may have looked
		p.serve(nil)
	}
	return n, how
}

func (p *Pool) pick(v *view, a *Ask) (n *Node, how How, raced bool) {
	for range races {
		d := draw{p: p, o: &v.o, ask: a, stale: v.stale.Load()}
		n := d.choose(v)
		if n == nil {
			return nil, d.how, raced
		}
		if n.begin(a.Now, d.most) {
			return n, d.how, raced
		}
		raced = true
	}
	return nil, Full, raced
}

// choose is the node for a request.
func (d *draw) choose(v *view) *Node {
	if n := d.ask.Sticky; n != nil && d.keeps(v, n) {
		d.how = Sticky
		return n
	}
	if v.single != nil {
		if s := v.single.choose(d, &v.tiers[0]); s != nil {
			return s.n
		}
		return d.nobody(v)
	}
	if len(v.tiers) > 0 {
		first := v.tier(d)
		if n := d.in(v, first); n != nil {
			return n
		}
		for i := range v.tiers {
			if i != first {
				if n := d.in(v, i); n != nil {
					return n
				}
			}
		}
	}
	return d.nobody(v)
}

// keeps says whether a node takes a request that belongs to it.
func (d *draw) keeps(v *view, n *Node) bool {
	if n.pool != d.p || d.tried(n) {
		return false
	}
	s := n.Standing()
	return (s == Ready || s == Affine || s == Sick && v.panics(n.Tier())) && d.room(n)
}

// panics says whether a tier is used whatever its health is.
func (v *view) panics(number int) bool {
	for i := range v.tiers {
		if t := &v.tiers[i]; t.number == number {
			return t.Panics && !v.o.PanicRefuse
		}
	}
	return false
}

func (d *draw) nobody(v *view) *Node {
	d.how = None
	if d.full {
		d.how = Full
		return nil
	}
	for i := range v.tiers {
		if len(v.tiers[i].groups) > 0 {
			d.how = None
			return nil
		}
		if v.tiers[i].Panics && v.o.PanicRefuse {
			d.how = Panicking
		}
	}
	return nil
}

// tier draws one by their loads: the same for a key each time.
func (v *view) tier(d *draw) int {
	if v.tiers[0].Load >= 1 {
		return 0
	}
	u := d.unit(1)
	for i := range v.tiers {
		if u < v.tiers[i].UpTo {
			return i
		}
	}
	return 0
}

// unit is a random number from 0 to 1, or the key's number.
func (d *draw) unit(salt uint64) float64 {
	if d.ask.Keyed && d.o.Policy.Keyed() {
		return hashing.Unit(hashing.Mix(d.ask.Key ^ salt<<56))
	}
	return hashing.Unit(d.o.Rand())
}

// in chooses within a tier: in a zone drawn by its share, else in any.
func (d *draw) in(v *view, i int) *Node {
	t := &v.tiers[i]
	if len(t.groups) == 0 {
		return nil
	}
	first := t.zone(d)
	d.panics = t.Panics
	s, g := t.groups[first].choose(d, t), &t.groups[first]
	for j := 0; s == nil && j < len(t.groups); j++ {
		if j != first {
			s, g = t.groups[j].choose(d, t), &t.groups[j]
		}
	}
	if s == nil {
		return nil
	}
	switch {
	case t.Panics:
		d.how = Panic
	case i > 0:
		d.how = Spill
	case !g.Local && d.o.Zone != "" && d.how == ByPolicy:
		d.how = Zone
	}
	return s.n
}

// zone draws one by their shares. For keys it is by rendezvous: when a zone is
// out, only its keys move.
func (t *tier) zone(d *draw) int {
	if t.groups[0].Share >= 1 {
		return 0
	}
	if d.ask.Keyed && d.o.Policy.Keyed() {
		best, c := 0, hashing.NewContest(hashing.Mix(d.ask.Key))
		for i := range t.groups {
			if c.Takes(t.groups[i].hash, t.groups[i].Share) {
				best = i
			}
		}
		return best
	}
	u := d.unit(2)
	for i := range t.groups {
		if u < t.groups[i].upTo {
			return i
		}
	}
	return 0
}

// choose is a slot of the group for a request, nil if none takes it.
func (g *group) choose(d *draw, t *tier) *slot {
	d.how, d.most = ByPolicy, 0
	switch p := d.o.Policy; {
	case p == RoundRobin, p == Weighted:
		return g.inTurn(d)
	case p == First:
		return g.first(d)
	case p == Random, p.Keyed() && !d.ask.Keyed:
		return g.random(d)
	case p.Keyed():
		return g.byKey(d, t)
	}
	return g.byLoad(d)
}

// free says whether a node takes one more request of the pool, this one.
func (d *draw) free(n *Node) bool {
	if d.stale {
		if s := n.Standing(); s == Affine || s == Out || s == Sick && !d.panics || n.Weight() == 0 {
			return false
		}
	}
	return (len(d.ask.Tried) == 0 || !d.tried(n)) && d.room(n)
}

func (d *draw) tried(n *Node) bool {
	return slices.Contains(d.ask.Tried, n)
}

func (d *draw) room(n *Node) bool {
	limit := n.limit.Load()
	if (limit == 0 || n.flying.Load() < limit) && !n.spent() {
		return true
	}
	d.full = true
	return false
}

// maxMisses is how often one that can't be used is drawn before all are looked at.
const maxMisses = 16

// maxTurns is how many turns are passed before all are looked at.
const maxTurns = 512

func (g *group) inTurn(d *draw) *slot {
	for i := range max(maxMisses, min(2*len(g.all.slots), maxTurns)) {
		var at int
		if d.dry {
			at = g.order.Peek(i)
		} else {
			at = g.order.Take()
		}
		if s := &g.all.slots[at]; d.free(s.n) && g.passes(d, s) {
			return s
		}
	}
	return g.any(d)
}

func (g *group) random(d *draw) *slot {
	for range maxMisses {
		if s := &g.all.slots[g.all.draw(d.o.Rand())]; d.free(s.n) && g.passes(d, s) {
			return s
		}
	}
	return g.any(d)
}

func (g *group) first(d *draw) *slot {
	for i := range g.all.slots {
		if s := &g.all.slots[i]; d.free(s.n) && g.passes(d, s) {
			return s
		}
	}
	return g.any(d)
}

// any is one that takes it, whatever else.
func (g *group) any(d *draw) *slot {
	slots := g.all.slots
	at := int(d.o.Rand() % uint64(len(slots)))
	for range slots {
		if at++; at >= len(slots) {
			at = 0
		}
		if d.free(slots[at].n) {
			return &slots[at]
		}
	}
	return nil
}
