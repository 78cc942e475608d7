package lb_test

import (
	"testing"

	"viaduct/lb"
)

// ranks are so many members in each tier.
func ranks(sizes ...int) []lb.Member {
	var list []lb.Member
	for rank, size := range sizes {
		for range size {
			list = append(list, lb.Member{ID: "e" + string(rune('a'+rank)) + string(rune('0'+len(list)/10)) + string(rune('0'+len(list)%10)), Weight: 1, Tier: rank, Of: len(list)})
		}
	}
	return list
}

// only leaves the first up of a tier ready.
func only(p *lb.Pool, rank, up int) {
	for _, n := range p.Nodes() {
		if n.Tier() != rank {
			continue
		}
		if up > 0 {
			up--
			p.Set(n, lb.Ready, 0)
		} else {
			p.Set(n, lb.Sick, 0)
		}
	}
}

// byTier counts the requests with the first k keys by the tier of who got them.
func byTier(t *testing.T, p *lb.Pool, k, tiers int) []int {
	t.Helper()
	counts := make([]int, tiers)
	for i := range k {
		n := once(t, p, lb.Ask{Key: key(i), Keyed: true})
		if n.Standing() != lb.Ready {
			t.Fatalf("%s is %v and was picked", n.ID(), n.Standing())
		}
		counts[n.Tier()]++
	}
	return counts
}

// Research 3.11: what the first tier cannot carry goes to the second.
func TestTiersSpillOver(t *testing.T) {
	alone(t)
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			p := newPool(t, seed, lb.Options{Policy: policy}, ranks(100, 100))
			for _, row := range []struct{ up, least, most float64 }{
				{100, 100, 100}, {72, 100, 100}, {71, 98.5, 99.99}, {50, 66.5, 73.5}, {25, 31.5, 38.5}, {0, 0, 0},
			} {
				only(p, 0, int(row.up))
				const k = 10_000
				got := 100 * float64(byTier(t, p, k, 2)[0]) / k
				if got < row.least || got > row.most {
					t.Errorf("with %.0f %% of the first tier up it gets %.2f %%, want %.1f to %.1f", row.up, got, row.least, row.most)
				}
			}
		})
	})
}

func TestThreeTiersShareWhatIsLeft(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			p := newPool(t, seed, lb.Options{Policy: policy, PanicBelow: -1}, ranks(20, 20, 20))
			only(p, 0, 5)
			only(p, 1, 5)
			only(p, 2, 4)
			shares(t, "three tiers", byTier(t, p, 10_000, 3), []float64{36, 36, 28}, 3.5)
		})
	})
}

// A key that spills keeps its place, and stays away while things get worse.
func TestKeysSpillOverSteadily(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			p := newPool(t, seed, lb.Options{Policy: policy}, ranks(100, 100))
			var before []string
			spilled := make([]bool, 3000)
			for _, up := range []int{100, 60, 50, 40, 25, 10, 0} {
				only(p, 0, up)
				got := homes(t, p, len(spilled), 0)
				if moved(got, homes(t, p, len(spilled), 0)) != 0 {
					t.Fatal("keys move by themselves")
				}
				for i, id := range got {
					first := p.Node(id).Tier() == 0
					if first && spilled[i] {
						t.Fatalf("%d up: key %d was in the second tier and comes back to the first", up, i)
					}
					if before != nil && spilled[i] && id != before[i] {
						t.Fatalf("%d up: key %d moved within the second tier, where nothing has changed", up, i)
					}
					if before != nil && first && before[i] != id && p.Node(before[i]).Standing() == lb.Ready {
						t.Fatalf("%d up: key %d left %s, which is ready, for %s", up, i, before[i], id)
					}
					spilled[i] = !first
				}
				before = got
			}
		})
	})
}

func TestFirstGoesTierByTier(t *testing.T) {
	p := newPool(t, 1, lb.Options{Policy: lb.First}, ranks(4, 4))
	if c := byTier(t, p, 100, 2); c[1] > 0 {
		t.Fatalf("all are up, and the tiers get %v", c)
	}
	only(p, 0, 0)
	if c := byTier(t, p, 100, 2); c[0] > 0 {
		t.Fatalf("the first tier is down, and the tiers get %v", c)
	}
}

// A tier where all were tried, or are full, leaves the request to the next one.
func TestNextTierTakesWhatTheFirstCannot(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		list := ranks(2, 2)
		list[0].Limit, list[1].Limit = 1, 1
		p := newPool(t, 1, lb.Options{Policy: policy}, list)
		n := p.Nodes()
		a := lb.Ask{Key: 1, Keyed: true, Tried: n[:2]}
		got, how := p.Pick(&a)
		if got == nil || got.Tier() != 1 || how != lb.Spill {
			t.Fatalf("the first tier was tried: %v, %v", got, how)
		}
		got.End()
		a.Tried = nil
		for i := range 6 {
			if got := take(t, p, a); (got.Tier() == 0) != (i < 2) {
				t.Fatalf("pick %d with 2 places in the first tier is in tier %d", i+1, got.Tier())
			}
		}
	})
}

// stand puts ten nodes in these states: three ready, five sick, one draining,
// one in maintenance.
func stand(p *lb.Pool) {
	for i, n := range p.Nodes() {
		switch {
		case i < 3:
		case i < 8:
			p.Set(n, lb.Sick, 0)
		case i == 8:
			p.Set(n, lb.Affine, 0)
		default:
			p.Set(n, lb.Out, 0)
		}
	}
}

// T28: better all than a few under the load of all; but nobody that drains or
// is in maintenance.
func TestPanicUsesTheSick(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			p := newPool(t, seed, lb.Options{Policy: policy}, members(10))
			stand(p)
			counts := make([]int, 10)
			for i := range 4000 {
				a := lb.Ask{Key: key(i), Keyed: true}
				n, how := p.Pick(&a)
				if n == nil || how != lb.Panic {
					t.Fatalf("in panic: %v, %v", n, how)
				}
				n.End()
				counts[at(n)]++
			}
			if counts[8]+counts[9] > 0 {
				t.Fatalf("draining and maintenance get %v", counts[8:])
			}
			if spreads(policy) {
				points := 4.0
				if policy == lb.Ring {
					points = 8
				}
				shares(t, "in panic", counts, []float64{1, 1, 1, 1, 1, 1, 1, 1, 0, 0}, points)
			}
		})
	})
}

func TestPanicMayRefuse(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy, PanicRefuse: true}, members(10))
		stand(p)
		if n, how := p.Pick(&lb.Ask{}); n != nil || how != lb.Panicking {
			t.Fatalf("%v, %v", n, how)
		}
		p.Set(p.Nodes()[3], lb.Ready, 0)
		for range 100 { // four of eight are enough
			if n := once(t, p, lb.Ask{}); at(n) > 3 {
				t.Fatalf("%s is %v", n.ID(), n.Standing())
			}
		}
	})
}

func TestPanicBegins(t *testing.T) {
	for _, row := range []struct {
		name             string
		below            float64
		ready, sick, off int
		panics           bool
	}{
		{"half is enough", 0, 4, 4, 0, false},
		{"less than half is not", 0, 4, 5, 0, true},
		{"maintenance does not count", 0, 3, 2, 9, false},
		{"a threshold of one's own", 0.9, 8, 1, 0, false}, // eight of nine carry all the load
		{"a low one", 0.2, 2, 6, 0, false},
		{"never", -1, 1, 20, 0, false},
		{"none is ready", 0, 0, 3, 0, true},
	} {
		p := newPool(t, 1, lb.Options{Policy: lb.Random, PanicBelow: row.below}, members(row.ready+row.sick+row.off))
		for i, n := range p.Nodes() {
			if i >= row.ready+row.sick {
				p.Set(n, lb.Out, 0)
			} else if i >= row.ready {
				p.Set(n, lb.Sick, 0)
			}
		}
		sick := 0
		for range 500 {
			if once(t, p, lb.Ask{}).Standing() == lb.Sick {
				sick++
			}
		}
		if (sick > 0) != row.panics {
			t.Errorf("%s: %d of 500 go to sick ones", row.name, sick)
		}
	}
}

// What another tier can carry is no reason to panic.
func TestHealthyNextTierStopsPanic(t *testing.T) {
	p := newPool(t, 1, lb.Options{Policy: lb.Random}, ranks(10, 10))
	only(p, 0, 1)
	byTier(t, p, 2000, 2) // which wants everybody ready
	only(p, 1, 2)         // together less than all: now both do
	sick := [2]int{}
	for range 2000 {
		if n := once(t, p, lb.Ask{}); n.Standing() == lb.Sick {
			sick[n.Tier()]++
		}
	}
	if sick[0] == 0 || sick[1] == 0 {
		t.Fatalf("one and two of ten are ready in two tiers: %v picks of sick ones", sick)
	}
}

func TestNobodyIsReady(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		for name, p := range map[string]*lb.Pool{
			"empty":       newPool(t, 1, lb.Options{Policy: policy}, nil),
			"out":         newPool(t, 1, lb.Options{Policy: policy}, members(2)),
			"draining":    newPool(t, 1, lb.Options{Policy: policy}, members(2)),
			"never panic": newPool(t, 1, lb.Options{Policy: policy, PanicBelow: -1}, members(2)),
		} {
			for _, n := range p.Nodes() {
				p.Set(n, map[string]lb.Standing{"out": lb.Out, "draining": lb.Affine, "never panic": lb.Sick}[name], 0)
			}
			for _, keyed := range []bool{false, true} {
				if n, how := p.Pick(&lb.Ask{Keyed: keyed}); n != nil || how != lb.None {
					t.Errorf("%s: %v, %v", name, n, how)
				}
			}
		}
	})
}

func TestStickyRequestsStay(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy}, members(5))
		n := p.Nodes()[2]
		pick := func(tried ...*lb.Node) (*lb.Node, lb.How) {
			a := lb.Ask{Sticky: n, Tried: tried, Key: 3, Keyed: true}
			got, how := p.Pick(&a)
			if got == nil {
				t.Fatalf("nobody was picked: %v", how)
			}
			return got, how
		}
		for _, s := range []lb.Standing{lb.Ready, lb.Affine} {
			p.Set(n, s, 0)
			if got, how := pick(); got != n || how != lb.Sticky {
				t.Fatalf("%v: %s, %v", s, got.ID(), how)
			}
			if got, how := pick(n); got == n || how == lb.Sticky {
				t.Fatalf("%v, but tried: %v", s, how)
			}
		}
		for _, s := range []lb.Standing{lb.Sick, lb.Out} {
			p.Set(n, s, 0)
			if got, how := pick(); got == n || how == lb.Sticky {
				t.Fatalf("%v: it was picked as %v", s, how)
			}
		}
		p.Set(n, lb.Ready, 0)
		update(t, p, 1, lb.Options{Policy: policy}, members(2), 0)
		if got, how := pick(); got == n || how == lb.Sticky {
			t.Fatalf("it was removed, and picked as %v", how)
		}
		other := newPool(t, 1, lb.Options{Policy: policy}, members(5))
		n = other.Nodes()[2]
		if got, how := pick(); got == n || how == lb.Sticky {
			t.Fatalf("it is another pool's, and was picked as %v", how)
		}
	})
}

// Where health is ignored, so it is for who belongs to a sick one; nobody is
// kept by one that is out, or where panic refuses.
func TestStickyRequestsStayInPanic(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		for _, refuse := range []bool{false, true} {
			p := newPool(t, 1, lb.Options{Policy: policy, PanicRefuse: refuse}, members(5))
			for i, n := range p.Nodes() {
				p.Set(n, []lb.Standing{lb.Sick, lb.Sick, lb.Sick, lb.Affine, lb.Out}[i], 0)
			}
			for i, n := range p.Nodes() {
				a := lb.Ask{Sticky: n, Key: 3, Keyed: true}
				got, how := p.Pick(&a)
				if keeps := i == 3 || i < 3 && !refuse; (got == n && how == lb.Sticky) != keeps {
					t.Fatalf("refuse %v: who belongs to one that is %v gets %s", refuse, n.Standing(), naming(got, how))
				}
			}
		}
	})
}

// Panic is the word where panic is the reason, not where a request has tried
// all that are healthy.
func TestNoneIsNotPanicking(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy, PanicRefuse: true}, ranks(2, 2))
		n := p.Nodes()
		for _, sick := range n[1:] {
			p.Set(sick, lb.Sick, 0)
		}
		if got, how := p.Pick(&lb.Ask{Tried: n[:1]}); got != nil || how != lb.None {
			t.Fatalf("the only ready one was tried: %v, %v", got, how)
		}
		p.Set(n[0], lb.Sick, 0)
		if got, how := p.Pick(&lb.Ask{Tried: n[:1]}); got != nil || how != lb.Panicking {
			t.Fatalf("none is ready: %v, %v", got, how)
		}
	})
}
