package server

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/config"
	"viaduct/metrics"
)

// front is what of an entry outlives a reload: how many clients it has. Its name
// is the first address it listens on.
type front struct {
	name     string
	live     atomic.Pointer[config.Forward] // as the operator wants it
	metrics  *metrics.Front
	release  func(netip.AddrPort) // f.countOut, made once
	refusals refusals

	clients sync.Mutex         // guards what follows
	open    int                // connections, tunnels among them
	from    map[netip.Addr]int // the same by address
}

func newFront(name string, m *metrics.Front) *front {
	f := &front{name: name, metrics: m, from: map[netip.Addr]int{}}
	f.release = f.countOut
	return f
}

// countIn counts a connection, unless it is one too many: then it says why.
func (f *front) countIn(client netip.Addr) (metrics.Reason, bool) {
	c := f.live.Load()
	from := household(client)
	f.clients.Lock()
	defer f.clients.Unlock()
	switch {
	case c.MaxConns > 0 && f.open >= c.MaxConns:
		return metrics.MaxConns, false
	case c.MaxConnsPerClient > 0 && f.from[from] >= c.MaxConnsPerClient:
		return metrics.MaxConnsPerClient, false
	}
	f.open++
	f.from[from]++
	f.metrics.Opened()
	return 0, true
}

// countOut counts a connection that has ended.
func (f *front) countOut(client netip.AddrPort) {
	from := household(client.Addr())
	f.clients.Lock()
	defer f.clients.Unlock()
	f.open--
	if f.from[from]--; f.from[from] <= 0 {
		delete(f.from, from)
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

// refusals are counted, and told once a minute.
type refusals struct {
	n    atomic.Int64
	told atomic.Int64 // when, in ns since 1970
}

// count counts one; when it is time to tell, it returns how many there were.
func (r *refusals) count() int64 {
	r.n.Add(1)
	told, now := r.told.Load(), time.Now().UnixNano()
	if now-told < int64(time.Minute) || !r.told.CompareAndSwap(told, now) {
		return 0
	}
	return r.n.Swap(0)
}
