package overload

import (
	"cmp"
	"math"
	"sync/atomic"
	"time"
)

// BudgetOptions say how much may be tried more than once. The defaults are
// those of Finagle's RetryBudget.
type BudgetOptions struct {
	Share     float64       // retries that a request brings, 0 is 0.2, negative none
	PerSecond float64       // retries that a second brings, used or not; 0 is 10, negative none
	TTL       time.Duration // how long either can be saved; 0 is 10 s
}

func (o BudgetOptions) filled() BudgetOptions {
	o.Share, o.PerSecond = cmp.Or(o.Share, 0.2), cmp.Or(o.PerSecond, 10)
	if o.TTL <= 0 {
		o.TTL = 10 * time.Second
	}
	return o
}

// A Budget bounds the attempts that come on top of the requests: retries and
// hedges together. When everything fails, an upstream sees little more than it
// was asked for, where two retries each would be three times as much.
//
// From its beginning on, there are no more than Share × n + PerSecond × t further
// attempts at n requests in t seconds, of which the first is given in advance.
// What is not used is saved for TTL and then gone, the oldest first: after any
// silence, however long, PerSecond × TTL are at hand.
//
// The zero value began with the program.
type Budget struct {
	o     BudgetOptions
	start time.Duration

	// Both purses are spent by moving a mark towards an end that time, or the
	// requests, move: all there is to know of one is a single word.
	seconds  atomic.Int64 // the time up to which PerSecond is spent
	shares   atomic.Int64 // the request up to which Share is spent, in parts
	requests atomic.Int64 // so far
	recent   window       // of them, those whose share is not gone

	taken, refused atomic.Uint64
}

// parts are what a request is divided into where the shares are counted.
const parts = 1 << 16

// NewBudget makes a Budget that begins now, with what one second brings.
func NewBudget(o BudgetOptions, now time.Duration) *Budget {
	b := &Budget{o: o, start: now}
	b.seconds.Store(int64(now))
	return b
}

// Request counts a request. Its retries and hedges are none.
func (b *Budget) Request(now time.Duration) {
	b.recent.add(step(now, b.o.filled().TTL))
	b.requests.Add(1) // second: what is spent is never what has not come
}

// Take tells whether one more attempt may be made, and counts it if so: what is
// taken must be used.
func (b *Budget) Take(now time.Duration) bool {
	if b.takeSecond(now) || b.takeShare(now) {
		b.taken.Add(1)
		return true
	}
	b.refused.Add(1)
	return false
}

func (b *Budget) takeSecond(now time.Duration) bool {
	for {
		spent := b.seconds.Load()
		from, to, price := b.unspentSeconds(spent, now)
		if price == 0 || from+price > to {
			return false
		}
		if b.seconds.CompareAndSwap(spent, from+price) {
			return true
		}
	}
}

func (b *Budget) takeShare(now time.Duration) bool {
	for {
		spent := b.shares.Load()
		from, to, price := b.unspentShares(spent, now)
		if price == 0 || from+price > to {
			return false
		}
		if b.shares.CompareAndSwap(spent, from+price) {
			return true
		}
	}
}

// unspentSeconds is the time that is not spent yet, and how much of it an
// attempt costs; 0 is that it cannot be bought.
func (b *Budget) unspentSeconds(spent int64, now time.Duration) (from, to, price int64) {
	o := b.o.filled()
	if !(o.PerSecond > 0) {
		return 0, 0, 0
	}
	price = priceOf(float64(time.Second) / o.PerSecond)
	saved := max(int64(o.TTL), price) // or less than one in a TTL were none at all
	// The first second is given in advance, or the first request of all could
	// not be tried again; it is not given twice.
	first := int64(b.start) + min(int64(time.Second), saved)
	return max(spent, int64(now)-saved), max(int64(now), first), price
}

// unspentShares is the same in parts of requests. The last of them are those
// that are not gone: what is spent first is the oldest.
func (b *Budget) unspentShares(spent int64, now time.Duration) (from, to, price int64) {
	o := b.o.filled()
	if !(o.Share > 0) {
		return 0, 0, 0
	}
	all := b.requests.Load()
	gone := max(0, all-b.recent.sum(step(now, o.TTL)))
	return max(spent, gone*parts), all * parts, priceOf(parts / o.Share)
}

// priceOf rounds up, and ends below what would overflow when a mark moves by it.
func priceOf(p float64) int64 { return int64(min(max(1, math.Ceil(p)), 1<<61)) }

// Left is how many attempts could be made now.
func (b *Budget) Left(now time.Duration) int {
	n := 0
	if from, to, price := b.unspentSeconds(b.seconds.Load(), now); price > 0 {
		n += int(max(0, to-from) / price)
	}
	if from, to, price := b.unspentShares(b.shares.Load(), now); price > 0 {
		n += int(max(0, to-from) / price)
	}
	return n
}

// Taken is how many attempts were made so far.
func (b *Budget) Taken() uint64 { return b.taken.Load() }

// Refused is how many were not.
func (b *Budget) Refused() uint64 { return b.refused.Load() }
