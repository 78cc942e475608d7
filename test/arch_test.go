// The floors: who may import what. doc/architecture.md shows the same table to
// people and .golangci.yml to editors; the tests here hold the three together.

package test_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "viaduct"

// room is one row of the floors.
type room struct {
	name  string   // folder below the module; "main" is the module's root
	floor int      // imports point down, or to a named sibling
	may   []string // the rooms it may import; below(n) are all on lower floors
	libs  []string // the libraries of its own job, a prefix each
	fence string   // why it may import no more than this
}

// rooms is the house. A row is here before its room is: what is not in this
// table has no place.
var rooms = []room{
	{name: "fault", floor: 0, fence: "a vocabulary: everybody speaks it and it knows nobody"},
	{name: "guard", floor: 0, may: []string{"fault"}, fence: "an address is all it sees: who asks for it, and by which name, is for the rules"},
	{name: "acl", floor: 0, may: []string{"fault", "guard", "hop"}, fence: "rules are judged without I/O, from a question that holds all there is to know"},
	{name: "auth", floor: 0, libs: []string{"github.com/tg123/go-htpasswd", "golang.org/x/crypto/bcrypt"}, fence: "it says who asks, not what they may"},
	{name: "sni", floor: 0, fence: "it reads the first message of TLS, and knows no connection"},
	{name: "hashing", floor: 0, libs: []string{"github.com/cespare/xxhash/v2"}, fence: "tables over names and weights: it knows no load and no health"},
	{name: "turn", floor: 0, fence: "orders of anything: it knows weights and who came first"},
	{name: "ewma", floor: 0, fence: "averages of what it is told, at times that it is told"},
	{name: "spread", floor: 0, fence: "shares of tiers and zones, from numbers"},
	{name: "lb", floor: 0, may: []string{"ewma", "hashing", "spread", "turn"}, fence: "it sees counters and a clock that it is given, nothing of what they count"},
	{name: "overload", floor: 0, fence: "it counts, with a clock that it is given, whatever is counted"},
	{name: "rest", floor: 0, fence: "it remembers ways and destinations, and knows neither"},
	{name: "cable", floor: 0, may: []string{"clock", "fault", "wire"}, libs: []string{"golang.org/x/net/http2"}, fence: "it knows HTTP/2 and CONNECT: whose fault a failure is, is for others"},
	{name: "parent", floor: 0, may: []string{"cable", "clock", "fault", "hop", "wire"}, libs: []string{"golang.org/x/net/proxy"}, fence: "it asks another proxy for a tunnel over a connection that it is given"},
	{name: "probe", floor: 0, may: []string{"parent"}, libs: []string{"google.golang.org/protobuf/encoding/protowire"}, fence: "it asks once and tells: what follows from it is for others"},
	{name: "hop", floor: 0, may: []string{"fault"}, libs: []string{"golang.org/x/net/idna"}, fence: "rules of one hop, for whatever carries the message"},
	{name: "key", floor: 0, may: []string{"hashing", "wire"}, fence: "what is in a request: which of it counts is the operator's word"},
	{name: "mirror", floor: 0, may: []string{"hop", "wire"}, fence: "one head in two forms: it changes nothing by itself"},
	{name: "descriptors", floor: 0, fence: "it knows numbers of files, and nothing of what they are"},
	{name: "clock", floor: 0, fence: "it knows connections, and nothing of what is said on them"},
	{name: "tap", floor: 0, fence: "it counts and holds bytes, whatever they are"},
	{name: "stock", floor: 0, fence: "it keeps things, whatever they are"},
	{name: "wire", floor: 0, may: []string{"fault", "clock", "stock", "tap"}, fence: "the engine decides nothing, so it needs nobody who does"},
	{name: "relay", floor: 0, may: []string{"fault"}, libs: []string{"golang.org/x/sys/unix"}, fence: "a tunnel is bytes: it knows no HTTP"},
	{name: "metrics", floor: 0, libs: []string{"github.com/prometheus/client_golang"}, fence: "handles of counters, held by everybody"},
	{name: "accesslog", floor: 0, fence: "it writes the entry that it is handed"},
	{name: "document", floor: 0, libs: []string{"go.yaml.in/yaml/v4"}, fence: "it reads YAML, whatever stands in it"},
	{name: "amount", floor: 0, fence: "times, sizes and shares as people write them"},
	{name: "option", floor: 0, may: []string{"amount", "document"}, libs: []string{"go.yaml.in/yaml/v4"}, fence: "it reads options, whatever they mean"},
	{name: "pem", floor: 0, fence: "it reads certificates and keys, whoever shows or trusts them"},
	{name: "authority", floor: 0, may: []string{"pem"}, fence: "it signs for hosts, and knows no connection"},
	{name: "filter", floor: 0, may: []string{"fault", "acl", "hop"}, fence: "compiled rules over messages: it changes fields and judges, and moves no body"},
	{name: "config", floor: 0, may: []string{"acl", "filter", "hashing", "hop", "lb", "option", "parent", "probe"}, libs: []string{"go.yaml.in/yaml/v4"}, fence: "what the operator wrote is plain data"},
	{name: "instance", floor: 0, fence: "a running instance, asked over its admin address: it knows paths, not what is told there"},
	{name: "files", floor: 0, fence: "it knows versions and forms of files, not what is in them"},
	{name: "resolve", floor: 0, may: []string{"fault"}, libs: []string{"github.com/miekg/dns"}, fence: "names to addresses, whoever asks"},

	{name: "policy", floor: 1, may: []string{"acl", "auth", "config", "files", "filter", "guard", "hop"}, fence: "it makes the judges, and judges nobody"},
	{name: "upstream", floor: 1, may: []string{"fault", "clock", "lb", "rest", "stock", "tap", "wire", "resolve", "metrics"}, fence: "the far side does not know which direction it serves"},
	{name: "pool", floor: 1, may: []string{"clock", "fault", "hashing", "health", "lb", "overload", "parent", "passage", "probe", "rest", "upstream", "verdict"}, fence: "it finds an endpoint for a request and says whose fault it was: what is asked of it is for others"},
	{name: "passage", floor: 1, may: []string{"clock", "fault", "parent", "probe", "tap", "upstream"}, fence: "the way to and through parents: who is asked, and when, is for others"},
	{name: "exchange", floor: 1, may: []string{"fault", "clock", "health", "hop", "parent", "pool", "rest", "tap", "wire", "relay", "upstream", "accesslog", "metrics"}, fence: "it carries out a decision and takes none"},
	{name: "verdict", floor: 1, may: []string{"lb", "probe"}, fence: "facts in, a verdict out: locks, clocks and goroutines are its caller's"},
	{name: "health", floor: 1, may: []string{"fault", "lb", "probe", "verdict"}, fence: "verdicts are written onto nodes, nothing else"},
	{name: "door", floor: 1, may: []string{"fault", "wire", "metrics", "pem"}, libs: []string{"github.com/coreos/go-systemd/v22/activation", "golang.org/x/sys/unix"}, fence: "what a listener does before HTTP"},
	{name: "discovery", floor: 1, may: []string{"upstream", "metrics"}, fence: "it says which endpoints there are, not how they are used"},

	{name: "forward", floor: 2, may: below(2), fence: "the two directions share floors, not code"},
	{name: "reverse", floor: 2, may: below(2), fence: "the two directions share floors, not code"},
	{name: "registry", floor: 2, may: []string{"discovery"}, fence: "the registry we serve runs alone, too"},
	{name: "display", floor: 2, may: []string{"forward", "metrics", "pool"}, fence: "what an instance says, for people at a terminal: it asks nobody"},
	{name: "watch", floor: 2, may: []string{"pool"}, fence: "it starts and ends what pools do by themselves"},
	{name: "simulate", floor: 2, may: []string{"hashing", "health", "lb"}, fence: "a model of servers and clients around the code that is shipped"},
	{name: "admin", floor: 2, may: []string{"metrics"}, libs: []string{"github.com/prometheus/client_golang/prometheus/promhttp"}, fence: "it is handed data and functions in its Options"},

	{name: "snapshot", floor: 3, may: below(3), fence: "it knows everything below, and nothing that runs"},
	{name: "server", floor: 3, may: append(below(3), "snapshot"), libs: []string{"github.com/coreos/go-systemd/v22/daemon"}, fence: "composition: the one room that knows everything"},
	{name: "cmd", floor: 4, may: below(4), libs: []string{"github.com/urfave/cli/v2", "golang.org/x/term"}, fence: "commands, one file each"},
	{name: "main", floor: 5, may: []string{"cmd"}, fence: "main hands over to cmd and returns its exit code"},
}

// inOneFile are libraries that a room keeps behind one file.
var inOneFile = map[string]string{
	"github.com/elazarl/goproxy": "forward/inspect.go",
}

// testLibs are for tests, and for no other code.
var testLibs = []string{
	"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "github.com/Shopify/toxiproxy/v2",
	"github.com/anishathalye/porcupine", "go.uber.org/goleak", "golang.org/x/net/http/httpguts", "golang.org/x/net/http2", "google.golang.org/grpc", "github.com/elazarl/goproxy", "pgregory.net/rapid",
}

// fences are parts of the standard library with a house rule. only names the
// rooms (or single files) that may import it; if it is nil, never names those
// that may not.
var fences = []struct {
	pkg         string
	only, never []string
	why         string
}{
	{pkg: "net/http", only: []string{"discovery", "door", "instance", "probe", "registry", "admin", "server", "cmd", "filter", "mirror", "resolve/https.go", "auth/external.go", "forward/inspect.go", "forward/library.go"}, why: "the fast lane knows no http.Header and no second parser: wire has heads, methods and statuses"},
	{pkg: "net/http/httputil", only: []string{}, why: "its proxy and its dumps are what wire and exchange replace"},
	{pkg: "net/http/pprof", only: []string{"admin"}, why: "importing it opens a door on the process-wide mux"},
	{pkg: "log/slog", only: []string{"forward", "reverse", "registry", "admin", "server", "cmd"}, why: "floors 0 and 1 return errors; above, one line says it once"},
	{pkg: "os/signal", only: []string{"server", "cmd"}, why: "signals belong to who runs the process"},
	{pkg: "os/exec", only: []string{"server", "cmd"}, why: "processes are started by commands and by the hand-over, not by requests"},
	{pkg: "unsafe", only: []string{"clock", "wire", "relay"}, why: "only the rooms that ask the kernel, and with a test for each use"},
	{pkg: "testing", only: []string{}, why: "production code does not know that it is tested"},
	{pkg: "flag", only: []string{}, why: "urfave/cli reads the command line"},
	{pkg: "net", never: []string{"acl", "amount", "document", "ewma", "guard", "hashing", "lb", "hop", "overload", "rest", "simulate", "spread", "turn", "verdict"}, why: "pure rooms do no I/O: net/netip has addresses"},
	{pkg: "os", never: []string{"acl", "amount", "document", "ewma", "guard", "hashing", "lb", "hop", "overload", "rest", "simulate", "spread", "turn", "verdict"}, why: "pure rooms do no I/O: the bytes are handed in"},
}

// noRoom are folder names that say where things were put, not what they are.
var noRoom = []string{"util", "utils", "common", "types", "helper", "helpers", "interfaces", "misc", "shared", "lib", "pkg", "internal", "base", "core"}

func below(floor int) []string {
	return []string{fmt.Sprintf("< %d", floor)}
}

// allowed are the rooms that r may import, by name.
func (r room) allowed() []string {
	var names []string
	for _, m := range r.may {
		if n, ok := strings.CutPrefix(m, "< "); ok {
			floor, _ := strconv.Atoi(n)
			for _, o := range rooms {
				if o.floor < floor {
					names = append(names, o.name)
				}
			}
			continue
		}
		names = append(names, m)
	}
	return names
}

func roomNamed(name string) (room, bool) {
	i := slices.IndexFunc(rooms, func(r room) bool { return r.name == name })
	if i < 0 {
		return room{}, false
	}
	return rooms[i], true
}

// source is one parsed file of the module.
type source struct {
	path string // below the root, with slashes
	room string // its folder; "main" for the root
	test bool
	fset *token.FileSet
	file *ast.File
	text []byte
}

func (s source) at(p token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(p).Line)
}

// imports are the paths that s imports, with their places.
func (s source) imports() map[string]token.Pos {
	m := make(map[string]token.Pos)
	for _, i := range s.file.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		m[p] = i.Pos()
	}
	return m
}

// parsed is every Go file of the module, read once.
var parsed = sync.OnceValues(parse)

func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parse reads every Go file of the module, whatever its build constraints.
func parse() ([]source, error) {
	const root = ".."
	var all []source
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		hidden := file != root && strings.ContainsRune("._", rune(name[0]))
		switch {
		case d.IsDir() && (hidden || slices.Contains([]string{"bin", "testdata"}, name) || file != root && isModule(file)):
			return filepath.SkipDir
		case d.IsDir(), hidden, !strings.HasSuffix(name, ".go"):
			return nil
		}
		s, err := parseFile(root, file)
		all = append(all, s)
		return err
	})
	return all, err
}

// isModule tells whether a folder is a module of its own: tools, the benchmark.
func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

func parseFile(root, file string) (source, error) {
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return source{}, err
	}
	s := source{path: filepath.ToSlash(rel), test: strings.HasSuffix(file, "_test.go"), fset: token.NewFileSet()}
	if s.room = path.Dir(s.path); s.room == "." {
		s.room = "main"
	}
	if s.text, err = os.ReadFile(file); err != nil {
		return s, err
	}
	s.file, err = parser.ParseFile(s.fset, s.path, s.text, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}

func inTestFolder(name string) bool { return name == "test" || strings.HasPrefix(name, "test/") }

func TestEveryPackageHasARowInTheFloors(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range sources(t) {
		if seen[s.room] || inTestFolder(s.room) {
			continue
		}
		seen[s.room] = true
		if slices.Contains(noRoom, path.Base(s.room)) {
			t.Errorf("%s: the name says where things were put, not what they are\n\tdo: name it after the one job of what is in it", s.room)
		}
		if _, ok := roomNamed(s.room); !ok {
			t.Errorf("%s is not a room of the house\n\tdo: put %s into the room whose job it is, or give it a row in test/arch_test.go and in doc/architecture.md", s.room, s.path)
		}
	}
	for i, r := range rooms {
		if slices.ContainsFunc(rooms[:i], func(o room) bool { return o.name == r.name }) {
			t.Errorf("%s has two rows", r.name)
		}
		for _, m := range r.allowed() {
			if o, ok := roomNamed(m); !ok || o.floor > r.floor {
				t.Errorf("the row of %s names %s, which does not exist or stands above it", r.name, m)
			}
		}
	}
}

func TestImportsGoDownTheFloors(t *testing.T) {
	for _, s := range sources(t) {
		for imported, pos := range s.imports() {
			if why, do := s.judge(imported); why != "" {
				t.Errorf("%s: %s may not import %s\n\twhy: %s\n\tdo:  %s", s.at(pos), s.room, imported, why, do)
			}
		}
	}
}

// judge says why s may not import a path, and what to do instead.
func (s source) judge(imported string) (why, do string) {
	first, _, _ := strings.Cut(imported, "/")
	switch {
	case first == module:
		return s.judgeRoom(strings.TrimPrefix(imported, module+"/"))
	case strings.Contains(first, "."):
		return s.judgeLib(imported)
	case s.test || inTestFolder(s.room):
		return "", ""
	}
	for _, f := range fences {
		if f.pkg != imported {
			continue
		}
		in := func(list []string) bool { return slices.Contains(list, s.room) || slices.Contains(list, s.path) }
		if f.only != nil && !in(f.only) || f.only == nil && in(f.never) {
			return f.why, "see fences in test/arch_test.go; a new exception needs its reason there"
		}
	}
	return "", ""
}

func (s source) judgeRoom(imported string) (why, do string) {
	const change = "; to change the floors, change test/arch_test.go and doc/architecture.md together"
	switch {
	case inTestFolder(imported):
		if inTestFolder(s.room) {
			return "", ""
		}
		return "nothing imports test/", "move what is shared to the room that it speaks of"
	case inTestFolder(s.room):
		return "test/ is a black box: what the code under test believes must not leak into the judge", "talk to the binary; a test of one room stands beside it"
	}
	r, _ := roomNamed(s.room)
	o, _ := roomNamed(imported)
	switch {
	case imported == s.room, slices.Contains(r.allowed(), imported):
		return "", ""
	case s.test && o.name != "" && o.floor <= r.floor:
		return "", "" // a sibling may be the peer that a test talks to
	case o.floor > r.floor:
		return fmt.Sprintf("%s stands on floor %d and %s on floor %d: imports point down. %s: %s", s.room, r.floor, imported, o.floor, s.room, r.fence),
			"take a value, or an interface of one or two methods, as a parameter" + change
	default:
		return fmt.Sprintf("%s may import %s. %s: %s", s.room, list(r.may), s.room, r.fence),
			"let the room above hand over what is needed" + change
	}
}

func (s source) judgeLib(imported string) (why, do string) {
	is := func(lib string) bool { return imported == lib || strings.HasPrefix(imported, lib+"/") }
	r, _ := roomNamed(s.room)
	if slices.ContainsFunc(r.libs, is) || (s.test || inTestFolder(s.room)) && slices.ContainsFunc(testLibs, is) {
		return "", ""
	}
	if inTestFolder(s.room) && slices.ContainsFunc(rooms, func(o room) bool { return slices.ContainsFunc(o.libs, is) }) {
		return "", "" // what is in the binary anyway
	}
	for lib, file := range inOneFile {
		if is(lib) && s.path == file {
			return "", ""
		}
		if is(lib) {
			return fmt.Sprintf("%s is fenced into %s", lib, file), "add to that file what you need of it"
		}
	}
	if slices.ContainsFunc(testLibs, is) {
		return "it is a library of tests", "use it in a _test.go file"
	}
	return "it is not a library of this room's job", "do without; or add it to the room's row in test/arch_test.go, with its reasons in doc/dependencies.md"
}

func list(names []string) string {
	if len(names) == 0 {
		return "–"
	}
	s := strings.Join(names, ", ")
	if n, ok := strings.CutPrefix(s, "< "); ok {
		return "all below floor " + n
	}
	return s
}

// TestTheTableForbids keeps the judge itself honest.
func TestTheTableForbids(t *testing.T) {
	for _, tt := range []struct {
		file, imported string
		allowed        bool
	}{
		{"wire/conn.go", "viaduct/fault", true},
		{"wire/conn.go", "viaduct/hop", false},
		{"wire/conn_test.go", "viaduct/hop", true},
		{"wire/conn_test.go", "viaduct/exchange", false},
		{"wire/conn.go", "net/http", false},
		{"wire/conn_test.go", "net/http", true},
		{"wire/conn.go", "golang.org/x/net/idna", false},
		{"hop/host.go", "golang.org/x/net/idna", true},
		{"hop/host.go", "net", false},
		{"exchange/exchange.go", "log/slog", false},
		{"exchange/exchange_test.go", "go.uber.org/goleak", true},
		{"exchange/exchange.go", "go.uber.org/goleak", false},
		{"forward/forward.go", "viaduct/upstream", true},
		{"forward/forward.go", "viaduct/reverse", false},
		{"forward/forward.go", "viaduct/server", false},
		{"forward/forward.go", "github.com/elazarl/goproxy", false},
		{"forward/inspect.go", "github.com/elazarl/goproxy", true},
		{"server/server.go", "viaduct/test", false},
		{"test/tunnel_test.go", "viaduct/relay", false},
		{"test/tunnel_test.go", "viaduct/test/peer", true},
		{"lb/lb.go", "viaduct/nowhere", false},
	} {
		s := source{path: tt.file, room: path.Dir(tt.file), test: strings.HasSuffix(tt.file, "_test.go")}
		if why, _ := s.judge(tt.imported); (why == "") != tt.allowed {
			t.Errorf("%s imports %s: allowed = %v, want %v (%s)", tt.file, tt.imported, !tt.allowed, tt.allowed, why)
		}
	}
}

// TestPackageComments: one comment a package, in the file of its name, where a
// reader looks first. New stands there too.
func TestPackageComments(t *testing.T) {
	type pkg struct{ docs, files, news []string }
	pkgs := make(map[string]*pkg)
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		p := pkgs[s.room]
		if p == nil {
			p = new(pkg)
			pkgs[s.room] = p
		}
		p.files = append(p.files, path.Base(s.path))
		if strings.TrimSpace(s.file.Doc.Text()) != "" {
			p.docs = append(p.docs, path.Base(s.path))
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "New" {
				p.news = append(p.news, path.Base(s.path))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(pkgs)) {
		p, want := pkgs[name], path.Base(name)+".go"
		if inTestFolder(name) {
			want = p.files[0] // a peer's process may be called main.go
			if len(p.docs) == 1 {
				want = p.docs[0]
			}
		}
		if !slices.Equal(p.docs, []string{want}) {
			t.Errorf("%s: the package comment belongs into %s, once; it is in %v (files: %s)", name, want, p.docs, strings.Join(p.files, " "))
		}
		if len(p.news) > 0 && p.news[0] != want {
			t.Errorf("%s: New belongs into %s, beside the central type; it is in %s", name, want, p.news[0])
		}
	}
}

// TestLintersKnowTheFloors: .golangci.yml repeats the table for editors.
func TestLintersKnowTheFloors(t *testing.T) {
	const file, begin, end = "../.golangci.yml", "        # begin floors\n", "        # end floors\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), begin)
	have, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no %q and %q around its floors", file, begin, end)
	}
	want := lintRules()
	if have == want {
		return
	}
	if os.Getenv("VIADUCT_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s does not say what the table of test/arch_test.go says\n\tdo: VIADUCT_UPDATE=1 go test -run Linters ./test", file)
}

// lintRules writes the floors and the fences as rules of depguard, a line each.
func lintRules() string {
	var b strings.Builder
	rule := func(name, mode string, files []string, tail string) {
		fmt.Fprintf(&b, "        %s: {list-mode: %s, files: [%s], %s}\n", name, mode, strings.Join(files, ", "), tail)
	}
	for _, r := range rooms {
		allow := []string{"$gostd"}
		for _, m := range r.allowed() {
			allow = append(allow, module+"/"+m+"$")
		}
		allow = append(allow, r.libs...)
		files := []string{glob("", r.name), `"!$test"`}
		for _, lib := range slices.Sorted(maps.Keys(inOneFile)) {
			if file := inOneFile[lib]; path.Dir(file) == r.name {
				files = append(files, glob("!", file))
				rule(ruleName(file), "strict", []string{glob("", file)}, fmt.Sprintf("allow: [%s, %s]", strings.Join(allow, ", "), lib))
			}
		}
		rule(r.name, "strict", files, fmt.Sprintf("allow: [%s]", strings.Join(allow, ", ")))
	}
	for _, f := range fences {
		var files []string
		if f.only != nil {
			files = append(files, "$all")
			for _, place := range append([]string{"test", "test/**"}, f.only...) {
				files = append(files, glob("!", place))
			}
		}
		for _, place := range f.never {
			files = append(files, glob("", place))
		}
		rule("std-"+ruleName(f.pkg), "lax", append(files, `"!$test"`), fmt.Sprintf("deny: [{pkg: %s$, desc: %q}]", f.pkg, f.why))
	}
	return b.String()
}

func ruleName(s string) string {
	return strings.ReplaceAll(strings.TrimSuffix(s, ".go"), "/", "-")
}

// glob matches the Go files of a room, or a single file.
func glob(not, place string) string {
	place = strings.TrimPrefix(place, "main")
	if !strings.HasSuffix(place, ".go") {
		place = path.Join(place, "*.go")
	}
	return strconv.Quote(not + "${config-path}/" + place)
}

// TestArchitectureShowsTheFloors: the table of doc/architecture.md has a row
// for every room, with its floor and what it may import, and calls planned what
// has no code yet, and only that.
func TestArchitectureShowsTheFloors(t *testing.T) {
	text, err := os.ReadFile("../doc/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	built := make(map[string]bool)
	for _, s := range sources(t) {
		built[s.room] = true
	}
	row := regexp.MustCompile("(?m)^\\| (\\d) \\| `([a-z]+)` \\|(.*)\\| ([^|]*) \\|$")
	shown := make(map[string][]string)
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		shown[m[2]] = m[1:]
	}
	for _, r := range rooms {
		m, ok := shown[r.name]
		if !ok {
			t.Errorf("doc/architecture.md has no row for %s\n\tdo: add | %d | `%s` | what it does | %s |", r.name, r.floor, r.name, list(r.may))
			continue
		}
		if m[0] != strconv.Itoa(r.floor) || m[3] != list(r.may) {
			t.Errorf("doc/architecture.md puts %s on floor %s with %q, test/arch_test.go on floor %d with %q", r.name, m[0], m[3], r.floor, list(r.may))
		}
		if planned := strings.Contains(m[2], "*planned*"); planned == built[r.name] {
			t.Errorf("doc/architecture.md: *planned* stands where there is no code yet, and only there: look at %s", r.name)
		}
		delete(shown, r.name)
	}
	for name := range shown {
		t.Errorf("doc/architecture.md shows %s, which has no row in test/arch_test.go", name)
	}
}
