package lb_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"viaduct/lb"
)

func takesTurns(p lb.Policy) bool { return p == lb.RoundRobin || p == lb.Weighted }

func TestAnyRoundHitsEveryEndpoint(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		for _, n := range []int{1, 2, 5, 64, 65, 300} {
			got := ids(newPool(t, seed, lb.Options{Policy: lb.RoundRobin}, members(n)), 5*n, t)
			for i := n; i < len(got); i++ { // the first round holds all, and then each comes again in its turn
				if got[i] != got[i-n] || i == n && distinct(got[:n]) != n {
					t.Fatalf("%d endpoints: pick %d is %s, %d picks before it was %s", n, i, got[i], n, got[i-n])
				}
			}
		}
	})
}

// exact follows the picks over the given cycles. After a pick its endpoint is
// furthest ahead of its ideal share and just before one furthest behind, so
// looking there looks everywhere.
func exact(t *testing.T, policy lb.Policy, seed uint64, list []lb.Member, cycles float64) {
	t.Helper()
	p := newPool(t, seed, lb.Options{Policy: policy}, list)
	sum := 0
	for _, m := range list {
		sum += int(m.Weight)
	}
	taken := make([]int, len(list))
	for slot := 1; slot <= int(cycles*float64(sum)); slot++ {
		i := at(once(t, p, lb.Ask{}))
		w := int(list[i].Weight)
		if behind := (slot-1)*w - taken[i]*sum; behind >= sum && policy == lb.Weighted {
			t.Fatalf("before pick %d %s is %d/%d behind: %s", slot, list[i].ID, behind, sum, describe(list))
		}
		taken[i]++
		if ahead := taken[i]*sum - slot*w; ahead >= sum && policy == lb.Weighted {
			t.Fatalf("after pick %d %s is %d/%d ahead: %s", slot, list[i].ID, ahead, sum, describe(list))
		}
		if slot%sum == 0 {
			for j, m := range list {
				if taken[j] != slot/sum*int(m.Weight) {
					t.Fatalf("after %d cycles %s has %d picks, weight %d: %s", slot/sum, m.ID, taken[j], m.Weight, describe(list))
				}
			}
		}
	}
	for j, m := range list { // who never came is behind without a pick
		slots := int(cycles * float64(sum))
		if behind := slots*int(m.Weight) - taken[j]*sum; behind >= sum && policy == lb.Weighted {
			t.Fatalf("at the end %s is %d/%d behind: %s", m.ID, behind, sum, describe(list))
		}
	}
}

func randomWeights(dice *rand.Rand, most, heaviest int, zeroes bool) []lb.Member {
	weights := make([]uint32, 1+dice.IntN(most))
	for i := range weights {
		weights[i] = uint32(1 + dice.IntN(heaviest))
		if zeroes && i > 0 && dice.IntN(8) == 0 {
			weights[i] = 0
		}
	}
	return weighing(weights...)
}

func TestTurnsAreExactOverACycleAndOnEveryPrefix(t *testing.T) {
	eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			exact(t, policy, seed, weighing(5, 1, 1), 10)
			exact(t, policy, seed, weighing(0, 7, 0, 7), 10)
			exact(t, policy, seed, weighing(1, 0), 10)
			exact(t, policy, seed, weighing(1, 1000), 3)
			dice := newDice(seed)
			for range 20 {
				exact(t, policy, seed, randomWeights(dice, 20, 100, true), 3.3)
			}
		})
	})
}

func TestTurnsAreExactForExtremeSets(t *testing.T) {
	alone(t)
	eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			dice := newDice(seed)
			exact(t, policy, seed, randomWeights(dice, 200, 1000, false), 2.1)
			full := slices.Repeat([]uint32{0}, 200) // a sum beyond any table that is built
			for i := range full {
				full[i] = uint32(1 + dice.IntN(1000))
			}
			full[0] = 997 // a prime: no divisor in common
			exact(t, policy, seed, weighing(full...), 1.1)
			lonely := slices.Repeat([]uint32{1}, 200)
			lonely[77] = 1000
			exact(t, policy, seed, weighing(lonely...), 2.1)
		})
	})
}

// T11: five, one, one is never more than three of the heavy one in a row.
func TestHeavyEndpointIsSpreadOut(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		p := newPool(t, seed, lb.Options{Policy: lb.Weighted}, weighing(5, 1, 1))
		row, counts := 0, make([]int, 3)
		for range 700 {
			i := at(once(t, p, lb.Ask{}))
			counts[i]++
			if row++; i != 0 {
				row = 0
			}
			if row > 3 {
				t.Fatal("four of the heavy one in a row")
			}
		}
		if !slices.Equal(counts, []int{500, 100, 100}) {
			t.Fatalf("700 picks of 5:1:1 are %v", counts)
		}
	})
}

func TestTurnsStayExactWithManyHands(t *testing.T) {
	eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
		for _, list := range [][]lb.Member{members(7), weighing(5, 1, 1), weighing(slices.Repeat([]uint32{997, 1000}, 40)...)} {
			p, err := lb.New(lb.Options{Policy: policy}, list, 0)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0
			for _, m := range list {
				sum += int(m.Weight)
			}
			var done sync.WaitGroup
			for range 4 {
				done.Go(func() {
					for range sum {
						if n, _ := p.Pick(&lb.Ask{}); n != nil {
							n.End()
						}
					}
				})
			}
			done.Wait()
			for i, n := range p.Nodes() {
				if n.Picks() != 4*uint64(list[i].Weight) {
					t.Fatalf("after four cycles %s of weight %d has %d picks", n.ID(), list[i].Weight, n.Picks())
				}
			}
		}
	})
}

// Proxies that start together must not all begin at the same endpoint.
func TestInstancesBeginAtDifferentEndpoints(t *testing.T) {
	alone(t)
	for _, list := range [][]lb.Member{members(5), members(100), weighing(3, 2, 3, 1, 3, 3)} {
		eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
			var seeded, random []string
			const instances = 16
			for seed := range uint64(instances) {
				seeded = append(seeded, once(t, newPool(t, seed+1, lb.Options{Policy: policy}, list), lb.Ask{}).ID())
				p, err := lb.New(lb.Options{Policy: policy}, list, 0)
				if err != nil {
					t.Fatal(err)
				}
				random = append(random, once(t, p, lb.Ask{}).ID())
			}
			if distinct(seeded) < 2 || distinct(random) < 2 {
				t.Fatalf("%d instances begin at %d endpoints with seeds, %d without", instances, distinct(seeded), distinct(random))
			}
		})
	}
}

func TestTriedOnesAreSkippedAndNotOwed(t *testing.T) {
	eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			p := newPool(t, seed, lb.Options{Policy: policy}, members(5))
			tried := p.Nodes()[2]
			for range 100 {
				if once(t, p, lb.Ask{Tried: []*lb.Node{tried}}) == tried {
					t.Fatal("a tried one was picked")
				}
			}
			before := tried.Picks()
			for range 50 {
				once(t, p, lb.Ask{})
			}
			if got := tried.Picks() - before; got < 9 || got > 11 {
				t.Fatalf("of the next 50 picks over 5 the one that was skipped has got %d", got)
			}
		})
	})
}

// Multiplying all weights changes nothing at all.
func TestScalingWeightsChangesNothing(t *testing.T) {
	alone(t)
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, scale := range []uint32{2, 7, 1000} {
				small := randomWeights(newDice(seed), 30, 20, true)
				large := slices.Clone(small)
				for i := range large {
					large[i].Weight *= scale
				}
				a := newDrive(t, newPool(t, seed, lb.Options{Policy: policy}, small), seed, 1e6, 20e6)
				b := newDrive(t, newPool(t, seed, lb.Options{Policy: policy}, large), seed, 1e6, 20e6)
				for i := range 2000 {
					if x, y := a.next().ID(), b.next().ID(); x != y {
						t.Fatalf("pick %d is %s, with weights times %d %s: %s", i, x, scale, y, describe(small))
					}
				}
			}
		})
	})
}

func TestWeightZeroGetsNothing(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			d := newDrive(t, newPool(t, seed, lb.Options{Policy: policy}, weighing(0, 3, 0, 1, 2, 0)), seed, 1e6, 5e6)
			if c := d.tally(3000, 6); c[0]+c[2]+c[5] != 0 {
				t.Fatalf("weight 0 has got requests: %v", c)
			}
			none := newPool(t, seed, lb.Options{Policy: policy}, weighing(0, 0))
			if n, how := none.Pick(&lb.Ask{}); n != nil || how != lb.None {
				t.Fatalf("a pool of weight 0 answers %v, %v", n, how)
			}
		})
	})
}

func TestTriedOnesAreNeverPicked(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			dice := newDice(seed)
			for _, n := range []int{1, 2, 3, 10, 70, 300} {
				p := newPool(t, seed, lb.Options{Policy: policy}, members(n))
				for range 300 {
					tried := slices.Clone(p.Nodes())
					dice.Shuffle(n, func(i, j int) { tried[i], tried[j] = tried[j], tried[i] })
					tried = tried[:dice.IntN(n)]
					a := lb.Ask{Tried: tried, Key: dice.Uint64(), Keyed: dice.IntN(2) == 0}
					if got := once(t, p, a); slices.Contains(tried, got) {
						t.Fatalf("%s was tried before, %d of %d were", got.ID(), len(tried), n)
					}
				}
				if got, how := p.Pick(&lb.Ask{Tried: p.Nodes()}); got != nil || how != lb.None {
					t.Fatalf("when all %d are tried: %v, %v", n, got, how)
				}
			}
		})
	})
}
