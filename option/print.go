package option

import (
	"fmt"
	"io"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// Print writes a section, which it points to, as a file that reads back to the same.
func Print(w io.Writer, section any) error {
	text, err := yaml.Dump(node(reflect.ValueOf(section).Elem(), "", false), yaml.WithLineWidth(-1))
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return nil
}

// node is the YAML of a section, a list of sections or an option, at path. If it is
// to be brief, it has only what is not as it would be without a word.
func node(v reflect.Value, path string, brief bool) *yaml.Node {
	f := field{typ: v.Type()}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	switch {
	case f.section():
		n.Kind = yaml.MappingNode
		for _, f := range fields(f.typ) {
			v := v.Field(f.index)
			silent := v.IsZero() || f.placed && v.String() == path
			if !silent || !brief && !f.needed() {
				n.Content = append(n.Content, node(reflect.ValueOf(f.key), "", false), node(v, join(path, f.key), brief || f.brief))
			}
		}
	case f.optional():
		return node(v.Elem(), path, brief)
	case v.Kind() == reflect.Slice && !(f.typ == portsType && v.IsNil()):
		if f.list() {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, node(v.Index(i), Item(path, i), brief))
		}
	default:
		n.Kind, n.Value = yaml.ScalarNode, word(v)
		if v.Kind() == reflect.String {
			n.Tag = "!!str" // put it in quotes if it could be read as something else
		}
	}
	return n
}
