package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/guard"
	"viaduct/upstream"
)

// connected dials and expects to reach the address.
func connected(t *testing.T, d *upstream.Dialer, to upstream.Destination, want string) {
	t.Helper()
	c, err := d.Connect(within(t, patience), to, nil)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	defer c.Close()
	if got := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); got.String() != want {
		t.Errorf("connected to %v, want %s", got, want)
	}
}

// refused dials and expects a failure of that kind.
func refused(t *testing.T, d *upstream.Dialer, to upstream.Destination, want fault.Kind) error {
	t.Helper()
	c, err := d.Connect(within(t, patience), to, nil)
	if err == nil {
		_ = c.Close()
		t.Fatalf("connected to %v, want %v", c.RemoteAddr(), want)
	}
	if got := fault.Classify(err); got != want {
		t.Errorf("%v is %v, want %v", err, got, want)
	}
	return err
}

func TestSilentFirstFamilyDoesNotHoldUpTheSecond(t *testing.T) {
	for _, c := range []struct{ name, dead, live string }{
		{"v6 then v4", "::1", "127.0.0.1"},
		{"v4 then v6", "127.0.0.1", "::1"},
		{"same family", "127.0.0.2", "127.0.0.3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, c.live, 0)
			hole(t, c.dead, h.port)
			before := descriptors()
			d := &upstream.Dialer{Lookup: answers(c.dead, c.live), Guard: new(judge)}
			connected(t, d, named(h.port), c.live)
			poll(t, "the loser is closed", func() bool { return descriptors() <= before+1 }) // +1: the house keeps its guest
		})
	}
}

// A stagger before each address that refuses would take fifteen seconds.
func TestRefusedAddressGivesWayAtOnce(t *testing.T) {
	h := open(t, "127.0.0.200", 0)
	var list []string
	for i := range 60 {
		list = append(list, netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)}).String())
	}
	d := &upstream.Dialer{Lookup: answers(append(list, "127.0.0.200")...), Guard: new(judge)}
	c, err := d.Connect(within(t, 10*time.Second), named(h.port), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// A name can have thousands of addresses, all of them somebody else's.
func TestAttemptsAreBounded(t *testing.T) {
	h := open(t, "127.0.3.200", 0)
	var list []string
	for i := range 600 {
		list = append(list, netip.AddrFrom4([4]byte{127, 0, byte(1 + i/250), byte(2 + i%250)}).String())
	}
	d := &upstream.Dialer{Lookup: answers(append(list, "127.0.3.200")...), Guard: new(judge)}
	refused(t, d, named(h.port), fault.ConnectionRefused)
	if h.visits() != 0 {
		t.Error("the 601st address was tried")
	}
}

func TestFamiliesAlternate(t *testing.T) {
	h := open(t, "::1", 0)
	var silent []string
	for i := range 12 {
		silent = append(silent, netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)}).String())
		hole(t, silent[i], h.port)
	}
	d := &upstream.Dialer{Lookup: answers(append(silent, "::1")...), Guard: new(judge)}
	ctx := within(t, 2500*time.Millisecond) // twelve staggers are three seconds; one is enough
	c, err := d.Connect(ctx, named(h.port), nil)
	if err != nil {
		t.Fatalf("the other family was not tried second: %v", err)
	}
	_ = c.Close()
}

func TestWhenAllFailTheFirstErrorIsTold(t *testing.T) {
	port := freePort(t)
	const unroutable = "fe80::1" // link-local without a zone
	for _, c := range []struct {
		name string
		list []string
		want fault.Kind
	}{
		{"refused first", []string{"127.0.0.1", unroutable}, fault.ConnectionRefused},
		{"unroutable first", []string{unroutable, "127.0.0.1"}, fault.DestinationIPUnroutable},
		{"one", []string{"127.0.0.1"}, fault.ConnectionRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, &upstream.Dialer{Lookup: answers(c.list...), Guard: new(judge)}, named(port), c.want)
		})
	}
}

func TestSilenceOfAllIsATimeout(t *testing.T) {
	port := freePort(t)
	hole(t, "127.0.0.2", port)
	hole(t, "127.0.0.3", port)
	before := descriptors()
	d := &upstream.Dialer{Lookup: answers("127.0.0.2", "127.0.0.3"), Guard: new(judge)}
	for _, to := range []upstream.Destination{named(port), literal("127.0.0.2", port)} {
		_, err := d.Connect(within(t, 600*time.Millisecond), to, nil)
		if fault.Classify(err) != fault.ConnectionTimeout {
			t.Errorf("%s: %v, want a connection timeout", to.Host, err)
		}
	}
	poll(t, "attempts are closed", func() bool { return descriptors() <= before })
}

func TestOnlyAllowedAddressesAreDialled(t *testing.T) {
	h := open(t, "127.0.0.3", 0)
	inner := open(t, "127.0.0.2", h.port)
	j := &judge{refuse: func(a netip.AddrPort) bool { return a.Addr() != netip.MustParseAddr("127.0.0.3") }}
	d := &upstream.Dialer{Lookup: answers("127.0.0.2", "::ffff:127.0.0.2", "10.0.0.1", "127.0.0.3"), Guard: j}
	connected(t, d, named(h.port), "127.0.0.3")
	if inner.visits() != 0 {
		t.Error("an address that the guard refused was dialled")
	}
	want := []string{"127.0.0.2", "127.0.0.2", "10.0.0.1", "127.0.0.3"}
	for i, a := range j.questions() {
		if a != netip.AddrPortFrom(netip.MustParseAddr(want[i]), h.port) {
			t.Errorf("question %d was about %v, want %s", i, a, want[i])
		}
	}
}

func TestNameWithoutAnAllowedAddressIsProhibited(t *testing.T) {
	h := open(t, "127.0.0.1", 0)
	d := &upstream.Dialer{Guard: guard.New(guard.Options{})}
	for _, to := range []upstream.Destination{
		named(h.port), literal("127.0.0.1", h.port), literal("::ffff:127.0.0.1", h.port), literal("::1", h.port),
	} {
		d.Lookup = answers("127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254")
		refused(t, d, to, fault.DestinationIPProhibited)
	}
	d.Guard = guard.New(guard.Options{AllowPrivate: true, Own: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), h.port)}})
	d.Lookup = answers("127.0.0.1", "::1")
	refused(t, d, named(h.port), fault.LoopDetected)
	if h.visits() != 0 {
		t.Error("a prohibited address was dialled")
	}
}

// A name server may change its mind between two questions (rebinding): what is
// dialled is what was judged, and each Connect asks once.
func TestWhatIsDialledWasJudged(t *testing.T) {
	good := open(t, "127.0.0.2", 0)
	bad := open(t, "127.0.0.3", good.port)
	asked := 0
	lookup := func(context.Context, string) ([]netip.Addr, error) {
		asked++
		if asked%2 == 0 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.3")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
	}
	j := &judge{refuse: func(a netip.AddrPort) bool { return a.Addr().String() == "127.0.0.3" }}
	d := &upstream.Dialer{Lookup: lookup, Guard: j}
	for range 5 {
		connected(t, d, named(good.port), "127.0.0.2")
		refused(t, d, named(good.port), fault.DestinationIPProhibited)
	}
	if asked != 10 {
		t.Errorf("%d lookups for 10 connections", asked)
	}
	if bad.visits() != 0 {
		t.Error("the address that was refused was dialled")
	}
}

func TestCancelEndsALookup(t *testing.T) {
	d := &upstream.Dialer{Guard: new(judge), Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { _, err := d.Connect(ctx, named(80), nil); ended <- err }()
	cancel()
	if err := receive(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

func TestCancelEndsADial(t *testing.T) {
	port := freePort(t)
	hole(t, "127.0.0.2", port)
	hole(t, "::1", port)
	before := descriptors()
	d := &upstream.Dialer{Lookup: answers("127.0.0.2", "::1"), Guard: new(judge)}
	for _, to := range []upstream.Destination{named(port), literal("127.0.0.2", port)} {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { _, err := d.Connect(ctx, to, nil); ended <- err }()
		poll(t, "the dial has begun", func() bool { return descriptors() > before })
		cancel()
		if err := receive(t, ended); err == nil {
			t.Error("connected to nothing")
		}
		poll(t, "the attempts are closed", func() bool { return descriptors() <= before })
	}
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestUnreachablePeersHaveAKind(t *testing.T) {
	d := &upstream.Dialer{Lookup: answers(), Guard: new(judge)}
	refused(t, d, named(80), fault.DNSError)
	err := refused(t, d, literal("127.0.0.1", freePort(t)), fault.ConnectionRefused)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the cause is gone: %v", err)
	}
}
