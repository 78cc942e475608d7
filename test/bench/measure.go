package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sample is one measurement of one proxy under one workload.
type sample struct {
	Workload, Proxy string
	Round           int
	Failed          string  `json:",omitempty"` // why there are no figures
	Rate            float64 // units per second
	P50, P99        float64 // milliseconds
	CPU             float64 // proxy CPU seconds per unit
	RSS             float64 // MiB, sum of the peaks of the proxy's processes
	PerTunnel       float64 // F5: KiB of proportional memory per tunnel
	Core            float64 // proxy CPU time as a share of its CPUs' time
	Other           float64 // share of the proxy's CPUs that others used
	Gen             float64 // generator and origin CPU time as a share of their CPUs' time
	Conns           float64 // client connections per unit
	Units           int64
	Errors          int64
	First           string  `json:",omitempty"` // the first error
	TLS             string  `json:",omitempty"` // what a client and the proxy agreed on
	Flood           tally   `json:",omitempty"` // F1f: what became of the wrong passwords
	Parents         []int64 `json:",omitempty"` // F1p4, F3p4: requests that each parent got, warming up included
	Strays          int     `json:",omitempty"` // threads not bound to the proxy's CPUs
}

const (
	direct = "direct" // no proxy
	again  = "-again" // ends the name of the reference's second entry
)

// entry is a row of a workload's table: a proxy, the command it runs and what it
// is put to, which is another workload in a row to compare with. No proxy is the
// origin alone.
type entry struct {
	name string
	p    *proxy
	kind string
	w    workload
}

// field lists who can take part in w, with the reference twice where noise is to
// be shown.
func (o *options) field(w workload, proxies []proxy) []entry {
	var list []entry
	if w.direct {
		list = append(list, entry{name: direct, w: w})
	}
	for i, p := range proxies {
		switch {
		case p.cmds[w.kind] != "":
			list = append(list, entry{p.name, &proxies[i], w.kind, w})
			if w.base != "" {
				list = append(list, basic(&proxies[i], w)...)
			}
		case w.relay != "" && p.cmds[w.relay] != "":
			list = append(list, entry{p.name, &proxies[i], w.relay, w})
		}
	}
	if !o.noise {
		return list
	}
	ref := o.reference(func(name string) bool {
		return slices.ContainsFunc(list, func(e entry) bool { return e.name == name })
	})
	for _, e := range list {
		if e.name == ref {
			twin := *e.p
			twin.name = ref + again
			return append(list, entry{twin.name, &twin, e.kind, e.w})
		}
	}
	return list
}

// basic is the row of a proxy that w is compared with, if the proxy can do that.
func basic(p *proxy, w workload) []entry {
	base := workloadOf(w.base)
	if p.cmds[base.kind] == "" {
		return nil
	}
	return []entry{{baseName(p.name, w), p, base.kind, base}}
}

func baseName(name string, w workload) string { return name + "-" + w.base }

// reference is the first name of -ref that takes part, or nothing.
func (o *options) reference(takesPart func(name string) bool) string {
	for name := range strings.SplitSeq(o.ref, ",") {
		if takesPart(name) {
			return name
		}
	}
	return ""
}

// measure runs a workload over all proxies that can take part, in turns, and
// answers its table. Every second round goes backwards, so that nobody always
// stands behind the same neighbour.
func (b *bench) measure(w workload, proxies []proxy) string {
	r := result{w: w, samples: map[string][]sample{}}
	turn := b.field(w, proxies)
	for _, e := range turn {
		r.order = append(r.order, e.name)
	}
	if len(turn) == 0 {
		fmt.Fprintf(os.Stderr, "%s: nobody can take part\n", w.id)
		return ""
	}
	for round := range b.rounds {
		for _, e := range turn {
			s := b.one(e)
			s.Workload, s.Proxy, s.Round = w.id, e.name, round+1
			fmt.Fprintf(os.Stderr, "%s %s round %d: %s\n", w.id, s.Proxy, s.Round, s.brief(w))
			b.keep(s)
			r.samples[e.name] = append(r.samples[e.name], s)
		}
		slices.Reverse(turn)
	}
	return b.table(r)
}

func (b *bench) keep(s sample) {
	if b.raw == "" {
		return
	}
	line, err := json.Marshal(s)
	if err == nil {
		err = appendFile(b.raw, string(line)+"\n")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "raw:", err)
	}
}

// one starts a proxy, loads it, and stops it.
func (b *bench) one(e entry) (s sample) {
	if err := b.attempt(e, &s); err != nil {
		s.Failed = err.Error()
	}
	return s
}

func (b *bench) attempt(e entry, s *sample) error {
	w := e.w
	if e.p == nil {
		return b.generate(w, b.target(e.kind, b.origins[0]), nil, s)
	}
	var as *syscall.Credential
	if w.beside {
		var err error
		if as, err = unprivileged(b.user); err != nil {
			return err
		}
	}
	r, err := b.start(e.p, e.kind, w.tls, as)
	if err != nil {
		return err
	}
	defer r.stop()
	t := b.target(e.kind, r.port)
	if err := b.check(w, e.kind, t); err != nil {
		return fmt.Errorf("first request: %w", err)
	}
	switch {
	case w.h2load != nil:
		err = b.h2load(w, r, s)
	case e.kind == forwardParents:
		err = b.spread(func() error { return b.generate(w, t, r, s) }, s)
	default:
		err = b.generate(w, t, r, s)
	}
	pids := r.pids()
	s.RSS = float64(memory(pids, "status", "VmHWM")) / 1024
	if s.Strays = strays(pids, b.proxyCPUs); s.Strays > 0 {
		fmt.Fprintf(os.Stderr, "warning: %s: %d threads not bound to CPUs %s\n", e.name, s.Strays, b.proxyCPUs)
	}
	return err
}

// target says how the generator speaks to a proxy of a kind at a port.
func (b *bench) target(kind string, port int) target {
	t := target{port: port, proxy: isForward(kind), idle: b.idle}
	for _, p := range b.origins {
		t.hosts = append(t.hosts, "127.0.0.1:"+strconv.Itoa(p))
	}
	switch {
	case asksUser(kind):
		t.field = proxyAuthorization(userName, password)
	case kind == forwardFilter:
		t.field = nothing + ": 1\r\n"
	}
	switch {
	case hasList(kind): // a list of names is not asked about addresses
		t.hosts = []string{"localhost:" + strconv.Itoa(b.origins[0])}
	case hasParent(kind): // who goes round the parent finds nobody
		t.hosts = []string{"127.0.0.1:" + strconv.Itoa(b.nowhere)}
	case kind == forwardInspect: // certificates are made for names
		t.hosts = []string{"localhost:" + strconv.Itoa(b.secure)}
	}
	return t
}

// usage is a reading of all CPU clocks.
type usage struct{ proxy, gen, busy float64 }

func (b *bench) usage(r *running) (u usage) {
	if r != nil {
		u.proxy = cpuTime(r.pids())
	}
	var self syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &self)
	u.gen = seconds(self.Utime) + seconds(self.Stime) + cpuTime([]int{b.origin.Process.Pid})
	u.busy = busy(cpuList(b.proxyCPUs))
	return u
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// fill takes the figures that follow from two readings of the clocks.
func (b *bench) fill(s *sample, before, after usage, units int64, secs float64) {
	s.Units = units
	s.Rate = float64(units) / secs
	if units > 0 {
		s.CPU = (after.proxy - before.proxy) / float64(units)
	}
	s.Core = (after.proxy - before.proxy) / secs / float64(b.cpus)
	s.Other = max(0, (after.busy-before.busy)/secs/float64(b.cpus)-s.Core)
	s.Gen = (after.gen - before.gen) / secs / float64(len(cpuList(b.genCPUs)))
}

// generate runs a workload of the built-in generator.
func (b *bench) generate(w workload, t target, r *running, s *sample) error {
	if w.beside {
		t := t
		t.idle = b.beside
		j := idleTunnels(t)
		j.port = t.port
		idle, err := hold(j, b.file)
		if err != nil {
			return err
		}
		defer idle.close()
		defer func() { s.Errors += int64(b.beside - idle.held()) }()
	}
	var before, after usage
	var pss int64
	j := w.job(t)
	j.port = t.port
	j.warm, j.measure = span(b.warm), span(b.seconds)
	if w.inspect {
		j.inside, _, _ = strings.Cut(t.hosts[0], ":")
	}
	if w.flood {
		j.flood = flood{rate: b.flood, from: b.floodFrom, attempt: t.wrongPassword}
	}
	j.begin = func() {
		if w.idle {
			pss = memory(r.pids(), "smaps_rollup", "Pss")
		}
		before = b.usage(r)
	}
	j.end = func() {
		after = b.usage(r)
		if w.idle {
			pss = memory(r.pids(), "smaps_rollup", "Pss") - pss
		}
	}
	l, err := b.drive(w, j, s)
	if err != nil {
		return err
	}
	if w.idle {
		s.PerTunnel = float64(pss) / float64(max(1, l.units))
		l.errors = max(l.errors, int64(j.total)-l.units)
	}
	b.fill(s, before, after, l.units, l.secs)
	s.P50, s.P99 = quantile(l.lat, 0.5), quantile(l.lat, 0.99)
	s.Errors, s.First, s.Flood = l.errors, l.first, l.refused.each(l.secs)
	if n := len(l.lat); n > 0 && !j.bulk {
		s.Conns = float64(l.opened) / float64(n)
	}
	if l.units == 0 && l.first == "" {
		return errors.New("nothing was done")
	}
	return nil
}

// drive runs the job with the generator that it needs.
func (b *bench) drive(w workload, j job, s *sample) (*load, error) {
	if !w.tls && !w.inspect {
		return drive(j, b.file)
	}
	l, agreed, err := driveTLS(j)
	s.TLS = agreed
	return l, err
}

func span(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
