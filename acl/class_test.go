package acl_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"viaduct/acl"
)

func TestEffectZeroIsDeny(t *testing.T) {
	var e acl.Effect
	if e != acl.Deny || e.String() != "deny" {
		t.Fatalf("zero Effect is %v", e)
	}
	for e, want := range map[acl.Effect]string{acl.Allow: "allow", acl.Observe: "observe", 77: "deny"} {
		if got := e.String(); got != want {
			t.Errorf("Effect(%d) = %q, want %q", e, got, want)
		}
	}
}

// classified are addresses, the edges of blocks above all, and their classes.
var classified = []struct {
	in   string
	want acl.Class
}{
	{"8.8.8.8", acl.Public},
	{"1.1.1.1", acl.Public},
	{"93.184.216.34", acl.Public},
	{"223.255.255.255", acl.Public},
	{"2606:4700::1111", acl.Public},
	{"2a00:1450:4001::200e", acl.Public},
	{"2001:4860:4860::8888", acl.Public},
	{"2620:4f:8000::1", acl.Public},

	{"0.0.0.0", acl.Unspecified},
	{"0.255.255.255", acl.Unspecified},
	{"1.0.0.0", acl.Public},
	{"9.255.255.255", acl.Public},
	{"10.0.0.0", acl.Private},
	{"10.255.255.255", acl.Private},
	{"11.0.0.0", acl.Public},
	{"100.63.255.255", acl.Public},
	{"100.64.0.0", acl.Shared},
	{"100.127.255.255", acl.Shared},
	{"100.128.0.0", acl.Public},
	{"100.100.100.200", acl.Metadata},
	{"126.255.255.255", acl.Public},
	{"127.0.0.1", acl.Loopback},
	{"127.255.255.255", acl.Loopback},
	{"128.0.0.0", acl.Public},
	{"168.63.129.16", acl.Metadata},
	{"168.63.129.17", acl.Public},
	{"169.253.255.255", acl.Public},
	{"169.254.0.1", acl.LinkLocal},
	{"169.254.169.254", acl.Metadata},
	{"169.254.169.253", acl.LinkLocal},
	{"169.254.170.2", acl.Metadata},
	{"169.255.0.0", acl.Public},
	{"172.15.255.255", acl.Public},
	{"172.16.0.0", acl.Private},
	{"172.31.255.255", acl.Private},
	{"172.32.0.0", acl.Public},
	{"192.0.0.1", acl.Reserved},
	{"192.0.0.192", acl.Metadata},
	{"192.0.1.0", acl.Public},
	{"192.0.2.1", acl.Documentation},
	{"192.88.99.1", acl.Reserved},
	{"192.167.255.255", acl.Public},
	{"192.168.0.0", acl.Private},
	{"192.168.255.255", acl.Private},
	{"192.169.0.0", acl.Public},
	{"198.17.255.255", acl.Public},
	{"198.18.0.0", acl.Benchmarking},
	{"198.19.255.255", acl.Benchmarking},
	{"198.20.0.0", acl.Public},
	{"198.51.100.1", acl.Documentation},
	{"203.0.113.1", acl.Documentation},
	{"224.0.0.1", acl.Multicast},
	{"239.255.255.255", acl.Multicast},
	{"240.0.0.1", acl.Reserved},
	{"255.255.255.255", acl.Reserved},

	{"::", acl.Unspecified},
	{"::1", acl.Loopback},
	{"::1%lo", acl.Loopback},
	{"::2", acl.Unspecified}, // ::0.0.0.2
	{"fe80::1", acl.LinkLocal},
	{"fe80::1%eth0", acl.LinkLocal},
	{"febf:ffff::1", acl.LinkLocal},
	{"fec0::1", acl.Private},
	{"feff::1", acl.Private},
	{"fc00::1", acl.Private},
	{"fdff::1", acl.Private},
	{"fd00:ec2::254", acl.Metadata},
	{"fd00:ec2::253", acl.Private},
	{"fd20:ce::254", acl.Metadata},
	{"ff02::1", acl.Multicast},
	{"100::1", acl.Reserved},
	{"1fff::1", acl.Reserved},
	{"2000::1", acl.Public},
	{"3ffe::1", acl.Public},
	{"3fff::1", acl.Documentation},
	{"3fff:1000::1", acl.Public},
	{"4000::1", acl.Reserved},
	{"5f00::1", acl.Reserved},
	{"8000::1", acl.Reserved},
	{"e000::1", acl.Reserved},
	{"2001:db8::1", acl.Documentation},
	{"2001:2::1", acl.Benchmarking},
	{"2001:10::1", acl.Reserved},
	{"2001:20::1", acl.Reserved},
	{"2001:1ff::1", acl.Reserved},
	{"2001:200::1", acl.Public},

	// Embedded: the inner address where it is not public …
	{"::ffff:127.0.0.1", acl.Loopback},
	{"::ffff:169.254.169.254", acl.Metadata},
	{"::ffff:8.8.8.8", acl.Public},
	{"::127.0.0.1", acl.Loopback},
	{"::10.1.2.3", acl.Private},
	{"::ffff:0:10.1.2.3", acl.Private},
	{"64:ff9b::127.0.0.1", acl.Loopback},
	{"64:ff9b::169.254.169.254", acl.Metadata},
	{"64:ff9b:1:a00:1::", acl.Private}, // 10.0.1.0
	{"64:ff9b:1:0a00:0:100::", acl.Private},
	{"64:ff9b:1::192.168.0.1", acl.Private},
	{"2002:7f00:1::", acl.Loopback},
	{"2002:a9fe:a9fe::1", acl.Metadata},
	{"2001:0:102:304:0:0:80ff:fffe", acl.Loopback}, // Teredo client 127.0.0.1
	{"2001:0:102:304:0:5efe:80ff:fffe", acl.Loopback},
	{"2a00::5efe:10.0.0.1", acl.Private},
	{"2a00::200:5efe:10.0.0.1", acl.Private},
	{"fe80::5efe:8.8.8.8", acl.LinkLocal},
	{"fe80::5efe:127.0.0.1%eth0", acl.LinkLocal},
	// … and Translated where it is.
	{"::8.8.8.8", acl.Translated},
	{"::ffff:0:8.8.8.8", acl.Translated},
	{"64:ff9b::8.8.8.8", acl.Translated},
	{"64:ff9b:1::8.8.8.8", acl.Translated},
	{"64:ff9b:2::8.8.8.8", acl.Reserved},
	{"2002:808:808::1", acl.Translated},
	{"2001:0:102:304::f7f7:f7f7", acl.Translated},
	{"2a00::5efe:8.8.8.8", acl.Translated},
}

func TestClassify(t *testing.T) {
	for _, c := range classified {
		if got := acl.Classify(netip.MustParseAddr(c.in)); got != c.want {
			t.Errorf("Classify(%s) = %v, want %v", c.in, got, c.want)
		}
	}
	if got := acl.Classify(netip.Addr{}); got != acl.Invalid {
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
		if got := acl.Unwrap(netip.MustParseAddr(c.in)); got != netip.MustParseAddr(c.want) {
			t.Errorf("Unwrap(%s) = %v, want %v", c.in, got, c.want)
		}
	}
	if acl.Unwrap(netip.Addr{}).IsValid() {
		t.Error("an invalid address became valid")
	}
}

func TestClassNames(t *testing.T) {
	seen := map[string]bool{}
	for c := range acl.Reserved + 1 {
		if s := c.String(); s == "" || seen[s] {
			t.Errorf("Class(%d) is %q", c, s)
		}
		seen[c.String()] = true
	}
	if got := acl.Class(200).String(); got != "invalid" {
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
		plain := acl.Classify(netip.AddrFrom4(v4))
		for i, e := range embeddings(v4, rest) {
			got := acl.Classify(e)
			if got == acl.Public && (plain != acl.Public || i > 2) {
				t.Errorf("%v (%v inside) is public", e, plain)
			}
			if u := acl.Unwrap(e); acl.Unwrap(u) != u || u.Zone() != "" {
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
			acl.Classify(a)
			acl.Unwrap(a)
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
				acl.Classify(a)
			}
		})
	}
}
