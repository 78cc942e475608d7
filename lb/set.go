package lb

import (
	"math/bits"

	"viaduct/turn"
)

// set is what one choice is made from.
type set struct {
	slots  []slot
	total  float64     // of the weights
	alias  *turn.Alias // nil where weights are equal
	blocks []*block

	hashes  []uint64 // for rendezvous
	inverse []float64
}

// slot is a node of a set, with its weight as it was when the set was made.
type slot struct {
	n *Node
	w float64
}

func newSet(slots []slot, policy Policy) set {
	s := set{slots: slots}
	equal := true
	for i := range slots {
		s.total += slots[i].w
		equal = equal && slots[i].w == slots[0].w
	}
	if !equal {
		s.alias = turn.NewAlias(weights(slots))
	}
	if policy.Keyed() {
		s.hashed(equal)
	}
	return s
}

func (s *set) hashed(equal bool) {
	s.hashes = make([]uint64, len(s.slots))
	for i := range s.slots {
		s.hashes[i] = s.slots[i].n.hash
	}
	if equal {
		return
	}
	s.inverse = make([]float64, len(s.slots))
	for i := range s.slots {
		s.inverse[i] = 1 / s.slots[i].w
	}
}

func weights(slots []slot) []uint32 {
	list := make([]uint32, len(slots))
	for i := range slots {
		list[i] = uint32(slots[i].w)
	}
	return list
}

// draw makes a place of a random number, by weight.
func (s *set) draw(random uint64) int {
	if s.alias != nil {
		return s.alias.Draw(random)
	}
	i, _ := bits.Mul64(random, uint64(len(s.slots)))
	return int(i)
}

// two draws two places that differ. There must be two.
func (s *set) two(random func() uint64) (int, int) {
	i := s.draw(random())
	if s.alias != nil {
		for range 4 {
			if j := s.draw(random()); j != i {
				return i, j
			}
		}
	}
	j, _ := bits.Mul64(random(), uint64(len(s.slots)-1))
	if int(j) >= i {
		j++
	}
	return i, int(j)
}
