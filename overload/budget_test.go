package overload_test

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/overload"
)

// ledger is what a Budget was asked and what it gave, by time.
type ledger struct{ requests, taken []time.Duration }

// between counts the times in (from, to].
func between(times []time.Duration, from, to time.Duration) (n float64) {
	for _, at := range times {
		if at > from && at <= to {
			n++
		}
	}
	return n
}

// TestRetriesStayWithinTheBudget is the law of the research: attempts are no
// more than 1.2 × requests + 10/s, whatever comes when, from the beginning to
// any time after its first second, and between any two times with what was saved
// before.
func TestRetriesStayWithinTheBudget(t *testing.T) {
	random(t, func(t *testing.T, dice *rand.Rand) {
		for range 20 {
			o := overload.BudgetOptions{Share: dice.Float64(), PerSecond: 20 * dice.Float64(), TTL: time.Duration(1 + dice.Int64N(int64(20*time.Second)))}
			if dice.IntN(4) == 0 {
				o = overload.BudgetOptions{}
			}
			checkLedger(t, dice, o)
		}
	})
}

func checkLedger(t *testing.T, dice *rand.Rand, o overload.BudgetOptions) {
	t.Helper()
	share, perSecond, ttl := o.Share, o.PerSecond, o.TTL
	if o == (overload.BudgetOptions{}) {
		share, perSecond, ttl = 0.2, 10, 10*time.Second
	}
	start := time.Duration(dice.Int64N(int64(time.Hour)))
	b, now, book := overload.NewBudget(o, start), start, ledger{}
	for range 400 {
		switch dice.IntN(20) {
		case 0:
			now += time.Duration(dice.Int64N(int64(2 * ttl)))
		case 1, 2, 3, 4:
			now += time.Duration(dice.Int64N(int64(ttl)/10 + 1))
		}
		for range dice.IntN(20) {
			b.Request(now)
			book.requests = append(book.requests, now)
		}
		for range dice.IntN(20) {
			left := b.Left(now)
			took := b.Take(now)
			if took != (left > 0) {
				t.Fatalf("%+v: %d left, and taking one is %v", o, left, took)
			}
			if took {
				book.taken = append(book.taken, now)
			}
		}
		seconds := math.Max((now - start).Seconds(), min(1, max(ttl.Seconds(), 1/perSecond)))
		if most := share*float64(len(book.requests)) + perSecond*seconds; float64(len(book.taken)) > most+1e-6 {
			t.Fatalf("%+v: after %v and %d requests %d more attempts, %f are the most", o, now-start, len(book.requests), len(book.taken), most)
		}
	}
	for range 50 {
		from := start + time.Duration(dice.Int64N(int64(now-start)+1))
		to := from + time.Duration(dice.Int64N(int64(now-from)+1))
		saved := max(ttl.Seconds(), 1/perSecond)
		most := share*between(book.requests, from-ttl, to) + perSecond*((to-from).Seconds()+saved)
		if got := between(book.taken, from, to); got > most+1e-6 {
			t.Fatalf("%+v: %v more attempts in %v, %f are the most", o, got, to-from, most)
		}
	}
	if b.Taken() != uint64(len(book.taken)) {
		t.Errorf("%d taken, says the budget, and it were %d", b.Taken(), len(book.taken))
	}
}

// TestEverythingFails: 30 s of 100 requests a second, none of which succeeds,
// each tried again as often as it may.
func TestEverythingFails(t *testing.T) {
	var b overload.Budget
	attempts := 0
	for i := range 3000 {
		now := time.Duration(i) * 10 * time.Millisecond
		b.Request(now)
		attempts++
		for range 3 {
			if b.Take(now) {
				attempts++
			}
		}
	}
	if most := 3000*1.2 + 10*30; float64(attempts) > most || float64(attempts) < most-10 {
		t.Errorf("%d attempts, they should be %v and no more", attempts, most)
	}
	if b.Taken()+3000 != uint64(attempts) || b.Taken()+b.Refused() != 9000 {
		t.Errorf("%d attempts, %d taken, %d refused", attempts, b.Taken(), b.Refused())
	}
}

// drain takes all there is.
func drain(b *overload.Budget, now time.Duration) (n int) {
	for b.Take(now) {
		n++
	}
	return n
}

func TestAnIdlePoolHasItsTenASecond(t *testing.T) {
	for _, start := range []time.Duration{0, time.Millisecond, 1234567 * time.Second} {
		b := overload.NewBudget(overload.BudgetOptions{}, start)
		if n := drain(b, start); n != 10 {
			t.Errorf("from %v: %d at once, 10 are a second's", start, n)
		}
		if n := drain(b, start+time.Second); n != 0 {
			t.Errorf("from %v: %d of the first second are given twice", start, n)
		}
		now := start + time.Second
		for range 1000 {
			now += 100 * time.Millisecond
			if n := drain(b, now); n != 1 {
				t.Fatalf("from %v: %d after a tenth of a second", start, n)
			}
		}
		for _, idle := range []time.Duration{10 * time.Second, time.Hour, 1 << 20 * time.Second} {
			now += idle
			if left, n := b.Left(now), drain(b, now); n != 100 || left != n {
				t.Errorf("from %v: %d after %v, 10 s are saved: 100; said were %d", start, n, idle, left)
			}
		}
	}
}

func TestSavedSharesAreGoneAfterTheirTime(t *testing.T) {
	// Shares of a request are kept between nine tenths of the time and all of it.
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 200}, {8900 * time.Millisecond, 200}, {10 * time.Second, 0}, {time.Hour, 0}, {1 << 16 * time.Second, 0}, {1 << 20 * time.Second, 0}} {
		b := overload.NewBudget(overload.BudgetOptions{PerSecond: -1}, 0)
		for range 1000 {
			b.Request(0)
		}
		if n := drain(b, c.after); n != c.want {
			t.Errorf("after %v: %d, want %d", c.after, n, c.want)
		}
	}
}

// TestTheOldestIsSpentFirst: what is left is of the later requests, and lives on.
func TestTheOldestIsSpentFirst(t *testing.T) {
	b := overload.NewBudget(overload.BudgetOptions{PerSecond: -1}, 0)
	for i := range 200 {
		b.Request(time.Duration(i/100) * 8 * time.Second)
	}
	for range 20 {
		b.Take(8 * time.Second)
	}
	if n := drain(b, 16*time.Second); n != 20 {
		t.Errorf("%d are left of the second hundred, it should be 20", n)
	}
}

func TestBudgetsCanBeOff(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      overload.BudgetOptions
		second int // at 0, after 10 requests
		later  int // at 10 s, after 10 more
	}{
		{"nothing", overload.BudgetOptions{Share: -1, PerSecond: -1}, 0, 0},
		{"by time only", overload.BudgetOptions{Share: -1}, 10, 90},
		{"by share only", overload.BudgetOptions{PerSecond: -1}, 2, 2},
		{"no numbers", overload.BudgetOptions{Share: math.NaN(), PerSecond: math.NaN()}, 0, 0},
		{"all", overload.BudgetOptions{Share: 1, PerSecond: -1}, 10, 10},
		{"rare", overload.BudgetOptions{Share: -1, PerSecond: 0.05, TTL: time.Second}, 0, 0},
	} {
		b, got := overload.NewBudget(c.o, 0), [2]int{}
		for i := range got {
			now := time.Duration(i) * 10 * time.Second
			for range 10 {
				b.Request(now)
			}
			got[i] = drain(b, now)
		}
		if got != [2]int{c.second, c.later} {
			t.Errorf("%s: %v, want %d and %d", c.name, got, c.second, c.later)
		}
	}
	rare := overload.NewBudget(overload.BudgetOptions{Share: -1, PerSecond: 0.05, TTL: time.Second}, 0)
	if drain(rare, 19*time.Second) != 0 || drain(rare, 20*time.Second) != 1 {
		t.Error("one in 20 s is more than the time it can be saved for, and none all the same")
	}
}

// TestABudgetIsSpentOnce: however many spend it together, it is neither more nor
// less than there is.
func TestABudgetIsSpentOnce(t *testing.T) {
	var b overload.Budget
	const workers, each = 8, 2000
	var taken atomic.Int64
	together(workers, func(worker int) {
		for i := range each {
			now := time.Duration(i) * time.Millisecond
			b.Request(now)
			if (i+worker)%2 == 0 && b.Take(now) {
				taken.Add(1)
			}
		}
	})
	end := each * time.Millisecond
	rest := int64(drain(&b, end))
	if all := int64(workers*each/5 + 10*each/1000); taken.Load()+rest != all {
		t.Errorf("%d taken and %d at the end, of %d", taken.Load(), rest, all)
	}
	if b.Taken() != uint64(taken.Load()+rest) || b.Taken()+b.Refused() != uint64(workers*each/2+int(rest)+1) {
		t.Errorf("%d taken, %d refused", b.Taken(), b.Refused())
	}
}

// TestAHardlyEverIsNoAlways: shares and rates that are too small to reckon with
// buy nothing, and those that are no number neither.
func TestAHardlyEverIsNoAlways(t *testing.T) {
	for _, tiny := range []float64{1e-10, 1e-15, 1e-300, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(-1)} {
		for _, o := range []overload.BudgetOptions{{Share: tiny, PerSecond: -1}, {Share: -1, PerSecond: tiny}, {Share: tiny, PerSecond: tiny, TTL: math.MaxInt64}} {
			b := overload.NewBudget(o, 0)
			for range 1000 {
				b.Request(time.Hour)
				if b.Left(time.Hour) != 0 || b.Take(time.Hour) {
					t.Fatalf("%+v: one more", o)
				}
			}
		}
	}
}
