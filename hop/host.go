package hop

import (
	"bytes"
	"net/netip"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"viaduct/fault"
)

const (
	maxName  = 253  // RFC 1035 section 2.3.4, without the root
	maxLabel = 63   // the same
	maxIDN   = 1024 // bytes of UTF-8 that can still become a name; bounds the mapping
	maxIPv6  = 45   // the longest spelling, with an IPv4 tail
)

// lookup maps a name as a browser does (UTS 46, non-transitional). It may let
// more ASCII through than a host has: what comes out is checked like any name.
var lookup = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.BidiRule())

// parseHost makes a Target without a port.
func parseHost(a authority) (Target, *fault.Error) {
	switch {
	case len(a.host) == 0:
		return Target{}, errNoHost
	case a.bracketed:
		return parseLiteral(a.host)
	}
	t, err := parseName(a.host)
	if err != nil && !isASCII(a.host) {
		return parseName(toASCII(a.host))
	}
	return t, err
}

// parseLiteral reads what stands in brackets. The text is canonical afterwards,
// so that one address has one spelling in rules, keys and logs.
func parseLiteral(b []byte) (Target, *fault.Error) {
	if len(b) > maxIPv6 {
		return Target{}, errLiteral
	}
	s := string(b)
	addr, err := netip.ParseAddr(s)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return Target{}, errLiteral
	}
	var buf [maxIPv6]byte
	if canonical := addr.AppendTo(buf[:0]); string(canonical) != s {
		s = string(canonical)
	}
	return Target{Host: s, Addr: addr}, nil
}

// parseName reads an ASCII name, or an IPv4 address in the one notation that
// every resolver reads alike.
func parseName(b []byte) (Target, *fault.Error) {
	b = bytes.TrimSuffix(b, []byte{'.'})
	seen := scanName(b)
	if seen&wrong != 0 {
		return Target{}, errName
	}
	if isNumeric(b[bytes.LastIndexByte(b, '.')+1:]) {
		s := string(b)
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return Target{}, errNumeric
		}
		return Target{Host: s, Addr: addr}, nil
	}
	if seen&capital != 0 {
		var buf [maxName]byte
		b = appendLower(buf[:0], b)
	}
	return Target{Host: string(b)}, nil
}

// scanName says which classes of bytes a name has, and that it is wrong where
// its lengths are.
func scanName(b []byte) (seen class) {
	if len(b) > maxName {
		return wrong
	}
	label := 0
	for _, c := range b {
		k := classOf[c]
		seen |= k
		if k != dot {
			label++
			continue
		}
		if label == 0 || label > maxLabel {
			return wrong
		}
		label = 0
	}
	if label == 0 || label > maxLabel {
		return wrong
	}
	return seen
}

// A class is what a byte is to a name. Zero is a small letter, a digit, "-" or "_".
type class uint8

const (
	capital class = 1 << iota
	dot
	wrong
)

var classOf = classTable()

func classTable() (t [256]class) {
	for i := range t {
		switch c := byte(i); {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case 'A' <= c && c <= 'Z':
			t[i] = capital
		case c == '.':
			t[i] = dot
		default:
			t[i] = wrong
		}
	}
	return t
}

// isNumeric says whether a resolver may take a name with this last label for an
// IPv4 address: all digits, or 0x and hex digits. inet_aton reads 127.1,
// 2130706433 and 0x7f000001 as addresses, other resolvers as names.
func isNumeric(label []byte) bool {
	if label[0] < '0' || label[0] > '9' {
		return false
	}
	if len(label) > 1 && label[0] == '0' && lower(label[1]) == 'x' {
		return only(label[2:], 'f')
	}
	return only(label, '9')
}

// only says whether b has nothing but digits up to the last one, 9 or f.
func only(b []byte, last byte) bool {
	for _, c := range b {
		c = lower(c)
		if c < '0' || c > last || '9' < c && c < 'a' {
			return false
		}
	}
	return true
}

// toASCII maps a name as a browser does. What cannot be mapped is no name.
func toASCII(b []byte) []byte {
	if len(b) > maxIDN || !utf8.Valid(b) {
		return nil
	}
	s, err := lookup.ToASCII(string(b))
	if err != nil {
		return nil
	}
	return []byte(s)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lower(c))
	}
	return dst
}

// lower touches only A to Z: setting the bit in every byte would make a colon
// of a control character.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// foldedEqual compares b, whatever its letters' case, with s, which has no
// capitals and the same length.
func foldedEqual(b []byte, s string) bool {
	for i, c := range b {
		if lower(c) != s[i] {
			return false
		}
	}
	return true
}
