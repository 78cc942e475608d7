package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// address is a host, which may be empty or a name, and a port.
type address struct {
	host string
	port uint16
}

// parseAddress reads host:port.
func parseAddress(s string) (address, bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host != "" && !isHost(host) {
		return address{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return address{host, uint16(n)}, err == nil
}

// loopback tells whether only this machine reaches the address.
func (a address) loopback() bool {
	ip, err := netip.ParseAddr(a.host)
	return a.host == "localhost" || err == nil && ip.IsLoopback()
}

// plain is one form for all that mean the same.
func (a address) plain() address {
	a.host = strings.ToLower(a.host)
	if a.host == "" {
		a.host = "::"
	}
	if ip, err := netip.ParseAddr(a.host); err == nil {
		a.host = ip.Unmap().String()
	}
	return a
}

// isHost tells whether s is an IP address or could be a name. No name ends in a
// number: what looks like one is a slip in an address.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	labels := strings.Split(strings.TrimSuffix(strings.ToLower(s), "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, letters+digits+"-_") != "" {
			return false
		}
	}
	return len(s) <= 253 && strings.Trim(labels[len(labels)-1], digits) != ""
}

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

// isResolver tells whether s has the form of a DNS server.
func isResolver(s string) bool {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return isServer(s)
	}
	switch scheme {
	case "udp", "tcp", "tls":
		return isServer(rest)
	case "https":
		host, path, _ := strings.Cut(rest, "/")
		return isServer(host) && !strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("?#{}%\\", c) })
	}
	return false
}

// isServer tells whether s is a host, or a host and a port above zero.
func isServer(s string) bool {
	if isHost(s) {
		return true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		ip, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && ip.Is6()
	}
	a, ok := parseAddress(s)
	return ok && a.host != "" && a.port != 0
}
