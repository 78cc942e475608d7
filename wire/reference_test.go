package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// reading is what net/http makes of bytes: the judge of the fuzz targets.
type reading struct {
	start   string              // as startLine writes it
	fields  map[string][]string // by name in lower case
	framing string
	close   bool
	body    string
	rest    int   // bytes behind the message
	err     error // nil when the message is whole and valid
}

// errExcused is the error of a reference that refuses what wire takes, for a
// reason that is written where it is made.
var errExcused = errors.New("excused")

// source reads with room enough for every trailer section of net/http.
func source(in []byte) (*bytes.Reader, *bufio.Reader) {
	r := bytes.NewReader(in)
	return r, bufio.NewReaderSize(r, len(in)+16)
}

// readNetRequest reads a request as http.Server does: http.ReadRequest, and
// what the server validates after it.
func readNetRequest(in []byte) (m reading) {
	// One empty line before a request is let pass by wire always, by
	// http.Server after a POST: RFC 9112 section 2.2.
	in = bytes.TrimPrefix(in, []byte("\r\n"))
	start := shortLine(in)
	r, br := source(in)
	req, err := http.ReadRequest(br)
	if bad := (*url.Error)(nil); errors.As(err, &bad) {
		// wire passes targets on to hop, which parses them; ReadRequest has
		// parsed this one. The rest is compared without it.
		if in, err = withoutTarget(in); err != nil {
			return reading{err: err}
		}
		r, br = source(in)
		req, err = http.ReadRequest(br)
	}
	if err != nil {
		return reading{err: excuse(err)}
	}
	head := mimeHead(in)
	if err := validRequest(req, head); err != nil {
		return reading{err: err}
	}
	m = reading{start: start, fields: head, close: req.Close, framing: "none"}
	switch {
	case len(req.TransferEncoding) > 0:
		m.framing = "chunked"
	case req.ContentLength > 0:
		m.framing = fmt.Sprintf("length %d", req.ContentLength)
	}
	m.readBody(req.Body)
	m.rest = r.Len() + br.Buffered()
	return m
}

// shortLine is the request line as startLine writes it.
func shortLine(in []byte) string {
	line, _, _ := strings.Cut(string(in), "\r\n")
	i := max(0, strings.LastIndexByte(line, ' '))
	return line[:i] + strings.Replace(line[i:], "HTTP/", "", 1)
}

// withoutTarget replaces the target of a request by one that is always valid.
func withoutTarget(in []byte) ([]byte, error) {
	method, rest, _ := bytes.Cut(in, []byte(" "))
	given, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok || len(given) == 0 || bytes.ContainsFunc(given, isControl) {
		return nil, errors.New("not even the bytes of a target")
	}
	target := " / "
	if string(method) == http.MethodConnect {
		target = " a:1 "
	}
	return append(append(bytes.Clone(method), target...), rest...), nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// excuse finds the errors of net/http that say nothing of the meaning of a
// message.
func excuse(err error) error {
	if strings.Contains(err.Error(), "bad trailer key") {
		// The Trailer field announces fields that must not be in a trailer
		// section. wire takes them out of the section itself, and an
		// announcement frames nothing.
		return errExcused
	}
	if strings.Contains(err.Error(), "too much non-data") {
		// Two bounds of extensions, both 16 KiB: net/http counts the chunk's
		// size in as well.
		return errExcused
	}
	return err
}

// mimeHead are the fields of a head, all of them: http.ReadRequest takes some
// out.
func mimeHead(in []byte) map[string][]string {
	_, br := source(in)
	if _, err := br.ReadSlice('\n'); err != nil {
		return nil
	}
	return mimeFields(br)
}

func mimeFields(br *bufio.Reader) map[string][]string {
	head, err := textproto.NewReader(br).ReadMIMEHeader()
	if err != nil {
		return nil
	}
	fields := map[string][]string{}
	for name, values := range head {
		fields[strings.ToLower(name)] = values
	}
	return fields
}

// validRequest is what http.Server demands of a request after reading it
// (server.go, conn.readRequest).
func validRequest(req *http.Request, head map[string][]string) error {
	if req.ProtoMajor != 1 {
		return errors.New("another major version")
	}
	hosts := head["host"]
	switch {
	case req.ProtoAtLeast(1, 1) && len(hosts) == 0:
		return errors.New("no host")
	case len(hosts) > 1:
		return errors.New("two hosts")
	case len(hosts) == 1 && !httpguts.ValidHostHeader(ascii(hosts[0])):
		return errors.New("bad host")
	}
	return validFields(head)
}

// ascii is s with letters for its bytes over 0x7f. A Host in UTF-8 is for hop to
// judge, which makes an A-label of it; a Host is never passed on as it came.
func ascii(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] >= 0x80 {
			b[i] = 'u'
		}
	}
	return string(b)
}

func validFields(head map[string][]string) error {
	for name, values := range head {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("bad name %q", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("bad value %q", v)
			}
		}
	}
	return nil
}

func (m *reading) readBody(body io.Reader) {
	b, err := io.ReadAll(body)
	m.body = string(b)
	if err != nil {
		m.err = excuse(err)
	}
}

// readNetResponse reads an answer as http.Transport does.
func readNetResponse(in []byte, method string) (m reading) {
	r, br := source(in)
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		return reading{err: excuse(err)}
	}
	defer resp.Body.Close()
	head := mimeHead(in)
	if err := validFields(head); err != nil {
		return reading{err: err}
	}
	m = reading{
		start:  fmt.Sprintf("%d.%d %s", resp.ProtoMajor, resp.ProtoMinor, strings.TrimRight(resp.Status, " ")),
		fields: head, close: resp.Close, framing: "none",
	}
	bodiless := method == http.MethodHead || resp.StatusCode < 200 || resp.StatusCode == 204 || resp.StatusCode == 304
	switch {
	case bodiless || resp.ContentLength == 0:
	case len(resp.TransferEncoding) > 0:
		m.framing = "chunked"
	case resp.ContentLength > 0:
		m.framing = fmt.Sprintf("length %d", resp.ContentLength)
	default:
		m.framing = "close"
	}
	m.readBody(resp.Body)
	m.rest = r.Len() + br.Buffered()
	return m
}

// readNetChunks reads a chunked body with its trailer section.
func readNetChunks(in []byte) (m reading) {
	r, br := source(in)
	if m.readBody(httputil.NewChunkedReader(br)); m.err != nil {
		return m
	}
	if m.fields = mimeFields(br); m.fields == nil {
		m.err = errors.New("bad trailer section")
	}
	if err := validFields(m.fields); err != nil {
		m.err = err
	}
	m.rest = r.Len() + br.Buffered()
	return m
}
