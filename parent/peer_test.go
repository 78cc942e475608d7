package parent_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/parent"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// TestMain wants nothing to be left of the tests: no goroutine and no socket.
func TestMain(m *testing.M) {
	flag.Parse()
	before := goroutines()
	code := m.Run()
	if fuzzing := flag.Lookup("test.fuzz").Value.String() != ""; code == 0 && !fuzzing {
		code = leaks(before)
	}
	os.Exit(code)
}

func goroutines() int { return pprof.Lookup("goroutine").Count() }

// leaks is the exit code of the package.
func leaks(before int) int {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); goroutines() > before || sockets() > 0; <-tick.C {
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "%d goroutines, %d before; %d sockets\n", goroutines(), before, sockets())
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return 1
		}
	}
	return 0
}

// sockets counts the open ones.
func sockets() (n int) {
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return 0
	}
	for _, f := range list {
		if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// peer is a server on the loopback that does with each connection what play
// does. It ends with the test.
func peer(t testing.TB, play func(net.Conn)) (addr string) {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	var (
		all   sync.WaitGroup
		mu    sync.Mutex // guards conns
		conns []net.Conn
	)
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() { defer c.Close(); play(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

// dial is a connection that the test closes in the end.
func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c := must[net.Conn](t)(net.Dial("tcp", addr)).(*net.TCPConn)
	t.Cleanup(func() { c.Close() })
	return c
}

// proxy is the parent at an address.
func proxy(t testing.TB, s parent.Scheme, addr string) parent.Proxy {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n := must[uint64](t)(strconv.ParseUint(port, 10, 16))
	return parent.Proxy{Scheme: s, Host: host, Port: uint16(n)}
}

// readHead reads the head of a request, and no more.
func readHead(c io.Reader) (string, error) {
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b[0]) {
		if _, err := io.ReadFull(c, b); err != nil {
			return string(head), err
		}
	}
	return string(head), nil
}

// says is a parent that reads the request, answers with the parts, one write
// each, and then listens until the other side leaves.
func says(parts ...string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := readHead(c); err != nil {
			return
		}
		for _, p := range parts {
			if _, err := io.WriteString(c, p); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

// echo sends back what comes.
func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// bounded is a context that ends long after a test should have.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// closed wants nc to be closed on our side; below TLS that may take a moment.
func closed(t testing.TB, nc net.Conn) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := nc.SetDeadline(time.Time{})
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the connection is still open: %v", err)
		}
	}
}

// judged wants an error of a kind, a status for the client, and somebody to
// blame; and that it does not tell the client what is the operator's.
func judged(t testing.TB, err error, kind fault.Kind, status int, party parent.Party) {
	t.Helper()
	bad, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("%v is no *fault.Error", err)
	}
	if bad.Kind != kind || bad.Status() != status || parent.Blame(err) != party {
		t.Errorf("%v: %v %d, blamed: %v; want %v %d, %v", err, bad.Kind, bad.Status(), parent.Blame(err), kind, status, party)
	}
	if say := bad.Say(); say == "" || strings.Contains(say, "127.0.0.1") {
		t.Errorf("a client reads %q", say)
	}
	if r, ok := errors.AsType[*parent.RefusedError](err); ok && r.Blame() != party {
		t.Errorf("%v: Blame says %v and %v", err, party, r.Blame())
	}
}

// passes wants bytes to go both ways through a tunnel to an echo.
func passes(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Fatalf("came back: %q, %v", b, err)
	}
}
