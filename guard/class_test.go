package guard_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"viaduct/guard"
)

// classified are addresses, the edges of blocks above all, and their classes.
var classified = []struct {
	in   string
	want guard.Class
}{
	{"8.8.8.8", guard.Public},
	{"1.1.1.1", guard.Public},
	{"93.184.216.34", guard.Public},
	{"223.255.255.255", guard.Public},
	{"2606:4700::1111", guard.Public},
	{"2a00:1450:4001::200e", guard.Public},
	{"2001:4860:4860::8888", guard.Public},
	{"2620:4f:8000::1", guard.Public},

	{"0.0.0.0", guard.Unspecified},
	{"0.255.255.255", guard.Unspecified},
	{"1.0.0.0", guard.Public},
	{"9.255.255.255", guard.Public},
	{"10.0.0.0", guard.Private},
	{"10.255.255.255", guard.Private},
	{"11.0.0.0", guard.Public},
	{"100.63.255.255", guard.Public},
	{"100.64.0.0", guard.Shared},
	{"100.127.255.255", guard.Shared},
	{"100.128.0.0", guard.Public},
	{"100.100.100.200", guard.Metadata},
	{"126.255.255.255", guard.Public},
	{"127.0.0.1", guard.Loopback},
	{"127.255.255.255", guard.Loopback},
	{"128.0.0.0", guard.Public},
	{"168.63.129.16", guard.Metadata},
	{"168.63.129.17", guard.Public},
	{"169.253.255.255", guard.Public},
	{"169.254.0.1", guard.LinkLocal},
	{"169.254.169.254", guard.Metadata},
	{"169.254.169.253", guard.LinkLocal},
	{"169.254.170.2", guard.Metadata},
	{"169.255.0.0", guard.Public},
	{"172.15.255.255", guard.Public},
	{"172.16.0.0", guard.Private},
	{"172.31.255.255", guard.Private},
	{"172.32.0.0", guard.Public},
	{"192.0.0.1", guard.Reserved},
	{"192.0.0.192", guard.Metadata},
	{"192.0.1.0", guard.Public},
	{"192.0.2.1", guard.Documentation},
	{"192.88.99.1", guard.Reserved},
	{"192.167.255.255", guard.Public},
	{"192.168.0.0", guard.Private},
	{"192.168.255.255", guard.Private},
	{"192.169.0.0", guard.Public},
	{"198.17.255.255", guard.Public},
	{"198.18.0.0", guard.Benchmarking},
	{"198.19.255.255", guard.Benchmarking},
	{"198.20.0.0", guard.Public},
	{"198.51.100.1", guard.Documentation},
	{"203.0.113.1", guard.Documentation},
	{"224.0.0.1", guard.Multicast},
	{"239.255.255.255", guard.Multicast},
	{"240.0.0.1", guard.Reserved},
	{"255.255.255.255", guard.Reserved},

	{"::", guard.Unspecified},
	{"::1", guard.Loopback},
	{"::1%lo", guard.Loopback},
	{"::2", guard.Unspecified}, // ::0.0.0.2
	{"fe80::1", guard.LinkLocal},
	{"fe80::1%eth0", guard.LinkLocal},
	{"febf:ffff::1", guard.LinkLocal},
	{"fec0::1", guard.Private},
	{"feff::1", guard.Private},
	{"fc00::1", guard.Private},
	{"fdff::1", guard.Private},
	{"fd00:ec2::254", guard.Metadata},
	{"fd00:ec2::253", guard.Private},
	{"fd20:ce::254", guard.Metadata},
	{"ff02::1", guard.Multicast},
	{"100::1", guard.Reserved},
	{"1fff::1", guard.Reserved},
	{"2000::1", guard.Public},
	{"3ffe::1", guard.Public},
	{"3fff::1", guard.Documentation},
	{"3fff:1000::1", guard.Public},
	{"4000::1", guard.Reserved},
	{"5f00::1", guard.Reserved},
	{"8000::1", guard.Reserved},
	{"e000::1", guard.Reserved},
	{"2001:db8::1", guard.Documentation},
	{"2001:2::1", guard.Benchmarking},
	{"2001:10::1", guard.Reserved},
	{"2001:20::1", guard.Reserved},
	{"2001:1ff::1", guard.Reserved},
	{"2001:200::1", guard.Public},

	// Embedded: the inner address where it is not public …
	{"::ffff:127.0.0.1", guard.Loopback},
	{"::ffff:169.254.169.254", guard.Metadata},
	{"::ffff:8.8.8.8", guard.Public},
	{"::127.0.0.1", guard.Loopback},
	{"::10.1.2.3", guard.Private},
	{"::ffff:0:10.1.2.3", guard.Private},
	{"64:ff9b::127.0.0.1", guard.Loopback},
	{"64:ff9b::169.254.169.254", guard.Metadata},
	{"64:ff9b:1:a00:1::", guard.Private}, // 10.0.1.0
	{"64:ff9b:1:0a00:0:100::", guard.Private},
	{"64:ff9b:1::192.168.0.1", guard.Private},
	{"2002:7f00:1::", guard.Loopback},
	{"2002:a9fe:a9fe::1", guard.Metadata},
	{"2001:0:102:304:0:0:80ff:fffe", guard.Loopback}, // Teredo client 127.0.0.1
	{"2001:0:102:304:0:5efe:80ff:fffe", guard.Loopback},
	{"2a00::5efe:10.0.0.1", guard.Private},
	{"2a00::200:5efe:10.0.0.1", guard.Private},
	{"fe80::5efe:8.8.8.8", guard.LinkLocal},
	{"fe80::5efe:127.0.0.1%eth0", guard.LinkLocal},
	// … and Translated where it is.
	{"::8.8.8.8", guard.Translated},
	{"::ffff:0:8.8.8.8", guard.Translated},
	{"64:ff9b::8.8.8.8", guard.Translated},
	{"64:ff9b:1::8.8.8.8", guard.Translated},
	{"64:ff9b:2::8.8.8.8", guard.Reserved},
	{"2002:808:808::1", guard.Translated},
	{"2001:0:102:304::f7f7:f7f7", guard.Translated},
	{"2a00::5efe:8.8.8.8", guard.Translated},
}

func TestClassify(t *testing.T) {
	for _, c := range classified {
		if got := guard.Classify(netip.MustParseAddr(c.in)); got != c.want {
			t.Errorf("Classify(%s) = %v, want %v", c.in, got, c.want)
		}
	}
	if got := guard.Classify(netip.Addr{}); got != guard.Invalid {
		t.Errorf("Classify(Addr{}) = %v", got)
	}
}

func TestUnwrap(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"1.2.3.4", "1.2.3.4"},
		{"2a00::1", "2a00::1"},
		{"fe80::1%eth0", "fe80::1"},
		{"::ffff:1.2.3.4", "1.2.3.4"},
		{"::1.2.3.4", "1.2.3.4"},
		{"::1", "::1"},
		{"::", "::"},
		{"::ffff:0:1.2.3.4", "1.2.3.4"},
		{"64:ff9b::1.2.3.4", "1.2.3.4"},
		{"64:ff9b:1::1.2.3.4", "1.2.3.4"},
		{"64:ff9b:1:102:3:400::", "1.2.3.4"},
		{"2002:102:304::9", "1.2.3.4"},
		{"2001:0:909:909::fefd:fcfb", "1.2.3.4"},
		{"2a00::5efe:1.2.3.4", "1.2.3.4"},
		{"2001:db8::5efe:1.2.3.4", "1.2.3.4"},
	} {
		if got := guard.Unwrap(netip.MustParseAddr(c.in)); got != netip.MustParseAddr(c.want) {
			t.Errorf("Unwrap(%s) = %v, want %v", c.in, got, c.want)
		}
	}
	if guard.Unwrap(netip.Addr{}).IsValid() {
		t.Error("an invalid address became valid")
	}
}

func TestClassNames(t *testing.T) {
	seen := map[string]bool{}
	for c := range guard.Reserved + 1 {
		if s := c.String(); s == "" || seen[s] {
			t.Errorf("Class(%d) is %q", c, s)
		}
		seen[c.String()] = true
	}
	if got := guard.Class(200).String(); got != "invalid" {
		t.Errorf("an unknown class is %q", got)
	}
}

// embeddings are all forms in which an IPv4 address travels inside IPv6.
func embeddings(v4 [4]byte, rest uint64) []netip.Addr {
	make6 := func(prefix string, at int, flip byte) netip.Addr {
		b := netip.MustParseAddr(prefix).As16()
		for i, c := range v4 {
			b[at+i] = c ^ flip
		}
		return netip.AddrFrom16(b)
	}
	random := make6("2001::", 12, 0xff).As16()
	binary.BigEndian.PutUint64(random[4:], rest)
	sixToFour := make6("2002::", 2, 0).As16()
	binary.BigEndian.PutUint64(sixToFour[8:], rest)
	isatap := make6("::5efe:0:0", 12, 0).As16()
	binary.BigEndian.PutUint64(isatap[:], rest)
	rfc6052 := netip.MustParseAddr("64:ff9b:1::").As16()
	copy(rfc6052[6:], v4[:2])
	copy(rfc6052[9:], v4[2:])
	return []netip.Addr{
		netip.AddrFrom4(v4),
		make6("::ffff:0:0", 12, 0),
		make6("::ffff:0:0%z", 12, 0).WithZone("z"),
		make6("::ffff:0:0:0", 12, 0),
		make6("::", 12, 0),
		make6("64:ff9b::", 12, 0),
		make6("64:ff9b:1::", 12, 0),
		netip.AddrFrom16(rfc6052),
		make6("2001::", 12, 0xff),
		netip.AddrFrom16(random),
		netip.AddrFrom16(sixToFour),
		netip.AddrFrom16(isatap),
		make6("2a00::200:5efe:0:0", 12, 0),
	}
}

// FuzzClassify: no form makes a public address of one that is not, and taking
// the inner address out is idempotent.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.8.8", "0.0.0.0", "255.255.255.255"} {
		b := netip.MustParseAddr(s).As4()
		f.Add(b[0], b[1], b[2], b[3], uint64(0x2a00<<48))
	}
	f.Fuzz(func(t *testing.T, a, b, c, d byte, rest uint64) {
		v4 := [4]byte{a, b, c, d}
		plain := guard.Classify(netip.AddrFrom4(v4))
		for i, e := range embeddings(v4, rest) {
			got := guard.Classify(e)
			if got == guard.Public && (plain != guard.Public || i > 2) {
				t.Errorf("%v (%v inside) is public", e, plain)
			}
			if u := guard.Unwrap(e); guard.Unwrap(u) != u || u.Zone() != "" {
				t.Errorf("Unwrap(%v) = %v: not the innermost", e, u)
			}
		}
	})
}

func TestClassifyAllocatesNothing(t *testing.T) {
	skipUnderRace(t)
	addrs := []netip.Addr{
		netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2a00::5efe:10.0.0.1"),
		netip.MustParseAddr("64:ff9b:1::1.2.3.4"), netip.MustParseAddr("fe80::1%eth0"),
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, a := range addrs {
			guard.Classify(a)
			guard.Unwrap(a)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkClassify(b *testing.B) {
	for _, s := range []string{"93.184.216.34", "192.168.1.1", "2a00:1450:4001::200e", "2001:4860:4860::8888", "64:ff9b::8.8.8.8", "::1"} {
		b.Run(s, func(b *testing.B) {
			a := netip.MustParseAddr(s)
			b.ReportAllocs()
			for b.Loop() {
				guard.Classify(a)
			}
		})
	}
}
