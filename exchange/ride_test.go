package exchange_test

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/lb"
	"viaduct/parent"
	"viaduct/pool"
)

const tag = "1.1 viaduct-0123456789abcdef"

// by makes a rig whose requests leave through the first endpoint that works.
func by(t *testing.T, change func(*exchange.Way), endpoints ...string) (*rig, *pool.Pool) {
	t.Helper()
	o := pool.Options{Name: "parents", LB: lb.Options{Policy: lb.First}, Retries: 2}
	for _, text := range endpoints {
		o.Endpoints = append(o.Endpoints, must[parent.Endpoint](t)(parent.ParseEndpoint(text)))
	}
	p := must[*pool.Pool](t)(pool.New(o))
	t.Cleanup(p.Close)
	return begin(t, func(r *rig) {
		r.ways = func(w *exchange.Way) {
			w.Pool, w.Via = p, tag
			if change != nil {
				change(w)
			}
		}
	}), p
}

// idle expects that nothing counts as under way any more.
func idle(t *testing.T, p *pool.Pool) {
	t.Helper()
	poll(t, "all rides have ended", func() bool {
		v := p.View()
		return v.InFlight == 0 && v.Requests.InUse == 0 && v.Pending.InUse == 0 && v.Retries.InUse == 0
	})
}

// nobody is an address that refuses connections.
func nobody(t *testing.T) string {
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	return l.Addr().String()
}

func byName(w *exchange.Way) { w.ByName = true }

// proxy is a parent that answers plain requests itself, and says a banner into
// each tunnel in the packet of its 200, then what comes from the client.
func proxy(p *peer) {
	for {
		head := p.request()
		switch {
		case head == "":
			return
		case strings.HasPrefix(head, "CONNECT "):
			p.say("HTTP/1.1 201 Made\r\nX: y\r\n\r\nbanner")
			_, _ = io.Copy(p, p.r)
			return
		}
		p.say(ok)
	}
}

func TestAParentIsAskedInAbsoluteForm(t *testing.T) {
	p := play(t, proxy)
	r, _ := by(t, byName, "http://us:secret@"+p.addr)
	c := r.dial()
	for range 3 {
		c.say("GET http://example.test/a?b HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic bWU6bWluZQ==\r\nVia: 1.1 me\r\nConnection: X-Y\r\nX-Y: 1\r\nA: b\r\n\r\n")
		c.want("GET", 200)
	}
	const want = "GET http://example.test/a?b HTTP/1.1\r\nHost: example.test\r\nA: b\r\nVia: " + tag +
		"\r\nProxy-Authorization: Basic dXM6c2VjcmV0\r\n"
	if got := p.seen(); len(got) != 3 || got[2] != want || p.visits() != 1 {
		t.Errorf("%q on %d connections", got, p.visits())
	}
	for _, e := range r.logged() {
		if e["pool"] != "parents" || e["endpoint"] != "http://"+p.addr || e["tries"] != 1.0 {
			t.Errorf("%v", e)
		}
	}
}

func TestRequestTargetsForAParent(t *testing.T) {
	p := play(t, proxy)
	r, _ := by(t, byName, "http://"+p.addr)
	for _, c := range []struct{ in, want string }{
		{"OPTIONS http://a.test:8080", "OPTIONS http://a.test:8080 HTTP/1.1"}, // RFC 9112 section 3.2.4
		{"GET http://a.test?x", "GET http://a.test?x HTTP/1.1"},
		{"GET http://[2001:db8::1]:81/x", "GET http://[2001:db8::1]:81/x HTTP/1.1"},
	} {
		e := r.dial()
		e.say("%s HTTP/1.1\r\nHost: x\r\n\r\n", c.in)
		e.want("GET", 200)
		all := p.seen()
		if got, _, _ := strings.Cut(all[len(all)-1], "\r\n"); got != c.want {
			t.Errorf("%s: %q", c.in, got)
		}
	}
}

func TestATunnelThroughAParentKeepsWhatTheServerSaysFirst(t *testing.T) {
	p := play(t, proxy)
	r, pool := by(t, nil, "http://us:secret@"+p.addr)
	c := r.dial()
	c.say("CONNECT example.test:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic bWU6bWluZQ==\r\n\r\nearly")
	if h := c.head(); h != "HTTP/1.1 200 Connection established\r\n" {
		t.Errorf("%q", h)
	}
	c.hear("bannerearly")
	if v := pool.View(); v.InFlight != 1 || v.Requests.InUse != 1 {
		t.Errorf("a tunnel does not count: %+v", v)
	}
	c.say("more")
	c.hear("more")
	_ = c.CloseWrite()
	c.over()
	idle(t, pool)
	got := p.seen()[0]
	for _, want := range []string{"CONNECT 127.0.0.1:443 HTTP/1.1\r\n", "Proxy-Authorization: Basic dXM6c2VjcmV0\r\n", "Via: " + tag + "\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q has no %q", got, want)
		}
	}
}

// A name whose address is judged here must not be looked up again by the parent.
func TestWhatIsAskedOfAParentIsWhatWasJudged(t *testing.T) {
	p := play(t, proxy)
	for _, c := range []struct {
		name   string
		change func(*exchange.Way)
		in     string
		want   string
	}{
		{"a name, judged here", nil, "GET http://example.test/x", "CONNECT 127.0.0.1:80 HTTP/1.1"},
		{"a name, left to the parent", byName, "GET http://example.test/x", "GET http://example.test/x HTTP/1.1"},
		{"an address", nil, "GET http://127.0.0.9:81/x", "GET http://127.0.0.9:81/x HTTP/1.1"},
		{"a tunnel to a name", nil, "CONNECT example.test:81", "CONNECT 127.0.0.1:81 HTTP/1.1"},
		{"a tunnel to a name, left to the parent", byName, "CONNECT example.test:81", "CONNECT example.test:81 HTTP/1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := by(t, c.change, "http://"+p.addr)
			before := len(p.seen())
			e := r.dial()
			e.say("%s HTTP/1.1\r\nHost: x\r\n\r\n", c.in)
			poll(t, "the parent is asked", func() bool { return len(p.seen()) > before })
			if got, _, _ := strings.Cut(p.seen()[before], "\r\n"); got != c.want {
				t.Errorf("%q", got)
			}
			_ = e.CloseWrite()
		})
	}
}

func TestTheGuardHoldsThroughParents(t *testing.T) {
	p := play(t, proxy)
	r, pool := by(t, nil, "http://"+p.addr)
	r.guard.check = func(a netip.AddrPort) error {
		return fault.New(fault.DestinationIPProhibited, nil)
	}
	for _, in := range []string{"GET http://example.test/", "GET http://127.0.0.1/", "CONNECT example.test:443", "CONNECT 127.0.0.1:443"} {
		c := r.dial()
		c.say("%s HTTP/1.1\r\nHost: x\r\n\r\n", in)
		method, _, _ := strings.Cut(in, " ")
		c.wantFault(method, 403, "destination_ip_prohibited")
	}
	if p.visits() > 0 {
		t.Errorf("the parent was asked: %q", p.seen())
	}
	idle(t, pool)
}

func TestTheNextParentServesWhenOneIsDown(t *testing.T) {
	p := play(t, proxy)
	r, pool := by(t, byName, "http://"+nobody(t), "http://"+p.addr)
	c := r.dial()
	c.say("POST http://example.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
	c.want("POST", 200)
	c = r.dial()
	c.say("CONNECT example.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	c.head()
	c.hear("banner")
	_ = c.Close()
	idle(t, pool)
	for _, e := range r.logged() {
		if e["tries"] != 2.0 || e["endpoint"] != "http://"+p.addr || e["status"].(float64) > 299 {
			t.Errorf("%v", e)
		}
	}
}

// What was sent may have arrived: only what may be repeated is (RFC 9110 section
// 9.2.2).
func TestWhatAParentDiedWithIsRepeatedIfItMayBe(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
	}{{"GET", 200}, {"DELETE", 200}, {"POST", 502}, {"PATCH", 502}} {
		t.Run(c.method, func(t *testing.T) {
			dying := play(t, func(p *peer) { p.request() })
			p := play(t, proxy)
			r, pool := by(t, byName, "http://"+dying.addr, "http://"+p.addr)
			e := r.dial()
			e.say("%s http://example.test/ HTTP/1.1\r\nHost: x\r\n\r\n", c.method)
			e.want(c.method, c.status)
			if n := len(p.seen()); n != map[int]int{200: 1, 502: 0}[c.status] {
				t.Errorf("asked %d times", n)
			}
			idle(t, pool)
		})
	}
}

func TestAParentsOwnAnswersAreNotPassedOnAsTheOrigins(t *testing.T) {
	says := func(answer string) func(*peer) {
		return func(p *peer) {
			for p.request() != "" {
				p.say("%s", answer)
			}
		}
	}
	for _, c := range []struct {
		name, answer string
		alone        int  // status with no other parent
		other        bool // is asked, where there is one
	}{
		{"it wants another login", "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"theirs\"\r\nContent-Length: 0\r\n\r\n", 500, true},
		{"it could not reach the origin", "HTTP/1.1 503 No\r\nProxy-Status: squid; error=connection_refused\r\nContent-Length: 2\r\n\r\nxx", 502, true},
		{"the same, by its own field", "HTTP/1.1 503 No\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\nContent-Length: 2\r\n\r\nxx", 503, true},
		{"it does not allow it", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nxx", 403, false},
		{"the origin is overloaded", "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nxx", 503, false},
		{"it goes round", "HTTP/1.1 421 Loop\r\nProxy-Status: viaduct; error=proxy_loop_detected\r\nContent-Length: 0\r\n\r\n", 421, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad, good := play(t, says(c.answer)), play(t, proxy)
			r, pool := by(t, byName, "http://"+bad.addr)
			e := r.dial()
			e.say("GET http://example.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
			if a := e.want("GET", c.alone); a.Header.Get("Proxy-Authenticate") != "" || a.StatusCode == 407 {
				t.Errorf("%v", a.Header)
			}
			idle(t, pool)
			r, pool = by(t, byName, "http://"+bad.addr, "http://"+good.addr)
			e = r.dial()
			e.say("GET http://example.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
			want := c.alone
			if c.other {
				want = 200
			}
			e.want("GET", want)
			idle(t, pool)
		})
	}
}

func TestNoWayOutIsA503AndNeverDirect(t *testing.T) {
	o := play(t, polite)
	r, pool := by(t, nil, "http://"+nobody(t), "http://"+nobody(t))
	for _, in := range []string{o.get(), "CONNECT " + o.addr + " HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c := r.dial()
		c.say("%s", in)
		method, _, _ := strings.Cut(in, " ")
		c.wantFault(method, 503, "destination_unavailable")
	}
	if o.visits() > 0 {
		t.Error("the origin was reached")
	}
	idle(t, pool)
	last := pool.View().Endpoints[1].ID
	for _, e := range r.logged() {
		if e["endpoint"] != last || e["tries"] != 2.0 {
			t.Errorf("not of the last one tried: %v", e)
		}
	}
}

func TestDirectIsAnEndpointWhereItIsListed(t *testing.T) {
	o := play(t, polite)
	r, pool := by(t, nil, "http://"+nobody(t), "direct?backup=true")
	c := r.dial()
	c.say("%s", o.get())
	c.want("GET", 200)
	if got := o.seen()[0]; !strings.HasPrefix(got, "GET / HTTP/1.1\r\n") || strings.Contains(got, "Via") {
		t.Errorf("%q", got)
	}
	idle(t, pool)
	r, pool = by(t, nil, "direct")
	before, c := o.visits(), r.dial()
	for range 3 {
		c.say("%s", o.get())
		c.want("GET", 200)
	}
	if n := o.visits() - before; n != 1 {
		t.Errorf("%d connections", n)
	}
	idle(t, pool)
}

func TestAClientThatLeavesEndsItsRide(t *testing.T) {
	silent := play(t, func(p *peer) { p.request(); _, _ = io.Copy(io.Discard, p.r) })
	for _, in := range []string{"GET http://127.0.0.9/", "CONNECT example.test:443"} {
		r, pool := by(t, nil, "http://"+silent.addr)
		before := len(silent.seen())
		c := r.dial()
		c.say("%s HTTP/1.1\r\nHost: x\r\n\r\n", in)
		poll(t, "the parent is asked", func() bool { return len(silent.seen()) > before })
		c.reset()
		idle(t, pool)
		if e := pool.View().Endpoints[0]; e.Failures != 0 || e.Errors != 0 {
			t.Errorf("the parent is blamed: %+v", e)
		}
	}
}

func TestASlowOriginIsNotTheParentsFault(t *testing.T) {
	silent := play(t, func(p *peer) { p.request(); _, _ = io.Copy(io.Discard, p.r) })
	r, pool := by(t, nil, "http://"+silent.addr)
	r.o.ResponseTimeout = 100 * time.Millisecond
	c := r.dial()
	c.say("GET http://127.0.0.9/ HTTP/1.1\r\nHost: x\r\n\r\n")
	c.wantFault("GET", 504, "http_response_timeout")
	idle(t, pool)
	if e := pool.View().Endpoints[0]; e.Failures != 0 || e.Errors != 0 {
		t.Errorf("the parent is blamed: %+v", e)
	}
}

func TestWhatIsSaidBeforeItIsAskedForIsNoAnswer(t *testing.T) {
	p := play(t, proxy) // its banner comes into the tunnel that a plain request is to take
	r, pool := by(t, nil, "http://"+p.addr)
	c := r.dial()
	c.say("GET http://example.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
	c.wantFault("GET", 502, "http_protocol_error")
	idle(t, pool)
}
