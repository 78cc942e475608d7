package relay

import (
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// farewell bounds what is left to do after a reset: to deliver what was
	// readable, and to wait until it has left our socket.
	farewell = 2 * time.Second
	// deaf is how long a connection has for heeding a deadline.
	deaf = time.Second
)

// tunnel is two connections and the two flows between them. It is kept small:
// thousands are idle.
type tunnel struct {
	set        *Set
	prev, next *tunnel // neighbours in set
	up, down   flow    // from client to server, and back
	bounds     Options
	done       func(Stats, error)
	start      time.Time
	stirred    atomic.Int64 // when bytes last moved, ns since start

	state   sync.Mutex // guards what follows
	timer   *time.Timer
	running int8          // flows that haven't ended
	half    bool          // the first end has been passed on
	ending  bool          // cause is final, and the flows have been told to end
	closed  bool          // finish has taken over
	alive   bool          // keep-alive is on
	first   Side          // to end or to fail
	cause   error         // why it ends; nil in good order
	reset   *net.TCPConn  // the end to reset, as the other has failed
	late    *flow         // whose good end is to be passed on before that
	until   time.Duration // end of the farewell, since start
	pause   time.Duration // between two looks at unsent bytes
	unsent  int           // seen at the last look
}

func newTunnel(s *Set, client, server net.Conn, o Options, done func(Stats, error)) *tunnel {
	t := &tunnel{set: s, bounds: o, done: done, start: time.Now(), running: 2}
	c, v := readiness(client), readiness(server)
	t.up.join(server, client, v, c)
	t.down.join(client, server, c, v)
	t.up.progress = t.stir
	t.down.progress = t.up.progress
	t.up.left, t.down.left = -1, -1
	_ = client.SetDeadline(time.Time{}) // what fails here fails again in a flow
	_ = server.SetDeadline(time.Time{})
	return t
}

// ends are the client and the server.
func (t *tunnel) ends() [2]net.Conn { return [...]net.Conn{t.up.src, t.down.src} }

// begin puts the tunnel into its set and starts it. Who finds it there and cuts
// it waits until it has begun.
func (t *tunnel) begin() (shut bool) {
	t.state.Lock()
	defer t.state.Unlock()
	shut = t.set.add(t)
	t.timer = time.AfterFunc(t.wait(0), t.tick)
	go t.clientToServer()
	go t.serverToClient()
	return shut
}

func (t *tunnel) clientToServer() {
	defer t.ended(&t.up)
	if t.bounds.Look == nil || t.looked() {
		t.up.run()
	}
	t.passEnd(&t.up)
}

func (t *tunnel) serverToClient() {
	defer t.ended(&t.down)
	t.down.run()
	t.passEnd(&t.down)
}

// stir notes that bytes have moved; their count is the flow's.
func (t *tunnel) stir(int) { t.stirred.Store(int64(t.now())) }

func (t *tunnel) now() time.Duration { return time.Since(t.start) }

// passEnd tells f.dst that f.src will send no more. An end that can't be told
// is closed, and the tunnel with it.
func (t *tunnel) passEnd(f *flow) {
	if !t.halfClosed(f) {
		return
	}
	if !closeWrite(f) {
		t.cut(nil)
	}
}

func closeWrite(f *flow) bool {
	half, ok := f.dst.(interface{ CloseWrite() error })
	if ok {
		_ = half.CloseWrite() // fails where the other flow does
	}
	return ok
}

// halfClosed is true if f came to a good end and the other flow goes on: after
// the second end follows close, which passes it on.
//
// What looks like a good end may have been a reset that the other flow met as
// it wrote to the same socket, and is about to report: it decides then. The
// lock keeps it from closing its half before we have looked.
func (t *tunnel) halfClosed(f *flow) bool {
	t.state.Lock()
	defer t.state.Unlock()
	t.note(f)
	if f.err != nil || t.ending || t.half {
		return false
	}
	if s := socket(f.src); s != nil && told(s) {
		return false
	}
	t.half = true
	return true
}

// note keeps in mind which side ended first: what src said last is the end of
// src, and what couldn't be written is that of dst. It comes before the end is
// passed on, which the other side may answer by ending, too.
func (t *tunnel) note(f *flow) {
	if t.ending || t.first != None {
		return
	}
	if w := (*WriteError)(nil); (f == &t.up) == errors.As(f.err, &w) {
		t.first = Server
		return
	}
	t.first = Client
}

// ended is the last act of a flow's goroutine.
func (t *tunnel) ended(f *flow) {
	if v := recover(); v != nil {
		f.err = panicked(v)
	}
	f.release()
	if !t.leave(f) {
		return
	}
	if t.late != nil && t.late.err == nil {
		_ = guard(func() { closeWrite(t.late) })
	}
	t.finish()
}

// leave takes f out, and is true for the second of the two.
func (t *tunnel) leave(f *flow) bool {
	t.state.Lock()
	defer t.state.Unlock()
	t.running--
	if f.err != nil && !t.ending {
		t.breakOff(f)
	}
	if !t.ending && t.running > 0 {
		t.stir(0)
		t.timer.Reset(t.wait(t.now()))
	}
	return t.running == 0
}

// breakOff ends the tunnel because f failed. If reading did, src is dead: what
// it sent has been delivered, and nothing can be delivered to it. If writing
// did, what dst sent before may still be readable, and has until the end of the
// farewell to arrive; and if the error is EPIPE, dst has ended well before it
// was reset, which is to arrive too.
func (t *tunnel) breakOff(f *flow) {
	way, other := "client to server", &t.down
	if f == &t.down {
		way, other = "server to client", &t.up
	}
	t.ending, t.cause = true, fmt.Errorf("%s: %w", way, f.err)
	if errors.Is(f.err, ErrPanic) {
		t.first = None
	}
	t.until = t.now() + farewell
	w := (*WriteError)(nil)
	if !errors.As(f.err, &w) {
		t.reset = socket(f.dst)
		t.wake(past())
		return
	}
	t.reset = socket(f.src)
	if errors.Is(w, syscall.EPIPE) && !t.half {
		t.late = other
	}
	t.wake(t.start.Add(t.until))
}

// cut ends the tunnel now, whatever is unsent.
func (t *tunnel) cut(cause error) {
	t.state.Lock()
	defer t.state.Unlock()
	t.cutLocked(cause)
}

func (t *tunnel) cutLocked(cause error) {
	if t.closed {
		return
	}
	if !t.ending {
		t.ending, t.cause = true, cause
		if cause != nil {
			t.first = None
		}
	}
	t.until = 0
	t.wake(past())
}

// wake makes the flows end, by deadlines: closing would wait for them. The timer
// closes what heeds no deadline.
func (t *tunnel) wake(deadline time.Time) {
	for _, c := range t.ends() {
		_ = guard(func() { _ = c.SetDeadline(deadline) })
	}
	if t.running == 0 {
		t.timer.Reset(0)
		return
	}
	t.timer.Reset(max(0, t.until-t.now()) + deaf)
}

// past is a deadline that has passed.
func past() time.Time { return time.Unix(1, 0) }

// finish closes the tunnel once both flows have ended and nothing is left to
// wait for.
func (t *tunnel) finish() {
	if !t.settled() {
		return
	}
	err := guard(t.close)
	if t.cause != nil {
		err = t.cause
	}
	stats := Stats{FromClient: t.up.moved, FromServer: t.down.moved, Duration: t.now(), Ended: t.first}
	var broken error
	if t.done != nil {
		broken = guard(func() { t.done(stats, err) })
	}
	t.set.remove(t, broken)
}

// settled is true once. A reset overtakes what is unsent and makes the kernel
// drop it, so that has to leave first.
func (t *tunnel) settled() bool {
	t.state.Lock()
	defer t.state.Unlock()
	switch {
	case t.closed:
		return false
	case t.reset != nil && t.now() < t.until && unsent(t.reset) > 0:
		t.pause = min(max(2*t.pause, time.Millisecond), 100*time.Millisecond)
		t.timer.Reset(t.pause)
		return false
	}
	t.closed = true
	t.timer.Stop()
	return true
}

// close closes both ends. A tunnel that didn't end in good order doesn't say
// close_notify, which means that all was sent (RFC 8446 section 6.1).
func (t *tunnel) close() {
	for _, c := range t.ends() {
		if s := socket(c); s != nil && t.cause != nil {
			if s == t.reset {
				_ = s.SetLinger(0)
			}
			_ = s.Close()
		}
		_ = c.Close()
	}
}

// closeDeaf closes what may not have heeded its deadline. Sockets do, and their
// Close would wait for a flow that a deaf end keeps.
func (t *tunnel) closeDeaf() {
	for _, f := range [...]*flow{&t.up, &t.down} {
		if f.in == nil {
			_ = f.src.Close()
		}
	}
}

// socket is the connection whose options can be set; nil if it isn't TCP.
func socket(c net.Conn) *net.TCPConn {
	switch c := c.(type) {
	case *net.TCPConn:
		return c
	case interface{ NetConn() net.Conn }:
		return socket(c.NetConn())
	}
	return nil
}

// guard calls f, which is not of this package, and returns its panic.
func guard(f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	f()
	return nil
}

func panicked(v any) error { return fmt.Errorf("%w: %v\n%s", ErrPanic, v, debug.Stack()) }
