package pool_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/parent"
	"viaduct/pool"
	"viaduct/rest"
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

// hand is a clock that a test moves.
type hand struct{ at atomic.Int64 }

func newHand() *hand {
	h := &hand{}
	h.at.Store(int64(time.Hour))
	return h
}

func (h *hand) now() time.Duration       { return time.Duration(h.at.Load()) }
func (h *hand) advance(by time.Duration) { h.at.Add(int64(by)) }

// letters are endpoints "a", "b" and so on, which nobody reaches.
func letters(n int) []parent.Endpoint {
	var all []parent.Endpoint
	for i := range n {
		id := strconv.Itoa(i)
		if i < 26 {
			id = string(rune('a' + i))
		}
		all = append(all, parent.Endpoint{ID: id, Weight: 1, Hops: []parent.Proxy{{Host: "192.0.2.1", Port: uint16(1 + i)}}})
	}
	return all
}

// inOrder is a pool that uses the first endpoint as long as it may.
func inOrder(n int) pool.Options {
	return pool.Options{
		Name: "parents", Endpoints: letters(n), Retries: 2,
		LB: lb.Options{Policy: lb.First, PanicBelow: -1, Seed: 1},
	}
}

func newPool(t testing.TB, o pool.Options) *pool.Pool {
	t.Helper()
	p, err := pool.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// to is a destination.
func to(host string) pool.Ask {
	return pool.Ask{To: rest.Destination{Host: host, Port: 443}, DialTimeout: 4 * time.Second}
}

// begin begins a request that the guards let in.
func begin(t testing.TB, p *pool.Pool, a pool.Ask, now time.Duration) *pool.Request {
	t.Helper()
	r := new(pool.Request)
	if err := r.Begin(p, a, now); err != nil {
		t.Fatal(err)
	}
	return r
}

// what an endpoint does with a try, in tests without sockets.
type script map[string]func(ctx context.Context) (string, error)

// try follows the script; who is not in it succeeds.
func (s script) try(ctx context.Context, e *pool.Endpoint) (string, error) {
	if do := s[e.ID()]; do != nil {
		return do(ctx)
	}
	return e.ID(), nil
}

func keep(string) {}

// open is Open by a script.
func open(ctx context.Context, r *pool.Request, s script) (string, *pool.Endpoint, error) {
	return pool.Open(ctx, r, s.try, keep)
}

// says fails at once.
func says(err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return "", err }
}

// hangs is silent until its context ends; err is what it makes of that.
func hangs(err error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		<-ctx.Done()
		if ctx.Err() == context.Canceled {
			return "", fmt.Errorf("parent: %w", ctx.Err())
		}
		return "", err
	}
}

// The errors of tries.
var (
	errDown = &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	errSlow = &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	errLoop = fault.New(fault.LoopDetected, nil)
)

// answer is what parent.Proxy.Tunnel makes of an answer to CONNECT.
func answer(status string) error { return answering("HTTP/1.1 " + status + "\r\n\r\n") }

func answering(text string) error {
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		_, _ = theirs.Read(buf)
		_, _ = theirs.Write([]byte(text))
		_ = theirs.Close()
	}()
	_, _, err := parent.Proxy{Host: "192.0.2.1", Port: 3128}.Tunnel(context.Background(), ours, "a.test:443")
	<-done
	return err
}

// silence is what it makes of a parent that says nothing after the request.
func silence() error {
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	go func() {
		defer close(done)
		_, _ = theirs.Read(make([]byte, 4096))
		_, _ = theirs.Read(make([]byte, 1))
	}()
	_, _, err := parent.Proxy{Host: "192.0.2.1", Port: 3128}.Tunnel(ctx, ours, "a.test:443")
	<-done
	return err
}

// served is the end of a request that was.
var served = health.Report{Status: 200}

// endpoint is how one of the endpoints is shown.
func endpoint(t testing.TB, p *pool.Pool, id string) pool.EndpointView {
	t.Helper()
	for _, e := range p.View().Endpoints {
		if e.ID == id {
			return e
		}
	}
	t.Fatalf("no endpoint %q", id)
	return pool.EndpointView{}
}

// idle fails the test if the pool has not been given back what requests had.
func idle(t testing.TB, p *pool.Pool) {
	t.Helper()
	v := p.View()
	if v.InFlight != 0 || v.Requests.InUse != 0 || v.Pending.InUse != 0 || v.Retries.InUse != 0 || v.Waiting != 0 || v.Adaptive != nil && v.Adaptive.InUse != 0 {
		t.Errorf("something is left: %+v", v)
	}
	for _, e := range v.Endpoints {
		if e.InFlight != 0 {
			t.Errorf("%s has %d in flight", e.ID, e.InFlight)
		}
	}
}
