package test

import (
	"net"
	"testing"
)

var guardRows = []row{
	{"6890/connect", "T45", "CONNECT to loopback, private, link-local, shared, metadata and IPv6-embedded addresses: 403 destination_ip_prohibited, closed, nothing dialled.", "any-port", guardConnect},
	{"6890/get", "T45", "The same for plain requests.", "any-port", guardGet},
	{"6890/notations", "T45", "Short, decimal, hex and octal notations of an IPv4 address are 400 or 403 or unknown names; never dialled.", "any-port", guardNotations},
	{"6890/names", "T45", "A name that resolves to such an address: 403, by the address and not by the name.", "any-port", guardNames},
	{"9110-7.6/own-address", "T60", "The proxy's own address, by every name, for GET and CONNECT, with --allow-private too: 421 proxy_loop_detected.", "", ownAddress},
	{"9110-7.6/own-address-guarded", "T60", "Without --allow-private the proxy's own address is refused as well.", "any-port", ownAddressGuarded},
}

// prohibited are addresses that the guard refuses by default, one or more of
// each class.
var prohibited = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255",
	"192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[::10.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:0:127.0.0.1]",
	"[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b:1::1]", "[100::1]", "[2001::1]", "[2001:db8::1]", "[2002:7f00:1::1]", "[fc00::1]", "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]", "[ff02::1]",
}

func guardConnect(t *testing.T, p *proxy) {
	for _, address := range prohibited {
		c, o := stage(t, p, echo)
		c.ask("CONNECT "+address+":{P} HTTP/1.1", "Host: x")
		m := c.answerTo("CONNECT")
		if m.status() != 403 {
			t.Errorf("%s: got %q", address, m.line)
			continue
		}
		m.wantOwn(t, 403, "destination_ip_prohibited")
		closesOrderly(t, c, m)
		if o.dials() != 0 {
			t.Errorf("%s: the origin was dialled", address)
		}
	}
}

func guardGet(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("reached")))
	for _, address := range prohibited {
		c.ask("GET http://"+address+":{P}/ HTTP/1.1", "Host: x")
		m := c.answer()
		if m.status() != 403 {
			t.Errorf("%s: got %q", address, m.line)
			continue
		}
		m.wantOwn(t, 403, "destination_ip_prohibited") // and the connection goes on
	}
	if o.dials() != 0 {
		t.Error("the origin was dialled")
	}
}

func guardNotations(t *testing.T, p *proxy) {
	for _, address := range []string{"127.1", "127.0.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.01", "127.0.0.1.", "127.0.0.1..", "0", "%31%32%37.0.0.1", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1"} {
		c, o := stage(t, p, echo)
		c.ask("CONNECT "+address+":{P} HTTP/1.1", "Host: x")
		switch m := c.answerTo("CONNECT"); m.status() {
		case 400, 403, 502, 504:
			m.wantOwn(t, m.status())
		default:
			t.Errorf("%s: got %q", address, m.line)
		}
		if o.dials() != 0 {
			t.Errorf("%s: the origin was dialled", address)
		}
	}
}

func guardNames(t *testing.T, p *proxy) {
	for _, name := range []string{"localhost", "LOCALHOST", "localhost."} {
		c, o := stage(t, p, echo)
		c.ask("CONNECT "+name+":{P} HTTP/1.1", "Host: x")
		c.answerTo("CONNECT").wantOwn(t, 403, "destination_ip_prohibited")
		if o.dials() != 0 {
			t.Errorf("%s: the origin was dialled", name)
		}
	}
}

// ownNames are ways to say the machine the proxy runs on.
func ownNames(t *testing.T) []string {
	t.Helper()
	names := []string{"127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST.", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			host := n.IP.String()
			if n.IP.To4() == nil {
				host = "[" + host + "]"
			}
			names = append(names, host)
		}
	}
	return names
}

func ownAddress(t *testing.T, p *proxy) {
	for _, name := range ownNames(t) {
		target := name + ":" + p.port
		for _, m := range []*message{
			dial(t, p).ask("GET http://"+target+"/ HTTP/1.1", "Host: x").answer(),
			dial(t, p).ask("CONNECT "+target+" HTTP/1.1", "Host: x").answerTo("CONNECT"),
		} {
			if m.status() != 421 {
				t.Errorf("%s: got %q %q", name, m.line, m.get("Proxy-Status"))
				continue
			}
			m.wantOwn(t, 421, "proxy_loop_detected")
		}
	}
}

func ownAddressGuarded(t *testing.T, p *proxy) {
	for _, name := range ownNames(t) {
		target := name + ":" + p.port
		dial(t, p).ask("CONNECT "+target+" HTTP/1.1", "Host: x").answerTo("CONNECT").wantRefused(t)
		dial(t, p).ask("GET http://"+target+"/ HTTP/1.1", "Host: x").answer().wantRefused(t)
	}
}

// wantRefused takes either of the reasons for which one's own address may be
// refused.
func (m *message) wantRefused(t *testing.T) {
	t.Helper()
	if m.status() == 403 {
		m.wantOwn(t, 403, "destination_ip_prohibited")
		return
	}
	m.wantOwn(t, 421, "proxy_loop_detected")
}
