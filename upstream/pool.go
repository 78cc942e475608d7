package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/fault"
)

// Options of a Pool. The zero value of a field takes the default named there.
type Options struct {
	IdleTimeout time.Duration  // 30 s
	MaxIdle     int32          // idle connections in all; 4096
	MaxHeader   int            // bytes of an answer's head; 64 KiB
	Roots       *x509.CertPool // authorities of origins' certificates; those of the system
}

// Pool holds the idle connections to all origins. Its methods are safe for
// concurrent use.
type Pool struct {
	options Options
	idle    atomic.Int32
	closed  atomic.Bool

	mu      sync.Mutex // guards origins; taken when a client turns to another destination
	origins map[place]*Origin
}

// place is what idle connections have in common: nobody's leave by the address
// of somebody else.
type place struct {
	to   Destination
	from *Source
}

// NewPool makes an empty pool.
func NewPool(o Options) *Pool {
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 30 * time.Second
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = 4096
	}
	if o.MaxHeader == 0 {
		o.MaxHeader = 64 << 10
	}
	return &Pool{options: o, origins: map[place]*Origin{}}
}

// Origin finds the place of the connections to a destination from a source, for
// use until Release.
func (p *Pool) Origin(d Destination, from *Source) *Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := place{d, from}
	o := p.origins[at]
	if o == nil {
		o = &Origin{place: at, pool: p}
		p.origins[at] = o
	}
	o.refs.Add(1)
	return o
}

// prune drops an origin that nobody uses.
func (p *Pool) prune(o *Origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.refs.Load() == 0 && p.origins[o.place] == o {
		delete(p.origins, o.place)
	}
}

// Close closes the idle connections, and from here on those that are given back.
func (p *Pool) Close() {
	p.closed.Store(true)
	p.GiveUp(int(p.options.MaxIdle))
}

// Idle is how many idle connections there are.
func (p *Pool) Idle() int { return int(p.idle.Load()) }

// GiveUp closes up to n idle connections, because their descriptors are needed,
// and returns how many.
func (p *Pool) GiveUp(n int) (closed int) {
	if p.Idle() == 0 {
		return 0
	}
	for _, o := range p.all() {
		for closed < n {
			c := o.idle.Take()
			if c == nil {
				break
			}
			c.Discard()
			o.forget()
			closed++
		}
	}
	return closed
}

// spares is how many idle connections are given up for one that lacks a
// descriptor.
const spares = 16

// Connect dials, and gives idle connections up when descriptors have run out.
func (p *Pool) Connect(ctx context.Context, d *Dialer, to Destination, from *Source) (*net.TCPConn, error) {
	nc, err := d.Connect(ctx, to, from)
	if fault.Classify(err) != fault.ConnectionLimitReached || errors.Is(err, ErrNoPort) || p.Idle() == 0 {
		return nc, err
	}
	p.GiveUp(spares)
	return d.Connect(ctx, to, from)
}

func (p *Pool) all() []*Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*Origin, 0, len(p.origins))
	for _, o := range p.origins {
		list = append(list, o)
	}
	return list
}
