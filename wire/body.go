package wire

import (
	"bytes"
	"io"
	"strconv"

	"viaduct/fault"
)

// framing is how the end of a body is found (RFC 9112 section 6.3).
type framing uint8

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// What the decoder of a chunked body expects next.
const (
	chunkSize uint8 = iota
	chunkData
	chunkEnd
	chunkTrailer
)

// Bounds of what stands around the data of a chunked body. Extensions mean
// nothing here and are dropped, but a body of little else is an attack
// (CVE-2023-39326).
const (
	maxChunkLine  = 1 << 10
	maxExtensions = 16 << 10
	maxTrailer    = 16 << 10
)

// body is the state of the message body that is being read from a connection.
type body struct {
	framing framing
	phase   uint8
	done    bool
	left    int64 // of the body, or of the chunk
	extra   int   // bytes of chunk extensions in excess of data
	trailer *Head
}

func requestBody(h *Head) body {
	switch {
	case h.Chunked:
		return body{framing: byChunks}
	case h.Length > 0:
		return body{framing: byLength, left: h.Length}
	}
	return body{done: true}
}

func responseBody(h *Head) body {
	if !h.Chunked && h.Length < 0 {
		return body{framing: byClose}
	}
	return requestBody(h)
}

// BodyDone tells whether the body of the last message read is used up.
func (c *Conn) BodyDone() bool { return c.body.done }

// BodyLeft is how many bytes of the body, or of its present chunk, are known
// to come before the next decision: they may be moved past the engine. It is 0
// where bytes are buffered, or where the length is not known.
func (c *Conn) BodyLeft() int64 {
	b := &c.body
	if b.done || c.Buffered() > 0 || b.framing == byChunks && b.phase != chunkData {
		return 0
	}
	return b.left
}

// WholeBody returns the body, without using it up, if its length is known and
// all of it has come already. SkipBody uses it up.
func (c *Conn) WholeBody() (p []byte, ok bool) {
	b := &c.body
	switch {
	case b.done:
		return nil, true
	case b.framing != byLength || int64(c.Buffered()) < b.left:
		return nil, false
	}
	return c.in.B[c.r : c.r+int(b.left)], true
}

// SkipBody uses up what WholeBody returned.
func (c *Conn) SkipBody() {
	if !c.body.done {
		c.take()
	}
}

// Moved says that n bytes of BodyLeft were moved past the engine.
func (c *Conn) Moved(n int64) {
	b := &c.body
	b.left -= n
	switch {
	case b.left > 0:
	case b.framing == byChunks:
		b.phase = chunkEnd
	default:
		b.done = true
	}
}

// Trailer holds the trailer fields of the body that was read. The fields that
// frame, route or steer a message are not among them (RFC 9110 section 6.5.1).
func (c *Conn) Trailer() []Field {
	if c.body.trailer == nil {
		return nil
	}
	return c.body.trailer.Fields
}

// NextBody returns the next bytes of the body that are there already; they are
// valid until FillBody. It returns nil when FillBody must be called first,
// io.EOF at the end of the body, and a *fault.Error for a body that is not
// valid.
func (c *Conn) NextBody() ([]byte, error) {
	b := &c.body
	switch {
	case b.done:
		return nil, io.EOF
	case b.framing == byChunks:
		return c.nextChunked()
	case b.framing == byClose:
		return nonEmpty(c.TakeBuffered()), nil
	}
	return c.take(), nil
}

// take uses up what is buffered of the bytes that are left.
func (c *Conn) take() []byte {
	n := int(min(c.body.left, int64(c.Buffered())))
	if n == 0 {
		return nil
	}
	p := c.in.B[c.r : c.r+n]
	c.r += n
	c.Moved(int64(n))
	return p
}

func nonEmpty(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	return p
}

// FillBody waits for more bytes of the body. A body that ends before its
// framing says so is io.ErrUnexpectedEOF; only one that lasts until the
// connection closes may end so, and not where TLS was cut (RFC 9112 section 9.8).
func (c *Conn) FillBody() error {
	err := c.fill()
	if err != io.EOF {
		return err
	}
	if c.body.framing == byClose && (c.tap == nil || !c.tap.Cut()) {
		c.body.done = true
		return nil
	}
	return io.ErrUnexpectedEOF
}

// nextChunked decodes RFC 9112 section 7.1 up to the next bytes of data.
func (c *Conn) nextChunked() ([]byte, error) {
	b := &c.body
	for c.Buffered() > 0 {
		var ok bool
		var err *fault.Error
		switch b.phase {
		case chunkData:
			return c.take(), nil
		case chunkSize:
			ok, err = c.readChunkSize()
		case chunkEnd:
			ok, err = c.readChunkEnd()
		case chunkTrailer:
			ok, err = c.readTrailer()
		}
		switch {
		case err != nil:
			return nil, err
		case b.done:
			return nil, io.EOF
		case !ok:
			return nil, nil
		}
	}
	return nil, nil
}

// readChunkSize reads one chunk line, when it is whole.
func (c *Conn) readChunkSize() (bool, *fault.Error) {
	p := c.in.B[c.r:c.w]
	i := bytes.IndexByte(p, '\n')
	if i > maxChunkLine || i < 0 && len(p) > maxChunkLine {
		return false, errChunk
	}
	if i < 0 {
		return false, nil
	}
	if i == 0 || p[i-1] != '\r' {
		return false, errChunk
	}
	size, rest, ok := parseChunkSize(p[:i-1])
	if !ok || !validExtension(rest) {
		return false, errChunk
	}
	c.body.extra = max(0, c.body.extra+len(rest)-int(min(size, maxExtensions)))
	if c.body.extra > maxExtensions {
		return false, errChunk
	}
	c.r += i + 1
	c.body.left, c.body.phase = size, chunkData
	if size == 0 {
		c.body.phase = chunkTrailer
	}
	return true, nil
}

// parseChunkSize reads 1 to 15 hexadecimal digits.
func parseChunkSize(p []byte) (size int64, rest []byte, ok bool) {
	i := 0
	for i < len(p) && class[p[i]]&isHex != 0 {
		d := p[i] | 0x20
		if d >= 'a' {
			d -= 'a' - 10
		} else {
			d -= '0'
		}
		size = size<<4 | int64(d&0xf)
		i++
	}
	return size, p[i:], i > 0 && i < 16
}

// validExtension accepts *( ";" name [ "=" ( token / quoted-string ) ] ) without
// the "bad" white space of RFC 9112 section 7.1.1.
func validExtension(p []byte) bool {
	for len(p) > 0 {
		if p[0] != ';' {
			return false
		}
		n := tokenLen(p[1:])
		if n == 0 {
			return false
		}
		p = p[1+n:]
		if len(p) == 0 || p[0] != '=' {
			continue
		}
		if n = tokenLen(p[1:]); n == 0 {
			n = quotedLen(p[1:])
		}
		if n == 0 {
			return false
		}
		p = p[1+n:]
	}
	return true
}

func tokenLen(p []byte) int {
	for i, c := range p {
		if class[c]&isToken == 0 {
			return i
		}
	}
	return len(p)
}

// quotedLen is the length of the quoted-string that p begins with, or 0.
func quotedLen(p []byte) int {
	if len(p) == 0 || p[0] != '"' {
		return 0
	}
	for i := 1; i < len(p); i++ {
		switch {
		case p[i] == '"':
			return i + 1
		case class[p[i]]&isValue == 0:
			return 0
		case p[i] == '\\' && i+1 < len(p) && class[p[i+1]]&isValue != 0:
			i++
		case p[i] == '\\':
			return 0
		}
	}
	return 0
}

func (c *Conn) readChunkEnd() (bool, *fault.Error) {
	p := c.in.B[c.r:c.w]
	if p[0] != '\r' || len(p) > 1 && p[1] != '\n' {
		return false, errChunk
	}
	if len(p) < 2 {
		return false, nil
	}
	c.r += 2
	c.body.phase = chunkSize
	return true, nil
}

// readTrailer reads the trailer section, when all of it is there.
func (c *Conn) readTrailer() (bool, *fault.Error) {
	p := c.in.B[c.r:c.w]
	if len(p) >= 2 && p[0] == '\r' && p[1] == '\n' {
		c.r += 2
		c.body.done = true
		return true, nil
	}
	if len(p) < 2 && p[0] == '\r' {
		return false, nil
	}
	t := c.body.trailer
	if t == nil {
		t = new(Head)
		c.body.trailer = t
	}
	t.reset()
	t.line = 1 // no start line
	whole, err := t.parse(p, nil)
	if err != nil {
		return false, err
	}
	if len(p) > maxTrailer && (!whole || t.pos > maxTrailer) {
		return false, errTrailer
	}
	if !whole {
		return false, nil
	}
	c.r += t.pos
	c.body.done = true
	t.dropKnown()
	return true, nil
}

// dropKnown takes the fields out that must not come in a trailer section.
func (h *Head) dropKnown() {
	kept := h.Fields[:0]
	for _, f := range h.Fields {
		if f.ID == Other && !h.Nominated(&f) {
			kept = append(kept, f)
		}
	}
	h.Fields = kept
}

// AppendChunkSize appends the line before n bytes of chunk data.
func AppendChunkSize(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(dst, n, 16), '\r', '\n')
}

// AppendChunk appends p, not empty, as one chunk.
func AppendChunk(dst, p []byte) []byte {
	dst = append(AppendChunkSize(dst, int64(len(p))), p...)
	return append(dst, '\r', '\n')
}

// AppendField appends one field line.
func AppendField(dst, name, value []byte) []byte {
	dst = append(append(dst, name...), ':', ' ')
	return append(append(dst, value...), '\r', '\n')
}
