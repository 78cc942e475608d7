package main

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// job tells the generator what one workload does on each connection.
type job struct {
	port    int
	conns   int
	preface [][]byte // CONNECT requests, taken in turn; none: no tunnel
	upgrade []byte   // sent once per connection, must be answered 101
	unit    []byte   // what is sent per unit of work; nil: the connection stays idle
	upload  int64    // filler bytes sent after unit
	echo    int      // a unit is answered by this many raw bytes instead of a response
	body    int64    // right size of a response body
	newConn bool     // a new connection for each unit
	bulk    bool     // bytes are the unit of work
	total   int      // idle workload: connections to open, conns at a time
	flood   flood    // what comes beside
	inside  string   // whom TLS is spoken to inside the tunnel; none: to the proxy, if at all
	warm    time.Duration
	measure time.Duration
	begin   func() // called when measuring begins
	end     func() // called when it is over
}

// load is what a job achieved between begin and end.
type load struct {
	units  int64   // units done, bytes for a bulk job
	opened int64   // connections opened
	errors int64   // failed units and connections
	first  string  // the first error
	secs   float64 // measured time
	lat    []int64 // nanoseconds per unit, sorted

	refused tally // what the flood was answered
}

const (
	tooMany   = 5000 // errors, after which a job is given up
	idleLimit = 60e9 // nanoseconds in which an idle workload is to be set up
)

func (l *load) fail(err error) {
	if l.errors++; l.first == "" {
		l.first = err.Error()
	}
}

// gen is the generator at work on one job.
type gen struct {
	*loop
	job
	load
	file      bulk
	prefaced  int
	dialed    int
	ready     int // idle workload: tunnels that are open
	begun     int64
	measuring bool
	over      bool
	clients   map[*client]bool
	attack    *attack
}

// drive runs the job to its end.
func drive(j job, file bulk) (*load, error) {
	g, err := newGen(j, file)
	if err != nil {
		return nil, err
	}
	defer g.close()
	return &g.load, g.work()
}

// hold sets up the tunnels of an idle job and leaves them open.
func hold(j job, file bulk) (*gen, error) {
	j.begin, j.end = func() {}, func() {}
	g, err := newGen(j, file)
	if err != nil {
		return nil, err
	}
	if err := g.work(); err != nil {
		g.close()
		return nil, err
	}
	if g.ready < j.total {
		g.close()
		return nil, fmt.Errorf("%d of %d idle tunnels could be opened, first error: %s", g.ready, j.total, g.first)
	}
	return g, nil
}

// held counts the tunnels of an idle job that are still as they should be.
func (g *gen) held() int {
	before := g.errors
	if err := g.turn(0); err != nil {
		return 0
	}
	return g.ready - int(g.errors-before)
}

func newGen(j job, file bulk) (*gen, error) {
	l, err := newLoop()
	if err != nil {
		return nil, err
	}
	g := &gen{loop: l, job: j, file: file, clients: map[*client]bool{}, load: load{lat: make([]int64, 0, 1<<20), refused: tally{}}}
	g.attack = newAttack(g)
	return g, nil
}

func (g *gen) close() {
	for c := range g.clients {
		g.loop.close(c.fd)
	}
	g.attack.close()
	_ = syscall.Close(g.ep)
}

// work runs the job's connections through warming up and measuring.
func (g *gen) work() error {
	for range g.conns {
		g.dial()
	}
	start := now() + int64(g.warm)
	err := g.run(func() bool { return g.more(start) })
	if !g.over && err == nil {
		err = fmt.Errorf("gave up after %d errors, the first: %s", g.errors, g.first)
	}
	for c := range g.clients {
		if !g.bulk && g.over && c.step != stepIdle && now()-c.start > 2e9 {
			g.fail(fmt.Errorf("unit unanswered for 2 s (step %d)", c.step))
		}
	}
	slices.Sort(g.lat)
	return err
}

// more begins to measure at start, and ends it in time. An idle job is measured
// from the first tunnel to the last.
func (g *gen) more(start int64) bool {
	idle := g.total > 0
	switch t := now(); {
	case !g.measuring && (t >= start || idle):
		g.begin()
		g.begun = now()
		g.measuring, g.units, g.opened, g.lat = true, 0, 0, g.lat[:0]
	case g.measuring && !g.over && g.due(t-g.begun):
		g.secs = float64(t-g.begun) / 1e9
		g.over = true
		if idle {
			g.units = int64(g.ready)
		}
		g.end()
	}
	g.attack.turn()
	return !g.over && g.errors < tooMany
}

func (g *gen) due(passed int64) bool {
	if g.total > 0 {
		return passed >= idleLimit || g.ready+int(g.errors) >= g.total
	}
	return passed >= int64(g.measure)
}

// dial opens one connection.
func (g *gen) dial() {
	start := now()
	g.dialed++
	fd, err := connect(g.dialed, g.port)
	if err != nil {
		g.fail(err)
		return
	}
	c := &client{g: g, fd: fd, start: start, wants: evIn, fresh: true}
	if err := g.add(fd, evIn, c); err != nil {
		g.fail(err)
		_ = syscall.Close(fd)
		return
	}
	g.opened++
	g.clients[c] = true
	if len(g.preface) == 0 {
		c.next()
		return
	}
	c.out = g.preface[g.prefaced%len(g.preface)]
	g.prefaced++
	c.flush()
}

// quantile reads a quantile, in milliseconds, from sorted nanoseconds.
func quantile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]) / 1e6
}
