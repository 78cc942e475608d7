package server

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"viaduct/auth"
	"viaduct/files"
	"viaduct/forward"
	"viaduct/metrics"
	"viaduct/snapshot"
)

// refresh reads files that the configuration in force names, because they have
// changed. Of one that is no good, what was read before stays, and only that: a
// broken list must not keep a user in who was removed.
func (s *Server) refresh(changed []string) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if !s.mayChange() {
		return
	}
	c, fine := &change{listeners: maps.Clone(s.listeners), admin: s.admin}, true
	now := s.current.Load()
	err := s.build(c, now.Conf, files.Again(now.Files, changed, func(err error) { fine = false; s.stale(err) }))
	if err != nil {
		s.stale(err)
	}
	s.metrics.Reloaded(err == nil && fine)
	s.state.Lock()
	defer s.state.Unlock()
	if s.running && err == nil {
		s.enter(c)
		if fine {
			s.log.Info("changed files are taken", "files", strings.Join(changed, " "))
		}
	}
}

func (s *Server) stale(err error) {
	s.log.Error("changed file is not taken, what was read before stays", "error", err)
}

// shareProcessor gives password hashes a processor of Go's beside the one that
// serves, where the machine has but one. The kernel then shares that between them
// by their rank, in milliseconds; Go would give a hash ten of them at a time.
func shareProcessor(now *present) {
	hashes := slices.ContainsFunc(now.Entries, func(e *snapshot.Entry) bool { return e.Conf.Users != "" })
	if hashes && runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
}

// tellRemarks tells what the operator may not know, when it is new.
func (s *Server) tellRemarks(old, now *present) {
	known := map[string]bool{}
	if old != nil {
		for _, remark := range old.Remarks() {
			known[remark] = true
		}
	}
	for _, remark := range now.Remarks() {
		if !known[remark] {
			s.log.Warn("policy", "remark", remark)
		}
	}
}

// recheck ends the tunnels that are not to be any more.
func (s *Server) recheck(p *present) {
	var listeners []*listener
	for _, l := range p.listeners {
		if l.entry.Load().Conf.ReloadTunnels == "recheck" {
			listeners = append(listeners, l)
		}
	}
	if len(listeners) > 0 {
		go recheckTunnels(listeners)
	}
}

// recheckTunnels is the goroutine that looks at the tunnels of listeners.
func recheckTunnels(listeners []*listener) {
	for _, l := range listeners {
		proxy := l.entry.Load().Proxy
		l.tunnels.Each(func(tag any, cut func(error)) {
			if t, ok := tag.(*forward.Passage); ok {
				if err := proxy.Recheck(t); err != nil {
					cut(err)
				}
			}
		})
	}
}

// failure is a wrong password at a front.
type failure struct {
	auth.Failure
	front string
}

// failed has a wrong password told, unless too many are: nobody who is checked
// waits for standard error.
func (s *Server) failed(f *snapshot.Front, why auth.Failure) {
	select {
	case s.failures <- failure{why, f.Name}:
	default:
		s.untold.Add(1)
	}
}

// Bounds of the lines about wrong passwords.
const (
	failuresHeld = 64
	failureEvery = 50 * time.Millisecond
	mostUserName = 128
)

// tellFailures is the goroutine that tells of wrong passwords, in lines that say
// where they came from, and of how many it did not tell.
func (s *Server) tellFailures(ctx context.Context) {
	tick := time.NewTicker(failureEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-s.failures:
			s.log.Warn("authentication failed", "client", f.Client.String(), "user", f.User[:min(len(f.User), mostUserName)], "listener", f.front)
			if f.Last {
				s.log.Warn("too many authentications failed, the next ones are refused unchecked", "client", f.Client.String(), "listener", f.front)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n := s.untold.Swap(0); n > 0 {
			s.log.Warn("more authentications failed", "count", n)
		}
	}
}

// lists are the sizes of the lists in use, by file.
func (s *Server) lists() map[string]metrics.ListSize {
	sizes := map[string]metrics.ListSize{}
	for _, e := range s.current.Load().Entries {
		for path, l := range e.Policy.Lists {
			sizes[path] = metrics.ListSize{Names: l.Values, Skipped: l.Skipped}
		}
	}
	return sizes
}

// Explain says what would become of a request.
func (s *Server) Explain(q forward.Question) ([]forward.Explanation, error) {
	return s.current.Load().Explain(&q)
}
