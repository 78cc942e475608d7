package exchange_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// message is a request or an answer of a conversation made up at random.
type message struct {
	head string // without the empty line
	body []byte // framed
	sum  string // of what is in it
}

// sizes around which buffers change hands.
var sizes = []int{0, 1, 100, 1000, 16 << 10, 32<<10 - 200, 32 << 10, 33 << 10, 64 << 10, 70 << 10, 200 << 10}

// compose makes a message from a start line and fields.
func compose(rnd *rand.Rand, start string, fields ...string) message {
	content := make([]byte, max(0, sizes[rnd.IntN(len(sizes))]+rnd.IntN(200)-100))
	for i := range content {
		content[i] = byte('a' + rnd.IntN(26))
	}
	m := message{head: start + "\r\n" + strings.Join(fields, "\r\n") + "\r\n", sum: sum(content)}
	if n := rnd.IntN(4); n > 0 { // fields of up to 60 KiB
		m.head += "X-Filler: " + strings.Repeat("f", rnd.IntN([]int{0, 100, 20 << 10, 60 << 10}[n]+1)) + "\r\n"
	}
	if rnd.IntN(2) == 0 {
		m.head += fmt.Sprintf("Content-Length: %d\r\n", len(content))
		m.body = content
		return m
	}
	m.head += "Transfer-Encoding: chunked\r\n"
	var b bytes.Buffer
	for len(content) > 0 {
		n := min(len(content), 1+rnd.IntN([]int{10, 1000, 100_000}[rnd.IntN(3)]))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, content[:n])
		content = content[n:]
	}
	b.WriteString("0\r\n\r\n")
	m.body = b.Bytes()
	return m
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// scatter writes bytes in pieces of random sizes.
func scatter(rnd *rand.Rand, w io.Writer, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), 1+rnd.IntN([]int{3, 500, 40_000, 1_000_000}[rnd.IntN(4)]))
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// answerAll is an origin that checks each request's sum, and answers at random,
// now and then before the request has ended.
func answerAll(seed uint64) func(*peer) {
	return func(p *peer) {
		rnd := rand.New(rand.NewPCG(seed, uint64(p.n)))
		for {
			req, err := http.ReadRequest(p.r)
			if err != nil {
				return
			}
			a := compose(rnd, "HTTP/1.1 200 OK", "X-Id: "+req.Header.Get("X-Id"))
			early := rnd.IntN(4) == 0
			answered := make(chan error, 1)
			answer := func() {
				out := ""
				if rnd.IntN(8) == 0 {
					out = "HTTP/1.1 103 Early Hints\r\n\r\n"
				}
				answered <- scatter(rnd, p, append([]byte(out+a.head+"X-Sum: "+a.sum+"\r\n\r\n"), a.body...))
			}
			if early {
				go answer()
			}
			body, err := io.ReadAll(req.Body)
			if want := req.Header.Get("X-Sum"); (err != nil || sum(body) != want) && !p.released.Load() {
				p.t.Errorf("request %s: %d bytes, %v, not those that were sent", req.Header.Get("X-Id"), len(body), err)
			}
			if !early {
				answer()
			}
			if <-answered != nil {
				return
			}
		}
	}
}

// converse sends n requests one behind the other, without waiting, and expects
// their answers in order.
func converse(t *testing.T, e *end, o *origin, seed uint64, n int) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	var pipeline bytes.Buffer
	for i := range n {
		m := compose(rnd, []string{"POST", "PUT", "QUERY"}[rnd.IntN(3)]+" http://"+o.addr+"/ HTTP/1.1", "Host: x", "X-Id: "+strconv.Itoa(i))
		fmt.Fprintf(&pipeline, "%sX-Sum: %s\r\n\r\n%s", m.head, m.sum, m.body)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		if err := scatter(rand.New(rand.NewPCG(seed, 1)), e, pipeline.Bytes()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	})
	defer sending.Wait()
	for i := range n {
		a := e.answer("POST")
		for a.StatusCode == 103 {
			a = e.answer("POST")
		}
		if a.err != nil || a.Header.Get("X-Id") != strconv.Itoa(i) || a.Header.Get("X-Sum") != sum([]byte(a.body)) {
			t.Errorf("seed %d, answer %d: %d %v, %d bytes, X-Id %s: %.200q", seed, i, a.StatusCode, a.err, len(a.body), a.Header.Get("X-Id"), a.body)
			_ = e.Close()
			return
		}
	}
}

// Whatever the sizes, the framing and the pieces in which bytes come: each
// request and each answer arrives as it was sent.
func TestRandomConversations(t *testing.T) {
	t.Parallel()
	for range 4 {
		seed := rand.Uint64()
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			o := play(t, answerAll(seed))
			r := begin(t, func(r *rig) { r.o.MaxHeader = 80 << 10; r.pooling.MaxHeader = 80 << 10 })
			converse(t, r.dial(), o, seed, 30)
		})
	}
}
