package upstream

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"viaduct/fault"
	"viaduct/rest"
)

// Source is an egress identity: the addresses that connections leave from, one
// a family. Sources are compared by their pointer; a nil *Source leaves the
// choice to the system. A family without an address is not dialled: it would
// leave by another address than the operator named.
type Source struct {
	V4, V6 netip.Addr
}

// For is the address that a connection to there leaves from; not valid when the
// source has none of its family.
func (s *Source) For(to netip.Addr) netip.Addr {
	if to.Is4() {
		return s.V4
	}
	return s.V6
}

// EgressBy says how one of several sources is chosen.
type EgressBy uint8

// The ways to choose.
const (
	RoundRobin EgressBy = iota
	ByClient            // by the address of the client
	ByHost              // by the host that is asked for
	ByUser              // by who authenticated
)

// ParseEgressBy reads round_robin, user, client or host.
func ParseEgressBy(s string) (EgressBy, error) {
	switch s {
	case "round_robin":
		return RoundRobin, nil
	case "client":
		return ByClient, nil
	case "host":
		return ByHost, nil
	case "user":
		return ByUser, nil
	}
	return 0, errors.New("choose round_robin, user, client or host")
}

// Egress is the sources that connections may leave from. A nil Egress leaves
// the choice to the system. Its methods are safe for concurrent use; with one
// source or none, those about rests do nothing.
type Egress struct {
	sources []*Source
	hashes  []uint64 // of the sources
	by      EgressBy
	next    atomic.Uint32
	refused rest.Table[*Source]
	limited rest.Table[*Source]
}

// NewEgress makes an Egress of addresses, which pair up in their order where
// both families are there. Without addresses it is nil.
func NewEgress(addrs []netip.Addr, by EgressBy) *Egress {
	var v4, v6 []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	if len(v4)+len(v6) == 0 {
		return nil
	}
	e := &Egress{by: by}
	for i := range max(len(v4), len(v6)) {
		s := new(Source)
		if len(v4) > 0 {
			s.V4 = v4[i%len(v4)]
		}
		if len(v6) > 0 {
			s.V6 = v6[i%len(v6)]
		}
		v4, v6 := s.V4.As16(), s.V6.As16()
		e.sources = append(e.sources, s)
		e.hashes = append(e.hashes, hash(append(v4[:], v6[:]...)))
	}
	return e
}

// Choose returns the source for a request of a client for a host: the first of
// its key that does not rest for the destination, or the first when all rest.
func (e *Egress) Choose(client netip.Addr, user, host string, to rest.Destination, now time.Duration) *Source {
	switch {
	case e == nil:
		return nil
	case len(e.sources) == 1:
		return e.sources[0]
	case e.by == RoundRobin:
		return e.turn(to, now)
	}
	key := e.Key(client, user, host)
	if s := e.best(key, to, now, nil); s != nil {
		return s
	}
	return e.best(key, everywhere, never, nil)
}

// Key is what Choose goes by, for Other.
func (e *Egress) Key(client netip.Addr, user, host string) uint64 {
	switch {
	case e == nil || e.by == RoundRobin:
		return 0
	case e.by == ByClient:
		b := client.As16()
		return hash(b[:])
	case e.by == ByHost:
		return hash([]byte(host))
	}
	return hash([]byte(user))
}

// Other returns the source to try for a request with this key when the
// destination refused all that were tried: the next one in its order that does
// not rest, nil when there is none.
func (e *Egress) Other(key uint64, to rest.Destination, now time.Duration, tried []*Source) *Source {
	if e == nil || len(tried) == 0 {
		return nil
	}
	if e.by != RoundRobin {
		return e.best(key, to, now, tried)
	}
	last := slices.Index(e.sources, tried[len(tried)-1])
	for i := range e.sources {
		s := e.sources[(last+1+i)%len(e.sources)]
		if !slices.Contains(tried, s) && !e.rests(to, s, now) {
			return s
		}
	}
	return nil
}

// turn returns the next source in turn that does not rest. Those which do lose
// their turn: the one behind them would have two.
func (e *Egress) turn(to rest.Destination, now time.Duration) *Source {
	n := uint32(len(e.sources))
	for range n {
		if s := e.sources[(e.next.Add(1)-1)%n]; !e.rests(to, s, now) {
			return s
		}
	}
	return e.sources[(e.next.Add(1)-1)%n]
}

// best is the first of a key's sources that was not tried and does not rest, nil
// when there is none. Each key has one order, the same in every process; when a
// source is added, removed or rests, no key moves that needn't (Thaler and
// Ravishankar, A Name-Based Mapping Scheme for Rendezvous, 1996).
func (e *Egress) best(key uint64, to rest.Destination, now time.Duration, tried []*Source) (best *Source) {
	most := uint64(0)
	for i, h := range e.hashes {
		s, w := e.sources[i], mix(key^h)
		if w >= most && !slices.Contains(tried, s) && !e.rests(to, s, now) {
			best, most = s, w
		}
	}
	return best
}

// never is a time at which nothing rests.
const never = math.MaxInt64

var everywhere rest.Destination

func (e *Egress) rests(to rest.Destination, s *Source, now time.Duration) bool {
	return e.refused.Rests(to, s, now) || e.limited.Rests(to, s, now)
}

// Refused has a source rest for a destination that did not let it connect, and
// another one right after. Without the other it is no news about the source: a
// destination that refuses all of them is down.
func (e *Egress) Refused(to rest.Destination, s *Source, now time.Duration) {
	if e.hasChoice() && s != nil {
		e.refused.Rest(to, s, now, 0)
	}
}

// Limited has a source rest for a destination that had enough of its requests
// (429), until it takes more by its own word, or an hour at most. That it lets
// the source connect does not shorten this: it does so to say 429 again.
func (e *Egress) Limited(to rest.Destination, s *Source, now, retryAfter time.Duration) {
	if e.hasChoice() && s != nil {
		e.limited.Rest(to, s, now, min(retryAfter, time.Hour))
	}
}

// Reached says that a destination let a source connect.
func (e *Egress) Reached(to rest.Destination, s *Source, now time.Duration) {
	if e.hasChoice() && s != nil {
		e.refused.Well(to, s, now)
	}
}

func (e *Egress) hasChoice() bool { return e != nil && len(e.sources) > 1 }

// hash is FNV-1a, mixed.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}

// mix spreads what is alike (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// After is the source to try when s has no port left; nil when s is the last
// one in turn from first.
func (e *Egress) After(s, first *Source) *Source {
	if e == nil {
		return nil
	}
	for i, o := range e.sources {
		if o != s {
			continue
		}
		if next := e.sources[(i+1)%len(e.sources)]; next != first {
			return next
		}
	}
	return nil
}

// Usable tries every address by binding a socket to it, and returns the error of
// the first that cannot be used.
func (e *Egress) Usable() error {
	if e == nil {
		return nil
	}
	for _, s := range e.sources {
		for _, a := range [...]netip.Addr{s.V4, s.V6} {
			if !a.IsValid() {
				continue
			}
			l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
			switch {
			case err == nil:
				_ = l.Close()
			case errors.Is(err, syscall.EADDRNOTAVAIL):
				return fmt.Errorf("%s is not an address of this machine: %w", a, err)
			case !errors.Is(err, syscall.EADDRINUSE): // all its ports are taken, which will pass
				return err
			}
		}
	}
	return nil
}

// ErrNoPort says that a source has no port left towards a destination, or is no
// address of this machine any more: another source may do.
var ErrNoPort = errors.New("no port left")

var (
	errNoPorts = &fault.Error{
		Kind: fault.ConnectionLimitReached, Err: ErrNoPort,
		Text: "All ports towards this destination are in use.",
	}
	errNoSource = &fault.Error{
		Kind: fault.DestinationUnavailable, Err: ErrNoPort,
		Text: "The address to leave from is not available.",
	}
	errNoFamily = fault.New(fault.DestinationIPUnroutable, errors.New("no egress address of this family"))
)

// sourceFault tells errors of the source from those of the destination. Where
// the system chooses, an IPv6 destination gets the same error when this machine
// has no address of that family.
func sourceFault(err error, to netip.Addr, from *Source) error {
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		return err
	}
	call, _ := errors.AsType[*os.SyscallError](err)
	switch {
	case call != nil && call.Syscall == "bind":
		return errNoSource
	case from == nil && !to.Is4():
		return err
	}
	return errNoPorts
}

// bindLate asks the kernel to choose the port when the destination is known.
// Bound early, a port is taken for all destinations, of which 28,000 are left
// in all instead of for each.
func bindLate(_, _ string, c syscall.RawConn) error {
	const ipBindAddressNoPort = 24 // IP_BIND_ADDRESS_NO_PORT, Linux 4.2
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
}

// LocalAddrs lists the addresses of this machine.
func LocalAddrs() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	list := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list, nil
}
