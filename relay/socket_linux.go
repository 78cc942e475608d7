package relay

import (
	"net"
	"syscall"
	"unsafe"
)

const tcpClose = 7 // TCP_CLOSE of the kernel's TCP states

// unsent is how many bytes wait in the socket's send queue for the peer's
// acknowledgement.
func unsent(c *net.TCPConn) int {
	var n int32
	control(c, func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	})
	return int(n)
}

// vanished is true if a connection that we haven't ended is no more. Read alone
// doesn't tell: an error of the socket is reported once, to reader or writer.
func vanished(c *net.TCPConn) bool {
	var info [4]byte // the head of struct tcp_info: its first byte is the state
	control(c, func(fd uintptr) {
		info, _ = syscall.GetsockoptInet4Addr(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
	})
	return info[0] == tcpClose
}

func control(c *net.TCPConn, f func(fd uintptr)) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(f)
	}
}
