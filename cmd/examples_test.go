package cmd_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"viaduct/config"
)

// The examples run: with addresses and files of this machine in the place of
// theirs they serve a request at each of their doors.
func TestExamplesServe(t *testing.T) {
	dir := t.TempDir() // what they ask for is made beside them
	if err := os.CopyFS(dir, os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := config.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.Forward {
				if ca := c.Forward[i].CA; ca != "" {
					if code, _, errOut := run(t, "ca init "+ca); code != 0 {
						t.Fatal(errOut)
					}
				}
			}
			if code, _, errOut := run(t, "check -c "+file); code != 0 {
				t.Errorf("exit %d: %s", code, errOut)
			}
			listeners := settle(t, c)
			var text strings.Builder
			if err := c.Print(&text); err != nil {
				t.Fatal(err)
			}
			r := start(t, "run -c "+write(t, text.String()))
			all := func() [][]string { return listening.FindAllStringSubmatch(r.errOut.String(), -1) }
			if !eventually(func() bool { return len(all()) == listeners }) {
				t.Fatalf("want %d listeners: %s", listeners, r.errOut.String())
			}
			for _, m := range all() {
				if got := fetchAs(t, url.UserPassword("ann", "sesame"), m[1]); got != http.StatusNotFound {
					t.Errorf("%s: %d, want the origin's 404: %s", m[1], got, r.errOut.String())
				}
			}
			if code := r.stop(t); code != 0 {
				t.Errorf("exit %d: %s", code, r.errOut.String())
			}
		})
	}
}

// settle moves a configuration to this machine, and counts its listeners.
func settle(t *testing.T, c *config.Config) (listeners int) {
	t.Helper()
	dir := t.TempDir()
	if c.Admin.Listen != "" {
		c.Admin.Listen = "127.0.0.1:0"
	}
	place := func(path *string, text string) {
		if *path != "" {
			*path = filepath.Join(dir, filepath.Base(*path))
			if err := os.WriteFile(*path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	place(&c.Admin.TokenFile, "sesame\n")
	c.Log.Access.Path = filepath.Join(dir, "access.log")
	for i := range c.Forward {
		f := &c.Forward[i]
		f.AllowPrivate = true // the origin is here
		place(&f.Users, "ann:$2a$04$LGDDV/xEQcBk6s.dUrwFLe.GWVQcnH3E81FAiOWL.eabJmbbKNYXS\n")
		place(&f.Groups, "staff: ann\n")
		for _, rule := range f.Rules {
			if rule.Deny != nil {
				lists(rule.Deny.Host, place)
			}
		}
		if len(f.Rules) > 0 {
			origin := config.Rule{Name: "origin", Allow: &config.Terms{Host: []string{"127.0.0.1"}}}
			f.Rules = slices.Insert(f.Rules, 0, origin)
		}
		for j := range f.Listen {
			f.Listen[j] = "127.0.0.1:0"
			listeners++
		}
		for j := range f.Egress {
			f.Egress[j] = netip.AddrFrom4([4]byte{127, 0, 0, byte(j + 1)})
		}
	}
	return listeners
}

// lists moves the files among values.
func lists(values []string, place func(path *string, text string)) {
	for i, value := range values {
		if file, ok := strings.CutPrefix(value, "@"); ok {
			place(&file, "ads.example\n")
			values[i] = "@" + file
		}
	}
}

// The units name commands that exist and the socket an address of an example.
func TestUnits(t *testing.T) {
	service := unit(t, "../examples/viaduct.service")
	for _, line := range []string{"Type=notify", "ExecStart=/usr/local/bin/viaduct run -c /etc/viaduct/viaduct.yaml", "ExecReload=/bin/kill -HUP $MAINPID", "[Install]"} {
		if !strings.Contains(service, "\n"+line+"\n") {
			t.Errorf("the service has no line %s", line)
		}
	}
	for _, step := range []string{"mkdir -p /etc/viaduct", "cp minimal.yaml /etc/viaduct/viaduct.yaml"} {
		if !strings.Contains(service, "\n#   "+step+"\n") {
			t.Errorf("the service has no step %s", step)
		}
	}
	minimal, err := config.Load("../examples/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	socket := unit(t, "../examples/viaduct.socket")
	if want := "\nListenStream=" + minimal.Forward[0].Listen[0] + "\n"; !strings.Contains(socket, want) {
		t.Errorf("the socket has no line %s", want)
	}
	verifier, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze: the units were looked at only")
		return
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"viaduct.service": service, "viaduct.socket": socket} {
		text = strings.ReplaceAll(text, "/usr/local/bin/viaduct ", "/bin/true ") // it wants the program to be there
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := exec.Command(verifier, "verify", "./viaduct.service", "./viaduct.socket")
	verify.Dir = dir
	if out, err := verify.CombinedOutput(); err != nil || strings.Contains(string(out), "viaduct") {
		t.Errorf("%v: %s", err, out)
	}
}

// unit reads a unit, which is sections of keys and values, and comments.
func unit(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^(#.*|\[[A-Z][a-z]+\]|[A-Z][A-Za-z]+=.*|)$`)
	for i, line := range strings.Split(string(text), "\n") {
		if !form.MatchString(line) {
			t.Error(fmt.Sprintf("%s:%d", file, i+1), line)
		}
	}
	return string(text)
}
