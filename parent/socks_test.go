package parent_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"viaduct/fault"
	"viaduct/parent"
)

// socksServer is a strict SOCKS5 server (RFC 1928, RFC 1929): what is not as it
// must be ends the connection.
type socksServer struct {
	user, password string // wanted, if there is a user
	reply          byte
	bound          []byte // type and address that it says it is bound to; nil is an IPv4 address
	banner         string // of the target, in one write with the reply
	asked          chan string
	onward         func(c net.Conn, target string) // nil is echo
}

func (s *socksServer) serve(c net.Conn) {
	target, err := s.greet(c)
	if s.asked != nil {
		if err != nil {
			target = err.Error()
		}
		s.asked <- target
	}
	if err != nil {
		return
	}
	bound := s.bound
	if bound == nil {
		bound = []byte{1, 127, 0, 0, 1}
	}
	answer := append([]byte{5, s.reply, 0}, bound...)
	if _, err := c.Write(append(append(answer, 4, 56), s.banner...)); err != nil || s.reply != 0 {
		return
	}
	if s.onward != nil {
		s.onward(c, target)
		return
	}
	echo(c)
}

// greet talks up to the request, and returns its target.
func (s *socksServer) greet(c net.Conn) (string, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil || head[0] != 5 || head[1] == 0 {
		return "", errors.New("not the beginning of SOCKS5")
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(c, methods); err != nil {
		return "", err
	}
	want := byte(0)
	if s.user != "" {
		want = 2
	}
	if !strings.Contains(string(methods), string(want)) {
		_, _ = c.Write([]byte{5, 0xff})
		return "", errors.New("no method")
	}
	_, _ = c.Write([]byte{5, want})
	if want == 2 {
		if err := s.login(c); err != nil {
			return "", err
		}
	}
	return readTarget(c)
}

func (s *socksServer) login(c net.Conn) error {
	var got [2]string
	one := make([]byte, 1)
	if _, err := io.ReadFull(c, one); err != nil || one[0] != 1 {
		return errors.New("not the version of RFC 1929")
	}
	for i := range got {
		if _, err := io.ReadFull(c, one); err != nil {
			return err
		}
		b := make([]byte, one[0])
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		got[i] = string(b)
	}
	if got != [2]string{s.user, s.password} {
		_, _ = c.Write([]byte{1, 1})
		return errors.New("wrong password")
	}
	_, err := c.Write([]byte{1, 0})
	return err
}

func readTarget(c net.Conn) (string, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil || [3]byte(head) != [3]byte{5, 1, 0} {
		return "", errors.New("not a request to connect")
	}
	n := map[byte]int{1: 4, 4: 16}[head[3]]
	if head[3] == 3 {
		one := make([]byte, 1)
		if _, err := io.ReadFull(c, one); err != nil {
			return "", err
		}
		n = int(one[0])
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(c, b); err != nil || n == 0 {
		return "", errors.New("not an address")
	}
	host := string(b[:n])
	if head[3] != 3 {
		a, _ := netip.AddrFromSlice(b[:n])
		host = "addr " + a.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(b[n])<<8|int(b[n+1]))), nil
}

func TestSOCKSTargets(t *testing.T) {
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 61)
	secret := strings.Repeat("ü", 127) + "x"
	for _, tt := range []struct {
		name, target, want string
		user, password     string
	}{
		{"name", "Example.COM:443", "example.com:443", "", ""},
		{"a name is left to the parent", "localhost:80", "localhost:80", "", ""},
		{"the longest name", long + ":65535", long + ":65535", "", ""},
		{"ipv4", "192.0.2.1:22", "addr 192.0.2.1:22", "", ""},
		{"ipv6", "[2001:db8::1]:22", "[addr 2001:db8::1]:22", "", ""},
		{"ipv4 in ipv6", "[::ffff:192.0.2.1]:22", "addr 192.0.2.1:22", "", ""},
		{"password", "a:1", "a:1", "u", "p:@ \xff"},
		{"no password", "a:1", "a:1", "u", ""},
		{"long passwords", "a:1", "a:1", secret, secret},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &socksServer{user: tt.user, password: tt.password, asked: make(chan string, 1)}
			addr := peer(t, s.serve)
			p := proxy(t, parent.SOCKS5, addr)
			p.User, p.Password = tt.user, parent.Hide(tt.password)
			nc := dial(t, addr)
			over, early, err := p.Tunnel(bounded(t), nc, tt.target)
			if err != nil || over != net.Conn(nc) || early != nil {
				t.Fatal(over, early, err)
			}
			if got := <-s.asked; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			passes(t, over)
		})
	}
}

// TestSOCKSReadsNoFurther: what the target says at once stays in the socket.
func TestSOCKSReadsNoFurther(t *testing.T) {
	for name, bound := range map[string][]byte{
		"ipv4": nil, "ipv6": append([]byte{4}, make([]byte, 16)...), "name": append([]byte{3, 255}, make([]byte, 255)...), "empty name": {3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			const banner = "220 mail.example ESMTP\r\n"
			addr := peer(t, (&socksServer{bound: bound, banner: banner}).serve)
			over, early, err := proxy(t, parent.SOCKS5, addr).Tunnel(bounded(t), dial(t, addr), "a:25")
			if err != nil || early != nil {
				t.Fatal(early, err)
			}
			b := make([]byte, len(banner))
			if _, err := io.ReadFull(over, b); err != nil || string(b) != banner {
				t.Errorf("%q %v", b, err)
			}
			passes(t, over)
		})
	}
}

func TestSOCKSRefusals(t *testing.T) {
	for _, tt := range []struct {
		reply byte
		kind  fault.Kind
		code  int
		party parent.Party
	}{
		{1, fault.DestinationUnavailable, 502, parent.Unclear},
		{2, fault.RequestDenied, 403, parent.Target},
		{3, fault.DestinationIPUnroutable, 502, parent.Target},
		{4, fault.DestinationIPUnroutable, 502, parent.Target},
		{5, fault.ConnectionRefused, 502, parent.Target},
		{6, fault.ConnectionTimeout, 504, parent.Target},
		{7, fault.ProtocolError, 502, parent.Parent},
		{8, fault.DestinationIPUnroutable, 502, parent.Target},
		{9, fault.ProtocolError, 502, parent.Parent},
		{255, fault.ProtocolError, 502, parent.Parent},
	} {
		t.Run(strconv.Itoa(int(tt.reply)), func(t *testing.T) {
			s := &socksServer{reply: tt.reply}
			addr := peer(t, s.serve)
			nc := dial(t, addr)
			_, _, err := proxy(t, parent.SOCKS5, addr).Tunnel(bounded(t), nc, "a:1")
			judged(t, err, tt.kind, tt.code, tt.party)
			closed(t, nc)
			if r, ok := errors.AsType[*parent.RefusedError](err); !ok || r.Status != 0 || r.Reason == "" {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestSOCKSCredentials(t *testing.T) {
	for _, tt := range []struct{ name, user, password string }{
		{"none, and one is wanted", "", ""},
		{"wrong", "u", "wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := peer(t, (&socksServer{user: "u", password: "secret"}).serve)
			p := proxy(t, parent.SOCKS5, addr)
			p.User, p.Password = tt.user, parent.Hide(tt.password)
			_, _, err := p.Tunnel(bounded(t), dial(t, addr), "a:1")
			judged(t, err, fault.ConfigurationError, 500, parent.Us)
			if tt.password != "" && strings.Contains(err.Error(), tt.password) {
				t.Errorf("%v shows the password", err)
			}
		})
	}
	addr := peer(t, (&socksServer{}).serve)
	p := proxy(t, parent.SOCKS5, addr)
	p.User, p.Password = "u", parent.Hide("not wanted")
	if _, _, err := p.Tunnel(bounded(t), dial(t, addr), "a:1"); err != nil {
		t.Error(err)
	}
}

func TestSOCKSGarbage(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		user       string
		kind       fault.Kind
		party      parent.Party
	}{
		{"http", "HTTP/1.1 400 Bad Request\r\n\r\n", "", fault.ProtocolError, parent.Parent},
		{"socks4", "\x00\x5a\x00\x00\x00\x00\x00\x00", "", fault.ProtocolError, parent.Parent},
		{"a method that was not offered", "\x05\x01\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "", fault.ProtocolError, parent.Parent},
		{"a password that was not offered", "\x05\x02\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "", fault.ProtocolError, parent.Parent},
		{"a password that was not offered, refused", "\x05\x02\x01\x01", "", fault.ConfigurationError, parent.Us},
		{"a method of its own", "\x05\x80\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "u", fault.ProtocolError, parent.Parent},
		{"another version of passwords", "\x05\x02\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "u", fault.ProtocolError, parent.Parent},
		{"another version in the reply", "\x05\x00\x04\x00\x00\x01\x00\x00\x00\x00\x00\x00", "", fault.ProtocolError, parent.Parent},
		{"a type of address", "\x05\x00\x05\x00\x00\x02\x00\x00\x00\x00\x00\x00", "", fault.ProtocolError, parent.Parent},
		{"the reserved byte", "\x05\x00\x05\x00\x01\x01\x00\x00\x00\x00\x00\x00", "", fault.ProtocolError, parent.Parent},
		{"the end at once", "", "", fault.ConnectionTerminated, parent.Parent},
		{"the end in the reply", "\x05\x00\x05\x00\x00\x03\xff", "", fault.ConnectionTerminated, parent.Parent},
		{"the end after the code of the reply", "\x05\x00\x05\x05", "", fault.ConnectionRefused, parent.Target},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := peer(t, func(c net.Conn) {
				_, _ = io.WriteString(c, tt.says)
				_ = c.(*net.TCPConn).CloseWrite()
				quiet(c)
			})
			p := proxy(t, parent.SOCKS5, addr)
			p.User = tt.user
			nc := dial(t, addr)
			_, _, err := p.Tunnel(bounded(t), nc, "a:1")
			judged(t, err, tt.kind, tt.kind.Status(), tt.party)
			closed(t, nc)
		})
	}
}
