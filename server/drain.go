package server

import (
	"context"
	"time"

	"viaduct/exchange"
	"viaduct/forward"
	"viaduct/snapshot"
)

// empty waits until listeners that have been called last have neither clients
// nor tunnels. Connections that owe a request are closed, exchanges and tunnels
// end by themselves. When ctx ends they are cut, and the error is ErrCut.
func empty(ctx context.Context, listeners []*listener) error {
	for _, l := range listeners {
		<-l.accepted
		l.draining.Store(true)
	}
	cut := finish(ctx, listeners)
	for _, l := range listeners { // no client is left who could begin a tunnel
		if l.tunnels.Drain(ctx) != nil {
			cut = ErrCut
		}
	}
	return cut
}

// finish closes the connections that owe a request, now and as exchanges end,
// until none is left. When ctx ends it cuts them, again and again: one that is
// just about to wait, or to linger, would not notice once.
func finish(ctx context.Context, listeners []*listener) (cut error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	over := ctx.Done()
	end := func(c *forward.Client, since time.Time) {
		if time.Since(since) > exchange.DrainFirst { // else its first request is on the way
			c.Discard()
		}
	}
	for {
		left := 0
		for _, l := range listeners {
			left += l.each(end)
		}
		if left == 0 {
			return cut
		}
		select {
		case <-over:
			over, cut = nil, ErrCut
			end = func(c *forward.Client, _ time.Time) { c.Cut() }
		case <-tick.C:
		}
	}
}

// retiree is a listener that the configuration has no more: it lasts until its
// last client or tunnel has gone.
type retiree struct {
	cut     context.CancelFunc
	timeout time.Duration // that it has when the process ends
	done    chan error
}

// retire sees a listener off.
func (s *Server) retire(l *listener) {
	ctx, cut := context.WithCancel(context.Background())
	r := &retiree{cut: cut, timeout: l.entry.Load().Conf.DrainTimeout, done: make(chan error, 1)}
	s.closing = append(s.closing, l)
	s.retired[r] = struct{}{}
	go s.seeOff(ctx, r, l)
}

// seeOff is the goroutine of a retiree.
func (s *Server) seeOff(ctx context.Context, r *retiree, l *listener) {
	defer r.cut()
	r.done <- empty(ctx, []*listener{l})
	s.state.Lock()
	delete(s.retired, r)
	s.state.Unlock()
}

// end gives a retiree the time that is left when the process ends.
func (r *retiree) end(hurry context.Context, ended chan<- error) {
	timer := time.NewTimer(r.timeout)
	defer timer.Stop()
	select {
	case err := <-r.done:
		ended <- err
		return
	case <-timer.C:
	case <-hurry.Done():
	}
	r.cut()
	ended <- <-r.done
}

// endEntry closes the listeners of an entry, and lets what is under way end
// within the drain timeout.
func (s *Server) endEntry(hurry context.Context, e *snapshot.Entry, listeners []*listener, ended chan<- error) {
	s.linger(hurry, e.Conf.DrainGrace)
	clients, tunnels := 0, 0
	for _, l := range listeners {
		l.CallLast()
		l.draining.Store(true) // before it is told
		clients += l.each(func(*forward.Client, time.Time) {})
		tunnels += l.tunnels.Len()
	}
	ctx, cancel := context.WithTimeout(hurry, e.Conf.DrainTimeout)
	defer cancel()
	s.log.Info("draining", "listener", e.Front.Name, "clients", clients, "tunnels", tunnels)
	err := empty(ctx, listeners)
	if err != nil {
		s.log.Warn("exchanges or tunnels were cut", "listener", e.Front.Name)
	}
	ended <- err
}

// linger goes on accepting for the drain grace, while balancers in front learn
// that this instance is going.
func (s *Server) linger(hurry context.Context, grace time.Duration) {
	if grace <= 0 {
		return
	}
	s.log.Info("drain grace", "duration", grace)
	ctx, cancel := context.WithTimeout(hurry, grace)
	defer cancel()
	<-ctx.Done()
}
