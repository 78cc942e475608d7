package server_test

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"viaduct/config"
	"viaduct/server"
)

// socketIn is a path for a socket, and the admin address that means it.
func socketIn(t *testing.T) (path, at string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "viaduct.sock")
	return path, "unix://" + path
}

// operator runs a server with an admin address, which change replaces.
func operator(t *testing.T, at string) (r *running, change func(at string) error) {
	t.Helper()
	src := new(source)
	with := func(at string) {
		conf := entries(plain("127.0.0.1:0"))
		conf.Admin.Listen = at
		src.set(conf, nil)
	}
	with(at)
	r = runWith(t, src.load, 1)
	return r, func(at string) error { with(at); return r.server.Reload() }
}

// healthy asks by a socket in the file system, on a connection of its own.
func healthy(t *testing.T, path string) bool {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	return page(t, c, "/healthz") == "ok\n"
}

// page asks for a page, by a name that is nobody's.
func page(t *testing.T, c net.Conn, path string) string {
	t.Helper()
	say(t, c, "GET "+path+" HTTP/1.1\r\nHost: whoever\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %d %s, %v", path, answer.StatusCode, body, err)
	}
	return string(body)
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", path, err)
	}
}

func TestAdminOnASocketInTheFileSystem(t *testing.T) {
	path, at := socketIn(t)
	r, change := operator(t, at)
	poll(t, "it tells where", func() bool { return strings.Contains(r.log.String(), `msg="admin listening" admin=`+at+"\n") })
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	kept, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	_ = kept.SetDeadline(time.Now().Add(patience))
	for range 3 { // over reloads
		if err := change(at); err != nil {
			t.Fatal(err)
		}
		if text := page(t, kept, "/metrics"); !strings.Contains(text, "viaduct_build_info") {
			t.Errorf("it tells %q", text)
		}
		if text := page(t, kept, "/api/status"); !strings.Contains(text, `"pools"`) {
			t.Errorf("it tells %q", text)
		}
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(now, info) {
		t.Errorf("the socket was made anew: %v", err)
	}
	_ = kept.Close()
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	wantGone(t, path)
}

func TestAdminReplacesAStaleSocket(t *testing.T) {
	path, at := socketIn(t)
	stale := must[*net.UnixListener](t)(net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}))
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	operator(t, at)
	if !healthy(t, path) {
		t.Error("nobody answers")
	}
}

// What is wrong with the socket is told at the start, and nothing is left open.
func TestAdminSocketThatCannotBe(t *testing.T) {
	path, at := socketIn(t)
	other := must[net.Listener](t)(net.Listen("unix", path))
	defer other.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := descriptors()
	for at, want := range map[string]string{
		at:                                   "another process answers there",
		"unix://" + file:                     "is no socket: move it away",
		"unix://" + filepath.Join(file, "s"): "not a directory",
	} {
		conf := plain("127.0.0.1:0").config()
		conf.Admin.Listen = at
		load := func() (*config.Config, error) { return checked(conf) }
		if _, err := server.New(server.Options{Load: load, Log: logger(new(journal))}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", at, err, want)
		}
	}
	poll(t, "nothing is left open", func() bool { return descriptors() <= before })
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// An address may change to a path, to another one, and back, at once.
func TestAdminMovesBetweenSocketAndAddress(t *testing.T) {
	path, at := socketIn(t)
	second, secondAt := socketIn(t)
	r, change := operator(t, at)
	for range 10 {
		for _, to := range []string{"127.0.0.1:0", secondAt, "", at} {
			if err := change(to); err != nil {
				t.Fatalf("to %q: %v", to, err)
			}
			for p, at := range map[string]string{path: at, second: secondAt} {
				if got := healthy(t, p); got != (to == at) {
					t.Errorf("at %q %s answers: %v", to, p, got)
				}
			}
		}
	}
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	wantGone(t, path)
	wantGone(t, second)
}

// A reload that is refused leaves the socket as it is, and none of its own.
func TestRefusedReloadLeavesTheSocket(t *testing.T) {
	path, at := socketIn(t)
	second, secondAt := socketIn(t)
	taken := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	src := new(source)
	conf := entries(plain("127.0.0.1:0"))
	conf.Admin.Listen = at
	src.set(conf, nil)
	r := runWith(t, src.load, 1)
	bad := entries(plain("127.0.0.1:0"), plain(taken.Addr().String()))
	bad.Admin.Listen = secondAt
	src.set(bad, nil)
	if err := r.server.Reload(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	wantGone(t, second)
	if !healthy(t, path) {
		t.Error("nobody answers any more")
	}
}
