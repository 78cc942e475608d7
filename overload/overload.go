// Package overload guards the endpoints of a pool, and whoever waits for them,
// against more work than can be done.
//
// Four guards, each with one question. A Budget: may this be tried once more? A
// Throttle: is it worth asking an upstream that refuses most of what it is
// asked? A Circuit: is there still room below the operator's limits? A Gradient:
// is there room below the limit that the latency tells?
//
// All of them are values with no goroutine, no timer and no lock: a call is a
// few atomic operations and may come from any goroutine. The zero value of each
// works, with the defaults that are written at its options, and must not be
// copied once it is used. Time is handed in, as the time since the program
// began.
package overload

import (
	"sync/atomic"
	"time"
)

// slots is how many steps a window slides in: what it holds is forgotten when
// it is between nine tenths of the window and the whole of it old.
const slots = 10

// latest is by how many steps one may be late. More than that is what a number
// of steps shows that has begun anew.
const latest = 1 << 20

// window counts what happened in the last while. A slot holds the number of its
// step, which tells whether it is of now or of the last time round, and the
// count, in one word: so nobody has to clear it.
type window struct {
	slot [slots]atomic.Uint64 // step << 32 | count
}

// step is the number of the slot that now belongs to.
func step(now, length time.Duration) uint32 {
	return uint32(max(now, 0) / max(length/slots, 1))
}

// add counts one.
func (w *window) add(step uint32) {
	s, head := &w.slot[step%slots], uint64(step)<<32
	for {
		v := s.Load()
		if v>>32 == uint64(step) {
			s.Add(1) // were the slot turned meanwhile, one is counted late
			return
		}
		if newer := uint32(v>>32) - step; newer < latest {
			return // it is of the next time round: this one is older than the window
		}
		if s.CompareAndSwap(v, head|1) {
			return
		}
	}
}

// sum is how many were counted in the step and the nine before.
func (w *window) sum(step uint32) (n int64) {
	for i := range w.slot {
		if v := w.slot[i].Load(); step-uint32(v>>32) < slots {
			n += int64(uint32(v))
		}
	}
	return n
}
