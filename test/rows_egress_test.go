package test

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

var egressRows = []row{
	{"product-2/egress", "T72", "With --egress the origin sees that address and no other: plain requests, CONNECT, Upgrade, fresh connections and kept ones.", own, egressEverywhere},
	{"product-2/no-egress", "–", "Without --egress the system chooses the address.", own, egressOfTheSystem},
	{"product-2/egress-round-robin", "T72", "--egress-by round_robin: requests leave from each address as often, whoever sends them.", own, egressRoundRobin},
	{"product-2/egress-by-client", "T72", "--egress-by client: each client has its address, for each request; no client's leave by a kept connection of another's.", own, egressByClient},
	{"product-2/egress-by-host", "T72", "--egress-by host: each host sees one address, and not all the same.", own, egressByHost},
	{"product-2/egress-foreign", "–", "An egress address that this machine has not: exit 2, and it is named.", own, egressForeign},
	{"product-2/egress-nonsense", "–", "An egress address that is none, or a choice among one: exit 1, and it is named.", own, egressNonsense},
	{"product-2/egress-family", "T72", "With an IPv4 egress address alone no IPv6 address is dialled: 502 destination_ip_unroutable where there is no other.", own, egressFamily},
	{"product-2/egress-both-families", "T72", "With an egress address of either family each destination sees the one of its own.", own, egressBothFamilies},
	{"product-5/egress-changes", "T69", "A reload that changes the egress address: no request leaves by a kept connection of the old one, tunnels go on.", own, egressChanges},
}

// peer is the address that an origin's connection comes from.
func (c *originConn) peer() string {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	return host
}

// whence is a script: each answer says where the request came from, each
// upgraded connection begins with it.
func whence(o *originConn) {
	for r := o.request(); r != nil; r = o.request() {
		if r.has("Upgrade") {
			o.send(switching + o.peer() + "\n")
			echo(o)
			return
		}
		if o.send(ok(o.peer())) != nil {
			return
		}
	}
}

// visitors counts the addresses that connections come from.
type visitors struct {
	mu   sync.Mutex
	from map[string]int
}

// greets is a script: a tunnel begins with where it comes from, and echoes.
func (v *visitors) greets(o *originConn) {
	v.mu.Lock()
	if v.from == nil {
		v.from = map[string]int{}
	}
	v.from[o.peer()]++
	v.mu.Unlock()
	o.send(o.peer() + "\n")
	echo(o)
}

func egressEverywhere(t *testing.T, _ *proxy) {
	const address = "127.0.3.7"
	p := start(t, "--egress", address)
	c, o := stage(t, p, whence)
	for range 3 {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, address)
	}
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello").answer().want(t, 200, address)
	if n := o.dials(); n != 1 {
		t.Errorf("%d connections for requests of one client", n)
	}
	fetch(t, p, o.addr).want(t, 200, address)
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket")
	if m := c.answer(); m.status() != 101 {
		t.Fatalf("got %q", m.raw)
	}
	c.read(address + "\n")
	v := &visitors{}
	c, _ = stage(t, p, v.greets)
	c.tunnel("{O}").read(address + "\n")
	c.send("ping").read("ping")
	for _, line := range p.lines(t, 5) {
		if line["egress"] != address {
			t.Errorf("the log says egress %v, not %s", line["egress"], address)
		}
	}
}

func egressOfTheSystem(t *testing.T, _ *proxy) {
	p := start(t)
	c, _ := stage(t, p, whence)
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "127.0.0.1")
	c, _ = stage(t, p, new(visitors).greets)
	c.tunnel("{O}").read("127.0.0.1\n")
	if line := p.lines(t, 1)[0]; line["egress"] != nil {
		t.Errorf("the log says egress %v", line["egress"])
	}
}

func egressRoundRobin(t *testing.T, _ *proxy) {
	addresses := []string{"127.0.3.1", "127.0.3.2", "127.0.3.3"}
	p := start(t, "--egress", strings.Join(addresses, ","), "--egress-by", "round_robin")
	c, o := stage(t, p, whence)
	got := map[string]int{}
	for n := range 30 {
		if n%10 == 5 {
			c = dial(t, p)
			c.fill = o.places
		}
		m := c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer()
		m.want(t, 200, m.body)
		got[m.body]++
	}
	if n := o.dials(); n > 2*len(addresses) { // one may not be back yet when another client asks
		t.Errorf("%d connections for %d addresses", n, len(addresses))
	}
	v := &visitors{from: got}
	e := newOrigin(t, v.greets)
	for range 30 {
		if err := tunnelFrom(t, p, e.addr, addresses); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range addresses {
		if got[a] != 20 {
			t.Errorf("%s was used for %d of 60 requests and tunnels: %v", a, got[a], got)
		}
	}
}

// tunnelFrom opens a tunnel to an origin that greets, and wants it to come from
// one of some addresses.
func tunnelFrom(t *testing.T, p *proxy, target string, addresses []string) error {
	t.Helper()
	c := dial(t, p).tunnel(target)
	line, err := c.hurry().in.ReadString('\n')
	c.conn.Close()
	if from := strings.TrimSpace(line); err != nil || !slices.Contains(addresses, from) {
		return fmt.Errorf("a tunnel comes from %q, %w", from, err)
	}
	return nil
}

// dialFrom connects to the proxy from an address of the loopback.
func dialFrom(t testing.TB, p *proxy, ip string) *client {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	conn, err := d.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{TB: t, conn: conn.(*net.TCPConn), in: bufio.NewReader(conn), fill: func(s string) string { return s }, lane: p.lane}
	c.arrive()
	return c.hurry()
}

func egressByClient(t *testing.T, _ *proxy) {
	p := start(t, "--egress", "127.0.3.1", "--egress", "127.0.3.2,127.0.3.3", "--egress-by", "client")
	o := newOrigin(t, whence)
	type user struct {
		ip     string
		conn   *client
		egress string
	}
	var users []*user
	used := map[string]bool{}
	for n := range 24 {
		u := &user{ip: fmt.Sprintf("127.0.1.%d", n+1)}
		u.conn = dialFrom(t, p, u.ip)
		u.conn.fill = o.places
		users = append(users, u)
	}
	for round := range 4 {
		for _, u := range users {
			if round == 2 { // its kept connections were anybody's, were they not kept apart
				u.conn.conn.Close()
				u.conn = dialFrom(t, p, u.ip)
				u.conn.fill = o.places
			}
			m := u.conn.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer()
			m.want(t, 200, m.body)
			if u.egress == "" {
				u.egress = m.body
			}
			if m.body != u.egress {
				t.Errorf("client %s left from %s, and now from %s", u.ip, u.egress, m.body)
			}
			used[m.body] = true
		}
	}
	if len(used) != 3 {
		t.Errorf("24 clients have used %v", used)
	}
	if n := o.dials(); n > 12 {
		t.Errorf("%d connections to the origin for requests one after another", n)
	}
	for _, u := range users[:4] {
		e := newOrigin(t, new(visitors).greets)
		dialFrom(t, p, u.ip).tunnel(e.addr).read(u.egress + "\n")
	}
}

func egressByHost(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	p := s.start(t, "--egress", "127.0.3.1,127.0.3.2,127.0.3.3", "--egress-by", "host")
	o := newOrigin(t, whence)
	c := dial(t, p)
	first, used := map[string]string{}, map[string]bool{}
	for range 3 {
		for n := range 16 {
			host := fmt.Sprintf("h%d.example", n)
			m := c.ask("GET http://"+host+":"+o.port+"/ HTTP/1.1", "Host: x").answer()
			m.want(t, 200, m.body)
			if first[host] == "" {
				first[host] = m.body
			}
			if m.body != first[host] {
				t.Errorf("%s was reached from %s, and now from %s", host, first[host], m.body)
			}
			used[m.body] = true
		}
	}
	if len(used) != 3 {
		t.Errorf("16 hosts have seen %v", used)
	}
}

func egressForeign(t *testing.T, _ *proxy) {
	for _, address := range []string{"198.51.100.7", "2001:db8::7"} {
		complains(t, 2, nil, []string{"forward", "--listen", "127.0.0.1:0", "--egress", "127.0.3.1", "--egress", address}, []string{"egress", address})
	}
}

func egressNonsense(t *testing.T, _ *proxy) {
	for _, address := range []string{"nonsense", "127.0.3", "127.0.3.1:80", "0.0.0.0", "::", "224.0.0.1", "", "127.0.3.1,127.0.3.1"} {
		complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--egress", address}, []string{"--egress"})
	}
	complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--egress", "127.0.3.1", "--egress-by", "client"}, []string{"--egress-by"})
	complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--egress", "127.0.3.1,127.0.3.2", "--egress-by", "moon"}, []string{"--egress-by", "moon"})
}

func egressFamily(t *testing.T, _ *proxy) {
	bound(t, "::1", 0) // skips where there is no IPv6
	s := newNames(t, func(q query) reply {
		if q.name == "six.example" {
			return reply{addrs: []string{"::1"}}
		}
		return reply{addrs: []string{"::1", "127.0.0.1"}}
	})
	p := s.start(t, "--egress", "127.0.3.7")
	four := newOrigin(t, whence)
	six := newOriginAt(t, "[::1]:"+four.port, whence)
	fetch(t, p, "both.example:"+four.port).want(t, 200, "127.0.3.7")
	fails(t, p, "six.example:"+six.port, 502, "destination_ip_unroutable")
	fails(t, p, "[::1]:"+six.port, 502, "destination_ip_unroutable")
	if n := six.dials(); n > 0 {
		t.Errorf("the IPv6 address was dialled %d times", n)
	}
	for _, mapped := range []string{"[::ffff:127.0.0.1]:", "[::ffff:7f00:1]:"} { // IPv4, to the system
		if m := fetch(t, p, mapped+four.port); m.status() == 200 && m.body != "127.0.3.7" {
			t.Errorf("%s was reached from %s", mapped, m.body)
		}
	}
}

func egressBothFamilies(t *testing.T, _ *proxy) {
	bound(t, "::1", 0) // skips where there is no IPv6
	p := start(t, "--egress", "127.0.3.7,::1")
	four := newOrigin(t, whence)
	six := newOriginAt(t, "[::1]:0", whence)
	c := dial(t, p)
	for range 3 {
		c.ask("GET http://"+four.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "127.0.3.7")
		c.ask("GET http://"+six.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "::1")
	}
}

func egressChanges(t *testing.T, _ *proxy) {
	p := launch{conf: conf("egress: 127.0.3.1")}.start(t)
	c, _ := stage(t, p, whence)
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "127.0.3.1")
	tunnel, _ := stage(t, p, new(visitors).greets)
	tunnel.tunnel("{O}").read("127.0.3.1\n")
	for _, address := range []string{"127.0.3.2", "127.0.3.1", "127.0.0.1"} {
		p.reload(t, conf("egress: "+address))
		for range 3 {
			c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, address)
		}
	}
	p.reload(t, conf())
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "127.0.0.1")
	tunnel.send("ping").read("ping")
}
