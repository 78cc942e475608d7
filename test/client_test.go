package test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client is a raw connection to the proxy.
type client struct {
	testing.TB
	conn interface { // TCP, or TLS over it
		net.Conn
		CloseWrite() error
	}
	in   *bufio.Reader
	fill func(string) string
	lane lane
	site string // HOST:PORT of the inspected tunnel that it is in
}

// dial connects to the proxy; the connection ends with the test.
func dial(t testing.TB, p *proxy) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{TB: t, conn: conn.(*net.TCPConn), in: bufio.NewReader(conn), fill: func(s string) string { return s }, lane: p.lane}
	c.arrive()
	return c.hurry()
}

// hurry gives the next operations their time.
func (c *client) hurry() *client {
	c.conn.SetDeadline(time.Now().Add(patience))
	return c
}

// ask sends a head made of lines.
func (c *client) ask(l ...string) *client {
	c.Helper()
	return c.send(lines(l...))
}

// send writes bytes, with the origin's place filled in.
func (c *client) send(s string) *client {
	c.Helper()
	if err := c.try(s); err != nil {
		c.Fatalf("send %q: %v", clip(s), err)
	}
	return c
}

// try is send for a peer that may already be gone.
func (c *client) try(s string) error {
	c.hurry()
	s = c.fill(s)
	if c.lane == inspected {
		var err error
		if s, err = c.enter(s); err != nil {
			return err
		}
	}
	_, err := io.WriteString(c.conn, s)
	return err
}

// answer reads the answer to a request that is not HEAD or CONNECT. A body
// that is not whole is in the message's err.
func (c *client) answer() *message {
	c.Helper()
	return c.answerTo("GET")
}

func (c *client) answerTo(method string) *message {
	c.Helper()
	m, err := readAnswer(c.hurry().in, method)
	if err != nil {
		c.Fatalf("answer to %s: %v", method, err)
	}
	return m
}

// head reads the head of an answer and leaves its body.
func (c *client) head() *message {
	c.Helper()
	m, err := readHead(c.hurry().in)
	if err != nil {
		c.Fatalf("head of an answer: %v", err)
	}
	return m
}

// read takes exactly the bytes of want from the connection.
func (c *client) read(want string) {
	c.Helper()
	buf := make([]byte, len(want))
	n, err := io.ReadFull(c.hurry().in, buf)
	if err != nil || string(buf) != want {
		c.Fatalf("read %q (%v), want %q", clip(string(buf[:n])), err, clip(want))
	}
}

// rest reads until the connection ends.
func (c *client) rest() (string, error) {
	all, err := io.ReadAll(c.hurry().in)
	return string(all), err
}

// ends wants the connection closed with nothing more said. A reset will do.
func (c *client) ends() {
	c.Helper()
	rest, err := c.rest()
	if rest != "" {
		c.Fatalf("more came before the end: %q", clip(rest))
	}
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.Fatalf("not closed: %v", err)
	}
}

// endsOrderly wants a FIN, not a reset.
func (c *client) endsOrderly() {
	c.Helper()
	if rest, err := c.rest(); rest != "" || err != nil {
		c.Fatalf("want an orderly end, got %q, %v", clip(rest), err)
	}
}

// isReset wants the connection to end with an error.
func (c *client) isReset() {
	c.Helper()
	if rest, err := c.rest(); !errors.Is(err, syscall.ECONNRESET) {
		c.Fatalf("want a reset, got %q, %v", clip(rest), err)
	}
}

// tunnel opens a tunnel to target.
func (c *client) tunnel(target string) *client {
	c.Helper()
	c.ask("CONNECT "+target+" HTTP/1.1", "Host: "+target)
	if m := c.answerTo("CONNECT"); m.status() != 200 {
		c.Fatalf("CONNECT %s: %q", c.fill(target), m.line)
	}
	return c
}

func (c *client) closeWrite() {
	c.Helper()
	if err := c.conn.CloseWrite(); err != nil {
		c.Fatal(err)
	}
}

// stage sets a client, the proxy and an origin in a row; {O} in what the
// client sends is the origin's HOST:PORT.
func stage(t testing.TB, p *proxy, script func(*originConn)) (*client, *origin) {
	t.Helper()
	o := newOrigin(t, script)
	c := dial(t, p)
	c.fill = o.places
	if c.lane == inspected {
		if _, err := c.enter(""); err != nil { // before goroutines send and read
			t.Fatal(err)
		}
	}
	return c, o
}

// want fails unless the answer has this status and this body, whole.
func (m *message) want(t testing.TB, status int, body string) {
	t.Helper()
	if m.status() != status || m.body != body || m.err != nil {
		t.Fatalf("got %q with body %q (%v), want %d with %q", m.line, clip(m.body), m.err, status, clip(body))
	}
}

// leaks are pieces of Go's error texts and of inner addresses that no client
// may read.
var leaks = []string{
	"127.0.0.1", "[::1]", "dial tcp", "connect:", "i/o timeout", "no such host", "lookup ", "read tcp",
	"write tcp", "->", "0x", "goroutine", ".go:", "EOF", "runtime error", "syscall", "context deadline",
}

// wantOwn fails unless the answer is the proxy's own, complete and discreet;
// it may name any of the tokens.
func (m *message) wantOwn(t testing.TB, status int, tokens ...string) {
	t.Helper()
	if m.status() != status || m.err != nil {
		t.Fatalf("got %q with body %q (%v), want status %d", m.line, clip(m.body), m.err, status)
	}
	m.discreet(t)
	got := m.get("Proxy-Status")
	for _, token := range tokens {
		if rest, ok := strings.CutPrefix(got, "viaduct; error="+token); ok && (rest == "" || rest[0] == ';') {
			return
		}
	}
	if len(tokens) > 0 {
		t.Fatalf("Proxy-Status %q, want viaduct; error=%s", got, strings.Join(tokens, " or "))
	}
}

// discreet fails unless the answer has the shape of our own answers and tells
// nothing of the inside.
func (m *message) discreet(t testing.TB) {
	t.Helper()
	if got := m.get("Proxy-Status"); got != "viaduct" && !strings.HasPrefix(got, "viaduct;") {
		t.Fatalf("Proxy-Status %q in %q, want viaduct; …", got, m.raw)
	}
	if !m.has("Content-Length") || m.body == "" {
		t.Fatalf("own answer without Content-Length or body: %q %q", m.raw, m.body)
	}
	for _, leak := range leaks {
		if strings.Contains(m.raw+m.body, leak) {
			t.Fatalf("the answer tells %q: %q %q", leak, m.raw, m.body)
		}
	}
}
