package turn

import (
	"math/bits"
	"math/rand/v2"
)

// chairman is eligible-EDF, Tijdeman's rule for the chairman assignment problem
// (1980): at slot t of a cycle of W, who has had x picks may have another one
// once t·w > x·W, and of those who may, the one that must have it first,
// which is the smallest (x+1)/w, gets it. No prefix is a whole pick away from
// the ideal share.
//
// Instances begin anywhere in the cycle, by their seed, where that keeps the
// promise for those who begin there.
type chairman struct {
	weights []uint64
	total   uint64
	tie     []uint32 // who goes first among equals
	t       uint64
	taken   []uint64
	waiting heaped // by the slot in which they may
	able    heaped // by deadline
}

// heaped are places, of which the first in the order of a comparison is at 0.
// container/heap would put each into an interface.
type heaped struct {
	places []uint32
	before func(a, b uint32) bool
}

func (h *heaped) push(place uint32) {
	h.places = append(h.places, place)
	h.up(len(h.places) - 1)
}

// pop takes out the first.
func (h *heaped) pop() uint32 {
	last := len(h.places) - 1
	place := h.places[0]
	h.places[0] = h.places[last]
	h.places = h.places[:last]
	h.down(0)
	return place
}

func (h *heaped) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(h.places[i], h.places[parent]) {
			return
		}
		h.places[i], h.places[parent] = h.places[parent], h.places[i]
		i = parent
	}
}

func (h *heaped) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.places) {
			return
		}
		if child+1 < len(h.places) && h.before(h.places[child+1], h.places[child]) {
			child++
		}
		if !h.before(h.places[child], h.places[i]) {
			return
		}
		h.places[i], h.places[child] = h.places[child], h.places[i]
		i = child
	}
}

func newChairman(weights []uint64, dice *rand.Rand) *chairman {
	c := &chairman{weights: weights, taken: make([]uint64, len(weights)), tie: make([]uint32, len(weights))}
	for i, w := range weights {
		c.total += w
		c.tie[i] = uint32(i)
	}
	dice.Shuffle(len(c.tie), func(i, j int) { c.tie[i], c.tie[j] = c.tie[j], c.tie[i] })
	c.able.before = c.earlier
	c.waiting.before = func(a, b uint32) bool { return c.from(a) < c.from(b) }
	return c
}

// most is the length of a cycle, times those in it, for which places to begin
// are looked for.
const most = 1 << 17

// start is a place in the cycle from which no prefix is a whole pick away from
// the ideal either: for each of them, how far it is ahead there is less than a
// pick away from what it is anywhere. It is 0 in a cycle that is not short.
func (c *chairman) start(dice *rand.Rand) (place uint64, short bool) {
	n := uint64(len(c.weights))
	if c.total > most || n*c.total > most {
		return 0, false
	}
	low, high := make([]int64, n), make([]int64, n)
	ahead := make([]int64, 0, n*c.total) // in picks times total, after each slot
	now := make([]int64, n)
	for range c.total {
		picked := c.next()
		for i := range now {
			now[i] -= int64(c.weights[i])
			if uint32(i) == picked {
				now[i] += int64(c.total)
			}
			low[i], high[i] = min(low[i], now[i]), max(high[i], now[i])
		}
		ahead = append(ahead, now...)
	}
	var places []uint64
	for slot := range c.total {
		if c.holds(ahead[slot*n:(slot+1)*n], low, high) {
			places = append(places, slot+1)
		}
	}
	return places[dice.IntN(len(places))], true // the end of the cycle is one
}

func (c *chairman) holds(here, low, high []int64) bool {
	for i, a := range here {
		if high[i]-a >= int64(c.total) || a-low[i] >= int64(c.total) {
			return false
		}
	}
	return true
}

// earlier says whether a must have its next pick before b. Of two that must have
// it by the same slot, the heavier one goes first: then it is not the last of a
// cycle and the first of the next.
func (c *chairman) earlier(a, b uint32) bool {
	x, y := (c.taken[a]+1)*c.weights[b], (c.taken[b]+1)*c.weights[a]
	if x != y {
		return x < y
	}
	if c.weights[a] != c.weights[b] {
		return c.weights[a] > c.weights[b]
	}
	return c.tie[a] < c.tie[b]
}

// from is the slot from which i may have its next pick: the first t with
// t·w > x·W.
func (c *chairman) from(i uint32) uint64 {
	high, low := bits.Mul64(c.taken[i], c.total)
	slot, _ := bits.Div64(high, low, c.weights[i])
	return slot + 1
}

func (c *chairman) fill(picks []uint32) {
	for i := range picks {
		picks[i] = c.next()
	}
}

func (c *chairman) next() uint32 {
	if c.t == 0 {
		c.waiting.places = c.waiting.places[:0]
		c.able.places = c.able.places[:0]
		clear(c.taken)
		for i := range c.weights {
			c.able.push(uint32(i))
		}
	}
	c.t++
	for len(c.waiting.places) > 0 && c.from(c.waiting.places[0]) <= c.t {
		c.able.push(c.waiting.pop())
	}
	i := c.able.pop()
	c.taken[i]++
	if c.t == c.total {
		c.t = 0
	} else {
		c.waiting.push(i)
	}
	return i
}
