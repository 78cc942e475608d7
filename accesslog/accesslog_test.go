package accesslog_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
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
	tries atomic.Int64

	mu    sync.Mutex // guards what follows; held while it hangs
	bytes bytes.Buffer
	err   error
	calls int
}

func (d *disk) Write(p []byte) (int, error) {
	d.tries.Add(1)
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
func lineOf(t testing.TB, e *accesslog.Entry, f accesslog.Format) string {
	t.Helper()
	d := new(disk)
	w := accesslog.New(d, f)
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
		User:     "joe",
		Method:   []byte("GET"),
		Target:   []byte("http://example.com/a/b"),
		Minor:    1,
		Egress:   netip.MustParseAddr("2001:db8::2"),
		Endpoint: netip.MustParseAddrPort("[2001:db8::1]:80"),
		Tries:    2,
		Status:   502,
		Fault:    "connection_terminated",
		Cause:    "read: connection reset",
		Decision: "observe",
		Rule:     "deny#2",
		Phase:    "address",
		SNI:      "www.example.org",
		Received: 17,
		Sent:     1 << 40,
		Dial:     234_567 * time.Nanosecond,
		First:    1_234_567 * time.Nanosecond,
		Total:    62*time.Second + 5*time.Microsecond,
		Ended:    accesslog.Server,
		Referer:  []byte("https://example.org/from"),
		Agent:    []byte("curl/8.0 (x86_64)"),
	}
}

func TestFailureIsReportedOnceAndSoIsItsEnd(t *testing.T) {
	d := &disk{err: errors.New("disk full")}
	reports := make(chan error, 10)
	w := accesslog.New(d, accesslog.JSON)
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

func TestNilWriterLogsNothing(t *testing.T) {
	var w *accesslog.Writer
	w.Add(entry())
	if w.Heads() || w.Dropped() != 0 {
		t.Error("it does something")
	}
}
