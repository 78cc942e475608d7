package cmd_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"viaduct/cmd"
)

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// running is `viaduct forward` in this process.
type running struct {
	out, errOut screen
	ended       chan int
}

// start runs a command line until it listens.
func start(t *testing.T, line string) *running {
	t.Helper()
	r := &running{ended: make(chan int, 1)}
	go func() { r.ended <- cmd.Main(append([]string{"viaduct"}, strings.Fields(line)...), &r.out, &r.errOut) }()
	up := func() bool { return len(r.ended) > 0 || listening.MatchString(r.errOut.String()) }
	if !eventually(up) || len(r.ended) > 0 {
		t.Fatalf("viaduct %s does not listen: %s", line, r.errOut.String())
	}
	return r
}

func (r *running) addr() string { return listening.FindStringSubmatch(r.errOut.String())[1] }

// hup sends this process a SIGHUP, which viaduct takes once it listens.
func hup(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// says waits until the log has the words.
func (r *running) says(t *testing.T, words string) {
	t.Helper()
	if !eventually(func() bool { return strings.Contains(r.errOut.String(), words) }) {
		t.Fatalf("it never says %q: %s", words, r.errOut.String())
	}
}

// stop sends this process a SIGTERM, which viaduct forward takes, and returns the
// exit code.
func (r *running) stop(t *testing.T) int {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-r.ended:
		return code
	case <-time.After(patience):
		t.Fatalf("it runs on: %s", r.errOut.String())
		panic("unreachable")
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	for _, line := range []string{
		"forward --listen 127.0.0.1:0 --access-log off",
		"--listen 127.0.0.1:0 --access-log off forward",
		"--access-log=off forward --listen=127.0.0.1:0",
		"--allow-private --access-log off forward --listen 127.0.0.1:0",
		"-access-log off forward -listen http://127.0.0.1:0/",
		"--listen 127.0.0.1:0 forward --access-log off --max-header 1MiB --connect-ports any",
	} {
		r := start(t, line)
		if code := r.stop(t); code != 0 {
			t.Errorf("viaduct %s: exit %d: %s", line, code, r.errOut.String())
		}
	}
}

func TestRepeatedFlagAndListAddUp(t *testing.T) {
	r := start(t, "forward --listen 127.0.0.1:0,localhost:0 --listen 127.0.0.1:0 --access-log off")
	if !eventually(func() bool { return strings.Count(r.errOut.String(), "msg=listening") == 3 }) {
		t.Errorf("want three listeners: %s", r.errOut.String())
	}
	r.stop(t)
}

func TestEveryFlagHasATwinInTheEnvironment(t *testing.T) {
	for _, f := range flags {
		t.Run(f.name, func(t *testing.T) {
			t.Setenv("VIADUCT_LISTEN", "127.0.0.1:0")
			t.Setenv("VIADUCT_"+env(f.name), strings.TrimPrefix(f.bad, "="))
			want, word := outcome(f.name)
			wantMistake(t, "forward", want, word)
		})
	}
}

func TestTwinsTogether(t *testing.T) {
	for _, f := range flags {
		t.Setenv("VIADUCT_"+env(f.name), f.good)
	}
	r := start(t, "forward")
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}

// A variable that is set to nothing is not set: so units of systemd write it.
func TestEmptyTwinIsNone(t *testing.T) {
	for _, f := range flags {
		t.Setenv("VIADUCT_"+env(f.name), "")
	}
	r := start(t, "forward --listen 127.0.0.1:0")
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}

// All mistakes of a line are told at once, a line each.
func TestEveryMistakeIsTold(t *testing.T) {
	t.Setenv("VIADUCT_DIAL_TIMEOUT", "4")
	code, out, errOut := run(t, "forward --listen x,127.0.0.1:0,y --idle-timeout 3")
	want := "viaduct: VIADUCT_DIAL_TIMEOUT=4 (--dial-timeout): a time needs its unit: write 4s\nviaduct: --idle-timeout 3: a time needs its unit: write 3s\n"
	if code != 1 || out != "" || !strings.HasPrefix(errOut, want) || strings.Count(errOut, "\nviaduct: --listen ") != 2 {
		t.Errorf("exit %d, %q, %q", code, out, errOut)
	}
}

func TestFlagWinsOverTheEnvironment(t *testing.T) {
	t.Setenv("VIADUCT_LISTEN", "0.0.0.0:0") // would be refused
	t.Setenv("VIADUCT_ACCESS_LOG", "/nowhere/at/all/log")
	t.Setenv("VIADUCT_IDLE_TIMEOUT", "0s")
	r := start(t, "forward --listen 127.0.0.1:0 --access-log off --idle-timeout 1m")
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}

// Rules of one flag win over those of both twins, and two twins have no order.
func TestRulesAndTheirTwins(t *testing.T) {
	t.Setenv("VIADUCT_DENY", "all")
	wantMistake(t, "forward --allow host=a --allow hots=b", 1, "--allow hots=b: unknown term")
	wantMistake(t, "forward --deny host=a --deny hots=b", 1, "--deny hots=b: unknown term")
	t.Setenv("VIADUCT_ALLOW", "host=a")
	wantMistake(t, "forward", 1, "VIADUCT_ALLOW and VIADUCT_DENY: nothing says which rule comes first")
	wantMistake(t, "forward --allow host=a --deny all --deny host=b", 1, "--deny host=b: is never reached: --deny all before it")
	t.Setenv("VIADUCT_ALLOW", "")
	t.Setenv("VIADUCT_DENY", "host=a\nport=25;hots=b")
	wantMistake(t, "forward", 1, "VIADUCT_DENY=hots=b (--deny): unknown term")
}

func TestEnvironmentAlone(t *testing.T) {
	log := filepath.Join(t.TempDir(), "access.log")
	t.Setenv("VIADUCT_LISTEN", "127.0.0.1:0")
	t.Setenv("VIADUCT_ACCESS_LOG", log)
	r := start(t, "forward")
	if _, err := os.Stat(log); err != nil {
		t.Error(err)
	}
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}

func TestWhatCannotBeOpenedIsExit2(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wantMistake(t, "forward --access-log off --listen "+l.Addr().String(), 2, "address already in use")
	wantMistake(t, "forward --listen 127.0.0.1:0 --access-log "+t.TempDir(), 2, "is a directory")
}

// One that is asked to end while a connection is open to it ends in good order:
// the connection owes a request.
func TestSignalDrains(t *testing.T) {
	r := start(t, "forward --listen 127.0.0.1:0 --access-log off")
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(r.errOut.String(), "msg=draining") || r.out.String() != "" {
		t.Errorf("it says %q and %q", r.errOut.String(), r.out.String())
	}
}

// A second signal ends what the first one waits for; the exit code tells.
func TestSecondSignalCuts(t *testing.T) {
	origin, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and is silent
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	r := start(t, "forward --listen 127.0.0.1:0 --access-log off --allow-private --drain-timeout 1h")
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET http://" + origin.Addr().String() + "/ HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	held, err := origin.Accept() // the exchange is under way
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	if !eventually(func() bool { return strings.Contains(r.errOut.String(), "msg=draining") }) {
		t.Fatal("it does not drain")
	}
	if code := r.stop(t); code != 3 || !strings.Contains(r.errOut.String(), "cut at the drain deadline") {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}

// After logrotate has moved the log away, SIGHUP begins a new one.
func TestHangupOpensTheLogAnew(t *testing.T) {
	log := filepath.Join(t.TempDir(), "access.log")
	r := start(t, "forward --listen 127.0.0.1:0 --access-log "+log)
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	hup(t)
	if !eventually(func() bool { _, err := os.Stat(log); return err == nil }) {
		t.Errorf("no new log: %s", r.errOut.String())
	}
	r.says(t, "configuration is taken")
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
}

// A slip in the name of a variable would leave a rule out without a word.
func TestVariablesThatAreNearlyThoseOfAFlag(t *testing.T) {
	for name, want := range map[string]string{
		"VIADUCT_DENI": "did you mean VIADUCT_DENY?", "VIADUCT_USER": "did you mean VIADUCT_USERS?",
		"VIADUCT_DENY": "", "VIADUCT_SERVICE_HOST": "", "VIADUCT_PORT_3128_TCP_ADDR": "", "OTHER_DENI": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "host=ads.example")
			var told strings.Builder
			cmd.Main([]string{"viaduct", "forward", "--listen", "nowhere"}, io.Discard, &told)
			if got := told.String(); strings.Contains(got, "means nothing") != (want != "") || !strings.Contains(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	}
}
