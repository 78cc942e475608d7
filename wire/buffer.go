package wire

import "sync/atomic"

// BufferSize holds nearly every head with a small body behind it. A buffer is
// taken when bytes are there to be read, and given back when none are left.
const BufferSize = 32 << 10

// Buffer is a pooled run of bytes to append to.
type Buffer struct{ B []byte }

// buffers keeps what is given back. It is not a sync.Pool, which the garbage
// collector empties: buffers are most of the heap, so that every collection
// would make new ones, and these bring the next collection nearer.
var buffers Stock[Buffer]

// NewBuffer takes an empty buffer with room for BufferSize bytes.
func NewBuffer() *Buffer {
	if b := buffers.Take(); b != nil {
		return b
	}
	return &Buffer{B: make([]byte, 0, BufferSize)}
}

// Free gives a buffer back. The slice that was taken from it must not be used
// afterwards. A buffer that has grown is left to the garbage collector.
func (b *Buffer) Free() {
	if cap(b.B) != BufferSize {
		return
	}
	b.B = b.B[:0]
	buffers.Put(b)
}

// stockSize is how many things a Stock holds.
const stockSize = 256

// Stock keeps things that are used again, without a lock: one is put into an
// empty slot, and belongs to whoever swaps it out. The slot used last is tried
// first, so that the same few stay in use. The zero value is empty.
type Stock[T any] struct {
	n    atomic.Int32
	last atomic.Uint32 // where to look first
	slot [stockSize]atomic.Pointer[T]
}

// Put adds a thing, and tells whether there was room.
func (s *Stock[T]) Put(p *T) bool {
	if s.n.Load() >= stockSize {
		return false
	}
	last := s.last.Load()
	for k := range uint32(stockSize) {
		i := (last + 1 + k) % stockSize
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
func (s *Stock[T]) Take() *T {
	if s.n.Load() <= 0 {
		return nil
	}
	last := s.last.Load()
	for k := range uint32(stockSize) {
		i := (last - k) % stockSize
		p := s.slot[i].Load()
		if p != nil && s.slot[i].CompareAndSwap(p, nil) {
			s.n.Add(-1)
			s.last.Store((i - 1) % stockSize)
			return p
		}
	}
	return nil
}

// Remove removes this very thing, and tells whether it was there.
func (s *Stock[T]) Remove(p *T) bool {
	for i := range s.slot {
		if s.slot[i].CompareAndSwap(p, nil) {
			s.n.Add(-1)
			return true
		}
	}
	return false
}
