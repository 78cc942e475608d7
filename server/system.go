package server

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"viaduct/config"
	"viaduct/files"
)

// What systemd is told (sd_notify(3)).
const (
	readyState    = daemon.SdNotifyReady
	stoppingState = daemon.SdNotifyStopping
)

func reloadingState() string {
	return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()
}

// tellSystemd does nothing where systemd did not ask to be told.
func (s *Server) tellSystemd(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("systemd cannot be told", "error", err)
	}
}

// watchdog is the goroutine that tells systemd, where it wants to know, that
// this process still makes progress: changes are possible, nobody holds a lock.
func (s *Server) watchdog(ctx context.Context) {
	defer s.background.Done()
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return
	}
	tick := time.NewTicker(max(every/3, time.Millisecond*10))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.state.TryLock() {
			s.state.Unlock()
			s.tellSystemd(daemon.SdNotifyWatchdog)
		}
	}
}

// A file is looked at every lookEvery. It is taken when it has stayed the same
// for that long: whoever writes it may not have finished.
const lookEvery = 500 * time.Millisecond

// load asks for the configuration, and notes which version of the file it is.
func (s *Server) load() (*config.Config, error) {
	if s.o.File != "" {
		v := files.VersionOf(s.o.File)
		s.taken.Store(&v)
	}
	return s.o.Load()
}

// watch is the goroutine that reloads when the configuration file changes, and
// refreshes when one does that it names. It looks instead of asking to be told:
// that sees a link that leads elsewhere, which is how Kubernetes changes files,
// and works on every file system.
//
// A reload that was asked for before the start comes first.
func (s *Server) watch(ctx context.Context, reload bool) {
	if reload {
		_ = s.Reload() // it has told
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	seen := s.taken.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.o.File != "" {
			seen = s.look(seen)
		}
		if changed := s.current.Load().Files.Changed(); len(changed) > 0 {
			s.refresh(changed)
		}
	}
}

// look reloads when the file has changed and settled, and returns its version.
func (s *Server) look(seen *files.Version) *files.Version {
	now := files.VersionOf(s.o.File)
	switch {
	case now != *seen, now == *s.taken.Load(), now == (files.Version{}):
	case s.current.Load().Conf.Watch:
		_ = s.Reload() // it has told
	default:
		s.taken.Store(&now)
	}
	return &now
}
