package lb

import (
	"context"
	"slices"
	"time"
)

// claim is a request that waits for a place.
type claim struct {
	ask   *Ask
	plain bool // any node would do
	node  *Node
	how   How
}

// Wait is Pick for a request that can wait for a place when all nodes are full:
// who came first is given the first that suits it, unless a Pick takes it
// before. Ask.Now is that of its arrival, however long it waits.
func (p *Pool) Wait(ctx context.Context, a *Ask) (*Node, How) {
	o := &p.view.Load().o
	if o.Queue == 0 {
		return p.Pick(a)
	}
	if p.line.Len() == 0 { // else they were here first
		if n, how := p.Pick(a); how != Full {
			return n, how
		}
	}
	c := &claim{ask: a, plain: a.Sticky == nil && len(a.Tried) == 0}
	w := p.line.Join(c, o.Queue)
	if w == nil {
		return nil, QueueFull
	}
	if !c.plain {
		p.fussy.Add(1)
		defer p.fussy.Add(-1)
	}
	// A place may have come free before it was in the line, or a node ready.
	if p.view.Load().stale.Load() {
		p.refresh(a.Now, true)
	}
	p.admit(c)
	var late <-chan time.Time
	if o.QueueTimeout > 0 {
		timer := time.NewTimer(o.QueueTimeout)
		defer timer.Stop()
		late = timer.C
	}
	how := Gone
	select {
	case <-w.Turn:
		return c.node, c.how
	case <-late:
		how = QueueTimeout
	case <-ctx.Done():
	}
	if !p.line.Leave(w) { // it was served at the last moment
		return c.node, c.how
	}
	return nil, how
}

// Waiting is how many requests wait for a place.
func (p *Pool) Waiting() int { return p.line.Len() }

// refusals is how many who have tried some nodes already are refused before
// the others like them are left for another time.
const refusals = 64

// serve gives places to those who wait. There may be one at n; nil is anywhere.
func (p *Pool) serve(n *Node) {
	if p.line.Len() == 0 {
		return
	}
	refused := 0
	full := false // for those who would take any
	p.line.Serve(func(c *claim) (served, last bool) {
		if c.plain && full || !c.plain && refused == refusals || n != nil && !c.wants(n) {
			return false, false
		}
		if p.place(c) {
			return true, false
		}
		if c.plain {
			full = true
		} else {
			refused++
		}
		return false, full && p.fussy.Load() == 0
	})
}

// admit is serve for who has come last: the others were served when they came,
// or by who left a place.
func (p *Pool) admit(newest *claim) {
	refused, full := false, false
	p.line.Serve(func(c *claim) (served, last bool) {
		if c != newest && refused || c.plain && full {
			return false, false // a place that came free just now is for who was refused
		}
		served = p.place(c)
		refused = refused || !served
		full = full || !served && c.plain
		return served, false
	})
}

// place picks from the view as it is: to make one takes a lock under which the
// line is served.
func (p *Pool) place(c *claim) bool {
	c.node, c.how, _ = p.pick(p.view.Load(), c.ask)
	return c.how != Full
}

// wants says whether a place at n is any use.
func (c *claim) wants(n *Node) bool {
	return !slices.Contains(c.ask.Tried, n) && (c.ask.Sticky == n || n.Standing() != Affine)
}
