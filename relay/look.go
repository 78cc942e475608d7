package relay

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// LookMost is how many bytes Options.Look is shown at most.
const LookMost = 64 << 10

// LookError says that Options.Look ended the tunnel.
type LookError struct{ Err error }

func (e *LookError) Error() string { return e.Err.Error() }

// Unwrap gives what Look returned to errors.Is and errors.As.
func (e *LookError) Unwrap() error { return e.Err }

// view is what a client has sent so far and Look is still to decide about.
type view struct {
	*flow
	held []byte // what came early, and then memory of a pool
	err  error  // what src said last
}

// looked shows Look what the client sends and passes it on if Look lets it. It
// is true if the flow is to go on from there.
func (t *tunnel) looked() bool {
	v := view{flow: &t.up, held: t.up.rest}
	t.up.rest = nil
	defer v.putBack()
	passes := t.shown(&v)
	t.bounds.Look = nil // and whatever it keeps alive
	if !passes {
		return false
	}
	t.up.rest = v.held
	whole := t.up.deliver()
	t.up.rest = nil
	return whole // if the client has ended, the flow will read that again
}

// shown is true once what is held may be passed on. Otherwise Look has ended
// the tunnel, or the client has: with nothing sent, or by failing.
func (t *tunnel) shown(v *view) bool {
	for timed := false; ; {
		if len(v.held) > 0 {
			last := v.err != nil || len(v.held) >= LookMost
			more, err := t.ask(v.held[:min(len(v.held), LookMost)], last)
			switch {
			case err != nil:
				t.refuse(err)
				return false
			case last || !more:
				if timed {
					t.lookUntil(time.Time{})
				}
				return true
			case !timed && t.bounds.LookFor > 0:
				timed = t.lookUntil(time.Now().Add(t.bounds.LookFor))
			}
		}
		v.read()
		switch {
		case v.err == nil:
			t.stir(0)
		case v.err == io.EOF && len(v.held) == 0:
			return false
		case v.err == io.EOF, timed && errors.Is(v.err, os.ErrDeadlineExceeded) && t.lookUntil(time.Time{}):
		default:
			v.flow.err = v.err
			return false
		}
	}
}

// ask asks Look, which is not of this package.
func (t *tunnel) ask(b []byte, last bool) (more bool, err error) {
	broken := guard(func() { more, err = t.bounds.Look(slices.Clip(b), last) })
	if broken != nil {
		return false, broken
	}
	return more, err
}

// lookUntil bounds how long the client may take. It is false if the tunnel is
// ending: then its deadline is another, which stands.
func (t *tunnel) lookUntil(deadline time.Time) bool {
	t.state.Lock()
	defer t.state.Unlock()
	if t.ending {
		return false
	}
	_ = guard(func() { _ = t.up.src.SetReadDeadline(deadline) })
	return true
}

// refuse ends the tunnel as Look has something against what the client sent:
// it is reset. The server, which got nothing, is told in good order that there
// is nothing to come.
func (t *tunnel) refuse(err error) {
	t.state.Lock()
	defer t.state.Unlock()
	if t.ending {
		return
	}
	t.ending, t.cause, t.first = true, &LookError{err}, None
	t.reset, t.late = socket(t.up.src), &t.up
	t.wake(past())
}

// read waits for more of what src sends.
func (v *view) read() {
	if v.in == nil {
		n, err := v.src.Read(v.room())
		v.held, v.err = v.held[:len(v.held)+n], err
		return
	}
	if err := v.in.Read(v.arrives); err != nil {
		v.err = err
	}
}

// room is where the next bytes go. There is some: who holds LookMost bytes
// doesn't wait for more.
func (v *view) room() []byte {
	if n := cap(v.held); n < smallPiece || n == len(v.held) {
		old := *v
		v.held = append(larger(len(v.held)), v.held...)
		old.putBack()
	}
	return v.held[len(v.held):cap(v.held)]
}

var lookPieces = sync.Pool{New: func() any { return new([LookMost]byte) }}

// larger is empty memory of the pools for more than n bytes.
func larger(n int) []byte {
	switch {
	case n < smallPiece:
		return smallPieces.Get().(*[smallPiece]byte)[:0]
	case n < piece:
		return pieces.Get().(*[piece]byte)[:0]
	default:
		return lookPieces.Get().(*[LookMost]byte)[:0]
	}
}

func (v *view) putBack() {
	switch b := v.held[:cap(v.held)]; len(b) {
	case smallPiece:
		smallPieces.Put((*[smallPiece]byte)(b))
	case piece:
		pieces.Put((*[piece]byte)(b))
	case LookMost:
		lookPieces.Put((*[LookMost]byte)(b))
	}
	v.held = nil
}
