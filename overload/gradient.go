package overload

import (
	"cmp"
	"sync/atomic"
	"time"
)

// GradientOptions say between which bounds a limit is looked for, and how
// boldly. The defaults are those of Netflix's Gradient2, but for Tolerance
// (there 1.5) and Round (there a second), see Gradient.
type GradientOptions struct {
	Initial   int           // requests at a time to begin with; 0 is 20
	Least     int           // the limit is never lower, but for moments; 0 is 20
	Most      int           // nor higher; 0 is 200, or Least if that is more
	Queue     int           // requests that may wait at the upstream, and the step upwards; 0 is 4
	Smoothing float64       // the part of a change that is made in one round, to 1; 0 is 0.2
	Tolerance float64       // latencies so many times the base one are not a queue yet; 0 is 1.2, less than 1 is 1
	Round     time.Duration // the shortest time that is judged; 0 is 100 ms
}

// highest is more than any option is meant to be, and reckoned with safely.
const highest = 1 << 30

func (o GradientOptions) filled() GradientOptions {
	o.Least = min(max(cmp.Or(o.Least, 20), 1), highest)
	o.Most = min(max(cmp.Or(o.Most, 200), o.Least), highest)
	o.Initial = min(max(cmp.Or(o.Initial, 20), o.Least), o.Most)
	o.Queue = min(max(cmp.Or(o.Queue, 4), 1), highest)
	if !(o.Smoothing > 0 && o.Smoothing <= 1) {
		o.Smoothing = 0.2
	}
	o.Tolerance = min(max(cmp.Or(o.Tolerance, 1.2), 1), highest)
	if !(o.Tolerance >= 1) {
		o.Tolerance = 1.2 // it is no number
	}
	if o.Round <= 0 {
		o.Round = 100 * time.Millisecond
	}
	return o
}

// An Outcome is what the end of a request says of the upstream's load.
type Outcome uint8

// The outcomes.
const (
	Served  Outcome = iota // it answered, in its own time
	Dropped                // it gave up: 429, 503, no answer in time. Fast or slow, that is no latency
	Ignored                // it was not asked, or not heard out: refused by us, aborted by the client
)

// A Gradient finds by itself how many requests an upstream can work on at a
// time: as many as it takes until they begin to wait for each other. Beyond that
// point, the knee, more requests make answers later and not more of them.
//
// It compares the latency of a round with a base latency, as Gradient2 of
// Netflix's concurrency-limits does:
//
//	gradient = max(0.5, min(1, Tolerance × base / latency) × the part not dropped)
//	limit   += Smoothing × (limit × gradient + Queue − limit)
//
// and does not raise the limit while less than half of it is used, which says
// nothing of the rest, nor lower it then, unless requests are dropped.
//
// Gradient2 does so for each request, and takes a long average of the same
// latencies for the base. Then latencies that merely vary bring the limit down
// to the least, and under a load that lasts the queue that the limit allows gets
// into the average, which allows more of a queue, up to the most. Here, a round
// of requests is judged by its average, and where most rounds of twenty were
// late, the limit is lowered for two: by a third, or by 3 × Queue if that is more,
// but by no more than half. The first lets what waits drain, and the second gives
// the base. So a queue shows as what it is: with fewer requests, latency falls. An
// upstream that is in time at all it is given is never lowered.
//
// It is for exchanges, whose latency is work: not for tunnels. The zero value
// works.
type Gradient struct {
	o       GradientOptions
	limit   atomic.Int64 // in force; 0 is not set yet
	used    atomic.Int64
	refused atomic.Uint64

	// The round that runs.
	due             atomic.Int64 // when it may end
	served, dropped atomic.Int64
	sum             atomic.Int64 // of the latencies of those served
	busy            atomic.Bool  // half of the limit was used

	turning  atomic.Bool // held by who ends the round, for whom these are:
	phase    int         // of the cycle
	late     int         // rounds of it that took longer than is tolerated, less those that did not
	estimate float64     // the limit, when it is not lowered
	base     atomic.Int64
}

// NewGradient makes a Gradient.
func NewGradient(o GradientOptions) *Gradient { return &Gradient{o: o} }

// Acquire tells whether there is room for one more request, and takes it if so.
// It never refuses while there is room, nor exceeds the limit for a moment.
func (g *Gradient) Acquire() bool {
	limit := g.Limit()
	if !acquire(&g.used, int64(limit)) {
		g.refused.Add(1)
		return false
	}
	if 2*g.used.Load() >= int64(limit) && !g.busy.Load() {
		g.busy.Store(true)
	}
	return true
}

// Release gives back what Acquire took, exactly once, and learns from the
// latency: the time from Acquire to the answer's head.
func (g *Gradient) Release(now, latency time.Duration, o Outcome) {
	g.used.Add(-1)
	switch o {
	case Served:
		g.sum.Add(int64(max(latency, 0)))
		g.served.Add(1)
	case Dropped:
		g.dropped.Add(1)
	default:
		return
	}
	if int64(now) >= g.due.Load() && g.served.Load()+g.dropped.Load() >= fewest {
		g.turn(now)
	}
}

// fewest is how many requests are an average, and longest bounds what the latency
// makes of a round.
const (
	fewest  = 10
	longest = time.Minute
)

// turn ends a round, if nobody else does.
func (g *Gradient) turn(now time.Duration) {
	if !g.turning.CompareAndSwap(false, true) {
		return
	}
	defer g.turning.Store(false)
	if int64(now) < g.due.Load() {
		return // it has ended meanwhile
	}
	o := g.o.filled()
	if g.estimate == 0 {
		g.estimate, g.phase = float64(o.Initial), judging
	}
	served, dropped, busy := g.served.Swap(0), g.dropped.Swap(0), g.busy.Swap(false)
	latency := float64(g.sum.Swap(0)) / float64(max(served, 1))
	switch {
	case served > 0 && (g.phase == measuring || g.base.Load() == 0):
		g.rebase(latency, busy)
	case g.phase >= judging && (busy || dropped > 0):
		g.judge(&o, latency, served, dropped, busy)
	}
	g.next(&o, busy)
	// Two latencies, so that what began under another limit is over.
	g.due.Store(int64(now + max(o.Round, min(2*time.Duration(latency), longest))))
}

// The phases of a cycle are rounds.
const (
	draining  = iota // with the limit lowered
	measuring        // still lowered: the base
	filling          // raised again
	judging          // from here to the end: the limit moves
	cycle     = 20
)

// next begins the next round of the cycle.
func (g *Gradient) next(o *GradientOptions, busy bool) {
	g.phase = (g.phase + 1) % cycle
	limit := int64(g.estimate)
	switch {
	case g.phase == draining && (!busy || g.late <= 0):
		g.phase = measuring // nothing waits: the limit as it is gives the base
	case g.phase <= measuring:
		// By more than the queue that is allowed, or that would hide a longer one.
		limit = max(1, limit/2, limit-max(limit/3, 3*int64(o.Queue)))
	case g.phase == filling:
		g.late = 0
	}
	g.limit.Store(limit)
}

// rebase moves the base half of the way to what was measured.
func (g *Gradient) rebase(latency float64, busy bool) {
	if base := float64(g.base.Load()); base > 0 {
		if busy && g.Limit() >= int(g.estimate) {
			latency = min(latency, base) // what is tolerated is not to add up
		}
		latency = (base + latency) / 2
	}
	g.base.Store(int64(latency))
}

// judge moves the limit: one that is hardly used only down.
func (g *Gradient) judge(o *GradientOptions, latency float64, served, dropped int64, busy bool) {
	gradient := 1.0
	if base := float64(g.base.Load()); served > 0 {
		if base > 2*latency {
			base *= 0.9 // it comes from worse days
			g.base.Store(int64(base))
		}
		gradient = min(1, o.Tolerance*base/max(latency, 1))
		if gradient < 1 {
			g.late++
		} else {
			g.late--
		}
	}
	gradient = max(0.5, gradient*float64(served)/float64(max(served+dropped, 1)))
	limit := g.estimate*gradient + float64(o.Queue)
	if !busy {
		limit = min(limit, g.estimate)
	}
	g.estimate += o.Smoothing * (limit - g.estimate)
	g.estimate = min(max(g.estimate, float64(o.Least)), float64(o.Most))
}

// Limit is how many requests there may be at a time, now.
func (g *Gradient) Limit() int {
	if n := g.limit.Load(); n > 0 {
		return int(n)
	}
	return g.o.filled().Initial
}

// Base is the latency that is taken for one without a queue; 0 is not known yet.
func (g *Gradient) Base() time.Duration { return time.Duration(g.base.Load()) }

// InUse is how many requests there are now.
func (g *Gradient) InUse() int { return int(g.used.Load()) }

// Refused is how many there was no room for so far.
func (g *Gradient) Refused() uint64 { return g.refused.Load() }
