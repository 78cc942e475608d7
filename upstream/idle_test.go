package upstream_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/upstream"
	"viaduct/wire"
)

// scripted is an origin that answers each request with the same bytes.
func scripted(t testing.TB, answer string) *house {
	t.Helper()
	h := &house{}
	h.l = must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	h.port = uint16(h.l.Addr().(*net.TCPAddr).Port)
	ended := make(chan struct{})
	go func() { defer close(ended); h.serve(answer) }()
	t.Cleanup(func() {
		_ = h.l.Close()
		<-ended
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range h.guests {
			_ = c.Close()
		}
	})
	return h
}

func (h *house) serve(answer string) {
	for {
		c, err := h.l.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.guests = append(h.guests, c)
		h.mu.Unlock()
		go converse(c, answer)
	}
}

// converse answers until the other side ends the connection.
func converse(c net.Conn, answer string) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line == "\r\n" {
			_, _ = io.WriteString(c, answer)
		}
	}
}

const (
	request = "GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"
	fine    = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

// exchange sends the request and reads the answer.
func exchange(t testing.TB, c *upstream.Conn, reused bool) {
	t.Helper()
	if _, err := c.Exchange([]byte(request), reused, nil); err != nil {
		t.Errorf("exchange: %v", err)
		return
	}
	var h wire.Head
	if err := c.ReadResponse(&h, false); err != nil || h.Status != 200 {
		t.Errorf("answer %d, %v", h.Status, err)
		return
	}
	for {
		p, err := c.NextBody()
		if p == nil && err == nil {
			err = c.FillBody()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("body: %v", err)
			}
			return
		}
	}
}

// idle dials n connections, uses each, and puts them all back.
func idle(t testing.TB, o *upstream.Origin, d *upstream.Dialer, n int) {
	t.Helper()
	conns := make([]*upstream.Conn, n)
	for i := range conns {
		conns[i] = must[*upstream.Conn](t)(o.Dial(within(t, patience), d))
		exchange(t, conns[i], false)
	}
	for _, c := range conns {
		c.Put(clock.Now())
	}
}

func wantIdle(t testing.TB, p *upstream.Idle, want int) {
	t.Helper()
	if _, n := p.Len(); n != want {
		t.Errorf("%d idle connections, want %d", n, want)
	}
}

// rig is a pool with one origin that answers well.
func rig(t testing.TB, o upstream.Options, answer string) (*upstream.Idle, *upstream.Origin, *upstream.Dialer, *house) {
	t.Helper()
	h := scripted(t, answer)
	p := upstream.NewIdle(o)
	t.Cleanup(p.Close)
	d := &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge)}
	origin := p.Origin(named(h.port), nil)
	t.Cleanup(origin.Release)
	return p, origin, d, h
}

func TestIdleConnectionIsUsedAgain(t *testing.T) {
	p, o, d, h := rig(t, upstream.Options{}, fine)
	idle(t, o, d, 1)
	for range 20 {
		c := o.Take(d.Guard, time.Hour)
		if c == nil {
			t.Fatal("no connection")
		}
		exchange(t, c, true)
		c.Put(clock.Now())
	}
	if h.visits() != 1 {
		t.Errorf("%d connections, want one", h.visits())
	}
	wantIdle(t, p, 1)
}

func TestTheConnectionUsedLastIsUsedFirst(t *testing.T) {
	_, o, d, _ := rig(t, upstream.Options{}, fine)
	idle(t, o, d, 8)
	warm := o.Take(d.Guard, time.Hour)
	for range 10 {
		warm.Put(clock.Now())
		if c := o.Take(d.Guard, time.Hour); c != warm {
			t.Fatal("a colder connection was taken")
		}
	}
	warm.Put(clock.Now())
}

func TestIdleConnectionsOfOneOriginAreBounded(t *testing.T) {
	p, o, d, h := rig(t, upstream.Options{}, fine)
	before := descriptors()
	idle(t, o, d, 300)
	wantIdle(t, p, 256)
	// Both ends are ours.
	poll(t, "what is too much is closed", func() bool { return descriptors() <= before+300+256 })
	if h.visits() != 300 {
		t.Errorf("%d connections, want 300", h.visits())
	}
}

func TestIdleConnectionsAreBoundedInAll(t *testing.T) {
	p, o, d, h := rig(t, upstream.Options{MaxIdle: 10}, fine)
	other := p.Origin(upstream.Destination{Host: "other.test", Port: h.port}, nil)
	defer other.Release()
	idle(t, o, d, 7)
	idle(t, other, d, 7)
	wantIdle(t, p, 10)
	for range 7 {
		c := o.Take(d.Guard, time.Hour)
		if c == nil {
			t.Fatal("the connections that were there first have gone")
		}
		_ = c.Close()
	}
	wantIdle(t, p, 3)
}

func TestTooOldAConnectionIsLeftForOthers(t *testing.T) {
	p, o, d, _ := rig(t, upstream.Options{IdleTimeout: time.Hour}, fine)
	idle(t, o, d, 1)
	o.Take(d.Guard, time.Hour).Put(clock.Now() - time.Minute)
	if c := o.Take(d.Guard, 30*time.Second); c != nil {
		t.Error("a connection was taken that has been idle for a minute")
	}
	wantIdle(t, p, 1)
	c := o.Take(d.Guard, 2*time.Minute)
	if c == nil {
		t.Fatal("it is gone")
	}
	exchange(t, c, true)
	c.Put(clock.Now())
}

func TestBeingTooOldDoesNotMakeItYounger(t *testing.T) {
	p, o, d, _ := rig(t, upstream.Options{IdleTimeout: 100 * time.Millisecond}, fine)
	idle(t, o, d, 1)
	poll(t, "its idle time ends", func() bool {
		if o.Take(d.Guard, 0) != nil {
			t.Fatal("it was taken")
		}
		_, n := p.Len()
		return n == 0
	})
}

func TestIdleConnectionsEndAfterTheirTime(t *testing.T) {
	h := scripted(t, fine)
	p := upstream.NewIdle(upstream.Options{IdleTimeout: 100 * time.Millisecond})
	d := &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge)}
	before := descriptors()
	o := p.Origin(named(h.port), nil)
	idle(t, o, d, 20)
	o.Release()
	poll(t, "all are closed", func() bool { _, n := p.Len(); return n == 0 })
	poll(t, "on both sides", func() bool { return descriptors() <= before })
	if origins, _ := p.Len(); origins != 0 {
		t.Errorf("%d origins are kept without a connection", origins)
	}
}

func TestDestinationsLeaveNothingBehind(t *testing.T) {
	h := scripted(t, fine)
	p := upstream.NewIdle(upstream.Options{IdleTimeout: 200 * time.Millisecond})
	d := &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge)}
	for i := range 5000 {
		p.Origin(upstream.Destination{Host: "nobody.test", Port: uint16(1 + i)}, nil).Release()
	}
	if origins, _ := p.Len(); origins != 0 {
		t.Errorf("%d origins after 5000 visits without a connection", origins)
	}
	for i := range 300 {
		o := p.Origin(upstream.Destination{Host: "h" + strings.Repeat("x", i) + ".test", Port: h.port}, nil)
		idle(t, o, d, 1)
		o.Release()
	}
	poll(t, "the map is empty", func() bool { origins, n := p.Len(); return origins == 0 && n == 0 })
}

func TestTheGuardIsAskedAgain(t *testing.T) {
	p, o, d, h := rig(t, upstream.Options{}, fine)
	idle(t, o, d, 3)
	j := &judge{refuse: func(netip.AddrPort) bool { return true }}
	if c := o.Take(j, time.Hour); c != nil {
		t.Error("a connection was taken that the guard refuses now")
	}
	wantIdle(t, p, 3) // for those whom it does not refuse them
	asked := j.questions()
	if len(asked) != 1 {
		t.Errorf("asked %d times, want once", len(asked))
	}
	for _, a := range asked {
		if a != netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), h.port) {
			t.Errorf("asked about %v", a)
		}
	}
}

func TestTheGuardIsAskedAboutThePlainAddress(t *testing.T) {
	h := scripted(t, fine)
	p := upstream.NewIdle(upstream.Options{})
	defer p.Close()
	d := &upstream.Dialer{Lookup: answers("::ffff:127.0.0.1"), Guard: new(judge)}
	o := p.Origin(named(h.port), nil)
	defer o.Release()
	idle(t, o, d, 1)
	j := new(judge)
	c := o.Take(j, time.Hour)
	defer c.Close()
	if a := j.questions()[0]; !a.Addr().Is4() || c.Remote() != a {
		t.Errorf("asked about %v, the other end is %v", a, c.Remote())
	}
}

func TestCloseEndsIdleConnectionsOnly(t *testing.T) {
	p, o, d, _ := rig(t, upstream.Options{}, fine)
	idle(t, o, d, 5)
	inUse := o.Take(d.Guard, time.Hour)
	p.Close()
	wantIdle(t, p, 0)
	if c := o.Take(d.Guard, time.Hour); c != nil {
		t.Error("a closed connection was taken")
	}
	exchange(t, inUse, true)
	_ = inUse.Close()
}

// An idle connection has little time left when it is taken; the exchange that
// takes it has its own limits.
func TestTheIdleTimeEndsWithTheIdleness(t *testing.T) {
	_, o, d, _ := rig(t, upstream.Options{IdleTimeout: 50 * time.Millisecond}, fine)
	idle(t, o, d, 1)
	c := o.Take(d.Guard, time.Hour)
	if c == nil {
		t.Skip("the machine was too slow to find the connection idle")
	}
	defer c.Close()
	if eventually(150*time.Millisecond, c.Aborted) {
		t.Fatal("the connection was aborted while it was in use")
	}
	exchange(t, c, true)
}

func TestStaleConnectionIsNotWrittenTo(t *testing.T) {
	p, o, d, h := rig(t, upstream.Options{}, fine)
	for _, c := range []struct {
		name  string
		spoil func(net.Conn)
	}{
		{"closed", func(c net.Conn) { _ = c.Close() }},
		{"unasked bytes", func(c net.Conn) { _, _ = io.WriteString(c, fine) }},
		{"reset", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }},
	} {
		idle(t, o, d, 1)
		h.mu.Lock()
		c.spoil(h.guests[len(h.guests)-1])
		h.mu.Unlock()
		taken := o.Take(d.Guard, time.Hour)
		if taken == nil {
			t.Fatalf("%s: no connection", c.name)
		}
		poll(t, "it is seen", func() bool { return !taken.Clean() })
		if sent, err := taken.Exchange([]byte(request), true, nil); sent || !errors.Is(err, wire.ErrStale) {
			t.Errorf("%s: sent %v, %v", c.name, sent, err)
		}
		_ = taken.Close()
		wantIdle(t, p, 0)
	}
}

func TestConnectionInDoubtIsNotKept(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		use          func(*testing.T, *upstream.Conn)
	}{
		{"surplus bytes", fine + "HTTP/1.1 200 OK\r\n", func(t *testing.T, c *upstream.Conn) { exchange(t, c, false) }},
		{"unread body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", func(t *testing.T, c *upstream.Conn) {
			var h wire.Head
			_, err := c.Exchange([]byte(request), false, nil)
			if err := errors.Join(err, c.ReadResponse(&h, false)); err != nil {
				t.Error(err)
			}
		}},
		{"aborted", fine, func(t *testing.T, c *upstream.Conn) { exchange(t, c, false); c.Abort() }},
		{"never used", fine, func(*testing.T, *upstream.Conn) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, o, d, h := rig(t, upstream.Options{}, c.answer)
			before := descriptors()
			conn := must[*upstream.Conn](t)(o.Dial(within(t, patience), d))
			c.use(t, conn)
			conn.Put(clock.Now())
			wantIdle(t, p, 0)
			poll(t, "it is closed", func() bool { return h.visits() == 1 && descriptors() <= before })
		})
	}
}
