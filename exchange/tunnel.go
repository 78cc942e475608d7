package exchange

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"viaduct/accesslog"
	"viaduct/clock"
	"viaduct/fault"
	"viaduct/metrics"
	"viaduct/relay"
	"viaduct/tap"
	"viaduct/upstream"
	"viaduct/wire"
)

// established answers a CONNECT. It has neither length nor coding: the tunnel
// begins right behind it (RFC 9110 section 9.3.6).
var established = []byte("HTTP/1.1 200 Connection established\r\n\r\n")

// Tunnel dials the destination of a CONNECT and hands both ends to the relay,
// or answers for the destination if that fails.
func (s *Session) Tunnel(w *Way) {
	s.way = w
	link, err := s.dialTunnel(w)
	if err != nil {
		s.lost(err)
		s.fail(err)
		s.end()
		return
	}
	s.reached(w, link.Remote, link.Conn)
	if s.riding {
		s.ride.Answered(clock.Now())
	}
	s.entry.Status = 200
	s.entry.First = clock.Now() - s.began
	s.client.LimitWrite(clock.Now(), s.o.BodyTimeout)
	if _, err := s.client.Write(established); err != nil {
		_ = link.Conn.Close()
		s.closing = true
		s.entry.Status = 0
		s.clientLeft()
		s.end()
		return
	}
	s.handOver(link.Conn, link.Early, w.Look)
}

// dialTunnel dials within the dial timeout, from one source after the other
// when they have no port left; or has an endpoint of the pool opened.
func (s *Session) dialTunnel(w *Way) (link upstream.Link, err error) {
	if w.Pool != nil {
		if err = s.board(w); err == nil {
			link, s.leg.by, err = s.open(w)
		}
		return link, err
	}
	var nc *net.TCPConn
	err = s.dialing(s.o.DialTimeout, func(ctx context.Context) error {
		return w.bySources(ctx, func(ctx context.Context) (err error) {
			nc, err = w.Idle.Connect(ctx, w.Dialer, w.To, w.From)
			return err
		})
	})
	switch {
	case err == nil:
		link = upstream.Link{Conn: nc, Remote: addrPort(nc.RemoteAddr())}
	case nc != nil: // the client left as the dial succeeded
		_ = nc.Close()
	}
	return link, err
}

// reached notes which address a connection leads to, as far as that is known, by way
// of whom, and from where.
func (s *Session) reached(w *Way, to netip.AddrPort, nc net.Conn) {
	s.entry.Tries++
	s.judged, s.entry.Endpoint, s.entry.Parent = to, to, ""
	if e := s.leg.by; e != nil && !e.Direct() {
		s.entry.Parent, s.entry.Endpoint = e.ID(), addrPort(clock.Socket(nc).RemoteAddr())
	}
	if w.From != nil {
		s.entry.Egress = w.From.For(s.entry.Endpoint.Addr())
	}
}

// wantsUpgrade tells whether the client offers to change to a protocol that may
// be passed on. It may not while its body is still to come (RFC 9110 section 7.8).
func (s *Session) wantsUpgrade() bool {
	if !s.req.Upgrade {
		return false
	}
	if _, whole := s.client.WholeBody(); !whole {
		return false
	}
	var room [128]byte
	return len(appendTokens(room[:0], &s.req)) > 0
}

// agreed tells whether the protocol of a 101 is one that was offered.
func (s *Session) agreed() bool {
	chosen := s.resp.Get(wire.Upgrade)
	if len(chosen) == 0 || !s.resp.Upgrade {
		return false
	}
	var room [128]byte
	for token := range bytes.SplitSeq(appendTokens(room[:0], &s.req), []byte(", ")) {
		if bytes.EqualFold(token, chosen) {
			return true
		}
	}
	return false
}

// switchProtocols passes a 101 on, and everything that follows.
func (s *Session) switchProtocols(up *upstream.Conn) {
	s.client.SkipBody()
	out := wire.NewBuffer()
	defer out.Free()
	out.B = s.appendResponse(out.B, bare)
	s.entry.Status = 101
	s.entry.First = clock.Now() - s.began
	t := stream{dst: s.client, out: out, stall: s.o.BodyTimeout, now: clock.Now()}
	if t.flush() != nil {
		s.dropUpstream()
		s.closing = true
		s.entry.Status = 0
		s.clientLeft()
		return
	}
	s.up.Store(nil)
	early := up.TakeBuffered()
	nc := up.Detach()
	s.handOver(nc, early, nil)
	up.Release()
}

// handOver gives the client's connection and an upstream's to the relay, with
// what either has sent already. look is that of the Way, or nil.
func (s *Session) handOver(server net.Conn, early []byte, look func([]byte, bool) (bool, Record, error)) {
	s.taken = true
	client := s.client.Detach()
	s.o.Metrics.TunnelOpened(s.entry.Dial)
	o, seen := s.o.Tunnel, new(Record)
	if s.way.Tag != nil {
		o.Tag = s.way.Tag(s.judged)
	}
	if look != nil {
		o.LookFor = s.o.HeaderTimeout
		o.Look = func(b []byte, last bool) (more bool, err error) {
			more, *seen, err = look(b, last)
			return more, err
		}
	}
	s.home.Tunnels.Go(client, server, s.client.TakeBuffered(), early, o, s.atTunnelEnd(seen, s.alight()))
	s.client.Release()
	s.recheck(o.Tag)
}

// recheck ends a tunnel that came about while policy changed. Whoever changes it
// looks at the tunnels that are there by then; this one is.
func (s *Session) recheck(tag any) {
	if s.way.Recheck == nil {
		return
	}
	err := s.way.Recheck(tag)
	if err == nil {
		return
	}
	s.home.Tunnels.Each(func(t any, cut func(error)) {
		if t == tag {
			cut(err)
		}
	})
}

// mostKept is how much of a field is kept for the line of a tunnel, which may
// last for days.
const mostKept = 2 << 10

// atTunnelEnd returns what is called when the tunnel has ended. It keeps copies
// of what stands in the connection's buffer. What was seen in the tunnel comes
// into its line.
//
// The endpoint has the tunnel until then, if it came from a pool: alighted is told.
func (s *Session) atTunnelEnd(seen *Record, alighted func(relay.Stats)) func(relay.Stats, error) {
	o, ended, remote := s.o, s.home.Ended, s.remote // and nothing that holds the session
	var entry *accesslog.Entry
	if o.Log != nil {
		e := s.entry
		for _, b := range []*[]byte{&e.Method, &e.Target, &e.Referer, &e.Agent} {
			*b = bytes.Clone((*b)[:min(len(*b), mostKept)])
		}
		entry = &e
	}
	return func(st relay.Stats, err error) {
		if denied, ok := errors.AsType[*Denied](err); ok {
			*seen = denied.Record
		}
		if alighted != nil {
			alighted(st)
		}
		if entry != nil && seen.Decision != "" {
			seen.enter(entry)
		}
		o.endTunnel(entry, st, err)
		if ended != nil {
			ended(remote)
		}
	}
}

// endTunnel logs and counts a tunnel that has ended.
func (o *Options) endTunnel(e *accesslog.Entry, st relay.Stats, err error) {
	word := fault.Classify(err).String()
	o.Metrics.TunnelClosed(metrics.Tunnel{Fault: word, Received: st.FromClient, Sent: st.FromServer, Duration: st.Duration})
	if e == nil {
		return
	}
	if bad := asFault(err); bad != nil && bad.Err != nil && e.Inspect != "" { // what TLS did not like
		e.Cause = bad.Err.Error()
	}
	e.Received, e.Sent, e.Total, e.Fault = st.FromClient, st.FromServer, e.First+st.Duration, word
	switch st.Ended {
	case relay.Client:
		e.Ended = accesslog.Client
	case relay.Server:
		e.Ended = accesslog.Server
	default:
		e.Ended = accesslog.Proxy
	}
	o.Log.Add(e)
}

// Lend answers a CONNECT as if the tunnel were open, and gives its inside to the
// caller, whose connection it is from here on. end must be called once, when that
// is closed.
func (s *Session) Lend() (inside *tap.Conn, end func(why error), err error) {
	began := clock.Now()
	s.entry.Status, s.entry.First = 200, began-s.began
	s.client.LimitWrite(began, s.o.BodyTimeout)
	if _, err := s.client.Write(established); err != nil {
		s.closing = true
		s.entry.Status = 0
		s.clientLeft()
		s.end()
		return nil, nil, err
	}
	s.taken = true
	s.way = &Way{}
	early := bytes.Clone(s.client.TakeBuffered())
	inside = tap.New(s.client.Detach(), early)
	_ = inside.SetDeadline(time.Time{})
	s.o.Metrics.TunnelLent()
	done := s.atTunnelEnd(new(Record), nil) // copies what stands in the buffer
	s.client.Release()
	return inside, func(why error) { // and keeps no session
		stats := relay.Stats{Duration: clock.Now() - began, Ended: relay.Client}
		if errors.Is(why, errLateTLS) {
			stats.Ended = relay.None
		}
		stats.FromClient, stats.FromServer = inside.Moved()
		done(stats, why)
	}, nil
}

// Inside is the home of what a client sends inside a tunnel that was lent.
func (h *Home) Inside(current func() *Options, end func()) Home {
	return Home{Current: current, Draining: h.Draining, Tunnels: h.Tunnels, Ended: func(netip.AddrPort) { end() }}
}
