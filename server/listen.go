package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"viaduct/config"
)

// listener is a socket that clients come in through.
type listener struct {
	socket *net.TCPListener
	front  atomic.Pointer[front] // that serves them
	done   chan struct{}         // closed when nobody accepts any more
}

func (l *listener) addr() netip.AddrPort { return l.socket.Addr().(*net.TCPAddr).AddrPort() }

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

// Keep-alive probes find a client that vanished within half a minute. They are
// set on the listening socket, from which Linux passes them on to each
// connection: that costs no system call per connection.
const (
	probeIdle  = 15
	probeEvery = 5
	probeCount = 3
)

// listen takes a socket that systemd has opened, or opens one.
func (s *Server) listen(c *change, key string) (*net.TCPListener, error) {
	addr, _, _ := strings.Cut(key, "#")
	if l, err := s.claim(addr); l != nil || err != nil {
		return l, err
	}
	l, err := listenTCP(addr, setProbes)
	if errors.Is(err, syscall.EADDRINUSE) {
		return s.listenBeside(c, addr, err)
	}
	return l, err
}

func listenTCP(addr string, control func(string, string, syscall.RawConn) error) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: control}
	lc.SetMultipathTCP(false) // its accept costs more, and no peer speaks it
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// listenBeside opens a socket whose address overlaps with that of a listener of
// ours which is about to go, 0.0.0.0:3128 with 127.0.0.1:3128 say. For that
// moment both share the port; never with another process.
func (s *Server) listenBeside(c *change, addr string, inUse error) (*net.TCPListener, error) {
	_, port, _ := net.SplitHostPort(addr)
	var going []*net.TCPListener
	for key, l := range s.listeners {
		if _, p, _ := net.SplitHostPort(key); p == port && !c.wanted[key] {
			going = append(going, l.socket)
		}
	}
	if len(going) == 0 {
		return nil, inUse
	}
	for _, l := range going {
		share(l, 1)
		defer share(l, 0)
	}
	l, err := listenTCP(addr, func(network, address string, raw syscall.RawConn) error {
		return errors.Join(setProbes(network, address, raw), setShared(raw, 1))
	})
	if err != nil {
		return nil, inUse
	}
	share(l, 0)
	return l, nil
}

const soReusePort = 0xf // SO_REUSEPORT, which package syscall lacks on some machines

func share(l *net.TCPListener, on int) {
	if raw, err := l.SyscallConn(); err == nil {
		_ = setShared(raw, on)
	}
}

func setShared(raw syscall.RawConn, on int) error {
	var err error
	if e := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort, on) }); e != nil {
		return e
	}
	return err
}

func setProbes(_, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr) {
		err = errors.Join(
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, probeIdle),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, probeEvery),
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, probeCount),
		)
	}
	if e := c.Control(set); e != nil {
		return e
	}
	return err
}

// callLast ends accepting. A client whose connection waits in the queue takes it
// for open, and would lose its request: those are still let in.
func (l *listener) callLast() { _ = l.socket.SetDeadline(time.Now()) }

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
func (s *Server) accept(l *listener) {
	defer close(l.done)
	defer l.socket.Close()
	pause := firstPause
	var end time.Time // of the last call
	for {
		if !end.IsZero() {
			_ = l.socket.SetDeadline(time.Now().Add(lastWait))
		}
		nc, err := l.socket.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed), !end.IsZero() && (err != nil || time.Now().After(end)):
			if err == nil {
				s.admit(l, nc)
			}
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			end = time.Now().Add(lastCall)
			continue
		}
		if err != nil {
			if pause == firstPause {
				s.log.Error("accept fails", "addr", l.addr().String(), "error", err)
			}
			s.relieve(l.front.Load())
			<-time.After(pause)
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		s.admit(l, nc)
	}
}
