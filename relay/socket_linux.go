package relay

import (
	"net"
	"syscall"
	"unsafe"
)

const tcpClose = 7 // TCP_CLOSE of the kernel's TCP states

// quick is read or write on a socket that doesn't block. So the scheduler isn't
// told of it, as package syscall would: that is a twentieth of what a small
// message costs in all.
func quick(call uintptr, fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// unsent is how many bytes wait in the socket's send queue for the peer's
// acknowledgement.
func unsent(c *net.TCPConn) int {
	var n int32
	control(c, func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	})
	return int(n)
}

// told is true if the connection is no more and the kernel has said why, which
// it does once: to the reader, the writer, or here.
func told(c *net.TCPConn) bool {
	var info [4]byte // the head of struct tcp_info: its first byte is the state
	why := -1
	control(c, func(fd uintptr) {
		info, _ = syscall.GetsockoptInet4Addr(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		if info[0] == tcpClose {
			why, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		}
	})
	return info[0] == tcpClose && why == 0
}

func control(c *net.TCPConn, f func(fd uintptr)) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(f)
	}
}
