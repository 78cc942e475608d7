package rest_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"viaduct/rest"
)

// model is the table as one would write it without a thought of its cost.
type model struct {
	base, most time.Duration
	size       int
	pairs      []modelPair // by their last rest
}

type modelPair struct {
	to    rest.Destination
	way   int
	until time.Duration
	times int
}

func (m *model) at(to rest.Destination, way int) int {
	return slices.IndexFunc(m.pairs, func(p modelPair) bool { return p.to == to && p.way == way })
}

func (m *model) rests(to rest.Destination, way int, now time.Duration) bool {
	return slices.ContainsFunc(m.pairs, func(p modelPair) bool {
		return p.way == way && now < p.until && (p.to == to || p.to == everywhere)
	})
}

func (m *model) rest(to rest.Destination, way int, now, least time.Duration) {
	p := modelPair{to: to, way: way}
	if i := m.at(to, way); i >= 0 {
		p = m.pairs[i]
		m.pairs = slices.Delete(m.pairs, i, i+1)
	}
	if now-p.until >= m.most {
		p.times = 0
	}
	d := least
	if now >= p.until {
		p.times++
		d = max(least, min(m.most, m.base*time.Duration(p.times)))
	}
	p.until = max(p.until, now+d)
	m.pairs = append(m.pairs, p)
	for i := 0; to != everywhere && m.counted() > m.size; {
		if m.pairs[i].to == everywhere {
			i++
			continue
		}
		m.pairs = slices.Delete(m.pairs, i, i+1)
	}
}

func (m *model) counted() (n int) {
	for _, p := range m.pairs {
		if p.to != everywhere {
			n++
		}
	}
	return n
}

// forget drops what the table may have dropped to make room: pairs that say
// nothing any more, as long as none that does is older.
func (m *model) forget(now time.Duration) {
	stop := false
	m.pairs = slices.DeleteFunc(m.pairs, func(p modelPair) bool {
		if p.to == everywhere {
			return now-p.until >= m.most
		}
		stop = stop || now-p.until < m.most
		return !stop
	})
}

func (m *model) drop(is func(modelPair) bool) { m.pairs = slices.DeleteFunc(m.pairs, is) }

const ways = 4

// destination is one of a few, now and then everywhere.
func destination(r *rand.Rand) rest.Destination {
	if r.IntN(12) == 0 {
		return everywhere
	}
	return rest.Destination{Host: strconv.Itoa(r.IntN(5)), Port: uint16(r.IntN(2))}
}

// TestTableIsTheModel does the same to both, and compares all they say.
func TestTableIsTheModel(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4, 5, 6, 7, 8, rand.Uint64()} {
		r := rand.New(rand.NewPCG(seed, 0))
		m := &model{base: time.Second, most: 5 * time.Second, size: 3 + r.IntN(30)}
		table := &rest.Table[int]{Base: m.base, Most: m.most, Size: m.size}
		now := time.Hour
		for step := range 2000 {
			// Clocks of goroutines differ a little.
			now += time.Duration(r.Int64N(int64(300*time.Millisecond))) - 20*time.Millisecond
			to, way := destination(r), r.IntN(ways)
			switch n := r.IntN(100); {
			case n < 55:
				least := time.Duration(r.IntN(4)-1) * time.Duration(r.Int64N(int64(4*time.Second)))
				m.forget(now)
				m.rest(to, way, now, least)
				table.Rest(to, way, now, least)
			case n < 65:
				m.drop(func(p modelPair) bool { return p.to == to && p.way == way })
				table.Well(to, way, now)
			case n < 67:
				m.drop(func(p modelPair) bool { return p.way == way })
				table.Forget(way)
			case n < 68:
				now += time.Duration(r.Int64N(int64(20 * time.Second)))
			}
			if !agree(t, m, table, now) {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

func agree(t *testing.T, m *model, table *rest.Table[int], now time.Duration) bool {
	t.Helper()
	ok := true
	for host := range 6 {
		for port := range uint16(2) {
			to := rest.Destination{Host: strconv.Itoa(host), Port: port}
			if host == 5 {
				to = everywhere
			}
			var want []int
			for way := range ways {
				rests := m.rests(to, way, now)
				if rests {
					want = append(want, way)
				}
				if table.Rests(to, way, now) != rests {
					t.Errorf("way %d to %v rests: want %v", way, to, rests)
					ok = false
				}
			}
			got := table.Resting(to, now, nil)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%v rest to %v, want %v", got, to, want)
				ok = false
			}
		}
	}
	for way := range ways {
		destinations, all := 0, false
		for _, p := range m.pairs {
			if p.way == way && now < p.until {
				if p.to == everywhere {
					all = true
				} else {
					destinations++
				}
			}
		}
		if n, isAll := table.Count(way, now); n != destinations || isAll != all {
			t.Errorf("way %d rests for %d, %v, want %d, %v", way, n, isAll, destinations, all)
			ok = false
		}
	}
	return ok
}
