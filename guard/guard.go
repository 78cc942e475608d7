// Package guard knows what kind of network an address belongs to, and decides
// which may be dialled at all: whatever is allowed by name, the address is judged
// once more, so that no spelling and no DNS answer leads into the network behind
// the proxy, or back to the proxy.
package guard

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

// Options make a Guard. The zero value refuses whatever is not public, and
// knows no listener.
type Options struct {
	// AllowPrivate lets every class of address pass, and those of this machine.
	// Where it listens stays closed.
	AllowPrivate bool
	// Own are the addresses that this process listens on, an unspecified
	// address standing for all of the machine's.
	Own []netip.AddrPort
	// Egress are the source addresses of outgoing connections: this machine's,
	// whether LocalAddrs has them or not.
	Egress []netip.Addr
	// LocalAddrs lists the addresses of this machine: net.InterfaceAddrs, which
	// a room without I/O is handed. It is not asked each time. With nil nothing
	// but loopback, Own and Egress counts as this machine.
	LocalAddrs func() ([]netip.Addr, error)
	// Now is the clock by which lists grow old. Nil means time.Now.
	Now func() time.Time
}

// Guard decides by the address that is really dialled, after DNS. The zero
// Guard and the one of zero Options are equal. Safe for concurrent use; it
// never waits for a lock.
type Guard struct {
	allowPrivate bool
	ports        []uint16     // sorted; those that we listen on
	ours         []netip.Addr // that we know of without asking
	localAddrs   func() ([]netip.Addr, error)
	now          func() time.Time
	start        time.Time

	// What the network teaches us: the last good list, and when, counted in
	// nanoseconds from start, another one is due.
	locals  atomic.Pointer[map[netip.Addr]struct{}]
	renewAt atomic.Int64
}

// New makes a Guard. It asks for no address yet.
func New(o Options) *Guard {
	g := &Guard{allowPrivate: o.AllowPrivate, localAddrs: o.LocalAddrs, now: o.Now}
	if g.now == nil {
		g.now = time.Now
	}
	g.start = g.now()
	for _, a := range o.Own {
		g.ports = append(g.ports, a.Port())
		g.ours = append(g.ours, Unwrap(a.Addr()))
	}
	for _, a := range o.Egress {
		g.ours = append(g.ours, Unwrap(a))
	}
	slices.Sort(g.ports)
	g.ports = slices.Compact(g.ports)
	return g
}

// Check says whether a may be dialled: nil, or a shared *fault.Error of kind
// LoopDetected where this process listens, and DestinationIPProhibited for any
// other address that is this machine's or not public.
func (g *Guard) Check(a netip.AddrPort) error {
	if refusal, _ := g.Refusal(a); refusal != nil {
		return refusal
	}
	return nil
}

// Refusal is what Check says, nil if a may be dialled, and whether it is where
// this process listens. A nil Guard refuses nothing.
func (g *Guard) Refusal(a netip.AddrPort) (refusal *fault.Error, own bool) {
	if g == nil {
		return nil, false
	}
	switch c := Classify(a.Addr()); {
	case g.IsOwn(a):
		return errLoop, true
	case c != Invalid && g.allowPrivate:
		return nil, false
	case c != Public:
		return refusals[c], false
	case g.isOurs(Unwrap(a.Addr())):
		return errLocal, false
	}
	return nil, false
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
	return g.isOurs(Unwrap(a.Addr()))
}

func (g *Guard) isOurs(ip netip.Addr) bool {
	return slices.Contains(g.ours, ip) || g.isLocal(ip)
}

// isLocal looks ip up in the list of this machine's addresses.
//
// Without any list it is not local. The other way round, one failing system
// call would close the world. What can slip through meanwhile is a public
// address of ours, which the loop tag in Via still stops where we listen;
// loopback, private and listed addresses are judged without the list. An old
// list is used rather than none.
func (g *Guard) isLocal(ip netip.Addr) bool {
	if g.localAddrs == nil {
		return false
	}
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

var (
	errLoop  = fault.New(fault.LoopDetected, errors.New("own address"))
	errLocal = fault.New(fault.DestinationIPProhibited, errors.New("address of this machine"))
)

// refusals are the answers of Check. The class is for the operator: a client
// that learns it can map the network by names.
var refusals = makeRefusals()

func makeRefusals() (t [classes]*fault.Error) {
	for c := range t {
		t[c] = fault.New(fault.DestinationIPProhibited, errors.New(Class(c).String()+" address"))
	}
	return t
}
