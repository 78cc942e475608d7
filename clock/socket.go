package clock

import (
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

// control calls f with the descriptor of the TCP connection under nc, if there
// is one.
func control(nc net.Conn, f func(fd uintptr)) {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = t.NetConn()
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(f)
	}
}
