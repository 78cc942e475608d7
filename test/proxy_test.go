package test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// proxy is one running viaduct process.
type proxy struct {
	addr   string // where it listens
	port   string
	access string // path of its access log
	conf   string // path of its configuration file, if it runs from one
	lane   lane   // which its requests take
	cmd    *exec.Cmd
	out    strings.Builder // standard output, complete when the process has ended
	ended  chan struct{}

	mu     sync.Mutex
	stderr strings.Builder
}

// launch describes how a viaduct process is started. The zero value starts a
// forward proxy that may reach loopback origins on any port.
type launch struct {
	args    []string // everything after the binary's name; nil means flags on top of the defaults
	flags   []string
	conf    string // content of the configuration file that it runs from, if any
	env     []string
	hosts   string     // content of /etc/hosts as the process sees it
	files   int        // how many descriptors it may have; 0 means as many as we
	sockets []*os.File // handed over as systemd does
	lane    lane       // that its requests are to take; that of the test unless it is given
}

// lenient lifts the two rules that would keep a test from its own origins.
var lenient = []string{"--allow-private", "--connect-ports", "any"}

// start runs a forward proxy that may reach loopback origins, with flags, and
// stops it when the test ends.
func start(t testing.TB, flags ...string) *proxy {
	t.Helper()
	return launch{flags: append(slices.Clip(lenient), flags...)}.start(t)
}

// startBare runs a forward proxy with flags and otherwise its own defaults.
func startBare(t testing.TB, flags ...string) *proxy {
	t.Helper()
	return launch{flags: flags}.start(t)
}

func (l launch) start(t testing.TB) *proxy {
	t.Helper()
	if l.lane == "" {
		l.lane = laneOf(t)
	}
	p, err := l.open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(t) })
	return p
}

// open starts the process and waits until it says where it listens.
func (l launch) open(dir string) (*proxy, error) {
	p := &proxy{access: filepath.Join(dir, "access.log"), ended: make(chan struct{}), lane: l.lane}
	l, err := l.divert(p.access)
	if err != nil {
		return nil, err
	}
	args := l.args
	switch {
	case l.conf != "":
		p.conf = filepath.Join(dir, "viaduct.yaml")
		if err := os.WriteFile(p.conf, []byte(l.conf), 0o600); err != nil {
			return nil, err
		}
		args = []string{"run", "-c", p.conf}
	case args == nil:
		args = append([]string{"forward", "--listen", "127.0.0.1:0", "--access-log", p.access}, l.flags...)
	}
	cmd, err := l.command(dir, args)
	if err != nil {
		return nil, err
	}
	p.cmd = cmd
	cmd.Stdout = &p.out
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	listening := make(chan string, 8)
	go p.watch(bufio.NewScanner(pipe), listening)
	select {
	case p.addr = <-listening:
		p.port = p.addr[strings.LastIndexByte(p.addr, ':')+1:]
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("viaduct %s ended at once with code %d:\n%s", strings.Join(args, " "), p.code(), p.log())
	case <-time.After(patience):
		cmd.Process.Kill()
		return nil, fmt.Errorf("viaduct %s never said msg=listening:\n%s", strings.Join(args, " "), p.log())
	}
}

// command is the process, in a mount namespace of its own where it sees another
// /etc/hosts than we do.
func (l launch) command(dir string, args []string) (*exec.Cmd, error) {
	bin, err := build()
	if err != nil {
		return nil, err
	}
	script := ""
	if l.files > 0 {
		script = fmt.Sprintf("ulimit -n %d && ", l.files)
	}
	if l.hosts != "" {
		file := filepath.Join(dir, "hosts")
		if err := os.WriteFile(file, []byte(l.hosts), 0o644); err != nil {
			return nil, err
		}
		script += "mount --bind " + file + " /etc/hosts && "
	}
	if l.sockets != nil { // sd_listen_fds(3) wants the number of the process itself
		script += fmt.Sprintf("export LISTEN_FDS=%d LISTEN_PID=$$ && ", len(l.sockets))
	}
	cmd := exec.Command(bin, args...)
	if script != "" {
		cmd = exec.Command("sh", append([]string{"-c", script + `exec "$0" "$@"`, bin}, args...)...)
	}
	if l.hosts != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	cmd.ExtraFiles = l.sockets
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, l.env...)
	return cmd, nil
}

// needsRoot skips tests that give the proxy another /etc/hosts.
func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the proxy is started in a mount namespace of its own")
	}
}

var addrOf = regexp.MustCompile(`msg=listening\b.*\baddr="?(?:\w+://)?([^\s"]+)`)

// watch collects standard error and reports the addresses announced in it.
func (p *proxy) watch(lines *bufio.Scanner, listening chan<- string) {
	for lines.Scan() {
		p.mu.Lock()
		p.stderr.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		if m := addrOf.FindStringSubmatch(lines.Text()); m != nil {
			select {
			case listening <- m[1]:
			default:
			}
		}
	}
	p.cmd.Wait() // the exit code is asked for later
	close(p.ended)
}

// log is what the process wrote to standard error so far.
func (p *proxy) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// code is the exit code, -1 while the process runs or when a signal ended it.
func (p *proxy) code() int {
	if !p.over() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *proxy) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *proxy) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal %v: %v", s, err)
	}
}

// wait returns the exit code once the process has ended.
func (p *proxy) wait(t testing.TB) int {
	t.Helper()
	receive(t, "the end of the process\n"+p.log(), p.ended)
	return p.code()
}

// stop ends the process in the ordinary way and looks for traces of a crash.
func (p *proxy) stop(t testing.TB) {
	t.Helper()
	if !p.over() {
		p.signal(t, syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Errorf("still running %v after SIGTERM; its goroutines are in the log", patience)
			p.signal(t, syscall.SIGQUIT)
			receive(t, "end after SIGQUIT", p.ended)
		}
		if code := p.code(); code != 0 {
			t.Errorf("exit code %d after SIGTERM, want 0; log:\n%s", code, p.log())
		}
	}
	p.unharmed(t)
}

// unharmed fails when the log shows a panic or a data race.
func (p *proxy) unharmed(t testing.TB) {
	t.Helper()
	for _, bad := range []string{"panic", "DATA RACE", "fatal error", "SIGSEGV"} {
		if log := p.log(); strings.Contains(log, bad) {
			t.Errorf("the log contains %q:\n%s", bad, log)
			return
		}
	}
}

// accessLog is what stands in the access log so far.
func (p *proxy) accessLog(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(p.access)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// descriptors counts the open files of the process.
func (p *proxy) descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// resident is the memory of the process in bytes.
func (p *proxy) resident(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// exits runs viaduct to its end, for command lines that must be refused.
func exits(t testing.TB, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd, err := launch{env: env}.command(t.TempDir(), args)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	cmd.Wait() // the exit code is the result
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// wontStart wants viaduct to refuse these arguments with an exit code, of which 0
// stands for 1 or 2, in words that name all of these and show no key.
func wontStart(t testing.TB, want int, args, words []string) {
	t.Helper()
	code, _, stderr := exits(t, nil, args...)
	if code != want && (want != 0 || code != 1 && code != 2) {
		t.Errorf("%q: exit code %d, want %d: %s", args, code, want, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("%q: %q does not name %q", args, stderr, word)
		}
	}
	if strings.Contains(stderr, "PRIVATE KEY") || strings.Contains(stderr, "panic") {
		t.Errorf("%q: %q", args, stderr)
	}
}
