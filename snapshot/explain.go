package snapshot

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"viaduct/config"
	"viaduct/forward"
)

// Explain says what would become of a request with a configuration that is not
// running. It sends nothing.
func Explain(conf *config.Config, q forward.Question) ([]forward.Explanation, error) {
	s, err := New(Options{Conf: conf, Own: planned(conf)})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Explain(&q)
}

// planned lists the addresses that would be listened on.
func planned(conf *config.Config) []netip.AddrPort {
	hosts := []string{conf.Admin.Listen}
	for _, keys := range Keys(conf) {
		hosts = append(hosts, keys...)
	}
	var list []netip.AddrPort
	for _, key := range hosts {
		addr, _, _ := strings.Cut(key, "#")
		host, port, _ := net.SplitHostPort(addr)
		n, _ := strconv.ParseUint(port, 10, 16)
		ip, err := netip.ParseAddr(host)
		if err != nil { // all addresses, or a name of this machine: the port is what counts
			ip = netip.IPv6Unspecified()
		}
		if n > 0 {
			list = append(list, netip.AddrPortFrom(ip, uint16(n)))
		}
	}
	return list
}

// Explain says what would become of a request at the entries that are meant.
func (s *Snapshot) Explain(q *forward.Question) ([]forward.Explanation, error) {
	var list []forward.Explanation
	for i, e := range s.Entries {
		if q.Listener == "" || slices.Contains(names(s.Conf, i), q.Listener) {
			list = append(list, e.Proxy.Explain(q))
		}
	}
	if list == nil {
		return nil, fmt.Errorf("no listener %q: there are %s", q.Listener, strings.Join(Names(s.Conf), ", "))
	}
	return list, nil
}

// Names are what the entries of a configuration go by: their places, and the
// addresses that they listen on.
func Names(conf *config.Config) (all []string) {
	for i := range conf.Forward {
		all = append(all, names(conf, i)...)
	}
	return all
}

func names(conf *config.Config, i int) []string {
	return append([]string{fmt.Sprintf("forward[%d]", i)}, conf.Forward[i].Listen...)
}

// Verify says what is wrong with the files that a configuration names, and what
// there is to remark.
func Verify(conf *config.Config) (remarks []string, err error) {
	s, err := New(Options{Conf: conf})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Remarks(), nil
}
