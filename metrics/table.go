package metrics

import "github.com/prometheus/client_golang/prometheus"

// family is the place of a row in the table.
type family uint8

const (
	buildInfo family = iota
	configTime
	lastReload
	reloads
	panics
	clients
	clientsOpened
	clientsRefused
	requests
	duration
	faults
	received
	sent
	connections
	dials
	tunnels
	tunnelsOpened
	tunnelTime
	authentications
	handshakes
	requestsByLane
	portsExhausted
	decided
	listNames
	listSkipped
	certificateEnds
	minted
	upstreamIdle
	lookups
	queries
	queryFailures
	cacheEntries
	logDropped
	poolInFlight
	poolRetries
	poolRefused
	poolHedges
	poolUnavailable
	endpointReady
	endpointInFlight
	endpointPicks
	endpointFailures
	endpointResting
	families

	firstRead = decided // from here on values are read at the scrape
)

// The types of a Row.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Row is a family of metrics.
type Row struct {
	Name   string
	Type   string // counter, gauge or histogram
	Labels []string
	Help   string

	buckets []float64 // of a histogram, in seconds
}

// Table lists every family that begins with viaduct_, whether it has been
// counted or not.
func Table() []Row {
	front, pool, endpoint := []string{"listener"}, []string{"pool"}, []string{"pool", "endpoint"}
	// An origin in the same rack answers within a millisecond, a timeout takes up to a minute.
	waits := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	// A tunnel is open for one request, or for a day.
	stays := []float64{.1, 1, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600}
	rows := [families]Row{
		buildInfo:        {"viaduct_build_info", gauge, []string{"version", "goversion"}, "Always 1: what runs, by its labels.", nil},
		configTime:       {"viaduct_config_timestamp_seconds", gauge, nil, "When the configuration in force was read, since the epoch.", nil},
		lastReload:       {"viaduct_config_last_reload_successful", gauge, nil, "Whether the last attempt to read the configuration succeeded: 1 or 0.", nil},
		reloads:          {"viaduct_reloads_total", counter, []string{"result"}, "Reloads of the configuration: ok or failed.", nil},
		panics:           {"viaduct_panics_total", counter, nil, "Panics, each of which ended one connection. Every one is a defect: please report it.", nil},
		clients:          {"viaduct_client_connections", gauge, front, "Open client connections, tunnels among them.", nil},
		clientsOpened:    {"viaduct_client_connections_total", counter, front, "Client connections that were served.", nil},
		clientsRefused:   {"viaduct_client_connections_refused_total", counter, []string{"listener", "reason"}, "Client connections that were closed unserved: max_conns, max_conns_per_client or descriptors.", nil},
		requests:         {"viaduct_requests_total", counter, []string{"listener", "code"}, "Requests by the class of the status that was sent: 1xx to 5xx, or none. Those that became tunnels are left out.", nil},
		duration:         {"viaduct_request_duration_seconds", histogram, front, "Time from a request to the end of its answer, tunnels left out.", waits},
		faults:           {"viaduct_faults_total", counter, []string{"listener", "fault"}, "What went wrong with requests and tunnels, by the error types of RFC 9209.", nil},
		received:         {"viaduct_received_bytes_total", counter, front, "Bytes of bodies and tunnels from clients. Those of a tunnel are counted when it ends.", nil},
		sent:             {"viaduct_sent_bytes_total", counter, front, "Bytes of bodies and tunnels to clients. Those of a tunnel are counted when it ends.", nil},
		connections:      {"viaduct_upstream_connections_total", counter, []string{"listener", "reused"}, "Connections for requests and tunnels: an idle one (true), or one that was dialled, in vain or not (false).", nil},
		dials:            {"viaduct_dial_duration_seconds", histogram, front, "Time to look up a destination and to connect to it, or to fail.", waits},
		tunnels:          {"viaduct_tunnels", gauge, front, "Open tunnels.", nil},
		tunnelsOpened:    {"viaduct_tunnels_total", counter, front, "Tunnels that were opened, by CONNECT or by an upgrade.", nil},
		tunnelTime:       {"viaduct_tunnel_duration_seconds", histogram, front, "How long tunnels were open.", stays},
		authentications:  {"viaduct_authentications_total", counter, []string{"listener", "result"}, "Requests that had to say who asks: ok, missing (as clients try first), wrong, malformed, throttled (after too many wrong ones), busy (too many wait) or unavailable (it could not be told).", nil},
		handshakes:       {"viaduct_tls_handshakes_total", counter, []string{"listener", "side", "result"}, "TLS handshakes by their result (ok or failed): with clients of an https listener (client), with those whose tunnels are inspected (inspected), or with destinations (origin).", nil},
		requestsByLane:   {"viaduct_requests_by_lane_total", counter, []string{"listener", "lane"}, "Requests by who carried them: the engine of viaduct (fast), or the chain of filters (library).", nil},
		portsExhausted:   {"viaduct_egress_ports_exhausted_total", counter, []string{"egress"}, "Dials that found no free port at an egress address.", nil},
		decided:          {"viaduct_decisions_total", counter, []string{"listener", "phase", "decision", "rule"}, "Decisions: allow, deny, or observe (let pass, though it would be denied), by the phase (client, auth, name, port, address, sni or filter) and the rule, if one decided. A series begins with its first decision, and goes with its rule.", nil},
		listNames:        {"viaduct_list_names", gauge, []string{"file"}, "Names or other values that were read from a list.", nil},
		listSkipped:      {"viaduct_list_lines_skipped", gauge, []string{"file"}, "Lines of a list that say nothing viaduct can use.", nil},
		certificateEnds:  {"viaduct_certificate_not_after_timestamp_seconds", gauge, []string{"file"}, "When a certificate of the configuration expires, since the epoch.", nil},
		minted:           {"viaduct_inspection_certificates_minted_total", counter, nil, "Certificates that were made to inspect tunnels.", nil},
		upstreamIdle:     {"viaduct_upstream_idle_connections", gauge, nil, "Idle upstream connections, kept for further requests.", nil},
		lookups:          {"viaduct_dns_lookups_total", counter, []string{"result"}, "Lookups of names: hit (in the cache), miss (asked for), stale (expired, but no server answers) or shared (asked for by another already).", nil},
		queries:          {"viaduct_dns_queries_total", counter, nil, "Queries sent to DNS servers.", nil},
		queryFailures:    {"viaduct_dns_query_failures_total", counter, nil, "DNS queries that failed or were not answered.", nil},
		cacheEntries:     {"viaduct_dns_cache_entries", gauge, nil, "Answers in the DNS cache.", nil},
		logDropped:       {"viaduct_access_log_lines_dropped_total", counter, nil, "Lines of the access log that were given up, as they could not be written.", nil},
		poolInFlight:     {"viaduct_pool_in_flight", gauge, pool, "Requests and tunnels under way by a pool.", nil},
		poolRetries:      {"viaduct_pool_retries_total", counter, pool, "Further tries of requests, at other endpoints.", nil},
		poolRefused:      {"viaduct_pool_retries_refused_total", counter, pool, "Further tries that were not made: the retry budget or a limit did not allow them.", nil},
		poolHedges:       {"viaduct_pool_hedges_total", counter, pool, "Further tries that began beside one that took long to connect.", nil},
		poolUnavailable:  {"viaduct_pool_unavailable_total", counter, []string{"pool", "reason"}, "Requests that found no way out: none (no endpoint takes requests, or all were tried), full, panicking (too few are healthy), queue_full, queue_timeout, limit, pending, throttle, adaptive (the guards of the pool) or unreached (no endpoint could be connected to).", nil},
		endpointReady:    {"viaduct_endpoint_ready", gauge, endpoint, "Whether an endpoint takes new requests: 1 or 0.", nil},
		endpointInFlight: {"viaduct_endpoint_in_flight", gauge, endpoint, "Requests and tunnels under way by an endpoint.", nil},
		endpointPicks:    {"viaduct_endpoint_picks_total", counter, endpoint, "Requests and tunnels that were given to an endpoint.", nil},
		endpointFailures: {"viaduct_endpoint_failures_total", counter, endpoint, "Requests and tunnels that failed because of an endpoint.", nil},
		endpointResting:  {"viaduct_endpoint_resting_destinations", gauge, endpoint, "Destinations that an endpoint is not used for at the moment.", nil},
	}
	return rows[:]
}

func (r Row) vector() prometheus.Collector {
	switch r.Type {
	case counter:
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: r.Name, Help: r.Help}, r.Labels)
	case gauge:
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: r.Name, Help: r.Help}, r.Labels)
	}
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: r.Name, Help: r.Help, Buckets: r.buckets}, r.Labels)
}

func (r Row) reading() reading {
	kind := prometheus.GaugeValue
	if r.Type == counter {
		kind = prometheus.CounterValue
	}
	return reading{desc: prometheus.NewDesc(r.Name, r.Help, r.Labels, nil), kind: kind}
}

// Reason is why a client connection was closed unserved.
type Reason uint8

// The reasons.
const (
	MaxConns          Reason = iota // as many are open as may be
	MaxConnsPerClient               // as many of this client
	Descriptors                     // the process may open no more files
	reasons
)

var reasonLabels = [reasons]string{"max_conns", "max_conns_per_client", "descriptors"}

// codes are the classes of a status.
var codes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// class is the place of a status in codes. One that HTTP does not know counts
// as a server's error (RFC 9110 section 15).
func class(status int) int {
	switch {
	case status < 100:
		return 0
	case status > 599:
		return 5
	}
	return status / 100
}

// tokens are the error types of RFC 9209 section 2.3, as the room fault names
// them.
var tokens = [...]string{
	"dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited",
	"destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout",
	"connection_read_timeout", "connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
	"tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied", "http_response_incomplete",
	"http_response_header_section_size", "http_response_transfer_coding", "http_response_timeout", "http_upgrade_failed",
	"http_protocol_error", "proxy_internal_response", "proxy_internal_error", "proxy_configuration_error",
	"proxy_loop_detected",
}

// unknownFault counts tokens that are not in the list.
const unknownFault = "proxy_internal_error"
