package server

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"viaduct/config"
	"viaduct/door"
)

// listener is a door, and the front behind it.
type listener struct {
	*door.Listener
	front atomic.Pointer[front]
	done  chan struct{} // closed when nobody accepts any more
}

// listenKeys are the keys of the listeners of each entry: their addresses, and a
// number behind those that come again, which only port 0 may.
func listenKeys(conf *config.Config) [][]string {
	seen := map[string]int{}
	keys := make([][]string, len(conf.Forward))
	for i := range conf.Forward {
		for _, l := range conf.Forward[i].Listen {
			key := l
			if _, rest, ok := strings.Cut(l, "://"); ok {
				key = strings.TrimSuffix(rest, "/")
			}
			if n := seen[key]; n > 0 {
				keys[i] = append(keys[i], fmt.Sprintf("%s#%d", key, n))
			} else {
				keys[i] = append(keys[i], key)
			}
			seen[key]++
		}
	}
	return keys
}

// listen takes a socket that systemd has opened, or opens one, if need be beside
// those that the change will close.
func (s *Server) listen(c *change, key string) (*door.Listener, error) {
	addr, _, _ := strings.Cut(key, "#")
	if l, err := door.Claim(&s.inherited, addr); l != nil || err != nil {
		return l, err
	}
	l, err := door.Open(addr)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	_, port, _ := net.SplitHostPort(addr)
	var going []*door.Listener
	for key, l := range s.listeners {
		if _, p, _ := net.SplitHostPort(key); p == port && !c.wanted[key] {
			going = append(going, l.Listener)
		}
	}
	if len(going) == 0 {
		return nil, err
	}
	return door.OpenBeside(addr, going)
}

// Pauses between tries when accepting fails, which is when descriptors or
// memory run out: then connections that end make room.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// accept is the goroutine of a listener.
func (s *Server) accept(l *listener) {
	defer close(l.done)
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
		if pause == firstPause {
			s.log.Error("accept fails", "addr", l.Addr().String(), "error", err)
		}
		s.relieve(l.front.Load())
		<-time.After(pause)
		pause = min(2*pause, lastPause)
	}
}
