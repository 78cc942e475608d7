package spread_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"viaduct/spread"
)

// eachSeed runs a law with seeds that were seen before and one that never was.
func eachSeed(t *testing.T, law func(t *testing.T, dice *rand.Rand)) {
	t.Helper()
	for _, seed := range []uint64{42, rand.Uint64()} {
		t.Logf("seed %d", seed)
		law(t, rand.New(rand.NewPCG(seed, 7)))
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// sound wants what is true of any tiers: parts that sum to all requests, or to
// none where nobody is ready.
func sound(t *testing.T, counts []spread.Count, tiers []spread.Tier) {
	t.Helper()
	if len(tiers) != len(counts) {
		t.Fatalf("%d tiers of %d", len(tiers), len(counts))
	}
	var sum float64
	ready := 0
	for i, tier := range tiers {
		ready += counts[i].Ready
		sum += tier.Load
		if !(tier.Load >= 0 && tier.Health >= 0 && tier.Health <= 1) || counts[i].Ready == 0 && tier.Load > 0 {
			t.Fatalf("tier %d of %+v: %+v", i, counts, tier)
		}
		if !near(tier.UpTo, sum) {
			t.Fatalf("tier %d of %+v: up to %v, want %v", i, counts, tier.UpTo, sum)
		}
	}
	if len(tiers) == 0 {
		return
	}
	last := tiers[len(tiers)-1].UpTo
	if ready > 0 && (!near(sum, 1) || last != 1) || ready == 0 && (sum != 0 || last != 0) {
		t.Fatalf("%+v: loads sum to %v, the last is up to %v", counts, sum, last)
	}
}

// Rows of Envoy's table: parts of tiers whose nodes are so many percent up.
func TestTiers(t *testing.T) {
	for _, row := range []struct {
		name string
		up   []int
		want []float64
	}{
		{"all", []int{100, 100}, []float64{100, 0}},
		{"enough", []int{72, 100}, []float64{100, 0}},
		{"just not enough", []int{71, 100}, []float64{99.4, .6}},
		{"half", []int{50, 100}, []float64{70, 30}},
		{"quarter", []int{25, 100}, []float64{35, 65}},
		{"nobody", []int{0, 100}, []float64{0, 100}},
		{"three cannot carry all", []int{25, 25, 20}, []float64{100 * 25. / 70, 100 * 25. / 70, 100 * 20. / 70}},
		{"three carry all", []int{25, 25, 100}, []float64{35, 35, 30}},
		{"one cannot", []int{10}, []float64{100}},
		{"one is gone", []int{0}, []float64{0}},
		{"all are gone", []int{0, 0, 0}, []float64{0, 0, 0}},
		{"only the last", []int{0, 0, 1}, []float64{0, 0, 100}},
		{"none", nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			var counts []spread.Count
			for _, up := range row.up {
				counts = append(counts, spread.Count{Ready: up, Sick: 100 - up, All: 100})
			}
			tiers := spread.Tiers(counts, 0.5)
			sound(t, counts, tiers)
			for i, tier := range tiers {
				if !near(100*tier.Load, row.want[i]) {
					t.Errorf("tier %d has %.3f %%, want %.3f", i, 100*tier.Load, row.want[i])
				}
				if want := min(1, 1.4*float64(row.up[i])/100); !near(tier.Health, want) {
					t.Errorf("tier %d carries %v of its load, want %v", i, tier.Health, want)
				}
			}
		})
	}
}

// What drains carries nothing, but is a part of the tier; one without nodes
// carries nothing and is not in panic.
func TestTiersThatDrain(t *testing.T) {
	counts := []spread.Count{{}, {Ready: 5, All: 10}, {Ready: 1, All: 1}}
	tiers := spread.Tiers(counts, 0.5)
	sound(t, counts, tiers)
	if !near(tiers[1].Load, 0.7) || !near(tiers[2].Load, 0.3) {
		t.Errorf("%+v", tiers)
	}
	for i, tier := range spread.Tiers([]spread.Count{{}, {All: 10}, {Ready: 1, All: 10}}, 1) {
		if tier.Panics {
			t.Errorf("tier %d panics, and nobody in it is sick", i)
		}
	}
}

func TestPanicBegins(t *testing.T) {
	for _, row := range []struct {
		name   string
		counts []spread.Count
		below  float64
		want   []bool
	}{
		{"at the border it does not", []spread.Count{{5, 5, 10}}, 0.5, []bool{false}},
		{"below it does", []spread.Count{{4, 5, 10}}, 0.5, []bool{true}},
		{"border of three tenths", []spread.Count{{3, 7, 10}}, 0.3, []bool{false}},
		{"border of seven tenths", []spread.Count{{7, 3, 14}}, 0.7, []bool{false}},
		{"what drains is not sick", []spread.Count{{2, 2, 10}}, 0.5, []bool{false}},
		{"others carry it", []spread.Count{{1, 9, 10}, {10, 0, 10}}, 0.5, []bool{false, false}},
		{"others just carry it", []spread.Count{{25, 75, 100}, {13, 15, 28}}, 0.5, []bool{false, false}}, // 0.35 and 0.65
		{"others just don't", []spread.Count{{25, 75, 100}, {1299, 1501, 2800}}, 0.5, []bool{true, true}},
		{"one of two does", []spread.Count{{6, 4, 20}, {1, 9, 10}}, 0.5, []bool{false, true}},
		{"all are gone", []spread.Count{{0, 3, 3}, {0, 0, 0}, {0, 2, 2}}, 0.5, []bool{true, false, true}},
		{"never", []spread.Count{{0, 3, 3}}, -1, []bool{false}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for i, tier := range spread.Tiers(row.counts, row.below) {
				if tier.Panics != row.want[i] {
					t.Errorf("tier %d of %+v panics: %v", i, row.counts, tier.Panics)
				}
			}
		})
	}
}

// Whatever the counts: the same as in whole numbers, where nothing is rounded.
func TestTiersAreExact(t *testing.T) {
	eachSeed(t, func(t *testing.T, dice *rand.Rand) {
		for range 600 {
			counts := make([]spread.Count, 1+dice.IntN(6))
			for i := range counts {
				c := &counts[i]
				c.All = dice.IntN(1 + dice.IntN(40))
				c.Ready = dice.IntN(c.All + 1)
				c.Sick = dice.IntN(c.All - c.Ready + 1)
			}
			tiers := spread.Tiers(counts, 0.5)
			sound(t, counts, tiers)
			loads, norm := exactly(counts)
			for i, c := range counts {
				if want, _ := loads[i].Float64(); !near(tiers[i].Load, want) {
					t.Fatalf("tier %d of %+v has %v, want %v", i, counts, tiers[i].Load, want)
				}
				if want := norm.Cmp(big.NewRat(1, 1)) < 0 && c.Ready < c.Sick; tiers[i].Panics != want {
					t.Fatalf("tier %d of %+v panics: %v", i, counts, tiers[i].Panics)
				}
			}
		}
	})
}

func exactly(counts []spread.Count) (loads []*big.Rat, norm *big.Rat) {
	lesser := func(a, b *big.Rat) *big.Rat {
		if a.Cmp(b) < 0 {
			return a
		}
		return b
	}
	one, sum, left := big.NewRat(1, 1), new(big.Rat), big.NewRat(1, 1)
	health := make([]*big.Rat, len(counts))
	for i, c := range counts {
		health[i] = lesser(one, big.NewRat(int64(7*c.Ready), int64(5*max(c.All, 1))))
		sum.Add(sum, health[i])
	}
	norm = lesser(one, sum)
	for i := range counts {
		load := new(big.Rat)
		if norm.Sign() > 0 {
			load = lesser(left, new(big.Rat).Quo(health[i], norm))
		}
		loads, left = append(loads, load), new(big.Rat).Sub(left, load)
	}
	return loads, norm
}
