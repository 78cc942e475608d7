package exchange

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/pool"
	"viaduct/rest"
	"viaduct/upstream"
	"viaduct/wire"
)

// connect finds an idle connection or dials, as long as the client waits. When
// one source has no port left it turns to the next.
func (s *Session) connect(w *Way, fresh bool) (up *upstream.Conn, reused bool, err error) {
	s.tied = false
	if w.Pool != nil {
		return s.connectBy(w, fresh)
	}
	from := w.From
	if up := s.take(w, fresh); up != nil {
		return up, true, nil
	}
	err = s.dialing(s.soon(s.o.DialTimeout), func(ctx context.Context) error {
		return w.bySources(ctx, func(ctx context.Context) (err error) {
			if up = s.take(w, fresh || w.From == from); up != nil {
				reused = true
				return nil
			}
			up, err = s.origin.Dial(ctx, w.Dialer)
			return err
		})
	})
	if err != nil && up != nil { // the client left as the dial succeeded
		_ = up.Close()
	}
	return up, reused, err
}

// spot is which idle connections a request may use.
type spot struct {
	to   upstream.Destination
	from *upstream.Source
	idle *upstream.Idle
	pool *pool.Pool
	leg  leg

	unjudged bool // nobody here knows the address: no connection of these is for who wants that it is judged
}

// spotOf is that of a way. All that goes to a proxy in absolute-form is alike.
func spotOf(w *Way, l leg) spot {
	at := spot{w.To, w.From, w.Idle, w.Pool, l, w.ByName}
	if l.absolute { // what is asked for is judged each time, as far as anybody wants that
		at.to, at.unjudged = upstream.Destination{}, false
	}
	return at
}

// through is whom the connections of a spot go by, for Idle.
type through struct {
	*pool.Endpoint
	unjudged bool
}

// enterOrigin finds the connections to a destination; most often they are those
// of the request before.
func (s *Session) enterOrigin(w *Way, l leg) {
	s.leg = l
	at := spotOf(w, l)
	if s.origin != nil && s.spot == at {
		return
	}
	s.leaveOrigin()
	s.spot = at
	if l.by == nil || l.by.Direct() {
		s.origin = w.Idle.Origin(w.To, w.From)
	} else {
		s.origin = w.Idle.By(through{l.by, at.unjudged}, at.to, w.From)
	}
}

func (s *Session) leaveOrigin() {
	if s.origin != nil {
		s.origin.Release()
		s.origin = nil
	}
}

// take returns an idle connection, unless a fresh one is wanted.
func (s *Session) take(w *Way, fresh bool) *upstream.Conn {
	if !fresh {
		if up := s.takeBound(w, leg{}); up != nil {
			return up
		}
	}
	s.enterOrigin(w, leg{})
	if fresh {
		return nil
	}
	return s.origin.Take(w.Dialer.Guard, s.freshness())
}

// soon is a limit, or what is left of the response timeout if that is less.
func (s *Session) soon(limit time.Duration) time.Duration {
	if left := s.timeLeft(clock.Now()); left > 0 {
		return min(limit, left)
	}
	return limit
}

// bySources dials from one source after another, as long as they have no port left or
// the destination lets them not connect. What it refuses to one and grants to another
// is put down to the address: that one rests, for this destination.
func (w *Way) bySources(ctx context.Context, dial func(context.Context) error) error {
	e, to := w.Dialer.Egress, rest.Destination{Host: w.To.Host, Port: w.To.Port}
	var first error
	var tried, refused []*upstream.Source
	for from := w.From; ; {
		err := w.dialFrom(ctx, dial, append(tried, w.From))
		switch {
		case err == nil:
			now := clock.Now()
			for _, s := range refused {
				e.Refused(to, s, now)
			}
			e.Reached(to, w.From, now)
			return nil
		case w.From == nil:
			return err
		}
		first = cmp.Or(first, err)
		tried = append(tried, w.From)
		next := (*upstream.Source)(nil)
		switch {
		case errors.Is(err, upstream.ErrNoPort):
			next = e.After(w.From, from)
		case refusesSource(err) && ctx.Err() == nil:
			refused = append(refused, w.From)
			next = e.Other(w.SourceKey, to, clock.Now(), tried)
		}
		if next == nil {
			return first
		}
		w.From = next
	}
}

// dialFrom dials, for half of the time if there is another source to try.
func (w *Way) dialFrom(ctx context.Context, dial func(context.Context) error, tried []*upstream.Source) error {
	end, ok := ctx.Deadline()
	to := rest.Destination{Host: w.To.Host, Port: w.To.Port}
	if !ok || w.From == nil || w.Dialer.Egress.Other(w.SourceKey, to, clock.Now(), tried) == nil {
		return dial(ctx)
	}
	half, cancel := context.WithTimeout(ctx, time.Until(end)/2)
	defer cancel()
	return dial(half)
}

// refusesSource tells whether an error may come of the address that we leave from.
func refusesSource(err error) bool {
	switch fault.Classify(err) {
	case fault.ConnectionRefused, fault.ConnectionTimeout, fault.ConnectionTerminated:
		return true
	}
	return false
}

// limited has the source rest that a destination has had enough of, for as long as it
// says (RFC 6585 section 4, RFC 9110 section 10.2.3).
func (s *Session) limited(w *Way) {
	if s.resp.Status != 429 || w.From == nil || s.leg.by != nil && !s.leg.by.Direct() {
		return
	}
	var after time.Duration
	for i := range s.resp.Fields {
		if f := &s.resp.Fields[i]; wire.Fold(f.Name, "retry-after") {
			if n, err := strconv.ParseUint(string(f.Value), 10, 16); err == nil {
				after = time.Duration(n) * time.Second
			}
		}
	}
	w.Dialer.Egress.Limited(rest.Destination{Host: w.To.Host, Port: w.To.Port}, w.From, clock.Now(), after)
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
