package ewma_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"viaduct/ewma"
)

const (
	ms   = time.Millisecond
	tau  = 10 * time.Second
	wrap = time.Millisecond << 32 // after this long stamps come round
)

// eachSeed runs a law with seeds that were seen before and one that never was.
func eachSeed(t *testing.T, law func(t *testing.T, dice *rand.Rand)) {
	t.Helper()
	seeds := []uint64{42, rand.Uint64()}
	if raceEnabled {
		seeds = seeds[1:] // the detector looks for races, ten times slower
	}
	for _, seed := range seeds {
		t.Logf("seed %d", seed)
		law(t, rand.New(rand.NewPCG(seed, 7)))
	}
}

// begins are moments around which stamps may come out wrong.
func begins() []time.Duration {
	return []time.Duration{0, 3 * ms / 2, time.Hour, wrap/2 - 5*time.Second, wrap - 5*time.Second, wrap, 7*wrap - time.Second, 200 * 365 * 24 * time.Hour}
}

func about(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if !(math.Abs(got-want) <= part*want) {
		t.Errorf("%s: %.6g, want %.6g", what, got, want)
	}
}

func TestFirstAnswerIsTheCost(t *testing.T) {
	for _, now := range begins() {
		for _, latency := range []time.Duration{1, 17 * time.Microsecond, 10 * ms, time.Hour} {
			var served, failed, quick ewma.Cost
			if served.At(now, tau, 123) != 123 {
				t.Fatal("a cost of which nothing is known is known")
			}
			served.Served(now, latency, tau)
			failed.Failed(now, latency, tau, 1)
			quick.Failed(now, 1, tau, float64(latency))
			for _, c := range []*ewma.Cost{&served, &failed, &quick} {
				about(t, "after one answer", c.At(now, tau, 123), float64(latency), 1e-6)
			}
		}
	}
	var c ewma.Cost
	c.Served(0, -ms, tau)
	if got := c.At(0, tau, 123); !(got > 0 && got < 10) {
		t.Errorf("an answer before its request costs %v", got)
	}
}

// What is not looked at is forgotten: half after tau, a third after two.
func TestCostIsForgotten(t *testing.T) {
	for _, now := range begins() {
		for _, tau := range []time.Duration{time.Second, tau, 10 * time.Minute} {
			var c ewma.Cost
			c.Served(now, 100*ms, tau)
			for _, times := range []float64{0, 0.5, 1, 2, 9, 99} {
				got := c.At(now+time.Duration(times*float64(tau)), tau, 0)
				about(t, "forgotten", got, float64(100*ms)/(1+times), 2e-3)
			}
			last := math.Inf(1)
			for age := time.Duration(0); age < wrap-time.Hour; age = age*5/4 + ms {
				got := c.At(now+age, tau, 0)
				if !(got > 0 && got <= last) {
					t.Fatalf("%v after %v it costs %v, and %v before", age, now, got, last)
				}
				last = got
			}
		}
	}
}

// After tau of other answers, however many, about a third is left of what is
// higher; of what is lower after a tenth of it.
func TestCostRisesTenTimesAsFastAsItFalls(t *testing.T) {
	for _, now := range begins() {
		for _, tau := range []time.Duration{time.Second, tau, time.Minute} {
			for _, answers := range []int{1, 7, 100, 900} {
				var up, down ewma.Cost
				up.Served(now, 10*ms, tau)
				down.Served(now, 100*ms, tau)
				for i := range answers {
					part := time.Duration(i+1) * tau / time.Duration(answers)
					up.Served(now+part/10, 100*ms, tau)
					down.Served(now+part, 10*ms, tau)
				}
				if tau/10 >= time.Duration(answers)*ms {
					about(t, "risen", up.At(now+tau/10, tau, 0), float64(100*ms)-math.Exp(-1)*float64(90*ms), 0.02)
				}
				about(t, "fallen", down.At(now+tau, tau, 0), float64(10*ms)+math.Exp(-1)*float64(90*ms), 0.02)
			}
		}
	}
}

func TestSteadyAnswersAreTheCost(t *testing.T) {
	for _, pace := range []time.Duration{0, 300 * time.Microsecond, ms, time.Second} {
		var c ewma.Cost
		for i := range 20_000 {
			c.Served(time.Duration(i)*pace, 10*ms, tau)
		}
		about(t, "steady", c.At(19_999*pace, tau, 0), float64(10*ms), 1e-3)
	}
}

// A failure is an answer that took the penalty; the second in a row is believed
// at once, unless there was an answer between them.
func TestTwoFailuresInARow(t *testing.T) {
	for _, now := range begins() {
		var c, slow ewma.Cost
		c.Served(now, 10*ms, tau)
		slow.Served(now, 10*ms, tau)
		now += 10 * ms
		c.Failed(now, ms, tau, float64(time.Second))
		slow.Served(now, time.Second, tau)
		about(t, "the first", c.At(now, tau, 0), slow.At(now, tau, 0), 1e-6)

		c.Served(now+10*ms, 10*ms, tau)
		before := c.At(now+10*ms, tau, 0)
		c.Failed(now+10*ms, ms, tau, float64(time.Second))
		if got := c.At(now+10*ms, tau, 0); got > before+float64(10*ms) {
			t.Errorf("one failure, an answer and a failure: %v", got)
		}
		c.Failed(now+20*ms, ms, tau, float64(time.Second))
		about(t, "the second", c.At(now+20*ms, tau, 0), float64(time.Second), 1e-6)
		c.Failed(now+30*ms, 3*time.Second, tau, float64(time.Second))
		about(t, "a slow one", c.At(now+30*ms, tau, 0), float64(3*time.Second), 1e-6)
		c.Failed(now+40*ms, ms, tau, 1)
		about(t, "a quick one", c.At(now+40*ms, tau, 0), float64(3*time.Second), 1e-6)
	}
}

// No answer is taken for a failure, whatever it took.
func TestOneFailureIsNotTwo(t *testing.T) {
	eachSeed(t, func(t *testing.T, dice *rand.Rand) {
		for range 1000 {
			var c ewma.Cost
			c.Served(0, time.Duration(1+dice.IntN(int(time.Second))), tau)
			c.Served(ms, time.Duration(1+dice.IntN(int(time.Second))), tau)
			c.Failed(2*ms, ms, tau, float64(time.Minute))
			if got := c.At(2*ms, tau, 0); got > float64(2*time.Second) {
				t.Fatalf("one failure costs %v", got)
			}
		}
	})
}

// Answers at the same moment count too.
func TestAnswersAtOnceCount(t *testing.T) {
	var c ewma.Cost
	c.Served(time.Hour, 10*ms, tau)
	last := c.At(time.Hour, tau, 0)
	for i := range 1000 {
		c.Served(time.Hour, 100*ms, tau)
		got := c.At(time.Hour, tau, 0)
		if got <= last || got >= float64(100*ms) {
			t.Fatalf("after %d answers of 100 ms: %v, and %v before", i+1, got, last)
		}
		last = got
	}
	if last < float64(50*ms) {
		t.Errorf("after 1000 answers of 100 ms: %v", last)
	}
}

// history drives a cost through random answers and failures, and wants that no
// failure lowers it, whenever one looks. Who tells may have read the clock up to
// back ago.
func history(t *testing.T, dice *rand.Rand, now, back time.Duration) {
	t.Helper()
	steps := []time.Duration{0, 100 * time.Microsecond, ms, 30 * ms, time.Second, tau, time.Hour, 30 * 24 * time.Hour}
	random := func(most time.Duration) time.Duration { return time.Duration(dice.Float64() * float64(most)) }
	var c ewma.Cost
	c.Served(now, random(time.Second), tau)
	for i := range 200 {
		now += random(steps[dice.IntN(len(steps))])
		told := max(0, now-random(back))
		latency := time.Duration(math.Exp(dice.Float64() * math.Log(float64(10*time.Second))))
		if dice.IntN(3) == 0 {
			c.Served(told, latency, tau)
			continue
		}
		penalty := dice.Float64() * float64(random(10*time.Second))
		later := now + random(tau)
		before, then := c.At(now, tau, 0), c.At(later, tau, 0)
		c.Failed(told, latency, tau, penalty)
		if got := c.At(now, tau, 0); !(got >= before) {
			t.Fatalf("answer %d at %v, told %v late: a failure lowers the cost from %.9g to %.9g", i, now, now-told, before, got)
		}
		if got := c.At(later, tau, 0); !(got >= then) {
			t.Fatalf("answer %d at %v, told %v late: a failure lowers the cost of %v later from %.9g to %.9g", i, now, now-told, later-now, then, got)
		}
	}
}

func TestFailureNeverLowers(t *testing.T) {
	eachSeed(t, func(t *testing.T, dice *rand.Rand) {
		for range 30 {
			for _, now := range begins()[:7] {
				history(t, dice, now, 0)
			}
		}
	})
}

// Of those who tell at the same time one has read the clock first, and it may
// tell last.
func TestFailureThatIsToldLateNeverLowers(t *testing.T) {
	for _, late := range []time.Duration{ms, 50 * ms, time.Second, 50 * time.Second} {
		for _, now := range begins()[2:] {
			var c ewma.Cost
			c.Failed(now, ms, tau, float64(time.Second))
			before := c.At(now, tau, 0)
			c.Failed(now-late, ms, tau, float64(time.Second))
			if got := c.At(now, tau, 0); got < before {
				t.Errorf("at %v: a failure that is told %v late lowers the cost from %.9g to %.9g", now, late, before, got)
			}
		}
	}
	eachSeed(t, func(t *testing.T, dice *rand.Rand) {
		for range 10 {
			for _, now := range begins()[:7] {
				history(t, dice, now, 50*ms)
			}
		}
	})
}

// An endpoint that refuses everything at once is never the cheap one.
func TestRefusingIsNeverCheap(t *testing.T) {
	for _, pace := range []time.Duration{0, ms, time.Second, time.Minute, time.Hour} {
		var c ewma.Cost
		for i := range 1000 {
			now := time.Duration(i) * pace
			c.Failed(now, 50*time.Microsecond, tau, float64(30*ms))
			if got := c.At(now, tau, 0); got < float64(30*ms)*(1-1e-6) {
				t.Fatalf("after %d failures, each %v: %v", i+1, pace, got)
			}
		}
	}
}

// Many tell at once: nothing is lost, nothing is made up.
func TestCostAmongMany(t *testing.T) {
	const tellers, each = 8, 500
	var c, alone, failing ewma.Cost
	c.Served(0, 10*ms, tau)
	alone.Served(0, 10*ms, tau)
	failing.Served(0, 10*ms, tau)
	var all sync.WaitGroup
	for range tellers {
		all.Go(func() {
			for range each {
				c.Served(ms, 100*ms, tau)
				failing.Failed(ms, ms, tau, float64(time.Second))
				if got := c.At(ms, tau, 0); !(got >= float64(10*ms)*(1-1e-6) && got <= float64(100*ms)*(1+1e-6)) {
					t.Errorf("between 10 and 100 ms: %v", got)
				}
			}
		})
	}
	all.Wait()
	for range tellers * each {
		alone.Served(ms, 100*ms, tau)
	}
	about(t, "told by many", c.At(ms, tau, 0), alone.At(ms, tau, 0), 1e-6)
	about(t, "failing for many", failing.At(ms, tau, 0), float64(time.Second), 1e-6)
}

func TestMixedTellers(t *testing.T) {
	var c ewma.Cost
	c.Served(wrap-50*ms, 10*ms, tau)
	var all sync.WaitGroup
	for teller := range 6 {
		all.Go(func() {
			for i := range 2000 {
				now := wrap + time.Duration(i-1000)*100*time.Microsecond
				switch (teller + i) % 3 {
				case 0:
					c.Served(now, 10*ms, tau)
				case 1:
					c.Failed(now, ms, tau, float64(50*ms))
				}
				if got := c.At(now, tau, 0); !(got >= 9e6 && got <= 51e6) { // a little is forgotten by who reads late
					t.Errorf("between 10 and 50 ms: %v", got)
				}
			}
		})
	}
	all.Wait()
}
