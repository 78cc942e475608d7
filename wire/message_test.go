package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"viaduct/fault"
	"viaduct/wire"
)

// describe writes a head down: start line, fields, and what the engine made of
// them. It copies, so that it can be compared with a later look.
func describe(h *wire.Head) string {
	var b strings.Builder
	b.WriteString(startLine(h))
	for i := range h.Fields {
		f := &h.Fields[i]
		fmt.Fprintf(&b, "|%s:%s", f.Name, f.Value)
		if h.Nominated(f) {
			b.WriteString("(nominated)")
		}
	}
	return b.String() + conclusions(h)
}

func startLine(h *wire.Head) string {
	if h.Status != 0 {
		return fmt.Sprintf("1.%d %d %s", h.Minor, h.Status, h.Reason)
	}
	return fmt.Sprintf("%s %s 1.%d", h.Method, h.Target, h.Minor)
}

// conclusions are the flags and the framing of a head.
func conclusions(h *wire.Head) (s string) {
	if h.Length >= 0 {
		s = fmt.Sprintf(" length=%d", h.Length)
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"chunked", h.Chunked}, {"close", h.Close}, {"expect", h.Expect}, {"upgrade", h.Upgrade}} {
		if f.set {
			s += " " + f.name
		}
	}
	return s
}

// message is what a connection delivered: a head, its body, and how it ended.
type message struct {
	start   string // its first line
	head    string
	fields  []string // "name: value" with the name in lower case
	body    string
	trailer []string
	err     error // nil when the message is whole
	inBody  bool  // err is the body's

	rest    int // bytes behind it
	close   bool
	framing string
}

// String shows a message in a test's failure.
func (m *message) String() string {
	body := m.body
	if len(body) > 200 {
		body = body[:200] + "..."
	}
	return fmt.Sprintf("%q\n\tbody %d %q\n\ttrailer %q\n\terror %v", m.head, len(m.body), body, m.trailer, m.err)
}

// same tells whether two readings of the same bytes came to the same result.
// Which refusal it is, is left to sameRefusal.
func (m *message) same(n *message) bool {
	return m.head == n.head && m.body == n.body && strings.Join(m.trailer, "\n") == strings.Join(n.trailer, "\n") &&
		(m.err == nil) == (n.err == nil) && m.inBody == n.inBody && refused(m.err) == refused(n.err)
}

func refused(err error) bool { return status(err) != 0 }

// readRequest reads one request with its body, as a server does.
func readRequest(c *wire.Conn, h *wire.Head) (m message) {
	if m.err = c.Await(0); m.err != nil {
		return m
	}
	if m.err = c.ReadRequest(h, 0); m.err != nil {
		return m
	}
	m.readRest(c, h)
	return m
}

// readResponse reads one answer with its body.
func readResponse(c *wire.Conn, h *wire.Head, toHead bool) (m message) {
	if m.err = c.ReadResponse(h, toHead); m.err != nil {
		return m
	}
	m.readRest(c, h)
	return m
}

// errMoved says that a head changed while its body was read.
var errMoved = errors.New("head changed under the reader")

// readRest reads the body of a head, and looks at the head again after every
// step: its slices must stay valid.
func (m *message) readRest(c *wire.Conn, h *wire.Head) {
	m.start, m.head, m.fields = startLine(h), describe(h), fields(h.Fields)
	was := copied(h)
	var body []byte
	for m.err == nil {
		p, err := c.NextBody()
		switch {
		case len(p) > 0 && err == nil:
			body = append(body, p...)
		case err == nil:
			err = c.FillBody()
		}
		m.err = err
		if !slices.EqualFunc(was, slicesOf(h), bytes.Equal) {
			m.err = errMoved
		}
	}
	if m.err == io.EOF {
		m.err = nil
		m.trailer = fields(c.Trailer())
	}
	m.body, m.inBody = string(body), m.err != nil
}

// slicesOf are the slices of a head that point into the connection's buffer.
func slicesOf(h *wire.Head) [][]byte {
	list := [][]byte{h.Method, h.Target, h.Reason}
	for i := range h.Fields {
		list = append(list, h.Fields[i].Name, h.Fields[i].Value)
	}
	return list
}

func copied(h *wire.Head) [][]byte {
	list := slicesOf(h)
	for i := range list {
		list[i] = bytes.Clone(list[i])
	}
	return list
}

func fields(list []wire.Field) (s []string) {
	for i := range list {
		s = append(s, strings.ToLower(string(list[i].Name))+": "+string(list[i].Value))
	}
	return s
}

// kind is the kind of the refusal which err is, None for anything else.
func kind(err error) fault.Kind {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Kind
	}
	return fault.None
}
