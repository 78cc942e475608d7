package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// origin is a scripted server that writes down every byte it receives.
type origin struct {
	addr, host, port string

	ln     net.Listener
	tls    *tls.Config // how it speaks TLS, if it does
	script func(*originConn)
	over   chan struct{} // closed when the test ends

	once     sync.Once
	mu       sync.Mutex
	conns    []*originConn
	requests []*message
}

// originConn is one accepted connection; reading from it records.
type originConn struct {
	net.Conn
	in *bufio.Reader
	o  *origin
	n  int // which connection this is, from 0

	mu     sync.Mutex
	got    bytes.Buffer
	poured int  // pieces that pourOut has got rid of
	done   bool // the script has ended
}

// newOrigin listens on 127.0.0.1 and runs script on each connection; the
// connection is closed when script returns.
func newOrigin(t testing.TB, script func(*originConn)) *origin {
	t.Helper()
	return newOriginAt(t, "127.0.0.1:0", script)
}

func newOriginAt(t testing.TB, addr string, script func(*originConn)) *origin {
	t.Helper()
	var secure *tls.Config
	if laneOf(t) == inspected {
		s, err := testAuthorities()
		if err != nil {
			t.Fatal(err)
		}
		secure = s.secure()
	}
	return newOriginTLS(t, addr, secure, script)
}

// newOriginTLS is newOriginAt for an origin that speaks TLS, unless conf is nil.
func newOriginTLS(t testing.TB, addr string, conf *tls.Config, script func(*originConn)) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{ln: ln, addr: ln.Addr().String(), script: script, tls: conf, over: make(chan struct{})}
	o.host, o.port, _ = net.SplitHostPort(o.addr)
	go o.accept()
	t.Cleanup(o.close)
	return o
}

func (o *origin) accept() {
	for {
		conn, err := o.ln.Accept()
		if err != nil {
			return
		}
		conn.SetDeadline(time.Now().Add(4 * patience))
		if o.tls != nil {
			conn = tls.Server(conn, o.tls)
		}
		o.mu.Lock()
		c := &originConn{Conn: conn, o: o, n: len(o.conns)}
		c.in = bufio.NewReader(c)
		o.conns = append(o.conns, c)
		o.mu.Unlock()
		go c.play()
	}
}

func (c *originConn) play() {
	defer c.Close()
	if c.greets() {
		c.o.script(c)
	}
	c.mu.Lock()
	c.done = true
	c.mu.Unlock()
}

// greets does the handshake of an origin that speaks TLS.
func (c *originConn) greets() bool {
	secure, ok := c.Conn.(*tls.Conn)
	return !ok || secure.Handshake() == nil
}

func (o *origin) close() {
	o.ln.Close()
	o.mu.Lock()
	o.once.Do(func() { close(o.over) })
	defer o.mu.Unlock()
	for _, c := range o.conns {
		c.Close()
	}
}

// Read records what arrives.
func (c *originConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.got.Write(p[:n])
	c.mu.Unlock()
	return n, err
}

// request reads the next request and files it with the origin. Nil means that
// the peer has ended or that what it sent has no single meaning.
func (c *originConn) request() *message {
	m, err := readRequest(c.in)
	if err != nil {
		return nil
	}
	c.o.file(m)
	return m
}

// head reads the head of the next request and leaves its body.
func (c *originConn) head() *message {
	m, err := readHead(c.in)
	if err != nil {
		return nil
	}
	c.o.file(m)
	return m
}

func (o *origin) file(m *message) {
	o.mu.Lock()
	o.requests = append(o.requests, m)
	o.mu.Unlock()
}

func (c *originConn) send(s string) error {
	_, err := io.WriteString(c.Conn, s)
	return err
}

// drain reads until the peer ends and returns the error that ended it, nil
// for an ordinary end.
func (c *originConn) drain() error {
	_, err := io.Copy(io.Discard, c.in)
	return err
}

func (c *originConn) closeWrite() { c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// reset ends the connection with a RST.
func reset(c net.Conn) {
	if o, ok := c.(*originConn); ok {
		c = o.Conn
	}
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// seen is every request received so far, in order of arrival.
func (o *origin) seen() []*message {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*message(nil), o.requests...)
}

// bytes is what each connection received so far.
func (o *origin) bytes() (all []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		c.mu.Lock()
		all = append(all, c.got.String())
		c.mu.Unlock()
	}
	return all
}

// dials counts accepted connections.
func (o *origin) dials() int { return len(o.bytes()) }

// open counts connections whose script still runs.
func (o *origin) open() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		c.mu.Lock()
		if !c.done {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// serve is a script: every request gets f's answer, on and on.
func serve(f func(*message) string) func(*originConn) {
	return func(c *originConn) {
		for r := c.request(); r != nil; r = c.request() {
			if c.send(f(r)) != nil {
				return
			}
		}
	}
}

// says is a script: every request gets this answer.
func says(answer string) func(*originConn) {
	return serve(func(*message) string { return answer })
}

// saysAndCloses is a script: one answer, then the end.
func saysAndCloses(answer string) func(*originConn) {
	return func(c *originConn) {
		if c.request() != nil {
			c.send(answer)
		}
	}
}

// echo is a script: what comes goes back.
func echo(c *originConn) { io.Copy(c.Conn, c.in) }

// places fills in where an origin is: {O} is HOST:PORT, {P} the port.
func (o *origin) places(s string) string {
	return strings.NewReplacer("{O}", o.addr, "{P}", o.port).Replace(s)
}
