// Package display writes for people what a viaduct tells of itself.
//
// What it tells may come from anywhere, and neither moves a cursor nor a column.
package display

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Plain is text that can do nothing to a terminal, nor to a table.
func Plain(text string) string {
	for _, r := range text {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	return text
}

// table is columns under their heads.
type table struct {
	left  int // so many columns begin at the left, the others at the right
	wide  int // the first column is no wider than this, if it is not 0: what is longer stands alone
	rows  [][]string
	under [][]string // lines under a row
}

// row adds a row, with what stands under it. The first one is the heads.
func (t *table) row(cells []string, under ...string) {
	t.rows, t.under = append(t.rows, cells), append(t.under, under)
}

// write writes the table, behind an indent.
func (t *table) write(b *strings.Builder) {
	widths := make([]int, len(t.rows[0]))
	for _, cells := range t.rows {
		for i, cell := range cells {
			if n := utf8.RuneCountInString(cell); i > 0 || t.wide == 0 || n <= t.wide {
				widths[i] = max(widths[i], n)
			}
		}
	}
	for r, cells := range t.rows {
		var line strings.Builder
		for i, cell := range cells {
			switch n := utf8.RuneCountInString(cell); {
			case i == 0 && n > widths[0]:
				line.WriteString("  " + cell + "\n  " + strings.Repeat(" ", widths[0]))
			case i < t.left:
				fmt.Fprintf(&line, "  %-*s", widths[i], cell)
			default:
				fmt.Fprintf(&line, "  %*s", widths[i], cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		for _, text := range t.under[r] {
			b.WriteString("    " + text + "\n")
		}
	}
}

// took is a time in three digits or four; none has been measured if it is 0.
func took(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%dus", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1fms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.2fs", d.Seconds())
}
