package config

import (
	"fmt"
	"io"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// Print writes the configuration with all its defaults, as a file that reads
// back to the same. There is nothing to hide in it: secrets are in files of their
// own, and it has their names.
func (c *Config) Print(w io.Writer) error {
	text, err := yaml.Dump(node(reflect.ValueOf(c).Elem()), yaml.WithLineWidth(-1))
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return nil
}

// node is the YAML of a section, a list of sections or an option.
func node(v reflect.Value) *yaml.Node {
	f := field{typ: v.Type()}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	switch {
	case f.section():
		n.Kind = yaml.MappingNode
		for _, f := range fields(f.typ) {
			n.Content = append(n.Content, node(reflect.ValueOf(f.key)), node(v.Field(f.index)))
		}
	case v.Kind() == reflect.Slice && !(f.typ == portsType && v.IsNil()):
		if f.list() {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, node(v.Index(i)))
		}
	default:
		n.Kind, n.Value = yaml.ScalarNode, word(v)
		if v.Kind() == reflect.String {
			n.Tag = "!!str" // put it in quotes if it could be read as something else
		}
	}
	return n
}
