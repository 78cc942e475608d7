package exchange

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/health"
	"viaduct/hop"
	"viaduct/parent"
	"viaduct/pool"
	"viaduct/relay"
	"viaduct/rest"
	"viaduct/upstream"
	"viaduct/wire"
)

// A request that goes through a pool is given to one of its endpoints, and to
// another one as long as nothing has been answered. What the request is on its way
// through the pool is its ride: it begins with the first connection that is wanted,
// and ends with the exchange, or with the tunnel that becomes of it.

// leg is how the far side is reached on a connection.
type leg struct {
	by       *pool.Endpoint // nil: no pool was asked
	absolute bool           // by is a proxy that is asked in absolute-form
}

// legBy is how an endpoint is asked for what the way leads to. A name that must not be
// looked up again is asked for through a tunnel, to the address; so is a change of
// protocol, which few proxies pass on.
func (s *Session) legBy(w *Way, e *pool.Endpoint) leg {
	return leg{e, e.Absolute() && !s.tunnels(w)}
}

func (s *Session) tunnels(w *Way) bool {
	return string(s.req.Method) == "CONNECT" || w.To.TLS || s.wantsUpgrade() || !w.ByName && !w.To.Addr.IsValid()
}

// board begins the ride, unless it has begun. An address is judged here that nobody
// looks up.
func (s *Session) board(w *Way) error {
	if w.To.Addr.IsValid() {
		if err := w.Dialer.Guard.Check(netip.AddrPortFrom(w.To.Addr.Unmap(), w.To.Port)); err != nil {
			return err
		}
	}
	if s.riding {
		return nil
	}
	err := s.ride.Begin(w.Pool, pool.Ask{
		Key: w.Key, Keyed: w.Keyed, To: rest.Destination{Host: w.To.Host, Port: w.To.Port}, DialTimeout: s.o.DialTimeout,
		From: w.From, Via: w.Via,
	}, clock.Now())
	s.riding = err == nil
	s.entry.Pool = w.Pool.Name()
	return err
}

// Endpoint is that of a pool which has the request, or had it last; nil without one.
func (s *Session) Endpoint() *pool.Endpoint { return s.leg.by }

// leave ends the ride, if there is one.
func (s *Session) leave(now time.Duration) {
	if !s.riding {
		return
	}
	s.riding = false
	s.entry.Tries = s.ride.Tries()
	s.ride.End(now, s.outcome)
}

// connectBy finds an idle connection to the endpoint that has the request, or sets one
// up, to another endpoint if it has to be.
func (s *Session) connectBy(w *Way, fresh bool) (*upstream.Conn, bool, error) {
	if err := s.board(w); err != nil {
		return nil, false, err
	}
	if !fresh {
		up, err := s.takeBy(w)
		if up != nil || err != nil {
			return up, true, err
		}
	}
	link, e, err := s.open(w)
	if err != nil {
		return nil, false, err
	}
	s.enterOrigin(w, s.legBy(w, e))
	up, err := s.adopt(w, link)
	return up, false, err
}

// adopt makes a link a connection, with TLS where the way has it.
func (s *Session) adopt(w *Way, link upstream.Link) (up *upstream.Conn, err error) {
	if !w.To.TLS {
		return s.origin.Adopt(context.Background(), link, nil)
	}
	err = s.dialing(s.soon(s.o.DialTimeout), func(ctx context.Context) (err error) {
		up, err = s.origin.Adopt(ctx, link, w.Dialer.Shaken)
		return err
	})
	switch {
	case err != nil && up != nil: // the client left as it succeeded
		_ = up.Close()
	case err != nil:
		s.outcome.Blame = health.ByTarget
	}
	return up, err
}

// takeBy finds an idle connection without waiting.
func (s *Session) takeBy(w *Way) (*upstream.Conn, error) {
	e := s.ride.Endpoint()
	if e == nil {
		if s.bound != nil && s.tie.leg.by != nil {
			s.ride.Prefer(s.tie.leg.by)
		}
		var err error
		e, err = s.ride.Pick(clock.Now())
		switch {
		case errors.Is(err, pool.ErrWait):
			return nil, nil
		case err != nil:
			return nil, err
		}
	}
	l := s.legBy(w, e)
	if up := s.takeBound(w, l); up != nil {
		return up, nil
	}
	s.enterOrigin(w, l)
	return s.origin.Take(w.Dialer.Guard, s.freshness()), nil
}

// open has endpoints opened until one is, for a tunnel or for a connection.
func (s *Session) open(w *Way) (link upstream.Link, e *pool.Endpoint, err error) {
	b := bridge{Way: w, tunnels: s.tunnels(w)}
	err = s.dialing(s.soon(3*s.o.DialTimeout), func(ctx context.Context) (err error) { // each part has its own bound
		if err := b.aim(ctx, s.o.DialTimeout); err != nil {
			return err
		}
		b.guard.Guard = w.Dialer.Guard
		defer b.guard.end()
		link, e, err = pool.Open(ctx, &s.ride, b.open, dropLink)
		return err
	})
	if err != nil && link.Conn != nil { // the client left as it succeeded
		dropLink(link)
	}
	if last := s.ride.Last(); err != nil && last != nil {
		s.entry.Parent, s.entry.Endpoint = "", netip.AddrPort{}
		if !last.Direct() {
			s.entry.Parent = last.ID()
		}
	}
	return link, e, err
}

func dropLink(l upstream.Link) { clock.Close(l.Conn) }

// bridge opens endpoints, several at a time. It knows no session: what is cancelled
// may go on for a moment.
type bridge struct {
	*Way
	tunnels bool           // to whatever endpoint
	target  string         // that parents are asked for a tunnel to
	at      netip.AddrPort // the address in it; not valid: it has a name
	guard   leash
}

// aim finds what parents are asked for a tunnel to.
func (b *bridge) aim(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	to := hop.Target{Host: b.To.Host, Port: b.To.Port, Addr: b.To.Addr}
	switch {
	case b.To.Addr.IsValid():
		b.at = netip.AddrPortFrom(b.To.Addr.Unmap(), b.To.Port)
	case !b.ByName && b.Pool.Parents():
		addrs, err := b.Dialer.Addresses(ctx, b.To, nil)
		if err != nil {
			return err
		}
		b.at = addrs[0]
		for _, a := range addrs { // which more parents can reach
			if a.Addr().Is4() {
				b.at = a
				break
			}
		}
	}
	if b.at.IsValid() {
		to.Addr, to.Host = b.at.Addr(), b.at.Addr().String()
	}
	b.target = to.String()
	return nil
}

// open opens one endpoint.
func (b *bridge) open(ctx context.Context, e *pool.Endpoint) (l upstream.Link, err error) {
	switch {
	case e.Direct():
		d := *b.Dialer
		d.Guard = &b.guard
		nc, err := b.Idle.Connect(ctx, &d, b.To, b.From)
		if err != nil {
			return l, err
		}
		return upstream.Link{Conn: nc, Remote: addrPort(nc.RemoteAddr())}, nil
	case e.Absolute() && !b.tunnels:
		l.Conn, err = e.Reach(ctx, b.From, b.Via)
		return l, err
	}
	l.Remote = b.at
	l.Conn, l.Early, err = e.Tunnel(ctx, b.From, b.target, b.Via)
	return l, err
}

// leash ends the use of a guard, which is that of a client's present request.
type leash struct {
	upstream.Guard
	mu   sync.Mutex // guards over, and the guard
	over bool
}

var errOver = fault.New(fault.ConnectionTerminated, errors.New("somebody else was faster"))

func (l *leash) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// Check implements upstream.Guard.
func (l *leash) Check(a netip.AddrPort) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return errOver
	}
	return l.Guard.Check(a)
}

// errSilent is of a parent that hangs: what it was asked for before may arrive yet, but
// no answer will.
var errSilent = &fault.Error{
	Kind: fault.ConnectionReadTimeout, Text: "The parent proxy does not say anything any more.",
	Err: errors.New("the parent has not answered, and nor has it when it was asked whether it still does"),
}

// parentHangs runs on a goroutine of the pool while the answer of a parent is waited
// for; Awaited tells the session.
func (s *Session) parentHangs() {
	if up := s.up.Load(); up != nil {
		up.Abort()
	}
}

// awaited ends the wait for an endpoint that was sent the request, and says what to make
// of how that went.
func (s *Session) awaited(up *upstream.Conn, err error) error {
	if err == nil {
		s.ride.Answered(clock.Now())
	}
	switch lost := s.ride.Awaited(); {
	case !lost:
	case err == nil: // after all
		up.Revive()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	}
	return err
}

// elsewhere tells whether a request that failed may be asked of another endpoint, and
// gives its endpoint up if so. A parent that refused it has passed nothing on; what
// else was sent may have arrived (RFC 9110 section 9.2.2).
func (s *Session) elsewhere(err error, sent bool) bool {
	if !s.riding || s.uploading {
		return false
	}
	if _, whole := s.client.WholeBody(); !whole {
		return false
	}
	_, isRefusal := errors.AsType[*parent.RefusedError](err)
	switch {
	case !sent:
	case !idempotent(s.req.Method), !isRefusal && (s.heard || !isEnd(err) && !errors.Is(err, errSilent)):
		return false
	}
	now := clock.Now()
	if fault.Classify(err) == fault.LoopDetected || !s.ride.MayRetry(now) {
		return false
	}
	s.failed(now, err)
	s.heard = false
	return true
}

// failed gives the endpoint up. What it said, and how a connection ended, may come from
// behind it: only that it says nothing to anybody any more is its own.
func (s *Session) failed(now time.Duration, err error) {
	if errors.Is(err, errSilent) {
		s.ride.Failed(now, err)
	} else {
		s.ride.Doubted(now, err)
	}
}

// lost says of a request that has failed for good what that tells of its endpoint.
func (s *Session) lost(err error) {
	_, isDenied := errors.AsType[*Denied](err)
	_, isRefusal := errors.AsType[*parent.RefusedError](err)
	switch {
	case !s.riding, s.outcome.Blame != health.Unsaid:
	case errors.Is(err, errClientGone):
		s.outcome.Blame = health.ByClient
	case isDenied, s.uploadErr != nil:
		s.outcome.Blame = health.ByUs
	case isRefusal, !s.heard && isEnd(err), errors.Is(err, errSilent):
		s.failed(clock.Now(), err)
	default: // late, or not HTTP: that may come from further away
		s.outcome.Blame = health.ByTarget
	}
}

// ownAnswer tells whether an answer reads as a parent's own: it wants other credentials
// of ours, or says that it could not do what it was asked (RFC 9209 section 2). An origin
// behind the parent may have written it, too.
func (s *Session) ownAnswer() error {
	if !s.leg.absolute {
		return nil
	}
	status := s.resp.Status
	if status != 407 && status != 421 && status != 502 && status != 503 && status != 504 {
		return nil
	}
	for i := range s.resp.Fields {
		f := &s.resp.Fields[i]
		if status == 407 || wire.Fold(f.Name, "x-squid-error") || wire.Fold(f.Name, "proxy-status") && bytes.Contains(f.Value, []byte("error=")) {
			return parent.Refused(&s.resp)
		}
	}
	return nil
}

// alight ends the ride of what has become a tunnel. Its endpoint has it until what is
// returned is called; nil where there is none.
func (s *Session) alight() func(relay.Stats) {
	if !s.riding {
		return nil
	}
	s.riding = false
	s.entry.Tries = s.ride.Tries()
	lease := s.ride.Take()
	return func(st relay.Stats) {
		r := health.Report{Tunnel: true, Received: st.FromServer, Lived: st.Duration}
		if st.Ended == relay.Client {
			r.Blame = health.ByClient
		}
		lease.End(clock.Now(), r)
	}
}
