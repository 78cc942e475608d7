package exchange

import (
	"bytes"

	"viaduct/clock"
	"viaduct/upstream"
	"viaduct/wire"
)

// NTLM and Negotiate authenticate a connection, not a request: whatever comes on
// it later counts as from the same person (RFC 4559 section 6). A connection on
// which either side has named such a scheme is bound to the client it serves.
// It never goes to the pool; the client's next request to the same destination,
// from the same source, takes it and no other, so that the handshake gets done.

// schemes are those that authenticate a connection.
var schemes = [...]string{"ntlm", "negotiate", "kerberos"}

// binds tells whether the exchange that ends here binds its connection.
func (s *Session) binds() bool {
	return s.tied || named(s.req.Fields, "authorization") || named(s.resp.Fields, "www-authenticate")
}

// named tells whether a field of that name has one of the schemes. Nearly every
// field is told apart by its length.
func named(fields []wire.Field, name string) bool {
	for i := range fields {
		f := &fields[i]
		if len(f.Name) == len(name) && f.Name[0]|0x20 == name[0] && wire.Fold(f.Name, name) && bindingScheme(f.Value) {
			return true
		}
	}
	return false
}

// bindingScheme tells whether an element of a list begins with one of the
// schemes. A comma within quotes counts as any: to bind too much harms nobody.
func bindingScheme(list []byte) bool {
	for len(list) > 0 {
		var word []byte
		word, list, _ = bytes.Cut(list, []byte{','})
		word = bytes.Trim(word, " \t")
		if i := bytes.IndexAny(word, " \t"); i >= 0 {
			word = word[:i]
		}
		for _, scheme := range schemes {
			if wire.Fold(word, scheme) {
				return true
			}
		}
	}
	return false
}

// keep keeps a bound connection for the client's next request, if it is at
// rest. It ends when the client may not have a next one, or not in time.
func (s *Session) keep(up *upstream.Conn) {
	if !up.AtRest() || s.closing {
		_ = up.Close()
		return
	}
	up.Park(clock.Now(), s.o.IdleTimeout)
	s.bound, s.tie = up, s.tieOf(s.way)
}

// tie is what a bound connection is good for.
type tie struct {
	user string // whose request bound it
	leg  leg
	spot spot // less the leg: the next request has none yet
}

func (s *Session) tieOf(w *Way) tie { return tie{s.entry.User, s.leg, spotOf(w, leg{})} }

// takeBound returns the connection that is bound to the client, or nil when there
// is none that the guard still lets pass. One client connection may bring
// requests of many, where another proxy stands before this one: what one has
// bound, another doesn't get. It may be of any age: on another the client would be
// unknown.
func (s *Session) takeBound(w *Way, l leg) *upstream.Conn {
	if s.bound == nil {
		return nil
	}
	mine := s.tieOf(w)
	mine.leg = l
	to := s.bound.Remote()
	if s.tie != mine || to.IsValid() && w.Dialer.Guard.Check(to) != nil {
		s.unbind()
		return nil
	}
	up := s.bound
	s.bound, s.leg = nil, l
	if !up.Wake() {
		return nil
	}
	s.tied = true
	return up
}

// unbind closes the connection that is bound to the client.
func (s *Session) unbind() {
	if s.bound != nil {
		s.bound.Discard()
		s.bound, s.tie = nil, tie{}
	}
}
