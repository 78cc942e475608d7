package parent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/cable"
	"viaduct/clock"
	"viaduct/fault"
	"viaduct/hop"
)

// Trunk keeps HTTP/2 connections to one https parent, with many tunnels on each
// (RFC 9113 section 8.5). A parent that speaks HTTP/1.1 only, or is none of
// https, gets a connection for each tunnel. It may be used by several goroutines.
type Trunk struct {
	p      Proxy
	dial   func(context.Context) (net.Conn, error)
	bounds cable.Bounds
	old    atomic.Bool // it has said that tunnels need HTTP/1.1

	mu      sync.Mutex // guards what follows; may be held when that of a cable is taken
	cables  []*cable.Cable
	last    *attempt // to get a further cable; nil while nobody tries
	plain   bool     // it chose HTTP/1.1 the last time
	retired bool
}

// attempt is somebody's at a connection for several.
type attempt struct {
	done chan struct{}
	err  error // what went wrong, if that holds for others too
	room int   // how many more may wait for it
}

const mostAsks = 4 // connections that one tunnel is asked for on

var (
	errFull   = errors.New("it takes no tunnels on a new connection")
	errTarget = &RefusedError{Reason: cable.ErrTarget.Error(), verdict: verdict{fault.DestinationUnavailable, 502, Target, sayUnreached}}
)

// NewTrunk is a Trunk without connections. dial makes one to the parent.
func NewTrunk(p Proxy, dial func(ctx context.Context) (net.Conn, error)) *Trunk {
	return &Trunk{p: p, dial: dial, bounds: cable.Bounds{Quiet: 8 * time.Second, Pong: 5 * time.Second, Idle: 90 * time.Second}}
}

// Tunnel asks for a tunnel to target, as Proxy.Tunnel does, with the same errors.
// What dial says is returned as it is. via is what CONNECT says in its Via field.
//
// A tunnel that shares its connection has CloseWrite, and sends a reset when it
// is closed before the target has ended, or after its deadline for writing.
func (t *Trunk) Tunnel(ctx context.Context, target, via string) (net.Conn, []byte, error) {
	p := t.p
	p.Via = via
	to, err := p.ready(target)
	if err != nil {
		return nil, nil, err
	}
	for range mostAsks {
		s, over, early, err := t.open(ctx, p, to)
		if err != nil || over != nil {
			return over, early, err
		}
		err = p.answer(ctx, s)
		switch {
		case err == nil:
			return s, nil, nil
		case errors.Is(err, cable.ErrOld):
			t.old.Store(true)
		case !errors.Is(err, cable.ErrUnasked):
			return nil, nil, err
		}
	}
	return nil, nil, p.full()
}

// Close lets no connection outlive its tunnels. A Tunnel after it works, on a
// connection that ends with it.
func (t *Trunk) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retired = true
	for _, c := range t.cables {
		c.Retire()
	}
	t.cables = nil
}

// onCable is what request is to HTTP/1.1.
func (p Proxy) onCable(to hop.Target) cable.Request {
	return cable.Request{Target: to.String(), Login: p.BasicAuth(), Via: p.Via}
}

// answer waits for the parent's answer. ErrUnasked and ErrOld are left as they
// are: they are for Tunnel, which asks again.
func (p Proxy) answer(ctx context.Context, s *cable.Stream) error {
	head, err := s.Answer(ctx)
	switch {
	case err == nil && head.Status >= 300:
		return p.refused(answered(&head))
	case err == nil, errors.Is(err, cable.ErrUnasked), errors.Is(err, cable.ErrOld):
		return err
	case errors.Is(err, cable.ErrTarget):
		return p.refused(errTarget)
	case errors.Is(err, cable.ErrSilent):
		return p.ended(ctx, p.fault("CONNECT", fmt.Errorf("%w: %w", errUnclear, ctx.Err()), fault.ConnectionTimeout))
	}
	return p.fault("CONNECT", err, fault.ConnectionTerminated)
}

// full is the error of a parent that speaks HTTP/2 and does not want to.
func (p Proxy) full() error {
	return &fault.Error{Kind: fault.DestinationUnavailable, Code: 502, Text: sayBroken, Err: fmt.Errorf("parent %s: %w", p, errFull)}
}

// open asks on a connection that there is, or makes one: for itself if the
// parent speaks HTTP/1.1, else for all that come meanwhile.
func (t *Trunk) open(ctx context.Context, p Proxy, to hop.Target) (s *cable.Stream, over net.Conn, early []byte, err error) {
	for {
		s, a, ours := t.find(p, to)
		switch {
		case s != nil:
			return s, nil, nil, nil
		case ours:
			s, over, early, err = t.lay(ctx, p, to)
			t.tried(a, ctx, err)
			return s, over, early, err
		}
		select {
		case <-a.done:
			if a.err != nil {
				return nil, nil, nil, a.err
			}
		case <-ctx.Done():
			return nil, nil, nil, p.ended(ctx, p.fault("dial", ctx.Err(), fault.ConnectionTimeout))
		}
	}
}

// find is a stream, or an attempt to wait for, or one of our own, which is nil
// if nobody shall wait for it.
func (t *Trunk) find(p Proxy, to hop.Target) (s *cable.Stream, a *attempt, ours bool) {
	r := p.onCable(to)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := 0; i < len(t.cables) && !t.old.Load(); i++ {
		s, over := t.cables[i].Ask(r)
		if s != nil {
			return s, nil, false
		}
		if over {
			t.cables = append(t.cables[:i], t.cables[i+1:]...)
			i--
		}
	}
	switch {
	case t.plain || t.old.Load() || p.Scheme != HTTPS:
		return nil, nil, true
	case t.last != nil && t.last.room > 0:
		t.last.room--
		return nil, t.last, false
	}
	t.last = &attempt{done: make(chan struct{}), room: cable.Guests - 1}
	return nil, t.last, true
}

// tried tells those that wait. If it was our own time that has run out, or our
// own target that HTTP/1.1 was spoken of, they try next.
func (t *Trunk) tried(a *attempt, ctx context.Context, err error) { //nolint:revive // the context is not what it works under
	if a == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == a {
		t.last = nil
	}
	if ctx.Err() == nil && !t.plain {
		a.err = err
	}
	close(a.done)
}

// lay makes a connection and asks on it, whatever it speaks.
func (t *Trunk) lay(ctx context.Context, p Proxy, to hop.Target) (s *cable.Stream, over net.Conn, early []byte, err error) {
	nc, err := t.dial(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if p.Scheme != HTTPS {
		over, early, err = p.Tunnel(ctx, nc, to.String())
		return nil, over, early, err
	}
	var c *cable.Cable
	err = p.within(ctx, nc, func() (err error) {
		c, over, early, err = t.greet(nc, p, to)
		return err
	})
	if err != nil {
		clock.Close(nc)
		return nil, nil, nil, err
	}
	if c == nil {
		return nil, over, early, nil
	}
	if s = t.add(c, p, to); s == nil {
		return nil, nil, nil, p.full()
	}
	return s, nil, nil, nil
}

// greet finds out what the parent speaks, and asks at once if it is HTTP/1.1.
func (t *Trunk) greet(nc net.Conn, p Proxy, to hop.Target) (c *cable.Cable, over net.Conn, early []byte, err error) {
	protocols := []string{"h2", "http/1.1"}
	if t.old.Load() {
		protocols = protocols[1:]
	}
	secured, err := p.secure(nc, protocols...)
	if err != nil {
		return nil, nil, nil, err
	}
	if !t.speaksTwo(secured) {
		early, err = p.connect(secured, to)
		return nil, secured, early, err
	}
	if c, err = cable.New(secured, t.bounds); err != nil {
		return nil, nil, nil, p.fault("http/2", err, fault.ProtocolError)
	}
	return c, nil, nil, nil
}

func (t *Trunk) speaksTwo(c *tls.Conn) bool {
	two := c.ConnectionState().NegotiatedProtocol == "h2"
	t.mu.Lock()
	defer t.mu.Unlock()
	t.plain = !two
	return two
}

// add starts a connection, with its first tunnel.
func (t *Trunk) add(c *cable.Cable, p Proxy, to hop.Target) *cable.Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.Start()
	s, _ := c.Ask(p.onCable(to))
	if s == nil || t.retired {
		c.Retire()
		return s
	}
	t.cables = append(t.cables, c)
	return s
}
