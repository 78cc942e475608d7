// Package key is the key of a request: what pools go by that give like requests to
// the same endpoint.
package key

import (
	"bytes"
	"net/netip"

	"viaduct/hashing"
	"viaduct/wire"
)

// Request is what a key may be made of.
type Request struct {
	Client netip.Addr
	User   string
	Host   string
	Path   []byte     // with its query
	Head   *wire.Head // nil: there are no fields to look at
}

// Of makes the key, and tells whether any part of it was there.
func Of(parts []hashing.Part, r *Request) (key uint64, some bool) {
	for _, p := range parts {
		value := r.part(p)
		some = some || len(value) > 0
		key = hashing.Combine(key, hashing.Bytes(value))
	}
	return key, some
}

// part is what stands in the request for a part of a key.
func (r *Request) part(p hashing.Part) []byte {
	switch p.Source {
	case hashing.ClientIP:
		if !r.Client.IsValid() {
			return nil
		}
		b := r.Client.As16()
		return b[:]
	case hashing.User:
		return []byte(r.User)
	case hashing.Host:
		return []byte(r.Host)
	case hashing.Path:
		path, _, _ := bytes.Cut(r.Path, []byte{'?'})
		return path
	case hashing.URL:
		return append([]byte(r.Host), r.Path...)
	}
	return r.field(p)
}

// field is the value of a field, or of a cookie in one.
func (r *Request) field(p hashing.Part) []byte {
	name := p.Name
	if p.Source == hashing.Cookie {
		name = "cookie"
	}
	for i := 0; r.Head != nil && i < len(r.Head.Fields); i++ {
		f := &r.Head.Fields[i]
		if !wire.Fold(f.Name, name) {
			continue
		}
		if p.Source == hashing.Header {
			return f.Value
		}
		if value := cookie(f.Value, p.Name); value != nil {
			return value
		}
	}
	return nil
}

// cookie is the value of a cookie in a field (RFC 6265 section 4.2.1).
func cookie(field []byte, name string) []byte {
	for pair := range bytes.SplitSeq(field, []byte{';'}) {
		if key, value, ok := bytes.Cut(bytes.TrimSpace(pair), []byte{'='}); ok && string(key) == name {
			return value
		}
	}
	return nil
}
