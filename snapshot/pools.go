package snapshot

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"viaduct/config"
	"viaduct/door"
	"viaduct/forward"
	"viaduct/hashing"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/metrics"
	"viaduct/overload"
	"viaduct/parent"
	"viaduct/policy"
	"viaduct/pool"
	"viaduct/probe"
	"viaduct/resolve"
	"viaduct/verdict"
)

// Way is a pool of the configuration, and what it is to be from Enter on.
type Way struct {
	*pool.Pool
	next    pool.Options
	parents part[*tls.Config]
}

// Enter has the pools be as this configuration says. What is known of endpoints that
// stay does too.
func (s *Snapshot) Enter() error {
	var errs []error
	for _, w := range s.Ways {
		errs = append(errs, w.Update(w.next))
	}
	return errors.Join(errs...)
}

// Pools are those of the configuration.
func (s *Snapshot) Pools() (all []*pool.Pool) {
	for _, w := range s.Ways {
		all = append(all, w.Pool)
	}
	return all
}

// ways makes the pools, or takes them over from the configuration before.
func (b *builder) ways() (errs []error) {
	for i := range b.Conf.Pools {
		c := &b.Conf.Pools[i]
		r, err := b.resolver(servers(b.Conf, c.Name))
		if err == nil {
			err = b.way(c, r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("pools.%s: %w", c.Name, err))
		}
	}
	return errs
}

// servers are the DNS servers that are asked for the names of parents: those of the
// first entry that uses the pool.
func servers(conf *config.Config, pool string) []string {
	for i := range conf.Forward {
		f := &conf.Forward[i]
		if f.Via == pool || slices.ContainsFunc(f.Route, func(r config.Route) bool { return r.Via == pool }) {
			return f.Resolver
		}
	}
	return nil
}

func (b *builder) way(c *config.Pool, r *resolve.Resolver) (err error) {
	w := &Way{}
	before := b.Prev.Ways[c.Name]
	if before == nil {
		before = &Way{}
	}
	w.parents, err = settled(b, "tls", before.parents, func(p *part[*tls.Config]) error { return b.parentTLS(c, p) })
	if err == nil && w.parents.key == before.parents.key {
		w.parents.value = before.parents.value // connections are kept by it
	}
	if err == nil {
		w.next, err = b.poolOptions(c, r, w.parents.value)
	}
	if err != nil {
		return err
	}
	if w.Pool = before.Pool; w.Pool == nil {
		w.Pool, err = pool.New(w.next)
	}
	b.next.Ways[c.Name] = w
	return err
}

// poolOptions are those of a pool. What is written was checked.
func (b *builder) poolOptions(c *config.Pool, r *resolve.Resolver, secure *tls.Config) (o pool.Options, err error) {
	o = pool.Options{
		Name: c.Name, Retries: c.Retries, HedgeAfter: c.HedgeAfter, Throttle: c.Throttle, Adaptive: c.Adaptive,
		Budget: overload.BudgetOptions{Share: orNone(c.RetryBudget)},
		Limits: overload.Limits{Pending: c.Limits.Pending, Requests: c.Limits.Requests, Retries: c.Limits.Retries},
		LB: lb.Options{
			HashBound: c.HashBound, SlowStart: c.SlowStart, Zone: c.Zone, Queue: c.Queue, QueueTimeout: c.QueueTimeout,
			PanicBelow: orNone(c.PanicBelow), PanicRefuse: c.Panic == "refuse",
		},
		Health: health.Options{
			Interval: c.Health.Interval, Timeout: c.Health.Timeout,
			Thresholds: verdict.Thresholds{Fall: c.Health.Fall, Rise: c.Health.Rise},
			Ejection:   verdict.Ejection{Errors: c.Eject.Errors, Base: c.Eject.Time, Most: c.Eject.MostTime, Share: orNone(c.Eject.Share)},
		},
		TLS: secure, Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) { return r.Lookup(ctx, host) },
		Changed: b.Changed,
	}
	for _, text := range c.Endpoints {
		e, err := parent.ParseEndpoint(text)
		if err != nil {
			return o, fmt.Errorf("endpoints: %w", err)
		}
		o.Endpoints = append(o.Endpoints, e)
	}
	if o.LB.Policy, err = lb.ParsePolicy(c.Balance); err != nil {
		return o, fmt.Errorf("balance: %w", err)
	}
	if o.Key, err = hashing.ParseKey(c.HashKey); err != nil {
		return o, fmt.Errorf("hash_key: %w", err)
	}
	if o.Resolve, err = pool.ParseResolve(c.Resolve); err != nil {
		return o, fmt.Errorf("resolve: %w", err)
	}
	check, err := probe.Parse(c.Health.Check)
	if err != nil {
		return o, fmt.Errorf("health.check: %w", err)
	}
	check.TLS = secure
	o.Checks = []probe.Check{check}
	return o, nil
}

// orNone is a share where zero means none: elsewhere it is the default, and what is
// below it none.
func orNone(share float64) float64 {
	if share == 0 {
		return -1
	}
	return share
}

// parentTLS is how https:// parents are spoken to.
func (b *builder) parentTLS(c *config.Pool, p *part[*tls.Config]) error {
	for _, path := range []string{c.TLS.CA, c.TLS.Cert, c.TLS.Key} {
		if path != "" {
			p.paths = append(p.paths, path)
		}
	}
	if len(p.paths) == 0 {
		return nil
	}
	texts, sum, err := b.texts(p.paths)
	if err != nil {
		return err
	}
	made := &tls.Config{MinVersion: tls.VersionTLS12}
	if at := c.TLS.CA; at != "" {
		if made.RootCAs, err = p.authorities("tls: ca", at, texts[at], "no parent is trusted by it"); err != nil {
			return fmt.Errorf("ca: %w", err)
		}
	}
	if at := c.TLS.Cert; at != "" {
		pair, err := door.ParsePair(texts[at], texts[c.TLS.Key])
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		made.Certificates = []tls.Certificate{pair}
		p.dates = append(p.dates, date{"tls", at, []*x509.Certificate{pair.Leaf}, "no parent takes it"})
	}
	p.value, p.key = made, sum
	return nil
}

// outs are the ways out of an entry: those of its routes, and that of all the rest.
func (b *builder) outs(c *config.Forward, p *policy.Policy) (routes []forward.Out, rest forward.Out) {
	for i := range c.Route {
		routes = append(routes, b.out(c.Route[i].Via, c, p))
	}
	return routes, b.out(c.Via, c, p)
}

func (b *builder) out(via string, c *config.Forward, p *policy.Policy) forward.Out {
	w := b.next.Ways[via]
	if w == nil { // direct
		return forward.Out{}
	}
	byName := w.next.Resolve == pool.Parent || w.next.Resolve == pool.Auto && c.AllowPrivate && !p.JudgesAddr()
	return forward.Out{Pool: w.Pool, ByName: byName}
}

// Status is what an instance tells of itself.
type Status struct {
	Version string      `json:"version,omitempty"`
	Pools   []pool.View `json:"pools"`
}

// Status tells of the pools, in their order.
func (s *Snapshot) Status() Status {
	st := Status{Pools: []pool.View{}}
	for i := range s.Conf.Pools {
		st.Pools = append(st.Pools, s.Ways[s.Conf.Pools[i].Name].View())
	}
	return st
}

// Reading is the pools as the metrics tell of them.
func (s *Snapshot) Reading() (all []metrics.Pool) {
	for _, v := range s.Status().Pools {
		all = append(all, reading(&v))
	}
	return all
}

// reading is what the metrics tell of a pool.
func reading(v *pool.View) metrics.Pool {
	m := metrics.Pool{
		Name: v.Name, InFlight: v.InFlight, Retries: v.Retries.Taken, RetriesRefused: v.Retries.Refused,
		Hedges: v.Hedges, Unavailable: v.Unavailable,
	}
	for i := range v.Endpoints {
		e := &v.Endpoints[i]
		m.Endpoints = append(m.Endpoints, metrics.Endpoint{
			ID: e.ID, Ready: e.Standing == "ready" && !e.RestsEverywhere, InFlight: e.InFlight, Picks: e.Picks, Failures: e.Failures, Resting: e.Resting,
		})
	}
	return m
}
