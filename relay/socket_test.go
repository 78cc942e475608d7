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
