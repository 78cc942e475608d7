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
	"viaduct/upstream"
)

// The first source is no address of this machine: the second one serves, and
// its connection is kept for the second one.
func TestNextSourceServesWhenOneCannot(t *testing.T) {
	o := play(t, polite)
	r := begin(t, func(r *rig) {
		r.dialer.Egress = upstream.NewEgress([]netip.Addr{
			netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("127.0.3.2"),
		}, upstream.ByHost)
	})
	c := r.dial()
	for range 4 {
		c.say("%s", o.get())
		c.want("GET", 200)
	}
	c.say("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", o.addr)
	c.head()
	for _, e := range r.logged() {
		if e["egress"] != "127.0.3.2" || e["status"] != 200.0 {
			t.Errorf("%v", e)
		}
	}
}

func TestNoSourceIsA503(t *testing.T) {
	o := play(t, polite)
	r := begin(t, func(r *rig) {
		r.dialer.Egress = upstream.NewEgress([]netip.Addr{
			netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"),
		}, upstream.RoundRobin)
	})
	for _, request := range []string{o.get(), "CONNECT " + o.addr + " HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c := r.dial()
		c.say("%s", request)
		if head := c.head(); !strings.HasPrefix(head, "HTTP/1.1 503 ") || !strings.Contains(head, "\r\nRetry-After: ") || strings.Contains(head, "192.0.2") {
			t.Errorf("%q", head)
		}
	}
}

func TestTurnAwayAnswersAndCloses(t *testing.T) {
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	for _, c := range []struct {
		name, say string
		why       *fault.Error
		want      string
	}{
		{"says nothing", "", fault.New(fault.ConnectionLimitReached, nil), "HTTP/1.1 503 Service Unavailable\r\n"},
		{"has asked", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", &fault.Error{Kind: fault.ConnectionLimitReached, Code: 429, Text: "Enough."}, "HTTP/1.1 429 Too Many Requests\r\n"},
		{"goes on", strings.Repeat("x", 4<<20), fault.New(fault.ConnectionLimitReached, nil), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := must[net.Conn](t)(net.Dial("tcp", l.Addr().String()))
			defer client.Close()
			_ = client.SetDeadline(time.Now().Add(patience))
			nc := must[net.Conn](t)(l.Accept())
			ended := make(chan struct{})
			go func() { defer close(ended); exchange.TurnAway(nc.(*net.TCPConn), c.why) }()
			_, _ = io.WriteString(client, c.say)
			got, _ := io.ReadAll(client)
			<-ended
			if c.want == "" {
				return // it need not read what nobody asked for
			}
			for _, part := range []string{c.want, "Proxy-Status: viaduct; error=connection_limit_reached\r\n", "\r\nConnection: close\r\n", "\r\nRetry-After: ", "\r\n\r\n" + c.why.Say() + "\n"} {
				if !strings.Contains(string(got), part) {
					t.Errorf("%q is not in %q", part, got)
				}
			}
		})
	}
}
