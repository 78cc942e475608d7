package server

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"viaduct/exchange"
	"viaduct/forward"
)

// Run serves until ctx ends, then drains: the listeners close at once, idle
// connections too, exchanges and tunnels are given the drain timeout. It returns
// ErrCut when some were cut, or when hurry ended, which ends the drain at once.
func (s *Server) Run(ctx, hurry context.Context) error {
	logged, stopLog := s.runLog()
	defer s.endLog(logged, stopLog)
	failed := make(chan error, len(s.listeners))
	accepting := len(s.listeners)
	for _, l := range s.listeners {
		s.log.Info("listening", "addr", l.Addr().String())
		go s.accept(l, failed)
	}
	var err error
	select {
	case <-ctx.Done():
		s.linger(hurry)
	case err = <-failed:
		accepting--
	}
	s.callLast()
	for range accepting {
		<-failed
	}
	return errors.Join(err, s.drain(hurry))
}

// linger goes on accepting for the drain grace, while balancers in front learn
// that this instance is going.
func (s *Server) linger(hurry context.Context) {
	if s.conf.DrainGrace <= 0 {
		return
	}
	s.log.Info("drain grace", "duration", s.conf.DrainGrace)
	ctx, cancel := context.WithTimeout(hurry, s.conf.DrainGrace)
	defer cancel()
	<-ctx.Done()
}

// runLog starts the access log. The channel closes when it has written all.
func (s *Server) runLog() (<-chan struct{}, context.CancelFunc) {
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go s.writeLog(ctx, done)
	return done, cancel
}

// writeLog is the goroutine of the access log.
func (s *Server) writeLog(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	if s.access != nil {
		s.access.Run(ctx, s.logFailed)
	}
}

// endLog has the access log written out, unless nobody takes it.
func (s *Server) endLog(logged <-chan struct{}, stop context.CancelFunc) {
	stop()
	select {
	case <-logged:
		s.closeLog()
	case <-time.After(2 * time.Second):
		s.log.Error("access log cannot be written out")
	}
}

func (s *Server) logFailed(err error) {
	if err != nil {
		s.log.Error("access log cannot be written", "error", err)
		return
	}
	s.log.Info("access log is written again")
}

func (s *Server) closeLog() {
	if s.out != nil {
		_ = s.out.Close()
	}
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// callLast ends accepting. A client whose connection waits in a listener's queue
// takes it for open, and would lose its request: those are still let in.
func (s *Server) callLast() {
	for _, l := range s.listeners {
		_ = l.SetDeadline(time.Now())
	}
}

// A queue is empty when nothing comes for lastWait. Where something always
// comes, the listener closes after lastCall.
const (
	lastWait = time.Millisecond
	lastCall = 100 * time.Millisecond
)

// Pauses between tries when accepting fails, which is when descriptors or
// memory run out: then connections that end make room.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// accept is the goroutine of a listener.
func (s *Server) accept(l *net.TCPListener, failed chan<- error) {
	defer func() { _ = l.Close(); failed <- nil }()
	pause := firstPause
	var end time.Time // of the last call
	for {
		if !end.IsZero() {
			_ = l.SetDeadline(time.Now().Add(lastWait))
		}
		nc, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed), !end.IsZero() && (err != nil || time.Now().After(end)):
			if err == nil {
				s.begin(nc)
			}
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			end = time.Now().Add(lastCall)
			continue
		}
		if err != nil {
			if pause == firstPause {
				s.log.Error("accept fails", "addr", l.Addr().String(), "error", err)
			}
			<-time.After(pause)
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		s.begin(nc)
	}
}

// begin has a connection served.
func (s *Server) begin(nc net.Conn) {
	s.serving.Add(1)
	select {
	case s.ready <- nc:
	default:
		go s.work(nc)
	}
}

// maxSpare is how many goroutines wait for the next connection: their stacks
// have grown already, which is most of what a new one costs.
const maxSpare = 64

// work is the goroutine of a client connection, and then of others.
func (s *Server) work(nc net.Conn) {
	var c *forward.Client
	for {
		c = s.serve(nc, c)
		if s.spare.Add(1) > maxSpare {
			s.spare.Add(-1)
			return
		}
		select {
		case nc = <-s.ready:
			s.spare.Add(-1)
		case <-s.stopped:
			return
		}
	}
}

// serve answers one client. What the goroutine needed for the one before, it
// may use again.
func (s *Server) serve(nc net.Conn, old *forward.Client) *forward.Client {
	defer s.serving.Done()
	c := s.proxy.Accept(nc, old)
	s.clients.Lock()
	s.clients.all[c] = time.Now()
	s.clients.Unlock()
	c.Serve()
	s.clients.Lock()
	delete(s.clients.all, c)
	s.clients.Unlock()
	return c
}

// drain ends what is under way, within the drain timeout.
func (s *Server) drain(hurry context.Context) error {
	ctx, cancel := context.WithTimeout(hurry, s.conf.DrainTimeout)
	defer cancel()
	s.draining.Store(true)
	s.log.Info("draining", "clients", s.count(), "tunnels", s.tunnels.Len())
	served := make(chan struct{})
	go s.waitServed(served)
	cut := s.finish(ctx, served)
	if err := s.tunnels.Drain(ctx); err != nil {
		s.log.Warn("tunnels were cut", "error", err)
		cut = ErrCut
	}
	<-served
	close(s.stopped)
	s.pool.Close()
	return cut
}

func (s *Server) waitServed(served chan<- struct{}) {
	s.serving.Wait()
	close(served)
}

// finish closes the connections that owe a request, now and as exchanges end,
// until none is left. When ctx ends it cuts them, again and again: one that is
// just about to wait, or to linger, would not notice once.
func (s *Server) finish(ctx context.Context, served <-chan struct{}) (cut error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	over := ctx.Done()
	end := func(c *forward.Client, since time.Time) {
		if time.Since(since) > exchange.DrainFirst { // else its first request is on the way
			c.Discard()
		}
	}
	for {
		s.each(end)
		select {
		case <-served:
			return cut
		case <-over:
			over, cut = nil, ErrCut
			end = func(c *forward.Client, _ time.Time) { c.Cut() }
		case <-tick.C:
		}
	}
}

// each does something to every client that has no tunnel.
func (s *Server) each(do func(c *forward.Client, since time.Time)) {
	s.clients.Lock()
	defer s.clients.Unlock()
	for c, since := range s.clients.all {
		do(c, since)
	}
}

func (s *Server) count() int {
	s.clients.Lock()
	defer s.clients.Unlock()
	return len(s.clients.all)
}
