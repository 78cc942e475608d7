// The laws of the hand: what HOUSE calls a law and no linter sees.

package test_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Sizes. What is longer is usually two things; what is one thing all the same
// has its line in longer, with the reason.
const (
	maxFunction = 60
	maxFile     = 400
	maxRoom     = 1500
	maxMain     = 60
)

// longer allows a "room", a "room/file.go" or a "room.Function" its length.
var longer = map[string]string{
	"exchange": "one session, whose steps share its state: dial, send, receive, relay, answer by itself, hand over",
	"pool":     "one request on its way out: choice, tries, blame, waiting and release share its state; chains, trunks and rests are rooms of their own",
	"lb":       "one choice: its policies share the draw, the groups and the counters",
}

// state are package variables that change, each with the reason why no
// parameter could do it: "room.name": reason.
var state = map[string]string{
	"wire.buffers": "a pool, which the garbage collector must not empty",
	"relay.pipes":  "a pool of descriptors, which the garbage collector could not close",
}

// wrappers are types that embed a connection, each with the reason why no
// tunnel ever sees them: "room.Type": reason.
var wrappers = map[string]string{
	"tap.Conn": "it stands below TLS, which copies anyway",
}

func TestNothingIsLong(t *testing.T) {
	lines := make(map[string]int)
	used := make(map[string]bool)
	check := func(what, place string, n, most int, do string) {
		if n <= most {
			return
		}
		if longer[what] != "" {
			used[what] = true
			return
		}
		t.Errorf("%s: %s has %d lines, %d are the most\n\tdo: %s", place, what, n, most, do)
	}
	for _, s := range sources(t) {
		if s.test || inTestFolder(s.room) {
			continue
		}
		n := bytes.Count(s.text, []byte("\n"))
		lines[s.room] += n
		check(s.path, s.path, n, maxFile, "give one of its subjects a file of its own")
		for _, f := range functions(s) {
			n := s.line(f.End()) - s.line(f.Pos()) + 1
			check(s.room+"."+functionName(f), s.at(f.Pos()), n, maxFunction, "name its steps")
		}
	}
	check("main", "main.go", lines["main"], maxMain-1, "let cmd do it")
	for name, n := range lines {
		check(name, name, n, maxRoom, "look for the second room in it")
	}
	for what := range longer {
		if !used[what] {
			t.Errorf("%s needs no exception: take it out of longer", what)
		}
	}
}

func functions(s source) []*ast.FuncDecl {
	var all []*ast.FuncDecl
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			all = append(all, f)
		}
	}
	return all
}

func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	r := strings.TrimPrefix(types.ExprString(f.Recv.List[0].Type), "*")
	return r + "." + f.Name.Name
}

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, f := range functions(s) {
			if f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init runs whether it is wanted or not\n\tdo: let New or Build do it", s.at(f.Pos()))
			}
		}
	}
}

// TestNamesSayWhatThingsAre: words that fit everything name nothing.
func TestNamesSayWhatThingsAre(t *testing.T) {
	empty := regexp.MustCompile(`(Manager|Helper|Helpers|Util|Utils|Data|Info|Impl|Wrapper)$`)
	getter := regexp.MustCompile(`^Get[A-Z]`) // Get alone looks something up
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, f := range functions(s) {
			if getter.MatchString(f.Name.Name) {
				t.Errorf("%s: %s: a getter is named after what it returns, a maker after what it makes", s.at(f.Pos()), f.Name.Name)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if d, ok := n.(*ast.TypeSpec); ok && empty.MatchString(d.Name.Name) {
				t.Errorf("%s: type %s: name what it is, not that it is something", s.at(d.Pos()), d.Name.Name)
			}
			return true
		})
	}
}

func TestNoBanners(t *testing.T) {
	banner := regexp.MustCompile(`[-=*#~_]{5,}`)
	for _, s := range sources(t) {
		for _, g := range s.file.Comments {
			for _, c := range g.List {
				if banner.MatchString(c.Text) {
					t.Errorf("%s: a line of signs says nothing\n\tdo: a file of its own, if it is a chapter", s.at(c.Pos()))
				}
			}
		}
	}
}

// TestSleepsOfTests: a test waits for the event, with a bound. It may sleep in
// a loop that polls, in a synctest bubble, whose time costs nothing, and as a
// scripted peer, if the line says so: time.Sleep(d) // peer: answers late.
func TestSleepsOfTests(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test && !inTestFolder(s.room) {
			continue
		}
		peers := make(map[int]bool)
		for _, g := range s.file.Comments {
			for _, c := range g.List {
				peers[s.line(c.Pos())] = strings.HasPrefix(c.Text, "// peer: ")
			}
		}
		var open []ast.Node
		ast.Inspect(s.file, func(n ast.Node) bool {
			if n == nil {
				open = open[:len(open)-1]
				return true
			}
			if isCall(n, "time", "Sleep") && !peers[s.line(n.Pos())] && !slices.ContainsFunc(open, maySleep) {
				t.Errorf("%s: a bare sleep is too short on a slow machine and too long on a fast one\n\tdo: wait for the event in a loop with a bound, use synctest, or say which peer is slow: // peer: ...", s.at(n.Pos()))
			}
			open = append(open, n)
			return true
		})
	}
}

func maySleep(n ast.Node) bool {
	switch n.(type) {
	case *ast.ForStmt, *ast.RangeStmt:
		return true
	}
	return isCall(n, "synctest", "Test")
}

func isCall(n ast.Node, pkg, name string) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// TestEveryDependencyHasItsReasons: what go.mod requires by itself has a line
// in doc/dependencies.md.
func TestEveryDependencyHasItsReasons(t *testing.T) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	out, err := goCommand("mod", "edit", "-json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../doc/dependencies.md")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if !r.Indirect && !regexp.MustCompile(`(?m)`+regexp.QuoteMeta(r.Path)+`([^\w/.-]|$)`).Match(text) {
			t.Errorf("go.mod requires %s, which has no line in doc/dependencies.md\n\tdo: say there what it is for, what it costs and what was refused for it", r.Path)
		}
	}
}

// goCommand runs the go command in the module's root.
func goCommand(args ...string) ([]byte, error) {
	c := exec.Command("go", args...)
	c.Dir = ".."
	out, err := c.Output()
	if bad, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("go %s: %w\n%s", args[0], err, bad.Stderr)
	}
	return out, err
}

// checked is a package with its types.
type checked struct {
	name  string // the room
	pkg   *types.Package
	info  *types.Info
	fset  *token.FileSet
	files []*ast.File

	isAlias map[ast.Expr]bool // see aliases
}

func (c checked) at(p token.Pos) string {
	at := c.fset.Position(p)
	return fmt.Sprintf("%s:%d", path.Join(strings.TrimPrefix(c.name, "main"), path.Base(at.Filename)), at.Line)
}

// house holds the packages that type-check, and why the others don't.
type house struct {
	rooms  []checked
	broken []error
}

// typed reads the rooms' source with its types, once.
var typed = sync.OnceValues(readTyped)

func check(t *testing.T) []checked {
	t.Helper()
	h, err := typed()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range h.broken {
		t.Errorf("its laws cannot be checked: %v", err)
	}
	return h.rooms
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

func readTyped() (house, error) {
	var h house
	out, err := goCommand("list", "-e", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles", "./...")
	if err != nil {
		return h, err
	}
	export := make(map[string]string)
	var ours []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return h, err
		}
		export[p.ImportPath] = p.Export
		if (p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/")) && len(p.GoFiles) > 0 {
			ours = append(ours, p)
		}
	}
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(p string) (io.ReadCloser, error) { return os.Open(export[p]) })
	for _, p := range ours {
		c, err := p.check(fset, imp)
		if err != nil {
			h.broken = append(h.broken, err)
			continue
		}
		h.rooms = append(h.rooms, c)
	}
	return h, nil
}

// check gives a package its types, from the compiler's export data of what it
// imports.
func (p listed) check(fset *token.FileSet, imp types.Importer) (checked, error) {
	c := checked{name: strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/"), fset: fset, isAlias: make(map[ast.Expr]bool)}
	if c.name == "" {
		c.name = "main"
	}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, path.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return c, err
		}
		c.files = append(c.files, f)
	}
	c.info = &types.Info{
		Defs:       make(map[*ast.Ident]types.Object),
		Uses:       make(map[*ast.Ident]types.Object),
		Types:      make(map[ast.Expr]types.TypeAndValue),
		Selections: make(map[*ast.SelectorExpr]*types.Selection),
	}
	var err error
	c.pkg, err = (&types.Config{Importer: imp}).Check(p.ImportPath, fset, c.files, c.info)
	return c, err
}

// inspect visits every node of the package.
func (c checked) inspect(visit func(ast.Node)) {
	for _, f := range c.files {
		ast.Inspect(f, func(n ast.Node) bool {
			if n != nil {
				visit(n)
			}
			return true
		})
	}
}

// TestPackageVariablesStayAsTheyAre: tables, error values and pools are fine.
// What changes has an owner, who is made by New and handed to who needs it.
func TestPackageVariablesStayAsTheyAre(t *testing.T) {
	const do = "make it a field of what New or Build returns"
	for _, c := range check(t) {
		bad := func(v *types.Var, p token.Pos, what string) {
			if state[v.Pkg().Name()+"."+v.Name()] == "" {
				t.Errorf("%s: the package variable %s %s\n\tdo: %s", c.at(p), v.Name(), what, do)
			}
		}
		for _, name := range c.pkg.Scope().Names() {
			if v, ok := c.pkg.Scope().Lookup(name).(*types.Var); ok && holdsState(v.Type(), nil) {
				bad(v, v.Pos(), "holds state: "+types.TypeString(v.Type(), types.RelativeTo(c.pkg)))
			}
		}
		aliases := c.aliases()
		c.inspect(func(n ast.Node) {
			for _, e := range c.writes(n) {
				v := aliases[c.root(e)]
				if v == nil {
					v = packageVar(c.root(e))
				}
				if a, ok := e.(*ast.Ident); ok && v != nil && c.info.Uses[a] != v {
					continue // the alias itself is set to something else
				}
				if v != nil && !harmless(v.Type()) {
					bad(v, n.Pos(), "is changed, or lent to who can change it")
				}
			}
		})
	}
}

// writes are the expressions that n changes, or takes the address of.
func (c checked) writes(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND && !c.isAlias[n] {
			return []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.Ident); ok && c.info.Types[f].IsBuiltin() && slices.Contains([]string{"clear", "copy", "delete"}, f.Name) {
			return n.Args[:1]
		}
		sel, ok := n.Fun.(*ast.SelectorExpr)
		if !ok {
			return nil
		}
		s := c.info.Selections[sel]
		if s == nil || s.Kind() != types.MethodVal {
			return nil
		}
		_, takesPointer := s.Obj().Type().(*types.Signature).Recv().Type().(*types.Pointer)
		_, hasPointer := s.Recv().(*types.Pointer)
		if takesPointer && !hasPointer {
			return []ast.Expr{sel.X}
		}
	}
	return nil
}

// aliases are the local pointers into package variables: row := &table[i] is a
// way to read, as long as nothing is written through it.
func (c checked) aliases() map[*types.Var]*types.Var {
	m := make(map[*types.Var]*types.Var)
	c.inspect(func(n ast.Node) {
		def, ok := n.(*ast.AssignStmt)
		if !ok || def.Tok != token.DEFINE || len(def.Lhs) != len(def.Rhs) {
			return
		}
		for i := range def.Rhs {
			ref, ok := def.Rhs[i].(*ast.UnaryExpr)
			if !ok || ref.Op != token.AND {
				continue
			}
			id, _ := def.Lhs[i].(*ast.Ident)
			local, _ := c.info.Defs[id].(*types.Var)
			if v := packageVar(c.root(ref.X)); v != nil && local != nil {
				m[local] = v
				c.isAlias[ref] = true
			}
		}
	})
	return m
}

// root is the variable that an expression begins with, or nil.
func (c checked) root(e ast.Expr) *types.Var {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
			if id, ok := x.X.(*ast.Ident); ok {
				if _, isPackage := c.info.Uses[id].(*types.PkgName); isPackage {
					e = x.Sel
				}
			}
		case *ast.Ident:
			v, _ := c.info.Uses[x].(*types.Var)
			return v
		default:
			return nil
		}
	}
}

// packageVar is v, if it is a package's variable.
func packageVar(v *types.Var) *types.Var {
	if v == nil || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() {
		return nil
	}
	return v
}

// isPool tells whether a type is a sync.Pool, or an array of them: the one kind
// of state that nobody can read from.
func isPool(t types.Type) bool {
	if a, ok := t.Underlying().(*types.Array); ok {
		t = a.Elem()
	}
	return strings.TrimPrefix(t.String(), "*") == "sync.Pool"
}

// harmless are types whose methods have pointer receivers and change nothing.
func harmless(t types.Type) bool {
	return isPool(t) || slices.Contains([]string{"net.Dialer", "net.ListenConfig", "net.Resolver"}, t.String())
}

// holdsState tells whether a type can only be there to change: locks, atomics,
// channels, in it or behind it.
func holdsState(t types.Type, seen []types.Type) bool {
	if isPool(t) || slices.Contains(seen, t) {
		return false
	}
	seen = append(seen, t)
	if n, ok := t.(*types.Named); ok && n.Obj().Pkg() != nil {
		switch p := n.Obj().Pkg().Path(); {
		case p == "sync", p == "sync/atomic":
			return true
		case p != module && !strings.HasPrefix(p, module+"/"):
			return false
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Chan:
		return true
	case *types.Pointer:
		return holdsState(u.Elem(), seen)
	case *types.Array:
		return holdsState(u.Elem(), seen)
	case *types.Slice:
		return holdsState(u.Elem(), seen)
	case *types.Map:
		return holdsState(u.Elem(), seen)
	case *types.Struct:
		for f := range u.Fields() {
			if holdsState(f.Type(), seen) {
				return true
			}
		}
	}
	return false
}

// TestGoroutinesHaveNames: a dump of all stacks has to read as sentences.
func TestGoroutinesHaveNames(t *testing.T) {
	for _, c := range check(t) {
		c.inspect(func(n ast.Node) {
			var started ast.Expr
			switch n := n.(type) {
			case *ast.GoStmt:
				started = n.Call.Fun
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" && len(n.Args) == 1 {
					started = n.Args[0]
				}
			}
			if f, ok := started.(*ast.FuncLit); ok && len(f.Body.List) > 1 {
				t.Errorf("%s: a goroutine without a name\n\tdo: give the body a name; a literal may call it, and do nothing else", c.at(n.Pos()))
			}
		})
	}
}

// TestConnectionsAreNotWrapped: the kernel moves bytes between two sockets only
// when it is given the sockets.
func TestConnectionsAreNotWrapped(t *testing.T) {
	conns := []string{"net.Conn", "*net.TCPConn", "*net.UnixConn", "*crypto/tls.Conn"}
	for _, c := range check(t) {
		for _, name := range c.pkg.Scope().Names() {
			s, ok := c.pkg.Scope().Lookup(name).Type().Underlying().(*types.Struct)
			if _, isType := c.pkg.Scope().Lookup(name).(*types.TypeName); !ok || !isType || wrappers[c.name+"."+name] != "" {
				continue
			}
			for f := range s.Fields() {
				if f.Embedded() && slices.Contains(conns, f.Type().String()) {
					t.Errorf("%s: %s wraps a connection: a tunnel through it is copied by hand\n\tdo: keep the connection in a named field and hand out the connection itself; count from what a copy returns", c.at(f.Pos()), name)
				}
			}
		}
	}
}
