package config

import (
	"reflect"
	"strconv"
	"strings"
)

// Flag is an option of `viaduct forward`.
type Flag struct {
	Name    string // without its dashes
	Word    string // what stands for its value; empty when it takes none
	Usage   string
	Default string // as it is written; empty when there is none
	Repeat  bool   // it may be given several times, and takes a list with commas
}

// Env is the name of its twin in the environment.
func (f Flag) Env() string {
	return "VIADUCT_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// Flags lists every option that has a flag: those of a forward proxy, then those
// of the whole process.
func Flags() []Flag {
	var proxy, process []Flag
	walk(reflect.ValueOf(Default()).Elem(), "", func(f field, _ reflect.Value, path string) {
		switch flag := (Flag{f.flag, f.word, f.usage, f.preset, f.list()}); {
		case f.flag == "":
		case strings.HasPrefix(path, "forward"):
			proxy = append(proxy, flag)
		default:
			process = append(process, flag)
		}
	})
	return append(proxy, process...)
}

// Given is what was given for a flag.
type Given struct {
	Values []string
	Env    bool // by its twin in the environment
}

// FromFlags makes the configuration of one forward proxy from flags, by name. A
// flag that was not given has its default. The error is Problems, each with its
// flag and value.
func FromFlags(given map[string]Given) (*Config, error) {
	c, r := Default(), newReport("")
	r.flags = true
	walk(reflect.ValueOf(c).Elem(), "", func(f field, v reflect.Value, path string) {
		r.places[path] = place{name: "--" + f.flag}
		if g := given[f.flag]; f.flag != "" && len(g.Values) > 0 {
			r.flag(f, g, v, path)
		}
	})
	r.check(c)
	if err := r.error(); err != nil {
		return nil, err
	}
	return c, nil
}

// flag reads what was given for one flag.
func (r *report) flag(f field, g Given, v reflect.Value, path string) {
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
		at := place{name: spelled(f.flag, word, g.Env)}
		if r.places[item(path, i)] = at; !f.list() {
			r.places[path] = at
		}
	}
	f.set(v, words, func(i int, text string) { r.say(item(path, i), "", text) })
}

// spelled is a flag with its value as the operator wrote it, who must be able to
// see where that begins and ends.
func spelled(flag, value string, env bool) string {
	if q := quote(value); value == "" || strings.Contains(value, " ") || q != `"`+value+`"` {
		value = q
	}
	if env {
		return Flag{Name: flag}.Env() + "=" + value + " (--" + flag + ")"
	}
	return "--" + flag + " " + value
}
