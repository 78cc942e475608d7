package metrics

// Pool is what a pool of endpoints counts. Pools have names of their own.
type Pool struct {
	Name           string
	InFlight       int
	Retries        uint64            // further tries
	RetriesRefused uint64            // those that were not made
	Hedges         uint64            // those that joined another
	Unavailable    map[string]uint64 // requests that found no way out, by the reason, of a closed set
	Endpoints      []Endpoint
}

// Endpoint is what is counted of one endpoint. In its pool no other has its ID.
type Endpoint struct {
	ID       string
	Ready    bool // takes new requests
	InFlight int
	Picks    uint64
	Failures uint64
	Resting  int // destinations that it is not used for
}

// collect sends what a pool has counted.
func (p *Pool) collect(send func(f family, value float64, labels ...string)) {
	name := label(p.Name)
	send(poolInFlight, float64(p.InFlight), name)
	send(poolRetries, float64(p.Retries), name)
	send(poolRefused, float64(p.RetriesRefused), name)
	send(poolHedges, float64(p.Hedges), name)
	for reason, n := range p.Unavailable {
		send(poolUnavailable, float64(n), name, label(reason))
	}
	for i := range p.Endpoints {
		e := &p.Endpoints[i]
		id, ready := label(e.ID), 0.0
		if e.Ready {
			ready = 1
		}
		send(endpointReady, ready, name, id)
		send(endpointInFlight, float64(e.InFlight), name, id)
		send(endpointPicks, float64(e.Picks), name, id)
		send(endpointFailures, float64(e.Failures), name, id)
		send(endpointResting, float64(e.Resting), name, id)
	}
}
