package exchange_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen: a loaded machine
// takes its time. It is also every bound that a test doesn't set.
const patience = time.Minute

// TestMain fails the package if goroutines or descriptors are left.
func TestMain(m *testing.M) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the poller's own descriptors are open from here on
	if err != nil {
		panic(err)
	}
	_ = l.Close()
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil { // tests wait for sockets, not for the processor
		panic(err)
	}
	const sparePipes = 4 // descriptors of the two pipes that relay keeps
	fds, routines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	if !eventually(func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds+sparePipes }) {
		fmt.Printf("left: %d goroutines, were %d; %d descriptors, were %d\n", runtime.NumGoroutine(), routines, descriptors(), fds)
		fmt.Println(stacks())
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// eventually looks until what it looks for is true, and tells whether it was.
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

// stalls watches the machine while a test depends on the clock. What it returns
// tells for how long, at the most, nothing ran that should have.
func stalls(t testing.TB) (longest func() time.Duration) {
	t.Helper()
	var most atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				most.Store(max(most.Load(), int64(time.Since(last))))
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return func() time.Duration { return time.Duration(most.Load()) }
}

// receive takes one value.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}
