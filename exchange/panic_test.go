package exchange_test

import (
	"bytes"
	"net"
	"net/netip"
	"runtime/debug"
	"testing"
)

// bomb makes the guard panic about one origin.
func bomb(o *origin) func(*rig) {
	return func(r *rig) {
		r.guard.check = func(a netip.AddrPort) error {
			if a.String() == o.addr {
				panic("bomb")
			}
			return nil
		}
	}
}

// A panic ends one connection, and nothing else.
func TestPanicEndsItsConnectionOnly(t *testing.T) {
	bad, good := play(t, polite), play(t, polite)
	r := begin(t, bomb(bad))
	other := r.dial()
	other.say("%s", good.get())
	other.want("GET", 200)
	before := descriptors()
	for _, request := range []string{
		bad.get(), bad.request("POST", "Content-Length: 8\r\n") + "half",
		"CONNECT " + bad.addr + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		for range 10 {
			e := r.dial()
			e.say("%s", request)
			e.over()
			_ = e.Close()
			if reason := receive(t, "the report", r.panics); reason != "bomb" {
				t.Errorf("%v", reason)
			}
		}
	}
	other.say("%s", good.get())
	other.want("GET", 200)
	poll(t, "descriptors are closed", func() bool { return descriptors() <= before })
	if bad.visits() != 0 {
		t.Error("it was dialled")
	}
}

// fuse is a client's connection that panics when the engine writes an error of
// the origin, or when somebody else than the engine reads.
type fuse struct{ *net.TCPConn }

func (f fuse) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("HTTP/1.1 599 ")) {
		panic("bomb")
	}
	return f.TCPConn.Write(b)
}

func (f fuse) Read([]byte) (int, error) { panic("bomb") }

func fused(r *rig) { r.wrap = func(nc net.Conn) net.Conn { return fuse{nc.(*net.TCPConn)} } }

// In the middle of an exchange there is a connection to the origin to close.
func TestPanicClosesTheConnectionInUse(t *testing.T) {
	ended := make(chan struct{}, 10)
	o := play(t, one(func(p *peer) {
		p.say("HTTP/1.1 599 Oh\r\nContent-Length: 1000000\r\n\r\n")
		_, _ = p.rest()
		ended <- struct{}{}
	}))
	r := begin(t, fused)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close it, later
	for _, request := range []string{o.get(), o.request("POST", "Content-Length: 8\r\n") + "half"} {
		e := r.dial()
		e.say("%s", request)
		e.over()
		receive(t, "the report", r.panics)
		receive(t, "the end at the origin", ended)
	}
}

func TestPanicInAnUploadIsAnswered(t *testing.T) {
	o := play(t, one(func(p *peer) { _, _ = p.rest() }))
	r := begin(t, fused)
	e := r.dial()
	e.say("%s", o.request("POST", "Content-Length: 1000000\r\n"))
	receive(t, "the report", r.panics)
	if a := e.answer("POST"); a.StatusCode != 500 {
		t.Errorf("%d, want 500", a.StatusCode)
	}
	poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
}
