package test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var parentEgressRows = []row{
	{"product-2/egress-users", "T72", "Two users with two egress addresses, the same origin, kept connections: each request leaves from the address of its user, plain, by CONNECT and by Upgrade.", own, egressUsers},
	{"product-2/egress-users-parent", "T72", "The same through a parent: it sees each user's requests and tunnels from that user's address.", own, egressUsersParent},
	{"product-2/egress-socks-parent", "T72", "An egress address holds on the way to parents by every scheme, and to both of a chain's first.", own, egressToParents},
	{"product-2/egress-refused-there", "–", "A destination that lets one of two egress addresses wait: the address is passed over for it, and goes on for others.", own, egressRefusedThere},
	{"product-2/egress-limited-there", "–", "A destination that answers 429 to one of two egress addresses gets the other for a while; others see both.", own, egressLimitedThere},
}

// twoUsers finds, by asking for something, two users whose address of egress is
// not the same.
func twoUsers(t *testing.T, people []string, ask func(who string) string) (by map[string]string) {
	t.Helper()
	by = map[string]string{}
	taken := map[string]bool{}
	for _, who := range people {
		if address := ask(who); !taken[address] {
			by[who], taken[address] = address, true
		}
		if len(by) == 2 {
			return by
		}
	}
	t.Fatalf("%d users leave from %v", len(people), by)
	return nil
}

// manyUsers is users and their passwords, for a file.
func manyUsers(t *testing.T, n int) (people []string, file string) {
	t.Helper()
	var pairs []string
	for i := range n {
		people = append(people, fmt.Sprint("user", i))
		pairs = append(pairs, people[i], "x")
	}
	return people, saved(t, hashed(t, pairs...))
}

func egressUsers(t *testing.T, _ *proxy) {
	people, users := manyUsers(t, 30)
	p := start(t, "--users", users, "--egress", "127.0.3.1,127.0.3.2", "--egress-by", "user")
	o := newOrigin(t, whence)
	sends := func(c *client, who string) string {
		return c.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x", basic(who, "x")).answer().body
	}
	by := twoUsers(t, people, func(who string) string { return sends(dial(t, p), who) })
	shared := dial(t, p) // both on one connection, as behind another proxy
	for range 4 {
		for who, address := range by {
			for _, c := range []*client{shared, dial(t, p)} {
				if got := sends(c, who); got != address {
					t.Errorf("%s left from %s, and now from %s", who, address, got)
				}
			}
		}
	}
	far := newOrigin(t, new(visitors).greets)
	for who, address := range by {
		c := dial(t, p).ask("CONNECT "+far.addr+" HTTP/1.1", "Host: x", basic(who, "x"))
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
		c.read(address + "\n")
		c = dial(t, p).ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", basic(who, "x"))
		if m := c.answer(); m.status() != 101 {
			t.Fatalf("got %q", m.raw)
		}
		c.read(address + "\n")
	}
}

// seesWhence is a deed: what comes, comes from there.
func seesWhence(c *originConn, r *message) bool {
	if r.method() == "CONNECT" {
		return grants("", c.peer()+"\n")(c, r)
	}
	return c.send(ok(c.peer())) == nil
}

func egressUsersParent(t *testing.T, _ *proxy) {
	people, users := manyUsers(t, 30)
	u := newUpper(t, seesWhence)
	p := through(t, []string{u.url()}, "", "users: "+users, "egress: [127.0.3.1, 127.0.3.2]", "egress_by: user")
	sends := func(c *client, who string) string {
		return c.ask("GET http://a.test/ HTTP/1.1", "Host: x", basic(who, "x")).answer().body
	}
	by := twoUsers(t, people, func(who string) string { return sends(dial(t, p), who) })
	shared := dial(t, p)
	for range 4 {
		for who, address := range by {
			for _, c := range []*client{shared, dial(t, p)} {
				if got := sends(c, who); got != address {
					t.Errorf("the parent has seen %s from %s, and now from %s", who, address, got)
				}
			}
		}
	}
	for who, address := range by {
		c := dial(t, p).ask("CONNECT a.test:443 HTTP/1.1", "Host: x", basic(who, "x"))
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
		c.read(address + "\n")
	}
	lines := p.lines(t, 3)
	for _, line := range lines {
		who, _ := line["user"].(string)
		if want := by[who]; want != "" && line["egress"] != want {
			t.Errorf("the log says egress %v of %s, not %s", line["egress"], who, want)
		}
	}
}

func egressToParents(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	for _, s := range []upperSpec{{scheme: "https", tls: conf}, {scheme: "socks5"}} {
		s.act = seesWhence
		options := ""
		if s.tls != nil {
			options = option
		}
		p := through(t, []string{s.start(t).url()}, options, "egress: 127.0.3.7")
		dial(t, p).tunnel("a.test:443").read("127.0.3.7\n")
	}
	first := newUpper(t)
	p := through(t, []string{first.url() + " -> " + newUpper(t).url()}, "", "egress: 127.0.3.7")
	c, _ := stage(t, p, echo)
	c.tunnel("{O}").send("ping").read("ping")
	first.mu.Lock()
	defer first.mu.Unlock()
	for _, conn := range first.conns {
		if conn.peer() != "127.0.3.7" {
			t.Errorf("the first of a chain is reached from %s", conn.peer())
		}
	}
}

// deafTo is a listener that does not hear connection attempts from one address.
func deafTo(t testing.TB, address string) net.Listener {
	t.Helper()
	ip := netip.MustParseAddr(address).As4()
	source := uint32(ip[0])<<24 | uint32(ip[1])<<16 | uint32(ip[2])<<8 | uint32(ip[3])
	const network, sourceAt = 0xfff00000, 12 // of the IPv4 header
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: network + sourceAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: source, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
	}
	var attached error
	conf := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			attached = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
		})
	}}
	conf.SetMultipathTCP(false) // which knows no filters
	ln, err := conf.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil || attached != nil {
		t.Fatal(err, attached)
	}
	return ln
}

func egressRefusedThere(t *testing.T, _ *proxy) {
	const one, two = "127.0.3.1", "127.0.3.2"
	picky := newOriginOn(t, deafTo(t, one), nil, whence)
	p := start(t, "--egress", one+","+two, "--egress-by", "round_robin", "--dial-timeout", "800ms")
	failed := 0
	for range 10 {
		switch m := fetch(t, p, picky.addr); {
		case m.status() == 200 && m.body == two:
		case m.status() == 504:
			failed++
		default:
			t.Fatalf("got %q %q", m.raw, m.body)
		}
	}
	if failed > 1 {
		t.Errorf("%d of 10 requests met the address that the destination does not hear", failed)
	}
	easy := newOrigin(t, whence)
	seen := map[string]int{}
	for range 10 {
		seen[fetch(t, p, easy.addr).body]++
	}
	if seen[one] < 4 || seen[two] < 4 {
		t.Errorf("another destination sees %v", seen)
	}
}

func egressLimitedThere(t *testing.T, _ *proxy) {
	const one, two = "127.0.3.1", "127.0.3.2"
	p := start(t, "--egress", one+","+two, "--egress-by", "round_robin")
	picky := newOrigin(t, func(o *originConn) {
		for r := o.request(); r != nil; r = o.request() {
			answer := ok(o.peer())
			if o.peer() == one {
				answer = strings.Replace(ok("slow down"), "200 OK", "429 Too Many Requests\r\nRetry-After: 60", 1)
			}
			if o.send(answer) != nil {
				return
			}
		}
	})
	limited := 0
	for range 10 {
		if m := fetch(t, p, picky.addr); m.status() == 429 {
			limited++
		}
	}
	if limited > 1 {
		t.Errorf("%d of 10 requests went by the address that had been told to wait", limited)
	}
	easy := newOrigin(t, whence)
	seen := map[string]int{}
	for range 10 {
		seen[fetch(t, p, easy.addr).body]++
	}
	if seen[one] < 4 || seen[two] < 4 {
		t.Errorf("another destination sees %v", seen)
	}
}
