package wire

import "viaduct/stock"

// BufferSize holds nearly every head with a small body behind it. A buffer is
// taken when bytes are there to be read, and given back when none are left.
const BufferSize = 32 << 10

// Buffer is a pooled run of bytes to append to.
type Buffer struct{ B []byte }

// buffers keeps what is given back. It is not a sync.Pool, which the garbage
// collector empties: buffers are most of the heap, so that every collection
// would make new ones, and these bring the next collection nearer.
var buffers stock.Of[Buffer]

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
