package exchange_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"viaduct/upstream"
)

const (
	byChunks = "Transfer-Encoding: chunked\r\n"
	tooMuch  = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch"
)

func TestAnswerComesBeforeTheBodyHasEnded(t *testing.T) {
	o := play(t, func(p *peer) {
		for p.request() != "" {
			p.say(ok)
			p.hear("2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
		}
	})
	r := begin(t, nil)
	e := r.dial()
	for range 3 { // the connections stay, on both sides
		e.say("%s2\r\nab\r\n", o.request("POST", byChunks))
		e.want("POST", 200)
		e.say("2\r\ncd\r\n0\r\n\r\n")
	}
	_ = e.Close()
	poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
	if o.visits() != 1 {
		t.Errorf("%d connections to the origin, want one", o.visits())
	}
	for _, line := range r.logged() {
		if line["bytes_received"] != 4.0 || line["bytes_sent"] != 2.0 || line["status"] != 200.0 {
			t.Errorf("%v", line)
		}
	}
}

// Both sides talk at once, for longer than any buffer would help.
func TestBodiesFlowBothWaysAtOnce(t *testing.T) {
	const size = 8 << 20
	o := play(t, func(p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
		_, _ = io.CopyN(p, p.r, size)
		p.request()
	})
	e := begin(t, nil).dial()
	e.say("%s", o.request("POST", fmt.Sprintf("Content-Length: %d\r\n", size)))
	sent := make(chan error, 1)
	go func() { _, err := e.Write([]byte(strings.Repeat("0123456789abcdef", size/16))); sent <- err }()
	a := e.want("POST", 200)
	if err := receive(t, "the end of the upload", sent); err != nil || len(a.body) != size || strings.Trim(a.body, "0123456789abcdef") != "" {
		t.Errorf("%v, %d bytes", err, len(a.body))
	}
	e.say("%s", o.get())
}

// The origin has heard enough: its answer reaches a client that is still
// sending, whichever way the origin goes.
func TestEarlyRefusalReachesAClientThatIsSending(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		leave        func(*peer)
	}{
		{"says close, and closes", tooMuch, hangUp},
		{"says close, and resets", tooMuch, tear},
		{"says close, and stays", tooMuch, func(p *peer) { _, _ = p.rest() }},
		{"closes without a word of it", strings.Replace(tooMuch, "Connection: close\r\n", "", 1), hangUp},
		{"resets without a word of it", strings.Replace(tooMuch, "Connection: close\r\n", "", 1), tear},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			heard, left := make(chan struct{}), make(chan struct{})
			o := play(t, func(p *peer) {
				defer close(left)
				p.request()
				_, _ = io.CopyN(io.Discard, p.r, 100<<10)
				p.say("%s", c.answer)
				<-heard // a reset may overtake what was written before it
				c.leave(p)
			})
			e := begin(t, nil).dial()
			e.say("%s", o.request("POST", "Content-Length: 100000000\r\n"))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				b := make([]byte, 64<<10)
				for range 200 { // 12 MiB, then silence
					if _, err := e.Write(b); err != nil {
						return
					}
				}
			}()
			if a := e.want("POST", 413); a.body != "much" {
				t.Errorf("%q", a.body)
			}
			close(heard)
			receive(t, "the end of the sending", ended)
			_, _ = e.rest()
			receive(t, "the end at the origin", left)
		})
	}
}

// What is not a body ends the exchange: with 400 for the client, and without an
// end of the body for the origin.
func TestBadChunkIsNeverFinished(t *testing.T) {
	for _, bad := range []string{"zz\r\n", "2\r\nabXX", "-1\r\n", "2\nab\r\n", "fffffffffffffffff\r\n", "0\r\nbad trailer\r\n\r\n"} {
		got := make(chan string, 1)
		o := play(t, func(p *peer) {
			p.request()
			b, _ := p.rest()
			got <- b
		})
		e := begin(t, nil).dial()
		e.say("%s5\r\nhello\r\n", o.request("POST", byChunks))
		e.say("%s", bad)
		e.wantFault("POST", 400, "http_request_error")
		e.over()
		if b := receive(t, "the end at the origin", got); strings.Contains(b, "\r\n0\r\n") || !strings.HasPrefix(b, "5\r\nhello\r\n") {
			t.Errorf("%q: the origin got %q", bad, b)
		}
	}
}

// The blame is the client's each time, not only when its goroutine is quick.
func TestBadChunkIsAlwaysTheClientsFault(t *testing.T) {
	o := play(t, func(p *peer) { p.request(); _, _ = p.rest() })
	r := begin(t, nil)
	for range 300 {
		e := r.dial()
		e.say("%s5\r\nhello\r\nzz\r\n", o.request("POST", byChunks))
		e.wantFault("POST", 400, "http_request_error")
		_ = e.Close()
	}
}

func TestBadChunkAfterTheAnswerEndsBothConnections(t *testing.T) {
	ended := make(chan struct{})
	o := play(t, func(p *peer) {
		p.request()
		p.say(ok)
		_, _ = p.rest()
		close(ended)
	})
	e := begin(t, nil).dial()
	e.say("%s", o.request("POST", byChunks))
	e.want("POST", 200)
	e.say("zz\r\n")
	e.over()
	receive(t, "the end at the origin", ended)
}

func TestSlowBodyIs408(t *testing.T) {
	t.Parallel()
	ended := make(chan string, 1)
	o := play(t, func(p *peer) { p.request(); b, _ := p.rest(); ended <- b })
	r := begin(t, func(r *rig) { r.o.BodyTimeout = 200 * time.Millisecond })
	e := r.dial()
	e.say("%shalf", o.request("POST", "Content-Length: 8\r\n"))
	e.wantFault("POST", 408, "http_request_error")
	e.over()
	if b := receive(t, "the end at the origin", ended); b != "half" {
		t.Errorf("the origin got %q", b)
	}
	if log := r.logged(); log[0]["status"] != 408.0 || log[0]["bytes_received"] != 4.0 {
		t.Errorf("%v", log)
	}
}

// A body may take its time, as long as no gap is too long.
func TestSteadyBodyMayBeLong(t *testing.T) {
	t.Parallel()
	o := play(t, func(p *peer) {
		p.request()
		want := strings.Repeat("2\r\nab\r\n", 12) + "0\r\n\r\n"
		b := make([]byte, len(want))
		if _, err := io.ReadFull(p.r, b); err == nil && string(b) == want {
			p.say(ok)
		}
		p.request()
	})
	e := begin(t, func(r *rig) { r.o.BodyTimeout = 2 * time.Second; r.o.ResponseTimeout = time.Second }).dial()
	e.say("%s", o.request("POST", byChunks))
	longest := stalls(t)
	for range 12 {
		_, _ = e.Write([]byte("2\r\nab\r\n"))
		<-time.After(200 * time.Millisecond) // peer: in steps
	}
	if longest() > 500*time.Millisecond {
		t.Skipf("the machine stood still for %v", longest())
	}
	e.say("0\r\n\r\n")
	e.want("POST", 200)
}

// The connection was idle for most of its time when it was taken.
func TestLongUploadOnAReusedConnection(t *testing.T) {
	t.Parallel()
	o := play(t, func(p *peer) {
		p.request()
		p.say(ok)
		if p.request() == "" {
			return // the machine was too slow: idle for too long
		}
		p.hear("2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
		p.say(ok)
		p.request()
	})
	e := begin(t, func(r *rig) { r.pooling = upstream.Options{IdleTimeout: 300 * time.Millisecond} }).dial()
	e.say("%s", o.get())
	e.want("GET", 200)
	e.say("%s2\r\nab\r\n", o.request("POST", byChunks))
	<-time.After(600 * time.Millisecond) // peer: pauses
	e.say("2\r\ncd\r\n0\r\n\r\n")
	if a := e.answer("POST"); o.visits() != 1 {
		t.Skip("the machine was too slow to use the connection again")
	} else if a.StatusCode != 200 {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
}

// flood writes until the other side takes no more.
func (e *end) flood() {
	b := make([]byte, 64<<10)
	for err := error(nil); err == nil; {
		_ = e.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, err = e.Write(b)
	}
	_ = e.SetDeadline(time.Now().Add(patience))
}

func TestUploadThatTheOriginDoesNotReadIsBounded(t *testing.T) {
	for _, fields := range []string{"Content-Length: 100000000\r\n", byChunks} {
		answered, left := make(chan struct{}), make(chan struct{})
		o := play(t, func(p *peer) {
			defer close(left)
			p.request()
			<-answered
			_, _ = p.rest()
		})
		e := begin(t, func(r *rig) { r.o.BodyTimeout = 300 * time.Millisecond }).dial()
		e.say("%s", o.request("POST", fields))
		if fields == byChunks {
			e.say("5f5e100\r\n")
		}
		e.flood()
		e.wantFault("POST", 504, "http_response_timeout")
		close(answered)
		receive(t, "the end at the origin", left)
	}
}

func TestClientThatLeavesAnUploadIsNotCompleted(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(*end)
	}{{"closed", func(e *end) { _ = e.Close() }}, {"half-closed", func(e *end) { _ = e.CloseWrite() }}, {"reset", (*end).reset}} {
		t.Run(c.name, func(t *testing.T) {
			half, got := make(chan struct{}), make(chan string, 1)
			o := play(t, func(p *peer) {
				p.request()
				p.hear("5\r\nhello\r\n")
				close(half)
				b, _ := p.rest()
				got <- b
			})
			e := begin(t, nil).dial()
			e.say("%s5\r\nhello\r\n", o.request("POST", byChunks))
			receive(t, "the half", half)
			c.leave(e)
			if b := receive(t, "the end at the origin", got); b != "" {
				t.Errorf("the origin got %q", b)
			}
		})
	}
}

func TestExpectationIsTheOriginsToMeet(t *testing.T) {
	o := play(t, func(p *peer) {
		for h := p.request(); h != ""; h = p.request() {
			if !strings.Contains(h, "Expect: 100-continue") {
				p.t.Errorf("the expectation is lost: %q", h)
			}
			p.say("HTTP/1.1 100 Continue\r\n\r\n")
			p.hear("body")
			p.say(ok)
		}
	})
	e := begin(t, nil).dial()
	for range 2 {
		e.say("%s", o.request("POST", "Content-Length: 4\r\nExpect: 100-continue\r\n"))
		e.hear("HTTP/1.1 100 Continue\r\n\r\n")
		e.say("body")
		e.want("POST", 200)
	}
}

// An origin need not ask for a body that comes unasked. Once all of it has
// come, both connections are in order.
func TestExpectationThatNobodyWaitsFor(t *testing.T) {
	const size = 100 << 10
	o := play(t, func(p *peer) {
		for p.request() != "" {
			_, _ = io.CopyN(io.Discard, p.r, size)
			<-time.After(50 * time.Millisecond) // peer: thinks it over
			p.say(ok)
		}
	})
	e := begin(t, nil).dial()
	for range 2 {
		e.say("%s%s", o.request("POST", fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n", size)), strings.Repeat("x", size))
		if a := e.want("POST", 200); a.Close {
			t.Fatal("the connection ends")
		}
	}
	if o.visits() != 1 {
		t.Errorf("%d connections to the origin", o.visits())
	}
}

// A client that was not told to continue may send its body or not: nobody knows
// what comes next on either connection.
func TestRefusedExpectationEndsBothConnections(t *testing.T) {
	ended := make(chan struct{})
	o := play(t, func(p *peer) {
		p.request()
		p.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
		p.over()
		close(ended)
	})
	e := begin(t, nil).dial()
	e.say("%s", o.request("POST", "Content-Length: 4\r\nExpect: 100-continue\r\n"))
	if a := e.want("POST", 417); !a.Close {
		t.Error("the client is not told that the connection ends")
	}
	e.over()
	receive(t, "the end at the origin", ended)
}

func TestTrailersOfARequestGoOn(t *testing.T) {
	o := play(t, func(p *peer) {
		p.request()
		p.hear("2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n")
		p.say(ok)
		p.request()
	})
	e := begin(t, nil).dial()
	e.say("%s2;ext=\"1\"\r\nab\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\nX-Forwarded-For: me\r\n\r\n", o.request("POST", byChunks+"Trailer: X-Sum\r\n"))
	e.want("POST", 200)
}

func TestManyUploadsLeaveNothingBehind(t *testing.T) {
	o := play(t, func(p *peer) {
		for p.request() != "" {
			if _, err := io.CopyN(io.Discard, p.r, 70<<10); err != nil {
				return
			}
			p.say(ok)
		}
	})
	r := begin(t, nil)
	body := make([]byte, 70<<10)
	for range 30 {
		e := r.dial()
		e.say("%s", o.request("POST", fmt.Sprintf("Content-Length: %d\r\n", len(body))))
		_, err := e.Write(body)
		e.want("POST", 200)
		if err != nil && !errors.Is(err, syscall.EPIPE) {
			t.Error(err)
		}
		_ = e.Close()
	}
}
