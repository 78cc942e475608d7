package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// loop is a single-threaded, level-triggered epoll loop. The generator and the
// origin both run on it, so that one core drives a proxy on another core hard.
type loop struct {
	ep     int
	h      []handler // by descriptor
	events []syscall.EpollEvent
	buf    []byte // shared read buffer
}

type handler interface{ ready(events uint32) }

const (
	evIn  = uint32(syscall.EPOLLIN)
	evOut = uint32(syscall.EPOLLOUT)
)

var epoch = time.Now()

// now is the monotonic time in nanoseconds since the program started.
func now() int64 { return int64(time.Since(epoch)) }

func newLoop() (*loop, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return &loop{ep: ep, events: make([]syscall.EpollEvent, 512), buf: make([]byte, 64<<10)}, err
}

func (l *loop) add(fd int, ev uint32, h handler) error {
	for len(l.h) <= fd {
		l.h = append(l.h, nil)
	}
	l.h[fd] = h
	return syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: ev, Fd: int32(fd)})
}

func (l *loop) mod(fd int, ev uint32) {
	_ = syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_MOD, fd, &syscall.EpollEvent{Events: ev, Fd: int32(fd)})
}

func (l *loop) close(fd int) {
	l.h[fd] = nil
	_ = syscall.Close(fd)
}

// run dispatches events until more answers false; more is asked after each batch
// and at least every 20 ms.
func (l *loop) run(more func() bool) error {
	for more() {
		if err := l.turn(20); err != nil {
			return err
		}
	}
	return nil
}

// turn dispatches the events that come within some milliseconds.
func (l *loop) turn(wait int) error {
	n, err := syscall.EpollWait(l.ep, l.events, wait)
	if err != nil && !errors.Is(err, syscall.EINTR) {
		return err
	}
	for i := range n { // n is -1 on an error
		if h := l.h[l.events[i].Fd]; h != nil {
			h.ready(l.events[i].Events)
		}
	}
	return nil
}

// tcpSocket makes a non-blocking TCP socket with Nagle's algorithm off.
func tcpSocket() (int, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fd, err
	}
	return fd, syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
}

func loopback(port int) *syscall.SockaddrInet4 {
	return &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

const (
	ipBindAddressNoPort = 24
	msgMore             = 0x8000
)

// sources is how many addresses clients come from.
const sources = 64

// bindSource gives the n-th connection its source address, so that closed
// connections in TIME_WAIT do not use up the ports.
func bindSource(fd, n int) error {
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipBindAddressNoPort, 1); err != nil {
		return err
	}
	return syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + n%sources)}})
}

// connect begins the n-th connection to a port of the loopback.
func connect(n, port int) (int, error) {
	fd, err := tcpSocket()
	if err != nil {
		return fd, err
	}
	if err = bindSource(fd, n); err == nil {
		err = syscall.Connect(fd, loopback(port))
	}
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		_ = syscall.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// discard drops up to most received bytes without copying them to user space.
func discard(fd int, most int64) (int, error) {
	n, _, e := syscall.Syscall6(syscall.SYS_RECVFROM, uintptr(fd), 0, uintptr(min(most, 1<<20)), syscall.MSG_TRUNC, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// bulk is a file of filler bytes kept in the page cache; sendBulk streams from it
// with sendfile, so that bulk senders copy nothing either.
type bulk struct{ fd int }

const bulkSize = 8 << 20

// sendBulk sends up to left bytes and returns what is still left.
func (b bulk) sendBulk(fd int, left int64) (int64, error) {
	off := left % 4096 // any place in the file will do
	n, err := syscall.Sendfile(fd, b.fd, &off, int(min(left, 1<<20)))
	if n > 0 {
		left -= int64(n)
	}
	return left, err
}
