package resolve

import (
	"net/netip"
	"time"
)

// ReadAnswer reads what a server sends to a question whose number is id.
func ReadAnswer(b []byte, name string, isV6 bool, id uint16) ([]netip.Addr, time.Duration, error) {
	q := question{name: name}
	if isV6 {
		q.family = v6
	}
	a, err := q.read(b, id)
	if err != nil {
		return nil, 0, err
	}
	return a.addrs, a.ttl, nil
}

// ReadConf reads a resolv.conf, and says what will be asked for host.
func ReadConf(text, host string) (servers []Server, names []string) {
	c := parseConf(text, time.Second)
	return c.servers, c.names(nil, host)
}

// ReadHosts reads a hosts file.
func ReadHosts(text string) map[string][]netip.Addr { return parseHosts(text, nil).addrs }

// Waiters is how many lookups wait for a name, and how many flights there are.
func (r *Resolver) Waiters(name string) (waiters, flights int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[name]; f != nil {
		waiters = f.waiters
	}
	return waiters, len(r.flights)
}

// Background is how many flights have given their answer.
func (r *Resolver) Background() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.background
}
