package wire_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"viaduct/wire"
)

// TestSplitsChangeNothing: a message is understood in the same way whether it
// comes at once, byte by byte or in any other pieces.
func TestSplitsChangeNothing(t *testing.T) {
	r := seeded(t)
	for _, in := range requestSeeds() {
		splits(t, r, in, func(nc *script) message {
			var h wire.Head
			return readRequest(wire.New(nc, maxHead), &h)
		})
	}
	for _, in := range answerSeeds() {
		for _, toHead := range []bool{false, true} {
			splits(t, r, in, func(nc *script) message {
				var h wire.Head
				return readResponse(wire.New(nc, maxHead), &h, toHead)
			})
		}
	}
}

func splits(t *testing.T, r *rand.Rand, in string, read func(*script) message) {
	t.Helper()
	want := read(whole(in))
	for range 5 {
		for _, nc := range []*script{bytewise(in), cut(r, in, 3), cut(r, in, 40)} {
			if got := read(nc); !got.same(&want) {
				t.Fatalf("%q\n in pieces %s\n at once %s", in, &got, &want)
			}
		}
	}
}

// requestSeeds are the requests of the tables, good and bad.
func requestSeeds() (list []string) {
	for _, c := range goodRequests {
		list = append(list, c.in)
	}
	for _, c := range badRequests {
		list = append(list, c.in)
	}
	for _, c := range badFramings {
		list = append(list, lines("POST / HTTP/1.1", "Host: a", c.line)+"0\r\n\r\n")
	}
	for _, c := range chunkings() {
		list = append(list, chunkedHead+c)
	}
	return list
}

// answerSeeds are the answers of the tables likewise.
func answerSeeds() (list []string) {
	for _, c := range goodAnswers {
		list = append(list, c.in)
	}
	for _, c := range badAnswers {
		list = append(list, c.in)
	}
	for _, c := range chunkings() {
		list = append(list, lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")+c)
	}
	return list
}

// order is one of many requests in a row, and what is to come out of it.
type order struct{ in, target, body string }

// orders makes n requests of all framings, most of them short.
func orders(r *rand.Rand, n int) (list []order, stream string) {
	for i := range n {
		o := order{target: fmt.Sprintf("/%d", i)}
		head := []string{"POST " + o.target + " HTTP/1.1", "Host: a", "X: " + strings.Repeat("x", size(r, 40<<10))}
		switch r.IntN(3) {
		case 0:
			o.in = lines(head...)
		case 1:
			o.body = strings.Repeat("b", size(r, 60<<10))
			o.in = lines(append(head, fmt.Sprintf("Content-Length: %d", len(o.body)))...) + o.body
		case 2:
			o.body = strings.Repeat("c", size(r, 60<<10))
			o.in = lines(append(head, "Transfer-Encoding: chunked")...) + chunk(r, o.body) + trailers(r)
		}
		list, stream = append(list, o), stream+o.in
	}
	return list, stream
}

// size is a number that is mostly small, and now and then up to most.
func size(r *rand.Rand, most int) int {
	if r.IntN(4) == 0 {
		return r.IntN(most)
	}
	return r.IntN(200)
}

// chunk codes s in chunks of random sizes, with extensions here and there.
func chunk(r *rand.Rand, s string) string {
	var b strings.Builder
	for s != "" {
		n := 1 + r.IntN(min(len(s), 1+size(r, 40<<10)))
		ext := ""
		if r.IntN(8) == 0 {
			ext = ";a=\"\\\";\";b"
		}
		fmt.Fprintf(&b, "%0*X%s\r\n%s\r\n", 1+r.IntN(3), n, ext, s[:n])
		s = s[n:]
	}
	return b.String() + "0\r\n"
}

func trailers(r *rand.Rand) string {
	return strings.Repeat("T: "+strings.Repeat("t", r.IntN(100))+"\r\n", r.IntN(3)*r.IntN(30)) + "\r\n"
}

// TestPipelinedRequestsComeOutOneByOne: however their bytes are cut, and
// whatever stands in the buffer already.
func TestPipelinedRequestsComeOutOneByOne(t *testing.T) {
	r := seeded(t)
	for range 10 {
		list, stream := orders(r, 30)
		for name, nc := range map[string]*script{
			"whole": whole(stream), "small": cut(r, stream, 700), "large": cut(r, stream, 50<<10), "buffers": cut(r, stream, 2*wire.BufferSize),
		} {
			c := wire.New(nc, maxHead)
			takeOrders(t, name, c, list)
			c.Drop()
		}
	}
}

func takeOrders(t *testing.T, name string, c *wire.Conn, list []order) {
	t.Helper()
	var h wire.Head
	for i, o := range list {
		m := readRequest(c, &h)
		if m.err != nil || string(h.Target) != o.target || m.body != o.body {
			t.Fatalf("%s, request %d %.60q: %s", name, i, o.in, &m)
		}
	}
	if m := readRequest(c, &h); m.err != io.EOF {
		t.Fatalf("%s, after the last: %s", name, &m)
	}
}

// TestPipelinedRequestsOverSockets is the same with readiness.
func TestPipelinedRequestsOverSockets(t *testing.T) {
	r := seeded(t)
	for range 3 {
		near, far := loopback(t)
		list, stream := orders(r, 100)
		go func() {
			for _, p := range cut(rand.New(rand.NewPCG(1, 1)), stream, 40<<10).pieces {
				if _, err := near.Write(p); err != nil {
					return
				}
			}
			near.CloseWrite()
		}()
		takeOrders(t, "loopback", bounded(t, far), list)
	}
}
