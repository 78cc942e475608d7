package option

import (
	"reflect"
	"strconv"
	"strings"
)

// Flag is an option of the command line.
type Flag struct {
	Name    string // without its dashes
	Word    string // what stands for its value; empty when it takes none
	Usage   string
	Default string // as it is written; empty when there is none
	Repeat  bool   // it may be given several times, and takes a list with commas unless it says a section in a line
}

// Env is the name of its twin in the environment.
func (f Flag) Env() string {
	return "VIADUCT_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// Flags lists every option of such a section that has a flag: those that stand in a
// list of sections, then those of the whole.
func Flags(section any) []Flag {
	var inner, outer []Flag
	walk(everything(reflect.TypeOf(section)), "", func(f field, _ reflect.Value, path string) {
		switch flag := (Flag{f.flag, f.word, f.usage, f.preset, f.list() || f.optional()}); {
		case f.flag == "":
		case strings.Contains(path, "["), strings.Contains(path, "."+anyName+"."):
			inner = append(inner, flag)
		default:
			outer = append(outer, flag)
		}
	})
	return append(inner, outer...)
}

// Given is what was given for a flag.
type Given struct {
	Values []string
	Env    bool  // by its twin in the environment
	Order  []int // the place of each value among those of all flags; only for flags that fill one list
}

// FromFlags reads flags, by name, into a section, which it points to. What was not
// given stays as it is there. The error is Problems, each with its flag and value.
func FromFlags(given map[string]Given, into any, form Form) error {
	r, v := newReport("", form), reflect.ValueOf(into).Elem()
	r.flags = true
	walk(v, "", func(f field, v reflect.Value, path string) {
		switch {
		case f.named != "" && v.Len() == 0:
			r.entry(f, given, v, path)
		case f.sections() && v.Len() == 0:
			r.entries(given, v, path)
		case f.flag != "" && !f.optional():
			r.places[path] = place{name: "--" + f.flag}
			if g := given[f.flag]; len(g.Values) > 0 {
				r.flag(f, g, v, path)
			}
		}
	})
	return r.check(v)
}

// entry makes the one entry of a list with names that flags can make. Without the flag
// that makes it the others say nothing.
func (r *Report) entry(list field, given map[string]Given, v reflect.Value, path string) {
	e := reflect.New(list.typ.Elem()).Elem()
	preset(e)
	name(e).SetString(list.named)
	if len(given[list.named].Values) > 0 {
		v.Set(reflect.Append(v, e))
		return
	}
	walk(e, join(path, list.named), func(f field, _ reflect.Value, _ string) {
		g := given[f.flag]
		if last := len(g.Values) - 1; f.flag != "" && last >= 0 && g.Values[last] != f.preset {
			r.sayAt(place{name: spelled(f.flag, g.Values[last], g.Env)}, "does nothing without --"+list.named+": add that, or take this out")
		}
	})
}

// flag reads what was given for one flag.
func (r *Report) flag(f field, g Given, v reflect.Value, path string) {
	words := []string{g.Values[len(g.Values)-1]} // the last one counts
	switch {
	case f.typ == portsType:
		words[0] = strings.Join(g.Values, ",") // it reads its commas by itself
	case f.list():
		words = strings.Split(strings.Join(g.Values, ","), ",")
	}
	for i, word := range words {
		if f.list() {
			word = strings.TrimSpace(word)
			words[i] = word
		}
		if b, err := strconv.ParseBool(word); err == nil && f.typ.Kind() == reflect.Bool {
			words[i] = strconv.FormatBool(b)
		}
		at := place{name: spelled(f.flag, r.shown(f, word), g.Env)}
		if r.places[Item(path, i)] = at; !f.list() {
			r.places[path] = at
		}
	}
	f.set(v, words, func(i int, text string) { r.Say(Item(path, i), "", text) })
}

// spelled is a flag with its value as the operator wrote it, who must be able to
// see where that begins and ends.
func spelled(flag, value string, env bool) string {
	if env {
		return Flag{Name: flag}.Env() + "=" + plain(value) + " (--" + flag + ")"
	}
	return "--" + flag + " " + plain(value)
}

// plain is a value without quotes, where nobody could misread that.
func plain(value string) string {
	if q := quote(value); value == "" || strings.Contains(value, " ") || q != `"`+value+`"` {
		return q
	}
	return value
}
