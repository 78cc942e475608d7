package exchange_test

import (
	"io"
	"strings"
	"testing"
	"time"
)

// sip reads n bytes in small steps with pauses between them.
func (e *end) sip(n int, pause time.Duration) {
	b := make([]byte, 64<<10)
	for n > 0 {
		m, err := io.ReadFull(e.r, b[:min(n, len(b))])
		if err != nil {
			return // the caller reads on, and sees it
		}
		n -= m
		<-time.After(pause) // peer: reads slowly
	}
}

// A client may be slow, as long as it takes something.
func TestSlowClientGetsItsAnswer(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	body := strings.Repeat("x", size)
	for _, c := range []struct{ name, head string }{
		{"by length", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12582912\r\n\r\n"},
		{"until close", "HTTP/1.1 200 OK\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := play(t, one(func(p *peer) { _, _ = io.WriteString(p, c.head+body) }))
			longest := stalls(t)
			e := begin(t, func(r *rig) { r.o.BodyTimeout = 700 * time.Millisecond }).dial()
			_ = e.SetReadBuffer(256 << 10)
			e.say("%s", o.request("GET", "Connection: close\r\n"))
			e.head()
			e.sip(size/8, 60*time.Millisecond) // nearly one and a half seconds
			_ = e.SetReadBuffer(8 << 20)
			rest, err := io.Copy(io.Discard, e.r)
			if longest() > 300*time.Millisecond {
				t.Skipf("the machine stood still for %v", longest())
			}
			if framed := int64(size - size/8); err != nil || rest < framed {
				t.Errorf("%d bytes of %d, then %v", rest, framed, err)
			}
		})
	}
}

// The time that an origin has for its answer ends with the head of the answer,
// also for one that came before the request had ended.
func TestSlowReaderOfAnEarlyAnswer(t *testing.T) {
	t.Parallel()
	const chunk = 16 << 10
	o := play(t, func(p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 1000 {
			_, _ = io.WriteString(p, "4000\r\n"+strings.Repeat("x", chunk)+"\r\n")
		}
		_, _ = io.ReadFull(p.r, make([]byte, len("2\r\nab\r\n0\r\n\r\n")))
		p.say("0\r\n\r\n")
		p.request()
	})
	longest := stalls(t)
	e := begin(t, func(r *rig) { r.o.ResponseTimeout = 700 * time.Millisecond }).dial()
	_ = e.SetReadBuffer(256 << 10)
	e.say("%s2\r\nab\r\n", o.request("POST", byChunks))
	_, _ = e.r.Peek(1)
	<-time.After(400 * time.Millisecond) // peer: lets buffers fill
	e.say("0\r\n\r\n")
	<-time.After(1500 * time.Millisecond) // peer: still does not read
	switch a := e.answer("POST"); {
	case longest() > 300*time.Millisecond:
		t.Skipf("the machine stood still for %v", longest())
	case a.StatusCode != 200 || a.err != nil || len(a.body) != 1000*chunk:
		t.Errorf("%d, %d bytes, %v", a.StatusCode, len(a.body), a.err)
	}
}
