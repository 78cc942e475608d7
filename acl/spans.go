package acl

import (
	"net/netip"
	"slices"
)

// span is an unbroken range of addresses, both ends included.
type span struct{ first, last netip.Addr }

// spans are sets of addresses: after merge sorted, and none overlaps another.
type spans []span

// spanOf is the range of a prefix. IPv4-mapped ones are those of IPv4: that is
// the form in which addresses are asked about.
func spanOf(p netip.Prefix) span {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return span{p.Addr(), last}
}

// merge sorts s in place and joins what overlaps.
func merge(s spans) spans {
	s.sort()
	n := 0
	for _, x := range s {
		if n > 0 && !s[n-1].last.Less(x.first) {
			if s[n-1].last.Less(x.last) {
				s[n-1].last = x.last
			}
			continue
		}
		s[n] = x
		n++
	}
	return slices.Clip(s[:n])
}

func (s spans) sort() {
	slices.SortFunc(s, func(a, b span) int { return a.first.Compare(b.first) })
}

func (s spans) has(a netip.Addr) bool {
	low, high := 0, len(s)
	for low < high {
		if middle := int(uint(low+high) / 2); a.Less(s[middle].first) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low > 0 && !s[low-1].last.Less(a)
}
