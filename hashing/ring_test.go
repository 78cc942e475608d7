package hashing_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"viaduct/hashing"
)

// TestRingIsRound: shares of equal nodes are those of 160 points laid by chance.
// The research has 1.17, 1.24, 1.20 and 1.30 times the average for the largest.
func TestRingIsRound(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{5, 10, 100, 1000} {
			shares := hashing.NewRing(named(r, n)).Shares(n)
			var sum, squares float64
			for _, s := range shares {
				sum += s
				squares += (s*float64(n) - 1) * (s*float64(n) - 1)
			}
			largest := slices.Max(shares) * float64(n)
			t.Logf("%d nodes: largest %.3f", n, largest)
			// Gamma of 160: 0.6 above the average is beyond 10^-10.
			if math.Abs(sum-1) > 1e-9 || largest > 1.6 || slices.Min(shares)*float64(n) < 0.5 {
				t.Errorf("%d nodes: the sum is %v, the largest %.3f, the smallest %.3f", n, sum, largest, slices.Min(shares)*float64(n))
			}
			if d := math.Sqrt(squares / float64(n)); n >= 100 && math.Abs(d-1/math.Sqrt(160)) > 0.045 {
				t.Errorf("%d nodes: shares deviate by %.3f, want %.3f", n, d, 1/math.Sqrt(160))
			}
		}
	})
}

func TestRingPointsFollowWeights(t *testing.T) {
	for _, c := range []struct {
		weights []uint32
		want    []int
	}{
		{[]uint32{1}, []int{160}},
		{[]uint32{7, 7, 7}, []int{160, 160, 160}},
		{[]uint32{3, 1}, []int{240, 80}},
		{[]uint32{0, 3, 0, 1}, []int{0, 240, 0, 80}},
		{[]uint32{1_000_000, 1}, []int{320, 1}},
		{[]uint32{math.MaxUint32, math.MaxUint32, 0}, []int{160, 160, 0}},
	} {
		m := named(rand.New(rand.NewPCG(1, 1)), len(c.weights))
		for i, w := range c.weights {
			m[i].Weight = w
		}
		if got := hashing.NewRing(m).Points(len(m)); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v points, want %v", c.weights, got, c.want)
		}
	}
}

// TestRingIsBounded: a long list has fewer points each, and all have one.
func TestRingIsBounded(t *testing.T) {
	n := 20_000
	points := hashing.NewRing(named(rand.New(rand.NewPCG(1, 1)), n)).Points(n)
	if slices.Min(points) != 80 || slices.Max(points) != 80 {
		t.Errorf("between %d and %d points, want 80", slices.Min(points), slices.Max(points))
	}
}
