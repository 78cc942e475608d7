// Package tap is a connection below the TLS that is spoken on it. TLS reads ahead,
// and cannot be asked whether it has something left: a Conn finds out, by giving
// it no more. It counts, and begins with what was read before.
package tap

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// Conn is a connection that TLS is spoken on.
type Conn struct {
	net.Conn
	Host string // that TLS is spoken for; for whoever makes the certificate

	early         []byte
	dry           bool // the reader is to get no more
	ended         bool // by the other side, without a word of TLS
	read, written atomic.Int64
	record        record
}

// New taps a connection from which early has been read already.
func New(nc net.Conn, early []byte) *Conn { return &Conn{Conn: nc, early: early} }

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Moved is how many bytes were read from the other side, and written to it. It
// may be called from any goroutine.
func (c *Conn) Moved() (read, written int64) { return c.read.Load(), c.written.Load() }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (n int, err error) {
	switch {
	case len(c.early) > 0:
		n = copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
	case c.dry:
		return 0, dryError{}
	default:
		n, err = c.Conn.Read(p)
		c.ended = err == io.EOF
	}
	c.read.Add(int64(n))
	c.record.pass(p[:n])
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// CloseWrite ends the sending side, where that can be done.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Cut tells whether the connection ended before TLS did: TLS that has said goodbye
// is not read on (RFC 8446 section 6.1). It is for the goroutine that reads.
func (c *Conn) Cut() bool { return c.ended }

// Pending reads into p what TLS over this connection has read ahead, without
// waiting. It also tells whether there is anything: bytes, a part of a record, the
// end. It is for the goroutine that reads.
func (c *Conn) Pending(over net.Conn, p []byte) (n int, something bool) {
	c.dry = true
	defer func() { c.dry = false }()
	n, err := over.Read(p)
	return n, !errors.Is(err, dryError{}) || c.record.isBegun()
}

// record is how far the one has come that was read last (RFC 8446 section 5.1).
type record struct {
	head [5]byte
	have int // of head
	left int // behind it
}

func (r *record) pass(p []byte) {
	for len(p) > 0 {
		if r.left == 0 {
			n := copy(r.head[r.have:], p)
			r.have += n
			p = p[n:]
			if r.have == len(r.head) {
				r.have, r.left = 0, int(r.head[3])<<8|int(r.head[4])
			}
			continue
		}
		n := min(r.left, len(p))
		r.left -= n
		p = p[n:]
	}
}

func (r *record) isBegun() bool { return r.have > 0 || r.left > 0 }

// dryError is one that may pass: TLS goes on after it.
type dryError struct{}

func (dryError) Error() string   { return "nothing more is read" }
func (dryError) Timeout() bool   { return true }
func (dryError) Temporary() bool { return true }
