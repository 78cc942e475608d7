package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// zone is what the name server knows.
type zone map[string][]netip.Addr

func parseZone(names []string) (zone, error) {
	z := make(zone)
	for _, s := range names {
		name, list, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("%s: write NAME=ADDR", s)
		}
		for text := range strings.SplitSeq(list, ",") {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, err
			}
			z[name] = append(z[name], a)
		}
	}
	return z, nil
}

// serve answers A and AAAA questions, one a packet.
func (z zone) serve(pc net.PacketConn) error {
	buf := make([]byte, 1500)
	for {
		n, peer, err := pc.ReadFrom(buf)
		if err != nil {
			return err
		}
		if answer := z.answer(buf[:n]); answer != nil {
			if _, err := pc.WriteTo(answer, peer); err != nil {
				return err
			}
		}
	}
}

// Numbers of RFC 1035 and RFC 3596.
const (
	headSize = 12
	typeA    = 1
	typeAAAA = 28
	noName   = 3
)

// answer is the answer to one question; nil if it is none.
func (z zone) answer(q []byte) []byte {
	if len(q) < headSize || q[2]&0x80 != 0 {
		return nil
	}
	name, rest, ok := readName(q[headSize:])
	if !ok || len(rest) < 4 {
		return nil
	}
	question := q[headSize : len(q)-len(rest)+4]
	kind := binary.BigEndian.Uint16(rest)
	addrs, known := z.lookup(name)
	var records bytes.Buffer
	count := 0
	for _, a := range addrs {
		if a.Is4() != (kind == typeA) || a.Is6() != (kind == typeAAAA) {
			continue
		}
		count++
		records.Write([]byte{0xc0, headSize}) // the name of the question
		records.Write([]byte{0, byte(kind), 0, 1, 0, 0, 0, 5, 0, byte(a.BitLen() / 8)})
		records.Write(a.AsSlice())
	}
	code := byte(0)
	if !known {
		code = noName
	}
	out := append([]byte{q[0], q[1], 0x84 | q[2]&1, 0x80 | code, 0, 1, 0, byte(count), 0, 0, 0, 0}, question...)
	return append(out, records.Bytes()...)
}

// lookup finds a name, or the next one above it.
func (z zone) lookup(name string) (addrs []netip.Addr, ok bool) {
	for more := true; more; _, name, more = strings.Cut(name, ".") {
		if addrs, ok = z[name]; ok {
			return addrs, true
		}
	}
	return nil, false
}

// readName reads a name's labels in lower case.
func readName(b []byte) (name string, rest []byte, ok bool) {
	var labels []string
	for len(b) > 0 {
		n := int(b[0])
		if n == 0 {
			return strings.ToLower(strings.Join(labels, ".")), b[1:], true
		}
		if n > 63 || len(b) < n+1 {
			break
		}
		labels = append(labels, string(b[1:n+1]))
		b = b[n+1:]
	}
	return "", nil, false
}
