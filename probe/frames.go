package probe

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	headSize     = 9 // of each frame of HTTP/2 (RFC 9113 section 4.1)
	priority     = 2
	settings     = 4
	continuation = 9        // the last type that is known
	mostFrame    = 16 << 10 // what a peer may send that was not told more
	mostFrames   = 1000
	mostBytes    = 1 << 20
)

// frames stands between a peer and net/http, which takes in frames without a
// message for ever, and writes a line of its own log for each that it does not
// expect. Those that mean nothing to us end here, as RFC 9113 section 5.5 wants,
// and all are counted.
type frames struct {
	conn net.Conn
	in   *bufio.Reader

	buffer [headSize]byte
	head   []byte // of it, what is not handed on yet
	rest   int    // so many bytes of the frame come behind it

	begun         bool
	number, bytes int           // since
	since         time.Time     // begins anew
	every         time.Duration // so often; 0 is never
}

func (f *frames) Read(b []byte) (int, error) {
	for len(f.head)+f.rest == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if len(f.head) > 0 {
		n := copy(b, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	n, err := f.in.Read(b[:min(len(b), f.rest)])
	f.rest -= n
	return n, err
}

// next takes the head of a frame, or all of one that nobody wants.
func (f *frames) next() error {
	head, err := f.in.Peek(headSize)
	if err != nil {
		return err
	}
	size, kind := int(head[0])<<16|int(head[1])<<8|int(head[2]), head[3]
	if f.every > 0 && time.Since(f.since) > f.every {
		f.since, f.number, f.bytes = time.Now(), 0, 0
	}
	f.number++
	f.bytes += headSize + size
	switch {
	case !f.begun && kind != settings:
		return errors.New("it does not speak HTTP/2: it begins with something else than SETTINGS")
	case size > mostFrame:
		return fmt.Errorf("a frame of %d bytes", size)
	case f.number > mostFrames || f.bytes > mostBytes:
		return fmt.Errorf("more than %d frames or %d bytes, where few are enough", mostFrames, mostBytes)
	case kind == priority || kind > continuation:
		_, err = f.in.Discard(headSize + size)
		return err
	}
	f.begun, f.rest, f.head = true, size, f.buffer[:copy(f.buffer[:], head)]
	_, err = f.in.Discard(headSize)
	return err
}

func (f *frames) Write(b []byte) (int, error)        { return f.conn.Write(b) }
func (f *frames) Close() error                       { return f.conn.Close() }
func (f *frames) LocalAddr() net.Addr                { return f.conn.LocalAddr() }
func (f *frames) RemoteAddr() net.Addr               { return f.conn.RemoteAddr() }
func (f *frames) SetDeadline(t time.Time) error      { return f.conn.SetDeadline(t) }
func (f *frames) SetReadDeadline(t time.Time) error  { return f.conn.SetReadDeadline(t) }
func (f *frames) SetWriteDeadline(t time.Time) error { return f.conn.SetWriteDeadline(t) }
