package hashing

import (
	"math/bits"
	"slices"
)

const (
	points     = 160       // of a node with the average weight
	mostPoints = 1_600_000 // of all nodes together: what 10,000 have
	ownerBits  = 24        // of a point; the others are its place
	crowd      = 4         // points in a section, on average and at most
)

// Ring is a circle with points on it, each of which belongs to a node; a key
// belongs to the node of the first point from its place on, and goes from there
// to the following points. A node that is passed over leaves its keys to those
// who would have them without it. The nil Ring has no nodes.
type Ring struct {
	points   []uint64 // ascending by place, which is in the high bits; the low ones are the index of the owner
	sections []int32  // equal parts of the circle, by how many points are before each; and the end
	shift    uint     // of a place to its section
}

// NewRing makes a ring of the members with weight; of more than 16,777,216, it
// takes those with the lowest indexes.
func NewRing(m []Member) *Ring {
	list := players(m[:min(len(m), 1<<ownerBits)])
	if len(list) == 0 {
		return &Ring{}
	}
	counts, total := shares(list)
	sections := max(1, bits.Len(uint(total/crowd)))
	r := &Ring{points: make([]uint64, total), sections: make([]int32, 1<<sections+1), shift: uint(64 - sections)}
	r.place(list, counts)
	r.sort()
	// What has the same place is in the order of the IDs by now.
	for i, p := range r.points {
		r.points[i] = p&^(1<<ownerBits-1) | uint64(list[p&(1<<ownerBits-1)].index)
	}
	return r
}

// shares says how many points each player has: one at least, and the average
// weight points. All of it in integers, so that the scale of weights is nothing.
func shares(list []player) (counts []int, total int) {
	var sum uint64
	for _, p := range list {
		sum += p.weight
	}
	all := uint64(min(points*len(list), mostPoints))
	counts = make([]int, len(list))
	for i, p := range list {
		counts[i] = max(1, int((p.weight*all+sum/2)/sum))
		total += counts[i]
	}
	return counts, total
}

// point is the place of the n-th point of a player.
func point(p player, n int) uint64 { return Mix(p.hash + uint64(n)*golden) }

// place puts the points into their sections, in order of players there.
func (r *Ring) place(list []player, counts []int) {
	for i, p := range list {
		for n := range counts[i] {
			r.sections[point(p, n)>>r.shift]++
		}
	}
	before := int32(0)
	for i, n := range r.sections {
		before += n
		r.sections[i] = before
	}
	// Backwards: each count is the end of its section, and becomes its start.
	for i, p := range slices.Backward(list) {
		for n := range counts[i] {
			at := point(p, n)
			section := &r.sections[at>>r.shift]
			*section--
			r.points[*section] = at&^(1<<ownerBits-1) | uint64(i)
		}
	}
}

// sort brings the points into order: sections are short, and most of the order
// is there.
func (r *Ring) sort() {
	for i := 1; i < len(r.points); i++ {
		p := r.points[i]
		j := i
		for ; j > 0 && r.points[j-1] > p; j-- {
			r.points[j] = r.points[j-1]
		}
		r.points[j] = p
	}
}

// Walk begins the way of a key: home, then along the ring.
func (r *Ring) Walk(key uint64) Walk {
	if r == nil || len(r.points) == 0 {
		return Walk{}
	}
	place := Mix(key)
	at := int(r.sections[place>>r.shift])
	for place &^= 1<<ownerBits - 1; at < len(r.points) && r.points[at] < place; at++ {
	}
	return Walk{ring: r, at: uint64(at), left: patience}
}

func (r *Ring) next(at *uint64) int {
	i := *at
	if i >= uint64(len(r.points)) {
		i = 0
	}
	*at = i + 1
	return int(r.points[i] & (1<<ownerBits - 1))
}
