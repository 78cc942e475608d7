// Package ewma keeps what an endpoint costs: a moving average of its latencies
// in which a failure is a slow answer, and what is slow among all of them.
package ewma

import (
	"math"
	"sync/atomic"
	"time"
)

// Cost is what an endpoint costs, in ns: an average that follows a rise ten
// times as fast as a fall. The zero Cost knows nothing yet. Its methods may be
// called from any goroutine.
//
// Times are durations since any one moment, by a monotonic clock. How fast it
// falls is tau: a time after which about a third of the old is left. More than
// a thousand samples in a second count as if they were a millisecond apart.
type Cost struct {
	word atomic.Uint64 // see pack
}

// At is the cost at a time; unknown, where nothing is known. It is half of what
// it was when nothing was heard for tau, a third after two: what is not looked
// at is forgotten.
func (c *Cost) At(now, tau time.Duration, unknown float64) float64 {
	word := c.word.Load()
	if word == 0 {
		return unknown
	}
	cost, age, _ := unpack(word, now)
	return cost * float64(tau) / float64(tau+age)
}

// Served takes in the latency of an answer.
func (c *Cost) Served(now, latency, tau time.Duration) {
	c.take(now, tau, max(float64(latency), 1), false)
}

// Failed takes in a failure. It never lowers the cost, however fast it came: an
// endpoint that refuses everything would be the best of all. It counts as an
// answer that took penalty, in ns, and the second in a row does at once.
func (c *Cost) Failed(now, latency, tau time.Duration, penalty float64) {
	c.take(now, tau, max(float64(latency), penalty, 1), true)
}

func (c *Cost) take(now, tau time.Duration, sample float64, failed bool) {
	for {
		was := c.word.Load()
		cost, age, failing := unpack(was, now)
		next := sample
		if failed {
			next = max(next, cost)
		}
		if was != 0 && !(failing && failed) {
			next = blend(cost, next, age, tau)
		}
		stamp := uint32(now / tick)
		if age == 0 && was != 0 {
			stamp = uint32(was) // who read the clock earlier does not set it back
		}
		if c.word.CompareAndSwap(was, pack(next, stamp, failed)) {
			return
		}
	}
}

// blend is a cost after a sample that comes when it is this old.
func blend(cost, sample float64, age, tau time.Duration) float64 {
	if sample > cost {
		tau /= 10
	}
	keep := math.Exp(-float64(max(age, tick)) / float64(max(tau, tick)))
	return cost*keep + sample*(1-keep)
}

// tick is the unit of stamps: 32 bits of it are 49 days, and come round.
const tick = time.Millisecond

// pack makes one word of a cost and the time it was true, so that they are
// never seen apart; the last bit of the cost says whether it is of a failure. No
// word is 0: that is a Cost without any.
func pack(cost float64, stamp uint32, failed bool) uint64 {
	bits := math.Float32bits(float32(max(cost, 1))) &^ 1
	if failed {
		bits |= 1
	}
	return uint64(bits)<<32 | uint64(stamp)
}

// early is how far a stamp may lie ahead, in ticks: of those who tell at the
// same time, one has read the clock first.
const early = 60_000

func unpack(word uint64, now time.Duration) (cost float64, age time.Duration, failed bool) {
	bits := uint32(word >> 32)
	ticks := uint32(now/tick) - uint32(word)
	if ticks > math.MaxUint32-early {
		ticks = 0
	}
	return float64(math.Float32frombits(bits)), time.Duration(ticks) * tick, bits&1 == 1
}

// Tail is the latency that 95 % of the answers do not exceed, about. The zero
// Tail knows of none. Its methods may be called from any goroutine.
type Tail struct {
	word atomic.Uint64 // ns, float64
}

// At is the latency in ns; 0 before any answer.
func (t *Tail) At() float64 { return math.Float64frombits(t.word.Load()) }

// Served takes in an answer: it moves the tail by a step, 19 down for one up
// (frugal streaming, Ma, Muthukrishnan and Sandler 2013). Answers at the same
// time may lose one another's step, which changes little.
func (t *Tail) Served(latency time.Duration) {
	const step = 0.02
	was, rtt := t.At(), max(float64(latency), 1)
	switch {
	case was == 0:
		was = rtt
	case rtt > was:
		was *= 1 + 0.95*step
	default:
		was *= 1 - 0.05*step
	}
	t.word.Store(math.Float64bits(was))
}
