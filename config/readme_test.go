package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"viaduct/config"
)

// The table in the README has a row for every flag, with its default.
func TestReadmeShowsEveryFlag(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)[^`]*` (\\|.*)$").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = m[2]
	}
	for _, f := range config.Flags() {
		row, ok := rows[f.Name]
		if !ok {
			t.Errorf("the README has no row for --%s", f.Name)
		}
		if f.Word != "" && f.Default != "" && !strings.Contains(row, "`"+f.Default+"`") {
			t.Errorf("--%s has the default %s; the README says %s", f.Name, f.Default, row)
		}
		delete(rows, f.Name)
	}
	for name := range rows {
		t.Errorf("the README has a row for --%s, which does not exist", name)
	}
}
