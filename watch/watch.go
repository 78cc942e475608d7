// Package watch has the endpoints of pools checked as long as the configuration has
// the pools.
package watch

import (
	"context"

	"viaduct/pool"
)

// Set is the pools that are watched. The zero Set is empty. One goroutine uses it at a
// time.
type Set struct {
	pools map[*pool.Pool]watched
}

// watched is a pool whose endpoints are being checked.
type watched struct {
	stop context.CancelFunc
	done chan struct{}
}

// Only begins to watch those of the pools that are new, and lets go of all that are
// not among them.
func (s *Set) Only(pools []*pool.Pool) {
	wanted := map[*pool.Pool]bool{}
	if s.pools == nil {
		s.pools = map[*pool.Pool]watched{}
	}
	for _, p := range pools {
		wanted[p] = true
		if _, ok := s.pools[p]; ok {
			continue
		}
		ctx, stop := context.WithCancel(context.Background())
		w := watched{stop, make(chan struct{})}
		s.pools[p] = w
		go watch(ctx, p, w.done)
	}
	for p, w := range s.pools {
		if !wanted[p] {
			w.stop()
			p.Close()
			delete(s.pools, p)
		}
	}
}

// watch is the goroutine of a pool.
func watch(ctx context.Context, p *pool.Pool, done chan<- struct{}) {
	defer close(done)
	p.Run(ctx)
}

// End stops all, and waits until no endpoint is checked any more.
func (s *Set) End() {
	for _, w := range s.pools {
		w.stop()
	}
	for _, w := range s.pools {
		<-w.done
	}
}
