package exchange_test

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/exchange"
	"viaduct/fault"
)

// realm is an origin that authenticates connections as NTLM does: it greets
// whoever has ended the handshake on the connection, and its answer to the
// second step fits the challenge of that connection alone.
type realm struct {
	*origin
	open  atomic.Int32 // connections
	heads atomic.Int32 // that came
}

func newRealm(t testing.TB) *realm {
	t.Helper()
	m := new(realm)
	m.origin = play(t, m.serve)
	return m
}

func (m *realm) serve(p *peer) {
	m.open.Add(1)
	defer m.open.Add(-1)
	for who := "nobody"; ; {
		r, err := http.ReadRequest(p.r)
		if err != nil {
			return
		}
		m.heads.Add(1)
		body, _ := io.ReadAll(r.Body)
		step, name, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "NTLM "), ":")
		switch {
		case step == "hello":
			p.say("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM %d\r\nContent-Length: 0\r\n\r\n", p.n)
			continue
		case step == fmt.Sprint(p.n):
			who = name
		case step != "":
			p.say("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")
			continue
		case r.Header.Get("Upgrade") != "":
			p.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n%s", who)
			_, _ = p.rest()
			return
		case r.URL.Path == "/close":
			return
		}
		answer := who + " " + string(body)
		p.say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	}
}

// login does the first two steps, and returns the field of the third.
func (m *realm) login(e *end, name string) string {
	e.t.Helper()
	e.say("%s", m.request("GET", "Authorization: NTLM hello\r\n"))
	challenge := e.want("GET", 401).Header.Get("WWW-Authenticate")
	return "Authorization: " + challenge + ":" + name + "\r\n"
}

// enter does all three.
func (m *realm) enter(e *end, name string) {
	e.t.Helper()
	e.say("%s", m.request("GET", m.login(e, name)))
	m.greets(e, name)
}

// greets expects an answer to a person.
func (m *realm) greets(e *end, name string) {
	e.t.Helper()
	if a := e.want("GET", 200); a.body != name+" " {
		e.t.Errorf("the answer is for %q, want %q", a.body, name)
	}
}

func (m *realm) ask(e *end, name string) {
	e.t.Helper()
	e.say("%s", m.get())
	m.greets(e, name)
}

func (m *realm) lasts(t testing.TB, want int32) {
	t.Helper()
	poll(t, fmt.Sprint("connections left: ", want), func() bool { return m.open.Load() == want })
}

func TestHandshakeIsDoneOnOneConnectionThatNobodyElseGets(t *testing.T) {
	m := newRealm(t)
	r := begin(t, nil)
	alice, bob := r.dial(), r.dial()
	m.enter(alice, "alice")
	m.ask(bob, "nobody")
	m.ask(alice, "alice")
	m.enter(bob, "bob")
	m.ask(alice, "alice")
	m.ask(bob, "bob")
	if n := m.visits(); n != 2 {
		t.Errorf("%d connections, want one each", n)
	}
	_ = alice.Close()
	m.lasts(t, 1)
	m.ask(r.dial(), "nobody")
}

// The connection that the first step is taken on may be one of the pool: nobody
// is known there.
func TestHandshakeBeginsOnAnIdleConnection(t *testing.T) {
	m := newRealm(t)
	r := begin(t, nil)
	first := r.dial()
	m.ask(first, "nobody")
	poll(t, "it is idle", func() bool { return r.pool.Count() == 1 })
	alice := r.dial()
	m.enter(alice, "alice")
	if m.visits() != 1 {
		t.Error("it was not used")
	}
	m.ask(first, "nobody")
	m.ask(alice, "alice")
}

func TestBodyComesWithTheLastStep(t *testing.T) {
	for _, c := range []struct{ name, fields, first, rest string }{
		{"whole", "Content-Length: 4\r\n", "body", ""},
		{"in pieces", "Content-Length: 4\r\n", "bo", "dy"},
		{"in chunks", "Transfer-Encoding: chunked\r\n", "4\r\nbo", "dy\r\n0\r\n\r\n"},
		{"behind its head", "Content-Length: 4\r\n", "", "body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newRealm(t)
			r := begin(t, nil)
			e := r.dial()
			last := m.login(e, "alice")
			came := m.heads.Load()
			e.say("%s%s", m.request("POST", last+c.fields), c.first)
			if c.rest != "" {
				poll(t, "the head has come", func() bool { return m.heads.Load() > came })
				e.say("%s", c.rest)
			}
			if a := e.want("POST", 200); a.body != "alice body" {
				t.Errorf("%q", a.body)
			}
			m.ask(r.dial(), "nobody")
			m.ask(e, "alice")
		})
	}
}

// What names the schemes, and what only looks like it.
func TestWhatBindsAConnection(t *testing.T) {
	for _, c := range []struct {
		request, answer string
		binds           bool
	}{
		{"Authorization: NTLM abc", "", true},
		{"AUTHORIZATION: ntlm abc", "", true},
		{"authorization: nEGOTIATE abc", "", true},
		{"Authorization: Negotiate", "", true},
		{"Authorization: Kerberos abc", "", true},
		{"Authorization: Basic YTpi\r\nAuthorization: NTLM\tabc", "", true},
		{"Authorization: Basic TlRMTQ==", "", false},
		{"Authorization: Bearer ntlm", "", false},
		{"Authorization: NTLMX abc", "", false},
		{"Authorization:", "", false},
		{"X-Authorization: NTLM abc", "", false},
		{"Authorizatiom: NTLM abc", "", false},
		{"", "WWW-Authenticate: NTLM", true},
		{"", "www-authenticate: Negotiate abc==", true},
		{"", "WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Negotiate", true},
		{"", "WWW-Authenticate: Basic realm=\"a, b\", charset=\"UTF-8\" ,, ,\tntlm , Digest realm=\"c\"", true},
		{"", "WWW-Authenticate: Basic realm=\"Negotiate\"", false},
		{"", "WWW-Authenticate: Basic realm=\"a\", Digest realm=\"b\"", false},
		{"", "WWW-Authenticate: ,", false},
		{"", "Server: NTLM", false},
	} {
		for _, status := range []string{"200 OK", "401 Unauthorized"} {
			t.Run(status[:4]+c.request+c.answer, func(t *testing.T) {
				answer := "HTTP/1.1 " + status + "\r\nContent-Length: 2\r\n" + strings.TrimPrefix(c.answer+"\r\n", "\r\n") + "\r\nok"
				o := play(t, func(p *peer) {
					for p.request() != "" {
						p.say("%s", answer)
					}
				})
				r := begin(t, nil)
				first, second := r.dial(), r.dial()
				first.say("%s", o.request("GET", strings.TrimPrefix(c.request+"\r\n", "\r\n")))
				first.answer("GET")
				first.say("GET x HTTP/1.1\r\nHost: x\r\n\r\n")
				first.answer("GET") // by then the proxy is done with the other one
				second.say("%s", o.get())
				second.answer("GET")
				if bound := o.visits() == 2; bound != c.binds {
					t.Errorf("bound: %v, want %v", bound, c.binds)
				}
			})
		}
	}
}

func TestAnotherDestinationEndsWhatWasBound(t *testing.T) {
	m, other := newRealm(t), newRealm(t)
	e := begin(t, nil).dial()
	m.enter(e, "alice")
	other.ask(e, "nobody")
	m.lasts(t, 0)
	m.ask(e, "nobody")
	m.enter(e, "alice")
	m.ask(e, "alice")
}

// Whatever ends a session ends what is bound to it; an answer of our own does
// not.
func TestBoundConnectionEndsWithItsSession(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(t *testing.T, r *rig, e *end, m *realm)
	}{
		{"client leaves", func(_ *testing.T, _ *rig, e *end, _ *realm) { _ = e.Close() }},
		{"client ends its side", func(_ *testing.T, _ *rig, e *end, _ *realm) { _ = e.CloseWrite() }},
		{"client resets", func(_ *testing.T, _ *rig, e *end, _ *realm) { e.reset() }},
		{"client says close", func(_ *testing.T, _ *rig, e *end, m *realm) {
			e.say("%s", m.request("GET", "Connection: close\r\n"))
			m.greets(e, "alice")
			e.over()
		}},
		{"HTTP/1.0", func(_ *testing.T, _ *rig, e *end, m *realm) {
			e.say("%s", strings.Replace(m.get(), "HTTP/1.1", "HTTP/1.0", 1))
			m.greets(e, "alice")
			e.over()
		}},
		{"nonsense", func(_ *testing.T, _ *rig, e *end, _ *realm) { e.say("nonsense\r\n\r\n"); e.want("GET", 400) }},
		{"refused", func(_ *testing.T, _ *rig, e *end, _ *realm) {
			e.say("CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n")
			e.want("CONNECT", 400)
		}},
		{"discarded", func(t *testing.T, r *rig, _ *end, _ *realm) {
			poll(t, "it is closed", func() bool { r.each(func(s *exchange.Session) { s.Discard() }); return r.sessionCount() == 0 })
		}},
		{"cut", func(t *testing.T, r *rig, _ *end, _ *realm) {
			poll(t, "it is closed", func() bool { r.each((*exchange.Session).Cut); return r.sessionCount() == 0 })
		}},
		{"drained", func(t *testing.T, r *rig, e *end, m *realm) {
			r.draining.Store(true)
			m.ask(e, "alice")
			e.over()
		}},
		{"origin says nothing more", func(_ *testing.T, _ *rig, e *end, m *realm) {
			e.say("POST http://%s/close HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", m.addr)
			e.want("POST", 502)
		}},
		{"unreachable", func(_ *testing.T, _ *rig, e *end, _ *realm) {
			e.say("GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n")
			e.want("GET", 502)
		}},
		{"guard panics", func(t *testing.T, r *rig, e *end, m *realm) {
			r.guard.check = func(netip.AddrPort) error { panic("bomb") }
			e.say("%s", m.get())
			e.over()
			receive(t, "the report", r.panics)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newRealm(t)
			r := begin(t, nil)
			e := r.dial()
			m.enter(e, "alice")
			c.end(t, r, e, m)
			m.lasts(t, 0)
			if r.pool.Count() != 0 {
				t.Error("it is in the pool")
			}
		})
	}
}

// A tunnel is no place for requests: what was bound ends as one begins.
func TestTunnelEndsWhatWasBound(t *testing.T) {
	m := newRealm(t)
	far := play(t, func(p *peer) { p.hear("ping"); p.say("pong") })
	e := begin(t, nil).dial()
	m.enter(e, "alice")
	e.say("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", far.addr)
	e.head()
	m.lasts(t, 0)
	e.say("ping")
	e.hear("pong")
}

func TestBoundConnectionMayBecomeATunnel(t *testing.T) {
	m := newRealm(t)
	r := begin(t, nil)
	e := r.dial()
	m.enter(e, "alice")
	e.say("%s", m.request("GET", "Connection: upgrade\r\nUpgrade: chat\r\n"))
	if h := e.head(); !strings.HasPrefix(h, "HTTP/1.1 101 ") {
		t.Fatalf("%q", h)
	}
	e.hear("alice")
	poll(t, "the session is over", func() bool { return r.sessionCount() == 0 })
	m.lasts(t, 1)
	_ = e.Close()
	m.lasts(t, 0)
}

// The origin may leave while the connection is idle, or say what nobody asked.
func TestBoundConnectionThatIsSpoilt(t *testing.T) {
	const unasked = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	for _, c := range []struct{ name, words, method, rest string }{
		{"closed, GET", "", "GET", "\r\n"},
		{"closed, POST", "", "POST", "Content-Length: 4\r\n\r\nbody"},
		{"closed, POST in chunks", "", "POST", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"},
		{"unasked, GET", unasked, "GET", "\r\n"},
		{"unasked, POST", unasked, "POST", "Content-Length: 4\r\n\r\nbody"},
		{"unasked, POST in chunks", unasked, "POST", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spoil, spoilt := make(chan struct{}), make(chan struct{})
			o := play(t, func(p *peer) {
				if p.n > 1 {
					r, err := http.ReadRequest(p.r)
					if err == nil {
						_, _ = io.ReadAll(r.Body)
						p.say(ok)
						p.request()
					}
					return
				}
				p.request()
				p.say(ok)
				<-spoil
				p.say("%s", c.words)
				_ = p.CloseWrite()
				close(spoilt)
				_, _ = p.rest()
			})
			e := begin(t, nil).dial()
			e.say("%s", o.request("GET", "Authorization: Negotiate abc\r\n"))
			e.want("GET", 200)
			close(spoil)
			<-spoilt // over the loopback it is there at once
			e.say("%s http://%s/ HTTP/1.1\r\nHost: x\r\n%s", c.method, o.addr, c.rest)
			e.want(c.method, 200)
			if n := o.visits(); n != 2 {
				t.Errorf("%d connections, want a fresh one", n)
			}
		})
	}
}

// A request that may have had an effect isn't sent again for having lost its
// bound connection (RFC 9110 section 9.2.2).
func TestRequestThatABoundConnectionLost(t *testing.T) {
	for _, c := range []struct {
		method string
		again  bool
	}{{"GET", true}, {"PUT", true}, {"POST", false}} {
		t.Run(c.method, func(t *testing.T) {
			o := play(t, dropper(hangUp))
			e := begin(t, nil).dial()
			e.say("%s", o.request("OPTIONS", "Authorization: Negotiate abc\r\n"))
			e.want("OPTIONS", 200)
			e.say("%s", whole(o, c.method))
			status, times := 502, 1
			if c.again {
				status, times = 200, 2
			}
			if a := e.answer(c.method); a.StatusCode != status || o.count(c.method) != times {
				t.Errorf("%d, sent %d times; want %d and %d", a.StatusCode, o.count(c.method), status, times)
			}
		})
	}
}

// The rules may change between two requests.
func TestGuardIsAskedAboutABoundConnection(t *testing.T) {
	m := newRealm(t)
	var closed atomic.Bool
	r := begin(t, func(r *rig) {
		r.guard.check = func(netip.AddrPort) error {
			if closed.Load() {
				return fault.New(fault.DestinationIPProhibited, nil)
			}
			return nil
		}
	})
	e := r.dial()
	m.enter(e, "alice")
	closed.Store(true)
	e.say("%s", m.get())
	e.want("GET", 403)
	m.lasts(t, 0)
	closed.Store(false)
	m.ask(e, "nobody")
}

// On another connection than the bound one the client would be unknown: it is
// taken whatever its age, also for what can't be repeated.
func TestBoundConnectionIsTakenWhateverItsAge(t *testing.T) {
	t.Parallel()
	m := newRealm(t)
	e := begin(t, nil).dial()
	m.enter(e, "alice")
	<-time.After(3200 * time.Millisecond) // peer: a person who fills in a form
	e.say("%sbody", m.request("POST", "Content-Length: 4\r\n"))
	if a := e.want("POST", 200); a.body != "alice body" {
		t.Errorf("%q", a.body)
	}
}

// An answer that leaves its connection unfit leaves it to nobody.
func TestUnfitConnectionIsNotKept(t *testing.T) {
	for _, answer := range []string{
		ok + "surplus", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\n\r\nok",
	} {
		ended := make(chan struct{}, 1)
		o := play(t, one(func(p *peer) {
			p.say("%s", answer)
			_ = p.CloseWrite()
			_, _ = p.rest()
			ended <- struct{}{}
		}))
		e := begin(t, nil).dial()
		e.say("%s", o.request("GET", "Authorization: Negotiate abc\r\n"))
		if a := e.want("GET", 200); a.body != "ok" {
			t.Errorf("%q", a.body)
		}
		receive(t, "the end", ended)
	}
}

// Many people at once, some without a name, and each is who they are.
func TestNobodyIsTakenForAnother(t *testing.T) {
	m := newRealm(t)
	r := begin(t, nil)
	var people sync.WaitGroup
	for i := range 24 {
		people.Go(func() {
			for n := range 20 {
				e, name := r.dial(), "nobody"
				if (i+n)%3 != 0 {
					name = fmt.Sprintf("person-%d-%d", i, n)
					m.enter(e, name)
				}
				for range 5 {
					m.ask(e, name)
				}
				_ = e.Close()
			}
		})
	}
	people.Wait()
	poll(t, "the sessions are over", func() bool { return r.sessionCount() == 0 })
	m.lasts(t, int32(r.pool.Count()))
	m.ask(r.dial(), "nobody")
}
