package option

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

// maxFile bounds a file, and maxValues what its aliases unfold to: more is a
// mistake, or an attack.
const (
	maxFile   = 1 << 20
	maxValues = 100_000
)

// parse reads the one document of the text. It is false when that went wrong.
func (r *reader) parse(text []byte) (*yaml.Node, bool) {
	if at, what := unreadable(text); what != "" {
		r.sayAt(at, what)
		return nil, false
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
			r.sayAt(spot(&document), "a second document begins here: a file holds one configuration")
			return nil, false
		}
	}
	if !errors.Is(err, io.EOF) {
		r.broken(err, text)
		return nil, false
	}
	if r.measure(root, map[*yaml.Node]int{}) > maxValues {
		r.sayAt(spot(root), fmt.Sprintf("more than %d values, its aliases unfolded: that is no configuration", maxValues))
	}
	return root, len(r.problems) == 0
}

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
func unreadable(text []byte) (at place, what string) {
	at = place{line: 1, col: 1}
	if len(text) > maxFile {
		return at, "more than 1 MiB: that is no configuration"
	}
	for i := 0; i < len(text); {
		c, n := utf8.DecodeRune(text[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			return at, fmt.Sprintf("not UTF-8 (byte 0x%02x): save the file as UTF-8", text[i])
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0xFFFE, c == 0xFFFF:
			return at, fmt.Sprintf("a control character (%U): take it out", c)
		case c == '\n':
			at = place{line: at.line + 1}
		}
		at.col++
		i += n
	}
	return at, ""
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
func (r *reader) broken(err error, file []byte) {
	at, text := r.places[""], err.Error()
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		at, text = place{line: max(e.Mark.Line, 1), col: max(e.Mark.Column, 1)}, e.Message
		if e.ContextMsg != "" && e.ContextMark.Line > 0 && e.ContextMark.Line != at.line {
			text += fmt.Sprintf(" %s from line %d on", e.ContextMsg, e.ContextMark.Line)
		}
	}
	if do := hint(text, file, at.line); do != "" {
		text += "; " + do
	}
	r.sayAt(at, "not valid YAML: "+text)
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

// measure counts the values of n with its aliases unfolded, and tells of tags.
func (r *reader) measure(n *yaml.Node, known map[*yaml.Node]int) int {
	if size, ok := known[n]; ok {
		return size
	}
	known[n] = maxValues + 1 // if it stands in itself
	if n.Style&yaml.TaggedStyle != 0 {
		r.sayAt(spot(n), fmt.Sprintf("tags mean nothing here: take %s out", quote(n.Tag)))
	}
	size := 1
	if n.Kind == yaml.AliasNode {
		size = r.measure(n.Alias, known)
	}
	for _, child := range n.Content {
		size = min(size+r.measure(child, known), maxValues+1)
	}
	known[n] = size
	return size
}
