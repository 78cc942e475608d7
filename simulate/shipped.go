package simulate

import (
	"fmt"
	"math/rand/v2"
	"time"

	"viaduct/health"
	"viaduct/lb"
)

// shipped is a balancer as it is shipped: a pool of package lb, and a board of
// package health if the scenario has outlier detection.
type shipped struct {
	pool      *lb.Pool
	nodes     []*lb.Node
	ask       lb.Ask
	board     *health.Board // nil without outlier detection
	endpoints []*health.Endpoint
	due       time.Duration // when the board has something to do; 0 is never
}

func newShipped(s *Scenario, policy lb.Policy, dice *rand.Rand) (*shipped, error) {
	o := s.Options
	o.Policy, o.Rand = policy, dice.Uint64
	o.Seed = dice.Uint64() | 1 // 0 would be a seed of the pool's own choice
	members := make([]lb.Member, len(s.Servers))
	for i, v := range s.Servers {
		members[i] = lb.Member{ID: fmt.Sprintf("server %d", i+1), Weight: v.Weight, Of: i}
	}
	pool, err := lb.New(o, members, 0)
	if err != nil {
		return nil, err
	}
	b := &shipped{pool: pool, nodes: pool.Nodes()}
	b.ask.Keyed = policy.Keyed()
	if s.Outlier {
		b.watch(members, dice)
	}
	return b, nil
}

// watch sets up the board. No check is run: requests are all that it learns from.
func (b *shipped) watch(members []lb.Member, dice *rand.Rand) {
	o := health.Options{Rand: dice.Uint64, Now: func() time.Duration { return b.ask.Now }}
	b.board = health.New(o, b.pool)
	list := make([]health.Member, len(members))
	for i, m := range members {
		list[i] = health.Member{ID: m.ID, Weight: m.Weight}
	}
	b.board.Update(o, list)
	for _, m := range members {
		b.endpoints = append(b.endpoints, b.board.Endpoint(m.ID))
	}
}

func (b *shipped) Pick(key uint64, now time.Duration) int {
	b.ask.Key, b.ask.Now = key, now
	if b.due != 0 && now >= b.due {
		b.advance(now)
	}
	node, _ := b.pool.Pick(&b.ask)
	if node == nil {
		return -1
	}
	return node.Of().(int)
}

func (b *shipped) Done(server int, now, latency time.Duration, failed bool) {
	b.ask.Now = now
	node, outcome, status := b.nodes[server], lb.Served, 200
	if failed {
		outcome, status = lb.Failed, 503
	}
	node.Observe(now, latency, outcome)
	if b.board != nil {
		b.endpoints[server].Report(now, health.Report{Status: status, Lived: latency})
		if failed || b.due != 0 {
			b.advance(now)
		}
	}
	node.End()
}

// advance lets the board do what is due.
func (b *shipped) advance(now time.Duration) {
	next, some := b.board.Advance(now)
	b.due = next
	if !some {
		b.due = 0
	}
}
