package lb

import (
	"slices"
	"sync/atomic"
	"time"

	"viaduct/hashing"
	"viaduct/spread"
	"viaduct/turn"
)

// mostRendezvous is the largest list that hash asks one by one.
const mostRendezvous = 64

// view is what a choice needs, made anew whenever it changes.
type view struct {
	o      Options
	gen    uint64 // how many there were before
	nodes  int    // how many are listed
	tiers  []tier
	single *group // the only one there is, if so

	stale atomic.Bool   // some node stands otherwise since
	due   time.Duration // when another one may be made
}

// tier are the nodes of a priority.
type tier struct {
	number  int
	members []*Node // all of it, in the order of the list
	listed  []hashing.Member
	maglev  *hashing.Maglev
	ring    *hashing.Ring
	groups  []group
	spread.Tier
}

// group are the nodes of a tier that are chosen from together: its zone.
type group struct {
	spread.Zone                // its name is "" where zones are not told apart
	upTo        float64        // its share of the tier's requests, and those before it
	hash        uint64         // of its name
	all         set            // ready, or in panic all
	warm        set            // those that don't ramp
	cold        set            // those that do
	sum         *atomic.Uint64 // what these weigh now
	until       time.Duration  // then all of them are warm
	order       *turn.Sequence // of round_robin and weighted
	policy      Policy         // that it is of
	at          []int32        // of a member of the tier, its place in all; -1 if it is not there
}

func newView(o Options, list []*Node, prev *view, now time.Duration) *view {
	v := &view{o: o, nodes: len(list), due: now + spacing(len(list))}
	if prev != nil {
		v.gen = prev.gen + 1
	}
	byTier := map[int][]*Node{}
	for _, n := range list {
		byTier[n.Tier()] = append(byTier[n.Tier()], n)
	}
	v.tiers = make([]tier, 0, len(byTier))
	for number, nodes := range byTier {
		v.tiers = append(v.tiers, tier{number: number, members: subset(o, nodes)})
	}
	slices.SortFunc(v.tiers, func(a, b tier) int { return a.number - b.number })
	v.spread()
	for i := range v.tiers {
		t := &v.tiers[i]
		t.tables(o, prev)
		t.split(v, prev, now)
	}
	if len(v.tiers) == 1 && len(v.tiers[0].groups) == 1 && !v.tiers[0].Panics {
		v.single = &v.tiers[0].groups[0]
	}
	return v
}

// many is the size of a list from which on views are spaced: to make one takes
// more than a tenth of a millisecond.
const many = 1000

// spacing is how long a view is used at least, about twenty times as long as it
// takes to make one: when thousands of nodes fail one after another, that is
// all there would be done.
func spacing(nodes int) time.Duration {
	if nodes <= many {
		return 0
	}
	return time.Duration(nodes) * 4 * time.Microsecond
}

// subset are the nodes that this instance uses, in the order of the list.
func subset(o Options, nodes []*Node) []*Node {
	if o.Subset == 0 || o.Subset >= len(nodes) {
		return nodes
	}
	some := make([]*Node, 0, o.Subset)
	for _, i := range hashing.Subset(listed(nodes), o.Seed, o.Subset) {
		some = append(some, nodes[i])
	}
	return some
}

func listed(nodes []*Node) []hashing.Member {
	list := make([]hashing.Member, len(nodes))
	for i, n := range nodes {
		list[i] = hashing.Member{ID: n.ID(), Weight: n.Weight()}
	}
	return list
}

// count is how many nodes of a tier there are.
func (t *tier) count() (c spread.Count) {
	for _, n := range t.members {
		s := n.Standing()
		if n.Weight() == 0 || s == Out {
			continue
		}
		c.All++
		switch s {
		case Ready:
			c.Ready++
		case Sick:
			c.Sick++
		}
	}
	return c
}

// spread says which part of the requests each tier gets.
func (v *view) spread() {
	counts := make([]spread.Count, len(v.tiers))
	for i := range v.tiers {
		counts[i] = v.tiers[i].count()
	}
	for i, t := range spread.Tiers(counts, v.o.PanicBelow) {
		v.tiers[i].Tier = t
	}
}

// tables makes the table of a policy that has one, from all members: it stays
// as it is however they fare.
func (t *tier) tables(o Options, prev *view) {
	ring := o.Policy == Ring
	if !ring && o.Policy != Maglev && (o.Policy != Hash || len(t.members) <= mostRendezvous) {
		return
	}
	t.listed = listed(t.members)
	if prev != nil {
		for i := range prev.tiers {
			was := &prev.tiers[i]
			if slices.Equal(was.listed, t.listed) {
				t.maglev, t.ring = was.maglev, was.ring
			}
		}
	}
	if ring && t.ring == nil {
		t.maglev, t.ring = nil, hashing.NewRing(t.listed)
	}
	if !ring && t.maglev == nil {
		t.maglev, t.ring = hashing.NewMaglev(t.listed), nil
	}
}

// split makes the groups of a tier: one, or one a zone.
func (t *tier) split(v, prev *view, now time.Duration) {
	usable := make([]*Node, 0, len(t.members))
	for _, n := range t.members {
		s := n.Standing()
		if n.Weight() > 0 && (s == Ready || s == Sick && t.Panics) {
			usable = append(usable, n)
		}
	}
	if len(usable) == 0 || t.Panics && v.o.PanicRefuse {
		return
	}
	zones := t.zones(v.o, usable)
	whole := zones == nil
	if whole {
		zones = []spread.Zone{{Share: 1, Local: true}}
	}
	var sum float64
	for _, z := range zones {
		sum += z.Share
		g := group{Zone: z, upTo: sum, hash: hashing.String(z.Name)}
		g.all = newSet(t.inZone(usable, z.Name, whole), v.o.Policy)
		if v.o.Policy == LeastConn && len(g.all.slots) > mostScan {
			g.all.blocks = newBlocks(g.all.slots)
		}
		if !t.Panics {
			g.slow(v, now)
		}
		g.turns(v, prev.group(t.number, z.Name))
		if t.maglev != nil || t.ring != nil {
			g.index(t.members)
		}
		t.groups = append(t.groups, g)
	}
}

func (t *tier) zones(o Options, usable []*Node) []spread.Zone {
	if t.Panics || o.Zone == "" && o.ZoneSplit == nil {
		return nil
	}
	z := spread.Zones{Own: o.Zone, Proxies: o.ZoneShares, Split: o.ZoneSplit}
	return z.Over(len(usable), zoneWeights(usable), zoneWeights(t.members))
}

func zoneWeights(nodes []*Node) map[string]float64 {
	weights := map[string]float64{}
	for _, n := range nodes {
		weights[n.Zone()] += float64(n.Weight())
	}
	return weights
}

// inZone are the nodes of a zone, or all of them.
func (t *tier) inZone(nodes []*Node, zone string, whole bool) []slot {
	slots := make([]slot, 0, len(nodes))
	for _, n := range nodes {
		if whole || n.Zone() == zone {
			w := n.Weight()
			slots = append(slots, slot{n, float64(w)})
		}
	}
	return slots
}

// turns makes the order of the policies that have one. It goes on as it was if
// the group is the same: who changes something else must not change shares.
func (g *group) turns(v *view, was *group) {
	if was != nil && was.order != nil && slices.Equal(was.all.slots, g.all.slots) && v.o.Policy == was.policy {
		g.order = was.order
	}
	g.policy = v.o.Policy
	if g.order != nil {
		return
	}
	seed := hashing.Mix(v.o.Seed + v.gen)
	switch v.o.Policy {
	case RoundRobin:
		g.order = turn.Rounds(weights(g.all.slots), seed, was != nil)
	case Weighted:
		g.order = turn.Fair(weights(g.all.slots), seed, was != nil)
	}
}

// group is the one of a tier and zone, nil if there is none.
func (v *view) group(number int, zone string) *group {
	if v == nil {
		return nil
	}
	for i := range v.tiers {
		for j := range v.tiers[i].groups {
			if g := &v.tiers[i].groups[j]; v.tiers[i].number == number && g.Name == zone {
				return g
			}
		}
	}
	return nil
}

func (g *group) index(members []*Node) {
	g.at = make([]int32, len(members))
	place := make(map[*Node]int32, len(g.all.slots))
	for i := range g.all.slots {
		place[g.all.slots[i].n] = int32(i)
	}
	for i, n := range members {
		if at, ok := place[n]; ok {
			g.at[i] = at
		} else {
			g.at[i] = -1
		}
	}
}

// settle tells nodes the block that they are in, before the view is used: what
// is told to the block of an older one by then is of no account.
func (v *view) settle(list []*Node) {
	for _, n := range list {
		n.block.Store(nil)
	}
	for i := range v.tiers {
		for j := range v.tiers[i].groups {
			for _, b := range v.tiers[i].groups[j].all.blocks {
				for k := range b.slots {
					b.slots[k].n.block.Store(b)
				}
			}
		}
	}
}
