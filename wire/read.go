package wire

import (
	"errors"
	"io"
	"time"

	"viaduct/clock"
	"viaduct/fault"
)

// Await waits for the first byte of the next request, for limit at the most.
// Meanwhile the connection counts as parked: Discard closes it. Its error is
// io.EOF when the client, or Discard, has ended the connection.
func (c *Conn) Await(limit time.Duration) error {
	c.Release()
	if c.Buffered() > 0 {
		return nil
	}
	c.Park(clock.Now(), limit)
	err := c.fill()
	if !c.Unpark() {
		return io.EOF
	}
	return err
}

// ReadRequest reads the next request head into h, for limit at the most. It
// returns io.ErrUnexpectedEOF when the client ends within it, the error of the
// wait, or a *fault.Error, of which the client is to be told before the
// connection is closed.
func (c *Conn) ReadRequest(h *Head, limit time.Duration) error {
	if err := c.readHead(h, parseRequestLine, limit); err != nil {
		return err
	}
	if err := h.finishRequest(); err != nil {
		return err
	}
	c.body = requestBody(h)
	return nil
}

// ReadResponse reads an answer's head into h; toHead tells that the request was
// a HEAD. Every error but those of the wait is a *fault.Error.
func (c *Conn) ReadResponse(h *Head, toHead bool) error {
	c.floor = 0
	err := c.readHead(h, parseStatusLine, 0)
	if err == nil {
		if bad := h.finishResponse(toHead); bad != nil {
			err = bad
		}
	}
	if err != nil {
		return badAnswer(err)
	}
	c.body = responseBody(h)
	return nil
}

// badAnswer makes the refusal of a head the fault of its sender.
func badAnswer(err error) error {
	bad, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	kind := fault.ProtocolError
	switch bad {
	case errLongHead, errLongLine, errManyFields:
		kind = fault.ResponseHeaderSize
	case errCoding:
		kind = fault.ResponseTransferCoding
	}
	return fault.New(kind, bad)
}

// readHead reads until the head is whole. A head that began and was not
// finished is io.ErrUnexpectedEOF.
func (c *Conn) readHead(h *Head, start startLine, rest time.Duration) error {
	h.reset()
	for {
		if c.Buffered() > 0 {
			b := c.in.B[c.r:c.w]
			whole, err := h.parse(b, start)
			if err != nil {
				return err
			}
			if h.pos > c.limit || !whole && len(b) > c.limit {
				return h.tooLong(c.limit)
			}
			if whole {
				c.r += h.pos
				c.floor = c.r
				c.used = true
				return nil
			}
			if rest > 0 {
				c.LimitRead(clock.Now(), rest)
				rest = 0
			}
			if c.w == cap(c.in.B) {
				c.moveHead(h)
			}
		}
		if err := c.fill(); err != nil {
			if err == io.EOF && c.Buffered() > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// moveHead gives a head that reached the end of its buffer more room, and
// starts parsing again, as what was parsed points into the old place.
func (c *Conn) moveHead(h *Head) {
	h.reset()
	if c.r > 0 {
		b := c.in.B[:cap(c.in.B)]
		c.w = copy(b, b[c.r:c.w])
		c.r = 0
		return
	}
	c.grow()
}

func (h *Head) tooLong(limit int) *fault.Error {
	if h.line == 0 || h.head > limit {
		return errLongLine
	}
	return errLongHead
}

// grow gives a head that fills its buffer the room of the largest head.
func (c *Conn) grow() {
	if cap(c.in.B) > c.limit {
		return
	}
	big := &Buffer{B: make([]byte, c.limit+BufferSize/2)}
	c.w = copy(big.B, c.in.B[c.r:c.w])
	c.r = 0
	c.in.Free()
	c.in = big
}
