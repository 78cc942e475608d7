package lb_test

import (
	"slices"
	"testing"

	"viaduct/lb"
)

func countsConnections(p lb.Policy) bool { return p == lb.LeastConn || p == lb.P2C }

func TestRandomFollowsTheWeights(t *testing.T) {
	alone(t)
	eachSeed(t, func(t *testing.T, seed uint64) {
		for _, list := range [][]lb.Member{members(20), weighing(5, 1, 1, 0, 93), weighing(1, 0), randomWeights(newDice(seed), 40, 50, true)} {
			p := newPool(t, seed, lb.Options{Policy: lb.Random}, list)
			counts := make([]int, len(list))
			for range 100_000 {
				counts[at(once(t, p, lb.Ask{}))]++
			}
			fits(t, counts, floats(list))
		}
	})
}

// Who is tried or sick leaves its share to the others in proportion.
func TestRandomWithoutSomeFollowsTheWeights(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		list := weighing(10, 1, 2, 3, 4)
		p := newPool(t, seed, lb.Options{Policy: lb.Random}, list)
		p.Set(p.Nodes()[3], lb.Sick, 0)
		tried := p.Nodes()[:1]
		counts := make([]int, 5)
		for range 20_000 {
			counts[at(once(t, p, lb.Ask{Tried: tried}))]++
		}
		shares(t, "without two", counts, []float64{0, 1, 2, 0, 4}, 3)
	})
}

// A keyed policy has nothing to go by without a key, and chooses at random.
func TestNoKeyIsRandom(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, list := range [][]lb.Member{members(20), members(70), weighing(5, 1, 3, 0)} {
				p := newPool(t, seed, lb.Options{Policy: policy}, list)
				counts := make([]int, len(list))
				for range 20_000 {
					counts[at(once(t, p, lb.Ask{Key: 7}))]++
				}
				fits(t, counts, floats(list))
			}
		})
	})
}

// T13.
func TestHangingRequestsAreSpreadEvenly(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		p := newPool(t, seed, lb.Options{Policy: lb.LeastConn}, members(4))
		for range 40 {
			take(t, p, lb.Ask{})
		}
		for _, n := range p.Nodes() {
			if n.InFlight() != 10 {
				t.Fatalf("%s has %d of 40 over 4", n.ID(), n.InFlight())
			}
		}
	})
}

func TestLeastConnNeverDiffersByMoreThanOne(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		for _, n := range []int{1, 4, 64, 65, 300, 2000} {
			p := newPool(t, seed, lb.Options{Policy: lb.LeastConn}, members(n))
			for k := range 3*n + 2 {
				got := take(t, p, lb.Ask{})
				if want := int64(k/n + 1); got.InFlight() != want {
					t.Fatalf("pick %d over %d brings %s to %d, others have less than %d", k+1, n, got.ID(), got.InFlight(), want)
				}
			}
		}
	})
}

func TestLeastConnSpreadsByWeight(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		dice := newDice(seed)
		lists := [][]lb.Member{weighing(5, 1, 1), weighing(1, 1000), randomWeights(dice, 300, 30, false)}
		for range 10 {
			lists = append(lists, randomWeights(dice, 30, 30, false))
		}
		for _, list := range lists {
			p := newPool(t, seed, lb.Options{Policy: lb.LeastConn}, list)
			taken, least := make([]int64, len(list)), int64(list[0].Weight)
			for _, m := range list {
				least = min(least, int64(m.Weight))
			}
			for range 600 {
				i := at(take(t, p, lb.Ask{}))
				taken[i]++
				wi := int64(list[i].Weight)
				for j, m := range list { // x_i/w_i - x_j/w_j <= 1/least, without a fraction
					wj := int64(m.Weight)
					if (taken[i]*wj-taken[j]*wi)*least > wi*wj {
						t.Fatalf("%d of weight %d beside %d of weight %d: %s", taken[i], wi, taken[j], wj, describe(list))
					}
				}
			}
		}
	})
}

// Requests end at random: whoever is picked has the least (x+1)/w. One without
// any may be preferred, whatever its weight: else the heaviest would have
// everything as long as there is little.
func TestLeastConnPicksTheLeast(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		dice := newDice(seed)
		for _, n := range []int{2, 10, 64, 257, 500} {
			list := members(n)
			for i := range list {
				list[i].Weight = uint32(1 + dice.IntN(4)*dice.IntN(2))
			}
			p := newPool(t, seed, lb.Options{Policy: lb.LeastConn}, list)
			nodes, taken := p.Nodes(), make([]int, n)
			var open []*lb.Node
			for range 2000 {
				if len(open) > 0 && dice.IntN(2*n) < len(open) {
					k := dice.IntN(len(open))
					taken[at(open[k])]--
					open[k].End()
					open = slices.Delete(open, k, k+1)
				}
				got := at(take(t, p, lb.Ask{}))
				for j := range list {
					if taken[got] > 0 && (taken[got]+1)*int(list[j].Weight) > (taken[j]+1)*int(list[got].Weight) {
						t.Fatalf("of %d: %d has %d of weight %d, %d has %d of weight %d and was not picked",
							n, got, taken[got], list[got].Weight, j, taken[j], list[j].Weight)
					}
				}
				taken[got]++
				open = append(open, nodes[got])
			}
		}
	})
}

// With nothing to choose between, all get the same: not only the first.
func TestLowLoadFloodsNobody(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			each := 200
			if raceEnabled {
				each = 50
			}
			for _, n := range []int{2, 20, 300} {
				p := newPool(t, seed, lb.Options{Policy: policy}, members(n))
				counts := make([]int, n)
				for range each * n {
					counts[at(once(t, p, lb.Ask{}))]++
				}
				fits(t, counts, evenly(n))
			}
		})
	})
}

// T14, and the law behind it: with two different draws the most loaded one
// always meets another that has less.
func TestTwoChoicesNeverTakeTheMostLoaded(t *testing.T) {
	eachPolicy(t, countsConnections, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, n := range []int{2, 3, 20, 100} {
				p := newPool(t, seed, lb.Options{Policy: policy}, members(n))
				busy := p.Nodes()[n/2]
				others := slices.DeleteFunc(p.Nodes(), func(n *lb.Node) bool { return n == busy })
				for range 50 {
					take(t, p, lb.Ask{Tried: others})
				}
				if busy.InFlight() != 50 {
					t.Fatalf("the busy one has %d", busy.InFlight())
				}
				for range 2000 {
					if once(t, p, lb.Ask{}) == busy {
						t.Fatalf("of %d the one with 50 in flight was picked", n)
					}
				}
			}
		})
	})
}

func TestTwoChoicesNeverTakeTheMostLoadedInAnyState(t *testing.T) {
	eachPolicy(t, countsConnections, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			dice := newDice(seed)
			for range 300 {
				n := 2 + dice.IntN(8)
				p := newPool(t, seed^dice.Uint64(), lb.Options{Policy: policy}, members(n))
				for _, node := range p.Nodes() {
					others := slices.DeleteFunc(p.Nodes(), func(n *lb.Node) bool { return n == node })
					for range dice.IntN(4) {
						take(t, p, lb.Ask{Tried: others})
					}
				}
				nodes := p.Nodes()
				slices.SortFunc(nodes, func(a, b *lb.Node) int { return int(b.InFlight() - a.InFlight()) })
				if nodes[0].InFlight() == nodes[1].InFlight() {
					continue
				}
				for range 20 {
					if once(t, p, lb.Ask{}) == nodes[0] {
						t.Fatalf("the only one of %d with %d in flight was picked", n, nodes[0].InFlight())
					}
				}
			}
		})
	})
}

func weightSets() [][]lb.Member {
	return [][]lb.Member{
		weighing(5, 1, 1), weighing(3, 1), weighing(1, 2, 3, 4),
		weighing(slices.Concat(slices.Repeat([]uint32{1}, 10), slices.Repeat([]uint32{3}, 10))...),
	}
}

func twoChoices(p lb.Policy) bool { return p == lb.P2C || p == lb.P2CEWMA }

func TestTwoChoicesFollowTheWeightsOneByOne(t *testing.T) {
	eachPolicy(t, twoChoices, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, list := range weightSets() {
				d := newDrive(t, newPool(t, seed, lb.Options{Policy: policy}, list), seed, 2e6, 1e6)
				d.tally(500, len(list))
				shares(t, "one by one", d.tally(20_000, len(list)), floats(list), 5)
				d.finish()
			}
		})
	})
}

func TestTwoChoicesFollowTheWeightsUnderLoad(t *testing.T) {
	alone(t)
	eachPolicy(t, func(p lb.Policy) bool { return twoChoices(p) || p == lb.LeastConn }, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, list := range weightSets() {
				n := len(list)
				d := newDrive(t, newPool(t, seed, lb.Options{Policy: policy}, list), seed, 1e6, 32e6)
				d.tally(500, n)
				shares(t, "32 at a time", d.tally(20_000, n), floats(list), 5)
				d.finish()
			}
		})
	})
}

func TestHangingRequestsFollowTheWeights(t *testing.T) {
	eachPolicy(t, func(p lb.Policy) bool { return twoChoices(p) || p == lb.LeastConn }, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, list := range weightSets() {
				p := newPool(t, seed, lb.Options{Policy: policy}, list)
				counts := make([]int, len(list))
				for range 100 * len(list) {
					counts[at(take(t, p, lb.Ask{}))]++
				}
				shares(t, "hanging", counts, floats(list), 3)
			}
		})
	})
}
