package hashing_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"viaduct/hashing"
)

// highest is the definition: the node with the highest score.
func highest(nodes []uint64, weights []float64, key uint64) int {
	best, at := 0.0, -1
	for i, node := range nodes {
		if s := hashing.Score(node, key, weights[i]); s > best {
			best, at = s, i
		}
	}
	return at
}

// odd are weights of all kinds.
func odd(r *rand.Rand, n int) []float64 {
	weights := make([]float64, n)
	for i := range weights {
		switch r.IntN(6) {
		case 0: // no weight
		case 1:
			weights[i] = 1
		case 2:
			weights[i] = math.Ldexp(1+r.Float64(), r.IntN(40)-20)
		default:
			weights[i] = float64(1 + r.IntN(8))
		}
	}
	return weights
}

// TestShortcutsChangeNothing: Best and Contest find what Score defines.
func TestShortcutsChangeNothing(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{1, 2, 3, 5, 64, 65, 300} {
			for range 2000 {
				nodes, weights, key := keys(r, n), odd(r, n), r.Uint64()
				inverse := make([]float64, n)
				for i, w := range weights {
					inverse[i] = 1 / w
				}
				want := highest(nodes, weights, key)
				if got := hashing.Best(nodes, inverse, key); got != want {
					t.Fatalf("%d nodes: the best is %d, want %d", n, got, want)
				}
				if got := winner(nodes, weights, key, nil); got != want {
					t.Fatalf("%d nodes: %d wins, want %d", n, got, want)
				}
			}
		}
	})
}

// winner of a contest among those that are not out.
func winner(nodes []uint64, weights []float64, key uint64, out map[int]bool) int {
	c, best := hashing.NewContest(key), -1
	for i, node := range nodes {
		if !c.Loses(node, weights[i]) && !out[i] && c.Takes(node, weights[i]) {
			best = i
		}
	}
	return best
}

// TestContestOfTheWilling: who is out does not matter to the others.
func TestContestOfTheWilling(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for range 500 {
			nodes, weights, key, out := keys(r, 20), odd(r, 20), r.Uint64(), map[int]bool{}
			for range len(nodes) + 1 {
				left := slices.Clone(weights)
				for i := range left {
					if out[i] {
						left[i] = 0
					}
				}
				got := winner(nodes, weights, key, out)
				if want := highest(nodes, left, key); got != want {
					t.Fatalf("without %v %d wins, want %d", out, got, want)
				}
				out[got] = true
			}
		}
	})
}

// TestLosesOnlyWhoDoesNotTake: a quick look is never wrong.
func TestLosesOnlyWhoDoesNotTake(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for range 500 {
			c := hashing.NewContest(r.Uint64())
			for i, weight := range odd(r, 50) {
				node := r.Uint64()
				if loses := c.Loses(node, weight); loses && c.Takes(node, weight) {
					t.Fatalf("node %d of weight %v loses and takes", i, weight)
				}
				c.Takes(node, weight)
			}
		}
	})
}

func TestWeightsThatAreNone(t *testing.T) {
	for _, w := range []float64{0, -1, math.Copysign(0, -1), math.NaN(), math.Inf(-1)} {
		if s := hashing.Score(1, 2, w); s != 0 {
			t.Errorf("weight %v bids %v", w, s)
		}
		for _, leader := range []float64{0, 1, math.Inf(1)} {
			c := hashing.NewContest(2)
			c.Takes(3, leader)
			if c.Takes(1, w) {
				t.Errorf("weight %v takes from %v", w, leader)
			}
		}
		if i := hashing.Best([]uint64{1, 2, 3}, []float64{1 / w, 1, 1 / w}, 5); w == 0 && i != 1 {
			t.Errorf("the best is %d", i)
		}
	}
	if s := hashing.Score(1, 2, math.Inf(1)); !math.IsInf(s, 1) {
		t.Errorf("all the weight there is bids %v", s)
	}
}

// chiSquared fails if the counts are not equal but for chance: below once in
// 10^8 runs.
func chiSquared(t *testing.T, what string, counts []int) {
	t.Helper()
	var sum, x float64
	for _, n := range counts {
		sum += float64(n)
	}
	want := sum / float64(len(counts))
	for _, n := range counts {
		x += (float64(n) - want) * (float64(n) - want) / want
	}
	// Wilson and Hilferty: the cube root is nearly normal.
	f := float64(len(counts) - 1)
	z := (math.Cbrt(x/f) - (1 - 2/(9*f))) / math.Sqrt(2/(9*f))
	if z > 6 || math.IsNaN(z) {
		t.Errorf("%s: %v are not equal, chi squared is %.1f of %v", what, counts, x, f)
	}
}

// TestRendezvousIsFair, to keys of every kind, and to the second and third.
func TestRendezvousIsFair(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		start, step := r.Uint64(), uint64(1)<<r.IntN(40)
		for name, key := range map[string]func(i uint64) uint64{
			"random":   func(uint64) uint64 { return r.Uint64() },
			"counting": func(i uint64) uint64 { return i },
			"far":      func(i uint64) uint64 { return start + i*step },
			"hashed":   func(i uint64) uint64 { return hashing.Combine(start, hashing.Mix(i)) },
		} {
			nodes, _ := columns(named(r, 10))
			var first, pairs [100]int
			for i := range uint64(50_000) {
				k := key(i)
				a := hashing.Best(nodes, nil, k)
				b := hashing.Best(slices.Concat(nodes[:a], nodes[a+1:]), nil, k)
				first[a]++
				pairs[a*9+b]++
			}
			chiSquared(t, name+" keys, first", first[:10])
			chiSquared(t, name+" keys, first and second", pairs[:90])
		}
	})
}

// TestRendezvousIsBalanced: the research has 1.006, 1.013 and 1.071 times the
// average for the largest share of 200,000 keys, which is chance alone.
func TestRendezvousIsBalanced(t *testing.T) {
	const samples = 200_000
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{5, 10, 100} {
			nodes, _ := columns(named(r, n))
			counts := make([]int, n)
			for range samples {
				counts[hashing.Best(nodes, nil, r.Uint64())]++
			}
			average := samples / float64(n)
			if most := float64(slices.Max(counts)); most > average+6.5*math.Sqrt(average) {
				t.Errorf("%d nodes: the largest share is %.3f", n, most/average)
			}
			chiSquared(t, "shares", counts)
		}
	})
}

// ids are what is chosen.
func ids(m []hashing.Member, chosen []int) map[string]bool {
	set := make(map[string]bool)
	for _, i := range chosen {
		set[m[i].ID] = true
	}
	return set
}

// changed counts who is in b and not in a.
func changed(a, b map[string]bool) (n int) {
	for id := range b {
		if !a[id] {
			n++
		}
	}
	return n
}

func TestSubsetChangesOneByOne(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		m := weighed(r, named(r, 40), 5)
		for range 300 {
			seed, k, gone := r.Uint64(), 1+r.IntN(30), r.IntN(len(m))
			chosen := hashing.Subset(m, seed, k)
			if len(chosen) != k || !slices.IsSorted(chosen) || len(slices.Compact(slices.Clone(chosen))) != k {
				t.Fatalf("%d chosen are %v", k, chosen)
			}
			all := ids(m, chosen)
			rest := without(m, gone)
			less := ids(rest, hashing.Subset(rest, seed, k))
			want := 0
			if all[m[gone].ID] {
				want = 1
			}
			if n := changed(all, less); n != want || changed(less, all) != want {
				t.Fatalf("one less changes %d, want %d", n, want)
			}
			mixed := shuffled(r, m)
			if changed(all, ids(mixed, hashing.Subset(mixed, seed, k))) != 0 {
				t.Fatal("another order of the list is another choice")
			}
			drained := slices.Clone(m)
			drained[gone].Weight = 0
			if changed(less, ids(drained, hashing.Subset(drained, seed, k))) != 0 {
				t.Fatal("who has no weight is not as one who is gone")
			}
		}
	})
}

func TestSubsetOfFewIsAll(t *testing.T) {
	m := []hashing.Member{{"c", 1}, {"a", 0}, {"b", 3}, {"d", 1}}
	for _, k := range []int{-5, 0, 3, 4, math.MaxInt} {
		if s := hashing.Subset(m, 9, k); !slices.Equal(s, []int{0, 2, 3}) {
			t.Errorf("%d: %v", k, s)
		}
	}
}

// TestSubsetsSpread: a node has as many clients as balls thrown at bins: no more
// and no less than chance has it, with seeds of every kind.
func TestSubsetsSpread(t *testing.T) {
	const clients, nodes, k = 1000, 60, 12
	seeded(t, func(t *testing.T, r *rand.Rand) {
		m := named(r, nodes)
		for name, seed := range map[string]func(uint64) uint64{
			"random":   func(uint64) uint64 { return r.Uint64() },
			"counting": func(i uint64) uint64 { return i },
		} {
			var counts [nodes]int
			for i := range uint64(clients) {
				for _, one := range hashing.Subset(m, seed(i), k) {
					counts[one]++
				}
			}
			const part = float64(k) / nodes
			off := 6.5 * math.Sqrt(clients*part*(1-part))
			for i, n := range counts {
				if math.Abs(float64(n)-clients*part) > off {
					t.Errorf("%s seeds: node %d has %d clients, want %v give or take %.0f", name, i, n, clients*part, off)
				}
			}
		}
	})
}
