package test

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// verdict is what may become of a shape of the corpus.
type verdict string

const (
	refusedV  verdict = "refused"
	acceptedV verdict = "accepted"
	eitherV   verdict = "either"
)

// shape is the start of a connection that two readers could understand
// differently.
type shape struct {
	name    string
	verdict verdict
	bytes   string
}

// TestSmuggling sends every shape with a marked request behind it and judges
// by what the origin received.
func TestSmuggling(t *testing.T) {
	p := start(t)
	for _, s := range smuggling {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			outcomes.note(t, "smuggling corpus")
			s.judge(t, p, s.bytes)
		})
	}
}

// TestLaneTable tells what became of each row on each lane, as far as the
// tests before it ran.
func TestLaneTable(t *testing.T) {
	var names []string
	for _, r := range conformance() {
		if lanesOf(r.name) != string(fast) {
			names = append(names, r.name)
		}
	}
	t.Log("\n" + outcomes.table(append(names, "smuggling corpus")))
	for name := range maps.Keys(merged(notOnLibrary, notInspected, notSecure)) {
		if !slices.ContainsFunc(conformance(), func(r row) bool { return r.name == name }) {
			t.Errorf("no row is called %s", name)
		}
	}
}

const marker = "GET http://{O}/marker HTTP/1.1\r\nHost: {O}\r\nX-Marker: yes\r\n\r\n"

func (s shape) judge(t *testing.T, p *proxy, bytes string) {
	c, o := stage(t, p, serve(func(r *message) string {
		return "HTTP/1.1 200 OK\r\nX-Origin: " + strings.ReplaceAll(r.target(), "http://", "") + "\r\nContent-Length: 2\r\n\r\nok"
	}))
	c.try(bytes + marker) // a refusal may come first
	answers := s.collect(t, c, strings.HasPrefix(bytes, "HEAD"))
	passed := 0
	for _, m := range answers {
		if m.has("X-Origin") {
			passed++
		}
	}
	if n := len(o.seen()); n > passed {
		t.Errorf("the origin read %d requests, the client got %d of its answers: %q", n, passed, o.bytes())
	}
	s.oneMeaning(t, o)
	accepted := len(answers) == 2 && answers[0].status() == 200 && answers[1].status() == 200
	switch {
	case accepted && s.verdict == refusedV:
		t.Errorf("accepted; the origin got %q", o.bytes())
	case accepted && !s.arrived(o):
		t.Errorf("accepted, but not as it was meant: the origin got %q", o.bytes())
	case !accepted && s.verdict == acceptedV:
		t.Errorf("refused: %q", answers[0].line)
	case !accepted && (len(answers) != 1 || answers[0].status() < 400):
		t.Errorf("neither accepted nor refused: %d answers, the first %q; the origin got %q", len(answers), answers[0].line, o.bytes())
	case !accepted && (s.marked(o) || len(o.seen()) > 0):
		t.Errorf("refused, but the origin got %q", o.bytes())
	}
}

// collect reads answers until two have come or the connection ends, and wants
// the end behind a refusal.
func (s shape) collect(t *testing.T, c *client, head bool) (answers []*message) {
	t.Helper()
	for len(answers) < 2 {
		method := "GET"
		if head && len(answers) == 0 {
			method = "HEAD"
		}
		m, err := readAnswer(c.hurry().in, method)
		if err != nil {
			if timed(err) || len(answers) == 0 {
				t.Fatalf("after %d answers: %v", len(answers), err)
			}
			return answers
		}
		answers = append(answers, m)
		if m.status() >= 400 {
			if rest, err := c.rest(); rest != "" || timed(err) {
				t.Fatalf("after the refusal %q: %q, %v", m.line, rest, err)
			}
			return answers
		}
	}
	return answers
}

// arrived tells whether the origin got the first request and the marked one, as
// two requests.
func (shape) arrived(o *origin) bool {
	got := o.seen()
	return len(got) == 2 && strings.HasPrefix(got[0].target(), "/first") && got[1].method() == "GET" && got[1].target() == "/marker" && got[1].has("X-Marker")
}

// marked tells whether the origin got anything of the marked request.
func (shape) marked(o *origin) bool {
	return strings.Contains(strings.Join(o.bytes(), ""), "X-Marker")
}

// oneMeaning reads again what the origin received: each head must be plain,
// in origin-form for the origin itself, with a framing on which all agree. The
// last request may be cut.
func (s shape) oneMeaning(t *testing.T, o *origin) {
	t.Helper()
	for _, got := range o.bytes() {
		r := bufio.NewReader(strings.NewReader(got))
		for {
			m, err := readHead(r)
			if err != nil {
				if strings.Contains(err.Error(), "malformed") {
					t.Errorf("the origin got %q: %v", got, err)
				}
				break
			}
			if err := s.plain(m, o); err != nil {
				t.Errorf("the origin got %q: %v", got, err)
			}
			if m.readBody(r, false) != nil {
				break
			}
			for _, f := range m.trailer {
				if slices.Contains([]string{"content-length", "transfer-encoding", "host"}, strings.ToLower(f.name)) {
					t.Errorf("the origin got the trailer field %q", f)
				}
			}
		}
	}
}

func (shape) plain(m *message, o *origin) error {
	switch hosts := m.all("Host"); {
	case unambiguous(m) != nil:
		return unambiguous(m)
	case len(hosts) != 1 || hosts[0] != o.addr:
		return fmt.Errorf("Host %q", hosts)
	case !strings.HasPrefix(m.target(), "/") && m.target() != "*" || m.word(2) != "HTTP/1.1":
		return fmt.Errorf("request line %q", m.line)
	case m.method() == "GET" && m.target() == "/smuggled":
		return fmt.Errorf("a smuggled request")
	}
	return nil
}

// post is a request with these field lines and this body.
func post(fields, body string) string {
	return "POST http://{O}/first HTTP/1.1\r\nHost: {O}\r\n" + fields + "\r\n\r\n" + body
}

// chunky is a chunked request with this body.
func chunky(body string) string { return post("Transfer-Encoding: chunked", body) }

// get is a GET with this request line and these field lines.
func get(line string, fields ...string) string {
	return lines(append([]string{line}, fields...)...)
}

const (
	whole    = "5\r\nhello\r\n0\r\n\r\n"
	smuggled = "GET /smuggled HTTP/1.1\r\nHost: {O}\r\n\r\n"
)

// smuggling is the corpus. The names say what is odd.
var smuggling = []shape{
	// Plain shapes, to see that the judge lets the innocent pass.
	{"plain/get", acceptedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}")},
	{"plain/length", acceptedV, post("Content-Length: 5", "hello")},
	{"plain/chunked", acceptedV, chunky(whole)},
	{"plain/body-that-looks-like-a-request", acceptedV, post("Content-Length: 30", "GET /smuggled HTTP/1.1\r\nX: 1\r\n\r\n"[:30])},
	{"plain/get-with-body", acceptedV, strings.Replace(post("Content-Length: 5", "hello"), "POST", "GET", 1)},
	{"plain/zero-length", acceptedV, post("Content-Length: 0", "")},
	{"plain/empty-chunks", acceptedV, chunky("0\r\n\r\n")},
	{"plain/host-of-another", acceptedV, get("GET http://{O}/first HTTP/1.1", "Host: other.invalid")},
	{"plain/underscore-is-another-field", eitherV, post("Content_Length: 99\r\nContent-Length: 5", "hello")},

	// Content-Length.
	{"length/plus", refusedV, post("Content-Length: +5", "hello")},
	{"length/minus", refusedV, post("Content-Length: -5", "hello")},
	{"length/minus-zero", refusedV, post("Content-Length: -0", "")},
	{"length/hex", refusedV, post("Content-Length: 0x5", "hello")},
	{"length/exponent", refusedV, post("Content-Length: 1e1", "hellohello")},
	{"length/trailing-space", eitherV, post("Content-Length: 5 ", "hello")},
	{"length/trailing-tab", eitherV, post("Content-Length: 5\t", "hello")},
	{"length/leading-zeros", eitherV, post("Content-Length: 005", "hello")},
	{"length/no-space", acceptedV, post("Content-Length:5", "hello")},
	{"length/inner-space", refusedV, post("Content-Length: 3 5", "hello")},
	{"length/comma", refusedV, post("Content-Length: 5, 5", "hello")},
	{"length/comma-differing", refusedV, post("Content-Length: 0, 36", smuggled)},
	{"length/empty", refusedV, post("Content-Length:", "")},
	{"length/empty-then-real", refusedV, post("Content-Length:\r\nContent-Length: 5", "hello")},
	{"length/twice-alike", refusedV, post("Content-Length: 5\r\nContent-Length: 5", "hello")},
	{"length/twice-differing", refusedV, post("Content-Length: 0\r\nContent-Length: 36", smuggled)},
	{"length/overflow-64", refusedV, post("Content-Length: 18446744073709551621", "hello")},
	{"length/overflow-63", refusedV, post("Content-Length: 9223372036854775813", "hello")},
	{"length/overflow-32", refusedV, post("Content-Length: 99999999999999999999", "hello")},
	{"length/vertical-tab", refusedV, post("Content-Length: \x0b5", "hello")},
	{"length/nul", refusedV, post("Content-Length: 5\x00", "hello")},
	{"length/quoted", refusedV, post(`Content-Length: "5"`, "hello")},
	{"length/space-before-colon", refusedV, post("Content-Length : 5", "hello")},
	{"length/fullwidth-digit", refusedV, post("Content-Length: ５", "hello")},
	{"length/underscored-number", refusedV, post("Content-Length: 1_0", "hellohello")},
	{"length/named-by-connection", eitherV, post("Connection: content-length\r\nContent-Length: 5", "hello")},
	{"length/folded", refusedV, post("Content-Length:\r\n 5", "hello")},

	// Transfer-Encoding.
	{"coding/with-length", refusedV, post("Content-Length: 5\r\nTransfer-Encoding: chunked", whole)},
	{"coding/before-length", refusedV, post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"+smuggled)},
	{"coding/with-length-named-by-connection", refusedV, post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")},
	{"coding/named-by-connection", eitherV, post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", whole)},
	{"coding/space-before-colon", refusedV, post("Transfer-Encoding : chunked", whole)},
	{"coding/space-before-colon-and-length", refusedV, post("Content-Length: 15\r\nTransfer-Encoding : chunked", whole)},
	{"coding/tab-before-colon", refusedV, post("Transfer-Encoding\t: chunked", whole)},
	{"coding/vertical-tab", refusedV, post("Transfer-Encoding:\x0bchunked", whole)},
	{"coding/form-feed", refusedV, post("Transfer-Encoding: \x0cchunked", whole)},
	{"coding/nul-behind", refusedV, post("Transfer-Encoding: chunked\x00", whole)},
	{"coding/tab-behind", eitherV, post("Transfer-Encoding: chunked\t", whole)},
	{"coding/no-space", acceptedV, post("Transfer-Encoding:chunked", whole)},
	{"coding/upper-case", eitherV, post("Transfer-Encoding: CHUNKED", whole)},
	{"coding/identity", refusedV, post("Transfer-Encoding: identity", whole)},
	{"coding/identity-and-length", refusedV, post("Transfer-Encoding: identity\r\nContent-Length: 15", whole)},
	{"coding/chunked-identity", refusedV, post("Transfer-Encoding: chunked, identity", whole)},
	{"coding/gzip-chunked", refusedV, post("Transfer-Encoding: gzip, chunked", whole)},
	{"coding/chunked-twice", refusedV, post("Transfer-Encoding: chunked, chunked", whole)},
	{"coding/list-with-empty", refusedV, post("Transfer-Encoding: ,chunked", whole)},
	{"coding/two-lines", refusedV, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", whole)},
	{"coding/two-lines-other-case", refusedV, post("Transfer-Encoding: chunked\r\ntransfer-encoding: cow", whole)},
	{"coding/empty", refusedV, post("Transfer-Encoding:", "")},
	{"coding/empty-and-length", refusedV, post("Transfer-Encoding:\r\nContent-Length: 15", whole)},
	{"coding/prefix", refusedV, post("Transfer-Encoding: xchunked", whole)},
	{"coding/suffix", refusedV, post("Transfer-Encoding: chunkedx", whole)},
	{"coding/parameter", refusedV, post("Transfer-Encoding: chunked;q=1", whole)},
	{"coding/quoted", refusedV, post(`Transfer-Encoding: "chunked"`, whole)},
	{"coding/folded", refusedV, post("Transfer-Encoding:\r\n chunked", whole)},
	{"coding/folded-behind", refusedV, post("Transfer-Encoding: chunked\r\n , identity", whole)},
	{"coding/bare-lf-before", refusedV, post("X: 1\nTransfer-Encoding: chunked", whole)},
	{"coding/bare-cr-before", refusedV, post("X: 1\rTransfer-Encoding: chunked", whole)},
	{"coding/bare-cr-in-name", refusedV, post("Transfer\r-Encoding: chunked", whole)},
	{"coding/http10", refusedV, "POST http://{O}/first HTTP/1.0\r\nHost: {O}\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + whole},
	{"coding/http10-and-length", refusedV, "POST http://{O}/first HTTP/1.0\r\nHost: {O}\r\nConnection: keep-alive\r\nContent-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n" + whole},
	{"coding/underscore", eitherV, post("Transfer_Encoding: chunked\r\nContent-Length: 5", "hello")},
	{"coding/latin1-lookalike", refusedV, post("Transfer-Encoding: \xa0chunked", whole)},
	{"coding/long-s", refusedV, post("Tranſfer-Encoding: chunked", whole)},

	// Chunks.
	{"chunk/prefix-0x", refusedV, chunky("0x5\r\nhello\r\n0\r\n\r\n")},
	{"chunk/space-and-semicolon", eitherV, chunky("5 ;a\r\nhello\r\n0\r\n\r\n")},
	{"chunk/space-behind", refusedV, chunky("5 \r\nhello\r\n0\r\n\r\n")},
	{"chunk/space-before", refusedV, chunky(" 5\r\nhello\r\n0\r\n\r\n")},
	{"chunk/bare-lf", refusedV, chunky("5\nhello\r\n0\r\n\r\n")},
	{"chunk/bare-lf-behind-data", refusedV, chunky("5\r\nhello\n0\r\n\r\n")},
	{"chunk/bare-cr", refusedV, chunky("5\rhello\r\n0\r\n\r\n")},
	{"chunk/minus", refusedV, chunky("-1\r\nhello\r\n0\r\n\r\n")},
	{"chunk/plus", refusedV, chunky("+5\r\nhello\r\n0\r\n\r\n")},
	{"chunk/seventeen-digits", refusedV, chunky("10000000000000005\r\nhello\r\n0\r\n\r\n")},
	{"chunk/overflow-to-zero", refusedV, chunky("10000000000000000\r\n\r\n")},
	{"chunk/sixteen-f", refusedV, chunky("ffffffffffffffff\r\nhello\r\n0\r\n\r\n")},
	{"chunk/leading-zeros", eitherV, chunky("0005\r\nhello\r\n0\r\n\r\n")},
	{"chunk/many-zeros-at-the-end", eitherV, chunky("5\r\nhello\r\n000\r\n\r\n")},
	{"chunk/garbage-behind-data", refusedV, chunky("5\r\nhelloXX0\r\n\r\n")},
	{"chunk/data-too-long", refusedV, chunky("5\r\nhello world\r\n0\r\n\r\n")},
	{"chunk/no-crlf-behind-data", refusedV, chunky("5\r\nhello0\r\n\r\n")},
	{"chunk/empty-size", refusedV, chunky("\r\nhello\r\n0\r\n\r\n")},
	{"chunk/not-hex", refusedV, chunky("5g\r\nhello\r\n0\r\n\r\n")},
	{"chunk/underscored-number", refusedV, chunky("0_5\r\nhello\r\n0\r\n\r\n")},
	{"chunk/extension-with-cr", refusedV, chunky("5;a\rb\r\nhello\r\n0\r\n\r\n")},
	{"chunk/extension-with-lf", refusedV, chunky("5;a\nb\r\nhello\r\n0\r\n\r\n")},
	{"chunk/extension-ends-in-lf", refusedV, chunky("5;a\nhello\r\n0\r\n\r\n")},
	{"chunk/extension-quoted-lf", refusedV, chunky("5;a=\"\n\"\r\nhello\r\n0\r\n\r\n")},
	{"chunk/extension-nul", refusedV, chunky("5;a=\x00\r\nhello\r\n0\r\n\r\n")},
	{"chunk/extension-plain", eitherV, chunky("5;a=b\r\nhello\r\n0;c\r\n\r\n")},
	{"chunk/last-with-lf", refusedV, chunky("5\r\nhello\r\n0\n\r\n")},
	{"chunk/trailer-ends-in-lf", refusedV, chunky("5\r\nhello\r\n0\r\nX: 1\n\r\n")},
	{"chunk/end-with-lf", refusedV, chunky("5\r\nhello\r\n0\r\n\n")},

	// Trailers.
	{"trailer/content-length", eitherV, chunky("5\r\nhello\r\n0\r\nContent-Length: 36\r\n\r\n")},
	{"trailer/transfer-encoding", eitherV, chunky("5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n")},
	{"trailer/host", eitherV, chunky("5\r\nhello\r\n0\r\nHost: evil.invalid\r\n\r\n")},
	{"trailer/request", refusedV, chunky("5\r\nhello\r\n0\r\n" + smuggled)},
	{"trailer/folded", refusedV, chunky("5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n")},
	{"trailer/space-before-colon", refusedV, chunky("5\r\nhello\r\n0\r\nX : 1\r\n\r\n")},

	// Lines.
	{"line/lf-only", refusedV, "GET http://{O}/first HTTP/1.1\nHost: {O}\n\n"},
	{"line/lf-in-request-line", refusedV, "GET http://{O}/first HTTP/1.1\nHost: {O}\r\n\r\n"},
	{"line/lf-ends-the-head", refusedV, "GET http://{O}/first HTTP/1.1\r\nHost: {O}\r\n\n"},
	{"line/cr-only", refusedV, "GET http://{O}/first HTTP/1.1\rHost: {O}\r\r"},
	{"line/cr-cr-lf", refusedV, "GET http://{O}/first HTTP/1.1\r\r\nHost: {O}\r\n\r\n"},
	{"line/leading-crlf", eitherV, "\r\n" + get("GET http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/two-leading-crlf", eitherV, "\r\n\r\n" + get("GET http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/crlf-between", eitherV, get("GET http://{O}/first HTTP/1.1", "Host: {O}") + "\r\n"},
	{"line/body-followed-by-crlf", eitherV, post("Content-Length: 5", "hello\r\n")},
	{"line/leading-lf", eitherV, "\n" + get("GET http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/leading-cr", refusedV, "\r" + get("GET http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/leading-space", refusedV, " " + get("GET http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/leading-nul", refusedV, "\x00" + get("GET http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/http-0.9", refusedV, "GET http://{O}/first\r\n\r\n"},
	{"line/http-1.2", eitherV, get("GET http://{O}/first HTTP/1.2", "Host: {O}")},
	{"line/http-1.10", refusedV, get("GET http://{O}/first HTTP/1.10", "Host: {O}")},
	{"line/http-2.0", refusedV, get("GET http://{O}/first HTTP/2.0", "Host: {O}")},
	{"line/http-2-preface", refusedV, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{"line/lower-case-version", refusedV, get("GET http://{O}/first http/1.1", "Host: {O}")},
	{"line/two-spaces", refusedV, get("GET  http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/two-spaces-before-version", refusedV, get("GET http://{O}/first  HTTP/1.1", "Host: {O}")},
	{"line/tab", refusedV, get("GET\thttp://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/version-twice", refusedV, get("GET http://{O}/first HTTP/1.1 HTTP/1.1", "Host: {O}")},
	{"line/space-behind-version", refusedV, get("GET http://{O}/first HTTP/1.1 ", "Host: {O}")},
	{"line/nul-in-target", refusedV, get("GET http://{O}/fi\x00rst HTTP/1.1", "Host: {O}")},
	{"line/space-in-target", refusedV, get("GET http://{O}/fi rst HTTP/1.1", "Host: {O}")},
	{"line/method-with-colon", refusedV, get("GET: http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/lower-case-method", eitherV, get("get http://{O}/first HTTP/1.1", "Host: {O}")},
	{"line/escaped-crlf-in-target", acceptedV, get("GET http://{O}/first%0d%0aX:%201 HTTP/1.1", "Host: {O}")},
	{"line/first-field-indented", refusedV, get("GET http://{O}/first HTTP/1.1", " Host: {O}")},
	{"line/empty-name", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}", ": x")},
	{"line/no-colon", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}", "GET /smuggled HTTP/1.1")},
	{"line/nul-in-value", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}", "X: a\x00b")},
	{"line/folded", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}", "X: a", " b")},
	{"line/lone-space", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}", " ")},

	// Routing.
	{"host/two", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}", "Host: other.invalid")},
	{"host/two-alike", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}", "host: {O}")},
	{"host/comma", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}, other.invalid")},
	{"host/userinfo", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: u@{O}")},
	{"host/space", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O} x")},
	{"host/path", refusedV, get("GET http://{O}/first HTTP/1.1", "Host: {O}/x")},
	{"host/space-before-colon", refusedV, get("GET http://{O}/first HTTP/1.1", "Host : {O}")},
	{"host/folded", refusedV, get("GET http://{O}/first HTTP/1.1", "Host:\r\n {O}")},
	{"host/missing", refusedV, get("GET http://{O}/first HTTP/1.1", "X-Host: {O}")},
	{"host/named-by-connection", eitherV, get("GET http://{O}/first HTTP/1.1", "Host: {O}", "Connection: host")},
	{"host/expect-and-length", acceptedV, post("Expect: 100-continue\r\nContent-Length: 5", "hello")},
	{"host/upgrade-h2c-with-body", acceptedV, post("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 5", "hello")},
}
