package acl

import (
	"bytes"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"
	"strings"

	"viaduct/hop"
)

// Names is a compiled set of hosts: names, names with all below them, and
// addresses. It is immutable; nil is an empty set.
type Names struct {
	// tags and places are a hash table with open addresses and room to spare. A
	// tag is 0 where a slot is empty, else a part of the hash: most of what is
	// not in the set is told by them alone, and they are small enough for caches.
	tags   []uint8
	places []uint32 // of names in text
	text   []byte   // of each name what it means, how long it is, and the name
	count  int      // of names
	most   int      // labels of a name
	addrs  spans
	total  int // of names and addresses
}

// What a name in a set means: a bit each.
const (
	itself uint8 = 1 << iota
	below
)

// seed keeps others from choosing names that meet in one slot.
var seed = maphash.MakeSeed()

// A name has no more than this (RFC 1035 section 2.3.4), and its dots between.
const (
	mostBytes  = 253
	mostLabels = 127
)

// subject is a host that is looked up: an address, or a name with the hashes of
// itself and of all that it stands below. The zero subject is ready.
type subject struct {
	text  string
	taken bool
	count int
	at    [mostLabels]uint8  // where the last label begins, the last two, …
	sums  [mostLabels]uint64 // and the hash of the text from there
	tags  [mostLabels]uint8  // and the tag where a set begins to look for it
	dialled
}

// take makes s ready for a host.
func (s *subject) take(text string) {
	s.text, s.taken, s.count, s.dialled = text, true, 0, dialled{}
	if isAddr(text) {
		if a, err := netip.ParseAddr(text); err == nil {
			s.dialled = newDialled(a)
			return
		}
	}
	// What is longer than a name can be is in a set at most by its end.
	s.text = text[max(0, len(text)-mostBytes):]
	for end := len(s.text); end >= 0 && s.count < mostLabels; s.count++ {
		if end = strings.LastIndexByte(s.text[:end], '.'); end < 0 && len(s.text) < len(text) {
			return
		}
		s.at[s.count] = uint8(end + 1)
		s.sums[s.count] = maphash.String(seed, s.text[end+1:])
	}
}

// isAddr says whether a host in normal form is an address: no name has a colon,
// or a last label of digits.
func isAddr(s string) bool {
	return s != "" && s[len(s)-1] <= '9' && strings.Trim(s[strings.LastIndexByte(s, '.')+1:], "0123456789") == "" ||
		strings.IndexByte(s, ':') >= 0
}

// has says whether s is in the set. Any form of an address counts where it is to
// be denied; otherwise only the very address does.
func (n *Names) has(s *subject, deny bool) bool {
	if s.addr.IsValid() {
		return n.addrs.has(s.addr) || deny && n.addrs.has(s.inner)
	}
	if n.count == 0 {
		return false
	}
	// What is far apart in memory and fetched together costs one wait.
	count := min(s.count, n.most)
	for i, last := 0, uint64(len(n.tags)-1); i < count; i++ {
		s.tags[i] = n.tags[s.sums[i]&last]
	}
	for i := range count {
		if s.tags[i] == 0 {
			continue
		}
		meaning := n.meaning(s.sums[i], s.text[s.at[i]:])
		if meaning&below != 0 && s.at[i] > 0 || meaning&itself != 0 && s.at[i] == 0 {
			return true
		}
	}
	return false
}

// meaning is what a name means to the set, 0 if nothing.
func (n *Names) meaning(sum uint64, name string) uint8 {
	i := n.find(sum, name)
	if n.tags[i] == 0 {
		return 0
	}
	return n.text[n.places[i]]
}

// find returns the slot of a name, or the empty one where it belongs.
func (n *Names) find(sum uint64, name string) uint64 {
	tag, last := tagOf(sum), uint64(len(n.tags)-1)
	for i := sum & last; ; i = (i + 1) & last {
		switch n.tags[i] {
		case 0:
			return i
		case tag:
			if b := n.text[n.places[i]+1:]; string(b[1:1+int(b[0])]) == name {
				return i
			}
		}
	}
}

// tagOf takes a part of a hash that does not say where its slot is.
func tagOf(sum uint64) uint8 { return uint8(sum>>57) | 0x80 }

// Has says whether a host in the normal form of package hop is in the set.
func (n *Names) Has(host string) bool {
	var s subject
	s.take(host)
	return n != nil && n.has(&s, false)
}

// Len is the number of different names and addresses.
func (n *Names) Len() int {
	if n == nil {
		return 0
	}
	return n.total
}

// builder makes Names. The zero builder is ready.
type builder struct{ set Names }

// names ends the building.
func (b *builder) names() *Names {
	n := &b.set
	n.addrs.sort()
	n.addrs = slices.Compact(n.addrs)
	n.total = n.count + len(n.addrs)
	n.addrs = merge(n.addrs)
	n.text = bytes.Clone(n.text)
	return n
}

// add puts a host into the set, if there is room for it.
func (b *builder) add(h hostValue) bool {
	if h.Addr.IsValid() {
		a := h.Addr.Unmap()
		b.set.addrs = append(b.set.addrs, span{a, a})
		return true
	}
	n := &b.set
	if uint64(len(n.text)+2+len(h.Host)) > math.MaxUint32 {
		return false
	}
	if 4*n.count >= 3*len(n.tags) {
		n.grow()
	}
	sum := maphash.String(seed, h.Host)
	i := n.find(sum, h.Host)
	if n.tags[i] == 0 {
		n.tags[i], n.places[i] = tagOf(sum), uint32(len(n.text))
		n.text = append(append(n.text, 0, uint8(len(h.Host))), h.Host...)
		n.count++
		n.most = max(n.most, 1+strings.Count(h.Host, "."))
	}
	n.text[n.places[i]] |= h.meaning
	return true
}

// grow makes room for twice as many names.
func (n *Names) grow() {
	size := max(8, 2*len(n.tags))
	n.tags, n.places = make([]uint8, size), make([]uint32, size)
	last := uint64(size - 1)
	for place := 0; place < len(n.text); {
		end := place + 2 + int(n.text[place+1])
		sum := maphash.Bytes(seed, n.text[place+2:end])
		i := sum & last
		for n.tags[i] != 0 {
			i = (i + 1) & last
		}
		n.tags[i], n.places[i] = tagOf(sum), uint32(place)
		place = end
	}
}

// hostValue is a value of host=, read.
type hostValue struct {
	hop.Target
	meaning uint8
}
