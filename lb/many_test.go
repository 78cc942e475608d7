package lb_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"viaduct/lb"
)

// crowded is a list of which the tables are not made anew for each change.
const crowded = 1500

// spacing is how long tables may be used that are behind.
func spacing(n int) time.Duration { return time.Duration(n) * 4 * time.Microsecond }

// What is not ready any more is never chosen, from the moment it is said.
func TestManyNeverHaveOneThatIsNotReady(t *testing.T) {
	alone(t)
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, o := range []lb.Options{{}, {SlowStart: time.Second, HashBound: 1.25, Zone: "b"}} {
				list := members(crowded)
				for i := range list {
					list[i].Zone, list[i].Tier = string(rune('a'+i%2)), i%3/2
				}
				o.Policy, o.PanicBelow = policy, -1
				p := newPool(t, seed, o, list)
				nodes, dice := p.Nodes(), newDice(seed)
				for i := range 1200 {
					now := time.Hour + time.Duration(i)*20*time.Microsecond
					p.Set(nodes[dice.IntN(crowded)], lb.Standing(1+dice.IntN(3)), now)
					if i%4 == 0 {
						p.Set(nodes[dice.IntN(crowded)], lb.Ready, now)
					}
					got := once(t, p, lb.Ask{Key: key(i), Keyed: i%5 > 0, Now: now})
					if got.Standing() != lb.Ready {
						t.Fatalf("change %d: %s is %v and was picked", i, got.ID(), got.Standing())
					}
				}
			}
		})
	})
}

// What becomes ready has requests within the spacing of the tables; also where
// nobody changed anything for long, and where one change follows another.
func TestManyFollowWhatBecomesReady(t *testing.T) {
	alone(t)
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy, PanicBelow: -1}, members(crowded))
		nodes := p.Nodes()
		for _, n := range nodes[1:] {
			p.Set(n, lb.Out, 0)
		}
		now := time.Hour
		for i, n := range nodes[1:20] {
			p.Set(n, lb.Ready, now)
			p.Set(nodes[30+i], lb.Ready, now) // in any case behind the tables
			p.Set(nodes[30+i], lb.Out, now+1)
			now += spacing(crowded) + 1
			tried := slices.Concat(nodes[:i+1], nodes[i+2:])
			if got, how := p.Pick(&lb.Ask{Key: key(i), Keyed: true, Now: now, Tried: tried}); got != n {
				t.Fatalf("%s is ready for %v: %s", n.ID(), spacing(crowded), naming(got, how))
			}
		}
	})
}

// An explanation is of the pool as it is.
func TestManyAreExplainedAsTheyAre(t *testing.T) {
	p := newPool(t, 1, lb.Options{PanicBelow: -1}, members(crowded))
	for _, n := range p.Nodes()[1:] {
		p.Set(n, lb.Out, time.Hour)
	}
	p.Set(p.Nodes()[0], lb.Out, time.Hour)
	p.Set(p.Nodes()[9], lb.Ready, time.Hour)
	if e := p.Explain(&lb.Ask{Now: time.Hour}); e.Chosen != p.Nodes()[9] {
		t.Errorf("the only ready one is e9: %s", naming(e.Chosen, e.How))
	}
}

// Who waits is served as soon as one is ready, however many there are.
func TestManyServeThoseWhoWait(t *testing.T) {
	list := limited(crowded, 1)
	l := newLine(t, lb.Options{}, list)
	late := l.pool.Nodes()[7]
	l.pool.Set(late, lb.Out, time.Hour)
	for range crowded - 1 {
		take(t, l.pool, lb.Ask{Now: time.Hour})
	}
	who := l.join(t.Context(), lb.Ask{Now: time.Hour})
	l.pool.Set(l.pool.Nodes()[8], lb.Affine, time.Hour)
	l.pool.Set(late, lb.Ready, time.Hour)
	if got := l.served(who); got != late {
		t.Fatalf("%s is ready, and it was served by %s", late.ID(), got.ID())
	}
}

// Ten thousand that fail one after another make few tables, and each change is
// a small part of one.
func TestFailuresOfManyCostLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the detector allocates too")
	}
	for _, policy := range []lb.Policy{lb.P2CEWMA, lb.Maglev, lb.LeastConn} {
		const n = 10_000
		p := newPool(t, 1, lb.Options{Policy: policy, PanicBelow: -1}, members(n))
		nodes := p.Nodes()
		now := time.Hour
		one := allocated(func() { p.Set(nodes[0], lb.Sick, now) })
		storm := allocated(func() {
			for _, node := range nodes[1 : n-1] {
				now += 50 * time.Microsecond // half a second in all
				p.Set(node, lb.Sick, now)
				once(t, p, lb.Ask{Key: uint64(now), Keyed: true, Now: now})
			}
		})
		if one < n || storm > 100*one {
			t.Errorf("%s: one failure allocates %d bytes, all of %d one after another %d", policy, one, n, storm)
		}
		if got := once(t, p, lb.Ask{Now: now}); got != nodes[n-1] {
			t.Errorf("%s: the last of %d is %s", policy, n, got.ID())
		}
	}
}

// allocated is how many bytes f allocates, when nobody else runs.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A panic is seen at once, also by who does not follow each change: all are
// used when none is ready, and those that go out or come back meanwhile change
// that for nobody else.
func TestManyPanicAtOnce(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy}, members(crowded))
		for _, n := range p.Nodes() {
			p.Set(n, lb.Sick, time.Hour)
		}
		wide := func(what string) {
			t.Helper()
			seen := map[*lb.Node]bool{}
			for i := range 100 {
				a := lb.Ask{Key: key(i), Keyed: true, Now: time.Hour}
				n, how := p.Pick(&a)
				if n == nil || how != lb.Panic || n.Standing() == lb.Out {
					t.Fatalf("%s: %s", what, naming(n, how))
				}
				n.End()
				seen[n] = true
			}
			if len(seen) < 50 {
				t.Fatalf("%s: 100 requests are with %d nodes", what, len(seen))
			}
		}
		wide("all are sick")
		p.Set(p.Nodes()[0], lb.Out, time.Hour)
		wide("one goes out")
		p.Set(p.Nodes()[1], lb.Ready, time.Hour)
		wide("one is ready")
	})
}

// Who comes to wait after the change that would serve it, is served too.
func TestManyServeWhoComesTooLateToWait(t *testing.T) {
	l := newLine(t, lb.Options{}, limited(crowded, 1))
	late := l.pool.Nodes()[7]
	l.pool.Set(late, lb.Out, time.Hour)
	for range crowded - 1 {
		take(t, l.pool, lb.Ask{Now: time.Hour})
	}
	l.pool.Set(l.pool.Nodes()[8], lb.Affine, time.Hour)
	l.pool.Set(late, lb.Ready, time.Hour)
	go waitFor(l.pool, t.Context(), 1, lb.Ask{Now: time.Hour}, l.answers)
	if got := l.served(1); got != late {
		t.Fatalf("%s is ready, and it was served by %s", late.ID(), got.ID())
	}
}
