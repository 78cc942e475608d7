package relay

import (
	"io"
	"net"
	"os"
	"syscall"
)

// readiness is how to wait for c without holding anything, nil if c can't tell.
// Only sockets as they are can: what embeds one may have read ahead of it.
func readiness(c net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch c := c.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if err != nil {
		return nil // closed; Read says so
	}
	return raw
}

// pull is called by the poller when src may have bytes. It moves what is there
// and reports false to wait for more. It doesn't return in between: entering
// the poller costs more than staying.
func (f *flow) pull(fd uintptr) bool {
	for {
		n, err := f.fetch(int(fd))
		switch {
		case n > 0:
			if !f.handOver() || f.left == 0 {
				return true
			}
			f.adapt(n)
		case err == nil:
			f.end(io.EOF)
			return true
		case err == syscall.EAGAIN:
			f.putDown()
			return false
		case err != syscall.EINTR:
			f.end(os.NewSyscallError("read", err))
			return true
		}
	}
}

// arrives is called by the poller when src may have bytes that are to be looked
// at. It reports false to wait for some: holding nothing, if none have come yet.
func (v *view) arrives(fd uintptr) bool {
	for {
		n, err := quick(syscall.SYS_READ, int(fd), v.room())
		switch {
		case n > 0:
			v.held = v.held[:len(v.held)+n]
			return true
		case err == nil:
			v.err = io.EOF
			return true
		case err == syscall.EAGAIN:
			if len(v.held) == 0 {
				v.putBack()
			}
			return false
		case err != syscall.EINTR:
			v.err = os.NewSyscallError("read", err)
			return true
		}
	}
}

// fetch takes a piece in hand: into the pipe if the flow is sustained, else
// into the buffer.
func (f *flow) fetch(fd int) (int, error) {
	if f.splicing && f.pickPipe() {
		n, err := f.pipe.fill(fd, f.ask(f.pipe.size))
		if !unfit(err) {
			return n, err
		}
		f.copyFor(ever)
	}
	f.putPipe()
	buf := f.pickUp()
	n, err := quick(syscall.SYS_READ, fd, buf[:f.ask(piece)])
	if n > 0 {
		f.rest = buf[:n]
	}
	return n, err
}

// push is called by the poller when dst may have room. It reports false to
// wait for more.
func (f *flow) push(fd uintptr) bool {
	for {
		n, err := f.give(int(fd))
		switch {
		case n > 0:
			f.took(n)
		case err == syscall.EAGAIN:
			return false
		case err == nil: // nothing left in hand
			return true
		case err != syscall.EINTR:
			f.err = &WriteError{os.NewSyscallError("write", err)}
			return true
		}
	}
}

// give hands dst what it takes of the piece in hand; 0 and nil if there is none.
func (f *flow) give(fd int) (int, error) {
	if len(f.rest) == 0 && f.pipe != nil && f.pipe.held > 0 {
		n, err := f.pipe.drain(fd)
		if !unfit(err) {
			return n, err
		}
		f.copyFor(ever)
		if f.rest, err = f.pipe.read(f.pickUp()); err != nil {
			return 0, err
		}
	}
	if len(f.rest) == 0 {
		return 0, nil
	}
	n, err := quick(syscall.SYS_WRITE, fd, f.rest)
	if n > 0 {
		f.rest = f.rest[n:]
	}
	return n, err
}
