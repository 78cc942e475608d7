package wire_test

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"viaduct/wire"
)

// sized is a request with a body of that length.
func sized(length, body string) string {
	return lines("POST / HTTP/1.1", "Host: a", "Content-Length: "+length) + body
}

func TestBodyEndsWithItsLength(t *testing.T) {
	for _, c := range []struct {
		name, length, body, want string
		err                      error
		left                     int
	}{
		{"nothing", "0", "", "", nil, 0},
		{"nothing, more behind it", "0", "GET", "", nil, 3},
		{"exactly", "5", "abcde", "abcde", nil, 0},
		{"more behind it", "5", "abcdeGET", "abcde", nil, 3},
		{"one byte short", "5", "abcd", "abcd", io.ErrUnexpectedEOF, 0},
		{"all of it missing", "5", "", "", io.ErrUnexpectedEOF, 0},
		{"far away", "999999999999999999", "abc", "abc", io.ErrUnexpectedEOF, 0},
	} {
		in := sized(c.length, c.body)
		conn := open(t, whole(in))
		var h wire.Head
		m := readRequest(conn, &h)
		if m.err != c.err || m.body != c.want || conn.Buffered() != c.left || conn.BodyDone() != (c.err == nil) {
			t.Errorf("%s: %s, %d bytes left", c.name, &m, conn.Buffered())
		}
		if got, want := string(conn.TakeBuffered()), c.body[len(c.want):]; got != want || conn.Buffered() != 0 {
			t.Errorf("%s: %q behind the body, want %q", c.name, got, want)
		}
	}
}

// TestBodyUntilClose: its end is the end of the connection, but no other end.
func TestBodyUntilClose(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n\r\n"
	for _, body := range []string{"", "a", strings.Repeat("abc", 40000)} {
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe} {
			nc := cut(seeded(t), head+body, 9000)
			nc.end = end
			c := open(t, nc)
			var h wire.Head
			m := readResponse(c, &h, false)
			if m.body != body || (m.err == nil) != (end == io.EOF) || c.BodyDone() != (end == io.EOF) || m.err != nil && m.err != end {
				t.Errorf("%d bytes, end %v: %s", len(body), end, &m)
			}
			if _, err := c.NextBody(); end == io.EOF && err != io.EOF {
				t.Errorf("after the end: %v", err)
			}
		}
	}
}

// TestWholeBody: it is returned when all of it is there, as often as asked,
// and is used up by SkipBody alone.
func TestWholeBody(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		whole          bool
	}{
		{"no body", lines("GET / HTTP/1.1", "Host: a") + "GET", "", true},
		{"length 0", sized("0", "GET"), "", true},
		{"all there", sized("3", "abc"), "abc", true},
		{"more behind it", sized("3", "abcGET"), "abc", true},
		{"not all there", sized("4", "abc"), "", false},
		{"chunked", chunkedHead + "0\r\n\r\n", "", false},
	} {
		conn := open(t, whole(c.in))
		var h wire.Head
		if err := conn.ReadRequest(&h, 0); err != nil {
			t.Fatal(err)
		}
		before := conn.Buffered()
		for range 2 {
			p, whole := conn.WholeBody()
			if string(p) != c.want || whole != c.whole || conn.Buffered() != before {
				t.Errorf("%s: %q, %v", c.name, p, whole)
			}
		}
		if !c.whole {
			continue
		}
		conn.SkipBody()
		if conn.SkipBody(); !conn.BodyDone() || conn.Buffered() != before-len(c.want) {
			t.Errorf("%s: %d bytes left", c.name, conn.Buffered())
		}
		if _, err := conn.NextBody(); err != io.EOF {
			t.Errorf("%s: %v behind the end", c.name, err)
		}
	}
}

// TestBodyMovesPastTheEngine: somebody else takes BodyLeft bytes from the
// connection, all or some, and the engine goes on behind them.
func TestBodyMovesPastTheEngine(t *testing.T) {
	r := seeded(t)
	for range 300 {
		body := strings.Repeat("0123456789", r.IntN(2000))
		in := sized(strconv.Itoa(len(body)), body)
		if r.IntN(2) == 0 {
			in = chunkedHead + chunk(r, body) + trailers(r)
		}
		nc := cut(r, in+padded(100), 1+r.IntN(20000))
		c := wire.New(nc, maxHead)
		var h wire.Head
		if err := c.ReadRequest(&h, 0); err != nil {
			t.Fatal(err)
		}
		got := moveBody(t, c, nc, r.IntN(3))
		if got != body {
			t.Fatalf("got %d bytes, want %d", len(got), len(body))
		}
		if m := readRequest(c, &h); m.err != nil || string(h.Method) != "GET" {
			t.Fatalf("next: %s", &m)
		}
		c.Drop()
	}
}

// moveBody reads a body and moves what may be moved past the engine: all of it
// at once, at most so many bytes, or all but one.
func moveBody(t *testing.T, c *wire.Conn, nc *script, way int) string {
	t.Helper()
	var got []byte
	for {
		p, err := c.NextBody()
		got = append(got, p...)
		if err == io.EOF {
			return string(got)
		}
		if err != nil {
			t.Fatal(err)
		}
		n := c.BodyLeft()
		if n > 0 && c.Buffered() > 0 {
			t.Fatal("bytes that are buffered may be moved")
		}
		switch {
		case p != nil:
			continue
		case way == 1:
			n = min(n, 100)
		case way == 2:
			n--
		}
		if n <= 0 {
			if err := c.FillBody(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		moved := make([]byte, n)
		k, err := io.ReadFull(nc, moved)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, moved...)
		c.Moved(int64(k))
	}
}

// TestLengthOfBodyLeft: it is what is known to come, and not there yet.
func TestLengthOfBodyLeft(t *testing.T) {
	for _, c := range []struct {
		name, in string
		read     bool // NextBody is called once
		want     int64
	}{
		{"no body", lines("GET / HTTP/1.1", "Host: a"), false, 0},
		{"length", sized("5", ""), false, 5},
		{"length, some buffered", sized("5", "ab"), false, 0},
		{"length, some read", sized("5", "ab"), true, 3},
		{"length, all read", sized("2", "ab"), true, 0},
		{"chunk not begun", chunkedHead, false, 0},
		{"chunk begun", chunkedHead + "5\r\n", true, 5},
		{"chunk, some read", chunkedHead + "5\r\nab", true, 3},
		{"chunk read", chunkedHead + "5\r\nabcde", true, 0},
		{"next chunk begun", chunkedHead + "5\r\nabcde\r\n6", true, 0},
	} {
		conn := open(t, whole(c.in))
		var h wire.Head
		if err := conn.ReadRequest(&h, 0); err != nil {
			t.Fatal(err)
		}
		if c.read {
			if _, err := conn.NextBody(); err != nil {
				t.Fatal(err)
			}
		}
		if got := conn.BodyLeft(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	conn := open(t, whole("HTTP/1.1 200 OK\r\n\r\n"))
	var h wire.Head
	if err := conn.ReadResponse(&h, false); err != nil || conn.BodyLeft() != 0 {
		t.Errorf("until close: %d, %v", conn.BodyLeft(), err)
	}
}

// TestBodyUntilCloseAfterALimit: a body can be asked for again when a wait for
// it has failed.
func TestBodyUntilCloseAfterALimit(t *testing.T) {
	near, far := loopback(t)
	c := open(t, near)
	send(t, far, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", wire.BufferSize*3/4)+"\r\n\r\n")
	var h wire.Head
	if err := c.ReadResponse(&h, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		time.AfterFunc(time.Millisecond, c.Abort)
		if err := c.FillBody(); !isDeadline(err) {
			t.Fatal(err)
		}
		if p, err := c.NextBody(); p != nil || err != nil {
			t.Fatal(p, err)
		}
		c.Revive()
	}
	send(t, far, "abc")
	if err := c.FillBody(); err != nil {
		t.Fatal(err)
	}
	if p, err := c.NextBody(); string(p) != "abc" || err != nil {
		t.Fatal(p, err)
	}
}
