package upstream_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/rest"
	"viaduct/upstream"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// there is a destination that every source may reach.
var there = rest.Destination{Host: "there.example", Port: 443}

// turn is the choice for a request that nothing is known of.
func turn(e *upstream.Egress) *upstream.Source { return e.Choose(netip.Addr{}, "", "", there, 0) }

func TestConnectionLeavesByItsSource(t *testing.T) {
	h := open(t, "127.0.0.1", 0)
	e := upstream.NewEgress(addrs("127.0.3.1", "127.0.3.2"), upstream.RoundRobin)
	d := &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge), Egress: e}
	for _, to := range []upstream.Destination{named(h.port), literal("127.0.0.1", h.port)} {
		for _, want := range []string{"127.0.3.1", "127.0.3.2"} {
			c := must[*net.TCPConn](t)(d.Connect(within(t, patience), to, turn(e)))
			if got := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().String(); got != want {
				t.Errorf("it leaves by %s, want %s", got, want)
			}
			_ = c.Close()
		}
	}
}

func TestSourcesPairUpTheFamilies(t *testing.T) {
	e := upstream.NewEgress(addrs("198.51.100.1", "2001:db8::1", "::ffff:198.51.100.2", "198.51.100.3", "2001:db8::2"), upstream.RoundRobin)
	for _, want := range []upstream.Source{
		{V4: netip.MustParseAddr("198.51.100.1"), V6: netip.MustParseAddr("2001:db8::1")},
		{V4: netip.MustParseAddr("198.51.100.2"), V6: netip.MustParseAddr("2001:db8::2")},
		{V4: netip.MustParseAddr("198.51.100.3"), V6: netip.MustParseAddr("2001:db8::1")},
		{V4: netip.MustParseAddr("198.51.100.1"), V6: netip.MustParseAddr("2001:db8::1")},
	} {
		if got := *turn(e); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestNoEgressIsTheSystemsChoice(t *testing.T) {
	e := upstream.NewEgress(nil, upstream.ByClient)
	if e != nil || turn(e) != nil || e.After(nil, nil) != nil || e.Usable() != nil {
		t.Errorf("%v", e)
	}
}

func TestStickySources(t *testing.T) {
	list := addrs("198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4")
	const keys = 4000
	client := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	host := func(i int) string { return client(i).String() + ".example" }
	user := func(i int) string { return fmt.Sprint("user", i) }
	for _, by := range []upstream.EgressBy{upstream.ByClient, upstream.ByHost, upstream.ByUser} {
		e, same := upstream.NewEgress(list, by), upstream.NewEgress(list, by)
		fewer := upstream.NewEgress(list[:3], by)
		share, moved := map[netip.Addr]int{}, 0
		for i := range keys {
			s := e.Choose(client(i), user(i), host(i), there, 0)
			c, u, h := client(1), user(1), host(1) // two of them do not matter
			switch by {
			case upstream.ByClient:
				c = client(i)
			case upstream.ByHost:
				h = host(i)
			case upstream.ByUser:
				u = user(i)
			}
			if again := same.Choose(c, u, h, there, 0); again.V4 != s.V4 {
				t.Fatalf("by %d: key %d has %v and %v", by, i, s.V4, again.V4)
			}
			share[s.V4]++
			if was := fewer.Choose(client(i), user(i), host(i), there, 0); was.V4 != s.V4 {
				moved++
				if s.V4 != list[3] {
					t.Fatalf("by %d: key %d moves from %v to %v, which was there before", by, i, was.V4, s.V4)
				}
			}
		}
		for a, n := range share {
			if n < keys/4*8/10 || n > keys/4*12/10 {
				t.Errorf("by %d: %v has %d of %d keys", by, a, n, keys)
			}
		}
		if moved != share[list[3]] {
			t.Errorf("by %d: %d keys move to the address that is added, which has %d", by, moved, share[list[3]])
		}
	}
}

func TestAfterGoesRoundOnce(t *testing.T) {
	e := upstream.NewEgress(addrs("198.51.100.1", "198.51.100.2", "198.51.100.3"), upstream.RoundRobin)
	for range 3 {
		first := turn(e)
		seen := map[*upstream.Source]bool{}
		for s := first; s != nil; s = e.After(s, first) {
			if seen[s] {
				t.Fatal("it goes round twice")
			}
			seen[s] = true
		}
		if len(seen) != 3 {
			t.Errorf("%d sources had their turn, want 3", len(seen))
		}
	}
}

// An address of the other family must not leave by the system's choice.
func TestFamilyWithoutEgressIsNotDialled(t *testing.T) {
	e := upstream.NewEgress(addrs("127.0.3.1"), upstream.RoundRobin)
	from := turn(e)
	h := open(t, "127.0.0.1", 0)
	d := &upstream.Dialer{Lookup: answers("::1", "127.0.0.1"), Guard: new(judge), Egress: e}
	c := must[*net.TCPConn](t)(d.Connect(within(t, patience), named(h.port), from))
	if got := c.RemoteAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.1" {
		t.Errorf("dialled %s", got)
	}
	_ = c.Close()
	d.Lookup = answers("::1")
	for _, to := range []upstream.Destination{named(h.port), literal("::1", h.port)} {
		if _, err := d.Connect(within(t, patience), to, from); fault.Classify(err) != fault.DestinationIPUnroutable {
			t.Errorf("%v, want unroutable", err)
		}
	}
}

func TestUnusableEgressIsFound(t *testing.T) {
	if err := upstream.NewEgress(addrs("127.0.3.1", "::1"), upstream.RoundRobin).Usable(); err != nil {
		t.Error(err)
	}
	for _, a := range []string{"198.51.100.1", "2001:db8::1"} {
		err := upstream.NewEgress(addrs("127.0.3.1", a), upstream.RoundRobin).Usable()
		if !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestSourceThatHasGoneIsToldApart(t *testing.T) {
	h := open(t, "127.0.0.1", 0)
	e := upstream.NewEgress(addrs("198.51.100.1"), upstream.RoundRobin)
	var counted []netip.Addr
	d := &upstream.Dialer{
		Lookup: answers("127.0.0.1"), Guard: new(judge), Egress: e,
		NoPorts: func(a netip.Addr) { counted = append(counted, a) },
	}
	_, err := d.Connect(within(t, patience), named(h.port), turn(e))
	if !errors.Is(err, upstream.ErrNoPort) || fault.Classify(err).Status() != 503 {
		t.Errorf("%v, want a 503 that another source may cure", err)
	}
	if len(counted) != 1 || counted[0].String() != "198.51.100.1" {
		t.Errorf("counted %v", counted)
	}
}

func TestIdleConnectionsStayWithTheirSource(t *testing.T) {
	h := scripted(t, fine)
	p := upstream.NewIdle(upstream.Options{})
	t.Cleanup(p.Close)
	e := upstream.NewEgress(addrs("127.0.3.1", "127.0.3.2"), upstream.RoundRobin)
	d := &upstream.Dialer{Lookup: answers("127.0.0.1"), Guard: new(judge), Egress: e}
	one, two := turn(e), turn(e)
	a, b, none := p.Origin(named(h.port), one), p.Origin(named(h.port), two), p.Origin(named(h.port), nil)
	for _, o := range []*upstream.Origin{a, b, none} {
		defer o.Release()
	}
	idle(t, a, d, 2)
	if b.Take(d.Guard, time.Hour) != nil || none.Take(d.Guard, time.Hour) != nil {
		t.Error("another source got the connection")
	}
	c := a.Take(d.Guard, time.Hour)
	if c == nil {
		t.Fatal("its own source did not")
	}
	c.Put(clock.Now())
}

func TestClosedPoolKeepsNothing(t *testing.T) {
	p, o, d, h := rig(t, upstream.Options{}, fine)
	idle(t, o, d, 3)
	c := o.Take(d.Guard, time.Hour)
	exchange(t, c, true)
	p.Close()
	wantIdle(t, p, 0)
	c.Put(clock.Now())
	wantIdle(t, p, 0)
	if h.visits() != 3 {
		t.Errorf("%d connections", h.visits())
	}
}

func TestGiveUpClosesIdleConnections(t *testing.T) {
	p, o, d, _ := rig(t, upstream.Options{}, fine)
	idle(t, o, d, 5)
	p.GiveUp(2)
	wantIdle(t, p, 3)
	p.GiveUp(100)
	wantIdle(t, p, 0)
}
