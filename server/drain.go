package server

import (
	"context"
	"time"

	"viaduct/exchange"
	"viaduct/forward"
)

// empty waits until listeners that have been called last, and a front whose
// entry is over, have neither clients nor tunnels; f may be nil. Connections
// that owe a request are closed, exchanges and tunnels end by themselves. When
// ctx ends they are cut, and the error is ErrCut.
func empty(ctx context.Context, listeners []*listener, f *front) error {
	for _, l := range listeners {
		<-l.accepted
		l.draining.Store(true)
	}
	cut := finish(ctx, listeners)
	if f != nil && f.tunnels.Drain(ctx) != nil {
		cut = ErrCut
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

// retiree is a listener or a front that the configuration has no more: it lasts
// until its last client or tunnel has gone.
type retiree struct {
	cut     context.CancelFunc
	timeout time.Duration // that it has when the process ends
	done    chan error
}

// retire sees a listener, or a front, off.
func (s *Server) retire(l *listener, f *front) {
	ctx, cut := context.WithCancel(context.Background())
	r := &retiree{cut: cut, done: make(chan error, 1)}
	var listeners []*listener
	if l != nil {
		listeners = []*listener{l}
		s.closing = append(s.closing, l)
		r.timeout = l.front.Load().live.Load().conf.DrainTimeout
	} else {
		r.timeout = f.live.Load().conf.DrainTimeout
	}
	s.retired[r] = struct{}{}
	go s.seeOff(ctx, r, listeners, f)
}

// seeOff is the goroutine of a retiree.
func (s *Server) seeOff(ctx context.Context, r *retiree, listeners []*listener, f *front) {
	defer r.cut()
	r.done <- empty(ctx, listeners, f)
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
func (s *Server) endEntry(hurry context.Context, e *entry, listeners []*listener, ended chan<- error) {
	s.linger(hurry, e.conf.DrainGrace)
	clients := 0
	for _, l := range listeners {
		l.CallLast()
		clients += l.each(func(*forward.Client, time.Time) {})
	}
	ctx, cancel := context.WithTimeout(hurry, e.conf.DrainTimeout)
	defer cancel()
	s.log.Info("draining", "listener", e.front.name, "clients", clients, "tunnels", e.front.tunnels.Len())
	err := empty(ctx, listeners, e.front)
	if err != nil {
		s.log.Warn("exchanges or tunnels were cut", "listener", e.front.name)
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
