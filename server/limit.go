package server

import (
	"net"
	"time"

	"viaduct/descriptors"
	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/metrics"
)

// admit has a connection served, or turns it away.
func (s *Server) admit(l *listener, nc *net.TCPConn) {
	f := l.entry.Load().Front
	level := s.descriptors.At(nc)
	if level >= descriptors.Scarce {
		s.relieve()
		if level >= descriptors.Last && s.freed.Add(-1) < 0 {
			s.turnAway(l, nc, metrics.Descriptors, level < descriptors.Most)
			return
		}
	}
	client, _ := nc.RemoteAddr().(*net.TCPAddr)
	if client == nil { // it has gone already
		_ = nc.Close()
		return
	}
	if why, ok := f.CountIn(client.AddrPort().Addr()); !ok {
		s.turnAway(l, nc, why, level < descriptors.Scarce)
		return
	}
	l.expect()
	s.staff.employ(arrival{l, f, nc})
}

// Bounds of what relieve does, and how often.
const (
	easeEvery = 10 * time.Millisecond
	easeIdle  = 16  // idle connections to the far side that it gives up, of each way out
	easeLook  = 256 // clients of each listener that it looks at
)

// relieve gives up connections that nobody uses.
func (s *Server) relieve() {
	if s.eased.Count(easeEvery) == 0 {
		return
	}
	present, freed := s.current.Load(), 0
	for _, l := range present.listeners {
		freed += l.shed(easeLook)
	}
	for _, t := range present.Transits {
		freed += t.Idle.GiveUp(easeIdle)
	}
	s.freed.Store(int64(freed))
}

// away are the answers to clients that there is no room for.
var away = [...]*fault.Error{
	metrics.MaxConns:          {Kind: fault.ConnectionLimitReached, Text: "Too many clients are connected."},
	metrics.MaxConnsPerClient: {Kind: fault.ConnectionLimitReached, Code: 429, Text: "Too many connections of yours are open."},
	metrics.Descriptors:       {Kind: fault.ConnectionLimitReached},
}

// maxAway is how many clients are told at a time that there is no room. Others
// are not told.
const maxAway = 256

func (s *Server) turnAway(l *listener, nc *net.TCPConn, why metrics.Reason, tell bool) {
	l.entry.Load().Front.Metrics.Refused(why)
	if n := l.away.Count(time.Minute); n > 0 {
		s.log.Warn("clients are turned away", "addr", nc.LocalAddr().String(), "reason", away[why].Say(), "count", n)
	}
	tell = tell && !l.secure() // a handshake for the answer is what there is no room for
	if !tell || s.staff.away.Add(1) > maxAway {
		if tell {
			s.staff.away.Add(-1)
		}
		_ = nc.Close()
		return
	}
	go s.sayNo(nc, away[why])
}

// sayNo is the goroutine of a client that is turned away.
func (s *Server) sayNo(nc *net.TCPConn, why *fault.Error) {
	defer s.staff.away.Add(-1)
	exchange.TurnAway(nc, why)
}
