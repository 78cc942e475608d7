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

// parseAddress reads host:port. Brackets are for IPv6, and for nothing else.
func parseAddress(s string) (address, bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host != "" && !isHost(host) || s[0] == '[' && !strings.Contains(host, ":") {
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
	a.host = strings.TrimSuffix(strings.ToLower(a.host), ".")
	if a.host == "" {
		a.host = "::"
	}
	if ip, err := netip.ParseAddr(a.host); err == nil {
		a.host = ip.Unmap().String()
	}
	return a
}

// overlap lists the hosts that an address is entered under, and those it is
// looked for under. No host is called "*", which is any, or "*4", any of IPv4.
func (a address) overlap() (under, among []string) {
	ip, _ := netip.ParseAddr(a.host)
	switch {
	case a.host == "::":
		return []string{"::", "*"}, []string{"*"}
	case a.host == "0.0.0.0":
		return []string{"0.0.0.0", "*4", "*"}, []string{"*4", "::"}
	case a.host == "localhost":
		return []string{"localhost", "127.0.0.1", "::1", "*4", "*"}, []string{"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}
	case ip.Is4():
		return []string{a.host, "*4", "*"}, []string{a.host, "0.0.0.0", "::"}
	}
	return []string{a.host, "*"}, []string{a.host, "::"}
}

// isHost tells whether s is an IP address or could be a name. No name ends in a
// number, decimal or hexadecimal: what looks like one is a slip in an address.
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
	last := labels[len(labels)-1]
	hex, isHex := strings.CutPrefix(last, "0x")
	return len(s) <= 253 && strings.Trim(last, digits) != "" && !(isHex && strings.Trim(hex, digits+"abcdef") == "")
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
	switch strings.ToLower(scheme) {
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
	a, ok := parseAddress(s)
	if !ok {
		a, ok = parseAddress(s + ":53") // an IPv6 address in brackets
	}
	return isHost(s) || ok && a.host != "" && a.port != 0
}
