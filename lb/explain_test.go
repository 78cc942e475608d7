package lb_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/lb"
)

// What Explain says is what Pick does with the same luck, and asking changes
// nothing: not even whose turn it is.
func TestExplainAgreesWithPick(t *testing.T) {
	alone(t)
	settings := map[string]lb.Options{
		"plain":      {},
		"slow start": {SlowStart: time.Second},
		"bounded":    {HashBound: 1.2},
		"zones":      {ZoneSplit: map[string]uint32{"a": 2, "b": 1}},
		"subset":     {Subset: 4, PanicBelow: 0.9},
	}
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for name, o := range settings {
				for _, n := range []int{1, 6, 70, 300} {
					o.Policy = policy
					agrees(t, seed, name, o, n)
				}
			}
		})
	})
}

func agrees(t *testing.T, seed uint64, name string, o lb.Options, n int) {
	t.Helper()
	luck := rand.NewPCG(seed, 3)
	o.Rand = luck.Uint64
	list := members(n)
	for i := range list {
		list[i].Zone = string(rune('a' + i%3))
		list[i].Tier = i % 7 / 5
		list[i].Limit = i % 2 * 3
		list[i].Weight = uint32(1 + i%3)
	}
	p := newPool(t, seed, o, list)
	dice := newDice(seed)
	var open []*lb.Node
	now := time.Duration(0)
	for range 60 {
		now += time.Duration(dice.IntN(50)) * time.Millisecond
		nodes := p.Nodes()
		if dice.IntN(10) == 0 {
			p.Set(nodes[dice.IntN(n)], lb.Standing(dice.IntN(4)), now)
		}
		a := lb.Ask{Key: dice.Uint64() % 8, Keyed: dice.IntN(3) > 0, Now: now}
		for range dice.IntN(3) {
			a.Tried = append(a.Tried, nodes[dice.IntN(n)])
		}
		if dice.IntN(10) == 0 {
			a.Sticky = nodes[dice.IntN(n)]
		}
		flying, kept := p.InFlight(), *luck
		e := p.Explain(&a)
		if p.InFlight() != flying {
			t.Fatal("an explanation is in flight")
		}
		*luck = kept
		got, how := p.Pick(&a)
		if e.Chosen != got || e.How != how {
			t.Fatalf("%s, %d endpoints, %d tried: explained as %s, picked %s", name, n, len(a.Tried), naming(e.Chosen, e.How), naming(got, how))
		}
		if got != nil {
			open = append(open, got)
		}
		for len(open) > 4 {
			open[0].Observe(now, time.Duration(1+dice.IntN(100))*time.Millisecond, lb.Outcome(dice.IntN(3)))
			open[0].End()
			open = open[1:]
		}
	}
}

func naming(n *lb.Node, how lb.How) string {
	if n == nil {
		return "nobody, " + how.String()
	}
	return n.ID() + ", " + how.String()
}

// Explaining every time leaves the order as it is without.
func TestExplainChangesNothing(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		luck := rand.NewPCG(1, 3)
		list := weighing(3, 1, 4, 1, 5, 9, 2, 6)
		asked := newDrive(t, newPool(t, 1, lb.Options{Policy: policy, Rand: luck.Uint64}, list), 1, time.Millisecond, 20*time.Millisecond)
		plain := newDrive(t, newPool(t, 1, lb.Options{Policy: policy, Rand: rand.NewPCG(1, 3).Uint64}, list), 1, time.Millisecond, 20*time.Millisecond)
		for i := range 2000 {
			kept := *luck
			asked.pool.Explain(&lb.Ask{Key: key(i), Keyed: true, Now: asked.now})
			*luck = kept
			if a, b := asked.next().ID(), plain.next().ID(); a != b {
				t.Fatalf("pick %d is %s, without explanations %s", i, a, b)
			}
		}
	})
}

func TestExplainSaysWhyNot(t *testing.T) {
	list := weighing(1, 0, 1, 1, 1, 1, 1, 1)
	list[5].Limit = 1
	p := newPool(t, 1, lb.Options{Policy: lb.LeastConn, SlowStart: time.Minute}, list)
	n := p.Nodes()
	take(t, p, lb.Ask{Tried: slices.Concat(n[:5], n[6:])})
	p.Set(n[2], lb.Sick, 0)
	p.Set(n[3], lb.Affine, 0)
	p.Set(n[4], lb.Out, 0)
	p.Set(n[7], lb.Out, 0)
	p.Set(n[7], lb.Ready, 0)
	e := p.Explain(&lb.Ask{Tried: n[6:7], Now: 30 * time.Second})
	if e.Policy != lb.LeastConn || len(e.Candidates) != len(n) || len(e.Tiers) != 1 {
		t.Fatalf("%+v", e)
	}
	for i, word := range []string{"", "weight", "sick", "drain", "out", "full", "tried", ""} {
		c := e.Candidates[i]
		if c.Node != n[i] || c.Standing != n[i].Standing() || c.InFlight != n[i].InFlight() {
			t.Errorf("candidate %d: %+v", i, c)
		}
		if (c.Excluded == "") != (word == "") || !strings.Contains(c.Excluded, word) {
			t.Errorf("%s is %v and left out because %q, want something of %q", c.Node.ID(), c.Standing, c.Excluded, word)
		}
	}
	if c := e.Candidates[7]; fmt.Sprintf("%.2f", c.Part) != "0.50" || e.Candidates[0].Part != 1 {
		t.Errorf("half through its slow start it has %v of its weight, others %v", c.Part, e.Candidates[0].Part)
	}
	belongs := p.Explain(&lb.Ask{Sticky: n[3]})
	if belongs.Chosen != n[3] || belongs.How != lb.Sticky || belongs.Candidates[3].Excluded != "" {
		t.Errorf("a request that belongs to it: %v, %q", naming(belongs.Chosen, belongs.How), belongs.Candidates[3].Excluded)
	}
}

func TestExplainSaysWhichOnesAreInUse(t *testing.T) {
	p := newPool(t, 1, lb.Options{Subset: 2}, members(5))
	out := 0
	for _, c := range p.Explain(&lb.Ask{}).Candidates {
		if strings.Contains(c.Excluded, "subset") {
			out++
		}
	}
	if out != 3 {
		t.Errorf("2 of 5 are used, %d are said to be outside of the subset", out)
	}
	p = newPool(t, 1, lb.Options{}, ranks(100, 100))
	only(p, 0, 50)
	e := p.Explain(&lb.Ask{})
	if len(e.Tiers) != 2 || fmt.Sprintf("%.2f %.2f", e.Tiers[0].Load, e.Tiers[1].Load) != "0.70 0.30" {
		t.Errorf("half of the first tier is down: %+v", e.Tiers)
	}
	p = newPool(t, 1, lb.Options{}, members(3))
	only(p, 0, 0)
	if e := p.Explain(&lb.Ask{}); e.How != lb.Panic || !e.Tiers[0].Panics || e.Candidates[0].Excluded != "" {
		t.Errorf("in panic: %+v", e)
	}
}

// Nobody starts slowly where there is nobody else.
func TestExplainShowsTheWholeWeightOfALoneOne(t *testing.T) {
	p := newPool(t, 1, lb.Options{SlowStart: time.Minute}, members(1))
	n := p.Nodes()[0]
	p.Set(n, lb.Sick, time.Second)
	p.Set(n, lb.Ready, time.Minute)
	if c := p.Explain(&lb.Ask{Now: time.Minute}).Candidates[0]; c.Part != 1 {
		t.Errorf("it gets all, and is said to have %v of its weight", c.Part)
	}
}

// Who has as many as the bound lets it have is said to.
func TestExplainShowsTheBound(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy, HashBound: 1.25}, members(10))
		a := lb.Ask{Key: 5, Keyed: true}
		for range 100 {
			take(t, p, a)
		}
		e := p.Explain(&a)
		over := 0
		for _, c := range e.Candidates {
			if full := c.InFlight >= loadCap(1.25, 101, 1, 10); full != (c.Excluded != "") || full && e.Chosen == c.Node {
				t.Errorf("%s has %d of 100 in flight, bound 1.25: %q", c.Node.ID(), c.InFlight, c.Excluded)
			} else if full {
				over++
			}
		}
		if over == 0 || e.How != lb.Overflow {
			t.Errorf("%d are over the bound, %v", over, e.How)
		}
	})
}
