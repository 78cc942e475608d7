package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// result is what was measured of one workload.
type result struct {
	w       workload
	order   []string // names in their turn
	samples map[string][]sample
}

// brief is a sample in one line.
func (s sample) brief(w workload) string {
	if s.Failed != "" {
		return "failed: " + s.Failed
	}
	parts := []string{
		number(s.Rate/w.perSecond) + " " + w.unit + "/s",
		"CPU " + number(s.CPU*w.cpuScale) + " " + w.cpuUnit,
		fmt.Sprintf("core %.0f%%, errors %d", s.Core*100, s.Errors),
		s.TLS, s.Flood.brief(), shares(s.Parents), s.First,
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}

// number prints about three digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a == 0:
		return "0"
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// median is the middle of the values, or not a number if there is none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// values are a figure of the rounds that did not fail.
func (r result) values(name string, f func(sample) float64) (v []float64) {
	for _, s := range r.samples[name] {
		if s.Failed == "" {
			v = append(v, f(s))
		}
	}
	return v
}

func (r result) median(name string, f func(sample) float64) float64 {
	return median(r.values(name, f))
}

func cpu(s sample) float64  { return s.CPU }
func rate(s sample) float64 { return s.Rate }
func p99(s sample) float64  { return s.P99 }

// printReport prints the tables of a file of raw measurements.
func (o *options) printReport() error {
	f, err := os.Open(o.report)
	if err != nil {
		return err
	}
	defer f.Close()
	all := map[string]*result{}
	for d := json.NewDecoder(f); ; {
		var s sample
		if err := d.Decode(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		r := all[s.Workload]
		if r == nil {
			r = &result{samples: map[string][]sample{}}
			all[s.Workload] = r
		}
		if r.samples[s.Proxy] == nil {
			r.order = append(r.order, s.Proxy)
		}
		r.samples[s.Proxy] = append(r.samples[s.Proxy], s)
	}
	for _, w := range workloads() {
		if r := all[w.id]; r != nil {
			r.w = w
			if err := o.print(o.table(*r)); err != nil {
				return err
			}
		}
	}
	return nil
}

// table is the Markdown table of a workload: medians over the rounds, cheapest
// first, and below it what was to be compared.
func (o *options) table(r result) string {
	ref := o.reference(func(name string) bool { return !math.IsNaN(r.median(name, cpu)) })
	if ref == "" {
		i := slices.IndexFunc(r.order, func(n string) bool { return n != direct && !math.IsNaN(r.median(n, cpu)) })
		if ref = "nobody"; i >= 0 {
			ref = r.order[i]
		}
	}
	rows := slices.Clone(r.order)
	slices.SortStableFunc(rows, func(a, b string) int { return byCost(r.median(a, cpu), r.median(b, cpu)) })
	mem := "peak RSS MiB"
	if r.w.idle {
		mem += " | KiB/tunnel"
	}
	if r.w.flood {
		mem = "flood/s | " + mem
	}
	var t strings.Builder
	fmt.Fprintf(&t, "\n### %s %s\n\n", r.w.id, r.w.title)
	head := fmt.Sprintf("| proxy | %s/s | p50 ms | p99 ms | CPU %s | lowest | spread | CPU vs %s | rate vs %[3]s | %s | core | other | gen | conn/%[1]s | errors |",
		r.w.unit, r.w.cpuUnit, ref, mem)
	fmt.Fprintf(&t, "%s\n|%s\n", head, strings.Repeat("---|", strings.Count(head, "|")-1))
	for _, name := range rows {
		fmt.Fprintf(&t, "| %s |\n", strings.Join(r.row(name, ref), " | "))
	}
	t.WriteString(o.comparisons(r, ref))
	if agreed := r.agreed(); agreed != "" {
		fmt.Fprintf(&t, "\nAll connections of clients: %s.\n", agreed)
	}
	return t.String()
}

// agreed is what the clients' TLS was, where there was any.
func (r result) agreed() string {
	var list []string
	for _, name := range r.order {
		for _, s := range r.samples[name] {
			if s.Failed == "" && s.TLS != "" && !slices.Contains(list, s.TLS) {
				list = append(list, s.TLS)
			}
		}
	}
	return strings.Join(list, "; ")
}

// byCost sorts what failed last.
func byCost(x, y float64) int {
	switch {
	case math.IsNaN(x) && math.IsNaN(y):
		return 0
	case math.IsNaN(x):
		return 1
	case math.IsNaN(y), x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (r result) row(name, ref string) []string {
	mid := func(f func(sample) float64) float64 { return r.median(name, f) }
	share := func(f func(sample) float64) string { return fmt.Sprintf("%.0f%%", 100*mid(f)) }
	if math.IsNaN(mid(rate)) {
		return []string{name, "failed: " + r.samples[name][0].Failed}
	}
	cells := []string{name, number(mid(rate) / r.w.perSecond), "-", "-"}
	if p50 := mid(func(s sample) float64 { return s.P50 }); p50 > 0 { // in F4 and F5 no unit ends
		cells[2], cells[3] = number(p50), number(mid(p99))
	}
	rateVs := number(mid(rate) / r.median(ref, rate))
	if name == direct {
		cells = append(cells, "-", "-", "-", "-", rateVs, "-", "-", "-")
	} else {
		costs := r.values(name, cpu)
		spread := 50 * (slices.Max(costs) - slices.Min(costs)) / mid(cpu)
		cells = append(cells, number(mid(cpu)*r.w.cpuScale), number(slices.Min(costs)*r.w.cpuScale), fmt.Sprintf("±%s%%", number(spread)),
			number(mid(cpu)/r.median(ref, cpu)), rateVs)
		if r.w.flood {
			cells = append(cells, number(mid(func(s sample) float64 { return s.Flood.sum() })))
		}
		cells = append(cells, number(mid(func(s sample) float64 { return s.RSS })))
		if r.w.idle {
			cells = append(cells, number(mid(func(s sample) float64 { return s.PerTunnel })))
		}
		cells = append(cells, share(func(s sample) float64 { return s.Core }), share(func(s sample) float64 { return s.Other }))
	}
	conns := "-"
	if c := mid(func(s sample) float64 { return s.Conns }); c >= 0.0005 {
		conns = fmt.Sprintf("%.2f", c)
	}
	return append(cells, share(func(s sample) float64 { return s.Gen }), conns, r.problems(name))
}

// problems counts the failed units, and says how many rounds have no figures.
func (r result) problems(name string) string {
	errs, failed := int64(0), 0
	for _, s := range r.samples[name] {
		if s.Failed != "" {
			failed++
		}
		errs += s.Errors
	}
	if failed == 0 {
		return fmt.Sprint(errs)
	}
	return fmt.Sprintf("%d (%d of %d rounds failed)", errs, failed, len(r.samples[name]))
}
