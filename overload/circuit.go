package overload

import "sync/atomic"

// A Kind is one of the things that a Circuit limits.
type Kind uint8

// The kinds, as Envoy's circuit breakers have them.
const (
	Connections Kind = iota // open to the endpoints of the pool, idle ones too
	Pending                 // requests that wait for a connection or for their turn
	Requests                // from the pick to the last byte; a tunnel until both halves end
	Retries                 // attempts at work that are not the first
	kinds
)

// String is the name of the kind in logs, metrics and options.
func (k Kind) String() string {
	if k < kinds {
		return [kinds]string{"connections", "pending", "requests", "retries"}[k]
	}
	return "unknown"
}

// Limits are how many there may be of each kind at a time; 0 is any number.
type Limits struct {
	Connections, Pending, Requests, Retries int
}

// A Circuit keeps a pool below its limits, so that one which drowns takes no
// more than its own share of the proxy along. The zero value has no limits, and
// counts.
type Circuit struct {
	of [kinds]struct {
		limit, used atomic.Int64
		refused     atomic.Uint64
	}
}

// NewCircuit makes a Circuit.
func NewCircuit(l Limits) *Circuit {
	c := new(Circuit)
	c.Update(l)
	return c
}

// Update changes the limits. What is in use stays so: above a limit that was
// lowered there is no room until enough is released.
func (c *Circuit) Update(l Limits) {
	for k, n := range [kinds]int{l.Connections, l.Pending, l.Requests, l.Retries} {
		c.of[k].limit.Store(int64(max(n, 0)))
	}
}

// Acquire tells whether there is room for one more, and takes it if so. It never
// refuses while there is room, nor exceeds the limit for a moment.
func (c *Circuit) Acquire(k Kind) bool {
	of := &c.of[k]
	if !acquire(&of.used, of.limit.Load()) {
		of.refused.Add(1)
		return false
	}
	return true
}

// acquire adds one to what is used, unless that would be more than the limit.
// Adding first and looking then would let two that are too many refuse one that
// is not.
func acquire(used *atomic.Int64, limit int64) bool {
	if limit <= 0 {
		used.Add(1)
		return true
	}
	for {
		n := used.Load()
		if n >= limit {
			return false
		}
		if used.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives back what Acquire took, exactly once.
func (c *Circuit) Release(k Kind) { c.of[k].used.Add(-1) }

// InUse is how many there are now.
func (c *Circuit) InUse(k Kind) int { return int(c.of[k].used.Load()) }

// Limit is how many there may be; 0 is any number.
func (c *Circuit) Limit(k Kind) int { return int(c.of[k].limit.Load()) }

// Refused is how many there was no room for so far.
func (c *Circuit) Refused(k Kind) uint64 { return c.of[k].refused.Load() }
