package resolve

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"viaduct/fault"
)

const (
	// What the answer of one family waits for that of the other: for IPv6 the
	// Resolution Delay of RFC 8305 section 3; for IPv4, which hardly anybody can
	// do without, until a lost query has been sent again.
	waitV6 = 50 * time.Millisecond
	waitV4 = time.Second

	// clientTimer is when an old answer is given while the servers are still
	// asked: the client response timer of RFC 8767 section 5.
	clientTimer = 1800 * time.Millisecond

	maxBackground = 256 // flights that go on after their answer was given
)

// flight asks the servers for a name, for all lookups that wait for it.
type flight struct {
	name   string
	group  *group
	cancel context.CancelFunc
	ready  chan struct{}          // closed when there is an answer
	answer atomic.Pointer[answer] // may become better afterwards

	// Guarded by Resolver.mu.
	waiters    int
	pending    int               // questions
	have       [families]*answer // what has come, or was there before
	old        [families]*answer // what may be used if nothing comes
	began      time.Time
	last       time.Time   // when the last answer came
	timer      *time.Timer // ends the patience
	given      bool        // ready is closed
	background bool        // and it goes on, to fill the cache
}

// find looks one name up in the cache, or waits for a flight.
func (r *Resolver) find(ctx context.Context, g *group, name string, now time.Time) *answer {
	r.mu.Lock()
	e := r.entries[name]
	if e != nil && e.group == g && now.Before(e.until) {
		e.used = now
		whole := e.whole
		r.mu.Unlock()
		return count(whole, &r.hits, &r.stale)
	}
	f, as := r.flights[name], &r.shared
	if f == nil {
		if r.closed {
			r.mu.Unlock()
			return failure(fault.DNSError, name, errClosed)
		}
		f, as = r.depart(g, name, e, now), &r.misses
	}
	f.waiters++
	r.mu.Unlock()
	select {
	case <-f.ready:
		return count(f.answer.Load(), as, &r.stale)
	case <-ctx.Done():
		r.leave(f)
		return count(interrupted(name, ctx.Err()), as, &r.stale)
	}
}

func count(a *answer, as, stale *atomic.Uint64) *answer {
	if a.stale {
		as = stale
	}
	as.Add(1)
	return a
}

// depart begins a flight for what is not known of a name. The caller holds r.mu.
func (r *Resolver) depart(g *group, name string, e *entry, now time.Time) *flight {
	// A bit more than a try, and with the default less than what a dial may
	// take: it ends by itself, and its failure is remembered.
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout*7/4)
	f := &flight{name: name, group: g, cancel: cancel, ready: make(chan struct{}), began: time.Now()}
	f.last = f.began
	if e != nil && e.group == g {
		for i := range e.halves {
			f.have[i], _ = e.halves[i].settled(now, r.options.MaxStale)
			f.old[i] = e.halves[i].old(now, r.options.MaxStale)
		}
	}
	f.timer = time.AfterFunc(f.patience(), func() { r.hurry(f) })
	r.flights[name] = f
	for i := range families {
		if f.have[i] == nil {
			f.pending++
			r.tasks.Go(func() { r.land(f, i, r.ask(ctx, g, question{name, i})) })
		}
	}
	return f
}

// leave takes a waiter out of a flight, which ends with the last one.
func (r *Resolver) leave(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiters--; f.waiters == 0 && !f.given {
		r.abandon(f)
	}
}

// abandon ends a flight: no lookup to come finds it. The caller holds r.mu.
func (r *Resolver) abandon(f *flight) {
	if r.flights[f.name] == f {
		delete(r.flights, f.name)
	}
	f.cancel()
}

// patience is how long to wait before f is content with what it has.
func (f *flight) patience() time.Duration {
	switch {
	case f.given:
	case f.have[v4].isFound():
		return time.Until(f.last.Add(waitV6))
	case f.have[v6].isFound():
		return time.Until(f.last.Add(waitV4))
	case f.old[v4] != nil, f.old[v6] != nil:
		return time.Until(f.began.Add(clientTimer))
	}
	return time.Hour // asking is bounded
}

// hurry runs when the patience is at its end.
func (r *Resolver) hurry(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.patience() <= 0 { // else something has come meanwhile
		r.give(f)
	}
}

// land takes what has come for a family: nil if nobody wants to know any more.
func (r *Resolver) land(f *flight, i family, a *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.have[i], f.last = a, time.Now()
	f.pending--
	if a != nil && r.flights[f.name] == f {
		r.store(f, i, a, r.options.Now())
	}
	denied := i == v4 && a != nil && a.verdict == noName
	if denied { // nobody will look at the other family's answer
		f.old = [families]*answer{}
		f.cancel()
	}
	if denied || f.given || f.pending == 0 {
		r.give(f)
	}
	f.timer.Reset(f.patience())
	if f.pending > 0 {
		return
	}
	f.timer.Stop()
	r.abandon(f)
	if f.background {
		r.background--
	}
}

// give tells those who wait what is known now, or tells it better to those who
// come later. The caller holds r.mu.
func (r *Resolver) give(f *flight) {
	f.answer.Store(f.best(r.options.Now()))
	if f.given {
		return
	}
	f.given = true
	close(f.ready)
	switch {
	case f.pending == 0:
	case r.background == maxBackground:
		r.abandon(f)
	default:
		f.background = true
		r.background++
	}
}

// best is the answer that can be given now.
func (f *flight) best(now time.Time) *answer {
	have := f.have
	for i, old := range f.old {
		if old != nil && (have[i] == nil || have[i].verdict == failed) {
			have[i] = old
		}
	}
	if a := combine(have[v4], have[v6], now); a != nil {
		return a
	}
	return failure(fault.DNSError, f.name, errClosed)
}

func failure(k fault.Kind, name string, err error) *answer {
	return &answer{err: fault.New(k, fmt.Errorf("look up %s: %w", name, err))}
}

// interrupted is what a lookup says whose context has ended.
func interrupted(name string, err error) *answer {
	if errors.Is(err, context.DeadlineExceeded) {
		return failure(fault.DNSTimeout, name, err)
	}
	return &answer{err: fmt.Errorf("look up %s: %w", name, err)}
}
