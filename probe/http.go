package probe

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	mostBody    = 64 << 10 // of a body that is matched
	mostAnswer  = 1 << 20  // of an answer in all: head, framing and body
	mostInterim = 5
	usualStatus = "200-399"
	agentName   = "viaduct" // User-Agent
)

// askHTTP asks over HTTP/1.1 and judges the status, then the body. Nothing is
// followed: a redirect is an answer.
func (c Check) askHTTP(ctx context.Context, e Endpoint, r *Result) error {
	good, err := parseStatus(cmp.Or(c.Status, usualStatus))
	if err != nil {
		return err
	}
	match, err := regexp.Compile(c.Body)
	if err != nil {
		return err
	}
	l, a, err := c.exchange(ctx, e)
	if err != nil {
		return err
	}
	defer l.close()
	r.Note = join(status(a), c.expiry(l.tls))
	if !slices.ContainsFunc(good, func(s span) bool { return s.has(a.StatusCode) }) {
		return fmt.Errorf("status %d, not of %s", a.StatusCode, cmp.Or(c.Status, usualStatus))
	}
	if c.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(a.Body, mostBody))
	if err != nil {
		return fmt.Errorf("read the body: %w", overdue(ctx, err))
	}
	if !match.Match(body) {
		return fmt.Errorf("the body does not match %q: it begins with %.60q", c.Body, body)
	}
	return nil
}

// exchange sends the request and reads the head of the answer. The caller
// closes the line, and leaves the body alone: closing that would read it to
// its end.
func (c Check) exchange(ctx context.Context, e Endpoint) (*line, *http.Response, error) {
	q, err := c.request()
	if err != nil {
		return nil, nil, err
	}
	l, err := c.open(ctx, e, "http/1.1")
	if err != nil {
		return nil, nil, err
	}
	q.Host = c.authority(l.at)
	a, err := l.roundTrip(q)
	if err != nil {
		l.close()
		return nil, nil, overdue(ctx, err)
	}
	return l, a, nil
}

func (l *line) roundTrip(q *http.Request) (*http.Response, error) {
	if err := q.Write(l.conn); err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	b := bufio.NewReader(io.LimitReader(l.conn, mostAnswer))
	for range mostInterim + 1 {
		a, err := http.ReadResponse(b, q)
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if a.StatusCode/100 != 1 || a.StatusCode == http.StatusSwitchingProtocols {
			return a, nil
		}
	}
	return nil, fmt.Errorf("more than %d interim answers", mostInterim)
}

// request is what is sent, but for its Host.
func (c Check) request() (*http.Request, error) {
	to, err := parsePath(cmp.Or(c.Path, "/"))
	if err != nil {
		return nil, err
	}
	method := cmp.Or(c.Method, http.MethodGet)
	if !isToken(method) || method == http.MethodConnect {
		return nil, fmt.Errorf("method %q: write one like GET or HEAD", method)
	}
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	return &http.Request{Method: method, URL: to, Header: fields, Close: true}, nil
}

func parsePath(s string) (*url.URL, error) {
	isOdd := func(r rune) bool { return r <= ' ' || r == '#' || r >= 0x7f }
	u, err := url.ParseRequestURI(s)
	if err != nil || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsFunc(s, isOdd) {
		return nil, fmt.Errorf("path %q: write one like /healthz: it begins with one slash, and what is special in it is percent-encoded", s)
	}
	return u, nil
}

// fields are those of the check. What frames the message and names its host is
// not among them.
func (c Check) fields() (http.Header, error) {
	h := http.Header{"User-Agent": {agentName}}
	for i, f := range c.Fields {
		name, value, ok := strings.Cut(f, ":")
		value = strings.Trim(value, " \t")
		isControl := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
		if !ok || !isToken(name) || strings.ContainsFunc(value, isControl) {
			return nil, fmt.Errorf("field %d: write Name: value", i+1) // it may hold a password, wherever the colon is
		}
		switch key := http.CanonicalHeaderKey(name); key {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Trailer", "Te":
			return nil, fmt.Errorf("field %d: %s is not for a check to send; its name has a setting of its own", i+1, key)
		case "User-Agent":
			h[key] = []string{value}
		default:
			h[key] = append(h[key], value)
		}
	}
	return h, nil
}

// isToken is RFC 9110 section 5.6.2.
func isToken(s string) bool {
	isOther := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}
	return s != "" && !strings.ContainsFunc(s, isOther)
}

// status is the status line as the operator may see it.
func status(a *http.Response) string {
	_, reason, _ := strings.Cut(a.Status, " ")
	reason = cmp.Or(clean(reason), http.StatusText(a.StatusCode))
	return strings.TrimSpace(fmt.Sprintf("%03d %s", a.StatusCode, reason))
}

// span is a range of statuses, both ends in it.
type span struct{ from, to int }

func (s span) has(code int) bool { return s.from <= code && code <= s.to }

func parseStatus(s string) ([]span, error) {
	var all []span
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, err := parseCode(from)
		b, err2 := parseCode(to)
		if err := errors.Join(err, err2); err != nil || a > b {
			return nil, fmt.Errorf("status %q: write numbers and ranges with commas, like 200-299,404", s)
		}
		all = append(all, span{a, b})
	}
	return all, nil
}

func parseCode(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || len(s) != 3 || n < 100 {
		return 0, fmt.Errorf("%q is no status", s)
	}
	return int(n), nil
}
