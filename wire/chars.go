package wire

import "bytes"

// Character classes of RFC 9110 section 5.6.2 and RFC 9112 section 3, as bits
// of one table, so that a byte is judged by one load.
const (
	isToken  = 1 << iota // tchar
	isValue              // field-content, SP and HTAB; obs-text is let pass unchanged
	isTarget             // what may stand in a request target: VCHAR and obs-text
	isHost               // what may stand in a Host field
	isHex                // HEXDIG
)

var class = func() (t [256]uint8) {
	for c := range t {
		if c > ' ' && c != 0x7f {
			t[c] |= isValue | isTarget
		}
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			t[c] |= isToken | isHost | isHex
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			t[c] |= isToken | isHost
		case c >= 0x80:
			t[c] |= isHost
		}
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= isToken
	}
	for _, c := range "-._~:[]" {
		t[c] |= isHost
	}
	t[' '] |= isValue
	t['\t'] |= isValue
	return t
}()

// all tells whether every byte of b has the property.
func all(b []byte, property uint8) bool {
	for _, c := range b {
		if class[c]&property == 0 {
			return false
		}
	}
	return true
}

// fold tells whether b is the lower-case ASCII text, in any letter case.
func fold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range len(lower) {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Fold tells whether a field name or token is the lower-case text, in any
// letter case (RFC 9110 section 5.1).
func Fold(b []byte, lower string) bool { return fold(b, lower) }

// IsToken tells whether b is a token (RFC 9110 section 5.6.2).
func IsToken(b []byte) bool { return len(b) > 0 && all(b, isToken) }

// isAuthority tells whether b has the shape of a Host field: a name or an
// address, in brackets where it has colons, and perhaps a port (RFC 9110
// section 7.2). An empty one is for a target without authority.
func isAuthority(b []byte) bool {
	name, port := b, []byte(nil)
	if len(b) > 0 && b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 || bytes.IndexByte(b[1:end], '[') >= 0 {
			return false
		}
		name, port = nil, b[end+1:]
	} else if i := bytes.IndexByte(b, ':'); i >= 0 {
		name, port = b[:i], b[i:]
	}
	if len(port) > 0 && port[0] != ':' {
		return false
	}
	for _, c := range port[min(1, len(port)):] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return bytes.IndexByte(name, '[') < 0 && bytes.IndexByte(name, ']') < 0
}

// trim takes optional white space off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
