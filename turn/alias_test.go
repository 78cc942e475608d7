package turn_test

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"viaduct/turn"
)

// drawn is the part of all random numbers that makes each place. A column of
// the table is a stretch of them, with one place up to a number and another one
// from there.
func drawn(t *testing.T, a *turn.Alias, n int) []float64 {
	t.Helper()
	shares := make([]float64, n)
	for i := range n {
		low, high := column(i, n), column(i+1, n)-1
		begins, ends := a.Draw(low), a.Draw(high)
		left, right := low, high
		for right-left > 1 {
			if mid := left + (right-left)/2; a.Draw(mid) == begins {
				left = mid
			} else {
				right = mid
			}
		}
		for k := range uint64(16) {
			if at := low + (high-low)/16*k; a.Draw(at) != begins && (at < right || a.Draw(at) != ends) {
				t.Fatalf("column %d of %d is more than itself and one other", i, n)
			}
		}
		shares[begins] += float64(right-low) / (1 << 64)
		shares[ends] += float64(high-right+1) / (1 << 64)
	}
	return shares
}

// column is the first random number of a column.
func column(i, n int) uint64 {
	if i == n {
		return 0 // 2^64
	}
	low, rest := bits.Div64(uint64(i), 0, uint64(n))
	if rest > 0 {
		low++
	}
	return low
}

// Each is drawn by exactly its part of all random numbers, the lightest too.
func TestAliasIsExact(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64, dice *rand.Rand) {
		powers := make([]uint32, 32)
		for i := range powers {
			powers[i] = 1 << i
		}
		large := make([]uint32, 10_000)
		for i := range large {
			large[i] = 1 + uint32(dice.IntN(1_000_000))
		}
		sets := [][]uint32{
			{1},
			{math.MaxUint32},
			{1, 1},
			{1, 3},
			{5, 1, 1},
			{1, math.MaxUint32},
			{math.MaxUint32, 1, 1, math.MaxUint32},
			append(slices.Repeat([]uint32{math.MaxUint32}, 999), 1),
			append(slices.Repeat([]uint32{1}, 999), math.MaxUint32),
			slices.Repeat([]uint32{7}, 1000), powers, large,
		}
		for range 50 {
			sets = append(sets, someWeights(dice, 100, 1<<(1+dice.IntN(31))))
		}
		for _, weights := range sets {
			var total float64
			for _, w := range weights {
				total += float64(w)
			}
			for i, got := range drawn(t, turn.NewAlias(weights), len(weights)) {
				want := float64(weights[i]) / total
				if math.Abs(got-want) > 1e-9*want+2.0/(1<<64) { // a column ends at a whole number
					t.Fatalf("%d of weight %d is drawn by %.6g of the numbers, want %.6g: %v of %d", i, weights[i], got, want, brief(weights), len(weights))
				}
			}
		}
	})
}
