package server

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"viaduct/config"
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

// version tells one state of a file from another.
type version struct {
	inode    uint64
	size     int64
	modified time.Time
}

// versionOf is the version of the file that path leads to at last; the zero one
// when there is none.
func versionOf(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{}
	}
	v := version{size: info.Size(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		v.inode = st.Ino
	}
	return v
}

// load asks for the configuration, and notes which version of the file it is.
func (s *Server) load() (*config.Config, error) {
	if s.o.File != "" {
		v := versionOf(s.o.File)
		s.taken.Store(&v)
	}
	return s.o.Load()
}

// watch is the goroutine that reloads when the configuration file changes. It
// looks instead of asking to be told: that sees a link that leads elsewhere,
// which is how Kubernetes changes files, and works on every file system.
//
// A reload that was asked for before the start comes first.
func (s *Server) watch(ctx context.Context, reload bool) {
	if reload {
		_ = s.Reload() // it has told
	}
	if s.o.File == "" {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	seen := *s.taken.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := versionOf(s.o.File)
		settled := now == seen
		seen = now
		if !settled || now == *s.taken.Load() || now == (version{}) {
			continue
		}
		if s.current.Load().conf.Watch {
			_ = s.Reload() // it has told
		} else {
			s.taken.Store(&now)
		}
	}
}
