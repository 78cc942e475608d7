package relay_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"viaduct/relay"
)

// patience is how long a test waits for what must happen: a loaded machine
// takes its time.
const patience = 20 * time.Second

// TestMain fails the package if goroutines or descriptors are left. It is also
// the peer process of the benchmarks.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "peer" {
		os.Exit(peer(os.Args[2:]))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // the poller's own descriptors are open from here on
	if err != nil {
		panic(err)
	}
	_ = l.Close()
	const sparePipes = 4 // descriptors of the two pipes that are kept
	fds, routines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	if !poll(patience, func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds+sparePipes }) {
		fmt.Printf("left: %d goroutines, were %d; %d descriptors, were %d\n", runtime.NumGoroutine(), routines, descriptors(), fds)
		code = 1
		buf := make([]byte, 1<<20)
		fmt.Printf("%s\n", buf[:runtime.Stack(buf, true)])
	}
	os.Exit(code)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// poll looks until what it looks for is true, and tells whether it was.
func poll(most time.Duration, look func() bool) bool {
	for end := time.Now().Add(most); ; <-time.After(2 * time.Millisecond) {
		if look() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
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

// pair is a connection of a network: the end for the test, that for the tunnel.
func pair(t testing.TB, network string) (ours, theirs net.Conn) {
	t.Helper()
	if network == "tls" {
		return tlsPair(t)
	}
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	if network == "pipe" {
		return net.Pipe()
	}
	dial := net.Dialer{KeepAlive: -1}
	if network == "narrow" { // takes little at a time
		network = "tcp"
		dial.Control = func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
			})
		}
	}
	listen := net.ListenConfig{KeepAlive: -1}
	l := must[net.Listener](t)(listen.Listen(context.Background(), network, addr))
	defer func() { _ = l.Close() }()
	ours = must[net.Conn](t)(dial.Dial(network, l.Addr().String()))
	theirs = must[net.Conn](t)(l.Accept())
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func tlsPair(t testing.TB) (ours, theirs *tls.Conn) {
	t.Helper()
	a, b := pair(t, "tcp")
	ours = tls.Client(a, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	theirs = tls.Server(b, &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: tls.VersionTLS12})
	shaken := make(chan error, 1)
	go func() { shaken <- ours.Handshake() }()
	if err := errors.Join(theirs.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// rig is one tunnel with its peers in the test's hands.
type rig struct {
	t              testing.TB
	client, server net.Conn
	ended          chan end
}

type end struct {
	stats relay.Stats
	err   error
}

type plan struct {
	set        *relay.Set
	networks   [2]string // of client and server; "" is tcp
	options    relay.Options
	fromClient string // early bytes
	fromServer string
}

func open(t testing.TB, p plan) *rig {
	t.Helper()
	for i := range p.networks {
		if p.networks[i] == "" {
			p.networks[i] = "tcp"
		}
	}
	if p.set == nil {
		p.set = new(relay.Set)
	}
	r := &rig{t: t, ended: make(chan end, 2)}
	var client, server net.Conn
	r.client, client = pair(t, p.networks[0])
	r.server, server = pair(t, p.networks[1])
	fromClient, fromServer := []byte(p.fromClient), []byte(p.fromServer)
	p.set.Go(client, server, fromClient, fromServer, p.options, func(s relay.Stats, err error) { r.ended <- end{s, err} })
	clear(fromClient)
	clear(fromServer)
	for _, c := range []net.Conn{r.client, r.server} {
		_ = c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { _ = c.Close() })
	}
	return r
}

// say writes text to one peer and expects it at the other.
func (r *rig) say(from, to net.Conn, text string) {
	r.t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		r.t.Fatalf("write: %v", err)
	}
	r.hear(to, text)
}

func (r *rig) hear(at net.Conn, text string) {
	r.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(at, got); err != nil || string(got) != text {
		r.t.Fatalf("read %q, %v; want %q", got[:n], err, text)
	}
}

// hearEnd expects text and then the end.
func (r *rig) hearEnd(at net.Conn, text string) {
	r.t.Helper()
	got, err := io.ReadAll(at)
	if err != nil || string(got) != text {
		r.t.Fatalf("read %q, %v; want %q and the end", got, err, text)
	}
}

func (r *rig) finish() end {
	r.t.Helper()
	select {
	case e := <-r.ended:
		return e
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		r.t.Fatalf("the tunnel didn't end\n%s", buf[:runtime.Stack(buf, true)])
		panic("unreachable")
	}
}

// finishWith expects an end for the cause want, nil for one in good order.
func (r *rig) finishWith(want error) end {
	r.t.Helper()
	e := r.finish()
	if !errors.Is(e.err, want) || (want == nil) != (e.err == nil) {
		r.t.Fatalf("tunnel ended with %v, want %v", e.err, want)
	}
	return e
}

func closeWrite(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}
