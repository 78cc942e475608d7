package server

import (
	"context"
	"errors"
	"fmt"

	"viaduct/fault"
	"viaduct/forward"
	"viaduct/pool"
	"viaduct/snapshot"
	"viaduct/verdict"
)

// enterPools has the pools be as the configuration says. It is called under s.state.
func (s *Server) enterPools(now *present) {
	if err := now.Enter(); err != nil { // it was made of what was checked
		s.log.Error("pool stays as it was", "error", err)
	}
	if s.running {
		s.watched.Only(now.Pools())
	}
}

// changedEndpoint tells what has become of an endpoint.
func (s *Server) changedEndpoint(pool string, t verdict.Transition) {
	s.log.Info("endpoint changed", "pool", pool, "endpoint", t.Endpoint, "fact", t.Fact, "from", t.From, "to", t.To, "cause", t.Cause, "standing", t.Standing.String())
}

// Status tells how the pools are.
func (s *Server) Status() snapshot.Status {
	st := s.current.Load().Status()
	st.Version = s.o.Version
	return st
}

var errNoPool = errors.New("there is no such pool")

// Pool is one of the configuration in force, to be changed while it runs: see
// package pool. What was changed stays over reloads that do not change its list.
func (s *Server) Pool(name string) (*pool.Pool, error) {
	if w := s.current.Load().Ways[name]; w != nil {
		return w.Pool, nil
	}
	return nil, fmt.Errorf("pool %q: %w", name, errNoPool)
}

// errDrained ends the tunnels of an endpoint that has no more time to drain.
var errDrained = fault.New(fault.ConnectionTerminated, errors.New("its endpoint was drained"))

// Drain takes an endpoint of a pool out, and waits until nothing is under way there.
// When ctx ends, tunnels that are left are cut; it returns how many requests and
// tunnels there were.
func (s *Server) Drain(ctx context.Context, name, id, who string) (cut int, err error) {
	p, err := s.Pool(name)
	if err != nil {
		return 0, err
	}
	cut, err = p.Drain(ctx, id, who)
	if cut == 0 {
		return 0, err
	}
	s.state.Lock()
	var listeners []*listener
	for _, l := range s.listeners {
		listeners = append(listeners, l)
	}
	listeners = append(listeners, s.closing...)
	s.state.Unlock()
	for _, l := range listeners {
		l.tunnels.Each(func(tag any, cut func(error)) {
			if t, ok := tag.(*forward.Passage); ok && t.By(p, id) {
				cut(errDrained)
			}
		})
	}
	return cut, nil
}
