package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"viaduct/wire"
)

// edges are sizes around those at which the engine changes its way.
func edges() (list []int) {
	for _, n := range []int{wire.BufferSize / 2, wire.BufferSize, wire.BufferSize * 3 / 2, maxHead - 2} {
		list = append(list, n-2, n-1, n, n+1, n+2)
	}
	return list
}

// framed is a request whose head is n bytes long, with the body behind it.
func framed(n int, body string, coded bool) string {
	field := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	if coded {
		field = "Transfer-Encoding: chunked\r\n"
		if body != "" {
			body = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
		}
		body += "0\r\nT: u\r\n\r\n"
	}
	start := "POST / HTTP/1.1\r\nHost: a\r\n" + field + "X: "
	return start + strings.Repeat("x", n-len(start)-4) + "\r\n\r\n" + body
}

// TestHeadsFillTheirBuffers: a head of any size is whole, stays where it is
// while the body behind it is read, and what comes after the body is the next
// request. readRest compares the head at every step.
func TestHeadsFillTheirBuffers(t *testing.T) {
	r := seeded(t)
	for _, n := range edges() {
		for _, size := range []int{0, 500, 3*wire.BufferSize + 7} {
			body := strings.Repeat("0123456789", size/10+1)[:size]
			for _, coded := range []bool{false, true} {
				in := framed(n, body, coded) + padded(n)
				for name, nc := range map[string]*script{
					"at once":              whole(in),
					"to the buffer's end":  {pieces: [][]byte{[]byte(in[:min(len(in), wire.BufferSize)]), []byte(in[min(len(in), wire.BufferSize):])}},
					"head alone":           {pieces: [][]byte{[]byte(in[:n]), []byte(in[n:])}},
					"head without its end": {pieces: [][]byte{[]byte(in[:n-1]), []byte(in[n-1:])}},
					"in pieces":            cut(r, in, 5000),
				} {
					t.Run(fmt.Sprintf("head %d, body %d, chunked %v, %s", n, size, coded, name), func(t *testing.T) {
						fills(t, nc, body)
					})
				}
			}
		}
	}
}

func fills(t *testing.T, nc *script, body string) {
	c := wire.New(nc, maxHead)
	var h wire.Head
	m := readRequest(c, &h)
	if m.err != nil || m.body != body || describe(&h) != m.head {
		t.Fatalf("%s", &m)
	}
	if m = readRequest(c, &h); m.err != nil || string(h.Method) != "GET" {
		t.Fatalf("next: %s", &m)
	}
	c.Drop()
}

// TestAnswersFillTheirBuffers is the same for a connection to an upstream,
// with interim answers before the one that has the body.
func TestAnswersFillTheirBuffers(t *testing.T) {
	r := seeded(t)
	for _, n := range edges() {
		body := strings.Repeat("b", 2*wire.BufferSize)
		start := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: ", len(body))
		final := start + strings.Repeat("x", n-len(start)-4) + "\r\n\r\n" + body
		interim := "HTTP/1.1 103 Early\r\nX: " + strings.Repeat("i", n/2) + "\r\n\r\n"
		for name, nc := range map[string]*script{"at once": whole(interim + interim + final), "in pieces": cut(r, interim+interim+final, 5000)} {
			c := wire.New(nc, maxHead)
			var h wire.Head
			for i, want := range []int{103, 103, 200} {
				m := readResponse(c, &h, false)
				if m.err != nil || h.Status != want || want == 200 && m.body != body {
					t.Fatalf("head %d, %s, answer %d: %s", n, name, i, &m)
				}
			}
			c.Drop()
		}
	}
}

// TestHeadStaysUntilRelease: what a head points to is not given to another
// connection while the body goes on in a second buffer.
func TestHeadStaysUntilRelease(t *testing.T) {
	body := strings.Repeat("b", 4*wire.BufferSize)
	in := framed(wire.BufferSize-10, body, false)
	c := wire.New(whole(in), maxHead)
	var h wire.Head
	if err := c.ReadRequest(&h, 0); err != nil {
		t.Fatal(err)
	}
	before := describe(&h)
	for !c.BodyDone() {
		if p, err := c.NextBody(); err != nil || p != nil {
			continue
		}
		if err := c.FillBody(); err != nil {
			t.Fatal(err)
		}
		b := wire.NewBuffer() // somebody else's
		b.B = append(b.B, strings.Repeat("!", wire.BufferSize)...)
		if describe(&h) != before {
			t.Fatal("head was overwritten")
		}
		b.Free()
	}
}

// TestBuffersAreEmpty: whatever stood in a buffer, who takes it next sees it
// empty and of one size; one that has grown does not come back.
func TestBuffersAreEmpty(t *testing.T) {
	for range 3 {
		b := wire.NewBuffer()
		if len(b.B) != 0 || cap(b.B) != wire.BufferSize {
			t.Fatalf("%d bytes in a buffer of %d", len(b.B), cap(b.B))
		}
		b.B = append(b.B, make([]byte, 100)...)
		b.Free()
		b = wire.NewBuffer()
		b.B = append(b.B, make([]byte, wire.BufferSize+1)...)
		b.Free()
	}
}
