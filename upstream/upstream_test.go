package upstream_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/upstream"
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
	if !eventually(patience, func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds }) {
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

// eventually looks until what it looks for is true, and tells whether it was.
func eventually(most time.Duration, look func() bool) bool {
	for end := time.Now().Add(most); ; <-time.After(2 * time.Millisecond) {
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
	if !eventually(patience, look) {
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

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// judge is a guard that keeps record of what it was asked.
type judge struct {
	refuse func(netip.AddrPort) bool // nil refuses nothing

	mu    sync.Mutex // guards asked
	asked []netip.AddrPort
}

var errRefused = fault.New(fault.DestinationIPProhibited, nil)

func (j *judge) Check(a netip.AddrPort) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, a)
	if j.refuse != nil && j.refuse(a) {
		return errRefused
	}
	return nil
}

func (j *judge) questions() []netip.AddrPort {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.asked)
}

// answers is a Lookup that knows one answer.
func answers(addrs ...string) func(context.Context, string) ([]netip.Addr, error) {
	list := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		list[i] = netip.MustParseAddr(a)
	}
	return func(context.Context, string) ([]netip.Addr, error) { return slices.Clone(list), nil }
}

func named(port uint16) upstream.Destination {
	return upstream.Destination{Host: "origin.test", Port: port}
}

func literal(addr string, port uint16) upstream.Destination {
	return upstream.Destination{Host: addr, Port: port, Addr: netip.MustParseAddr(addr)}
}

// house is a listener at one address. It counts who comes, and keeps them.
type house struct {
	port uint16
	l    net.Listener

	mu     sync.Mutex // guards guests
	guests []net.Conn
}

// open listens at address and port; port 0 is any.
func open(t testing.TB, address string, port uint16) *house {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), port).String())
	if err != nil {
		t.Fatal(err)
	}
	h := &house{l: l, port: uint16(l.Addr().(*net.TCPAddr).Port)}
	accepting := make(chan struct{})
	go func() { defer close(accepting); h.accept() }()
	t.Cleanup(func() {
		_ = l.Close()
		<-accepting
		for _, c := range h.guests {
			_ = c.Close()
		}
	})
	return h
}

func (h *house) accept() {
	for {
		c, err := h.l.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.guests = append(h.guests, c)
		h.mu.Unlock()
	}
}

func (h *house) visits() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.guests)
}

// hole is an address that does not answer: the queue of its listener is full,
// and Linux drops further calls. The port is the one given.
func hole(t testing.TB, address string, port uint16) {
	t.Helper()
	a := netip.MustParseAddr(address)
	family, at := syscall.AF_INET, syscall.Sockaddr(&syscall.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}})
	if a.Is4() {
		at.(*syscall.SockaddrInet4).Addr = a.As4()
	} else {
		family, at = syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(port), Addr: a.As16()}
	}
	fd := must[int](t)(syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0))
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, at); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{Timeout: 30 * time.Millisecond}
	for range 16 {
		c, err := dialer.Dial("tcp", netip.AddrPortFrom(a, port).String())
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatalf("%s takes every call", address)
}

// freePort is a port that nobody listens on, at any address.
func freePort(t testing.TB) uint16 {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", ":0"))
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
