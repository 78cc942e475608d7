// Package relay is the tunnel pump. A tunnel is two connections, client and
// server, and what one sends is delivered to the other: bytes in order and
// exactly counted, the end of one direction as the end of that direction, a
// reset as a reset. The package knows no HTTP; it takes over where RFC 9110
// section 9.3.6 says that a connection becomes a tunnel.
//
// A direction waits for bytes holding neither buffer nor pipe. Small messages
// go through a pooled buffer, a sustained flow by splice. That is for
// *net.TCPConn and *net.UnixConn as they are, on Linux. Any other connection,
// *tls.Conn and whatever wraps a socket, shows no readiness: a direction that
// reads from one holds 4 KiB while it waits, up to 32 KiB under a sustained
// flow. One that has no CloseWrite can't be told of an end; it is closed then.
// Only TCP can be reset, with or without TLS on it; others are closed.
package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"viaduct/fault"
)

// How a tunnel ends that nobody ended: the error that done receives matches
// one of these. Both connections were closed with bytes possibly unsent.
var (
	ErrIdle      error = fault.New(fault.ConnectionReadTimeout, errors.New("tunnel idle for too long"))
	ErrHalfClose error = fault.New(fault.ConnectionReadTimeout, errors.New("tunnel idle for too long after one side ended"))
	ErrLife      error = fault.New(fault.ConnectionTimeout, errors.New("tunnel open for too long"))
	ErrDrained   error = fault.New(fault.ConnectionTerminated, errors.New("tunnel cut by drain"))
	ErrPanic     error = fault.New(fault.InternalError, errors.New("tunnel ended by a panic"))
)

// Options bound a tunnel. Zero means no bound.
type Options struct {
	Idle      time.Duration // silence in both directions together; a peer that doesn't read is silent
	HalfClose time.Duration // silence once one direction has ended
	Life      time.Duration // from Go to the end

	// Look, if not nil, is shown what the client sends first, all of it so far
	// and LookMost bytes at most, before any of it is passed on. It is held back
	// as long as Look asks for more. last says that there will be no more: the
	// client has ended its side, or has sent LookMost bytes, or LookFor is over;
	// more has no meaning then. A client that sends nothing is not looked at, and
	// what the server sends waits for nothing.
	//
	// An error ends the tunnel, with nothing passed on to the server: done gets a
	// *LookError, the client a reset, the server an end in good order. What is
	// held back when the client fails is not passed on either.
	//
	// Look is called by the tunnel's own goroutine, one call at a time, and must
	// not wait. It must not keep b, and is forgotten once it has decided.
	Look    func(b []byte, last bool) (more bool, err error)
	LookFor time.Duration // from the first byte of the client to the last call of Look

	Tag any // what Each tells of the tunnel
}

// Side is an end of a tunnel.
type Side uint8

// The sides. None is neither of them.
const (
	None Side = iota
	Client
	Server
)

// Stats is what a tunnel carried. The counts are of bytes that the socket of
// the other side took, early bytes among them.
type Stats struct {
	FromClient int64
	FromServer int64
	Duration   time.Duration // from Go until both connections were closed
	Ended      Side          // whose end or failure came first; None if neither ended the tunnel: a bound, a drain, a panic
}

// Set owns tunnels. The zero value is ready for use. Its methods may be called
// from any goroutine.
type Set struct {
	tunnels sync.Mutex // guards what follows
	first   *tunnel
	open    int
	shut    bool          // a drain has begun to cut
	empty   chan struct{} // closed when no tunnel is left; nil while nobody waits
	broken  []error       // the first panics of done
}

// Go starts a tunnel and returns at once. From here on the Set owns both
// connections; the caller must neither use nor close them. Their deadlines are
// cleared.
//
// fromClient and fromServer are bytes that arrived with the head of the
// message that opened the tunnel; they are delivered first. They are copied,
// the caller may reuse the memory.
//
// done, which may be nil, is called once, after both connections are closed.
// Its error is nil if both sides ended in good order; else it is what ended
// the tunnel first: one of the errors above, or that of a connection, which is
// a *WriteError if the peer was written to. A panic in done ends nothing but
// that call and is reported by Drain.
func (s *Set) Go(client, server net.Conn, fromClient, fromServer []byte, o Options, done func(Stats, error)) {
	t := newTunnel(s, client, server, o, done)
	t.up.rest = append(t.up.rest, fromClient...)
	t.down.rest = append(t.down.rest, fromServer...)
	if shut := t.begin(); shut {
		t.cut(ErrDrained)
	}
}

// Len is the number of tunnels whose done hasn't returned.
func (s *Set) Len() int {
	s.tunnels.Lock()
	defer s.tunnels.Unlock()
	return s.open
}

// Drain waits until no tunnel is left. When ctx is done it cuts those that are,
// waits the moment until they are gone, and from then on Go cuts what it is
// given. The error counts the tunnels cut and wraps the cause of ctx. It also
// holds the first panics of done, if there were any.
func (s *Set) Drain(ctx context.Context) error {
	var err error
	select {
	case <-s.gone():
	case <-ctx.Done():
		if n := s.cut(); n > 0 {
			err = fmt.Errorf("drain: %d tunnels cut: %w", n, context.Cause(ctx))
		}
		<-s.gone()
	}
	s.tunnels.Lock()
	defer s.tunnels.Unlock()
	return errors.Join(append([]error{err}, s.broken...)...)
}

// gone is closed once no tunnel is left.
func (s *Set) gone() <-chan struct{} {
	s.tunnels.Lock()
	defer s.tunnels.Unlock()
	if s.empty != nil {
		return s.empty
	}
	empty := make(chan struct{})
	if s.open == 0 {
		close(empty)
	} else {
		s.empty = empty
	}
	return empty
}

// Each calls do for every tunnel that is open, with its Options.Tag. cut ends
// that tunnel at once, whatever is unsent, and done gets the cause, which must
// not be nil. It may be called later, too: it does nothing to a tunnel that has
// ended. No lock is held while do runs.
func (s *Set) Each(do func(tag any, cut func(cause error))) {
	s.tunnels.Lock()
	all := s.all()
	s.tunnels.Unlock()
	for _, t := range all {
		do(t.bounds.Tag, t.cut)
	}
}

// cut cuts all tunnels and tells how many there were.
func (s *Set) cut() int {
	s.tunnels.Lock()
	s.shut = true
	all := s.all()
	s.tunnels.Unlock()
	for _, t := range all {
		t.cut(ErrDrained)
	}
	return len(all)
}

// all is a list of the tunnels, for what is not to be done under the lock.
func (s *Set) all() []*tunnel {
	all := make([]*tunnel, 0, s.open)
	for t := s.first; t != nil; t = t.next {
		all = append(all, t)
	}
	return all
}

func (s *Set) add(t *tunnel) (shut bool) {
	s.tunnels.Lock()
	defer s.tunnels.Unlock()
	if t.next = s.first; t.next != nil {
		t.next.prev = t
	}
	s.first = t
	s.open++
	return s.shut
}

func (s *Set) remove(t *tunnel, broken error) {
	s.tunnels.Lock()
	defer s.tunnels.Unlock()
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		s.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	if broken != nil && len(s.broken) < 8 {
		s.broken = append(s.broken, broken)
	}
	if s.open--; s.open == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}
