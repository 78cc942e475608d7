package lb_test

import (
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/lb"
)

func TestInFlightBeginsAtThePick(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy}, members(3))
		var open []*lb.Node
		for i := range 30 {
			n := take(t, p, lb.Ask{Key: key(i), Keyed: true})
			open = append(open, n)
			mine := 0
			for _, o := range open {
				if o == n {
					mine++
				}
			}
			if n.InFlight() != int64(mine) || n.Picks() != uint64(mine) {
				t.Fatalf("pick %d: %s has %d in flight and %d picks, want %d", i, n.ID(), n.InFlight(), n.Picks(), mine)
			}
			if p.InFlight() != int64(len(open)) {
				t.Fatalf("the pool has %d in flight, want %d", p.InFlight(), len(open))
			}
		}
		for i, n := range open {
			before := n.InFlight()
			n.Observe(0, time.Millisecond, lb.Outcome(i%3))
			if n.End(); n.InFlight() != before-1 {
				t.Fatalf("an end brought it from %d to %d", before, n.InFlight())
			}
		}
		idle(t, p)
	})
}

// T55: nodes that stay are the same ones, with all they know.
func TestUpdateKeepsWhatStays(t *testing.T) {
	p := newPool(t, 1, lb.Options{}, members(5))
	before := p.Nodes()
	for _, n := range before {
		take(t, p, lb.Ask{})
		n.Observe(time.Second, 70*time.Millisecond, lb.Served)
	}
	p.Set(before[1], lb.Affine, 0)
	before[2].SetLimit(9)
	p.SetWeight(before[3], 7, 0)
	flying := p.InFlight()
	list := members(6)
	slices.Reverse(list)
	list[0].Of = "new"
	list[1].Zone, list[1].Tier, list[1].Of = "b", 2, "changed"
	update(t, p, 1, lb.Options{Policy: lb.Ring, HashBound: 2}, list, time.Second)
	for i, n := range p.Nodes() {
		if n.ID() != list[i].ID || p.Node(n.ID()) != n {
			t.Fatalf("place %d of the new list holds %s, want %s", i, n.ID(), list[i].ID)
		}
	}
	for i, n := range before {
		if p.Node(n.ID()) != n {
			t.Fatalf("%s is another one now", n.ID())
		}
		if c := n.Cost(time.Second); c < 69*time.Millisecond || c > 71*time.Millisecond {
			t.Fatalf("endpoint %d costs %v", i, c)
		}
	}
	if p.InFlight() != flying || before[1].Standing() != lb.Affine || before[2].Limit() != 9 || before[3].Weight() != 7 {
		t.Fatalf("in flight %d, standing %v, limit %d, weight %d", p.InFlight(), before[1].Standing(), before[2].Limit(), before[3].Weight())
	}
	if n := before[4]; n.Zone() != "b" || n.Tier() != 2 || n.Of() != "changed" {
		t.Fatalf("what the list says anew: %q, %d, %v", n.Zone(), n.Tier(), n.Of())
	}
	if p.Node("e5").Of() != "new" || p.Node("e6") != nil {
		t.Fatal("a new one is not known, or one that never was is")
	}
}

func TestSetWeightHoldsUntilTheListSaysAnother(t *testing.T) {
	p := newPool(t, 1, lb.Options{Policy: lb.RoundRobin}, members(2))
	n := p.Nodes()[0]
	p.SetWeight(n, 3, 0)
	if c := newDrive(t, p, 1, 1, 1).tally(400, 2); c[0] != 300 {
		t.Fatalf("3:1 is %v", c)
	}
	update(t, p, 1, lb.Options{Policy: lb.RoundRobin}, members(2), 0)
	if n.Weight() != 3 {
		t.Fatalf("the same list brought the weight to %d", n.Weight())
	}
	update(t, p, 1, lb.Options{Policy: lb.RoundRobin}, weighing(2, 1), 0)
	if n.Weight() != 2 {
		t.Fatalf("the list says 2, the weight is %d", n.Weight())
	}
	p.SetWeight(n, 0, 0)
	if c := newDrive(t, p, 1, 1, 1).tally(100, 2); c[0] != 0 {
		t.Fatalf("weight 0 has got %d", c[0])
	}
}

func TestRemovedNodesMayEnd(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		o := lb.Options{Policy: policy}
		for _, n := range []int{3, 300} {
			p := newPool(t, 1, o, members(n))
			var open []*lb.Node
			for i := range 2 * n {
				open = append(open, take(t, p, lb.Ask{Key: key(i), Keyed: true}))
			}
			update(t, p, 1, o, members(1), 0)
			update(t, p, 1, o, members(n), 0)
			if got := p.Nodes()[n-1]; got.InFlight() != 0 {
				t.Fatalf("%s is new and has %d in flight", got.ID(), got.InFlight())
			}
			for i, node := range open {
				node.Observe(0, time.Second, lb.Failed)
				node.SetLimit(i)
				p.Set(node, lb.Sick, 0)
				node.End()
				if node.InFlight() < 0 {
					t.Fatalf("%s has %d in flight", node.ID(), node.InFlight())
				}
			}
			idle(t, p)
			if p.InFlight() != 0 {
				t.Fatalf("the pool has %d in flight", p.InFlight())
			}
		}
	})
}

func TestUpdateRefusesNonsense(t *testing.T) {
	twice := append(members(2), lb.Member{ID: "e1", Weight: 1})
	for name, row := range map[string]struct {
		o     lb.Options
		list  []lb.Member
		words string
	}{
		"the same twice":          {list: twice, words: "e1"},
		"a bound below 1":         {o: lb.Options{HashBound: 0.9}, words: "1.25"},
		"a bound of 1":            {o: lb.Options{HashBound: 1}, words: "1.25"},
		"a negative bound":        {o: lb.Options{HashBound: -2}, words: "1.25"},
		"negative time":           {o: lb.Options{SlowStart: -1}, words: "negative"},
		"negative subset":         {o: lb.Options{Subset: -1}, words: "negative"},
		"negative queue":          {o: lb.Options{Queue: -1}, words: "negative"},
		"negative limit":          {list: []lb.Member{{ID: "x", Limit: -1}}, words: "x"},
		"no such policy":          {o: lb.Options{Policy: 200}, words: "200"},
		"a bound that is none":    {o: lb.Options{HashBound: math.NaN()}, words: "bound"},
		"a bound without end":     {o: lb.Options{HashBound: math.Inf(1)}, words: "bound"},
		"aggression that is none": {o: lb.Options{Aggression: math.NaN()}, words: "aggression"},
		"negative aggression":     {o: lb.Options{Aggression: -1}, words: "aggression"},
		"a panic that is none":    {o: lb.Options{PanicBelow: math.NaN()}, words: "panic"},
		"a share that is none":    {o: lb.Options{ZoneShares: map[string]float64{"west": math.NaN()}}, words: "west"},
		"a negative share":        {o: lb.Options{ZoneShares: map[string]float64{"west": -0.1}}, words: "west"},
		"a share of two":          {o: lb.Options{ZoneShares: map[string]float64{"west": 2}}, words: "west"},
		"no name":                 {list: []lb.Member{{Weight: 1}}, words: "name"},
		"too heavy":               {list: []lb.Member{{ID: "x", Weight: lb.MostWeight + 1}}, words: "1000000"},
	} {
		p := newPool(t, 1, lb.Options{}, members(3))
		err := p.Update(row.o, row.list, 0)
		if err == nil || !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: %v", name, err)
		}
		if len(p.Nodes()) != 3 {
			t.Errorf("%s: the list was changed", name)
		}
		take(t, p, lb.Ask{})
		if _, err := lb.New(row.o, row.list, 0); err == nil {
			t.Errorf("%s: a new pool takes it", name)
		}
	}
}

// Everything at the same time, for the race detector; at the end nothing is in
// flight and nobody has less than none.
func TestUpdateWhileOthersPick(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		o := lb.Options{Policy: policy, SlowStart: time.Second, HashBound: 1.5, Zone: "a", Queue: 10, QueueTimeout: time.Second}
		sizes := []int{3, 80, 12, 300, 1}
		p, err := lb.New(o, members(3), 0)
		if err != nil {
			t.Fatal(err)
		}
		var left atomic.Int64
		var done sync.WaitGroup
		for hand := range 4 {
			left.Add(1)
			done.Go(func() {
				defer left.Add(-1)
				dice := newDice(uint64(hand))
				var open []*lb.Node
				for i := range 1500 {
					a := lb.Ask{Key: dice.Uint64(), Keyed: true, Now: time.Duration(i) * time.Millisecond, Tried: open[:min(len(open), 1)]}
					if len(open) > 0 {
						a.Sticky = open[0]
					}
					if n, _ := p.Pick(&a); n != nil {
						open = append(open, n)
					}
					if len(open) > dice.IntN(8) {
						open[0].Observe(a.Now, time.Duration(i), lb.Outcome(i%3))
						_ = open[0].Cost(a.Now)
						open[0].End()
						open = open[1:]
					}
					if i%100 == 0 {
						_ = p.Explain(&a)
					}
				}
				for _, n := range open {
					n.End()
				}
			})
		}
		for i := 0; left.Load() > 0; i++ {
			churn(t, p, o, sizes[i%len(sizes)], i)
		}
		done.Wait()
		idle(t, p)
		if p.InFlight() != 0 {
			t.Fatalf("the pool has %d in flight", p.InFlight())
		}
	})
}

func churn(t *testing.T, p *lb.Pool, o lb.Options, size, i int) {
	list := members(size)
	for k := range list {
		list[k].Zone = string(rune('a' + k%2))
		list[k].Tier = k % 3 / 2
		list[k].Limit = k % 2 * 5
	}
	now := time.Duration(i) * time.Millisecond
	if err := p.Update(o, list, now); err != nil {
		t.Error(err)
	}
	for k, n := range p.Nodes() {
		if k > 4 {
			break
		}
		p.Set(n, lb.Standing((i+k)%4), now)
		p.SetWeight(n, uint32(1+k), now)
		n.SetLimit(k)
	}
}
