// Package health keeps the board of a pool: how its endpoints are, at any time.
//
// A Board asks the endpoints by their checks, is told how requests end, what the
// operator and the list say, and lets package verdict judge. What follows it
// tells the pool, and each change of a fact goes into the endpoint's ledger, with
// its cause. All that is about locks, clocks and goroutines is here; what it
// takes to be down, up or ejected is there.
//
// A check's verdict belongs to one endpoint and one definition: two pools that
// ask the same address in different ways never share one.
package health

import (
	"cmp"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/lb"
	"viaduct/probe"
	"viaduct/verdict"
)

// Options of a board. Zero values are the defaults, and negative ones where
// nothing else is said.
type Options struct {
	Checks   []Checker     // all must pass; none: an endpoint is believed to be up
	Interval time.Duration // between checks of an endpoint that is up or down; 0 is 5 s
	Fast     time.Duration // between checks that are about to change it; 0 is 1 s
	Timeout  time.Duration // of one check; 0 is 2 s
	Jitter   float64       // share by which intervals vary, up or down; 0 is 0.2, negative is none

	Thresholds  verdict.Thresholds // how many answers of a check it takes
	Passive     PassiveOptions     // which requests are errors
	Ejection    verdict.Ejection   // what follows from them
	AbsentGrace time.Duration      // how long one is used that a sick registry has lost; 0 is 90 s, negative is until the registry is well
	Ledger      int                // transitions that are kept of each endpoint; 0 is 32
	MostAge     time.Duration      // of saved findings that Restore believes; 0 is 10 min

	Now     func() time.Duration     // the monotonic clock of all times given to the board and its pool; nil is one that begins with the process. New alone heeds it
	Rand    func() uint64            // nil is that of math/rand/v2; called under a lock
	Changed func(verdict.Transition) // told of each, in order, under no lock; must not wait
}

// fill puts the defaults in.
func (o *Options) fill() {
	o.Interval = cmp.Or(max(o.Interval, 0), 5*time.Second)
	o.Fast = cmp.Or(max(o.Fast, 0), time.Second)
	o.Timeout = cmp.Or(max(o.Timeout, 0), 2*time.Second)
	o.Jitter = min(max(cmp.Or(o.Jitter, 0.2), 0), 0.9)
	o.AbsentGrace = cmp.Or(o.AbsentGrace, 90*time.Second)
	o.Ledger = cmp.Or(max(o.Ledger, 0), 32)
	o.MostAge = cmp.Or(max(o.MostAge, 0), 10*time.Minute)
	o.Thresholds.Fill()
	o.Passive.fill()
	o.Ejection.Fill()
	if o.Rand == nil {
		o.Rand = rand.Uint64
	}
}

// Member is one endpoint of the list. Its ID is that of its lb.Member.
type Member struct {
	ID     string
	At     probe.Endpoint
	Weight uint32 // of the list: what an agent says is a percentage of it
	Limit  int    // of the list: requests at a time, 0 is no limit
}

// Board keeps the facts of a pool's endpoints. Its methods may be called from
// any goroutine.
type Board struct {
	pool  *lb.Pool
	now   func() time.Duration
	rules atomic.Pointer[Options] // those of o, for a Report
	wake  chan struct{}           // Run has something to do

	mu         sync.Mutex // guards what follows, and the facts of all endpoints
	o          Options
	endpoints  map[string]*Endpoint
	order      []*Endpoint            // of the list
	timed      map[*Endpoint]struct{} // those that time changes
	tally      verdict.Tally
	lone       bool // only trials are left to take requests: they are not rationed
	capped     uint64
	words      verdict.Words               // of operators
	restored   map[string]verdict.Findings // of endpoints that are not in the list yet
	restoredAt time.Duration
	sick       bool // the registry is
	queue      []verdict.Transition
	telling    bool // somebody is at work on the queue
	idle       bool // there may be checks that nobody runs
}

// Endpoint is one endpoint as long as it stands in the list. What has left the
// list may still be reported on: nobody listens.
type Endpoint struct {
	board   *Board
	id      string
	errors  atomic.Int64  // in a row
	opened  atomic.Int64  // tunnels since the last of them
	passive atomic.Uint32 // facts.Passive, for Report

	// The board's lock guards the rest.
	member    Member
	node      *lb.Node // nil where there is no pool
	gone      bool
	facts     verdict.Facts
	part      verdict.Part
	checks    []*check
	ledger    verdict.Ledger
	missingTo time.Duration // until when it is spared; 0 is for as long as the registry is sick
	weighed   bool          // its weight is not the list's
	limited   bool          // its limit is not the list's
	rationed  bool          // its node takes what it is allowed only
}

// ID is the endpoint's ID.
func (e *Endpoint) ID() string { return e.id }

// New makes a board without endpoints: Update brings them. The pool is told how
// they stand; it may be nil.
func New(o Options, pool *lb.Pool) *Board {
	b := &Board{
		pool: pool, now: o.Now, wake: make(chan struct{}, 1),
		endpoints: map[string]*Endpoint{}, timed: map[*Endpoint]struct{}{}, words: verdict.Words{},
	}
	if b.now == nil {
		b.now = func() time.Duration { return time.Since(start) }
	}
	b.configure(o)
	return b
}

// start makes times small.
var start = time.Now()

// Now is the time by the board's clock.
func (b *Board) Now() time.Duration { return b.now() }

func (b *Board) configure(o Options) {
	o.fill()
	b.o = o
	b.rules.Store(&o)
}

// Update replaces options and list; call it after the pool's own. Facts stay
// with the ID of an endpoint, as long as its address does: at another address it
// is another endpoint, with a handle of its own, of which operator and list say
// what they said. Verdicts stay with the definition of their check. Of two
// members with one ID the first counts.
func (b *Board) Update(o Options, members []Member) {
	b.mu.Lock()
	defer b.unlock()
	now, was := b.now(), b.o
	b.configure(o)
	hurry := was.Interval != b.o.Interval || was.Fast != b.o.Fast
	old := b.endpoints
	b.endpoints, b.order = make(map[string]*Endpoint, len(members)), nil
	for i := range members {
		m := &members[i]
		if b.endpoints[m.ID] != nil {
			continue
		}
		e, why := old[m.ID], "the configuration changed"
		if e == nil {
			e = b.fresh(m)
		}
		before := e.facts
		if e.member.At.Addr != m.At.Addr {
			why = "its address changed: " + m.At.Addr
			e = b.move(e, m)
		}
		b.order, b.endpoints[m.ID] = append(b.order, e), e
		b.adopt(e, m, hurry, now)
		b.settle(e, now, before, verdict.Evidence{Cause: why})
	}
	for id, e := range old {
		if b.endpoints[id] == nil {
			b.dismiss(e)
			b.words.Leave(id, time.Now())
		}
	}
	b.recall(now)
	b.balance(now)
	b.stir()
}

// fresh is an endpoint of which only the operator's old word is known.
func (b *Board) fresh(m *Member) *Endpoint {
	e := &Endpoint{board: b, id: m.ID, member: *m, facts: verdict.Fresh()}
	b.words.Leave(m.ID, time.Time{})
	e.facts.Admin, e.facts.AdminBy = b.words.Of(m.ID)
	return e
}

// move is an endpoint at another address. What still ends at the old one is not
// its concern; the node and its ledger are.
func (b *Board) move(old *Endpoint, m *Member) *Endpoint {
	b.dismiss(old)
	e := b.fresh(m)
	e.facts.Discovery, e.missingTo = old.facts.Discovery, old.missingTo
	e.node, e.weighed, e.limited, e.rationed = old.node, old.weighed, old.limited, old.rationed
	e.ledger = old.ledger
	return e
}

// adopt gives an endpoint what the list says of it now.
func (b *Board) adopt(e *Endpoint, m *Member, hurry bool, now time.Duration) {
	e.member = *m
	if b.pool != nil {
		node := b.pool.Node(m.ID)
		e.rationed = e.rationed && node == e.node
		e.node = node
	}
	b.redefine(e, hurry)
	if b.o.Passive.Off {
		e.errors.Store(0)
		e.facts.Outlier = verdict.Outlier{}
	}
	e.gather(now)
}

// redefine gives an endpoint the checks of the options: those that are defined
// as before keep their verdicts. They are asked anew only if the times have
// changed: a list that changes each second must not keep them waiting for ever.
func (b *Board) redefine(e *Endpoint, hurry bool) {
	old := make(map[string]*check, len(e.checks))
	for _, c := range e.checks {
		old[c.key] = c
	}
	e.checks = nil
	for _, asker := range b.o.Checks {
		key := asker.Key()
		c := old[key]
		switch {
		case e.checkOf(key) != nil:
			continue // twice in the options
		case c == nil:
			c, e.board.idle = newCheck(e, asker), true
		default:
			delete(old, key)
			c.redefine(asker)
			if hurry {
				notify(c.poke)
			}
		}
		e.checks = append(e.checks, c)
	}
	for _, c := range old {
		c.retire()
	}
}

func (e *Endpoint) checkOf(key string) *check {
	for _, c := range e.checks {
		if c.key == key {
			return c
		}
	}
	return nil
}

// dismiss lets an endpoint go that is no longer in the list.
func (b *Board) dismiss(e *Endpoint) {
	for _, c := range e.checks {
		c.retire()
	}
	e.gone = true
	delete(b.timed, e)
	b.tally.Replace(e.part, verdict.Part{})
	e.part = verdict.Part{}
}

// gather heeds what the checks found.
func (e *Endpoint) gather(now time.Duration) {
	e.facts = e.facts.Gather(&e.board.o.Thresholds, now, e.counts)
}

// counts are what the checks found, each.
func (e *Endpoint) counts(yield func(*verdict.Count) bool) {
	for _, c := range e.checks {
		if !yield(&c.Count) {
			return
		}
	}
}

// Endpoint is the one with this ID, nil if it is not in the list.
func (b *Board) Endpoint(id string) *Endpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.endpoints[id]
}

// notify leaves a sign in a channel that keeps one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// stir tells Run that there is something to do.
func (b *Board) stir() { notify(b.wake) }
