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

// Options of an Idle. The zero value of a field takes the default named there.
type Options struct {
	IdleTimeout time.Duration  // 30 s
	MaxIdle     int32          // idle connections in all; 4096
	MaxHeader   int            // bytes of an answer's head; 64 KiB
	Roots       *x509.CertPool // authorities of origins' certificates; those of the system
}

// Idle holds the idle connections to all origins. Its methods are safe for
// concurrent use.
type Idle struct {
	options Options
	open    atomic.Int32
	closed  atomic.Bool

	mu      sync.Mutex // guards origins; taken when a client turns to another destination
	origins map[place]*Origin
}

// place is what idle connections have in common: nobody's leave by the address
// of somebody else, nor by way of another endpoint.
type place struct {
	to   Destination
	from *Source
	by   any
}

// NewIdle makes one that holds nothing yet.
func NewIdle(o Options) *Idle {
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 30 * time.Second
	}
	if o.MaxIdle == 0 {
		o.MaxIdle = 4096
	}
	if o.MaxHeader == 0 {
		o.MaxHeader = 64 << 10
	}
	return &Idle{options: o, origins: map[place]*Origin{}}
}

// Origin finds the place of the connections to a destination from a source, for
// use until Release.
func (p *Idle) Origin(d Destination, from *Source) *Origin { return p.By(nil, d, from) }

// By finds that of connections by way of somebody, such as another proxy; nil is
// nobody.
func (p *Idle) By(by any, d Destination, from *Source) *Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := place{d, from, by}
	o := p.origins[at]
	if o == nil {
		o = &Origin{place: at, idle: p}
		p.origins[at] = o
	}
	o.refs.Add(1)
	return o
}

// prune drops an origin that nobody uses.
func (p *Idle) prune(o *Origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.refs.Load() == 0 && p.origins[o.place] == o {
		delete(p.origins, o.place)
	}
}

// Close closes the idle connections, and from here on those that are given back.
func (p *Idle) Close() {
	p.closed.Store(true)
	p.GiveUp(int(p.options.MaxIdle))
}

// Count is how many idle connections there are.
func (p *Idle) Count() int { return int(p.open.Load()) }

// GiveUp closes up to n idle connections, because their descriptors are needed,
// and returns how many.
func (p *Idle) GiveUp(n int) (closed int) {
	if p.Count() == 0 {
		return 0
	}
	for _, o := range p.all() {
		for closed < n {
			c := o.kept.Take()
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
func (p *Idle) Connect(ctx context.Context, d *Dialer, to Destination, from *Source) (*net.TCPConn, error) {
	nc, err := d.Connect(ctx, to, from)
	if fault.Classify(err) != fault.ConnectionLimitReached || errors.Is(err, ErrNoPort) || p.Count() == 0 {
		return nc, err
	}
	p.GiveUp(spares)
	return d.Connect(ctx, to, from)
}

func (p *Idle) all() []*Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*Origin, 0, len(p.origins))
	for _, o := range p.origins {
		list = append(list, o)
	}
	return list
}
