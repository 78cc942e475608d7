package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Pool. The zero value of a field takes the default named there.
type Options struct {
	IdleTimeout time.Duration // 30 s
	MaxIdle     int32         // idle connections in all; 4096
	MaxHeader   int           // bytes of an answer's head; 64 KiB
}

// Pool holds the idle connections to all origins. Its methods are safe for
// concurrent use.
type Pool struct {
	options Options
	idle    atomic.Int32

	mu      sync.Mutex // guards origins; taken when a client turns to another destination
	origins map[Destination]*Origin
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
	return &Pool{options: o, origins: map[Destination]*Origin{}}
}

// Origin finds the place of a destination's connections, for use until Release.
func (p *Pool) Origin(d Destination) *Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.origins[d]
	if o == nil {
		o = &Origin{dest: d, pool: p}
		p.origins[d] = o
	}
	o.refs.Add(1)
	return o
}

// prune drops an origin that nobody uses.
func (p *Pool) prune(o *Origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.refs.Load() == 0 && p.origins[o.dest] == o {
		delete(p.origins, o.dest)
	}
}

// Close closes the idle connections. Those in use are closed by their users.
func (p *Pool) Close() {
	for _, o := range p.all() {
		for c := o.idle.Take(); c != nil; c = o.idle.Take() {
			c.Discard()
			o.forget()
		}
	}
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
