package hashing

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// die is what the nodes throw for a key: a product of two halves, folded, is as
// good as Mix when both come from Mix, and half the work.
type die struct{ key, factor uint64 }

func dieOf(key uint64) die {
	key = Mix(key)
	return die{key, Mix(key) | 1}
}

// bits are a node's throw, the lower the better.
func (d die) bits(node uint64) uint64 {
	high, low := bits.Mul64(node^d.key, d.factor)
	return high ^ low
}

// draw is a node's throw as a number between 0 and 1.
func (d die) draw(node uint64) float64 { return Unit(d.bits(node)) }

// Score is what a node, by the hash of its ID, bids for a key: the node with the
// highest score has it, and with weights in any scale each node has its share of
// the keys (weighted rendezvous). It is above 0; of a weight that is not, it is
// 0, which is no bid. To find the highest of many, Best and Contest are faster.
func Score(node, key uint64, weight float64) float64 {
	if !(weight > 0) {
		return 0
	}
	return score(dieOf(key).draw(node), weight)
}

func score(draw, weight float64) float64 { return -weight / math.Log(1-draw) }

// Best is the index of the node with the highest Score for a key, from the
// hashes of the IDs and the inverse weights of all nodes; nil is the same weight
// for all. An infinite inverse is no weight. Without nodes that have weight it
// is -1.
func Best(nodes []uint64, inverse []float64, key uint64) int {
	if len(nodes) == 0 {
		return -1
	}
	// The index stands in the low bits, so that one comparison, and no branch
	// that the processor could not foresee, finds both.
	index := uint64(1)<<bits.Len(uint(len(nodes)-1)) - 1
	d := dieOf(key)
	if inverse != nil {
		return d.best(nodes, inverse, index)
	}
	best := uint64(math.MaxUint64)
	for i, node := range nodes {
		best = min(best, d.bits(node)&^index|uint64(i))
	}
	return int(best & index)
}

// best compares draws as they are, though the law is about their logarithms:
// the winner is right if the second is not near.
func (d die) best(nodes []uint64, inverse []float64, index uint64) int {
	inverse = inverse[:len(nodes)]
	first, second := uint64(math.MaxUint64), uint64(math.MaxUint64)
	for i, node := range nodes {
		// Numbers above 0 are in the order of their bits.
		x := math.Float64bits(d.draw(node)*inverse[i])&^index | uint64(i)
		first, second = min(first, x), min(second, max(first, x))
	}
	if first >= math.Float64bits(math.Inf(1)) {
		return -1
	}
	i := int(first & index)
	if math.Float64frombits(second&^index) > most(d.draw(nodes[i]))*inverse[i] {
		return i
	}
	c := Contest{die: d, most: 1}
	for j, node := range nodes {
		if weight := 1 / inverse[j]; !c.Loses(node, weight) && c.Takes(node, weight) {
			i = j
		}
	}
	return i
}

// Contest finds the node with the highest Score for a key, of those that are
// willing, with hardly a logarithm:
//
//	c, best := hashing.NewContest(key), -1
//	for i, n := range nodes {
//		if !c.Loses(n.hash, n.weight) && n.free() && c.Takes(n.hash, n.weight) {
//			best = i
//		}
//	}
type Contest struct {
	die          die
	draw, weight float64 // of the leader
	most         float64 // no less than -ln(1-draw), and near
}

// NewContest begins a contest for a key. Nobody leads.
func NewContest(key uint64) Contest { return Contest{die: dieOf(key), most: 1} }

// Loses is a quick look at a node, as one for which Takes is false. If it is
// false itself, nothing is said.
func (c *Contest) Loses(node uint64, weight float64) bool {
	// -ln(1-d) is never less than d: who loses by that loses.
	return c.die.draw(node)*c.weight >= c.most*weight
}

// Takes tells whether a node has a higher score than the leader, whom it
// replaces then. A node without weight never does.
func (c *Contest) Takes(node uint64, weight float64) bool {
	d := c.die.draw(node)
	if !(weight > 0) || c.weight > 0 && !c.ahead(d, weight) {
		return false
	}
	c.draw, c.weight, c.most = d, weight, most(d)
	return true
}

// ahead compares with the leader, by logarithms only if nothing else decides.
func (c *Contest) ahead(d, weight float64) bool {
	if weight == c.weight {
		return d < c.draw
	}
	if most(d)*c.weight < c.draw*weight {
		return true
	}
	return score(d, weight) > score(c.draw, c.weight)
}

// most is above -ln(1-d), whose series begins with the same two terms.
func most(d float64) float64 { return d + d*d/(2*(1-d)) }

// Subset chooses k of the members with weight by the seed of who asks, and
// returns their indexes in ascending order; without k, or with fewer members
// than that, all of them. Each member has the same chance, whatever its weight.
// One member more or less changes one choice at most.
func Subset(m []Member, seed uint64, k int) []int {
	list := players(m)
	if k > 0 && k < len(list) {
		d := dieOf(seed)
		// Stable: of two equal throws that of the lower ID is the first.
		slices.SortStableFunc(list, func(a, b player) int {
			return cmp.Compare(d.bits(a.hash), d.bits(b.hash))
		})
		list = list[:k]
	}
	chosen := make([]int, len(list))
	for i, p := range list {
		chosen[i] = p.index
	}
	slices.Sort(chosen)
	return chosen
}
