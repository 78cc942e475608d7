package cmd_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"viaduct/admin"
	"viaduct/display"
	"viaduct/health"
	"viaduct/pool"
	"viaduct/snapshot"
)

// twoPools is what an instance tells.
func twoPools() snapshot.Status {
	return snapshot.Status{Version: "1.2.3", Pools: []pool.View{
		{Name: "empty", Balance: "hash", Unavailable: map[string]uint64{}, Endpoints: []pool.EndpointView{}},
		{Name: "parents", Balance: "p2c_ewma", Unavailable: map[string]uint64{"none": 1}, Endpoints: []pool.EndpointView{
			{View: health.View{ID: "http://10.0.0.1:3128", Standing: "sick", Checks: []health.Seen{}}, Weight: 1, Limit: 2, Reason: "down\x1b"},
		}},
	}}
}

// local runs an admin address on a socket in the file system, and returns where.
func local(t *testing.T, o admin.Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := admin.Server(admin.New(o), nil)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return "unix://" + path
}

// TestStatusAsksAnInstance, by its address or by its socket, which asks for no
// token.
func TestStatusAsksAnInstance(t *testing.T) {
	told := twoPools()
	status := func() any { return told }
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	if err := display.Status(&want, told.Version, told.Pools); err != nil {
		t.Fatal(err)
	}
	open, closed, socket := answering(t, admin.Options{Status: status}), answering(t, admin.Options{Token: "sesame", Status: status}), local(t, admin.Options{Token: "sesame", Status: status})
	for _, line := range []string{
		"status --admin " + open, "--admin http://" + open + "/ status", "status --admin " + closed + " --admin-token-file " + file,
		"status --admin=" + socket, "status --admin " + socket + " --admin-token-file " + file,
	} {
		code, out, errOut := run(t, line)
		if code != 0 || errOut != "" || out != want.String() || !strings.Contains(out, "\npool parents: p2c_ewma") {
			t.Errorf("%s: exit %d, %s\n%s", line, code, errOut, out)
		}
		code, out, errOut = run(t, line+" --json")
		var got snapshot.Status
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || errOut != "" || !reflect.DeepEqual(got, told) {
			t.Errorf("%s --json: exit %d, %v, %s\n%s", line, code, err, errOut, out)
		}
		if !strings.HasPrefix(out, "{\n  \"version\": \"1.2.3\",\n  \"pools\": [\n") || strings.Contains(out, "\x1b") {
			t.Errorf("it prints %s", out)
		}
	}
	if code, out, _ := run(t, "explain http://a/ --admin "+local(t, admin.Options{Explain: func(admin.ExplainQuery) (any, error) { return []any{allowed}, nil }})); code != 0 || out != "allow: direct\n" {
		t.Errorf("explain by a socket: exit %d, %s", code, out)
	}
}

func TestStatusMistakes(t *testing.T) {
	addr, closed := answering(t, admin.Options{}), answering(t, admin.Options{Token: "sesame", Status: func() any { return twoPools() }})
	say := func(body string) string {
		return serving(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"status now", 1, `status takes no arguments, but there is "now"`},
		{"status -c x", 1, "unknown flag -c"},
		{"status --jsn", 1, "unknown flag --jsn: did you mean --json?"},
		{"status --admin", 1, "--admin needs a value"},
		{"status --admin 9090", 1, "--admin 9090: write host:port, such as 127.0.0.1:9090, or unix:///run/viaduct.sock"},
		{"status --admin=", 1, "--admin : write host:port"},
		{"status --admin unix://viaduct.sock", 1, "write the whole path, such as unix:///run/viaduct.sock"},
		{"status --admin " + l.Addr().String(), 2, "no viaduct answers at http://" + l.Addr().String()},
		{"status --admin unix:///nowhere/s", 2, "no viaduct answers at unix:///nowhere/s: dial unix /nowhere/s: connect: no such file"},
		{"status --admin-token-file /nowhere/token", 2, "/nowhere/token: no such file"},
		{"status --admin " + addr, 2, "answers 404, and not as viaduct does"},
		{"status --admin " + closed, 1, "asks for a token: add --admin-token-file FILE"},
		{"status --admin " + say("{}"), 2, "answers 200, and not as viaduct does"},
		{"status --admin " + say(`{"pools":[]}`), 2, "answers 200, and not as viaduct does"},
		{"status --admin " + say("[]"), 2, "answers 200, and not as viaduct does"},
		{"status --admin " + say("<html>"), 2, "answers 200, and not as viaduct does"},
		{"run --json -c x", 1, "unknown flag --json: it belongs to viaduct explain"},
	} {
		wantMistake(t, c.line, c.code, c.want)
	}
}

// TestStatusOfAnInstanceWithoutPools, and of a version that tells more.
func TestStatusOfAnInstanceWithoutPools(t *testing.T) {
	addr := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.RequestURI != "/api/status" {
			t.Errorf("%s %s", r.Method, r.RequestURI)
		}
		_, _ = io.WriteString(w, `{"version":"9","pools":null,"more":{}}`)
	}))
	if code, out, errOut := run(t, "status --admin "+addr); code != 0 || out != "viaduct 9\nno pools: every request goes out directly\n" {
		t.Errorf("exit %d, %s%s", code, out, errOut)
	}
}

func TestStatusHelp(t *testing.T) {
	code, out, errOut := run(t, "status --help")
	if code != 0 || errOut != "" {
		t.Errorf("exit %d, %s", code, errOut)
	}
	for _, word := range []string{"viaduct status [--admin ADDR] [--admin-token-file FILE] [--json]", "--admin ADDR", "unix:///path", "(default: 127.0.0.1:9090)", "--admin-token-file FILE", "--json"} {
		if !strings.Contains(out, word) {
			t.Errorf("it does not tell of %q:\n%s", word, out)
		}
	}
	if _, out, _ := run(t, "help"); !strings.Contains(out, "show the pools of a running instance") {
		t.Errorf("the help does not tell of it:\n%s", out)
	}
}

// TestStatusOfARunningInstance: what stands in the flags is told, but for the
// password.
func TestStatusOfARunningInstance(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	path := filepath.Join(t.TempDir(), "s")
	r := start(t, "forward --listen 127.0.0.1:0 --allow-private --access-log off --admin unix://"+path+" --health-interval 20ms --health-fall 1"+
		" --upstream http://joe:sesame@"+nobody+"?zone=eu --upstream direct?tier=1")
	var out string
	if !eventually(func() bool {
		var code int
		if code, out, _ = run(t, "status --admin unix://"+path); code != 0 {
			t.Fatalf("exit %d", code)
		}
		return strings.Contains(out, "checks down")
	}) {
		t.Errorf("it tells\n%s", out)
	}
	if got := fetch(t, r.addr()); got != http.StatusNotFound {
		t.Errorf("%d, want the origin's 404", got)
	}
	_, out, _ = run(t, "status --admin unix://"+path)
	for _, want := range []string{"\npool upstream: p2c_ewma, 0 in flight; retries ", "\n  http://" + nobody + " ", "  sick  ", "  zone eu\n", "connection refused", "\n  direct "} {
		if !strings.Contains(out, want) || strings.Contains(out, "sesame") {
			t.Errorf("no %q, or a password, in\n%s", want, out)
		}
	}
	if _, out, _ = run(t, "explain --admin unix://"+path+" http://127.0.0.1:1/"); !strings.Contains(out, "\npool upstream: p2c_ewma chooses direct (") {
		t.Errorf("it explains\n%s", out)
	}
	if code := r.stop(t); code != 0 {
		t.Errorf("exit %d: %s", code, r.errOut.String())
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
