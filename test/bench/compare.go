package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// comparison is how the CPU time of a stands to that of b, each below 1 where a
// is cheaper.
type comparison struct {
	rounds  int
	medians float64 // ratio of the medians
	lowest  float64 // ratio of the best rounds
	paired  float64 // median of the ratios within each round
	from    float64 // where the true middle of those ratios is, with 95 % certainty
	to      float64
	rate    float64 // median of the ratios of rates within each round
	p99     float64 // and of those of p99, where there is one
}

// pairs are the names of -compare. A name beside itself means its second command.
func (o *options) pairs() (list [][2]string) {
	for _, c := range o.compare {
		a, b, _ := strings.Cut(c, ",")
		if a == b {
			b += "#2"
		}
		list = append(list, [2]string{a, b})
	}
	return list
}

// checkPairs refuses names that no table can have.
func (o *options) checkPairs(proxies []proxy) error {
	for _, pair := range o.pairs() {
		for _, name := range pair {
			if !slices.ContainsFunc(proxies, func(p proxy) bool { return p.name == name }) {
				return fmt.Errorf("-compare: nobody is named %q: see -list", name)
			}
		}
	}
	return nil
}

// bases are the proxies that did the workload's base too.
func (r result) bases() (list [][2]string) {
	for _, name := range r.order {
		if base := baseName(name, r.w); r.samples[base] != nil {
			list = append(list, [2]string{name, base})
		}
	}
	return list
}

// comparisons is the table of what -compare and -noise ask for, or nothing.
func (o *options) comparisons(r result, ref string) string {
	noise := math.NaN()
	pairs := r.bases()
	if twin := ref + again; o.noise && r.samples[twin] != nil {
		pairs = append(pairs, [2]string{twin, ref})
		c := r.compare(twin, ref)
		noise = max(math.Abs(c.from-1), math.Abs(c.to-1))
	}
	for _, p := range o.pairs() {
		if r.samples[p[0]] != nil && r.samples[p[1]] != nil {
			pairs = append(pairs, p)
		}
	}
	if len(pairs) == 0 {
		return ""
	}
	var t strings.Builder
	t.WriteString("\n| CPU of A / B | rounds | medians | lowest | paired | from | to | rate A / B | p99 A / B | verdict |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, p := range pairs {
		c := r.compare(p[0], p[1])
		fmt.Fprintf(&t, "| %s / %s | %d | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f | %s | %s |\n",
			p[0], p[1], c.rounds, c.medians, c.lowest, c.paired, c.from, c.to, c.rate, number(c.p99), c.verdict(p[0], p[1], noise))
	}
	return t.String()
}

// compare looks at the rounds in which both a and b have figures.
func (r result) compare(a, b string) comparison {
	var costA, costB, ratios, rates, slow []float64
	for _, x := range r.samples[a] {
		for _, y := range r.samples[b] {
			if x.Round == y.Round && x.Failed == "" && y.Failed == "" && x.CPU > 0 && y.CPU > 0 {
				costA, costB = append(costA, x.CPU), append(costB, y.CPU)
				ratios, rates = append(ratios, x.CPU/y.CPU), append(rates, x.Rate/y.Rate)
				if x.P99 > 0 && y.P99 > 0 {
					slow = append(slow, x.P99/y.P99)
				}
			}
		}
	}
	c := comparison{rounds: len(ratios), medians: median(costA) / median(costB), lowest: math.NaN(), paired: median(ratios), rate: median(rates), p99: median(slow)}
	if c.rounds > 0 {
		c.lowest = slices.Min(costA) / slices.Min(costB)
	}
	c.from, c.to = confidence(ratios)
	return c
}

// confidence is the interval between two of the values that holds the median of
// what they were drawn from with a certainty of 95 % or more, whatever its
// distribution: each value is as likely above that median as below. Fewer than six
// values cannot tell.
func confidence(v []float64) (from, to float64) {
	n := len(v)
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	outside := math.Pow(0.5, float64(n)) // that k values or fewer are below the median
	k := 0
	if outside > 0.025 {
		return v[0], v[n-1]
	}
	for term := outside; ; k++ {
		term = term * float64(n-k) / float64(k+1)
		if outside += term; outside > 0.025 {
			break
		}
	}
	return v[k], v[n-1-k]
}

// verdict says whether a and b differ: by more than chance explains, and by more
// than the reference seems to differ from itself, where that is known as noise.
func (c comparison) verdict(a, b string, noise float64) string {
	switch {
	case c.rounds < 6:
		return "too few rounds to tell"
	case c.from <= 1 && c.to >= 1:
		return "within noise"
	case b+again == a:
		return "the machine is not steady"
	case math.Abs(c.paired-1) <= noise:
		return "within noise: the reference differs as much from itself"
	case c.paired < 1:
		return fmt.Sprintf("%s is cheaper by %.1f %%", a, 100*(1-c.paired))
	}
	return fmt.Sprintf("%s is dearer by %.1f %%", a, 100*(c.paired-1))
}
