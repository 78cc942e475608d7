package exchange_test

import (
	"strings"
	"testing"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"

func TestUpgradeTokens(t *testing.T) {
	for _, c := range []struct {
		name, offered, passed, chosen string
		status                        int
	}{
		{"websocket", "websocket", "websocket", "websocket", 101},
		{"letter case", "WebSocket", "WebSocket", "websocket", 101},
		{"version", "foo/2, bar", "foo/2, bar", "foo/2", 101},
		{"h2c among others", "h2c, websocket", "websocket", "websocket", 101},
		{"h2c behind others", "websocket,H2C", "websocket", "websocket", 101},
		{"h2c chosen though not passed", "h2c, websocket", "websocket", "h2c", 502},
		{"only h2c", "h2c", "", "h2c", 502},
		{"HTTP itself", "HTTP/2.0, h2, http/1.1", "", "h2", 502},
		{"quoted", `"h2c", websocket`, "websocket", `websocket`, 101},
		{"another token", "websocket", "websocket", "mqtt", 502},
		{"two tokens", "websocket, mqtt", "websocket, mqtt", "websocket, mqtt", 502},
		{"none chosen", "websocket", "websocket", "", 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := play(t, func(p *peer) {
				h := p.request()
				want := "Connection: upgrade\r\nUpgrade: " + c.passed + "\r\n"
				if c.passed != "" && !strings.HasSuffix(h, want) || c.passed == "" && strings.Contains(strings.ToLower(h), "upgrade") {
					p.t.Errorf("the origin got %q, want %q", h, want)
				}
				if c.chosen == "" {
					p.say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n")
				} else {
					p.say(switching, c.chosen)
				}
				p.over()
			})
			e := begin(t, nil).dial()
			e.say("%s", o.request("GET", "Connection: Upgrade\r\nUpgrade: "+c.offered+"\r\n"))
			if c.status == 502 {
				e.wantFault("GET", 502, "http_upgrade_failed")
				return
			}
			if h := e.head(); !strings.HasPrefix(h, "HTTP/1.1 101 ") || !strings.HasSuffix(h, "Connection: upgrade\r\nUpgrade: "+c.chosen+"\r\n") {
				t.Errorf("%q", h)
			}
			_ = e.Close()
		})
	}
}

// Bytes of the new protocol may come in one piece with the heads.
func TestUpgradeKeepsEarlyBytes(t *testing.T) {
	o := play(t, func(p *peer) {
		p.request()
		p.say(switching+"server first", "chat")
		p.hear("client first")
		p.say("done")
	})
	r := begin(t, nil)
	e := r.dial()
	e.say("%sclient first", o.request("GET", "Connection: upgrade\r\nUpgrade: chat\r\n"))
	if h := e.head(); !strings.HasPrefix(h, "HTTP/1.1 101 ") {
		t.Errorf("%q", h)
	}
	e.hear("server firstdone")
	e.over()
	_ = e.Close()
	poll(t, "the tunnel has ended", func() bool { return r.tunnels.Len() == 0 })
	log := r.logged()
	if len(log) != 1 {
		t.Fatalf("%d lines for one exchange: %v", len(log), log)
	}
	if l := log[0]; l["status"] != 101.0 || l["bytes_received"] != 12.0 || l["bytes_sent"] != 16.0 || l["target"] != "http://"+o.addr+"/" {
		t.Errorf("%v", l)
	}
}

// What stands in the log is a copy: the buffer it came in serves others.
func TestLogOfATunnelIsItsOwn(t *testing.T) {
	o := play(t, func(p *peer) {
		for h := p.request(); h != ""; h = p.request() {
			if strings.Contains(h, "Upgrade") {
				p.say(switching, "chat")
				_, _ = p.rest()
				return
			}
			p.say(ok)
		}
	})
	r := begin(t, nil)
	var held []*end
	for i := range 20 {
		e := r.dial()
		if i%2 == 0 {
			e.say("GET http://%s/%s HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n", o.addr, strings.Repeat("u", 20))
		} else {
			e.say("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", o.addr)
		}
		e.head()
		held = append(held, e)
	}
	for range 20 {
		e := r.dial()
		e.say("GET http://%s/%s HTTP/1.1\r\nHost: x\r\n\r\n", o.addr, strings.Repeat("plain", 20))
		e.want("GET", 200)
	}
	for _, e := range held {
		_ = e.Close()
	}
	poll(t, "the tunnels have ended", func() bool { return r.tunnels.Len() == 0 })
	log := r.logged()
	if len(log) != 40 {
		t.Errorf("%d lines, want 40", len(log))
	}
	for _, l := range log {
		want := o.addr
		switch {
		case l["status"] == 101.0:
			want = "http://" + o.addr + "/" + strings.Repeat("u", 20)
		case l["method"] == "GET":
			want = "http://" + o.addr + "/" + strings.Repeat("plain", 20)
		}
		if l["target"] != want {
			t.Errorf("%v, want target %s", l, want)
		}
	}
}

// A body that is still to come cannot go through a change of protocol.
func TestUpgradeWithABodyToComeIsNotOffered(t *testing.T) {
	came := make(chan struct{})
	o := play(t, func(p *peer) {
		if h := p.request(); strings.Contains(h, "Upgrade") {
			p.t.Errorf("the origin got %q", h)
		}
		close(came)
		p.hear("body")
		p.say(ok)
		p.request()
	})
	e := begin(t, nil).dial()
	e.say("%s", o.request("POST", "Connection: upgrade\r\nUpgrade: chat\r\nContent-Length: 4\r\n"))
	receive(t, "the head", came)
	e.say("body")
	e.want("POST", 200)
}
