package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"viaduct/fault"
)

// Dialer opens connections to destinations. Lookup and Guard are required.
type Dialer struct {
	Lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	Guard   Guard
	Egress  *Egress                // nil: the system chooses the address to leave from
	NoPorts func(local netip.Addr) // told when that address, if it is valid, has no port left
	Shaken  func(ok bool)          // told of each TLS handshake; nil: nobody asks
}

// stagger is the Connection Attempt Delay of RFC 8305 section 5: when the next
// address is tried although the one before has not failed yet.
const stagger = 250 * time.Millisecond

// maxAttempts bounds the addresses that are tried: a name can have thousands.
const maxAttempts = 64

// socket makes connections without keep-alive probes: those cost four system
// calls, and whoever keeps a connection for long turns them on.
var socket = net.Dialer{KeepAlive: -1}

// Connect looks the name up if there is one, asks the guard about each address,
// and dials those that it lets pass, one after another (RFC 8305), from the
// source. The error is a *fault.Error, or one that fault.Classify knows; it
// wraps ErrNoPort when another source may do better.
func (d *Dialer) Connect(ctx context.Context, to Destination, from *Source) (*net.TCPConn, error) {
	allowed, err := d.Addresses(ctx, to, from)
	if err != nil {
		return nil, err
	}
	if len(allowed) == 1 {
		return d.dial(ctx, allowed[0], from)
	}
	mixed := interleave(allowed)
	return d.race(ctx, mixed[:min(len(mixed), maxAttempts)], from)
}

// Addresses looks the name up if there is one, and keeps the addresses that the
// guard lets pass and the source can reach, at least one. The errors are those of
// Connect.
func (d *Dialer) Addresses(ctx context.Context, to Destination, from *Source) ([]netip.AddrPort, error) {
	if to.Addr.IsValid() {
		a := netip.AddrPortFrom(to.Addr.Unmap(), to.Port)
		return []netip.AddrPort{a}, d.check(a, from)
	}
	addrs, err := d.lookup(ctx, to.Host)
	if err != nil {
		return nil, err
	}
	return d.judge(addrs, to.Port, from)
}

// dial dials one address. Dialer.DialTCP would do it with less ado, but binds the
// socket to a port of its own first, which is one call more and wastes ports.
func (d *Dialer) dial(ctx context.Context, a netip.AddrPort, from *Source) (*net.TCPConn, error) {
	s := &socket
	var local netip.Addr
	if from != nil {
		local = from.For(a.Addr())
		at := net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
		s = &net.Dialer{KeepAlive: socket.KeepAlive, LocalAddr: at, Control: bindLate}
	}
	c, err := s.DialContext(ctx, "tcp", a.String())
	if err == nil {
		return c.(*net.TCPConn), nil
	}
	err = sourceFault(err, a.Addr(), from)
	if d.NoPorts != nil && errors.Is(err, ErrNoPort) {
		d.NoPorts(local)
	}
	return nil, err
}

func (d *Dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := d.Lookup(ctx, host)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() == context.DeadlineExceeded {
			return nil, fault.New(fault.DNSTimeout, err)
		}
		return nil, fmt.Errorf("look up %s: %w", host, err)
	}
	if len(addrs) == 0 {
		return nil, fault.New(fault.DNSError, fmt.Errorf("look up %s: no address", host))
	}
	return addrs, nil
}

// check says whether the guard lets an address pass, and the source can reach
// it.
func (d *Dialer) check(a netip.AddrPort, from *Source) error {
	if err := d.Guard.Check(a); err != nil {
		return err
	}
	if from != nil && !from.For(a.Addr()).IsValid() {
		return errNoFamily
	}
	return nil
}

// judge keeps the addresses that may be dialled; with none left, the first
// refusal is the error.
func (d *Dialer) judge(addrs []netip.Addr, port uint16, from *Source) ([]netip.AddrPort, error) {
	var refused error
	allowed := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		ap := netip.AddrPortFrom(a.Unmap(), port)
		err := d.check(ap, from)
		if err == nil {
			allowed = append(allowed, ap)
		} else if refused == nil {
			refused = err
		}
	}
	if len(allowed) == 0 {
		return nil, refused
	}
	return allowed, nil
}

// interleave alternates the address families, beginning with the one that the
// resolver put first (RFC 8305 section 4).
func interleave(addrs []netip.AddrPort) []netip.AddrPort {
	var first, second []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Is4() == addrs[0].Addr().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	mixed := make([]netip.AddrPort, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			mixed = append(mixed, first[i])
		}
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	return mixed
}

// attempt is how one address of a race ended.
type attempt struct {
	conn *net.TCPConn
	err  error
}

// race dials the addresses one after another, the next one when the last has
// failed or the stagger is over. The first connection wins; the others are
// cancelled and closed. With none, the first error is told, or that the source
// had no port for one of them.
func (d *Dialer) race(ctx context.Context, addrs []netip.AddrPort, from *Source) (*net.TCPConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan attempt, len(addrs))
	var first error
	timer := time.NewTimer(0)
	defer timer.Stop()
	for started, ended := 0, 0; ended < len(addrs); {
		select {
		case <-timer.C:
			if started < len(addrs) {
				go d.attempt(ctx, addrs[started], from, results)
				started++
				timer.Reset(stagger)
			}
		case r := <-results:
			ended++
			if r.err == nil {
				go closeLosers(results, started-ended)
				return r.conn, nil
			}
			if first == nil || errors.Is(r.err, ErrNoPort) {
				first = r.err
			}
			timer.Reset(0)
		}
	}
	return nil, first
}

func (d *Dialer) attempt(ctx context.Context, a netip.AddrPort, from *Source, results chan<- attempt) {
	c, err := d.dial(ctx, a, from)
	results <- attempt{c, err}
}

// closeLosers closes what attempts still under way bring; they are cancelled.
func closeLosers(results <-chan attempt, n int) {
	for range n {
		if r := <-results; r.conn != nil {
			_ = r.conn.Close()
		}
	}
}
