package hashing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"viaduct/hashing"
)

// seeded runs a test of a law with a fixed seed, and with a new one each time.
func seeded(t *testing.T, law func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	for _, seed := range []uint64{1, rand.Uint64()} {
		t.Logf("seed %d", seed)
		law(t, rand.New(rand.NewPCG(seed, 0)))
	}
}

// named is a list of n nodes of the same weight, with names of their own.
func named(r *rand.Rand, n int) []hashing.Member {
	list := make([]hashing.Member, n)
	for i := range list {
		list[i] = hashing.Member{ID: fmt.Sprintf("node-%x-%d", r.Uint64(), i), Weight: 1}
	}
	return list
}

// weighed gives each node a weight between 1 and most.
func weighed(r *rand.Rand, list []hashing.Member, most int) []hashing.Member {
	for i := range list {
		list[i].Weight = uint32(1 + r.IntN(most))
	}
	return list
}

func keys(r *rand.Rand, n int) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = r.Uint64()
	}
	return list
}

func shuffled(r *rand.Rand, list []hashing.Member) []hashing.Member {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func without(list []hashing.Member, i int) []hashing.Member {
	return slices.Delete(slices.Clone(list), i, i+1)
}

// way is one of the ways to find the node of a key. build prepares it for a
// list; what it returns gives an index of that list, or -1.
type way struct {
	name  string
	build func([]hashing.Member) func(key uint64) int
}

// What the first version gave.
const pinnedScore = 15.276602570873333

var pinnedHomes = map[string]uint64{"maglev": 0x3ae99fe877c8784f, "ring": 0xf710e0bc93f20f60, "rendezvous": 0xed93e19dfb6df1f}

var ways = []way{
	{"maglev", func(m []hashing.Member) func(uint64) int {
		t := hashing.NewMaglev(m)
		return func(key uint64) int { w := t.Walk(key); return w.Next() }
	}},
	{"ring", func(m []hashing.Member) func(uint64) int {
		t := hashing.NewRing(m)
		return func(key uint64) int { w := t.Walk(key); return w.Next() }
	}},
	{"rendezvous", func(m []hashing.Member) func(uint64) int {
		nodes, inverse := columns(m)
		return func(key uint64) int { return hashing.Best(nodes, inverse, key) }
	}},
}

// columns are what Best takes.
func columns(m []hashing.Member) (nodes []uint64, inverse []float64) {
	for _, one := range m {
		nodes = append(nodes, hashing.String(one.ID))
		inverse = append(inverse, 1/float64(one.Weight))
	}
	return nodes, inverse
}

// homes are the IDs of the nodes that the keys belong to.
func (w way) homes(m []hashing.Member, keys []uint64) []string {
	home := w.build(m)
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = m[home(key)].ID
	}
	return ids
}

func count(ids []string) map[string]int {
	n := make(map[string]int)
	for _, id := range ids {
		n[id]++
	}
	return n
}

// differ counts the keys that have another home.
func differ(a, b []string) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// TestHashesStay: other proxies, and tables kept by other versions, have the
// same ones.
func TestHashesStay(t *testing.T) {
	for _, c := range []struct {
		what      string
		got, want uint64
	}{
		{"the empty string", hashing.String(""), 0xef46db3751d8e999}, // of XXH64's own test vectors
		{"a", hashing.String("a"), 0xd24ec4f1a98c6e5b},
		{"abc", hashing.String("abc"), 0x44bc2cf5ad770999},
		{"bytes", hashing.Bytes([]byte("abc")), 0x44bc2cf5ad770999},
		{"no bytes", hashing.Bytes(nil), 0xef46db3751d8e999},
		{"mix", hashing.Mix(0), 0xe220a8397b1dcdaf}, // SplitMix64, seed 0
		{"mix again", hashing.Mix(0x9e3779b97f4a7c15), 0x6e789e6aa1b965f4},
		{"combine", hashing.Combine(1<<63|1, 4), 7},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#x, want %#x", c.what, c.got, c.want)
		}
	}
	if s := hashing.Score(hashing.String("a"), hashing.String("b"), 3); math.Abs(s-pinnedScore) > 1e-12 {
		t.Errorf("a score is %v, want %v", s, pinnedScore)
	}
}

// TestHomesStay pins the tables: a proxy of another version serves the same
// keys.
func TestHomesStay(t *testing.T) {
	m := make([]hashing.Member, 20)
	for i := range m {
		m[i] = hashing.Member{ID: fmt.Sprintf("10.0.0.%d:80", i), Weight: uint32(1 + i%3)}
	}
	for _, w := range ways {
		home, sum := w.build(m), uint64(0)
		for key := range uint64(10_000) {
			sum = hashing.Mix(sum + uint64(home(key)))
		}
		if sum != pinnedHomes[w.name] {
			t.Errorf("%s: other homes than those of former versions (%#x)", w.name, sum)
		}
	}
}

func TestCombineKnowsTheOrder(t *testing.T) {
	a, b := hashing.String("a"), hashing.String("b")
	if hashing.Combine(a, b) == hashing.Combine(b, a) {
		t.Error("two parts in another order are the same key")
	}
}

func TestUnitIsInside(t *testing.T) {
	for _, x := range []uint64{0, 1, 1 << 11, 1 << 12, 1<<63 - 1, 1 << 63, math.MaxUint64 - 1<<11, math.MaxUint64} {
		u := hashing.Unit(x)
		if u <= 0 || u >= 1 {
			t.Errorf("%#x: %v", x, u)
		}
		if 1-u != hashing.Unit(^x) {
			t.Errorf("%#x: %v and %v make no 1", x, u, hashing.Unit(^x))
		}
	}
}

// TestMixHidesPatterns: small numbers and single bits are as good as hashes.
func TestMixHidesPatterns(t *testing.T) {
	seeded(t, func(t *testing.T, r *rand.Rand) {
		const samples = 4000
		for in := range 64 {
			var flips [64]int
			for range samples {
				x := r.Uint64()
				for d, out := hashing.Mix(x)^hashing.Mix(x^1<<in), 0; out < 64; out++ {
					flips[out] += int(d >> out & 1)
				}
			}
			for out, n := range flips {
				// Seven standard deviations: 4,096 pairs fail once in 10^8 runs.
				if math.Abs(float64(n)-samples/2) > 7*math.Sqrt(samples)/2 {
					t.Errorf("bit %d flips bit %d %d times in %d", in, out, n, samples)
				}
			}
		}
	})
}
