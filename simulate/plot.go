package simulate

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"
)

// Sizes of the plot, in pixels.
const (
	plotWidth = 1000
	plotLeft  = 200 // where the axis begins, behind the names
	plotRight = 880 // where it ends, before the errors
	plotTop   = 96
	rowHeight = 20
	rowTop    = 34 // from the top of a panel to its first row
	rowBottom = 40
)

// plotHead begins the file. Colours are those of a card of its own, light or
// dark as the reader's page is, so that it can be read on both.
const plotHead = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" font-family="system-ui, sans-serif" font-size="13">
<style>
.card{fill:#fff;stroke:#d0d7de}.t{fill:#1f2328}.d{fill:#59636e}.g{stroke:#d8dee4}.r{stroke:#8c959f;stroke-width:2}
.a{fill:#0969da}.b{fill:#bc4c00}.c{fill:#cf222e}
@media (prefers-color-scheme:dark){.card{fill:#151b23;stroke:#3d444d}.t{fill:#f0f6fc}.d{fill:#9198a1}.g{stroke:#2f3742}.r{stroke:#656c76}
.a{fill:#4493f8}.b{fill:#f0883e}.c{fill:#ff7b72}}
</style>
<rect class="card" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>
<text class="t" x="24" y="34" font-size="18" font-weight="600">%s</text>
<text class="d" x="24" y="56">%s</text>
`

// Plot draws results as SVG: for each scenario a panel, in it for each policy the
// latencies that half, 99 % and 99.9 % of the requests do not exceed.
func Plot(w io.Writer, scenarios []Scenario, results []Result) error {
	out := bufio.NewWriter(w)
	x := newAxis(results)
	height := plotTop
	for _, s := range scenarios {
		height += panelHeight(s.Name, results)
	}
	fmt.Fprintf(out, plotHead, plotWidth, height, plotWidth-1, height-1, "viaduct lb simulate",
		"How long requests take with each policy, on a logarithmic scale: further to the left is better.")
	legend(out)
	y := plotTop
	for _, s := range scenarios {
		panel(out, x, y, &s, results)
		y += panelHeight(s.Name, results)
	}
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}

func panelHeight(scenario string, results []Result) int {
	rows := 0
	for i := range results {
		if results[i].Scenario == scenario {
			rows++
		}
	}
	return rowTop + rows*rowHeight + rowBottom
}

func legend(out io.Writer) {
	for i, l := range []struct{ class, text string }{{"a", "p50"}, {"b", "p99"}, {"c", "p99.9"}} {
		at := 740 + 80*i
		fmt.Fprintf(out, `<circle class="%s" cx="%d" cy="30" r="5"/><text class="t" x="%d" y="34">%s</text>`+"\n", l.class, at, at+10, l.text)
	}
}

// panel draws one scenario.
func panel(out io.Writer, x axis, y int, s *Scenario, results []Result) {
	fmt.Fprintf(out, `<text class="t" x="24" y="%d" font-weight="600">%s</text><text class="d" x="%[3]d" y="%[1]d">%[4]s</text>`+"\n",
		y+12, html.EscapeString(s.Name), plotLeft, html.EscapeString(s.Title()))
	top, bottom := y+rowTop-12, y+panelHeight(s.Name, results)-rowBottom-4
	for _, t := range x.lines {
		at := x.at(t)
		fmt.Fprintf(out, `<line class="g" x1="%.1f" x2="%.1[1]f" y1="%d" y2="%d"/><text class="d" x="%.1[1]f" y="%[4]d" text-anchor="middle" font-size="11">%[5]s</text>`+"\n",
			at, top, bottom, bottom+14, t)
	}
	fmt.Fprintf(out, `<text class="d" x="976" y="%d" text-anchor="end" font-size="11">errors</text>`+"\n", bottom+14)
	row := y + rowTop
	for i := range results {
		if results[i].Scenario == s.Name {
			dots(out, x, row, &results[i])
			row += rowHeight
		}
	}
}

// dots draws one policy.
func dots(out io.Writer, x axis, y int, r *Result) {
	fmt.Fprintf(out, `<text class="t" x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-14, y+4, html.EscapeString(r.Contender.String()))
	switch {
	case r.Unstable:
		fmt.Fprintf(out, `<text class="c" x="%d" y="%d">unstable: its queue grows for ever</text>`+"\n", plotLeft+12, y+4)
	case r.P50 == 0:
		fmt.Fprintf(out, `<text class="c" x="%d" y="%d">nothing was served</text>`+"\n", plotLeft+12, y+4)
	default:
		a, b, c := x.at(r.P50), x.at(r.P99), x.at(r.P999)
		fmt.Fprintf(out, `<line class="r" x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d"/><circle class="a" cx="%.1[1]f" cy="%[3]d" r="5"/><circle class="b" cx="%.1f" cy="%[3]d" r="5"/><circle class="c" cx="%.1[2]f" cy="%[3]d" r="5"/>`+"\n",
			a, c, y, b)
	}
	class := "d"
	if r.Errors > 0 {
		class = "c"
	}
	fmt.Fprintf(out, `<text class="%s" x="976" y="%d" text-anchor="end">%s</text>`+"\n", class, y+4, Percent(r.Errors))
}

// Percent words a share: two digits behind the point, and 0 for none at all.
func Percent(share float64) string {
	switch {
	case share == 0:
		return "0"
	case share < 0.0001:
		return "< 0.01 %"
	}
	return fmt.Sprintf("%.2f %%", 100*share)
}

// axis is a logarithmic one, with a line at 1, 2 and 5 of each power of ten.
type axis struct{ lines []time.Duration }

// newAxis reaches from the line below all to that above.
func newAxis(results []Result) axis {
	low, high := time.Hour, time.Duration(0)
	for i := range results {
		if r := &results[i]; !r.Unstable && r.P50 > 0 {
			low, high = min(low, r.P50), max(high, r.P999)
		}
	}
	if high == 0 { // nobody has anything to show
		low, high = meanService, 10*meanService
	}
	var a axis
	for power := int64(time.Microsecond); ; power *= 10 {
		for _, digit := range []int64{1, 2, 5} {
			line := time.Duration(digit * power)
			if line <= low {
				a.lines = a.lines[:0]
			}
			a.lines = append(a.lines, line)
			if line >= high && len(a.lines) > 1 {
				return a
			}
		}
	}
}

func (a axis) at(d time.Duration) float64 {
	low, high := a.lines[0], a.lines[len(a.lines)-1]
	part := math.Log(float64(d)/float64(low)) / math.Log(float64(high)/float64(low))
	return plotLeft + part*(plotRight-plotLeft)
}

// Title says what a scenario is, in one line.
func (s *Scenario) Title() string {
	parts := []string{s.About, fmt.Sprintf("load %g", s.Load), count(s.Balancers, "balancer")}
	if s.Outlier {
		parts = append(parts, "outlier detection")
	}
	if s.Options.SlowStart > 0 {
		parts = append(parts, fmt.Sprintf("slow start %v", s.Options.SlowStart))
	}
	if s.Keys != Uniform {
		parts = append(parts, fmt.Sprintf("%v keys", s.Keys))
	}
	if s.Options.HashBound > 0 {
		parts = append(parts, fmt.Sprintf("bound %v", s.Options.HashBound))
	}
	return strings.Join(parts, ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
