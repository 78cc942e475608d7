// Package metrics holds the handles of all counters, on the Prometheus client
// library.
//
// Every family is a row of one table, from which it is made. Labels come from
// the configuration or from closed sets, never from a request: what a client
// writes must not fill the memory of who counts, or of who scrapes.
//
// A nil *Metrics or *Front counts nothing. Methods are safe for concurrent use.
package metrics

import (
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the counters of a process.
type Metrics struct {
	registry *prometheus.Registry
	vectors  [families]prometheus.Collector
	readings reader

	reloads    [2]prometheus.Counter // failed, ok
	lastReload prometheus.Gauge
	configured prometheus.Gauge
	panics     prometheus.Counter

	mu     sync.Mutex // guards fronts
	fronts map[string]*Front
}

// New makes the counters of a process that runs version, and has just read its
// configuration. They stand in a registry of their own, beside those of the Go
// runtime and of the process.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), fronts: map[string]*Front{}}
	m.readings.fronts = m.all
	for i, row := range Table() {
		f := family(i)
		if f >= firstRead {
			m.readings.rows[f] = row.reading()
			continue
		}
		m.vectors[f] = row.vector()
		m.registry.MustRegister(m.vectors[f])
	}
	m.registry.MustRegister(
		&m.readings,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.gauge(buildInfo, version, runtime.Version()).Set(1)
	m.reloads = [2]prometheus.Counter{m.counter(reloads, "failed"), m.counter(reloads, "ok")}
	m.lastReload = m.gauge(lastReload)
	m.configured = m.gauge(configTime)
	m.panics = m.counter(panics)
	m.lastReload.Set(1)
	m.configured.SetToCurrentTime()
	return m
}

// Gatherer hands out everything there is to scrape.
func (m *Metrics) Gatherer() prometheus.Gatherer {
	if m == nil {
		return prometheus.Gatherers{}
	}
	return m.registry
}

// Front finds the counters of an entry of the configuration: forward[0]. They
// go on where they were when an entry of that name was there before.
func (m *Metrics) Front(name string) *Front {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.fronts[name]
	if f == nil {
		f = m.newFront(name)
		m.fronts[name] = f
	}
	return f
}

// all are the fronts there are.
func (m *Metrics) all() []*Front {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.fronts))
}

// Reloaded counts a reload, which has put a new configuration into force if it
// was ok.
func (m *Metrics) Reloaded(ok bool) {
	switch {
	case m == nil:
	case ok:
		m.reloads[1].Inc()
		m.lastReload.Set(1)
		m.configured.SetToCurrentTime()
	default:
		m.reloads[0].Inc()
		m.lastReload.Set(0)
	}
}

// Panicked counts a panic, which ended one connection.
func (m *Metrics) Panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

// Egress makes the series of egress addresses at zero: the first event of a
// series that was not there before is no increase to Prometheus.
func (m *Metrics) Egress(addrs ...string) {
	if m == nil {
		return
	}
	for _, a := range addrs {
		m.counter(portsExhausted, a)
	}
}

// PortsExhausted counts a dial that found no free port at an egress address of
// the configuration.
func (m *Metrics) PortsExhausted(egress string) {
	if m != nil {
		m.counter(portsExhausted, egress).Inc()
	}
}

// Read sets where the values are read, at each scrape, that other rooms keep. A
// reload calls it again. A counter that then begins anew at zero is what
// Prometheus takes for a restart.
func (m *Metrics) Read(r Readings) {
	if m != nil {
		m.readings.from.Store(&r)
	}
}

func (m *Metrics) counter(f family, labels ...string) prometheus.Counter {
	return m.vectors[f].(*prometheus.CounterVec).WithLabelValues(labels...)
}

func (m *Metrics) gauge(f family, labels ...string) prometheus.Gauge {
	return m.vectors[f].(*prometheus.GaugeVec).WithLabelValues(labels...)
}

func (m *Metrics) histogram(f family, labels ...string) prometheus.Observer {
	return m.vectors[f].(*prometheus.HistogramVec).WithLabelValues(labels...)
}

// Front are the counters of one entry of the configuration, found beforehand:
// an exchange is counted without looking anything up, unless it has a fault.
type Front struct {
	name            string
	clients         prometheus.Gauge
	opened          prometheus.Counter
	refused         [reasons]prometheus.Counter
	requests        [len(codes)]prometheus.Counter
	duration        prometheus.Observer
	faults          map[string]prometheus.Counter // by token; never written after newFront
	received        prometheus.Counter
	sent            prometheus.Counter
	reused          prometheus.Counter
	fresh           prometheus.Counter
	dials           prometheus.Observer
	tunnels         prometheus.Gauge
	tunnelsOpened   prometheus.Counter
	tunnelTime      prometheus.Observer
	authentications [authResults]prometheus.Counter
	handshakes      [sides][2]prometheus.Counter // failed, ok
	lanes           [lanes]prometheus.Counter

	inForce atomic.Pointer[Rules] // those that decide
	making  sync.Mutex            // guards built
	built   *Rules                // the last that were made
}

func (m *Metrics) newFront(name string) *Front {
	f := &Front{
		name:          name,
		clients:       m.gauge(clients, name),
		opened:        m.counter(clientsOpened, name),
		duration:      m.histogram(duration, name),
		faults:        make(map[string]prometheus.Counter, len(tokens)),
		received:      m.counter(received, name),
		sent:          m.counter(sent, name),
		reused:        m.counter(connections, name, "true"),
		fresh:         m.counter(connections, name, "false"),
		dials:         m.histogram(dials, name),
		tunnels:       m.gauge(tunnels, name),
		tunnelsOpened: m.counter(tunnelsOpened, name),
		tunnelTime:    m.histogram(tunnelTime, name),
	}
	for r, label := range reasonLabels {
		f.refused[r] = m.counter(clientsRefused, name, label)
	}
	for c, label := range codes {
		f.requests[c] = m.counter(requests, name, label)
	}
	for a, label := range authLabels {
		f.authentications[a] = m.counter(authentications, name, label)
	}
	for s, label := range sideLabels {
		f.handshakes[s] = [2]prometheus.Counter{m.counter(handshakes, name, label, "failed"), m.counter(handshakes, name, label, "ok")}
	}
	for l, label := range laneLabels {
		f.lanes[l] = m.counter(requestsByLane, name, label)
	}
	for _, t := range tokens {
		f.faults[t] = m.counter(faults, name, t)
	}
	return f
}

// Opened counts a client connection that is served, until Closed.
func (f *Front) Opened() {
	if f != nil {
		f.opened.Inc()
		f.clients.Inc()
	}
}

// Closed ends what Opened began.
func (f *Front) Closed() {
	if f != nil {
		f.clients.Dec()
	}
}

// Refused counts a client connection that was closed unserved.
func (f *Front) Refused(why Reason) {
	if f != nil {
		f.refused[why].Inc()
	}
}

// Exchange is what is counted of a request and its answer.
type Exchange struct {
	Status   int           // sent to the client; 0 when none was
	Fault    string        // RFC 9209 token, or ""
	Received int64         // body bytes from the client
	Sent     int64         // body bytes to the client
	Total    time.Duration // until the end
	Dial     time.Duration // for look-up and connecting; 0 when nothing was dialled
	Reused   bool          // it was sent on an idle connection
}

// Exchange counts an exchange that has ended. One that becomes a tunnel is
// counted by TunnelOpened and TunnelClosed instead. It neither locks nor
// allocates.
func (f *Front) Exchange(e Exchange) {
	if f == nil {
		return
	}
	f.requests[class(e.Status)].Inc()
	f.duration.Observe(e.Total.Seconds())
	f.moved(e.Fault, e.Received, e.Sent)
	switch {
	case e.Dial > 0: // what was reused before was stale
		f.dialled(e.Dial)
	case e.Reused:
		f.reused.Inc()
	}
}

// Tunnel is what is counted of a tunnel that has ended.
type Tunnel struct {
	Fault    string // RFC 9209 token, or ""
	Received int64  // bytes from the client
	Sent     int64  // bytes to the client
	Duration time.Duration
}

// TunnelOpened counts a tunnel, until TunnelClosed. dial is how long look-up and
// connecting took; it is 0 for an upgrade on a connection that was idle.
func (f *Front) TunnelOpened(dial time.Duration) {
	if f == nil {
		return
	}
	f.tunnelsOpened.Inc()
	f.tunnels.Inc()
	if dial > 0 {
		f.dialled(dial)
	} else {
		f.reused.Inc()
	}
}

// TunnelLent is TunnelOpened for one that leads no further than here.
func (f *Front) TunnelLent() {
	if f != nil {
		f.tunnelsOpened.Inc()
		f.tunnels.Inc()
	}
}

// TunnelClosed ends what TunnelOpened began.
func (f *Front) TunnelClosed(t Tunnel) {
	if f == nil {
		return
	}
	f.tunnels.Dec()
	f.tunnelTime.Observe(t.Duration.Seconds())
	f.moved(t.Fault, t.Received, t.Sent)
}

func (f *Front) dialled(took time.Duration) {
	f.fresh.Inc()
	f.dials.Observe(took.Seconds())
}

// moved counts what went through, and what went wrong.
func (f *Front) moved(fault string, received, sent int64) {
	if received > 0 {
		f.received.Add(float64(received))
	}
	if sent > 0 {
		f.sent.Add(float64(sent))
	}
	if fault == "" {
		return
	}
	c := f.faults[fault]
	if c == nil {
		c = f.faults[unknownFault]
	}
	c.Inc()
}
