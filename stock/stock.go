// Package stock keeps things that are used again, without a lock.
package stock

import "sync/atomic"

// size is how many things a stock holds.
const size = 256

// Of is a stock of things. One is put into an empty slot, and belongs to whoever
// swaps it out. The slot used last is tried first, so that the same few stay in use.
// The zero value is empty.
type Of[T any] struct {
	n    atomic.Int32
	last atomic.Uint32 // where to look first
	slot [size]atomic.Pointer[T]
}

// Put adds a thing, and tells whether there was room.
func (s *Of[T]) Put(p *T) bool {
	if s.n.Load() >= size {
		return false
	}
	last := s.last.Load()
	for k := range uint32(size) {
		i := (last + 1 + k) % size
		if s.slot[i].Load() == nil && s.slot[i].CompareAndSwap(nil, p) {
			s.n.Add(1)
			s.last.Store(i)
			return true
		}
	}
	return false
}

// Take removes the thing that was put last, more or less; nil when there is
// none.
func (s *Of[T]) Take() *T {
	if s.n.Load() <= 0 {
		return nil
	}
	last := s.last.Load()
	for k := range uint32(size) {
		i := (last - k) % size
		p := s.slot[i].Load()
		if p != nil && s.slot[i].CompareAndSwap(p, nil) {
			s.n.Add(-1)
			s.last.Store((i - 1) % size)
			return p
		}
	}
	return nil
}

// Remove removes this very thing, and tells whether it was there.
func (s *Of[T]) Remove(p *T) bool {
	for i := range s.slot {
		if s.slot[i].CompareAndSwap(p, nil) {
			s.n.Add(-1)
			return true
		}
	}
	return false
}
