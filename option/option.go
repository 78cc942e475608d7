// Package option reads structs whose tags say everything about their options: from
// a YAML file and from the command line, with the place of each mistake. It prints
// them, too, and describes them to editors. What they mean, and what is wrong with
// what was read, is for the room that declares them.
//
// The tags: key (in the file), flag, word (for its value, in the help), usage,
// default, min and max (of a list min is its least length; a text with min 1 cannot be
// written empty), oneof (words with commas; of a section in a line, its keys to offer),
// file (the path of one, but for these words; "@": values that begin with it),
// place (of a name: where there is none it is that of the place), example (of what
// one flag says in a line, or of a value without default), brief (printed without what
// says nothing), secret (of what may hold a password: shown as Form.Hide says). An option
// is a section (a struct; an embedded one without a key says its options here), one that
// may be missing (a pointer; of those with a flag there is one), a list of sections, a
// list of values, or a value. A list of sections with the tag named is a mapping in the
// file, and the Name of each, which has no key of its own, stands before it there; flags
// make one entry of it, which is called by the flag that makes it, as the tag says.
package option

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// field is an option, or a section of them, as the tags of its struct field tell.
type field struct {
	index           []int
	typ             reflect.Type
	key, flag, word string
	usage, preset   string
	oneof           []string
	least, most     string
	file            bool     // the path of a file
	noFile          []string // words that are no path; "@": paths stand behind one
	example         string
	placed          bool   // a name that comes from the place, if there is none
	brief           bool   // printed without what says nothing
	secret          bool   // something of it may not be shown
	named           string // of a list of sections with names: the flag that makes one, and its name then
}

// Types of values that are more than their kind.
var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	addrType     = reflect.TypeFor[netip.Addr]()
	portsType    = reflect.TypeFor[Ports]()
)

// fields lists the options of a section, in order.
func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		tag, typ := t.Field(i).Tag, t.Field(i).Type
		if tag.Get("key") == "" {
			for _, f := range embedded(t.Field(i)) {
				f.index = append([]int{i}, f.index...)
				all = append(all, f)
			}
			continue
		}
		f := field{
			index: []int{i}, typ: typ, key: tag.Get("key"), flag: tag.Get("flag"), word: tag.Get("word"), usage: tag.Get("usage"),
			preset: tag.Get("default"), least: tag.Get("min"), most: tag.Get("max"),
			example: tag.Get("example"), placed: tag.Get("place") != "", brief: tag.Get("brief") != "", secret: tag.Get("secret") != "", named: tag.Get("named"),
			oneof: strings.FieldsFunc(tag.Get("oneof"), func(c rune) bool { return c == ',' }),
		}
		if words, ok := tag.Lookup("file"); ok {
			f.file, f.noFile = true, strings.Split(words, ",")
		}
		if f.typ == durationType {
			f.word = "TIME"
		}
		all = append(all, f)
	}
	return all
}

// embedded are the options of what has no key; none of the Name of an entry.
func embedded(f reflect.StructField) []field {
	if !f.Anonymous {
		return nil
	}
	return fields(f.Type)
}

// section tells whether f holds options of its own, optional whether it does when
// it is there at all, lined whether a flag says such a one in a line, and sections
// whether it is a list of sections.
func (f field) section() bool  { return isSection(f.typ) }
func (f field) optional() bool { return f.typ.Kind() == reflect.Pointer }
func (f field) lined() bool    { return f.optional() && f.flag != "" }
func (f field) sections() bool { return f.typ.Kind() == reflect.Slice && isSection(f.typ.Elem()) }

func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != addrType }

// list tells whether f takes several values, and fewest how many entries a list
// has at least.
func (f field) list() bool  { return f.typ.Kind() == reflect.Slice && !f.sections() }
func (f field) fewest() int { return min(1, len(f.least)) }

// walk visits everything in a section, with its path.
func walk(section reflect.Value, path string, visit func(f field, v reflect.Value, path string)) {
	for _, f := range fields(section.Type()) {
		v, at := section.FieldByIndex(f.index), join(path, f.key)
		visit(f, v, at)
		switch {
		case f.section():
			walk(v, at, visit)
		case f.optional() && !v.IsNil():
			walk(v.Elem(), at, visit)
		case f.sections():
			for i := range v.Len() {
				walk(v.Index(i), f.entry(v.Index(i), at, i), visit)
			}
		}
	}
}

// entry is the path of an entry of a list of sections.
func (f field) entry(v reflect.Value, path string, i int) string {
	if f.named == "" {
		return Item(path, i)
	}
	return join(path, name(v).String())
}

// name is where an entry of a list with names has its own.
func name(v reflect.Value) reflect.Value { return v.FieldByName("Name") }

// anyName stands for that of every entry.
const anyName = "NAME"

// everything is a section of this type with all that it could have, once.
func everything(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	for _, f := range fields(t) {
		switch at := v.FieldByIndex(f.index); {
		case f.section():
			at.Set(everything(f.typ))
		case f.optional():
			at.Set(everything(f.typ.Elem()).Addr())
		case f.sections():
			at.Set(reflect.Append(at, everything(f.typ.Elem())))
			if f.named != "" {
				name(at.Index(0)).SetString(anyName)
			}
		}
	}
	return v
}

// Preset gives everything in a section, which it points to, its default.
func Preset(section any) { preset(reflect.ValueOf(section).Elem()) }

// preset gives everything in a section its default.
func preset(section reflect.Value) {
	walk(section, "", func(f field, v reflect.Value, path string) {
		if f.preset != "" {
			f.set(v, []string{f.preset}, func(_ int, text string) { panic("default of " + path + ": " + text) })
		}
	})
}

// christen gives a section that has no name this one.
func christen(section reflect.Value, name string) {
	for _, f := range fields(section.Type()) {
		if v := section.FieldByIndex(f.index); f.placed && v.String() == "" {
			v.SetString(name)
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Item is the path of an entry of a list.
func Item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// above is the path of what the option at path stands in.
func above(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }
