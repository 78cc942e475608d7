package guard

import "net/netip"

// Class is what kind of network an address belongs to. Only Public addresses
// are for everybody; zero is Invalid, so that nothing is public by omission.
type Class uint8

// The classes.
const (
	Invalid       Class = iota // no address at all
	Public                     // global unicast
	Unspecified                // 0.0.0.0/8 and ::, which dial this machine
	Loopback                   // this machine
	Private                    // RFC 1918, unique local and site-local addresses
	LinkLocal                  // this link
	Shared                     // carrier-grade NAT, RFC 6598
	Metadata                   // services in which clouds keep their machines' credentials
	Multicast                  // groups
	Documentation              // examples in papers
	Benchmarking               // laboratories
	Translated                 // IPv6 that a gateway turns into a public IPv4 address
	Reserved                   // everything else that is not global unicast
	classes
)

var classNames = [classes]string{
	Invalid:       "invalid",
	Public:        "public",
	Unspecified:   "unspecified",
	Loopback:      "loopback",
	Private:       "private",
	LinkLocal:     "link_local",
	Shared:        "shared",
	Metadata:      "metadata",
	Multicast:     "multicast",
	Documentation: "documentation",
	Benchmarking:  "benchmarking",
	Translated:    "translated",
	Reserved:      "reserved",
}

// String is the name in logs and metrics.
func (c Class) String() string {
	if c >= classes {
		c = Invalid
	}
	return classNames[c]
}

// block is a row of a registry: the first that holds an address gives its class.
type block struct {
	prefix netip.Prefix
	class  Class
}

// The rows follow the IANA special-purpose registries (RFC 6890) and refuse
// more where a row has exceptions: nobody needs a proxy to get at those.
var v4 = index([]block{
	{netip.MustParsePrefix("169.254.169.254/32"), Metadata}, // nearly every cloud
	{netip.MustParsePrefix("169.254.170.2/32"), Metadata},   // AWS, containers
	{netip.MustParsePrefix("169.254.170.23/32"), Metadata},  // AWS, pods
	{netip.MustParsePrefix("169.254.42.42/32"), Metadata},   // Scaleway
	{netip.MustParsePrefix("169.254.0.23/32"), Metadata},    // Tencent
	{netip.MustParsePrefix("100.100.100.200/32"), Metadata}, // Alibaba
	{netip.MustParsePrefix("192.0.0.192/32"), Metadata},     // Oracle
	{netip.MustParsePrefix("168.63.129.16/32"), Metadata},   // Azure; the only one in public space

	{netip.MustParsePrefix("0.0.0.0/8"), Unspecified},
	{netip.MustParsePrefix("10.0.0.0/8"), Private},
	{netip.MustParsePrefix("100.64.0.0/10"), Shared},
	{netip.MustParsePrefix("127.0.0.0/8"), Loopback},
	{netip.MustParsePrefix("169.254.0.0/16"), LinkLocal},
	{netip.MustParsePrefix("172.16.0.0/12"), Private},
	{netip.MustParsePrefix("192.0.0.0/24"), Reserved},
	{netip.MustParsePrefix("192.0.2.0/24"), Documentation},
	{netip.MustParsePrefix("192.88.99.0/24"), Reserved}, // 6to4 relays, RFC 7526
	{netip.MustParsePrefix("192.168.0.0/16"), Private},
	{netip.MustParsePrefix("198.18.0.0/15"), Benchmarking},
	{netip.MustParsePrefix("198.51.100.0/24"), Documentation},
	{netip.MustParsePrefix("203.0.113.0/24"), Documentation},
	{netip.MustParsePrefix("224.0.0.0/4"), Multicast},
	{netip.MustParsePrefix("240.0.0.0/4"), Reserved},
})

var v6 = index([]block{
	{netip.MustParsePrefix("fd00:ec2::254/128"), Metadata}, // AWS
	{netip.MustParsePrefix("fd00:ec2::23/128"), Metadata},  // AWS, pods
	{netip.MustParsePrefix("fd20:ce::254/128"), Metadata},  // Google
	{netip.MustParsePrefix("fd00:42::42/128"), Metadata},   // Scaleway

	{netip.MustParsePrefix("::/128"), Unspecified},
	{netip.MustParsePrefix("::1/128"), Loopback},
	{netip.MustParsePrefix("::/96"), Translated},           // IPv4-compatible, RFC 4291
	{netip.MustParsePrefix("::ffff:0:0:0/96"), Translated}, // SIIT, RFC 2765
	{netip.MustParsePrefix("64:ff9b::/96"), Translated},    // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), Translated},  // NAT64, RFC 8215
	{netip.MustParsePrefix("2001::/32"), Translated},       // Teredo, RFC 4380
	{netip.MustParsePrefix("2002::/16"), Translated},       // 6to4, RFC 3056
	{netip.MustParsePrefix("2001:2::/48"), Benchmarking},
	{netip.MustParsePrefix("2001:db8::/32"), Documentation},
	{netip.MustParsePrefix("3fff::/20"), Documentation},
	{netip.MustParsePrefix("2001::/23"), Reserved}, // protocol assignments, ORCHID
	{netip.MustParsePrefix("fc00::/7"), Private},
	{netip.MustParsePrefix("fe80::/10"), LinkLocal},
	{netip.MustParsePrefix("fec0::/10"), Private}, // site-local, RFC 3879
	{netip.MustParsePrefix("ff00::/8"), Multicast},
	// Global unicast is 2000::/3 and nothing else yet.
	{netip.MustParsePrefix("::/3"), Reserved},
	{netip.MustParsePrefix("4000::/2"), Reserved},
	{netip.MustParsePrefix("8000::/1"), Reserved},
})

// index sorts rows by the first byte of the addresses that they hold: most
// public addresses find no row at all.
func index(rows []block) *[256][]block {
	x := new([256][]block)
	for _, r := range rows {
		first := int(r.prefix.Addr().AsSlice()[0])
		for i := range 1 << max(0, 8-r.prefix.Bits()) {
			x[first+i] = append(x[first+i], r)
		}
	}
	return x
}

func find(rows []block, a netip.Addr) Class {
	for i := range rows {
		if rows[i].prefix.Contains(a) {
			return rows[i].class
		}
	}
	return Public
}

// Classify says what kind of network a belongs to. The zone plays no part. An
// IPv4-mapped address is that IPv4 address. Another address with an IPv4
// address inside has the class of the inner one, or Translated where that is
// Public: it is never Public itself.
func Classify(a netip.Addr) Class {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return classify4(a)
	}
	if !a.IsValid() {
		return Invalid
	}
	b := a.As16()
	c := find(v6[b[0]], a)
	switch {
	case c == Public && !isISATAP(&b):
		return Public
	case c != Public && c != Translated:
		return c
	}
	if inner := classify4(embedded(&b)); inner != Public {
		return inner
	}
	return Translated
}

func classify4(a netip.Addr) Class {
	b := a.As4()
	return find(v4[b[0]], a)
}

// Unwrap takes the IPv4 address out of an IPv6 address that holds one:
// IPv4-mapped and -compatible, SIIT, NAT64, 6to4, Teredo (the client's) and
// ISATAP. Any other address is returned as it is, without zone.
func Unwrap(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	b := a.As16()
	if c := find(v6[b[0]], a); c == Translated || isISATAP(&b) {
		return embedded(&b)
	}
	return a
}

// embedded is the IPv4 address inside an address that is known to hold one.
func embedded(b *[16]byte) netip.Addr {
	switch {
	case b[0] == 0x20 && b[1] == 0x02: // 6to4
		return netip.AddrFrom4([4]byte(b[2:6]))
	case [4]byte(b[:4]) == [4]byte{0x20, 0x01}: // Teredo, inverted
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	case b[0] == 0 && b[1] == 0x64 && b[5] == 1 && [5]byte(b[11:]) == [5]byte{}: // RFC 6052 section 2.2, a /48
		return netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]})
	}
	return netip.AddrFrom4([4]byte(b[12:]))
}

// isISATAP says whether the lower half is an interface identifier made of an
// IPv4 address (RFC 5214 section 6.1), under whatever prefix.
func isISATAP(b *[16]byte) bool {
	return b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}
