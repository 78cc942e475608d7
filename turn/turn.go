// Package turn says whose turn it is: in an order that is exact for its weights
// (Sequence), by chance (Alias), or because somebody came first (Line).
package turn

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// length is how many picks a run has: more take a longer while at a time, fewer
// take the lock more often.
const length = 512

// Sequence is an order that everybody follows: made a run at a time, and taken
// from it by one addition. Its methods may be called from any goroutine.
type Sequence struct {
	run  atomic.Pointer[run]
	mu   sync.Mutex // held while a run is made, which is once for so many picks
	fill func([]uint32)
}

type run struct {
	picks []uint32
	_     [40]byte
	next  atomic.Uint64
	_     [56]byte
	after atomic.Pointer[run]
}

// Rounds is an order in rounds: in each, everybody who has weight left takes one
// turn, as the list has them. A weight is the number of rounds. Whose turn is
// the first depends on the seed; midway it may be any turn, not one of the first
// round: orders that are often made anew, and little used, would else know no
// weights.
func Rounds(weights []uint32, seed uint64, midway bool) *Sequence {
	dice := rand.New(rand.NewPCG(seed, 0))
	r := newRounds(reduced(weights), dice.IntN(len(weights)))
	if midway {
		r.jump(dice.Uint64N(r.total))
	}
	return &Sequence{fill: r.fill}
}

// Fair is the order in which nobody is ever a whole turn away from its share.
// Where it begins depends on the seed; in long cycles it is at the beginning,
// unless it may be midway, where the promise holds from there to within two
// turns.
func Fair(weights []uint32, seed uint64, midway bool) *Sequence {
	dice := rand.New(rand.NewPCG(seed, 0))
	c := newChairman(reduced(weights), dice)
	skip, short := c.start(dice)
	if !short && midway {
		skip = dice.Uint64N(min(c.total, 8*uint64(len(weights)), mostSkipped))
	}
	for range skip {
		c.next()
	}
	return &Sequence{fill: c.fill}
}

// mostSkipped bounds the turns that are thrown away to begin midway.
const mostSkipped = 4096

// reduced are weights without what they have in common: in any scale they make
// the same order. Each must be above 0.
func reduced(weights []uint32) []uint64 {
	list := make([]uint64, len(weights))
	var common uint64
	for i, w := range weights {
		list[i] = uint64(w)
		common = gcd(common, list[i])
	}
	for i := range list {
		list[i] /= common
	}
	return list
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Take is the place in the list whose turn it is.
func (s *Sequence) Take() int {
	for {
		r := s.run.Load()
		if r != nil {
			i := r.next.Add(1) - 1
			if i == length/2 {
				s.prepare(r)
			}
			if i < length {
				return int(r.picks[i])
			}
		}
		s.advance(r)
	}
}

// Peek is the place whose turn comes after others, at most 512 of them, unless
// somebody takes turns meanwhile.
func (s *Sequence) Peek(others int) int {
	for {
		r := s.run.Load()
		if r == nil || r.next.Load() >= length {
			s.advance(r)
			continue
		}
		i := int(r.next.Load()) + others
		if i < length {
			return int(r.picks[i])
		}
		s.prepare(r)
		if after := r.after.Load(); after != nil && i < 2*length {
			return int(after.picks[i-length])
		}
	}
}

// prepare makes the run after r, while the rest of r is used.
func (s *Sequence) prepare(r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run.Load() == r && r.after.Load() == nil {
		r.after.Store(s.fresh())
	}
}

// advance makes the run after r the present one.
func (s *Sequence) advance(r *run) {
	if r != nil {
		if after := r.after.Load(); after != nil {
			s.run.CompareAndSwap(r, after)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run.Load() != r {
		return
	}
	if r != nil && r.after.Load() != nil {
		s.run.CompareAndSwap(r, r.after.Load())
		return
	}
	s.run.Store(s.fresh())
}

func (s *Sequence) fresh() *run {
	r := &run{picks: make([]uint32, length)}
	s.fill(r.picks)
	return r
}
