package test

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

var answerRows = []row{
	{"9112-6.3/answer-cl-and-te", "T27", "An answer with Content-Length and Transfer-Encoding: 502, the origin's connection is closed.", "", badAnswers(
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n")},
	{"9112-6.3/answer-two-lengths", "T27", "An answer with two lengths, a list or no plain number: 502, the origin's connection is closed.", "", badAnswers(
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello")},
	{"9112-6.1/answer-coding", "T27", "An answer coded otherwise than chunked, or by an HTTP/1.0 origin: 502, the origin's connection is closed.", "", badAnswers(
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nx", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
	{"9112-4/garbage", "T27", "What is not an HTTP answer: 502, the origin's connection is closed.", "", badAnswers(
		"garbage\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1\r\n\r\n", "ICY 200 OK\r\n\r\n",
		"http/1.1 200 OK\r\n\r\n", "HTTP/1.1 099 Low\r\n\r\n", "HTTP/1.1 -20 OK\r\n\r\n", " HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\nX: 1\n\n", "HTTP/1.1 200 O\x00K\r\n\r\n", "HTTP/1.1 200 OK\r\nX\r\n\r\n", "HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "\x00\r\n\r\n", "<html>oops</html>\r\n\r\n")},
	{"9112-4/status-line", "T27", "A status line without reason phrase, with an unknown code from 200 to 599, or with bytes beyond ASCII in the reason is an answer.", "", statusLine},
	{"9110-5.1/request-fields-in-answers", "T11", "Fields that mean something in requests only (Host, Expect, Max-Forwards) pass in an answer, whatever they say.", "", requestFieldsInAnswers},
	{"9112-5.1/answer-space-before-colon", "T27", "White space before a colon, or a folded line in an answer: 502, or the field arrives cleaned.", "", answerWhitespace},
	{"9110-15.6.3/no-answer", "T27", "An origin that closes, or resets, without an answer: 502.", "", noAnswer},
	{"9110-15.6.3/half-a-head", "T27", "An origin that closes within the head: 502.", "", halfAHead},
	{"9112-2.3/answer-head-too-large", "T27", "An answer head over the limit: 502 http_response_header_section_size.", "", answerHeadTooLarge},
	{"9112-8/cut-in-chunk", "T28", "An origin that dies within a chunk, by FIN or RST: the client sees no last chunk, then the end.", "", cutAnswers(
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello", "hello")},
	{"9112-8/cut-between-chunks", "T28", "An origin that dies between chunks: no last chunk is made up.", "", cutAnswers(
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello")},
	{"9112-8/cut-in-trailer", "T28", "An origin that dies within the trailer section: the client sees no end.", "", cutAnswers(
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n", "hello")},
	{"9112-8/broken-chunk", "T28", "An origin whose chunk is malformed midway: the client sees no end.", "", cutAnswers(
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nworld\r\n0\r\n\r\n", "hello")},
	{"9112-8/short-of-length", "T29", "An origin that dies short of Content-Length: the client's connection closes early.", "", cutAnswers(
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "hello")},
	{"9112-8/cut-for-http10", "T28", "The same for an HTTP/1.0 client: a chunked answer that breaks off ends in a reset, since no chunk can tell.", "", cutForHTTP10},
	{"9112-8/reset-of-close-delimited", "T30", "A close-delimited answer that ends with RST does not look whole.", "", resetOfCloseDelimited},
	{"9112-6.3/close-delimited", "T30", "A close-delimited answer arrives whole, and the next request works.", "", closeDelimited},
	{"9112-6.3/close-delimited-http10", "T30", "The same from an HTTP/1.0 origin and to an HTTP/1.0 client.", "", closeDelimitedHTTP10},
	{"9112-6.3/no-body-head", "T37", "HEAD: no body whatever the head announces; the next answer is aligned.", "", noBody("HEAD", "200 OK")},
	{"9112-6.3/no-body-204", "T37", "204: no body; the next answer is aligned.", "", noBody("GET", "204 No Content")},
	{"9112-6.3/no-body-304", "T37", "304: no body whatever Content-Length says; the next answer is aligned.", "", noBody("GET", "304 Not Modified")},
	{"9112-6.3/body-where-none-may-be", "T37", "A body behind HEAD, 204 or 304 is never another request's answer.", "", bodyWhereNone},
	{"9110-6.5/answer-trailer", "T36", "An answer's trailer fields reach the client, in the trailer.", "", answerTrailer},
	{"9110-6.5.1/forbidden-answer-trailer", "T36", "Framing and hop-by-hop fields in an answer's trailer are dropped, or the answer breaks off.", "", forbiddenAnswerTrailer},
	{"9112-7.1.1/answer-extensions", "T36", "Chunk extensions of an origin are dropped.", "", answerExtensions},
	{"9112-6.3/bodies-return", "T36", "Answers of every size and framing arrive whole.", "", bodiesReturn},
}

// badAnswers makes a row: each of these answers becomes a 502 of our own, and
// the connection that said it is not used again.
func badAnswers(answers ...string) func(*testing.T, *proxy) {
	return func(t *testing.T, p *proxy) {
		for _, answer := range answers {
			c, o := stage(t, p, says(answer))
			c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
			m, err := readAnswer(c.hurry().in, "GET")
			if err != nil || m.status() != 502 || m.err != nil {
				t.Errorf("%q: got %+v, %v, want 502", clip(answer), m, err)
				continue
			}
			m.discreet(t)
			poll(t, "the origin's connection is closed after "+clip(answer), func() bool { return o.open() == 0 })
			if n := len(o.seen()); n != 1 {
				t.Errorf("%q: the request was sent %d times", clip(answer), n)
			}
		}
	}
}

func answerWhitespace(t *testing.T, p *proxy) {
	for _, f := range []string{"X-Odd : 1", "X-Odd: 1\r\n 2", "X-Odd: 1\r\n\t2", "Content-Length : 2"} {
		c, _ := stage(t, p, saysAndCloses("HTTP/1.1 200 OK\r\n"+f+"\r\nX-Len: 1\r\n\r\nhi"))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		if m := c.answer(); m.status() != 502 && m.status() != 200 {
			t.Errorf("%q: got %q", f, m.raw)
		}
	}
}

func noAnswer(t *testing.T, p *proxy) {
	for name, end := range map[string]func(*originConn){
		"closes": func(c *originConn) { c.head() },
		"resets": func(c *originConn) { c.head(); reset(c) },
	} {
		c, o := stage(t, p, end)
		c.ask("POST http://{O}/ HTTP/1.1", "Host: {O}", "Content-Length: 0")
		c.answer().wantOwn(t, 502, "connection_terminated", "http_response_incomplete")
		if n := o.dials(); n != 1 {
			t.Errorf("%s: a POST was sent %d times", name, n)
		}
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		c.answer().wantOwn(t, 502, "connection_terminated", "http_response_incomplete")
	}
}

func halfAHead(t *testing.T, p *proxy) {
	for _, part := range []string{"H", "HTTP/1.1", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"} {
		c, _ := stage(t, p, saysAndCloses(part))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		c.answer().wantOwn(t, 502, "http_response_incomplete", "connection_terminated", "http_protocol_error")
	}
}

func answerHeadTooLarge(t *testing.T, p *proxy) {
	for _, head := range []string{
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 2<<20) + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: a\r\n", 300_000) + "\r\n",
	} {
		c, _ := stage(t, p, says(head))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		c.answer().wantOwn(t, 502, "http_response_header_section_size")
	}
}

// cutAnswers makes a row: the origin says this and dies, in either way; the
// client gets the bytes that came and sees that they are not all.
func cutAnswers(answer, body string) func(*testing.T, *proxy) {
	return func(t *testing.T, p *proxy) {
		for _, die := range []func(*originConn){func(*originConn) {}, func(c *originConn) { reset(c) }} {
			received := make(chan struct{})
			c, _ := stage(t, p, func(o *originConn) {
				o.head()
				o.send(answer)
				<-received
				die(o)
			})
			c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
			m := c.head()
			close(received)
			if m.status() == 502 {
				continue // seen before anything was passed on
			}
			if err := m.readBody(c.hurry().in, true); err == nil || !strings.HasPrefix(body, m.body) {
				t.Errorf("body %q with error %v, want a cut one", m.body, err)
			}
			c.ends()
		}
	}
}

func cutForHTTP10(t *testing.T, p *proxy) {
	c, _ := stage(t, p, saysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
	c.ask("GET http://{O}/ HTTP/1.0")
	c.isReset()
}

func resetOfCloseDelimited(t *testing.T, p *proxy) {
	received := make(chan struct{})
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 200 OK\r\n\r\nhello")
		<-received
		reset(o)
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	m := c.head()
	close(received)
	if err := m.readBody(c.hurry().in, true); err == nil {
		t.Errorf("%q with body %q looks whole", m.raw, m.body)
	}
}

func closeDelimited(t *testing.T, p *proxy) {
	body := strings.Repeat("line of a long body\n", 5000)
	for _, b := range []string{"", "short", body} {
		c, o := stage(t, p, saysAndCloses("HTTP/1.1 200 OK\r\nConnection: close\r\nX: 1\r\n\r\n"+b))
		for range 3 {
			c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
			m := c.answer()
			m.want(t, 200, b)
			if !m.has("Transfer-Encoding") && !m.has("Content-Length") {
				c.ends()
				c = dial(t, p)
				c.fill = o.places
			}
		}
	}
}

func closeDelimitedHTTP10(t *testing.T, p *proxy) {
	for _, version := range []string{"1.0", "1.1"} {
		c, o := stage(t, p, saysAndCloses("HTTP/1.0 200 OK\r\n\r\nhello"))
		c.ask("GET http://{O}/ HTTP/"+version, "Host: {O}")
		m := c.answer()
		m.want(t, 200, "hello")
		if version == "1.0" && m.has("Transfer-Encoding") {
			t.Errorf("an HTTP/1.0 client got chunks: %q", m.raw)
		}
		if !strings.HasPrefix(o.seen()[0].raw, "GET / HTTP/1.1\r\n") {
			t.Errorf("the origin got %q", o.seen()[0].raw)
		}
	}
}

// noBody makes a row: an answer without body keeps the connection aligned,
// whatever its head announces.
func noBody(method, status string) func(*testing.T, *proxy) {
	return func(t *testing.T, p *proxy) {
		for _, framing := range []string{"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 0\r\n", ""} {
			if strings.HasPrefix(status, "204") && framing != "" {
				continue // a sender must not; either reading is fine
			}
			c, _ := stage(t, p, serve(func(r *message) string {
				if r.target() == "/second" {
					return ok("second")
				}
				return "HTTP/1.1 " + status + "\r\nX: 1\r\n" + framing + "\r\n"
			}))
			c.ask(method+" http://{O}/ HTTP/1.1", "Host: {O}")
			m := c.answerTo(method)
			if got := fmt.Sprint(m.status()); !strings.HasPrefix(status, got) {
				t.Fatalf("%s with %q: got %q", method, framing, m.raw)
			}
			if strings.HasPrefix(framing, "Content-Length") && m.get("Content-Length") == "" {
				t.Errorf("%s with %q: the length is lost: %q", method, framing, m.raw)
			}
			c.ask("GET http://{O}/second HTTP/1.1", "Host: {O}").answer().want(t, 200, "second")
		}
	}
}

func bodyWhereNone(t *testing.T, p *proxy) {
	for method, answer := range map[string]string{
		"HEAD":   "HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"GET":    "HTTP/1.1 304 Not Modified\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"DELETE": "HTTP/1.1 204 No Content\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		c, _ := stage(t, p, serve(func(r *message) string {
			if r.target() == "/second" {
				return ok("second")
			}
			return answer
		}))
		c.ask(method+" http://{O}/ HTTP/1.1", "Host: {O}")
		if m := c.answerTo(method); m.status() == 502 {
			continue
		}
		c.ask("GET http://{O}/second HTTP/1.1", "Host: {O}").answer().want(t, 200, "second")
	}
}

func answerTrailer(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says("HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5d41\r\nx-Other: 2\r\n\r\n"))
	for range 2 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "TE: trailers")
		m := c.answer()
		m.want(t, 200, "hello")
		if sum, _ := find(m.trailer, "X-Sum"); sum != "5d41" || m.has("X-Sum") {
			t.Errorf("head %q, trailer %q", m.raw, m.trailer)
		}
	}
	old := dial(t, p)
	old.fill = c.fill
	old.ask("GET http://{O}/ HTTP/1.0").answer().want(t, 200, "hello")
}

func forbiddenAnswerTrailer(t *testing.T, p *proxy) {
	for _, f := range []string{"Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "Proxy-Authenticate: Basic", "Keep-Alive: 5", "Upgrade: h2c"} {
		c, _ := stage(t, p, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"+f+"\r\nX-Sum: 1\r\n\r\n"))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		m := c.answer()
		if m.err == nil {
			m.want(t, 200, "hello")
		}
		name, _, _ := strings.Cut(f, ":")
		if _, there := find(m.trailer, name); there {
			t.Errorf("%q reached the client in the trailer", f)
		}
	}
}

func answerExtensions(t *testing.T, p *proxy) {
	c, _ := stage(t, p, saysAndCloses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;secret=1\r\nhello\r\n0;secret\r\n\r\n"))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close")
	if got, err := c.rest(); err != nil || strings.Contains(got, "secret") || !strings.Contains(got, "hello") {
		t.Errorf("got %q, %v", got, err)
	}
}

func bodiesReturn(t *testing.T, p *proxy) {
	for _, size := range []int{0, 1, 4095, 4096, 16383, 16384, 65536, 65537, 1 << 20, 5_000_000} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for kind, answer := range map[string]string{
			"length":  ok(body),
			"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body, 60_000) + "0\r\n\r\n",
			"crumbs":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body[:min(size, 20_000)], 1) + chunked(body[min(size, 20_000):], 1<<20) + "0\r\n\r\n",
		} {
			c, _ := stage(t, p, says(answer))
			for range 2 {
				c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
				if m := c.answer(); m.body != body || m.err != nil {
					t.Fatalf("%s of %d bytes: got %d, %v", kind, size, len(m.body), m.err)
				}
			}
			c.ask("GET http://{O}/ HTTP/1.0", "Connection: close")
			if m, err := readAnswer(c.hurry().in, "GET"); err != nil || m.body != body || m.err != nil && m.err != io.EOF {
				t.Fatalf("%s of %d bytes to HTTP/1.0: %v", kind, size, err)
			}
		}
	}
}

func statusLine(t *testing.T, p *proxy) {
	for _, line := range []string{"HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 299 Odd", "HTTP/1.1 599 Odd", "HTTP/1.1 404 Nicht gefunden: \xfc", "HTTP/1.0 200 OK", "HTTP/1.1 200 a  b\tc"} {
		c, _ := stage(t, p, saysAndCloses(line+"\r\nContent-Length: 2\r\n\r\nhi"))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		if m := c.answer(); fmt.Sprint(m.status()) != line[9:12] || m.body != "hi" || m.err != nil {
			t.Errorf("%q: got %q %q, %v", line, m.raw, m.body, m.err)
		}
	}
}

func requestFieldsInAnswers(t *testing.T, p *proxy) {
	for _, f := range []string{"Host: a.example", "Host: a b", "Host: a\r\nHost: b", "Expect: the-unexpected", "Max-Forwards: x", "Via: 1.1 cdn", "TE: gzip"} {
		c, _ := stage(t, p, says("HTTP/1.1 200 OK\r\n"+f+"\r\nContent-Length: 2\r\n\r\nhi"))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		if m := c.answer(); m.status() != 200 || m.body != "hi" {
			t.Errorf("%q: got %q", f, m.raw)
		}
	}
}
