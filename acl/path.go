package acl

import (
	"bytes"
	"strings"
)

// pathValue is a value of path=, as it is written and in the normal form.
type pathValue struct{ raw, normal string }

func (r *rule) readPath(v string) string {
	decoded := decode(nil, []byte(v))
	cut := strings.IndexAny(v, "?#;")
	switch {
	case !strings.HasPrefix(v, "/"):
		return "begin it with /, such as /v1"
	case cut >= 0:
		return "neither a query nor parameters are compared: write " + v[:cut]
	case bytes.IndexByte(decoded, ';') >= 0:
		return "parameters are not compared: write what stands before the ;"
	case strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return "a path has no space and no control character: write %20 for a space"
	}
	if tidy := undot(nil, flatten([]byte(v))); string(tidy) != v {
		return "has detours in it: write " + string(tidy)
	}
	r.paths = append(r.paths, pathValue{v, string(undot(nil, flatten(decoded)))})
	return ""
}

// requestPath is the path of a request in the forms that count. An origin may
// take any of them for what is meant: it decodes escapes or not, and follows
// ".." or hands it to an application that is found by what stands before it.
type requestPath struct {
	taken  bool
	none   bool   // a tunnel
	raw    []byte // without its query
	flat   []byte // escapes decoded, "\" read as "/", parameters, "//" and "/./" gone
	normal []byte // and ".." gone, too
	buffer []byte // of flat and normal, kept for the next path
}

var root = []byte("/")

// takePath makes the path ready, once.
func (a *ask) takePath() {
	t := &a.path
	t.taken, t.none, t.raw = true, a.Method == "CONNECT", a.Path
	if i := bytes.IndexByte(t.raw, '?'); i >= 0 {
		t.raw = t.raw[:i]
	}
	if len(t.raw) == 0 {
		t.raw = root
	}
	t.flat, t.normal = t.raw, t.raw
	if t.none || isNormal(t.raw) {
		return
	}
	flat := flatten(decode(append(t.buffer[:0], '/'), t.raw))
	t.buffer = undot(flat, flat)
	t.flat, t.normal = t.buffer[:len(flat)], t.buffer[len(flat):]
}

// isNormal says whether a path has nothing in it that could be written otherwise.
func isNormal(p []byte) bool {
	if p[0] != '/' || bytes.IndexByte(p, '%') >= 0 || bytes.IndexByte(p, ';') >= 0 || bytes.IndexByte(p, '\\') >= 0 {
		return false
	}
	for i := range len(p) - 1 {
		if p[i] == '/' && (p[i+1] == '/' || p[i+1] == '.') {
			return false
		}
	}
	return true
}

func (a *ask) hasPath(r *rule) bool {
	if !a.path.taken {
		a.takePath()
	}
	t := &a.path
	if t.none {
		return false
	}
	for i := range r.paths {
		v := &r.paths[i]
		raw, normal := isUnder(t.raw, v.raw), isUnder(t.normal, v.normal)
		if raw && normal || r.effect == Deny && (raw || normal || isUnder(t.flat, v.normal)) {
			return true
		}
	}
	return false
}

// isUnder says whether a path is value or below it.
func isUnder(p []byte, value string) bool {
	n := len(value)
	return len(p) >= n && string(p[:n]) == value && (len(p) == n || value[n-1] == '/' || p[n] == '/')
}

// decode appends p with all percent-encoded characters decoded, also those that
// only appear by decoding.
func decode(dst, p []byte) []byte {
	for _, c := range p {
		dst = append(dst, c)
		for n := len(dst) - 3; n >= 0 && dst[n] == '%'; n = len(dst) - 3 {
			high, low := hex(dst[n+1]), hex(dst[n+2])
			if high > 15 || low > 15 {
				break
			}
			dst = append(dst[:n], high<<4|low)
		}
	}
	return dst
}

// hex is the value of a digit, and 16 for any other byte.
func hex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

// flatten makes each segment of p, which begins with "/", a plain one, in place:
// without parameters, or what some origin takes for the end when it has been
// decoded, and none is empty or ".". A slash at the end stays.
func flatten(p []byte) []byte {
	out := p[:0]
	for from := 0; from <= len(p); {
		end := from
		for end < len(p) && p[end] != '/' && p[end] != '\\' {
			end++
		}
		segment := p[from:end]
		if i := bytes.IndexAny(segment, ";?#\x00"); i >= 0 {
			segment = segment[:i]
		}
		if len(segment) > 0 && string(segment) != "." {
			out = append(append(out, '/'), segment...)
		} else if end == len(p) {
			out = append(out, '/')
		}
		from = end + 1
	}
	return out
}

// undot appends a flat path without ".." and what it leads out of (RFC 3986
// section 5.2.4).
func undot(dst, flat []byte) []byte {
	start := len(dst)
	for from := 1; from <= len(flat); {
		end := len(flat)
		if i := bytes.IndexByte(flat[from:], '/'); i >= 0 {
			end = from + i
		}
		if string(flat[from:end]) != ".." {
			dst = append(dst, flat[from-1:end]...)
		} else if dst = dst[:start+max(0, bytes.LastIndexByte(dst[start:], '/'))]; end == len(flat) {
			dst = append(dst, '/')
		}
		from = end + 1
	}
	return dst
}
