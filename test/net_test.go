package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// bound is a socket that holds a loopback port; listening only if asked.
func bound(t testing.TB, ip string, port int) (fd int, addr string) {
	t.Helper()
	at := netip.MustParseAddr(ip)
	family, sa := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: port, Addr: at.As16()})
	if at.Is4() {
		family, sa = syscall.AF_INET, &syscall.SockaddrInet4{Port: port, Addr: at.As4()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no %s here: %v", ip, err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, sa); err != nil {
		t.Skipf("no %s here: %v", ip, err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch name := name.(type) {
	case *syscall.SockaddrInet4:
		port = name.Port
	case *syscall.SockaddrInet6:
		port = name.Port
	}
	return fd, net.JoinHostPort(ip, fmt.Sprint(port))
}

// refusing is an address that refuses connections as long as the test runs.
func refusing(t testing.TB) string {
	t.Helper()
	_, addr := bound(t, "127.0.0.1", 0)
	return addr
}

// blackhole is an address that never answers a connection attempt: a listener
// that accepts nothing and whose queue is full.
func blackhole(t testing.TB, ip string, port int) string {
	t.Helper()
	fd, addr := bound(t, ip, port)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 64 {
		conn, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			return addr
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue of the listener never fills")
	return ""
}

// freePort is a port that nothing listens on, and below those that the system
// gives away: a process that ends and comes back finds it again.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		at := fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(18_000))
		if ln, err := net.Listen("tcp", at); err == nil {
			ln.Close()
			return at
		}
	}
	t.Fatal("no port is free")
	return ""
}
