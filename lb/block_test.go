package lb_test

import (
	"reflect"
	"runtime"
	"testing"
	"time"
	"weak"

	"viaduct/lb"
)

// fewest wants the next k picks to go to nodes with at most so many in flight.
func fewest(t *testing.T, p *lb.Pool, k int, most int64, now time.Duration) {
	t.Helper()
	for i := range k {
		n := take(t, p, lb.Ask{Now: now})
		if n.InFlight() > most+1 {
			t.Fatalf("pick %d is %s, which had %d in flight: others have %d", i, n.ID(), n.InFlight()-1, most)
		}
	}
}

// What large pools remember of the load outlives slow starts, limits and
// changes of who is ready: the least loaded is always found.
func TestLeastLoadedIsFoundAfterAnyChange(t *testing.T) {
	const n, load, span = 512, 3, 10 * time.Second
	sick := func(p *lb.Pool) int {
		p.Set(p.Nodes()[0], lb.Sick, time.Second)
		return n - 1
	}
	for name, change := range map[string]func(p *lb.Pool) (weight int){
		"nothing": func(*lb.Pool) int { return n },
		"one starts slowly": func(p *lb.Pool) int {
			sick(p)
			p.Set(p.Nodes()[0], lb.Ready, time.Second)
			return n
		},
		"one is sick": sick,
		"one weighs twice": func(p *lb.Pool) int {
			p.SetWeight(p.Nodes()[0], 2, time.Second)
			return n + 1
		},
		"the list is given": func(p *lb.Pool) int {
			update(t, p, 1, lb.Options{Policy: lb.LeastConn, SlowStart: span}, members(n), time.Second)
			return n
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachSeed(t, func(t *testing.T, seed uint64) {
				p := newPool(t, seed, lb.Options{Policy: lb.LeastConn, SlowStart: span}, members(n))
				weight := change(p)
				now := time.Minute // the slow start is over, and nobody has made tables since
				for range load * weight {
					take(t, p, lb.Ask{Now: now})
				}
				for _, node := range p.Nodes()[200:240] {
					node.End()
					node.End()
				}
				fewest(t, p, 40, load-2, now)
			})
		})
	}
}

// A limit that is raised, or an allowance, is seen before any request ends.
func TestRaisedLimitIsSeenInLargePools(t *testing.T) {
	for name, raise := range map[string]func(n *lb.Node){
		"no limit any more": func(n *lb.Node) { n.SetLimit(0) },
		"a higher limit":    func(n *lb.Node) { n.SetLimit(9) },
		"an allowance":      func(n *lb.Node) { n.Allow(5) },
	} {
		list := members(512)
		p := newPool(t, 1, lb.Options{Policy: lb.LeastConn}, list)
		held := p.Nodes()[:128]
		for range 3 * len(list) {
			take(t, p, lb.Ask{})
		}
		for _, n := range held {
			if n.SetLimit(3); name == "an allowance" {
				n.SetLimit(0)
				n.Allow(0)
			}
		}
		for range 5 * (len(list) - len(held)) {
			if n := take(t, p, lb.Ask{}); at(n) < len(held) {
				t.Fatalf("%s: %s takes no more", name, n.ID())
			}
		}
		for _, n := range held {
			raise(n)
		}
		for range 100 {
			if n := take(t, p, lb.Ask{}); at(n) >= len(held) {
				t.Fatalf("%s: %s had %d in flight and was picked, others have 3", name, n.ID(), n.InFlight()-1)
			}
		}
	}
}

// Nodes that were removed, and views that were replaced, leave the memory.
func TestRemovedNodesAreForgotten(t *testing.T) {
	const n = 400
	o := lb.Options{Policy: lb.LeastConn}
	for name, change := range map[string]func(p *lb.Pool) lb.Options{
		"nothing else": func(*lb.Pool) lb.Options { return o },
		"a policy":     func(*lb.Pool) lb.Options { return lb.Options{Policy: lb.P2C} },
		"a subset":     func(*lb.Pool) lb.Options { return lb.Options{Policy: lb.LeastConn, Subset: 3} },
		"one is sick": func(p *lb.Pool) lb.Options {
			p.Set(p.Nodes()[300], lb.Sick, 0)
			return o
		},
	} {
		p := newPool(t, 1, o, members(n))
		gone := retire(t, p, change)
		for range 10 {
			runtime.GC()
		}
		if gone.Value() != nil {
			t.Errorf("%s is changed too: a removed node stays in memory", name)
		}
		runtime.KeepAlive(p)
	}
}

// retire takes the last node out of the list, while it has requests, one of
// which ends then.
func retire(t *testing.T, p *lb.Pool, change func(p *lb.Pool) lb.Options) weak.Pointer[lb.Node] {
	t.Helper()
	nodes := p.Nodes()
	for range 2 * len(nodes) {
		take(t, p, lb.Ask{})
	}
	last := nodes[len(nodes)-1]
	update(t, p, 1, change(p), members(len(nodes)-1), 0)
	last.End()
	return weak.Make(last)
}

// Two nodes never share a cache line that is written for each request.
func TestNodeFillsTwoCacheLines(t *testing.T) {
	if size := reflect.TypeFor[lb.Node]().Size(); size != 128 {
		t.Errorf("a node has %d bytes, want 128", size)
	}
}
