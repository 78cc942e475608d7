package lb_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/lb"
)

// mob is a pool of which everything changes at the same time.
type mob struct {
	t       *testing.T
	pool    *lb.Pool
	seed    uint64
	start   time.Time
	stop    atomic.Bool
	sizes   []int
	several sync.WaitGroup
	mu      sync.Mutex
	seen    map[*lb.Node]bool
}

func (m *mob) now() time.Duration { return time.Since(m.start) }

func (m *mob) options(dice *rand.Rand) lb.Options {
	o := lb.Options{
		Policy: lb.Policies()[dice.IntN(len(lb.Policies()))], Queue: 1 + dice.IntN(50), QueueTimeout: 20 * time.Millisecond,
		SlowStart: time.Duration(dice.IntN(3)) * 20 * time.Millisecond, PanicRefuse: dice.IntN(4) == 0,
	}
	if dice.IntN(2) == 0 {
		o.HashBound = 1.25
	}
	if dice.IntN(2) == 0 {
		o.Zone = "a"
	}
	if dice.IntN(4) == 0 {
		o.Subset = 5
	}
	return o
}

// list has some of the nodes that were there, and some that were not.
func (m *mob) list(dice *rand.Rand) []lb.Member {
	n := m.sizes[dice.IntN(len(m.sizes))]
	list := make([]lb.Member, n)
	for i := range list {
		list[i] = lb.Member{
			ID: strconv.Itoa(i) + string(rune('a'+dice.IntN(2))), Weight: uint32(dice.IntN(4)),
			Zone: string(rune('a' + i%3)), Tier: i % 2, Limit: dice.IntN(4),
		}
	}
	return list
}

// use takes nodes, by Pick and by Wait, keeps a few, and gives them back.
func (m *mob) use(dice *rand.Rand) {
	var held []*lb.Node
	for !m.stop.Load() {
		a := &lb.Ask{Key: dice.Uint64N(50), Keyed: dice.IntN(3) > 0, Now: m.now()}
		for range min(dice.IntN(3), len(held)) {
			a.Tried = append(a.Tried, held[dice.IntN(len(held))])
		}
		if len(held) > 0 && dice.IntN(3) == 0 {
			a.Sticky = held[0]
		}
		n, how := m.choose(dice, a)
		if (n == nil) != (how >= lb.None) {
			m.t.Errorf("seed %d: %s", m.seed, naming(n, how))
		}
		if n != nil {
			held = append(held, n)
		}
		for len(held) > dice.IntN(5) {
			held[0].Observe(m.now(), time.Duration(dice.IntN(1e7)), lb.Outcome(dice.IntN(3)))
			held[0].End()
			held = held[1:]
		}
	}
	for _, n := range held {
		n.End()
	}
}

func (m *mob) choose(dice *rand.Rand, a *lb.Ask) (*lb.Node, lb.How) {
	if dice.IntN(2) == 0 {
		return m.pool.Pick(a)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Duration(dice.IntN(10))*time.Millisecond)
	defer cancel()
	return m.pool.Wait(ctx, a)
}

func (m *mob) change(dice *rand.Rand) {
	for !m.stop.Load() {
		nodes := m.pool.Nodes()
		m.mu.Lock()
		for _, n := range nodes {
			m.seen[n] = true
		}
		m.mu.Unlock()
		if dice.IntN(10) == 0 || len(nodes) == 0 {
			if err := m.pool.Update(m.options(dice), m.list(dice), m.now()); err != nil {
				m.t.Error(err)
			}
			continue
		}
		switch n := nodes[dice.IntN(len(nodes))]; dice.IntN(7) {
		case 0, 1:
			m.pool.Set(n, lb.Standing(dice.IntN(4)), m.now())
		case 2:
			m.pool.SetWeight(n, uint32(dice.IntN(5)), m.now())
		case 3:
			n.SetLimit(dice.IntN(4))
		case 4:
			n.Allow(dice.IntN(20) - 5)
		case 5:
			m.pool.Explain(&lb.Ask{Key: 3, Keyed: true, Now: m.now(), Sticky: n})
		case 6:
			pause()
		}
	}
}

// Whatever is done at the same time, it ends: no locks wait for each other, no
// request is counted twice, and the line is empty.
func TestEverythingAtOnce(t *testing.T) {
	for name, sizes := range map[string][]int{"few": {0, 1, 3, 20, 300}, "many": {1100, 3, 1400}} {
		t.Run(name, func(t *testing.T) {
			eachSeed(t, func(t *testing.T, seed uint64) {
				m := &mob{t: t, seed: seed, start: time.Now(), sizes: sizes, seen: map[*lb.Node]bool{}}
				var err error
				if m.pool, err = lb.New(m.options(newDice(seed)), m.list(newDice(seed)), 0); err != nil {
					t.Fatal(err)
				}
				for i := range uint64(6) {
					m.several.Go(func() { m.use(newDice(seed + i)) })
				}
				for i := range uint64(2) {
					m.several.Go(func() { m.change(newDice(seed + 100 + i)) })
				}
				<-time.After(150 * time.Millisecond)
				m.stop.Store(true)
				m.finish()
			})
		})
	}
}

func (m *mob) finish() {
	m.t.Helper()
	ended := make(chan struct{})
	go func() {
		m.several.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		m.t.Fatal("somebody waits for ever")
	}
	for _, n := range m.pool.Nodes() {
		m.seen[n] = true
	}
	for n := range m.seen {
		if n.InFlight() != 0 {
			m.t.Errorf("%s has %d in flight, want none", n.ID(), n.InFlight())
		}
	}
	if m.pool.InFlight() != 0 || m.pool.Waiting() != 0 {
		m.t.Errorf("%d in flight, %d wait", m.pool.InFlight(), m.pool.Waiting())
	}
}

// Where there are more places than requests, none is refused, however they race.
func TestNobodyIsRefusedWhereThereIsRoom(t *testing.T) {
	eachPolicy(t, nil, func(t *testing.T, policy lb.Policy) {
		p, err := lb.New(lb.Options{Policy: policy}, limited(32, 1), 0)
		if err != nil {
			t.Fatal(err)
		}
		var done sync.WaitGroup
		for hand := range 8 {
			done.Go(func() {
				for i := range 500 {
					n, how := p.Pick(&lb.Ask{Key: key(hand), Keyed: true, Now: time.Duration(i)})
					if n == nil {
						t.Errorf("8 of 32 places are taken at most: %v", how)
						return
					}
					n.End()
				}
			})
		}
		done.Wait()
		idle(t, p)
	})
}
