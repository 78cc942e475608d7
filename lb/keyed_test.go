package lb_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"viaduct/lb"
)

// key makes the i-th key, as good as any hash.
func key(i int) uint64 {
	x := uint64(i+1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// homes are the IDs that the first k keys go to.
func homes(t *testing.T, p *lb.Pool, k int, now time.Duration) []string {
	t.Helper()
	list := make([]string, k)
	for i := range list {
		list[i] = once(t, p, lb.Ask{Key: key(i), Keyed: true, Now: now}).ID()
	}
	return list
}

func moved(a, b []string) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// collateral counts the keys that moved though their home was not gone.
func collateral(before, after []string, gone string) int {
	n := 0
	for i := range before {
		if before[i] != after[i] && before[i] != gone {
			n++
		}
	}
	return n
}

func keyCount() int {
	if raceEnabled {
		return 2000
	}
	return 10_000
}

func TestSameKeySameEndpoint(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		for _, n := range []int{1, 2, 10, 64, 65, 200} {
			p := newPool(t, 1, lb.Options{Policy: policy}, members(n))
			first := homes(t, p, keyCount(), 0)
			if m := moved(first, homes(t, p, keyCount(), time.Hour)); m != 0 {
				t.Fatalf("of %d: %d keys moved by themselves", n, m)
			}
			a := lb.Ask{Key: key(3), Keyed: true}
			got, how := p.Pick(&a)
			if how != lb.Home {
				t.Fatalf("a key at home was picked as %v", how)
			}
			got.End()
		}
	})
}

// T17: proxies agree, whatever the order of the list and whoever they are.
func TestOrderOfTheListDoesNotMatter(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			dice := newDice(seed)
			for _, n := range []int{10, 64, 65, 200} {
				list := members(n)
				for i := range list {
					list[i].Weight = uint32(dice.IntN(5))
				}
				list[0].Weight = 2
				first := homes(t, newPool(t, seed, lb.Options{Policy: policy}, list), keyCount(), 0)
				other := slices.Clone(list)
				dice.Shuffle(n, func(i, j int) { other[i], other[j] = other[j], other[i] })
				if m := moved(first, homes(t, newPool(t, seed+1, lb.Options{Policy: policy}, other), keyCount(), 0)); m != 0 {
					t.Fatalf("of %d: %d keys differ in another order", n, m)
				}
				p := newPool(t, seed+2, lb.Options{Policy: policy}, members(3)) // and whatever was before
				update(t, p, seed, lb.Options{Policy: policy}, other, 0)
				if m := moved(first, homes(t, p, keyCount(), 0)); m != 0 {
					t.Fatalf("of %d: %d keys differ after another list", n, m)
				}
			}
		})
	})
}

// T16: a removal moves the keys of who is removed, and adding it again
// restores the map.
func TestRemovalMovesOnlyItsKeys(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			dice := newDice(seed)
			for _, n := range []int{10, 64, 66, 200} {
				list := members(n)
				gone := dice.IntN(n)
				p := newPool(t, seed, lb.Options{Policy: policy}, list)
				before := homes(t, p, keyCount(), 0)
				update(t, p, seed, lb.Options{Policy: policy}, slices.Delete(slices.Clone(list), gone, gone+1), 0)
				after := homes(t, p, keyCount(), 0)
				most := 0
				if policy == lb.Maglev || policy == lb.Hash && n > 64 {
					most = keyCount() / 200 // 0.5 %
					if n > 10 {             // there are fewer places in the table for each
						most = keyCount() / 75
					}
				}
				if c := collateral(before, after, list[gone].ID); c > most {
					t.Errorf("without 1 of %d moved %d of %d keys of others, at most %d", n, c, keyCount(), most)
				}
				if slices.Contains(after, list[gone].ID) {
					t.Errorf("a key stays with who is gone")
				}
				update(t, p, seed, lb.Options{Policy: policy}, list, 0)
				if m := moved(before, homes(t, p, keyCount(), 0)); m != 0 {
					t.Errorf("when 1 of %d is back %d keys differ", n, m)
				}
			}
		})
	})
}

// T18: the tables are of the full list, so a flap moves the keys of the sick
// one, Maglev's too, and all return.
func TestFlapMovesOnlyItsKeys(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			dice := newDice(seed)
			for _, n := range []int{10, 64, 65, 200} {
				p := newPool(t, seed, lb.Options{Policy: policy}, members(n))
				before := homes(t, p, keyCount(), 0)
				for i := range 20 {
					sick := p.Nodes()[dice.IntN(n)]
					p.Set(sick, lb.Standing(2+i%2), 0)
					if i%10 == 0 {
						after := homes(t, p, keyCount(), 0)
						if c := collateral(before, after, sick.ID()); c > 0 || slices.Contains(after, sick.ID()) {
							t.Fatalf("while 1 of %d is %v %d keys of others moved", n, sick.Standing(), c)
						}
					}
					p.Set(sick, lb.Ready, 0)
				}
				if m := moved(before, homes(t, p, keyCount(), 0)); m != 0 {
					t.Fatalf("after 20 flaps %d keys differ", m)
				}
			}
		})
	})
}

// The keys of a sick one are spread over all others, not heaped on one.
func TestKeysOfASickOneAreSpread(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy}, members(10))
		before := homes(t, p, 20_000, 0)
		p.Set(p.Nodes()[4], lb.Sick, 0)
		counts, total := map[string]int{}, 0
		for i, id := range homes(t, p, 20_000, 0) {
			if before[i] == "e4" {
				counts[id]++
				total++
			}
		}
		for id, c := range counts {
			if c > total/3 {
				t.Errorf("%s has got %d of the %d keys of one that is sick", id, c, total)
			}
		}
	})
}

// Who was tried and who is sick are passed over in the same way: a retry goes
// where the key would be at home without the endpoint that failed.
func TestTriedAndSickWalkTheSameWay(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, n := range []int{3, 10, 100} {
				p := newPool(t, seed, lb.Options{Policy: policy}, members(n))
				for i := range 300 {
					a := lb.Ask{Key: key(i), Keyed: true}
					home := once(t, p, a)
					second := once(t, p, lb.Ask{Key: key(i), Keyed: true, Tried: []*lb.Node{home}})
					third := once(t, p, lb.Ask{Key: key(i), Keyed: true, Tried: []*lb.Node{second, home}})
					p.Set(home, lb.Sick, 0)
					if got := once(t, p, a); got != second {
						t.Fatalf("key %d of %d: %s when %s is tried, %s when it is sick", i, n, second.ID(), home.ID(), got.ID())
					}
					if got := once(t, p, lb.Ask{Key: key(i), Keyed: true, Tried: []*lb.Node{second}}); got != third {
						t.Fatalf("key %d of %d: third is %s or %s", i, n, third.ID(), got.ID())
					}
					p.Set(home, lb.Ready, 0)
				}
			}
		})
	})
}

func TestKeysFollowTheWeights(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		wide := slices.Repeat([]uint32{1, 3, 0, 2}, 25)
		for _, list := range [][]lb.Member{weighing(5, 1, 1), weighing(1, 2, 3, 4, 0), weighing(wide...)} {
			p := newPool(t, 1, lb.Options{Policy: policy}, list)
			const k = 30_000
			counts, weights, sum := make([]int, len(list)), floats(list), 0.0
			for i := range k {
				counts[at(once(t, p, lb.Ask{Key: key(i), Keyed: true}))]++
			}
			for _, w := range weights {
				sum += w
			}
			tables := map[lb.Policy]float64{lb.Ring: 0.35, lb.Maglev: 0.02}
			for i, w := range weights {
				want := k * w / sum
				if off := math.Abs(float64(counts[i]) - want); off > want*tables[policy]+6*math.Sqrt(want)+want*0.02 {
					t.Errorf("of %d: weight %v has %d keys, want %.0f", len(list), w, counts[i], want)
				}
			}
		}
	})
}

func TestFirstGoesInOrder(t *testing.T) {
	p := newPool(t, 1, lb.Options{Policy: lb.First, PanicBelow: -1}, weighing(0, 1, 9, 5))
	n := p.Nodes()
	want := func(i int, what string) {
		t.Helper()
		for range 20 {
			if got := once(t, p, lb.Ask{}); got != n[i] {
				t.Fatalf("%s: %s, want %s", what, got.ID(), n[i].ID())
			}
		}
	}
	want(1, "weight 0 gets nothing")
	p.Set(n[1], lb.Sick, 0)
	want(2, "the first is sick")
	p.Set(n[2], lb.Out, 0)
	want(3, "the second is out")
	if got := once(t, p, lb.Ask{Tried: n[2:3]}); got != n[3] {
		t.Fatalf("the second was tried: %s", got.ID())
	}
	p.Set(n[2], lb.Ready, 0)
	want(2, "the second is back")
	p.Set(n[1], lb.Ready, 0)
	want(1, "the first is back")
	if got := once(t, p, lb.Ask{Tried: n[1:2]}); got != n[2] {
		t.Fatalf("the first was tried: %s", got.ID())
	}
}
