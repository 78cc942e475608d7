package pool

import (
	"errors"
	"time"

	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/parent"
	"viaduct/passage"
	"viaduct/rest"
)

// leastRest is how long one rests at least that does not know us.
const leastRest = 30 * time.Second

// lose draws the consequences of a try that failed, and ends it.
func (r *Request) lose(a attempt, now time.Duration, err error) {
	if r.free = a.e.Unconnected(err); !r.free {
		r.err, r.heard = err, true
	} else if r.away++; !r.heard { // else what was said before tells more
		r.err = err
	}
	rep := health.Report{Fault: fault.Classify(err)}
	outcome, party := lb.Ignored, a.e.Blame(err)
	r.blamed = false
	switch {
	case passage.IsCanceled(err):
		rep.Blame = health.ByClient
	case party == parent.Parent:
		rep.Blame, outcome, r.blamed = health.ByEndpoint, lb.Failed, true
	case party == parent.Us:
		rep.Blame, r.denied = health.ByUs, true
		r.pool.shun(a.e, now, err)
	default:
		rep.Blame = health.ByTarget
		r.doubt(a, now, err, party == parent.Unclear)
	}
	r.pool.release(a, now, now-a.began, outcome, rep)
}

// doubt keeps in mind that nobody knows whose fault it was, until another endpoint
// answers.
func (r *Request) doubt(a attempt, now time.Duration, err error, silent bool) {
	r.denied = r.denied || !silent && !a.e.Direct()
	r.doubts = append(r.doubts, doubt{a, now - a.began, silent, passage.IsDenial(err)})
}

// shun lets an endpoint rest for all destinations that does not take our login when it
// is asked for a tunnel, whoever wants that. It says nothing of its health.
func (p *Pool) shun(e *Endpoint, now time.Duration, err error) {
	said, ok := errors.AsType[*parent.RefusedError](err)
	if !ok || fault.Classify(err) != fault.ConfigurationError || said.Status == 400 || said.Status == 405 {
		return
	}
	why := err.Error()
	e.why.Store(&why)
	p.rests.Rest(rest.Destination{}, e, now, leastRest)
}

// confirm is for a doubt when another endpoint has answered the same request.
func (p *Pool) confirm(d *doubt, to rest.Destination, now time.Duration) {
	if d.silent {
		d.node.Observe(now, d.took, lb.Failed)
	}
	if to == (rest.Destination{}) {
		return
	}
	p.rests.Rest(to, d.e, now, 0)
	if !d.denied && !d.e.Direct() && d.e.doubts.add(to) {
		d.e.failures.Add(1)
		p.report(d.attempt, now, health.Report{Blame: health.ByEndpoint})
	}
}

// release ends an attempt: what it says of its endpoint is told, and what it had
// is given back.
func (p *Pool) release(a attempt, now, took time.Duration, outcome lb.Outcome, rep health.Report) {
	if outcome == lb.Failed {
		a.e.failures.Add(1)
	}
	a.node.Observe(now, took, outcome)
	p.report(a, now, rep)
	if a.retry {
		p.circuit.Release(overload.Retries)
	}
	a.node.End()
}

func (p *Pool) report(a attempt, now time.Duration, rep health.Report) {
	if rep.Lived == 0 {
		rep.Lived = now - a.began
	}
	if h := a.e.handle.Load(); h != nil {
		h.Report(now, rep)
	}
}

// excuse keeps from direct what its destinations do: it has no parent to blame.
func (e *Endpoint) excuse(rep *health.Report) {
	if e.Direct() && rep.Blame <= health.ByEndpoint && outcomeOf(rep) != lb.Served {
		rep.Blame = health.ByTarget
	}
	if e.Direct() {
		rep.Tunnel = false // one that ended at once, either
	}
}

// outcomeOf is what a report says to the balancer. The board judges by itself.
func outcomeOf(rep *health.Report) lb.Outcome {
	switch {
	case rep.Blame == health.ByEndpoint:
		return lb.Failed
	case rep.Blame != health.Unsaid:
		return lb.Ignored
	case rep.Fault != fault.None:
		if passage.IsOurs(rep.Fault) {
			return lb.Ignored
		}
		return lb.Failed
	case rep.Status == 502, rep.Status == 503, rep.Status == 504:
		return lb.Failed
	}
	return lb.Served
}
