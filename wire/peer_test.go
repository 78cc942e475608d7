package wire_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/wire"
)

// patience bounds every wait of this package. It is long, because the machine
// may be busy; nothing passes because of it.
const patience = 20 * time.Second

// maxHead is the limit of heads where a test has no other.
const maxHead = 64 << 10

// script is a connection in memory whose other side sends pieces, one a read,
// and then ends. It has no readiness, like TLS.
type script struct {
	pieces [][]byte
	end    error  // what reads return in the end; io.EOF when nil
	wrote  []byte // what was written, where keep is set
	keep   bool
}

func (s *script) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 && len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	if len(s.pieces) == 0 {
		if s.end != nil {
			return 0, s.end
		}
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	s.pieces[0] = s.pieces[0][n:]
	return n, nil
}

// unread is how much was not read yet.
func (s *script) unread() (n int) {
	for _, p := range s.pieces {
		n += len(p)
	}
	return n
}

func (s *script) Write(p []byte) (int, error) {
	if s.keep {
		s.wrote = append(s.wrote, p...)
	}
	return len(p), nil
}

func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return nil }
func (*script) RemoteAddr() net.Addr             { return nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

// whole delivers in as one piece.
func whole(in string) *script { return &script{pieces: [][]byte{[]byte(in)}} }

// bytewise delivers one byte a read.
func bytewise(in string) *script {
	s := &script{}
	for i := range len(in) {
		s.pieces = append(s.pieces, []byte{in[i]})
	}
	return s
}

// cut delivers pieces of random sizes up to most.
func cut(r *rand.Rand, in string, most int) *script {
	s := &script{}
	for in != "" {
		n := min(1+r.IntN(most), len(in))
		s.pieces = append(s.pieces, []byte(in[:n]))
		in = in[n:]
	}
	return s
}

// seeded is a source of numbers whose seed is logged.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// lines joins the lines of a head, and ends it.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// loopback makes a TCP connection over the loopback: both ends, closed when
// the test ends.
func loopback(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// open makes a Conn that is closed when the test ends.
func open(t testing.TB, nc net.Conn) *wire.Conn {
	c := wire.New(nc, maxHead)
	t.Cleanup(func() { c.Close() })
	return c
}

// bounded is open with a limit on every wait, for connections whose other side
// might keep a broken engine waiting for ever.
func bounded(t testing.TB, nc net.Conn) *wire.Conn {
	c := open(t, nc)
	c.LimitRead(clock.Now(), patience)
	c.LimitWrite(clock.Now(), patience)
	return c
}

// send writes to a peer.
func send(t testing.TB, nc net.Conn, s string) {
	t.Helper()
	if _, err := nc.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

// status is that of the refusal which err is, 0 for anything else.
func status(err error) int {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Status()
	}
	return 0
}

// poll waits until cond holds and fails the test when it never does.
func poll(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// receive takes one value from ch or fails the test.
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

// quiet fails the test when ch brings something that is there already.
func quiet[T any](t testing.TB, what string, ch <-chan T) {
	t.Helper()
	select {
	case v := <-ch:
		t.Fatalf("%s: %v", what, v)
	default:
	}
}

func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// drip writes one byte after another, slowly, until it is stopped.
func drip(nc net.Conn, s string, stop <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range len(s) {
		if _, err := nc.Write([]byte{s[i]}); err != nil {
			return
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}
