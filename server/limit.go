package server

import (
	"fmt"
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
	scarce int          // from here on idle connections are given up
	last   int          // from here on clients are turned away; the rest is for serving those that are in
	most   int          // from here on without a word
	eased  atomic.Int64 // when connections were last given up, in ns since 1970
	freed  atomic.Int64 // so many, for as many new clients
}

// fewest is how many files must be allowed to be open.
const fewest = 128

func (d *descriptors) read() error {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil || r.Cur > 1<<30 {
		r.Cur = 1 << 30
	}
	limit := int(r.Cur)
	if limit < fewest {
		return fmt.Errorf("only %d files may be open at a time: raise the limit (ulimit -n, LimitNOFILE=) to 1024 or more", limit)
	}
	reserve := max(limit/16, 16)
	d.scarce, d.last, d.most = limit-2*reserve, limit-reserve, limit-reserve+reserve/4
	return nil
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
	f := l.entry.Load().Front
	n := descriptor(nc)
	if n >= s.descriptors.scarce {
		s.relieve()
		if n >= s.descriptors.last && s.descriptors.freed.Add(-1) < 0 {
			s.turnAway(l, nc, metrics.Descriptors, n < s.descriptors.most)
			return
		}
	}
	client, _ := nc.RemoteAddr().(*net.TCPAddr)
	if client == nil { // it has gone already
		_ = nc.Close()
		return
	}
	if why, ok := f.CountIn(client.AddrPort().Addr()); !ok {
		s.turnAway(l, nc, why, n < s.descriptors.scarce)
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
	last, now := s.descriptors.eased.Load(), time.Now().UnixNano()
	if now-last < int64(easeEvery) || !s.descriptors.eased.CompareAndSwap(last, now) {
		return
	}
	present, freed := s.current.Load(), 0
	for _, l := range present.listeners {
		freed += l.shed(easeLook)
	}
	for _, t := range present.Transits {
		freed += t.Pool.GiveUp(easeIdle)
	}
	s.descriptors.freed.Store(int64(freed))
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
	if n := l.away.count(); n > 0 {
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
