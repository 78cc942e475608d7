package server

import (
	"net"
	"sync/atomic"

	"viaduct/forward"
	"viaduct/snapshot"
)

// staff is the goroutines that serve client connections, one after another:
// their stacks have grown already, which is most of what a new one costs.
type staff struct {
	ready   chan arrival // for goroutines that wait
	spare   atomic.Int32 // so many of them
	stopped chan struct{}
	away    atomic.Int32 // goroutines that turn clients away
}

// arrival is a connection that has come in.
type arrival struct {
	listener *listener
	front    *snapshot.Front // that has counted it
	nc       net.Conn
}

func newStaff() *staff {
	return &staff{ready: make(chan arrival), stopped: make(chan struct{})}
}

func (s *staff) employ(a arrival) {
	select {
	case s.ready <- a:
	default:
		go s.work(a)
	}
}

// maxSpare is how many goroutines wait for the next connection.
const maxSpare = 64

// work is the goroutine of a client connection, and then of others.
func (s *staff) work(a arrival) {
	var c *forward.Client
	for {
		c = a.listener.serve(a.nc, a.front, c)
		if s.spare.Add(1) > maxSpare {
			s.spare.Add(-1)
			return
		}
		select {
		case a = <-s.ready:
			s.spare.Add(-1)
		case <-s.stopped:
			return
		}
	}
}
