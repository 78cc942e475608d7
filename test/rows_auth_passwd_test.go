package test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func groupRules(t *testing.T, _ *proxy) {
	users := saved(t, hashed(t, "alice", "open sesame", "bob", "swordfish"))
	groups := saved(t, "\ufeff# groups\r\n\r\nci: alice nobody\nops : bob\talice\nci: alice\nempty:\n")
	p := start(t, "--users", users, "--groups", groups, "--deny", "group=ops method=POST", "--deny", "user=bob path=/secret", "--allow", "group=ci,staff", "--allow", "user=bob path=/open")
	c, _ := stage(t, p, says(ok("fine")))
	check := func(request, line, rule string) {
		t.Helper()
		m := c.ask(request+" HTTP/1.1", "Host: {O}", line).answer()
		if rule == "" {
			m.want(t, 200, "fine")
			return
		}
		m.wantDenied(t, rule)
		m.goesOn(t)
	}
	check("GET http://{O}/", alice, "")
	check("POST http://{O}/", alice, "deny#1")
	check("POST http://{O}/", bob, "deny#1")
	check("GET http://{O}/", bob, "default")
	check("GET http://{O}/open", bob, "")
	check("GET http://{O}/secret/x", bob, "deny#2")
	check("GET http://{O}/secret/x", alice, "")
	replaceFile(t, groups, "ci: bob\n") // which holds for those who were verified
	until(t, c, alice, 403)
	check("GET http://{O}/", alice, "default")
	check("GET http://{O}/", bob, "")
	check("POST http://{O}/", bob, "")
	for n, want := range []map[string]any{
		{"user": "alice", "decision": "allow", "rule": "allow#1", "status": 200.0},
		{"user": "alice", "decision": "deny", "rule": "deny#1", "status": 403.0},
		{"user": "bob", "decision": "deny", "rule": "deny#1"},
		{"user": "bob", "decision": "deny", "rule": "default"},
	} {
		line := p.lines(t, 4)[n]
		for key, value := range want {
			if line[key] != value {
				t.Errorf("line %d: %s is %v, want %v in %v", n, key, line[key], value, line)
			}
		}
	}
}

func groupsRefused(t *testing.T, _ *proxy) {
	users := saved(t, hashed(t, "alice", "open sesame"))
	good := "ci: alice\n"
	bad := map[string]string{
		"no colon": good + "ops alice\n", "no name": good + ": alice\n", "control character": good + "o\x01ps: alice\n", "not UTF-8": good + "o\xffps: alice\n", "binary": good + "\x00\x01: \x02\n",
	}
	for what, text := range bad {
		path := saved(t, text)
		refusesToStart(t, what, []string{"--users", users, "--groups", path, "--allow", "group=ci"}, "groups", "line 2", path)
	}
	refusesToStart(t, "none", []string{"--users", users, "--groups", "/nonexistent/groups", "--allow", "group=ci"}, "/nonexistent/groups")
	refusesToStart(t, "alone", []string{"--groups", saved(t, good)}, "--groups", "--users")
	groups := saved(t, good)
	p := start(t, "--users", users, "--groups", groups, "--allow", "group=ci")
	c, _ := stage(t, p, says(ok("fine")))
	for what, text := range bad {
		before := len(p.log())
		replaceFile(t, groups, text)
		poll(t, what+" is told", func() bool { return strings.Contains(p.log()[before:], "not taken") })
		if told := p.log()[before:]; !strings.Contains(told, groups) || !strings.Contains(told, "line 2") {
			t.Errorf("%s: standard error says %q", what, told)
		}
		getAs(c, alice).want(t, 200, "fine")
	}
	replaceFile(t, groups, "") // nobody is in any group: that is no mistake
	until(t, c, alice, 403)
}

func passwdServes(t *testing.T, _ *proxy) {
	path := filepath.Join(t.TempDir(), "users")
	sets := func(user, password, stdin string) {
		t.Helper()
		code, said := passwd(t, stdin, path, user)
		if code != 0 || strings.Contains(said, strings.TrimSpace(password)) || strings.Contains(said, "$2") || !strings.Contains(said, user) {
			t.Fatalf("exit code %d, %q", code, said)
		}
	}
	sets("alice", "open sesame", "open sesame\n")
	if m := mode(t, path); m != 0o600 {
		t.Errorf("a new file has mode %v", m)
	}
	p := start(t, "--users", path)
	o := newOrigin(t, says(ok("fine")))
	c := clientAt(t, p, "127.0.0.1", o)
	getAs(c, alice).want(t, 200, "fine")
	sets("jürgen", "pa:ss", "pa:ss") // without an end of line, as pipes have it
	untilServed(t, p, o, basic("jürgen", "pa:ss"))
	sets("alice", "new words", "new words\r\nmore\n")
	until(t, c, alice, 407)
	getAs(c, basic("alice", "new words")).want(t, 200, "fine")
	sets("long", strings.Repeat("ü", 36), strings.Repeat("ü", 36)+"\n")
	untilServed(t, p, o, basic("long", strings.Repeat("ü", 36)))

	// What others have written stays, and so does who may read it.
	text := "# our users\n\ncarol:{SHA}W8r/fyL/UzygmbNAjq2HbA67qac=\n" + hashed(t, "alice", "open sesame")
	file := saved(t, strings.TrimSpace(text))
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	path = link
	sets("dave", "words", "words\n")
	sets("carol", "other words", "other words\n")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(got), "\ncarol:")
	_, rest, _ = strings.Cut(rest, "\n")
	if head != "# our users\n" || !strings.HasPrefix(rest, strings.SplitAfterN(text, "\n", 4)[3]) || strings.Count(string(got), "\n") != 5 {
		t.Errorf("%q has become %q", text, got)
	}
	if mode(t, file) != 0o640 || mode(t, link)&fs.ModeSymlink == 0 {
		t.Errorf("the file has mode %v, the link %v", mode(t, file), mode(t, link))
	}
	p = start(t, "--users", link)
	for _, line := range []string{basic("carol", "other words"), basic("dave", "words"), alice} {
		getAs(clientAt(t, p, "127.0.0.1", o), line).want(t, 200, "fine")
	}
}

func passwdRefuses(t *testing.T, _ *proxy) {
	text := hashed(t, "alice", "words")
	path := saved(t, text)
	refuses := func(code int, stdin string, args ...string) string {
		t.Helper()
		got, said := passwd(t, stdin, args...)
		if got != code || said == "" || strings.Contains(said, "goroutine ") || strings.Contains(said, "sesame") {
			t.Errorf("%q: exit code %d, want %d; it said %q", args, got, code, said)
		}
		return said
	}
	for _, name := range []string{"", "a:b", ":", "a\nb", "a\x01", "a\x7f", "a\u0085b", "\xff", " a", "a ", "#a", strings.Repeat("a", 300)} {
		refuses(1, "sesame\n", path, name)
	}
	for _, stdin := range []string{"", "\n", "\r\n", "\nsesame\n", strings.Repeat("sesame!!!", 8) + "x\n", strings.Repeat("sesame", 10_000), "ses\x00ame\n", "sesame\x1b\n", "sesam\xe9\n"} {
		refuses(1, stdin, path, "bob")
		refuses(1, stdin, path, "alice")
	}
	refuses(1, "sesame\n", path, "bob", "sesame")
	refuses(1, "sesame\n", path)
	refuses(1, "sesame\n")
	refuses(1, "sesame\n", path, "bob", "--password", "sesame")
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Errorf("the file has become %q, %v", got, err)
	}
	refuses(2, "sesame\n", filepath.Join(t.TempDir(), "none", "users"), "bob")
	refuses(2, "sesame\n", t.TempDir(), "bob")
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	refuses(1, "sesame\n", saved(t, text+text), "alice")
	fresh := filepath.Join(t.TempDir(), "fresh")
	refuses(1, "\n", fresh, "bob")
	if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made for nothing: %v", err)
	}
}

// passwd runs viaduct passwd with a text on its standard input.
func passwd(t testing.TB, stdin string, args ...string) (code int, said string) {
	t.Helper()
	cmd, err := launch{}.command(t.TempDir(), append([]string{"passwd"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}
