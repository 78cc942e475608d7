package wire

import (
	"bytes"

	"viaduct/fault"
)

// Refusals are shared values: refusing garbage allocates nothing. One text
// serves a bad request and, as the operator's cause, a bad answer.
var (
	errBareLF         = fault.Bad(400, "A line of the message head does not end in CR LF.")
	errEmptyLine      = fault.Bad(400, "An empty line stands where a request should begin.")
	errStartLine      = fault.Bad(400, "The request line is not valid.")
	errVersion        = fault.Bad(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.")
	errLongLine       = fault.Bad(414, "The request line is too long.")
	errLongHead       = fault.Bad(431, "The head of the request is too large.")
	errManyFields     = fault.Bad(431, "The request has too many header fields.")
	errFieldLine      = fault.Bad(400, "A header field line is not valid.")
	errFieldValue     = fault.Bad(400, "A header field has a value with a control character.")
	errLength         = fault.Bad(400, "The Content-Length is not a number.")
	errTwoLengths     = fault.Bad(400, "The message has more than one Content-Length.")
	errTwoCredentials = fault.Bad(400, "The message has more than one Proxy-Authorization.")
	errCoding         = fault.Bad(501, "The only transfer coding understood is chunked.")
	errTwoFramings    = fault.Bad(400, "Transfer-Encoding stands where it must not: beside a Content-Length, or in HTTP/1.0.")
	errHost           = fault.Bad(400, "The Host field is missing, repeated or not valid.")
	errExpect         = fault.Bad(417, "The only expectation understood is 100-continue.")
	errOption         = fault.Bad(400, "The Connection field is not valid, or names a field that may not be removed.")
	errTunnelBody     = fault.Bad(400, "A CONNECT request has no body.")
	errChunk          = fault.Bad(400, "The chunked body is not valid.")
	errTrailer        = fault.Bad(431, "The trailer section is too large.")
	errStatusLine     = fault.Bad(400, "The status line is not valid.")
)

// parseRequestLine parses "method SP target SP version" (RFC 9112 section 3).
// The target is only looked at for bytes that can stand in none. An empty line
// has an error of its own: one may come before a request.
func parseRequestLine(h *Head, line []byte) *fault.Error {
	if len(line) == 0 {
		return errEmptyLine
	}
	i := bytes.IndexByte(line, ' ')
	if i <= 0 || !all(line[:i], isToken) {
		return errStartLine
	}
	rest := line[i+1:]
	j := bytes.IndexByte(rest, ' ')
	if j <= 0 || !all(rest[:j], isTarget) {
		return errStartLine
	}
	h.Method, h.Target = line[:i], rest[:j]
	return h.parseVersion(rest[j+1:])
}

// parseVersion accepts the two versions whose meaning is known. A higher minor
// version is refused and not guessed at.
func (h *Head) parseVersion(v []byte) *fault.Error {
	if len(v) != len("HTTP/1.1") || string(v[:5]) != "HTTP/" || v[6] != '.' ||
		v[5] < '0' || v[5] > '9' || v[7] < '0' || v[7] > '9' {
		return errStartLine
	}
	if v[5] != '1' || v[7] > '1' {
		return errVersion
	}
	h.Minor = v[7] - '0'
	return nil
}

// parseStatusLine parses "version SP 3DIGIT [SP reason]" (RFC 9112 section 4);
// the last space is missing where servers leave the reason out.
func parseStatusLine(h *Head, line []byte) *fault.Error {
	if len(line) < len("HTTP/1.1 200") || line[8] != ' ' {
		return errStatusLine
	}
	if err := h.parseVersion(line[:8]); err != nil {
		return err
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return errStatusLine
		}
		h.Status = h.Status*10 + int(c-'0')
	}
	if h.Status < 100 || h.Status > 599 {
		return errStatusLine
	}
	if len(line) > 12 {
		if line[12] != ' ' || !all(line[13:], isValue) {
			return errStatusLine
		}
		h.Reason = line[13:]
	}
	return nil
}

// finishRequest judges a request's head as a whole (RFC 9112 sections 3.2, 6.1).
func (h *Head) finishRequest() *fault.Error {
	if h.Minor == 1 && !h.Has(Host) {
		return errHost
	}
	if err := h.finish(); err != nil {
		return err
	}
	if (h.Chunked || h.Length > 0) && string(h.Method) == "CONNECT" {
		return errTunnelBody // RFC 9110 section 9.3.6: what follows is the tunnel's
	}
	h.Expect = h.Expect && h.Minor == 1 // RFC 9110 section 10.1.1
	return nil
}

// finishResponse finds the framing of an answer (RFC 9112 section 6.3); until
// the end of the connection when Length is -1 and Chunked is false.
func (h *Head) finishResponse(toHead bool) *fault.Error {
	if err := h.finish(); err != nil {
		return err
	}
	if toHead || h.Status < 200 || h.Status == 204 || h.Status == 304 {
		h.Length, h.Chunked = 0, false
		return nil
	}
	h.Close = h.Close || h.Length < 0 && !h.Chunked
	return nil
}
