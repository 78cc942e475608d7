package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"viaduct/fault"
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
// the choice to the system. Its methods are safe for concurrent use.
type Egress struct {
	sources []*Source
	hashes  []uint64 // of the sources
	by      EgressBy
	next    atomic.Uint32
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

// Choose returns the source for a request of a client for a host.
func (e *Egress) Choose(client netip.Addr, user, host string) *Source {
	if e == nil {
		return nil
	}
	n := uint32(len(e.sources))
	switch {
	case n == 1:
		return e.sources[0]
	case e.by == ByClient:
		b := client.As16()
		return e.rendezvous(b[:])
	case e.by == ByHost:
		return e.rendezvous([]byte(host))
	case e.by == ByUser:
		return e.rendezvous([]byte(user))
	}
	return e.sources[(e.next.Add(1)-1)%n]
}

// rendezvous gives each key its source, the same in every process; when a
// source is added or removed, no key moves that needn't (Thaler and
// Ravishankar, A Name-Based Mapping Scheme for Rendezvous, 1996).
func (e *Egress) rendezvous(key []byte) *Source {
	k, best, most := hash(key), 0, uint64(0)
	for i, h := range e.hashes {
		if w := mix(k ^ h); w >= most {
			best, most = i, w
		}
	}
	return e.sources[best]
}

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
