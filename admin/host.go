package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// calledRightly tells whether the request names this address by a name that
// nobody can point here from outside: the loopback, the very address that the
// connection came to, or one of the configuration. A web page cannot have its
// browser send another Host than the one that the page was loaded from, and no
// browser reaches a socket in the file system, which has no name at all.
func (a *Admin) calledRightly(r *http.Request) bool {
	if isLocal(r) {
		return true
	}
	if r.Host == "" {
		return !r.ProtoAtLeast(1, 1) // a health check: no browser speaks HTTP/1.0
	}
	h := parseHost(r.Host)
	switch {
	case h == host{}:
		return false
	case h.ip.IsLoopback(), h.name == "localhost", a.hosts[h]:
		return true
	}
	return h.ip.IsValid() && h.ip == localIP(r)
}

// isLocal tells whether the request came by a socket in the file system, which
// is for those whom the mode of that file lets in.
func isLocal(r *http.Request) bool {
	_, ok := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	return ok
}

// localIP is the address that the request's connection came to, if it has one.
func localIP(r *http.Request) netip.Addr {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// host is a name or an address in its one spelling, without port.
type host struct {
	name string
	ip   netip.Addr
}

// parseHost reads a Host, with or without port. A name loses its letter case and
// the dot at its end, so that "LocalHost.:9090" is "localhost". What is neither
// name nor address is left as it is, and equals nothing.
func parseHost(s string) host {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && isPort(s[i+1:]) && (strings.IndexByte(s, ':') == i || s[i-1] == ']') {
		s = s[:i]
	}
	literal := s
	if in, ok := strings.CutPrefix(s, "["); ok {
		if in, ok = strings.CutSuffix(in, "]"); ok && strings.Contains(in, ":") {
			literal = in
		}
	}
	if ip, err := netip.ParseAddr(literal); err == nil && ip.Zone() == "" {
		return host{ip: ip.Unmap()}
	}
	return host{name: strings.ToLower(strings.TrimSuffix(s, "."))}
}

func isPort(s string) bool { return strings.Trim(s, "0123456789") == "" }
