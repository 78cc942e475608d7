package spread_test

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"viaduct/spread"
)

type parts = map[string]float64

// zones wants these parts, the largest first, and of equals the first by name.
func zones(t *testing.T, got []spread.Zone, own string, want parts) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("zones are %+v, want %v", got, want)
	}
	var sum float64
	for _, z := range got {
		sum += z.Share
		if share, ok := want[z.Name]; !ok || !near(z.Share, share) || z.Local != (z.Name == own) || z.Share < 0 {
			t.Errorf("zone %q has %v, local %v: want %v", z.Name, z.Share, z.Local, want)
		}
	}
	if len(got) > 0 && !near(sum, 1) {
		t.Errorf("parts sum to %v: %+v", sum, got)
	}
	if !slices.IsSortedFunc(got, func(a, b spread.Zone) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name))
	}) {
		t.Errorf("not in their order: %+v", got)
	}
}

func TestZones(t *testing.T) {
	for _, row := range []struct {
		name           string
		own            string
		proxies        parts
		usable, listed parts // listed nil is as usable
		want           parts
	}{
		{"as many as its part", "a", nil, parts{"a": 4, "b": 4}, nil, parts{"a": 1, "b": 0}},
		{"more than its part", "a", nil, parts{"a": 5, "b": 2, "c": 2}, nil, parts{"a": 1, "b": 0, "c": 0}},
		{"a third is its part", "b", nil, parts{"a": 2, "b": 2, "c": 2}, nil, parts{"a": 0, "b": 1, "c": 0}},
		{"less, one to take it", "a", nil, parts{"a": 2, "b": 6}, nil, parts{"a": .5, "b": .5}},
		{"less, two to take it", "a", nil, parts{"a": 1, "b": 5, "c": 6}, nil, parts{"a": .25, "b": .75 / 3, "c": .75 * 2 / 3}},
		{"less, one has none to spare", "a", nil, parts{"a": 2, "b": 2, "c": 8}, nil, parts{"a": .5, "b": 0, "c": .5}},
		{"by proxies, all", "a", parts{"a": .2, "b": .8}, parts{"a": 2, "b": 8}, nil, parts{"a": 1, "b": 0}},
		{"by proxies, less", "a", parts{"a": .8, "b": .2}, parts{"a": 4, "b": 6}, nil, parts{"a": .5, "b": .5}},
		{"a zone without proxies", "a", parts{"a": .5, "b": .5}, parts{"a": 2, "b": 4, "c": 2}, nil, parts{"a": .5, "b": 0, "c": .5}},
		{"none of the others have proxies", "a", parts{"a": 1}, parts{"a": 2, "b": 4, "c": 2}, nil, parts{"a": .25, "b": .5, "c": .25}},
		{"our nodes are sick", "a", nil, parts{"b": 4, "c": 4}, parts{"a": 4, "b": 4, "c": 4}, parts{"b": .5, "c": .5}},
		{"theirs are", "a", nil, parts{"a": 2, "b": 6}, parts{"a": 4, "b": 6, "c": 2}, parts{"a": .75, "b": .25}},
		{"more proxies than there are", "a", parts{"a": .9, "b": .9}, parts{"a": 4.5, "b": 5.5}, nil, parts{"a": .5, "b": .5}},
		{"neither nodes nor proxies", "a", parts{"b": .5, "c": .5}, parts{"b": 4, "c": 2}, nil, nil},
		{"nodes and no proxies", "a", parts{"b": .5, "c": .5}, parts{"a": 1, "b": 4, "c": 2}, nil, parts{"a": 1, "b": 0, "c": 0}},
		{"blind", "", nil, parts{"a": 4, "b": 4}, nil, nil},
		{"one zone", "a", nil, parts{"a": 9}, nil, nil},
		{"one zone, another one", "a", nil, parts{"b": 9}, parts{"a": 3, "b": 9}, nil},
		{"nobody", "a", nil, parts{}, parts{"a": 3, "b": 9}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			z := spread.Zones{Own: row.own, Proxies: row.proxies}
			if row.listed == nil {
				row.listed = row.usable
			}
			zones(t, z.Over(6, row.usable, row.listed), row.own, row.want)
			if got := z.Over(5, row.usable, row.listed); got != nil {
				t.Errorf("with five nodes zones are told apart: %+v", got)
			}
		})
	}
}

func TestZonesBySplit(t *testing.T) {
	usable := parts{"a": 1, "b": 2, "c": 1}
	for _, row := range []struct {
		name  string
		split map[string]uint32
		want  parts
	}{
		{"whatever their sizes", map[string]uint32{"a": 90, "b": 5, "c": 5}, parts{"a": .9, "b": .05, "c": .05}},
		{"not all are named", map[string]uint32{"c": 3, "a": 1}, parts{"a": .25, "b": 0, "c": .75}},
		{"one is gone", map[string]uint32{"a": 1, "b": 1, "gone": 8}, parts{"a": .5, "b": .5, "c": 0}},
		{"all are gone", map[string]uint32{"gone": 1}, nil},
		{"of nothing", map[string]uint32{"a": 0, "b": 0}, nil},
		{"large", map[string]uint32{"a": 1 << 31, "b": 1 << 31}, parts{"a": .5, "b": .5, "c": 0}},
	} {
		t.Run(row.name, func(t *testing.T) {
			z := spread.Zones{Own: "b", Proxies: parts{"b": 1}, Split: row.split}
			for _, nodes := range []int{4, 40} { // few nodes are no reason against what was asked for
				zones(t, z.Over(nodes, usable, usable), "b", row.want)
			}
			z.Own = ""
			zones(t, z.Over(4, usable, usable), "", row.want)
			if got := z.Over(4, parts{"a": 1}, usable); got != nil {
				t.Errorf("one zone is split: %+v", got)
			}
		})
	}
}

// arriving is what comes to each zone from the proxies of all of them.
func arriving(t *testing.T, proxies, given, usable, listed parts) parts {
	t.Helper()
	sum := parts{}
	for _, own := range slices.Sorted(maps.Keys(proxies)) {
		part := proxies[own]
		list := spread.Zones{Own: own, Proxies: given}.Over(100, usable, listed)
		var whole float64
		for _, z := range list {
			sum[z.Name] += part * z.Share
			whole += z.Share
			if z.Local != (z.Name == own) || z.Share < 0 {
				t.Fatalf("for %q: %+v", own, list)
			}
		}
		if !near(whole, 1) || len(list) != len(usable) {
			t.Fatalf("for %q: parts of %v sum to %v: %+v", own, usable, whole, list)
		}
		if again := (spread.Zones{Own: own, Proxies: given}).Over(100, usable, listed); !slices.Equal(list, again) {
			t.Fatalf("for %q: %+v, and then %+v", own, list, again)
		}
	}
	return sum
}

// What it is for: when the proxies of all zones do so, all nodes are equally
// busy. Zones may have no nodes, or no proxies.
func TestZonesKeepNodesEquallyBusy(t *testing.T) {
	eachSeed(t, func(t *testing.T, dice *rand.Rand) {
		for range 400 {
			proxies, usable := parts{}, parts{}
			var all, nodes float64
			for _, name := range []string{"a", "b", "c", "d", "e", "f"}[:2+dice.IntN(5)] {
				if w := dice.IntN(5); w > 0 {
					proxies[name] = float64(w)
					all += float64(w)
				}
				if w := dice.IntN(50) - 9; w > 0 {
					usable[name] = float64(w)
					nodes += float64(w)
				}
			}
			if len(usable) < 2 || all == 0 {
				continue
			}
			for name := range proxies {
				proxies[name] /= all
			}
			balanced(t, arriving(t, proxies, proxies, usable, usable), usable, nodes)
		}
	})
}

func balanced(t *testing.T, got, usable parts, total float64) {
	t.Helper()
	for name, w := range usable {
		if !near(got[name], w/total) {
			t.Fatalf("zone %s has %.4f of the requests and %.4f of the nodes: %v", name, got[name], w/total, usable)
		}
	}
}

// The same where nothing is said of the proxies: as many stand in each zone,
// ours is one of them, and may have no node.
func TestZonesWithEvenProxies(t *testing.T) {
	eachSeed(t, func(t *testing.T, dice *rand.Rand) {
		for range 200 {
			proxies, usable, listed := parts{}, parts{}, parts{}
			var nodes float64
			k := 2 + dice.IntN(5)
			for _, name := range []string{"a", "b", "c", "d", "e", "f"}[:k] {
				proxies[name] = 1 / float64(k)
				listed[name] = float64(1 + dice.IntN(50))
				if dice.IntN(4) > 0 {
					usable[name] = listed[name]
					nodes += listed[name]
				}
			}
			if len(usable) > 1 {
				balanced(t, arriving(t, proxies, nil, usable, listed), usable, nodes)
			}
		}
	})
}

// Our zone was never in the list: its proxies are a part of all, and what they
// send must not fall on the one zone that has a little more than the others.
func TestZoneWithoutNodes(t *testing.T) {
	usable := parts{"b": 11, "c": 10, "d": 10, "e": 10, "f": 10}
	got := spread.Zones{Own: "a"}.Over(51, usable, usable)
	spare := parts{}
	for name, w := range usable {
		spare[name] = 6 * (w/51 - 1./6) // what a sixth of the proxies sends
	}
	zones(t, got, "a", spare)
}
