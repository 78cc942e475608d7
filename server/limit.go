package server

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/metrics"
)

// descriptors is when open files become scarce. Go raises the soft limit to the
// hard one at the start.
type descriptors struct {
	scarce int // from here on idle connections are given up
	last   int // from here on clients are turned away; the rest is for serving those that are in
}

func newDescriptors() descriptors {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || r.Cur > 1<<30 {
		r.Cur = 1 << 30
	}
	limit := int(r.Cur)
	return descriptors{scarce: limit - max(limit/8, 32), last: limit - max(limit/16, 16)}
}

// descriptor is the number of a connection's descriptor. The kernel gives the
// lowest that is free: as many at least are in use.
func descriptor(nc *net.TCPConn) (n int) {
	if raw, err := nc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n = int(fd) })
	}
	return n
}

// admit has a connection served, or turns it away.
func (s *Server) admit(l *listener, nc *net.TCPConn) {
	f := l.front.Load()
	if n := descriptor(nc); n >= s.descriptors.scarce {
		s.relieve(f)
		if n >= s.descriptors.last {
			s.turnAway(f, nc, metrics.Descriptors)
			return
		}
	}
	client, _ := nc.RemoteAddr().(*net.TCPAddr)
	if client == nil { // it has gone already
		_ = nc.Close()
		return
	}
	if why, ok := f.admit(client.AddrPort().Addr()); !ok {
		s.turnAway(f, nc, why)
		return
	}
	f.metrics.Opened()
	s.staff.employ(arrival{f, nc})
}

// sparing is how many idle connections of each kind are given up when
// descriptors are scarce.
const sparing = 16

// relieve gives up connections that nobody uses.
func (s *Server) relieve(f *front) {
	f.shed(sparing)
	for _, t := range s.current.Load().transits {
		t.pool.GiveUp(sparing)
	}
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

func (s *Server) turnAway(f *front, nc *net.TCPConn, why metrics.Reason) {
	f.metrics.Refused(why)
	if n := f.refusals.count(); n > 0 {
		s.log.Warn("clients are turned away", "addr", nc.LocalAddr().String(), "reason", away[why].Say(), "count", n)
	}
	if s.staff.away.Add(1) > maxAway {
		s.staff.away.Add(-1)
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

// refusals are counted, and told once a minute.
type refusals struct {
	n    atomic.Int64
	told atomic.Int64 // when, in ns since 1970
}

// count counts one; when it is time to tell, it returns how many there were.
func (r *refusals) count() int64 {
	r.n.Add(1)
	told, now := r.told.Load(), time.Now().UnixNano()
	if now-told < int64(time.Minute) || !r.told.CompareAndSwap(told, now) {
		return 0
	}
	return r.n.Swap(0)
}
