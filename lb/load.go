package lb

// byLoad is the choice of the policies that look at requests in flight.
//
// A node that starts slowly has few of them, and would be given everything.
// So its part is drawn first, unless it is twice as busy as the one that would
// get the request otherwise, and all the rest is chosen among the others.
func (g *group) byLoad(d *draw) *slot {
	if d.o.Policy == P2CEWMA {
		if s := g.forgotten(d); s != nil {
			d.how = Probe
			return s
		}
	}
	if !g.starts(d) {
		return g.all.least(d)
	}
	warm := g.warm.least(d)
	if d.unit(3)*(g.worth(d)+g.warm.total) < g.worth(d) {
		s := g.starter(d)
		if d.free(s.n) && (warm == nil || float64(s.n.flying.Load())*warm.w <= 2*float64(warm.n.flying.Load()+1)*s.w) {
			d.how = Ramp
			return s
		}
	}
	if warm == nil {
		return g.any(d)
	}
	return warm
}

// least is the slot that the policy prefers; of those that were drawn, if it
// draws.
func (s *set) least(d *draw) *slot {
	if d.o.Policy == LeastConn {
		return s.fewest(d)
	}
	if len(s.slots) == 1 {
		if d.free(s.slots[0].n) {
			return &s.slots[0]
		}
		return nil
	}
	for range maxMisses {
		i, j := s.two(d.o.Rand)
		a, b := &s.slots[i], &s.slots[j]
		if !d.free(a.n) || !d.free(b.n) {
			continue
		}
		if a = d.better(a, b); d.o.Policy == P2CEWMA {
			return s.more(d, a)
		}
		return a
	}
	return s.scan(d)
}

// more goes on drawing for p2c_ewma.
func (s *set) more(d *draw, a *slot) *slot {
	for range extraDraws {
		if b := &s.slots[s.draw(d.o.Rand())]; d.free(b.n) {
			a = d.better(a, b)
		}
	}
	return a
}

// extraDraws is how many more p2c_ewma draws: where a quarter of the nodes is slow,
// one pair in twenty is slow on both sides, and that is the tail (see
// doc/balancing.md).
const extraDraws = 2

// better is the one of two with the lower score. Where neither has anything to
// do it is a, which was drawn by its weight: else the heavier one would get
// everything as long as there is little.
func (d *draw) better(a, b *slot) *slot {
	x, y := a.n.flying.Load(), b.n.flying.Load()
	if d.o.Policy == P2C {
		if x == 0 && y == 0 || !busier(x, a, y, b) {
			return a
		}
		return b
	}
	costA, costB := a.n.cost(d.ask.Now, d.o.Tau), b.n.cost(d.ask.Now, d.o.Tau)
	if x == 0 && y == 0 && costA > alike*costB || x+y > 0 && costA*load(x, a.w) > costB*load(y, b.w) {
		return b
	}
	return a
}

// alike is the factor within which the costs of two idle nodes are the same:
// more than what chance does to equal ones.
const alike = 1.5

// busier says whether a would have more requests in flight than b for its
// weight, each with one more. Products of whole numbers are exact: equal is equal.
func busier(x int64, a *slot, y int64, b *slot) bool {
	return float64(x+1)*b.w > float64(y+1)*a.w
}

// load is that, as a number.
func load(flying int64, weight float64) float64 { return float64(flying+1) / weight }

// score is what p2c_ewma compares, and what is shown of the others.
func (d *draw) score(s *slot) float64 {
	score := load(s.n.flying.Load(), s.w)
	if d.o.Policy == P2CEWMA {
		score *= s.n.cost(d.ask.Now, d.o.Tau)
	}
	return score
}

// scan is the best of all that take the request, and of equals any.
func (s *set) scan(d *draw) *slot {
	at := int(d.o.Rand() % uint64(len(s.slots)))
	if d.o.Policy == P2CEWMA {
		return s.cheapest(d, at)
	}
	var best *slot
	var low int64
	for range s.slots {
		if at++; at >= len(s.slots) {
			at = 0
		}
		t := &s.slots[at]
		if x := t.n.flying.Load(); (best == nil || busier(low, best, x, t)) && d.free(t.n) {
			best, low = t, x
		}
	}
	return best
}

// cheapest is scan for p2c_ewma, whose prices the loop above would pay for.
func (s *set) cheapest(d *draw, at int) *slot {
	var best *slot
	var low float64
	for range s.slots {
		if at++; at >= len(s.slots) {
			at = 0
		}
		t := &s.slots[at]
		if score := d.score(t); (best == nil || score < low) && d.free(t.n) {
			best, low = t, score
		}
	}
	return best
}

// probeEvery is how many picks there are for each that may be a probe, where there
// are many: what is known counts for the rest.
const probeEvery = 16

// forgotten is a node that was not chosen for so long that what is known of it
// may be wrong. Without asking it now and then, one that was slow once would
// never be seen to be fast again.
func (g *group) forgotten(d *draw) *slot {
	slots := g.all.slots
	var turn uint32
	if d.dry {
		turn = d.p.probe.Load() + 1
	} else {
		turn = d.p.probe.Add(1)
	}
	now := int64(d.ask.Now)
	checked := d.p.checked.Load()
	if turn%probeEvery != 0 && now-checked < int64(d.o.Reprobe)/2 {
		return nil
	}
	if !d.dry && !d.p.checked.CompareAndSwap(checked, now) {
		return nil
	}
	at := int(turn % uint32(len(slots)))
	since := now - int64(d.o.Reprobe)
	var longest *slot
	for range min(probeEvery, len(slots)) {
		if at++; at >= len(slots) {
			at = 0
		}
		if last := slots[at].n.last.Load(); last <= since && d.free(slots[at].n) {
			longest, since = &slots[at], last
		}
	}
	if longest == nil || !d.dry && !longest.n.last.CompareAndSwap(since, now) {
		return nil // nobody, or another request is the probe
	}
	return longest
}
