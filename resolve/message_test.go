package resolve_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"viaduct/resolve"
)

// message writes an answer to the question for www.test.
func message(t testing.TB, isV6 bool, records ...string) *dns.Msg {
	t.Helper()
	kind := dns.TypeA
	if isV6 {
		kind = dns.TypeAAAA
	}
	m := new(dns.Msg).SetQuestion("www.test.", kind)
	m.Id, m.Response, m.RecursionAvailable = 7, true, true
	for _, text := range records {
		m.Answer = append(m.Answer, must[dns.RR](t)(dns.NewRR(text)))
	}
	return m
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	m.Compress = true
	return must[[]byte](t)(m.Pack())
}

func TestChainsAndPoison(t *testing.T) {
	chain := func(n int, tail ...string) (list []string) {
		list = append(list, "www.test. 300 CNAME c1.test.")
		for i := range n - 1 {
			list = append(list, fmt.Sprintf("c%d.test. 300 CNAME c%d.test.", i+1, i+2))
		}
		return append(list, tail...)
	}
	for _, tt := range []struct {
		name    string
		isV6    bool
		records []string
		want    []string
		ttl     time.Duration
	}{
		{"plain", false, []string{"www.test. 9 A 192.0.2.1"}, []string{"192.0.2.1"}, 9 * time.Second},
		{"capitals", false, []string{"WWW.Test. 9 A 192.0.2.1"}, []string{"192.0.2.1"}, 9 * time.Second},
		{"twice the same", false, []string{"www.test. 9 A 192.0.2.1", "www.test. 9 A 192.0.2.1"}, []string{"192.0.2.1"}, 9 * time.Second},
		{"other family", true, []string{"www.test. 9 A 192.0.2.1"}, nil, 5 * time.Second},
		{"other family too", true, []string{"www.test. 9 A 192.0.2.1", "www.test. 9 AAAA ::1"}, []string{"::1"}, 9 * time.Second},
		{"other name", false, []string{"other.test. 9 A 192.0.2.66"}, nil, 5 * time.Second},
		{"other name too", false, []string{"other.test. 1 A 192.0.2.66", "www.test. 9 A 192.0.2.1", "test. 1 A 192.0.2.66"}, []string{"192.0.2.1"}, 9 * time.Second},
		{"alias", false, []string{"www.test. 9 CNAME c.example.", "c.example. 8 A 192.0.2.1"}, []string{"192.0.2.1"}, 8 * time.Second},
		{"alias backwards", false, []string{"c.example. 8 A 192.0.2.1", "www.test. 7 CNAME C.Example."}, []string{"192.0.2.1"}, 7 * time.Second},
		{"alias to nothing", false, []string{"www.test. 3 CNAME c.example."}, nil, 3 * time.Second},
		{"alias of others", false, []string{"other.test. 9 CNAME c.example.", "c.example. 8 A 192.0.2.66"}, nil, 5 * time.Second},
		{"two aliases", false, []string{"www.test. 9 CNAME a.test.", "www.test. 9 CNAME b.test.", "a.test. 9 A 192.0.2.1", "b.test. 9 A 192.0.2.66"}, []string{"192.0.2.1"}, 9 * time.Second},
		{"alias to itself", false, []string{"www.test. 9 CNAME www.test."}, nil, 5 * time.Second},
		{"circle", false, []string{"www.test. 9 CNAME a.test.", "a.test. 9 CNAME www.test."}, nil, 5 * time.Second},
		{"chain", false, chain(15, "c15.test. 300 A 192.0.2.1"), []string{"192.0.2.1"}, 300 * time.Second},
		{"long chain", false, chain(16, "c16.test. 300 A 192.0.2.1"), nil, 5 * time.Second},
		{"endless chain", false, chain(1000), nil, 5 * time.Second},
		{"dname", false, []string{"test. 9 DNAME example.", "www.example. 9 A 192.0.2.66"}, nil, 5 * time.Second},
		{"other class", false, []string{"www.test. 9 CH A 192.0.2.66"}, nil, 5 * time.Second},
		{"text", false, []string{`www.test. 9 TXT "192.0.2.66"`}, nil, 5 * time.Second},
		{"mapped", true, []string{"www.test. 9 AAAA ::ffff:192.0.2.1"}, []string{"::ffff:192.0.2.1"}, 9 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := message(t, tt.isV6, tt.records...)
			got, ttl, err := resolve.ReadAnswer(packed(t, m), "www.test", tt.isV6, 7)
			if err != nil || !slices.Equal(got, parse(tt.want)) || ttl != tt.ttl {
				t.Errorf("%v for %v, %v; want %v for %v", got, ttl, err, tt.want, tt.ttl)
			}
		})
	}
}

// Addresses in other sections are nobody's answer.
func TestOtherSectionsAreNotBelieved(t *testing.T) {
	m := message(t, false)
	bad := must[dns.RR](t)(dns.NewRR("www.test. 9 A 192.0.2.66"))
	m.Ns, m.Extra = []dns.RR{bad}, []dns.RR{bad}
	got, _, err := resolve.ReadAnswer(packed(t, m), "www.test", false, 7)
	if err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// Each beginning of a message, and each message with one byte wrong, is read or
// refused, and never taken for the answer to another question.
func TestBrokenMessages(t *testing.T) {
	b := packed(t, message(t, false, "www.test. 9 CNAME c.example.", "c.example. 8 A 192.0.2.1"))
	for i := range b {
		_, _, _ = resolve.ReadAnswer(b[:i], "www.test", false, 7)
		for _, x := range []byte{0x01, 0x80, 0xc0, 0xff} {
			bad := slices.Clone(b)
			bad[i] ^= x
			got, _, err := resolve.ReadAnswer(bad, "www.test", false, 7)
			inQuestion := i < 2 || 12 <= i && i < 26
			if err == nil && len(got) > 0 && inQuestion && x != 0x20 {
				t.Errorf("byte %d ^ %#x: %v", i, x, got)
			}
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add(packed(f, message(f, false, "www.test. 9 A 192.0.2.1")), false)
	f.Add(packed(f, message(f, true, "www.test. 9 CNAME c.example.", "c.example. 8 AAAA ::1")), true)
	f.Add(packed(f, message(f, false, "www.test. 9 CNAME www.test.", `www.test. 9 TXT "x"`, "www.test. 9 SVCB 1 . alpn=h2")), false)
	negative := message(f, false)
	negative.Rcode = dns.RcodeNameError
	negative.Ns = []dns.RR{must[dns.RR](f)(dns.NewRR("test. 9 SOA ns.test. root.test. 1 2 3 4 5"))}
	f.Add(packed(f, negative), false)
	f.Fuzz(func(t *testing.T, b []byte, isV6 bool) {
		got, ttl, err := resolve.ReadAnswer(b, "www.test", isV6, 7)
		if err != nil && got != nil || len(got) > 64 || ttl < 0 {
			t.Fatalf("%d addresses for %v, %v", len(got), ttl, err)
		}
		for _, a := range got {
			if !a.IsValid() || a.Is4() == isV6 || a.Zone() != "" {
				t.Fatalf("%v", a)
			}
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost # x\n::1\tLocalhost ip6.\n1.2.3 bad\nfe80::1%1 z\n")
	f.Add(strings.Repeat("192.0.2.1 a\n", 100))
	f.Add("\x00\xff 1.1.1.1 127.1\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name, addrs := range resolve.ReadHosts(text) {
			if name != strings.ToLower(name) || strings.HasSuffix(name, ".") || len(addrs) == 0 || len(addrs) > 64 {
				t.Fatalf("%q: %v", name, addrs)
			}
			if !slices.IsSortedFunc(addrs, func(a, b netip.Addr) int { return b.BitLen() - a.BitLen() }) {
				t.Fatalf("%q: %v", name, addrs)
			}
		}
	})
}
