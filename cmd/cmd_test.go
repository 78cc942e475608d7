package cmd_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/cmd"
	"viaduct/config"
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
	if os.Getenv("CMD_TEST_ROLE") != "" {
		os.Exit(act())
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
	for line, words := range map[string][]string{
		"run --help":       {"viaduct run -c FILE", "--config FILE, -c FILE", "SIGHUP"},
		"help check":       {"viaduct check -c FILE [--print]", "--config FILE, -c FILE", "--print", "--schema", "FILE:LINE:COL"},
		"-c x.yaml run -h": {"viaduct run -c FILE"},
		"check --print -h": {"viaduct check -c FILE"},
		"version --help":   {"viaduct version"},
	} {
		code, out, errOut := run(t, line)
		if code != 0 || errOut != "" {
			t.Errorf("%q: exit %d, %s", line, code, errOut)
		}
		for _, word := range words {
			if !strings.Contains(out, word) {
				t.Errorf("%q does not tell of %q:\n%s", line, word, out)
			}
		}
	}
	for _, line := range []string{"forward --help", "forward -h", "help forward", "--help forward", "--open forward -h", "help forward --open"} {
		code, out, errOut := run(t, line)
		if code != 0 || errOut != "" {
			t.Errorf("%q: exit %d, %s", line, code, errOut)
		}
		for _, f := range flags {
			end := "[$VIADUCT_" + env(f.name) + "]"
			if f.value != "" {
				end = "(default: " + f.value + ") " + end
			}
			if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
				return strings.HasPrefix(line, "   --"+f.name+" ") && strings.HasSuffix(line, end)
			}) {
				t.Errorf("%q does not tell of --%s, its default %s and its twin:\n%s", line, f.name, f.value, out)
			}
		}
	}
}

// flags are those of PRODUCT section 2 that exist, with their defaults, and
// values that are wrong and right. Some have none that goes with all the others.
var flags = []struct{ name, value, bad, good string }{
	{"listen", "127.0.0.1:3128", "0.0.0.0:0", "127.0.0.1:0"},
	{"open", "", "=perhaps", "1"},
	{"tls-cert", "", "/no/cert", ""},
	{"tls-key", "", "/no/key", ""},
	{"tls-client-ca", "", "/no/authorities", ""},
	{"users", "", "/no/users", ""},
	{"groups", "", "/no/groups", ""},
	{"auth-url", "", "auth.example", ""},
	{"auth-timeout", "2s", "soon", ""},
	{"auth-cache", "5m", "soon", ""},
	{"allow", "", "example.com", ""},
	{"deny", "", "port=http", "host=ads.example; port=25 method=CONNECT"},
	{"report-only", "", "=perhaps", "1"},
	{"sni", "off", "on", "report"},
	{"reload-tunnels", "keep", "cut", "recheck"},
	{"contact", "", "\x01", "Ask me"},
	{"inspect", "", "all", ""},
	{"inspect-pass", "", "host=.bank.example", ""},
	{"ca", "", "/no/ca", ""},
	{"origin-ca", "", "/no/authorities", ""},
	{"egress", "", "nonsense", "127.0.0.1,127.0.0.2"},
	{"egress-by", "round_robin", "path", "client"},
	{"allow-private", "", "=perhaps", "true"},
	{"connect-ports", "443,8443", "http", "any"},
	{"anonymity", "strict", "total", "via"},
	{"resolver", "", "ftp://x", "127.0.0.1:5353"},
	{"max-conns", "0", "-1", "100"},
	{"max-conns-per-client", "0", "many", "10"},
	{"max-header", "64KiB", "64", "8KiB"},
	{"header-timeout", "10s", "soon", "1s"},
	{"body-timeout", "30s", "0s", "1m"},
	{"dial-timeout", "4s", "-1s", "500ms"},
	{"response-timeout", "60s", "60", "1m30s"},
	{"idle-timeout", "5m", "0", "1h"},
	{"upstream-idle-timeout", "30s", "x", "1s"},
	{"tunnel-idle-timeout", "1h", "-5m", "2h"},
	{"half-close-timeout", "5m", "0s", "1s"},
	{"drain-timeout", "30s", "0s", "1s"},
	{"drain-grace", "0s", "-1s", "1ms"},
	{"upstream", "", "ftp://a.example", "http://127.0.0.1:3128?weight=3,direct"},
	{"balance", "p2c_ewma", "best", "hash"},
	{"hash-key", "client_ip", "colour", "host,path"},
	{"health-check", "tcp", "ping", "tls"},
	{"health-interval", "5s", "often", "10s"},
	{"health-timeout", "2s", "0s", "1s"},
	{"health-fall", "3", "0", "2"},
	{"health-rise", "2", "-1", "1"},
	{"retries", "2", "many", "1"},
	{"retry-budget", "20%", "20", "10%"},
	{"hedge-after", "0s", "-1s", "300ms"},
	{"upstream-resolve", "auto", "there", "here"},
	{"upstream-ca", "", "/no/authorities", ""},
	{"upstream-cert", "", "/no/cert", ""},
	{"upstream-key", "", "/no/key", ""},
	{"admin", "", "0.0.0.0:0", "127.0.0.1:0"},
	{"admin-token-file", "", "/no/admin", "/proc/sys/kernel/ostype"},
	{"admin-hosts", "", "no.admin", "a.example"},
	{"log-level", "info", "loud", "debug"},
	{"access-log", "-", "/nowhere/at/all/log", "off"},
	{"access-log-format", "json", "xml", "squid"},
}

func TestTheTableHasEveryFlag(t *testing.T) {
	for i, f := range config.Flags() {
		if i >= len(flags) || flags[i].name != f.Name {
			t.Fatalf("--%s has no row, or another place in the help", f.Name)
		}
	}
}

func env(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

func TestBadValueNamesItsFlag(t *testing.T) {
	for _, f := range flags {
		want, word := outcome(f.name)
		line := "forward --listen 127.0.0.1:0 --" + f.name
		if strings.HasPrefix(f.bad, "=") {
			line += f.bad
		} else {
			line += " " + f.bad
		}
		wantMistake(t, line, want, word)
	}
}

// outcome is what a bad value of a flag ends with, and how the flag is called: a
// path is bad only when it is opened.
func outcome(flag string) (code int, word string) {
	switch flag {
	case "access-log":
		return 2, "access log"
	case "users":
		return 2, "users"
	}
	return 1, flag
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
		{"--nosuch", 1, "unknown flag --nosuch\n"},
		{"forward --frobnicate", 1, "unknown flag --frobnicate\n"},
		{"forward -x", 1, "unknown flag -x\n"},
		{"check -o", 1, "unknown flag -o\n"},
		{"forward -lisen 127.0.0.1:0", 1, "unknown flag -lisen: did you mean -listen?\n"},
		{"forward --header_timeout 1s", 1, "unknown flag --header_timeout: did you mean --header-timeout?\n"},
		{"--hlep", 1, "unknown flag --hlep: did you mean --help?\n"},
		{"forward --hlep", 1, "unknown flag --hlep: did you mean --help?\n"},
		{"--version", 1, "unknown flag --version: write viaduct version\n"},
		{"forward --version", 1, "unknown flag --version: write viaduct version\n"},
		{"-version", 1, "unknown flag -version: write viaduct version\n"},
		{"forward ---listen 127.0.0.1:0", 1, "unknown flag ---listen"},
		{"run -c a.yaml -c b.yaml", 1, "-c is given twice: viaduct reads one file"},
		{"-c a.yaml check --config=b.yaml", 1, "-c is given twice: viaduct reads one file"},
		{"check -c -", 1, "for standard input write /dev/stdin"},
		{"run -c=-", 1, "for standard input write /dev/stdin"},
		{"run -listen 127.0.0.1:0", 1, "unknown flag -listen: run takes its options from the file"},
		{"forward --connect-ports any --connect-ports 443", 1, `--connect-ports any,443: "any" is no port`},
		{"forward --idle-timeout 5min", 1, "--idle-timeout 5min: the units are ms, s, m and h, without a space: write 5m"},
		{"version --listen 127.0.0.1:0", 1, "unknown flag --listen"},
		{"forward --listen", 1, "--listen needs a value"},
		{"run -c", 1, "-c needs a value"},
		{"rnu", 1, `unknown command "rnu": did you mean "run"?`},
		{"run", 1, "write viaduct run -c FILE"},
		{"check", 1, "write viaduct check -c FILE"},
		{"check --print", 1, "write viaduct check -c FILE"},
		{"run viaduct.yaml", 1, `run takes no arguments, but there is "viaduct.yaml": write run -c viaduct.yaml`},
		{"check -c a.yaml b.yaml", 1, `check takes no arguments, but there is "b.yaml"`},
		{"run --conifg x", 1, "unknown flag --conifg: did you mean --config?"},
		{"--conifg x run", 1, "unknown flag --conifg: did you mean --config?"},
		{"run --listen 127.0.0.1:0", 1, "unknown flag --listen: run takes its options from the file"},
		{"run --print", 1, "unknown flag --print"},
		{"check --listen 127.0.0.1:0 forward", 1, "unknown flag --listen: check takes its options from the file"},
		{"check --scheme", 1, "unknown flag --scheme: did you mean --schema?"},
		{"check --schema --print", 1, "--schema stands alone"},
		{"check --schema -c x", 1, "--schema stands alone"},
		{"forward -c x", 1, "unknown flag -c: forward reads no file: write viaduct run -c FILE"},
		{"forward --config x", 1, "unknown flag --config: forward reads no file: write viaduct run -c FILE"},
		{"version -c x", 1, "unknown flag -c: it belongs to viaduct run and viaduct check"},
		{"-c x", 1, "unknown flag -c: it belongs to viaduct run and viaduct check"},
		{"--listen 127.0.0.1:0", 1, "unknown flag --listen: it belongs to viaduct forward"},
		{"run -c x --print", 1, "unknown flag --print: it belongs to viaduct check"},
		{"run -c /nowhere/viaduct.yaml", 2, "/nowhere/viaduct.yaml: no such file"},
		{"check -c /nowhere/viaduct.yaml", 2, "/nowhere/viaduct.yaml: no such file"},
		{"check --print -c /", 2, "is a directory"},
		{"forward now", 1, `forward takes no arguments, but there is "now"`},
		{"forward -- now", 1, `forward takes no arguments, but there is "now"`},
		{"forward --open true", 1, `forward takes no arguments, but there is "true"`},
		{"version now", 1, `version takes no arguments, but there is "now"`},
		{"forward --listen 0.0.0.0:0", 1, "add --users, --auth-url, --allow with client=, or --open if that is what you want"},
		{"forward --listen :3128", 1, "or --open"},
		{"forward --users u --open", 1, "--open true: every client authenticates then: take --open out"},
		{"forward --allow", 1, "--allow needs a value"},
		{"forward --deny all --allow host=a", 1, "--allow host=a: is never reached: --deny all before it has no terms"},
		{"forward --allow host=a --deny=all --log-level debug --allow=host=b", 1, "--allow host=b: is never reached: --deny all before it has no terms"},
		{"--allow all forward --deny host=a", 1, "--deny host=a: is never reached: --allow all before it has no terms"},
		{"forward --deny hots=a", 1, `unknown term "hots": did you mean "host"?`},
		{"forward --alow all", 1, "unknown flag --alow: did you mean --allow?"},
		{"check --deny all", 1, "unknown flag --deny: check takes its options from the file"},
		{"forward --listen https://127.0.0.1:0", 1, "has no certificate to show: add --tls-cert"},
		{"forward --listen socks5://127.0.0.1:0", 1, "https://"},
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
		{"forward --idle-timeout 0s", 1, "every wait is bounded; give a time above zero, such as 5m"},
		{"forward --drain-grace -1s", 1, "give a time of zero or more"},
		{"forward --drain-grace 5", 1, "--drain-grace 5: a time needs its unit: write 5s"},
		{"forward --open=yes", 1, "--open yes: write true or false"},
		{"forward --admin 0.0.0.0:0", 1, "add --admin-token-file"},
		{"forward --egress 127.0.0.1 --egress-by client", 1, "give two addresses of one family with --egress"},
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
