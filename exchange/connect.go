package exchange

import (
	"context"
	"errors"
	"time"

	"viaduct/clock"
	"viaduct/upstream"
)

// connect finds an idle connection or dials, as long as the client waits. When
// one source has no port left it turns to the next.
func (s *Session) connect(w *Way, fresh bool) (up *upstream.Conn, reused bool, err error) {
	s.enterOrigin(w)
	if idle := s.take(w, fresh); idle != nil {
		return idle, true, nil
	}
	limit := s.o.DialTimeout
	if left := s.timeLeft(clock.Now()); left > 0 {
		limit = min(limit, left)
	}
	err = s.dialing(limit, func(ctx context.Context) (err error) {
		for first := w.From; ; {
			up, err = s.origin.Dial(ctx, w.Dialer)
			if !errors.Is(err, upstream.ErrNoPort) || !w.turn(first) {
				return err
			}
			s.enterOrigin(w)
			if up = s.take(w, fresh); up != nil {
				reused = true
				return nil
			}
		}
	})
	if err != nil && up != nil { // the client left as the dial succeeded
		_ = up.Close()
	}
	return up, reused, err
}

// enterOrigin finds the connections to a destination; most often they are those
// of the request before.
func (s *Session) enterOrigin(w *Way) {
	if s.origin != nil && s.dest == w.To && s.from == w.From && s.pool == w.Pool {
		return
	}
	s.leaveOrigin()
	s.origin, s.dest, s.from, s.pool = w.Pool.Origin(w.To, w.From), w.To, w.From, w.Pool
}

func (s *Session) leaveOrigin() {
	s.unbind()
	if s.origin != nil {
		s.origin.Release()
		s.origin = nil
	}
}

// take returns an idle connection, unless a fresh one is wanted. One that is
// bound to the client may be of any age: on another the client would be unknown.
func (s *Session) take(w *Way, fresh bool) *upstream.Conn {
	s.tied = false
	if fresh {
		return nil
	}
	if up := s.takeBound(w.Dialer.Guard); up != nil {
		return up
	}
	return s.origin.Take(w.Dialer.Guard, s.freshness())
}

// turn makes the next source that of the way, unless all had their turn.
func (w *Way) turn(first *upstream.Source) bool {
	next := w.Dialer.Egress.After(w.From, first)
	if next != nil {
		w.From = next
	}
	return next != nil
}

// timeLeft is what is left of the response timeout, which all tries share. Zero
// is no bound.
func (s *Session) timeLeft(now time.Duration) time.Duration {
	if s.o.ResponseTimeout == 0 {
		return 0
	}
	return max(s.began+s.o.ResponseTimeout-now, 1)
}

// freshness is how long a connection may have been idle for this request. An
// origin closes idle connections after five seconds or more, as a rule; a
// request that cannot be repeated does not take the chance.
func (s *Session) freshness() time.Duration {
	if idempotent(s.req.Method) {
		return time.Hour
	}
	return 3 * time.Second
}

// dialing runs dial within the limit, and cancels it when the client leaves.
func (s *Session) dialing(limit time.Duration, dial func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := clock.Now()
	err := s.wait(ctx, cancel, dial)
	s.entry.Dial += clock.Now() - began
	return err
}

// Wait does something that takes its time, and cancels it when the client leaves;
// then it returns an error that Refuse understands.
func (s *Session) Wait(do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return s.wait(ctx, cancel, do)
}

func (s *Session) wait(ctx context.Context, cancel context.CancelFunc, do func(context.Context) error) error {
	s.cancel = cancel
	s.client.BeginWait(clock.Now(), s.patience())
	err := do(ctx)
	if !s.client.EndWait() {
		return errClientGone
	}
	s.cancel = nil
	return err
}

// patience is how long a client may have ended its side during a dial: one that
// asked for a tunnel, and has put nothing into it, has left.
func (s *Session) patience() time.Duration {
	if string(s.req.Method) == "CONNECT" && s.client.Buffered() == 0 {
		return 0
	}
	return clock.Patience
}
