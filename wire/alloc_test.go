//go:build !race

package wire_test

import (
	"strings"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/wire"
)

// allocatesNothing wants f, when it has run a few times, to allocate nothing.
func allocatesNothing(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(500, f); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}

func TestHeadsAllocNothing(t *testing.T) {
	var h wire.Head
	for name, in := range map[string]string{"Host only": question, "browser": browser} {
		b := []byte(in)
		allocatesNothing(t, name, func() {
			if err := h.ParseRequest(b); err != nil {
				t.Fatal(err)
			}
			for i := range h.Fields {
				h.Nominated(&h.Fields[i])
			}
			h.Get(wire.Host)
		})
	}
	b := []byte(served)
	allocatesNothing(t, "answer", func() {
		if err := h.ParseResponse(b); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRefusalsAllocNothing: garbage costs its sender more than us.
func TestRefusalsAllocNothing(t *testing.T) {
	var h wire.Head
	for _, c := range badRequests {
		b := []byte(c.in)
		allocatesNothing(t, c.name, func() {
			if h.ParseRequest(b) == nil {
				t.Fatalf("%q was accepted", c.in)
			}
		})
	}
}

// endless delivers the same bytes again and again, one piece a read.
type endless struct {
	script
	in   []byte
	at   int
	most int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), e.most)], e.in[e.at:])
	if e.at += n; e.at == len(e.in) {
		e.at = 0
	}
	return n, nil
}

func TestRequestsWithBodiesAllocNothing(t *testing.T) {
	for name, in := range map[string]string{
		"no body":        browser,
		"length":         sized("5000", strings.Repeat("b", 5000)),
		"length, long":   sized("100000", strings.Repeat("b", 100000)),
		"chunked":        chunkedHead + strings.Repeat("3e8;a=b\r\n"+strings.Repeat("b", 1000)+"\r\n", 200) + "0\r\n\r\n",
		"head of 30 KiB": framed(30<<10, strings.Repeat("b", 70000), false),
	} {
		for _, most := range []int{1000, 1 << 20} {
			c := open(t, &endless{in: []byte(in), most: most})
			var h wire.Head
			allocatesNothing(t, name, func() {
				if c.Await(time.Hour) != nil || c.ReadRequest(&h, time.Hour) != nil {
					t.Fatal("not read")
				}
				discardBody(t, c)
			})
		}
	}
}

// TestExchangeAllocsNothing: a client asks over the loopback, a server reads
// and answers, both with the limits and waits of a proxy.
func TestExchangeAllocsNothing(t *testing.T) {
	near, far := loopback(t)
	c, s := bounded(t, near), open(t, far)
	s.OnGone(func() {})
	go serve(s)
	var h wire.Head
	peek := false
	allocatesNothing(t, "exchange", func() {
		now := clock.Now()
		out := wire.NewBuffer()
		out.B = append(out.B, browser...)
		c.LimitRead(now, time.Minute)
		c.LimitWrite(now, time.Minute)
		if sent, err := c.Exchange(out.B, peek, out); err != nil || !sent {
			t.Fatal(sent, err)
		}
		peek = true
		if err := c.ReadResponse(&h, false); err != nil {
			t.Fatal(err)
		}
		discardBody(t, c)
		c.Release()
		c.Park(now, time.Minute)
		if !c.Unpark() {
			t.Fatal("closed")
		}
	})
}

// serve answers requests until the client has left.
func serve(c *wire.Conn) {
	var h wire.Head
	out := []byte(served)
	for {
		if c.Await(time.Minute) != nil || c.ReadRequest(&h, time.Minute) != nil {
			return
		}
		c.LimitRead(0, 0)
		c.SkipBody()
		c.BeginWait(clock.Now(), clock.Patience)
		if !c.EndWait() {
			return
		}
		c.LimitWrite(clock.Now(), time.Minute)
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// TestBuffersAllocNothing in steady state, and chunks are written without.
func TestBuffersAllocNothing(t *testing.T) {
	p := []byte("0123456789")
	allocatesNothing(t, "buffer", func() {
		b := wire.NewBuffer()
		b.B = wire.AppendChunk(wire.AppendField(b.B, p, p), p)
		b.Free()
	})
}
