package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// workload is one thing to measure.
type workload struct {
	id, title string
	kind      string // the command that a proxy needs to take part
	relay     string // the command of plain TCP relays that can take part; none if empty
	direct    bool   // measured without a proxy too
	idle      bool   // units are connections that stay: memory is a figure
	beside    bool   // idle tunnels stand beside, and the proxy's user has no privileges
	flood     bool   // wrong passwords come beside
	base      string // id of a workload that each proxy does here too, in a row NAME-base, to compare with
	tls       bool   // the client speaks TLS to the proxy
	inspect   bool   // it speaks TLS to the origin, inside a tunnel that the proxy looks into
	unit      string
	perSecond float64 // divide the rate by this for display
	cpuScale  float64 // CPU seconds per unit times this for display
	cpuUnit   string
	job       func(t target) job // nil: h2load does it
	h2load    []string
}

// target is where the generator sends to.
type target struct {
	port  int      // what it connects to
	proxy bool     // a proxy is there to be asked; else an origin, as far as it can see
	hosts []string // host:port of what is asked for
	field string   // a header field for the proxy, with its line end
	idle  int      // tunnels of an idle workload
}

const (
	small = 1024
	large = 10 << 20
	huge  = 1 << 30
)

// get is a request in the form that the target wants.
func (t target) get(path string) []byte {
	if t.proxy {
		return request("GET", "http://"+t.hosts[0]+path, t.hosts[0], t.field, -1)
	}
	return request("GET", path, "127.0.0.1:"+strconv.Itoa(t.port), "", -1)
}

// tunnels are the CONNECT requests to n origins; none when no proxy is there to ask.
func (t target) tunnels(n int) (list [][]byte) {
	if !t.proxy {
		return nil
	}
	for i := range n {
		h := t.hosts[i%len(t.hosts)]
		list = append(list, fmt.Appendf(nil, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\nUser-Agent: bench/1\r\n%s\r\n", h, t.field))
	}
	return list
}

// request is a request head; a body below 0 is none.
func request(method, uri, host, field string, body int) []byte {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1\r\nAccept: */*\r\n%s", method, uri, host, field)
	if body >= 0 {
		b = fmt.Appendf(b, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", body)
	}
	return append(b, "\r\n"...)
}

const echoUpgrade = "GET /echo HTTP/1.1\r\nHost: origin\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"

func bytesPath(n int) string { return "/bytes/" + strconv.Itoa(n) }

// The jobs, by what the generator does.

func keptAlive(t target) job { return job{conns: 64, unit: t.get(bytesPath(small)), body: small} }

func newConns(t target) job {
	j := keptAlive(t)
	j.newConn = true
	return j
}

func setUp(t target) job {
	return job{conns: 32, preface: t.tunnels(4), unit: request("GET", bytesPath(16), t.hosts[0], "", -1), body: 16, newConn: true}
}

func keptTunnels(t target) job {
	return job{conns: 64, preface: t.tunnels(1), unit: request("GET", bytesPath(small), t.hosts[0], "", -1), body: small}
}

func bulkDown(t target) job {
	return job{conns: 8, preface: t.tunnels(1), unit: request("GET", bytesPath(huge), t.hosts[0], "", -1), body: huge, bulk: true}
}

func bulkUp(t target) job {
	return job{conns: 8, preface: t.tunnels(1), unit: request("POST", "/sink", t.hosts[0], "", huge), upload: huge, body: 2, bulk: true}
}

func idleTunnels(t target) job {
	return job{conns: min(32, t.idle), preface: t.tunnels(1), upgrade: []byte(echoUpgrade), total: t.idle}
}

func download(t target) job {
	return job{conns: 8, unit: t.get(bytesPath(large)), body: large, bulk: true}
}

func pingPong(t target) job {
	return job{conns: 64, preface: t.tunnels(1), upgrade: []byte(echoUpgrade), unit: bytes.Repeat([]byte("m"), 64), echo: 64}
}

func post(t target) job {
	head := request("POST", "/sink", "127.0.0.1:"+strconv.Itoa(t.port), "", 16<<10)
	return job{conns: 64, unit: slices.Concat(head, bytes.Repeat([]byte("x"), 16<<10)), body: 2}
}

func per(unit string, w workload) workload {
	w.unit, w.perSecond, w.cpuScale, w.cpuUnit = unit, 1, 1e6, "µs/"+unit
	return w
}

func perGB(w workload) workload {
	w.unit, w.perSecond, w.cpuScale, w.cpuUnit = "GB", 1e9, 1e9, "s/GB"
	return w
}

// workloads is the table of all there is to measure, in its order.
func workloads() []workload {
	const unprivileged = "with idle tunnels beside, as a user without privileges"
	return []workload{
		per("req", workload{id: "F1", title: "GET of 1 KiB, 64 kept-alive connections", kind: forward, direct: true, job: keptAlive}),
		per("req", workload{id: "F1a", title: "F1 with Basic authentication", kind: forwardAuth, job: keptAlive}),
		per("req", workload{id: "F1l", title: "F1 with a list of a million denied names", kind: forwardList, job: keptAlive}),
		per("req", workload{id: "F1al", title: "F1 with both", kind: forwardAuthList, base: "F1", job: keptAlive}),
		per("req", workload{id: "F1f", title: "F1a beside a flood of wrong passwords", kind: forwardAuth, flood: true, base: "F1a", job: keptAlive}),
		per("req", workload{id: "F1s", title: "F1 with TLS to the proxy", kind: forwardTLS, tls: true, job: keptAlive}),
		per("req", workload{id: "F1p", title: "F1 through a parent proxy", kind: forwardParent, job: keptAlive}),
		per("req", workload{id: "F1p4", title: "F1 through four parent proxies", kind: forwardParents, base: "F1p", job: keptAlive}),
		per("req", workload{id: "F1lib", title: "F1 with a field that a filter takes off", kind: forwardFilter, base: "F1", job: keptAlive}),
		per("req", workload{id: "F1in", title: "GET of 1 KiB in 64 kept-alive tunnels that are inspected", kind: forwardInspect, inspect: true, job: keptTunnels}),
		per("req", workload{id: "F2", title: "GET of 1 KiB, a connection each, 64 at a time", kind: forward, direct: true, job: newConns}),
		per("tunnel", workload{id: "F3", title: "CONNECT, a tiny exchange, close, 32 at a time", kind: forward, relay: relay, direct: true, job: setUp}),
		per("tunnel", workload{id: "F3s", title: "F3 with TLS to the proxy, a full handshake each", kind: forwardTLS, relay: relayTLS, tls: true, job: setUp}),
		per("tunnel", workload{id: "F3p", title: "F3 through a parent proxy", kind: forwardParent, job: setUp}),
		per("tunnel", workload{id: "F3p4", title: "F3 through four parent proxies", kind: forwardParents, base: "F3p", job: setUp}),
		per("tunnel", workload{id: "F3in", title: "F3 with TLS to the origin, inspected, a full handshake each", kind: forwardInspect, inspect: true, job: setUp}),
		perGB(workload{id: "F4d", title: "8 tunnels, bulk down", kind: forward, relay: relay, direct: true, job: bulkDown}),
		perGB(workload{id: "F4u", title: "8 tunnels, bulk up", kind: forward, relay: relay, direct: true, job: bulkUp}),
		perGB(workload{id: "F4id", title: "F4d " + unprivileged, kind: forward, relay: relay, beside: true, job: bulkDown}),
		perGB(workload{id: "F4iu", title: "F4u " + unprivileged, kind: forward, relay: relay, beside: true, job: bulkUp}),
		per("tunnel", workload{id: "F5", title: "tunnels that carried one exchange and stay", kind: forward, relay: relay, idle: true, job: idleTunnels}),
		perGB(workload{id: "F6", title: "GET of 10 MiB, 8 kept-alive connections", kind: forward, direct: true, job: download}),
		per("msg", workload{id: "F7", title: "64 bytes there and back, 64 tunnels", kind: forward, relay: relay, direct: true, job: pingPong}),
		per("req", workload{id: "R1", title: "GET of 1 KiB, 64 kept-alive connections, 4 backends", kind: reverse, direct: true, job: keptAlive}),
		per("req", workload{id: "R2", title: "GET of 1 KiB, a connection each, 64 at a time", kind: reverse, direct: true, job: newConns}),
		perGB(workload{id: "R3", title: "GET of 10 MiB, 8 kept-alive connections", kind: reverse, direct: true, job: download}),
		per("req", workload{id: "R4", title: "R1 over TLS with HTTP/1.1 (h2load)", kind: reverse, h2load: []string{"--h1", "-c", "64", "-m", "1"}}),
		per("req", workload{id: "R5", title: "R1 over TLS with HTTP/2, 8 connections of 32 streams (h2load)", kind: reverse, h2load: []string{"-c", "8", "-m", "32"}}),
		per("req", workload{id: "R6", title: "POST of 16 KiB, 64 kept-alive connections", kind: reverse, direct: true, job: post}),
	}
}

// chooseWorkloads reads a comma list of ids and groups, in the order of the list.
func chooseWorkloads(ids string) (list []workload, err error) {
	for id := range strings.SplitSeq(ids, ",") {
		n := len(list)
		for _, w := range workloads() {
			if w.named(id) {
				list = append(list, w)
			}
		}
		if len(list) == n {
			return nil, fmt.Errorf("no workload %q: see -list", id)
		}
	}
	return list, nil
}

// workloadOf is the workload with an id.
func workloadOf(id string) workload {
	all := workloads()
	return all[slices.IndexFunc(all, func(w workload) bool { return w.id == id })]
}

// named tells whether an id means this workload: its own, that of its pair (F4
// is F4d and F4u), or its group.
func (w workload) named(id string) bool {
	group, _, _ := strings.Cut(w.kind, "-")
	if id == "all" || strings.EqualFold(id, group) || strings.EqualFold(id, w.id) {
		return true
	}
	pair := w.cpuUnit == "s/GB" && strings.ContainsAny(w.id[len(w.id)-1:], "du")
	return pair && strings.EqualFold(id, w.id[:len(w.id)-1])
}
