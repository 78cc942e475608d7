package exchange_test

import (
	"strings"
	"testing"
	"time"
)

// whole is a request with a small body that comes in one piece with its head.
func whole(o *origin, method string) string {
	if method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE" {
		return o.request(method, "")
	}
	return o.request(method, "Content-Length: 4\r\n") + "body"
}

// body takes the body that whole has.
func (p *peer) body(head string) {
	if strings.Contains(head, "Content-Length: 4") {
		p.hear("body")
	}
}

// dropper answers its first request well, and what it does with the second one
// on the first connection is for drop. Later connections are polite.
func dropper(drop func(*peer)) func(*peer) {
	return func(p *peer) {
		if p.n > 1 {
			for h := p.request(); h != ""; h = p.request() {
				p.body(h)
				p.say(ok)
			}
			return
		}
		p.request()
		p.say(ok)
		p.body(p.request())
		drop(p)
	}
}

func hangUp(*peer)    {}
func tear(p *peer)    { p.reset() }
func partly(p *peer)  { p.say("HTTP/1.1 20") }
func stammer(p *peer) { p.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") }

func TestRequestThatAStaleConnectionLost(t *testing.T) {
	for _, c := range []struct {
		name, method string
		drop         func(*peer)
		again        bool
	}{
		{"GET, closed", "GET", hangUp, true},
		{"GET, reset", "GET", tear, true},
		{"HEAD", "HEAD", hangUp, true},
		{"OPTIONS", "OPTIONS", hangUp, true},
		{"PUT with its whole body", "PUT", hangUp, true},
		{"DELETE", "DELETE", hangUp, true},
		{"POST, closed", "POST", hangUp, false},
		{"POST, reset", "POST", tear, false},
		{"PATCH", "PATCH", hangUp, false},
		{"unknown method", "BREW", hangUp, false},
		{"GET, half an answer", "GET", partly, false},
		{"GET, an interim answer", "GET", stammer, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := play(t, dropper(c.drop))
			e := begin(t, nil).dial()
			e.say("%s", o.get())
			e.want("GET", 200)
			e.say("%s", whole(o, c.method))
			a := e.answer(c.method)
			for a.StatusCode == 103 {
				a = e.answer(c.method)
			}
			status, times := 502, 1
			if c.again {
				status, times = 200, 2
			}
			sent := o.count(c.method)
			if c.method == "GET" {
				sent--
			}
			if a.StatusCode != status || sent != times {
				t.Errorf("%d, sent %d times; want %d and %d", a.StatusCode, sent, status, times)
			}
		})
	}
}

func TestFreshConnectionIsTriedOnce(t *testing.T) {
	o := play(t, func(p *peer) { p.request() })
	e := begin(t, nil).dial()
	e.say("%s", o.get())
	e.wantFault("GET", 502, "connection_terminated")
	if o.visits() != 1 {
		t.Errorf("%d tries, want one", o.visits())
	}
}

func TestSecondTryIsTheLast(t *testing.T) {
	o := play(t, func(p *peer) {
		if p.request(); p.n == 1 {
			p.say(ok)
			p.request()
		}
	})
	r := begin(t, nil)
	e := r.dial()
	e.say("%s", o.get())
	e.want("GET", 200)
	e.say("%s", o.get())
	e.wantFault("GET", 502, "connection_terminated")
	if o.visits() != 2 {
		t.Errorf("%d connections, want two", o.visits())
	}
	if tries := r.logged()[1]["tries"]; tries != 2.0 {
		t.Errorf("%v tries in the log, want 2", tries)
	}
}

func TestBodyThatIsNotWholeIsSentOnce(t *testing.T) {
	for _, method := range []string{"PUT", "POST"} {
		o := play(t, func(p *peer) {
			p.request()
			p.say(ok)
			p.request()
			p.hear("half")
		})
		e := begin(t, nil).dial()
		e.say("%s", o.get())
		e.want("GET", 200)
		e.say("%shalf", o.request(method, "Content-Length: 8\r\n"))
		e.wantFault(method, 502, "connection_terminated")
		if o.count(method) != 1 {
			t.Errorf("%s was sent %d times", method, o.count(method))
		}
	}
}

// What was never sent may be sent elsewhere, whatever it is.
func TestConnectionThatWasStaleBeforehandCostsNothing(t *testing.T) {
	const unasked = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		name, rest string
		spoil      func(*peer)
	}{
		{"whole body, closed", "Content-Length: 4\r\n\r\nbody", hangUp},
		{"whole body, unasked bytes", "Content-Length: 4\r\n\r\nbody", func(p *peer) { p.say(unasked) }},
		{"chunked body, closed", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", hangUp},
		{"chunked body, unasked bytes", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", func(p *peer) { p.say(unasked) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			spoil, spoilt := make(chan struct{}), make(chan struct{})
			o := play(t, func(p *peer) {
				p.request()
				if p.n > 1 {
					p.hear(c.rest[strings.Index(c.rest, "\r\n\r\n")+4:])
					p.say(ok)
					p.request()
					return
				}
				p.say(ok)
				<-spoil
				c.spoil(p)
				_ = p.CloseWrite()
				close(spoilt)
				p.request()
			})
			e := begin(t, nil).dial()
			e.say("%s", o.get())
			e.want("GET", 200)
			close(spoil)
			<-spoilt // over the loopback it is there at once
			e.say("POST http://%s/ HTTP/1.1\r\nHost: x\r\n%s", o.addr, c.rest)
			e.want("POST", 200)
			if o.count("POST") != 1 {
				t.Errorf("POST was sent %d times", o.count("POST"))
			}
		})
	}
}

// A body that streams while its reused connection breaks: what reads it must
// not be looked at by who wonders whether to repeat.
func TestStreamingBodyOnAConnectionThatBreaks(t *testing.T) {
	o := play(t, func(p *peer) {
		p.request()
		p.say(ok)
		p.request()
	})
	r := begin(t, nil)
	for range 100 {
		e := r.dial()
		e.say("%s", o.get())
		e.want("GET", 200)
		e.say("%s", o.request("PUT", "Transfer-Encoding: chunked\r\n"))
		for range 50 {
			if _, err := e.Write([]byte("4\r\nbody\r\n")); err != nil {
				break
			}
		}
		e.wantFault("PUT", 502, "connection_terminated")
		_ = e.Close()
	}
}

// All tries of a request together end within the response timeout.
func TestTriesShareTheirTime(t *testing.T) {
	t.Parallel()
	o := play(t, func(p *peer) {
		p.request()
		if p.n > 1 {
			p.request() // silence
			return
		}
		p.say(ok)
		p.request()
		<-time.After(1700 * time.Millisecond) // peer: hangs up late
	})
	longest := stalls(t)
	e := begin(t, func(r *rig) { r.o.ResponseTimeout = 2 * time.Second }).dial()
	e.say("%s", o.get())
	e.want("GET", 200)
	began := time.Now()
	e.say("%s", o.get())
	e.want("GET", 504)
	if took := time.Since(began); took > 3200*time.Millisecond+3*longest() {
		t.Errorf("two tries took %v, with a bound of 2 s for both", took)
	}
}
