package resolve

import (
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	lookEvery = 5 * time.Second // at files, for changes
	maxFile   = 16 << 20        // bytes of a file that is read: hosts files that block are long

	// Bounds of resolv.conf(5).
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
		local, _ := ParseServer("127.0.0.1")
		c.servers = []Server{local}
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

// file is what a file says. It is read again when it has changed. What cannot
// be read says what it said before, at first as if it were empty.
type file[T any] struct {
	path  string // "" for what never changes
	parse func(text string, before *T) *T
	due   atomic.Int64 // when to look at it again
	last  atomic.Pointer[reading[T]]
}

type reading[T any] struct {
	info os.FileInfo // nil for never read
	said *T
}

func openFile[T any](path string, parse func(text string, before *T) *T) *file[T] {
	f := &file[T]{path: path, parse: parse}
	f.last.Store(&reading[T]{said: parse("", nil)})
	f.look()
	return f
}

// load looks at the file if that is due. One caller does, the others go on with
// what it said.
func (f *file[T]) load(now time.Time) *T {
	if f.path != "" {
		due := f.due.Load()
		if at := now.UnixNano(); at >= due && f.due.CompareAndSwap(due, at+int64(lookEvery)) {
			f.look()
		}
	}
	return f.last.Load().said
}

func (f *file[T]) look() {
	last := f.last.Load()
	info, err := os.Stat(f.path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile { // a pipe would have us wait
		return
	}
	if old := last.info; old != nil && os.SameFile(old, info) && old.Size() == info.Size() && old.ModTime().Equal(info.ModTime()) {
		return
	}
	if text, err := os.ReadFile(f.path); err == nil {
		f.last.Store(&reading[T]{info, f.parse(string(text), last.said)})
	}
}
