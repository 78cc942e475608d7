package pool

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/passage"
)

// most is how many tries of one request are under way at a time.
const most = 2

// Open gives the request to one endpoint after another until try succeeds: first
// to the one that has it, if any. When a try takes long, the next joins it; the
// first to succeed wins. A try ends with its context, at the latest, and is
// cancelled when it is of no more use; what it brings then is dropped. Waiting
// for a place, where the pool has a queue, is part of it.
//
// The error is that of the last try, or a *fault.Error when there is no (other)
// way out; it wraps that of ctx when it has ended.
func Open[T any](ctx context.Context, r *Request, try func(context.Context, *Endpoint) (T, error), drop func(T)) (T, *Endpoint, error) {
	var none T
	if !r.pool.circuit.Acquire(overload.Pending) {
		return none, nil, r.pool.refuse(pending)
	}
	defer r.pool.circuit.Release(overload.Pending)
	o := &opening[T]{r: r, try: try, drop: drop, results: make(chan *flight[T], most)}
	o.join = time.NewTimer(r.patience()) // restarted with each try
	defer o.join.Stop()
	if err := o.first(ctx); err != nil {
		return none, nil, err
	}
	defer o.abandon()
	return o.run(ctx)
}

// patience is how long a try is waited for alone.
func (r *Request) patience() time.Duration {
	if r.rules.hedge > 0 {
		return r.rules.hedge
	}
	return r.ask.DialTimeout / 2
}

// opening is an Open while it goes on. Its flights are at most two.
type opening[T any] struct {
	r       *Request
	try     func(context.Context, *Endpoint) (T, error)
	drop    func(T)
	end     time.Duration // when all tries end
	join    *time.Timer
	flights []*flight[T]
	results chan *flight[T] // has room for all
}

// flight is one try under way.
type flight[T any] struct {
	attempt
	started time.Duration
	cancel  context.CancelFunc
	over    atomic.Bool // who sets it first has to care for the result: the try, or who abandons it
	got     T
	err     error
	panics  any
}

// first starts the first try, on the endpoint that has the request or on one
// that is waited for.
func (o *opening[T]) first(ctx context.Context) error {
	r := o.r
	if r.held.e == nil {
		if how := o.next(ctx, true); r.held.e == nil {
			return o.none(ctx, how)
		}
	}
	now := r.pool.now()
	o.end = now + r.ask.DialTimeout*3/2
	o.start(ctx, now)
	return nil
}

// run waits for a try that succeeds, and starts others.
func (o *opening[T]) run(ctx context.Context) (T, *Endpoint, error) {
	var none T
	// A try heeds its context, and the error it then ends with tells more than
	// that it was late. For one that does not, there is this.
	late := time.NewTimer(o.end - o.r.pool.now() + o.r.ask.DialTimeout/16)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return none, nil, o.ended(ctx)
		case <-late.C:
			return none, nil, o.late()
		case <-o.join.C:
			if o.hedge(ctx) {
				o.r.pool.tally.hedges.Add(1)
			}
		case f := <-o.results:
			if f.err == nil && f.panics == nil {
				return f.got, o.won(f), nil
			}
			if err := o.failed(ctx, f); err != nil {
				return none, nil, err
			}
		}
	}
}

// start gives the request to the endpoint that holds it.
func (o *opening[T]) start(ctx context.Context, now time.Duration) {
	f := &flight[T]{attempt: o.r.held, started: now}
	o.r.held = attempt{}
	ctx, f.cancel = context.WithTimeout(ctx, min(o.r.ask.DialTimeout, o.end-now))
	o.flights = append(o.flights, f)
	o.join.Reset(o.r.patience())
	go o.fly(ctx, f)
}

// fly is the goroutine of one try.
func (o *opening[T]) fly(ctx context.Context, f *flight[T]) {
	defer f.cancel()
	f.call(ctx, o.try)
	if f.over.CompareAndSwap(false, true) {
		o.results <- f
	} else if f.err == nil && f.panics == nil {
		o.drop(f.got)
	}
}

// call keeps a panic for whoever serves the connection that the try was for.
func (f *flight[T]) call(ctx context.Context, try func(context.Context, *Endpoint) (T, error)) {
	defer func() {
		if p := recover(); p != nil {
			f.panics = fmt.Sprintf("%v, in a try of %s\n%s", p, f.e.id, debug.Stack())
		}
	}()
	f.got, f.err = try(ctx, f.e)
}

// hedge has another endpoint join the try that takes long, and tells whether it
// has.
func (o *opening[T]) hedge(ctx context.Context) bool {
	if len(o.flights) >= most || ctx.Err() != nil {
		return false
	}
	now := o.r.pool.now()
	if now >= o.end {
		return false
	}
	o.r.free = false // it joins one that may yet be connected to
	if o.next(ctx, false); o.r.held.e == nil {
		return false
	}
	o.start(ctx, now)
	return true
}

// next has the request hold another endpoint, or says why there is none; one
// that is full is waited for, if there is a queue and nothing else to do.
func (o *opening[T]) next(ctx context.Context, waits bool) lb.How {
	how := o.find(ctx, waits)
	if o.r.held.e == nil && o.r.free {
		o.r.unpay() // what was free is not saved for a hedge
	}
	return how
}

func (o *opening[T]) find(ctx context.Context, waits bool) lb.How {
	r := o.r
	now := r.pool.now()
	if r.tries > 0 && !r.MayRetry(now) {
		return lb.None
	}
	how := r.pick(now)
	if r.held.e != nil || !waits || !r.queues(how) {
		return how
	}
	if o.end != 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, o.end-now)
		defer stop()
	}
	r.seek(now)
	n, how := r.pool.nodes.Wait(ctx, &r.look)
	if n != nil {
		r.hold(n, r.pool.now())
	}
	return how
}

// none is the error of a request for which there is no (other) endpoint.
func (o *opening[T]) none(ctx context.Context, how lb.How) error {
	if ctx.Err() != nil {
		return o.ended(ctx)
	}
	return o.r.none(how)
}

// land takes a try out of those under way.
func (o *opening[T]) land(f *flight[T]) {
	for i := range o.flights {
		if o.flights[i] == f {
			o.flights = append(o.flights[:i], o.flights[i+1:]...)
			return
		}
	}
}

// won gives the request to the endpoint that has done it. Another one that was
// still silent after half of the time is in doubt.
func (o *opening[T]) won(f *flight[T]) *Endpoint {
	o.land(f)
	now := o.r.pool.now()
	for _, other := range o.flights {
		if took := now - other.started; took >= o.r.ask.DialTimeout/2 {
			o.r.doubts = append(o.r.doubts, doubt{attempt: other.attempt, took: took, silent: true})
		}
	}
	o.abandon()
	o.r.held = f.attempt
	return f.e
}

// failed ends a try that has failed, and starts the next. The error is that of
// the request, when it is lost.
func (o *opening[T]) failed(ctx context.Context, f *flight[T]) error {
	o.land(f)
	r, now := o.r, o.r.pool.now()
	if f.panics != nil {
		r.lose(f.attempt, now, fault.New(fault.InternalError, errPanic))
		o.abandon()
		panic(f.panics)
	}
	if ctx.Err() != nil {
		r.lose(f.attempt, now, fmt.Errorf("%w: %w", context.Canceled, f.err))
		return o.ended(ctx)
	}
	r.lose(f.attempt, now, f.err)
	if passage.IsFinal(f.err) {
		return f.err
	}
	how := lb.None
	if now < o.end {
		how = o.next(ctx, len(o.flights) == 0)
	}
	if r.held.e != nil {
		o.start(ctx, r.pool.now())
		return nil
	}
	if len(o.flights) > 0 {
		return nil // there is one left
	}
	return o.none(ctx, how)
}

var errPanic = errors.New("the try panicked")

// ended is the error when ctx has.
func (o *opening[T]) ended(ctx context.Context) error {
	o.r.err = ctx.Err()
	return fmt.Errorf("pool %s: %w", o.r.rules.name, ctx.Err())
}

var errLate = errors.New("no endpoint answered in time")

// late is the error when the tries did not heed that their time is over.
func (o *opening[T]) late() error {
	now := o.r.pool.now()
	err := fault.New(fault.ConnectionTimeout, fmt.Errorf("pool %s: %w", o.r.rules.name, errLate))
	for len(o.flights) > 0 {
		f := o.flights[0]
		o.land(f)
		f.discard(o)
		o.r.lose(f.attempt, now, err)
	}
	return err
}

// abandon cancels what is under way and ends it, blamed for nothing.
func (o *opening[T]) abandon() {
	now := o.r.pool.now()
	for _, f := range o.flights {
		f.discard(o)
		o.r.pool.release(f.attempt, now, 0, lb.Ignored, health.Report{Blame: health.ByUs})
	}
	o.flights = nil
}

// discard leaves the result of a try to the try, or drops it if it is there.
func (f *flight[T]) discard(o *opening[T]) {
	f.cancel()
	if f.over.CompareAndSwap(false, true) {
		return
	}
	if f.err == nil && f.panics == nil {
		o.drop(f.got)
	}
}
