package passage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/parent"
	"viaduct/tap"
	"viaduct/upstream"
)

// way is a passage as it is set up. The hops have our TLS.
type way struct {
	hops   []parent.Proxy
	tls    *tls.Config
	dialer atomic.Pointer[upstream.Dialer]

	mu     sync.Mutex // guards what follows
	trunks map[upstream.Source]*parent.Trunk
	closed bool
}

func newWay(hops []parent.Proxy, s Setup) *way {
	w := &way{tls: s.TLS}
	for _, h := range hops {
		if h.Scheme == parent.HTTPS && h.TLS == nil {
			h.TLS = s.TLS
		}
		w.hops = append(w.hops, h)
	}
	w.dialer.Store(dialer(s))
	return w
}

func dialer(s Setup) *upstream.Dialer {
	d := &upstream.Dialer{Lookup: s.Lookup, Guard: anywhere{}}
	if d.Lookup == nil {
		d.Lookup = lookup
	}
	return d
}

// lookup is that of the system, where the setup has none.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

func (w *way) last() parent.Proxy { return w.hops[len(w.hops)-1] }

// shares tells whether tunnels share connections. Those of a chain do not: each
// CONNECT on its way must tell who asks, and entries are told apart by that.
func (w *way) shares() bool { return len(w.hops) == 1 && w.hops[0].Scheme == parent.HTTPS }

// trunk is what tunnels from a source share: they must leave from there.
func (w *way) trunk(from *upstream.Source) *parent.Trunk {
	var key upstream.Source
	if from != nil {
		key = *from
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.trunks[key]
	if t == nil {
		t = parent.NewTrunk(w.hops[0], func(ctx context.Context) (net.Conn, error) { return w.dial(ctx, from) })
		if w.closed { // it was taken by a request as the list changed
			t.Close()
		} else {
			if w.trunks == nil {
				w.trunks = map[upstream.Source]*parent.Trunk{}
			}
			w.trunks[key] = t
		}
	}
	return t
}

func (w *way) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, t := range w.trunks {
		t.Close()
	}
	w.trunks = nil
}

// tunnel opens a tunnel through all hops.
func (w *way) tunnel(ctx context.Context, from *upstream.Source, target, via string) (net.Conn, []byte, error) {
	nc, err := w.open(ctx, from, via)
	if err != nil {
		return nil, nil, err
	}
	last := w.last()
	last.Via = via
	return last.Tunnel(ctx, nc, target)
}

// open opens a connection to the last hop: through those before it, if any.
func (w *way) open(ctx context.Context, from *upstream.Source, via string) (net.Conn, error) {
	nc, err := w.dial(ctx, from)
	if err != nil {
		return nil, err
	}
	for i := range w.hops[1:] {
		hop, next := w.hops[i], w.hops[i+1]
		hop.Via = via
		over, early, err := hop.Tunnel(ctx, nc, authority(next))
		if err == nil && len(early) > 0 { // no proxy speaks first
			clock.Close(over)
			err = fault.New(fault.ProtocolError, fmt.Errorf("parent %s speaks before it is asked", next))
		}
		if err != nil {
			return nil, &innerError{err}
		}
		nc = over
	}
	return nc, nil
}

func (w *way) dial(ctx context.Context, from *upstream.Source) (net.Conn, error) {
	nc, err := w.dialer.Load().Connect(ctx, destination(w.hops[0]), from)
	if err != nil {
		return nil, fmt.Errorf("parent %s: %w", w.hops[0], err)
	}
	return nc, nil
}

func destination(p parent.Proxy) upstream.Destination {
	to := upstream.Destination{Host: p.Host, Port: p.Port}
	if a, err := netip.ParseAddr(p.Host); err == nil {
		to.Addr = a
	}
	return to
}

// secure speaks TLS with a parent.
func secure(ctx context.Context, p parent.Proxy, nc net.Conn) (net.Conn, error) {
	config := p.TLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config.ServerName = p.Host
	}
	config.NextProtos = []string{"http/1.1"}
	c := tls.Client(tap.New(nc, nil), config) // so that wire can tell what is left of an idle one
	if err := c.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, fmt.Errorf("parent %s: tls: %w", p, context.Canceled)
		}
		bad := fault.New(fault.ClassifyPeer(err, fault.TLSProtocolError), fmt.Errorf("parent %s: tls: %w", p, err))
		if ctx.Err() != nil {
			bad.Kind = fault.ConnectionTimeout
		}
		bad.Text = "The parent proxy failed to set up TLS."
		if bad.Kind == fault.TLSCertificateError {
			bad.Text = "The certificate of the parent proxy is not valid."
		}
		return nil, bad
	}
	return c, nil
}

// anywhere is the guard of what the operator listed: that is not the client's
// choice.
type anywhere struct{}

func (anywhere) Check(netip.AddrPort) error { return nil }

func authority(p parent.Proxy) string { return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) }
