package pool

import (
	"fmt"
	"slices"
	"sync/atomic"

	"viaduct/fault"
)

// Why a request found no way out. Other reasons are the tokens of the balancer.
const (
	limited    = "limit"     // as many requests as the operator allows
	pending    = "pending"   // as many wait as the operator allows
	throttled  = "throttle"  // the pool refuses most of what it is asked
	overloaded = "adaptive"  // answers come late
	unreached  = "unreached" // no endpoint could be connected to
)

// Reasons are the keys of View.Unavailable. Who leaves while waiting has none.
func Reasons() []string {
	return []string{
		"none", "full", "panicking", "queue_full", "queue_timeout",
		limited, pending, throttled, overloaded, unreached,
	}
}

// tally counts what no endpoint does.
type tally struct {
	retries     atomic.Uint64 // further tries, hedges too
	refused     atomic.Uint64 // that were not made
	hedges      atomic.Uint64
	unavailable [16]atomic.Uint64 // by the place of the reason
}

func (t *tally) count(why string) {
	if i := slices.Index(Reasons(), why); i >= 0 {
		t.unavailable[i].Add(1)
	}
}

// refuse is the error of a request that a guard does not let in. Only the
// throttle speaks of the way out itself.
func (p *Pool) refuse(why string) error {
	if why == throttled {
		return p.unavailable(why, nil)
	}
	p.tally.count(why)
	return &fault.Error{
		Kind: fault.ConnectionLimitReached, Text: "Too many requests want to go this way.",
		Err: fmt.Errorf("pool %s: %s", p.Name(), why),
	}
}

// unavailable is the error of a request that no endpoint takes.
func (p *Pool) unavailable(why string, cause error) error {
	p.tally.count(why)
	err := fmt.Errorf("pool %s: %s", p.Name(), why)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &fault.Error{Kind: fault.DestinationUnavailable, Text: "No way out is available.", Err: err}
}
