package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// field is an option, or a section of them, as the tags of its struct field tell.
type field struct {
	index           int
	typ             reflect.Type
	key, flag, word string
	usage, preset   string
	oneof           []string
	least, most     string
	file            bool // the path of a file
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
		tag := t.Field(i).Tag
		f := field{
			index: i, typ: t.Field(i).Type, key: tag.Get("key"), flag: tag.Get("flag"), word: tag.Get("word"), usage: tag.Get("usage"),
			preset: tag.Get("default"), least: tag.Get("min"), most: tag.Get("max"), file: tag.Get("file") != "",
		}
		if words := tag.Get("oneof"); words != "" {
			f.oneof = strings.Split(words, ",")
		}
		if f.typ == durationType {
			f.word = "TIME"
		}
		all = append(all, f)
	}
	return all
}

// section tells whether f holds options of its own, and sections whether it is a
// list of such.
func (f field) section() bool  { return isSection(f.typ) }
func (f field) sections() bool { return f.typ.Kind() == reflect.Slice && isSection(f.typ.Elem()) }

func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != addrType }

// list tells whether f takes several values.
func (f field) list() bool { return f.typ.Kind() == reflect.Slice && !f.sections() }

// walk visits everything in a section, with its path.
func walk(section reflect.Value, path string, visit func(f field, v reflect.Value, path string)) {
	for _, f := range fields(section.Type()) {
		v, at := section.Field(f.index), join(path, f.key)
		visit(f, v, at)
		switch {
		case f.section():
			walk(v, at, visit)
		case f.sections():
			for i := range v.Len() {
				walk(v.Index(i), item(at, i), visit)
			}
		}
	}
}

// preset gives everything in a section its default.
func preset(section reflect.Value) {
	walk(section, "", func(f field, v reflect.Value, path string) {
		if f.preset != "" {
			f.set(v, []string{f.preset}, func(_ int, text string) { panic("default of " + path + ": " + text) })
		}
	})
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// above is the path of what the option at path stands in.
func above(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }
