package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
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
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.reloading.TryLock() {
			s.reloading.Unlock()
			s.tellSystemd(daemon.SdNotifyWatchdog)
		}
	}
}

// inherit takes the sockets over that systemd has opened for this process
// (sd_listen_fds(3)).
func inherit() ([]*net.TCPListener, error) {
	var list []*net.TCPListener
	for _, f := range activation.Files(true) {
		l, err := net.FileListener(f)
		_ = f.Close()
		if err != nil {
			closeAll(list)
			return nil, fmt.Errorf("socket %s of systemd: %w", f.Name(), err)
		}
		t, ok := l.(*net.TCPListener)
		if !ok {
			_ = l.Close()
			closeAll(list)
			return nil, fmt.Errorf("socket %s of systemd is no listening TCP socket: use ListenStream= with an address", f.Name())
		}
		list = append(list, t)
	}
	return list, nil
}

func closeAll(list []*net.TCPListener) {
	for _, l := range list {
		_ = l.Close()
	}
}

func (s *Server) closeInherited() {
	closeAll(s.inherited)
	s.inherited = nil
}

// claim returns the inherited socket for an address, or nil.
func (s *Server) claim(addr string) (*net.TCPListener, error) {
	if len(s.inherited) == 0 {
		return nil, nil
	}
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	for i, l := range s.inherited {
		if !same(want.AddrPort(), l.Addr().(*net.TCPAddr).AddrPort()) {
			continue
		}
		s.inherited = append(s.inherited[:i:i], s.inherited[i+1:]...)
		raw, err := l.SyscallConn()
		if err == nil {
			err = setProbes("", "", raw)
		}
		return l, err
	}
	return nil, nil
}

// same tells whether two addresses to listen on are the same one. All addresses
// of IPv4 and of IPv6 are alike here: one socket serves both.
func same(a, b netip.AddrPort) bool {
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	everywhere := func(ip netip.Addr) bool { return !ip.IsValid() || ip.IsUnspecified() }
	return a.Port() == b.Port() && (x == y || everywhere(x) && everywhere(y))
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

// watch is the goroutine that reloads when the configuration file changes. It
// looks instead of asking to be told: that sees a link that leads elsewhere,
// which is how Kubernetes changes files, and works on every file system.
func (s *Server) watch(ctx context.Context) {
	defer s.background.Done()
	if s.o.File == "" {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	taken := versionOf(s.o.File)
	seen := taken
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := versionOf(s.o.File)
		settled := now == seen
		seen = now
		if !settled || now == taken || now == (version{}) {
			continue
		}
		taken = now
		if s.current.Load().conf.Watch {
			_ = s.Reload() // it has told
		}
	}
}
