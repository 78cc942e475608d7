package overload

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// ThrottleOptions say when an upstream is spared. The formula and K are those of
// Google's SRE book ("Handling Overload"); Window and After those of Kratos,
// because the two minutes of the book are also how long it goes on refusing
// after the upstream has recovered.
type ThrottleOptions struct {
	K      float64       // requests that are sent for each that is accepted; 0 is 2, less than 1 is 1, +Inf refuses none
	Window time.Duration // what is looked back on; 0 is 3 s
	After  int           // fewer requests in it say nothing; 0 is 100
	Probe  time.Duration // one request in this time is sent, come what may; 0 is 100 ms
	Rand   func() uint64 // safe for concurrent use if the Throttle is used so; nil is math/rand/v2's
}

func (o ThrottleOptions) filled() ThrottleOptions {
	if !(o.K > 0) {
		o.K = 2
	}
	o.K = max(o.K, 1) // less would refuse what is accepted
	if o.Window <= 0 {
		o.Window = 3 * time.Second
	}
	if o.After <= 0 {
		o.After = 100
	}
	if o.Probe <= 0 {
		o.Probe = 100 * time.Millisecond
	}
	if o.Rand == nil {
		o.Rand = rand.Uint64
	}
	return o
}

// A Throttle refuses on this side what the upstream would refuse on its own,
// where refusing costs as much as serving. Of a window's requests and of those
// that were accepted, it refuses the next with a chance of
//
//	max(0, (requests − K × accepted) / (requests + 1))
//
// so that an upstream which can do so much is sent K times as much at the most,
// and one that accepts half or more (K 2) is sent everything. It answers for an
// upstream that is overloaded; an endpoint that is broken is for the health
// checks to find.
//
// A request counts when it ends. To count it when it is sent, as the book does,
// would take a slow upstream for one that refuses.
type Throttle struct {
	o                  ThrottleOptions
	requests, accepted window
	probed             atomic.Int64 // when a request was sent against the odds
	refused            atomic.Uint64
}

// NewThrottle makes a Throttle.
func NewThrottle(o ThrottleOptions) *Throttle { return &Throttle{o: o} }

// Admit tells whether a request may be sent. One that is refused is over; for
// one that is sent, call Report at its end.
func (t *Throttle) Admit(now time.Duration) bool {
	o := t.o.filled()
	p := t.chance(&o, now)
	if p <= 0 || float64(o.Rand()>>11)/(1<<53) >= p || t.probe(now, o.Probe) {
		return true
	}
	t.requests.add(step(now, o.Window)) // so that more are refused the more are asked for
	t.refused.Add(1)
	return false
}

// probe tells whether it is time for a request that finds out whether the
// upstream is well again. The formula sends one, too, but the later the more
// requests there are.
func (t *Throttle) probe(now, every time.Duration) bool {
	last := t.probed.Load()
	return int64(now)-last >= int64(every) && t.probed.CompareAndSwap(last, int64(now))
}

// Report tells how a request ended. The upstream did not accept it if it said so
// (429, 503), or could not even say it: refused the connection, reset it, or let
// the time pass. Any other answer was accepted, an error too. Do not report what
// says nothing of the upstream: the client left, we had no room.
func (t *Throttle) Report(now time.Duration, accepted bool) {
	n := step(now, t.o.filled().Window)
	t.requests.add(n) // first: no more are accepted than were asked for
	if accepted {
		t.accepted.add(n)
	}
}

// Chance is how likely a request is refused now, from 0 to 1.
func (t *Throttle) Chance(now time.Duration) float64 {
	o := t.o.filled()
	return t.chance(&o, now)
}

func (t *Throttle) chance(o *ThrottleOptions, now time.Duration) float64 {
	n := step(now, o.Window)
	accepted := float64(t.accepted.sum(n)) // first, for the same reason
	requests := t.requests.sum(n)
	if requests < int64(o.After) || math.IsInf(o.K, 1) {
		return 0
	}
	return max(0, (float64(requests)-o.K*accepted)/float64(requests+1))
}

// Refused is how many requests were refused so far.
func (t *Throttle) Refused() uint64 { return t.refused.Load() }
