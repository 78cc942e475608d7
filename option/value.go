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

	"viaduct/amount"
)

// Ports is a set of ports, in order. Nil is any port.
type Ports []uint16

// Size is a number of bytes.
type Size = amount.Size

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
			return amount.MeantTime(word, f.instance())
		}
		v.SetInt(int64(d))
		return ""
	case sizeType:
		n, ok := amount.ParseSize(word)
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
	case reflect.Float64:
		x, ok := amount.ParseNumber(word)
		if !ok || !f.within(x) {
			return f.numbers()
		}
		v.SetFloat(x)
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

func (f field) sizes() string {
	return fmt.Sprintf("write a size from %s to %s with its unit, such as %s", f.least, f.most, f.instance())
}

// within tells whether a number is within its bounds.
func (f field) within(x float64) bool {
	least, _ := amount.ParseNumber(f.least)
	most, _ := amount.ParseNumber(f.most)
	return least <= x && x <= most
}

func (f field) numbers() string {
	return fmt.Sprintf("write a number from %s to %s, such as %s", f.least, f.most, cmp.Or(f.example, f.preset))
}

// written is a value as it is read.
func (f field) written(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return amount.Time(x)
	case float64:
		if strings.HasSuffix(f.preset, "%") {
			return amount.Percent(x)
		}
		return amount.Number(x)
	case Ports: // nil
		return "any"
	default:
		return fmt.Sprint(x)
	}
}

// stars stand for what is not shown.
const stars = "***"

// quote shows what was written, in one line and not at length. What stands before the
// host of a URL is not shown, wherever it was written.
func quote(word string) string {
	scheme, rest, _ := strings.Cut(word, "://")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		word = scheme + "://" + stars + rest[i:]
	}
	if most := 60; len(word) > most {
		word = strings.ToValidUTF8(word[:most], "") + "…"
	}
	return strconv.Quote(word)
}
