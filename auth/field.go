package auth

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest is how long credentials may be in their encoded form: 1 KiB in plain.
// What is longer is nobody's password, and no hash should have to find out.
const longest = (1<<10 + 2) / 3 * 4

// basic returns the encoded credentials in the value of an authorization field
// (RFC 9110 section 11.4, RFC 7617 section 2).
func basic(field []byte) (token []byte, err error) {
	if len(field) == 0 {
		return nil, ErrMissing
	}
	scheme, rest, _ := bytes.Cut(field, []byte(" "))
	switch {
	case !isToken(scheme): // first: letters beyond ASCII may fold into it
		return nil, ErrMalformed
	case len(scheme) != len("basic"), !strings.EqualFold(string(scheme), "basic"):
		return nil, errScheme
	}
	token = bytes.TrimLeft(rest, " ")
	if len(token) == 0 {
		return nil, ErrMalformed
	}
	return token, nil
}

// decode reads encoded credentials of at most longest. Two spellings never mean
// the same: padding is required, the bits behind the last byte are zero
// (RFC 4648 sections 3.2 and 3.5), and all clients in use write it so.
func decode(token []byte) (user, password string, err error) {
	var b [longest / 4 * 3]byte
	if bytes.ContainsAny(token, "\r\n") { // which the library would skip
		return "", "", ErrMalformed
	}
	n, err := base64.StdEncoding.Strict().Decode(b[:], token)
	if err != nil {
		return "", "", ErrMalformed
	}
	user, password, found := strings.Cut(string(b[:n]), ":")
	if !found || !isText(user) || strings.ContainsFunc(password, isControl) {
		return "", "", ErrMalformed
	}
	return user, password, nil
}

// isText tells whether s can stand in a log, a rule or a field: UTF-8 without
// control characters, those of C1 included.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// isControl tells of CTL (RFC 5234 appendix B.1), which no user name and no
// password may have. A password need not be UTF-8: it is compared as it came.
func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// isToken tells whether s is one (RFC 9110 section 5.6.2).
func isToken(s []byte) bool {
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0:
			return false
		}
	}
	return len(s) > 0
}
