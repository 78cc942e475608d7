// Package passage is how a way out is gone: through one parent proxy, through
// two, or through none. It opens connections and tunnels, lets tunnels share
// connections where a parent can do that, and says whose fault it is when one
// does not come about.
package passage

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"viaduct/fault"
	"viaduct/parent"
	"viaduct/upstream"
)

// Setup is what the operator may change of a passage.
type Setup struct {
	TLS    *tls.Config                                                  // for https parents; nil: the system's roots. While it is the same one, connections are kept
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error) // of the names of parents; nil is the system's
}

// Passage leads through the same parents for ever. Its methods may be called
// from any goroutine.
type Passage struct {
	hops []parent.Proxy // none: direct
	auth string
	way  atomic.Pointer[way]
}

// New makes a passage, and opens nothing.
func New(hops []parent.Proxy, s Setup) *Passage {
	p := &Passage{hops: slices.Clone(hops)}
	if p.Absolute() {
		p.auth = p.hops[len(p.hops)-1].BasicAuth()
	}
	p.way.Store(newWay(p.hops, s))
	return p
}

// Change changes the setup. What is open stays open as long as it is used.
func (p *Passage) Change(s Setup) {
	w := p.way.Load()
	if w.tls == s.TLS {
		w.dialer.Store(dialer(s))
		return
	}
	p.way.Store(newWay(p.hops, s))
	w.close()
}

// Close lets no connection outlive its tunnels. The passage works afterwards,
// for whoever has not heard of it yet.
func (p *Passage) Close() { p.way.Load().close() }

// Leads tells whether these are its hops.
func (p *Passage) Leads(hops []parent.Proxy) bool { return slices.Equal(p.hops, hops) }

// Direct tells whether there is no parent.
func (p *Passage) Direct() bool { return len(p.hops) == 0 }

// Absolute tells whether plain requests can go this way in absolute-form (RFC
// 9112 section 3.2.2): its last hop is an HTTP proxy.
func (p *Passage) Absolute() bool {
	return !p.Direct() && p.hops[len(p.hops)-1].Scheme != parent.SOCKS5
}

// BasicAuth is the Proxy-Authorization of such a request; "" is none.
func (p *Passage) BasicAuth() string { return p.auth }

var errDirect = fault.New(fault.InternalError, errors.New("direct is no parent"))

// Reach opens a connection to the last hop, for requests in absolute-form: TLS
// is done, HTTP/1.1 is agreed upon, and nothing was said. ctx bounds all of it.
func (p *Passage) Reach(ctx context.Context, from *upstream.Source, via string) (net.Conn, error) {
	if p.Direct() {
		return nil, errDirect
	}
	w := p.way.Load()
	nc, err := w.open(ctx, from, via)
	if err != nil {
		return nil, err
	}
	if last := w.last(); last.Scheme == parent.HTTPS {
		return secure(ctx, last, nc)
	}
	return nc, nil
}

// Tunnel opens a tunnel to target, a host and a port, and returns what that has
// said already, too. The errors are those of parent.Proxy.Tunnel.
func (p *Passage) Tunnel(ctx context.Context, from *upstream.Source, target, via string) (net.Conn, []byte, error) {
	if p.Direct() {
		return nil, nil, errDirect
	}
	w := p.way.Load()
	if w.shares() {
		return w.trunk(from).Tunnel(ctx, target, via)
	}
	return w.tunnel(ctx, from, target, via)
}
