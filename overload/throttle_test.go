package overload_test

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/overload"
)

// TestTheChanceIsTheBooks compares every decision with the formula and a count
// of the window by hand, from the same dice.
func TestTheChanceIsTheBooks(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for range 20 {
			o := overload.ThrottleOptions{
				K: 1 + 2*dice.Float64(), Window: time.Duration(1+dice.IntN(100)) * 100 * time.Millisecond,
				After: 1 + dice.IntN(50), Probe: time.Duration(1 + dice.Int64N(int64(time.Second))),
			}
			checkChance(t, dice, o)
		}
	})
}

func checkChance(t *testing.T, dice *rand.Rand, o overload.ThrottleOptions) {
	t.Helper()
	var roll uint64
	o.Rand = func() uint64 { return roll }
	guard := overload.NewThrottle(o)
	type count struct{ requests, accepted int }
	book := make(map[int64]count) // by step
	now, probed, refused := time.Duration(dice.Int64N(int64(time.Hour))), time.Duration(0), uint64(0)
	for range 2000 {
		if dice.IntN(10) == 0 {
			now += time.Duration(dice.Int64N(int64(o.Window) / 5))
		}
		at, all := int64(now/(o.Window/10)), count{}
		for step, n := range book {
			if step > at-10 {
				all = count{all.requests + n.requests, all.accepted + n.accepted}
			}
		}
		want := 0.0
		if all.requests >= o.After {
			want = max(0, (float64(all.requests)-o.K*float64(all.accepted))/float64(all.requests+1))
		}
		if got := guard.Chance(now); got != want || got < 0 || got >= 1 {
			t.Fatalf("%+v: chance %v of %+v, want %v", o, got, all, want)
		}
		roll = dice.Uint64()
		admit := want == 0 || float64(roll>>11)/(1<<53) >= want
		if !admit && now-probed >= o.Probe {
			admit, probed = true, now
		}
		if got := guard.Admit(now); got != admit {
			t.Fatalf("%+v: admitted is %v, want %v", o, got, admit)
		}
		n := book[at]
		n.requests++
		if !admit {
			refused++
		} else {
			accepted := dice.IntN(3) == 0
			guard.Report(now, accepted)
			if accepted {
				n.accepted++
			}
		}
		book[at] = n
	}
	if guard.Refused() != refused {
		t.Errorf("%d refused, says the throttle, and it were %d", guard.Refused(), refused)
	}
}

// served is an upstream that accepts so many a second and refuses the rest, under
// so many requests a second. It returns those sent, and those accepted.
func served(guard *overload.Throttle, dice *rand.Rand, from, to time.Duration, asked, most float64) (sent, accepted int) {
	tokens, last := 1.0, from
	for now := from; now < to; now += time.Duration(dice.ExpFloat64() / asked * float64(time.Second)) {
		if !guard.Admit(now) {
			continue
		}
		sent++
		tokens, last = min(tokens+most*(now-last).Seconds(), max(1, most/10)), now
		if tokens >= 1 && most > 0 {
			tokens--
			accepted++
			guard.Report(now, true)
			continue
		}
		guard.Report(now, false)
	}
	return sent, accepted
}

// TestAnUpstreamIsSentTwiceWhatItAccepts: of the K = 2 of the book, under five
// and fifty times as much as it can do.
func TestAnUpstreamIsSentTwiceWhatItAccepts(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for _, asked := range []float64{1000, 10000} {
			const most, seconds = 200, 30
			guard := overload.NewThrottle(overload.ThrottleOptions{Rand: dice.Uint64})
			served(guard, dice, 0, 10*time.Second, asked, most)
			sent, accepted := served(guard, dice, 10*time.Second, (10+seconds)*time.Second, asked, most)
			if float64(sent) > 1.15*(2*float64(accepted)+10*seconds) {
				t.Errorf("%v a second: %d sent for %d accepted", asked, sent, accepted)
			}
			if accepted < most*seconds*8/10 {
				t.Errorf("%v a second: %d accepted, it could have been %d", asked, accepted, most*seconds)
			}
		}
	})
}

// TestAThrottleRecovers: after an outage of a minute, whatever the rate, all is
// sent again before long, and from then on.
func TestAThrottleRecovers(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for _, asked := range []float64{50, 500, 5000} {
			guard := overload.NewThrottle(overload.ThrottleOptions{Rand: dice.Uint64})
			served(guard, dice, 0, 10*time.Second, asked, 0)
			before := guard.Refused()
			sent, _ := served(guard, dice, 10*time.Second, 30*time.Second, asked, 0)
			// 10 a second are probes; a window that is nearly all refusals lets no more through than one in the window's count.
			if float64(sent) > 20*10+20*asked/(3*asked*0.9)+30 || guard.Refused() == before {
				t.Errorf("%v a second: %d sent to an upstream that accepts none", asked, sent)
			}
			served(guard, dice, 30*time.Second, 60*time.Second, asked, 2*asked+100)
			before = guard.Refused()
			sent, accepted := served(guard, dice, 60*time.Second, 70*time.Second, asked, 2*asked+100)
			if guard.Chance(70*time.Second) > 0 || guard.Refused() > before || sent == 0 || accepted < sent*9/10 {
				t.Errorf("%v a second: 30 s after the outage %d of %d are refused", asked, guard.Refused()-before, sent)
			}
		}
	})
}

func TestAHealthyUpstreamIsSentEverything(t *testing.T) {
	for _, c := range []struct {
		name     string
		accepted func(i int) bool
	}{
		{"all is well", func(int) bool { return true }},
		{"half of it fails", func(i int) bool { return i%2 == 0 }},
	} {
		var guard overload.Throttle
		for i := range 100_000 {
			now := time.Duration(i) * time.Millisecond
			if !guard.Admit(now) {
				t.Fatalf("%s: request %d is refused", c.name, i)
			}
			guard.Report(now, c.accepted(i))
		}
	}
}

// TestOddOptionsOfAThrottle: an infinite K is how it is turned off.
func TestOddOptionsOfAThrottle(t *testing.T) {
	for k, want := range map[float64]float64{math.Inf(1): 0, math.NaN(): 800.0 / 1001, math.Inf(-1): 800.0 / 1001, 1e308: 0} {
		guard := overload.NewThrottle(overload.ThrottleOptions{K: k})
		for i := range 1000 {
			guard.Report(0, i < 100)
		}
		if p := guard.Chance(0); p != want {
			t.Errorf("K %v: chance %v, want %v", k, p, want)
		}
	}
	guard := overload.NewThrottle(overload.ThrottleOptions{K: math.Inf(1)})
	for i := range 1000 {
		guard.Report(0, false)
		if !guard.Admit(0) {
			t.Fatalf("request %d is refused", i)
		}
	}
}

// TestALateReportWipesNothing: of a goroutine that stood still for a window.
func TestALateReportWipesNothing(t *testing.T) {
	for late := 3 * time.Second; late <= 60*time.Second; late += 3 * time.Second {
		guard, now := overload.NewThrottle(overload.ThrottleOptions{}), time.Hour
		for range 1000 {
			guard.Report(now, false)
		}
		guard.Report(now-late, true)
		if p := guard.Chance(now); p != 1000.0/1001 {
			t.Errorf("chance %v after a report that is %v late", p, late)
		}
	}
}

// TestFewRequestsSayNothing: nor does what was long ago.
func TestFewRequestsSayNothing(t *testing.T) {
	guard := overload.NewThrottle(overload.ThrottleOptions{Rand: func() uint64 { return 0 }}) // refuses whenever it may
	for range 99 {
		guard.Report(0, false)
		if !guard.Admit(0) {
			t.Fatal("refused after fewer than a hundred")
		}
	}
	guard.Report(0, false)
	if p := guard.Chance(0); p != 100.0/101 || guard.Admit(0) {
		t.Errorf("chance %v after a hundred failures", p)
	}
	for _, later := range []time.Duration{3 * time.Second, time.Hour, 1 << 16 * 300 * time.Millisecond} {
		if p := guard.Chance(later); p != 0 || !guard.Admit(later) {
			t.Errorf("chance %v after %v of silence", p, later)
		}
	}
}

// TestASlowUpstreamIsNotRefused: requests that have not ended yet say nothing.
func TestASlowUpstreamIsNotRefused(t *testing.T) {
	var guard overload.Throttle
	for i := range 100_000 {
		if !guard.Admit(time.Duration(i) * time.Microsecond) {
			t.Fatalf("request %d is refused before any has ended", i)
		}
	}
}

func TestAThrottleCountsTogether(t *testing.T) {
	guard := overload.NewThrottle(overload.ThrottleOptions{Window: time.Hour})
	const workers, each = 8, 2000
	var sent, refused atomic.Int64
	together(workers, func(worker int) {
		for i := range each {
			now := time.Duration(i) * time.Millisecond
			if !guard.Admit(now) {
				refused.Add(1)
				continue
			}
			sent.Add(1)
			guard.Report(now, worker == 0)
		}
	})
	if guard.Refused() != uint64(refused.Load()) || sent.Load()+refused.Load() != workers*each {
		t.Errorf("%d sent, %d refused, and said to be %d", sent.Load(), refused.Load(), guard.Refused())
	}
	if refused.Load() == 0 || sent.Load() == 0 {
		t.Errorf("%d sent, %d refused: seven of eight fail", sent.Load(), refused.Load())
	}
}
