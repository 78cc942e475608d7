package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"runtime"
	"sync"
	"testing"
	"time"

	"viaduct/config"
	"viaduct/server"
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
	if !eventually(func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds }) {
		fmt.Printf("left: %d goroutines, were %d; %d descriptors, were %d\n", runtime.NumGoroutine(), routines, descriptors(), fds)
		buf := make([]byte, 1<<20)
		fmt.Printf("%s\n", buf[:runtime.Stack(buf, true)])
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

func poll(t testing.TB, what string, look func() bool) {
	t.Helper()
	if !eventually(look) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// journal is what the server logs.
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

func logger(j *journal) *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// setting is a configuration with one entry.
type setting struct {
	config.Forward
	AccessLog string
}

// plain is a setting with bounds that no test reaches.
func plain(listen ...string) setting {
	c := setting{Forward: config.Default().Forward[0], AccessLog: "off"}
	c.Listen, c.AllowPrivate, c.ConnectPorts = listen, true, nil
	for _, d := range []*time.Duration{
		&c.HeaderTimeout, &c.BodyTimeout, &c.DialTimeout, &c.ResponseTimeout, &c.IdleTimeout,
		&c.UpstreamIdleTimeout, &c.TunnelIdleTimeout, &c.HalfCloseTimeout, &c.DrainTimeout,
	} {
		*d = patience
	}
	return c
}

func (c setting) config() *config.Config {
	conf := config.Default()
	conf.Log.Access.Path = c.AccessLog
	conf.Forward = []config.Forward{c.Forward}
	return conf
}

// load is what asks for it.
func (c setting) load() (*config.Config, error) { return checked(c.config()) }

func checked(conf *config.Config) (*config.Config, error) { return conf, conf.Check() }

// newServer makes a server of a setting.
func newServer(c setting, j *journal) (*server.Server, error) {
	return server.New(server.Options{Load: c.load, Log: logger(j)})
}

// running is a server that runs.
type running struct {
	t          testing.TB
	server     *server.Server
	log        *journal
	stop, rush context.CancelFunc
	ended      chan error
}

// run makes a server and runs it.
func run(t testing.TB, conf setting) *running {
	t.Helper()
	return runWith(t, conf.load, len(conf.Listen))
}

// runWith runs a server whose configurations come from load, and waits for so
// many listeners.
func runWith(t testing.TB, load func() (*config.Config, error), listeners int) *running {
	t.Helper()
	r := &running{t: t, log: new(journal), ended: make(chan error, 1)}
	r.server = must[*server.Server](t)(server.New(server.Options{Load: load, Log: logger(r.log)}))
	r.begin(listeners)
	return r
}

// begin runs the server, and waits for so many listeners.
func (r *running) begin(listeners int) {
	r.t.Helper()
	var ctx, hurry context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	hurry, r.rush = context.WithCancel(context.Background())
	go func() { r.ended <- r.server.Run(ctx, hurry) }()
	poll(r.t, "it listens", func() bool { return len(r.addrs()) == listeners })
	r.t.Cleanup(func() { r.stop(); r.rush() })
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

func (r *running) addrs() (list []string) {
	for _, m := range listening.FindAllStringSubmatch(r.log.String(), -1) {
		list = append(list, m[1])
	}
	return list
}

// dial opens a connection to the first listener.
func (r *running) dial() net.Conn {
	r.t.Helper()
	return dialTo(r.t, r.addrs()[0])
}

func dialTo(t testing.TB, addr string) net.Conn {
	t.Helper()
	c := must[net.Conn](t)(net.Dial("tcp", addr))
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// finish waits for the end of Run.
func (r *running) finish() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		r.t.Fatalf("it runs on\n%s\n%s", r.log, buf[:runtime.Stack(buf, true)])
		panic("unreachable")
	}
}

// origin listens, and hands over who comes.
func origin(t testing.TB) (addr string, guests <-chan net.Conn) {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	ch := make(chan net.Conn, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			ch <- c
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
		for len(ch) > 0 {
			_ = (<-ch).Close()
		}
	})
	return l.Addr().String(), ch
}

// guest waits for a connection to an origin, and for a request on it.
func guest(t testing.TB, guests <-chan net.Conn) net.Conn {
	t.Helper()
	select {
	case c := <-guests:
		t.Cleanup(func() { _ = c.Close() })
		hear(t, c, "\r\n\r\n")
		return c
	case <-time.After(patience):
		t.Fatal("nobody came")
		panic("unreachable")
	}
}

func say(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// hear reads up to the first end.
func hear(t testing.TB, c net.Conn, end string) string {
	t.Helper()
	var got []byte
	for b := make([]byte, 1); !bytes.HasSuffix(got, []byte(end)); {
		if _, err := c.Read(b); err != nil {
			t.Fatalf("read %q, then %v; want %q", got, err, end)
		}
		got = append(got, b[0])
	}
	return string(got)
}

// over expects the end of a connection, however it comes, and returns what was
// there before.
func over(t testing.TB, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection is still open, after %q", b)
	}
	return string(b)
}

// runFile runs a server with a configuration file.
func runFile(t testing.TB, path string, listeners int) *running {
	t.Helper()
	r := &running{t: t, log: new(journal), ended: make(chan error, 1)}
	load := func() (*config.Config, error) { return config.Load(path) }
	r.server = must[*server.Server](t)(server.New(server.Options{Load: load, File: path, Log: logger(r.log)}))
	r.begin(listeners)
	return r
}
