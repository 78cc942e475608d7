// Package wire is the HTTP/1.1 engine (RFC 9112): it reads message heads in
// place and bodies by their framing, and writes bytes, on connections that it
// bounds in time and memory. It is strict: a message that two readers could
// understand differently is refused, never repaired.
//
// It is synchronous. One goroutine serves a connection; between messages the
// connection holds no buffer. It decides nothing: what a message means for a
// proxy is the business of the rooms above.
package wire

import (
	"errors"
	"io"
	"net"
	"syscall"

	"viaduct/clock"
	"viaduct/tap"
)

// Conn is one HTTP/1 connection, to a client or to an upstream, with its clock.
// Reading is for one goroutine at a time, and so is writing.
type Conn struct {
	nc  net.Conn
	raw syscall.RawConn // nil where the connection has no readiness (TLS)
	tap *tap.Conn       // below TLS; nil without
	low syscall.RawConn // the socket at the bottom, for a look at it; may be nil
	one [1]byte         // what a connection without readiness waits with

	in    *Buffer // unread bytes are in.B[r:w]; nil when none
	r, w  int
	floor int     // bytes of in below it belong to the head in use
	held  *Buffer // the head in use, when in had no room for a body behind it
	limit int     // the most bytes that a head may have
	used  bool

	body body

	clock.Clock

	readable func(fd uintptr) bool // c.onReadable, made once
	op       operation             // what onReadable is to do
}

// operation is the state of one wait inside RawConn.Read.
type operation struct {
	peek bool    // first look whether the idle connection is still clean
	out  []byte  // then write this, before waiting
	free *Buffer // given back once out is written
	sent bool
	err  error
}

// ErrStale says that an idle upstream connection had been closed, or had bytes
// waiting that nobody asked for. Nothing was written to it.
var ErrStale = errors.New("idle connection is stale")

// New takes over nc. Heads larger than maxHead bytes are refused.
func New(nc net.Conn, maxHead int) *Conn {
	c := new(Conn)
	c.readable = c.onReadable
	c.Reset(nc, maxHead)
	return c
}

// Reset makes c the connection nc, if it is released from the one before: what
// a new client costs is mostly what it makes the garbage collector do.
func (c *Conn) Reset(nc net.Conn, maxHead int) {
	c.nc, c.raw, c.tap, c.low, c.limit = nc, nil, nil, nil, maxHead
	c.used, c.body = false, body{}
	c.Start(nc)
	c.raw = readiness(nc)
	c.low = c.raw
	for below := nc; c.low == nil; {
		over, ok := below.(interface{ NetConn() net.Conn })
		if !ok {
			return
		}
		below = over.NetConn()
		if t, ok := below.(*tap.Conn); ok && c.tap == nil {
			c.tap = t
		}
		c.low = readiness(below)
	}
}

// readiness is that of a socket, nil for anything else.
func readiness(nc net.Conn) syscall.RawConn {
	if s, ok := nc.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// NetConn is the connection underneath, unwrapped, for who takes it over.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Used tells whether a message has been read here before.
func (c *Conn) Used() bool { return c.used }

// Buffered is the number of bytes read and not used yet.
func (c *Conn) Buffered() int { return c.w - c.r }

// TakeBuffered removes and returns the bytes read and not used yet; they are
// valid until Release.
func (c *Conn) TakeBuffered() []byte {
	if c.in == nil {
		return nil
	}
	b := c.in.B[c.r:c.w]
	c.r = c.w
	return b
}

// Release gives the buffer back when no byte is left in it, and forgets the
// head: its slices are invalid from here on.
func (c *Conn) Release() {
	c.floor = 0
	if c.held != nil {
		c.held.Free()
		c.held = nil
	}
	if c.r == c.w && c.in != nil {
		c.in.Free()
		c.in, c.r, c.w = nil, 0, 0
	}
}

// Drop gives the buffer back, whatever is in it. It is for the goroutine that
// reads, when nobody reads any more.
func (c *Conn) Drop() {
	c.r = c.w
	c.Release()
}

// Close closes the connection and stops its clock.
func (c *Conn) Close() error {
	c.Stop()
	clock.Close(c.nc)
	return nil
}

// Detach ends the engine's part in a connection that goes on without it.
func (c *Conn) Detach() net.Conn {
	c.Stop()
	return c.nc
}

// Write writes all of p, waiting as long as the limit allows.
func (c *Conn) Write(p []byte) (int, error) { return c.nc.Write(p) }

// fill reads what is there behind the unread bytes, waiting for at least one
// byte. It makes room by moving the unread bytes down to the floor.
func (c *Conn) fill() error {
	c.makeRoom()
	if c.raw == nil {
		return c.fillPlain()
	}
	c.op = operation{}
	return c.wait()
}

// Exchange writes out, waits, and reads the first bytes of the answer. It does
// so inside one wait for readiness: what is read there can only be the answer.
// With peek it first looks whether the connection, idle until now, is still
// clean, and returns ErrStale if not. free is given back once out is written.
func (c *Conn) Exchange(out []byte, peek bool, free *Buffer) (sent bool, err error) {
	c.makeRoom()
	if c.raw == nil {
		return c.exchangePlain(out, peek, free)
	}
	c.op = operation{peek: peek, out: out, free: free}
	err = c.wait()
	if c.op.free != nil {
		c.op.free.Free()
	}
	sent = c.op.sent
	c.op = operation{}
	return sent, err
}

// DiscardQuiet is Discard, but leaves a connection alone on which a request has
// come that nobody has read yet. It is for a goroutine that does not read here.
func (c *Conn) DiscardQuiet() bool {
	return c.quiet() && c.Discard()
}

// quiet tells whether nothing waits in the socket, as far as that can be told.
func (c *Conn) quiet() bool {
	still := true
	if c.low != nil {
		_ = c.low.Control(func(fd uintptr) { still = quiet(int(fd)) })
	}
	return still
}

// Clean tells whether an idle connection can still be used: open, with nothing
// to read.
func (c *Conn) Clean() bool {
	if c.Buffered() > 0 {
		return false
	}
	if c.low == nil {
		return true
	}
	clean := false
	err := c.low.Control(func(fd uintptr) { clean = quiet(int(fd)) })
	return err == nil && clean && !c.readAhead()
}

// readAhead tells whether TLS has something that nobody has read yet.
func (c *Conn) readAhead() bool {
	if c.tap == nil {
		return false
	}
	n, something := c.tap.Pending(c.nc, c.one[:])
	c.took(n)
	return something
}

// took notes a byte that was read without a buffer.
func (c *Conn) took(n int) {
	if n == 0 {
		return
	}
	c.makeRoom()
	if c.in == nil {
		c.in = NewBuffer()
	}
	c.in.B[:cap(c.in.B)][c.w] = c.one[0]
	c.w++
}

func (c *Conn) wait() error {
	if err := c.raw.Read(c.readable); err != nil {
		return err
	}
	return c.op.err
}

// onReadable runs inside RawConn.Read: it tries, and returns false to wait for
// readiness. While it waits with nothing read, it holds no buffer.
func (c *Conn) onReadable(fd uintptr) bool {
	if c.op.out != nil {
		if !c.send(int(fd)) {
			return true
		}
		if c.op.peek {
			return false // no read is wasted: nothing was there a moment ago
		}
	}
	if c.in == nil {
		c.in = NewBuffer()
	}
	b := c.in.B[:cap(c.in.B)]
	for {
		n, err := syscall.Read(int(fd), b[c.w:])
		switch {
		case err == syscall.EAGAIN:
			if c.w == 0 {
				c.in.Free()
				c.in = nil
			}
			return false
		case err == syscall.EINTR:
			continue
		case err != nil:
			c.op.err = err
		case n == 0:
			c.op.err = io.EOF
		default:
			c.w += n
		}
		return true
	}
}

// send is the first half of Exchange, and tells whether that went well. The
// wait was begun before it, so that an answer that comes at once is not missed.
// What came before the wait is not told of again: peek looks for it, or a read.
func (c *Conn) send(fd int) bool {
	if c.op.peek && !quiet(fd) {
		c.op.err = ErrStale
		return false
	}
	c.op.sent = true
	_, c.op.err = c.nc.Write(c.op.out)
	c.op.out = nil
	if c.op.free != nil {
		c.op.free.Free()
		c.op.free = nil
	}
	return c.op.err == nil
}

// quiet tells whether a socket is open with nothing to read.
func quiet(fd int) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN
}

// exchangePlain is Exchange where there is no readiness.
func (c *Conn) exchangePlain(out []byte, peek bool, free *Buffer) (sent bool, err error) {
	if peek && !c.Clean() {
		err = ErrStale
	} else {
		_, err = c.nc.Write(out)
		sent = true
	}
	if free != nil {
		free.Free()
	}
	if err != nil {
		return sent, err
	}
	return true, c.fillPlain()
}

// fillPlain is fill where there is no readiness. It waits with room for a byte,
// and without a buffer: what came with that byte, a record of TLS, the next read
// finds at once.
func (c *Conn) fillPlain() error {
	var n int
	var err error
	if c.in == nil {
		n, err = c.nc.Read(c.one[:])
		c.took(n)
	} else {
		n, err = c.nc.Read(c.in.B[c.w:cap(c.in.B)])
		c.w += n
	}
	switch {
	case n > 0:
		return nil
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// makeRoom makes sure that a read has somewhere to go: it moves the unread
// bytes, few by then, down to the floor, or leaves the head in use where it is
// and goes on in another buffer.
func (c *Conn) makeRoom() {
	if c.in == nil {
		return
	}
	b := c.in.B[:cap(c.in.B)]
	switch {
	case c.r == c.w:
		c.r, c.w = c.floor, c.floor
	case c.w == len(b):
		c.w = c.floor + copy(b[c.floor:], b[c.r:c.w])
		c.r = c.floor
	}
	if c.held == nil && c.floor > 0 && len(b)-c.w < BufferSize/2 {
		next := NewBuffer()
		c.held, c.in, c.floor = c.in, next, 0
		c.w = copy(next.B[:cap(next.B)], b[c.r:c.w])
		c.r = 0
	}
}
