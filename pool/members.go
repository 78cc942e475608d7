package pool

import (
	"context"
	"fmt"
	"slices"
	"time"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/parent"
	"viaduct/passage"
	"viaduct/verdict"
)

// apply makes a list the pool's, under the lock.
func (p *Pool) apply(o Options, list []parent.Endpoint) error {
	now := p.now()
	endpoints, members := make([]*Endpoint, len(list)), make([]lb.Member, len(list))
	setup := passage.Setup{TLS: o.TLS, Lookup: o.Lookup}
	for i := range list {
		l := &list[i]
		e := p.kept(l)
		if e == nil {
			e = p.fresh(l, setup)
		}
		endpoints[i] = e
		members[i] = lb.Member{ID: l.ID, Weight: l.Weight, Zone: l.Zone, Tier: l.Tier, Limit: l.Limit, Of: e}
	}
	if err := p.nodes.Update(o.LB, members, now); err != nil {
		return fmt.Errorf("pool %s: %w", o.Name, err)
	}
	for _, e := range endpoints {
		e.Change(setup)
	}
	p.board.Update(p.healthOptions(&o, list), p.boardMembers(list, endpoints))
	for _, e := range endpoints {
		e.node.Store(p.nodes.Node(e.id))
		e.handle.Store(p.board.Endpoint(e.id))
	}
	for _, e := range p.endpoints {
		if !slices.Contains(endpoints, e) { // what is under way on it ends in its own time
			e.Close()
			p.rests.Forget(e)
		}
	}
	p.o, p.list, p.endpoints = o, list, endpoints
	p.o.Endpoints = slices.Clone(o.Endpoints)
	p.rule(&o, now)
	return nil
}

// kept is the endpoint that an entry of a new list goes on with.
func (p *Pool) kept(l *parent.Endpoint) *Endpoint {
	for _, e := range p.endpoints {
		if e.id == l.ID && e.Leads(l.Hops) {
			return e
		}
	}
	return nil
}

// fresh is an endpoint for an entry. One that had its ID, and was reached in
// another way, leaves it the count of its failures.
func (p *Pool) fresh(l *parent.Endpoint, s passage.Setup) *Endpoint {
	e := &Endpoint{Passage: passage.New(l.Hops, s), id: l.ID}
	for _, old := range p.endpoints {
		if old.id == e.id {
			e.failures.Store(old.failures.Load())
		}
	}
	return e
}

// sameEntry tells whether two entries of lists say the same.
func sameEntry(a, b parent.Endpoint) bool {
	return a.ID == b.ID && a.Weight == b.Weight && a.Zone == b.Zone && a.Tier == b.Tier && a.Limit == b.Limit &&
		slices.Equal(a.Hops, b.Hops)
}

// healthOptions are those of the board.
func (p *Pool) healthOptions(o *Options, list []parent.Endpoint) health.Options {
	h := o.Health
	h.Now, h.Checks, h.Changed = p.now, nil, nil
	spare := slices.ContainsFunc(list, isDirect)
	for _, c := range o.Checks {
		if c.TLS == nil {
			c.TLS = o.TLS
		}
		if spare {
			h.Checks = append(h.Checks, passage.Spared{Of: c})
		} else {
			h.Checks = append(h.Checks, c)
		}
	}
	if o.Changed != nil {
		name, tell := o.Name, o.Changed
		h.Changed = func(t verdict.Transition) { tell(name, t) }
	}
	return h
}

func isDirect(e parent.Endpoint) bool { return len(e.Hops) == 0 }

func (p *Pool) boardMembers(list []parent.Endpoint, endpoints []*Endpoint) []health.Member {
	members := make([]health.Member, len(list))
	for i := range list {
		members[i] = health.Member{ID: list[i].ID, At: endpoints[i].Probed(), Weight: list[i].Weight, Limit: list[i].Limit}
	}
	return members
}

// find is the place of an endpoint in the list, under the lock.
func (p *Pool) find(id string) (int, error) {
	for i := range p.list {
		if p.list[i].ID == id {
			return i, nil
		}
	}
	return 0, fmt.Errorf("pool %s: no endpoint %q: status shows those that there are", p.o.Name, id)
}

// SetAdmin sets what an operator wants of an endpoint.
func (p *Pool) SetAdmin(id string, a verdict.Admin, who string) error {
	p.change.Lock()
	defer p.change.Unlock()
	if _, err := p.find(id); err != nil {
		return err
	}
	return p.board.SetAdmin(id, a, who)
}

// SetWeight changes the weight of an endpoint. With 0 it gets nothing new.
func (p *Pool) SetWeight(id string, weight uint32) error {
	p.change.Lock()
	defer p.change.Unlock()
	i, err := p.find(id)
	if err != nil {
		return err
	}
	list := slices.Clone(p.list)
	list[i].Weight = weight
	return p.apply(p.o, list)
}

// Add adds an endpoint to the list.
func (p *Pool) Add(e parent.Endpoint) error {
	p.change.Lock()
	defer p.change.Unlock()
	return p.apply(p.o, append(slices.Clone(p.list), e))
}

// Remove takes an endpoint out of the list. What is under way on it ends in its
// own time.
func (p *Pool) Remove(id string) error {
	p.change.Lock()
	defer p.change.Unlock()
	i, err := p.find(id)
	if err != nil {
		return err
	}
	return p.apply(p.o, slices.Delete(slices.Clone(p.list), i, i+1))
}

// drainLook is how often a drain looks whether it is over.
const drainLook = 20 * time.Millisecond

// Drain gives an endpoint nothing new, and waits until nothing is in flight on
// it. When ctx ends before, it says how many are left; it drains on.
func (p *Pool) Drain(ctx context.Context, id, who string) (left int, err error) {
	node := p.nodes.Node(id)
	if err := p.SetAdmin(id, verdict.Drain, who); err != nil {
		return 0, err
	}
	ticker := time.NewTicker(drainLook)
	defer ticker.Stop()
	for {
		if left = int(node.InFlight()); left == 0 {
			return 0, nil
		}
		if f, _, some := p.board.Facts(id); some && f.Admin != verdict.Drain {
			return left, fmt.Errorf("pool %s: endpoint %q is no longer drained: %s", p.Name(), id, f.AdminBy)
		}
		select {
		case <-ctx.Done():
			return left, fmt.Errorf("drain %s: %d in flight: %w", id, left, ctx.Err())
		case <-ticker.C:
		}
	}
}
