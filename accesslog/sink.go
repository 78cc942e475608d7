package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	flushSize  = 32 << 10               // bytes held back while all is well
	flushEvery = 250 * time.Millisecond // and how long
	mostHeld   = 4 << 20                // bytes held back when out does not take them
	patience   = time.Second            // of Switch with the old out
)

// ErrHangs is what Switch returns when the old out still hangs in a write.
var ErrHangs = errors.New("the old access log hangs: leave it open")

// sink is where lines go. It is there for as long as out is, and its drain is
// the only one who writes to out.
type sink struct {
	out    io.Writer
	format Format
	full   chan struct{} // asks drain to write out now
	over   chan struct{} // closed when no line will be added any more
	done   chan struct{} // closed when nothing will be written any more

	buf  []byte // guarded by the Writer's mu
	lost int    // lines since the last that was kept; likewise
}

// Switch sends the lines that are added from now on to out, in the format f; if
// out is nil they are dropped, and not counted: the log is off. What was added
// before goes to the old out first, all of it, in its order and format.
//
// When Switch returns nil, nobody writes to the old out any more: it may be
// closed. If the old out hangs for longer than a second the error matches
// ErrHangs: the log has been switched all the same, the one write that hangs is
// left to its goroutine, and the lines that wait behind it are dropped, so that
// a log that is switched again and again cannot hold more and more. The caller
// leaves the old out open then. Lines are dropped so as well when Run does not
// run yet.
func (w *Writer) Switch(out io.Writer, f Format) error {
	old := w.begin(out, f)
	if old == nil {
		return nil
	}
	close(old.over)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-old.done:
		return nil
	case <-timer.C:
	}
	if n := w.giveUp(old); n > 0 {
		return fmt.Errorf("%w; %d lines dropped", ErrHangs, n)
	}
	return ErrHangs
}

// begin makes out the place where lines go. It returns the sink that was before,
// or nil if there is nothing to wait for.
func (w *Writer) begin(out io.Writer, f Format) (old *sink) {
	var next *sink
	if out != nil {
		next = &sink{
			out: out, format: f,
			full: make(chan struct{}, 1), over: make(chan struct{}), done: make(chan struct{}),
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	old = w.to.Swap(next)
	if i := slices.Index(w.waiting, old); i >= 0 && len(old.buf) == 0 {
		w.waiting = slices.Delete(w.waiting, i, i+1) // it was never used
		old = nil
	}
	if next == nil {
		return old
	}
	w.waiting = append(w.waiting, next)
	select {
	case w.begun <- struct{}{}:
	default:
	}
	return old
}

// started are the sinks that nobody drains yet.
func (w *Writer) started() []*sink {
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh := w.waiting
	w.waiting = nil
	return fresh
}

// giveUp drops what a sink holds and tells how many lines that were.
func (w *Writer) giveUp(s *sink) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := countLines(s.buf)
	s.buf = nil
	w.dropped.Add(uint64(n))
	return n
}

func countLines(b []byte) int { return bytes.Count(b, []byte{'\n'}) }

// drain is the goroutine of a sink.
func (w *Writer) drain(ctx context.Context, s *sink, r *reports) {
	defer close(s.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	var lines []byte
	for ending := false; !ending; {
		select {
		case <-ctx.Done():
			ending = true
		case <-s.over:
			ending = true
		case <-tick.C:
		case <-s.full:
		}
		var lost int
		lines, lost = w.take(s, lines)
		if len(lines) == 0 {
			continue
		}
		n, err := s.out.Write(lines)
		if err != nil {
			w.dropped.Add(uint64(countLines(lines[min(max(n, 0), len(lines)):])))
		}
		r.tell(err, lost)
	}
}

// take gives what a sink holds, and the sink another buffer.
func (w *Writer) take(s *sink, spare []byte) (lines []byte, lost int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines, lost = s.buf, s.lost
	s.buf, s.lost = spare[:0], 0
	return lines, lost
}

// reports are what the operator is told of: changes, one at a time, whichever
// sink they come from.
type reports struct {
	mu     sync.Mutex // guards broken, and calls of failed
	broken bool
	failed func(error)
}

// tell reports how a write went, before which lost lines were dropped.
func (r *reports) tell(err error, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil && lost > 0:
		r.broken = true
		r.failed(fmt.Errorf("%d lines dropped: they came faster than they could be written", lost))
	case (err != nil) != r.broken:
		r.broken = err != nil
		r.failed(err)
	}
}
