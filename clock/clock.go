// Package clock ends the waits of a connection: those that pass their limit,
// that of a client which has left, and the idle time of a connection that
// nobody needs.
//
// A Clock has one timer, which is not moved each time a limit is set but looks
// at the limits when it fires (lazy deadlines): setting one costs two atomic
// operations.
package clock

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// epoch makes times small: they are durations since the program began.
var epoch = time.Now()

// past is a deadline that ends a wait at once.
var past = time.Unix(1, 0)

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

// Clock is the clock of one connection. Its methods may be called from any
// goroutine; Start must be called first.
type Clock struct {
	nc net.Conn

	read, write atomic.Int64 // when the present waits end; 0 is never
	armed       atomic.Int64 // when the timer fires; 0 is not armed
	halved      atomic.Int64 // since when a waiting client has ended its side
	patience    atomic.Int64 // how long it may
	sending     atomic.Bool  // the waiting client still sends, to another goroutine
	state       atomic.Int32
	stall       atomic.Int64 // how long the last bound on writing was
	passed      atomic.Bool  // a limit has passed, or Abort was called
	aborted     atomic.Bool  // writing is over too
	ticking     atomic.Int32 // ticks at work

	mu       sync.Mutex // guards what follows, and the deadlines of the connection
	timer    *time.Timer
	closed   bool
	released bool
	extended int64 // the limit on writing as the last look at the peer moved it
	acked    int64 // bytes the peer had taken then
	still    int   // looks without a change

	onGone, onIdle func()
}

// Start sets the connection that the clock is for. A clock that is released may
// be started again, for another one.
func (c *Clock) Start(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc, c.closed, c.released = nc, false, false
	for _, n := range []*atomic.Int64{&c.read, &c.write, &c.armed, &c.halved, &c.patience} {
		n.Store(0)
	}
	c.sending.Store(false)
	c.passed.Store(false)
	c.aborted.Store(false)
	c.state.Store(busy)
}

// OnGone sets what is called, from another goroutine, when the client leaves
// between BeginWait and EndWait. Set it before the first wait.
func (c *Clock) OnGone(f func()) { c.onGone = f }

// OnIdle sets what is called, from another goroutine, after the connection was
// closed because it was parked for too long. Set it before the first Park.
func (c *Clock) OnIdle(f func()) { c.onIdle = f }

// LimitRead bounds reading: d after now, a wait ends with
// os.ErrDeadlineExceeded. Zero or less lifts the bound.
func (c *Clock) LimitRead(now, d time.Duration) { c.setLimit(&c.read, now, d) }

// LimitWrite bounds a standstill of writing to d: while the peer takes bytes,
// however slowly, or none wait for it, there is none. It is looked for four
// times in d, so that a peer which takes nothing is given a quarter more.
func (c *Clock) LimitWrite(now, d time.Duration) {
	c.stall.Store(int64(d))
	c.setLimit(&c.write, now, d/looks)
}

// looks is how often a write is looked at within its limit.
const looks = 4

func (c *Clock) setLimit(limit *atomic.Int64, now, d time.Duration) {
	if d <= 0 {
		limit.Store(0)
		return
	}
	limit.Store(int64(now + d))
	c.arm(now + d)
}

// Aborted tells whether a limit has passed or Abort was called since the
// connection was made or revived.
func (c *Clock) Aborted() bool { return c.passed.Load() }

// LimitReadOnce bounds reading like LimitRead, unless it is bounded already. It
// is for a goroutine that does not read here itself.
func (c *Clock) LimitReadOnce(now, d time.Duration) {
	if d > 0 && c.read.CompareAndSwap(0, int64(now+d)) {
		c.arm(now + d)
	}
}

// Abort ends every wait on the connection, now and later, until Revive.
func (c *Clock) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return // the connection may be another's by now
	}
	c.passed.Store(true)
	c.aborted.Store(true)
	_ = c.nc.SetDeadline(past)
}

// endRead ends the waits for bytes. What is on its way to the peer is not
// touched: an answer does not suffer from a body that does not come. But TLS may
// wait to write where it reads, to a peer that asks for new keys and takes none.
func (c *Clock) endRead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.passed.Store(true)
	if isOver(c.nc) {
		_ = c.nc.SetDeadline(past)
		return
	}
	_ = c.nc.SetReadDeadline(past)
}

// Cut is Abort for a client, and for what it waits for.
func (c *Clock) Cut() {
	c.Abort()
	c.leave()
}

// Revive lifts what Abort or a passed limit did, so that the other side can
// still be told.
func (c *Clock) Revive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.Store(0)
	c.write.Store(0)
	c.aborted.Store(false)
	if c.passed.Swap(false) {
		_ = c.nc.SetDeadline(time.Time{})
	}
}

// BeginWait says that the client waits for an upstream from now on: should it
// leave, or end its side for longer than patience, the function given to OnGone
// is called. Called again, it starts the patience anew.
func (c *Clock) BeginWait(now, patience time.Duration) {
	c.halved.Store(0)
	c.patience.Store(int64(patience))
	if !c.state.CompareAndSwap(busy, waiting) && c.state.Load() == gone {
		return // that stays so
	}
	if c.aborted.Load() {
		c.leave() // cut between two waits
		return
	}
	c.arm(now + beat)
}

// leave tells of a waiting client that it is gone.
func (c *Clock) leave() {
	if c.state.CompareAndSwap(waiting, gone) {
		c.onGone()
	}
}

// Sending says whether another goroutine reads from the waiting client: then
// that one learns of the end of its side.
func (c *Clock) Sending(yes bool) { c.sending.Store(yes) }

// EndWait ends that, and tells whether the client is still there.
func (c *Clock) EndWait() bool { return c.state.CompareAndSwap(waiting, busy) }

// Park makes the connection idle: it is closed d after now if nobody unparks
// it, and OnIdle is called.
func (c *Clock) Park(now, d time.Duration) {
	c.write.Store(0)
	c.state.Store(idle) // first: a limit that passes at once must find it so
	c.LimitRead(now, d)
}

// Unpark takes the connection back and tells whether it is still open.
func (c *Clock) Unpark() bool { return c.state.CompareAndSwap(idle, busy) }

// Discard closes the connection if it is parked, and tells so.
func (c *Clock) Discard() bool {
	if !c.state.CompareAndSwap(idle, shut) {
		return false
	}
	c.Stop()
	Close(c.nc)
	return true
}

// Close closes a connection without waiting. TLS says goodbye first, for which it
// gives a peer that does not read five seconds.
func Close(nc net.Conn) {
	if isOver(nc) && unsent(nc) > 0 {
		go closeLate(nc)
		return
	}
	_ = nc.Close()
}

// goodbye bounds what TLS may still have to say.
const goodbye = 5 * time.Second

// closeLate is the goroutine of a goodbye that may take a while.
func closeLate(nc net.Conn) {
	_ = nc.SetDeadline(time.Now().Add(goodbye)) // also for a read that is waiting to write
	_ = nc.Close()
}

// isOver tells whether a connection is TLS over another one.
func isOver(nc net.Conn) bool {
	_, ok := nc.(interface{ NetConn() net.Conn })
	return ok
}

// arm makes the timer fire at the given time or before.
func (c *Clock) arm(at time.Duration) {
	if c.armedBy(at) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.armedBy(at) {
		return
	}
	c.armed.Store(int64(at)) // first: the tick may come at once, and clears it
	after := at - Now()      // at was counted from a time that may be long past
	if c.timer == nil {
		c.timer = time.AfterFunc(after, c.tick)
		return
	}
	c.timer.Reset(after)
}

func (c *Clock) armedBy(at time.Duration) bool {
	a := c.armed.Load()
	return a != 0 && a <= int64(at)
}

// Released tells whether Stop was called, and the timer neither fires nor is
// still at work: then the clock may be started again.
func (c *Clock) Released() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.released
}

// Stop stops the clock: no limit holds any more.
func (c *Clock) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.released = (c.timer == nil || c.timer.Stop()) && c.ticking.Load() == 0
	}
}

// tick runs when the timer fires.
func (c *Clock) tick() {
	c.ticking.Add(1) // before the timer may be armed again
	defer c.ticking.Add(-1)
	c.armed.Store(0)
	now := Now()
	if passed(&c.read, now) {
		if c.state.Load() == idle {
			if c.Discard() && c.onIdle != nil {
				c.onIdle()
			}
			return
		}
		c.endRead()
	}
	if at := c.write.Load(); at != 0 && at <= int64(now) && !c.moving(at, now) && passed(&c.write, now) {
		c.Abort()
	}
	next := earlier(c.read.Load(), c.write.Load())
	if c.state.Load() == waiting {
		if c.left(now) {
			c.leave()
			return
		}
		next = earlier(next, int64(now+beat))
	} else {
		c.halved.Store(0)
	}
	if next != 0 {
		c.arm(time.Duration(next))
	}
}

// passed tells whether a limit has passed, and lifts it, unless it was moved
// meanwhile.
func passed(limit *atomic.Int64, now time.Duration) bool {
	at := limit.Load()
	return at != 0 && at <= int64(now) && limit.CompareAndSwap(at, 0)
}

// moving tells whether the write that is due for a look may go on, and says when
// to look again. The kernel says that a socket has room only when a good part
// of its buffer is free, which with a slow peer takes minutes.
func (c *Clock) moving(at int64, now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, taken, most := unsent(c.nc), acked(c.nc), looks
	if n < 0 {
		most-- // nothing to compare with: by time alone
	}
	switch {
	case c.extended != at, n == 0, taken != c.acked:
		c.still = 0 // a new write, or nobody to wait for, or it moves
	default:
		c.still++
	}
	if c.still >= most {
		return false
	}
	next := int64(now) + c.stall.Load()/looks
	if c.write.CompareAndSwap(at, next) {
		c.extended, c.acked = next, taken
	}
	return true
}

// earlier is the lesser of two times of which 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// left tells whether a waiting client is gone: its connection was reset, or it
// ended its side some time ago. Bytes that wait unread do not hide that.
func (c *Clock) left(now time.Duration) bool {
	switch tcpState(c.nc) {
	case tcpClose:
		return true
	case tcpCloseWait:
		if c.sending.Load() {
			return false
		}
		c.halved.CompareAndSwap(0, int64(now))
		return int64(now)-c.halved.Load() >= c.patience.Load()
	}
	c.halved.Store(0)
	return false
}
