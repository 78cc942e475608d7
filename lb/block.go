package lb

import (
	"math"
	"sync/atomic"
)

// mostScan is the largest set that is looked at whole for the fewest requests.
const mostScan = 256

// fewest is the slot with the fewest requests in flight for its weight. One that
// has none is as good as any, and is drawn by weight.
func (s *set) fewest(d *draw) *slot {
	if t := &s.slots[s.draw(d.o.Rand())]; t.n.flying.Load() == 0 && d.free(t.n) {
		return t
	}
	if s.blocks == nil || len(d.ask.Tried) > 0 {
		return s.scan(d)
	}
	at := int(d.o.Rand() % uint64(len(s.blocks)))
	for range s.blocks { // each look raises what one block is known to have at least
		low, next := s.lowest(at)
		found, score := low.look(d)
		if found != nil && (score <= next || d.dry) {
			return found
		}
	}
	return s.scan(d)
}

// lowest is the block that may hold the least loaded node, and what the others
// hold at least. It begins anywhere, so that equals take turns.
func (s *set) lowest(at int) (low *block, next float32) {
	least := float32(math.MaxFloat32)
	next = math.MaxFloat32
	for range s.blocks {
		if at++; at >= len(s.blocks) {
			at = 0
		}
		b := s.blocks[at]
		switch m := b.least(); {
		case low == nil || m < least:
			if low != nil {
				next = min(next, least)
			}
			low, least = b, m
		default:
			next = min(next, m)
		}
	}
	return low, next
}

// loadScore is a load in 32 bits, since a block keeps it in half a word.
func loadScore(flying int64, weight float64) float32 {
	if weight == 0 {
		return math.MaxFloat32
	}
	return float32(load(flying, weight))
}

// block is a part of a large set, with a number that no node in it has a lower
// score than. An end of a request lowers it at once; who looks at all of the
// block raises it, if no request ended meanwhile.
type block struct {
	word  atomic.Uint64 // ends, in 32 bits, and the number
	slots []slot
	_     [32]byte
}

// blockSize is how many nodes are in a block.
const blockSize = 128

func newBlocks(slots []slot) []*block {
	var list []*block
	for len(slots) > 0 {
		n := min(blockSize, len(slots))
		list = append(list, &block{slots: slots[:n:n]})
		slots = slots[n:]
	}
	return list
}

func (b *block) least() float32 { return math.Float32frombits(uint32(b.word.Load())) }

// lower tells that a node of the block has a score now.
func (b *block) lower(score float32) {
	for {
		was := b.word.Load()
		least := min(score, math.Float32frombits(uint32(was)))
		if b.word.CompareAndSwap(was, (was>>32+1)<<32|uint64(math.Float32bits(least))) {
			return
		}
	}
}

// look finds the best slot of the block that takes the request.
func (b *block) look(d *draw) (*slot, float32) {
	word := b.word.Load()
	least := float32(math.MaxFloat32)
	var best *slot
	at := int(d.o.Rand() % uint64(len(b.slots)))
	for range b.slots {
		if at++; at >= len(b.slots) {
			at = 0
		}
		s := &b.slots[at]
		if score := loadScore(s.n.flying.Load(), s.w); score < least && d.free(s.n) {
			best, least = s, score
		}
	}
	if !d.dry {
		b.word.CompareAndSwap(word, word>>32<<32|uint64(math.Float32bits(least)))
	}
	return best, least
}
