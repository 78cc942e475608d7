package snapshot

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"

	"viaduct/auth"
	"viaduct/config"
	"viaduct/door"
	"viaduct/hop"
	"viaduct/metrics"
)

// Front is what of an entry outlives a reload: how many clients it has. Its name
// is the first address it listens on.
type Front struct {
	Name    string
	Live    atomic.Pointer[config.Forward] // as the operator wants it
	Metrics *metrics.Front
	Release func(netip.AddrPort) // f.countOut, made once
	Vault   door.Vault           // of the TLS of its listeners
	memory  *auth.Memory
	tag     hop.Tag // that parents know its entry by

	clients sync.Mutex         // guards what follows
	open    int                // connections, tunnels among them
	from    map[netip.Addr]int // the same by address
}

func newFront(name string, m *metrics.Front) *Front {
	f := &Front{Name: name, Metrics: m, memory: auth.NewMemory(), tag: hop.NewTag(rand.Uint64()), from: map[netip.Addr]int{}}
	f.Release = f.countOut
	return f
}

// CountIn counts a connection, unless it is one too many: then it says why.
func (f *Front) CountIn(client netip.Addr) (metrics.Reason, bool) {
	c := f.Live.Load()
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
	f.Metrics.Opened()
	return 0, true
}

// countOut counts a connection that has ended.
func (f *Front) countOut(client netip.AddrPort) {
	from := household(client.Addr())
	f.clients.Lock()
	defer f.clients.Unlock()
	f.open--
	if f.from[from]--; f.from[from] <= 0 {
		delete(f.from, from)
	}
	f.Metrics.Closed()
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
