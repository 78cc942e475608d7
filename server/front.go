package server

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/exchange"
	"viaduct/forward"
	"viaduct/metrics"
	"viaduct/relay"
)

// front is what of an entry outlives a reload: its clients and tunnels.
type front struct {
	live     atomic.Pointer[entry] // as the operator wants it
	tunnels  relay.Set
	draining atomic.Bool
	metrics  *metrics.Front
	current  func() *forward.Proxy // f.proxy, made once
	ended    func(netip.AddrPort)  // f.release, made once
	refusals refusals

	clients struct {
		sync.Mutex                               // guards what follows
		all        map[*forward.Client]time.Time // without a tunnel; since when
		from       map[netip.Addr]int            // connections by address, tunnels among them
		open       int                           // connections, tunnels among them
		serving    int                           // connections that a goroutine serves, or soon will
	}
}

func newFront(m *metrics.Front) *front {
	f := &front{metrics: m}
	f.current, f.ended = f.proxy, f.release
	f.clients.all = map[*forward.Client]time.Time{}
	f.clients.from = map[netip.Addr]int{}
	return f
}

// proxy is the proxy of the moment.
func (f *front) proxy() *forward.Proxy { return f.live.Load().proxy }

// admit counts a connection in, unless it is one too many: then it says why.
func (f *front) admit(client netip.Addr) (metrics.Reason, bool) {
	c := f.live.Load().conf
	from := household(client)
	f.clients.Lock()
	defer f.clients.Unlock()
	switch {
	case c.MaxConns > 0 && f.clients.open >= c.MaxConns:
		return metrics.MaxConns, false
	case c.MaxConnsPerClient > 0 && f.clients.from[from] >= c.MaxConnsPerClient:
		return metrics.MaxConnsPerClient, false
	}
	f.clients.open++
	f.clients.serving++
	f.clients.from[from]++
	return 0, true
}

// release counts a connection out.
func (f *front) release(client netip.AddrPort) {
	from := household(client.Addr())
	f.clients.Lock()
	defer f.clients.Unlock()
	f.clients.open--
	if f.clients.from[from]--; f.clients.from[from] <= 0 {
		delete(f.clients.from, from)
	}
	f.metrics.Closed()
}

// household is what counts as one client: an IPv4 address, or the IPv6 network
// that one customer has all of.
func household(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is4() || !a.IsValid() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}

// serve answers one client. What the goroutine needed for the one before, it
// may use again.
func (f *front) serve(nc net.Conn, old *forward.Client) *forward.Client {
	c := forward.Accept(nc, f.current, old)
	f.clients.Lock()
	f.clients.all[c] = time.Now()
	f.clients.Unlock()
	c.Serve()
	f.clients.Lock()
	delete(f.clients.all, c)
	f.clients.serving--
	f.clients.Unlock()
	return c
}

// drain ends what is under way before ctx does, or cuts it.
func (f *front) drain(ctx context.Context) error {
	f.draining.Store(true)
	cut := f.finish(ctx)
	if f.tunnels.Drain(ctx) != nil {
		cut = ErrCut
	}
	return cut
}

// finish closes the connections that owe a request, now and as exchanges end,
// until none is left. When ctx ends it cuts them, again and again: one that is
// just about to wait, or to linger, would not notice once.
func (f *front) finish(ctx context.Context) (cut error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	over := ctx.Done()
	end := func(c *forward.Client, since time.Time) {
		if time.Since(since) > exchange.DrainFirst { // else its first request is on the way
			c.Discard()
		}
	}
	for f.each(end) > 0 {
		select {
		case <-over:
			over, cut = nil, ErrCut
			end = func(c *forward.Client, _ time.Time) { c.Cut() }
		case <-tick.C:
		}
	}
	return cut
}

// each does something to every client that has no tunnel, and tells how many
// there are, those among them that have only just come.
func (f *front) each(do func(c *forward.Client, since time.Time)) int {
	f.clients.Lock()
	defer f.clients.Unlock()
	for c, since := range f.clients.all {
		do(c, since)
	}
	return f.clients.serving
}

// shed closes up to n connections that wait for their next request, of those
// that have been open for a moment.
func (f *front) shed(n int) {
	f.clients.Lock()
	defer f.clients.Unlock()
	for c, since := range f.clients.all {
		if n <= 0 {
			return
		}
		if time.Since(since) > time.Second && c.Discard() {
			n--
		}
	}
}

// count is how many clients have no tunnel.
func (f *front) count() int {
	f.clients.Lock()
	defer f.clients.Unlock()
	return f.clients.serving
}
