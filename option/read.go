package option

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"viaduct/document"
)

// Form is what an operator may write besides the options themselves, and what is
// wrong with them.
type Form struct {
	NotYet   string                   // keys that this version does not serve, each with a space before and behind it
	Synonyms string                   // words of other programs with the keys that they are here: " bind=listen ip=client,addr "
	Check    func(*Report)            // is asked about what was read; nil asks nobody
	Hide     func(text string) string // what is shown of a text that may hold a password; nil: nothing
}

// Load reads the file at path, as Read does. An error that is not Problems says
// that the file could not be read at all.
func Load(path string, into any, form Form) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(document.Limit(file))
	if err != nil {
		return err
	}
	return Read(path, text, into, form)
}

// Read reads the text of a file of this name into a section, which it points to.
// What is left out stays as it is there, and the name of another file in it is taken
// from the folder of this one. The error is Problems: all that is wrong, each with
// its line and column.
func Read(name string, text []byte, into any, form Form) error {
	v := reflect.ValueOf(into).Elem()
	r := &reader{newReport(name, form), homes(v.Type())}
	r.places[""] = place{line: 1, col: 1}
	root, flaws := document.Parse(text)
	for _, f := range flaws {
		r.sayAt(place{line: f.Line, col: f.Col}, f.Text)
	}
	if len(flaws) > 0 {
		return r.error()
	}
	r.section(root, v, "")
	return r.check(v)
}

// reader turns nodes of YAML into a section.
type reader struct {
	*Report
	homes map[string][]string // see homes
}

// section reads keys and their values.
func (r *reader) section(n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		return
	}
	all := fields(v.Type())
	if n.Kind != yaml.MappingNode {
		r.places[path] = spot(n)
		text := kindOf(n) + " stands here: write keys and their values, such as " + all[0].key + ": …"
		if n.Kind == yaml.ScalarNode {
			text += ", with a space after the colon"
		}
		r.Say(path, "", text)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		where := spot(n.Content[i])
		f, text := r.find(all, resolve(n.Content[i]), path)
		at := join(path, f.key)
		if first, again := r.places[at]; text == "" && again {
			text = fmt.Sprintf("duplicate key %q%s: it stands in line %d already", f.key, in(path), first.line)
		}
		if text != "" {
			r.sayAt(where, text)
			r.strange[path] = true
			r.told[""] = r.told[""] || path == "" // it may be the section that is missed
			continue
		}
		r.places[at] = where
		switch value := resolve(n.Content[i+1]); {
		case f.section():
			r.section(value, v.FieldByIndex(f.index), at)
		case f.optional():
			r.optional(f, value, v.FieldByIndex(f.index), at)
		case f.named != "":
			r.named(f, value, v.FieldByIndex(f.index), at)
		case f.sections():
			r.sections(f, value, v.FieldByIndex(f.index), at)
		default:
			r.value(f, value, v.FieldByIndex(f.index), at)
		}
	}
}

// optional reads a section that may be missing. A key alone is half a sentence.
func (r *reader) optional(f field, n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.New(f.typ.Elem()))
	preset(v.Elem())
	switch {
	case !isNull(n):
		r.section(n, v.Elem(), path)
	case f.lined():
		r.Say(path, "", "nothing stands here: write {} for everything")
	default:
		r.Say(path, "", "nothing stands here: write keys and their values, such as "+fields(f.typ.Elem())[0].key+": …")
	}
}

// sections reads a list of sections.
func (r *reader) sections(f field, n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) || n.Kind == yaml.SequenceNode && len(n.Content) == 0 && f.fewest() == 0 {
		return
	}
	if n.Kind != yaml.SequenceNode {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		r.Say(path, "", kindOf(n)+` stands here: write a list, with "- " before the first key of each entry`)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, child := range n.Content {
		r.places[Item(path, i)] = spot(child)
		preset(v.Index(i))
		r.section(resolve(child), v.Index(i), Item(path, i))
		christen(v.Index(i), Item(path, i))
	}
}

// named reads sections that stand at their names.
func (r *reader) named(f field, n *yaml.Node, v reflect.Value, path string) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.Say(path, "", kindOf(n)+" stands here: write a name for each entry, such as first: {"+fields(f.typ.Elem())[0].key+": …}")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		at, where := join(path, key.Value), spot(n.Content[i])
		first, again := r.places[at]
		switch {
		case key.Kind != yaml.ScalarNode, isNull(key), key.Tag == "!!merge", len(key.Value) > 64, key.Value == "", strings.Trim(key.Value, letters+digits+"-_") != "":
			r.sayAt(where, "a name"+in(path)+" has small letters, digits, - and _, and at most 64 of them")
			r.strange[path] = true
			continue
		case again:
			r.sayAt(where, fmt.Sprintf("duplicate name %q%s: it stands in line %d already", key.Value, in(path), first.line))
			continue
		}
		r.places[at] = where
		e := reflect.New(f.typ.Elem()).Elem()
		preset(e)
		name(e).SetString(key.Value)
		r.section(resolve(n.Content[i+1]), e, at)
		v.Set(reflect.Append(v, e))
	}
}

// value reads what stands at the key of f.
func (r *reader) value(f field, n *yaml.Node, v reflect.Value, path string) {
	list, at := []*yaml.Node{n}, func(int) string { return path }
	if f.list() {
		at = func(i int) string { return Item(path, i) }
	}
	if n.Kind == yaml.SequenceNode && f.list() {
		list = n.Content
	}
	words, fine := make([]string, len(list)), make([]bool, len(list))
	for i, child := range list {
		words[i], fine[i] = r.word(f, resolve(child), at(i))
	}
	f.set(v, words, func(i int, text string) {
		switch {
		case !fine[i]: // that is told already
		case f.typ == portsType: // whose text tells which
			r.Say(at(i), "", text)
		default:
			r.Say(at(i), r.shown(f, words[i]), text)
		}
	})
	switch {
	case !f.file:
	case f.list():
		for i := range v.Len() {
			v.Index(i).SetString(f.path(r.file, v.Index(i).String()))
		}
	default:
		v.SetString(f.path(r.file, v.String()))
	}
}

// word reads one value and keeps its place. What is none is told.
func (r *reader) word(f field, n *yaml.Node, path string) (word string, ok bool) {
	if !isNull(n) { // else its key has its place
		r.places[path] = spot(n)
		if n.Kind == yaml.ScalarNode {
			return n.Value, true
		}
	}
	text := " stands here: write one value"
	switch such := f.instance(); {
	case such != "":
		text += ", such as " + such
	case n.Kind == yaml.MappingNode:
		text += `, in quotes where ": " is in it`
	}
	r.Say(path, "", kindOf(n)+text)
	return "", false
}

// path is a value with the path that is in it, if there is one, taken from the
// folder of the file at from.
func (f field) path(from, value string) string {
	path, marked := strings.CutPrefix(value, "@")
	if !slices.Contains(f.noFile, "@") {
		path, marked = value, false
	} else if !marked {
		return value
	}
	if path == "" || filepath.IsAbs(path) || slices.Contains(f.noFile, value) {
		return value
	}
	path = filepath.Join(filepath.Dir(from), path)
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if marked {
		return "@" + path
	}
	return path
}

func spot(n *yaml.Node) place { return place{line: max(n.Line, 1), col: max(n.Column, 1)} }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.SequenceNode: // [::1]:3128
		return "an IPv6 address without quotes"
	case n.Kind == yaml.MappingNode:
		return "a section"
	case isNull(n):
		return "nothing"
	}
	return quote(n.Value)
}
