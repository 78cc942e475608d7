package relay

import (
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	piece      = 32 << 10 // the most that is copied at once
	smallPiece = 4 << 10  // what a direction without readiness holds while it waits
)

// Buffers belong to a flow while bytes move, and to the pools while it waits.
var (
	pieces      = sync.Pool{New: func() any { return new([piece]byte) }}
	smallPieces = sync.Pool{New: func() any { return new([smallPiece]byte) }}
)

// WriteError says that it was dst that failed: whatever else Move returns is
// the failure of src.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap gives the cause to errors.Is and errors.As.
func (e *WriteError) Unwrap() error { return e.Err }

// Move moves n bytes from src to dst, or all until EOF if n is negative, and
// returns how many of them dst took. Fewer than n before EOF are
// io.ErrUnexpectedEOF; a failure of dst is a *WriteError. The deadlines of both
// connections hold as they do for Read and Write.
//
// progress, if not nil, is called with the length of each piece that dst took.
//
// To others Move is a Read of src and a Write of dst: neither may run twice at
// a time.
func Move(dst, src net.Conn, n int64, progress func(int)) (int64, error) {
	if n == 0 {
		return 0, nil
	}
	f := flow{left: n, progress: progress}
	f.join(dst, src, readiness(dst), readiness(src))
	defer f.release()
	f.run()
	return f.moved, f.err
}

// flow is the movement of bytes in one direction. It belongs to the goroutine
// that runs it until that has ended.
type flow struct {
	dst, src net.Conn
	out, in  syscall.RawConn       // readiness of dst and src; nil where there is none
	room     func(fd uintptr) bool // callback of out
	arrived  func(fd uintptr) bool // callback of in
	progress func(int)
	left     int64        // bytes still to come; negative: until EOF
	moved    int64        // bytes that dst took
	rest     []byte       // read, but not yet taken by dst
	buf      *[piece]byte // what rest is in, early bytes aside
	pipe     *pipe        // what is spliced is in here rather than in rest
	splicing bool
	slowness uint8 // of dst: spliced pieces in a row for which it was slow
	streak   int32 // full pieces copied in a row, or small ones spliced; negative: copies owed
	err      error // why it ended; nil after EOF or all of n bytes
}

func (f *flow) join(dst, src net.Conn, out, in syscall.RawConn) {
	f.dst, f.src, f.out, f.in = dst, src, out, in
	if out != nil {
		f.room = f.push
	}
	if in != nil {
		f.arrived = f.pull
	}
}

// run moves bytes until there are no more or an end fails.
func (f *flow) run() {
	if len(f.rest) > 0 && !f.deliver() {
		return
	}
	f.rest = nil
	if f.in == nil {
		f.copyAll()
		return
	}
	if err := f.in.Read(f.arrived); err != nil {
		f.err = err
	}
}

// copyAll reads from an end that shows no readiness. It has to hold a buffer
// while it waits: a small one, until the flow fills that.
func (f *flow) copyAll() {
	small := smallPieces.Get().(*[smallPiece]byte)
	defer smallPieces.Put(small)
	for buf := small[:]; f.left != 0; {
		n, err := f.src.Read(buf[:f.ask(len(buf))])
		if f.rest = buf[:n]; n > 0 && !f.deliver() {
			return
		}
		if err != nil {
			f.end(err)
			return
		}
		switch {
		case n < smallPiece:
			f.putDown()
			buf = small[:]
		case f.buf == nil:
			buf = f.pickUp()
		}
	}
}

// pickUp takes a buffer, putDown gives back whatever is held. What dst didn't
// take is lost then.
func (f *flow) pickUp() []byte {
	if f.buf == nil {
		f.buf = pieces.Get().(*[piece]byte)
	}
	return f.buf[:]
}

func (f *flow) putDown() {
	if f.buf != nil {
		pieces.Put(f.buf)
	}
	f.buf, f.rest = nil, nil
	f.putPipe()
}

// release gives back what a flow that has ended still holds.
func (f *flow) release() {
	f.putDown()
	f.copyFor(0)
}

// deliver waits until dst has taken the piece in hand.
func (f *flow) deliver() bool {
	var err error
	if f.out != nil {
		err = f.out.Write(f.room)
	} else {
		var n int
		n, err = f.dst.Write(f.rest)
		f.took(n)
	}
	if err != nil {
		f.err = &WriteError{err}
	}
	return f.err == nil
}

func (f *flow) took(n int) {
	f.moved += int64(n)
	if f.left > 0 {
		f.left -= int64(n)
	}
	if f.progress != nil && n > 0 {
		f.progress(n)
	}
}

// ask is how many bytes may be read into that much space.
func (f *flow) ask(space int) int {
	if f.left >= 0 && f.left < int64(space) {
		return int(f.left)
	}
	return space
}

// end notes what src said last.
func (f *flow) end(err error) {
	switch {
	case err != io.EOF:
		f.err = err
	case f.left > 0:
		f.err = io.ErrUnexpectedEOF
	}
}
