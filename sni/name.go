package sni

import (
	"bytes"
	"net/netip"
)

const (
	mostName  = 253 // bytes of a name without its final dot (RFC 1035 section 2.3.4)
	mostLabel = 63
)

// normalize brings a name to lower case and tells its length without a final
// dot, 0 if it is none.
func normalize(name []byte) int {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
	if bytes.IndexByte(name, ':') >= 0 {
		a, err := netip.ParseAddr(string(name))
		if err != nil || a.Zone() != "" {
			return 0
		}
		return len(name)
	}
	name = bytes.TrimSuffix(name, []byte("."))
	if len(name) > mostName {
		return 0
	}
	for rest, more := name, true; more; {
		var label []byte
		label, rest, more = bytes.Cut(rest, []byte("."))
		if len(label) == 0 || len(label) > mostLabel || !isLabel(label) {
			return 0
		}
	}
	return len(name)
}

// isLabel is true of letters, digits, hyphens, and the underscores that are in
// names of hosts though they should not be.
func isLabel(b []byte) bool {
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
