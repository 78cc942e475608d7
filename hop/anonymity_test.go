package hop_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"viaduct/hop"
)

var profiles = []hop.Anonymity{hop.Strict, hop.Via, hop.Transparent}

func TestAnonymityNames(t *testing.T) {
	for _, a := range profiles {
		if got, err := hop.ParseAnonymity(a.String()); got != a || err != nil {
			t.Errorf("%v reads back as %v, %v", a, got, err)
		}
	}
	if hop.Anonymity(0) != hop.Strict {
		t.Error("zero is not strict")
	}
	for _, s := range []string{"", "Strict", "none", "strict "} {
		got, err := hop.ParseAnonymity(s)
		if err == nil || got != hop.Strict || !strings.Contains(err.Error(), "choose strict, via or transparent") {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if s := hop.Anonymity(9).String(); s != "anonymity(9)" {
		t.Errorf("an unknown profile is %q", s)
	}
}

// spellings are what servers take for the same field.
func spellings(name string) []string {
	return []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_")}
}

// dropped are fields and whether they stay behind: in requests by profile, and
// in answers.
var dropped = []struct {
	names    string
	requests [3]bool
	answers  bool
}{
	{
		"Connection Keep-Alive TE Upgrade HTTP2-Settings Proxy-Connection Proxy-Authorization Proxy-Authenticate" +
			" Proxy-Authentication-Info Proxy-Status Proxy-Support Proxy-Instruction Proxy-Features Proxy- Proxy-X",
		[3]bool{true, true, true},
		true,
	},
	{"Proxy Xroxy-Connection XProxy-Connection", [3]bool{true, true, true}, false},
	{"Via", [3]bool{true, false, false}, false},
	{
		"Forwarded Forwarded-For Forwarded-For-Ip X-Forwarded X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port" +
			" X-Forwarded-Server X-Forwarded-Client-Cert X-Forwarded-User X-Forwarded-Anything X-Forward-For X-Original-Forwarded-For" +
			" X-Real-IP Client-IP X-Client-IP True-Client-IP X-True-Client-IP CF-Connecting-IP CF-Connecting-IPv6 CF-IPCountry" +
			" Fastly-Client-IP Fly-Client-IP X-Cluster-Client-IP X-Originating-IP X-Remote-IP X-Remote-Addr X-ProxyUser-Ip" +
			" WL-Proxy-Client-IP WL-Proxy-SSL X-BlueCoat-Via X-Envoy-External-Address X-Envoy-Peer-Metadata X-Envoy-Peer-Metadata-Id" +
			" X-Proxy-ID X-Nokia-msisdn X-Nokia-IpAddress X-UP-SUBNO X-Up-Calling-Line-Id X-MSISDN X-UIDH X-Wap-Network-Client-Ip" +
			" X-Tinyproxy X-Varnish X-Via Client-Cert Client-Cert-Chain X-Authenticated-User CloudFront-Viewer-Address" +
			" X-Azure-ClientIP X-AppEngine-User-IP Z-Forwarded-For Remote-Addr",
		[3]bool{true, true, false},
		false,
	},
	{
		// What wire and exchange handle, what is the client's own, and what only looks alike.
		"Host Content-Length Transfer-Encoding Trailer Expect Max-Forwards User-Agent Accept Accept-Encoding Cookie Set-Cookie" +
			" Authorization WWW-Authenticate From Referer Origin Date Age Server Location Warning Cache-Control Alt-Svc" +
			" CDN-Loop Traceparent X-Request-ID X-Correlation-ID X-Amzn-Trace-Id X-B3-TraceId X-Requested-With X-Api-Key" +
			" CF-Access-Client-Id CF-Access-Client-Secret CF-Ray X-Up-Version X-Up-Target X-Up-Mode X-Client-Version X-Real-Time" +
			" Sec-WebSocket-Key Sec-Fetch-Site DNT Prox Proxied Proxyx-Y X-Forwarding X-Forwardedfor X-Forwarde Vi Viaa T TEE Tea" +
			" Upgrade-Insecure-Requests Connection-X Keep-Alives HTTP2-Setting X-Nokia XX-Forwarded-For Forwarder X X- - ! | ~a *" +
			" proxy* x-forwarded* via*",
		[3]bool{},
		false,
	},
}

func TestFieldsThatStayBehind(t *testing.T) {
	for _, c := range dropped {
		for name := range strings.FieldsSeq(c.names) {
			for _, s := range spellings(name) {
				for i, a := range profiles {
					if got := a.DropRequest([]byte(s)); got != c.requests[i] {
						t.Errorf("%v.DropRequest(%s) = %v", a, s, got)
					}
					if got := a.DropResponse([]byte(s)); got != c.answers {
						t.Errorf("%v.DropResponse(%s) = %v", a, s, got)
					}
				}
			}
		}
	}
}

func TestAnUnknownProfileIsStrict(t *testing.T) {
	a := hop.Anonymity(200)
	if !a.DropRequest([]byte("Via")) || a.DropRequest([]byte("Accept")) || len(a.AppendRequest(nil, 1, netip.Addr{})) != 0 {
		t.Error("an unknown profile tells more than strict does")
	}
}

func TestNoNameIsTooOdd(t *testing.T) {
	for _, a := range profiles {
		if a.DropRequest(nil) || a.DropResponse([]byte{}) {
			t.Error("the empty name is dropped")
		}
		for c := range 256 {
			for n := 1; n < 40; n++ {
				name := []byte(strings.Repeat(string([]byte{byte(c)}), n))
				if a.DropRequest(name) || a.DropResponse(name) {
					t.Errorf("%q is dropped", name)
				}
			}
		}
	}
}

// FuzzDrop: a profile that is more open drops no more, and spelling never counts.
func FuzzDrop(f *testing.F) {
	for _, c := range dropped {
		for name := range strings.FieldsSeq(c.names) {
			f.Add([]byte(name))
		}
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		s, v, o := hop.Strict.DropRequest(name), hop.Via.DropRequest(name), hop.Transparent.DropRequest(name)
		if o && !v || v && !s || hop.Strict.DropResponse(name) && !o {
			t.Fatalf("%q: strict %v, via %v, transparent %v", name, s, v, o)
		}
		other := []byte(strings.Map(func(r rune) rune {
			switch {
			case 'a' <= r && r <= 'z':
				return r - 'a' + 'A'
			case r == '_':
				return '-'
			}
			return r
		}, string(name)))
		if len(other) == len(name) && hop.Strict.DropRequest(other) != s {
			t.Fatalf("%q is %v, %q is not", name, s, other)
		}
	})
}

func TestFieldsThatAreAdded(t *testing.T) {
	for _, c := range []struct {
		profile hop.Anonymity
		minor   byte
		client  string
		want    string
	}{
		{hop.Strict, 1, "192.0.2.1", ""},
		{hop.Via, 1, "192.0.2.1", "Via: 1.1 viaduct\r\n"},
		{hop.Via, 0, "", "Via: 1.0 viaduct\r\n"},
		{hop.Transparent, 1, "192.0.2.1", "Via: 1.1 viaduct\r\nForwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n"},
		{hop.Transparent, 1, "2001:db8::1", "Via: 1.1 viaduct\r\nForwarded: for=\"[2001:db8::1]\"\r\nX-Forwarded-For: 2001:db8::1\r\n"},
		{hop.Transparent, 0, "::ffff:192.0.2.1", "Via: 1.0 viaduct\r\nForwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n"},
		{hop.Transparent, 1, "fe80::1%eth0", "Via: 1.1 viaduct\r\nForwarded: for=\"[fe80::1]\"\r\nX-Forwarded-For: fe80::1\r\n"},
		{hop.Transparent, 1, "", "Via: 1.1 viaduct\r\nForwarded: for=unknown\r\n"},
	} {
		client, _ := netip.ParseAddr(c.client)
		if got := string(c.profile.AppendRequest([]byte("x"), c.minor, client)); got != "x"+c.want {
			t.Errorf("%v %q: %q, want %q", c.profile, c.client, got, c.want)
		}
		want := c.want[:max(0, strings.IndexByte(c.want, '\n')+1)]
		if got := string(c.profile.AppendResponse([]byte("x"), c.minor)); got != "x"+want {
			t.Errorf("%v answer: %q, want %q", c.profile, got, want)
		}
	}
}

func TestMaxForwards(t *testing.T) {
	for _, c := range []struct {
		in string
		n  int
		ok bool
	}{
		{"0", 0, true},
		{"1", 1, true},
		{"010", 10, true},
		{"70", 70, true},
		{"2147483647", math.MaxInt32, true},
		{"2147483648", math.MaxInt32, true},
		{strings.Repeat("9", 400), math.MaxInt32, true},
		{strings.Repeat("0", 400) + "7", 7, true},
		{"", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{"1 ", 0, false},
		{"1, 2", 0, false},
		{"1.0", 0, false},
		{"0x1", 0, false},
		{"１", 0, false},
		{"9x", 0, false},
	} {
		if n, ok := hop.MaxForwards([]byte(c.in)); n != c.n || ok != c.ok {
			t.Errorf("%q: %d, %v", c.in, n, ok)
		}
	}
}
