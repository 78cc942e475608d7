package hashing_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"viaduct/hashing"
)

// TestOrderOfTheListIsNothing: every proxy finds the same homes.
func TestOrderOfTheListIsNothing(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{2, 10, 100, 700} {
			m, k := weighed(r, named(r, n), 5), keys(r, 3000)
			for _, w := range ways {
				if d := differ(w.homes(m, k), w.homes(shuffled(r, m), k)); d > 0 {
					t.Errorf("%s, %d nodes: %d keys have another home when the list is in another order", w.name, n, d)
				}
			}
		}
	})
}

// TestWhoReturnsHasItsKeysBack: of a list, nothing else is remembered.
func TestWhoReturnsHasItsKeysBack(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		m, k := weighed(r, named(r, 50), 5), keys(r, 3000)
		back := append(without(m, 7), m[7])
		for _, w := range ways {
			before := w.homes(m, k)
			if slices.Contains(w.homes(without(m, 7), k), m[7].ID) {
				t.Errorf("%s: who is gone has keys", w.name)
			}
			if d := differ(before, w.homes(back, k)); d > 0 {
				t.Errorf("%s: %d keys have not returned", w.name, d)
			}
		}
	})
}

// TestScaleOfWeightsIsNothing, whatever it is.
func TestScaleOfWeightsIsNothing(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{3, 40, 200} {
			m, k := weighed(r, named(r, n), 100), keys(r, 3000)
			for _, factor := range []uint32{2, 3, 1000, 42_949_672} {
				scaled := slices.Clone(m)
				for i := range scaled {
					scaled[i].Weight *= factor
				}
				for _, w := range ways {
					if d := differ(w.homes(m, k), w.homes(scaled, k)); d > 0 {
						t.Errorf("%s, %d nodes: weights times %d move %d keys", w.name, n, factor, d)
					}
				}
			}
		}
	})
}

// TestEqualWeightsAreOne: nil is the same as one weight for all.
func TestEqualWeightsAreOne(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		nodes, inverse := columns(named(r, 64))
		for _, key := range keys(r, 3000) {
			if a, b := hashing.Best(nodes, nil, key), hashing.Best(nodes, inverse, key); a != b {
				t.Fatalf("key %#x: %d without weights, %d with the same", key, a, b)
			}
		}
	})
}

// TestNoWeightNoKey: and the others have what they would have without it.
func TestNoWeightNoKey(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		m, k := weighed(r, named(r, 30), 5), keys(r, 3000)
		drained := slices.Clone(m)
		drained[11].Weight = 0
		for _, w := range ways {
			homes := w.homes(drained, k)
			if slices.Contains(homes, m[11].ID) {
				t.Errorf("%s: a node without weight has keys", w.name)
			}
			if d := differ(homes, w.homes(without(m, 11), k)); d > 0 {
				t.Errorf("%s: %d keys see a node without weight", w.name, d)
			}
		}
	})
}

// TestSharesFollowWeights within chance. Points of a ring lie by chance, too.
func TestSharesFollowWeights(t *testing.T) {
	const samples = 100_000
	seeded(t, func(t *testing.T, r *rand.Rand) {
		m, k := weighed(r, named(r, 20), 10), keys(r, samples)
		var sum float64
		for _, one := range m {
			sum += float64(one.Weight)
		}
		for _, w := range ways {
			got := count(w.homes(m, k))
			for _, one := range m {
				want := samples * float64(one.Weight) / sum
				off := 6.5 * math.Sqrt(want)
				if w.name == "ring" {
					points := 160 * 20 * float64(one.Weight) / sum
					off += want * 8 / math.Sqrt(points)
				}
				if w.name == "maglev" {
					off += samples / 65_537.0
				}
				if n := float64(got[one.ID]); math.Abs(n-want) > off {
					t.Errorf("%s: weight %d of %v has %v keys, want %.0f give or take %.0f", w.name, one.Weight, sum, n, want, off)
				}
			}
		}
	})
}

// TestOneLessMovesItsOwnKeys: those of the others stay, all of them on a ring of
// equal nodes and in a rendezvous, most in a Maglev.
func TestOneLessMovesItsOwnKeys(t *testing.T) {
	const samples = 20_000
	most := map[string]float64{"maglev": 0.02}
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{5, 10, 100} {
			m, k := named(r, n), keys(r, samples)
			gone := r.IntN(n)
			for _, w := range ways {
				before, after := w.homes(m, k), w.homes(without(m, gone), k)
				moved := differ(before, after) - count(before)[m[gone].ID]
				if moved < 0 || float64(moved) > most[w.name]*samples {
					t.Errorf("%s, %d nodes: one less moves %d of %d keys of others", w.name, n, moved, samples)
				}
			}
		}
	})
}

// TestOneLessOfDifferentWeights: a rendezvous is as exact; in the tables the
// shares of the others change a little in other ways, too.
func TestOneLessOfDifferentWeights(t *testing.T) {
	const samples = 20_000
	most := map[string]float64{"maglev": 0.03, "ring": 0.04}
	seeded(t, func(t *testing.T, r *rand.Rand) {
		m, k := weighed(r, named(r, 60), 8), keys(r, samples)
		heaviest := 0
		for i := range m {
			if m[i].Weight > m[heaviest].Weight {
				heaviest = i
			}
		}
		for _, gone := range []int{heaviest, 17} {
			for _, w := range ways {
				before, after := w.homes(m, k), w.homes(without(m, gone), k)
				moved := differ(before, after) - count(before)[m[gone].ID]
				t.Logf("%s: %.2f %%", w.name, 100*float64(moved)/samples)
				if float64(moved) > most[w.name]*samples {
					t.Errorf("%s: one less moves %d of %d keys of others", w.name, moved, samples)
				}
			}
		}
	})
}

// TestKeysOfTheSickGoToAll: on the way on, and in a list without it.
func TestKeysOfTheSickGoToAll(t *testing.T) {
	const samples = 60_000
	seeded(t, func(t *testing.T, r *rand.Rand) {
		m, k := named(r, 10), keys(r, samples)
		for _, w := range ways {
			before, after := w.homes(m, k), w.homes(without(m, 3), k)
			var left []string
			for i := range k {
				if before[i] == m[3].ID {
					left = append(left, after[i])
				}
			}
			for id, n := range count(left) {
				// An equal part is a ninth; a ring has only 160 points to deal out.
				if part := float64(n) / float64(len(left)); part > 0.28 {
					t.Errorf("%s: %s has %.2f of the keys of a node that is gone", w.name, id, part)
				}
			}
		}
	})
}

// steps are all that a walk says.
func steps(w hashing.Walk) (all []int) {
	for range 100 {
		i := w.Next()
		if i < 0 {
			break
		}
		all = append(all, i)
	}
	return all
}

func TestWalkGoesOnToOthers(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		for _, n := range []int{2, 5, 100} {
			m := named(r, n)
			maglev, ring := hashing.NewMaglev(m), hashing.NewRing(m)
			visited, walks := 0, 2000
			for _, key := range keys(r, walks) {
				for _, walk := range []hashing.Walk{maglev.Walk(key), ring.Walk(key)} {
					again, all := walk, steps(walk)
					if len(all) != 16 || !slices.Equal(all, steps(again)) {
						t.Fatalf("key %#x of %d nodes walks %v", key, n, all)
					}
					slices.Sort(all)
					visited += len(slices.Compact(all))
				}
			}
			// So many of n are met in 16 visits by chance.
			want := float64(n) * (1 - math.Pow(1-1/float64(n), 16))
			if got := float64(visited) / float64(2*walks); math.Abs(got-want) > 0.1*want {
				t.Errorf("%d nodes: a walk meets %.2f, want %.2f", n, got, want)
			}
		}
	})
}

// TestRingWalksAsIfTheSickWereGone: a key that moves because a node is sick does
// not move again when it is taken off the list.
func TestRingWalksAsIfTheSickWereGone(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		m := named(r, 20)
		all, rest := hashing.NewRing(m), hashing.NewRing(without(m, 5))
		for _, key := range keys(r, 5000) {
			w, home := all.Walk(key), rest.Walk(key)
			i := w.Next()
			for i == 5 {
				i = w.Next()
			}
			if want := without(m, 5)[home.Next()]; i >= 0 && m[i] != want {
				t.Fatalf("key %#x goes to %v, and later to %v", key, m[i], want)
			}
		}
	})
}

func TestNothingToWalk(t *testing.T) {
	var zero hashing.Walk
	empty := [][]hashing.Member{nil, {}, {{ID: "a"}}, {{ID: "a"}, {ID: "b"}}}
	walks := []hashing.Walk{zero, (*hashing.Maglev)(nil).Walk(1), (*hashing.Ring)(nil).Walk(1)}
	for _, m := range empty {
		walks = append(walks, hashing.NewMaglev(m).Walk(1), hashing.NewRing(m).Walk(1))
		if i := hashing.Best(columnsOf(m)); i != -1 {
			t.Errorf("%v: the best is %d", m, i)
		}
		if s := hashing.Subset(m, 1, 2); len(s) != 0 {
			t.Errorf("%v: chosen is %v", m, s)
		}
	}
	for i, w := range walks {
		if all := steps(w); len(all) > 0 {
			t.Errorf("walk %d: %v", i, all)
		}
	}
}

func columnsOf(m []hashing.Member) (nodes []uint64, inverse []float64, key uint64) {
	nodes, inverse = columns(m)
	return nodes, inverse, 1
}

// TestAnyListIsTaken: lists that nobody should write neither panic nor lead
// outside.
func TestAnyListIsTaken(t *testing.T) {
	huge := uint32(math.MaxUint32)
	twins := []hashing.Member{{"a", 1}, {"a", 1}, {"b", 1}, {"a", 7}}
	crowd := make([]hashing.Member, 300)
	for i := range crowd {
		crowd[i] = hashing.Member{ID: "same", Weight: huge}
	}
	for name, m := range map[string][]hashing.Member{
		"one": {{"a", 1}}, "one heavy": {{"a", huge}}, "no name": {{"", 1}, {"", 1}},
		"twins": twins, "crowd": crowd,
		"giant and dwarfs": {{"a", huge}, {"b", 1}, {"c", 1}, {"d", 0}},
	} {
		for _, w := range ways {
			home := w.build(m)
			for key := range uint64(2000) {
				if i := home(key); i < 0 || i >= len(m) || m[i].Weight == 0 {
					t.Fatalf("%s: %s: the home of %d is %d", w.name, name, key, i)
				}
			}
		}
		for _, k := range []int{-1, 0, 1, 2, 1000} {
			hashing.Subset(m, 1, k)
		}
	}
}
