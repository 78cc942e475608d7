package turn_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"viaduct/turn"
)

// order is a way to make a Sequence.
type order struct {
	name     string
	make     func([]uint32, uint64, bool) *turn.Sequence
	midway   bool
	shuffles bool // equals may come in any order
}

func (o order) of(weights []uint32, seed uint64) *turn.Sequence {
	return o.make(weights, seed, o.midway)
}

func orders() []order {
	return []order{
		{"fair", turn.Fair, false, true},
		{"fair midway", turn.Fair, true, true},
		{"rounds", turn.Rounds, false, false},
		{"rounds midway", turn.Rounds, true, false},
	}
}

// Who has weight left takes one turn a round, in the order of the list from
// where it begins, and then it begins there again.
func TestRounds(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		sets := [][]uint32{{1}, {9}, {1, 1, 1}, {3, 1, 2}, {1, 5, 1}, {4, 2, 6}, {2, 1_000_000}}
		for range 20 {
			sets = append(sets, someWeights(dice, 12, 9))
		}
		for _, weights := range sets {
			for range 5 {
				cycle, each := reduced(weights)
				turns := min(3*cycle, 4000)
				seed := dice.Uint64()
				got := first(turn.Rounds(weights, seed, false), turns)
				if want := inRounds(each, got[0], turns); !slices.Equal(got, want) {
					t.Fatalf("%v from %d: %v, want %v", weights, got[0], got[:min(turns, 40)], want[:min(turns, 40)])
				}
				if cycle < 400 {
					midway(t, weights, seed, got[:2*cycle])
				}
			}
		}
	})
}

// midway is the same order, from somewhere on.
func midway(t *testing.T, weights []uint32, seed uint64, twice []int) {
	t.Helper()
	cycle := len(twice) / 2
	got := first(turn.Rounds(weights, seed, true), cycle)
	for i := range cycle {
		if slices.Equal(got, twice[i:i+cycle]) {
			return
		}
	}
	t.Fatalf("midway %v of weights %v is no part of %v", got, weights, twice)
}

func inRounds(each []int, start, turns int) []int {
	var list []int
	for len(list) < turns {
		for round := 1; round <= slices.Max(each) && len(list) < turns; round++ {
			for i := range each {
				if at := (start + i) % len(each); each[at] >= round {
					list = append(list, at)
				}
			}
		}
	}
	return list[:turns]
}

func TestRoundsOfTenThousand(t *testing.T) {
	seen := make([]bool, 10_000)
	for _, at := range first(turn.Rounds(slices.Repeat([]uint32{5}, len(seen)), 7, false), len(seen)) {
		if seen[at] {
			t.Fatalf("%d has a second turn in the first round", at)
		}
		seen[at] = true
	}
}

// Peek is what Take will be, 512 turns ahead and over the border of what was
// made at a time; it takes nothing.
func TestPeekAgreesWithTake(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		for _, order := range orders() {
			for _, weights := range [][]uint32{{1}, {5, 1, 1}, someWeights(dice, 30, 9), someWeights(dice, 9, 1_000_000)} {
				turns := first(order.of(weights, seed), 2400)
				s := order.of(weights, seed)
				for i := range 1800 {
					for _, others := range []int{0, 1, 512, 511, dice.IntN(513)} {
						if got := s.Peek(others); got != turns[i+others] {
							t.Fatalf("%s of %v: after %d turns and %d others %d is next, want %d", order.name, weights, i, others, got, turns[i+others])
						}
					}
					if got := s.Take(); got != turns[i] {
						t.Fatalf("%s of %v: turn %d after peeks is of %d, want %d", order.name, weights, i, got, turns[i])
					}
				}
			}
		}
	})
}

// However many take turns at once, each turn is taken, and once: together they
// have what one alone would have had.
func TestEveryTurnIsTakenOnce(t *testing.T) {
	const takers, each = 8, 3001 // borders of runs fall anywhere
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		for _, order := range orders() {
			weights := someWeights(dice, 30, 9)
			want, got := make([]int64, len(weights)), make([]atomic.Int64, len(weights))
			for _, at := range first(order.of(weights, seed), takers*each) {
				want[at]++
			}
			s := order.of(weights, seed)
			var all sync.WaitGroup
			for range takers {
				all.Go(func() {
					for range each {
						got[s.Take()].Add(1)
					}
				})
			}
			all.Wait()
			for i := range want {
				if got[i].Load() != want[i] {
					t.Errorf("%s of %v: %d takers have %d turns of %d, one alone has %d", order.name, weights, takers, got[i].Load(), i, want[i])
				}
			}
		}
	})
}

// Whole cycles, with peeks between, give each exactly its weight.
func TestCyclesAreExactAmongMany(t *testing.T) {
	const takers, cycles = 6, 400
	weights := []uint32{5, 1, 1, 3, 7, 2, 2}
	for _, order := range orders() {
		got := make([]atomic.Int64, len(weights))
		s := order.of(weights, 3)
		cycle, _ := reduced(weights)
		var all sync.WaitGroup
		for taker := range takers {
			all.Go(func() {
				for i := range cycles * cycle {
					got[s.Take()].Add(1)
					if i%5 == 0 {
						if at := s.Peek((taker*100 + i) % 513); at < 0 || at >= len(weights) {
							t.Errorf("%s: the next is said to be %d", order.name, at)
						}
					}
				}
			})
		}
		all.Wait()
		for i, w := range weights {
			if got[i].Load() != takers*cycles*int64(w) {
				t.Errorf("%s: %d of weight %d has %d turns of %d cycles", order.name, i, w, got[i].Load(), takers*cycles)
			}
		}
	}
}
