package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// row is one line of doc/conformance.md: what the proxy is held to, and the
// test that holds it.
type row struct {
	name  string // clause/behaviour: 9112-6.1/cl-and-te
	tests string // rows of the research that it covers: T21
	want  string // what is expected, in plain English
	door  string // which proxy it talks to, a key of doors; own means that the row starts its own
	run   func(t *testing.T, p *proxy)
}

// own is the door of rows that start a proxy themselves.
const own = "own"

// doors are the proxies that rows share, by the flags that they are started
// with.
var doors = map[string][]string{
	"":            lenient,
	"guarded":     {},
	"any-port":    {"--connect-ports", "any"},
	"lifted":      {"--allow-private"},
	"via":         {"--allow-private", "--connect-ports", "any", "--anonymity", "via"},
	"transparent": {"--allow-private", "--connect-ports", "any", "--anonymity", "transparent"},
	"small":       {"--allow-private", "--connect-ports", "any", "--max-header", "8KiB"},
	"impatient": {
		"--allow-private", "--connect-ports", "any", "--header-timeout", "2s", "--body-timeout", "2s",
		"--dial-timeout", "2s", "--response-timeout", "2s", "--idle-timeout", "2s",
		"--tunnel-idle-timeout", "3s", "--half-close-timeout", "2s",
	},
}

// conformance is every row, in the order of the document.
func conformance() []row {
	return slices.Concat(targetRows, hopRows, profileRows, framingRows, answerRows, streamRows, interimRows,
		upgradeRows, persistRows, boundRows, connectRows, guardRows, tunnelRows, failureRows, limitRows, timeoutRows,
		processRows, commandRows, nameRows,
		egressRows, reloadRows, overloadRows, logRows, systemdRows,
		authRows, authUsersRows, authGuessRows, authServiceRows,
		policyRows, bypassRows, addressRows, listRows, explainRows, recheckRows, sniRows, tlsRows, inspectRows, filterRows, glassRows,
		parentWayRows, parentAnswerRows, parentChoiceRows, parentGuardRows, parentEgressRows, parentWireRows, parentPairRows, parentHostileRows, parentOperatorRows)
}

func TestConformance(t *testing.T) {
	if _, err := build(); err != nil {
		t.Fatal(err)
	}
	h := &house{running: map[string]*proxy{}, dir: t.TempDir()}
	t.Cleanup(func() { h.close(t) })
	for _, r := range conformance() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			outcomes.note(t, r.name)
			r.run(t, h.door(t, r.door))
		})
	}
}

// house keeps the shared proxies; each starts when the first row asks.
type house struct {
	mu      sync.Mutex
	running map[string]*proxy
	dir     string
	lane    lane
}

func (h *house) door(t *testing.T, name string) *proxy {
	t.Helper()
	if name == own {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.running[name]; p != nil {
		return p
	}
	flags, known := doors[name]
	if !known {
		t.Fatalf("no door %q", name)
	}
	dir := filepath.Join(h.dir, "door-"+name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := launch{flags: flags, lane: h.lane}.open(dir)
	if err != nil {
		t.Fatal(err)
	}
	h.running[name] = p
	return p
}

func (h *house) close(t *testing.T) {
	for _, p := range h.running {
		p.stop(t)
	}
}

const conformanceDoc = "../doc/conformance.md"

// TestConformanceDocument keeps the document and the rows the same.
func TestConformanceDocument(t *testing.T) {
	t.Parallel()
	want := document()
	if os.Getenv("VIADUCT_UPDATE") != "" {
		if err := os.WriteFile(conformanceDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(conformanceDoc)
	if err != nil || string(got) != want {
		t.Errorf("doc/conformance.md differs from the rows (%v); run: VIADUCT_UPDATE=1 go test -run TestConformanceDocument ./test", err)
	}
}

func TestRowNamesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range conformance() {
		if seen[r.name] {
			t.Errorf("two rows are called %s", r.name)
		}
		seen[r.name] = true
	}
	for _, s := range smuggling {
		if seen[s.name] {
			t.Errorf("two shapes are called %s", s.name)
		}
		seen[s.name] = true
	}
}

func document() string {
	var b strings.Builder
	b.WriteString(`# Conformance

What viaduct is held to on the wire, row by row. Every row is a test over raw
sockets against the built binary: ` + "`go test ./test -run 'TestConformance/NAME'`" + `.
The numbers of the second column are the rows of the research that the test
covers. A row of the *fast* lane may run on others, too: *library*, where a
filter matches every request, *inspected*, inside TLS that the proxy opens, and
*tls*, over an https:// listener (` + "`TestLibraryLane/NAME`, `TestInspectedLane/NAME`" + `,
` + "`TestSecureLane/NAME`; `TestLaneTable`" + ` prints what became of all of them). This file is written by ` + "`VIADUCT_UPDATE=1 go test -run TestConformanceDocument ./test`" + `
and compared by the same test.

| row | test | clause | lanes | expected |
| --- | --- | --- | --- | --- |
`)
	for _, r := range conformance() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.name, r.tests, clause(r.name), lanesOf(r.name), r.want)
	}
	b.WriteString(`
## Load and leaks

` + "`go test ./test -run 'TestLoad/NAME'`" + `, left out by ` + "`-short`" + `.

| row | test | expected |
| --- | --- | --- |
`)
	for _, r := range loads {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.name, r.tests, r.want)
	}
	b.WriteString(`
## Smuggling corpus

Each shape is sent with a second, marked request behind it, and judged by what
the origin received: never more requests than the client got answers for,
never the marked request unless the first was accepted, never a byte whose
framing two readers could understand differently. *Refused* means one answer
of 4xx or 5xx, then the end of the connection; *accepted* means two answers;
*either* leaves the choice to the proxy under the same judgement.
Run: ` + "`go test ./test -run 'TestSmuggling/NAME'`" + `.

| shape | verdict |
| --- | --- |
`)
	for _, s := range smuggling {
		fmt.Fprintf(&b, "| `%s` | %s |\n", s.name, s.verdict)
	}
	return b.String()
}

// clause turns the first part of a row's name into a reference.
func clause(name string) string {
	head, _, _ := strings.Cut(name, "/")
	source, section, found := strings.Cut(head, "-")
	switch {
	case source == "product":
		return "PRODUCT §" + section
	case !found:
		return "RFC " + source
	default:
		return "RFC " + source + " §" + section
	}
}
