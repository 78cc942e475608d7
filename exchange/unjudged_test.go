package exchange_test

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"viaduct/exchange"
	"viaduct/fault"
)

// A connection that a parent made to a name is of no use any more when addresses are
// to be judged.
func TestConnectionsToUnjudgedAddressesAreNotUsedByWhoWantsThemJudged(t *testing.T) {
	p := play(t, func(p *peer) {
		for head := p.request(); head != ""; head = p.request() {
			if strings.HasPrefix(head, "CONNECT ") {
				p.say("HTTP/1.1 200 OK\r\n\r\n")
			} else {
				p.say(ok)
			}
		}
	})
	var judged atomic.Bool
	r, pool := by(t, func(w *exchange.Way) { w.ByName = !judged.Load() }, "http://"+p.addr)
	r.guard.check = func(netip.AddrPort) error { return fault.New(fault.DestinationIPProhibited, nil) }
	const request = "GET http://example.test/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n" // takes a tunnel
	c := r.dial()
	for range 2 {
		c.say(request)
		c.want("GET", 200)
	}
	if n := p.count("CONNECT"); n != 1 {
		t.Errorf("%d tunnels, want the first to be used again", n)
	}
	judged.Store(true)
	c.say(request)
	c.wantFault("GET", 403, "destination_ip_prohibited")
	idle(t, pool)
}
