package pool

import (
	"errors"
	"time"

	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/rest"
	"viaduct/upstream"
)

// Ask is what a request says.
type Ask struct {
	Key         uint64
	Keyed       bool             // there is a key
	To          rest.Destination // zero: it is not known, and nothing is learned of it
	DialTimeout time.Duration    // of one try to connect; all end within 1.5 times as much. 0 is 10 s
	From        *upstream.Source // where the request leaves from; nil: the system's choice
	Via         string           // what CONNECT says of us
}

// Request is a request on its way through a pool. The zero Request is none; its
// owner keeps it and begins it anew, which then allocates nothing. One goroutine
// uses it at a time, and it must not be copied.
type Request struct {
	pool  *Pool
	rules *rules
	ask   Ask
	look  lb.Ask

	began    time.Duration
	answered time.Duration // when the head came; 0 is not yet
	begun    bool          // it has its place among the pool's requests
	graded   bool          // and one of the gradient
	paid     bool          // another try may be made: it has its place among the circuit's retries
	free     bool          // the next try is no load for anybody: who had the last could not be connected to

	held   attempt
	tries  int
	away   int   // of those, how many could not be connected to
	err    error // of the last try, or of the last one that was heard
	heard  bool  // a try ended with more than that an endpoint could not be connected to
	blamed bool  // the last try failed by its endpoint's fault
	denied bool  // a parent has said no, or what is behind it: nobody else is to be asked in its stead but another parent

	on    *Endpoint // whose answer is waited for; nil: nobody's
	place place     // in the line of those who wait

	tried   []*lb.Node
	doubts  []doubt
	resting []*Endpoint // room to look for them
	avoid   []*lb.Node  // room for tried and resting
}

// attempt is an endpoint that was given the request.
type attempt struct {
	e     *Endpoint
	node  *lb.Node
	began time.Duration
	retry bool // it has a place among the circuit's retries
}

// doubt is an attempt that failed without anybody knowing whose fault it was.
type doubt struct {
	attempt
	took   time.Duration
	silent bool // it did not even say no
	denied bool // it has rules of its own
}

// ErrWait says that all endpoints are full, and that Open will wait for one.
var ErrWait = errors.New("all endpoints are full")

// Begin begins a request: the guards are asked whether it may. The error is a
// *fault.Error; without one, End or Take must follow.
func (r *Request) Begin(p *Pool, a Ask, now time.Duration) error {
	rules := p.rules.Load()
	r.pool, r.rules, r.ask, r.began, r.answered = p, rules, a, now, 0
	if r.ask.DialTimeout <= 0 {
		r.ask.DialTimeout = 10 * time.Second
	}
	r.look = lb.Ask{Key: a.Key, Keyed: a.Keyed}
	r.held, r.tries, r.away, r.err, r.heard, r.paid, r.free, r.graded = attempt{}, 0, 0, nil, false, false, false, false
	r.blamed, r.denied = false, false
	r.tried, r.doubts = r.tried[:0], r.doubts[:0]
	if !p.circuit.Acquire(overload.Requests) {
		return p.refuse(limited)
	}
	rules.budget.Request(now)
	if rules.throttle != nil && !rules.throttle.Admit(now) {
		p.circuit.Release(overload.Requests)
		return p.refuse(throttled)
	}
	if rules.gradient != nil {
		if !rules.gradient.Acquire() {
			p.circuit.Release(overload.Requests)
			return p.refuse(overloaded)
		}
		r.graded = true
	}
	r.begun = true
	return nil
}

// Pick gives the request its first endpoint, without waiting: it fails with
// ErrWait when it would have to. Other errors are those of Open.
func (r *Request) Pick(now time.Duration) (*Endpoint, error) {
	if how := r.pick(now); r.held.e == nil {
		if r.queues(how) {
			return nil, ErrWait
		}
		return nil, r.none(how)
	}
	return r.held.e, nil
}

// pick has the request hold an endpoint, or says why there is none.
func (r *Request) pick(now time.Duration) lb.How {
	if r.rules.queue && r.pool.nodes.Waiting() > 0 {
		return lb.Full // they were here first
	}
	n, how := r.choose(now)
	if n != nil {
		r.hold(n, now)
	}
	return how
}

// queues tells whether a request without an endpoint is to wait for one.
func (r *Request) queues(how lb.How) bool { return how == lb.Full && r.rules.queue }

// choose finds an endpoint that has not failed the request and does not rest for
// its destination; one that rests, where there is no other. What stands behind the
// parents as the last resort comes after those, too, and not at all when a parent
// has said no: nobody walks round that.
func (r *Request) choose(now time.Duration) (*lb.Node, lb.How) {
	avoids := r.seek(now)
	n, how := r.pool.nodes.Pick(&r.look)
	if n == nil && avoids && !r.queues(how) {
		r.look.Tried = r.avoiding(nil)
		n, how = r.pool.nodes.Pick(&r.look)
	}
	if n == nil && len(r.rules.resorts) > 0 && !r.denied && !r.queues(how) {
		r.look.Tried = r.tried
		n, how = r.pool.nodes.Pick(&r.look)
	}
	return n, how
}

// seek makes the question for the balancer, and tells whether it is to avoid
// endpoints that rest.
func (r *Request) seek(now time.Duration) bool {
	r.look.Now = now
	r.resting = r.pool.rests.Resting(r.ask.To, now, r.resting[:0])
	r.look.Tried = r.avoiding(r.resting)
	return len(r.resting) > 0
}

// avoiding lists what was tried, the last resort, and those that rest.
func (r *Request) avoiding(resting []*Endpoint) []*lb.Node {
	if len(resting)+len(r.rules.resorts) == 0 {
		return r.tried
	}
	r.avoid = append(r.avoid[:0], r.tried...)
	for _, list := range [...][]*Endpoint{r.rules.resorts, resting} {
		for _, e := range list {
			if n := e.node.Load(); n != nil {
				r.avoid = append(r.avoid, n)
			}
		}
	}
	return r.avoid
}

// Prefer has the first Pick of the request give it this endpoint, if that takes what
// belongs to it.
func (r *Request) Prefer(e *Endpoint) { r.look.Sticky = e.node.Load() }

// hold gives the request to an endpoint that was chosen.
func (r *Request) hold(n *lb.Node, now time.Duration) {
	r.look.Sticky = nil
	r.held = attempt{e: n.Of().(*Endpoint), node: n, began: now, retry: r.paid}
	r.paid, r.free = false, false
	r.tries++
	r.tried = append(r.tried, n)
}

// none is the error of a request that no endpoint takes. What one of them said
// tells more than that there is no other.
func (r *Request) none(how lb.How) error {
	switch {
	case r.heard:
		return r.err
	case r.err != nil:
		return r.pool.unavailable(unreached, r.err)
	}
	return r.pool.unavailable(how.String(), nil)
}

// Endpoint is the one that has the request now, nil for none.
func (r *Request) Endpoint() *Endpoint { return r.held.e }

// Last is the one that was given the request last, nil for none.
func (r *Request) Last() *Endpoint {
	if len(r.tried) == 0 || !r.begun {
		return nil
	}
	return r.tried[len(r.tried)-1].Of().(*Endpoint)
}

// Tries is how many endpoints have been given the request.
func (r *Request) Tries() int { return r.tries }

// mostTries are made for one request, however many endpoints there are.
const mostTries = 16

// MayRetry tells whether another endpoint may be tried, and counts it if so:
// then Open should follow. The budget bounds what is said to somebody: after one
// that could not be connected to, the next is asked what that one was not.
func (r *Request) MayRetry(now time.Duration) bool {
	switch {
	case r.paid:
		return true
	case !r.begun, r.rules.retries == 0, r.tries-r.away > r.rules.retries, r.tries >= min(len(r.rules.endpoints), mostTries):
		return false
	case !r.pool.circuit.Acquire(overload.Retries):
		r.pool.tally.refused.Add(1)
		return false
	case !r.free && !r.rules.budget.Take(now):
		r.pool.circuit.Release(overload.Retries)
		r.pool.tally.refused.Add(1)
		return false
	}
	r.pool.tally.retries.Add(1)
	r.paid = true
	return true
}

// Answered says that the answer's head came, or that the tunnel is open. What
// failed before for no known reason is at fault now, as far as this destination
// is concerned.
func (r *Request) Answered(now time.Duration) {
	if r.answered == 0 {
		r.answered = now
	}
	e := r.held.e
	if e == nil {
		return
	}
	if r.on != nil {
		r.unwait(now)
	} else if !e.Direct() {
		e.waits.hear(now)
	}
	r.pool.rests.Well(r.ask.To, e, now)
	e.doubts.clear()
	for i := range r.doubts {
		if d := &r.doubts[i]; d.e != e {
			r.pool.confirm(d, r.ask.To, now)
		}
	}
	clear(r.doubts)
	r.doubts = r.doubts[:0]
}

// Failed says that the endpoint failed what was sent to it. Open may follow.
func (r *Request) Failed(now time.Duration, err error) {
	r.unwait(0)
	a := r.held
	if a.e == nil {
		return
	}
	r.held = attempt{}
	r.lose(a, now, err)
}

// Doubted says that what was sent failed, and that this may come from behind the
// endpoint: an answer that says no, the end of a connection through a tunnel. Open
// may follow.
func (r *Request) Doubted(now time.Duration, err error) {
	r.unwait(0)
	a := r.held
	if a.e == nil {
		return
	}
	r.held = attempt{}
	r.err, r.heard, r.blamed, r.free, r.denied = err, true, false, false, true
	r.doubt(a, now, err, false)
	r.pool.release(a, now, now-a.began, lb.Ignored, health.Report{Fault: fault.Classify(err), Blame: health.ByTarget})
}

// End ends the request, whatever has become of it. The report is of the endpoint
// that has it; without one, it says nothing.
func (r *Request) End(now time.Duration, rep health.Report) {
	if !r.begun {
		return
	}
	a := r.held
	r.account(now, &rep)
	r.leave()
	if a.e != nil {
		a.e.excuse(&rep)
		outcome, took := outcomeOf(&rep), now-a.began
		if r.answered != 0 {
			took = r.answered - a.began
		} else if outcome == lb.Served {
			outcome = lb.Ignored // it had no time to answer
		}
		r.pool.release(a, now, took, outcome, rep)
	}
	r.pool.circuit.Release(overload.Requests)
}

// leave gives back what only a request has that is not a tunnel, and lets go of
// what it knows: its owner may keep it for long.
func (r *Request) leave() {
	r.unwait(0)
	r.unpay()
	r.begun, r.held, r.err = false, attempt{}, nil
	r.look = lb.Ask{}
	r.ask = Ask{}
	clear(r.tried)
	clear(r.doubts)
	clear(r.resting[:cap(r.resting)])
	clear(r.avoid[:cap(r.avoid)])
}

// unpay gives back what MayRetry took of the circuit for a try that nobody is
// there for.
func (r *Request) unpay() {
	if r.paid {
		r.paid = false
		r.pool.circuit.Release(overload.Retries)
	}
}
