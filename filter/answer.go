package filter

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
)

const plainText = "text/plain; charset=utf-8"

// outcome is the answer that r describes.
func (r *Respond) outcome(f *compiled) *Outcome {
	o := &Outcome{Index: f.index, Name: f.name, Status: cmp.Or(r.Status, http.StatusOK)}
	if !isBare(o.Status) {
		o.Type, o.Body = cmp.Or(r.Type, plainText), r.Body
	}
	return o
}

// isBare says whether an answer with this status has no body (RFC 9110 sections
// 15.3.5, 15.3.6 and 15.4.5).
func isBare(status int) bool {
	return status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified
}

// outcome is the answer that r describes, and if it is to keep the path what
// stands before that.
func (r *Redirect) outcome(f *compiled) (o *Outcome, base string) {
	o = &Outcome{Index: f.index, Name: f.name, Status: cmp.Or(r.Status, http.StatusFound), Location: r.To}
	if r.KeepPath {
		base = strings.TrimSuffix(r.To, "/")
	}
	return o, base
}

// location is the path and query of a request, as they can stand behind a host:
// they begin with "/", or they would be a part of its name, and no byte in them
// ends a field value or an attribute of a page.
func location(u *url.URL) string {
	if u == nil {
		return "/"
	}
	path := u.RequestURI()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return escape(path)
}

// escape percent-encodes what is no visible ASCII character, and what RFC 3986
// keeps out of a URI.
func escape(s string) string {
	if !strings.ContainsFunc(s, isUnsafe) {
		return s
	}
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; isUnsafe(rune(c)) {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func isUnsafe(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune("\"<>\\^`{|}#", c)
}
