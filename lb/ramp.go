package lb

import (
	"math"
	"sync/atomic"
	"time"

	"viaduct/hashing"
)

// ramp is the part of its weight that a node has at a time of its slow start.
func (o *Options) ramp(n *Node, now time.Duration) float64 {
	from := time.Duration(n.rampFrom.Load())
	if o.SlowStart == 0 || from == 0 || now >= from+o.SlowStart {
		return 1
	}
	return curve(float64(max(now-from, 0))/float64(o.SlowStart), o.Aggression)
}

// slow tells those that start slowly from the others. Without others, nobody is
// spared anything.
func (g *group) slow(v *view, now time.Duration) {
	if v.o.SlowStart == 0 {
		return
	}
	var warm, cold []slot
	for _, s := range g.all.slots {
		if v.o.ramp(s.n, now) < 1 {
			cold = append(cold, s)
			g.until = max(g.until, time.Duration(s.n.rampFrom.Load())+v.o.SlowStart)
		} else {
			warm = append(warm, s)
		}
	}
	if len(warm) > 0 && len(cold) > 0 {
		g.warm, g.cold, g.sum = newSet(warm, v.o.Policy), newSet(cold, v.o.Policy), new(atomic.Uint64)
	}
}

// passes lets a node that starts slowly have its part of what would be its own,
// where the policy does not look at loads: who is passed over leaves it to the
// next draw, so that the others keep their proportions.
func (g *group) passes(d *draw, s *slot) bool {
	if !g.starts(d) {
		return true
	}
	part := d.o.ramp(s.n, d.ask.Now)
	return part >= 1 || hashing.Unit(d.o.Rand()) < part
}

// starts says whether some of the group start slowly, beside others that don't.
func (g *group) starts(d *draw) bool { return len(g.cold.slots) > 0 && d.ask.Now < g.until }

// curve is the part of its weight that a node has at a part of its slow start.
func curve(time, aggression float64) float64 {
	if aggression != 1 {
		time = math.Pow(time, 1/aggression)
	}
	return min(1, max(0.10, time))
}

// starter draws one of those that start slowly, by the weight that it has now.
func (g *group) starter(d *draw) *slot {
	for range maxMisses {
		if s := &g.cold.slots[g.cold.draw(d.o.Rand())]; hashing.Unit(d.o.Rand()) < d.o.ramp(s.n, d.ask.Now) {
			return s
		}
	}
	return &g.cold.slots[g.cold.draw(d.o.Rand())]
}

// worth is the weight that those have now that start slowly. It is summed up
// once in a millisecond: there may be thousands.
func (g *group) worth(d *draw) float64 {
	now := uint64(uint32(d.ask.Now/time.Millisecond)) << 32
	word := g.sum.Load()
	if word == 0 || word>>32<<32 != now {
		var sum float64
		for i := range g.cold.slots {
			s := &g.cold.slots[i]
			sum += s.w * d.o.ramp(s.n, d.ask.Now)
		}
		word = now | uint64(math.Float32bits(float32(sum)))
		g.sum.Store(word)
	}
	return float64(math.Float32frombits(uint32(word)))
}

// boost makes of the weight of a slow start a part of the keys: what nodes leave
// to others makes the shares of all greater.
func (g *group) boost(d *draw) float64 {
	if !g.starts(d) {
		return 1
	}
	return g.all.total / (g.warm.total + g.worth(d))
}
