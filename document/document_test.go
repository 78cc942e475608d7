package document_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"viaduct/document"
)

func TestOneDocument(t *testing.T) {
	for text, want := range map[string]yaml.Kind{
		"": yaml.ScalarNode, "# a\n": yaml.ScalarNode, "---\n...\n": yaml.ScalarNode, "a": yaml.ScalarNode, "a: b\n": yaml.MappingNode, "- a\n": yaml.SequenceNode, "\xef\xbb\xbf[a]\r\n": yaml.SequenceNode, `{"a": [1]}`: yaml.MappingNode,
	} {
		root, flaws := document.Parse([]byte(text))
		if len(flaws) > 0 || root == nil || root.Kind != want {
			t.Errorf("%q: %+v, %v", text, root, flaws)
		}
	}
}

func TestFlaws(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\n---\nc: d\n":          "2:1 a second document begins here: a file holds one configuration",
		"a\n# caf\xe9\n":             "2:6 not UTF-8 (byte 0xe9): save the file as UTF-8",
		"# é\x1b[0m\n":               "1:4 a control character (U+001B): take it out",
		"a:\n\t- b\n":                "2:1 not valid YAML: found character that cannot start any token; if it is a tab, indent with spaces; else put the value in quotes",
		"a: *b\n":                    "1:4 not valid YAML: unknown anchor 'b' referenced",
		"a: *:3128\n":                `1:4 not valid YAML: unknown anchor ':3128' referenced; "*" begins an alias in YAML: write 0.0.0.0:3128`,
		"a: [::1]:3128\nb: c\n":      "1:9 not valid YAML: did not find expected key; put an IPv6 address in quotes",
		"a: &a [*a]\n":               "1:1 more than 100000 values, its aliases unfolded: that is no configuration",
		"a: !!seq [!b c]\n":          `1:4 tags mean nothing here: take "!!seq" out` + "\n" + `1:11 tags mean nothing here: take "!b" out`,
		strings.Repeat("a", 1<<20+1): "1:1 more than 1 MiB: that is no configuration",
	} {
		_, flaws := document.Parse([]byte(text))
		var got []string
		for _, f := range flaws {
			got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Col, f.Text))
		}
		if len(got) == 0 || !strings.HasPrefix(strings.Join(got, "\n"), want) {
			t.Errorf("%.60q says %q, want %s", text, got, want)
		}
	}
}

// Small texts that would unfold to very much, and deep ones, end soon and are refused.
func TestBombs(t *testing.T) {
	laughs := "a0: &a0 [x]\n"
	for i := 1; i < 60; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	for name, text := range map[string]string{
		"laughs": laughs, "deep": strings.Repeat("[", 20_000), "documents": strings.Repeat("---\n", 1<<16),
	} {
		if _, flaws := document.Parse([]byte(text)); len(flaws) == 0 {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestLimit(t *testing.T) {
	text, err := io.ReadAll(document.Limit(strings.NewReader(strings.Repeat("a", 3<<20))))
	if _, flaws := document.Parse(text); err != nil || len(text) > 2<<20 || len(flaws) == 0 {
		t.Errorf("%d bytes, %v, %v", len(text), flaws, err)
	}
}
