package option

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// line is an entry of a list that is said in one line, as the value of a flag.
type line struct {
	field    // the section of the entry that the flag is for
	text     string
	n, order int // among those of its flag, and of all
	env      bool
}

// entries reads the flags that fill a list of sections. They are one list, in the
// order of the command line.
func (r *Report) entries(given map[string]Given, list reflect.Value, path string) {
	entry := list.Type().Elem()
	for i, l := range r.lines(given, fields(entry)) {
		at, v := Item(path, i), reflect.New(entry).Elem()
		preset(v)
		v.FieldByIndex(l.index).Set(reflect.New(l.typ.Elem()))
		r.places[at] = place{name: spelled(l.flag, l.text, l.env)}
		r.line(l, fields(entry), v.FieldByIndex(l.index).Elem(), join(at, l.key))
		christen(v, fmt.Sprintf("%s#%d", l.flag, l.n))
		list.Set(reflect.Append(list, v))
	}
}

// lines are what was given for the flags of an entry. Flags win over all twins in the
// environment, and of these only one has an order.
func (r *Report) lines(given map[string]Given, entry []field) []line {
	var flags, twins []line
	var names []string
	for _, f := range entry {
		g := given[f.flag]
		if !f.lined() || len(g.Values) == 0 {
			continue
		}
		if g.Env {
			names = append(names, Flag{Name: f.flag}.Env())
			for i, text := range parts(g.Values[0]) {
				twins = append(twins, line{field: f, text: text, n: i + 1, env: true})
			}
			continue
		}
		for i, text := range g.Values {
			l := line{field: f, text: text, n: i + 1}
			if i < len(g.Order) {
				l.order = g.Order[i]
			}
			flags = append(flags, l)
		}
	}
	switch {
	case len(flags) > 0:
		slices.SortStableFunc(flags, func(a, b line) int { return cmp.Compare(a.order, b.order) })
		return flags
	case len(names) > 1:
		r.sayAt(place{name: strings.Join(names, " and ")}, "nothing says which rule comes first: give them as flags, or in a file (viaduct run -c FILE)")
		return nil
	}
	return twins
}

// parts are the lines in the value of a twin.
func parts(s string) []string {
	all := strings.FieldsFunc(s, func(c rune) bool { return c == ';' || c == '\n' })
	all = slices.DeleteFunc(all, func(s string) bool { return strings.TrimSpace(s) == "" })
	if len(all) == 0 {
		return []string{s}
	}
	return all
}

const spaced = "what has a space or a comma in it is for a file (viaduct run -c FILE)"

// line reads a section that is said in a line: field=value,value with spaces between
// them, or all for an empty one.
func (r *Report) line(l line, entry []field, v reflect.Value, path string) {
	words, all := strings.Fields(l.text), fields(v.Type())
	bad := func(text string) {
		r.strange[path] = true
		r.sayAt(r.place(path), text)
	}
	if len(words) == 0 {
		bad("no term: write field=value, such as " + l.example + ", or all for everything")
	}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		i := slices.Index(keys(all), key)
		switch {
		case word == "all" && len(words) == 1:
		case word == "all":
			bad("all stands alone: take it out, or the other terms")
		case !ok:
			bad(quote(word) + " is no term: write field=value, such as " + l.example + "; " + spaced)
		case i < 0 && slices.Contains(keys(entry), key):
			bad(key + " is for a rule in a file (viaduct run -c FILE): take it out")
		case i < 0:
			bad("unknown term " + quote(key) + ": " + r.form.meant(l.offered(all), strings.ToLower(key)))
		case !v.Field(i).IsNil():
			bad(key + " stands twice: write it once, with commas between the values")
		case strings.Trim(value, `"'`) != value:
			bad("quotes are not taken off here: write " + key + "=" + plain(strings.Trim(value, `"'`)) + "; " + spaced)
		default:
			r.term(v.Field(i), key, strings.Split(value, ","), path)
		}
	}
}

// term takes the values of one field, with their places.
func (r *Report) term(v reflect.Value, key string, values []string, path string) {
	line, at := r.place(path).name, join(path, key)
	v.Set(reflect.ValueOf(values))
	r.places[at] = place{name: line + ": " + key}
	for i, value := range values {
		r.places[Item(at, i)] = place{name: line + ": " + key + "=" + plain(value)}
	}
}
