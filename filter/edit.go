package filter

import (
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// longest is the most bytes that a replacement may make of a shorter value, and
// bounds what a client can make it write.
const longest = 16 << 10

// edit is an Edit, compiled. The nil edit changes nothing.
type edit struct {
	remove  []name
	replace []replacement
	set     []line
}

type replacement struct {
	name
	match *regexp.Regexp
	with  string
}

type line struct {
	name
	value string
}

// name is a field name in canonical form.
type name struct {
	key    string
	folded bool // has a "-" or "_": other spellings mean the same to some
}

func newName(s string) name {
	return name{textproto.CanonicalMIMEHeaderKey(s), strings.ContainsAny(s, "-_")}
}

// compileEdit compiles what CheckRule has nothing against.
func compileEdit(from *Edit) *edit {
	if from == nil {
		return nil
	}
	e := new(edit)
	for _, s := range from.Remove {
		e.remove = append(e.remove, newName(s))
	}
	for _, r := range from.Replace {
		e.replace = append(e.replace, replacement{newName(r.Header), regexp.MustCompile(r.Match), r.With})
	}
	for _, s := range from.Set {
		field, value, _ := strings.Cut(s, ":")
		e.set = append(e.set, line{newName(field), trim(value)})
	}
	return e
}

// trim takes off the space around a value, which is no part of it (RFC 9110
// section 5.5).
func trim(value string) string { return strings.Trim(value, " \t") }

func (e *edit) apply(h http.Header) {
	if e == nil {
		return
	}
	for i := range e.remove {
		e.remove[i].remove(h)
	}
	for i := range e.replace {
		e.replace[i].apply(h)
	}
	for i := range e.set {
		s := &e.set[i]
		s.remove(h)
		h[s.key] = []string{s.value}
	}
}

// touches says whether an edit names a field.
func (e *edit) touches(field []byte) bool {
	if e == nil {
		return false
	}
	is := func(n name) bool { return isSame(field, n.key) }
	return slices.ContainsFunc(e.remove, is) ||
		slices.ContainsFunc(e.replace, func(r replacement) bool { return is(r.name) }) ||
		slices.ContainsFunc(e.set, func(l line) bool { return is(l.name) })
}

// remove takes out all fields of a name, with those that differ in "-" and "_":
// programs behind a gateway can't tell X-User from X_User (RFC 3875 section
// 4.1.18), so that a client could write the one to replace the other.
func (n *name) remove(h http.Header) {
	delete(h, n.key)
	if !n.folded {
		return
	}
	for key := range h {
		if isSame(key, n.key) {
			delete(h, key)
		}
	}
}

func (r *replacement) apply(h http.Header) {
	if !r.folded {
		r.applyTo(h, r.key)
		return
	}
	for key := range h {
		if isSame(key, r.key) {
			r.applyTo(h, key)
		}
	}
}

// applyTo changes the values of one key. A value that would become too long is
// taken out: whoever sent it could have left it out as well.
func (r *replacement) applyTo(h http.Header, key string) {
	values, ok := h[key]
	if !ok {
		return
	}
	changed := make([]string, 0, len(values))
	for _, v := range values {
		if v, ok := r.value(v); ok {
			changed = append(changed, v)
		}
	}
	h[key] = changed
	if len(changed) == 0 {
		delete(h, key)
	}
}

func (r *replacement) value(v string) (changed string, ok bool) {
	found := r.match.FindAllStringSubmatchIndex(v, -1)
	if found == nil {
		return v, true
	}
	var b []byte
	end := 0
	for _, at := range found {
		b = append(b, v[end:at[0]]...)
		b = r.match.ExpandString(b, r.with, v, at)
		end = at[1]
		if len(b) > max(longest, len(v)) {
			return "", false
		}
	}
	return trim(string(append(b, v[end:]...))), true
}

// isSame says whether two names are equal, "-" and "_" taken for one.
func isSame[T string | []byte](a T, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

// fold makes letters of both cases equal, and "-" and "_".
func fold(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	}
	return c
}
