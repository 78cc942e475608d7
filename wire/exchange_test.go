package wire_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/wire"
)

const (
	question = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	answer   = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

// answers is an origin: it answers each question at once, until the end.
func answers(nc net.Conn) {
	b := make([]byte, len(question))
	for {
		if _, err := io.ReadFull(nc, b); err != nil {
			return
		}
		if _, err := nc.Write([]byte(answer)); err != nil {
			return
		}
	}
}

// ask does one exchange, as an upstream connection is used.
func ask(c *wire.Conn, h *wire.Head, peek bool) error {
	out := wire.NewBuffer()
	out.B = append(out.B, question...)
	if sent, err := c.Exchange(out.B, peek, out); err != nil || !sent {
		return err
	}
	m := readResponse(c, h, false)
	c.Release()
	switch {
	case m.err != nil:
		return m.err
	case m.body != "ok" || c.Buffered() != 0:
		return errors.New("another answer: " + m.String())
	}
	return nil
}

// TestAnswersAreNotLost: an answer that comes before the wait for it begins is
// seen all the same.
func TestAnswersAreNotLost(t *testing.T) {
	near, far := loopback(t)
	go answers(far)
	c := bounded(t, near)
	var h wire.Head
	for i := range 10000 {
		c.LimitRead(clock.Now(), patience)
		if err := ask(c, &h, i > 0); err != nil {
			t.Fatalf("exchange %d: %v", i, err)
		}
	}
}

// TestAnswerBeforeTheQuestion: an origin may speak first on a new connection,
// to say that it is too busy, and that must not be waited for in vain.
func TestAnswerBeforeTheQuestion(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(far *net.TCPConn)
	}{
		{"and waits", func(*net.TCPConn) {}},
		{"and ends", func(far *net.TCPConn) { far.CloseWrite() }},
		{"and closes", func(far *net.TCPConn) { far.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := loopback(t)
			conn := open(t, near)
			conn.LimitRead(clock.Now(), 2*time.Second)
			send(t, far, answer)
			c.end(far)
			poll(t, "answer arrives", func() bool { return !conn.Clean() })
			settle(t)
			var h wire.Head
			if err := ask(conn, &h, false); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// settle waits until the runtime has taken in what the kernel had to say of the
// readiness of all connections.
func settle(t *testing.T) {
	near, far := loopback(t)
	go answers(far)
	for range 10 {
		send(t, near, question)
		if _, err := io.ReadFull(near, make([]byte, len(answer))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStaleConnectionIsNotWrittenTo: what was closed while idle, or has said
// something that nobody asked for.
func TestStaleConnectionIsNotWrittenTo(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, far *net.TCPConn)
	}{
		{"ended", func(_ *testing.T, far *net.TCPConn) { far.CloseWrite() }},
		{"closed", func(_ *testing.T, far *net.TCPConn) { far.Close() }},
		{"reset", func(_ *testing.T, far *net.TCPConn) { far.SetLinger(0); far.Close() }},
		{"answered unasked", func(t *testing.T, far *net.TCPConn) { send(t, far, answer) }},
		{"one byte unasked", func(t *testing.T, far *net.TCPConn) { send(t, far, "\n") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := loopback(t)
			conn := bounded(t, near)
			if !conn.Clean() {
				t.Fatal("a new connection is not clean")
			}
			c.do(t, far)
			poll(t, "connection is stale", func() bool { return !conn.Clean() })
			out := wire.NewBuffer()
			out.B = append(out.B, question...)
			sent, err := conn.Exchange(out.B, true, out)
			if sent || !errors.Is(err, wire.ErrStale) {
				t.Errorf("sent %v, %v", sent, err)
			}
			conn.Close()
			far.SetReadDeadline(time.Now().Add(patience))
			if b, _ := io.ReadAll(far); len(b) > 0 {
				t.Errorf("the origin got %q", b)
			}
		})
	}
}

// TestExchangeSaysWhatWasSent: a request that was not sent may be repeated.
func TestExchangeSaysWhatWasSent(t *testing.T) {
	exchange := func(c *wire.Conn) (bool, error) {
		out := wire.NewBuffer()
		out.B = append(out.B, question...)
		return c.Exchange(out.B, false, out)
	}
	connect := func() *wire.Conn {
		near, _ := loopback(t)
		return open(t, near)
	}
	c := connect()
	c.Abort()
	if sent, err := exchange(c); sent || !isDeadline(err) {
		t.Errorf("aborted before: sent %v, %v", sent, err)
	}
	c = connect()
	c.LimitRead(clock.Now(), 10*time.Millisecond)
	if sent, err := exchange(c); !sent || !isDeadline(err) || !c.Aborted() {
		t.Errorf("no answer: sent %v, %v", sent, err)
	}
	c = connect()
	large := []byte(strings.Repeat("x", 32<<20))
	c.LimitWrite(clock.Now(), time.Second)
	if sent, err := c.Exchange(large, false, nil); !sent || !isDeadline(err) {
		t.Errorf("nobody reads: sent %v, %v", sent, err)
	}
	c.Close()
	if sent, err := exchange(c); sent || !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: sent %v, %v", sent, err)
	}
}

// TestOriginEndsInsteadOfAnswering: the error is the end, and the request was
// sent.
func TestOriginEndsInsteadOfAnswering(t *testing.T) {
	near, far := loopback(t)
	c := bounded(t, near)
	go func() {
		io.ReadFull(far, make([]byte, len(question)))
		far.Close()
	}()
	if sent, err := c.Exchange([]byte(question), true, nil); !sent || err != io.EOF {
		t.Errorf("sent %v, %v", sent, err)
	}
}

// TestExchangeWithoutReadiness: TLS and connections in memory are waited for
// by reading.
func TestExchangeWithoutReadiness(t *testing.T) {
	secure, origin := tlsPair(t)
	near, far := net.Pipe()
	defer far.Close()
	for name, nc := range map[string][2]net.Conn{"pipe": {near, far}, "TLS": {secure, origin}} {
		t.Run(name, func(t *testing.T) {
			go answers(nc[1])
			c := bounded(t, nc[0])
			var h wire.Head
			for i := range 100 {
				if err := ask(c, &h, i > 0); err != nil {
					t.Fatalf("exchange %d: %v", i, err)
				}
			}
			if !c.Clean() {
				t.Error("not clean")
			}
			nc[1].Close()
			sent, err := c.Exchange([]byte(question), true, nil)
			if err == nil || sent == errors.Is(err, wire.ErrStale) {
				t.Errorf("after the end: sent %v, %v", sent, err)
			}
		})
	}
}
