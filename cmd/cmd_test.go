package cmd_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/cmd"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// TestMain fails the package if goroutines are left.
func TestMain(m *testing.M) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "VIADUCT_") {
			_ = os.Unsetenv(name)
		}
	}
	code := m.Run()
	routines := 2 // this one, and that of package os/signal, which never ends
	if !eventually(func() bool { return runtime.NumGoroutine() <= routines }) {
		buf := make([]byte, 1<<20)
		fmt.Printf("goroutines are left\n%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func eventually(look func() bool) bool {
	for end := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		if look() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// screen is what the program writes to while it is looked at.
type screen struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// run runs a command line, which must end by itself.
func run(t *testing.T, line string) (code int, out, errOut string) {
	t.Helper()
	var o, e screen
	ended := make(chan int, 1)
	go func() { ended <- cmd.Main(append([]string{"viaduct"}, strings.Fields(line)...), &o, &e) }()
	select {
	case code = <-ended:
		return code, o.String(), e.String()
	case <-time.After(patience):
		t.Fatalf("viaduct %s runs on: %s", line, e.String())
		panic("unreachable")
	}
}

func TestHelpTellsEveryCommandAndFlag(t *testing.T) {
	for _, line := range []string{"", "help", "--help", "-h", "h"} {
		code, out, errOut := run(t, line)
		if code != 0 || errOut != "" {
			t.Errorf("%q: exit %d, %s", line, code, errOut)
		}
		for _, word := range []string{"viaduct forward", "forward", "run a forward proxy", "version", "curl -x http://127.0.0.1:3128"} {
			if !strings.Contains(out, word) {
				t.Errorf("%q does not tell of %q", line, word)
			}
		}
	}
	for _, line := range []string{"forward --help", "forward -h", "help forward", "--help forward", "--open forward -h"} {
		code, out, errOut := run(t, line)
		if code != 0 || errOut != "" {
			t.Errorf("%q: exit %d, %s", line, code, errOut)
		}
		for _, f := range flags {
			if !strings.Contains(out, "--"+f.name) || !strings.Contains(out, f.value) || !strings.Contains(out, "VIADUCT_"+env(f.name)) {
				t.Errorf("%q does not tell of --%s, its default %s and its twin", line, f.name, f.value)
			}
		}
	}
}

// flags are those of PRODUCT section 2 that exist, with their defaults.
var flags = []struct{ name, value, bad string }{
	{"listen", "127.0.0.1:3128", "0.0.0.0:0"},
	{"open", "", "=perhaps"},
	{"allow-private", "", "=perhaps"},
	{"connect-ports", "443,8443", "http"},
	{"anonymity", "strict", "total"},
	{"access-log", "-", "/nowhere/at/all/log"},
	{"max-header", "64KiB", "64"},
	{"header-timeout", "10s", "soon"},
	{"body-timeout", "30s", "0s"},
	{"dial-timeout", "4s", "-1s"},
	{"response-timeout", "1m0s", "60"},
	{"idle-timeout", "5m0s", "0"},
	{"upstream-idle-timeout", "30s", "x"},
	{"tunnel-idle-timeout", "1h0m0s", "-5m"},
	{"half-close-timeout", "5m0s", "0s"},
	{"drain-timeout", "30s", "0s"},
	{"drain-grace", "0s", "-1s"},
}

func env(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

func TestBadValueNamesItsFlag(t *testing.T) {
	for _, f := range flags {
		want := 1
		if f.name == "access-log" {
			want = 2
		}
		line := "forward --listen 127.0.0.1:0 --" + f.name
		if strings.HasPrefix(f.bad, "=") {
			line += f.bad
		} else {
			line += " " + f.bad
		}
		wantMistake(t, line, want, strings.ReplaceAll(f.name, "access-log", "access log"))
	}
}

// wantMistake expects an exit code and one line on the standard error output
// that has the word in it.
func wantMistake(t *testing.T, line string, want int, word string) {
	t.Helper()
	code, out, errOut := run(t, line)
	if code != want || out != "" {
		t.Errorf("viaduct %s: exit %d, want %d; %s", line, code, want, out)
	}
	if !strings.HasPrefix(errOut, "viaduct: ") || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, word) {
		t.Errorf("viaduct %s says %q, want one line with %q", line, errOut, word)
	}
}

func TestMistakesAreToldWithWhatToDo(t *testing.T) {
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"forwrd", 1, `unknown command "forwrd": did you mean "forward"?`},
		{"127.0.0.1:0", 1, `unknown command "127.0.0.1:0"`},
		{"help nosuch", 1, "nosuch"},
		{"forward --lisen 127.0.0.1:0", 1, "unknown flag --lisen: did you mean --listen?"},
		{"--lisen 127.0.0.1:0 forward", 1, "unknown flag --lisen: did you mean --listen?"},
		{"forward --lisen=127.0.0.1:0", 1, "unknown flag --lisen: did you mean --listen?"},
		{"--nosuch", 1, "unknown flag --nosuch"},
		{"version --listen 127.0.0.1:0", 1, "unknown flag --listen"},
		{"forward --listen", 1, "-listen"},
		{"forward now", 1, `forward takes no arguments, but there is "now"`},
		{"forward -- now", 1, `forward takes no arguments, but there is "now"`},
		{"forward --open true", 1, `forward takes no arguments, but there is "true"`},
		{"version now", 1, `version takes no arguments, but there is "now"`},
		{"forward --listen 0.0.0.0:0", 1, "add --open if that is what you want"},
		{"forward --listen :3128", 1, "add --open"},
		{"forward --listen https://127.0.0.1:0", 1, "only http:// and host:port are served"},
		{"forward --listen 127.0.0.1", 1, "write host:port"},
		{"forward --listen 127.0.0.1:70000", 1, "up to 65535"},
		{"forward --listen 127.0.0.1:0,nonsense", 1, "--listen nonsense: write host:port"},
		{"forward --connect-ports 443,0", 1, `"0" is no port`},
		{"forward --connect-ports 443,,80", 1, `"" is no port`},
		{"forward --connect-ports 65536", 1, `"65536" is no port`},
		{"forward --connect-ports -1", 1, `"-1" is no port`},
		{"forward --anonymity Strict", 1, "choose strict, via or transparent"},
		{"forward --max-header 1023", 1, "from 1KiB to 1MiB"},
		{"forward --max-header 2MiB", 1, "from 1KiB to 1MiB"},
		{"forward --max-header -64KiB", 1, "from 1KiB to 1MiB"},
		{"forward --max-header KiB", 1, "from 1KiB to 1MiB"},
		{"forward --max-header 64K", 1, "from 1KiB to 1MiB"},
		{"forward --max-header 18014398509482048KiB", 1, "from 1KiB to 1MiB"},
		{"forward --idle-timeout 0s", 1, "every wait is bounded; give a time above zero, such as 5m0s"},
		{"forward --drain-grace -1s", 1, "give a time of zero or more"},
	} {
		wantMistake(t, c.line, c.code, c.want)
	}
}

func TestVersion(t *testing.T) {
	code, out, errOut := run(t, "version")
	if code != 0 || errOut != "" || !strings.HasPrefix(out, "viaduct ") || !strings.HasSuffix(out, " "+runtime.Version()+"\n") {
		t.Errorf("exit %d, %q, %q", code, out, errOut)
	}
}
