package test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
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

// nameServer answers every query with a code: 0 never happens, 2 is SERVFAIL,
// 3 NXDOMAIN; -1 keeps silent. It needs port 53, of any loopback address.
func nameServer(t testing.TB, code int) (ip string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a name server listens on port 53")
	}
	var conn net.PacketConn
	poll(t, "a free loopback address", func() (free bool) {
		ip = fmt.Sprintf("127.53.%d.%d", rand.IntN(256), 1+rand.IntN(254))
		var err error
		conn, err = net.ListenPacket("udp", ip+":53")
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 12 || code < 0 {
				continue
			}
			reply := append([]byte(nil), buf[:question(buf[:n])]...)
			binary.BigEndian.PutUint16(reply[2:], 0x8180|uint16(code)) // an answer, recursive
			copy(reply[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0})          // one question, nothing else
			conn.WriteTo(reply, from)
		}
	}()
	return ip
}

// question is where the first question of a query ends.
func question(query []byte) int {
	at := 12
	for at < len(query) && query[at] != 0 {
		at += int(query[at]) + 1
	}
	return min(at+5, len(query))
}
