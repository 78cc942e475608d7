package lb

import (
	"math"

	"viaduct/hashing"
)

// byKey is the node that a key belongs to, or the next one of the key's way.
//
// Tables are made of all members, so that a key comes to a node that is sick
// or full and walks on from there: while it is, its keys alone are elsewhere,
// each always at the same place, and then they are back. Where the way ends,
// rendezvous among those that are left ends it.
func (g *group) byKey(d *draw, t *tier) *slot {
	var w hashing.Walk
	switch {
	case t.maglev != nil:
		w = t.maglev.Walk(d.ask.Key)
	case t.ring != nil:
		w = t.ring.Walk(d.ask.Key)
	}
	bound := g.bound(d)
	d.how, d.boost = Home, g.boost(d)
	for i := w.Next(); i >= 0; i = w.Next() {
		if at := g.at[i]; at >= 0 && g.takes(d, &g.all.slots[at], bound, true) {
			return &g.all.slots[at]
		}
		d.how = Overflow
	}
	if s := g.rendezvous(d, bound, true); s != nil {
		return s
	}
	if !g.starts(d) && bound == 0 {
		return nil
	}
	// Those that are left have to take it: too early in a slow start, or bound by
	// what they have among themselves.
	return g.rendezvous(d, g.boundOf(d, d.free), false)
}

// rendezvous is the node with the highest score among those that take it.
func (g *group) rendezvous(d *draw, bound float64, slow bool) *slot {
	if at := hashing.Best(g.all.hashes, g.all.inverse, d.ask.Key); at >= 0 && g.takes(d, &g.all.slots[at], bound, slow) {
		return &g.all.slots[at]
	}
	var best, lost *slot
	c, losers := hashing.NewContest(d.ask.Key), hashing.NewContest(d.ask.Key)
	for i := range g.all.slots {
		s := &g.all.slots[i]
		switch {
		case c.Loses(s.n.hash, s.w):
		case !g.takes(d, s, bound, slow):
			if losers.Takes(s.n.hash, s.w) {
				lost = s
			}
		case c.Takes(s.n.hash, s.w):
			best = s
		}
	}
	if best != nil {
		d.most = most(bound, best)
		if lost != nil && losers.Takes(best.n.hash, best.w) {
			lost = nil
		}
		if lost != nil {
			d.how = Overflow
		}
	}
	return best
}

// bound is how many requests in flight a node may reach for each unit of its
// weight; 0 is any number.
func (g *group) bound(d *draw) float64 {
	if d.o.HashBound == 0 {
		return 0
	}
	return g.boundOf(d, nil)
}

// boundOf is the bound within a part of the group; nil is all of it.
func (g *group) boundOf(d *draw, part func(*Node) bool) float64 {
	var m int64
	var total float64
	for i := range g.all.slots {
		if s := &g.all.slots[i]; part == nil || part(s.n) {
			m += s.n.flying.Load()
			total += s.w
		}
	}
	if total == 0 {
		return 0
	}
	return d.o.HashBound * float64(m+1) / total
}

// takes says whether a node may have a key. During a slow start it gets the keys
// that it throws low for, more and more of them, and keeps those it has.
func (g *group) takes(d *draw, s *slot, bound float64, slow bool) bool {
	if !d.free(s.n) {
		return false
	}
	if slow && g.starts(d) {
		part := d.o.ramp(s.n, d.ask.Now)
		if part *= d.boost; part < 1 && hashing.Unit(hashing.Mix(hashing.Combine(s.n.hash, d.ask.Key))) >= part {
			return false
		}
	}
	d.most = most(bound, s)
	return d.most == 0 || s.n.flying.Load() < d.most
}

// most is how many requests in flight a node may reach; 0 is any number.
func most(bound float64, s *slot) int64 {
	if n := math.Ceil(bound * s.w); n < math.MaxInt32 {
		return int64(n)
	}
	return 0
}
