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
	keys  []string // of its listeners
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
	for i, keys := range listenKeys(b.conf) {
		conf := &b.conf.Forward[i]
		t, err := b.transit(conf)
		if err != nil {
			return nil, fmt.Errorf("forward[%d]: %w", i, err)
		}
		e := &entry{conf: conf, keys: keys, front: b.front(keys[0])}
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
func (b *builder) front(name string) *front {
	for _, e := range b.prev.entries {
		if e.front.name == name {
			return e.front
		}
	}
	return newFront(name, b.metrics.Front(name))
}

// transit takes over the way out that has the same options, or makes one.
func (b *builder) transit(c *config.Forward) (*transit, error) {
	r, err := takeOver(b.next.resolvers, b.prev.resolvers, fmt.Sprint(c.Resolver), func() (*resolve.Resolver, error) {
		return resolve.New(resolve.Options{Servers: c.Resolver})
	})
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(c.Resolver, c.Egress, c.EgressBy, c.UpstreamIdleTimeout, c.MaxHeader, c.AllowPrivate)
	return takeOver(b.next.transits, b.prev.transits, key, func() (*transit, error) {
		by, err := upstream.ParseEgressBy(c.EgressBy)
		if err != nil {
			return nil, fmt.Errorf("egress_by: %w", err)
		}
		return &transit{
			resolver: r, egress: upstream.NewEgress(c.Egress, by),
			pool: upstream.NewPool(upstream.Options{IdleTimeout: c.UpstreamIdleTimeout, MaxHeader: int(c.MaxHeader)}),
		}, nil
	})
}

// takeOver returns what the next snapshot has for a key already, else what the
// one before has, else a new one; the next has it then.
func takeOver[T any](next, prev map[string]*T, key string, fresh func() (*T, error)) (*T, error) {
	for _, m := range []map[string]*T{next, prev} {
		if t := m[key]; t != nil {
			next[key] = t
			return t, nil
		}
	}
	t, err := fresh()
	if err == nil {
		next[key] = t
	}
	return t, err
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
