package wire

import (
	"io"

	"viaduct/fault"
)

// ParseRequest parses a request's head, all of it, without a connection.
func (h *Head) ParseRequest(b []byte) error {
	return h.parseAll(b, parseRequestLine, (*Head).finishRequest)
}

// ParseResponse parses an answer's head likewise.
func (h *Head) ParseResponse(b []byte) error {
	return h.parseAll(b, parseStatusLine, func(h *Head) *fault.Error { return h.finishResponse(false) })
}

func (h *Head) parseAll(b []byte, start startLine, finish func(*Head) *fault.Error) error {
	h.reset()
	whole, err := h.parse(b, start)
	if err == nil && whole {
		err = finish(h)
	}
	switch {
	case err != nil:
		return err
	case !whole:
		return io.ErrUnexpectedEOF
	}
	return nil
}

// OnWait has f called by the goroutine that reads, each time before it waits
// for readiness, and told whether the connection holds a buffer then.
func (c *Conn) OnWait(f func(holds bool)) {
	try := c.readable
	c.readable = func(fd uintptr) bool {
		done := try(fd)
		if !done {
			f(c.in != nil)
		}
		return done
	}
}
