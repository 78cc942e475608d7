package authority_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"viaduct/authority"
)

func TestOneMintingForManyWaiters(t *testing.T) {
	_, a := made(t, authority.InitOptions{})
	var got [64]*tls.Certificate
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range got {
		all.Go(func() {
			<-start
			host := "example.com"
			if i%2 == 1 {
				host = "EXAMPLE.com" // the same one
			}
			got[i], _ = a.Certificate(host)
		})
	}
	close(start)
	all.Wait()
	for _, c := range got {
		if c == nil || c != got[0] {
			t.Fatal("not the same certificate for all")
		}
	}
	if s := a.Stats(); s != (authority.Stats{Minted: 1, Cached: 1}) {
		t.Errorf("%+v", s)
	}
}

func TestOneAddressHasOneCertificate(t *testing.T) {
	_, a := made(t, authority.InitOptions{})
	for _, same := range [][]string{{"2001:db8::1", "2001:DB8:0::1", "2001:db8::1%eth0"}, {"192.0.2.1", "::ffff:192.0.2.1"}} {
		for _, host := range same {
			if certificate(t, a, host) != certificate(t, a, same[0]) {
				t.Errorf("%s and %s have two", host, same[0])
			}
		}
	}
}

func TestTheLeastRecentlyUsedGoes(t *testing.T) {
	const most = 4096
	_, a := made(t, authority.InitOptions{})
	host := func(i int) string { return fmt.Sprintf("h%d.example", i) }
	first, second := certificate(t, a, host(0)), certificate(t, a, host(1))
	for i := 2; i < most; i++ {
		certificate(t, a, host(i))
	}
	certificate(t, a, host(0))
	certificate(t, a, host(most)) // the second one makes room
	if s := a.Stats(); s != (authority.Stats{Minted: most + 1, Cached: most}) {
		t.Errorf("%+v", s)
	}
	if certificate(t, a, host(0)) != first {
		t.Error("the one that was used is gone")
	}
	if certificate(t, a, host(1)) == second {
		t.Error("the one that was not used is still there")
	}
	if s := a.Stats(); s != (authority.Stats{Minted: most + 2, Cached: most}) {
		t.Errorf("%+v", s)
	}
}

// Clients that ask for ever new hosts, beside one that asks for the same.
func TestStorm(t *testing.T) {
	dir, a := made(t, authority.InitOptions{})
	roots := trusting(t, read(t, dir, authority.CertFile))
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 50 {
				for _, host := range []string{fmt.Sprintf("h%d.example", (i+j)%60), fmt.Sprintf("h%d-%d.example", i, j), "*"} {
					c, err := a.Certificate(host)
					if (err != nil) != (host == "*") {
						t.Error(err)
					} else if err == nil && verify(c, roots, host) != nil {
						t.Errorf("%s has the certificate of %v", host, c.Leaf.DNSNames)
					}
				}
				if i == 0 {
					a.Stats()
				}
			}
		})
	}
	all.Wait()
	if s := a.Stats(); s != (authority.Stats{Minted: 860, Cached: 860}) {
		t.Errorf("%+v", s)
	}
}

func TestRenewal(t *testing.T) {
	const day = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		_, a := made(t, authority.InitOptions{Days: 70})
		end := time.Now().Add(70 * day)
		old := certificate(t, a, "example.com")
		check := func(want *tls.Certificate) *tls.Certificate {
			t.Helper()
			c := certificate(t, a, "example.com")
			if (c == old) != (want == old) {
				t.Errorf("renewed: %v", c != old)
			}
			if now := time.Now(); c.Leaf.NotAfter.Before(now) || c.Leaf.NotAfter.After(end) || c.Leaf.NotBefore.After(now.Add(-day)) {
				t.Errorf("on %v it is good from %v to %v", now, c.Leaf.NotBefore, c.Leaf.NotAfter)
			}
			return c
		}
		time.Sleep(29*day - time.Second)
		check(old)
		time.Sleep(time.Second)
		old = check(nil)
		time.Sleep(29 * day)
		old = check(nil) // the last one: as long as the authority
		if !old.Leaf.NotAfter.Equal(end) {
			t.Errorf("it ends on %v, the authority on %v", old.Leaf.NotAfter, end)
		}
		for range 11 {
			time.Sleep(day)
			check(old)
		}
		if s := a.Stats(); s != (authority.Stats{Minted: 3, Cached: 1}) {
			t.Errorf("%+v", s)
		}
		time.Sleep(day + time.Second)
		if c, err := a.Certificate("example.com"); err == nil || !strings.Contains(err.Error(), "the certificate authority ended on") {
			t.Errorf("%v, %v", c, err)
		}
	})
}

func TestNoCertificateForWhatIsNoHost(t *testing.T) {
	_, a := made(t, authority.InitOptions{})
	for _, host := range []string{
		"", ".", "*", "*.example.com", "a..b", ".example.com", "example.com.", "ex ample.com", "a/b", "a:443", "[::1]", "bücher.example",
		"a\x00.example", "a\n.example", "\xff", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 126) + "bc", strings.Repeat("a", 1<<20),
	} {
		if c, err := a.Certificate(host); err == nil || c != nil || len(err.Error()) > 200 {
			t.Errorf("%.80q: %v", host, err)
		}
	}
	if s := a.Stats(); s != (authority.Stats{}) {
		t.Errorf("%+v", s)
	}
}

// A host may be part of a message whose memory is used again.
func TestTheHostIsCopied(t *testing.T) {
	_, a := made(t, authority.InitOptions{})
	b := []byte("one.example")
	one := certificate(t, a, unsafe.String(&b[0], len(b)))
	copy(b, "two")
	if certificate(t, a, "one.example") != one || certificate(t, a, unsafe.String(&b[0], len(b))) == one {
		t.Error("the memory of the message was kept")
	}
}

func BenchmarkMint(b *testing.B) {
	_, a := made(b, authority.InitOptions{})
	i := 0
	for b.Loop() {
		i++
		certificate(b, a, fmt.Sprintf("h%d.example", i))
	}
}

func BenchmarkKept(b *testing.B) {
	_, a := made(b, authority.InitOptions{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			certificate(b, a, "www.example.com")
		}
	})
}
