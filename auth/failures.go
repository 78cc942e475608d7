package auth

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// limit is a token bucket of wrong credentials: so many at once, and then one
// each time that refill has passed.
type limit struct {
	burst  int
	refill time.Duration
}

// A client may try to guess the password of one user, or those of many. The
// limits are wide enough for people, and for machines that were given an old
// password: 14,400 guesses a day.
var (
	ofUser   = limit{10, RetryAfter}
	ofClient = limit{40, 3 * time.Second}
)

// RetryAfter is how long a throttled client waits at most until it has another
// try.
const RetryAfter = 6 * time.Second

// Buckets that are remembered: 64Ki, a megabyte.
const (
	seats  = 8
	blocks = 8 << 10
)

// failures are the buckets of those who showed wrong credentials.
//
// They are bounded: when a block has no free seat, the bucket gives way that
// would be full again first. Those who are throttled are the last to go; to push
// one of them out takes eight others of the same block, throttled as well, and
// which these are is decided by a secret. Whoever has the addresses for that
// needs no bucket of another's to be lost.
type failures struct {
	seed maphash.Seed

	mu      sync.Mutex // guards buckets
	buckets *[blocks][seats]bucket
}

// bucket knows only when it will be full again: how many tokens are missing
// follows from that.
type bucket struct {
	who  uint64
	full time.Duration // by the Memory's clock; what is past is full
}

// suspect is whose failures are counted: a client's, of whatever user, or those
// of a client with one user. Those of a user alone are nobody's: they would lock
// the user out for all.
type suspect struct {
	client netip.Addr
	user   string
	one    bool
}

// source is what counts as one client: an address, or a network of IPv6 that one
// customer is given.
func source(client netip.Addr) netip.Addr {
	client = client.Unmap().WithZone("")
	if client.Is6() {
		if p, err := client.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return client
}

// look tells whether a client has to wait before it may try again, and whether it
// failed a while ago, or may be about to.
func (f *failures) look(client netip.Addr, user string, now time.Duration) (spent, stained bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, one := f.find(suspect{client: client}), f.find(suspect{client, user, true})
	return !ofClient.allows(all, now) || !ofUser.allows(one, now), all != nil && all.full > now
}

// take counts a failure that may come, and tells whether one may. last says that
// there may be no other one after it.
func (f *failures) take(client netip.Addr, user string, now time.Duration) (ok, last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.buckets == nil {
		f.buckets = new([blocks][seats]bucket)
	}
	all, one := suspect{client: client}, suspect{client, user, true}
	if !ofClient.allows(f.find(all), now) || !ofUser.allows(f.find(one), now) {
		return false, false
	}
	a := ofClient.charge(f.seat(all), now)
	b := ofUser.charge(f.seat(one), now)
	return true, a || b
}

// giveBack takes back what take counted: it was no failure.
func (f *failures) giveBack(client netip.Addr, user string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.find(suspect{client: client}); b != nil {
		b.full -= ofClient.refill
	}
	if b := f.find(suspect{client, user, true}); b != nil {
		b.full -= ofUser.refill
	}
}

func (l limit) allows(b *bucket, now time.Duration) bool {
	return b == nil || b.full-now <= time.Duration(l.burst-1)*l.refill
}

// charge takes a token, and tells whether it was the last one.
func (l limit) charge(b *bucket, now time.Duration) bool {
	b.full = max(b.full, now) + l.refill
	return !l.allows(b, now)
}

// find returns the bucket of a suspect, or nil. The caller holds f.mu.
func (f *failures) find(s suspect) *bucket {
	if f.buckets == nil {
		return nil
	}
	who := maphash.Comparable(f.seed, s)
	block := &f.buckets[who%blocks]
	for i := range block {
		if block[i].who == who {
			return &block[i]
		}
	}
	return nil
}

// seat returns the bucket of a suspect, or makes one. The caller holds f.mu.
func (f *failures) seat(s suspect) *bucket {
	if b := f.find(s); b != nil {
		return b
	}
	who := maphash.Comparable(f.seed, s)
	block := &f.buckets[who%blocks]
	first := &block[0]
	for i := range block {
		if block[i].full < first.full {
			first = &block[i]
		}
	}
	*first = bucket{who: who}
	return first
}
