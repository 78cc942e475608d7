package upstream_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/rest"
	"viaduct/upstream"
)

// Which source a key has must not change with the program: a site takes a
// session from another address for a stolen one.
func TestSourcesOfKeysAreForEver(t *testing.T) {
	list := addrs("198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4")
	for by, want := range map[upstream.EgressBy]string{
		upstream.RoundRobin: "123412341234123412341234", upstream.ByClient: "423441342333213331143433",
		upstream.ByHost: "232211142121314212322343", upstream.ByUser: "441333421411224324312441",
	} {
		e, got := upstream.NewEgress(list, by), ""
		for i := range 24 {
			got += last(keyed(e, i, there, 0))
		}
		if got != want {
			t.Errorf("by %d: %s, want %s", by, got, want)
		}
	}
}

// keyed is the choice for the i-th client, user and host.
func keyed(e *upstream.Egress, i int, to rest.Destination, now time.Duration) *upstream.Source {
	client, user, host := asker(i)
	return e.Choose(client, user, host, to, now)
}

func asker(i int) (client netip.Addr, user, host string) {
	return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), fmt.Sprint("user", i), fmt.Sprint("host", i, ".example")
}

// last is the last digit of a source.
func last(s *upstream.Source) string {
	if s == nil {
		return "-"
	}
	text := s.V4.String()
	return text[len(text)-1:]
}

var sticky = []upstream.EgressBy{upstream.ByClient, upstream.ByHost, upstream.ByUser}

func TestRestedSourceIsAvoidedForOneDestination(t *testing.T) {
	const keys, second = 6000, time.Second
	elsewhere := rest.Destination{Host: "elsewhere.example", Port: 443}
	for _, by := range sticky {
		e := upstream.NewEgress(addrs("198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"), by)
		before := make([]*upstream.Source, keys)
		for i := range before {
			before[i] = keyed(e, i, there, 0)
		}
		bad := before[0]
		e.Refused(there, bad, second)
		moved := map[*upstream.Source]int{}
		for i, was := range before {
			now := keyed(e, i, there, 2*second)
			switch {
			case now == bad:
				t.Fatalf("by %d: key %d has the source that rests", by, i)
			case was == bad:
				moved[now]++
			case now != was:
				t.Fatalf("by %d: key %d moves, and its source does not rest", by, i)
			}
			if keyed(e, i, elsewhere, 2*second) != was || keyed(e, i, there, 6*second) != was {
				t.Fatalf("by %d: key %d moves elsewhere, or for ever", by, i)
			}
		}
		for s, n := range moved {
			if n < keys/12*7/10 || n > keys/12*13/10 {
				t.Errorf("by %d: %s gets %d of the keys, want about %d", by, last(s), n, keys/12)
			}
		}
		e.Refused(there, bad, 6*second)
		e.Reached(there, bad, 7*second)
		if keyed(e, 0, there, 7*second) != bad {
			t.Errorf("by %d: it rests although it got through", by)
		}
	}
}

// What Other tries after a source is what Choose gives while that source rests.
func TestOtherGoesThroughTheOrderOfTheKey(t *testing.T) {
	list := addrs("198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4", "198.51.100.5")
	for _, by := range sticky {
		for i := range 50 {
			e := upstream.NewEgress(list, by)
			client, user, host := asker(i)
			key, order := e.Key(client, user, host), []*upstream.Source{keyed(e, i, there, 0)}
			for s := e.Other(key, there, 0, order); s != nil; s = e.Other(key, there, 0, order) {
				order = append(order, s)
			}
			if len(order) != len(list) {
				t.Fatalf("by %d: key %d has %d sources, want %d", by, i, len(order), len(list))
			}
			if e.Refused(there, order[1], 0); e.Other(key, there, 0, order[:1]) != order[2] {
				t.Fatalf("by %d: key %d: a source that rests is no other", by, i)
			}
			e.Reached(there, order[1], 0)
			for at, want := range order {
				if got := keyed(e, i, there, 0); got != want {
					t.Fatalf("by %d: key %d has %s at %d, want %s", by, i, last(got), at, last(want))
				}
				e.Refused(there, want, 0)
			}
			if keyed(e, i, there, 0) != order[0] {
				t.Fatalf("by %d: key %d has not its first when all rest", by, i)
			}
			if s := e.Other(key, there, 0, order[:1]); s != nil {
				t.Fatalf("by %d: key %d: %s rests", by, i, last(s))
			}
		}
	}
}

func TestTurnsStayEven(t *testing.T) {
	e := upstream.NewEgress(addrs("198.51.100.1", "198.51.100.2", "198.51.100.3"), upstream.RoundRobin)
	first := turn(e)
	var order []*upstream.Source
	for s := first; s != nil; s = e.Other(0, there, 0, order) {
		order = append(order, s)
	}
	if got := last(order[0]) + last(order[1]) + last(order[2]); len(order) != 3 || got != "123" {
		t.Errorf("%d others, %s", len(order), got)
	}
	if s := e.Other(0, there, 0, order[2:]); s != first {
		t.Errorf("behind the last comes %s", last(s))
	}
	for n, want := range [][3]int{{4, 4, 4}, {0, 6, 6}, {0, 0, 12}, {4, 4, 4}} {
		if n > 0 {
			e.Refused(there, order[n-1], 0)
		}
		var got [3]int
		for range 12 {
			got[slices.Index(order, turn(e))]++
		}
		if got != want {
			t.Errorf("with %d at rest they have %v turns, want %v", n, got, want)
		}
	}
}

func TestLimitedSourceRestsAsLongAsItShould(t *testing.T) {
	for _, c := range []struct{ retryAfter, rests time.Duration }{
		{0, 5 * time.Second}, {-time.Hour, 5 * time.Second}, {time.Minute, time.Minute}, {10_000 * time.Hour, time.Hour},
	} {
		e := upstream.NewEgress(addrs("198.51.100.1", "198.51.100.2"), upstream.ByUser)
		s := keyed(e, 0, there, 0)
		e.Limited(there, s, 0, c.retryAfter)
		e.Reached(there, s, 0) // says nothing of what it takes
		if keyed(e, 0, there, c.rests-1) == s || keyed(e, 0, there, c.rests) != s {
			t.Errorf("Retry-After %v: it does not rest for %v", c.retryAfter, c.rests)
		}
		e.Limited(there, s, c.rests, 0)
		if keyed(e, 0, there, c.rests+10*time.Second-1) == s || keyed(e, 0, there, c.rests+10*time.Second) != s {
			t.Errorf("Retry-After %v: the second time in a row is not longer", c.retryAfter)
		}
	}
}

func TestWithoutChoiceNothingRests(t *testing.T) {
	one := upstream.NewEgress(addrs("198.51.100.1"), upstream.ByClient)
	for _, e := range []*upstream.Egress{nil, one} {
		s := turn(e)
		e.Refused(there, s, 0)
		e.Limited(there, s, 0, time.Hour)
		e.Reached(there, s, 0)
		if turn(e) != s || e.Other(0, there, 0, []*upstream.Source{s}) != nil {
			t.Errorf("%v is not all there is", s)
		}
	}
	two := upstream.NewEgress(addrs("198.51.100.1", "198.51.100.2"), upstream.RoundRobin)
	two.Refused(there, nil, 0)
	two.Limited(there, nil, 0, 0)
	two.Reached(there, nil, 0)
	if two.Other(0, there, 0, nil) != nil {
		t.Error("nothing was tried, and there is another")
	}
}

func TestChoosingASourceAllocatesNothing(t *testing.T) {
	host := strings.Repeat("long.", 40) + "example"
	for _, by := range append(sticky, upstream.RoundRobin) {
		e := upstream.NewEgress(addrs("198.51.100.1", "198.51.100.2", "198.51.100.3"), by)
		e.Refused(there, turn(e), 0)
		tried := []*upstream.Source{turn(e)}
		if n := testing.AllocsPerRun(100, func() {
			s := e.Choose(netip.Addr{}, host, host, there, 0)
			_ = e.Other(e.Key(netip.Addr{}, host, host), there, 0, tried)
			e.Reached(there, s, 0)
		}); n > 0 {
			t.Errorf("by %d: %v allocations", by, n)
		}
	}
}

func TestSourcesRestWhileOthersChoose(t *testing.T) {
	for _, by := range append(sticky, upstream.RoundRobin) {
		e := upstream.NewEgress(addrs("198.51.100.1", "198.51.100.2", "198.51.100.3"), by)
		var all sync.WaitGroup
		for w := range 4 {
			all.Go(func() {
				for i := range 500 {
					now := time.Duration(i) * 50 * time.Millisecond
					s := keyed(e, w*i, there, now)
					if s == nil {
						t.Error("no source")
						return
					}
					if i%3 == 0 {
						e.Refused(there, s, now)
					} else {
						e.Reached(there, s, now)
					}
					_ = e.Other(uint64(i), there, now, []*upstream.Source{s})
				}
			})
		}
		all.Wait()
	}
}
