package hashing_test

import (
	"fmt"
	"testing"

	"viaduct/hashing"
)

func list(n int) []hashing.Member {
	m := make([]hashing.Member, n)
	for i := range m {
		m[i] = hashing.Member{ID: fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255), Weight: 1}
	}
	return m
}

// TestPicksAllocateNothing, however they find a node.
func TestPicksAllocateNothing(t *testing.T) {
	skipUnderRace(t)
	for _, n := range []int{64, 10_000} {
		m := list(n)
		nodes, inverse := columns(m)
		maglev, ring, key := hashing.NewMaglev(m), hashing.NewRing(m), uint64(0)
		for name, pick := range map[string]func(){
			"maglev": func() {
				for w := maglev.Walk(key); w.Next() >= 0; {
					key++
				}
			},
			"ring": func() {
				for w := ring.Walk(key); w.Next() >= 0; {
					key++
				}
			},
			"best":          func() { key += uint64(hashing.Best(nodes, nil, key)) },
			"weighted best": func() { key += uint64(hashing.Best(nodes, inverse, key)) },
			"contest": func() {
				c := hashing.NewContest(key)
				for _, node := range nodes {
					if !c.Loses(node, 1) && c.Takes(node, 1) {
						key++
					}
				}
			},
			"hash": func() { key = hashing.Combine(hashing.String(m[0].ID), key) },
		} {
			if a := testing.AllocsPerRun(100, pick); a > 0 {
				t.Errorf("%s of %d nodes: %v allocations", name, n, a)
			}
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	for _, n := range []int{64, 10_000} {
		m := list(n)
		g, r := hashing.NewMaglev(m), hashing.NewRing(m)
		b.Run(fmt.Sprintf("maglev/%d", n), func(b *testing.B) {
			key := uint64(0)
			for b.Loop() {
				w := g.Walk(key)
				key += 0x1234567812345679 + uint64(w.Next())
			}
		})
		b.Run(fmt.Sprintf("ring/%d", n), func(b *testing.B) {
			key := uint64(0)
			for b.Loop() {
				w := r.Walk(key)
				key += 0x1234567812345679 + uint64(w.Next())
			}
		})
	}
}

type entry struct {
	hash   uint64
	weight float64
	node   *int
}

func entries(n, kinds int) []entry {
	e := make([]entry, n)
	for i, m := range list(n) {
		e[i] = entry{hashing.String(m.ID), 1 + float64(i%kinds), nil}
	}
	return e
}

func BenchmarkBest(b *testing.B) {
	for _, c := range []struct{ n, kinds int }{{64, 1}, {64, 4}, {64, 64}, {10_000, 1}, {10_000, 4}} {
		var hashes []uint64
		var inverse []float64
		for _, e := range entries(c.n, c.kinds) {
			hashes = append(hashes, e.hash)
			if c.kinds > 1 {
				inverse = append(inverse, 1/e.weight)
			}
		}
		b.Run(fmt.Sprintf("nodes=%d/weights=%d", c.n, c.kinds), func(b *testing.B) {
			key := uint64(0)
			for b.Loop() {
				key += 0x1234567812345679 + uint64(hashing.Best(hashes, inverse, key))
			}
		})
	}
}

func BenchmarkContest(b *testing.B) {
	for _, c := range []struct{ n, kinds int }{{64, 1}, {64, 4}, {64, 64}, {10_000, 1}} {
		e := entries(c.n, c.kinds)
		b.Run(fmt.Sprintf("nodes=%d/weights=%d", c.n, c.kinds), func(b *testing.B) {
			key := uint64(0)
			for b.Loop() {
				c, best := hashing.NewContest(key), -1
				for i := range e {
					n := &e[i]
					if !c.Loses(n.hash, n.weight) && c.Takes(n.hash, n.weight) {
						best = i
					}
				}
				key += 0x1234567812345679 + uint64(best)
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		m := list(n)
		skewed := list(n)
		skewed[n/2].Weight = 1 << 30
		b.Run(fmt.Sprintf("maglev/%d", n), func(b *testing.B) {
			for b.Loop() {
				hashing.NewMaglev(m)
			}
		})
		b.Run(fmt.Sprintf("skewed-maglev/%d", n), func(b *testing.B) {
			for b.Loop() {
				hashing.NewMaglev(skewed)
			}
		})
		b.Run(fmt.Sprintf("ring/%d", n), func(b *testing.B) {
			for b.Loop() {
				hashing.NewRing(m)
			}
		})
		b.Run(fmt.Sprintf("subset/%d", n), func(b *testing.B) {
			for b.Loop() {
				hashing.Subset(m, 7, 25)
			}
		})
	}
}
