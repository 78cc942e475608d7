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

// take returns an idle connection, unless a fresh one is wanted.
func (s *Session) take(w *Way, fresh bool) *upstream.Conn {
	if fresh {
		return nil
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
	s.cancel = cancel
	began := clock.Now()
	s.client.BeginWait(began, s.patience())
	err := dial(ctx)
	s.entry.Dial += clock.Now() - began
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
