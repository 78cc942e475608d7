package lb_test

import (
	"math"
	"testing"
	"time"

	"viaduct/lb"
)

// calm is a pool of n that has answered in ten milliseconds for ten seconds.
func calm(t *testing.T, seed uint64, n int, pace time.Duration) *drive {
	t.Helper()
	d := newDrive(t, newPool(t, seed, lb.Options{}, members(n)), seed, pace, 10*time.Millisecond)
	d.tally(int(10*time.Second/pace), n)
	return d
}

func (d *drive) during(span time.Duration, n int) []int { return d.tally(int(span/d.pace), n) }

func share(counts []int, i int) float64 {
	total := 0
	for _, c := range counts {
		total += c
	}
	return 100 * float64(counts[i]) / float64(total)
}

// T15: one of ten turns ten times slower, and recovers.
func TestSlowEndpointIsLeftAloneAndComesBack(t *testing.T) {
	alone(t)
	for _, pace := range []time.Duration{time.Millisecond, 10 * time.Millisecond} {
		eachSeed(t, func(t *testing.T, seed uint64) {
			d := calm(t, seed, 10, pace)
			normal := d.answers
			d.answers = func(n *lb.Node) (time.Duration, lb.Outcome) {
				if at(n) == 3 {
					return 100 * time.Millisecond, lb.Served
				}
				return 10 * time.Millisecond, lb.Served
			}
			d.during(2*time.Second, 10)
			for range 5 {
				if got := share(d.during(6*time.Second, 10), 3); got >= 3 {
					t.Fatalf("pace %v: the slow one has %.1f %%", pace, got)
				}
			}
			d.answers = normal
			d.during(time.Minute, 10)
			if got := share(d.during(20*time.Second, 10), 3); got < 7 {
				t.Fatalf("pace %v: a minute after it recovered it has %.1f %%", pace, got)
			}
			d.finish()
		})
	}
}

// Whatever happened to a node, a failure that comes fast never makes it look
// better: not then and not at any time after it.
func TestFastFailureNeverImprovesAScore(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		dice := newDice(seed)
		for range 300 {
			p := newPool(t, seed, lb.Options{}, members(3))
			failing, twin := p.Nodes()[0], p.Nodes()[1] // of the same past
			now := time.Duration(0)
			for range dice.IntN(30) {
				now += time.Duration(math.Exp(dice.Float64()*26)) - 1
				took := time.Duration(math.Exp(dice.Float64() * 24))
				o := lb.Outcome(dice.IntN(3))
				failing.Observe(now, took, o)
				twin.Observe(now, took, o)
				if failing.Cost(now) != twin.Cost(now) {
					t.Fatalf("the same past, and costs of %v and %v", failing.Cost(now), twin.Cost(now))
				}
				before := failing.Cost(now)
				failing.Observe(now, 100*time.Microsecond, lb.Failed)
				if after := failing.Cost(now); after < before {
					t.Fatalf("a failure in 0.1 ms brought the cost from %d to %d ns", before, after)
				}
				for _, later := range []time.Duration{0, time.Millisecond, time.Second, time.Minute} {
					if f, w := failing.Cost(now+later), twin.Cost(now+later); f < w {
						t.Fatalf("%v after it failed its cost is %d ns, without that %d", later, f, w)
					}
				}
				twin.Observe(now, 100*time.Microsecond, lb.Failed)
			}
		}
	})
}

func TestWhatIsIgnoredChangesNothing(t *testing.T) {
	p := newPool(t, 1, lb.Options{}, members(2))
	n := p.Nodes()[0]
	for i, took := range []time.Duration{0, 1, time.Hour} {
		now := time.Duration(i) * time.Second
		before := n.Cost(now)
		n.Observe(now, took, lb.Ignored)
		if n.Cost(now) != before {
			t.Fatalf("cost was %v and is %v", before, n.Cost(now))
		}
		n.Observe(now, 10*time.Millisecond, lb.Served)
	}
}

// Months go by, clocks of two goroutines cross: a cost stays a number between
// what was seen.
func TestCostStaysSane(t *testing.T) {
	const day = 24 * time.Hour
	for _, pause := range []time.Duration{-time.Minute, -time.Second, -1, 0, 1, time.Hour, 20 * day, 25 * day, 30 * day, 45 * day, 49 * day, 50 * day, 75 * day, 400 * day} {
		for _, o := range []lb.Outcome{lb.Served, lb.Failed} {
			p := newPool(t, 1, lb.Options{}, members(2))
			n := p.Nodes()[0]
			start := 100 * day
			n.Observe(start, time.Second, lb.Served)
			if c := n.Cost(start + pause); c < 0 || c > time.Second {
				t.Errorf("%v after an answer in 1 s the cost is %v", pause, c)
			}
			n.Observe(start+pause, 10*time.Millisecond, o)
			if c := n.Cost(start + pause); c <= 0 || c > 10*time.Second {
				t.Errorf("an answer in 10 ms (%v) %v after one in 1 s: the cost is %v", o, pause, c)
			}
			if c := n.Cost(start + pause); o == lb.Served && pause >= 20*day && c > 11*time.Millisecond {
				t.Errorf("%v later the answer in 1 s still counts: %v", pause, c)
			}
		}
	}
}

// T52: of twenty one refuses everything in half a millisecond.
func TestFastFailureIsNoSinkhole(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		for _, pace := range []time.Duration{500 * time.Microsecond, 20 * time.Millisecond} {
			d := calm(t, seed, 20, pace)
			d.answers = func(n *lb.Node) (time.Duration, lb.Outcome) {
				if at(n) == 7 {
					return 500 * time.Microsecond, lb.Failed
				}
				return 10 * time.Millisecond, lb.Served
			}
			d.during(2*time.Second, 20)
			bound := 0.5
			if pace > time.Millisecond {
				bound = 2 // a probe every three seconds weighs more at 50 requests a second
			}
			if got := share(d.during(20*time.Second, 20), 7); got > bound {
				t.Fatalf("pace %v: %.2f %% go to the one that fails", pace, got)
			}
			d.finish()
		}
	})
}

// It fails from its first request on: there is no past that speaks for it.
func TestNewcomerThatFailsIsNoSinkhole(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		d := calm(t, seed, 19, 500*time.Microsecond)
		update(t, d.pool, seed, lb.Options{}, members(20), d.now)
		d.answers = func(n *lb.Node) (time.Duration, lb.Outcome) {
			if at(n) == 19 {
				return 500 * time.Microsecond, lb.Failed
			}
			return 10 * time.Millisecond, lb.Served
		}
		if got := share(d.during(10*time.Second, 20), 19); got > 0.5 {
			t.Fatalf("%.2f %% go to the new one that fails", got)
		}
	})
}

// However slow it was: at a steady rate nobody waits longer than two spans of
// Reprobe and two rounds for the next request. Where requests are rare, more
// probes would be most of what there is.
func TestNobodyStarves(t *testing.T) {
	alone(t)
	eachSeed(t, func(t *testing.T, seed uint64) {
		for _, n := range []int{2, 10, 100} {
			for _, pace := range []time.Duration{2 * time.Millisecond, 10 * time.Millisecond, time.Second} {
				d := calm(t, seed, n, pace)
				d.answers = func(node *lb.Node) (time.Duration, lb.Outcome) {
					switch at(node) % 10 {
					case 0:
						return 900 * time.Millisecond, lb.Served
					case 1:
						return 10 * time.Millisecond, lb.Failed
					}
					return time.Millisecond, lb.Served
				}
				patience := 6*time.Second + 2*time.Duration(n)*pace
				last := make([]time.Duration, n)
				for i := range last {
					last[i] = d.now
				}
				for end := d.now + max(25*time.Second, 100*pace); d.now < end; {
					last[at(d.next())] = d.now
					for i, when := range last {
						if d.now-when > patience {
							t.Fatalf("%d of %d, a request every %v: nothing for %v", i, n, pace, d.now-when)
						}
					}
				}
				d.finish()
			}
		}
	})
}

// A newcomer has no samples: neither may it look free, nor like the best.
func TestNewcomerIsNotFlooded(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		for name, latency := range map[string]time.Duration{"as fast": 10 * time.Millisecond, "silent": time.Hour} {
			d := calm(t, seed, 10, time.Millisecond)
			update(t, d.pool, seed, lb.Options{}, members(11), d.now)
			d.answers = func(n *lb.Node) (time.Duration, lb.Outcome) {
				if at(n) == 10 {
					return latency, lb.Served
				}
				return 10 * time.Millisecond, lb.Served
			}
			got := share(d.during(2*time.Second, 11), 10)
			if got > 1.5*100/11 {
				t.Fatalf("%s: %.1f %% go to the new one", name, got)
			}
			if n := d.pool.Nodes()[10]; name == "silent" && n.InFlight() > 20 {
				t.Fatalf("%d requests wait for a new one that never answers", n.InFlight())
			}
			if later := share(d.during(20*time.Second, 11), 10); name == "as fast" && later < 5 {
				t.Fatalf("the new one has %.1f %%", later)
			}
			d.finish()
		}
	})
}
