package clock

import (
	"encoding/binary"
	"net"
	"syscall"
	"unsafe"
)

// TCP states of Linux, as TCP_INFO tells them.
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// tcpState is the state of the TCP connection under nc, or 0.
func tcpState(nc net.Conn) (state int) {
	control(nc, func(fd uintptr) {
		v, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		if err == nil {
			state = v & 0xff // tcpi_state is the first byte of tcp_info
		}
	})
	return state
}

// unsent is how many bytes the other side of nc has not taken yet, or -1 where
// that cannot be told.
func unsent(nc net.Conn) int {
	n := int32(-1)
	control(nc, func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	})
	return int(n)
}

// acked is how many bytes the other side of nc has taken so far, or -1 where
// that cannot be told. What still waits for it would be no measure: a buffer
// that is filled again is as full as before.
func acked(nc net.Conn) (n int64) {
	const bytesAcked = 120 // offset of tcpi_bytes_acked in tcp_info
	n = -1
	control(nc, func(fd uintptr) {
		var info [bytesAcked + 8]byte
		size := uint32(len(info))
		_, _, e := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if e == 0 && size == uint32(len(info)) {
			n = int64(binary.NativeEndian.Uint64(info[bytesAcked:]))
		}
	})
	return n
}

// Socket is the connection at the bottom of one that TLS may be spoken on.
func Socket(nc net.Conn) net.Conn {
	for {
		over, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = over.NetConn()
	}
}

// control calls f with the descriptor of the TCP connection under nc, if there
// is one.
func control(nc net.Conn, f func(fd uintptr)) {
	tcp, ok := Socket(nc).(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(f)
	}
}
