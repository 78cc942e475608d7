package lb_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"viaduct/lb"
)

// loadCap is the most that a node of this share may have with so many in all.
func loadCap(c float64, all int, w, sum float64) int64 {
	return int64(math.Ceil(c*float64(all)*w/sum - 1e-9))
}

// crowd keeps requests with popular keys in flight.
type crowd struct {
	pool *lb.Pool
	dice *rand.Rand
	zipf *rand.Zipf
	open []*lb.Node
}

func newCrowd(p *lb.Pool, seed uint64) *crowd {
	dice := newDice(seed)
	return &crowd{pool: p, dice: dice, zipf: rand.NewZipf(dice, 1.1, 1, 100_000)}
}

func (c *crowd) ask() lb.Ask { return lb.Ask{Key: key(int(c.zipf.Uint64())), Keyed: true} }

// T19: never above the bound, whatever the keys; and nobody is turned away.
func TestBoundedLoadIsNeverExceeded(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			wide := slices.Repeat([]uint32{1, 3, 2}, 30)
			for _, bound := range []float64{1.01, 1.25, 2} {
				for _, list := range [][]lb.Member{members(10), members(100), weighing(5, 1, 1), weighing(wide...)} {
					crowdStays(t, seed, lb.Options{Policy: policy, HashBound: bound}, list)
				}
			}
		})
	})
}

func crowdStays(t *testing.T, seed uint64, o lb.Options, list []lb.Member) {
	t.Helper()
	c := newCrowd(newPool(t, seed, o, list), seed)
	weights, sum := floats(list), 0.0
	for _, w := range weights {
		sum += w
	}
	nodes := c.pool.Nodes()
	for step := range 800 {
		if len(c.open) == 200 {
			k := c.dice.IntN(200)
			c.open[k].End()
			c.open = slices.Delete(c.open, k, k+1)
		}
		c.open = append(c.open, take(t, c.pool, c.ask()))
		for i, n := range nodes {
			if most := loadCap(o.HashBound, len(c.open), weights[i], sum); n.InFlight() > most {
				t.Fatalf("step %d, c = %v: %s has %d of %d in flight, at most %d", step, o.HashBound, n.ID(), n.InFlight(), len(c.open), most)
			}
		}
	}
}

func TestBoundedLoadIsNeverExceededByManyHands(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		const hands = 200
		list := members(10)
		p, err := lb.New(lb.Options{Policy: policy, HashBound: 1.25}, list, 0)
		if err != nil {
			t.Fatal(err)
		}
		most := loadCap(1.25, hands, 1, 10)
		var done sync.WaitGroup
		for i := range hands {
			done.Go(func() {
				c := newCrowd(p, uint64(i))
				for range 100 {
					a := c.ask()
					n, how := p.Pick(&a)
					if n == nil {
						t.Errorf("nobody was picked: %v", how)
						return
					}
					if x := n.InFlight(); x > most {
						t.Errorf("%s has %d in flight, at most %d", n.ID(), x, most)
					}
					n.End()
				}
			})
		}
		done.Wait()
		idle(t, p)
	})
}

func TestLooseBoundIsThePlainHash(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, n := range []int{10, 100} {
				plain := newCrowd(newPool(t, seed, lb.Options{Policy: policy}, members(n)), seed)
				loose := newCrowd(newPool(t, seed, lb.Options{Policy: policy, HashBound: 1e9}, members(n)), seed)
				for i := range 3000 {
					if a, b := take(t, plain.pool, plain.ask()).ID(), take(t, loose.pool, loose.ask()).ID(); a != b {
						t.Fatalf("request %d of %d: %s, with a bound of 1e9 %s", i, n, a, b)
					}
				}
			}
		})
	})
}

func TestKeysReturnHomeWhenTheLoadFalls(t *testing.T) {
	alone(t)
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		for _, n := range []int{2, 10, 100} {
			p := newPool(t, 1, lb.Options{Policy: policy, HashBound: 1.25}, members(n))
			for i := range 20 {
				a := lb.Ask{Key: key(i), Keyed: true}
				home := once(t, p, a)
				var open []*lb.Node
				away := 0
				for range 10 * n {
					got, how := p.Pick(&a)
					if (how == lb.Home) != (got == home) || got != home && how != lb.Overflow {
						t.Fatalf("%s of home %s was picked as %v", got.ID(), home.ID(), how)
					}
					if got != home {
						away++
					}
					open = append(open, got)
				}
				if away == 0 {
					t.Fatalf("one key put %d requests on one of %d", len(open), n)
				}
				for _, got := range open {
					got.End()
				}
				if got := once(t, p, a); got != home {
					t.Fatalf("with nothing in flight the key goes to %s, home is %s", got.ID(), home.ID())
				}
			}
		}
	})
}

// A bound spreads requests; it never turns away one that a healthy node without
// a limit could take: not a retry, and not where others are full.
func TestBoundLeavesNobodyOut(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		for _, n := range []int{2, 3, 10, 100} {
			o := lb.Options{Policy: policy, HashBound: 1.25}
			p := newPool(t, 1, o, members(n))
			nodes := p.Nodes()
			for i := range 20 {
				a := lb.Ask{Key: key(i), Keyed: true, Tried: nodes[1:]}
				if got := take(t, p, a); got != nodes[0] {
					t.Fatalf("of %d all but one were tried: %s", n, got.ID())
				}
			}
			list := limited(n, 1)
			list[0].Limit = 0
			p = newPool(t, 1, o, list)
			for i := range n + 20 {
				take(t, p, lb.Ask{Key: key(i), Keyed: true})
			}
			if got := p.Nodes()[0].InFlight(); got != 21 {
				t.Fatalf("of %d all but one are full: it has %d, want 21", n, got)
			}
		}
	})
}

// The bound is on what is in flight within the group: not on what those have
// that left it, or are in another zone or tier.
func TestBoundIsOnTheLoadOfTheGroup(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		const n = 5
		for name, change := range map[string]func(p *lb.Pool, o lb.Options){
			"removed": func(p *lb.Pool, o lb.Options) { update(t, p, 1, o, inZones(0, n), 0) },
			"draining": func(p *lb.Pool, _ lb.Options) {
				for _, node := range p.Nodes() {
					if node.Zone() == "a" {
						p.Set(node, lb.Affine, 0)
					}
				}
			},
			"in another zone": func(p *lb.Pool, o lb.Options) {
				o.Zone = "b"
				update(t, p, 1, o, inZones(n, n), 0)
			},
		} {
			o := lb.Options{Policy: policy, HashBound: 1.25}
			p := newPool(t, 1, o, inZones(n, n))
			var others []*lb.Node
			for _, node := range p.Nodes() {
				if node.Zone() == "b" {
					others = append(others, node)
				}
			}
			for i := range 400 { // tunnels
				take(t, p, lb.Ask{Key: key(i), Keyed: true, Tried: others})
			}
			change(p, o)
			for i := range 40 {
				take(t, p, lb.Ask{Key: 7, Keyed: true})
				for _, node := range p.Nodes() {
					if most := loadCap(1.25, i+1, 1, n); node.Zone() == "b" && node.InFlight() > most {
						t.Fatalf("400 tunnels are %s: %s has %d of %d, at most %d", name, node.ID(), node.InFlight(), i+1, most)
					}
				}
			}
		}
	})
}

// The bound holds in large groups too, beside other zones and old tunnels.
func TestBoundHoldsInLargeGroups(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		const n, tunnels, requests = 300, 9000, 1200
		o := lb.Options{Policy: policy, HashBound: 1.25}
		p := newPool(t, 1, o, members(n))
		for i := range tunnels {
			take(t, p, lb.Ask{Key: key(i), Keyed: true})
		}
		list := members(n)
		for i := range list {
			list[i].ID = "new" + strconv.Itoa(i)
		}
		update(t, p, 1, o, list, 0)
		for range requests {
			take(t, p, lb.Ask{Key: 1, Keyed: true})
		}
		for _, node := range p.Nodes() {
			if most := loadCap(1.25, requests, 1, n); node.InFlight() > most {
				t.Fatalf("%s has %d of %d in flight, at most %d", node.ID(), node.InFlight(), requests, most)
			}
		}
	})
}
