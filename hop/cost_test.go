package hop_test

import (
	"net/netip"
	"testing"

	"viaduct/hop"
)

// allocs wants f to allocate at most n times.
func allocs(t *testing.T, name string, n float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(100, f); got > n {
		t.Errorf("%s: %v allocations, want at most %v", name, got, n)
	}
}

func TestParsingAllocatesTheHostOnly(t *testing.T) {
	skipUnderRace(t)
	for _, s := range []string{"www.example.com", "WWW.Example.com.", "127.0.0.1", "[2001:db8::1]", "[::ffff:1.2.3.4]"} {
		authority, absolute := []byte(s+":443"), []byte("http://"+s+"/path?query")
		allocs(t, s, 1, func() { _, _ = hop.ParseAuthority(authority) })
		allocs(t, s, 1, func() { _, _, _ = hop.ParseAbsolute(absolute) })
		var p hop.Parser
		_, _ = p.Authority(authority)
		if s == "www.example.com" || s == "127.0.0.1" || s[0] == '[' {
			allocs(t, s+" again", 0, func() { _, _ = p.Authority(authority) })
			allocs(t, s+" again", 0, func() { _, _, _ = p.Absolute(absolute) })
			allocs(t, s+" again", 0, func() { _, _ = p.HostField(authority, 80) })
		}
	}
}

func TestRefusingAllocatesNothing(t *testing.T) {
	skipUnderRace(t)
	for _, s := range []string{"", "/x", "a b:1", "u@h:1", "h:0", "h", "a..b:1", "::1:1", "[::1", "http://h#x", "https://h/", "ftp://h/", "http://u@h/"} {
		b := []byte(s)
		allocs(t, s, 0, func() { _, _ = hop.ParseAuthority(b) })
		allocs(t, s, 0, func() { _, _, _ = hop.ParseAbsolute(b) })
	}
}

func TestFieldsAllocateNothing(t *testing.T) {
	skipUnderRace(t)
	names := [][]byte{[]byte("User-Agent"), []byte("X-Forwarded-For"), []byte("Proxy-Authorization"), []byte("x-envoy-peer-metadata")}
	client, buf := netip.MustParseAddr("2001:db8::1"), make([]byte, 0, 256)
	allocs(t, "fields", 0, func() {
		for _, n := range names {
			hop.Strict.DropRequest(n)
			hop.Via.DropResponse(n)
		}
		hop.Transparent.AppendRequest(buf, 1, client)
		hop.MaxForwards([]byte("10"))
	})
}

func TestTargetAppendsAllocateNothing(t *testing.T) {
	skipUnderRace(t)
	g, _ := hop.ParseAuthority([]byte("[2001:db8::1]:443"))
	buf := make([]byte, 0, 256)
	allocs(t, "appends", 0, func() { g.AppendTo(buf); g.AppendHost(buf, 443) })
}

func BenchmarkParseAuthority(b *testing.B) {
	for _, s := range []string{"www.example.com:443", "WWW.Example.COM:443", "93.184.216.34:443", "[2001:db8::1]:443", "bücher.example:443", "www.exam ple.com:443"} {
		in := []byte(s)
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = hop.ParseAuthority(in)
			}
		})
	}
}

func BenchmarkParseAbsolute(b *testing.B) {
	in := []byte("http://www.example.com/some/path/of/usual/length?with=a&query=too")
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = hop.ParseAbsolute(in)
		}
	})
	b.Run("again", func(b *testing.B) {
		var p hop.Parser
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = p.Absolute(in)
		}
	})
}

func BenchmarkParseHost(b *testing.B) {
	in := []byte("www.example.com")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = hop.ParseHost(in, 80)
	}
}

func BenchmarkDropRequest(b *testing.B) {
	for _, s := range []string{"Accept", "User-Agent", "Cookie", "Content-Type", "X-Requested-With", "Via", "Connection", "Proxy-Authorization", "X-Forwarded-For"} {
		name := []byte(s)
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hop.Strict.DropRequest(name)
			}
		})
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	client, buf := netip.MustParseAddr("2001:db8::1"), make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		hop.Transparent.AppendRequest(buf, 1, client)
	}
}
