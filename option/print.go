package option

import (
	"fmt"
	"io"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// Print writes a section, which it points to, as a file that reads back to the same,
// but for what the form hides.
func Print(w io.Writer, section any, form Form) error {
	v := reflect.ValueOf(section).Elem()
	dump, err := yaml.Dump(form.node(field{typ: v.Type()}, v, ""), yaml.WithLineWidth(-1))
	if err == nil {
		_, err = w.Write(dump)
	}
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return nil
}

// node is the YAML of a section, a list of sections or an option, at path. If it is
// to be brief, it has only what is not as it would be without a word.
func (f Form) node(of field, v reflect.Value, path string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	switch {
	case of.section():
		n.Kind = yaml.MappingNode
		for _, o := range fields(of.typ) {
			v := v.FieldByIndex(o.index)
			silent := v.IsZero() || o.placed && v.String() == path
			if !silent || !of.brief && !o.needed() && !(o.list() && o.fewest() > 0) {
				o.brief = o.brief || of.brief
				n.Content = append(n.Content, text(o.key), f.node(o, v, join(path, o.key)))
			}
		}
	case of.optional():
		return f.node(field{typ: of.typ.Elem(), brief: of.brief}, v.Elem(), path)
	case v.Kind() == reflect.Slice && !(of.typ == portsType && v.IsNil()):
		f.entries(n, of, v, path)
	case of.secret:
		return text(f.hidden(v.String()))
	case v.Kind() == reflect.String:
		return text(v.String())
	default:
		n.Kind, n.Value = yaml.ScalarNode, of.written(v)
	}
	return n
}

// entries fills the node of a list.
func (f Form) entries(n *yaml.Node, of field, v reflect.Value, path string) {
	if of.list() {
		n.Style = yaml.FlowStyle
	}
	if of.named != "" {
		n.Kind = yaml.MappingNode
	}
	one := field{typ: of.typ.Elem(), brief: of.brief, secret: of.secret}
	for i := range v.Len() {
		if of.named != "" {
			n.Content = append(n.Content, text(name(v.Index(i)).String()))
		}
		n.Content = append(n.Content, f.node(one, v.Index(i), of.entry(v.Index(i), path, i)))
	}
}

// text is a word, in quotes if it could be read as something else.
func text(word string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: word}
}
