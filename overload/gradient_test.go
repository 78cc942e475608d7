package overload_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/overload"
)

func newQueue(dice *rand.Rand, o overload.GradientOptions, slots int, sigma, load float64) *queue {
	return &queue{
		Gradient: overload.NewGradient(o), dice: dice,
		slots: slots, mean: 50 * time.Millisecond, sigma: sigma, load: load,
	}
}

// check says whether the last run was near the knee: nearly all that the slots
// could do is done, and little waits for it.
func (q *queue) check(t *testing.T, what string, d time.Duration) {
	t.Helper()
	if n := q.limit() / float64(q.slots); n < 1 || n > 1.8 {
		t.Errorf("%s: a limit of %.0f for a knee at %d", what, q.limit(), q.slots)
	}
	if q.done(d) < 0.9 {
		t.Errorf("%s: %.0f %% of what could be done is done", what, 100*q.done(d))
	}
	if q.latency() > 1.8 {
		t.Errorf("%s: latency is %.1f times the work", what, q.latency())
	}
}

func TestTheLimitFindsTheKnee(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for _, c := range []struct {
			name    string
			initial int
			slots   int
			sigma   float64
			load    float64
		}{
			{"from below, even work", 20, 100, 0, 1.5},
			{"from below, work that varies", 20, 100, 0.5, 3},
			{"from above, even work", 200, 30, 0, 1.5},
			{"from above, work that varies", 200, 30, 0.5, 3},
			{"from above, work that varies much", 200, 100, 1, 1.5},
		} {
			q := newQueue(dice, overload.GradientOptions{Initial: c.initial}, c.slots, c.sigma, c.load)
			q.run(25 * time.Second)
			q.run(10 * time.Second)
			q.check(t, c.name, 10*time.Second)
		}
	})
}

// TestTheLimitFollowsTheKnee: slots are lost and come back, and work takes twice
// as long for good, which is no queue.
func TestTheLimitFollowsTheKnee(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		q := newQueue(dice, overload.GradientOptions{}, 60, 0.3, 2)
		for _, c := range []struct {
			name  string
			slots int
			mean  time.Duration
		}{
			{"at first", 60, 50 * time.Millisecond},
			{"half lost", 30, 50 * time.Millisecond},
			{"found again", 60, 50 * time.Millisecond},
			{"slower", 60, 100 * time.Millisecond},
		} {
			q.slots, q.mean = c.slots, c.mean
			q.run(60 * time.Second)
			q.run(10 * time.Second)
			q.check(t, c.name, 10*time.Second)
		}
	})
}

// TestAnUnusedLimitDoesNotGrow: nor shrink, as nothing is known of it.
func TestAnUnusedLimitDoesNotGrow(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		q := newQueue(dice, overload.GradientOptions{Initial: 150}, 100, 0.5, 0.3)
		for range 10 {
			q.run(2 * time.Second)
			if n := q.Limit(); n != 150 {
				t.Fatalf("the limit went from 150 to %d, and 30 are used", n)
			}
		}
		if b := q.Base(); b < 30*time.Millisecond || b > 80*time.Millisecond {
			t.Errorf("the base of work of 50 ms is %v", b)
		}
	})
}

// TestWhatSaysNothingIsIgnored: clients that leave at once, however many, change
// neither the limit nor the base.
func TestWhatSaysNothingIsIgnored(t *testing.T) {
	var g overload.Gradient
	for i := range 10_000 {
		for range 15 {
			if !g.Acquire() {
				t.Fatal("no room")
			}
		}
		for j := range 15 {
			g.Release(time.Duration(i)*time.Millisecond, time.Duration(j)*time.Hour, overload.Ignored)
		}
	}
	if g.Limit() != 20 || g.Base() != 0 || g.InUse() != 0 {
		t.Errorf("limit %d, base %v, %d in use", g.Limit(), g.Base(), g.InUse())
	}
	random(t, func(t *testing.T, dice *rand.Rand) {
		q := newQueue(dice, overload.GradientOptions{}, 60, 0.3, 3)
		q.aborted = 0.5
		q.run(25 * time.Second)
		q.run(10 * time.Second)
		q.check(t, "half of the clients leave", 10*time.Second)
	})
}

// TestAFastRefusalIsNoLowLatency: an upstream that refuses gets less, not more.
func TestAFastRefusalIsNoLowLatency(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		q := newQueue(dice, overload.GradientOptions{Initial: 150, Least: 5}, 100, 0.3, 3)
		q.run(20 * time.Second)
		q.dropped = 1
		q.run(time.Second) // what was accepted before ends
		base := q.Base()
		q.run(9 * time.Second)
		if n := q.Limit(); n > 10 || q.Base() != base {
			t.Errorf("limit %d, base %v, was %v", n, q.Base(), base)
		}
		q.dropped = 0
		q.run(30 * time.Second)
		q.run(10 * time.Second)
		q.check(t, "well again", 10*time.Second)
	})
}

// TestTheLimitKeepsItsBounds: whatever latencies come, and be they nonsense.
func TestTheLimitKeepsItsBounds(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for range 20 {
			least := 1 + dice.IntN(50)
			o := overload.GradientOptions{
				Least: least, Most: least + dice.IntN(100), Initial: dice.IntN(300),
				Queue: dice.IntN(20), Smoothing: dice.Float64(), Tolerance: 3 * dice.Float64(),
				Round: time.Duration(dice.Int64N(int64(time.Second))),
			}
			checkBounds(t, dice, o)
		}
	})
}

func checkBounds(t *testing.T, dice *rand.Rand, o overload.GradientOptions) {
	t.Helper()
	g, now, used := overload.NewGradient(o), time.Duration(0), 0
	for range 3000 {
		if dice.IntN(2) == 0 {
			limit := g.Limit()
			if limit < 1 || limit > o.Most {
				t.Fatalf("%+v: limit %d", o, limit)
			}
			if g.Acquire() != (used < limit) {
				t.Fatalf("%+v: %d used, the limit is %d", o, used, limit)
			}
			if used < limit {
				used++
			}
		} else if used > 0 {
			used--
			latency := time.Duration(dice.Uint64()) >> dice.IntN(64)
			g.Release(now, latency, overload.Outcome(dice.IntN(4)))
		}
		if g.InUse() != used {
			t.Fatalf("%+v: %d in use, it should be %d", o, g.InUse(), used)
		}
		now += time.Duration(dice.Int64N(int64(20 * time.Millisecond)))
	}
}

func TestAGradientIsNeverExceededTogether(t *testing.T) {
	g := overload.NewGradient(overload.GradientOptions{Least: 3, Most: 3, Queue: 1})
	var inside, over, acquired, refused atomic.Int64
	together(8, func(worker int) {
		for i := range 4000 {
			if !g.Acquire() {
				refused.Add(1)
				continue
			}
			acquired.Add(1)
			if inside.Add(1) > 3 {
				over.Add(1)
			}
			inside.Add(-1)
			g.Release(time.Duration(i)*time.Millisecond, time.Duration(worker)*time.Millisecond, overload.Outcome(i%3))
		}
	})
	if over.Load() > 0 {
		t.Errorf("%d times there were more than three", over.Load())
	}
	if g.InUse() != 0 || g.Refused() != uint64(refused.Load()) || acquired.Load()+refused.Load() != 8*4000 {
		t.Errorf("%d in use at the end; %d refused and said to be %d; %d acquired", g.InUse(), refused.Load(), g.Refused(), acquired.Load())
	}
}

// TestAnUpstreamInTimeIsNotDrained: at its limit, with latencies that do not
// grow, all that there is room for is let in, round for round.
func TestAnUpstreamInTimeIsNotDrained(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for _, c := range []struct {
			most, queue, work int
			jitter            float64
		}{{200, 0, 150, 0}, {20, 0, 18, 0}, {20, 10, 18, 0}, {20, 16, 20, 0}, {40, 16, 36, 0.1}, {200, 0, 150, 0.1}} {
			for _, mean := range []time.Duration{50 * time.Millisecond, time.Second} {
				g := overload.NewGradient(overload.GradientOptions{Initial: c.most, Least: min(20, c.most), Most: c.most, Queue: c.queue})
				ends := make([]time.Duration, c.work) // of what is at work, which follows one another
				from := make([]time.Duration, c.work)
				for i := range ends {
					if ends[i] = mean * time.Duration(i+1) / time.Duration(c.work); !g.Acquire() {
						t.Fatalf("%+v: %d at work", c, i)
					}
					from[i] = ends[i] - mean
				}
				for range 100 * c.work {
					i := 0
					for j := range ends {
						if ends[j] < ends[i] {
							i = j
						}
					}
					now := ends[i]
					g.Release(now, now-from[i], overload.Served)
					if !g.Acquire() {
						t.Fatalf("%+v, %v: refused after %v, the limit is %d", c, mean, now, g.Limit())
					}
					from[i] = now
					ends[i] = now + time.Duration(float64(mean)*(1+c.jitter*(2*dice.Float64()-1)))
				}
			}
		}
	})
}

// TestADrainLeavesHalf: however much may wait.
func TestADrainLeavesHalf(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for _, queued := range []int{4, 16, 100} {
			q := newQueue(dice, overload.GradientOptions{Initial: 40, Most: 40, Least: 20, Queue: queued}, 10, 0.3, 3)
			q.run(20 * time.Second)
			q.run(20 * time.Second)
			if n := slices.Min(q.limits); n < 10 || n >= slices.Max(q.limits) {
				t.Errorf("queue %d: limits from %d to %d", queued, n, slices.Max(q.limits))
			}
		}
	})
}

// TestOddOptionsOfAGradient: none of them makes a limit that is none.
func TestOddOptionsOfAGradient(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for _, odd := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
			checkBounds(t, dice, overload.GradientOptions{Least: 3, Most: 100, Tolerance: odd, Smoothing: odd})
			g := overload.NewGradient(overload.GradientOptions{Initial: 50, Least: 3, Most: 100, Queue: 1, Tolerance: odd, Smoothing: odd})
			for i := range 10_000 {
				now := time.Duration(i) * time.Millisecond
				g.Acquire()
				g.Release(now, time.Millisecond, overload.Served)
				g.Acquire()
				g.Release(now, 0, overload.Dropped)
			}
			if n := g.Limit(); n != 3 {
				t.Errorf("tolerance %v: limit %d where half is dropped", odd, n)
			}
		}
		checkBounds(t, dice, overload.GradientOptions{Least: math.MaxInt, Most: math.MaxInt, Initial: math.MaxInt, Queue: math.MaxInt, Round: math.MaxInt64})
		checkBounds(t, dice, overload.GradientOptions{Least: 1, Most: math.MaxInt, Initial: math.MaxInt, Queue: math.MaxInt})
	})
}
