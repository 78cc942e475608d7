// Package mirror shows a head of the engine as net/http has it, and takes over into the
// head what was changed there.
package mirror

import (
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"viaduct/hop"
	"viaduct/wire"
)

// URL takes a path for what it is where it cannot be read as one.
func URL(secure bool, target *hop.Target, path []byte) *url.URL {
	scheme, port := "http", uint16(80)
	if secure {
		scheme, port = "https", 443
	}
	raw, query, _ := strings.Cut(string(path), "?")
	u := &url.URL{Scheme: scheme, Host: string(target.AppendHost(nil, port)), Path: raw, RawQuery: query}
	if plain, err := url.PathUnescape(raw); err == nil {
		u.Path, u.RawPath = plain, raw
	}
	return u
}

// Header has the fields that are for the handler.
func Header(h *wire.Head, drop func(*wire.Head, *wire.Field) bool) http.Header {
	header := make(http.Header, len(h.Fields))
	for i := range h.Fields {
		if f := &h.Fields[i]; !drop(h, f) {
			key := textproto.CanonicalMIMEHeaderKey(string(f.Name))
			header[key] = append(header[key], string(f.Value))
		}
	}
	return header
}

// Merge takes over into a head what the handler has changed. What it left alone
// keeps its place and its letter case; what is new stands at the end.
func Merge(h *wire.Head, header http.Header, drop func(*wire.Head, *wire.Field) bool) {
	fields := make([]wire.Field, 0, len(h.Fields)+1)
	used := make(map[string]int, len(header))
	for i := range h.Fields {
		f := h.Fields[i]
		if !drop(h, &f) {
			key := textproto.CanonicalMIMEHeaderKey(string(f.Name))
			n := used[key]
			if used[key]++; n >= len(header[key]) {
				continue
			}
			if value := header[key][n]; value != string(f.Value) {
				f.Value, f.Own = []byte(value), true
			}
		}
		fields = append(fields, f)
	}
	for _, key := range slices.Sorted(maps.Keys(header)) {
		for n := used[key]; n < len(header[key]); n++ {
			fields = append(fields, wire.Field{Name: []byte(key), Value: []byte(header[key][n]), Own: true})
		}
	}
	h.Fields = fields
}

// Traced is the request as it came, without what must not be shown around
// (RFC 9110 section 9.3.8).
func Traced(r *wire.Head) []byte {
	b := append(append([]byte("TRACE "), r.Target...), " HTTP/1."...)
	b = append(b, '0'+r.Minor, '\r', '\n')
	for i := range r.Fields {
		f := &r.Fields[i]
		if wire.Fold(f.Name, "cookie") || wire.Fold(f.Name, "authorization") || hop.Strict.DropRequest(f.Name) {
			continue
		}
		b = wire.AppendField(b, f.Name, f.Value)
	}
	return append(b, '\r', '\n')
}
