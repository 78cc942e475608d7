package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// Run serves until ctx ends, then drains: the listeners close at once, idle
// connections too, exchanges and tunnels are given their drain timeout. It
// returns ErrCut when some were cut, or when hurry ended, which ends the drain
// at once.
func (s *Server) Run(ctx, hurry context.Context) error {
	logged, stopLog := s.runLog()
	defer s.endLog(logged, stopLog)
	s.open()
	s.background.Add(2)
	go s.watch(ctx)
	go s.watchdog(ctx)
	s.ready.Store(true)
	s.tellSystemd(readyState)
	<-ctx.Done()
	s.ready.Store(false)
	s.tellSystemd(stoppingState)
	err := s.drain(hurry, s.last())
	s.background.Wait()
	close(s.staff.stopped)
	for _, t := range s.current.Load().transits {
		t.pool.Close()
	}
	for _, r := range s.current.Load().resolvers {
		r.Close()
	}
	s.admin.end()
	return err
}

// open begins to accept, and to answer on the admin address.
func (s *Server) open() {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.running = true
	for _, key := range slices.Sorted(maps.Keys(s.listeners)) {
		s.begin(s.listeners[key])
	}
	s.admin.start(s.log)
	if s.asked {
		_ = s.reloadTold() // it has told
	}
}

// begin has a listener accept.
func (s *Server) begin(l *listener) {
	s.log.Info("listening", "addr", l.Addr().String())
	go s.accept(l)
}

// last ends the time of changes, and returns the fronts that are left to be
// ended, with their listeners.
func (s *Server) last() map[*front][]*listener {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	s.running = false
	fronts := map[*front][]*listener{}
	for f := range s.retired {
		fronts[f] = nil
	}
	for _, l := range s.listeners {
		f := l.front.Load()
		fronts[f] = append(fronts[f], l)
	}
	return fronts
}

// drain ends the fronts, each within its own time.
func (s *Server) drain(hurry context.Context, fronts map[*front][]*listener) error {
	errs := make(chan error, len(fronts))
	for f, listeners := range fronts {
		go s.endFront(hurry, f, listeners, errs)
	}
	var err error
	for range fronts {
		err = errors.Join(err, <-errs)
	}
	return err
}

// endFront closes the listeners of a front, and lets what is under way end
// within the drain timeout.
func (s *Server) endFront(hurry context.Context, f *front, listeners []*listener, ended chan<- error) {
	conf := f.live.Load().conf
	if len(listeners) > 0 {
		s.linger(hurry, conf.DrainGrace)
	}
	for _, l := range listeners {
		l.CallLast()
	}
	for _, l := range listeners {
		<-l.done
	}
	ctx, cancel := context.WithTimeout(hurry, conf.DrainTimeout)
	defer cancel()
	s.log.Info("draining", "clients", f.count(), "tunnels", f.tunnels.Len())
	err := f.drain(ctx)
	if err != nil {
		s.log.Warn("exchanges or tunnels were cut at the drain deadline")
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
	s.access.Run(ctx, s.logFailed)
}

// endLog has the access log written out, unless nobody takes it.
func (s *Server) endLog(logged <-chan struct{}, stop context.CancelFunc) {
	stop()
	select {
	case <-logged:
		if s.out != nil {
			_ = s.out.Close()
		}
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
