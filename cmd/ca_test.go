package cmd_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"viaduct/authority"
)

// caInit runs viaduct ca with words that may have spaces.
func caInit(t *testing.T, words ...string) (code int, out, errOut string) {
	t.Helper()
	p := process(t, append([]string{"ca"}, words...)...)
	var o, e strings.Builder
	p.Stdout, p.Stderr = &o, &e
	if err := p.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return p.ProcessState.ExitCode(), o.String(), e.String()
}

func readFile(t *testing.T, words ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(words...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestCaInit(t *testing.T) {
	for _, line := range []string{"ca init DIR", "ca init DIR --days 7 --name Corp", "--name=Corp ca --days 7 init DIR", "ca -days=7 init -name Corp DIR"} {
		dir := filepath.Join(t.TempDir(), "new", "ca")
		code, out, errOut := run(t, strings.ReplaceAll(line, "DIR", dir))
		if code != 0 || errOut != "" {
			t.Fatalf("%s: exit %d, %s", line, code, errOut)
		}
		wantFiles(t, dir, "ca.crt", "ca.key")
		for path, want := range map[string]os.FileMode{dir: 0o755 | os.ModeDir, filepath.Join(dir, "ca.key"): 0o600, filepath.Join(dir, "ca.crt"): 0o644} {
			if m := mode(t, path); m != want {
				t.Errorf("%s: mode %v of %s", line, m, path)
			}
		}
		cert, key := readFile(t, dir, "ca.crt"), readFile(t, dir, "ca.key")
		if _, err := authority.Parse(cert, key); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		block, _ := pem.Decode(cert)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		days, name := 3650, `"viaduct inspection CA `
		if strings.Contains(line, "7") {
			days, name = 7, `"Corp"`
		}
		if c.NotAfter.Sub(c.NotBefore) != time.Duration(24*days+1)*time.Hour {
			t.Errorf("%s: from %v to %v", line, c.NotBefore, c.NotAfter)
		}
		for _, want := range []string{
			dir + "/ca.crt  the certificate of " + name, dir + "/ca.key  its key",
			"SHA-256  " + strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(c.Raw)), " ", ":") + "\n",
			"ends on  " + c.NotAfter.Format(time.DateOnly) + "\n",
			"cp " + dir + "/ca.crt /usr/local/share/ca-certificates/viaduct.crt && update-ca-certificates\n",
			"cp " + dir + "/ca.crt /etc/pki/ca-trust/source/anchors/viaduct.crt && update-ca-trust\n",
			"System.keychain " + dir + "/ca.crt\n", "certutil -addstore Root " + dir + "/ca.crt\n",
			"import " + dir + "/ca.crt\n", "curl --cacert " + dir + "/ca.crt -x http://",
			"viaduct forward --ca " + dir + " --inspect host=.example.com\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s does not tell %q:\n%s", line, want, out)
			}
		}
		secret, _ := pem.Decode(key)
		for secretLine := range strings.Lines(string(key)) {
			if strings.Contains(out, secretLine) || strings.Contains(out, string(secret.Bytes)) {
				t.Errorf("%s tells of the key:\n%s", line, out)
			}
		}
		if strings.Count(out, "\n") > 14 || strings.Contains(out, "%!") {
			t.Errorf("%s says too much:\n%s", line, out)
		}
		wantMistake(t, "ca init "+dir, 1, "/ca.key is there already")
		if string(readFile(t, dir, "ca.crt")) != string(cert) || string(readFile(t, dir, "ca.key")) != string(key) {
			t.Errorf("%s: it was overwritten", line)
		}
	}
}

// What is printed can be typed into a shell.
func TestCaInitQuotesPaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's a $(folder)")
	code, out, errOut := caInit(t, "init", dir, "--name", "Büro Nord")
	if code != 0 || errOut != "" || !strings.Contains(out, `"Büro Nord"`) {
		t.Fatalf("exit %d, %s, %s", code, out, errOut)
	}
	_, line, _ := strings.Cut(out, "viaduct forward --ca ")
	line, _, _ = strings.Cut(line, " --inspect")
	got, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+line).Output()
	if err != nil || string(got) != dir {
		t.Errorf("a shell takes %s for %q, %v", line, got, err)
	}
	wantFiles(t, dir, "ca.crt", "ca.key")
}

func TestCaMistakes(t *testing.T) {
	dir := t.TempDir()
	folder, file := filepath.Join(dir, "ca"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"ca", 1, "ca does nothing by itself: write viaduct ca init DIR"},
		{"ca init", 1, "which folder? write viaduct ca init DIR"},
		{"ca init --days 7", 1, "which folder? write viaduct ca init DIR"},
		{"ca inti " + folder, 1, `unknown command "ca inti": did you mean "ca init"?`},
		{"ca " + folder, 1, `unknown command "ca ` + folder + `": write viaduct ca init DIR`},
		{"ca help", 1, `unknown command "ca help": write viaduct ca init DIR`},
		{"ca init " + folder + " now", 1, `ca init takes one folder, but there is "now" behind it`},
		{"ca init " + folder + " --day 7", 1, "unknown flag --day: did you mean --days?"},
		{"ca init " + folder + " --open", 1, "unknown flag --open: it belongs to viaduct forward"},
		{"forward --days 7", 1, "unknown flag --days: it belongs to viaduct ca"},
		{"ca init " + folder + " --days", 1, "--days needs a value"},
		{"ca init " + folder + " --name", 1, "--name needs a value"},
		{"ca init " + folder + " --days ten", 1, "--days ten: give whole days, from 1 to 36500"},
		{"ca init " + folder + " --days 1y", 1, "--days 1y: give whole days, from 1 to 36500"},
		{"ca init " + folder + " --days 0", 1, "--days 0: give whole days, from 1 to 36500"},
		{"ca init " + folder + " --days -3", 1, "--days -3: give whole days, from 1 to 36500"},
		{"ca init " + folder + " --days=36501", 1, "--days 36501: give whole days, from 1 to 36500"},
		{"ca init " + folder + " --days=99999999999999999999", 1, "give whole days, from 1 to 36500"},
		{"ca init " + folder + " --name " + strings.Repeat("n", 65), 1, "the name is too long: a certificate has room for 64 letters"},
		{"ca init " + file, 2, "not a directory"},
		{"ca init /proc/no/such", 2, "/proc/no"},
	} {
		wantMistake(t, c.line, c.code, c.want)
	}
	wantFiles(t, dir, "file")
	if code, out, errOut := caInit(t, "init", folder, "--name", ""); code != 1 || out != "" || !strings.HasPrefix(errOut, "viaduct: --name is empty: ") {
		t.Errorf("exit %d, %s, %s", code, out, errOut)
	}
	if code, out, errOut := caInit(t, "init", ""); code != 1 || out != "" || errOut != "viaduct: which folder? write viaduct ca init DIR\n" {
		t.Errorf("exit %d, %s, %s", code, out, errOut)
	}
}

func TestCaHelp(t *testing.T) {
	for _, line := range []string{"ca --help", "ca -h", "help ca", "ca init --help", "ca init -h DIR", "ca init DIR --days 7 -h", "--help ca init"} {
		code, out, errOut := run(t, line)
		if code != 0 || errOut != "" {
			t.Errorf("%q: exit %d, %s", line, code, errOut)
		}
		for _, word := range []string{"viaduct ca init DIR [--name TEXT] [--days N]", "--name TEXT", "--days N", "(default: 3650)", "ca.crt", "ca.key"} {
			if !strings.Contains(out, word) {
				t.Errorf("%q does not tell of %q:\n%s", line, word, out)
			}
		}
	}
	if _, out, _ := run(t, "help"); !strings.Contains(out, "make a certificate authority") {
		t.Errorf("the help does not tell of it:\n%s", out)
	}
}
