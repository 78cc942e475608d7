package hop

import (
	"fmt"
	"math"
	"net/netip"
)

// Anonymity is how much an origin may learn of the client and of us. Zero is
// Strict.
type Anonymity uint8

const (
	// Strict lets an origin learn nothing of the client and not even that a
	// proxy stands there. Nothing is added, to answers neither.
	Strict Anonymity = iota
	// Via is as strict about the client, but keeps the Via that came and adds ours.
	Via
	// Transparent keeps what came and adds Via, Forwarded and X-Forwarded-For.
	Transparent
)

var anonymities = [...]string{Strict: "strict", Via: "via", Transparent: "transparent"}

// pseudonym stands for our host name in Via, which would tell where we are
// (RFC 9110 section 7.6.3).
const pseudonym = "viaduct"

// ParseAnonymity reads what String writes. The error lists the choices.
func ParseAnonymity(s string) (Anonymity, error) {
	for a, name := range anonymities {
		if s == name {
			return Anonymity(a), nil
		}
	}
	return Strict, fmt.Errorf("unknown anonymity level %q: choose strict, via or transparent", s)
}

// String is the name that the operator writes.
func (a Anonymity) String() string {
	if int(a) >= len(anonymities) {
		return fmt.Sprintf("anonymity(%d)", uint8(a))
	}
	return anonymities[a]
}

// DropRequest says whether a request field of this name stays behind: it is
// for this hop only (RFC 9110 section 7.6.1), or it would tell more than the
// profile allows. Letters of both cases count as equal, and so do "-" and "_".
//
// The caller takes care of what a Connection field names, and of Host,
// Content-Length, Transfer-Encoding, Trailer and Expect, which are never
// dropped here; it writes Connection, Upgrade and TE anew where the next hop
// needs them.
func (a Anonymity) DropRequest(name []byte) bool {
	if a > Transparent {
		a = Strict
	}
	return fields.find(name)&(1<<a) != 0
}

// DropResponse says the same of a field of an answer, trailers included. It
// drops only what belongs to one hop: an origin's identity is not ours to hide.
func (a Anonymity) DropResponse(name []byte) bool {
	return fields.find(name)&answers != 0
}

// AppendRequest appends the field lines that the profile adds to a request:
// Via, and in Transparent Forwarded (RFC 7239) and X-Forwarded-For. Minor is
// the number after "HTTP/1." in the request that came, 0 or 1. A client without
// a valid address is "unknown" in Forwarded. Strict adds nothing.
func (a Anonymity) AppendRequest(dst []byte, minor byte, client netip.Addr) []byte {
	return a.AppendForwarded(a.AppendResponse(dst, minor), client)
}

// AppendForwarded is AppendRequest without Via.
func (a Anonymity) AppendForwarded(dst []byte, client netip.Addr) []byte {
	if a != Transparent {
		return dst
	}
	client = client.Unmap().WithZone("")
	dst = append(dst, "Forwarded: for="...)
	switch {
	case !client.IsValid():
		return append(dst, "unknown\r\n"...)
	case client.Is6():
		dst = append(dst, `"[`...)
		dst = client.AppendTo(dst)
		dst = append(dst, `]"`...)
	default:
		dst = client.AppendTo(dst)
	}
	dst = append(dst, "\r\nX-Forwarded-For: "...)
	dst = client.AppendTo(dst)
	return append(dst, "\r\n"...)
}

// AppendResponse appends the field lines that the profile adds to an answer:
// Via, with the minor version of the answer that came. Strict adds nothing.
func (a Anonymity) AppendResponse(dst []byte, minor byte) []byte {
	if a != Via && a != Transparent {
		return dst
	}
	dst = append(dst, "Via: 1."...)
	dst = append(dst, '0'+minor%10)
	return append(dst, " "+pseudonym+"\r\n"...)
}

// MaxForwards reads the value of a Max-Forwards field (RFC 9110 section 7.6.2):
// digits only. A number that is too large becomes math.MaxInt32.
func MaxForwards(value []byte) (n int, ok bool) {
	var v int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = min(v*10+int64(c-'0'), math.MaxInt32)
	}
	return int(v), len(value) != 0
}
