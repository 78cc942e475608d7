// Package upstream is the far side of a proxy: it dials destinations, and keeps
// idle connections to them for the next request.
//
// Nothing is dialled that a Guard has not let pass, by the very address, and
// the guard is asked again each time an idle connection is taken.
package upstream

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

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
}

// Conn is an HTTP/1 connection to an origin. One exchange uses it at a time.
type Conn struct {
	*wire.Conn
	remote netip.AddrPort
	origin *Origin
	slot   int
	parked time.Duration // when it became idle
}

// Remote is the address of the other end.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// onIdle runs when the connection was idle for too long, and is closed.
func (c *Conn) onIdle() {
	o := c.origin
	if o.slots[c.slot].CompareAndSwap(c, nil) {
		o.forget()
	}
}

// maxIdle bounds the idle connections to one origin.
const maxIdle = 256

// Origin holds the idle connections to one destination, without a lock: a
// connection is put into an empty slot, and taken from one by whoever swaps it
// out first. The slot used last is tried first, so that few are kept warm.
type Origin struct {
	dest Destination
	pool *Pool
	refs atomic.Int32 // users, and idle connections
	idle atomic.Int32
	last atomic.Int32 // where to look first

	slots [maxIdle]atomic.Pointer[Conn]
}

// take removes an idle connection that is still open, or returns nil.
func (o *Origin) take() *Conn {
	if o.idle.Load() <= 0 {
		return nil
	}
	last := int(o.last.Load())
	for k := range maxIdle {
		i := (last - k + maxIdle) % maxIdle
		c := o.slots[i].Load()
		if c == nil || !o.slots[i].CompareAndSwap(c, nil) {
			continue
		}
		o.last.Store(int32((i - 1 + maxIdle) % maxIdle))
		o.forget()
		if c.Unpark() {
			return c
		}
	}
	return nil
}

// put keeps an idle connection, or closes it when there are too many.
func (o *Origin) put(c *Conn, now, d time.Duration) {
	if o.pool.idle.Add(1) > o.pool.options.MaxIdle {
		o.pool.idle.Add(-1)
		_ = c.Close()
		return
	}
	o.refs.Add(1)
	o.idle.Add(1)
	last := int(o.last.Load())
	for k := range maxIdle {
		i := (last + 1 + k) % maxIdle
		if o.slots[i].Load() != nil {
			continue
		}
		c.slot, c.parked = i, now
		c.Park(now, d)
		if o.slots[i].CompareAndSwap(nil, c) {
			o.last.Store(int32(i))
			return
		}
		if !c.Unpark() {
			break
		}
	}
	o.forget()
	_ = c.Close()
}

// forget counts an idle connection out.
func (o *Origin) forget() {
	o.idle.Add(-1)
	o.pool.idle.Add(-1)
	o.Release()
}

// Release ends the use that Pool.Origin began.
func (o *Origin) Release() {
	if o.refs.Add(-1) == 0 {
		o.pool.prune(o)
	}
}

// Take returns an idle connection that the guard still lets pass, or nil. The
// other side may have closed it meanwhile.
func (o *Origin) Take(g Guard) *Conn {
	for {
		c := o.take()
		if c == nil || g.Check(c.remote) == nil {
			return c
		}
		_ = c.Close()
	}
}

// Dial opens a connection; ctx bounds that.
func (o *Origin) Dial(ctx context.Context, d *Dialer) (*Conn, error) {
	nc, err := d.Connect(ctx, o.dest)
	if err != nil {
		return nil, err
	}
	return o.adopt(nc), nil
}

func (o *Origin) adopt(nc *net.TCPConn) *Conn {
	c := &Conn{Conn: wire.New(nc, o.pool.options.MaxHeader), origin: o}
	c.remote = remoteOf(nc)
	c.OnIdle(c.onIdle)
	return c
}

func remoteOf(nc *net.TCPConn) netip.AddrPort {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Put gives a connection back whose last answer was read to its end. It is
// closed if anything is left of it to be read, or it was aborted.
func (c *Conn) Put(now time.Duration) {
	c.Release()
	if c.Aborted() || c.Buffered() > 0 || !c.BodyDone() {
		_ = c.Close()
		return
	}
	c.origin.put(c, now, c.origin.pool.options.IdleTimeout)
}
