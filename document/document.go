// Package document reads the one document of a YAML file, or says what keeps it from
// being one: where, and what to do about it. What is said in the document is for its
// reader.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// most bounds a file, and mostValues what its aliases unfold to: more is a mistake, or
// an attack.
const (
	most       = 1 << 20
	mostValues = 100_000
)

// Flaw is what keeps a text from being read. Line and Col count from 1.
type Flaw struct {
	Line, Col int
	Text      string
}

// Limit is a reader of no more of r than tells Parse that it is too long.
func Limit(r io.Reader) io.Reader { return io.LimitReader(r, most+1) }

// Parse reads the one document of a text; a text without one is null. With flaws
// nothing of it can be relied on.
func Parse(text []byte) (*yaml.Node, []Flaw) {
	if f := unreadable(text); f.Text != "" {
		return nil, []Flaw{f}
	}
	root := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	for n := 0; err == nil; n++ {
		var document yaml.Node
		err = load(loader, &document)
		switch {
		case err == nil && n == 0:
			root = document.Content[0]
		case err == nil:
			return nil, []Flaw{at(&document, "a second document begins here: a file holds one configuration")}
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, []Flaw{broken(err, text)}
	}
	m := measure{known: map[*yaml.Node]int{}}
	if m.size(root) > mostValues {
		m.flaws = append(m.flaws, at(root, fmt.Sprintf("more than %d values, its aliases unfolded: that is no configuration", mostValues)))
	}
	return root, m.flaws
}

// at is a flaw of a node.
func at(n *yaml.Node, text string) Flaw { return Flaw{max(n.Line, 1), max(n.Column, 1), text} }

// load reads the next document. The library panics where its authors see no way
// to come by, and a file must not end a proxy that runs.
func load(l *yaml.Loader, n *yaml.Node) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%v", reason)
		}
	}()
	return l.Load(n)
}

// unreadable finds what no YAML may have in it.
func unreadable(text []byte) Flaw {
	f := Flaw{Line: 1, Col: 1}
	if len(text) > most {
		f.Text = "more than 1 MiB: that is no configuration"
		return f
	}
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRune(text[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			f.Text = fmt.Sprintf("not UTF-8 (byte 0x%02x): save the file as UTF-8", text[i])
			return f
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0xFFFE, c == 0xFFFF:
			f.Text = fmt.Sprintf("a control character (%U): take it out", c)
			return f
		case c == '\n':
			f.Line, f.Col = f.Line+1, 0
		}
		f.Col++
		i += n
	}
	return f
}

// hints are what to do about slips of syntax that everybody makes.
var hints = [...]struct{ message, do string }{
	{"found character that cannot start any token", "if it is a tab, indent with spaces; else put the value in quotes"},
	{"tab character", "indent with spaces"},
	{"mapping values are not allowed", `put a value with ": " in it in quotes, and begin each key on a line of its own, with a space after its colon`},
	{"block sequence entries are not allowed", `write "-" with quotes when it is a value`},
	{"did not find expected key", "let the keys of a section begin in the same column"},
	{"did not find expected ','", "close the list or section"},
	{"unexpected end of stream", "close the quotes"},
	{"alphabetic or numeric character", `put "*" or "&" in quotes when it is a value`},
	{"incompatible YAML", "take the %YAML line out"},
	{"unknown directive", "take the line that begins with % out"},
}

// broken tells of a text that is no YAML.
func broken(err error, text []byte) Flaw {
	f := Flaw{Line: 1, Col: 1, Text: err.Error()}
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		f = Flaw{max(e.Mark.Line, 1), max(e.Mark.Column, 1), e.Message}
		if e.ContextMsg != "" && e.ContextMark.Line > 0 && e.ContextMark.Line != f.Line {
			f.Text += fmt.Sprintf(" %s from line %d on", e.ContextMsg, e.ContextMark.Line)
		}
	}
	if do := hint(f.Text, text, f.Line); do != "" {
		f.Text += "; " + do
	}
	f.Text = "not valid YAML: " + f.Text
	return f
}

// bareIPv6 is a slip that breaks the syntax, whose messages know nothing of it.
var bareIPv6 = regexp.MustCompile(`(^|[\s,[])\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]:[0-9]`)

// hint says what to do about a text that is broken in this line.
func hint(message string, text []byte, line int) string {
	lines := strings.Split(string(text), "\n")
	if bareIPv6.MatchString(lines[min(line, len(lines))-1]) {
		return "put an IPv6 address in quotes"
	}
	if _, port, ok := strings.Cut(message, "unknown anchor ':"); ok {
		return `"*" begins an alias in YAML: write 0.0.0.0:` + strings.TrimSuffix(port, "' referenced")
	}
	if _, name, ok := strings.Cut(message, "unknown anchor '."); ok {
		return `"*" begins an alias in YAML: put "*.` + strings.TrimSuffix(name, "' referenced") + `" in quotes`
	}
	for _, h := range hints {
		if strings.Contains(message, h.message) {
			return h.do
		}
	}
	return ""
}

// measure looks for what makes a document more than it looks like.
type measure struct {
	known map[*yaml.Node]int
	flaws []Flaw
}

// size counts the values of n with its aliases unfolded, and tells of tags.
func (m *measure) size(n *yaml.Node) int {
	if size, ok := m.known[n]; ok {
		return size
	}
	m.known[n] = mostValues + 1 // if it stands in itself
	if n.Style&yaml.TaggedStyle != 0 {
		m.flaws = append(m.flaws, at(n, fmt.Sprintf("tags mean nothing here: take %.60q out", n.Tag)))
	}
	size := 1
	if n.Kind == yaml.AliasNode {
		size = m.size(n.Alias)
	}
	for _, child := range n.Content {
		size = min(size+m.size(child), mostValues+1)
	}
	m.known[n] = size
	return size
}
