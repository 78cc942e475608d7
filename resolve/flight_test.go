package resolve_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"viaduct/fault"
	"viaduct/resolve"
)

// hold answers when release is closed.
func hold(release <-chan struct{}, records ...string) func(*play) {
	return func(p *play) {
		select {
		case <-release:
			p.answer(records...)
		case <-p.stage.ending:
		}
	}
}

func TestManyWaitersOneFlight(t *testing.T) {
	waiters := 10_000
	if raceEnabled {
		waiters = 2000
	}
	release := make(chan struct{})
	s := open(t, hold(release, "A 192.0.2.1", "AAAA 2001:db8::1"))
	r := s.resolver(t, resolve.Options{Timeout: patience})
	ctx := within(t)
	var all sync.WaitGroup
	for range waiters {
		all.Go(func() {
			if got, err := r.Lookup(ctx, "www.test"); err != nil || len(got) != 2 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	poll(t, "all of them wait", func() bool { n, flights := r.Waiters("www.test"); return n == waiters && flights == 1 })
	close(release)
	all.Wait()
	got := r.Stats()
	if got.Misses != 1 || got.Shared != uint64(waiters-1) || got.Queries > 6 { // sent again to a server that is slow
		t.Errorf("counted %+v", got)
	}
}

func TestWaiterThatLeavesDisturbsNobody(t *testing.T) {
	release := make(chan struct{})
	s := open(t, hold(release, "A 192.0.2.1"))
	r := s.resolver(t, resolve.Options{Timeout: patience})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := r.Lookup(ctx, "www.test"); first <- err }()
	poll(t, "one waits", func() bool { n, _ := r.Waiters("www.test"); return n == 1 })
	go func() { _, err := r.Lookup(within(t), "www.test"); second <- err }()
	poll(t, "two wait", func() bool { n, _ := r.Waiters("www.test"); return n == 2 })
	cancel() // the one who began it
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestLastWaiterEndsTheFlight(t *testing.T) {
	s := open(t, func(*play) {})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { _, _ = r.Lookup(ctx, "www.test") })
	}
	poll(t, "all of them wait", func() bool { n, _ := r.Waiters("www.test"); return n == 10 })
	cancel()
	all.Wait()
	noFlights(t, r)
	if n := r.Stats().Entries; n != 0 {
		t.Errorf("%d entries: a question that nobody waited for has no answer", n)
	}
	s.play(func(p *play) { p.answer("A 192.0.2.1") })
	want(t, r, "www.test", "192.0.2.1")
}

// Answers over IPv6 that never come, or that are failures, spoil nothing.
func TestDeadIPv6(t *testing.T) {
	for name, six := range map[string]func(*play){
		"silent":  func(*play) {},
		"failing": func(p *play) { p.rcode(dns.RcodeServerFailure) },
		"refused": func(p *play) { p.rcode(dns.RcodeRefused) },
		"denying": func(p *play) { p.rcode(dns.RcodeNameError) }, // RFC 4074 section 4.2
		"garbage": func(p *play) { p.garbage() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(p *play) {
				if p.isV6() {
					six(p)
					return
				}
				p.answer("A 192.0.2.1")
			})
			r := s.resolver(t, resolve.Options{Timeout: patience}) // without the bound it would wait for longer than the test
			want(t, r, "www.test", "192.0.2.1")
			want(t, r, "www.test", "192.0.2.1")
		})
	}
}

// The other way round, too: no host goes without IPv4 because of one lost query,
// but a dead path does not stall it for ever.
func TestLateIPv4(t *testing.T) {
	lost := true
	var mu sync.Mutex // guards lost
	s := open(t, func(p *play) {
		mu.Lock()
		defer mu.Unlock()
		if !p.isV6() && lost {
			lost = false
			return
		}
		p.answer("A 192.0.2.1", "AAAA 2001:db8::1")
	})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	want(t, r, "lost.test", "2001:db8::1", "192.0.2.1")
	s.play(func(p *play) {
		if p.isV6() {
			p.answer("AAAA 2001:db8::1")
		}
	})
	want(t, r, "dead.test", "2001:db8::1")
}

func TestLateIPv6FillsTheCache(t *testing.T) {
	release := make(chan struct{})
	held := hold(release, "AAAA 2001:db8::1")
	s := open(t, func(p *play) {
		if p.isV6() {
			held(p)
			return
		}
		p.answer("A 192.0.2.1")
	})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	want(t, r, "www.test", "192.0.2.1")
	if n := r.Background(); n != 1 {
		t.Errorf("%d flights in the background", n)
	}
	close(release)
	noFlights(t, r)
	want(t, r, "www.test", "2001:db8::1", "192.0.2.1")
	if n := r.Background(); n != 0 {
		t.Errorf("%d flights in the background", n)
	}
}

// What goes on for the cache alone is bounded.
func TestBackgroundIsBounded(t *testing.T) {
	s := open(t, func(p *play) {
		if !p.isV6() {
			p.answer("A 192.0.2.1")
		}
	})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() { want(t, r, name(i), "192.0.2.1") })
	}
	all.Wait()
	poll(t, "no more than the bound go on", func() bool { _, n := r.Waiters(""); return n <= 256 && n == r.Background() })
	r.Close()
	if _, n := r.Waiters(""); n != 0 || r.Background() != 0 {
		t.Errorf("%d flights, %d in the background", n, r.Background())
	}
}

// If the name is not there, nobody waits for what else might be said of it.
func TestNoNameIsSaidAtOnce(t *testing.T) {
	s := open(t, func(p *play) {
		if !p.isV6() {
			p.rcode(dns.RcodeNameError)
		}
	})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	wantNone(t, r, "none.test")
	noFlights(t, r)
	before := s.count()
	wantNone(t, r, "none.test")
	if s.count() != before {
		t.Error("asked again")
	}
}

// IPv4 has no address and IPv6 fails: that is a failure, not an absence.
func TestFailureCountsMoreThanAbsence(t *testing.T) {
	s := open(t, func(p *play) {
		if p.isV6() {
			p.rcode(dns.RcodeServerFailure)
			return
		}
		p.answer()
	})
	r := s.resolver(t, resolve.Options{})
	_, err := r.Lookup(within(t), "six.test")
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Err.Error() != "look up six.test: ask "+s.addr+": SERVFAIL" {
		t.Errorf("%v", err)
	}
}

func TestOneFamilyExpiresAlone(t *testing.T) {
	s := open(t, func(p *play) { p.answer(p.name()+" 100 A 192.0.2.1", p.name()+" 10 AAAA 2001:db8::1") })
	now := new(clock)
	r := s.resolver(t, resolve.Options{Now: now.now})
	want(t, r, "www.test", "2001:db8::1", "192.0.2.1")
	now.add(20 * time.Second)
	s.play(func(p *play) { p.answer(p.name()+" 100 A 192.0.2.2", p.name()+" 100 AAAA 2001:db8::2") })
	want(t, r, "www.test", "2001:db8::2", "192.0.2.1")
	if n := s.count(); n != 3 {
		t.Errorf("%d questions, want 3", n)
	}
}
