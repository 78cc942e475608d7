package turn

import (
	"slices"
	"sort"
)

// rounds makes the order of Rounds.
type rounds struct {
	weights []uint64
	start   int
	active  []uint32 // of this round
	at      int
	round   uint64
	total   uint64 // turns in a cycle
}

func newRounds(weights []uint64, start int) *rounds {
	r := &rounds{weights: weights, start: start}
	for _, w := range weights {
		r.total += w
	}
	r.begin()
	return r
}

func (r *rounds) begin() {
	r.active, r.at, r.round = r.active[:0], 0, 1
	for i := range r.weights {
		r.active = append(r.active, uint32((r.start+i)%len(r.weights)))
	}
}

// jump goes to a turn of the cycle.
func (r *rounds) jump(turn uint64) {
	round := uint64(sort.Search(int(slices.Max(r.weights)), func(i int) bool { return r.until(uint64(i)+1) > turn })) + 1
	r.begin()
	r.round = round
	r.keep()
	r.at = int(turn - r.until(round-1))
}

// until is how many turns there are up to the end of a round.
func (r *rounds) until(round uint64) (turns uint64) {
	for _, w := range r.weights {
		turns += min(w, round)
	}
	return turns
}

// keep lets those go on who have weight for this round.
func (r *rounds) keep() {
	left := r.active[:0]
	for _, i := range r.active {
		if r.weights[i] >= r.round {
			left = append(left, i)
		}
	}
	r.active, r.at = left, 0
}

func (r *rounds) fill(picks []uint32) {
	for i := range picks {
		picks[i] = r.next()
	}
}

func (r *rounds) next() uint32 {
	if r.at == len(r.active) {
		r.round++
		r.keep()
		if len(r.active) == 0 {
			r.begin()
		}
	}
	r.at++
	return r.active[r.at-1]
}
