// Package spread says which part of the requests each tier of a pool gets, and
// within a tier each zone.
package spread

import (
	"cmp"
	"maps"
	"slices"
)

// overprovision is how much of its load a tier may lose before the next one
// takes over a part: with 1.4 it carries all of it on 72 % (as Envoy does).
const overprovision = 1.4

// Count is how many nodes of a tier there are: ready, those that would be but
// for their health, and both with those that drain.
type Count struct {
	Ready, Sick, All int
}

// Tier is what a tier gets.
type Tier struct {
	Health float64 // 0 to 1: the part of its load that it carries
	Load   float64 // 0 to 1: its part of the requests
	UpTo   float64 // that of the tiers before it, and its own
	Panics bool    // too few are healthy for that to mean anything
}

// Tiers spreads requests over tiers, the first first: each gets as much as it
// can carry of what is left. Where they cannot carry all, a tier panics in which
// the part of healthy nodes is below panicBelow.
func Tiers(counts []Count, panicBelow float64) []Tier {
	tiers := make([]Tier, len(counts))
	var sum float64
	for i, c := range counts {
		if c.All > 0 {
			tiers[i].Health = min(1, overprovision*float64(c.Ready)/float64(c.All))
		}
		sum += tiers[i].Health
	}
	norm, left := min(1, sum), 1.0
	for i, c := range counts {
		t := &tiers[i]
		if norm > 0 {
			t.Load = min(left, t.Health/norm)
		}
		if left -= t.Load; left < rounding {
			left = 0
		}
		t.UpTo = 1 - left
		t.Panics = norm < 1-rounding && c.Ready+c.Sick > 0 && float64(c.Ready)/float64(c.Ready+c.Sick) < panicBelow
	}
	return tiers
}

// rounding is what sums of fractions may be off.
const rounding = 1e-9

// fewest is how many nodes have to be ready before zones are told apart: with
// less, one that fails is a large part of its zone.
const fewest = 6

// Zones says how zones are told apart.
type Zones struct {
	Own     string             // ours
	Proxies map[string]float64 // the part of the proxies that stands in each; nil is the same in each
	Split   map[string]uint32  // the part of the requests that each gets, whatever its size; wins over Own
}

// Zone is what a zone gets.
type Zone struct {
	Name  string
	Share float64 // 0 to 1
	Local bool
}

// Over spreads requests over the zones of nodes that can be used, given by their
// weights, where others are listed. It is nil where zones are not told apart.
//
// Our own zone gets all of them if it has its part of the nodes, which is the
// part of the proxies that stand in it. If it has less, it gets what keeps its
// nodes as busy as the others, and the rest goes to zones that have more than
// their own proxies need (as Envoy does).
func (z Zones) Over(nodes int, usable, listed map[string]float64) []Zone {
	if z.Split == nil && (z.Own == "" || nodes < fewest) || len(usable) < 2 {
		return nil
	}
	list := make([]Zone, 0, len(usable))
	for _, name := range slices.Sorted(maps.Keys(usable)) {
		list = append(list, Zone{Name: name, Share: float64(z.Split[name]), Local: name == z.Own})
	}
	if z.Split == nil {
		z.nearest(list, usable, listed)
	}
	total := 0.0
	for i := range list {
		total += list[i].Share
	}
	if total <= 0 {
		return nil
	}
	for i := range list {
		list[i].Share /= total
	}
	slices.SortStableFunc(list, func(a, b Zone) int { return cmp.Compare(b.Share, a.Share) })
	return list
}

// nearest is our zone first.
func (z Zones) nearest(list []Zone, usable, listed map[string]float64) {
	total := 0.0
	for _, zone := range list { // in one order: sums of the same numbers are the same
		total += usable[zone.Name]
	}
	here := min(1, usable[z.Own]/total/z.proxies(z.Own, listed))
	if z.proxies(z.Own, listed) == 0 {
		here = 1
	}
	var spare float64
	for i := range list {
		if s := &list[i]; !s.Local {
			s.Share = max(0, usable[s.Name]/total-z.proxies(s.Name, listed))
			spare += s.Share
		}
	}
	for i := range list {
		switch s := &list[i]; {
		case s.Local:
			s.Share = here
		case spare > 0:
			s.Share *= (1 - here) / spare
		default: // nobody has more than it needs: as they are
			s.Share = (1 - here) * usable[s.Name] / (total - usable[z.Own])
		}
	}
}

func (z Zones) proxies(zone string, listed map[string]float64) float64 {
	if z.Proxies != nil {
		return z.Proxies[zone]
	}
	zones := len(listed)
	if _, ok := listed[z.Own]; !ok {
		zones++ // we stand in one without nodes
	}
	return 1 / float64(zones)
}
