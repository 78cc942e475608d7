package display

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"viaduct/forward"
	"viaduct/metrics"
	"viaduct/pool"
)

// Explanations writes a verdict a line, and below it what led to it.
func Explanations(out io.Writer, all []forward.Explanation) error {
	var b strings.Builder
	for i := range all {
		e := &all[i]
		if len(all) > 1 {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(Plain(strings.Join(e.Listen, ", ")) + ": ")
		}
		writeExplanation(&b, e)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// writeExplanation writes a verdict with what led to it, and below them the same
// of the request inside a tunnel.
func writeExplanation(b *strings.Builder, e *forward.Explanation) {
	if e.Inside != nil {
		b.WriteString("tunnel: ")
	}
	b.WriteString(verdict(e) + "\n")
	if i := e.Inspect; i != nil {
		b.WriteString("inspect: " + strings.TrimSpace(Plain(i.Rule)+" "+Plain(i.Result)) + "\n")
	}
	if e.Open != "" {
		b.WriteString("open: " + Plain(e.Open) + "\n")
	}
	if len(e.Filters) > 0 {
		b.WriteString("filters: " + Plain(strings.Join(e.Filters, ", ")) + "\n")
	}
	writeSteps(b, e.Rules)
	writePool(b, e.Pool)
	if e.Inside != nil {
		b.WriteString("inside: ")
		writeExplanation(b, e.Inside)
	}
}

// verdict is what happens, in a line.
func verdict(e *forward.Explanation) string {
	text, byFilter := Plain(e.Decision), e.Phase == metrics.PhaseFilter.String()
	if byFilter && e.Decision == "allow" {
		text = "answered"
	}
	if e.Rule != "" && e.Decision != "observe" {
		text += " by " + ruleName(e)
	}
	if e.Phase != "" && !byFilter && (e.Rule != "" || e.Decision != "allow") {
		text += " (" + Plain(e.Phase) + ")"
	}
	switch {
	case e.Status > 0: // of our own
		return text + ": " + strings.TrimSpace(strconv.Itoa(e.Status)+" "+Plain(e.Says))
	case e.Decision == "observe":
		text += ": " + ruleName(e) + " would deny it"
	}
	if e.Open != "" {
		text += ", so far"
	}
	if e.Via != "" {
		text += ": " + way(e)
	}
	return text
}

// way is how a request that may go leaves.
func way(e *forward.Explanation) string {
	text := Plain(e.Via)
	if e.Via != "direct" {
		text = "by way of " + text
	}
	switch len(e.Egress) {
	case 0:
		return text
	case 1:
		return text + ", from " + Plain(e.Egress[0])
	}
	return text + ", from one of " + Plain(strings.Join(e.Egress, ", "))
}

// ruleName is a rule or filter of the operator's, or what decides without one.
func ruleName(e *forward.Explanation) string {
	switch {
	case e.Phase == metrics.PhaseFilter.String():
		return "filter " + Plain(e.Rule)
	case e.Rule == "default" || slices.Contains(forward.Reserved(), e.Rule):
		return e.Rule
	}
	return "rule " + Plain(e.Rule)
}

// writeSteps writes the rules as a table.
func writeSteps(b *strings.Builder, steps []forward.RuleStep) {
	if len(steps) == 0 {
		return
	}
	t := table{left: 3}
	t.row([]string{"RULE", "EFFECT", "RESULT"})
	for _, s := range steps {
		t.row([]string{Plain(s.Rule), Plain(s.Effect), Plain(s.Result)})
	}
	t.write(b)
}

// writePool writes what a pool would choose, and from what.
func writePool(b *strings.Builder, p *pool.Explanation) {
	if p == nil {
		return
	}
	found := "chooses " + Plain(p.Chosen)
	if p.Chosen == "" {
		found = "finds no endpoint"
	}
	fmt.Fprintf(b, "pool %s: %s %s (%s)\n", Plain(p.Name), Plain(p.Balance), found, Plain(p.How))
	if len(p.Candidates) == 0 {
		return
	}
	t := table{left: 2, wide: 44}
	t.row([]string{"ENDPOINT", "STATE", "BUSY", "LATENCY", "SCORE"})
	for i := range p.Candidates {
		c := &p.Candidates[i]
		t.row([]string{Plain(c.ID), Plain(c.Standing), strconv.Itoa(c.InFlight), took(c.Cost), score(c.Score)}, against(c)...)
	}
	t.write(b)
}

// score is what a policy goes by: the lower the better. Not all of them do.
func score(n float64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatFloat(n, 'g', 3, 64)
}

// against is what speaks against a candidate.
func against(c *pool.Candidate) []string {
	var all []string
	if text := strings.Trim(Plain(c.Excluded)+": "+Plain(c.Cause), ": "); text != "" {
		all = append(all, text)
	}
	if c.Resting && c.Excluded == "" { // where all others rest, too
		all = append(all, "rests for this destination, and is chosen from all the same")
	}
	if c.Part > 0 && c.Part < 1 {
		all = append(all, fmt.Sprintf("starts slowly: %.0f%% of its weight", c.Part*100))
	}
	return all
}
