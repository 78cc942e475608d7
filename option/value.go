package option

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ports is a set of ports, in order. Nil is any port.
type Ports []uint16

// Size is a number of bytes.
type Size int

// set reads the words of an option into v. What is wrong with a word is told to
// bad, and a list keeps a zero value in its place.
func (f field) set(v reflect.Value, words []string, bad func(i int, text string)) {
	switch {
	case f.typ == portsType:
		setPorts(v, words, bad)
	case f.list() && len(words) == 0 && f.fewest() == 0:
		v.SetZero()
	case f.list():
		list := reflect.MakeSlice(f.typ, len(words), len(words))
		for i, word := range words {
			if text := f.parse(list.Index(i), word); text != "" {
				bad(i, text)
			}
		}
		v.Set(list)
	default:
		if text := f.parse(v, words[0]); text != "" {
			bad(0, text)
		}
	}
}

// parse reads one word into v, or says what to write instead.
func (f field) parse(v reflect.Value, word string) (text string) {
	switch v.Type() {
	case durationType:
		d, err := time.ParseDuration(word)
		if err != nil || word == "0" && f.least != "" {
			return f.times(word)
		}
		v.SetInt(int64(d))
		return ""
	case sizeType:
		n, ok := parseSize(word)
		if !ok {
			return f.sizes()
		}
		v.SetInt(int64(n))
		return ""
	case addrType:
		a, err := netip.ParseAddr(word)
		if err != nil {
			return "write an IP address, such as 203.0.113.7"
		}
		v.Set(reflect.ValueOf(a.Unmap()))
		return ""
	}
	switch v.Kind() {
	case reflect.Bool:
		switch word { // YAML 1.2.2 section 10.3.2
		case "true", "True", "TRUE":
			v.SetBool(true)
		case "false", "False", "FALSE":
			v.SetBool(false)
		default:
			return "write true or false"
		}
	case reflect.Int:
		n, err := strconv.Atoi(word)
		least, _ := strconv.Atoi(f.least)
		most, unbounded := strconv.Atoi(f.most)
		switch {
		case unbounded == nil && (err != nil || n < least || n > most):
			return fmt.Sprintf("write a whole number from %s to %s, such as %s", f.least, f.most, f.preset)
		case err != nil:
			return "write a whole number"
		}
		v.SetInt(int64(n))
	default:
		if word == "" && f.needed() {
			return "is empty: write something, or leave it out"
		}
		v.SetString(word)
	}
	return ""
}

// needed tells whether a text that is written must say something: an empty one is
// what is left of a variable that was not set, and would turn off what it names.
func (f field) needed() bool { return f.typ.Kind() == reflect.String && f.least == "1" }

// times says what to write for a word that is no time.
func (f field) times(word string) string {
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
		return "is too long: write a time below 292 years, such as " + f.instance()
	}
	return "write a time with its unit (ms, s, m, h), such as " + f.instance()
}

// instance is a value that the operator may write: the default, unless that says
// nothing.
func (f field) instance() string {
	if f.preset == "0s" {
		return "5s"
	}
	return cmp.Or(f.preset, f.example)
}

// setPorts reads ports: a list, a word with commas, or any.
func setPorts(v reflect.Value, words []string, bad func(i int, text string)) {
	if len(words) == 1 && words[0] == "any" {
		v.Set(reflect.Zero(portsType))
		return
	}
	ports, fine := Ports{}, true
	for i, word := range words {
		for port := range strings.SplitSeq(word, ",") {
			port = strings.TrimSpace(port)
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				bad(i, fmt.Sprintf("%s is no port; write numbers from 1 to 65535 with commas between them, or any alone", quote(port)))
				fine = false
			}
			ports = append(ports, uint16(n))
		}
	}
	if fine {
		slices.Sort(ports)
		v.Set(reflect.ValueOf(slices.Compact(ports)))
	}
}

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

// units of sizes, the largest last.
var units = [...]struct {
	name   string
	factor int
}{{"B", 1}, {"kB", 1000}, {"KiB", 1 << 10}, {"MB", 1000 * 1000}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}

// parseSize reads a number of bytes with its unit.
func parseSize(word string) (Size, bool) {
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

func (f field) sizes() string {
	return fmt.Sprintf("write a size from %s to %s with its unit, such as %s", f.least, f.most, f.instance())
}

// word writes a value as it is read.
func word(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return durationWord(x)
	case Size:
		return sizeWord(x)
	case Ports: // nil
		return "any"
	default:
		return fmt.Sprint(x)
	}
}

// durationWord is 5m for what Go writes as 5m0s.
func durationWord(d time.Duration) string {
	s := strings.Replace(d.String()+" ", "m0s ", "m ", 1)
	return strings.TrimSpace(strings.Replace(s, "h0m ", "h ", 1))
}

func sizeWord(n Size) string {
	for _, u := range slices.Backward(units[:]) {
		if f := Size(u.factor); n != 0 && n%f == 0 && f%1000 != 0 {
			return fmt.Sprintf("%d%s", n/f, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// quote shows what was written, in one line and not at length.
func quote(word string) string {
	if most := 60; len(word) > most {
		word = strings.ToValidUTF8(word[:most], "") + "…"
	}
	return strconv.Quote(word)
}
