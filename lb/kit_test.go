package lb_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"viaduct/lb"
)

// eachSeed runs a law with seeds that were seen before and one that never was.
func eachSeed(t *testing.T, law func(t *testing.T, seed uint64)) {
	t.Helper()
	seeds := []uint64{42, rand.Uint64()}
	if raceEnabled {
		seeds = seeds[1:] // the detector looks for races, ten times slower
	}
	for _, seed := range seeds {
		t.Logf("seed %d", seed)
		law(t, seed)
	}
}

// alone skips a law of one goroutine where races are looked for.
func alone(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("nothing here runs at the same time")
	}
}

// eachPolicy runs a law with each policy that keep takes, nil takes all.
func eachPolicy(t *testing.T, keep func(lb.Policy) bool, law func(t *testing.T, policy lb.Policy)) {
	t.Helper()
	for _, policy := range lb.Policies() {
		if keep == nil || keep(policy) {
			t.Run(policy.String(), func(t *testing.T) {
				t.Parallel()
				law(t, policy)
			})
		}
	}
}

// spreads tells the policies that give every endpoint its share.
func spreads(p lb.Policy) bool { return p != lb.First }

func newDice(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// members are n endpoints of weight 1.
func members(n int) []lb.Member {
	return weighing(slices.Repeat([]uint32{1}, n)...)
}

func weighing(weights ...uint32) []lb.Member {
	list := make([]lb.Member, len(weights))
	for i, w := range weights {
		list[i] = lb.Member{ID: "e" + strconv.Itoa(i), Weight: w, Of: i}
	}
	return list
}

// newPool has its randomness from the seed unless the options have their own.
func newPool(t testing.TB, seed uint64, o lb.Options, list []lb.Member) *lb.Pool {
	t.Helper()
	o.Seed = max(seed, 1)
	if o.Rand == nil {
		o.Rand = newDice(seed).Uint64
	}
	p, err := lb.New(o, list, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func update(t testing.TB, p *lb.Pool, seed uint64, o lb.Options, list []lb.Member, now time.Duration) {
	t.Helper()
	o.Seed = max(seed, 1)
	if o.Rand == nil {
		o.Rand = newDice(seed).Uint64
	}
	if err := p.Update(o, list, now); err != nil {
		t.Fatal(err)
	}
}

// take picks and wants somebody.
func take(t testing.TB, p *lb.Pool, a lb.Ask) *lb.Node {
	n, how := p.Pick(&a)
	if n == nil {
		t.Helper() // which costs more than the pick
		t.Fatalf("nobody was picked: %v", how)
	}
	return n
}

// once picks and ends at once.
func once(t testing.TB, p *lb.Pool, a lb.Ask) *lb.Node {
	n := take(t, p, a)
	n.End()
	return n
}

// at is the endpoint's place in the list, which weighing put into Of.
func at(n *lb.Node) int { return n.Of().(int) }

// drive sends requests at an even pace under a clock of its own, each with a
// random key, and ends them when their time has come.
type drive struct {
	t       testing.TB
	pool    *lb.Pool
	dice    *rand.Rand
	now     time.Duration
	pace    time.Duration
	answers func(n *lb.Node) (time.Duration, lb.Outcome)
	open    []flight // by due time
}

type flight struct {
	node    *lb.Node
	due     time.Duration
	took    time.Duration
	outcome lb.Outcome
}

// newDrive sends a request every pace; all answers take the same time. With a
// latency below the pace requests follow one another, else some are in flight.
func newDrive(t testing.TB, p *lb.Pool, seed uint64, pace, latency time.Duration) *drive {
	return &drive{
		t: t, pool: p, dice: newDice(seed ^ 0xd1ce), pace: pace,
		answers: func(*lb.Node) (time.Duration, lb.Outcome) { return latency, lb.Served },
	}
}

// next sends one request and tells who has got it.
func (d *drive) next() *lb.Node {
	d.now += d.pace
	d.settle(d.now)
	n := take(d.t, d.pool, lb.Ask{Key: d.dice.Uint64(), Keyed: true, Now: d.now})
	took, outcome := d.answers(n)
	f := flight{node: n, due: d.now + took, took: took, outcome: outcome}
	i := len(d.open)
	for i > 0 && d.open[i-1].due > f.due {
		i--
	}
	d.open = slices.Insert(d.open, i, f)
	return n
}

// settle ends what is due.
func (d *drive) settle(now time.Duration) {
	k := 0
	for ; k < len(d.open) && d.open[k].due <= now; k++ {
		f := d.open[k]
		f.node.Observe(f.due, f.took, f.outcome)
		f.node.End()
	}
	d.open = slices.Delete(d.open, 0, k)
}

// tally counts the next k requests by the place in the list.
func (d *drive) tally(k, n int) []int {
	counts := make([]int, n)
	for range k {
		counts[at(d.next())]++
	}
	return counts
}

// finish ends everything and wants nothing in flight.
func (d *drive) finish() {
	d.t.Helper()
	d.settle(math.MaxInt64)
	idle(d.t, d.pool)
}

func idle(t testing.TB, p *lb.Pool) {
	t.Helper()
	for _, n := range p.Nodes() {
		if n.InFlight() != 0 {
			t.Fatalf("%s has %d in flight, want none", n.ID(), n.InFlight())
		}
	}
}

// fits is Pearson's chi-squared test at six standard deviations, which honest
// draws fail once in a thousand million runs (Wilson and Hilferty's bound).
func fits(t testing.TB, counts []int, weights []float64) {
	t.Helper()
	total, sum, chi, free := 0, 0.0, 0.0, -1.0
	for i, w := range weights {
		total += counts[i]
		sum += w
	}
	for i, w := range weights {
		if w == 0 {
			if counts[i] > 0 {
				t.Fatalf("endpoint %d of weight 0 has got %d", i, counts[i])
			}
			continue
		}
		want := float64(total) * w / sum
		chi += (float64(counts[i]) - want) * (float64(counts[i]) - want) / want
		free++
	}
	h := 2 / (9 * free)
	bound := free * math.Pow(1-h+6*math.Sqrt(h), 3)
	if chi > bound {
		t.Fatalf("chi-squared is %.1f, at most %.1f for %.0f degrees: %v for weights %v", chi, bound, free, counts, weights)
	}
}

// shares wants each share within the points of what its weight says.
func shares(t testing.TB, what string, counts []int, weights []float64, points float64) {
	t.Helper()
	total, sum := 0, 0.0
	for i := range counts {
		total += counts[i]
		sum += weights[i]
	}
	for i := range counts {
		got, want := 100*float64(counts[i])/float64(total), 100*weights[i]/sum
		if math.Abs(got-want) > points {
			t.Fatalf("%s: endpoint %d has %.1f %%, want %.1f ± %.1f: %v for weights %v", what, i, got, want, points, counts, weights)
		}
	}
}

func floats(list []lb.Member) []float64 {
	w := make([]float64, len(list))
	for i := range list {
		w[i] = float64(list[i].Weight)
	}
	return w
}

func evenly(n int) []float64 { return slices.Repeat([]float64{1}, n) }

// distinct counts those that differ.
func distinct(list []string) int {
	seen := map[string]bool{}
	for _, s := range list {
		seen[s] = true
	}
	return len(seen)
}

func ids(p *lb.Pool, k int, t testing.TB) []string {
	t.Helper()
	list := make([]string, k)
	for i := range list {
		list[i] = once(t, p, lb.Ask{}).ID()
	}
	return list
}

func describe(list []lb.Member) string {
	s := ""
	for _, m := range list {
		s += fmt.Sprintf("%s:%d ", m.ID, m.Weight)
	}
	return s
}
