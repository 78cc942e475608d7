// Package hop knows what changes when a message crosses one hop: how a request
// target is read, which fields stay behind, and which ones a profile adds.
//
// Everything here is a pure function over bytes, safe for concurrent use unless
// it says otherwise. Framing is not its business: Content-Length,
// Transfer-Encoding, Host, Trailer, Expect and whatever a Connection field
// names belong to the rooms that read and write messages.
package hop

import (
	"net/netip"
	"strconv"
)

// Target is where a request goes. The zero Target is nowhere; the parsers
// return it with every error. Targets can be compared with ==: two spellings of
// one host and port are equal.
type Target struct {
	// Host is a lower-case name in A-label form without a trailing dot, or an
	// address literal in canonical form without brackets.
	Host string
	// Port is never 0.
	Port uint16
	// Addr is valid when Host is an address literal. An IPv4-mapped IPv6
	// literal stays one: who judges addresses unmaps it.
	Addr netip.Addr
}

// String is host:port, with brackets around an IPv6 literal. ParseAuthority
// reads it back.
func (t Target) String() string { return string(t.AppendTo(nil)) }

// AppendTo appends what String returns.
func (t Target) AppendTo(dst []byte) []byte {
	dst = t.appendHost(dst)
	dst = append(dst, ':')
	return strconv.AppendUint(dst, uint64(t.Port), 10)
}

// AppendHost appends the value of a Host field: the port is left out when it is
// the scheme's own (RFC 9110 section 7.2).
func (t Target) AppendHost(dst []byte, defaultPort uint16) []byte {
	if t.Port == defaultPort {
		return t.appendHost(dst)
	}
	return t.AppendTo(dst)
}

func (t Target) appendHost(dst []byte) []byte {
	if !t.Addr.Is6() {
		return append(dst, t.Host...)
	}
	dst = append(dst, '[')
	dst = append(dst, t.Host...)
	return append(dst, ']')
}
