package server

import (
	"fmt"
	"net/netip"

	"viaduct/accesslog"
	"viaduct/acl"
	"viaduct/config"
	"viaduct/exchange"
	"viaduct/forward"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/relay"
	"viaduct/resolve"
	"viaduct/upstream"
)

// Snapshot is what the operator said, ready for use. It is immutable; what it
// points to and learns from the network is taken over by the next one where its
// part of the configuration is the same.
type Snapshot struct {
	conf      *config.Config
	entries   []*entry
	listeners []*listener
	resolvers map[string]*resolve.Resolver
	transits  map[string]*transit
	counted   metrics.DNS // by resolvers that are gone
}

// entry is one entry of the configuration at work.
type entry struct {
	conf  *config.Forward
	front *front
	proxy *forward.Proxy
}

// transit is the way out: what connections to the far side have in common, and
// those of them that are idle.
type transit struct {
	pool     *upstream.Pool
	egress   *upstream.Egress
	resolver *resolve.Resolver
}

// builder makes a Snapshot of a configuration. It opens nothing and starts
// nothing.
type builder struct {
	conf     *config.Config
	prev     *Snapshot // nil at the start
	own      []netip.AddrPort
	log      *accesslog.Writer
	metrics  *metrics.Metrics
	panicked func(any, []byte)

	next *Snapshot
}

func (b *builder) build() (*Snapshot, error) {
	b.next = &Snapshot{conf: b.conf, resolvers: map[string]*resolve.Resolver{}, transits: map[string]*transit{}}
	if b.prev == nil {
		b.prev = &Snapshot{}
	}
	for i := range b.conf.Forward {
		conf := &b.conf.Forward[i]
		t, err := b.transit(conf)
		if err != nil {
			return nil, fmt.Errorf("forward[%d]: %w", i, err)
		}
		e := &entry{conf: conf, front: b.front(i)}
		e.proxy = b.proxy(e, t)
		b.next.entries = append(b.next.entries, e)
	}
	b.next.counted = b.prev.counted
	for key, r := range b.prev.resolvers {
		if b.next.resolvers[key] != r {
			b.next.counted.Add(metrics.DNS(r.Stats()))
		}
	}
	return b.next, nil
}

// front takes over the front of that name, or makes one.
func (b *builder) front(i int) *front {
	name := listenKeys(b.conf)[i][0]
	for _, e := range b.prev.entries {
		if e.front.name == name {
			return e.front
		}
	}
	return newFront(name, b.metrics.Front(name))
}

// transit takes over the way out that has the same options, or makes one.
func (b *builder) transit(c *config.Forward) (*transit, error) {
	r, err := b.resolver(c.Resolver)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(c.Resolver, c.Egress, c.EgressBy, c.UpstreamIdleTimeout, c.MaxHeader, c.AllowPrivate)
	t := b.next.transits[key]
	if t == nil {
		t = b.prev.transits[key]
	}
	if t == nil {
		by, err := upstream.ParseEgressBy(c.EgressBy)
		if err != nil {
			return nil, fmt.Errorf("egress_by: %w", err)
		}
		t = &transit{
			resolver: r, egress: upstream.NewEgress(c.Egress, by),
			pool: upstream.NewPool(upstream.Options{IdleTimeout: c.UpstreamIdleTimeout, MaxHeader: int(c.MaxHeader)}),
		}
	}
	b.next.transits[key] = t
	return t, nil
}

func (b *builder) resolver(servers []string) (*resolve.Resolver, error) {
	key := fmt.Sprint(servers)
	r := b.next.resolvers[key]
	if r == nil {
		r = b.prev.resolvers[key]
	}
	if r == nil {
		var err error
		if r, err = resolve.New(resolve.Options{Servers: servers}); err != nil {
			return nil, err
		}
	}
	b.next.resolvers[key] = r
	return r, nil
}

// proxy makes the brain and the hands of an entry.
func (b *builder) proxy(e *entry, t *transit) *forward.Proxy {
	c, f := e.conf, e.front
	anonymity, _ := hop.ParseAnonymity(c.Anonymity) // it was checked
	guard := acl.NewGuard(acl.GuardOptions{AllowPrivate: c.AllowPrivate, Own: b.own, LocalAddrs: upstream.LocalAddrs})
	return forward.New(forward.Options{
		Exchange: &exchange.Options{
			Mode: "forward", Anonymity: anonymity, MaxHeader: int(c.MaxHeader),
			HeaderTimeout: c.HeaderTimeout, BodyTimeout: c.BodyTimeout, DialTimeout: c.DialTimeout,
			ResponseTimeout: c.ResponseTimeout, IdleTimeout: c.IdleTimeout,
			Tunnel: relay.Options{Idle: c.TunnelIdleTimeout, HalfClose: c.HalfCloseTimeout},
			Log:    b.log, Metrics: f.metrics, Panicked: b.panicked,
		},
		Dialer: &upstream.Dialer{Lookup: t.resolver.Lookup, Guard: guard, Egress: t.egress, NoPorts: b.noPorts},
		Pool:   t.pool, Open: c.Open, AnyPort: c.ConnectPorts == nil, ConnectPorts: c.ConnectPorts,
	})
}

// system is the egress address in the metrics where the system chooses it.
const system = "system"

// noPorts counts an egress address that had no port left.
func (b *builder) noPorts(local netip.Addr) {
	if !local.IsValid() {
		b.metrics.PortsExhausted(system)
		return
	}
	b.metrics.PortsExhausted(local.String())
}
