package pool

import (
	"context"
	"sync"
	"time"

	"viaduct/fault"
	"viaduct/health"
)

// A parent whose process hangs still takes connections, its kernel does, and looks
// like one behind which an origin is slow. Those who wait for an answer have it
// asked whether it still speaks.

const (
	lookEach  = time.Second          // how often it is looked who waits, while anybody does
	lookLeast = 5 * time.Millisecond // and how often at the most
	calm      = 10                   // looks without anybody until it is looked no more
	answerIn  = 2 * time.Second      // what a question may take, and no longer than a dial
	believed  = 10 * time.Second     // how long nobody is asked again who has answered
)

// waits are the requests that wait for an answer of one endpoint, the one that
// waits longest first.
type waits struct {
	mu          sync.Mutex // guards what follows, and the places in the line
	first, last *Request
	heard       time.Duration // when the endpoint has last answered anything
	again       time.Duration // it is not asked before
	asked       bool          // it is being asked
}

// place is that of a request in the line.
type place struct {
	before, after *Request
	in            bool
	since         time.Duration
	lost          func()
	told          bool // that its answer will not come
}

// Await says that the endpoint is sent the request now, and that its answer is waited
// for. Should the endpoint say nothing at all any more, lost is called, from another
// goroutine: it must neither wait nor ask the pool. It is not called any more once
// Answered, Failed, End, Take or Awaited have returned.
func (r *Request) Await(now time.Duration, lost func()) {
	r.unwait(0)
	e := r.held.e
	r.place.told = false
	if e == nil || e.Direct() {
		return
	}
	r.on = e
	w := &e.waits
	w.mu.Lock()
	r.place = place{before: w.last, in: true, since: max(now, r.held.began), lost: lost}
	if w.last == nil {
		w.first = r
	} else {
		w.last.place.after = r
	}
	w.last = r
	w.mu.Unlock()
	if p := r.pool; !p.looking.Load() && p.looking.CompareAndSwap(false, true) {
		p.stir()
	}
}

// Awaited ends the wait, and tells whether lost was called.
func (r *Request) Awaited() bool {
	r.unwait(0)
	return r.place.told
}

// unwait ends the wait, if there is one. heard is when the answer came; 0 is not.
func (r *Request) unwait(heard time.Duration) {
	if r.on == nil {
		return
	}
	w := &r.on.waits
	w.mu.Lock()
	if r.place.in {
		w.leave(r)
	}
	w.heard = max(w.heard, heard)
	w.mu.Unlock()
	r.on = nil
}

// hear says that an endpoint has answered.
func (w *waits) hear(now time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = max(w.heard, now)
}

// leave takes a request out of the line, under the lock.
func (w *waits) leave(r *Request) {
	at := &r.place
	if at.before == nil {
		w.first = at.after
	} else {
		at.before.place.after = at.after
	}
	if at.after == nil {
		w.last = at.before
	} else {
		at.after.place.before = at.before
	}
	*at = place{told: at.told}
}

// due is when an endpoint has said nothing for too long to those who wait, and
// whether anybody does. If that is now, it is to be asked.
func (w *waits) due(now time.Duration) (a Ask, at time.Duration, some bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.first
	if r == nil {
		return a, 0, false
	}
	if w.asked {
		return a, now + lookEach, true
	}
	at = max(max(r.place.since, w.heard)+r.ask.DialTimeout/2, w.again)
	w.asked = at <= now
	return r.ask, at, true
}

// over is the end of a question. It tells whether the endpoint is to be given up:
// not if it has said anything meanwhile.
func (w *waits) over(began, now time.Duration, silent bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = false
	if silent && w.heard < began {
		return true
	}
	w.again = now + believed
	return false
}

// giveUp tells all who wait that no answer will come.
func (w *waits) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.first != nil {
		r := w.first
		lost := r.place.lost
		w.leave(r)
		r.place.told = true
		lost()
	}
}

// stir tells listen that somebody waits.
func (p *Pool) stir() {
	select {
	case p.waiting <- struct{}{}:
	default:
	}
}

// listen is the goroutine that finds endpoints which say nothing any more.
func (p *Pool) listen(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for quiet := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-p.waiting:
		case <-timer.C:
		}
		next, some := p.look(ctx, &asking)
		if quiet++; some {
			quiet = 0
		}
		if quiet >= calm {
			p.looking.Store(false) // who waits from here on says so
			next, some = p.look(ctx, &asking)
			if !some {
				continue
			}
			p.looking.Store(true)
		}
		timer.Reset(next)
	}
}

// look has those asked who say nothing, and says when to look again, and whether
// anybody waits.
func (p *Pool) look(ctx context.Context, asking *sync.WaitGroup) (next time.Duration, some bool) {
	next = lookEach
	for _, e := range p.rules.Load().endpoints {
		now := p.now()
		a, due, waits := e.waits.due(now)
		some = some || waits
		switch {
		case !waits:
		case due > now:
			next = min(next, due-now)
		default:
			asking.Go(func() { p.ask(ctx, e, &a) })
		}
	}
	return max(next, lookLeast), some
}

// ask is the goroutine that asks an endpoint whether it still speaks. One that does
// not has failed as often as it takes to be left, and nobody waits for it any more.
func (p *Pool) ask(ctx context.Context, e *Endpoint, a *Ask) {
	began := p.now()
	ctx, cancel := context.WithTimeout(ctx, min(a.DialTimeout, answerIn))
	defer cancel()
	silent := e.Silent(ctx, a.From, a.Via)
	now := p.now()
	if !e.waits.over(began, now, silent) {
		return
	}
	for range p.rules.Load().strikes {
		p.report(attempt{e: e, began: now}, now, health.Report{Blame: health.ByEndpoint, Fault: fault.ConnectionReadTimeout})
	}
	e.waits.giveUp()
}
