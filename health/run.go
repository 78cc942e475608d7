package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"viaduct/probe"
	"viaduct/verdict"
)

// Run asks the endpoints, and lets time do what it does, until ctx ends. All its
// goroutines, one for each endpoint and check, have ended when it returns. It
// runs once at a time.
func (b *Board) Run(ctx context.Context) {
	var asking sync.WaitGroup
	defer b.rest()
	defer asking.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		b.begin(ctx, &asking)
		now := b.now()
		if next, ok := b.Advance(now); ok {
			timer.Reset(next - now)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		case <-timer.C:
		}
	}
}

// begin starts the checks that nobody runs yet.
func (b *Board) begin(ctx context.Context, asking *sync.WaitGroup) {
	b.mu.Lock()
	defer b.unlock()
	if !b.idle {
		return
	}
	b.idle = false
	for _, e := range b.order {
		for _, c := range e.checks {
			if c.running {
				continue
			}
			own, stop := context.WithCancel(ctx)
			c.running, c.stop = true, stop
			asking.Go(func() { b.attend(own, c) })
		}
	}
}

// rest says that no check is running.
func (b *Board) rest() {
	b.mu.Lock()
	defer b.unlock()
	for _, e := range b.order {
		for _, c := range e.checks {
			if c.stop != nil {
				c.stop()
			}
			c.running, c.stop = false, nil
			c.Watched, c.confirm = false, 0
		}
	}
	b.idle = true
}

// attend is the goroutine of one check of one endpoint.
func (b *Board) attend(ctx context.Context, c *check) {
	timer := time.NewTimer(b.pause(c, true))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.poke:
			timer.Reset(b.pause(c, true))
		case <-timer.C:
			b.ask(ctx, c)
			if ctx.Err() != nil {
				return
			}
			timer.Reset(b.pause(c, false))
		}
	}
}

// pause is the time until the next check: an interval, and within all of it
// after a start or a reload, as what starts together must not ask together.
func (b *Board) pause(c *check, whole bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.o.Interval
	if (c.Restless() || c.ended) && !c.mute && (c.seen || !whole) {
		d = b.o.Fast
	}
	if whole {
		return time.Duration(float64(d) * b.unit())
	}
	return time.Duration(float64(d) * (1 + b.o.Jitter*(2*b.unit()-1)))
}

// unit is a random number in [0,1).
func (b *Board) unit() float64 { return float64(b.o.Rand()>>11) / (1 << 53) }

// ask asks once, or watches as long as that goes.
func (b *Board) ask(ctx context.Context, c *check) {
	b.mu.Lock()
	asker, at, timeout, began := c.asker, c.of.member.At, b.o.Timeout, b.now()
	w := watcher(asker)
	if c.noWatch {
		w = nil
	}
	b.mu.Unlock()
	if w == nil {
		r := run(ctx, timeout, asker, at)
		if ctx.Err() == nil { // else it was we who ended it
			b.heard(c, began, &r, false)
		}
		return
	}
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first, spoke := time.AfterFunc(timeout, func() { cancel(errNoWord) }), false
	defer first.Stop()
	err := watch(within, w, at, func(r probe.Result) {
		if spoke = first.Stop() || spoke; spoke && ctx.Err() == nil {
			b.heard(c, b.now(), &r, true)
		}
	})
	if ctx.Err() == nil {
		b.unwatch(c, cmp.Or(context.Cause(within), err), spoke)
	}
}

// run asks once within a timeout. A check that panics has failed, and takes
// nobody with it.
func run(ctx context.Context, timeout time.Duration, c Checker, at probe.Endpoint) (r probe.Result) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r = failure(fmt.Errorf("the check panicked: %v", p))
		}
	}()
	return c.Run(ctx, at)
}

func watch(ctx context.Context, w Watcher, at probe.Endpoint, tell func(probe.Result)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked: %v", p)
		}
	}()
	return w.WatchRun(ctx, at, tell)
}

func failure(err error) probe.Result { return probe.Result{Err: err, Weight: -1, Limit: -1} }

var (
	// errWatchEnded is of a watch that ends without a reason.
	errWatchEnded = errors.New("the watch ended")
	errNoWord     = errors.New("the watch says nothing")
)

// unwatch heeds the end of a watch: a failure, but for an endpoint that can be
// asked instead, and for one that has spoken. Servers end connections that are
// old; whether it is more than that the next watch tells.
func (b *Board) unwatch(c *check, err error, spoke bool) {
	b.mu.Lock()
	none := errors.Is(err, probe.ErrUnimplemented)
	c.Watched, c.confirm, c.ended, c.noWatch = false, 0, spoke, c.noWatch || none
	now := b.now()
	b.mu.Unlock()
	if spoke || none {
		return
	}
	r := failure(cmp.Or(err, errWatchEnded))
	b.heard(c, now, &r, false)
}

// heard takes an answer in.
func (b *Board) heard(c *check, began time.Duration, r *probe.Result, watched bool) {
	b.mu.Lock()
	defer b.unlock()
	if c.replaced {
		return
	}
	c.last, c.lastAt = *r, time.Now()
	if c.mute = c.void(r); c.mute {
		return
	}
	c.seen, c.Watched, c.ended = true, watched, false
	b.count(c, began, r)
}

// count lets an answer count, and draws the consequences for the endpoint.
func (b *Board) count(c *check, began time.Duration, r *probe.Result) {
	e, now := c.of, b.now()
	before := e.facts
	c.Take(&b.o.Thresholds, now, r, e.facts.After(began))
	c.confirm = 0
	if c.Watched && c.State == verdict.Rising { // no other word will come while it stays so
		c.confirm = now + b.o.Fast
		b.stir()
	}
	e.gather(now)
	if e.facts != before || c.confirm != 0 {
		b.settle(e, now, before, c.Evidence(r))
	}
	b.endEarly(e, now)
}

// Advance lets time do what is due by now: ejections end, trials begin, errors
// are forgiven, and endpoints that a sick registry has lost are gone. It says when there is more
// to do, and whether there is. Run calls it; without Run, its caller does.
func (b *Board) Advance(now time.Duration) (next time.Duration, some bool) {
	b.mu.Lock()
	defer b.unlock()
	var all []*Endpoint
	for e := range b.timed {
		if due, ok := e.due(); ok && due <= now {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *Endpoint) int { return strings.Compare(a.id, b.id) })
	for _, e := range all { // in order, so that chance is the seed's alone
		for due, ok := e.due(); ok && due <= now; due, ok = e.due() {
			b.tick(e, now)
		}
	}
	for e := range b.timed {
		if due, ok := e.due(); ok && (!some || due < next) {
			next, some = due, true
		}
	}
	return next, some
}

// due is when time changes an endpoint next.
func (e *Endpoint) due() (at time.Duration, some bool) {
	earlier := func(t time.Duration, is bool) {
		if is && (!some || t < at) {
			at, some = t, true
		}
	}
	earlier(e.facts.Ends())
	earlier(e.facts.Again())
	earlier(e.facts.Heals())
	earlier(e.missingTo, e.facts.Discovery == verdict.Missing && e.missingTo != 0)
	for _, c := range e.checks {
		earlier(c.confirm, c.confirm != 0)
	}
	return at, some
}

// schedule keeps the list of those that time changes.
func (b *Board) schedule(e *Endpoint) {
	if _, some := e.due(); !some {
		delete(b.timed, e)
		return
	}
	b.timed[e] = struct{}{}
	b.stir()
}

// tick does one thing that is due.
func (b *Board) tick(e *Endpoint, now time.Duration) {
	before := e.facts
	for _, c := range e.checks {
		if c.confirm != 0 && c.confirm <= now {
			b.count(c, now, &probe.Result{Weight: -1, Limit: -1, Note: "the watch is quiet"})
			return
		}
	}
	if e.facts.Discovery == verdict.Missing && e.missingTo != 0 && e.missingTo <= now {
		e.facts.Discovery = verdict.Absent
		b.settle(e, now, before, verdict.Evidence{Cause: "not in the list for too long"})
		return
	}
	if at, some := e.facts.Ends(); some && at <= now {
		b.release(e, now, "its time is over")
		return
	}
	if at, some := e.facts.Again(); some && at <= now {
		b.retry(e, now)
		return
	}
	if at, some := e.facts.Heals(); some && at <= now {
		e.facts.Heal(&b.o.Ejection)
		b.settle(e, now, before, verdict.Evidence{})
	}
}
