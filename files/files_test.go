package files_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"viaduct/files"
)

// folder has a file in it, whose versions differ whenever its text does.
type folder struct {
	*testing.T
	path string
	age  time.Duration
}

func newFolder(t *testing.T, text string) *folder {
	f := &folder{T: t, path: filepath.Join(t.TempDir(), "list"), age: time.Hour}
	f.write(text)
	return f
}

func (f *folder) write(text string) {
	f.Helper()
	f.age -= time.Second
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	at := time.Now().Add(-f.age)
	if err := os.Chtimes(f.path, at, at); err != nil {
		f.Fatal(err)
	}
}

func TestWhatHasNotChangedIsNotReadAgain(t *testing.T) {
	f := newFolder(t, "one")
	parsed := 0
	load := func(s *files.Set, form string) string {
		t.Helper()
		v, err := files.Load(s, f.path, form, func(text []byte) (string, error) { parsed++; return form + " " + string(text), nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := files.New(nil)
	if a, b := load(first, "a"), load(first, "a"); a != "a one" || b != a || parsed != 1 {
		t.Fatalf("%q, %q, parsed %d times", a, b, parsed)
	}
	if b := load(first, "b"); b != "b one" || parsed != 2 {
		t.Fatalf("%q, parsed %d times", b, parsed)
	}
	first.Done()
	second := files.New(first)
	if a := load(second, "a"); a != "a one" || parsed != 2 {
		t.Fatalf("%q, parsed %d times", a, parsed)
	}
	if c := load(second, "c"); c != "c one" || parsed != 3 {
		t.Fatalf("%q, parsed %d times", c, parsed)
	}
	second.Done()
	f.write("two")
	third := files.New(second)
	if a := load(third, "a"); a != "a two" || parsed != 4 {
		t.Fatalf("%q, parsed %d times", a, parsed)
	}
}

func TestChangesAreListedOnceAndWhenTheyHaveSettled(t *testing.T) {
	f := newFolder(t, "one")
	s := files.New(nil)
	load := func(text []byte) (string, error) { return string(text), nil }
	if _, err := files.Load(s, f.path, "", load); err != nil {
		t.Fatal(err)
	}
	s.Done()
	want := func(n int) {
		t.Helper()
		if got := s.Changed(); len(got) != n || n > 0 && got[0] != f.path {
			t.Fatalf("changed: %v, want %d", got, n)
		}
	}
	want(0)
	want(0)
	f.write("two")
	want(0) // not settled
	want(1)
	want(0) // told
	f.write("three")
	want(0)
	f.write("four")
	want(0)
	want(1)
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	want(0)
	want(1) // it has gone
	want(0)
	f.write("five")
	want(0)
	want(1)
}

func TestAFileThatCouldNotBeReadIsLookedAtAgain(t *testing.T) {
	f := newFolder(t, "")
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	s := files.New(nil)
	load := func(text []byte) (string, error) { return string(text), nil }
	if _, err := files.Load(s, f.path, "", load); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	f.write("here")
	if s.Changed() != nil {
		t.Error("not settled yet")
	}
	if got := s.Changed(); len(got) != 1 {
		t.Error(got)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	f := newFolder(t, "one")
	bad := errors.New("line 3: not this")
	_, err := files.Load(files.New(nil), f.path, "", func([]byte) (int, error) { return 0, bad })
	if !errors.Is(err, bad) || err.Error() != f.path+": line 3: not this" {
		t.Error(err)
	}
	if _, err := files.Load(files.New(nil), t.TempDir(), "", func([]byte) (int, error) { return 0, nil }); err == nil {
		t.Error("a folder was read")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Load(files.New(nil), pipe, "", func([]byte) (int, error) { return 0, nil }); err == nil {
		t.Error("a pipe was read")
	}
}

func TestVersionOfALinkIsThatOfItsTarget(t *testing.T) {
	f := newFolder(t, "one")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(f.path, link); err != nil {
		t.Fatal(err)
	}
	before := files.VersionOf(link)
	if before != files.VersionOf(f.path) {
		t.Error("versions differ")
	}
	f.write("three")
	if files.VersionOf(link) == before || files.VersionOf(link+"x") != (files.Version{}) {
		t.Error("the version is the same")
	}
}

func TestWhatWasReadBeforeStaysIfItIsToDo(t *testing.T) {
	f := newFolder(t, "good")
	parse := func(text []byte) (string, error) {
		if string(text) == "bad" {
			return "", errors.New("bad")
		}
		return string(text), nil
	}
	first := files.New(nil)
	if _, err := files.Load(first, f.path, "", parse); err != nil {
		t.Fatal(err)
	}
	first.Done()
	f.write("bad")
	var told []error
	second := files.Again(first, []string{f.path}, func(err error) { told = append(told, err) })
	if v, err := files.Load(second, f.path, "", parse); v != "good" || err != nil || len(told) != 1 {
		t.Fatalf("%q, %v, told %v", v, err, told)
	}
	second.Done()
	for range 3 {
		if got := second.Changed(); got != nil {
			t.Errorf("told again of %v", got)
		}
	}
	if _, err := files.Load(files.New(second), f.path, "", parse); err == nil {
		t.Error("who asks for the file of now got another")
	}
	f.write("better")
	second.Changed()
	if got := second.Changed(); len(got) != 1 {
		t.Errorf("changed: %v", got)
	}
}

func TestWhatDidNotChangeIsNotReadBesideWhatDid(t *testing.T) {
	one, two := newFolder(t, "one"), newFolder(t, "two")
	load := func(s *files.Set, f *folder) string {
		t.Helper()
		v, err := files.Load(s, f.path, "", func(text []byte) (string, error) { return string(text), nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	first := files.New(nil)
	load(first, one)
	load(first, two)
	first.Done()
	one.write("half")
	two.write("TWO")
	again := files.Again(first, []string{two.path}, func(err error) { t.Error(err) })
	if a, b := load(again, one), load(again, two); a != "one" || b != "TWO" {
		t.Errorf("%q, %q", a, b)
	}
	again.Done()
	again.Changed()
	if got := again.Changed(); len(got) != 1 || got[0] != one.path {
		t.Errorf("changed: %v", got)
	}
}

func TestWhoMayReadAFileIsPartOfItsVersion(t *testing.T) {
	f := newFolder(t, "key")
	s := files.New(nil)
	if _, err := files.Load(s, f.path, "", func(text []byte) (string, error) { return string(text), nil }); err != nil {
		t.Fatal(err)
	}
	before := files.VersionOf(f.path)
	for _, mode := range []os.FileMode{0o644, 0o600} {
		if err := os.Chmod(f.path, mode); err != nil {
			t.Fatal(err)
		}
		s.Changed()
		if got := len(s.Changed()) == 1; got != (mode == 0o644) || (files.VersionOf(f.path) == before) == got {
			t.Errorf("%v: changed %v", mode, got)
		}
	}
}

func TestKeepTellsOnlyOfWhatWasReadAnew(t *testing.T) {
	wrong := errors.New("they do not fit")
	if files.New(nil).Keep(wrong, "a") {
		t.Error("what is wrong at the start is an error")
	}
	var told []error
	s := files.Again(files.New(nil), []string{"a", "b"}, func(err error) { told = append(told, err) })
	if !s.Keep(wrong, "x", "y") || told != nil {
		t.Errorf("of files as before it told %v", told)
	}
	if !s.Keep(wrong, "x", "b") || len(told) != 1 || !errors.Is(told[0], wrong) {
		t.Errorf("it told %v", told)
	}
}
