package exchange_test

import (
	"testing"

	"viaduct/verdict"
)

// A connection that a client has authenticated on holds its endpoint as any request
// does, and goes with it.
func TestABoundConnectionIsItsEndpoints(t *testing.T) {
	one, two := play(t, proxy), play(t, proxy)
	r, p := by(t, byName, "http://"+one.addr, "http://"+two.addr)
	c := r.dial()
	ask := func() {
		t.Helper()
		c.say("GET http://example.test/ HTTP/1.1\r\nHost: x\r\nAuthorization: NTLM dG9rZW4=\r\n\r\n")
		c.want("GET", 200)
	}
	for range 3 {
		ask()
	}
	if e := p.View().Endpoints[0]; one.visits() != 1 || e.Picks != 3 {
		t.Errorf("%d connections, %d requests counted", one.visits(), e.Picks)
	}
	if err := p.SetAdmin("http://"+one.addr, verdict.Drain, "me"); err != nil {
		t.Fatal(err)
	}
	ask() // it belongs to who drains
	if err := p.SetAdmin("http://"+one.addr, verdict.Maint, "me"); err != nil {
		t.Fatal(err)
	}
	ask()
	if len(one.seen()) != 4 || len(two.seen()) != 1 {
		t.Errorf("%d and %d requests", len(one.seen()), len(two.seen()))
	}
	idle(t, p)
}
