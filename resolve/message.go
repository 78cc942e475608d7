package resolve

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	header    = 12              // bytes of a message before its question
	datagram  = 1232            // bytes of a UDP answer that we ask for: they pass everywhere
	maxChain  = 16              // CNAMEs in a row
	noSOATTL  = 5 * time.Second // life of a negative answer that does not say
	maxAnswer = 1<<16 - 1       // bytes, over whatever transport
)

// A family is one of the two kinds of addresses.
type family uint8

const (
	v4 family = iota
	v6
	families
)

// question is what servers are asked for. Its name is absolute, in lower case,
// without the dot at its end.
type question struct {
	name   string
	family family
}

func (q question) kind() uint16 { return [families]uint16{dns.TypeA, dns.TypeAAAA}[q.family] }

var (
	errStranger = errors.New("not an answer to the question")
	errCut      = errors.New("truncated answer")
)

// rcodeError is the response code of a server that gives no answer.
type rcodeError int

func (e rcodeError) Error() string {
	return cmp.Or(dns.RcodeToString[int(e)], fmt.Sprintf("response code %d", int(e)))
}

// pack writes a query.
func (q question) pack(id uint16, edns bool) ([]byte, error) {
	m := new(dns.Msg).SetQuestion(q.name+".", q.kind())
	m.Id = id
	if edns {
		m.SetEdns0(datagram, false)
	}
	return m.Pack()
}

// read reads an answer. The error is errStranger for what must not end the wait
// for the real one, errCut, or a rcodeError; else the message is garbage.
func (q question) read(b []byte, id uint16) (*answer, error) {
	const response, opcode, truncated = 0x80, 0x78, 0x02
	if len(b) < header || binary.BigEndian.Uint16(b) != id || b[2]&(response|opcode) != response {
		return nil, errStranger
	}
	if b[2]&truncated != 0 {
		return nil, errCut
	}
	var m dns.Msg
	if err := m.Unpack(b); err != nil {
		return nil, fmt.Errorf("malformed answer: %w", err)
	}
	refused := m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
	wordless := refused && len(m.Question) == 0 // some refuse so
	switch {
	case !wordless && !q.isAskedIn(m.Question):
		return nil, errStranger
	case refused:
		return nil, rcodeError(m.Rcode)
	case m.Rcode == dns.RcodeNameError:
		return &answer{verdict: noName, ttl: negativeTTL(m.Ns, q.name+".")}, nil
	case !m.Authoritative && !m.RecursionAvailable && len(m.Answer) == 0:
		return nil, errors.New("a referral: this server does not look names up for others")
	}
	return q.collect(&m), nil
}

func (q question) isAskedIn(list []dns.Question) bool {
	return len(list) == 1 && list[0].Qtype == q.kind() && list[0].Qclass == dns.ClassINET && strings.EqualFold(list[0].Name, q.name+".")
}

// collect follows the chain of CNAMEs that begins with the name asked for, and
// takes the addresses at its end. What belongs to other names is not believed.
func (q question) collect(m *dns.Msg) *answer {
	name, ttl := q.name+".", time.Duration(1<<62)
	for range maxChain {
		var next string
		var addrs []netip.Addr
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
				continue
			}
			if alias, ok := rr.(*dns.CNAME); ok && next == "" {
				next, ttl = alias.Target, min(ttl, seconds(h.Ttl))
			}
			if a := q.addr(rr); a.IsValid() && len(addrs) < maxAddrs && !slices.Contains(addrs, a) {
				addrs, ttl = append(addrs, a), min(ttl, seconds(h.Ttl))
			}
		}
		if len(addrs) > 0 {
			return &answer{verdict: found, addrs: addrs, ttl: ttl}
		}
		if next == "" {
			break
		}
		name = next
	}
	return &answer{verdict: noAddress, ttl: min(ttl, negativeTTL(m.Ns, name))}
}

// addr is the address in a record, if it has one of the family asked for.
func (q question) addr(rr dns.RR) netip.Addr {
	var a netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		a, _ = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		a, _ = netip.AddrFromSlice(rr.AAAA)
	}
	if a.Is4() != (q.family == v4) {
		return netip.Addr{}
	}
	return a
}

// negativeTTL is how long there is nothing: the lesser of the TTL and the
// MINIMUM of the zone's SOA (RFC 2308 section 5).
func negativeTTL(authority []dns.RR, name string) time.Duration {
	for _, rr := range authority {
		if soa, ok := rr.(*dns.SOA); ok && dns.IsSubDomain(soa.Hdr.Name, name) {
			return min(seconds(soa.Hdr.Ttl), seconds(soa.Minttl))
		}
	}
	return noSOATTL
}

// seconds reads a TTL: with the highest bit set it is zero (RFC 2181 section 8).
func seconds(ttl uint32) time.Duration { return time.Duration(max(int32(ttl), 0)) * time.Second }
