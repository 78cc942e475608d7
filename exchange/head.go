package exchange

import (
	"bytes"
	"strconv"

	"viaduct/hop"
	"viaduct/wire"
)

// appendRequest appends the head that goes to the origin, or to a parent in
// absolute-form: the fields that stay, in their order and letter case, the Host of
// the target, and what the anonymity profile adds.
func (s *Session) appendRequest(b []byte, w *Way, path []byte, upgrade bool) []byte {
	h := &s.req
	b = append(append(b, h.Method...), ' ')
	if s.leg.absolute {
		b = append(appendTarget(append(b, "http://"...), w), path...)
	} else {
		b = appendPath(b, h.Method, path)
	}
	b = append(b, " HTTP/1.1\r\n"...)
	if !h.Has(wire.Host) {
		b = appendHost(append(b, "Host: "...), w)
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case f.ID == wire.Host:
			b = appendHost(append(append(b, f.Name...), ": "...), w)
		case h.Nominated(f) || s.dropRequest(f):
		case f.ID == wire.MaxForwards:
			b = appendMaxForwards(b, h.Method, f)
		case f.ID == wire.Via:
			b = appendVia(b, f)
		default:
			b = wire.AppendField(b, f.Name, f.Value)
		}
	}
	if s.leg.absolute {
		b = s.appendForParent(b, w)
	} else {
		b = s.o.Anonymity.AppendRequest(b, h.Minor, s.remote.Addr())
	}
	if upgrade {
		b = append(b, "Connection: upgrade\r\nUpgrade: "...)
		b = appendTokens(b, h)
		b = append(b, '\r', '\n')
	}
	return append(b, '\r', '\n')
}

// dropRequest tells whether a field stays behind.
func (s *Session) dropRequest(f *wire.Field) bool {
	switch f.ID {
	case wire.ContentLength, wire.TransferEncoding, wire.MaxForwards:
		return false
	case wire.Expect:
		return s.req.Minor == 0 // RFC 9110 section 10.1.1
	case wire.Trailer:
		return !s.req.Chunked
	}
	return s.o.Anonymity.DropRequest(f.Name)
}

// appendPath appends the origin-form; the last proxy turns an OPTIONS without
// path into "*" (RFC 9112 section 3.2.4).
func appendPath(b, method, path []byte) []byte {
	switch {
	case len(path) == 0 && string(method) == "OPTIONS":
		return append(b, '*')
	case len(path) == 0 || path[0] != '/':
		b = append(b, '/')
	}
	return append(b, path...)
}

func appendHost(b []byte, w *Way) []byte { return append(appendTarget(b, w), '\r', '\n') }

func appendTarget(b []byte, w *Way) []byte {
	defaultPort := uint16(80)
	if w.To.TLS {
		defaultPort = 443
	}
	return hop.Target{Host: w.To.Host, Port: w.To.Port, Addr: w.To.Addr}.AppendHost(b, defaultPort)
}

// appendForParent appends what a parent is told beside what an origin would be: which
// proxies the request has come through, whatever the profile, and who we are.
func (s *Session) appendForParent(b []byte, w *Way) []byte {
	b = append(append(append(b, "Via: "...), w.Via...), '\r', '\n')
	b = s.o.Anonymity.AppendForwarded(b, s.remote.Addr())
	if login := s.leg.by.BasicAuth(); login != "" {
		b = append(append(append(b, "Proxy-Authorization: "...), login...), '\r', '\n')
	}
	return b
}

// appendVia appends the Via that came, without the proxies of our kind in it: the last
// of a chain takes them out.
func appendVia(b []byte, f *wire.Field) []byte {
	start := len(b)
	b = append(append(b, f.Name...), ": "...)
	value := len(b)
	if b = hop.AppendUntagged(b, f.Value); len(b) == value {
		return b[:start]
	}
	return append(b, '\r', '\n')
}

// appendMaxForwards counts a hop (RFC 9110 section 7.6.2).
func appendMaxForwards(b, method []byte, f *wire.Field) []byte {
	n, ok := hop.MaxForwards(f.Value)
	if !ok || n == 0 || string(method) != "OPTIONS" && string(method) != "TRACE" {
		return wire.AppendField(b, f.Name, f.Value)
	}
	b = append(append(b, f.Name...), ": "...)
	b = strconv.AppendInt(b, int64(n-1), 10)
	return append(b, '\r', '\n')
}

// appendTokens appends the protocols that the client offers to change to,
// without those that would carry further requests past the rules. It appends
// nothing when none is left.
func appendTokens(b []byte, h *wire.Head) []byte {
	start := len(b)
	for i := range h.Fields {
		if h.Fields[i].ID != wire.Upgrade {
			continue
		}
		for token := range bytes.SplitSeq(h.Fields[i].Value, []byte{','}) {
			token = bytes.TrimSpace(token)
			if !isProtocol(token) || carriesRequests(token) {
				continue
			}
			if len(b) > start {
				b = append(b, ", "...)
			}
			b = append(b, token...)
		}
	}
	return b
}

// isProtocol tells whether a word is protocol-name ["/" protocol-version].
func isProtocol(token []byte) bool {
	name, version, slash := bytes.Cut(token, []byte{'/'})
	return wire.IsToken(name) && (!slash || wire.IsToken(version))
}

// carriesRequests tells whether a protocol is HTTP itself.
func carriesRequests(token []byte) bool {
	name, _, _ := bytes.Cut(token, []byte{'/'})
	return wire.Fold(name, "h2c") || wire.Fold(name, "h2") || wire.Fold(name, "http")
}

// appendResponse appends the head that goes to the client. frame says how its
// body ends there.
func (s *Session) appendResponse(b []byte, frame framing) []byte {
	h := &s.resp
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(h.Status), 10)
	b = append(append(b, ' '), h.Reason...)
	b = append(b, '\r', '\n')
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case h.Nominated(f):
		case f.ID == wire.ContentLength, f.ID == wire.TransferEncoding:
			if frame == asIs {
				b = wire.AppendField(b, f.Name, f.Value)
			}
		case f.ID == wire.Trailer:
			if h.Chunked && frame == asIs {
				b = wire.AppendField(b, f.Name, f.Value)
			}
		case !s.o.Anonymity.DropResponse(f.Name):
			b = wire.AppendField(b, f.Name, f.Value)
		}
	}
	b = s.o.Anonymity.AppendResponse(b, h.Minor)
	switch {
	case frame == chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case h.Status == 101:
		b = wire.AppendField(append(b, "Connection: upgrade\r\n"...), []byte("Upgrade"), h.Get(wire.Upgrade))
	}
	if s.closing && h.Status >= 200 {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, '\r', '\n')
}

// appendTrailer appends the trailer fields that may pass. What the head's
// Connection names ends here too (RFC 9110 section 7.6.1).
func (s *Session) appendTrailer(b []byte, fields []wire.Field, head *wire.Head, drop func([]byte) bool) []byte {
	for i := range fields {
		if drop != nil && drop(fields[i].Name) {
			continue
		}
		if !head.Nominated(&fields[i]) && !s.o.Anonymity.DropResponse(fields[i].Name) && !s.o.Anonymity.DropRequest(fields[i].Name) {
			b = wire.AppendField(b, fields[i].Name, fields[i].Value)
		}
	}
	return b
}
