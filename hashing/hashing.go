// Package hashing tells which node a key belongs to, so that every proxy with
// the same list of nodes gives the same answer, and a list that changes a little
// moves few keys.
//
// Three ways are here. Rendezvous (Score, Best, Contest) asks every node and
// needs no table. Maglev and Ring are tables, made of the full list: who finds a
// node sick walks on from it instead of making another table, so that only the
// keys of that node move, and return when it is well. All of it depends on the
// IDs and the weights alone, not on the order of the list, the machine or the
// version of the program. Everything may be used by any number of goroutines at
// once, save a Walk and a Contest, which belong to one.
package hashing

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Member is a node of a list.
type Member struct {
	ID     string // what the node is called, not where it is; one of its kind in the list
	Weight uint32 // its share of the keys, beside the other weights; 0: none
}

// String is the hash of s: XXH64.
func String(s string) uint64 { return xxhash.Sum64String(s) }

// Bytes is the hash of b, the same as that of a string.
func Bytes(b []byte) uint64 { return xxhash.Sum64(b) }

// Combine makes one key of two, of which the order matters. What has more parts
// is combined from the first to the last.
func Combine(a, b uint64) uint64 { return bits.RotateLeft64(a, 1) ^ b }

// golden is 2^64 divided by the golden ratio: its multiples lie far apart.
const golden = 0x9e3779b97f4a7c15

// Mix turns each number into another one, in which every bit depends on all of
// those of x (the finalizer of SplitMix64).
func Mix(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Unit makes of the high 52 bits of x a number between 0 and 1, and never one of
// the two. Unit(^x) is exactly 1 - Unit(x).
func Unit(x uint64) float64 { return float64(int64(x>>11|1)) * 0x1p-53 }

// below brings x, any number, below n with equal chances.
func below(x uint64, n int) int {
	high, _ := bits.Mul64(x, uint64(n))
	return int(high)
}

// player is a member with weight.
type player struct {
	index  int // in the list as given
	hash   uint64
	weight uint64
}

// players are the members with weight in the order of their IDs.
func players(m []Member) []player {
	list := make([]player, 0, len(m))
	for i, one := range m {
		if one.Weight > 0 {
			list = append(list, player{i, String(one.ID), uint64(one.Weight)})
		}
	}
	slices.SortFunc(list, func(a, b player) int {
		return cmp.Or(cmp.Compare(m[a.index].ID, m[b.index].ID), cmp.Compare(a.weight, b.weight))
	})
	return list
}

// patience is how many steps a Walk takes.
const patience = 16

// Walk is the way of one key through a table. Its zero value is at its end.
type Walk struct {
	maglev *Maglev // or
	ring   *Ring
	at     uint64 // of a Maglev the next probe, of a Ring the next point
	left   uint8
}

// Next returns the index of a node in the list that the table was made of: that
// to which the key belongs, then those to which it goes when it cannot go there.
// It may name a node again. It returns -1 when it has tried for long enough, or
// no member has weight: hold a Contest of those that are left then.
func (w *Walk) Next() int {
	if w.left == 0 {
		return -1
	}
	w.left--
	if w.ring != nil {
		return w.ring.next(&w.at)
	}
	return w.maglev.next(&w.at)
}
