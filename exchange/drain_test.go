package exchange_test

import (
	"strings"
	"testing"

	"viaduct/exchange"
)

func TestDiscardEndsWhoOwesARequest(t *testing.T) {
	o := play(t, polite)
	r := begin(t, nil)
	fresh, used := r.dial(), r.dial()
	used.say("%s", o.get())
	used.want("GET", 200)
	poll(t, "both are served", func() bool { return r.sessionCount() == 2 })
	poll(t, "both have ended", func() bool {
		r.each(func(s *exchange.Session) { s.Discard() })
		return r.sessionCount() == 0
	})
	fresh.over()
	used.over()
}

func TestDiscardLeavesExchangesAlone(t *testing.T) {
	proceed := make(chan struct{})
	came := make(chan struct{})
	o := play(t, func(p *peer) {
		p.request()
		close(came)
		<-proceed
		p.say(ok)
		p.request()
	})
	r := begin(t, nil)
	e := r.dial()
	e.say("%s", o.get())
	receive(t, "the request", came)
	for range 100 {
		r.each(func(s *exchange.Session) { s.Discard() })
	}
	close(proceed)
	e.want("GET", 200)
}

func TestDrainingEndsConnectionsAfterTheirExchange(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*peer)
		status int
	}{
		{"an answer", says(ok), 200},
		{"an answer in chunks", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), 200},
		{"a failure", hangUp, 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			came, proceed := make(chan struct{}), make(chan struct{})
			o := play(t, one(func(p *peer) { close(came); <-proceed; c.answer(p) }))
			r := begin(t, nil)
			e := r.dial()
			e.say("%s", o.get())
			receive(t, "the request", came)
			r.draining.Store(true)
			close(proceed)
			if a := e.want("GET", c.status); !a.Close {
				t.Error("the client is not told")
			}
			e.over()
		})
	}
}

// Cut ends a session wherever it is, and what it waits for.
func TestCutEndsEverything(t *testing.T) {
	const endlessAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
	silent := hole(t)
	for _, c := range []struct {
		name string
		at   func(*peer)              // after the request; then the origin waits for the end
		hang func(e *end, o *origin)  // what the client does
		is   func(e *end) (hung bool) // nil: the origin has had the request
	}{
		{"fresh", nil, func(*end, *origin) {}, nil},
		{"half a head", nil, func(e *end, _ *origin) { e.say("GET http") }, nil},
		{"dial", nil, func(e *end, _ *origin) { e.say("GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", silent) }, nil},
		{"dial for a tunnel", nil, func(e *end, _ *origin) { e.say("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", silent) }, nil},
		{"silent origin", hangUp, func(e *end, o *origin) { e.say("%s", o.get()) }, nil},
		{"half an answer", says(endlessAnswer + "x"), func(e *end, o *origin) { e.say("%s", o.get()); e.hear(endlessAnswer + "x") }, nil},
		{"half a body", hangUp, func(e *end, o *origin) { e.say("%shalf", o.request("POST", "Content-Length: 8\r\n")) }, nil},
		{"half a body, answered", says(ok), func(e *end, o *origin) {
			e.say("%shalf", o.request("POST", "Content-Length: 8\r\n"))
			e.want("POST", 200)
		}, nil},
		{"origin that does not read", hangUp, func(e *end, o *origin) { e.say("%s", o.request("POST", "Content-Length: 1000000000\r\n")); e.flood() }, nil},
		{"origin that answers and does not read", says(ok), func(e *end, o *origin) {
			e.say("%s", o.request("POST", "Content-Length: 1000000000\r\n"))
			e.want("POST", 200)
			e.flood()
		}, nil},
		{"client that does not read", func(p *peer) { p.say(endlessAnswer); p.flood() }, func(e *end, o *origin) { e.say("%s", o.get()) }, nil},
		{"lingering", nil, func(e *end, _ *origin) { e.say("CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n"); e.want("CONNECT", 400) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			ready, release := make(chan struct{}), make(chan struct{})
			o := play(t, func(p *peer) {
				p.head()
				c.at(p)
				close(ready)
				<-release
			})
			defer close(release)
			r := begin(t, nil)
			e := r.dial()
			c.hang(e, o)
			poll(t, "it is served", func() bool { return r.sessionCount() == 1 })
			if c.at != nil {
				receive(t, "the request", ready)
			}
			poll(t, "it has ended", func() bool {
				r.each((*exchange.Session).Cut)
				return r.sessionCount() == 0
			})
			if strings.Contains(stacks(), "exchange.(*Session).sendBody") {
				t.Error("an upload goes on")
			}
		})
	}
}
