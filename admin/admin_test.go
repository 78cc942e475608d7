package admin_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/admin"
	"viaduct/metrics"
)

// patience is how long a test waits for what must happen: a loaded machine
// takes its time.
const patience = time.Minute

// TestMain fails the package if goroutines or descriptors are left.
func TestMain(m *testing.M) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the poller's own descriptors are open from here on
	if err != nil {
		panic(err)
	}
	_ = l.Close()
	fds, routines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if !fuzzing && !eventually(func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds }) {
		buf := make([]byte, 1<<20)
		fmt.Printf("left: %d goroutines, were %d; %d descriptors, were %d\n%s\n",
			runtime.NumGoroutine(), routines, descriptors(), fds, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
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

// journal is what is logged.
type journal struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// door is an Admin that is served.
type door struct {
	t    testing.TB
	addr string
	log  *journal
	open atomic.Int32 // connections
	idle atomic.Int32 // how often one became so
}

// serve runs an Admin on the loopback. change may shorten what is too long for
// a test.
func serve(t testing.TB, o admin.Options, change ...func(*http.Server)) *door {
	t.Helper()
	d := &door{t: t, log: new(journal)}
	o.Log = slog.New(slog.NewTextHandler(d.log, nil))
	s := admin.Server(admin.New(o), o.Log)
	see := s.ConnState
	s.ConnState = func(nc net.Conn, to http.ConnState) {
		see(nc, to)
		switch to {
		case http.StateNew:
			d.open.Add(1)
		case http.StateIdle:
			d.idle.Add(1)
		case http.StateClosed:
			d.open.Add(-1)
		}
	}
	for _, c := range change {
		c(s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return d
}

func (d *door) dial() *net.TCPConn {
	d.t.Helper()
	nc, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return nc.(*net.TCPConn)
}

// answer is what came back, with its body read.
type answer struct {
	*http.Response
	body string
}

func read(t testing.TB, r *bufio.Reader, method string) answer {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the answer breaks off: %v", err)
	}
	return answer{resp, string(body)}
}

// ask sends a request as it is written, on a connection of its own.
func (d *door) ask(raw string) answer {
	d.t.Helper()
	nc := d.dial()
	defer func() { _ = nc.Close() }()
	if _, err := io.WriteString(nc, raw); err != nil {
		d.t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	return read(d.t, bufio.NewReader(nc), method)
}

// call asks for a path, with further fields.
func (d *door) call(method, path string, fields ...string) answer {
	d.t.Helper()
	return d.ask(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n")
}

func TestPages(t *testing.T) {
	m := metrics.New("test")
	m.Front("forward[0]").Opened()
	d := serve(t, admin.Options{Metrics: m})
	for _, c := range []struct {
		path, body string
		kind       string
	}{
		{"/", "/metrics      counters, for Prometheus\n", "text/plain; charset=utf-8"},
		{"/metrics", "viaduct_client_connections{listener=\"forward[0]\"} 1\n", "text/plain; version=0.0.4; charset=utf-8"},
		{"/metrics?x=y", "viaduct_build_info", "text/plain; version=0.0.4; charset=utf-8"},
		{"/healthz", "ok\n", "text/plain; charset=utf-8"},
		{"/readyz", "ready\n", "text/plain; charset=utf-8"},
	} {
		t.Run(c.path, func(t *testing.T) {
			get, head := d.call("GET", c.path), d.call("HEAD", c.path)
			for _, a := range []answer{get, head} {
				if a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), c.kind) {
					t.Errorf("%d %v", a.StatusCode, a.Header)
				}
				wantGuarded(t, a)
			}
			if !strings.Contains(get.body, c.body) {
				t.Errorf("the body is %q", get.body)
			}
			if head.body != "" {
				t.Errorf("HEAD has a body: %q", head.body)
			}
		})
	}
}

// wantGuarded wants the fields that keep browsers from mischief.
func wantGuarded(t testing.TB, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options":       "nosniff",
		"Cache-Control":                "no-store",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Access-Control-Allow-Origin":  "",
		"Server":                       "",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestReadiness(t *testing.T) {
	var why atomic.Pointer[string]
	d := serve(t, admin.Options{Ready: func() error {
		if w := why.Load(); w != nil {
			return errors.New(*w)
		}
		return nil
	}})
	for _, w := range []string{"starting", "draining: 3 tunnels are open"} {
		why.Store(&w)
		if a := d.call("GET", "/readyz"); a.StatusCode != 503 || a.body != w+"\n" {
			t.Errorf("%d %q, want 503 %q", a.StatusCode, a.body, w)
		}
		if a := d.call("HEAD", "/readyz"); a.StatusCode != 503 {
			t.Errorf("HEAD: %d, want 503", a.StatusCode)
		}
		if a := d.call("GET", "/healthz"); a.StatusCode != 200 || a.body != "ok\n" {
			t.Errorf("health: %d %q", a.StatusCode, a.body)
		}
	}
	why.Store(nil)
	if a := d.call("GET", "/readyz"); a.StatusCode != 200 || a.body != "ready\n" {
		t.Errorf("%d %q, want 200 ready", a.StatusCode, a.body)
	}
}

// TestIndexListsEveryPage: nobody has to guess a path, and none is promised that
// isn't there.
func TestIndexListsEveryPage(t *testing.T) {
	d := serve(t, admin.Options{})
	listed := regexp.MustCompile(`(?m)^(/\S*) +\S`).FindAllStringSubmatch(d.call("GET", "/").body, -1)
	paths := []string{}
	for _, m := range listed {
		paths = append(paths, m[1])
		if a := d.call("GET", m[1]); a.StatusCode != 200 {
			t.Errorf("%s: %d", m[1], a.StatusCode)
		}
	}
	if want := []string{"/", "/metrics", "/healthz", "/readyz"}; !slices.Equal(paths, want) {
		t.Errorf("listed are %q, want %q", paths, want)
	}
}

func TestOnlyGetAndHead(t *testing.T) {
	ready := func() error { t.Error("asked"); return nil }
	d := serve(t, admin.Options{Ready: ready})
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get", "Get", "GETT", "!"} {
		for _, path := range []string{"/", "/metrics", "/healthz", "/readyz"} {
			a := d.call(method, path, "Content-Length: 3", "", "abc")
			if a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q, want 405 and GET, HEAD", method, path, a.StatusCode, a.Header.Get("Allow"))
			}
			wantGuarded(t, a)
		}
		if a := d.call(method, "/nowhere"); a.StatusCode != 404 {
			t.Errorf("%s /nowhere: %d, want 404", method, a.StatusCode)
		}
	}
}

// TestPathsAreExact: nothing is cleaned, redirected or guessed.
func TestPathsAreExact(t *testing.T) {
	d := serve(t, admin.Options{})
	for path, want := range map[string]int{
		"/metrics":                      200,
		"/%6detrics":                    200, // the same path (RFC 3986 section 6.2.2.2)
		"/metrics?":                     200,
		"//metrics":                     404,
		"/metrics/":                     404,
		"/metrics/..":                   404,
		"/../metrics":                   404,
		"/x/../metrics":                 404,
		"/./metrics":                    404,
		"/metrics%2f":                   404,
		"/metrics%00":                   404,
		"/metrics;x":                    404,
		"/Metrics":                      404,
		"/..%2fmetrics":                 404,
		"/healthz/../metrics":           404,
		"/debug/pprof/":                 404,
		"/debug/vars":                   404,
		"/api/reload":                   404,
		"/etc/passwd":                   404,
		"/%":                            400,
		"/%zz":                          400,
		"metrics":                       400,
		"":                              400,
		"*":                             404,
		"/metrics#x":                    404,
		"http://localhost":              404,
		"http://localhost/metrics":      200,
		"http://localhost//metrics":     404,
		"http://localhost/%2e./metrics": 404,
		"file:///metrics":               200, // the scheme is nobody's business here
	} {
		a := d.call("GET", path)
		if a.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, a.StatusCode, want)
		}
		if a.Header.Get("Location") != "" {
			t.Errorf("%s: leads to %s", path, a.Header.Get("Location"))
		}
	}
}

// TestNoToken: what is not set is not asked for, and not believed in.
func TestNoToken(t *testing.T) {
	d := serve(t, admin.Options{})
	for _, field := range []string{"X: y", "Authorization: Bearer x", "Authorization: Bearer ", "Authorization: Basic eDp5"} {
		if a := d.call("GET", "/metrics", field); a.StatusCode != 200 {
			t.Errorf("%s: %d", field, a.StatusCode)
		}
	}
}

func TestTheZeroOptionsWork(t *testing.T) {
	h := admin.New(admin.Options{})
	s := admin.Server(h, nil)
	if s.Handler != http.Handler(h) || s.ErrorLog == nil {
		t.Errorf("%+v", s)
	}
	d := serve(t, admin.Options{})
	if a := d.call("GET", "/metrics"); a.StatusCode != 200 || a.body != "" {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
}

// TestMetricsAreText reads the exposition as Prometheus does, line by line, plain
// and compressed.
func TestMetricsAreText(t *testing.T) {
	m := metrics.New("test")
	f := m.Front(`forward["0"]\` + "\n")
	f.Exchange(metrics.Exchange{Status: 200, Sent: 5, Total: time.Second})
	d := serve(t, admin.Options{Metrics: m})
	plain := d.call("GET", "/metrics")
	packed := d.call("GET", "/metrics", "Accept-Encoding: gzip")
	if packed.Header.Get("Content-Encoding") != "gzip" || plain.Header.Get("Content-Encoding") != "" {
		t.Fatalf("codings are %q and %q", packed.Header.Get("Content-Encoding"), plain.Header.Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(strings.NewReader(packed.body))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{plain.body, string(unpacked)} {
		wantExposition(t, text)
		for _, line := range []string{
			`viaduct_requests_total{code="2xx",listener="forward[\"0\"]\\\n"} 1`,
			`viaduct_request_duration_seconds_bucket{listener="forward[\"0\"]\\\n",le="+Inf"} 1`,
			`viaduct_reloads_total{result="ok"} 0`,
		} {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s is not there", line)
			}
		}
		if !strings.Contains(text, "\ngo_goroutines ") || !strings.Contains(text, "\nprocess_open_fds ") || !strings.Contains(text, "\nprocess_max_fds ") {
			t.Error("the runtime and the process are not there")
		}
	}
}

// wantExposition wants families as the table of the room metrics has them, and
// samples that can be read.
func wantExposition(t *testing.T, text string) {
	t.Helper()
	help := map[string]string{}
	kind := map[string]string{}
	for _, r := range metrics.Table() {
		help[r.Name], kind[r.Name] = r.Help, r.Type
	}
	sample := regexp.MustCompile(`^[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? (NaN|[-+0-9.e]+|[-+]Inf)$`)
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		words := strings.SplitN(line, " ", 4)
		switch {
		case strings.HasPrefix(line, "# HELP viaduct_"):
			if help[words[2]] != words[3] {
				t.Errorf("%q is not what the table says", line)
			}
		case strings.HasPrefix(line, "# TYPE viaduct_"):
			if kind[words[2]] != words[3] {
				t.Errorf("%q is not what the table says", line)
			}
		case !strings.HasPrefix(line, "#") && !sample.MatchString(line):
			t.Errorf("%q is no sample", line)
		}
	}
}

// TestBrokenReading costs its own values, not the scrape, and is logged.
func TestBrokenReading(t *testing.T) {
	m := metrics.New("test")
	m.Read(metrics.Readings{UpstreamIdle: func() int { panic("broken") }})
	d := serve(t, admin.Options{Metrics: m})
	if a := d.call("GET", "/metrics"); a.StatusCode != 200 || !strings.Contains(a.body, "viaduct_build_info") {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
	if !strings.Contains(d.log.String(), "broken") {
		t.Errorf("the log says %q", d.log)
	}
}

// TestPanicEndsOneConnection: it is counted and logged, and the door stays open.
func TestPanicEndsOneConnection(t *testing.T) {
	m := metrics.New("test")
	d := serve(t, admin.Options{Metrics: m, Ready: func() error { panic("oh dear") }})
	nc := d.dial()
	if _, err := io.WriteString(nc, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(nc); strings.Contains(string(got), "oh dear") {
		t.Errorf("the client reads %q", got)
	}
	if a := d.call("GET", "/metrics"); !strings.Contains(a.body, "\nviaduct_panics_total 1\n") {
		t.Error("it is not counted")
	}
	if log := d.log.String(); !strings.Contains(log, "oh dear") || !strings.Contains(log, "readiness") {
		t.Errorf("the log says %q", log)
	}
}
