package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash/maphash"
	"runtime"
	"sync/atomic"
	"time"
)

// Credentials that are remembered: 64Ki in all, which takes a few megabytes.
const (
	ways = 4
	sets = 16 << 10
)

// mac stands for credentials. Without the key nobody can try which they are.
type mac [sha256.Size]byte

// Memory holds the credentials that were verified, and who showed wrong ones. It
// outlives the gates that use it, and takes no room before there is something to
// remember. Safe for concurrent use.
type Memory struct {
	key      [sha256.Size]byte // of the macs; random
	start    time.Time
	verified atomic.Pointer[[sets][ways]atomic.Pointer[entry]]
	failures failures
	hashing  slots
}

// entry is credentials that were verified. It holds neither them nor a hash.
type entry struct {
	mac mac
	id  *Identity
	at  atomic.Int64 // when it was verified, or used if it is lasting: in nanoseconds of the Memory
}

// NewMemory makes a Memory. It starts nothing.
func NewMemory() *Memory {
	m := &Memory{start: time.Now(), hashing: newSlots(max(1, runtime.GOMAXPROCS(0)/4))}
	m.failures.seed = maphash.MakeSeed()
	_, _ = rand.Read(m.key[:]) // it never fails
	return m
}

// now is the time since the Memory was made, by the monotonic clock.
func (m *Memory) now() time.Duration { return time.Since(m.start) }

// set is where credentials have their place, or nil if nothing was ever kept.
func (m *Memory) set(k *mac) *[ways]atomic.Pointer[entry] {
	all := m.verified.Load()
	if all == nil {
		return nil
	}
	return &all[binary.LittleEndian.Uint64(k[:])%sets]
}

// find looks for credentials that were verified, and still are in the eyes of v.
// If they are not believed any more after ttl they are only known.
func (m *Memory) find(k *mac, v Verifier, ttl time.Duration) (id *Identity, known bool) {
	set := m.set(k)
	if set == nil {
		return nil, false
	}
	now := m.now()
	for i := range set {
		e := set[i].Load()
		if e == nil || subtle.ConstantTimeCompare(e.mac[:], k[:]) != 1 {
			continue
		}
		id, still := v.Still(e.id)
		if !still {
			continue
		}
		age := now - time.Duration(e.at.Load())
		if age >= ttl {
			known = true
			continue
		}
		if id.lasting && age > ttl/4 { // not each time: others read it, too
			e.at.Store(int64(now))
		}
		return id, true
	}
	return nil, known
}

// keep remembers credentials, in place of themselves or of those in their set
// that were verified longest ago. Where that is, nobody can foresee.
func (m *Memory) keep(k *mac, id *Identity) {
	if m.verified.Load() == nil {
		m.verified.CompareAndSwap(nil, new([sets][ways]atomic.Pointer[entry]))
	}
	set := m.set(k)
	place := &set[0]
	for i := range set {
		e, old := set[i].Load(), place.Load()
		if e != nil && e.mac == *k {
			place = &set[i]
			break
		}
		if old != nil && (e == nil || e.at.Load() < old.at.Load()) {
			place = &set[i]
		}
	}
	e := &entry{mac: *k, id: id}
	e.at.Store(int64(m.now()))
	place.Store(e)
}

// forget drops credentials.
func (m *Memory) forget(k *mac) {
	set := m.set(k)
	if set == nil {
		return
	}
	for i := range set {
		if e := set[i].Load(); e != nil && e.mac == *k {
			set[i].CompareAndSwap(e, nil)
		}
	}
}
