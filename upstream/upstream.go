// Package upstream is the far side of a proxy: it dials destinations, and keeps
// idle connections to them for the next request.
//
// Nothing is dialled that a Guard has not let pass, by the very address, and
// the guard is asked again each time an idle connection is taken.
package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/stock"
	"viaduct/wire"
)

// Guard decides by the address that is really dialled. A refusal is a
// *fault.Error.
type Guard interface {
	Check(a netip.AddrPort) error
}

// Destination is where connections lead.
type Destination struct {
	Host string // name, or address without brackets
	Port uint16
	Addr netip.Addr // valid when Host is an address
	TLS  bool       // connections are TLS, with an origin that proves to be Host
}

// Conn is an HTTP/1 connection to an origin. One exchange uses it at a time.
type Conn struct {
	*wire.Conn
	remote netip.AddrPort
	origin *Origin
	parked time.Duration // when it became idle
	ended  atomic.Bool   // closed while idle
}

// Remote is the address of the other end.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// Close closes the connection. It is for the goroutine that uses it.
func (c *Conn) Close() error {
	c.Drop()
	return c.Conn.Close()
}

// onIdle runs when the connection was idle for too long, and is closed.
func (c *Conn) onIdle() {
	c.ended.Store(true)
	c.origin.remove(c)
}

// Origin holds the idle connections to one destination from one source.
type Origin struct {
	place
	idle *Idle
	refs atomic.Int32 // users, and idle connections
	kept stock.Of[Conn]
}

// take removes an idle connection that is still open, or returns nil.
func (o *Origin) take() *Conn {
	for {
		c := o.kept.Take()
		if c == nil {
			return nil
		}
		o.forget()
		if c.Wake() {
			return c
		}
	}
}

// put keeps a connection that has been idle since then, or closes it when there
// are too many.
func (o *Origin) put(c *Conn, since time.Duration) {
	o.refs.Add(1)
	if o.idle.open.Add(1) <= o.idle.options.MaxIdle {
		c.parked = since
		c.Park(since, o.idle.options.IdleTimeout)
		if o.kept.Put(c) {
			if c.ended.Load() { // before it was there to be removed
				o.remove(c)
			}
			if o.idle.closed.Load() && o.kept.Remove(c) {
				c.Discard()
				o.forget()
			}
			return
		}
	}
	o.forget()
	_ = c.Close()
}

// remove takes out a connection that was closed while idle.
func (o *Origin) remove(c *Conn) {
	if o.kept.Remove(c) {
		o.forget()
	}
}

// forget counts an idle connection out.
func (o *Origin) forget() {
	o.idle.open.Add(-1)
	o.Release()
}

// Release ends the use that Idle.Origin began.
func (o *Origin) Release() {
	if o.refs.Add(-1) == 0 {
		o.idle.prune(o)
	}
}

// Take returns a connection that has been idle for no longer than most, and
// that the guard still lets pass, or nil. The other side may have closed it
// meanwhile. One that the guard of this request refuses stays for others.
func (o *Origin) Take(g Guard, most time.Duration) *Conn {
	c := o.take()
	switch {
	case c == nil:
		return nil
	case clock.Now()-c.parked > most, c.remote.IsValid() && g.Check(c.remote) != nil: // the others have been idle for longer
		o.put(c, c.parked)
		return nil
	}
	return c
}

// Dial opens a connection, with TLS if the destination is reached so; ctx bounds
// both.
func (o *Origin) Dial(ctx context.Context, d *Dialer) (*Conn, error) {
	nc, err := o.idle.Connect(ctx, d, o.to, o.from)
	if err != nil {
		return nil, err
	}
	return o.Adopt(ctx, Link{Conn: nc, Remote: remoteOf(nc)}, d.Shaken)
}

// Link is a new connection, on which the destination may have said something
// already.
type Link struct {
	Conn   net.Conn
	Early  []byte
	Remote netip.AddrPort // of the destination; not valid where that is not known
}

// Adopt makes a link one of the origin's connections, with TLS as Dial does.
// Shaken is told of the handshake; it may be nil.
func (o *Origin) Adopt(ctx context.Context, l Link, shaken func(ok bool)) (*Conn, error) {
	switch {
	case o.to.TLS:
		secure, err := o.shake(ctx, l)
		if shaken != nil {
			shaken(err == nil)
		}
		if err != nil {
			return nil, err
		}
		l.Conn = secure
	case len(l.Early) > 0: // before it was asked for anything
		_ = l.Conn.Close()
		return nil, errEarly
	}
	c := &Conn{Conn: wire.New(l.Conn, o.idle.options.MaxHeader), origin: o, remote: l.Remote}
	c.OnIdle(c.onIdle)
	return c, nil
}

var errEarly = fault.New(fault.ProtocolError, errors.New("an answer before the request"))

func remoteOf(nc *net.TCPConn) netip.AddrPort {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Wake ends the idle time of a parked connection. It is false if the connection
// is not open any more.
func (c *Conn) Wake() bool {
	c.LimitRead(0, 0) // its idle time must not end the exchange
	if !c.Unpark() {
		return false
	}
	if c.Aborted() {
		_ = c.Close()
		return false
	}
	return true
}

// AtRest ends the use of a connection, and tells whether it can be used again: its
// last answer was read to its end, nothing is left to be read, and it was not
// aborted.
func (c *Conn) AtRest() bool {
	c.Release()
	return !c.Aborted() && c.Buffered() == 0 && c.BodyDone()
}

// Put gives a connection back, or closes it if it is not at rest.
func (c *Conn) Put(now time.Duration) {
	if !c.AtRest() {
		_ = c.Close()
		return
	}
	c.origin.put(c, now)
}
