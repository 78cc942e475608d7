package acl

import (
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"viaduct/fault"
)

// localsFor is how long a list of this machine's addresses is believed.
const localsFor = 10 * time.Second

// GuardOptions make a Guard. The zero value refuses whatever is not public, and
// knows no listener.
type GuardOptions struct {
	// AllowPrivate lets every class of address pass. Own addresses stay closed.
	AllowPrivate bool
	// Own are the addresses that this process listens on, an unspecified
	// address standing for all of the machine's.
	Own []netip.AddrPort
	// LocalAddrs lists the addresses of this machine: net.InterfaceAddrs, which
	// a room without I/O is handed. Asked only for a port that is ours, and not
	// each time. With nil nothing but loopback and Own counts as this machine.
	LocalAddrs func() ([]netip.Addr, error)
	// Now is the clock by which lists grow old. Nil means time.Now.
	Now func() time.Time
}

// Guard decides by the address that is really dialled, after DNS. The zero
// Guard and the one of zero GuardOptions are equal. Safe for concurrent use; it
// never waits for a lock.
type Guard struct {
	allowPrivate bool
	ports        []uint16 // sorted; those that we listen on
	own          []netip.AddrPort
	localAddrs   func() ([]netip.Addr, error)
	now          func() time.Time
	start        time.Time

	// What the network teaches us: the last good list, and when, counted in
	// nanoseconds from start, another one is due.
	locals  atomic.Pointer[map[netip.Addr]struct{}]
	renewAt atomic.Int64
}

// NewGuard makes a Guard. It asks for no address yet.
func NewGuard(o GuardOptions) *Guard {
	g := &Guard{allowPrivate: o.AllowPrivate, localAddrs: o.LocalAddrs, now: o.Now}
	if g.localAddrs == nil {
		g.localAddrs = func() ([]netip.Addr, error) { return nil, nil }
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.start = g.now()
	for _, a := range o.Own {
		g.ports = append(g.ports, a.Port())
		g.own = append(g.own, netip.AddrPortFrom(Unwrap(a.Addr()), a.Port()))
	}
	slices.Sort(g.ports)
	g.ports = slices.Compact(g.ports)
	return g
}

// Check says whether a may be dialled: nil, or a shared *fault.Error of kind
// LoopDetected for an own address and DestinationIPProhibited for any other
// that is not public.
func (g *Guard) Check(a netip.AddrPort) error {
	if g.IsOwn(a) {
		return errLoop
	}
	c := Classify(a.Addr())
	if c == Public || g.allowPrivate && c != Invalid {
		return nil
	}
	return refusals[c]
}

// IsOwn says whether a connection to a would come back to this process: a port
// that it listens on, at any address of this machine, in whatever form. No rule
// lifts that.
func (g *Guard) IsOwn(a netip.AddrPort) bool {
	if _, ok := slices.BinarySearch(g.ports, a.Port()); !ok {
		return false
	}
	switch Classify(a.Addr()) {
	case Loopback, Unspecified: // Linux connects to itself for 0.0.0.0 and ::
		return true
	}
	ip := Unwrap(a.Addr())
	return slices.Contains(g.own, netip.AddrPortFrom(ip, a.Port())) || g.isLocal(ip)
}

// isLocal looks ip up in the list of this machine's addresses.
//
// Without any list it is not local. The other way round, one failing system
// call would close the ports that we listen on, often 443, everywhere. What
// can slip through meanwhile is a public address of ours, which the loop tag in
// Via still stops; loopback, private and listed addresses are judged without
// the list. An old list is used rather than none.
func (g *Guard) isLocal(ip netip.Addr) bool {
	now, due := int64(g.now().Sub(g.start)), g.renewAt.Load()
	locals := g.locals.Load()
	// One caller renews an old list, the others go on with it meanwhile.
	if locals == nil || now >= due && g.renewAt.CompareAndSwap(due, now+int64(localsFor)) {
		locals = g.renew(now, locals)
	}
	if locals == nil {
		return false
	}
	_, ok := (*locals)[ip]
	return ok
}

// renew lists this machine's addresses, and returns the old list where there is
// no new one.
func (g *Guard) renew(now int64, old *map[netip.Addr]struct{}) *map[netip.Addr]struct{} {
	addrs, err := g.localAddrs()
	if err != nil {
		return old
	}
	locals := make(map[netip.Addr]struct{}, len(addrs))
	for _, a := range addrs {
		locals[Unwrap(a)] = struct{}{}
	}
	g.locals.Store(&locals)
	g.renewAt.Store(now + int64(localsFor))
	return &locals
}

var errLoop = fault.New(fault.LoopDetected, errors.New("own address"))

// refusals are the answers of Check. The class is for the operator: a client
// that learns it can map the network by names.
var refusals = makeRefusals()

func makeRefusals() (t [classes]*fault.Error) {
	for c := range t {
		t[c] = fault.New(fault.DestinationIPProhibited, errors.New(Class(c).String()+" address"))
	}
	return t
}
