// Package amount reads and writes amounts as an operator does: times and sizes with
// their units, numbers with a fraction, and shares.
package amount

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

// Time is 5m for what Go writes as 5m0s.
func Time(d time.Duration) string {
	s := strings.Replace(d.String()+" ", "m0s ", "m ", 1)
	return strings.TrimSpace(strings.Replace(s, "h0m ", "h ", 1))
}

// MeantTime says what to write for a word that is no time, such as the example.
func MeantTime(word, example string) string {
	const longUnits = " sec secs second seconds min mins minute minutes hr hrs hour hours "
	joined := strings.ToLower(strings.ReplaceAll(word, " ", ""))
	number := strings.TrimRight(joined, letters)
	unit, text := joined[len(number):], "the units are ms, s, m and h, without a space: write "
	switch days, _ := strconv.Atoi(number); {
	case unit == "":
		unit, text = "s", "a time needs its unit: write "
	case days > 0 && (unit == "d" || unit == "day" || unit == "days"):
		number, unit = strconv.Itoa(24*min(days, 1<<40)), "h"
	case strings.Contains(longUnits, " "+unit+" "):
		unit = unit[:1]
	}
	_, err := time.ParseDuration(number + unit)
	rest := strings.TrimLeft(number, digits)
	_, form := time.ParseDuration("0" + rest + unit)
	switch {
	case err == nil && number[0] != '-':
		return fmt.Sprintf("%s%.20s%s", text, number, unit)
	case form == nil && rest != number:
		return "is too long: write a time below 292 years, such as " + example
	}
	return "write a time with its unit (ms, s, m, h), such as " + example
}

// Size is a number of bytes.
type Size int

// units of sizes, the largest last.
var units = [...]struct {
	name   string
	factor int
}{{"B", 1}, {"kB", 1000}, {"KiB", 1 << 10}, {"MB", 1000 * 1000}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}

// ParseSize reads a number of bytes with its unit.
func ParseSize(word string) (Size, bool) {
	for _, u := range slices.Backward(units[:]) {
		number, ok := strings.CutSuffix(word, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 31)
		return Size(n) * Size(u.factor), err == nil
	}
	return 0, false
}

// String is the size with the largest unit of which it is a whole number.
func (n Size) String() string {
	for _, u := range slices.Backward(units[:]) {
		if f := Size(u.factor); n != 0 && n%f == 0 && f%1000 != 0 {
			return fmt.Sprintf("%d%s", int(n/f), u.name)
		}
	}
	return fmt.Sprintf("%dB", int(n))
}

// ParseNumber reads a number from zero on, which may have a fraction, or be so many
// percent: 20% is 0.2.
func ParseNumber(word string) (float64, bool) {
	number, percent := strings.CutSuffix(word, "%")
	if len(number) > 30 || strings.Trim(number, digits+".") != "" {
		return 0, false
	}
	if percent {
		number += "e-2" // not divided by 100, so that 7% is 0.07 and nothing beside it
	}
	x, err := strconv.ParseFloat(number, 64)
	return x, err == nil
}

// Number is what ParseNumber reads as x.
func Number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// Percent is the same as so many percent, unless only a number says it exactly.
func Percent(x float64) string {
	text := Number(math.Round(x*1e6)/1e4) + "%"
	if same, _ := ParseNumber(text); same == x {
		return text
	}
	return Number(x)
}
