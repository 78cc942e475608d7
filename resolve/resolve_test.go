package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/resolve"
)

func TestBothFamiliesIPv6First(t *testing.T) {
	s := open(t, zone(t, "www.test. 300 A 192.0.2.1", "www.test. 300 A 192.0.2.2", "www.test. 300 AAAA 2001:db8::1"))
	r := s.resolver(t, resolve.Options{})
	want(t, r, "www.test", "2001:db8::1", "192.0.2.1", "192.0.2.2")
	want(t, r, "WWW.Test", "2001:db8::1", "192.0.2.1", "192.0.2.2")
	if got := r.Stats(); got.Hits < 1 || got.Misses != 1 || got.Queries != 2 || got.Entries != 1 || got.Failures+got.Stale != 0 {
		t.Errorf("counted %+v", got)
	}
}

func TestOneFamilyIsEnough(t *testing.T) {
	s := open(t, zone(t, "four.test. 300 A 192.0.2.1", "six.test. 300 AAAA 2001:db8::1"))
	r := s.resolver(t, resolve.Options{})
	want(t, r, "four.test", "192.0.2.1")
	want(t, r, "six.test", "2001:db8::1")
}

func TestErrorsTellTheOperator(t *testing.T) {
	s := open(t, func(p *play) {
		switch p.name() {
		case "none.test.":
			p.rcode(3)
		case "broken.test.":
			p.rcode(2)
		case "empty.test.":
			p.answer()
		}
	})
	r := s.resolver(t, resolve.Options{Timeout: 300 * time.Millisecond})
	for _, tt := range []struct {
		name, says string
		kind       fault.Kind
	}{
		{"none.test", "look up none.test: no such name (NXDOMAIN) from " + s.addr, fault.DNSError},
		{"empty.test", "look up empty.test: no address (NODATA) from " + s.addr, fault.DNSError},
		{"broken.test", "look up broken.test: ask " + s.addr + ": SERVFAIL", fault.DNSError},
		{"silent.test", "look up silent.test: ask " + s.addr + ": no answer", fault.DNSTimeout},
	} {
		_, err := r.Lookup(t.Context(), tt.name)
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != tt.kind || e.Err.Error() != tt.says {
			t.Errorf("%s: %v\nwant a %v: %s", tt.name, err, tt.kind, tt.says)
		}
	}
}

// What is no name, or an address to somebody, is not looked for anywhere.
func TestWhatIsNoNameIsRefused(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	write(t, hosts, "127.0.0.1 127.1 0x7f000001 2130706433 a..b 1.2.3.4 xn--a_b.0x7f\n")
	s := open(t, func(p *play) { p.answer("A 192.0.2.66") })
	r := s.resolver(t, resolve.Options{Hosts: hosts})
	for _, name := range []string{
		"", ".", "a..b", ".a", "a.", "127.0.0.1", "127.1", "1", "0x7f000001", "0X7F.0X1", "a.0x", "a.0x1F", "a.08", "0177.1", "2130706433",
		"99999999999999999999", "::1", "[::1]", "a b", "a\x00b", "a/b", "a\\.b", "a@b", "ä.test", "a%00.test", "a\n.test", "\u212a.test",
		strings.Repeat("a", 64), strings.Repeat("a.", 127), strings.Repeat("a.", 126) + "aa", strings.Repeat("x", 1<<20),
	} {
		addrs, err := r.Lookup(t.Context(), name)
		if fault.Classify(err) != fault.DNSError || addrs != nil {
			t.Errorf("%.40q: %v, %v", name, addrs, err)
		}
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
	if n := s.count(); n != 0 {
		t.Errorf("%d questions", n)
	}
	for _, name := range []string{"a", "a-b.c_d", "1.2.3.4.a", "0xg", "a.1st", strings.Repeat("a.", 126) + "a", strings.Repeat("a", 63)} {
		want(t, r, name, "192.0.2.66")
	}
}

func TestHostsFileComesFirst(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	write(t, hosts, strings.Join([]string{
		"# comment", "192.0.2.1 One.Test one.alias # two.test", "2001:db8::1\tone.test.", "192.0.2.1 one.test", "", "nonsense one.test",
		"192.0.2.7", "fe80::1%eth0 zone.test", "::ffff:192.0.2.9 mapped.test", "10.0.0.1 localhost", "192.0.2.8 last.test",
	}, "\n"))
	now := new(clock)
	s := open(t, func(p *play) { p.answer("A 192.0.2.99") })
	r := s.resolver(t, resolve.Options{Hosts: hosts, Now: now.now})
	want(t, r, "one.test", "2001:db8::1", "192.0.2.1")
	want(t, r, "ONE.alias", "192.0.2.1")
	want(t, r, "mapped.test", "192.0.2.9")
	want(t, r, "last.test", "192.0.2.8")
	want(t, r, "localhost", "10.0.0.1") // the operator's word
	if n := s.count(); n != 0 {
		t.Errorf("%d questions", n)
	}
	want(t, r, "zone.test", "192.0.2.99")
	want(t, r, "two.test", "192.0.2.99")

	write(t, hosts, "192.0.2.2 one.test\n")
	want(t, r, "one.test", "2001:db8::1", "192.0.2.1") // it was looked at just now
	now.add(10 * time.Second)
	want(t, r, "one.test", "192.0.2.2")
	if err := os.Remove(hosts); err != nil {
		t.Fatal(err)
	}
	now.add(10 * time.Second)
	want(t, r, "one.test", "192.0.2.2")
}

func TestHostsFileThatIsNone(t *testing.T) {
	s := open(t, func(p *play) { p.answer("A 192.0.2.99") })
	for _, path := range []string{t.TempDir(), "/dev/zero", "/nonexistent", fifo(t)} {
		want(t, s.resolver(t, resolve.Options{Hosts: path}), "one.test", "192.0.2.99")
	}
}

func TestLocalhostStaysHere(t *testing.T) {
	s := open(t, func(p *play) { p.answer("A 192.0.2.66") })
	r := s.resolver(t, resolve.Options{})
	for _, name := range []string{"localhost", "a.localhost", "A.B.LocalHost"} {
		want(t, r, name, "::1", "127.0.0.1")
	}
	want(t, r, "notlocalhost", "192.0.2.66")
	want(t, r, "localhost.test", "192.0.2.66")
	if n := s.count(); n != 4 {
		t.Errorf("%d questions, want 4", n)
	}
}

func TestDeadlineIsATimeout(t *testing.T) {
	s := open(t, func(*play) {})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := r.Lookup(ctx, "silent.test")
	if fault.Classify(err) != fault.DNSTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a DNS timeout", err)
	}
	noFlights(t, r)
}

func TestCancelledLookupSaysSo(t *testing.T) {
	s := open(t, func(*play) {})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := r.Lookup(ctx, "silent.test"); ended <- err }()
	poll(t, "it is asked", func() bool { return s.count() > 0 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	noFlights(t, r)
}

func TestCloseEndsLookups(t *testing.T) {
	s := open(t, func(p *play) {
		if p.name() == "good.test." {
			p.answer("A 192.0.2.1")
		}
	})
	r := s.resolver(t, resolve.Options{Timeout: patience})
	want(t, r, "good.test", "192.0.2.1")
	ended := make(chan error, 1)
	go func() { _, err := r.Lookup(context.Background(), "silent.test"); ended <- err }()
	poll(t, "it is asked", func() bool { return s.count() > 2 })
	r.Close()
	if err := <-ended; fault.Classify(err) != fault.DNSError || !strings.Contains(err.Error(), "closed") {
		t.Errorf("%v", err)
	}
	want(t, r, "good.test", "192.0.2.1") // from the cache
	if _, err := r.Lookup(t.Context(), "other.test"); fault.Classify(err) != fault.DNSError {
		t.Errorf("%v", err)
	}
	r.Close()
}

func TestHitAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := open(t, zone(t, "www.test. 300 A 192.0.2.1", "www.test. 300 AAAA 2001:db8::1"))
	r := s.resolver(t, resolve.Options{})
	want(t, r, "www.test", "2001:db8::1", "192.0.2.1")
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Lookup(t.Context(), "www.test") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHit(b *testing.B) {
	s := open(b, zone(b, "www.test. 300 A 192.0.2.1", "www.test. 300 AAAA 2001:db8::1"))
	r := s.resolver(b, resolve.Options{})
	want(b, r, "www.test", "2001:db8::1", "192.0.2.1")
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = r.Lookup(ctx, "www.test")
		}
	})
}

func BenchmarkMiss(b *testing.B) {
	s := open(b, func(p *play) { p.answer("A 192.0.2.1") })
	r := s.resolver(b, resolve.Options{})
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _ = r.Lookup(ctx, fmt.Sprintf("n%d.test", i))
	}
}

// want looks a name up and compares. On a loaded machine IPv6 may be late, and
// is there the next time.
func want(t testing.TB, r *resolve.Resolver, name string, addrs ...string) {
	t.Helper()
	all := parse(addrs)
	four := slices.DeleteFunc(slices.Clone(all), netip.Addr.Is6)
	for ctx := within(t); ; <-time.After(time.Millisecond) {
		got, err := r.Lookup(ctx, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if slices.Equal(got, all) {
			return
		}
		if !slices.Equal(got, four) {
			t.Fatalf("%s is %v, want %v", name, got, addrs)
		}
	}
}

// wantNone looks a name up that has no address.
func wantNone(t testing.TB, r *resolve.Resolver, name string) {
	t.Helper()
	if got, err := r.Lookup(within(t), name); fault.Classify(err) != fault.DNSError {
		t.Fatalf("%s is %v, %v; want a DNS error", name, got, err)
	}
}

func parse(list []string) (addrs []netip.Addr) {
	for _, s := range list {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs
}
