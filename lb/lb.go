// Package lb chooses among the endpoints of a pool, for both directions.
//
// A Pool has two parts. Its Nodes are what lives as long as an endpoint: the
// requests in flight, how long they take, the weight, whether it may be used.
// Its view is what a choice needs: who is ready, tier by tier and zone by zone,
// with the tables of the policy. The view is never changed but replaced, so
// that a choice takes no lock; Nodes outlive it, so that a change of the list
// forgets nothing of those that stay.
//
// A request counts from the moment it is given to a node: a node that accepts
// connections and says nothing shows its load before the first answer.
package lb

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/ewma"
	"viaduct/hashing"
	"viaduct/turn"
)

// MostWeight is the largest weight of a member.
const MostWeight = 1_000_000

// Options say how a pool chooses. The zero value is p2c_ewma over one tier that
// panics when less than half of it is ready. Times passed to a pool are
// durations since any one moment, by a monotonic clock.
type Options struct {
	Policy       Policy
	HashBound    float64            // of hash, ring and maglev: load of a node / mean load, over 1; 0 is unbounded
	SlowStart    time.Duration      // how long a node that becomes ready takes to reach its weight; 0 is off
	Aggression   float64            // curve of the slow start, share = time^(1/Aggression); 0 is 1, a line
	Subset       int                // how many members of a tier are used, chosen by rendezvous with the seed; 0 is all
	Zone         string             // ours, served first; "" is blind to zones
	ZoneShares   map[string]float64 // which share of the proxies stands in each zone; nil is the same in each
	ZoneSplit    map[string]uint32  // how requests are split over zones, whatever their sizes; wins over Zone
	PanicBelow   float64            // share of ready nodes in a tier below which health is ignored, where the tiers cannot carry all; 0 is 0.5, negative is never
	PanicRefuse  bool               // in panic choose none, rather than any
	Tau          time.Duration      // how fast p2c_ewma forgets a slow answer; 0 is 10 s
	Reprobe      time.Duration      // how long p2c_ewma leaves a node alone; 0 is 3 s
	Queue        int                // how many requests wait when all nodes are full; 0 is none
	QueueTimeout time.Duration      // how long they do; 0 is as long as their context
	Seed         uint64             // of this instance: where orders begin, its subset; 0 is any
	Rand         func() uint64      // nil is that of math/rand/v2; must be safe for concurrent use if Pick is
}

// Member is one endpoint of the list.
type Member struct {
	ID     string // within the pool: what it counts stays as long as its ID does
	Weight uint32 // its share; 0 gets nothing new
	Zone   string
	Tier   int // 0 is used first; the next take over what it cannot carry
	Limit  int // requests at a time; 0 is unlimited
	Of     any // what the pool's owner knows of it
}

// Pool is a list of endpoints and a way to choose. All methods may be called
// from any goroutine.
type Pool struct {
	view atomic.Pointer[view]
	_    [56]byte // what is read by all does not share a line with what is written by all

	flying  atomic.Int64 // requests in flight
	tail    ewma.Tail
	probe   atomic.Uint32 // whose turn it is to be asked whether it was forgotten
	checked atomic.Int64  // when somebody last looked for the forgotten
	_       [32]byte

	change sync.Mutex // orders those who replace the view
	nodes  map[string]*Node
	list   []*Node // in the order given
	seed   uint64

	line  turn.Line[*claim] // of requests that wait for a place
	fussy atomic.Int32      // how many of them have been somewhere already, or belong somewhere
}

// Ask is what a request says to be given a node.
type Ask struct {
	Key    uint64 // for hash, ring and maglev
	Keyed  bool   // there is a key; without one they choose at random
	Now    time.Duration
	Tried  []*Node // not these: they failed this request already
	Sticky *Node   // this one, if it takes requests that belong to it
}

// New makes a pool. An error says which option or member can't be.
func New(o Options, members []Member, now time.Duration) (*Pool, error) {
	p := &Pool{nodes: map[string]*Node{}}
	if err := p.Update(o, members, now); err != nil {
		return nil, err
	}
	return p, nil
}

// Update replaces options and list. Nodes whose ID stays keep what they count,
// those that go take no more requests and may end theirs. On an error nothing
// changes.
func (p *Pool) Update(o Options, members []Member, now time.Duration) error {
	if err := check(&o, members); err != nil {
		return err
	}
	p.change.Lock()
	defer p.change.Unlock()
	for p.seed == 0 {
		p.seed = rand.Uint64()
	}
	if o.Seed != 0 {
		p.seed = o.Seed
	}
	o.Seed = p.seed
	p.adopt(members, now)
	p.swap(o, now)
	return nil
}

// adopt makes members the list: old nodes where there are any, new ones else.
func (p *Pool) adopt(members []Member, now time.Duration) {
	fresh := len(p.list) == 0 // then nobody has to be spared
	kept := make(map[string]*Node, len(members))
	list := make([]*Node, len(members))
	for i := range members {
		m := &members[i]
		n := p.nodes[m.ID]
		if n == nil {
			n = &Node{pool: p, hash: hashing.String(m.ID)}
			if !fresh {
				n.rampFrom.Store(int64(max(now, 1)))
			}
		}
		if was := n.about.Load(); was == nil || was.Weight != m.Weight {
			n.weigh(m.Weight, was != nil, now)
		}
		if was := n.about.Load(); was == nil || was.Limit != m.Limit {
			n.limit.Store(int64(m.Limit))
		}
		about := *m
		n.about.Store(&about)
		kept[m.ID], list[i] = n, n
	}
	for id, n := range p.nodes {
		if kept[id] == nil {
			n.standing.Store(uint32(Out))
			n.block.Store(nil)
		}
	}
	p.nodes, p.list = kept, list
}

// swap makes the view anew, from the list and how its nodes stand.
func (p *Pool) swap(o Options, now time.Duration) {
	v := newView(o, p.list, p.view.Load(), now)
	v.settle(p.list)
	p.view.Store(v)
	p.serve(nil)
}

// Set says how a node stands from now on. One that becomes ready again does so
// slowly, if the pool has a slow start.
//
// In a list of thousands the tables follow within some 10 ms; what is not ready
// any more is not chosen from now on.
func (p *Pool) Set(n *Node, s Standing, now time.Duration) {
	p.change.Lock()
	defer p.change.Unlock()
	was := n.Standing()
	if was == s || p.nodes[n.ID()] != n {
		return
	}
	if s == Ready {
		n.rampFrom.Store(int64(max(now, 1)))
	}
	n.standing.Store(uint32(s))
	p.follow(now)
}

// follow makes the view follow a change: now, or by the first request after it
// is due.
func (p *Pool) follow(now time.Duration) {
	v := p.view.Load()
	v.stale.Store(true) // first: who comes to wait now looks at it
	if now >= v.due || p.line.Len() > 0 {
		p.swap(v.o, now)
	}
}

// refresh is the view with all changes. Where it need not be that, it is the
// present one while another is made.
func (p *Pool) refresh(now time.Duration, must bool) *view {
	if must {
		p.change.Lock()
	} else if !p.change.TryLock() {
		return p.view.Load()
	}
	defer p.change.Unlock()
	if v := p.view.Load(); v.stale.Load() {
		p.swap(v.o, now)
	}
	return p.view.Load()
}

// SetWeight changes the weight of a node until the list says another one.
func (p *Pool) SetWeight(n *Node, weight uint32, now time.Duration) {
	p.change.Lock()
	defer p.change.Unlock()
	weight = min(weight, MostWeight)
	if n.weigh(weight, true, now) && p.nodes[n.ID()] == n {
		p.follow(now)
	}
}

// Node is the one with this ID, nil if there is none.
func (p *Pool) Node(id string) *Node {
	p.change.Lock()
	defer p.change.Unlock()
	return p.nodes[id]
}

// Nodes are those of the list, in its order.
func (p *Pool) Nodes() []*Node {
	p.change.Lock()
	defer p.change.Unlock()
	return append([]*Node(nil), p.list...)
}

// InFlight is how many requests are with the pool's nodes.
func (p *Pool) InFlight() int64 { return p.flying.Load() }

// check says what is wrong with options or list, and fills in the options.
func check(o *Options, members []Member) error {
	switch {
	case int(o.Policy) >= len(names):
		return fmt.Errorf("policy %d: there is none", o.Policy)
	case o.HashBound != 0 && !(o.HashBound > 1) || math.IsInf(o.HashBound, 0):
		return fmt.Errorf("a bound of %v on the load: give more than 1 (1.25 is a quarter over the mean), or 0 for none", o.HashBound)
	case o.SlowStart < 0, o.Tau < 0, o.Reprobe < 0, o.QueueTimeout < 0:
		return fmt.Errorf("slow start %v, tau %v, re-probe %v, queue timeout %v: none may be negative", o.SlowStart, o.Tau, o.Reprobe, o.QueueTimeout)
	case !(o.Aggression >= 0), o.Subset < 0, o.Queue < 0:
		return fmt.Errorf("aggression %v, subset %d, queue %d: none may be negative", o.Aggression, o.Subset, o.Queue)
	case math.IsNaN(o.PanicBelow):
		return errors.New("the part of ready endpoints below which a tier panics is no number")
	}
	for zone, part := range o.ZoneShares {
		if !(part >= 0 && part <= 1) {
			return fmt.Errorf("zone %q: %v of our proxies: give a part from 0 to 1", zone, part)
		}
	}
	seen := make(map[string]bool, len(members))
	for i := range members {
		m := &members[i]
		switch {
		case m.ID == "":
			return errors.New("an endpoint has no name")
		case seen[m.ID]:
			return fmt.Errorf("endpoint %q stands in the list twice", m.ID)
		case m.Weight > MostWeight:
			return fmt.Errorf("endpoint %q: weight %d: give at most %d", m.ID, m.Weight, MostWeight)
		case m.Tier < 0 || m.Limit < 0:
			return fmt.Errorf("endpoint %q: tier and limit are never negative", m.ID)
		}
		seen[m.ID] = true
	}
	o.ZoneShares, o.ZoneSplit = maps.Clone(o.ZoneShares), maps.Clone(o.ZoneSplit)
	o.defaults()
	return nil
}

func (o *Options) defaults() {
	if o.Aggression == 0 {
		o.Aggression = 1
	}
	if o.PanicBelow == 0 {
		o.PanicBelow = 0.5
	}
	if o.Tau == 0 {
		o.Tau = 10 * time.Second
	}
	if o.Reprobe == 0 {
		o.Reprobe = 3 * time.Second
	}
	if o.Rand == nil {
		o.Rand = rand.Uint64
	}
}
