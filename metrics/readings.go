package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Readings are values that other rooms keep. A nil function is a value that
// nobody keeps: its family is left out.
type Readings struct {
	UpstreamIdle func() int                  // idle upstream connections
	DNS          func() DNS                  // what the resolver counts
	LogDropped   func() uint64               // lines of the access log that were given up
	Lists        func() map[string]ListSize  // by file, as the configuration names it
	Certificates func() map[string]time.Time // when they expire, by file
	Minted       func() int                  // certificates that were made to inspect tunnels
	Pools        func() []Pool               // ways out
}

// ListSize is what was read from a list.
type ListSize struct {
	Names   int // or other values
	Skipped int // lines
}

// DNS is what a resolver counts. A lookup is one of the first four.
type DNS struct {
	Hits     uint64 // lookups answered by the cache
	Misses   uint64 // lookups that asked a server
	Stale    uint64 // lookups answered by what had expired, as no server answered (RFC 8767)
	Shared   uint64 // lookups that waited for another one's answer
	Queries  uint64 // sent to servers
	Failures uint64 // queries that no server answered
	Entries  int    // in the cache
}

// Add adds what another resolver has counted; what is in its cache is no count.
func (d *DNS) Add(o DNS) {
	d.Hits += o.Hits
	d.Misses += o.Misses
	d.Stale += o.Stale
	d.Shared += o.Shared
	d.Queries += o.Queries
	d.Failures += o.Failures
}

// reader collects the readings, and what rules have decided.
type reader struct {
	rows   [families]reading
	from   atomic.Pointer[Readings]
	fronts func() []*Front
}

// reading is a family without a vector: its values are there for one scrape.
type reading struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// Describe is for the registry.
func (r *reader) Describe(ch chan<- *prometheus.Desc) {
	for _, row := range r.rows[firstRead:] {
		ch <- row.desc
	}
}

// Collect is for the registry.
func (r *reader) Collect(ch chan<- prometheus.Metric) {
	send := func(f family, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(r.rows[f].desc, r.rows[f].kind, value, labels...)
	}
	for _, f := range r.fronts() {
		f.inForce.Load().collect(func(value float64, labels ...string) { send(decided, value, labels...) })
	}
	from := r.from.Load()
	if from == nil {
		return
	}
	if from.UpstreamIdle != nil {
		send(upstreamIdle, float64(from.UpstreamIdle()))
	}
	if from.LogDropped != nil {
		send(logDropped, float64(from.LogDropped()))
	}
	if from.Lists != nil {
		for file, size := range from.Lists() {
			send(listNames, float64(size.Names), label(file))
			send(listSkipped, float64(size.Skipped), label(file))
		}
	}
	if from.Certificates != nil {
		for file, ends := range from.Certificates() {
			send(certificateEnds, float64(ends.Unix()), label(file))
		}
	}
	if from.Minted != nil {
		send(minted, float64(from.Minted()))
	}
	if from.Pools != nil {
		for _, p := range from.Pools() {
			p.collect(send)
		}
	}
	if from.DNS != nil {
		d := from.DNS()
		send(lookups, float64(d.Hits), "hit")
		send(lookups, float64(d.Misses), "miss")
		send(lookups, float64(d.Stale), "stale")
		send(lookups, float64(d.Shared), "shared")
		send(queries, float64(d.Queries))
		send(queryFailures, float64(d.Failures))
		send(cacheEntries, float64(d.Entries))
	}
}
