package cable

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"

	"viaduct/clock"
	"viaduct/wire"
)

// pieces hold what came and was not read yet: a tunnel that waits holds none.
var pieces = sync.Pool{New: func() any { return new([frameSize]byte) }}

// Stream is a tunnel on a Cable, whose lock guards all of it. It is a net.Conn
// with CloseWrite. What is closed before the target has ended, or after its
// deadline for writing, sends a reset.
type Stream struct {
	c     *Cable
	id    uint32
	turn  sync.Mutex // one Write at a time; taken before the lock
	stir  sync.Cond  // something has changed
	asked time.Duration

	head    wire.Head // the answer; its Status is 0 before
	interim int

	came    []*[frameSize]byte
	from    int   // where in the first of them the unread bytes begin
	till    int   // where in the last of them they end
	credit  int64 // bytes that the parent may still send
	owed    int64 // bytes to be added to that
	window  int64 // bytes that the parent takes
	blocked bool  // a Write waits for what all share
	partial bool  // a Write has not taken all

	ended  bool  // by the parent: there will be nothing more
	sent   bool  // by us
	closed bool  // by Close
	broken error // why nothing goes any more

	reading, writing limit
}

// limit is a deadline.
type limit struct {
	timer  *time.Timer
	passed bool
}

// Answer waits for the parent's answer: its status and its fields. The stream is
// a tunnel if the status is below 300. After any other it has ended, and after an
// error: one of ErrUnasked, ErrOld, ErrTarget and ErrSilent, or what has broken it.
func (s *Stream) Answer(ctx context.Context) (wire.Head, error) {
	stop := context.AfterFunc(ctx, s.wake)
	defer stop()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.head.Status == 0 && s.broken == nil && ctx.Err() == nil {
		s.stir.Wait()
	}
	switch head := s.head; {
	case head.Status >= 300:
		s.leave()
		return head, nil
	case head.Status > 0 && ctx.Err() == nil:
		s.head.Fields = nil
		return head, nil
	case head.Status == 0 && s.broken != nil:
		return wire.Head{}, s.broken
	}
	s.leave()
	s.c.doubt(s.asked)
	return wire.Head{}, fmt.Errorf("%w: %w", ErrSilent, ctx.Err())
}

func (s *Stream) wake() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.stir.Broadcast()
}

// keep keeps what came.
func (s *Stream) keep(b []byte) {
	for len(b) > 0 {
		if len(s.came) == 0 || s.till == frameSize {
			s.came = append(s.came, pieces.Get().(*[frameSize]byte))
			s.till = 0
		}
		n := copy(s.came[len(s.came)-1][s.till:], b)
		s.till += n
		b = b[n:]
	}
}

// fetch is what came, as much as b has room for.
func (s *Stream) fetch(b []byte) (n int) {
	for n < len(b) && len(s.came) > 0 {
		last := len(s.came) == 1
		end := frameSize
		if last {
			end = s.till
		}
		k := copy(b[n:], s.came[0][s.from:end])
		n += k
		if s.from += k; s.from == end {
			pieces.Put(s.came[0])
			s.came[0] = nil
			s.came, s.from = s.came[1:], 0
		}
		if last && len(s.came) == 0 {
			s.came = nil
		}
	}
	return n
}

// opens lets the parent send n bytes more, when it is worth a frame.
func (s *Stream) opens(n int64) {
	if s.owed += n; s.owed < streamWindow/4 || s.ended || s.broken != nil {
		return
	}
	_ = s.c.frames.WriteWindowUpdate(s.id, uint32(s.owed))
	s.credit += s.owed
	s.owed = 0
	s.c.more.Signal()
}

// end is the parent's end.
func (s *Stream) end() {
	if s.ended = true; s.sent {
		s.c.forget(s)
	}
}

// fail breaks a stream that is none any more.
func (s *Stream) fail(err error) {
	if s.broken == nil {
		s.broken = err
	}
	s.stir.Broadcast()
}

// abort resets a stream.
func (s *Stream) abort(code http2.ErrCode, err error) {
	if s.c.streams[s.id] != s {
		return
	}
	_ = s.c.frames.WriteRSTStream(s.id, code)
	s.c.more.Signal()
	s.fail(err)
	s.c.forget(s)
}

// leave ends what nobody wants any more. A parent that has ended hears an end in
// good order, if that is what it is.
func (s *Stream) leave() {
	s.closed = true
	for _, l := range []*limit{&s.reading, &s.writing} {
		if l.timer != nil {
			l.timer.Stop()
		}
	}
	for _, p := range s.came {
		pieces.Put(p)
	}
	s.came = nil
	if s.ended && !s.partial && !s.writing.passed && s.broken == nil {
		s.finish()
	}
	s.abort(http2.ErrCodeCancel, net.ErrClosed)
	s.stir.Broadcast()
}

// finish is our end.
func (s *Stream) finish() {
	if s.sent {
		return
	}
	s.sent = true
	_ = s.c.frames.WriteData(s.id, true, nil)
	s.c.more.Signal()
	if s.ended {
		s.c.forget(s)
	}
}

// Read implements net.Conn. What came before a reset can be read.
func (s *Stream) Read(b []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, net.ErrClosed
		case s.reading.passed:
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case len(s.came) > 0:
			n := s.fetch(b)
			s.opens(int64(n))
			return n, nil
		case s.ended:
			return 0, io.EOF
		case s.broken != nil:
			return 0, s.broken
		}
		s.stir.Wait()
	}
}

// Write implements net.Conn. What it has taken is on its way, or waits for other
// tunnels.
func (s *Stream) Write(b []byte) (n int, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.partial = len(b) > 0; ; {
		if err := s.writable(); err != nil {
			return n, err
		}
		room := min(int64(len(b)-n), frameSize, s.window, s.c.window, int64(mostUnsent-len(s.c.out)))
		switch {
		case n == len(b):
			s.partial = false
			return n, nil
		case room > 0:
			_ = s.c.frames.WriteData(s.id, false, b[n:n+int(room)])
			s.window -= room
			s.c.window -= room
			n += int(room)
			s.c.more.Signal()
			continue
		case !s.blocked:
			if s.c.window <= 0 && s.c.dry == 0 {
				s.c.dry = clock.Now()
			}
			s.blocked = true
			s.c.blocked = append(s.c.blocked, s)
		}
		s.stir.Wait()
	}
}

func (s *Stream) writable() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.sent:
		return syscall.EPIPE
	case s.writing.passed:
		return os.ErrDeadlineExceeded
	}
	return s.broken
}

// CloseWrite says that nothing more will be written.
func (s *Stream) CloseWrite() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.broken != nil:
		return s.broken
	}
	s.finish()
	s.stir.Broadcast()
	return nil
}

// Close implements net.Conn. It waits for nothing.
func (s *Stream) Close() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.leave()
	return nil
}

// LocalAddr is ours of the connection to the parent.
func (s *Stream) LocalAddr() net.Addr { return s.c.nc.LocalAddr() }

// RemoteAddr is the parent's.
func (s *Stream) RemoteAddr() net.Addr { return s.c.nc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error { return s.limit(t, &s.reading, &s.writing) }

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.limit(t, &s.reading) }

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.limit(t, &s.writing) }

func (s *Stream) limit(t time.Time, limits ...*limit) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	for _, l := range limits {
		s.set(l, t)
	}
	s.stir.Broadcast()
	return nil
}

// set moves a deadline. A timer that is on its way while it is moved finds that
// it is no longer the one.
func (s *Stream) set(l *limit, t time.Time) {
	if l.timer != nil {
		l.timer.Stop()
	}
	left := time.Until(t)
	l.timer, l.passed = nil, !t.IsZero() && left <= 0
	if t.IsZero() || l.passed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		if l.timer == timer {
			l.passed = true
			s.stir.Broadcast()
		}
	})
	l.timer = timer
}
