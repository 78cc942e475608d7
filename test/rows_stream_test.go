package test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

var streamRows = []row{
	{"9110-7.6/stream-chunked", "T31", "Head and chunks reach the client as they come: the origin waits for the client's receipt before it goes on.", "", stream(
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\n%s\r\n")},
	{"9110-7.6/stream-length", "T31", "The same with Content-Length.", "", stream("HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n", "%s")},
	{"9110-7.6/stream-close-delimited", "T31", "The same with a close-delimited body.", "", stream("HTTP/1.1 200 OK\r\n\r\n", "%s")},
	{"9110-7.6/stream-sse", "T32", "The same with server-sent events: the head comes while the body is silent.", "", stream(
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\n%s\r\n")},
	{"9110-7.6/stream-request", "T31", "A request's head and chunks reach the origin as they come.", "", streamRequest},
	{"9110-7.6/full-duplex", "T31", "An answer that runs while the request is still sent passes, turn by turn.", "", fullDuplex},
	{"9112-9.3/early-refusal", "T31", "An origin that refuses a large upload and stops reading: the refusal arrives whole, nobody waits for ever.", "", earlyRefusal},
	{"9112-9.3/early-refusal-and-close", "T31", "The same when the origin closes at once.", "", earlyRefusalAndClose},
	{"9112-9.3/early-answer", "T31", "An origin that answers first and reads the body later: answer and body both arrive.", "", earlyAnswer},
}

// stream makes a row: the origin sends its head and five pieces, each only
// when the client has received what came before.
func stream(head, form string) func(*testing.T, *proxy) {
	return func(t *testing.T, p *proxy) {
		receipt := make(chan struct{})
		c, _ := stage(t, p, func(o *originConn) {
			o.head()
			o.send(head)
			for n := range 5 {
				<-receipt
				o.send(fmt.Sprintf(form, fmt.Sprintf("nr: %d", n)))
			}
			<-receipt
		})
		defer close(receipt)
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		m := c.head()
		if m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
		for n := range 5 {
			receipt <- struct{}{}
			if got := c.piece(m, 5); got != fmt.Sprintf("nr: %d", n) {
				t.Fatalf("piece %d is %q", n, got)
			}
		}
	}
}

// piece reads n more bytes of a body by the framing of m, however the chunks
// were cut.
func (c *client) piece(m *message, n int) string {
	c.Helper()
	c.hurry()
	part := &message{}
	for len(part.body) < n {
		size := n - len(part.body)
		if m.has("Transfer-Encoding") {
			var err error
			if size, err = readChunkSize(c.in); err != nil || size == 0 {
				c.Fatalf("chunk of %d bytes: %v", size, err)
			}
		}
		if err := part.take(c.in, size); err != nil {
			c.Fatalf("piece of a body: %q, %v", part.body, err)
		}
		if m.has("Transfer-Encoding") {
			c.read("\r\n")
		}
	}
	return part.body
}

func streamRequest(t *testing.T, p *proxy) {
	receipt := make(chan string)
	c, _ := stage(t, p, func(o *originConn) {
		if r := o.head(); r != nil {
			receipt <- "head"
		}
		for range 3 {
			size, err := readChunkSize(o.in)
			m := &message{}
			if err != nil || m.take(o.in, size+2) != nil {
				return
			}
			receipt <- m.body
		}
		o.drain()
	})
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, piece := range []string{"head", "one\r\n", "two\r\n", "six\r\n"} {
		if piece != "head" {
			c.send("3\r\n" + piece)
		}
		if got := receive(t, "the origin's receipt of "+piece, receipt); got != piece {
			t.Fatalf("the origin received %q, want %q", got, piece)
		}
	}
}

func fullDuplex(t *testing.T, p *proxy) {
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			size, err := readChunkSize(o.in)
			m := &message{}
			if err != nil || m.take(o.in, size+2) != nil {
				return
			}
			o.send(fmt.Sprintf("%x\r\n%s", size, m.body))
		}
	})
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n")
	m := c.head()
	for n := range 20 {
		word := fmt.Sprintf("ping%02d", n)
		c.send("6\r\n" + word + "\r\n")
		if got := c.piece(m, 6); got != word {
			t.Fatalf("got %q, want %q", got, word)
		}
	}
	c.send("0\r\n\r\n")
	if err := m.readBody(c.hurry().in, false); err != nil {
		t.Errorf("the end of the answer: %v", err)
	}
}

const upload = 32 << 20

// uploads sends the head and starts to send the body; done tells why the
// client stopped.
func uploads(c *client) (done chan error) {
	c.send(fmt.Sprintf("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: %d\r\n\r\n", upload))
	c.conn.SetDeadline(time.Now().Add(patience))
	done = make(chan error, 1)
	go func() {
		piece := strings.Repeat("u", 64<<10)
		for sent := 0; sent < upload; sent += len(piece) {
			if _, err := io.WriteString(c.conn, piece); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return done
}

// notStuck wants the upload to end, complete or refused, but not by patience.
func notStuck(t *testing.T, done chan error) {
	t.Helper()
	if err := receive(t, "the end of the upload", done); timed(err) {
		t.Errorf("the upload hangs: %v", err)
	}
}

func earlyRefusal(t *testing.T, p *proxy) {
	over := make(chan struct{})
	defer close(over)
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large")
		<-over
	})
	done := uploads(c)
	c.answer().want(t, 413, "too large")
	notStuck(t, done)
}

func earlyRefusalAndClose(t *testing.T, p *proxy) {
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large")
		o.closeWrite()
		o.Conn.SetReadDeadline(time.Now().Add(time.Second))
		o.drain()
	})
	done := uploads(c)
	c.answer().want(t, 413, "too large")
	notStuck(t, done)
}

func earlyAnswer(t *testing.T, p *proxy) {
	got := make(chan int64, 1)
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send(ok("already"))
		n, _ := io.CopyN(io.Discard, o.in, upload)
		got <- n
		serve(func(r *message) string { return ok(r.target()) })(o)
	})
	done := uploads(c)
	m := c.answer()
	m.want(t, 200, "already")
	notStuck(t, done)
	if n := receive(t, "the origin's count", got); n != upload {
		t.Errorf("the origin received %d of %d bytes", n, upload)
	}
	if !strings.EqualFold(m.get("Connection"), "close") {
		c.ask("GET http://{O}/next HTTP/1.1", "Host: {O}").answer().want(t, 200, "/next")
	}
}
