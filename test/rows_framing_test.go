package test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

var framingRows = []row{
	{"9112-6.1/cl-and-te", "T21", "Content-Length with Transfer-Encoding, in either order: 400, closed, nothing reaches the origin.", "", refusedFraming(
		"Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 0\r\nX: 1\r\ntransfer-encoding: chunked")},
	{"9110-8.6/two-lengths", "T22", "Two Content-Length lines, alike or not: 400, closed.", "", refusedFraming(
		"Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nX: 1\r\ncontent-length: 5")},
	{"9110-8.6/length-list", "T22", "A list in Content-Length: 400, closed.", "", refusedFraming(
		"Content-Length: 5, 5", "Content-Length: 5,6", "Content-Length: 5,", "Content-Length: ,5")},
	{"9110-8.6/invalid-length", "T22", "A Content-Length that is not plain digits, or too large to count: 400, closed.", "", refusedFraming(
		"Content-Length:", "Content-Length: +5", "Content-Length: -5", "Content-Length: -0", "Content-Length: 0x5", "Content-Length: 5 5", "Content-Length: 1e1",
		"Content-Length: 5.0", "Content-Length: 5_0", "Content-Length: five", "Content-Length: \"5\"", "Content-Length: 5;x", "Content-Length: 5\x0b",
		"Content-Length: 18446744073709551616", "Content-Length: 18446744073709551621", "Content-Length: 9223372036854775808", "Content-Length: 99999999999999999999999999")},
	{"9112-6.1/unknown-coding", "T23", "A Transfer-Encoding other than exactly chunked: 400 or 501, closed.", "", refusedFraming(
		"Transfer-Encoding: chunked, identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunkedx", "Transfer-Encoding: identity",
		"Transfer-Encoding:", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding: \"chunked\"",
		"Transfer-Encoding: chunked;a=b", "Transfer-Encoding: chunk", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x00")},
	{"9112-6.1/two-codings", "T23", "Two Transfer-Encoding lines: 400 or 501, closed.", "", refusedFraming(
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTRANSFER-ENCODING: identity")},
	{"9112-5.1/space-before-colon", "T24", "White space before the colon, or no name: 400, closed.", "", refusedFraming(
		"X : 1", "X\t: 1", "Transfer-Encoding : chunked", "Content-Length : 5", ": 1", " X: 1", "X Y: 1", "X", "X\x00: 1", "X\x0b: 1", "\xffX: 1", "X(: 1")},
	{"9112-5.2/obs-fold", "T24", "A folded line: 400, closed.", "", refusedFraming("X: 1\r\n 2", "X: 1\r\n\t2", "X: 1\r\n ", "Transfer-Encoding:\r\n chunked")},
	{"9112-2.2/bare-cr", "T24", "CR without LF anywhere in the head: 400, closed.", "", refusedFraming("X: 1\r2", "X: 1\r", "X: \r1", "X\r: 1", "X: 1\rTransfer-Encoding: chunked")},
	{"9112-2.2/bare-lf", "T24", "LF without CR anywhere in the head: 400, closed.", "", refusedFraming("X: 1\nY: 2", "X: 1\n", "X: 1\nTransfer-Encoding: chunked\r\nY: 1")},
	{"9110-5.5/control-characters", "T24", "NUL and other control characters in a value: 400, closed.", "", refusedFraming("X: a\x00b", "X: \x00", "X: a\x01b", "X: a\x7fb", "X: a\x1bb", "X: a\x0bb", "X: a\x0cb")},
	{"9112-3/request-line", "T24", "A request line that is not METHOD SP TARGET SP VERSION: 4xx or 5xx, closed.", "", requestLine},
	{"9112-2.2/first-bytes", "T24", "What is not a request at all (TLS, HTTP/2, noise) gets an answer or none, but the end.", "impatient", firstBytes},
	{"9112-6.1/http10-te", "T25", "Transfer-Encoding in HTTP/1.0: 400 or 501, closed.", "", http10TE},
	{"9112-7.1/chunk-size", "T26", "A chunk size that is garbage, signed, prefixed, padded or too large: 400, closed; the origin's request stays incomplete.", "", chunkSize},
	{"9112-7.1.1/chunk-extension", "T26", "Chunk extensions are dropped; malformed or endless ones are 400, closed.", "", chunkExtension},
	{"9112-7.1/chunk-end", "T26", "A chunk without its CRLF, or longer than it said: 400, closed; the origin's request stays incomplete.", "", chunkEnd},
	{"9112-7.1/bodies-arrive", "T26", "Bodies of every size and framing arrive whole; the framing of the origin's request is single.", "", bodiesArrive},
	{"9110-6.5/request-trailer", "T36", "A request's trailer fields reach the origin, in the trailer.", "", requestTrailer},
	{"9110-6.5.1/forbidden-request-trailer", "T36", "Framing, routing and credentials in a trailer are refused or dropped, never merged.", "", forbiddenRequestTrailer},
}

// refusedFraming makes a row: a POST with each of these field lines is
// answered 400 or 501 and closed; the origin hears nothing, neither of it nor
// of the request that stands behind it.
func refusedFraming(fields ...string) func(*testing.T, *proxy) {
	return func(t *testing.T, p *proxy) {
		for _, f := range fields {
			c, o := stage(t, p, says(ok("reached")))
			c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\n" + f + "\r\n\r\n0\r\n\r\nGET http://{O}/marker HTTP/1.1\r\nHost: {O}\r\n\r\n")
			isRefused(t, c, f)
			if o.dials() != 0 {
				t.Errorf("%q: the origin got %q", f, o.bytes())
			}
		}
	}
}

// isRefused wants one answer of our own with 400, 414, 431, 501 or 505, then
// the end.
func isRefused(t *testing.T, c *client, what string) {
	t.Helper()
	m, err := readAnswer(c.hurry().in, "GET")
	if err != nil {
		t.Errorf("%q: no answer: %v", what, err)
		return
	}
	if s := m.status(); s != 400 && s != 414 && s != 431 && s != 501 && s != 505 {
		t.Errorf("%q: got %q %q, want a refusal", what, m.line, m.body)
		return
	}
	m.discreet(t)
	if rest, _ := c.rest(); rest != "" {
		t.Errorf("%q: after the refusal came %q", what, clip(rest))
	}
}

func requestLine(t *testing.T, p *proxy) {
	for _, line := range []string{
		"GET  http://{O}/ HTTP/1.1", "GET http://{O}/  HTTP/1.1", " GET http://{O}/ HTTP/1.1", "GET\thttp://{O}/ HTTP/1.1", "GET http://{O}/\tHTTP/1.1",
		"GET http://{O}/ HTTP/1.1 ", "GET http://{O}/", "GET http://{O}/ ", "GET", "http://{O}/ HTTP/1.1", "G(T http://{O}/ HTTP/1.1", "G\x00T http://{O}/ HTTP/1.1",
		"GET http://{O}/ http/1.1", "GET http://{O}/ HTTP/1.10", "GET http://{O}/ HTTP/01.1", "GET http://{O}/ HTTP/1,1", "GET http://{O}/ HTTP/1", "GET http://{O}/ HTTP/ 1.1",
		"GET http://{O}/ HTTP/2.0", "GET http://{O}/ HTTP/3", "GET http://{O}/ HTTP/0.9", "GET http://{O}/ ICY/1.1", "GET http://{O}/a b HTTP/1.1", "GET http://{O}/a\x00b HTTP/1.1",
		"GET http://{O}/a\x7fb HTTP/1.1", "GET http://{O}/a\rb HTTP/1.1", "GET http://{O}/a\nb HTTP/1.1", "GET http://{O}/\r HTTP/1.1", "GET http://{O}/ HTTP/1.1\r", "GET http://{O}/ HTTP/1.1\x00",
	} {
		c, o := stage(t, p, says(ok("reached")))
		c.send(line + "\r\nHost: {O}\r\n\r\nGET http://{O}/marker HTTP/1.1\r\nHost: {O}\r\n\r\n")
		isRefused(t, c, line)
		if o.dials() != 0 {
			t.Errorf("%q: the origin got %q", line, o.bytes())
		}
	}
}

func firstBytes(t *testing.T, p *proxy) {
	noise := make([]byte, 512)
	for i := range noise {
		noise[i] = byte(i*7 + 3)
	}
	for _, first := range []string{
		"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + strings.Repeat("\x11", 160), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"\x00\x00\x00\x00\r\n\r\n", string(noise) + "\r\n\r\n", "\xef\xbb\xbfGET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n", "hello\r\n\r\n", "SSH-2.0-x\r\n\r\n",
	} {
		c, o := stage(t, p, says(ok("reached")))
		c.send(first)
		got, _ := c.rest()
		if got != "" && !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 5") && !bytes.HasPrefix([]byte(got), []byte{0x15, 3}) {
			t.Errorf("%q: got %q", clip(first), clip(got))
		}
		if o.dials() != 0 {
			t.Errorf("%q: the origin got %q", clip(first), o.bytes())
		}
	}
}

func http10TE(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("reached")))
	c.send("POST http://{O}/ HTTP/1.0\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	isRefused(t, c, "HTTP/1.0 with Transfer-Encoding")
	if o.dials() != 0 {
		t.Errorf("the origin got %q", o.bytes())
	}
}

// brokenChunks sends a chunked body that breaks, a marked request behind it,
// and wants a refusal; the origin may have seen the start of the request, but
// never its end nor anything of what stands behind.
func brokenChunks(t *testing.T, p *proxy, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		c, o := stage(t, p, says(ok("reached")))
		c.try("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n" + body + "GET http://{O}/marker HTTP/1.1\r\nHost: {O}\r\n\r\n")
		isRefused(t, c, clip(body))
		if n := len(o.seen()); n != 0 {
			t.Errorf("%q: the origin got a whole request: %q", clip(body), o.bytes())
		}
		if strings.Contains(strings.Join(o.bytes(), ""), "marker HTTP") {
			t.Errorf("%q: the origin got what stood behind: %q", clip(body), o.bytes())
		}
		poll(t, "the origin's connection is closed", func() bool { return o.open() == 0 })
	}
}

func chunkSize(t *testing.T, p *proxy) {
	brokenChunks(t, p, "\r\n", "g\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "-1\r\nhello\r\n0\r\n\r\n", "-0\r\n\r\n", " 5\r\nhello\r\n0\r\n\r\n",
		"5 \r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "5\rhello\r\n0\r\n\r\n", "5\r\rhello\r\n0\r\n\r\n", "5\x00\r\nhello\r\n0\r\n\r\n", "5_0\r\nhello\r\n0\r\n\r\n", "5 5\r\nhello\r\n0\r\n\r\n",
		"5,5\r\nhello\r\n0\r\n\r\n", "FFFFFFFFFFFFFFFF\r\nhello", "8000000000000000\r\nhello", "10000000000000005\r\nhello\r\n0\r\n\r\n", "00000000000000005\r\ng", "fffffffffffffffffffffff0\r\nhello",
		"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n", strings.Repeat("0", 5000)+"5\r\nhello\r\n0\r\n\r\n")
}

func chunkExtension(t *testing.T, p *proxy) {
	for _, ext := range []string{";a", ";a=b", ";a=\"b c\"", ";a=b;c=d"} {
		c, o := stage(t, p, serve(func(r *message) string { return ok(r.body) }))
		c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n5" + ext + "\r\nhello\r\n0" + ext + "\r\n\r\n")
		c.answer().want(t, 200, "hello")
		if strings.Contains(o.bytes()[0], ext) {
			t.Errorf("%q reached the origin: %q", ext, o.bytes()[0])
		}
	}
	brokenChunks(t, p, "5;a\nb\r\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n", "5;\x00\r\nhello\r\n0\r\n\r\n", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
		"5;"+strings.Repeat("a", 100_000)+"\r\nhello\r\n0\r\n\r\n", strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 5000))
}

func chunkEnd(t *testing.T, p *proxy) {
	brokenChunks(t, p, "5\r\nhello0\r\n\r\n", "5\r\nhelloworld\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhello\r\r\n0\r\n\r\n", "5\r\nhello \r\n0\r\n\r\n",
		"5\r\nhell\r\n0\r\n\r\n", "5\r\nhello\r\n\r\n0\r\n\r\n", "0\r\nX\r\n\r\n", "0\r\nX : 1\r\n\r\n", "0\r\nX: 1\n\r\n", "0\r\nX: \x00\r\n\r\n", "0\r\n X: 1\r\n\r\n", "0\r\nX: 1\r\n\t2\r\n\r\n", "0\n\r\n")
}

func bodiesArrive(t *testing.T, p *proxy) {
	for _, size := range []int{0, 1, 15, 4095, 4096, 16384, 65536, 65537, 300_000} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		c, o := stage(t, p, serve(func(r *message) string { return ok(r.body) }))
		c.send(fmt.Sprintf("POST http://{O}/a HTTP/1.1\r\nHost: {O}\r\nContent-Length: %d\r\n\r\n", size)).try(body)
		c.answer().want(t, 200, body)
		c.send("POST http://{O}/b HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n").try(chunked(body, 1000) + "0\r\n\r\n")
		c.answer().want(t, 200, body)
		c.send(fmt.Sprintf("PUT http://{O}/c HTTP/1.0\r\nContent-Length: %d\r\n\r\n", size)).try(body)
		c.answer().want(t, 200, body)
		if n := len(o.seen()); n != 3 {
			t.Errorf("the origin understood %d of 3 requests", n)
		}
	}
}

// chunked cuts a body into chunks, without the last one.
func chunked(body string, size int) string {
	var b strings.Builder
	for body != "" {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String()
}

func requestTrailer(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("fine")))
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5d41\r\n\r\n")
	c.answer().want(t, 200, "fine")
	got := o.seen()[0]
	if sum, _ := find(got.trailer, "X-Sum"); sum != "5d41" || got.body != "hello" || got.has("X-Sum") {
		t.Errorf("the origin got %q, trailer %q", got.raw, got.trailer)
	}
}

var forbiddenTrailers = []string{
	"Content-Length: 5", "Transfer-Encoding: chunked", "Host: evil.invalid", "Connection: close", "Proxy-Authorization: Basic dTpw", "X-Forwarded-For: 10.1.2.3", "Via: 1.1 inner", "Trailer: X", "TE: gzip", "Upgrade: h2c",
}

func forbiddenRequestTrailer(t *testing.T, p *proxy) {
	for _, f := range forbiddenTrailers {
		c, o := stage(t, p, says(ok("fine")))
		c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + f + "\r\nX-Sum: 1\r\n\r\n")
		if m := c.answer(); m.status() != 200 && m.status() != 400 {
			t.Errorf("%q: %q", f, m.line)
		}
		for _, got := range o.bytes() {
			if _, tail, _ := strings.Cut(got, "hello"); strings.Contains(tail, f) {
				t.Errorf("%q reached the origin: %q", f, got)
			}
		}
	}
}
