// Package resolve turns names into addresses: from the hosts file, from its
// cache, or from DNS servers over UDP, TCP, TLS (RFC 7858) and HTTPS (RFC 8484).
//
// The addresses of both families are asked for at the same time, and a question
// is asked once, however many lookups wait for its answer: that is a flight. A
// server that fails or keeps silent is followed by the next one. When none of
// them answers, an old answer is better than none (RFC 8767).
package resolve

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/fault"
)

const (
	maxName  = 253 // RFC 1035 section 2.3.4, without the root
	maxLabel = 63  // the same
	maxAddrs = 64  // of a name and family; nobody tries more
)

// Options make a Resolver. The zero value asks the servers of the system.
type Options struct {
	// Servers are the DNS servers to ask, in the forms of ParseServer. None
	// means those of resolv.conf, whose search list holds for them alone.
	Servers []string
	Hosts   string // path of the hosts file; "" is /etc/hosts
	Conf    string // path of resolv.conf; "" is /etc/resolv.conf

	Entries     int           // names in the cache; 0 is 10,000
	MinTTL      time.Duration // life of an answer at the least; 0 is 1 s
	MaxTTL      time.Duration // and at the most; 0 is 1 h
	MaxNegative time.Duration // the same if the answer is that there is none; 0 is 5 min
	MaxStale    time.Duration // how long after its life an answer may still be of use; 0 is 1 h
	Timeout     time.Duration // of a try at one server; 0 is 2 s

	RootCAs *x509.CertPool   // judge the servers' certificates; nil means the system's
	Now     func() time.Time // the clock by which answers and files grow old; nil means time.Now
}

// Resolver looks names up. Safe for concurrent use.
type Resolver struct {
	options Options // with the defaults
	hosts   *file[hosts]
	servers *file[group]
	system  *Resolver // looks up servers that were given by name; may be nil
	tasks   sync.WaitGroup

	hits, misses, stale, shared, queries, failures atomic.Uint64

	mu         sync.Mutex // guards what follows
	closed     bool
	background int               // flights that have given their answer
	entries    map[string]*entry // by name
	flights    map[string]*flight
}

// Stats are counters since New, of what was neither in the hosts file nor
// localhost. A name that is completed from a search list counts each time.
type Stats struct {
	Hits     uint64 // lookups answered by the cache, failures of the last second included
	Misses   uint64 // lookups that asked a server
	Stale    uint64 // lookups answered by what had expired
	Shared   uint64 // lookups that waited for what another one had asked
	Queries  uint64 // sent to servers
	Failures uint64 // queries that brought no valid answer
	Entries  int    // names in the cache
}

// New makes a Resolver. It reads the hosts file and resolv.conf, and starts
// nothing. The error says which server is not written well.
func New(o Options) (*Resolver, error) {
	o.Hosts, o.Conf = cmp.Or(o.Hosts, "/etc/hosts"), cmp.Or(o.Conf, "/etc/resolv.conf")
	o.Entries = cmp.Or(o.Entries, 10_000)
	// One second even where the server says zero: flights are shared, but
	// hundreds of requests a second are still one question each without it.
	o.MinTTL = cmp.Or(o.MinTTL, time.Second)
	o.MaxTTL = cmp.Or(o.MaxTTL, time.Hour)
	o.MaxNegative = cmp.Or(o.MaxNegative, 5*time.Minute)
	o.MaxStale = cmp.Or(o.MaxStale, time.Hour)
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Resolver{options: o, entries: make(map[string]*entry), flights: make(map[string]*flight)}
	r.hosts = openFile(o.Hosts, parseHosts)
	if len(o.Servers) == 0 {
		r.servers = openFile(o.Conf, r.systemServers)
		return r, nil
	}
	c := conf{rounds: defaultRounds, timeout: o.Timeout}
	for _, text := range o.Servers {
		s, err := ParseServer(text)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	if slices.ContainsFunc(c.servers, func(s Server) bool { return !s.addr.IsValid() }) {
		o.Servers = nil
		r.system, _ = New(o) // without servers there is no error
	}
	r.servers = new(file[group])
	r.servers.last.Store(&reading[group]{said: r.newGroup(c)})
	return r, nil
}

// Lookup finds the addresses of host, a name without a trailing dot: those of
// IPv6 first, at least one. The list is shared and must not be changed.
//
// The error is a *fault.Error: a DNSError, or a DNSTimeout if no server answers
// or ctx's deadline passes. If ctx is cancelled, it wraps context.Canceled. No
// notation of an address is a name: not even the hosts file makes one of 127.1.
func (r *Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if !valid(host) {
		return nil, fault.New(fault.DNSError, fmt.Errorf("look up %q: not a host name", host[:min(len(host), maxName)]))
	}
	host = strings.ToLower(host)
	now := r.options.Now()
	if addrs := r.hosts.load(now).addrs[host]; addrs != nil {
		return addrs, nil
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 section 6.3
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	g := r.servers.load(now)
	var buf [maxSearch + 1]string
	var a *answer
	for _, name := range g.names(buf[:0], host) {
		if a = r.find(ctx, g, name, now); a.verdict != noName {
			break
		}
	}
	return a.addrs, a.err
}

// valid says whether host is a name that may be asked for.
func valid(host string) bool {
	if len(host) > maxName {
		return false
	}
	var label string
	for label = range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > maxLabel || strings.ContainsFunc(label, isOdd) {
			return false
		}
	}
	return !numeric(label)
}

// isOdd says whether c is neither a letter, a digit, a hyphen nor an underscore.
func isOdd(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && (c < 'A' || c > 'Z')
}

// numeric says whether somebody may take a name with this last label for an
// IPv4 address: inet_aton reads 127.1, 2130706433 and 0x7f000001 as addresses.
func numeric(label string) bool {
	const digits = "0123456789"
	hex, isHex := strings.CutPrefix(strings.ToLower(label), "0x")
	return strings.Trim(label, digits) == "" || isHex && strings.Trim(hex, digits+"abcdef") == ""
}

// Stats reads the counters.
func (r *Resolver) Stats() Stats {
	r.mu.Lock()
	entries := len(r.entries)
	r.mu.Unlock()
	return Stats{
		Hits: r.hits.Load(), Misses: r.misses.Load(), Stale: r.stale.Load(), Shared: r.shared.Load(),
		Queries: r.queries.Load(), Failures: r.failures.Load(), Entries: entries,
	}
}

var errClosed = errors.New("the resolver is closed")

// Close ends the lookups under way, waits for their tasks to end, and closes
// idle connections. A later Lookup fails where the cache can't answer.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	for _, f := range r.flights {
		r.abandon(f)
	}
	r.mu.Unlock()
	r.tasks.Wait()
	r.servers.last.Load().said.close()
	if r.system != nil {
		r.system.Close()
	}
}
