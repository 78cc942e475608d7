// Package rest remembers which of several ways shall not be gone to a
// destination for a while: a parent that cannot reach it, an address of ours
// that it refuses. One destination's trouble leaves the way to all others open.
package rest

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Destination is what connections lead to. The zero Destination is everywhere.
type Destination struct {
	Host string
	Port uint16
}

// Table says which ways rest for which destination. The zero Table is ready. Its
// methods are safe for concurrent use, and those that ask take no lock; while
// nothing rests, they cost one atomic load. Times are those of one clock, which
// is the caller's.
type Table[W comparable] struct {
	// Set these before the first use.
	Base time.Duration // the first rest, each further one in a row is longer by it; 0 is 5 s
	Most time.Duration // bounds how long a rest grows, and how long one is remembered when it is over; 0 is 5 min
	Size int           // pairs of a destination and a way that are remembered, the oldest go first; 0 is 4096

	over    atomic.Int64                               // when the last rest ends; 0: no pair is there
	buckets [everywhere + 1]atomic.Pointer[[]*pair[W]] // lists that never change, by the hash of the destination

	mu     sync.Mutex // guards what follows, and who changes what is above
	pairs  int
	oldest *pair[W] // of those for one destination, by their last rest
	newest *pair[W]
}

// everywhere is the bucket of the pairs for the zero Destination. They are not
// counted in the size: there are no more of them than ways, and who asks for
// many bad hosts shall not push them out.
const everywhere = 1024

// pair is a way that has failed to a destination.
type pair[W comparable] struct {
	to    Destination
	way   W
	until atomic.Int64 // the end of its rest

	times        int // rests in a row
	older, newer *pair[W]
}

// seed is secret, so that nobody can fill one bucket with the names of his choice.
var seed = maphash.MakeSeed()

func bucketOf(to Destination) int {
	if to == (Destination{}) {
		return everywhere
	}
	return int((maphash.String(seed, to.Host) + uint64(to.Port)) % everywhere)
}

// Rests says whether w rests for this destination, or everywhere.
func (t *Table[W]) Rests(to Destination, w W, now time.Duration) bool {
	if t.isQuiet(now) {
		return false
	}
	p := t.find(to, w)
	if p != nil && p.rests(now) {
		return true
	}
	p = t.find(Destination{}, w)
	return p != nil && p.rests(now)
}

// Resting appends to dst the ways that rest for this destination or everywhere
// and are not in it yet.
func (t *Table[W]) Resting(to Destination, now time.Duration, dst []W) []W {
	if t.isQuiet(now) {
		return dst
	}
	for _, d := range [...]Destination{{}, to} {
		for _, p := range t.bucket(bucketOf(d)) {
			if p.to == d && p.rests(now) && !slices.Contains(dst, p.way) {
				dst = append(dst, p.way)
			}
		}
	}
	return dst
}

// Rest has w rest for this destination: the base time the n-th time in a row n
// times, but at least least. What is told while it rests already belongs to the
// same time, and cannot shorten it.
func (t *Table[W]) Rest(to Destination, w W, now, least time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetOld(now)
	p := t.find(to, w)
	if p == nil {
		p = t.add(to, w)
	}
	d := least
	if !p.rests(now) {
		if t.isForgotten(p, now) {
			p.times = 0
		}
		p.times++
		d = max(least, t.length(p.times))
	}
	until := max(p.until.Load(), end(now, d))
	p.until.Store(until)
	t.over.Store(max(t.over.Load(), until))
	t.renew(p)
	for t.pairs > t.size() {
		t.drop(t.oldest)
	}
}

// Well says that w got through to this destination: what was held against the
// pair is forgotten.
func (t *Table[W]) Well(to Destination, w W, now time.Duration) {
	over := t.over.Load()
	if over == 0 || now-time.Duration(over) >= t.most() || t.find(to, w) == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.find(to, w); p != nil {
		t.drop(p)
	}
}

// Count says for how many destinations w rests now, and whether it does so
// everywhere.
func (t *Table[W]) Count(w W, now time.Duration) (destinations int, isEverywhere bool) {
	if t.isQuiet(now) {
		return 0, false
	}
	for i := range t.buckets {
		for _, p := range t.bucket(i) {
			switch {
			case p.way != w || !p.rests(now):
			case i == everywhere:
				isEverywhere = true
			default:
				destinations++
			}
		}
	}
	return destinations, isEverywhere
}

// Forget drops all that is held against w.
func (t *Table[W]) Forget(w W) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.buckets {
		for _, p := range t.bucket(i) {
			if p.way == w {
				t.drop(p)
			}
		}
	}
}

// isQuiet says that nothing rests.
func (t *Table[W]) isQuiet(now time.Duration) bool { return int64(now) >= t.over.Load() }

func (p *pair[W]) rests(now time.Duration) bool { return int64(now) < p.until.Load() }

// bucket is a list that is not changed while it is read.
func (t *Table[W]) bucket(i int) []*pair[W] {
	if list := t.buckets[i].Load(); list != nil {
		return *list
	}
	return nil
}

func (t *Table[W]) find(to Destination, w W) *pair[W] {
	for _, p := range t.bucket(bucketOf(to)) {
		if p.way == w && p.to == to {
			return p
		}
	}
	return nil
}

// length is that of the n-th rest in a row.
func (t *Table[W]) length(n int) time.Duration {
	base, most := t.Base, t.most()
	if base <= 0 {
		base = 5 * time.Second
	}
	if time.Duration(n) > most/base {
		return most
	}
	return time.Duration(n) * base
}

func (t *Table[W]) most() time.Duration {
	if t.Most <= 0 {
		return 5 * time.Minute
	}
	return t.Most
}

func (t *Table[W]) size() int {
	if t.Size <= 0 {
		return 4096
	}
	return t.Size
}

// end is d after now, or never when that is too late for a clock.
func end(now, d time.Duration) int64 {
	if d > math.MaxInt64-now {
		return math.MaxInt64
	}
	return int64(now + max(d, 0))
}
