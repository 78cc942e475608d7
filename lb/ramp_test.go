package lb_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"viaduct/lb"
)

const window = time.Minute

// curve is the share of its weight that an endpoint has since it became ready.
func curve(since time.Duration, aggression float64) float64 {
	return min(1, max(0.1, math.Pow(float64(since)/float64(window), 1/aggression)))
}

// beginner is how an endpoint comes to be new.
type beginner struct {
	name   string
	policy lb.Policy
	list   []lb.Member
	who    int
	load   float64 // how long an answer takes, in paces
	curve  float64
	enter  func(t *testing.T, b *beginner, p *lb.Pool, seed uint64, now time.Duration)
}

func recovers(_ *testing.T, b *beginner, p *lb.Pool, _ uint64, now time.Duration) {
	p.Set(p.Nodes()[b.who], lb.Sick, now)
	p.Set(p.Nodes()[b.who], lb.Ready, now)
}

func joins(t *testing.T, b *beginner, p *lb.Pool, seed uint64, now time.Duration) {
	t.Helper()
	o := lb.Options{Policy: b.policy, SlowStart: window, Aggression: b.curve}
	update(t, p, seed, o, slices.Delete(slices.Clone(b.list), b.who, b.who+1), now)
	update(t, p, seed, o, b.list, now)
}

// ramps follows one endpoint over its slow start: in each tenth of the window
// its share is within three points of the curve, or within what chance does
// once in a thousand million, and the others keep theirs.
func ramps(t *testing.T, seed uint64, b beginner) {
	t.Helper()
	n := len(b.list)
	tenth := 3000
	if n == 2 {
		tenth = 8000
	}
	pace := window / 10 / time.Duration(tenth)
	load := time.Duration(b.load * float64(pace))
	p := newPool(t, seed, lb.Options{Policy: b.policy, SlowStart: window, Aggression: b.curve}, b.list)
	d := newDrive(t, p, seed, pace, load)
	warm := tenth
	if b.policy.Keyed() { // whose tables are not quite exact: count
		warm = 4 * tenth
	}
	before := d.tally(warm, n)
	own := float64(before[b.who]) / float64(warm)
	if !b.policy.Keyed() {
		own = weightShare(b.list, b.who)
	}
	d.settle(math.MaxInt64)
	d.open = nil
	b.enter(t, &b, p, seed, d.now)
	start, others := d.now, make([]int, n)
	for k := range 10 {
		want := 0.0
		counts := make([]int, n)
		for range tenth {
			r := curve(d.now+pace-start, b.curve)
			want += own * r / (1 - own + own*r)
			counts[at(d.next())]++
		}
		want /= float64(tenth)
		points := max(3, 650*math.Sqrt(want*(1-want)/float64(tenth)+own*(1-own)/float64(4*tenth))) // what chance alone does
		if got := share(counts, b.who); math.Abs(got-100*want) > points {
			t.Errorf("%s %s, %d endpoints, seed %d: in tenth %d its share is %.1f %%, want %.1f ± %.1f", b.policy, b.name, n, seed, k+1, got, 100*want, points)
		}
		for i := range others {
			others[i] += counts[i]
		}
	}
	d.finish()
	weights := floats(b.list)
	if b.policy.Keyed() {
		for i := range weights {
			weights[i] = float64(before[i])
		}
	}
	others[b.who], weights[b.who] = 0, 0
	shares(t, b.name+": the others", others, weights, 3)
}

func weightShare(list []lb.Member, i int) float64 {
	sum := 0.0
	for _, w := range floats(list) {
		sum += w
	}
	return float64(list[i].Weight) / sum
}

func TestSlowStartFollowsTheCurve(t *testing.T) {
	alone(t)
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			ramps(t, seed, beginner{name: "under load", policy: policy, list: members(8), who: 3, load: 32, curve: 1, enter: recovers})
			ramps(t, seed, beginner{name: "joining", policy: policy, list: members(8), who: 7, load: 4, curve: 1, enter: joins})
			ramps(t, seed, beginner{name: "one by one", policy: policy, list: members(8), who: 3, load: 0.5, curve: 1, enter: recovers})
			ramps(t, seed, beginner{name: "one of two", policy: policy, list: members(2), who: 0, load: 0.5, curve: 1, enter: recovers})
			ramps(t, seed, beginner{name: "one of two under load", policy: policy, list: members(2), who: 0, load: 16, curve: 1, enter: recovers})
			ramps(t, seed, beginner{name: "steeply", policy: policy, list: members(8), who: 3, load: 4, curve: 2, enter: recovers})
		})
	})
}

func TestSlowStartFollowsTheWeights(t *testing.T) {
	alone(t)
	chosen := func(p lb.Policy) bool { return spreads(p) && p != lb.LeastConn } // which looks at load alone
	eachPolicy(t, chosen, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			ramps(t, seed, beginner{name: "weighing", policy: policy, list: weighing(1, 2, 1, 3, 2, 1), who: 3, load: 0.5, curve: 1, enter: recovers})
		})
	})
}

// In failover the share that is not yet for the first goes to the second.
func TestSlowStartOfTheFirst(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		p := newPool(t, seed, lb.Options{Policy: lb.First, SlowStart: window}, members(3))
		d := newDrive(t, p, seed, 2*time.Millisecond, time.Millisecond)
		d.tally(10, 3)
		p.Set(p.Nodes()[0], lb.Sick, d.now)
		p.Set(p.Nodes()[0], lb.Ready, d.now)
		last := 0.0
		for k := range 10 {
			counts := d.tally(3000, 3)
			got := share(counts, 0)
			if counts[2] > 0 || got < last-5 {
				t.Fatalf("tenth %d: %v after %.1f %%", k+1, counts, last)
			}
			last = got
		}
		if c := d.tally(100, 3); c[0] != 100 {
			t.Fatalf("after the window: %v", c)
		}
	})
}

// Nobody has to be spared when all are new, or all are back.
func TestWholePoolDoesNotRamp(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			o := lb.Options{Policy: policy, SlowStart: window}
			p := newPool(t, seed, o, members(5))
			d := newDrive(t, p, seed, time.Millisecond, 500*time.Microsecond)
			shares(t, "a new pool", d.tally(3000, 5), evenly(5), 6)
			for _, n := range p.Nodes() {
				p.Set(n, lb.Sick, d.now)
			}
			for _, n := range p.Nodes() {
				p.Set(n, lb.Ready, d.now)
			}
			shares(t, "all are back", d.tally(3000, 5), evenly(5), 6)
			d.finish()
		})
	})
}

func TestNewListKeepsKeysAtHome(t *testing.T) {
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		for _, n := range []int{10, 80} {
			plain := homes(t, newPool(t, 1, lb.Options{Policy: policy}, members(n)), 2000, 0)
			o := lb.Options{Policy: policy, SlowStart: window}
			if m := moved(plain, homes(t, newPool(t, 1, o, members(n)), 2000, 0)); m > 0 {
				t.Errorf("a new pool of %d: %d of 2000 keys are not at home", n, m)
			}
			others := []lb.Member{{ID: "a", Weight: 1}, {ID: "b", Weight: 1}}
			p := newPool(t, 1, o, others)
			update(t, p, 1, o, members(n), time.Second)
			if m := moved(plain, homes(t, p, 2000, time.Second)); m > 0 {
				t.Errorf("a list of %d that is all new: %d of 2000 keys are not at home", n, m)
			}
		}
	})
}

// A key that has come home stays there, and the keys of others never move.
func TestKeysComeHomeOneByOne(t *testing.T) {
	alone(t)
	eachPolicy(t, lb.Policy.Keyed, func(t *testing.T, policy lb.Policy) {
		eachSeed(t, func(t *testing.T, seed uint64) {
			for _, n := range []int{4, 10, 100} {
				p := newPool(t, seed, lb.Options{Policy: policy, SlowStart: window}, members(n))
				who := p.Nodes()[n/2]
				full := homes(t, p, 2000, 0)
				start := time.Hour
				p.Set(who, lb.Sick, start)
				away := homes(t, p, 2000, start)
				p.Set(who, lb.Ready, start)
				before := 0
				for step := range 21 {
					now := start + window*time.Duration(step)/20
					got, home := homes(t, p, 2000, now), 0
					for i := range got {
						if got[i] == who.ID() {
							home++
							away[i] = got[i]
						}
						if got[i] != away[i] || got[i] == who.ID() && full[i] != got[i] {
							t.Fatalf("of %d, at %d/20: key %d went from %s to %s, its home is %s", n, step, i, away[i], got[i], full[i])
						}
					}
					if home < before || step == 0 && home == 0 && n < 50 {
						t.Fatalf("of %d, at %d/20: %d keys are home after %d", n, step, home, before)
					}
					before = home
				}
				if m := moved(full, homes(t, p, 2000, start+window)); m > 0 {
					t.Fatalf("of %d, at the end: %d keys are not home", n, m)
				}
			}
		})
	})
}

func TestSlowStartIsOffByDefaultAndEnds(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		for _, span := range []time.Duration{0, time.Second} {
			p := newPool(t, 1, lb.Options{Policy: policy, SlowStart: span}, members(4))
			d := newDrive(t, p, 1, time.Millisecond, 500*time.Microsecond)
			p.Set(p.Nodes()[0], lb.Out, d.now)
			d.tally(100, 4)
			p.Set(p.Nodes()[0], lb.Ready, d.now)
			d.now += span
			if got := share(d.tally(4000, 4), 0); got < 18 {
				t.Errorf("slow start %v: it has %.1f %% of 25", span, got)
			}
			d.finish()
		}
	})
}

// One endpoint alone serves all, however new it is.
func TestLastOneServesThoughItIsNew(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy, SlowStart: window}, members(3))
		for _, n := range p.Nodes() {
			p.Set(n, lb.Out, 1)
		}
		p.Set(p.Nodes()[1], lb.Ready, 2)
		for i := range 100 {
			if got := once(t, p, lb.Ask{Key: key(i), Keyed: true, Now: 3}); at(got) != 1 {
				t.Fatalf("%s was picked", got.ID())
			}
		}
	})
}

// Any slow start begins with a tenth, also a short one.
func TestShortSlowStartIsOne(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		for _, span := range []time.Duration{time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second} {
			p := newPool(t, 1, lb.Options{Policy: policy, SlowStart: span}, members(10))
			p.Set(p.Nodes()[0], lb.Sick, time.Second)
			p.Set(p.Nodes()[0], lb.Ready, time.Minute)
			got := 0
			for i := range 5000 {
				if at(once(t, p, lb.Ask{Key: key(i), Keyed: true, Now: time.Minute})) == 0 {
					got++
				}
			}
			if got == 0 || got > 125 { // want 55: nine standard deviations
				t.Errorf("slow start %v: at its beginning one of ten has %d of 5000", span, got)
			}
		}
	})
}

// A weight that was 0 is reached slowly, whoever says it.
func TestWeightFromZeroStartsSlowly(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		o := lb.Options{Policy: policy, SlowStart: window}
		list := members(10)
		for name, raise := range map[string]func(p *lb.Pool){
			"the list": func(p *lb.Pool) { update(t, p, 1, o, list, time.Hour) },
			"a word":   func(p *lb.Pool) { p.SetWeight(p.Nodes()[0], 1, time.Hour) },
		} {
			first := slices.Clone(list)
			first[0].Weight = 0
			p := newPool(t, 1, o, first)
			raise(p)
			if got := firstOf(t, p, time.Hour); got == 0 || got > 125 {
				t.Errorf("%s says 1 after 0: at its beginning it has %d of 5000", name, got)
			}
			if got := firstOf(t, p, time.Hour+window); got < 350 {
				t.Errorf("%s says 1 after 0: at the end it has %d of 5000", name, got)
			}
		}
	})
}

// firstOf is how many of 5000 the first one gets.
func firstOf(t *testing.T, p *lb.Pool, now time.Duration) int {
	t.Helper()
	got := 0
	for i := range 5000 {
		if at(once(t, p, lb.Ask{Key: key(i), Keyed: true, Now: now})) == 0 {
			got++
		}
	}
	return got
}

// In panic the one that recovers has at least what a sick one has.
func TestPanicSparesNobody(t *testing.T) {
	eachPolicy(t, spreads, func(t *testing.T, policy lb.Policy) {
		p := newPool(t, 1, lb.Options{Policy: policy, SlowStart: window}, members(10))
		for _, n := range p.Nodes() {
			p.Set(n, lb.Sick, time.Second)
		}
		p.Set(p.Nodes()[0], lb.Ready, time.Hour)
		if got := firstOf(t, p, time.Hour+1); got < 300 {
			t.Errorf("the only healthy one of ten has %d of 5000", got)
		}
	})
}

// Durations since any one moment may be negative, and 0 is one like others.
func TestClockMayBeNegative(t *testing.T) {
	alone(t)
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		for _, now := range []time.Duration{-time.Hour, -1, 0} {
			p, err := lb.New(lb.Options{Policy: policy, SlowStart: time.Second, Queue: 1}, members(300), now)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				p.Set(p.Nodes()[i], lb.Sick, now)
				p.Set(p.Nodes()[i], lb.Ready, now+time.Duration(i))
				a := lb.Ask{Now: now + time.Duration(i), Key: key(i), Keyed: true}
				n := take(t, p, a)
				n.Observe(a.Now, time.Millisecond, lb.Outcome(i%3))
				n.End()
				p.Explain(&a)
			}
		}
	})
}
