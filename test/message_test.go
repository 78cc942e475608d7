package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// message is a request or an answer as it stood on the wire.
type message struct {
	line    string // request line or status line
	fields  []field
	raw     string // the whole head, line ends included
	body    string
	trailer []field
	err     error // why the body is not whole; nil when it is
}

type field struct{ name, value string }

// readHead reads a head and refuses everything that is not plainly one.
func readHead(r *bufio.Reader) (*message, error) {
	m := &message{}
	for n := 0; ; n++ {
		line, err := r.ReadString('\n')
		m.raw += line
		switch {
		case err != nil:
			if m.raw != "" {
				err = fmt.Errorf("head cut after %q: %w", clip(m.raw), err)
			}
			return nil, err
		case !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\x00"):
			return nil, fmt.Errorf("malformed line %q", line)
		}
		line = line[:len(line)-2]
		switch {
		case n == 0:
			m.line = line
		case line == "":
			return m, nil
		default:
			f, err := parseField(line)
			if err != nil {
				return nil, err
			}
			m.fields = append(m.fields, f)
		}
	}
}

func parseField(line string) (field, error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !tchar(r) }) {
		return field{}, fmt.Errorf("malformed field %q", line)
	}
	return field{name, strings.Trim(value, " \t")}, nil
}

func tchar(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// get is the value of the first field of that name.
func (m *message) get(name string) string { v, _ := find(m.fields, name); return v }

// has tells whether a field of that name is there.
func (m *message) has(name string) bool { _, ok := find(m.fields, name); return ok }

func find(fields []field, name string) (string, bool) {
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			return f.value, true
		}
	}
	return "", false
}

// all is every value of that name.
func (m *message) all(name string) (values []string) {
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// word is one of the three words of the first line.
func (m *message) word(n int) string {
	if words := strings.SplitN(m.line, " ", 3); n < len(words) {
		return words[n]
	}
	return ""
}

func (m *message) method() string { return m.word(0) }
func (m *message) target() string { return m.word(1) }

func (m *message) status() int {
	code, err := strconv.Atoi(m.word(1))
	if err != nil {
		return -1
	}
	return code
}

// readRequest reads a request whose framing leaves no doubt.
func readRequest(r *bufio.Reader) (*message, error) {
	m, err := readHead(r)
	if err != nil {
		return nil, err
	}
	if err := unambiguous(m); err != nil {
		return m, err
	}
	return m, m.readBody(r, false)
}

// unambiguous checks that every reader would frame the message alike.
func unambiguous(m *message) error {
	lengths, codings := m.all("Content-Length"), m.all("Transfer-Encoding")
	switch {
	case len(lengths)+len(codings) > 1:
		return fmt.Errorf("more than one word on framing in %q", m.raw)
	case len(lengths) == 1 && (lengths[0] == "" || strings.Trim(lengths[0], "0123456789") != ""):
		return fmt.Errorf("Content-Length %q", lengths[0])
	case len(codings) == 1 && !strings.EqualFold(codings[0], "chunked"):
		return fmt.Errorf("Transfer-Encoding %q", codings[0])
	case strings.Count(m.line, " ") != 2 && !strings.HasPrefix(m.line, "HTTP/1."):
		return fmt.Errorf("request line %q", m.line)
	}
	return nil
}

// readAnswer reads an answer to a request with this method.
func readAnswer(r *bufio.Reader, method string) (*message, error) {
	m, err := readHead(r)
	if err != nil {
		return nil, err
	}
	code := m.status()
	switch {
	case !strings.HasPrefix(m.line, "HTTP/1.") || code < 100 || code > 999:
		return nil, fmt.Errorf("status line %q", m.line)
	case code < 200 || code == 204 || code == 304 || method == "HEAD" || method == "CONNECT" && code < 300:
		return m, nil
	}
	if err := unambiguous(m); err != nil {
		return m, err
	}
	m.err = m.readBody(r, true)
	return m, nil
}

// readBody reads what the head announces; untilEOF says that a message without
// framing lasts until the connection ends.
func (m *message) readBody(r *bufio.Reader, untilEOF bool) error {
	switch {
	case m.has("Transfer-Encoding"):
		return m.readChunks(r)
	case m.has("Content-Length"):
		n, err := strconv.Atoi(m.get("Content-Length"))
		if err != nil {
			return err
		}
		return m.take(r, n)
	case untilEOF:
		all, err := io.ReadAll(r)
		m.body = string(all)
		return err
	}
	return nil
}

func (m *message) take(r io.Reader, n int) error {
	buf := make([]byte, n)
	got, err := io.ReadFull(r, buf)
	m.body += string(buf[:got])
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// readChunks reads a chunked body and its trailer section, strictly.
func (m *message) readChunks(r *bufio.Reader) error {
	for {
		size, err := readChunkSize(r)
		if err != nil {
			return err
		}
		if size == 0 {
			return m.readTrailer(r)
		}
		if err := m.take(r, size); err != nil {
			return err
		}
		if end, err := r.ReadString('\n'); err != nil || end != "\r\n" {
			return fmt.Errorf("chunk ends with %q: %w", end, errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
}

func readChunkSize(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	digits, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return 0, fmt.Errorf("chunk line %q", line)
	}
	size, err := strconv.ParseInt(digits, 16, 32)
	return int(size), err
}

func (m *message) readTrailer(r *bufio.Reader) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		line, ok := strings.CutSuffix(line, "\r\n")
		if !ok {
			return fmt.Errorf("trailer line %q", line)
		}
		if line == "" {
			return nil
		}
		f, err := parseField(line)
		if err != nil {
			return err
		}
		m.trailer = append(m.trailer, f)
	}
}

// clip shortens what goes into a failure message.
func clip(s string) string {
	if len(s) > 400 {
		return s[:400] + "…"
	}
	return s
}

// lines joins lines to a head.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// ok is a plain answer.
func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}
