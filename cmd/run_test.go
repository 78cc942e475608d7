package cmd_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"viaduct/cmd"
)

// write makes a configuration file.
func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "viaduct.yaml")
	rewrite(t, file, text)
	return file
}

// rewrite changes a file at one stroke, as editors do.
func rewrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

const quiet = "log: {access: {path: 'off'}}\nforward:\n- listen: 127.0.0.1:0\n  allow_private: true\n"

// fetch asks for a page through the proxy at addr, from the loopback.
func fetch(t *testing.T, addr string) int {
	t.Helper()
	return fetchAs(t, nil, addr)
}

// fetchAs does so as a user.
func fetchAs(t *testing.T, user *url.Userinfo, addr string) int {
	t.Helper()
	origin := httptest.NewServer(http.NotFoundHandler())
	defer origin.Close()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", User: user, Host: addr})}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get(origin.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

func TestRun(t *testing.T) {
	file := write(t, quiet)
	for _, line := range []string{"run -c " + file, "run --config " + file, "-c " + file + " run", "run -c=" + file, "--config=" + file + " run"} {
		r := start(t, line)
		if got := fetch(t, r.addr()); got != http.StatusNotFound {
			t.Errorf("viaduct %s: %d, want the origin's 404", line, got)
		}
		if code := r.stop(t); code != 0 {
			t.Errorf("viaduct %s: exit %d: %s", line, code, r.errOut.String())
		}
	}
}

// run reads its file: what stands in the environment is for forward.
func TestRunIgnoresTheEnvironment(t *testing.T) {
	for _, f := range flags {
		t.Setenv("VIADUCT_"+env(f.name), strings.TrimPrefix(f.bad, "="))
	}
	t.Setenv("VIADUCT_CONFIG", "/nowhere")
	t.Setenv("VIADUCT_C", "/nowhere")
	wantMistake(t, "run", 1, "write viaduct run -c FILE")
	r := start(t, "run -c "+write(t, quiet))
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}

func TestRunTellsEveryProblem(t *testing.T) {
	file := write(t, "forward:\n- lisen: x\n- dial_timeout: 4\n")
	for _, command := range []string{"run", "check", "check --print"} {
		code, out, errOut := run(t, command+" -c "+file)
		want := file + ":2:3: unknown key \"lisen\" in forward[0]: did you mean \"listen\"?\n" +
			file + ":3:3: forward[1]: the default 127.0.0.1:3128 is taken by forward[0]: give this one its own listen\n" +
			file + ":3:17: forward[1].dial_timeout: \"4\": a time needs its unit: write 4s\n"
		if code != 1 || out != "" || errOut != want {
			t.Errorf("%s: exit %d, %s\nit says\n%swant\n%s", command, code, out, errOut, want)
		}
	}
}

func TestRunWhatCannotBeOpenedIsExit2(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wantMistake(t, "run -c "+write(t, "forward: [{listen: "+l.Addr().String()+"}]"), 2, "address already in use")
	wantMistake(t, "run -c "+write(t, "forward: [{listen: 127.0.0.1:0}]\nlog: {access: {path: sub/folder/log}}"), 2, "sub/folder/log: no such file")
	wantMistake(t, "run -c "+write(t, "forward: [{listen: 127.0.0.1:0}]\nadmin: {listen: 127.0.0.1:0, token_file: none}"), 2, "none: no such file")
}

// SIGHUP reads the file again. A file that is wrong changes nothing.
func TestHangupReloads(t *testing.T) {
	file := write(t, quiet)
	r := start(t, "run -c "+file)
	rewrite(t, file, "forwrd: []")
	hup(t)
	r.says(t, "did you mean")
	if got := fetch(t, r.addr()); got != http.StatusNotFound {
		t.Errorf("after a reload that failed: %d", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	hup(t)
	r.says(t, "no such file")
	rewrite(t, file, strings.Replace(quiet, "allow_private: true", "allow_private: false", 1))
	hup(t)
	r.says(t, "configuration is taken")
	if got := fetch(t, r.addr()); got != http.StatusForbidden {
		t.Errorf("after a reload: %d, want 403", got)
	}
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}

// What is draining is not changed any more, and SIGHUP does not end it either.
func TestHangupWhileDraining(t *testing.T) {
	origin, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and is silent
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	file := write(t, quiet)
	r := start(t, "run -c "+file)
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET http://" + origin.Addr().String() + "/ HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	held, err := origin.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	r.says(t, "msg=draining")
	rewrite(t, file, "forwrd: []")
	hup(t)
	if _, err := held.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 204 ")) {
		t.Errorf("%q, %v", answer, err)
	}
	select {
	case code := <-r.ended:
		if code != 0 || strings.Contains(r.errOut.String(), "forwrd") {
			t.Errorf("exit %d: %s", code, r.errOut.String())
		}
	case <-time.After(patience):
		t.Errorf("it runs on: %s", r.errOut.String())
	}
}

// A SIGHUP that comes before the proxy listens does not end it. The
// configuration is a pipe here, so that it starts when the test wants it to.
func TestHangupWhileStarting(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "viaduct.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	process := exec.Command(os.Args[0], "run", "-c", pipe)
	process.Env = append(os.Environ(), "CMD_TEST_ROLE=viaduct")
	log := new(screen)
	process.Stderr = log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = process.Process.Kill(); _ = process.Wait() }()
	w := reader(t, pipe)
	if err := process.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(quiet); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return listening.MatchString(log.String()) }) {
		t.Fatalf("it does not listen: %s", log.String())
	}
	if got := fetch(t, listening.FindStringSubmatch(log.String())[1]); got != http.StatusNotFound {
		t.Errorf("%d", got)
	}
}

// reader waits until a pipe is read, and opens it for writing.
func reader(t *testing.T, pipe string) *os.File {
	t.Helper()
	var w *os.File
	if !eventually(func() bool {
		var err error
		w, err = os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return !errors.Is(err, syscall.ENXIO)
	}) || w == nil {
		t.Fatal("nobody reads the configuration")
	}
	return w
}

// act is this test's process as viaduct itself.
func act() int { return cmd.Main(os.Args, os.Stdout, os.Stderr) }
