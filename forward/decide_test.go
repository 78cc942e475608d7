package forward_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"viaduct/acl"
	"viaduct/forward"
)

func TestDecide(t *testing.T) {
	defaults := forward.Options{ConnectPorts: []uint16{443, 8443}}
	open := forward.Options{Open: true, ConnectPorts: []uint16{443, 8443}}
	anyPort := forward.Options{AnyPort: true}
	noPort := forward.Options{}
	for _, c := range []struct {
		name    string
		options forward.Options
		client  string
		port    uint16
		connect bool
		rule    string // "" is allowed
	}{
		{"loopback", defaults, "127.0.0.1:1", 80, false, ""},
		{"loopback, other", defaults, "127.255.0.9:1", 8080, false, ""},
		{"loopback, v6", defaults, "[::1]:1", 80, false, ""},
		{"loopback, tunnel", defaults, "127.0.0.1:1", 443, true, ""},
		{"loopback, second port", defaults, "127.0.0.1:1", 8443, true, ""},
		{"loopback, other port", defaults, "127.0.0.1:1", 25, true, "connect_ports"},
		{"loopback, tunnel to 80", defaults, "127.0.0.1:1", 80, true, "connect_ports"},
		{"plain request to any port", defaults, "127.0.0.1:1", 25, false, ""},
		{"unix socket", defaults, "", 80, false, ""},
		{"unix socket, other port", defaults, "", 22, true, "connect_ports"},
		{"private", defaults, "10.0.0.1:1", 80, false, "clients"},
		{"link-local", defaults, "[fe80::1%eth0]:1", 80, false, "clients"},
		{"public", defaults, "8.8.8.8:1", 443, true, "clients"},
		{"not quite loopback", defaults, "128.0.0.1:1", 80, false, "clients"},
		{"unspecified", defaults, "0.0.0.0:1", 80, false, "clients"},
		{"open, public", open, "8.8.8.8:1", 80, false, ""},
		{"open, tunnel", open, "[2a00::1]:1", 443, true, ""},
		{"open, other port", open, "8.8.8.8:1", 25, true, "connect_ports"},
		{"any port", anyPort, "127.0.0.1:1", 25, true, ""},
		{"any port, public", anyPort, "8.8.8.8:1", 443, true, "clients"},
		{"no port", noPort, "127.0.0.1:1", 443, true, "connect_ports"},
		{"nothing configured, public", noPort, "8.8.8.8:1", 80, false, "clients"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ask := forward.Ask{Query: acl.Query{Method: "GET", Host: "example.com", Port: c.port}, Connect: c.connect}
			if c.client != "" {
				ask.Client = netip.MustParseAddrPort(c.client).Addr()
			}
			v := forward.New(c.options).Decide(&ask)
			denied := c.rule != ""
			if v.Rule != c.rule || (v.Effect == acl.Deny) != denied || (v.Fault != nil) != denied {
				t.Errorf("%+v, want rule %q", v, c.rule)
			}
			if denied && (v.Fault.Status() != 403 || v.Fault.Kind.String() != "http_request_denied") {
				t.Errorf("told %v", v.Fault)
			}
		})
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	p := forward.New(forward.Options{ConnectPorts: []uint16{443}})
	for _, client := range []string{"127.0.0.1:1", "8.8.8.8:1"} {
		at := netip.MustParseAddrPort(client).Addr()
		ask := forward.Ask{Query: acl.Query{Client: at, Method: "CONNECT", Host: "example.com", Port: 443}, Connect: true}
		if n := testing.AllocsPerRun(100, func() { _ = p.Decide(&ask) }); n != 0 {
			t.Errorf("%s: %v allocations", client, n)
		}
	}
}

func TestDenialSaysWhichRule(t *testing.T) {
	h := begin(t, func(h *house) { h.options.AnyPort, h.options.ConnectPorts = false, []uint16{443} })
	c := h.dial()
	c.say("CONNECT 127.0.0.1:25 HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, body := c.answer("CONNECT")
	if resp.StatusCode != 403 || !resp.Close || !strings.Contains(resp.Status, "(http_request_denied: rule connect_ports)") {
		t.Errorf("%s, close %v", resp.Status, resp.Close)
	}
	if got := resp.Header.Get("Proxy-Status"); got != `viaduct; error=http_request_denied; details="rule connect_ports"` {
		t.Error(got)
	}
	if !strings.Contains(body, "The rule that decided is connect_ports.") || strings.Contains(body, "127.0.0.1") {
		t.Errorf("%q", body)
	}
}

func TestClientsFromElsewhereAreDenied(t *testing.T) {
	reached := false
	at := origin(t, func(net.Conn) { reached = true })
	h := begin(t, func(h *house) { h.from = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 9} })
	for _, request := range []string{
		"GET http://" + at + "/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT " + at + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"TRACE http://" + at + "/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n",
	} {
		c := h.dial()
		c.say("%s", request)
		method, _, _ := strings.Cut(request, " ")
		resp, body := c.answer(method)
		if resp.StatusCode != 403 || !strings.Contains(body, "rule that decided is clients") {
			t.Errorf("%s: %d %q", method, resp.StatusCode, body)
		}
	}
	if reached {
		t.Error("an origin was reached")
	}
}

func TestBrowserIsToldInHTML(t *testing.T) {
	h := begin(t, nil)
	c := h.dial()
	c.say("GET /x HTTP/1.1\r\nHost: x\r\nAccept: text/html,*/*\r\n\r\n")
	resp, body := c.answer("GET")
	if resp.StatusCode != 400 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, "<h1>400 Bad Request</h1>") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}
