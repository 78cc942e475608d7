package accesslog

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
)

// Format is how a line is written.
type Format uint8

// The formats.
const (
	JSON     Format = iota // an object with all that is known
	Squid                  // squid's native one
	Combined               // that of Apache and the NCSA server, with referer and agent
)

// ParseFormat reads the name of a format: json, squid or combined.
func ParseFormat(name string) (Format, error) {
	switch name {
	case "json":
		return JSON, nil
	case "squid":
		return Squid, nil
	case "combined":
		return Combined, nil
	}
	return JSON, fmt.Errorf("access log format %q: use json, squid or combined", name)
}

// Bytes of what clients send, or others name, at the most.
const (
	mostTarget = 2 << 10 // and of a referer
	mostAgent  = 512
	mostName   = 128 // of a method, a user, a rule or a pool
	mostSNI    = 256 // a name has 253 (RFC 1035 section 2.3.4)
	mostCause  = 512 // what a server said may be part of it
	mostParent = 600 // two names, where one proxy is asked through another
)

func (e *Entry) append(b []byte, f Format) []byte {
	switch f {
	case Squid:
		b = e.appendSquid(b)
	case Combined:
		b = e.appendCombined(b)
	default:
		b = e.appendJSON(b)
	}
	return append(b, '\n')
}

// escape is how a format writes bytes that could end a field or a line, and
// those that are not ASCII: two digits behind the lead.
type escape struct {
	lead  string
	space bool // a space is one of them
	sign  byte // and so is this one, beside quotes and backslashes
}

// appendEscaped writes what a client sent, or an operator named, so that no
// byte of it can end the field.
func appendEscaped[T ~string | ~[]byte](b []byte, s T, e escape) []byte {
	const hex = "0123456789ABCDEF"
	clean := 0
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != e.sign || c == ' ' && !e.space {
			continue
		}
		b = append(b, s[clean:i]...)
		b = append(b, e.lead...)
		b = append(b, hex[c>>4], hex[c&0xf])
		clean = i + 1
	}
	return append(b, s[clean:]...)
}

// appendName writes a method or a user.
func appendName[T ~string | ~[]byte](b []byte, name T, e escape) []byte {
	return appendEscaped(b, name[:min(len(name), mostName)], e)
}

// orDash ends a field that began at from. What is empty is a dash, so a dash
// that somebody sent is escaped.
func (e escape) orDash(b []byte, from int) []byte {
	switch string(b[from:]) {
	case "":
		return append(b, '-')
	case "-":
		return append(append(b[:from], e.lead...), "2D"...)
	}
	return b
}

// appendTarget leaves out what is nobody's business: the query, and a user name
// and password, which no valid target has but a client may have written.
func appendTarget(b, target []byte, e escape) []byte {
	for _, end := range [...]byte{'?', '#'} {
		if i := bytes.IndexByte(target, end); i >= 0 {
			target = target[:i]
		}
	}
	scheme, rest := cutScheme(target)
	rest = rest[bytes.LastIndexByte(rest[:authorityEnd(scheme, rest)], '@')+1:]
	scheme = scheme[:min(len(scheme), mostTarget)]
	b = appendEscaped(b, scheme, e)
	return appendEscaped(b, rest[:min(len(rest), mostTarget-len(scheme))], e)
}

// cutScheme parts a target behind "://" if a scheme stands before it.
func cutScheme(target []byte) (scheme, rest []byte) {
	i := bytes.Index(target, []byte("://"))
	if i <= 0 {
		return nil, target
	}
	for _, c := range target[:i] {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return nil, target
		}
	}
	return target[:i+3], target[i+3:]
}

// authorityEnd is how far a password may reach. A path may well have an at sign:
// behind an authority (http://host/@scope), and where there is none (/@scope).
// What is neither is malformed, or an authority alone.
func authorityEnd(scheme, rest []byte) int {
	end := bytes.IndexAny(rest, `/\`)
	switch {
	case len(scheme) > 0 && end > 0:
		return end
	case len(scheme) == 0 && end == 0 && bytes.IndexAny(rest[1:], `/\`) != 0:
		return 0
	}
	return len(rest)
}

// appendAddr writes an address, without its zone: that is the name of an
// interface, which may hold any byte.
func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(b, '-')
	}
	return a.WithZone("").AppendTo(b)
}

// appendNumber writes at least so many digits, or what stands for them on the
// left. Nothing that is counted here can be negative.
func appendNumber(b []byte, v int64, width int, pad byte) []byte {
	v = max(v, 0)
	digits := 1
	for rest := v; rest >= 10; rest /= 10 {
		digits++
	}
	for ; digits < width; digits++ {
		b = append(b, pad)
	}
	return strconv.AppendInt(b, v, 10)
}
