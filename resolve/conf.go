package resolve

import (
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of resolv.conf(5).
const (
	maxServers = 3
	maxSearch  = 6
	maxDots    = 15
	maxRounds  = 5
)

// conf is how a group of servers is asked: what the operator wrote, or what
// resolv.conf says.
type conf struct {
	servers []Server
	search  []string
	ndots   int // names with fewer dots are looked for in the search list
	rounds  int // times that a silent server is asked
	timeout time.Duration
	rotate  bool // each lookup begins with another server
}

// systemServers makes the group of a resolv.conf, or keeps the one before if
// nothing that matters has changed: its answers hold on.
func (r *Resolver) systemServers(text string, before *group) *group {
	c := parseConf(text, r.options.Timeout)
	if before != nil && reflect.DeepEqual(before.conf, c) {
		return before
	}
	return r.newGroup(c)
}

// parseConf reads a resolv.conf. A timeout in it can make ours only shorter: the
// next server is asked long before. A server may have a port in the form of
// ParseServer, which other systems know. What it says on top is passed over.
func parseConf(text string, timeout time.Duration) conf {
	c := conf{ndots: 1, rounds: defaultRounds, timeout: timeout}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.ContainsAny(words[0], "#;") {
			continue
		}
		switch words[0] {
		case "nameserver":
			s, err := ParseServer(words[1])
			if err == nil && s.scheme == "udp" && s.addr.IsValid() && len(c.servers) < maxServers {
				c.servers = append(c.servers, s)
			}
		case "domain", "search":
			c.search = nil
			for _, word := range words[1:] {
				if domain := strings.ToLower(strings.TrimSuffix(word, ".")); valid(domain) && len(c.search) < maxSearch {
					c.search = append(c.search, domain)
				}
			}
		case "options":
			for _, word := range words[1:] {
				c.option(word)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []Server{{scheme: "udp", host: "127.0.0.1", addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), port: 53}}
	}
	return c
}

func (c *conf) option(word string) {
	key, value, _ := strings.Cut(word, ":")
	n, err := strconv.Atoi(value)
	switch {
	case key == "rotate":
		c.rotate = true
	case err != nil || n < 0:
	case key == "ndots":
		c.ndots = min(n, maxDots)
	case key == "attempts":
		c.rounds = min(max(n, 1), maxRounds)
	case key == "timeout":
		c.timeout = min(c.timeout, time.Duration(max(n, 1))*time.Second)
	}
}

// names appends the names to be asked for, in turn as long as there is no such
// name. One that has a dot is asked for as it is first: whoever owns a domain of
// the search list must not take the names of others.
func (c *conf) names(dst []string, host string) []string {
	dots := strings.Count(host, ".")
	if dots > 0 {
		dst = append(dst, host)
	}
	for _, domain := range c.search {
		if dots < c.ndots && len(host)+1+len(domain) <= maxName {
			dst = append(dst, host+"."+domain)
		}
	}
	if dots == 0 {
		dst = append(dst, host)
	}
	return dst
}

// hosts are the addresses of a hosts file, by name.
type hosts struct{ addrs map[string][]netip.Addr }

// parseHosts reads a hosts file. Lines that are not understood are passed over,
// and addresses with a zone: the guard judges addresses, not interfaces.
func parseHosts(text string, _ *hosts) *hosts {
	h := &hosts{addrs: make(map[string][]netip.Addr)}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(words[0])
		if err != nil || addr.Zone() != "" {
			continue
		}
		addr = addr.Unmap()
		for _, name := range words[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if list := h.addrs[name]; valid(name) && len(list) < maxAddrs && !slices.Contains(list, addr) {
				h.addrs[name] = append(list, addr)
			}
		}
	}
	for _, list := range h.addrs {
		slices.SortStableFunc(list, func(a, b netip.Addr) int { return b.BitLen() - a.BitLen() })
	}
	return h
}
