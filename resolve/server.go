package resolve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Server is a DNS server, as an operator writes it.
type Server struct {
	scheme string     // udp, tcp, tls or https
	host   string     // without brackets
	addr   netip.Addr // of the host; not valid if that is a name
	port   uint16
	path   string // of https
}

// ParseServer reads a server: ADDR for UDP with TCP where an answer is too long,
// or udp://ADDR, tcp://ADDR, tls://ADDR or https://ADDR/path. ADDR is an address
// or a name, with or without a port; a name is looked up by the servers of the
// system. The path is /dns-query if there is none.
func ParseServer(s string) (Server, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "udp", s
	}
	v := Server{scheme: strings.ToLower(scheme)}
	switch v.scheme {
	case "udp", "tcp":
		v.port = 53
	case "tls":
		v.port = 853
	case "https":
		v.port = 443
		i := strings.IndexByte(rest+"/", '/')
		rest, v.path = rest[:i], rest[i:]
		if v.path == "" {
			v.path = "/dns-query"
		}
	default:
		return Server{}, fmt.Errorf("resolver %q: unknown scheme: write udp://, tcp://, tls:// or https://, or no scheme for UDP", s)
	}
	v, err := v.at(rest)
	if err != nil {
		return Server{}, fmt.Errorf("resolver %q: %w", s, err)
	}
	if strings.ContainsFunc(v.path, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("?#{}%\\", c) }) {
		return Server{}, fmt.Errorf("resolver %q: write the path without query and signs such as %% and {}: https://host/dns-query", s)
	}
	return v, nil
}

// at is s at an address or a name, with a port of its own if there is one.
func (s Server) at(text string) (Server, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		at, err = netip.ParseAddrPort(text + ":" + strconv.Itoa(int(s.port)))
	}
	if bare, bad := netip.ParseAddr(text); bad == nil { // IPv6 without brackets
		at, err = netip.AddrPortFrom(bare, s.port), nil
	}
	name, port, ok := strings.Cut(text, ":")
	s.host = strings.ToLower(strings.TrimSuffix(name, "."))
	if err == nil {
		s.addr, s.port = at.Addr().Unmap(), at.Port()
		s.host = s.addr.String()
	} else if ok {
		s.port = 0
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			s.port = uint16(n)
		}
	}
	switch {
	case s.port == 0:
		return s, errors.New("a port is a number from 1 to 65535, after an IPv6 address in brackets: [2606:4700::1111]:53")
	case !s.addr.IsValid() && !valid(s.host), strings.ContainsAny(s.addr.Zone(), "[]%/: "):
		return s, fmt.Errorf("%q is neither an address nor a name: write 1.1.1.1, 1.1.1.1:53 or tls://dns.example", text)
	}
	return s, nil
}

// String is the canonical form, with the port.
func (s Server) String() string {
	at := net.JoinHostPort(s.host, strconv.Itoa(int(s.port)))
	if s.scheme == "udp" {
		return at
	}
	return s.scheme + "://" + at + s.path
}
