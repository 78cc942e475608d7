package turn_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"viaduct/turn"
)

// eachSeed runs a law with seeds that were seen before and one that never was.
func eachSeed(t *testing.T, law func(t *testing.T, seed uint64, dice *rand.Rand)) {
	t.Helper()
	seeds := []uint64{42, 0, rand.Uint64()}
	if raceEnabled {
		seeds = seeds[2:] // the detector looks for races, ten times slower
	}
	for _, seed := range seeds {
		t.Logf("seed %d", seed)
		law(t, seed, rand.New(rand.NewPCG(seed, 7)))
	}
}

func someWeights(dice *rand.Rand, n, most int) []uint32 {
	weights := make([]uint32, 1+dice.IntN(n))
	for i := range weights {
		weights[i] = 1 + uint32(dice.IntN(most))
	}
	return weights
}

func first(s *turn.Sequence, k int) []int {
	list := make([]int, k)
	for i := range list {
		list[i] = s.Take()
	}
	return list
}

// reduced is a cycle's length, and what each has of it.
func reduced(weights []uint32) (cycle int, each []int) {
	common := 0
	for _, w := range weights {
		a, b := common, int(w)
		for b != 0 {
			a, b = b, a%b
		}
		common = a
	}
	for _, w := range weights {
		each = append(each, int(w)/common)
		cycle += int(w) / common
	}
	return cycle, each
}

// fair follows the turns from the first. After a turn its owner is furthest
// ahead of its share and just before one furthest behind, so looking there
// looks everywhere.
func fair(t *testing.T, weights []uint32, seed uint64, turns int) {
	t.Helper()
	follow(t, turn.Fair(weights, seed, false), weights, seed, turns, 1)
	if !raceEnabled || turns < 1000 {
		within := 1
		if cycle, _ := reduced(weights); cycle*len(weights) > short {
			within = 2
		}
		follow(t, turn.Fair(weights, seed, true), weights, seed, turns, within)
	}
}

// short is how long a cycle is, times those in it, in which any place to begin
// keeps the promise to within one turn.
const short = 1 << 17

func follow(t *testing.T, s *turn.Sequence, weights []uint32, seed uint64, turns, within int) {
	t.Helper()
	cycle, each := reduced(weights)
	taken := make([]int, len(weights))
	behind := func(i, slots int) {
		if d := slots*each[i] - taken[i]*cycle; d >= within*cycle || d <= -within*cycle {
			t.Fatalf("seed %d: after %d turns %d of weight %d has %d, which is %d/%d away: %v", seed, slots, i, each[i], taken[i], d, cycle, brief(weights))
		}
	}
	for slot := range turns {
		i := s.Take()
		behind(i, slot)
		taken[i]++
		behind(i, slot+1)
		if (slot+1)%cycle == 0 {
			for j, w := range each {
				if taken[j] != (slot+1)/cycle*w {
					t.Fatalf("seed %d: after %d cycles %d of weight %d has %d turns: %v", seed, (slot+1)/cycle, j, w, taken[j], brief(weights))
				}
			}
		}
	}
	for j := range each { // who never came is behind without a turn
		behind(j, turns)
	}
}

func brief(weights []uint32) []uint32 { return weights[:min(len(weights), 20)] }

// Small sets from a great many seeds: from every place where one may begin.
func TestFairFromEveryStart(t *testing.T) {
	seeds, most := uint64(12), uint32(6)
	if raceEnabled {
		seeds, most = 4, 4
	}
	for a := uint32(1); a <= most; a++ {
		for b := uint32(0); b <= most; b++ {
			for c := uint32(0); c <= b; c++ {
				weights := slices.DeleteFunc([]uint32{a, b, c}, func(w uint32) bool { return w == 0 })
				for seed := range seeds {
					cycle, _ := reduced(weights)
					fair(t, weights, seed*0x9e3779b97f4a7c15, 2*cycle)
				}
			}
		}
	}
	for _, weights := range [][]uint32{{5, 1, 1}, {7, 4, 3, 1}, {11, 5, 5, 2, 1, 1}, {1, 1, 1, 1, 1}} {
		for seed := range 10 * seeds {
			cycle, _ := reduced(weights)
			fair(t, weights, seed, 3*cycle)
		}
	}
}

func TestFairForAnyWeights(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		for range 30 {
			weights := someWeights(dice, 40, 1+dice.IntN(20))
			cycle, _ := reduced(weights)
			fair(t, weights, dice.Uint64(), 3*cycle)
			fair(t, someWeights(dice, 8, math.MaxUint32), dice.Uint64(), 2000)
		}
	})
}

func TestFairForExtremeWeights(t *testing.T) {
	powers := make([]uint32, 32)
	for i := range powers {
		powers[i] = 1 << i
	}
	one := slices.Repeat([]uint32{1}, 200)
	tall := append(slices.Clone(one), 1_000_000)
	for _, weights := range [][]uint32{
		{1},
		{math.MaxUint32},
		{1, math.MaxUint32},
		{math.MaxUint32, math.MaxUint32 - 1, 1},
		{math.MaxUint32, math.MaxUint32 - 4, math.MaxUint32 - 16},
		{1000, 1, 1},
		one, tall, powers,
		{65_535, 1},
		{65_536, 1}, // about where no other place to begin is looked for
		{40_000, 3001, 689},
	} {
		for _, seed := range []uint64{0, 1, math.MaxUint64} {
			cycle, _ := reduced(weights)
			turns := min(2*cycle+600, 70_000) // a cycle of 65,537 too
			if raceEnabled {
				turns = min(turns, 1500)
			}
			fair(t, weights, seed, turns)
		}
	}
}

func TestFairForTenThousand(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		weights := make([]uint32, 10_000)
		for i := range weights {
			weights[i] = 1 + uint32(dice.IntN(1_000_000))
		}
		fair(t, weights, seed, 15_000)
		if !raceEnabled {
			fair(t, slices.Repeat([]uint32{3}, 10_000), seed, 20_000)
		}
	})
}

// Of equals each begins as often as the others.
func TestAnyEqualBegins(t *testing.T) {
	if raceEnabled {
		t.Skip("nothing here runs at the same time")
	}
	for _, order := range orders() {
		for n := 2; n < 7; n++ {
			const begins = 600
			counts := make([]int, n)
			for seed := range uint64(begins) {
				counts[order.of(slices.Repeat([]uint32{1}, n), seed*0x9e3779b97f4a7c15).Take()]++
			}
			for _, c := range counts {
				if math.Abs(float64(c)/begins-1/float64(n)) > 0.1 { // five standard deviations
					t.Errorf("%s: %d equals begin %v of %d times", order.name, n, counts, begins)
					break
				}
			}
		}
	}
}

// What begins midway begins with each as often as its weight says, about: who
// makes an order for every few turns gives nobody the turns of another one.
func TestMidwayBeginsByWeight(t *testing.T) {
	if raceEnabled {
		t.Skip("nothing here runs at the same time")
	}
	for _, order := range orders() {
		if !order.midway {
			continue
		}
		for _, row := range []struct {
			light, heavy int // so many of weights 1 and 3
		}{{2, 1}, {30, 10}, {300, 300}, {900, 300}} {
			weights := append(slices.Repeat([]uint32{1}, row.light), slices.Repeat([]uint32{3}, row.heavy)...)
			const begins = 150
			heavy := 0
			for seed := range uint64(begins) {
				if order.of(weights, seed*0x9e3779b97f4a7c15).Take() >= row.light {
					heavy++
				}
			}
			want := 3 * float64(row.heavy) / float64(row.light+3*row.heavy)
			if got := float64(heavy) / begins; math.Abs(got-want) > 0.2 { // five standard deviations
				t.Errorf("%s: of %d of weight 1 and %d of weight 3 one of 3 begins %.2f of the times, want %.2f", order.name, row.light, row.heavy, got, want)
			}
		}
	}
}

// The heavy one of 5:1:1 has 3 turns in a row at most, across cycles too.
func TestFairIsSmooth(t *testing.T) {
	for heavy, weights := range [][]uint32{{5, 1, 1}, {1, 5, 1}, {1, 1, 5}} {
		for seed := range uint64(100) {
			row := 0
			for i, who := range first(turn.Fair(weights, seed, seed%2 == 0), 70) {
				if row++; who != heavy {
					row = 0
				}
				if row > 3 {
					t.Fatalf("seed %d: turn %d is the heavy one's fourth in a row", seed, i)
				}
			}
		}
	}
}

func TestScaleChangesNothing(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		for _, order := range orders() {
			for _, scale := range []uint32{2, 7, 1000, math.MaxUint32 / 9} {
				small := someWeights(dice, 20, 9)
				large := slices.Clone(small)
				for i := range large {
					large[i] *= scale
				}
				if a, b := first(order.of(small, seed), 1000), first(order.of(large, seed), 1000); !slices.Equal(a, b) {
					t.Fatalf("%s of %v is another one with weights times %d", order.name, small, scale)
				}
			}
		}
	})
}

// Instances that know the same list don't all begin with the same one, nor do
// they take equals in the same order.
func TestSeedsBeginElsewhere(t *testing.T) {
	for _, order := range orders() {
		begins, ways := map[int]bool{}, map[[5]int]bool{}
		for seed := range uint64(300) {
			s := order.of([]uint32{4, 4, 4, 4, 4}, seed*0x9e3779b97f4a7c15)
			way := [5]int(first(s, 5))
			begins[way[0]], ways[way] = true, true
			if again := first(s, 5); !slices.Equal(again, way[:]) {
				t.Errorf("seed %d: equals take turns as %v, then as %v", seed, way, again)
			}
		}
		if len(begins) != 5 || len(ways) < 5 || order.shuffles && len(ways) < 60 {
			t.Errorf("%s of 5 equals: 300 seeds begin with %d of them, in %d ways", order.name, len(begins), len(ways))
		}
	}
	starts := map[[7]int]bool{}
	for seed := range uint64(100) {
		starts[[7]int(first(turn.Fair([]uint32{5, 1, 1}, seed, false), 7))] = true
	}
	if len(starts) < 4 { // two orders of the equals, and more than one place
		t.Errorf("100 seeds make %d orders of 5:1:1", len(starts))
	}
}
