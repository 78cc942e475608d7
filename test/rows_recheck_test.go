package test

import (
	"fmt"
	"strings"
	"testing"
)

var recheckRows = []row{
	{"product-2/reload-tunnels-recheck", "T69", "--reload-tunnels recheck: of 20 tunnels a reload ends those that the new rules forbid, by host, by user, by address, by a list; the log says which rule. The others go on, and new requests have the new rules.", own, recheckTunnels},
	{"product-2/reload-tunnels-upgraded", "T69", "An upgraded connection is a tunnel: recheck ends it where the new rules forbid its request, by name, method or path; keep does not.", own, recheckUpgraded},
	{"product-2/reload-tunnels-keep", "T69", "--reload-tunnels keep: a reload ends no tunnel, and new requests have the new rules.", own, keepTunnels},
}

// crowd is a proxy with 20 tunnels: of two users to two hosts, of which one is
// at two addresses.
type crowd struct {
	*proxy
	list    string // files
	users   string
	text    func(rules ...string) string
	far     *origin
	tunnels []*crowdTunnel
}

type crowdTunnel struct {
	*client
	user, host string
}

func newCrowd(t *testing.T, mode string) *crowd {
	t.Helper()
	s := newNames(t, func(q query) reply {
		if q.name == "far.test" {
			return reply{addrs: []string{"127.0.0.2"}}
		}
		return reply{addrs: []string{"127.0.0.1"}}
	})
	w := &crowd{far: newOriginAt(t, "0.0.0.0:0", echo), list: saved(t, "nobody.test\n"), users: saved(t, hashed(t, "ann", "one", "ben", "two"))}
	w.text = func(rules ...string) string {
		more := []string{"resolver: [\"" + s.addr + "\"]", "users: " + w.users, "reload_tunnels: " + mode, "rules:", "  - {name: list, deny: {host: [\"@" + w.list + "\"]}}"}
		return conf(append(more, rules...)...)
	}
	w.proxy = launch{conf: w.text()}.start(t)
	for n := range 20 {
		c := &crowdTunnel{dial(t, w.proxy), []string{"ann", "ben"}[n%2], []string{"near.test", "far.test"}[n/2%2]}
		if m := w.connect(c.client, c.user, c.host); m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
		c.send("ping").read("ping")
		w.tunnels = append(w.tunnels, c)
	}
	return w
}

func (w *crowd) connect(c *client, user, host string) *message {
	c.fill = w.far.places
	password := map[string]string{"ann": "one", "ben": "two"}[user]
	return c.ask("CONNECT "+host+":{P} HTTP/1.1", "Host: x", basic(user, password)).answerTo("CONNECT")
}

// loses wants the tunnels of a user to a host to end by a rule, and all others
// to go on.
func (w *crowd) loses(t *testing.T, user, host, rule, phase string) {
	t.Helper()
	var stay []*crowdTunnel
	for _, c := range w.tunnels {
		if c.user == user && c.host == host {
			c.ends()
		} else {
			stay = append(stay, c)
		}
	}
	gone := 20 - len(stay)
	for _, line := range w.lines(t, gone)[gone-len(w.tunnels)+len(stay) : gone] {
		wantFields(t, line, map[string]any{
			"ended_by": "proxy", "fault": "http_request_denied", "decision": "deny", "rule": rule, "phase": phase, "user": user, "status": 200.0,
		})
		if target := fmt.Sprint(line["target"]); !strings.HasPrefix(target, host) {
			t.Errorf("a tunnel to %s has ended, not to %s", target, host)
		}
	}
	w.tunnels = stay
	w.goOn()
	if n := strings.Count(w.accessLog(t), "\n"); n != gone {
		t.Errorf("%d tunnels have ended, want %d", n, gone)
	}
}

func (w *crowd) goOn() {
	for _, c := range w.tunnels {
		c.send("ping").read("ping")
	}
}

const (
	nearOfBen = "  - {name: no-ben, deny: {user: [ben], host: [near.test]}}"
	farOfAnn  = "  - {name: no-ann, deny: {user: [ann], addr: [127.0.0.2]}}"
)

func recheckTunnels(t *testing.T, _ *proxy) {
	w := newCrowd(t, "recheck")
	w.reload(t, w.text())
	w.goOn()
	w.reload(t, w.text(nearOfBen))
	w.loses(t, "ben", "near.test", "no-ben", "name")
	w.reload(t, w.text(nearOfBen, farOfAnn))
	w.loses(t, "ann", "far.test", "no-ann", "address")
	replaceFile(t, w.list, "far.test\n") // nobody says so
	w.loses(t, "ben", "far.test", "list", "name")
	replaceFile(t, w.users, hashed(t, "ben", "two"))
	w.loses(t, "ann", "near.test", "auth", "auth")
}

func keepTunnels(t *testing.T, _ *proxy) {
	w := newCrowd(t, "keep")
	w.reload(t, w.text(nearOfBen, farOfAnn))
	for user, host := range map[string]string{"ben": "near.test", "ann": "far.test"} { // at once
		w.connect(dial(t, w.proxy), user, host).wantDenied(t, "no-"+user)
	}
	w.goOn()
	replaceFile(t, w.list, "near.test\n")
	poll(t, "the list", func() bool { return w.connect(dial(t, w.proxy), "ann", "near.test").status() == 403 })
	w.goOn()
	replaceFile(t, w.users, hashed(t, "ben", "two"))
	poll(t, "the users", func() bool { return w.connect(dial(t, w.proxy), "ann", "near.test").status() == 407 })
	w.goOn()
	for _, line := range w.lines(t, 2) {
		if line["status"] == 200.0 {
			t.Errorf("a tunnel has ended: %v", line)
		}
	}
}

func recheckUpgraded(t *testing.T, _ *proxy) {
	for _, mode := range []string{"recheck", "keep"} {
		s := newNames(t, always("127.0.0.1"))
		text := func(rules ...string) string {
			return conf(append([]string{"resolver: [\"" + s.addr + "\"]", "reload_tunnels: " + mode, "rules:", "  - deny: {host: [nobody.test]}"}, rules...)...)
		}
		p := launch{conf: text()}.start(t)
		var all []*client
		for _, target := range []string{"one.test:{P}/ws", "two.test:{P}/ws", "two.test:{P}/x/../chat"} {
			c, _ := stage(t, p, func(o *originConn) { o.head(); o.send(switching); echo(o) })
			c.ask("GET http://"+target+" HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket")
			if m := c.answer(); m.status() != 101 {
				t.Fatalf("got %q", m.raw)
			}
			all = append(all, c.send("ping").read2("ping"))
		}
		p.reload(t, text("  - {name: no-one, deny: {host: [one.test], method: [GET]}}", "  - {name: no-chat, deny: {path: [/chat]}}"))
		if mode == "recheck" {
			all[0].ends()
			all[2].ends()
			for _, line := range p.lines(t, 2) {
				wantFields(t, line, map[string]any{"ended_by": "proxy", "fault": "http_request_denied", "decision": "deny", "phase": "name", "status": 101.0})
			}
			all = all[1:2]
		}
		for _, c := range all {
			c.send("ping").read("ping")
		}
	}
}
