package metrics_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"viaduct/metrics"
)

// The table in the README is the registry: no family more, none less. With
// VIADUCT_UPDATE=1 it is written anew.
func TestReadmeShowsEveryMetric(t *testing.T) {
	const file, head, end = "../README.md", "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n", "\n`listener` is"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), head)
	table, after, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatal("the README has no table of metrics")
	}
	var want strings.Builder
	for _, r := range metrics.Table() {
		labels := "–"
		if len(r.Labels) > 0 {
			labels = "`" + strings.Join(r.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", r.Name, r.Type, labels, r.Help)
	}
	if os.Getenv("VIADUCT_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(before+head+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want.String() {
		t.Errorf("the README's table of metrics is not the registry's\n\tdo: VIADUCT_UPDATE=1 go test -run TestReadmeShowsEveryMetric ./metrics\ngot:\n%s\nwant:\n%s", table, want.String())
	}
}
