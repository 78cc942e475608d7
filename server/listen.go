package server

import (
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"viaduct/descriptors"
	"viaduct/door"
	"viaduct/forward"
	"viaduct/relay"
	"viaduct/snapshot"
	"viaduct/tap"
)

// listener is a door, the entry behind it, and who came in. One that the
// configuration has no more keeps its last entry.
type listener struct {
	*door.Listener
	key      string
	entry    atomic.Pointer[snapshot.Entry]
	current  func() *forward.Proxy // l.proxy, made once
	tunnels  relay.Set
	draining atomic.Bool
	accepted chan struct{}     // closed when nobody accepts any more
	failures descriptors.Tally // of accepting
	away     descriptors.Tally // of clients

	clients sync.Mutex                    // guards what follows
	all     map[*forward.Client]time.Time // without a tunnel; since when
	serving int                           // the same, those among them that have only just come
}

func newListener(key string, d *door.Listener) *listener {
	l := &listener{Listener: d, key: key, accepted: make(chan struct{}), all: map[*forward.Client]time.Time{}}
	l.current = l.proxy
	return l
}

// proxy is the proxy of the moment.
func (l *listener) proxy() *forward.Proxy { return l.entry.Load().Proxy }

// secure tells whether it speaks TLS.
func (l *listener) secure() bool { return l.entry.Load().Speaks(l.key) }

// isClosed tells whether nobody accepts any more.
func (l *listener) isClosed() bool {
	select {
	case <-l.accepted:
		return true
	default:
		return false
	}
}

// expect says that a client will be served.
func (l *listener) expect() {
	l.clients.Lock()
	l.serving++
	l.clients.Unlock()
}

// serve answers one client, who was expected and counted in at f. What the
// goroutine needed for the one before, it may use again.
func (l *listener) serve(nc net.Conn, f *snapshot.Front, old *forward.Client) *forward.Client {
	if l.secure() {
		nc = f.Vault.Server(tap.New(nc, nil))
	}
	home := forward.Home{Current: l.current, Draining: &l.draining, Tunnels: &l.tunnels, Ended: f.Release}
	c := forward.Accept(nc, home, old)
	l.clients.Lock()
	l.all[c] = time.Now()
	l.clients.Unlock()
	c.Serve()
	l.clients.Lock()
	delete(l.all, c)
	l.serving--
	l.clients.Unlock()
	return c
}

// each does something to every client that has no tunnel, and tells how many
// there are, those among them that have only just come.
func (l *listener) each(do func(c *forward.Client, since time.Time)) int {
	l.clients.Lock()
	defer l.clients.Unlock()
	for c, since := range l.all {
		do(c, since)
	}
	return l.serving
}

// shed looks at up to n clients, and closes those that wait for their next
// request and have been here for a moment. It returns how many.
func (l *listener) shed(n int) (closed int) {
	l.clients.Lock()
	defer l.clients.Unlock()
	for c, since := range l.all {
		if n--; n < 0 {
			break
		}
		if time.Since(since) > time.Second && c.Discard() {
			closed++
		}
	}
	return closed
}

// listen takes a socket that systemd has opened, or opens one.
func (s *Server) listen(key string) (*door.Listener, error) {
	addr, _, _ := strings.Cut(key, "#")
	if l, err := door.Claim(&s.inherited, addr); l != nil || err != nil {
		return l, err
	}
	l, err := door.Open(addr)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	for _, old := range s.closing { // one of ours may be about to close there
		<-old.accepted
	}
	return door.Open(addr)
}

// listenBeside opens a socket whose address overlaps with those of listeners
// that the change will close.
func (s *Server) listenBeside(c *change, key string, inUse error) (*door.Listener, error) {
	addr, _, _ := strings.Cut(key, "#")
	_, port, _ := net.SplitHostPort(addr)
	var going []*door.Listener
	for key, l := range s.listeners {
		if _, p, _ := net.SplitHostPort(key); p == port && !c.wanted[key] {
			going = append(going, l.Listener)
		}
	}
	if len(going) == 0 {
		return nil, inUse
	}
	return door.OpenBeside(addr, going)
}

// Pauses between tries when accepting fails, which is when descriptors or
// memory run out: then connections that end make room.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 200 * time.Millisecond
)

// accept is the goroutine of a listener.
func (s *Server) accept(l *listener) {
	defer close(l.accepted)
	pause := firstPause
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = firstPause
			s.admit(l, nc)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if n := l.failures.Count(time.Minute); n > 0 {
			s.log.Error("accept fails", "addr", l.Addr().String(), "error", err, "count", n)
		}
		s.relieve()
		<-time.After(pause)
		pause = min(2*pause, lastPause)
	}
}
