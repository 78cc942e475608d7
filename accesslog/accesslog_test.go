package accesslog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/accesslog"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// TestMain fails the package if goroutines are left.
func TestMain(m *testing.M) {
	routines := runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if !fuzzing && !eventually(func() bool { return runtime.NumGoroutine() <= routines }) {
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

// disk is a file that may fail, or hang.
type disk struct {
	mu    sync.Mutex // guards what follows; held while it hangs
	bytes bytes.Buffer
	err   error
	calls int
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if d.err != nil {
		return 0, d.err
	}
	return d.bytes.Write(p)
}

func (d *disk) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes.String()
}

func (d *disk) fail(err error) (calls int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	return d.calls
}

func (d *disk) written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// run runs a log until the returned function is called, which waits for its end.
func run(w *accesslog.Writer, failed func(error)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx, failed) }()
	return func() { cancel(); <-ended }
}

func unexpected(t *testing.T) func(error) {
	return func(err error) { t.Errorf("failed: %v", err) }
}

// lineOf is the line of one entry.
func lineOf(t testing.TB, e *accesslog.Entry) string {
	t.Helper()
	d := new(disk)
	w := accesslog.New(d)
	w.Add(e)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w.Run(ctx, func(err error) { t.Errorf("failed: %v", err) })
	return d.text()
}

func entry() *accesslog.Entry {
	return &accesslog.Entry{
		Time:     time.Date(2026, 11, 23, 13, 4, 5, 6_789_000, time.FixedZone("east", 3600)),
		Mode:     "forward",
		Client:   netip.MustParseAddrPort("192.0.2.7:40000"),
		Method:   []byte("GET"),
		Target:   []byte("http://example.com/a/b"),
		Endpoint: netip.MustParseAddrPort("[2001:db8::1]:80"),
		Tries:    2,
		Status:   502,
		Fault:    "connection_terminated",
		Rule:     "deny#2",
		Received: 17,
		Sent:     1 << 40,
		Wait:     1_234_567 * time.Nanosecond,
		Total:    62*time.Second + 5*time.Microsecond,
	}
}

func TestLineHasAllThatIsKnown(t *testing.T) {
	const want = `{"time":"2026-11-23T12:04:05.006Z","mode":"forward","client":"192.0.2.7:40000","method":"GET",` +
		`"target":"http://example.com/a/b","endpoint":"[2001:db8::1]:80","tries":2,"status":502,` +
		`"fault":"connection_terminated","rule":"deny#2","bytes_received":17,"bytes_sent":1099511627776,` +
		`"wait_s":0.001234,"total_s":62.000005}` + "\n"
	if got := lineOf(t, entry()); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestLineLeavesOutWhatIsNot(t *testing.T) {
	const want = `{"time":"2026-01-01T00:00:00.000Z","mode":"forward","client":"[::1]:9","method":"","target":"",` +
		`"tries":0,"status":0,"bytes_received":0,"bytes_sent":0,"wait_s":0.000000,"total_s":0.000000}` + "\n"
	e := &accesslog.Entry{Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Mode: "forward", Client: netip.MustParseAddrPort("[::1]:9")}
	if got := lineOf(t, e); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestTargetTellsNoSecret(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "http://example.com/a;b=c", "http://example.com/a;b=c"},
		{"query", "http://example.com/a?token=s3cret", "http://example.com/a"},
		{"only a query", "http://example.com?s3cret", "http://example.com"},
		{"second question mark", "http://example.com/?a=s3cret?b=s3cret", "http://example.com/"},
		{"user and password", "http://joe:s3cret@example.com/a", "http://example.com/a"},
		{"password with an at sign", "http://joe:s3c@s3cret@example.com/", "http://example.com/"},
		{"of CONNECT", "joe:s3cret@example.com:443", "example.com:443"},
		{"other scheme", "ftp://joe:s3cret@example.com/", "ftp://example.com/"},
		{"at sign in the path", "http://example.com/@scope/a@1.0", "http://example.com/@scope/a@1.0"},
		{"fragment", "http://example.com/#s3cret", "http://example.com/"},
		{"very long", "http://example.com/" + strings.Repeat("x", 10_000), "http://example.com/" + strings.Repeat("x", 2029)},
		{"authority", "example.com:443", "example.com:443"},
		{"star", "*", "*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := entry()
			e.Target = []byte(c.in)
			line := lineOf(t, e)
			if strings.Contains(line, "s3cret") {
				t.Errorf("a secret is in the log: %s", line)
			}
			if !strings.Contains(line, `"target":"`+c.want+`"`) {
				t.Errorf("want target %s: %s", c.want, line)
			}
		})
	}
}

// read parses a line as JSON, and makes sure that it is one line.
func read(t testing.TB, line string) map[string]any {
	t.Helper()
	body, ok := strings.CutSuffix(line, "\n")
	if !ok || strings.ContainsAny(body, "\n\r") {
		t.Fatalf("not one line: %q", line)
	}
	for _, c := range []byte(body) {
		if c < ' ' || c > '~' {
			t.Fatalf("byte %#x in %q", c, line)
		}
	}
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	if d.More() {
		t.Fatalf("more than one object in %s", line)
	}
	return v
}

func TestNoByteBreaksTheLine(t *testing.T) {
	for b := range 256 {
		if b == '?' || b == '#' || b == '@' {
			continue
		}
		e := entry()
		e.Method = []byte{'a', byte(b), 'z'}
		e.Target = e.Method
		v := read(t, lineOf(t, e))
		if want := "a" + string(rune(b)) + "z"; v["method"] != want || v["target"] != want {
			t.Errorf("byte %#x: %q and %q", b, v["method"], v["target"])
		}
	}
}

func FuzzEntry(f *testing.F) {
	f.Add([]byte("GET"), []byte("http://example.com/?a"), "forward[0].rules[2]", 200, int64(5), int64(7), int64(1e9))
	f.Add([]byte("\"\\\r\n"), []byte("\x00\x7f\xff\u2028"), "my \"rule\"\n", -1, int64(-1), int64(-1), int64(-1))
	f.Add([]byte(nil), []byte("http://a:b@c/d"), "", 0, int64(0), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, method, target []byte, rule string, status int, received, sent, nanos int64) {
		e := &accesslog.Entry{
			Time: time.Unix(1e9, nanos), Mode: "forward", Client: netip.MustParseAddrPort("127.0.0.1:1"),
			Method: method, Target: target, Status: status, Rule: rule,
			Received: received, Sent: sent, Wait: time.Duration(nanos), Total: time.Duration(received),
		}
		v := read(t, lineOf(t, e))
		if s, ok := v["target"].(string); !ok || strings.Contains(s, "?") || len([]rune(s)) > len(target) {
			t.Errorf("target %q of %q", v["target"], target)
		}
		if s, ok := v["method"].(string); !ok || len([]rune(s)) != len(method) {
			t.Errorf("method %q of %q", v["method"], method)
		}
		if v["status"] != json.Number(fmt.Sprint(status)) || v["bytes_sent"] != json.Number(fmt.Sprint(sent)) {
			t.Errorf("%v is not what was told", v)
		}
	})
}

func TestFailureIsReportedOnceAndSoIsItsEnd(t *testing.T) {
	d := &disk{err: errors.New("disk full")}
	reports := make(chan error, 10)
	w := accesslog.New(d)
	stop := run(w, func(err error) { reports <- err })
	try := func(calls int) {
		w.Add(entry())
		if !eventually(func() bool { return d.written() > calls }) {
			t.Fatal("nothing was written")
		}
	}
	for range 3 {
		try(d.written())
	}
	try(d.fail(nil))
	try(d.fail(nil))
	stop()
	close(reports)
	var got []string
	for err := range reports {
		got = append(got, fmt.Sprint(err))
	}
	if want := []string{"disk full", "<nil>"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}

func TestNilWriterLogsNothing(*testing.T) {
	var w *accesslog.Writer
	w.Add(entry())
}
