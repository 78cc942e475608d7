package exchange_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// end is one end of a connection, in the test's hands.
type end struct {
	*net.TCPConn
	t        testing.TB
	r        *bufio.Reader
	released atomic.Bool // the test is over
}

func newEnd(t testing.TB, c net.Conn) *end {
	_ = c.SetDeadline(time.Now().Add(patience))
	return &end{TCPConn: c.(*net.TCPConn), t: t, r: bufio.NewReader(c)}
}

// dial opens a connection to the rig.
func (r *rig) dial() *end {
	r.t.Helper()
	e := newEnd(r.t, must[net.Conn](r.t)(net.Dial("tcp", r.l.Addr().String())))
	r.t.Cleanup(func() { _ = e.Close() })
	return e
}

func (e *end) say(format string, args ...any) {
	e.t.Helper()
	if _, err := fmt.Fprintf(e, format, args...); err != nil && !e.released.Load() {
		e.t.Errorf("write: %v", err)
	}
}

// head reads a message head, without its last empty line; "" at the end of the
// connection.
func (e *end) head() string {
	var b strings.Builder
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			return ""
		}
		if line == "\r\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

// hear expects text.
func (e *end) hear(text string) {
	e.t.Helper()
	b := make([]byte, len(text))
	if n, err := io.ReadFull(e.r, b); (err != nil || string(b) != text) && !e.released.Load() {
		e.t.Errorf("read %q, %v; want %q", b[:n], err, text)
	}
}

// rest is what comes until the connection ends, and how it ends.
func (e *end) rest() (string, error) {
	b, err := io.ReadAll(e.r)
	if errors.Is(err, os.ErrDeadlineExceeded) && !e.released.Load() {
		e.t.Errorf("the connection is still open, after %q", b)
	}
	return string(b), err
}

// over expects a connection to end, with nothing more in it.
func (e *end) over() {
	e.t.Helper()
	if got, _ := e.rest(); got != "" && !e.released.Load() {
		e.t.Errorf("%q, want the end of the connection", got)
	}
}

// reset ends the connection with a reset.
func (e *end) reset() {
	_ = e.SetLinger(0)
	_ = e.Close()
}

// reply is an answer and its body; err is how the body ended.
type reply struct {
	*http.Response
	body string
	err  error
}

// answer reads an answer to a request with that method.
func (e *end) answer(method string) reply {
	e.t.Helper()
	resp, err := http.ReadResponse(e.r, &http.Request{Method: method})
	if err != nil {
		e.t.Errorf("answer: %v", err)
		return reply{&http.Response{Header: http.Header{}}, "", err}
	}
	body, err := io.ReadAll(resp.Body)
	return reply{resp, string(body), err}
}

// want expects a whole answer with that status.
func (e *end) want(method string, status int) reply {
	e.t.Helper()
	a := e.answer(method)
	if a.StatusCode != status || a.err != nil {
		e.t.Errorf("%d %q, %v; want %d", a.StatusCode, a.body, a.err, status)
	}
	return a
}

// wantFault expects an answer of our own.
func (e *end) wantFault(method string, status int, kind string) {
	e.t.Helper()
	a := e.want(method, status)
	if got := a.Header.Get("Proxy-Status"); got != "viaduct; error="+kind {
		e.t.Errorf("Proxy-Status: %s, want %s", got, kind)
	}
}

// origin is a listener with a script for each connection.
type origin struct {
	t    testing.TB
	l    net.Listener
	addr string

	acting sync.WaitGroup

	mu    sync.Mutex // guards what follows
	heads []string
	ends  []*end
}

// peer is a connection to an origin: the nth, counted from 1.
type peer struct {
	*end
	o *origin
	n int
}

// play makes an origin. When the script returns, the connection ends.
func play(t testing.TB, script func(*peer)) *origin {
	t.Helper()
	o := &origin{t: t, l: must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))}
	o.addr = o.l.Addr().String()
	o.acting.Go(func() { o.accept(script) })
	t.Cleanup(func() {
		_ = o.l.Close()
		o.mu.Lock()
		for _, e := range o.ends {
			e.released.Store(true)
			_ = e.SetDeadline(time.Unix(1, 0))
		}
		o.mu.Unlock()
		o.acting.Wait()
	})
	return o
}

func (o *origin) accept(script func(*peer)) {
	for n := 1; ; n++ {
		c, err := o.l.Accept()
		if err != nil {
			return
		}
		p := &peer{newEnd(o.t, c), o, n}
		o.mu.Lock()
		o.ends = append(o.ends, p.end)
		o.mu.Unlock()
		o.acting.Go(func() { defer p.Close(); script(p) })
	}
}

// request reads the head of the next request; "" at the end of the connection.
func (p *peer) request() string {
	h := p.head()
	if h != "" {
		p.o.mu.Lock()
		p.o.heads = append(p.o.heads, h)
		p.o.mu.Unlock()
	}
	return h
}

// seen is the heads that came, to all connections.
func (o *origin) seen() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.heads...)
}

// count is how many of them have that method.
func (o *origin) count(method string) (n int) {
	for _, h := range o.seen() {
		if strings.HasPrefix(h, method+" ") {
			n++
		}
	}
	return n
}

func (o *origin) visits() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.ends)
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// polite answers every request that has no body.
func polite(p *peer) {
	for p.request() != "" {
		p.say(ok)
	}
}

// get is a GET for the root of an origin.
func (o *origin) get() string { return "GET http://" + o.addr + "/ HTTP/1.1\r\nHost: x\r\n\r\n" }

// request is a request for the root of an origin; fields end in CR LF each.
func (o *origin) request(method, fields string) string {
	return method + " http://" + o.addr + "/ HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n"
}
