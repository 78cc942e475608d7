package exchange

import (
	"bytes"
	"context"
	"net"
	"time"

	"viaduct/accesslog"
	"viaduct/clock"
	"viaduct/fault"
	"viaduct/relay"
	"viaduct/upstream"
	"viaduct/wire"
)

// established answers a CONNECT. It has neither length nor coding: the tunnel
// begins right behind it (RFC 9110 section 9.3.6).
var established = []byte("HTTP/1.1 200 Connection established\r\n\r\n")

// Tunnel dials the destination of a CONNECT and hands both ends to the relay,
// or answers for the destination if that fails.
func (s *Session) Tunnel(w *Way) {
	var nc *net.TCPConn
	s.entry.Rule, s.entry.Tries = w.Rule, 1
	err := s.dialing(s.o.DialTimeout, func(ctx context.Context) (err error) {
		nc, err = w.Dialer.Connect(ctx, w.To)
		return err
	})
	if err != nil {
		if nc != nil { // the client left as the dial succeeded
			_ = nc.Close()
		}
		s.fail(err)
		s.end()
		return
	}
	s.entry.Endpoint = addrPort(nc.RemoteAddr())
	s.entry.Status = 200
	s.entry.Wait = clock.Now() - s.began
	s.client.LimitWrite(clock.Now(), s.o.BodyTimeout)
	if _, err := s.client.Write(established); err != nil {
		_ = nc.Close()
		s.closing = true
		s.end()
		return
	}
	s.handOver(nc, nil)
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
func (s *Session) switchProtocols(up *upstream.Conn) error {
	s.client.SkipBody()
	out := wire.NewBuffer()
	defer out.Free()
	out.B = s.appendResponse(out.B, bare)
	s.entry.Status = 101
	s.entry.Wait = clock.Now() - s.began
	t := stream{dst: s.client, out: out, stall: s.o.BodyTimeout, now: clock.Now()}
	if t.flush() != nil {
		s.dropUpstream()
		s.closing = true
		return nil
	}
	s.up.Store(nil)
	early := up.TakeBuffered()
	nc := up.Detach()
	s.handOver(nc, early)
	up.Release()
	return nil
}

// handOver gives the client's connection and an upstream's to the relay, with
// what either has sent already. The line in the log is written at the end.
func (s *Session) handOver(server net.Conn, early []byte) {
	s.taken = true
	client := s.client.Detach()
	s.o.Tunnels.Go(client, server, s.client.TakeBuffered(), early, s.o.Tunnel, s.logTunnel())
	s.client.Release()
}

// logTunnel returns what logs the end of a tunnel. It keeps copies of what
// stands in the connection's buffer.
func (s *Session) logTunnel() func(relay.Stats, error) {
	if s.o.Log == nil {
		return func(relay.Stats, error) {}
	}
	began, log := s.began, s.o.Log
	entry := s.entry
	entry.Method = bytes.Clone(entry.Method)
	entry.Target = bytes.Clone(entry.Target)
	return func(st relay.Stats, err error) { endTunnel(log, entry, st, err, clock.Now()-began) }
}

func endTunnel(log *accesslog.Writer, e accesslog.Entry, st relay.Stats, err error, total time.Duration) {
	e.Received, e.Sent, e.Total = st.FromClient, st.FromServer, total
	if err != nil {
		e.Fault = fault.Classify(err).String()
	}
	log.Add(&e)
}
