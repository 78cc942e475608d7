package wire

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// epoch makes times small: they are durations since the program began.
var epoch = time.Now()

// Now is the time since the program began, by the monotonic clock.
func Now() time.Duration { return time.Since(epoch) }

// States of a connection, in watch.state.
const (
	busy    int32 = iota
	idle          // in a pool, closed when its limit passes
	waiting       // a client whose request waits for an upstream
	gone          // a client that left while it waited
	shut          // closed while idle
)

// beat is how often a waiting client is looked after.
const beat = time.Second

// Patience is given to a waiting client that only ended its sending side: it
// may have said all it has to say, and listen for the answer.
const Patience = 4 * time.Second

// watch is the clock of a connection: one timer, which is not moved each time a
// limit is set but looks at the limits when it fires (lazy deadlines).
type watch struct {
	read, write atomic.Int64 // when the present waits end; 0 is never
	armed       atomic.Int64 // when the timer fires; 0 is not armed
	halved      atomic.Int64 // since when a waiting client has ended its side
	patience    atomic.Int64 // how long it may
	sending     atomic.Bool  // the waiting client still sends, to another goroutine
	state       atomic.Int32
	passed      atomic.Bool // a limit has passed, or Abort was called

	mu     sync.Mutex // guards timer, closed and the deadlines of the connection
	timer  *time.Timer
	closed bool

	onGone, onIdle func()
}

// OnGone sets what is called, from another goroutine, when the client leaves
// between BeginWait and EndWait. Set it before the first wait.
func (c *Conn) OnGone(f func()) { c.watch.onGone = f }

// OnIdle sets what is called, from another goroutine, after the connection was
// closed because it was parked for too long. Set it before the first Park.
func (c *Conn) OnIdle(f func()) { c.watch.onIdle = f }

// LimitRead bounds reading: d after now, a wait ends with
// os.ErrDeadlineExceeded. Zero or less lifts the bound.
func (c *Conn) LimitRead(now, d time.Duration) { c.setLimit(&c.watch.read, now, d) }

// LimitWrite bounds writing likewise.
func (c *Conn) LimitWrite(now, d time.Duration) { c.setLimit(&c.watch.write, now, d) }

func (c *Conn) setLimit(limit *atomic.Int64, now, d time.Duration) {
	if d <= 0 {
		limit.Store(0)
		return
	}
	limit.Store(int64(now + d))
	c.arm(now, now+d)
}

// Aborted tells whether a limit has passed or Abort was called since the
// connection was made or revived.
func (c *Conn) Aborted() bool { return c.watch.passed.Load() }

// LimitReadOnce bounds reading like LimitRead, unless it is bounded already. It
// is for a goroutine that does not read here itself.
func (c *Conn) LimitReadOnce(now, d time.Duration) {
	if d > 0 && c.watch.read.CompareAndSwap(0, int64(now+d)) {
		c.arm(now, now+d)
	}
}

// Abort ends every wait on the connection, now and later, until Revive.
func (c *Conn) Abort() {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	c.watch.passed.Store(true)
	_ = c.nc.SetDeadline(epoch)
}

// Cut is Abort for a client, and for what it waits for.
func (c *Conn) Cut() {
	c.Abort()
	if c.watch.state.CompareAndSwap(waiting, gone) {
		c.watch.onGone()
	}
}

// Revive lifts what Abort or a passed limit did, so that the other side can
// still be told.
func (c *Conn) Revive() {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	c.watch.read.Store(0)
	c.watch.write.Store(0)
	if c.watch.passed.Swap(false) {
		_ = c.nc.SetDeadline(time.Time{})
	}
}

// BeginWait says that the client waits for an upstream from now on: should it
// leave, or end its side for longer than patience, the function given to OnGone
// is called. Called again, it starts the patience anew.
func (c *Conn) BeginWait(now, patience time.Duration) {
	c.watch.halved.Store(0)
	c.watch.patience.Store(int64(patience))
	c.watch.state.Store(waiting)
	c.arm(now, now+beat)
}

// Sending says whether another goroutine reads from the waiting client: then
// that one learns of the end of its side.
func (c *Conn) Sending(yes bool) { c.watch.sending.Store(yes) }

// EndWait ends that, and tells whether the client is still there.
func (c *Conn) EndWait() bool { return c.watch.state.CompareAndSwap(waiting, busy) }

// Park makes the connection idle: it is closed d after now if nobody unparks
// it, and OnIdle is called.
func (c *Conn) Park(now, d time.Duration) {
	c.watch.write.Store(0)
	c.LimitRead(now, d)
	c.watch.state.Store(idle)
}

// Unpark takes the connection back and tells whether it is still open.
func (c *Conn) Unpark() bool { return c.watch.state.CompareAndSwap(idle, busy) }

// Discard closes the connection if it is parked, and tells so.
func (c *Conn) Discard() bool {
	if !c.watch.state.CompareAndSwap(idle, shut) {
		return false
	}
	_ = c.Close()
	return true
}

// arm makes the timer fire at the given time or before.
func (c *Conn) arm(now, at time.Duration) {
	w := &c.watch
	if a := w.armed.Load(); a != 0 && a <= int64(at) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return
	case w.timer == nil:
		w.timer = time.AfterFunc(at-now, c.tick)
	default:
		w.timer.Reset(at - now)
	}
	w.armed.Store(int64(at))
}

// Detach ends the engine's part in a connection that goes on without it: no
// limit holds any more.
func (c *Conn) Detach() net.Conn {
	c.watch.stop()
	return c.nc
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// tick runs when the timer fires.
func (c *Conn) tick() {
	w := &c.watch
	now := Now()
	w.armed.Store(0)
	next := earlier(w.read.Load(), w.write.Load())
	if next != 0 && next <= int64(now) {
		if w.state.Load() == idle {
			if c.Discard() && w.onIdle != nil {
				w.onIdle()
			}
			return
		}
		c.expire(next)
		next = 0
	}
	if w.state.Load() == waiting {
		if c.left(now) && w.state.CompareAndSwap(waiting, gone) {
			w.onGone()
			return
		}
		next = earlier(next, int64(now+beat))
	} else {
		w.halved.Store(0)
	}
	if next != 0 {
		c.arm(now, time.Duration(next))
	}
}

// expire ends the waits whose limit has passed, unless the limit was moved
// while the timer fired.
func (c *Conn) expire(limit int64) {
	if earlier(c.watch.read.Load(), c.watch.write.Load()) == limit {
		c.Abort()
	}
}

// earlier is the lesser of two times of which 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// TCP states of Linux, as TCP_INFO tells them.
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// left tells whether a waiting client is gone: its connection was reset, or it
// ended its side some time ago. Bytes that wait unread do not hide that.
func (c *Conn) left(now time.Duration) bool {
	switch tcpState(c.nc) {
	case tcpClose:
		return true
	case tcpCloseWait:
		if c.watch.sending.Load() {
			return false
		}
		c.watch.halved.CompareAndSwap(0, int64(now))
		return int64(now)-c.watch.halved.Load() >= c.watch.patience.Load()
	}
	c.watch.halved.Store(0)
	return false
}

// tcpState is the state of the TCP connection under nc, or 0.
func tcpState(nc net.Conn) (state int) {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		v, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		if err == nil {
			state = v & 0xff // tcpi_state is the first byte of tcp_info
		}
	})
	return state
}
