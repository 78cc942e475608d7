package pool

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/passage"
	"viaduct/rest"
)

// Endpoint is one way out: a parent, a chain of two, or direct. It is the same
// one as long as its ID and its hops stand in the list. Its methods may be
// called from any goroutine.
type Endpoint struct {
	*passage.Passage
	id     string
	node   atomic.Pointer[lb.Node]         // nil until it stands in the list
	handle atomic.Pointer[health.Endpoint] // the same

	failures atomic.Uint64
	why      atomic.Pointer[string] // it rests everywhere, if it does
	doubts   doubts
	blanks   doubts // destinations that tunnels ended at once for, since one has brought anything
	waits    waits
}

// ID tells endpoints of a pool apart.
func (e *Endpoint) ID() string { return e.id }

// farAndWide is how many destinations there must be before it is no longer the
// destinations that are doubted.
const farAndWide = 3

// doubts are the destinations that an endpoint has failed since it served
// anything, where another endpoint has not.
type doubts struct {
	some  atomic.Bool
	mu    sync.Mutex // guards what follows
	known []rest.Destination
}

// add tells whether there were enough already, and this is a further one.
func (d *doubts) add(to rest.Destination) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.some.Store(true)
	switch {
	case slices.Contains(d.known, to):
		return false
	case len(d.known) == farAndWide:
		return true
	}
	to.Host = strings.Clone(to.Host) // a request's is in its buffer
	d.known = append(d.known, to)
	return false
}

func (d *doubts) clear() {
	if d.some.Load() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.some.Store(false)
		d.known = d.known[:0]
	}
}
