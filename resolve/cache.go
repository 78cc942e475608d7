package resolve

import (
	"net/netip"
	"time"
)

const (
	failureTTL  = time.Second     // how long a failure is remembered
	painlessTTL = 5 * time.Second // if there are addresses all the same; RFC 8767 section 5 would have 30 s
	evictFrom   = 8               // entries that are compared when one has to go
)

// A verdict is what an answer says.
type verdict uint8

const (
	failed    verdict = iota // no server gave a valid answer
	found                    // addresses
	noAddress                // NODATA: the name is there, without addresses of this family
	noName                   // NXDOMAIN
)

func (v verdict) String() string {
	return [...]string{"failure", "addresses", "no address (NODATA)", "no such name (NXDOMAIN)"}[v]
}

// answer is the answer to a question, or to both questions of a name. It is
// immutable once others see it.
type answer struct {
	verdict verdict
	addrs   []netip.Addr // if found; at most maxAddrs a family
	err     error        // if not
	ttl     time.Duration
	until   time.Time // when its life ends
	stale   bool      // some of the addresses are beyond that
}

func (a *answer) isFound() bool { return a != nil && a.verdict == found }

// half is what is known of a name and family.
type half struct {
	said   *answer // by the servers, the last time; nil is nothing yet
	failed *answer // how asking again went wrong since; nil is not at all
}

// settled is what holds without asking, and until when: what was said, or for a
// moment that asking has failed. Nil means that it is time to ask.
func (h *half) settled(now time.Time, maxStale time.Duration) (*answer, time.Time) {
	if h.said != nil && now.Before(h.said.until) {
		return h.said, h.said.until
	}
	if h.failed == nil || !now.Before(h.failed.until) {
		return nil, time.Time{}
	}
	if old := h.old(now, maxStale); old != nil {
		return old, h.failed.until
	}
	return h.failed, h.failed.until
}

// old is what may be used if no server answers: addresses, not their absence.
func (h *half) old(now time.Time, maxStale time.Duration) *answer {
	if !h.said.isFound() || !now.Before(h.said.until.Add(maxStale)) {
		return nil
	}
	return h.said
}

// entry is what is known of a name. Those of another group are void: other
// servers may know other names.
type entry struct {
	group  *group
	halves [families]half
	whole  *answer   // to both questions
	until  time.Time // when whole no longer holds
	used   time.Time
}

// settle works out once what the lookups to come are told.
func (e *entry) settle(now time.Time, maxStale time.Duration) {
	a, untilA := e.halves[v4].settled(now, maxStale)
	aaaa, untilAAAA := e.halves[v6].settled(now, maxStale)
	e.whole, e.until = nil, time.Time{}
	switch {
	case a != nil && a.verdict == noName && !aaaa.isFound():
		e.whole, e.until = a, untilA
	case a != nil && aaaa != nil:
		e.whole, e.until = combine(a, aaaa, now), untilA
		if untilAAAA.Before(untilA) {
			e.until = untilAAAA
		}
	}
}

// combine makes one answer of those for the families, which may be nil for not
// known. Without any address the one of IPv4 counts: there are servers that deny
// the name when they are asked for IPv6 (RFC 4074 section 4.2).
func combine(a, aaaa *answer, now time.Time) *answer {
	whole := answer{verdict: found}
	for _, h := range []*answer{aaaa, a} {
		if h.isFound() {
			whole.addrs = append(whole.addrs, h.addrs...)
			whole.stale = whole.stale || !now.Before(h.until)
		}
	}
	switch {
	case len(whole.addrs) > 0:
		return &whole
	case a == nil, a.verdict == noAddress && aaaa != nil && aaaa.verdict == failed:
		return aaaa
	}
	return a
}

// store keeps what has come for a family. The caller holds r.mu.
func (r *Resolver) store(f *flight, i family, a *answer, now time.Time) {
	e := r.entries[f.name]
	if e == nil {
		r.makeRoom()
	}
	if e == nil || e.group != f.group {
		e = &entry{group: f.group, used: now}
		r.entries[f.name] = e
	}
	a.until = now.Add(r.lifetime(a, e))
	h := &e.halves[i]
	if h.failed = a; a.verdict != failed {
		h.said, h.failed = a, nil
	}
	e.settle(now, r.options.MaxStale)
}

// lifetime is how long an answer holds.
func (r *Resolver) lifetime(a *answer, e *entry) time.Duration {
	o := &r.options
	switch {
	case a.verdict == found:
		return min(max(a.ttl, o.MinTTL), o.MaxTTL)
	case a.verdict != failed:
		return min(max(a.ttl, o.MinTTL), o.MaxNegative)
	case e.hasAddrs():
		return painlessTTL
	}
	return failureTTL
}

// makeRoom evicts an entry if all places are taken: of a few, which a map hands
// out at random, the one that will be missed least. The caller holds r.mu.
func (r *Resolver) makeRoom() {
	if len(r.entries) < r.options.Entries {
		return
	}
	var least *entry
	var name string
	seen := 0
	for n, e := range r.entries {
		if least == nil || e.lessThan(least) {
			least, name = e, n
		}
		if seen++; seen == evictFrom {
			break
		}
	}
	delete(r.entries, name)
}

// lessThan says whether e will be missed less than o: names that hostile clients
// make up have no addresses, as a rule.
func (e *entry) lessThan(o *entry) bool {
	has, had := e.hasAddrs(), o.hasAddrs()
	if has != had {
		return had
	}
	return e.used.Before(o.used)
}

func (e *entry) hasAddrs() bool { return e.halves[v4].said.isFound() || e.halves[v6].said.isFound() }
