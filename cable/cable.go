// Package cable is an HTTP/2 connection (RFC 9113) to a parent whose streams are
// tunnels: it asks for them by CONNECT and carries their bytes. What an answer
// means, and who is to blame for a failure, is for others.
package cable

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"viaduct/clock"
	"viaduct/fault"
)

// Guests are the tunnels that a parent is expected to take on one connection,
// until it says how many.
const Guests = 100

// Bounds of HTTP/2. What a tunnel has not read is in our memory, up to its
// window. That of the connection is opened as bytes arrive, not as they are
// read: no tunnel stops another.
const (
	streamWindow = 512 << 10
	cableWindow  = 16 << 20
	frameSize    = 16 << 10
	mostUnsent   = 64 << 10 // bytes of frames that tunnels may have ready to be written
	mostReplies  = 1 << 20  // the same, with answers to what the parent has sent
	mostWindow   = 1<<31 - 1
	mostID       = 1<<31 - 1

	maxHead    = 16 << 10 // bytes of the head of an answer
	maxInterim = 8        // answers before it
)

var (
	errSilent = fmt.Errorf("nothing was heard of it: %w", syscall.ETIMEDOUT)
	errFlood  = errors.New("it asks without taking answers")
	errOver   = fmt.Errorf("closed as nobody needed it: %w", io.ErrUnexpectedEOF)
)

// Bounds are how long a connection waits, and for what.
type Bounds struct {
	Quiet time.Duration // after so much silence the parent is asked whether it lives
	Pong  time.Duration // that it has for an answer, and for taking what is written
	Idle  time.Duration // that the connection is kept without tunnels
}

// Request is what a CONNECT says. Its texts are written as they are.
type Request struct {
	Target string // host:port
	Login  string // the value of Proxy-Authorization; "" is none
	Via    string // the value of Via; "" is none
}

// Cable is an HTTP/2 connection, for several goroutines. One of its own reads,
// one writes what the others leave in out: so nobody has to wait for the parent
// but with a bound.
type Cable struct {
	nc     net.Conn
	bounds Bounds
	frames *http2.Framer // reads for listen, writes to out

	mu      sync.Mutex // guards what follows
	more    sync.Cond  // there is something in out, or nothing will ever be
	out     outbox
	taken   int           // bytes that came since the window was opened
	window  int64         // bytes that the parent takes
	dry     time.Duration // since when somebody waits for more of that; 0: nobody does
	opening int64         // the same, of a new stream
	most    uint32        // streams that the parent wants at a time
	next    uint32        // identifier of the next stream
	streams map[uint32]*Stream
	blocked []*Stream // those that wait for room or the window

	block   bytes.Buffer // an encoded head
	encoder *hpack.Encoder

	heard   time.Duration // when something came
	pinged  time.Duration // when an answer was asked for
	asked   bool          // and has not come
	doubted bool          // for too long to trust it with new tunnels
	idle    time.Duration // since when there are no streams
	timer   *time.Timer

	leaving bool // it gets no new streams, and ends with the last
	ending  bool // nothing is to be written after what is in out
	dead    error
}

// outbox keeps frames that are to be written.
type outbox []byte

func (o *outbox) Write(b []byte) (int, error) {
	*o = append(*o, b...)
	return len(b), nil
}

// New exchanges the first words with a parent on nc, by the deadline that nc has,
// so that it is known how many streams there may be. Before Start nc is the
// caller's, and so it stays after an error.
func New(nc net.Conn, b Bounds) (*Cable, error) {
	now := clock.Now()
	c := &Cable{
		nc: nc, bounds: b, window: 1<<16 - 1, opening: 1<<16 - 1, most: Guests, next: 1,
		streams: make(map[uint32]*Stream), heard: now, idle: now,
	}
	c.more.L = &c.mu
	c.encoder = hpack.NewEncoder(&c.block)
	c.frames = http2.NewFramer(&c.out, bufio.NewReaderSize(nc, frameSize))
	c.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.frames.MaxHeaderListSize = maxHead
	c.frames.SetMaxReadFrameSize(frameSize)
	c.frames.SetReuseFrames()
	if err := c.greet(); err != nil {
		return nil, err
	}
	return c, nil
}

// greet says and hears the preface (RFC 9113 section 3.4).
func (c *Cable) greet() error {
	_, _ = c.out.Write([]byte(http2.ClientPreface))
	_ = c.frames.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHead},
	)
	_ = c.frames.WriteWindowUpdate(0, cableWindow)
	if _, err := c.nc.Write(c.out); err != nil {
		return err
	}
	c.out = c.out[:0]
	f, err := c.frames.ReadFrame()
	if err != nil {
		return err
	}
	if first, ok := f.(*http2.SettingsFrame); !ok || first.IsAck() {
		return errors.New("it does not begin with its settings")
	}
	return c.take(f)
}

// Start makes nc the connection's own: it is closed when Retire was called and
// the last tunnel has ended, when there was none for a while, or by a failure.
func (c *Cable) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(c.beat(), c.look)
	go c.listen()
	go c.send()
}

// Ask opens a stream with a request, unless it can't have one now: then it is
// nil. over tells that it never will. Answer must be called next.
func (c *Cable) Ask(r Request) (s *Stream, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.dead != nil || c.leaving || c.next > mostID:
		return nil, true
	case c.doubted || c.stuck() || uint64(len(c.streams)) >= uint64(c.most):
		return nil, false
	}
	s = &Stream{c: c, id: c.next, window: c.opening, credit: streamWindow, asked: clock.Now()}
	s.stir.L = &c.mu
	c.streams[s.id] = s
	c.next += 2
	c.writeHead(s.id, r)
	c.more.Signal()
	return s, false
}

// stuck tells whether a tunnel that the parent does not read has used up what it
// takes on the connection: some have a window for all no larger than one's own.
func (c *Cable) stuck() bool { return c.dry > 0 && clock.Now()-c.dry > c.bounds.Quiet/8 }

// writeHead writes a CONNECT, which has neither scheme nor path. Credentials are
// kept out of the tables of the compression (RFC 7541 section 7.1.3).
func (c *Cable) writeHead(id uint32, r Request) {
	c.block.Reset()
	field := func(name, value string, secret bool) {
		if value != "" {
			_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: secret})
		}
	}
	field(":method", "CONNECT", false)
	field(":authority", r.Target, false)
	field("proxy-authorization", r.Login, true)
	field("via", r.Via, false)
	part := c.block.Next(frameSize)
	_ = c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: part, EndHeaders: c.block.Len() == 0})
	for c.block.Len() > 0 {
		part = c.block.Next(frameSize)
		_ = c.frames.WriteContinuation(id, c.block.Len() == 0, part)
	}
}

// send is the goroutine that writes.
func (c *Cable) send() {
	var b outbox
	for {
		c.mu.Lock()
		for len(c.out) == 0 && c.dead == nil && !c.ending {
			c.more.Wait()
		}
		if len(c.out) == 0 || c.dead != nil {
			c.mu.Unlock()
			c.kill(errOver)
			clock.Close(c.nc)
			return
		}
		b, c.out = c.out, b[:0]
		c.unblock()
		c.mu.Unlock()
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.bounds.Quiet + c.bounds.Pong))
		if _, err := c.nc.Write(b); err != nil {
			c.kill(err)
			return
		}
		if cap(b) > 2*mostUnsent {
			b = nil
		}
	}
}

// unblock lets those try again that wait for what all share.
func (c *Cable) unblock() {
	for i, s := range c.blocked {
		s.blocked, c.blocked[i] = false, nil
		s.stir.Broadcast()
	}
	c.blocked = c.blocked[:0]
}

// kill ends the connection and all tunnels on it.
func (c *Cable) kill(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead != nil {
		return
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // it is no end of a tunnel
	}
	c.dead = fault.New(fault.ClassifyPeer(err, fault.ProtocolError), fmt.Errorf("http/2 connection: %w", err))
	for _, s := range c.streams {
		s.fail(c.dead)
	}
	clear(c.streams)
	c.timer.Stop()
	c.more.Broadcast()
	if err != errOver { //nolint:errorlint // it is that or another, never wrapped
		_ = clock.Socket(c.nc).Close() // TLS would say goodbye, and wait
	}
}

// Retire ends the connection when it has no more tunnels.
func (c *Cable) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave()
}

func (c *Cable) leave() {
	c.leaving = true
	if len(c.streams) > 0 || c.ending {
		return
	}
	c.ending = true
	_ = c.frames.WriteGoAway(0, http2.ErrCodeNo, nil)
	c.more.Signal()
}

// forget is for a stream that has ended on both sides.
func (c *Cable) forget(s *Stream) {
	delete(c.streams, s.id)
	if len(c.streams) > 0 {
		return
	}
	if c.idle = clock.Now(); c.leaving {
		c.leave()
	}
}

// beat is how often the connection is looked after.
func (c *Cable) beat() time.Duration { return min(c.bounds.Quiet, c.bounds.Pong) / 4 }

// look is the timer's: a connection may be dead and say nothing.
func (c *Cable) look() {
	if c.lives() {
		return
	}
	c.kill(errSilent)
}

func (c *Cable) lives() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := clock.Now()
	waited := now - c.pinged
	switch {
	case c.dead != nil:
		return true
	case c.asked && waited >= c.bounds.Pong:
		return false
	case c.asked && waited >= c.bounds.Pong/2:
		c.doubted = true
	case len(c.streams) == 0 && now-c.idle >= c.bounds.Idle:
		c.leave()
	case now-c.heard >= c.bounds.Quiet:
		c.ping(now)
	}
	c.timer.Reset(c.beat())
	return true
}

// ping asks for a sign of life.
func (c *Cable) ping(now time.Duration) {
	if c.asked {
		return
	}
	c.asked, c.pinged = true, now
	_ = c.frames.WritePing(false, [8]byte{'v', 'i', 'a', 'd', 'u', 'c', 't'})
	c.more.Signal()
}

// doubt is for who has asked in vain: others shall not, if nothing was heard
// since.
func (c *Cable) doubt(since time.Duration) {
	if c.heard <= since && c.dead == nil {
		c.doubted = true
		c.ping(clock.Now())
	}
}
