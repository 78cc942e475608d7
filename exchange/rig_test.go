package exchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"viaduct/accesslog"
	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/hop"
	"viaduct/relay"
	"viaduct/rest"
	"viaduct/upstream"
)

// guard lets everything pass that check, if there is one, lets pass.
type guard struct{ check func(netip.AddrPort) error }

func (g *guard) Check(a netip.AddrPort) error {
	if g.check == nil {
		return nil
	}
	return g.check(a)
}

// rig is a listener whose clients are served by sessions.
type rig struct {
	t        testing.TB
	o        exchange.Options
	pooling  upstream.Options
	dialer   upstream.Dialer
	guard    guard
	pool     *upstream.Idle
	draining atomic.Bool
	tunnels  relay.Set
	panics   chan any
	wrap     func(net.Conn) net.Conn // if not nil, around each client's connection
	ways     func(*exchange.Way)     // if not nil, changes each

	log   *accesslog.Writer
	lines bytes.Buffer // read it when the rig has ended

	l       net.Listener
	serving sync.WaitGroup
	ending  sync.Once

	mu       sync.Mutex // guards what follows
	sessions map[*exchange.Session]struct{}
	spare    []*exchange.Session
}

// begin makes a rig; change, which may be nil, changes it before it starts.
func begin(t testing.TB, change func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, panics: make(chan any, 100), sessions: map[*exchange.Session]struct{}{}}
	r.log = accesslog.New(&r.lines, accesslog.JSON)
	r.o = exchange.Options{
		Mode: "test", MaxHeader: 64 << 10,
		HeaderTimeout: patience, BodyTimeout: patience, DialTimeout: patience, ResponseTimeout: patience, IdleTimeout: patience,
		Log:      r.log,
		Panicked: func(reason any, _ []byte) { r.panics <- reason },
	}
	r.dialer = upstream.Dialer{Guard: &r.guard, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	if change != nil {
		change(r)
	}
	r.pool = upstream.NewIdle(r.pooling)
	r.l = must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	r.serving.Go(r.accept)
	t.Cleanup(r.end)
	return r
}

func (r *rig) accept() {
	for {
		nc, err := r.l.Accept()
		if err != nil {
			return
		}
		r.serving.Go(func() { r.serve(nc) })
	}
}

// serve is a front that lets everybody go everywhere. What served one client
// serves the next where it can.
func (r *rig) serve(nc net.Conn) {
	if r.wrap != nil {
		nc = r.wrap(nc)
	}
	s := r.open(nc)
	r.converse(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s)
	if s.Released() {
		r.spare = append(r.spare, s)
	}
}

func (r *rig) open(nc net.Conn) (s *exchange.Session) {
	home := exchange.Home{Current: func() *exchange.Options { return &r.o }, Draining: &r.draining, Tunnels: &r.tunnels}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.spare); n > 0 {
		s = r.spare[n-1]
		r.spare = r.spare[:n-1]
		s.Reopen(nc, home)
	} else {
		s = exchange.Open(nc, home)
	}
	r.sessions[s] = struct{}{}
	return s
}

func (r *rig) converse(s *exchange.Session) {
	defer s.Close()
	for s.Next() {
		h := s.Request()
		way := exchange.Way{Dialer: &r.dialer, Idle: r.pool, From: r.dialer.Egress.Choose(s.Remote().Addr(), "", "", rest.Destination{}, 0)}
		var bad *fault.Error
		if string(h.Method) == "CONNECT" {
			target, err := hop.ParseAuthority(h.Target)
			if errors.As(err, &bad) {
				s.Refuse(bad)
				continue
			}
			way.To = upstream.Destination{Host: target.Host, Port: target.Port, Addr: target.Addr}
			r.change(&way)
			s.Tunnel(&way)
			continue
		}
		target, path, err := hop.ParseAbsolute(h.Target)
		if errors.As(err, &bad) {
			s.Refuse(bad)
			continue
		}
		way.To = upstream.Destination{Host: target.Host, Port: target.Port, Addr: target.Addr}
		r.change(&way)
		s.Forward(&way, path)
	}
}

func (r *rig) change(w *exchange.Way) {
	if r.ways != nil {
		r.ways(w)
	}
}

func (r *rig) each(do func(*exchange.Session)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.sessions {
		do(s)
	}
}

// open sessions are those that are being served.
func (r *rig) sessionCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// end stops everything and fails the test if something does not stop.
func (r *rig) end() {
	r.ending.Do(func() {
		_ = r.l.Close()
		r.draining.Store(true)
		ended := make(chan struct{})
		go func() { defer close(ended); r.serving.Wait() }()
		over := func() bool {
			r.each(func(s *exchange.Session) { s.Discard(); s.Cut() })
			select {
			case <-ended:
				return true
			default:
				return false
			}
		}
		if !eventually(over) {
			r.t.Errorf("sessions do not end\n%s", stacks())
			return
		}
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.tunnels.Drain(now)
		r.pool.Close()
		r.log.Run(now, func(err error) { r.t.Error(err) })
		close(r.panics)
	})
}

// logged ends the rig and returns its log.
func (r *rig) logged() (entries []map[string]any) {
	r.t.Helper()
	r.end()
	for line := range strings.Lines(r.lines.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			r.t.Fatalf("%v in %s", err, line)
		}
		entries = append(entries, v)
	}
	return entries
}
