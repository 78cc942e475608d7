package lb

import (
	"sync/atomic"
	"time"

	"viaduct/ewma"
)

// Standing is what a node may be given. What it follows from, a check, an
// operator's word, is not for this package.
type Standing uint8

// The standings of a node.
const (
	Ready  Standing = iota // new requests
	Affine                 // only those that belong to it: it drains
	Sick                   // as Ready but for its health, so only in panic
	Out                    // nothing, not even in panic
)

func (s Standing) String() string {
	return [...]string{"ready", "affine", "sick", "out"}[s&3]
}

// Outcome is what an answer tells of the node that gave it.
type Outcome uint8

// The outcomes of a request.
const (
	Served  Outcome = iota
	Failed          // by the node's fault
	Ignored         // says nothing of the node: the client left, a limit of ours
)

// Node is an endpoint as long as it stands in its pool's list. All its methods
// may be called from any goroutine.
type Node struct {
	pool  *Pool
	hash  uint64
	about atomic.Pointer[Member]
	block atomic.Pointer[block] // that knows how little the nodes around are loaded, in large pools

	weight    atomic.Uint32
	standing  atomic.Uint32
	limit     atomic.Int64
	allowance atomic.Int64 // requests that it may take, and one; 0 is any number
	rampFrom  atomic.Int64 // when it became ready; 0 is before all that counts

	flying atomic.Int64
	picks  atomic.Uint64
	last   atomic.Int64 // when it was chosen
	costs  ewma.Cost
	_      [32]byte // 128 bytes: two nodes never share a line that is written
}

// ID tells nodes of a pool apart.
func (n *Node) ID() string { return n.about.Load().ID }

// Zone is where it stands.
func (n *Node) Zone() string { return n.about.Load().Zone }

// Tier is its tier, from 0.
func (n *Node) Tier() int { return n.about.Load().Tier }

// Of is what the pool's owner gave with it.
func (n *Node) Of() any { return n.about.Load().Of }

// Weight is its weight, as the list or SetWeight said last.
func (n *Node) Weight() uint32 { return n.weight.Load() }

// Standing is what it may be given.
func (n *Node) Standing() Standing { return Standing(n.standing.Load()) }

// Limit is how many requests it takes at a time, 0 if there is no limit.
func (n *Node) Limit() int { return int(n.limit.Load()) }

// SetLimit changes the limit until the list says another one.
func (n *Node) SetLimit(limit int) {
	n.limit.Store(int64(max(limit, 0)))
	n.loosen()
	n.pool.serve(nil)
}

// enter counts a request in flight, unless there are most; 0 is any number.
func (n *Node) enter(most int64) bool {
	if most == 0 {
		n.flying.Add(1)
		return true
	}
	for {
		x := n.flying.Load()
		if x >= most {
			return false
		}
		if n.flying.CompareAndSwap(x, x+1) {
			return true
		}
	}
}

// Allow lets the node take that many more requests, and then none until it is
// called again; a negative number is as many as there are.
func (n *Node) Allow(requests int) {
	left := int64(0)
	if requests >= 0 {
		left = int64(requests) + 1
	}
	n.allowance.Store(left)
	n.loosen()
	n.pool.serve(nil)
}

// spent says whether the node has taken all that it may.
func (n *Node) spent() bool { return n.allowance.Load() == 1 }

// spend takes one of those, if there is one.
func (n *Node) spend() bool {
	for {
		left := n.allowance.Load()
		if left == 1 {
			return false
		}
		if left == 0 || n.allowance.CompareAndSwap(left, left-1) {
			return true
		}
	}
}

// InFlight is how many requests it was given and has not ended.
func (n *Node) InFlight() int64 { return n.flying.Load() }

// Picks is how many requests it was given.
func (n *Node) Picks() uint64 { return n.picks.Load() }

// begin counts a request, unless the node has as many as it may: its limit, and
// most, where that is not 0.
func (n *Node) begin(now time.Duration, most int64) bool {
	if limit := n.limit.Load(); limit > 0 && (most == 0 || limit < most) {
		most = limit
	}
	if !n.enter(most) {
		return false
	}
	if !n.spend() {
		n.flying.Add(-1)
		return false
	}
	n.picks.Add(1)
	n.last.Store(int64(now))
	n.pool.flying.Add(1)
	return true
}

// End says that a request is over, a tunnel when both its sides are. It is
// called once for each time that the node was chosen.
func (n *Node) End() {
	n.flying.Add(-1)
	n.pool.flying.Add(-1)
	n.loosen()
	n.pool.serve(n)
}

// loosen tells the node's block that it may take more.
func (n *Node) loosen() {
	if b := n.block.Load(); b != nil {
		b.lower(loadScore(n.flying.Load(), float64(n.weight.Load())))
	}
}

// weigh sets the weight. From nothing it is reached slowly, as by a new node.
func (n *Node) weigh(weight uint32, known bool, now time.Duration) (changed bool) {
	was := n.weight.Swap(weight)
	if was == 0 && weight > 0 && known {
		n.rampFrom.Store(int64(max(now, 1)))
	}
	return was != weight
}

// Observe tells how long a node took to answer, or to open a tunnel, and
// whether it served. Each request tells it once, before its End.
func (n *Node) Observe(now, latency time.Duration, o Outcome) {
	p := n.pool
	v := p.view.Load()
	switch o {
	case Served:
		p.tail.Served(latency)
		n.costs.Served(now, latency, v.o.Tau)
	case Failed:
		n.costs.Failed(now, latency, v.o.Tau, p.penalty(v))
	}
}

// Cost is what p2c_ewma takes for the latency of the node now.
func (n *Node) Cost(now time.Duration) time.Duration {
	return time.Duration(n.cost(now, n.pool.view.Load().o.Tau))
}

// cost is in ns. A node that was never seen is taken for a slow one, so that it
// is not flooded.
func (n *Node) cost(now, tau time.Duration) float64 {
	return n.costs.At(now, tau, max(n.pool.tail.At(), 1))
}

// penalty is what a failure costs: more than what a request waits for anywhere
// in the pool, as busy as it is.
func (p *Pool) penalty(v *view) float64 {
	slow := p.tail.At()
	if slow == 0 {
		slow = float64(time.Second) // nothing is known of this pool
	}
	return 3 * slow * (1 + float64(p.flying.Load())/float64(max(v.nodes, 1)))
}
