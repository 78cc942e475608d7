package lb_test

import (
	"math"
	"slices"
	"testing"

	"viaduct/lb"
)

// inZones are so many members in zones a, b, c and so on, mixed.
func inZones(sizes ...int) []lb.Member {
	var list []lb.Member
	for left := slices.Max(sizes); left > 0; left-- {
		for z, size := range sizes {
			if left <= size {
				list = append(list, lb.Member{ID: "z" + string(rune('a'+z)) + string(rune('0'+left/10)) + string(rune('0'+left%10)), Weight: 1, Zone: string(rune('a' + z)), Of: len(list)})
			}
		}
	}
	return list
}

// byZone wants these percentages of the zones, each within the points.
func byZone(t *testing.T, p *lb.Pool, want ...float64) {
	t.Helper()
	counts := make([]int, len(want))
	const k = 8000
	for i := range k {
		counts[once(t, p, lb.Ask{Key: key(i), Keyed: true}).Zone()[0]-'a']++
	}
	for i, w := range want {
		got := 100 * float64(counts[i]) / k
		if math.Abs(got-w) > 3.5 || (w == 0 || w == 100) && got != w {
			t.Fatalf("zone %c has %.2f %%, want %.1f ± 3.5: %v", 'a'+i, got, w, counts)
		}
	}
}

func exactKeys(p lb.Policy) bool { return spreads(p) && p != lb.Ring }

// Research 3.11: a zone with its part of the endpoints keeps its requests; one
// with less sends the rest to those that have more than they need.
func TestOwnZoneFirst(t *testing.T) {
	alone(t)
	eachPolicy(t, exactKeys, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			o := lb.Options{Policy: policy, Zone: "a"}
			byZone(t, newPool(t, seed, o, inZones(4, 4, 4)), 100, 0, 0)
			byZone(t, newPool(t, seed, o, inZones(6, 2, 1)), 100, 0, 0)
			byZone(t, newPool(t, seed, o, inZones(2, 4, 4)), 60, 20, 20)
			byZone(t, newPool(t, seed, o, inZones(2, 2, 8)), 50, 0, 50)
			o.ZoneShares = map[string]float64{"a": 0.5, "b": 0.5}
			byZone(t, newPool(t, seed, o, inZones(2, 4, 2)), 50, 0, 50) // b needs its own: 0 left of .5; c has no proxies
			o.ZoneShares = map[string]float64{"a": 0.2, "b": 0.8}
			byZone(t, newPool(t, seed, o, inZones(2, 6, 2)), 100, 0, 0)
			o = lb.Options{Policy: policy, Zone: "nowhere", ZoneShares: map[string]float64{"nowhere": 1}}
			byZone(t, newPool(t, seed, o, inZones(2, 4, 4)), 20, 40, 40)
		})
	})
}

// Few endpoints, or a panic: then zones are not told apart.
func TestZonesAreOff(t *testing.T) {
	alone(t)
	chosen := func(p lb.Policy) bool { return spreads(p) && !p.Keyed() } // with so few nodes tables are coarse
	eachPolicy(t, chosen, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			o := lb.Options{Policy: policy, Zone: "a"}
			byZone(t, newPool(t, seed, o, inZones(2, 2, 1)), 40, 40, 20)
			byZone(t, newPool(t, seed, o, inZones(2, 2, 2)), 100, 0, 0)
			byZone(t, newPool(t, seed, lb.Options{Policy: policy}, inZones(4, 4, 2)), 40, 40, 20)
			p := newPool(t, seed, o, inZones(4, 4, 2))
			for _, n := range p.Nodes()[:7] {
				p.Set(n, lb.Sick, 0)
			}
			byZone(t, p, 40, 40, 20)
			p = newPool(t, seed, o, inZones(3, 3, 3)) // five of nine are left
			for _, n := range p.Nodes() {
				if n.Zone() == "b" || n.Zone() == "c" && at(n) < 3 {
					p.Set(n, lb.Out, 0)
				}
			}
			byZone(t, p, 60, 0, 40)
		})
	})
}

// T48: the split holds whatever the sizes, and stands above our own zone.
func TestZonesAreSplitAsScheduled(t *testing.T) {
	alone(t)
	eachPolicy(t, exactKeys, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			split := func(s map[string]uint32) lb.Options {
				return lb.Options{Policy: policy, Zone: "a", ZoneSplit: s}
			}
			three := map[string]uint32{"a": 3, "b": 1}
			byZone(t, newPool(t, seed, split(three), inZones(2, 8)), 75, 25)
			byZone(t, newPool(t, seed, split(three), inZones(8, 2)), 75, 25)
			byZone(t, newPool(t, seed, split(three), inZones(1, 1)), 75, 25)
			byZone(t, newPool(t, seed, split(three), inZones(3, 3, 3)), 75, 25, 0)
			byZone(t, newPool(t, seed, split(map[string]uint32{"b": 1}), inZones(8, 2)), 0, 100)
			byZone(t, newPool(t, seed, split(map[string]uint32{"a": 1, "z": 9}), inZones(2, 2)), 100, 0)
			p := newPool(t, seed, split(three), inZones(3, 3))
			for _, n := range p.Nodes() {
				if n.Zone() == "a" && at(n) > 1 {
					p.Set(n, lb.Out, 0)
				}
			}
			byZone(t, p, 75, 25)
		})
	})
}

func TestZoneThatIsGoneLeavesItsPart(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy, ZoneSplit: map[string]uint32{"a": 1}}, inZones(3, 3))
		for _, n := range p.Nodes() {
			if n.Zone() == "a" {
				p.Set(n, lb.Out, 0)
			}
		}
		byZone(t, p, 0, 100)
	})
}

// An instance uses its own few, all the time; another one uses others, and one
// endpoint more or less changes one of them at most.
func TestSubset(t *testing.T) {
	alone(t)
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			o := lb.Options{Policy: policy, Subset: 5}
			all := map[string]bool{}
			for i := range uint64(20) {
				p := newPool(t, seed+i+1, o, members(20))
				first := used(t, p, 500)
				if want := 5; len(first) > want || spreads(policy) && len(first) != want {
					t.Fatalf("%d of 20 are used, want %d", len(first), want)
				}
				update(t, p, seed+i+1, o, members(21), 0)
				if news := without(used(t, p, 500), first); policy != lb.First && news > 1 {
					t.Fatalf("one more endpoint changed %d of 5", news)
				}
				for id := range first {
					all[id] = true
				}
			}
			if spreads(policy) && len(all) < 15 {
				t.Fatalf("20 instances use %d of 20 endpoints", len(all))
			}
		})
	})
}

func used(t *testing.T, p *lb.Pool, k int) map[string]bool {
	t.Helper()
	set := map[string]bool{}
	for _, id := range homes(t, p, k, 0) {
		set[id] = true
	}
	return set
}

func without(set, other map[string]bool) int {
	n := 0
	for id := range set {
		if !other[id] {
			n++
		}
	}
	return n
}

// Where requests are split, no zone is ours, and so none is another one.
func TestSplitZonesAreThePolicy(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy, ZoneSplit: map[string]uint32{"a": 1, "b": 1}}, inZones(3, 3))
		for range 50 {
			a := lb.Ask{}
			n, how := p.Pick(&a)
			if n == nil || how != lb.ByPolicy && how != lb.Probe {
				t.Fatalf("%v, %v", n, how)
			}
			n.End()
		}
	})
}

// When a zone goes out, its keys go elsewhere, and the others stay at home.
func TestZoneThatIsGoneMovesOnlyItsKeys(t *testing.T) {
	alone(t)
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		for _, n := range []int{10, 40} {
			p := newPool(t, 1, lb.Options{Policy: policy, ZoneSplit: map[string]uint32{"a": 1, "b": 2, "c": 1}}, inZones(n, n, n))
			before := homes(t, p, keyCount(), 0)
			for _, gone := range []string{"a", "b"} {
				for _, node := range p.Nodes() {
					if node.Zone() == gone {
						p.Set(node, lb.Out, 0)
					}
				}
				after := homes(t, p, keyCount(), 0)
				for i := range before {
					if zone := p.Node(before[i]).Zone(); zone != gone && after[i] != before[i] {
						t.Fatalf("zone %s goes out: key %d moves from zone %s to %s", gone, i, zone, after[i])
					}
					if p.Node(after[i]).Zone() == gone {
						t.Fatalf("zone %s is out and has key %d", gone, i)
					}
				}
				for _, node := range p.Nodes() {
					p.Set(node, lb.Ready, 0)
				}
			}
			if m := moved(before, homes(t, p, keyCount(), 0)); m > 0 {
				t.Fatalf("all zones are back, and %d keys are elsewhere", m)
			}
		}
	})
}
