package wire

import "sync"

// BufferSize holds nearly every head with a small body behind it. A buffer is
// taken when bytes are there to be read, and given back when none are left.
const BufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return &Buffer{B: make([]byte, 0, BufferSize)} }}

// Buffer is a pooled run of bytes to append to.
type Buffer struct{ B []byte }

// GetBuffer takes an empty buffer with room for BufferSize bytes.
func GetBuffer() *Buffer { return buffers.Get().(*Buffer) }

// Free gives a buffer back. The slice that was taken from it must not be used
// afterwards. A buffer that has grown is left to the garbage collector.
func (b *Buffer) Free() {
	if cap(b.B) != BufferSize {
		return
	}
	b.B = b.B[:0]
	buffers.Put(b)
}
