package simulate

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Table prints results as they come.
type Table struct {
	w    io.Writer
	last *Scenario // whose heading is printed
}

// NewTable makes a table that is written to w.
func NewTable(w io.Writer) *Table { return &Table{w: w} }

// Row prints a result for people, below a heading for each scenario.
func (t *Table) Row(s *Scenario, r Result) error {
	if t.last != s {
		gap := "\n"
		if t.last == nil {
			gap = ""
		}
		t.last = s
		if _, err := fmt.Fprintf(t.w, "%s%s: %s\n  %-24s%10s %9s %9s %9s %9s\n", gap, s.Name, s.Title(), "policy", "share", "p50", "p99", "p99.9", "errors"); err != nil {
			return err
		}
	}
	tails := fmt.Sprintf("%9s %9s %9s", milli(r.P50), milli(r.P99), milli(r.P999))
	if r.Unstable {
		tails = fmt.Sprintf("%9s %9s %9s", "", "unstable", "")
	}
	share := fmt.Sprintf("%.2f-%.2f", r.Least, r.Most)
	_, err := fmt.Fprintf(t.w, "  %-24s%10s %s %9s\n", r.Contender, share, tails, Percent(r.Errors))
	return err
}

// milli is a time in milliseconds, as a table has it.
func milli(d time.Duration) string {
	switch ms := milliseconds(d); {
	case d == 0:
		return "-"
	case ms < 0.1: // of servers that are much faster
		return fmt.Sprintf("%.4f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	default:
		return fmt.Sprintf("%.0f ms", ms)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// row is a result as JSON: stable names, times in milliseconds.
type row struct {
	Scenario  string  `json:"scenario"`
	About     string  `json:"about"`
	Policy    string  `json:"policy"`
	True      bool    `json:"true_weights"`
	Load      float64 `json:"load"`
	Balancers int     `json:"balancers"`
	Servers   int     `json:"servers"`
	Requests  int     `json:"requests"`
	Seed      uint64  `json:"seed"`
	Outlier   bool    `json:"outlier"`
	SlowStart float64 `json:"slow_start_ms"`
	Keys      string  `json:"keys"`
	HashBound float64 `json:"hash_bound"`
	Least     float64 `json:"share_min"`
	Most      float64 `json:"share_max"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	Errors    float64 `json:"errors"`
	Unstable  bool    `json:"unstable"`
}

// JSON prints a result for programs, as one object on a line.
func (t *Table) JSON(s *Scenario, r Result) error {
	return json.NewEncoder(t.w).Encode(row{
		Scenario: s.Name, About: s.About, Policy: r.Contender.Policy.String(), True: r.Contender.True,
		Load: s.Load, Balancers: s.Balancers, Servers: len(s.Servers), Requests: s.Requests, Seed: s.Seed,
		Outlier: s.Outlier, SlowStart: milliseconds(s.Options.SlowStart), Keys: s.Keys.String(), HashBound: s.Options.HashBound,
		Least: r.Least, Most: r.Most, P50: milliseconds(r.P50), P99: milliseconds(r.P99), P999: milliseconds(r.P999),
		Errors: r.Errors, Unstable: r.Unstable,
	})
}
