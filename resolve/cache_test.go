package resolve_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"viaduct/fault"
	"viaduct/resolve"
)

// The answer holds for its TTL within the bounds, and not longer.
func TestLifeOfAnswers(t *testing.T) {
	const soa = " SOA ns.test. root.test. 1 2 3 4 "
	for _, tt := range []struct {
		name    string
		records []string
		nx      bool
		life    time.Duration
	}{
		{"ttl", []string{"n.test. 100 A 192.0.2.1", "n.test. 100 AAAA ::9"}, false, 100 * time.Second},
		{"least of a set", []string{"n.test. 100 A 192.0.2.1", "n.test. 30 A 192.0.2.2", "n.test. 100 AAAA ::9"}, false, 30 * time.Second},
		{"least of both families", []string{"n.test. 100 A 192.0.2.1", "n.test. 30 AAAA ::9"}, false, 30 * time.Second},
		{"zero", []string{"n.test. 0 A 192.0.2.1"}, false, time.Second},
		{"endless", []string{"n.test. 2147483647 A 192.0.2.1", "n.test. 2147483647 AAAA ::9"}, false, time.Hour},
		{"negative number", []string{"n.test. 4294967295 A 192.0.2.1", "n.test. 100 AAAA ::9"}, false, time.Second},
		{"alias", []string{"n.test. 20 CNAME m.test.", "m.test. 100 A 192.0.2.1", "m.test. 100 AAAA ::9"}, false, 20 * time.Second},
		{"no name, ttl of the SOA", []string{"test. 40" + soa + "100"}, true, 40 * time.Second},
		{"no name, minimum of the SOA", []string{"test. 400" + soa + "50"}, true, 50 * time.Second},
		{"no name for long", []string{"test. 86400" + soa + "86400"}, true, 5 * time.Minute},
		{"no name, zero", []string{"test. 0" + soa + "0"}, true, time.Second},
		{"no name, no SOA", nil, true, 5 * time.Second},
		{"no name, a SOA of others", []string{"other. 100" + soa + "100"}, true, 5 * time.Second},
		{"no address", []string{"test. 40" + soa + "100"}, false, 40 * time.Second},
		{"no address behind an alias", []string{"n.test. 20 CNAME m.example.", "example. 40" + soa + "100"}, false, 20 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, func(p *play) {
				if tt.nx {
					p.denyWith(tt.records...)
					return
				}
				p.answer(tt.records...)
			})
			now := new(clock)
			r := s.resolver(t, resolve.Options{Now: now.now})
			look := func() int { _, _ = r.Lookup(within(t), "n.test"); noFlights(t, r); return s.count() }
			first := look()
			now.add(tt.life - 900*time.Millisecond)
			if n := look(); n != first {
				t.Errorf("asked again within %v", tt.life)
			}
			now.add(time.Second)
			if n := look(); n == first {
				t.Errorf("not asked again after %v", tt.life)
			}
		})
	}
}

// denyWith says NXDOMAIN with records in the authority section.
func (p *play) denyWith(records ...string) {
	m := p.reply()
	m.Rcode = dns.RcodeNameError
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		m.Ns = append(m.Ns, rr)
	}
	p.send(m)
}

// A storm of lookups of a dead name is no storm of queries, but the name is
// asked for again soon.
func TestFailureIsRememberedForAMoment(t *testing.T) {
	s := open(t, func(p *play) { p.rcode(dns.RcodeServerFailure) })
	now := new(clock)
	r := s.resolver(t, resolve.Options{Now: now.now})
	for range 100 {
		wantNone(t, r, "dead.test")
	}
	if n := s.count(); n > 8 {
		t.Errorf("%d questions for a hundred lookups", n)
	}
	s.play(func(p *play) { p.answer("A 192.0.2.1") })
	now.add(2 * time.Second)
	want(t, r, "dead.test", "192.0.2.1")
}

func TestOldAnswerWhenServersFail(t *testing.T) {
	s := open(t, zone(t, "n.test. 10 A 192.0.2.1", "n.test. 10 AAAA 2001:db8::1"))
	now := new(clock)
	r := s.resolver(t, resolve.Options{Now: now.now})
	want(t, r, "n.test", "2001:db8::1", "192.0.2.1")

	s.play(func(p *play) { p.rcode(dns.RcodeServerFailure) })
	now.add(time.Minute)
	want(t, r, "n.test", "2001:db8::1", "192.0.2.1")
	asked := s.count()
	for range 10 { // the failure is remembered
		want(t, r, "n.test", "2001:db8::1", "192.0.2.1")
	}
	if n := s.count(); n != asked {
		t.Errorf("%d questions more", n-asked)
	}
	if got := r.Stats(); got.Stale != 11 || got.Misses != 1 || got.Hits != 0 {
		t.Errorf("counted %+v", got)
	}

	now.add(40 * time.Minute)
	want(t, r, "n.test", "2001:db8::1", "192.0.2.1")
	now.add(40 * time.Minute)
	wantNone(t, r, "n.test")
}

// What the servers say counts more than what they said, even if it is no.
func TestNoNameEndsAnOldAnswer(t *testing.T) {
	s := open(t, zone(t, "n.test. 10 A 192.0.2.1"))
	now := new(clock)
	r := s.resolver(t, resolve.Options{Now: now.now})
	want(t, r, "n.test", "192.0.2.1")
	s.play(func(p *play) { p.rcode(dns.RcodeNameError) })
	now.add(time.Minute)
	wantNone(t, r, "n.test")
	s.play(func(p *play) { p.rcode(dns.RcodeServerFailure) })
	now.add(time.Minute)
	wantNone(t, r, "n.test")
}

// The servers keep silent: nobody waits until asking them has failed, and when
// they speak again, their answer is taken.
func TestOldAnswerBeforeSilenceEnds(t *testing.T) {
	s := open(t, zone(t, "n.test. 10 A 192.0.2.1"))
	now := new(clock)
	r := s.resolver(t, resolve.Options{Now: now.now, Timeout: patience})
	want(t, r, "n.test", "192.0.2.1")
	release := make(chan struct{})
	s.play(func(p *play) {
		select {
		case <-release:
			p.answer("A 192.0.2.2")
		case <-p.stage.ending:
		}
	})
	now.add(time.Minute)
	want(t, r, "n.test", "192.0.2.1")
	if n := r.Background(); n != 1 {
		t.Errorf("%d flights in the background", n)
	}
	want(t, r, "n.test", "192.0.2.1") // at once: the flight has given it already
	close(release)
	poll(t, "the new answer is there", func() bool {
		got, err := r.Lookup(within(t), "n.test")
		return err == nil && got[0].String() == "192.0.2.2"
	})
	noFlights(t, r)
	if n := r.Background(); n != 0 {
		t.Errorf("%d flights in the background", n)
	}
}

// Made-up names fill the cache up to its bound, and do not push out those that
// people use.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t, func(p *play) {
		if p.name() == "popular.test." {
			p.answer("A 192.0.2.1", "AAAA ::9")
			return
		}
		p.rcode(dns.RcodeNameError)
	})
	r := s.resolver(t, resolve.Options{Entries: 100})
	want(t, r, "popular.test", "::9", "192.0.2.1")
	names := make(chan string)
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for name := range names {
				_, _ = r.Lookup(within(t), name)
			}
		})
	}
	total := 100_000
	if testing.Short() || raceEnabled {
		total = 5000
	}
	for i := range total {
		names <- fmt.Sprintf("made-up-%d.test", i)
		if n := r.Stats().Entries; n > 100 {
			t.Fatalf("%d entries", n)
		}
	}
	close(names)
	clients.Wait()
	noFlights(t, r)
	before := s.count()
	want(t, r, "popular.test", "::9", "192.0.2.1")
	if s.count() != before {
		t.Error("the popular name was forgotten")
	}
}

// Without any name that failed, the one that was not used for the longest time
// goes first, more or less.
func TestUsedNamesStay(t *testing.T) {
	s := open(t, func(p *play) { p.answer("A 192.0.2.1", "AAAA ::9") })
	now := new(clock)
	r := s.resolver(t, resolve.Options{Entries: 50, Now: now.now})
	for i := range 500 {
		now.add(time.Millisecond)
		want(t, r, fmt.Sprintf("n%d.test", i), "::9", "192.0.2.1")
		want(t, r, "used.test", "::9", "192.0.2.1")
	}
	if got := r.Stats(); got.Entries != 50 || got.Misses != 501 {
		t.Errorf("counted %+v", got)
	}
}

// A server that is asked over a name that nobody can store is no reason to
// grow: answers are cut to what is of use.
func TestAddressesAreBounded(t *testing.T) {
	s := open(t, func(p *play) {
		var list []string
		for i := range 1000 {
			list = append(list, fmt.Sprintf("A 10.0.%d.%d", i/250, i%250))
		}
		p.answer(append(list[:10:10], list...)...)
	})
	r := s.resolver(t, resolve.Options{Servers: []string{"tcp://" + s.addr}})
	got, err := r.Lookup(within(t), "big.test")
	if err != nil || len(got) != 64 || got[0].String() != "10.0.0.0" || got[63].String() != "10.0.0.63" {
		t.Errorf("%d addresses, %v: %v", len(got), err, got)
	}
}

func TestStaleIsNotForNames(t *testing.T) {
	s := open(t, func(p *play) { p.rcode(dns.RcodeNameError) })
	now := new(clock)
	r := s.resolver(t, resolve.Options{Now: now.now})
	wantNone(t, r, "n.test")
	s.play(func(p *play) { p.rcode(dns.RcodeServerFailure) })
	now.add(time.Minute)
	_, err := r.Lookup(within(t), "n.test")
	if fault.Classify(err) != fault.DNSError || r.Stats().Stale != 0 {
		t.Errorf("%v, %+v", err, r.Stats())
	}
}
