package admin

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// mostVisitors bounds the connections to the admin address. Whoever reaches it
// shares the descriptors with the proxy's clients, and must not take them all.
const mostVisitors = 64

// visitors are the connections that are open.
type visitors struct {
	mu   sync.Mutex // guards what follows
	open map[net.Conn]bool
	idle []net.Conn // answered, the one that has been so for longest first
	new  []net.Conn // without a whole head yet, in the order they came
}

// see keeps the books, as the ConnState of an http.Server.
func (v *visitors) see(nc net.Conn, state http.ConnState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	it := func(other net.Conn) bool { return other == nc }
	v.idle, v.new = slices.DeleteFunc(v.idle, it), slices.DeleteFunc(v.new, it)
	switch state {
	case http.StateNew:
		v.open[nc] = true
		v.new = append(v.new, nc)
		if len(v.open) > mostVisitors {
			v.sendAway()
		}
	case http.StateIdle:
		if v.open[nc] {
			v.idle = append(v.idle, nc)
		}
	case http.StateClosed, http.StateHijacked:
		delete(v.open, nc)
	}
}

// sendAway makes room: the one that was answered longest ago goes, or else the
// slowest with its head, which is the newest when all others are being answered.
func (v *visitors) sendAway() {
	from := &v.idle
	if len(v.idle) == 0 {
		from = &v.new
	}
	nc := (*from)[0]
	*from = slices.Delete(*from, 0, 1)
	delete(v.open, nc)
	_ = nc.Close()
}
