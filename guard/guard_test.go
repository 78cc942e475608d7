package guard_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/fault"
	"viaduct/guard"
)

// machine is a machine with these addresses.
func machine(addrs ...string) func() ([]netip.Addr, error) {
	var list []netip.Addr
	for _, s := range addrs {
		list = append(list, netip.MustParseAddr(s))
	}
	return func() ([]netip.Addr, error) { return list, nil }
}

func own(addrs ...string) (list []netip.AddrPort) {
	for _, s := range addrs {
		list = append(list, netip.MustParseAddrPort(s))
	}
	return list
}

// check wants kind from g, and a refusal that tells a client no address.
func check(t *testing.T, g *guard.Guard, addr string, want fault.Kind) {
	t.Helper()
	err := g.Check(netip.MustParseAddrPort(addr))
	if got := fault.Classify(err); got != want {
		t.Errorf("Check(%s) = %v, want kind %q", addr, err, want)
	}
	var e *fault.Error
	if err == nil {
		return
	}
	if !errors.As(err, &e) || e.Err == nil || strings.ContainsAny(e.Say(), "0123456789") {
		t.Errorf("Check(%s) says %q because of %v", addr, e.Say(), e.Err)
	}
}

func TestGuardRefusesWhatIsNotPublic(t *testing.T) {
	for name, g := range map[string]*guard.Guard{
		"zero":    {},
		"made":    guard.New(guard.Options{}),
		"private": guard.New(guard.Options{AllowPrivate: true}),
	} {
		t.Run(name, func(t *testing.T) {
			refused := fault.DestinationIPProhibited
			if name == "private" {
				refused = fault.None
			}
			check(t, g, "8.8.8.8:443", fault.None)
			check(t, g, "[2a00:1450::1]:443", fault.None)
			check(t, g, "[::ffff:8.8.8.8]:443", fault.None)
			for _, a := range []string{
				"0.0.0.0:80", "10.0.0.1:80", "100.64.0.1:80", "100.100.100.200:80", "127.0.0.1:80",
				"169.254.169.254:80", "172.16.0.1:80", "192.0.0.1:80", "192.0.2.1:80", "192.168.0.1:80", "198.18.0.1:80",
				"198.51.100.1:80", "203.0.113.1:80", "224.0.0.1:80", "240.0.0.1:80", "255.255.255.255:80",
				"[::]:80", "[::1]:80", "[::127.0.0.1]:80", "[::8.8.8.8]:80", "[::ffff:127.0.0.1]:80", "[::ffff:0:8.8.8.8]:80",
				"[64:ff9b::8.8.8.8]:80", "[64:ff9b:1::1]:80", "[100::1]:80", "[2001::1]:80", "[2001:db8::1]:80", "[2002:808:808::1]:80",
				"[fc00::1]:80", "[fd00:ec2::254]:80", "[fe80::1%eth0]:80", "[fec0::1]:80", "[ff02::1]:80",
			} {
				check(t, g, a, refused)
			}
			if err := g.Check(netip.AddrPort{}); fault.Classify(err) != fault.DestinationIPProhibited {
				t.Errorf("no address at all: %v", err)
			}
		})
	}
}

func TestGuardNeverDialsItsOwnListeners(t *testing.T) {
	for _, private := range []bool{false, true} {
		g := guard.New(guard.Options{
			AllowPrivate: private,
			Own:          own("127.0.0.1:3128", "0.0.0.0:443", "9.9.9.9:8080", "[::]:1080"),
			Egress:       []netip.Addr{netip.MustParseAddr("7.7.7.7")},
			LocalAddrs:   machine("10.0.0.5", "8.8.4.4", "fe80::5%eth0", "2a00::5", "::ffff:11.0.0.5"),
		})
		for _, a := range []string{
			"127.0.0.1:3128", "127.0.0.1:443", "127.7.7.7:1080", "[::1]:3128", "[::1%lo]:443",
			"0.0.0.0:3128", "0.1.2.3:3128", "[::]:443",
			"10.0.0.5:3128", "8.8.4.4:443", "11.0.0.5:443", "[2a00::5]:443", "[fe80::5%eth0]:443", "[fe80::5%eth1]:443", "[fe80::5]:443",
			"9.9.9.9:8080", "9.9.9.9:443", "7.7.7.7:443", "[::ffff:7.7.7.7]:3128",
			"[::ffff:127.0.0.1]:443", "[::ffff:8.8.4.4]:443", "[::127.0.0.1]:443", "[64:ff9b::8.8.4.4]:443", "[2002:808:404::]:443",
			"[64:ff9b::10.0.0.5]:3128", "[::ffff:0:9.9.9.9]:8080",
		} {
			check(t, g, a, fault.LoopDetected)
		}
		for _, a := range []string{"8.8.8.8:443", "[2a00::6]:443", "9.9.9.8:443", "7.7.7.8:80"} {
			check(t, g, a, fault.None)
		}
		want := fault.DestinationIPProhibited
		if private {
			want = fault.None
		}
		for _, a := range []string{"127.0.0.1:80", "10.0.0.5:80", "10.0.0.6:443", "[::1]:8081", "[fe80::6%eth0]:443"} {
			check(t, g, a, want)
		}
	}
}

// TestGuardRefusesThisMachine: whatever listens here on another port was not
// put there for the clients of a proxy.
func TestGuardRefusesThisMachine(t *testing.T) {
	for _, private := range []bool{false, true} {
		g := guard.New(guard.Options{
			AllowPrivate: private,
			Own:          own("9.9.9.9:8080"),
			Egress:       []netip.Addr{netip.MustParseAddr("::ffff:7.7.7.7")},
			LocalAddrs:   machine("8.8.4.4", "2a00::5", "2a00::6%eth0", "::ffff:11.0.0.5"),
		})
		want := fault.DestinationIPProhibited
		if private {
			want = fault.None
		}
		for _, a := range []string{
			"8.8.4.4:80", "[2a00::5]:22", "[2a00::6]:22", "11.0.0.5:1", "9.9.9.9:80", "7.7.7.7:80",
			"[::ffff:8.8.4.4]:80", "[64:ff9b::8.8.4.4]:80", "[2a00::5%eth7]:22",
		} {
			check(t, g, a, want)
		}
		check(t, g, "8.8.4.5:80", fault.None)
		check(t, g, "[2a00::7]:80", fault.None)
	}
}

func TestGuardAsksForAddressesOnlyWhenItNeedsTo(t *testing.T) {
	asked := 0
	options := guard.Options{
		Own:        own("127.0.0.1:3128", "9.9.9.9:1"),
		LocalAddrs: func() ([]netip.Addr, error) { asked++; return nil, nil },
	}
	g := guard.New(options)
	check(t, g, "127.0.0.1:3128", fault.LoopDetected)
	check(t, g, "[::1]:3128", fault.LoopDetected)
	check(t, g, "10.0.0.1:443", fault.DestinationIPProhibited)
	check(t, g, "9.9.9.9:443", fault.DestinationIPProhibited)
	options.AllowPrivate = true
	check(t, guard.New(options), "8.8.8.8:443", fault.None)
	if asked != 0 {
		t.Errorf("asked %d times", asked)
	}
	check(t, g, "8.8.8.8:443", fault.None)
	check(t, g, "8.8.8.8:3128", fault.None)
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
}

func TestGuardSeesAddressesThatAppearLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, list := 0, []netip.Addr(nil)
		g := guard.New(guard.Options{
			Own:        own("0.0.0.0:443"),
			LocalAddrs: func() ([]netip.Addr, error) { asked++; return list, nil },
		})
		for range 5 {
			check(t, g, "8.8.8.8:443", fault.None)
		}
		list = []netip.Addr{netip.MustParseAddr("8.8.8.8")}
		time.Sleep(10 * time.Second)
		for range 5 {
			check(t, g, "8.8.8.8:443", fault.LoopDetected)
		}
		if asked != 2 {
			t.Errorf("asked %d times, want twice", asked)
		}
		list = nil
		time.Sleep(time.Hour)
		check(t, g, "8.8.8.8:443", fault.None)
	})
}

func TestGuardWithoutAListOfAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		g := guard.New(guard.Options{
			AllowPrivate: true,
			Own:          own("0.0.0.0:443", "9.9.9.9:443"),
			LocalAddrs: func() ([]netip.Addr, error) {
				if broken {
					return nil, errors.New("netlink: no")
				}
				return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
			},
		})
		never := func() {
			t.Helper()
			for _, a := range []string{"127.0.0.1:443", "[::1]:443", "0.0.0.0:443", "[::]:443", "9.9.9.9:443"} {
				check(t, g, a, fault.LoopDetected)
			}
			check(t, g, "1.1.1.1:443", fault.None)
			check(t, g, "8.8.8.8:80", fault.None)
		}
		never()
		check(t, g, "8.8.8.8:443", fault.None)
		broken = false // at the first chance, not ten seconds later
		check(t, g, "8.8.8.8:443", fault.LoopDetected)
		broken = true
		time.Sleep(time.Hour)
		check(t, g, "8.8.8.8:443", fault.LoopDetected) // the old list is better than none
		never()
	})
}

func TestGuardWithTheClockSetBack(t *testing.T) {
	now := time.Unix(1e9, 0)
	g := guard.New(guard.Options{
		Own: own("0.0.0.0:443"), LocalAddrs: machine("8.8.8.8"), Now: func() time.Time { return now },
	})
	check(t, g, "8.8.8.8:443", fault.LoopDetected)
	now = time.Unix(1, 0)
	check(t, g, "8.8.8.8:443", fault.LoopDetected)
}

func TestGuardIsSafeForConcurrentUse(t *testing.T) {
	var tick atomic.Int64
	g := guard.New(guard.Options{
		Own: own("0.0.0.0:443"), LocalAddrs: machine("8.8.8.8"),
		Now: func() time.Time { return time.Unix(tick.Add(3), 0) },
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if fault.Classify(g.Check(netip.MustParseAddrPort("8.8.8.8:443"))) != fault.LoopDetected {
					t.Error("an own address passed")
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestGuardWithoutLocalAddrs(t *testing.T) {
	g := guard.New(guard.Options{AllowPrivate: true, Own: own("0.0.0.0:443", "9.9.9.9:443")})
	check(t, g, "127.0.0.1:443", fault.LoopDetected)
	check(t, g, "9.9.9.9:443", fault.LoopDetected)
	check(t, g, "8.8.8.8:443", fault.None)
	check(t, g, "10.0.0.1:443", fault.None)
}

func TestGuardAllocatesNothing(t *testing.T) {
	skipUnderRace(t)
	g := guard.New(guard.Options{Own: own("0.0.0.0:443"), LocalAddrs: machine("8.8.4.4")})
	for _, a := range own("8.8.8.8:80", "10.0.0.1:80", "8.8.8.8:443", "8.8.4.4:443", "127.0.0.1:443", "[2a00::1]:80") {
		if n := testing.AllocsPerRun(100, func() { _ = g.Check(a) }); n != 0 {
			t.Errorf("%v: %v allocations", a, n)
		}
	}
}

func BenchmarkGuardCheck(b *testing.B) {
	g := guard.New(guard.Options{Own: own("0.0.0.0:3128", "0.0.0.0:9090", "0.0.0.0:1080"), LocalAddrs: machine("8.8.4.4", "10.0.0.5")})
	for _, c := range []struct{ name, addr string }{
		{"public", "93.184.216.34:443"},
		{"public_v6", "[2a00:1450:4001::200e]:443"},
		{"private", "10.0.0.1:443"},
		{"own_port", "93.184.216.34:3128"},
	} {
		b.Run(c.name, func(b *testing.B) {
			a := netip.MustParseAddrPort(c.addr)
			b.ReportAllocs()
			for b.Loop() {
				_ = g.Check(a)
			}
		})
	}
}
