// Package door is what stands before HTTP: the sockets that clients come in
// through. They are opened here, or taken over from systemd, and they close
// without losing a client that has come already.
package door

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a socket that clients come in through. One goroutine accepts; the
// other methods may be called from any.
type Listener struct {
	tcp *net.TCPListener
	end time.Time // of the last call; zero before it
}

// Open listens on an address. 0.0.0.0 is every address of IPv4 and no other; [::],
// or none, is every address of both families.
func Open(addr string) (*Listener, error) { return open(addr, setProbes) }

// OpenBeside listens on an address that overlaps with those of listeners which
// are about to close, 0.0.0.0:3128 with 127.0.0.1:3128 say. For that moment they
// share the port; never with another process.
func OpenBeside(addr string, going []*Listener) (*Listener, error) {
	share(1, going...)
	defer share(0, going...)
	l, err := open(addr, func(network, address string, raw syscall.RawConn) error {
		return errors.Join(setProbes(network, address, raw), setShared(raw, 1))
	})
	if err == nil {
		share(0, l)
	}
	return l, err
}

func open(addr string, control func(string, string, syscall.RawConn) error) (*Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: control}
	lc.SetMultipathTCP(false) // its accept costs more, and no peer speaks it
	l, err := lc.Listen(context.Background(), network(addr), addr)
	if err != nil {
		return nil, err
	}
	return &Listener{tcp: l.(*net.TCPListener)}, nil
}

// network is what to listen with: package net takes 0.0.0.0 for [::] unless it is
// told, and would let clients in by addresses that nobody wrote.
func network(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().Is4() {
		return "tcp4"
	}
	return "tcp"
}

// Addr is the address that it listens on.
func (l *Listener) Addr() netip.AddrPort { return l.tcp.Addr().(*net.TCPAddr).AddrPort() }

// Socket is the listener as the standard library knows it.
func (l *Listener) Socket() net.Listener { return l.tcp }

// Close closes the socket. Who waits in its queue is reset.
func (l *Listener) Close() { _ = l.tcp.Close() }

// CallLast ends accepting. A client whose connection waits in the queue takes it
// for open, and would lose its request: those are still let in, then Accept
// closes the socket.
func (l *Listener) CallLast() { _ = l.tcp.SetDeadline(time.Now()) }

// A queue is empty when nothing comes for lastWait. Where something always
// comes, the socket closes after lastCall.
const (
	lastWait = time.Millisecond
	lastCall = 300 * time.Millisecond
)

// Accept waits for a client. Its error is net.ErrClosed when no more will come;
// any other may pass.
func (l *Listener) Accept() (*net.TCPConn, error) {
	for {
		if !l.end.IsZero() {
			if time.Now().After(l.end) {
				return nil, l.over()
			}
			_ = l.tcp.SetDeadline(time.Now().Add(lastWait))
		}
		nc, err := l.tcp.AcceptTCP()
		switch {
		case err == nil:
			return nc, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case l.end.IsZero():
			l.end = time.Now().Add(lastCall)
		case !l.isCalled(): // the deadline may have passed before its time came to run
			return nil, l.over()
		}
	}
}

// isCalled tells whether somebody waits in the queue.
func (l *Listener) isCalled() bool {
	var n int
	raw, err := l.tcp.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		})
	}
	return err == nil && n > 0
}

func (l *Listener) over() error {
	l.Close()
	return net.ErrClosed
}

// Keep-alive probes find a client that vanished within half a minute. They are
// set on the listening socket, from which Linux passes them on to each
// connection: that costs no system call per connection.
const (
	probeIdle  = 15
	probeEvery = 5
	probeCount = 3
)

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
	return errors.Join(c.Control(set), err)
}

func share(on int, list ...*Listener) {
	for _, l := range list {
		if raw, err := l.tcp.SyscallConn(); err == nil {
			_ = setShared(raw, on)
		}
	}
}

func setShared(raw syscall.RawConn, on int) error {
	const soReusePort = 0xf // SO_REUSEPORT, which package syscall lacks on some machines
	var err error
	set := func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soReusePort, on) }
	return errors.Join(raw.Control(set), err)
}
