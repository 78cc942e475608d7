package wire_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/wire"
)

// waiter is a client that waits for an answer.
type waiter struct {
	conn *wire.Conn
	far  *net.TCPConn
	gone chan time.Duration // when it was found to have left
}

func wait(t *testing.T, patience time.Duration) *waiter {
	near, far := loopback(t)
	w := &waiter{conn: open(t, near), far: far, gone: make(chan time.Duration, 10)}
	w.conn.OnGone(func() { w.gone <- clock.Now() })
	w.conn.BeginWait(clock.Now(), patience)
	return w
}

// leaves wants the client to be found gone, and the wait to end so.
func (w *waiter) leaves(t *testing.T) {
	t.Helper()
	receive(t, "the client is gone", w.gone)
	if w.conn.EndWait() {
		t.Error("the client is there after it was gone")
	}
	if w.conn.Aborted() {
		t.Error("aborted, though the other side may still be told")
	}
}

// TestClientThatLeavesIsNoticed, though nothing is read from it meanwhile.
func TestClientThatLeavesIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		patience time.Duration
		leave    func(far *net.TCPConn)
	}{
		"closed":                   {0, func(far *net.TCPConn) { far.Close() }},
		"closed, bytes unread":     {0, func(far *net.TCPConn) { far.Write([]byte(question)); far.Close() }},
		"reset":                    {time.Hour, func(far *net.TCPConn) { far.SetLinger(0); far.Close() }},
		"reset, bytes unread":      {time.Hour, func(far *net.TCPConn) { far.Write([]byte(question)); far.SetLinger(0); far.Close() }},
		"reset after half-closed":  {time.Hour, func(far *net.TCPConn) { far.CloseWrite(); far.SetLinger(0); far.Close() }},
		"half-closed, no patience": {0, func(far *net.TCPConn) { far.CloseWrite() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wait(t, c.patience)
			c.leave(w.far)
			w.leaves(t)
		})
	}
}

// TestHalfClosedClientIsGivenPatience: it may have said all it has to say, and
// listen.
func TestHalfClosedClientIsGivenPatience(t *testing.T) {
	t.Parallel()
	w := wait(t, clock.Patience)
	began := clock.Now()
	w.far.CloseWrite()
	if at := receive(t, "the client is gone", w.gone); at-began < clock.Patience {
		t.Errorf("gone after %v, patience is %v", at-began, clock.Patience)
	}
	if w.conn.EndWait() {
		t.Error("the client is there after it was gone")
	}
}

// TestPatienceBeginsAnew with each BeginWait: a client that is being answered,
// slowly, has not left.
func TestPatienceBeginsAnew(t *testing.T) {
	t.Parallel()
	const patience = 1500 * time.Millisecond
	w := wait(t, patience)
	w.far.CloseWrite()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for began := clock.Now(); clock.Now()-began < 3*patience; <-tick.C {
		w.conn.BeginWait(clock.Now(), patience)
	}
	quiet(t, "gone", w.gone)
	w.leaves(t)
}

// TestClientThatIsServedIsNotLookedAfter: a control waits for as long, and is
// found to have left.
func TestClientThatIsServedIsNotLookedAfter(t *testing.T) {
	t.Parallel()
	served, control := wait(t, 0), wait(t, time.Second)
	if !served.conn.EndWait() {
		t.Fatal("gone already")
	}
	served.far.Close()
	control.far.Close()
	control.leaves(t)
	quiet(t, "gone, though it was served", served.gone)
}

// TestClientThatSendsIsWatchedByItsReader: the end of its side is for who reads
// from it; a reset is not.
func TestClientThatSendsIsWatchedByItsReader(t *testing.T) {
	t.Parallel()
	sending, control := wait(t, 0), wait(t, time.Second)
	sending.conn.Sending(true)
	sending.far.CloseWrite()
	control.far.CloseWrite()
	control.leaves(t)
	quiet(t, "gone, though it was sending", sending.gone)
	sending.conn.Sending(false)
	sending.leaves(t)

	w := wait(t, time.Hour)
	w.conn.Sending(true)
	w.far.SetLinger(0)
	w.far.Close()
	w.leaves(t)
}

// TestClientOverTLSIsLookedAfter by the connection underneath.
func TestClientOverTLSIsLookedAfter(t *testing.T) {
	t.Parallel()
	near, far := tlsPair(t)
	c := open(t, near)
	gone := make(chan struct{}, 1)
	c.OnGone(func() { gone <- struct{}{} })
	c.BeginWait(clock.Now(), 0)
	far.NetConn().Close()
	receive(t, "the client is gone", gone)
}

// TestOneOfCutAndLeavingIsTold: however a waiting client ends, it is told once,
// or EndWait was first.
func TestOneOfCutAndLeavingIsTold(t *testing.T) {
	t.Parallel()
	for range 200 {
		near, _ := loopback(t)
		c := wire.New(near, maxHead)
		var gone atomic.Int32
		c.OnGone(func() { gone.Add(1) })
		c.BeginWait(clock.Now(), 0)
		cut := make(chan struct{}, 2)
		for range 2 {
			go func() { c.Cut(); cut <- struct{}{} }()
		}
		there := c.EndWait()
		receive(t, "Cut", cut)
		receive(t, "Cut", cut)
		if n := gone.Load(); there != (n == 0) || n > 1 {
			t.Fatalf("there %v, gone %d times", there, n)
		}
		c.Close()
	}
}
