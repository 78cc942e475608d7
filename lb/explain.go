package lb

import (
	"time"

	"viaduct/spread"
)

// Explanation is a choice with all that it was made from.
type Explanation struct {
	Policy     Policy
	Chosen     *Node // nil for none
	How        How
	Tiers      []TierView
	Candidates []Candidate // in the order of the list
}

// TierView is what a tier gets, and why.
type TierView struct {
	Number int
	spread.Tier
	Zones []spread.Zone // one without a name is all of the tier
}

// Candidate is a node as the choice saw it.
type Candidate struct {
	Node     *Node
	Standing Standing
	InFlight int64
	Cost     time.Duration
	Score    float64 // the lower the better; 0 for policies that do not look at loads
	Part     float64 // of its weight that it has in its slow start; 1 is all
	Excluded string  // why it can't be chosen; "" if it can
}

// Explain chooses as Pick would, tells from what, and changes nothing. A policy
// that draws may draw another one the next time.
func (p *Pool) Explain(a *Ask) Explanation {
	v := p.refresh(a.Now, true)
	d := draw{p: p, o: &v.o, ask: a, dry: true}
	e := Explanation{Policy: v.o.Policy, Chosen: d.choose(v), How: d.how}
	used := map[*Node]*group{}
	for i := range v.tiers {
		t := &v.tiers[i]
		view := TierView{Number: t.number, Tier: t.Tier}
		for j := range t.groups {
			g := &t.groups[j]
			view.Zones = append(view.Zones, g.Zone)
			for k := range g.all.slots {
				used[g.all.slots[k].n] = g
			}
		}
		e.Tiers = append(e.Tiers, view)
	}
	for _, n := range p.Nodes() {
		e.Candidates = append(e.Candidates, d.candidate(n, used[n]))
	}
	return e
}

func (d *draw) candidate(n *Node, g *group) Candidate {
	c := Candidate{
		Node: n, Standing: n.Standing(), InFlight: n.InFlight(), Cost: n.Cost(d.ask.Now),
		Part: 1, Excluded: d.excluded(n, g != nil),
	}
	if g != nil && g.starts(d) {
		c.Part = d.o.ramp(n, d.ask.Now)
	}
	if g != nil && c.Excluded == "" && d.o.Policy.Keyed() && d.ask.Keyed && d.over(n, g) {
		c.Excluded = "it has its share of the load"
	}
	if w := float64(n.Weight()); w > 0 && (d.o.Policy == LeastConn || d.o.Policy == P2C || d.o.Policy == P2CEWMA) {
		c.Score = d.score(&slot{n, w})
	}
	return c
}

// over says whether a node has as many requests as the bound on its load lets it
// have.
func (d *draw) over(n *Node, g *group) bool {
	limit := most(g.bound(d), &slot{n: n, w: float64(n.Weight())})
	return limit > 0 && n.flying.Load() >= limit
}

func (d *draw) excluded(n *Node, used bool) string {
	switch {
	case n == d.ask.Sticky && d.how == Sticky:
		return ""
	case n.Weight() == 0:
		return "its weight is 0"
	case n.Standing() == Affine:
		return "it drains"
	case n.Standing() == Out:
		return "it is out"
	case !used && n.Standing() == Sick:
		return "it is sick"
	case !used && d.how == Panicking:
		return "too few are healthy"
	case !used:
		return "it is not in this instance's subset"
	case d.tried(n):
		return "it was tried"
	case !d.room(n):
		return "it is full"
	}
	return ""
}
