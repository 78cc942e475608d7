package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"viaduct/snapshot"
)

// Run serves until ctx ends, then drains: the listeners close at once, idle
// connections too, exchanges and tunnels are given their drain timeout. It
// returns ErrCut when some were cut, or when hurry ended, which ends the drain
// at once.
func (s *Server) Run(ctx, hurry context.Context) error {
	logged, stopLog := s.runLog()
	defer s.endLog(logged, stopLog)
	again := s.open()
	s.background.Add(1)
	go s.watchdog(ctx)
	go s.watch(ctx, again) // not waited for: the file may hang
	go s.tellFailures(ctx) // neither: standard error may
	s.ready.Store(true)
	s.tellSystemd(readyState)
	<-ctx.Done()
	s.ready.Store(false)
	retired := s.last()
	s.tellSystemd(stoppingState)
	err := s.drain(hurry, retired)
	s.background.Wait()
	s.watched.End()
	close(s.staff.stopped)
	s.current.Load().Close()
	s.admin.end(hurry)
	return err
}

// open begins to accept, and to answer on the admin address. It tells whether a
// reload has been asked for meanwhile.
func (s *Server) open() (again bool) {
	s.state.Lock()
	defer s.state.Unlock()
	s.running = true
	for _, key := range slices.Sorted(maps.Keys(s.listeners)) {
		s.begin(s.listeners[key])
	}
	s.watched.Only(s.current.Load().Pools())
	s.admin.start(s.log)
	return s.asked
}

// begin has a listener accept.
func (s *Server) begin(l *listener) {
	addr := l.Addr().String()
	if l.secure() {
		addr = "https://" + addr
	}
	s.log.Info("listening", "addr", addr)
	go s.accept(l)
}

// last ends the time of changes, and returns what is still going because of
// former ones.
func (s *Server) last() []*retiree {
	s.state.Lock()
	defer s.state.Unlock()
	s.running = false
	return slices.Collect(maps.Keys(s.retired))
}

// drain ends the entries and what is still going, each within its own time.
func (s *Server) drain(hurry context.Context, retired []*retiree) error {
	now := s.current.Load()
	listeners := map[*snapshot.Entry][]*listener{}
	for _, l := range now.listeners {
		listeners[l.entry.Load()] = append(listeners[l.entry.Load()], l)
	}
	parts := len(now.Entries) + len(retired)
	errs := make(chan error, parts)
	for _, e := range now.Entries {
		go s.endEntry(hurry, e, listeners[e], errs)
	}
	for _, r := range retired {
		go r.end(hurry, errs)
	}
	var err error
	for range parts {
		err = errors.Join(err, <-errs)
	}
	return err
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
