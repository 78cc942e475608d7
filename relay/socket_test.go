package relay_test

import (
	"crypto/tls"
	"net"
	"syscall"
	"unsafe"
)

func ioctl(fd int, request uintptr) (int, error) {
	var n int32
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func socketUnder(c net.Conn) net.Conn { return c.(*tls.Conn).NetConn() }

// arrived tells whether everything that was written to c, its end included, has
// come to the other side.
func arrived(c net.Conn) bool {
	const finWait2 = 5 // TCP_FIN_WAIT2 of the kernel's TCP states
	var info [4]byte   // the head of struct tcp_info: its first byte is the state
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			info, _ = syscall.GetsockoptInet4Addr(int(fd), syscall.IPPROTO_TCP, syscall.TCP_INFO)
		})
	}
	return err == nil && info[0] == finWait2
}
