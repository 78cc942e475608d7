package lb_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"viaduct/lb"
)

// After each change of who is eligible nobody has more than one request above
// the share: neither a survivor nor the one that comes back.
func TestFlapGivesNobodyMoreThanOneExtra(t *testing.T) {
	eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			dice := newDice(seed)
			for range 10 {
				list := randomWeights(dice, 12, 9, false)
				if policy == lb.RoundRobin { // which takes a weight as a number of rounds
					list = members(len(list))
				}
				p := newPool(t, seed, lb.Options{Policy: policy, PanicBelow: -1}, list)
				for range 60 {
					flap(t, p, dice, list)
				}
			}
		})
	})
}

func flap(t *testing.T, p *lb.Pool, dice *rand.Rand, list []lb.Member) {
	t.Helper()
	n := p.Nodes()[dice.IntN(len(list))]
	if n.Standing() == lb.Ready {
		p.Set(n, lb.Sick, 0)
	} else {
		p.Set(n, lb.Ready, 0)
	}
	sum := 0
	for i, n := range p.Nodes() {
		if n.Standing() == lb.Ready {
			sum += int(list[i].Weight)
		}
	}
	if sum == 0 {
		return
	}
	taken := make([]int, len(list))
	for slot := range dice.IntN(3*sum + 1) {
		i := at(once(t, p, lb.Ask{}))
		taken[i]++
		if p.Nodes()[i].Standing() != lb.Ready {
			t.Fatalf("%s is sick and was picked", list[i].ID)
		}
		if taken[i]*sum >= (slot+1)*int(list[i].Weight)+2*sum {
			t.Fatalf("%s has %d of the %d picks since the flap: %s", list[i].ID, taken[i], slot, describe(list))
		}
	}
}

// When the cycle restarts at every flap it must not restart at the same place.
func TestFlappingFloodsNobody(t *testing.T) {
	eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			p := newPool(t, seed, lb.Options{Policy: policy}, members(5))
			counts := make([]int, 5)
			for range 1000 {
				counts[at(once(t, p, lb.Ask{}))]++
				p.Set(p.Nodes()[0], lb.Sick, 0)
				p.Set(p.Nodes()[0], lb.Ready, 0)
			}
			for i, c := range counts {
				if c > 500 {
					t.Fatalf("endpoint %d of 5 has %d of 1000 while one flaps: %v", i, c, counts)
				}
			}
		})
	})
}

// Who gives the same list again, or changes somebody of another tier, changes
// nobody's turn.
func TestOrderGoesOnWhereTheGroupIsTheSame(t *testing.T) {
	eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			list := weighing(10, 1, 3, 1, 5)
			list[4].Tier = 1
			o := lb.Options{Policy: policy}
			plain, changed := newPool(t, seed, o, list), newPool(t, seed, o, list)
			for i := range 300 {
				switch i % 3 {
				case 0:
					update(t, changed, seed, o, list, 0)
				case 1:
					changed.Set(changed.Nodes()[4], lb.Standing(i/3%4), 0)
				default:
					changed.SetWeight(changed.Nodes()[4], uint32(i), 0)
				}
				if a, b := once(t, plain, lb.Ask{}).ID(), once(t, changed, lb.Ask{}).ID(); a != b {
					t.Fatalf("pick %d is %s, with changes that are none %s", i, a, b)
				}
			}
		})
	})
}

// Where somebody flaps all the time, the shares of the others are their weights
// still: in short cycles, and in those of which hardly a part is ever used.
func TestSharesSurviveFlaps(t *testing.T) {
	alone(t)
	long := slices.Repeat([]uint32{1000, 999}, 100)
	for _, row := range []struct {
		name  string
		list  []lb.Member
		picks int
		flaps int
		off   float64 // seven standard deviations
	}{
		{"short", weighing(10, 1, 1, 10), 3, 3000, 0.07},
		{"long", weighing(append(long, 1000)...), 100, 200, 0.15},
	} {
		eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
			eachSeed(t, func(t *testing.T, seed uint64) {
				p := newPool(t, seed, lb.Options{Policy: policy}, row.list)
				last := len(row.list) - 1
				var got, want [2]float64
				for i := range row.flaps {
					p.Set(p.Nodes()[last], []lb.Standing{lb.Sick, lb.Ready}[i%2], 0)
					for range row.picks {
						if k := at(once(t, p, lb.Ask{})); k != last {
							got[k%2]++
						}
					}
				}
				for i, m := range row.list[:last] {
					want[i%2] += float64(m.Weight)
				}
				if a, b := got[0]/(got[0]+got[1]), want[0]/(want[0]+want[1]); math.Abs(a-b) > row.off {
					t.Errorf("%s: even ones have %.3f, want %.3f", row.name, a, b)
				}
			})
		})
	}
}

// Light ones keep their small share while somebody flaps all the time.
func TestLightOnesStayLightWhileOneFlaps(t *testing.T) {
	eachPolicy(t, takesTurns, func(t *testing.T, policy lb.Policy) {
		weights := make([]uint32, 201)
		for i := range weights {
			weights[i] = 1000
			if i >= 100 {
				weights[i] = 10
			}
		}
		p := newPool(t, 1, lb.Options{Policy: policy}, weighing(weights...))
		light := 0
		for i := range 400 {
			p.Set(p.Nodes()[200], []lb.Standing{lb.Sick, lb.Ready}[i%2], 0)
			for range 100 {
				if at(once(t, p, lb.Ask{})) >= 100 {
					light++
				}
			}
		}
		if part := float64(light) / 40_000; part > 0.03 {
			t.Errorf("101 of weight 10 beside 100 of weight 1000 have %.3f, want 0.01", part)
		}
	})
}
