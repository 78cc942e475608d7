package exchange_test

import (
	"context"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"viaduct/exchange"
)

// hole is an address that does not answer: the queue of its listener is full,
// and Linux drops further calls.
func hole(t testing.TB) string {
	t.Helper()
	fd := must[int](t)(syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0))
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at := must[syscall.Sockaddr](t)(syscall.Getsockname(fd))
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(at.(*syscall.SockaddrInet4).Port)).String()
	dialer := net.Dialer{Timeout: 30 * time.Millisecond}
	for range 16 {
		c, err := dialer.Dial("tcp", addr)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	panic("it takes every call")
}

// Nobody dials for a client that has left.
func TestDialEndsWithItsClient(t *testing.T) {
	t.Parallel()
	silent := hole(t)
	for _, c := range []struct {
		name, request string
		leave         func(*end)
	}{
		{"GET, reset", "GET http://" + silent + "/ HTTP/1.1\r\nHost: x\r\n\r\n", (*end).reset},
		{"GET, closed", "GET http://" + silent + "/ HTTP/1.1\r\nHost: x\r\n\r\n", func(e *end) { _ = e.Close() }},
		{"CONNECT, reset", "CONNECT " + silent + " HTTP/1.1\r\nHost: x\r\n\r\n", (*end).reset},
		{"CONNECT, half-closed", "CONNECT " + silent + " HTTP/1.1\r\nHost: x\r\n\r\n", func(e *end) { _ = e.CloseWrite() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := begin(t, nil)
			e := r.dial()
			e.say("%s", c.request)
			poll(t, "it is served", func() bool { return r.sessionCount() == 1 })
			c.leave(e)
			poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
		})
	}
}

func TestLookupEndsWithItsClient(t *testing.T) {
	t.Parallel()
	asked, ended := make(chan struct{}), make(chan error, 1)
	r := begin(t, func(r *rig) {
		r.dialer.Lookup = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			close(asked)
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}
	})
	e := r.dial()
	e.say("GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
	receive(t, "the lookup", asked)
	e.reset()
	if err := receive(t, "the end of the lookup", ended); err != context.Canceled {
		t.Errorf("%v, want canceled", err)
	}
}

// A client may leave just when the dial has succeeded: the new connection is
// nobody's then, and must not stay open.
func TestConnectionThatNobodyWaitsForIsClosed(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close it, much later
	r := begin(t, nil)
	o := play(t, func(p *peer) {
		r.each((*exchange.Session).Cut)
		_, _ = p.rest()
	})
	for i := range 200 {
		e := r.dial()
		if i%2 == 0 {
			e.say("%s", o.get())
		} else {
			e.say("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", o.addr)
		}
		poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
		_ = e.Close()
	}
	poll(t, "every connection to the origin has ended", func() bool { return !o.open() })
}

// open tells whether a connection to the origin has not ended yet.
func (o *origin) open() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.ends {
		raw, err := e.SyscallConn()
		if err == nil && raw.Control(func(uintptr) {}) == nil {
			return true
		}
	}
	return false
}

func TestOriginIsLeftWithTheClient(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		script func(*peer)
		begun  string // what the client hears before it leaves
	}{
		{"before the answer", func(*peer) {}, ""},
		{"after an interim answer", func(p *peer) { p.say("HTTP/1.1 103 Early Hints\r\n\r\n") }, "HTTP/1.1 103 Early Hints\r\n\r\n"},
		{"in the body", func(p *peer) { p.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12") }, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12"},
		{"in a large body", func(p *peer) { p.say("HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n12") }, "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n12"},
		{"in chunks", func(p *peer) { p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n") }, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			came, left := make(chan struct{}), make(chan struct{})
			o := play(t, func(p *peer) {
				p.request()
				close(came)
				c.script(p)
				p.over()
				close(left)
			})
			e := begin(t, nil).dial()
			e.say("%s", o.get())
			receive(t, "the request", came)
			e.hear(c.begun)
			e.reset()
			receive(t, "the end at the origin", left)
		})
	}
}

// A client that has said all may end its side and listen.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	o := play(t, func(p *peer) {
		p.request()
		<-proceed
		p.say(ok)
	})
	e := begin(t, nil).dial()
	e.say("%s", o.get())
	_ = e.CloseWrite()
	<-time.After(1200 * time.Millisecond) // peer: more than a beat of the clock late
	close(proceed)
	e.want("GET", 200)
	e.over()
}

func TestClientThatLeavesIsLogged(t *testing.T) {
	t.Parallel()
	came := make(chan struct{})
	o := play(t, func(p *peer) { p.request(); close(came); p.over() })
	r := begin(t, nil)
	e := r.dial()
	e.say("%s", o.get())
	receive(t, "the request", came)
	e.reset()
	poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
	log := r.logged()
	if len(log) != 1 || log[0]["fault"] != "connection_terminated" || log[0]["status"] != 0.0 || !strings.HasSuffix(o.addr, ":"+port(log[0]["endpoint"])) {
		t.Errorf("%v", log)
	}
}

func port(endpoint any) string {
	s, _ := endpoint.(string)
	_, p, _ := net.SplitHostPort(s)
	return p
}
