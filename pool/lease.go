package pool

import (
	"strings"
	"time"

	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/rest"
)

// Take ends the request and moves what it has to a tunnel. Without an endpoint
// it is End, and the Lease is of nothing.
func (r *Request) Take() Lease {
	a := r.held
	if a.e == nil || !r.begun {
		r.End(r.began, health.Report{Blame: health.ByUs})
		return Lease{}
	}
	at := r.answered
	if at == 0 {
		at = r.began
	} else {
		a.node.Observe(at, at-a.began, lb.Served)
	}
	if a.retry { // the work of a retry is to open the tunnel
		a.retry = false
		r.pool.circuit.Release(overload.Retries)
	}
	if r.rules.throttle != nil {
		r.rules.throttle.Report(at, true)
	}
	if r.graded {
		r.rules.gradient.Release(at, 0, overload.Ignored)
	}
	if r.answered != 0 {
		r.pool.report(a, at, health.Report{Opened: true})
	}
	l := Lease{pool: r.pool, attempt: a, to: r.ask.To}
	l.to.Host = strings.Clone(l.to.Host) // it may stand in the request's buffer
	r.leave()
	return l
}

// Lease is what a tunnel has of a pool. The zero Lease has nothing.
type Lease struct {
	pool *Pool
	attempt
	to rest.Destination
}

// End says that the tunnel is over. It does nothing the second time. That it came
// about was to the credit of its endpoint long ago: at its end it can do no more
// than harm.
func (l *Lease) End(now time.Duration, rep health.Report) {
	if l.pool == nil {
		return
	}
	p, a, to := l.pool, l.attempt, l.to
	*l = Lease{}
	rep.Tunnel = true
	a.e.excuse(&rep)
	switch {
	case rep.Received > 0:
		a.e.blanks.clear()
	case rep.Blame == health.Unsaid && !a.e.blanks.add(to):
		rep.Blame = health.ByTarget // one destination that says nothing, or few
	}
	failed := outcomeOf(&rep) == lb.Failed
	if failed {
		a.e.failures.Add(1)
	}
	if failed || rep.Received == 0 {
		p.report(a, now, rep)
	}
	a.node.End()
	p.circuit.Release(overload.Requests)
}

// account tells the guards how the request ended.
func (r *Request) account(now time.Duration, rep *health.Report) {
	if r.rules.throttle == nil && !r.graded {
		return
	}
	said, accepted := r.accepted(rep)
	if t := r.rules.throttle; t != nil && said {
		t.Report(now, accepted)
	}
	if !r.graded {
		return
	}
	switch {
	case said && !accepted:
		r.rules.gradient.Release(now, now-r.began, overload.Dropped)
	case said && r.answered != 0:
		r.rules.gradient.Release(now, r.answered-r.began, overload.Served)
	default:
		r.rules.gradient.Release(now, 0, overload.Ignored)
	}
}

// accepted tells whether the pool took the work on, and whether the end of the
// request says anything of that.
func (r *Request) accepted(rep *health.Report) (said, accepted bool) {
	if r.held.e == nil {
		return r.err != nil && r.blamed, !isOverload(fault.Classify(r.err), 0)
	}
	if rep.Blame == health.ByClient || rep.Blame == health.ByUs {
		return false, false
	}
	return true, !isOverload(rep.Fault, rep.Status)
}

// isOverload tells what stands for too much work: it was said, or nothing was.
func isOverload(k fault.Kind, status int) bool {
	switch k {
	case fault.ConnectionRefused, fault.ConnectionTerminated, fault.ConnectionTimeout, fault.ConnectionReadTimeout,
		fault.ConnectionWriteTimeout, fault.ConnectionLimitReached, fault.ResponseTimeout:
		return true
	}
	return status == 429 || status == 503
}
