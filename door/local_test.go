package door_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"viaduct/door"
)

func openLocal(t *testing.T, path string) *door.Local {
	t.Helper()
	l, err := door.OpenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// answers tells whether somebody listens at a path.
func answers(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", path, err)
	}
}

// A umask that allows everything makes no difference.
func TestLocalIsForItsOwner(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "viaduct.sock")
	l := openLocal(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if !answers(path) {
		t.Error("nobody answers")
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.LocalAddr().(*net.UnixAddr); !ok {
		t.Errorf("it came to %v", c.LocalAddr())
	}
	_ = c.Close()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	gone(t, path)
}

// stale leaves a socket as a process does that was killed.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
}

func TestLocalReplacesWhatIsStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "viaduct.sock")
	stale(t, path)
	l := openLocal(t, path)
	if !answers(path) {
		t.Error("nobody answers")
	}
	if _, err := door.OpenLocal(path); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another process answers there") {
		t.Errorf("%v", err)
	}
	if !answers(path) {
		t.Error("the first one was taken away")
	}
	_ = l.Close()
	gone(t, path)
}

func TestLocalLeavesWhatIsAnothers(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	stale(t, at("old"))
	for name, to := range map[string]string{"link": "old", "astray": "nowhere"} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at("datagrams"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	before := descriptors()
	for name, want := range map[string]string{
		"file":                   "is no socket: move it away",
		"folder":                 "is no socket: move it away",
		"link":                   "is no socket: move it away",
		"astray":                 "is no socket: move it away",
		"datagrams":              "cannot be told whether somebody listens",
		"none/s":                 "no such file",
		"file/s":                 "not a directory",
		strings.Repeat("x", 107): "invalid argument",
	} {
		l, err := door.OpenLocal(at(name))
		if err == nil {
			_ = l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if text, err := os.ReadFile(at("file")); string(text) != "precious" {
		t.Errorf("the file holds %q: %v", text, err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 6 {
		t.Errorf("there are %v", list)
	}
	if n := descriptors(); n > before {
		t.Errorf("%d descriptors, were %d", n, before)
	}
}

// A process that replaced the file meanwhile keeps its own.
func TestLocalRemovesItsOwnFileOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "viaduct.sock")
	first := openLocal(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := openLocal(t, path)
	_ = first.Close()
	if !answers(path) {
		t.Error("the second one was taken away")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// A socket whose queue is full has somebody who listens, if slowly.
func TestLocalWithAFullQueueIsNotStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "viaduct.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	var waiting []net.Conn
	for range 10 {
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		waiting = append(waiting, c)
	}
	defer func() {
		for _, c := range waiting {
			_ = c.Close()
		}
	}()
	if l, err := door.OpenLocal(path); err == nil {
		_ = l.Close()
		t.Error("it was taken away")
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// Of many that come at once, for what is stale or for nothing, one gets it.
func TestLocalIsOpenedByManyAtOnce(t *testing.T) {
	for round := range 20 {
		path := filepath.Join(t.TempDir(), "s")
		if round%2 == 0 {
			stale(t, path)
		}
		opened := make([]*door.Local, 8)
		var all sync.WaitGroup
		for i := range opened {
			all.Go(func() { opened[i], _ = door.OpenLocal(path) })
		}
		all.Wait()
		n := 0
		for _, l := range opened {
			if l != nil {
				n++
			}
		}
		if n != 1 || !answers(path) {
			t.Errorf("%d listen, and somebody answers: %v", n, answers(path))
		}
		for _, l := range opened {
			if l != nil {
				_ = l.Close()
			}
		}
		gone(t, path)
	}
}

// A lock that somebody else keeps on the folder holds nobody up for long.
func TestLocalWaitsForNoStranger(t *testing.T) {
	dir := t.TempDir()
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	openLocal(t, filepath.Join(dir, "s"))
}
