package test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var nameRows = []row{
	{"product-2/resolver", "–", "--resolver: the addresses of a name come from that server, asked for both families.", own, resolverAsked},
	{"product-2/resolver-tcp", "–", "--resolver tcp://: the same over TCP; an answer that UDP cuts off is asked for over TCP as well.", own, resolverOverTCP},
	{"product-2/resolver-in-turn", "T54", "With several resolvers the next one answers for one that is silent, refuses or fails.", own, resolversInTurn},
	{"product-2/resolver-nonsense", "–", "A resolver that makes no sense: exit 1, and it is named.", own, resolverNonsense},
	{"8305-3/dead-aaaa-query", "T65", "A name server that does not answer for IPv6, or fails: the IPv4 address is reached all the same.", own, deadAAAA},
	{"6890/mixed-answers", "T58", "A name with a public and a private address: the private one is never dialled.", own, mixedAnswers},
	{"6890/rebinding", "T58", "A name that is public now and private then: the private address is never dialled, and refused while it is the only one.", own, rebinding},
	{"9110-7.6/own-address-by-dns", "T60", "A name that leads to the proxy's own address: 421 proxy_loop_detected.", own, ownAddressByName},
	{"1034-5.3.1/one-question", "–", "50 requests for a name at once: one question, not 50.", own, oneQuestion},
	{"1035-3.2.1/ttl", "–", "An answer is used for its time to live, and asked for anew after it.", own, timeToLive},
	{"2308-5/negative", "–", "That a name does not exist is remembered for the time that the server says, and no longer.", own, negative},
	{"6761-6.3/localhost", "–", "localhost and what ends in it is the loopback; no server is asked.", own, localhost},
	{"product-2/hosts-file", "–", "The hosts file comes before the resolver; needs root for one of its own.", own, hostsFile},
	{"product-2/environment-ignored-by-name", "T73", "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY change nothing for destinations by name, nor for a resolver over HTTPS.", own, proxiesByName},
	{"product-2/client-leaves-during-lookup", "T52", "A client that leaves while its name is looked up: nothing of the lookup stays, and others who wait are not disturbed.", own, leavesDuringLookup},
}

// Codes of DNS answers (RFC 1035 section 4.1.1).
const (
	serverFailure = 2
	nameError     = 3
)

// query is a question that a scripted name server was asked.
type query struct {
	name string // lower case, without the last dot
	six  bool   // AAAA, else A
	tcp  bool
	nth  int // how often it was asked before
}

// reply is the answer: addresses of either family, of which the right ones are
// sent, or else a code.
type reply struct {
	code   int
	ttl    uint32 // of addresses, or of there being none; 0 is 300
	addrs  []string
	silent bool          // or nothing is said at all
	cut    bool          // the answer does not fit: TC
	after  time.Duration // it takes its time
}

// names is a scripted name server on the loopback, over UDP and TCP.
type names struct {
	addr   string
	script func(query) reply

	mu    sync.Mutex
	asked map[query]int // nth left out
}

// always is a script: every name has these addresses.
func always(addrs ...string) func(query) reply {
	return func(query) reply { return reply{addrs: addrs} }
}

func newNames(t testing.TB, script func(query) reply) *names {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		conn, err := net.ListenPacket("udp", ln.Addr().String())
		if err != nil {
			continue // the port is somebody's
		}
		t.Cleanup(func() { conn.Close() })
		s := &names{addr: ln.Addr().String(), script: script, asked: map[query]int{}}
		go s.serveUDP(conn)
		go s.serveTCP(ln)
		return s
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil
}

// start runs a lenient proxy that asks this server.
func (s *names) start(t testing.TB, flags ...string) *proxy {
	t.Helper()
	return start(t, append([]string{"--resolver", s.addr}, flags...)...)
}

// count is how often a name was asked for, by family.
func (s *names) count(name string) (four, six int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for q, n := range s.asked {
		switch {
		case q.name != name:
		case q.six:
			six += n
		default:
			four += n
		}
	}
	return four, six
}

func (s *names) serveUDP(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		packet := append([]byte(nil), buf[:n]...)
		go func() {
			if out := s.answer(packet, false); out != nil {
				conn.WriteTo(out, from)
			}
		}()
	}
}

func (s *names) serveTCP(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		conn.SetDeadline(time.Now().Add(4 * patience))
		go s.serveStream(conn)
	}
}

// serveStream answers packets with their length before them (RFC 1035 section
// 4.2.2).
func (s *names) serveStream(conn net.Conn) {
	defer conn.Close()
	for in := bufio.NewReader(conn); ; {
		var size [2]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(in, packet); err != nil {
			return
		}
		if out := s.answer(packet, true); out != nil {
			conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
		}
	}
}

// answer makes a packet of what the script says to the first question of
// another one.
func (s *names) answer(packet []byte, tcp bool) []byte {
	const recordA, recordAAAA = 1, 28
	q, end := readQuestion(packet)
	if end == 0 {
		return nil
	}
	kind := binary.BigEndian.Uint16(packet[end-4:])
	q.six, q.tcp = kind == recordAAAA, tcp
	s.mu.Lock()
	key := q
	q.nth = s.asked[key]
	s.asked[key]++
	s.mu.Unlock()
	r := s.script(q)
	if r.after > 0 {
		pause(r.after)
	}
	if r.silent {
		return nil
	}
	if r.ttl == 0 {
		r.ttl = 300
	}
	flags := 0x8180 | uint16(r.code) // an answer of a server that asks others
	if r.cut && !tcp {
		flags, r.addrs = flags|0x0200, nil
	}
	out := append([]byte(nil), packet[:end]...)
	binary.BigEndian.PutUint16(out[2:], flags)
	counts := out[4:12]
	copy(counts, []byte{0, 1, 0, 0, 0, 0, 0, 0})
	for _, text := range r.addrs {
		addr := netip.MustParseAddr(text)
		if r.code == 0 && addr.Is4() == (kind == recordA) {
			counts[3]++
			out = appendRecord(out, kind, r.ttl, addr.AsSlice())
			counts = out[4:12] // append may have moved it
		}
	}
	if counts[3] == 0 && flags&0x0200 == 0 {
		counts[5]++ // what says how long there is none (RFC 2308 section 3)
		out = appendAuthority(out, r.ttl)
	}
	return out
}

// readQuestion reads the name of the first question, and where it ends.
func readQuestion(packet []byte) (q query, end int) {
	if len(packet) < 12 {
		return q, 0
	}
	var labels []string
	at := 12
	for at < len(packet) && packet[at] != 0 {
		next := at + 1 + int(packet[at])
		if next > len(packet) {
			return q, 0
		}
		labels = append(labels, strings.ToLower(string(packet[at+1:next])))
		at = next
	}
	if at+5 > len(packet) {
		return q, 0
	}
	q.name = strings.Join(labels, ".")
	return q, at + 5
}

// appendRecord appends a record of the name that was asked for.
func appendRecord(b []byte, kind uint16, ttl uint32, data []byte) []byte {
	b = append(b, 0xc0, 12) // the name stands there
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, 1)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// appendAuthority appends an SOA record with this minimum.
func appendAuthority(b []byte, ttl uint32) []byte {
	soa := []byte{0, 0} // both names are the root
	for _, n := range []uint32{1, 3600, 600, 86400, ttl} {
		soa = binary.BigEndian.AppendUint32(soa, n)
	}
	return appendRecord(b, 6, ttl, soa)
}

// fetch asks for a name by a client of its own, on an upstream connection of
// its own.
func fetch(t *testing.T, p *proxy, host string) *message {
	t.Helper()
	return dial(t, p).ask("GET http://"+host+"/ HTTP/1.1", "Host: x", "Connection: close").answer()
}

// sayOnce is a script: one answer, and the connection is not used again.
func sayOnce(body string) func(*originConn) {
	return saysAndCloses(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body))
}

func resolverAsked(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	p := s.start(t)
	o := newOrigin(t, says(ok("found")))
	fetch(t, p, "WWW.Viaduct.Example:"+o.port).want(t, 200, "found")
	dial(t, p).tunnel("www.viaduct.example.:"+o.port).ask("GET / HTTP/1.1", "Host: x").answer().want(t, 200, "found")
	if four, six := s.count("www.viaduct.example"); four == 0 || six == 0 {
		t.Errorf("asked %d times for IPv4 and %d times for IPv6", four, six)
	}
}

func resolverOverTCP(t *testing.T, _ *proxy) {
	s := newNames(t, func(q query) reply { return reply{addrs: []string{"127.0.0.1"}, cut: true} })
	o := newOrigin(t, says(ok("found")))
	for _, server := range []string{"tcp://" + s.addr, s.addr, "udp://" + s.addr} {
		p := start(t, "--resolver", server)
		fetch(t, p, "long.example:"+o.port).want(t, 200, "found")
	}
	for q, n := range s.asked {
		if !q.tcp && n > 2*2*2 {
			t.Errorf("%+v was asked %d times", q, n)
		}
	}
}

func resolversInTurn(t *testing.T, _ *proxy) {
	good := newNames(t, always("127.0.0.1"))
	silent := newNames(t, func(query) reply { return reply{silent: true} })
	failing := newNames(t, func(query) reply { return reply{code: serverFailure} })
	o := newOrigin(t, says(ok("found")))
	for name, first := range map[string]string{"silent": silent.addr, "refusing": refusing(t), "failing": failing.addr} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "--resolver", first, "--resolver", good.addr)
			fetch(t, p, name+".example:"+o.port).want(t, 200, "found")
			if four, _ := good.count(name + ".example"); four == 0 {
				t.Error("the second resolver was not asked")
			}
		})
	}
}

func resolverNonsense(t *testing.T, _ *proxy) {
	for _, server := range []string{"", "gopher://127.0.0.1", "127.0.0.1:dns", "127.0.0.1:99999", "a b"} {
		complains(t, 1, nil, []string{"forward", "--listen", "127.0.0.1:0", "--resolver", server}, []string{"--resolver"})
	}
}

func deadAAAA(t *testing.T, _ *proxy) {
	s := newNames(t, func(q query) reply {
		switch {
		case !q.six:
			return reply{addrs: []string{"127.0.0.1"}}
		case strings.HasPrefix(q.name, "silent"):
			return reply{silent: true}
		case strings.HasPrefix(q.name, "failing"):
			return reply{code: serverFailure}
		}
		return reply{code: nameError} // wrong, and seen (RFC 4074 section 4.2)
	})
	p := s.start(t)
	o := newOrigin(t, says(ok("found")))
	for _, name := range []string{"silent", "failing", "denying"} {
		for range 2 {
			fetch(t, p, name+".example:"+o.port).want(t, 200, "found")
		}
		dial(t, p).tunnel(name + ".example:" + o.port)
	}
}

// nowhere is a public address that nobody has: IPv6 of a part that is not given
// out.
const nowhere = "3000::1"

func mixedAnswers(t *testing.T, _ *proxy) {
	for _, addrs := range [][]string{{nowhere, "127.0.0.1"}, {"127.0.0.1", nowhere}, {"::1", nowhere}, {"::1", "127.0.0.1", nowhere, "::ffff:127.0.0.1"}} {
		t.Run(strings.Join(addrs, "+"), func(t *testing.T) {
			t.Parallel()
			s := newNames(t, always(addrs...))
			p := startBare(t, "--connect-ports", "any", "--dial-timeout", "1s", "--resolver", s.addr)
			o := newOrigin(t, says(ok("reached")))
			for _, m := range []*message{
				fetch(t, p, "mixed.example:"+o.port),
				dial(t, p).ask("CONNECT mixed.example:"+o.port+" HTTP/1.1", "Host: x").answerTo("CONNECT"),
			} {
				if m.status() != 502 && m.status() != 504 {
					t.Errorf("got %q", m.raw)
				}
				m.discreet(t)
			}
			if o.dials() != 0 {
				t.Error("the private address was dialled")
			}
		})
	}
}

func rebinding(t *testing.T, _ *proxy) {
	s := newNames(t, func(q query) reply {
		if public := q.nth%2 == 0; public == q.six { // AAAA and A have addresses in turn
			return reply{ttl: 1, addrs: []string{nowhere, "127.0.0.1"}}
		}
		return reply{ttl: 1}
	})
	p := startBare(t, "--connect-ports", "any", "--dial-timeout", "1s", "--resolver", s.addr)
	o := newOrigin(t, says(ok("reached")))
	seen := map[int]bool{}
	poll(t, "both answers", func() bool {
		m := fetch(t, p, "flips.example:"+o.port)
		seen[m.status()] = true
		if code := m.status(); code != 403 && code != 502 && code != 504 {
			t.Fatalf("got %q", m.raw)
		}
		return seen[403] && len(seen) > 1
	})
	if o.dials() != 0 {
		t.Error("the private address was dialled")
	}
}

func ownAddressByName(t *testing.T, _ *proxy) {
	p := newNames(t, always("127.0.0.1", "::1")).start(t)
	fetch(t, p, "me.example:"+p.port).wantOwn(t, 421, "proxy_loop_detected")
	dial(t, p).ask("CONNECT me.example:"+p.port+" HTTP/1.1", "Host: x").answerTo("CONNECT").wantOwn(t, 421, "proxy_loop_detected")
}

func oneQuestion(t *testing.T, _ *proxy) {
	s := newNames(t, func(query) reply { return reply{addrs: []string{"127.0.0.1"}, after: 250 * time.Millisecond} })
	p := s.start(t)
	o := newOrigin(t, says(ok("found")))
	const crowd = 50
	var clients []*client
	for range crowd {
		clients = append(clients, dial(t, p))
	}
	for _, c := range clients {
		c.ask("GET http://popular.example:"+o.port+"/ HTTP/1.1", "Host: x")
	}
	for _, c := range clients {
		c.answer().want(t, 200, "found")
	}
	// A question may be sent again: the packet could have been lost.
	if four, six := s.count("popular.example"); four > 3 || six > 3 {
		t.Errorf("%d requests: asked %d times for IPv4 and %d times for IPv6", crowd, four, six)
	}
}

func timeToLive(t *testing.T, _ *proxy) {
	moved := make(chan struct{})
	s := newNames(t, func(q query) reply {
		r := reply{ttl: 2, addrs: []string{"127.0.0.1"}}
		select {
		case <-moved:
			r.addrs[0] = "127.0.0.2"
		default:
		}
		if q.name == "stays.example" {
			r.ttl = 300
		}
		return r
	})
	p := s.start(t)
	old := newOrigin(t, sayOnce("old"))
	newOriginAt(t, "127.0.0.2:"+old.port, sayOnce("new"))
	for range 20 {
		fetch(t, p, "stays.example:"+old.port).want(t, 200, "old")
	}
	fetch(t, p, "moves.example:"+old.port).want(t, 200, "old")
	close(moved)
	poll(t, "the new address", func() bool { return fetch(t, p, "moves.example:"+old.port).body == "new" })
	fetch(t, p, "stays.example:"+old.port).want(t, 200, "old")
	if four, six := s.count("stays.example"); four > 3 || six > 3 {
		t.Errorf("asked %d times for IPv4 and %d times for IPv6 within its time", four, six)
	}
}

func negative(t *testing.T, _ *proxy) {
	born := make(chan struct{})
	s := newNames(t, func(q query) reply {
		if q.name == "never.example" {
			return reply{code: nameError, ttl: 300}
		}
		select {
		case <-born:
			return reply{addrs: []string{"127.0.0.1"}}
		default:
			return reply{code: nameError, ttl: 1}
		}
	})
	p := s.start(t)
	o := newOrigin(t, sayOnce("found"))
	for range 20 {
		fetch(t, p, "never.example:80").wantOwn(t, 502, "dns_error")
	}
	if four, six := s.count("never.example"); four > 3 || six > 3 {
		t.Errorf("asked %d times for IPv4 and %d times for IPv6", four, six)
	}
	fetch(t, p, "later.example:"+o.port).wantOwn(t, 502, "dns_error")
	close(born)
	poll(t, "the name that has come", func() bool { return fetch(t, p, "later.example:"+o.port).body == "found" })
}

func localhost(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.9"))
	p := s.start(t)
	o := newOrigin(t, says(ok("here")))
	for _, name := range []string{"localhost", "LOCALHOST.", "deep.inside.localhost"} {
		fetch(t, p, name+":"+o.port).want(t, 200, "here")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) > 0 {
		t.Errorf("the server was asked %v", s.asked)
	}
}

func hostsFile(t *testing.T, _ *proxy) {
	needsRoot(t)
	s := newNames(t, always("127.0.0.9"))
	flags := append([]string{"--resolver", s.addr}, lenient...)
	p := launch{flags: flags, hosts: "127.0.0.1 in.the.file\n::1 six.example\n"}.start(t)
	o := newOrigin(t, says(ok("here")))
	fetch(t, p, "in.the.file:"+o.port).want(t, 200, "here")
	fetch(t, p, "IN.the.File.:"+o.port).want(t, 200, "here")
	if four, six := s.count("in.the.file"); four+six > 0 {
		t.Errorf("the server was asked %d times", four+six)
	}
	fails(t, p, "in.no.file:"+o.port, 502, "connection_refused")
}

func proxiesByName(t *testing.T, _ *proxy) {
	trap := newOrigin(t, says(ok("trapped")))
	var env []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		env = append(env, name+"=http://"+trap.addr)
	}
	env = append(env, "NO_PROXY=nothing.example", "no_proxy=nothing.example")
	s := newNames(t, always("127.0.0.1"))
	p := launch{flags: append([]string{"--resolver", s.addr}, lenient...), env: env}.start(t)
	o := newOrigin(t, says(ok("direct")))
	fetch(t, p, "web.example:"+o.port).want(t, 200, "direct")
	dial(t, p).tunnel("web.example:"+o.port).ask("GET / HTTP/1.1", "Host: x").answer().want(t, 200, "direct")
	p = launch{flags: append([]string{"--resolver", "https://192.0.2.7/dns-query", "--dial-timeout", "1s"}, lenient...), env: env}.start(t)
	if m := fetch(t, p, "web.example:"+o.port); m.status() != 502 && m.status() != 504 {
		t.Errorf("got %q", m.raw)
	}
	if trap.dials() > 0 {
		t.Errorf("the proxy of the environment got %q", trap.bytes())
	}
}

// leavesDuringLookup has one client leave and one stay while a name is looked
// up, and then one leave for whom alone it is looked up.
func leavesDuringLookup(t *testing.T, _ *proxy) {
	asked := make(chan string, 256)
	s := newNames(t, func(q query) reply {
		asked <- q.name
		if strings.HasPrefix(q.name, "slow") {
			return reply{addrs: []string{"127.0.0.1"}, after: 1700 * time.Millisecond} // a client that has left is noticed within a second
		}
		return reply{silent: true}
	})
	hears := func(name string) {
		t.Helper()
		for receive(t, "the question", asked) != name {
		}
	}
	p := s.start(t, "--dial-timeout", "2m", "--response-timeout", "2m", "--upstream-idle-timeout", "1s")
	o := newOrigin(t, sayOnce("found"))
	base := p.descriptors(t)
	turns := []struct{ request, way string }{
		{"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", "closes"},
		{"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", "resets"},
		{"GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", "resets"}, // one that closes may want its answer
	}
	for n, turn := range turns {
		slow, silent := fmt.Sprintf("slow%d.example", n), fmt.Sprintf("silent%d.example", n)
		leaves := dial(t, p).send(fmt.Sprintf(turn.request, slow+":"+o.port))
		stays := dial(t, p).ask("GET http://"+slow+":"+o.port+"/ HTTP/1.1", "Host: x")
		hears(slow)
		leave[turn.way](leaves)
		stays.answer().want(t, 200, "found")
		stays.conn.Close()
		alone := dial(t, p).send(fmt.Sprintf(turn.request, silent+":80"))
		hears(silent)
		leave[turn.way](alone)
		if !eventually(soon, func() bool { return p.descriptors(t) <= base }) {
			t.Errorf("%q, the client %s: %d descriptors, %d before", turn.request, turn.way, p.descriptors(t), base)
		}
	}
	left := 0
	for _, line := range p.lines(t, 3*len(turns)) {
		if line["ended_by"] == "client" && line["fault"] == "connection_terminated" {
			left++
		}
	}
	if left != 2*len(turns) {
		t.Errorf("the log tells of %d clients that left, not %d:\n%s", left, 2*len(turns), p.accessLog(t))
	}
}

// lines waits for so many lines in a JSON access log.
func (p *proxy) lines(t testing.TB, n int) (all []map[string]any) {
	t.Helper()
	poll(t, fmt.Sprintf("%d lines in the access log", n), func() bool { return strings.Count(p.accessLog(t), "\n") >= n })
	return parseLines(t, p.access)
}

// parseLines reads a JSON access log.
func parseLines(t testing.TB, path string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, fields)
	}
	return all
}
