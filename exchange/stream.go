package exchange

import (
	"errors"
	"io"
	"time"

	"viaduct/clock"
	"viaduct/relay"
	"viaduct/wire"
)

// spliceFrom is the size from which the rest of a body is moved inside the
// kernel, past the engine.
const spliceFrom = 64 << 10

// bound is what a filter wants of a body. over is asked what is wrong with one that
// is longer, and did not say so before; without it there is no bound.
type bound struct {
	most int64
	over func() error
	drop func(name []byte) bool // trailer fields that end here; nil: none
}

// BoundRequest bounds the request's body, before Ask: a longer one ends with the
// error of over, which the client is told if it is not being answered already.
// over may be called from another goroutine.
func (s *Session) BoundRequest(most int64, over func() error) {
	s.bounds.request.most, s.bounds.request.over = most, over
}

// BoundAnswer bounds the answer's body, before Pass: a longer one is broken off.
func (s *Session) BoundAnswer(most int64, over func() error) {
	s.bounds.answer.most, s.bounds.answer.over = most, over
}

// DropTrailers says which fields end here though they come behind the body.
func (s *Session) DropTrailers(ofRequest, ofAnswer func(name []byte) bool) {
	s.bounds.request.drop, s.bounds.answer.drop = ofRequest, ofAnswer
}

// stream moves one body from src to dst, framed anew. What is in out already, a
// head, leaves in one write with the first bytes of the body.
type stream struct {
	src, dst *wire.Conn
	client   *wire.Conn // the one to look after while waiting for src, or nil
	out      *wire.Buffer
	chunked  bool          // dst gets chunks
	gap      time.Duration // bounds each wait for src
	stall    time.Duration // bounds each wait for dst
	now      time.Duration // the time, as far as it was asked for
	moved    int64         // bytes of the body
	head     *wire.Head    // of the message; its Connection rules the trailer too
	session  *Session
	bound    bound // of the body

	wrote bool       // something
	blame *wire.Conn // whose failure the error is
}

// run moves the body to its end. Everything that was read is written before it
// waits for more.
func (t *stream) run() error {
	for {
		p, err := t.src.NextBody()
		switch {
		case p != nil:
			err = t.add(p)
		case err == io.EOF:
			return t.finish()
		case err == nil:
			err = t.more()
		default:
			// What was right goes on, so that the other side sees where it ends.
			_ = t.flush()
			t.blame = t.src
		}
		if err != nil {
			return err
		}
	}
}

// add puts bytes of the body into out, in their frame.
func (t *stream) add(p []byte) error {
	if t.moved += int64(len(p)); t.bound.over != nil && t.moved > t.bound.most {
		return t.bound.over()
	}
	if !t.chunked {
		return t.put(p)
	}
	t.out.B = wire.AppendChunkSize(t.out.B, int64(len(p)))
	if err := t.put(p); err != nil {
		return err
	}
	t.out.B = append(t.out.B, '\r', '\n')
	return nil
}

// reserve is the room that out keeps for frames, so that it never grows.
const reserve = 64

// put appends bytes to out, or writes them by themselves when it has no room.
func (t *stream) put(p []byte) error {
	if len(t.out.B)+len(p) <= cap(t.out.B)-reserve {
		t.out.B = append(t.out.B, p...)
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	t.now = clock.Now()
	return t.write(p)
}

// flush writes what is in out.
func (t *stream) flush() error {
	if len(t.out.B) == 0 {
		return nil
	}
	err := t.write(t.out.B)
	t.out.B = t.out.B[:0]
	return err
}

func (t *stream) write(p []byte) error {
	t.wrote = true
	t.dst.LimitWrite(t.now, t.stall)
	_, err := t.dst.Write(p)
	t.dst.LimitWrite(0, 0)
	if err != nil {
		t.blame = t.dst
	}
	return err
}

// finish writes the end of the body.
func (t *stream) finish() error {
	if t.chunked {
		t.out.B = append(t.out.B, "0\r\n"...)
		if f := t.src.Trailer(); f != nil {
			t.out.B = t.session.appendTrailer(t.out.B, f, t.head, t.bound.drop)
		}
		t.out.B = append(t.out.B, '\r', '\n')
	}
	return t.flush()
}

// more writes what there is, and then waits for src.
func (t *stream) more() error {
	if n := t.src.BodyLeft(); n >= spliceFrom && t.bound.over == nil {
		return t.splice(n)
	}
	if err := t.flush(); err != nil {
		return err
	}
	t.now = clock.Now()
	t.src.LimitRead(t.now, t.gap)
	if t.client != nil {
		t.client.BeginWait(t.now, clock.Patience)
	}
	err := t.src.FillBody()
	t.now = clock.Now()
	if t.client != nil && !t.client.EndWait() {
		t.blame = t.client
		return errClientGone
	}
	t.src.LimitRead(0, 0)
	if err != nil {
		t.blame = t.src
	}
	return err
}

// splice moves n bytes past the engine.
func (t *stream) splice(n int64) error {
	if t.chunked {
		t.out.B = wire.AppendChunkSize(t.out.B, n)
	}
	if err := t.flush(); err != nil {
		return err
	}
	t.progress(0)
	moved, err := relay.Move(t.dst.NetConn(), t.src.NetConn(), n, t.progress)
	t.moved += moved
	t.src.Moved(moved)
	if t.client != nil && !t.client.EndWait() {
		t.blame = t.client
		return errClientGone
	}
	t.src.LimitRead(0, 0)
	t.dst.LimitWrite(0, 0)
	t.now = clock.Now()
	if err != nil {
		t.blame = t.blameMove(err)
		return err
	}
	if t.chunked {
		t.out.B = append(t.out.B, '\r', '\n')
	}
	return nil
}

// progress moves the limits on while bytes move. src is not at fault while dst
// does not read; the clock of dst sees for itself that it waits for nothing.
func (t *stream) progress(int) {
	t.now = clock.Now()
	if t.gap > 0 {
		t.src.LimitRead(t.now, t.gap+t.stall)
	}
	t.dst.LimitWrite(t.now, t.stall)
	if t.client != nil {
		t.client.BeginWait(t.now, clock.Patience)
	}
}

// blameMove finds out which end failed.
func (t *stream) blameMove(err error) *wire.Conn {
	if _, ok := errors.AsType[*relay.WriteError](err); ok {
		return t.dst
	}
	return t.src
}
