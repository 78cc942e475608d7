package test

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var addressRows = []row{
	{"product-2/deny-addr", "T58", "A denied address as a literal, inside an IPv6 address, by name, by alias: 403 by its rule, not dialled. Decimal, hex, octal and short notations: 400.", own, denyAddr},
	{"6890/redirect", "T59", "A client that follows a redirect to a metadata address or to a denied name is refused there.", own, redirected},
	{"6890/flipping-answers", "T58", "A name that leads to an allowed and a denied address in turn, or to both: the denied one is never dialled.", own, flipping},
	{"product-5/idle-connection-rechecked", "T58, T69", "A kept connection to an address that a new rule denies, or denies to this name, is not used.", own, idleRechecked},
	{"6890/by-name", "T45", "A name that leads to any address that the guard refuses, by A or AAAA: 403 by the guard for GET and CONNECT, also where a rule allows the name; not dialled.", own, guardByName},
	{"product-7/own-machine", "T60", "The machine's other addresses, on ports that are not ours: refused by the guard, let pass by --allow addr= or --allow-private.", own, ownMachine},
	{"product-7/own-listeners-never", "T60", "Our own listeners and the admin address: 421 by every name of the machine, whatever is allowed.", own, ownNever},
	{"product-2/allow-addr", "–", "--allow addr= lifts the guard for its range and for nothing else, and leaves everything else allowed that was; beside an allowed host it opens no other. Of rules with addr= the first decides.", own, liftedAlone},
}

func denyAddr(t *testing.T, _ *proxy) {
	y := newYard(t, "--deny", "addr=127.0.0.2", "--deny", "host=alias.test addr=127.0.0.1")
	second := newOriginAt(t, "127.0.0.2:"+y.web.port, says(ok("reached")))
	y.tries(bypass{
		rule: "deny#1",
		denied: both(append([]string{
			"127.0.0.2", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[0:0:0:0:0:FFFF:7F00:0002]", "[64:ff9b::7f00:2]", "[64:ff9b::127.0.0.2]", "[64:ff9b:1::7f00:2]", "[2002:7f00:2::1]", "[::127.0.0.2]", "[::ffff:0:127.0.0.2]",
			"127.0.0.2.", "INNER.test.", "１２７.0.0.2", "127。0。0。2",
		}, slices.Collect(maps.Keys(elsewhere))...)...),
		bad: both("2130706434", "0x7f000002", "017700000002", "127.2", "127.0.2", "0177.0.0.2", "0x7f.0.0.2", "127.0.0.02", "127.0.0.2..", "127.0.0.2%00", "[::ffff:127.0.0.2%25lo]", "[::ffff:127.0.0.2%lo]", "[127.0.0.2]", "::ffff:127.0.0.2", "[inner.test]"),
	})
	y.tries(bypass{rule: "deny#2", denied: both("alias.test", "Alias.TEST.")})
	y.passes(both("127.0.0.1", "other.test", "www.alias.test")...)
	p := start(t, "--resolver", aliases(t, "127.0.0.2"), "--deny", "addr=127.0.0.2")
	for _, host := range []string{"innocent.example", "canonical.test"} {
		fetch(t, p, host+":"+y.web.port).wantDenied(t, "deny#1")
		dial(t, p).ask("CONNECT "+host+":"+y.web.port+" HTTP/1.1", "Host: x").answerTo("CONNECT").wantDenied(t, "deny#1")
	}
	if second.dials() != 0 {
		t.Error("the denied address was dialled")
	}
}

// aliases is a name server where every name is an alias of canonical.test, which
// has this address.
func aliases(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		const canonical = "\x09canonical\x04test\x00"
		for buf := make([]byte, 4096); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, end := readQuestion(buf[:n])
			out := append([]byte(nil), buf[:end]...)
			binary.BigEndian.PutUint16(out[2:], 0x8180)
			copy(out[4:], []byte{0, 1, 0, 1, 0, 0, 0, 0})
			out = appendRecord(out, 5, 300, []byte(canonical))
			if binary.BigEndian.Uint16(buf[end-4:]) == 1 {
				out[7]++
				address := appendRecord(nil, 1, 300, net.ParseIP(addr).To4())
				out = append(append(out, canonical...), address[2:]...)
			}
			conn.WriteTo(out, from)
		}
	}()
	return conn.LocalAddr().String()
}

func redirected(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	p := startBare(t, "--resolver", s.addr, "--allow", "addr=127.0.0.0/8", "--deny", "host=evil.test")
	to := ""
	o := newOrigin(t, serve(func(*message) string {
		return "HTTP/1.1 302 Found\r\nLocation: " + to + "\r\nContent-Length: 0\r\n\r\n"
	}))
	through := &url.URL{Scheme: "http", Host: p.addr}
	transport := &http.Transport{Proxy: http.ProxyURL(through)}
	defer transport.CloseIdleConnections()
	browser := &http.Client{Transport: transport, Timeout: patience}
	for _, turn := range [][3]string{
		{"http://169.254.169.254/latest/meta-data/", "destination_ip_prohibited", "guard"},
		{"http://[fd00:ec2::254]/", "destination_ip_prohibited", "guard"},
		{"http://10.0.0.1:" + o.port + "/", "destination_ip_prohibited", "guard"},
		{"http://evil.test:" + o.port + "/", "http_request_denied", "deny#1"},
		{"//EVIL.test.:" + o.port + "/", "http_request_denied", "deny#1"},
	} {
		to = turn[0]
		answer, err := browser.Get("http://good.test:" + o.port + "/")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		want := fmt.Sprintf(`viaduct; error=%s; details="rule %s"`, turn[1], turn[2])
		if got := answer.Header.Get("Proxy-Status"); answer.StatusCode != 403 || got != want {
			t.Errorf("%s: got %d %q, want 403 %q", to, answer.StatusCode, got, want)
		}
	}
}

func flipping(t *testing.T, _ *proxy) {
	s := newNames(t, func(q query) reply {
		one := []string{"127.0.0.1", "127.0.0.2"}[q.nth%2]
		switch {
		case q.name == "mixed.test":
			return reply{addrs: []string{"127.0.0.2", "::ffff:127.0.0.2", "127.0.0.1"}}
		case q.six:
			return reply{ttl: 1}
		}
		return reply{ttl: 1, addrs: []string{one}}
	})
	p := s.start(t, "--deny", "addr=127.0.0.2")
	good := newOrigin(t, sayOnce("fine"))
	bad := newOriginAt(t, "127.0.0.2:"+good.port, says(ok("reached")))
	seen := map[int]int{}
	last := 0
	poll(t, "both answers, twice", func() bool {
		m := fetch(t, p, "flips.test:"+good.port)
		switch m.status() {
		case 200:
			m.want(t, 200, "fine")
		default:
			m.wantDenied(t, "deny#1")
		}
		if m.status() != last {
			last = m.status()
			seen[last]++
		}
		return seen[200] > 1 && seen[403] > 1
	})
	for range 5 {
		fetch(t, p, "mixed.test:"+good.port).want(t, 200, "fine")
		dial(t, p).tunnel("mixed.test:" + good.port)
	}
	if bad.dials() != 0 {
		t.Error("the denied address was dialled")
	}
}

func idleRechecked(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	resolver := "resolver: [\"" + s.addr + "\"]"
	p := launch{conf: conf(resolver)}.start(t)
	c, o := stage(t, p, says(ok("fine")))
	ask := func(name string) *message {
		return c.ask("GET http://"+name+".test:{P}/ HTTP/1.1", "Host: x").answer()
	}
	ask("one").want(t, 200, "fine")
	p.reload(t, conf(resolver, "rules:", "  - deny: {addr: [127.0.0.1]}"))
	ask("one").wantDenied(t, "forward[0].rules[0]")
	p.reload(t, conf(resolver, "rules:", "  - {name: two, deny: {host: [two.test], addr: [127.0.0.0/8]}}"))
	ask("one").want(t, 200, "fine")
	ask("two").wantDenied(t, "two")
	ask("one").want(t, 200, "fine")
	if n := len(o.seen()); n != 3 {
		t.Errorf("the origin got %d requests, want 3", n)
	}
}

func guardByName(t *testing.T, _ *proxy) {
	s := newNames(t, func(q query) reply {
		var n int
		if _, err := fmt.Sscanf(q.name, "n%d.test", &n); err != nil || n >= len(prohibited) {
			return reply{code: nameError}
		}
		return reply{addrs: []string{strings.Trim(prohibited[n], "[]")}}
	})
	o := newOrigin(t, says(ok("reached")))
	for _, flags := range [][]string{nil, {"--allow", "host=.test"}, {"--allow", "addr=198.51.100.77"}} {
		p := startBare(t, append([]string{"--connect-ports", "any", "--resolver", s.addr}, flags...)...)
		for n, address := range prohibited {
			host := fmt.Sprintf("n%d.test:%s", n, o.port)
			for _, m := range []*message{
				dial(t, p).ask("GET http://"+host+"/ HTTP/1.1", "Host: x").answer(),
				dial(t, p).ask("CONNECT "+host+" HTTP/1.1", "Host: x").answerTo("CONNECT"),
			} {
				if m.status() != 403 || m.details() != `"rule guard"` {
					t.Errorf("%q: a name of %s: got %q %q", flags, address, m.line, m.get("Proxy-Status"))
					continue
				}
				m.wantOwn(t, 403, "destination_ip_prohibited")
			}
		}
	}
	if o.dials() != 0 {
		t.Error("the origin was dialled")
	}
}

// ownAddresses are the machine's addresses beyond the loopback.
func ownAddresses(t *testing.T) (own []netip.Addr) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			addr, _ := netip.AddrFromSlice(n.IP)
			own = append(own, addr.Unmap())
		}
	}
	if own == nil {
		t.Fatal("this machine has no address but the loopback: give it one")
	}
	slices.SortFunc(own, netip.Addr.Compare) // IPv4 first
	return own
}

func ownMachine(t *testing.T, _ *proxy) {
	for _, addr := range ownAddresses(t) {
		o := newOriginAt(t, netip.AddrPortFrom(addr, 0).String(), says(ok("fine")))
		s := newNames(t, always(addr.String()))
		common := []string{"--connect-ports", "any", "--resolver", s.addr}
		p := startBare(t, common...)
		for _, target := range []string{o.addr, "me.test:" + o.port} {
			fetch(t, p, target).wantOwn(t, 403, "destination_ip_prohibited")
			m := dial(t, p).ask("CONNECT "+target+" HTTP/1.1", "Host: x").answerTo("CONNECT")
			if m.line != "HTTP/1.1 403 Forbidden (destination_ip_prohibited: rule guard)" {
				t.Errorf("%s: got %q", target, m.line)
			}
		}
		if o.dials() != 0 {
			t.Errorf("%v was dialled", addr)
		}
		for _, lift := range [][]string{{"--allow", "addr=" + addr.String()}, {"--allow-private"}} {
			p := startBare(t, append(lift, common...)...)
			fetch(t, p, o.addr).want(t, 200, "fine")
			fetch(t, p, "me.test:"+o.port).want(t, 200, "fine")
			dial(t, p).tunnel(o.addr)
		}
	}
	needsRoot(t) // for an address that no class prohibits, in a network of its own
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	file := saved(t, "forward: [{listen: [127.0.0.1:0]}]\n")
	for addr, want := range map[string]string{"8.8.4.4": "deny by guard (address): 403", "8.8.4.5": "allow"} {
		script := `ip link set lo up && ip addr add 8.8.4.4/32 dev lo && exec "$0" explain -c "$1" --addr "$2" http://me.test/`
		out, err := exec.Command("unshare", "-n", "sh", "-c", script, bin, file, addr).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("a machine with 8.8.4.4, asked about %s: %v, %q, want %q", addr, err, out, want)
		}
	}
}

func ownNever(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1", "::1"))
	for _, lift := range [][]string{
		{"--allow-private"}, {"--allow", "addr=0.0.0.0/0,::/0"}, {"--allow", "all"}, {"--allow", "method=GET,CONNECT addr=0.0.0.0/0,::/0"}, {"--report-only", "--allow-private"}, {"--report-only"},
	} {
		p := startBare(t, append([]string{"--connect-ports", "any", "--resolver", s.addr, "--admin", "127.0.0.1:0"}, lift...)...)
		poll(t, "an admin address", func() bool { return adminOf.MatchString(p.log()) })
		admin := adminOf.FindStringSubmatch(p.log())[1]
		for _, port := range []string{p.port, admin[strings.LastIndexByte(admin, ':')+1:]} {
			for _, name := range append(ownNames(t), "me.test", "[::ffff:7f00:1]", "127.9.9.9") {
				for _, m := range []*message{
					fetch(t, p, name+":"+port),
					dial(t, p).ask("CONNECT "+name+":"+port+" HTTP/1.1", "Host: x").answerTo("CONNECT"),
				} {
					if m.status() != 421 || m.details() != `"rule own_address"` {
						t.Errorf("%q: %s:%s: got %q %q", lift, name, port, m.line, m.get("Proxy-Status"))
						continue
					}
					m.wantOwn(t, 421, "proxy_loop_detected")
				}
			}
		}
	}
}

func liftedAlone(t *testing.T, _ *proxy) {
	o := newOrigin(t, says(ok("fine")))
	newOriginAt(t, "127.0.0.3:"+o.port, says(ok("third")))
	s := newNames(t, func(q query) reply {
		special := map[string]string{"public.test": nowhere, "ten.test": "10.0.0.1", "third.test": "127.0.0.3", "six.test": "::1"}
		if addr := special[q.name]; addr != "" {
			return reply{addrs: []string{addr}}
		}
		return reply{addrs: []string{"127.0.0.1"}}
	})
	const guard, last = `403 "rule guard"`, `403 "rule default"`
	for _, turn := range []struct {
		flags []string
		want  map[string]string // by host; "5" is any failure to connect
	}{
		{[]string{"--allow", "addr=127.0.0.0/8"}, map[string]string{
			"127.0.0.1": "200", "good.test": "200", "third.test": "200", "[::ffff:127.0.0.1]": "200", "[::ffff:7f00:3]": "200", "public.test": "5", "[" + nowhere + "]": "5",
			"10.0.0.1": guard, "ten.test": guard, "[::1]": guard, "six.test": guard, "[64:ff9b::7f00:1]": guard, "[::127.0.0.1]": guard, "[2002:7f00:1::1]": guard, "[::ffff:10.0.0.1]": guard, "169.254.169.254": guard,
		}},
		{[]string{"--allow", "addr=64:ff9b::/96,::127.0.0.1"}, map[string]string{"[64:ff9b::7f00:1]": guard, "127.0.0.1": guard, "[64:ff9b::10.0.0.1]": guard}},
		{[]string{"--allow", "addr=127.0.0.0/8", "--allow", "host=good.test"}, map[string]string{
			"good.test": "200", "127.0.0.1": last, "other.test": last, "ten.test": last, "public.test": last,
		}},
		{[]string{"--allow", "host=good.test", "--allow", "addr=127.0.0.0/8"}, map[string]string{"good.test": "200", "127.0.0.1": last, "other.test": last}},
		{[]string{"--allow", "host=good.test,ten.test"}, map[string]string{"good.test": guard, "ten.test": guard, "other.test": last}},
		{[]string{"--allow", "host=good.test,ten.test addr=127.0.0.1"}, map[string]string{"good.test": "200", "ten.test": last, "other.test": last, "127.0.0.1": last}},
		{[]string{"--deny", "addr=127.0.0.3", "--allow", "addr=127.0.0.0/8"}, map[string]string{"third.test": `403 "rule deny#1"`, "127.0.0.3": `403 "rule deny#1"`, "[::ffff:127.0.0.3]": `403 "rule deny#1"`, "good.test": "200"}},
		{[]string{"--allow", "addr=127.0.0.0/8", "--deny", "addr=127.0.0.3"}, map[string]string{"third.test": "200", "good.test": "200", "[64:ff9b::7f00:3]": `403 "rule deny#1"`}},
		{[]string{"--report-only", "--deny", "addr=127.0.0.3", "--deny", "host=good.test"}, map[string]string{"third.test": guard, "good.test": guard, "10.0.0.1": guard, "public.test": "5"}},
	} {
		p := startBare(t, append([]string{"--connect-ports", "any", "--dial-timeout", "1s", "--resolver", s.addr}, turn.flags...)...)
		for host, want := range turn.want {
			host += ":" + o.port
			for _, m := range []*message{
				fetch(t, p, host),
				dial(t, p).ask("CONNECT "+host+" HTTP/1.1", "Host: x").answerTo("CONNECT"),
			} {
				got := strings.TrimSpace(fmt.Sprint(m.status(), " ", m.details()))
				if !strings.Contains(want, got) && (want != "5" || m.status() < 500) {
					t.Errorf("%q: %s: got %q, want %s", turn.flags, host, got, want)
				}
			}
		}
	}
}
