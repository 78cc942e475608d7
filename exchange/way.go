package exchange

import (
	"net/netip"

	"viaduct/pool"
	"viaduct/upstream"
)

// Way is where a request goes, and from where.
type Way struct {
	Dialer    *upstream.Dialer
	Idle      *upstream.Idle
	To        upstream.Destination
	From      *upstream.Source // nil: the system's choice
	SourceKey uint64           // that it was chosen by

	// Through a pool; without one the destination is dialled.
	Pool   *pool.Pool
	Key    uint64 // of the request, where the pool asks for one
	Keyed  bool
	ByName bool   // parents look names up; else they are asked for addresses that the guard lets pass
	Via    string // that parents are told

	// Of a tunnel; all may be nil. Tag makes what is kept with one that leads to an
	// address. Recheck is asked about it when it has been opened: policy may have
	// changed meanwhile, and an error ends it. Look judges what the client sends
	// first behind a CONNECT, as relay.Options has it; its error ends the tunnel,
	// and the Record of the last look is logged if it says anything.
	Tag     func(reached netip.AddrPort) any
	Recheck func(tag any) error
	Look    func(b []byte, last bool) (more bool, r Record, err error)
}
