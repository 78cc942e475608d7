// Package snapshot makes what the operator wrote ready for use: the entries of a
// configuration with all that answers a request. It opens no socket and starts
// nothing.
package snapshot

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"viaduct/accesslog"
	"viaduct/auth"
	"viaduct/authority"
	"viaduct/config"
	"viaduct/door"
	"viaduct/exchange"
	"viaduct/files"
	"viaduct/forward"
	"viaduct/guard"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/policy"
	"viaduct/relay"
	"viaduct/resolve"
	"viaduct/upstream"
	"viaduct/verdict"
)

// Snapshot is what the operator said, ready for use. It is immutable; what it
// points to and learns from the network is taken over by the next one where its
// part of the configuration is the same.
type Snapshot struct {
	Conf      *config.Config
	Entries   []*Entry
	Transits  map[string]*Transit
	Ways      map[string]*Way // the pools, by name
	Files     *files.Set
	resolvers map[string]*resolve.Resolver
	counted   metrics.DNS // by resolvers that are gone

	authorities map[string]*authority.Authority
	minted      int // by authorities that are gone
}

// Entry is one entry of the configuration at work.
type Entry struct {
	Conf   *config.Forward
	Keys   []string // of its listeners
	Front  *Front
	Policy *policy.Policy
	Proxy  *forward.Proxy
	TLS    *door.TLS // nil: no listener speaks it

	secured *secured
}

// Transit is the way out: what connections to the far side have in common, and
// those of them that are idle.
type Transit struct {
	Idle     *upstream.Idle
	egress   *upstream.Egress
	resolver *resolve.Resolver
}

// Options are what a Snapshot is made of. Conf is required.
type Options struct {
	Conf     *config.Config
	Prev     *Snapshot         // to take over from; nil at the start
	Own      []netip.AddrPort  // addresses that are listened on
	Log      *accesslog.Writer // nil logs nothing
	Metrics  *metrics.Metrics  // nil counts nothing
	Panicked func(reason any, stack []byte)
	Failed   func(*Front, auth.Failure)              // told of wrong passwords; may be nil
	Changed  func(pool string, t verdict.Transition) // told what endpoints of pools have become; may be nil
	Files    *files.Set                              // to read with; nil: all that have changed since Prev
}

// builder makes a Snapshot.
type builder struct {
	Options
	next *Snapshot
}

// New makes a Snapshot. It reads the files that the configuration names, and
// opens nothing else. Its errors say which entry, option and file is meant.
func New(o Options) (*Snapshot, error) {
	if o.Prev == nil {
		o.Prev = &Snapshot{}
	}
	if o.Files == nil {
		o.Files = files.New(o.Prev.Files)
	}
	b := &builder{o, &Snapshot{
		Conf: o.Conf, resolvers: map[string]*resolve.Resolver{}, Transits: map[string]*Transit{}, Ways: map[string]*Way{}, Files: o.Files,
		authorities: map[string]*authority.Authority{}, minted: o.Prev.minted,
	}}
	defer o.Files.Done()
	errs := b.ways()
	for i, keys := range Keys(o.Conf) {
		for _, err := range b.entry(i, keys) {
			errs = append(errs, fmt.Errorf("forward[%d]: %w", i, err))
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	b.next.counted = o.Prev.counted
	for key, r := range o.Prev.resolvers {
		if b.next.resolvers[key] != r {
			b.next.counted.Add(metrics.DNS(r.Stats()))
		}
	}
	for key, a := range o.Prev.authorities {
		if b.next.authorities[key] != a {
			b.next.minted += a.Stats().Minted
		}
	}
	return b.next, nil
}

// entry makes the i-th entry, or says all that is wrong with it.
func (b *builder) entry(i int, keys []string) (errs []error) {
	e := &Entry{Conf: &b.Conf.Forward[i], Keys: keys}
	before := b.before(keys[0])
	e.Front = before.Front
	e.secured, errs = b.secured(e.Conf, before.secured)
	t, err := b.transit(e.Conf, &e.secured.roots)
	if err != nil {
		errs = append(errs, err)
	}
	if e.Policy, err = b.policy(e); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return errs
	}
	e.TLS = e.secured.tls.value
	e.Proxy = b.proxy(i, e, t, e.secured.authority.value)
	b.next.Entries = append(b.next.Entries, e)
	return nil
}

// DNS adds up what the resolvers count, with those of former configurations: a
// counter does not go back.
func (s *Snapshot) DNS() metrics.DNS {
	sum := s.counted
	for _, r := range s.resolvers {
		sum.Add(metrics.DNS(r.Stats()))
		sum.Entries += r.Stats().Entries
	}
	return sum
}

// Close ends what is idle.
func (s *Snapshot) Close() {
	for _, t := range s.Transits {
		t.Idle.Close()
	}
	for _, w := range s.Ways {
		w.Close()
	}
	for _, r := range s.resolvers {
		r.Close()
	}
}

// before is the entry whose front has that name, or one that has nothing yet but
// its front.
func (b *builder) before(name string) *Entry {
	for _, e := range b.Prev.Entries {
		if e.Front.Name == name {
			return e
		}
	}
	return &Entry{Front: newFront(name, b.Metrics.Front(name)), secured: &secured{}}
}

// transit takes over the way out that has the same options, or makes one.
func (b *builder) transit(c *config.Forward, roots *part[*x509.CertPool]) (*Transit, error) {
	r, err := b.resolver(c.Resolver)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(c.Resolver, c.Egress, c.EgressBy, c.UpstreamIdleTimeout, c.MaxHeader, c.AllowPrivate, roots.key)
	return takeOver(b.next.Transits, b.Prev.Transits, key, func() (*Transit, error) {
		by, err := upstream.ParseEgressBy(c.EgressBy)
		if err != nil {
			return nil, fmt.Errorf("egress_by: %w", err)
		}
		return &Transit{
			resolver: r, egress: upstream.NewEgress(c.Egress, by),
			Idle: upstream.NewIdle(upstream.Options{IdleTimeout: c.UpstreamIdleTimeout, MaxHeader: int(c.MaxHeader), Roots: roots.value}),
		}, nil
	})
}

// resolver takes over the one that asks the same servers, or makes one.
func (b *builder) resolver(servers []string) (*resolve.Resolver, error) {
	return takeOver(b.next.resolvers, b.Prev.resolvers, fmt.Sprint(servers), func() (*resolve.Resolver, error) {
		return resolve.New(resolve.Options{Servers: servers})
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

// policy reads and compiles who may go where.
func (b *builder) policy(e *Entry) (*policy.Policy, error) {
	c, f := e.Conf, e.Front
	guard := guard.New(guard.Options{
		AllowPrivate: c.AllowPrivate, Own: b.Own, LocalAddrs: upstream.LocalAddrs, Egress: c.Egress,
	})
	return policy.New(policy.Options{
		Conf: c, Files: b.Files, Guard: guard, Memory: f.memory,
		Failed: b.failed(f),
	})
}

// failed says whom the gate of an entry tells of wrong passwords.
func (b *builder) failed(f *Front) func(auth.Failure) {
	if b.Failed == nil {
		return nil
	}
	return func(why auth.Failure) { b.Failed(f, why) }
}

// proxy makes the brain and the hands of an entry, the i-th.
func (b *builder) proxy(i int, e *Entry, t *Transit, a *authority.Authority) *forward.Proxy {
	c, f := e.Conf, e.Front
	anonymity, _ := hop.ParseAnonymity(c.Anonymity) // it was checked
	outs, out := b.outs(c, e.Policy)
	return forward.New(forward.Options{
		Exchange: &exchange.Options{
			Mode: "forward", Anonymity: anonymity, MaxHeader: int(c.MaxHeader),
			HeaderTimeout: c.HeaderTimeout, BodyTimeout: c.BodyTimeout, DialTimeout: c.DialTimeout,
			ResponseTimeout: c.ResponseTimeout, IdleTimeout: c.IdleTimeout,
			Tunnel: relay.Options{Idle: c.TunnelIdleTimeout, HalfClose: c.HalfCloseTimeout},
			Log:    b.Log, Metrics: f.Metrics, Panicked: b.Panicked,
			Contact: c.Contact, Challenge: challenge(e.Policy.Gate),
		},
		Dialer: &upstream.Dialer{Lookup: t.resolver.Lookup, Egress: t.egress, NoPorts: b.noPorts, Shaken: shaken(f)},
		Idle:   t.Idle,
		Routes: e.Policy.Routes, Outs: outs, Out: out, Tag: f.tag,
		Policy: e.Policy.Rules, Gate: e.Policy.Gate, Users: e.Policy.Users,
		Open: c.Open, AnyPort: c.ConnectPorts == nil, ConnectPorts: c.ConnectPorts, SNI: forward.ParseSNI(c.SNI),
		TLS: asking(e), Recheck: c.ReloadTunnels == "recheck",
		Inspect: e.Policy.Inspect, Authority: a, Filters: e.Policy.Filters,
		Listener: fmt.Sprintf("forward[%d]", i), Listen: c.Listen, Egress: c.Egress,
		Metrics: f.Metrics, Rules: f.Metrics.Rules(slices.Concat(e.Policy.Rules.Names(), forward.Reserved(), e.Policy.Filters.Names())),
	})
}

// asking is the TLS of an entry if it asks clients for a certificate.
func asking(e *Entry) *door.TLS {
	if e.Conf.TLS.ClientCA == "" {
		return nil
	}
	return e.TLS
}

// shaken counts the TLS handshakes with origins.
func shaken(f *Front) func(ok bool) {
	return func(ok bool) { f.Metrics.Handshake(metrics.SideOrigin, ok) }
}

// challenge is what a 407 asks for; without a gate there is none.
func challenge(g *auth.Gate) string {
	if g == nil {
		return ""
	}
	return g.Challenge()
}

// System is the egress address in the metrics where the system chooses it.
const System = "system"

// noPorts counts an egress address that had no port left.
func (b *builder) noPorts(local netip.Addr) {
	if !local.IsValid() {
		b.Metrics.PortsExhausted(System)
		return
	}
	b.Metrics.PortsExhausted(local.String())
}

// Speaks tells whether the listener of this key speaks TLS.
func (e *Entry) Speaks(key string) bool {
	i := slices.Index(e.Keys, key)
	return i >= 0 && config.Secure(e.Conf.Listen[i])
}

// Keys are the keys of the listeners of each entry: their addresses, and a
// number behind those that come again, which only port 0 may.
func Keys(conf *config.Config) [][]string {
	seen := map[string]int{}
	keys := make([][]string, len(conf.Forward))
	for i := range conf.Forward {
		for _, l := range conf.Forward[i].Listen {
			key := l
			if _, rest, ok := strings.Cut(l, "://"); ok {
				key = strings.TrimSuffix(rest, "/")
			}
			if n := seen[key]; n > 0 {
				keys[i] = append(keys[i], fmt.Sprintf("%s#%d", key, n))
			} else {
				keys[i] = append(keys[i], key)
			}
			seen[key]++
		}
	}
	return keys
}
