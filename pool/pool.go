// Package pool is the ways out that stand under one name: parent proxies, and
// direct if the operator lists it.
//
// Balancing, health and guards are rooms of their own. Here they are put
// together for one request: whether it may begin, which endpoint it is given,
// who is to blame when that one fails, which is next, and what is given back at
// its end, exactly once. Nothing is sent here but what asks a parent for a
// tunnel.
package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/clock"
	"viaduct/hashing"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/parent"
	"viaduct/probe"
	"viaduct/rest"
	"viaduct/verdict"
)

// Resolve says where the names of destinations are looked up. Zero is Auto.
type Resolve uint8

// The places.
const (
	Auto   Resolve = iota // auto: by the parent unless something is to be judged by address
	Here                  // here: the parent is asked for an address that was judged
	Parent                // parent: it is told the name
)

// ParseResolve reads auto, here or parent; "" is auto.
func ParseResolve(s string) (Resolve, error) {
	switch s {
	case "", "auto":
		return Auto, nil
	case "here":
		return Here, nil
	case "parent":
		return Parent, nil
	}
	return 0, errors.New("choose auto, here or parent")
}

// String is the word that ParseResolve reads.
func (r Resolve) String() string { return [...]string{"auto", "here", "parent"}[r] }

// Options say what is in a pool, and how it is used.
type Options struct {
	Name      string
	Endpoints []parent.Endpoint
	LB        lb.Options
	Key       []hashing.Part         // of policies that go by a key; empty is the client's address
	Checks    []probe.Check          // all must pass. Those of a chain ask its first hop, but for Connect, which takes the whole way
	Health    health.Options         // its Checks, Now and Changed are the pool's
	Retries   int                    // further endpoints that a request may try; one that could not be connected to is not counted, but 0 is none at all
	Budget    overload.BudgetOptions // of all further tries, hedges too

	HedgeAfter time.Duration // when a connect that takes so long is joined by another; 0 is half of the dial timeout
	Limits     overload.Limits
	Throttle   bool
	Adaptive   bool
	Resolve    Resolve

	TLS     *tls.Config                                                  // for https parents; nil: the system's roots. While it is the same one, connections are kept over an Update
	Lookup  func(ctx context.Context, host string) ([]netip.Addr, error) // of the names of parents; nil is the system's
	Changed func(pool string, t verdict.Transition)                      // told of each change of a fact; must neither wait nor ask the pool; nil: nobody wants to know
	Now     func() time.Duration                                         // nil is clock.Now; New alone heeds it
}

// Pool is a list of endpoints with all that is known of them. Its methods may be
// called from any goroutine.
type Pool struct {
	now     func() time.Duration
	rules   atomic.Pointer[rules]
	nodes   *lb.Pool
	board   *health.Board
	rests   rest.Table[*Endpoint]
	circuit overload.Circuit
	tally   tally
	looking atomic.Bool   // listen looks who waits, or has been told to
	waiting chan struct{} // tells it

	change    sync.Mutex // guards what follows, and orders those who change it
	o         Options    // of the last Update
	list      []parent.Endpoint
	endpoints []*Endpoint // of the list, in its order
}

// rules are what an Update replaces. A request goes by those that it began with.
type rules struct {
	name      string
	resolve   Resolve
	key       []hashing.Part
	parents   bool
	endpoints []*Endpoint // those of the list
	resorts   []*Endpoint // direct ones among them that stand behind parents: the last resort
	strikes   int         // errors in a row until one is ejected
	queue     bool
	retries   int
	hedge     time.Duration
	budgeted  overload.BudgetOptions
	budget    *overload.Budget
	throttle  *overload.Throttle // nil: off
	gradient  *overload.Gradient // nil: off
}

// New makes a pool. It starts nothing: see Run. An error says which option or
// endpoint can't be.
func New(o Options) (*Pool, error) {
	p := &Pool{now: o.Now, waiting: make(chan struct{}, 1)}
	if p.now == nil {
		p.now = clock.Now
	}
	nodes, err := lb.New(o.LB, nil, p.now())
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", o.Name, err)
	}
	p.nodes = nodes
	p.board = health.New(p.healthOptions(&o, nil), nodes)
	if err := p.Update(o); err != nil {
		return nil, err
	}
	return p, nil
}

// Update replaces the options. Endpoints whose ID and hops stay keep all that is
// counted and known of them, and their connections. What was changed at run time
// stays, too, unless the list itself is another one than the last time. On an
// error nothing changes.
func (p *Pool) Update(o Options) error {
	p.change.Lock()
	defer p.change.Unlock()
	list := o.Endpoints
	if slices.EqualFunc(list, p.o.Endpoints, sameEntry) && p.list != nil {
		list = p.list
	}
	return p.apply(o, slices.Clone(list))
}

// Run checks the endpoints, finds those that hang, and lets time do what it does,
// until ctx ends. All its goroutines have ended when it returns.
func (p *Pool) Run(ctx context.Context) {
	var listening sync.WaitGroup
	listening.Go(func() { p.listen(ctx) })
	defer listening.Wait()
	p.board.Run(ctx)
}

// Close lets go of the connections that tunnels share. Those in use end with
// their tunnels.
func (p *Pool) Close() {
	p.change.Lock()
	defer p.change.Unlock()
	for _, e := range p.endpoints {
		e.Close()
	}
}

// Name is the pool's name.
func (p *Pool) Name() string { return p.rules.Load().name }

// Resolve is where names are looked up, as the operator wrote it.
func (p *Pool) Resolve() Resolve { return p.rules.Load().resolve }

// Parents tells whether any endpoint is not direct.
func (p *Pool) Parents() bool { return p.rules.Load().parents }

// Key is what the key of a request is made of; empty where none is needed.
func (p *Pool) Key() []hashing.Part { return p.rules.Load().key }

// resorts are the direct endpoints in a further tier than parents are, or further down
// a list that is gone through in its order.
func (p *Pool) resorts(o *Options) (all []*Endpoint) {
	first := -1 // tier of parents
	for i, l := range p.list {
		switch {
		case !isDirect(l) && (first < 0 || l.Tier < first):
			first = l.Tier
		case isDirect(l) && o.LB.Policy == lb.First && slices.ContainsFunc(p.list[:i], func(e parent.Endpoint) bool { return !isDirect(e) && e.Tier <= l.Tier }):
			all = append(all, p.endpoints[i])
		}
	}
	for i, l := range p.list {
		if isDirect(l) && first >= 0 && l.Tier > first && !slices.Contains(all, p.endpoints[i]) {
			all = append(all, p.endpoints[i])
		}
	}
	return all
}

// rule makes the rules anew. Guards whose options stay keep what they know.
func (p *Pool) rule(o *Options, now time.Duration) {
	was := p.rules.Load()
	if was == nil {
		was = &rules{}
	}
	r := &rules{
		name: o.Name, resolve: o.Resolve, queue: o.LB.Queue > 0,
		retries: max(o.Retries, 0), hedge: max(o.HedgeAfter, 0), budgeted: o.Budget, budget: was.budget,
	}
	r.parents = slices.ContainsFunc(p.list, func(e parent.Endpoint) bool { return !isDirect(e) })
	if o.LB.Policy.Keyed() {
		if r.key = o.Key; len(r.key) == 0 {
			r.key = []hashing.Part{{Source: hashing.ClientIP}}
		}
	}
	if r.budget == nil || was.budgeted != o.Budget {
		r.budget = overload.NewBudget(o.Budget, now)
	}
	if o.Throttle {
		if r.throttle = was.throttle; r.throttle == nil {
			r.throttle = overload.NewThrottle(overload.ThrottleOptions{Rand: o.LB.Rand})
		}
	}
	if o.Adaptive {
		if r.gradient = was.gradient; r.gradient == nil {
			r.gradient = overload.NewGradient(overload.GradientOptions{})
		}
	}
	ejection := o.Health.Ejection
	ejection.Fill()
	r.endpoints, r.resorts, r.strikes = p.endpoints, p.resorts(o), ejection.Errors
	p.circuit.Update(o.Limits)
	p.rules.Store(r)
}
