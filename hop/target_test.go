package hop_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"viaduct/fault"
	"viaduct/hop"
)

// refused wants a refusal with this status and these words in its sentence.
func refused(t *testing.T, in string, err error, code int, words string) {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) {
		t.Errorf("%q: error %v, want a refusal", in, err)
		return
	}
	if e.Kind != fault.RequestError || e.Status() != code || !strings.Contains(e.Say(), words) {
		t.Errorf("%q: %v %d %q, want %d with %q", in, e.Kind, e.Status(), e.Say(), code, words)
	}
}

// accepted wants a target that reads back as itself.
func accepted(t *testing.T, in string, got hop.Target, err error, host string, port uint16) {
	t.Helper()
	if err != nil {
		t.Errorf("%q: refused: %v", in, err)
		return
	}
	want := hop.Target{Host: host, Port: port}
	want.Addr, _ = netip.ParseAddr(host)
	if got != want {
		t.Errorf("%q: %+v, want %+v", in, got, want)
	}
	if again, err := hop.ParseAuthority([]byte(got.String())); err != nil || again != got {
		t.Errorf("%q: %s reads back as %+v, %v", in, got, again, err)
	}
}

func label(n int) string { return strings.Repeat("a", n) }

// hosts are hosts and what they become.
var hosts = []struct{ name, in, want string }{
	{"name", "example.com", "example.com"},
	{"capitals", "EXAMPLE.Com", "example.com"},
	{"one trailing dot", "example.com.", "example.com"},
	{"single label", "localhost", "localhost"},
	{"single label with a dot", "localhost.", "localhost"},
	{"underscore", "_dmarc.my_host.example", "_dmarc.my_host.example"},
	{"hyphens anywhere", "-a-.r3---sn-x.example", "-a-.r3---sn-x.example"},
	{"A-label", "XN--BCHER-KVA.example", "xn--bcher-kva.example"},
	{"A-label that is none", "xn--a.example", "xn--a.example"},
	{"digits first", "3com.example", "3com.example"},
	{"digits in inner labels", "1.2.3.4.example", "1.2.3.4.example"},
	{"numeric and a letter", "127.0.0.1x", "127.0.0.1x"},
	{"hex without 0x", "7f000001x", "7f000001x"},
	{"0x and no hex", "0xg", "0xg"},
	{"longest label", label(63) + ".example", label(63) + ".example"},
	{
		"longest name", label(63) + "." + label(63) + "." + label(63) + "." + label(61),
		label(63) + "." + label(63) + "." + label(63) + "." + label(61),
	},
	{
		"longest name and a dot", label(63) + "." + label(63) + "." + label(63) + "." + label(61) + ".",
		label(63) + "." + label(63) + "." + label(63) + "." + label(61),
	},

	{"IPv4", "127.0.0.1", "127.0.0.1"},
	{"IPv4 and a dot", "127.0.0.1.", "127.0.0.1"},
	{"IPv4 all ones", "255.255.255.255", "255.255.255.255"},
	{"IPv6", "[::1]", "::1"},
	{"IPv6 in full", "[0:0:0:0:0:0:0:1]", "::1"},
	{"IPv6 with capitals and zeros", "[2001:0DB8::00AB]", "2001:db8::ab"},
	{"IPv6 unspecified", "[::]", "::"},
	{"IPv4-mapped", "[::ffff:127.0.0.1]", "::ffff:127.0.0.1"},
	{"IPv4-mapped in hex", "[::FFFF:7f00:1]", "::ffff:127.0.0.1"},
	{"IPv4-compatible", "[::127.0.0.1]", "::7f00:1"},
	{"longest IPv6", "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	{"longest mapped", "[0000:0000:0000:0000:0000:ffff:255.255.255.255]", "::ffff:255.255.255.255"},

	{"umlaut", "bücher.example", "xn--bcher-kva.example"},
	{"capital umlaut", "BÜCHER.example", "xn--bcher-kva.example"},
	{"decomposed umlaut", "bu\u0308cher.example", "xn--bcher-kva.example"},
	{"sharp s is no ss", "straße.example", "xn--strae-oqa.example"},
	{"ligature", "ﬃ.example", "ffi.example"},
	{"Cyrillic a in between", "p\u0430ypal.example", "xn--pypal-4ve.example"},
	{"ideographic dot", "例え。テスト", "xn--r8jz45g.xn--zckzah"},
	{"ideographic trailing dot", "bücher.example。", "xn--bcher-kva.example"},
	{"soft hyphen", "exam\u00adple.com", "example.com"},
	{"underscore beside an umlaut", "_x.bücher.example", "_x.xn--bcher-kva.example"},
	{"Kelvin sign", "\u212aelvin.example", "kelvin.example"},
	{"fullwidth letters", "ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"},
	{"emoji", "☃.example", "xn--n3h.example"},
	{"fullwidth digits are an address", "１２７.0.0.1", "127.0.0.1"},
	{"ideographic dots are an address", "127。0。0。1", "127.0.0.1"},
	{"halfwidth dots are an address", "127｡0｡0｡1", "127.0.0.1"},
	{"circled digits are an address", "①②⑦.⓪.⓪.①", "127.0.0.1"},
	{"superscript", "127.0.0.¹", "127.0.0.1"},
}

// badHosts are hosts that nobody may reach, and why.
var badHosts = []struct{ name, in, want string }{
	{"empty label at the end", "example.com..", "not a valid name"},
	{"empty label in front", ".example.com", "not a valid name"},
	{"empty label inside", "a..b", "not a valid name"},
	{"dot", ".", "not a valid name"},
	{"two dots", "..", "not a valid name"},
	{"long label", label(64) + ".example", "not a valid name"},
	{"long last label", "a." + label(64), "not a valid name"},
	{"long name", label(63) + "." + label(63) + "." + label(63) + "." + label(62), "not a valid name"},
	{"300 bytes", strings.Repeat("abcdefghi.", 30), "not a valid name"},
	{"a megabyte", strings.Repeat("a.", 1<<19), "not a valid name"},
	{"300 umlauts", strings.Repeat("ü", 300), "not a valid name"},
	{"a megabyte of umlauts", strings.Repeat("ü", 1<<19), "not a valid name"},

	{"short address", "127.1", "four decimal numbers"},
	{"shorter address", "127", "four decimal numbers"},
	{"zero", "0", "four decimal numbers"},
	{"decimal address", "2130706433", "four decimal numbers"},
	{"hex address", "0x7f000001", "four decimal numbers"},
	{"hex address with capitals", "0X7F000001", "four decimal numbers"},
	{"hex part", "127.0.0.0x1", "four decimal numbers"},
	{"hex parts", "0x7f.0x0.0x0.0x1", "four decimal numbers"},
	{"0x and nothing", "0x", "four decimal numbers"},
	{"octal parts", "0177.0.0.1", "four decimal numbers"},
	{"octal", "017700000001", "four decimal numbers"},
	{"leading zeros", "127.0.0.01", "four decimal numbers"},
	{"five parts", "1.2.3.4.5", "four decimal numbers"},
	{"too large part", "256.0.0.1", "four decimal numbers"},
	{"too large part at the end", "1.2.3.256", "four decimal numbers"},
	{"numeric top", "example.123", "four decimal numbers"},
	{"hex top", "example.0xabc", "four decimal numbers"},
	{"short address and a dot", "127.1.", "four decimal numbers"},
	{"address and two dots", "127.0.0.1..", "not a valid name"},
	{"fullwidth short address", "１２７．１", "four decimal numbers"},
	{"fullwidth hex", "０ｘ７ｆ.1", "four decimal numbers"},
	{"circled decimal", "②130706433", "four decimal numbers"},

	{"user", "u@example.com", "User names"},
	{"user and password without port", "u:p@example.com", "User names"},
	{"fullwidth at", "u＠example.com", "not a valid name"},
	{"percent", "ex%61mple.com", "percent"},
	{"percent dot", "127%2e0.0.1", "percent"},
	{"percent NUL", "example.com%00", "percent"},
	{"fullwidth percent", "ex％61mple.com", "not a valid name"},
	{"fullwidth slash", "example.com／x", "not a valid name"},
	{"account of", "℀.example", "not a valid name"},
	{"space", "exa mple.com", "space"},
	{"leading space", " example.com", "space"},
	{"tab", "example.com\t", "space"},
	{"NUL", "exam\x00ple.com", "control"},
	{"NUL at the end", "example.com\x00", "control"},
	{"CR LF", "example.com\r\nX: y", "control"},
	{"DEL", "example\x7f.com", "control"},
	{"control that folds to a dot", "example\x0ecom", "control"},
	{"backslash", `example.com\x`, "backslash"},
	{"ideographic space", "exa\u3000mple.com", "not a valid name"},
	{"no-break space", "exa\u00a0mple.com", "not a valid name"},
	{"comma", "a,b", "not a valid name"},
	{"star", "*.example.com", "not a valid name"},
	{"semicolon", "a;b", "not a valid name"},
	{"quote", `"a"`, "not a valid name"},
	{"angle", "<a>", "not a valid name"},
	{"sub-delims", "a!$&'()*+=b", "not a valid name"},
	{"closing bracket", "a]", "not a valid name"},
	{"tilde", "~", "not a valid name"},

	{"not UTF-8", "b\xfccher.example", "not a valid name"},
	{"overlong UTF-8", "a\xc0\xaeb", "not a valid name"},
	{"surrogate", "a\xed\xa0\x80b", "not a valid name"},
	{"replacement character", "a\ufffdb", "not a valid name"},
	{"bad bidi", "a\u05d0.example", "not a valid name"},
	{"leading combining mark", "\u0308a.example", "not a valid name"},
	{"bad A-label beside an umlaut", "xn--\u00fc.example", "not a valid name"},
	{"zero width joiner", "a\u200db.example", "not a valid name"},
	{"private use", "a\ue000.example", "not a valid name"},
	{"only soft hyphens", "\u00ad", "not a valid name"},
	{"only an ideographic dot", "。", "not a valid name"},

	{"brackets around a name", "[example.com]", "may stand in brackets"},
	{"brackets around IPv4", "[127.0.0.1]", "may stand in brackets"},
	{"empty brackets", "[]", "which host"},
	{"open bracket", "[::1", "must stand in brackets"},
	{"text after the bracket", "[::1]x", "must stand in brackets"},
	{"two brackets", "[[::1]]", "must stand in brackets"},
	{"IPv6 without brackets", "::1", "must stand in brackets"},
	{"long IPv6 without brackets", "2001:db8::1", "must stand in brackets"},
	{"encoded zone", "[fe80::1%25eth0]", "percent"},
	{"zone", "[fe80::1%eth0]", "percent"},
	{"IPvFuture", "[v1.x]", "may stand in brackets"},
	{"too long in brackets", "[" + strings.Repeat("0", 50) + "::1]", "may stand in brackets"},
	{"five digits", "[00001::1]", "may stand in brackets"},
	{"two gaps", "[1::2::3]", "may stand in brackets"},
	{"bad IPv4 tail", "[::ffff:127.1]", "may stand in brackets"},
	{"octal IPv4 tail", "[::ffff:0177.0.0.1]", "may stand in brackets"},
	{"fullwidth in brackets", "[::１]", "may stand in brackets"},
	{"space in brackets", "[ ::1]", "space"},
	{"user in front of brackets", "u@[::1]", "User names"},
}

func TestHosts(t *testing.T) {
	for _, c := range hosts {
		t.Run(c.name, func(t *testing.T) {
			got, err := hop.ParseHost([]byte(c.in), 80)
			accepted(t, c.in, got, err, c.want, 80)
			got, err = hop.ParseAuthority([]byte(c.in + ":443"))
			accepted(t, c.in+":443", got, err, c.want, 443)
			got, path, err := hop.ParseAbsolute([]byte("http://" + c.in + ":8080/x"))
			accepted(t, c.in, got, err, c.want, 8080)
			if string(path) != "/x" {
				t.Errorf("%q: path %q", c.in, path)
			}
		})
	}
}

func TestBadHosts(t *testing.T) {
	for _, c := range badHosts {
		t.Run(c.name, func(t *testing.T) {
			got, err := hop.ParseHost([]byte(c.in), 80)
			refused(t, c.in, err, 400, c.want)
			if got != (hop.Target{}) {
				t.Errorf("%q: %+v beside an error", c.in, got)
			}
			_, err = hop.ParseAuthority([]byte(c.in + ":443"))
			refused(t, c.in+":443", err, 400, c.want)
			got, path, err := hop.ParseAbsolute([]byte("http://" + c.in + "/x"))
			refused(t, c.in, err, 400, c.want)
			if got != (hop.Target{}) || path != nil {
				t.Errorf("%q: %+v %q beside an error", c.in, got, path)
			}
		})
	}
}

func TestPorts(t *testing.T) {
	for in, want := range map[string]uint16{"1": 1, "80": 80, "443": 443, "8443": 8443, "65535": 65535} {
		for _, host := range []string{"a.example", "127.0.0.1", "[::1]"} {
			got, err := hop.ParseAuthority([]byte(host + ":" + in))
			if err != nil || got.Port != want {
				t.Errorf("%s:%s = %v, %v", host, in, got, err)
			}
		}
	}
	for _, in := range []string{
		"", "0", "00080", "080", "65536", "99999", "100000", "4294967376", "+80", "-1", "８０", "8０", "https", "80x", "0x50", "1e1", "8.0", "80,", "4_3", "[80]", "*",
	} {
		for _, host := range []string{"a.example", "127.0.0.1", "[::1]"} {
			_, err := hop.ParseAuthority([]byte(host + ":" + in))
			refused(t, host+":"+in, err, 400, "1 to 65535")
			_, _, err = hop.ParseAbsolute([]byte("http://" + host + ":" + in + "/"))
			refused(t, host+":"+in, err, 400, "1 to 65535")
			_, err = hop.ParseHost([]byte(host+":"+in), 80)
			refused(t, host+":"+in, err, 400, "1 to 65535")
		}
	}
	_, err := hop.ParseAuthority([]byte("a.example: 80"))
	refused(t, "space", err, 400, "space")
	_, err = hop.ParseAuthority([]byte("a.example:80:80"))
	refused(t, "two ports", err, 400, "must stand in brackets")
}

func TestParseAuthorityNeedsHostAndPort(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "which host"},
		{":443", "which host"},
		{"example.com", "needs a host and a port"},
		{"127.0.0.1", "needs a host and a port"},
		{"[::1]", "needs a host and a port"},
		{"/x", "no path"},
		{"*", "needs a host and a port"},
		{"http://example.com/", "no scheme"},
		{"http://example.com:80/", "no scheme"},
		{"example.com:443/", "no path"},
		{"example.com:443?x", "no path"},
		{"example.com:443#x", "fragment"},
		{"u@example.com:443", "User names"},
		{"u:p@example.com:443", "User names"},
		{"example.com:443 ", "space"},
		{"::1:443", "must stand in brackets"},
		{"[::1]443", "must stand in brackets"},
		{"[::1]:", "1 to 65535"},
		{"[::1%25lo]:80", "percent"},
	} {
		_, err := hop.ParseAuthority([]byte(c.in))
		refused(t, c.in, err, 400, c.want)
	}
}

func TestParseAbsolute(t *testing.T) {
	for _, c := range []struct {
		in, host string
		port     uint16
		path     string
	}{
		{"http://example.com/", "example.com", 80, "/"},
		{"HTTP://Example.COM/Path", "example.com", 80, "/Path"},
		{"hTtP://example.com:8080/a", "example.com", 8080, "/a"},
		{"http://example.com", "example.com", 80, ""},
		{"http://example.com:81", "example.com", 81, ""},
		{"http://example.com?x=1", "example.com", 80, "?x=1"},
		{"http://example.com:81?x=1", "example.com", 81, "?x=1"},
		{"http://o.example/a%2Fb/../c?x=;&y=%zz", "o.example", 80, "/a%2Fb/../c?x=;&y=%zz"},
		{"http://o.example//evil.example/..", "o.example", 80, "//evil.example/.."},
		{"http://o.example/@u:p@h:1", "o.example", 80, "/@u:p@h:1"},
		{"http://o.example/http://x/?http://y", "o.example", 80, "/http://x/?http://y"},
		{`http://o.example/\|{}^"<>[]` + "`", "o.example", 80, `/\|{}^"<>[]` + "`"},
		{"http://o.example/b\xfc/ü", "o.example", 80, "/b\xfc/ü"},
		{"http://[::1]:81/x", "::1", 81, "/x"},
		{"http://[::1]?", "::1", 80, "?"},
	} {
		got, path, err := hop.ParseAbsolute([]byte(c.in))
		accepted(t, c.in, got, err, c.host, c.port)
		if string(path) != c.path || (path == nil) != (c.path == "") {
			t.Errorf("%q: path %q, want %q", c.in, path, c.path)
		}
	}
}

func TestParseAbsoluteRefuses(t *testing.T) {
	for _, c := range []struct {
		in   string
		code int
		want string
	}{
		{"", 400, "which host"},
		{"/", 400, "This is a proxy"},
		{"/x?http://y/", 400, "This is a proxy"},
		{"//example.com/", 400, "This is a proxy"},
		{"*", 400, "This is a proxy"},
		{"example.com", 400, "This is a proxy"},
		{"example.com:80", 400, "This is a proxy"},
		{"http:", 400, "This is a proxy"},
		{"http:/example.com/", 400, "This is a proxy"},
		{"http:example.com", 400, "This is a proxy"},
		{"http\x1a//example.com/", 400, "This is a proxy"},
		{"http:\x0f/example.com/", 400, "This is a proxy"},
		{" http://example.com/", 400, "This is a proxy"},
		{"://example.com/", 400, "This is a proxy"},
		{"1http://example.com/", 400, "This is a proxy"},
		{"mailto:a@example.com", 400, "This is a proxy"},
		{"https://example.com/", 400, "CONNECT"},
		{"HTTPS://example.com/", 400, "CONNECT"},
		{"ftp://example.com/", 501, "only http"},
		{"gopher://example.com:70/", 501, "only http"},
		{"file:///etc/passwd", 501, "only http"},
		{"ws://example.com/", 501, "only http"},
		{"wss://example.com/", 501, "only http"},
		{"httpx://example.com/", 501, "only http"},
		{"h+t.t-p2://example.com/", 501, "only http"},
		{"http://", 400, "which host"},
		{"http:///", 400, "which host"},
		{"http:///x", 400, "which host"},
		{"http://?x", 400, "which host"},
		{"http://:80/", 400, "which host"},
		{"http://#x", 400, "fragment"},
		{"http://h#x", 400, "fragment"},
		{"http://h/#", 400, "fragment"},
		{"http://h/?a#b", 400, "fragment"},
		{"http://u:p@h/", 400, "User names"},
		{"http://u@h/", 400, "User names"},
		{"http://@h/", 400, "User names"},
		{"http://h:80@evil.example/", 400, "User names"},
		{`http://h\@evil.example/`, 400, "backslash"},
		{`http:\\h\`, 400, "This is a proxy"},
		{"http://h /", 400, "space"},
		{"http://h/a b", 400, "space"},
		{"http://h/a\tb", 400, "space"},
		{"http://h/a\x00", 400, "control"},
		{"http://h/\r\nX: y", 400, "control"},
		{"http://h/\x7f", 400, "control"},
		{"http://%68/", 400, "percent"},
		{"http://[fe80::1%25eth0]/", 400, "percent"},
	} {
		got, path, err := hop.ParseAbsolute([]byte(c.in))
		refused(t, c.in, err, c.code, c.want)
		if got != (hop.Target{}) || path != nil {
			t.Errorf("%q: %+v %q beside an error", c.in, got, path)
		}
	}
}

func TestParseAbsoluteReturnsASliceOfTheTarget(t *testing.T) {
	b := []byte("http://example.com/a?b")
	_, path, err := hop.ParseAbsolute(b)
	if err != nil || &path[0] != &b[len("http://example.com")] {
		t.Errorf("%q is a copy, %v", path, err)
	}
}

func TestParseHostDefaultPort(t *testing.T) {
	got, err := hop.ParseHost([]byte("a.example"), 8443)
	accepted(t, "a.example", got, err, "a.example", 8443)
	got, err = hop.ParseHost([]byte("a.example:1"), 8443)
	accepted(t, "a.example:1", got, err, "a.example", 1)
	_, err = hop.ParseHost([]byte("a.example"), 0)
	refused(t, "no port at all", err, 400, "1 to 65535")
	_, err = hop.ParseHost(nil, 80)
	refused(t, "nothing", err, 400, "which host")
}

func TestParserRemembersOnlyWhatIsEqual(t *testing.T) {
	var p hop.Parser
	for _, c := range []struct{ in, want string }{
		{"127.0.0.1:80", "127.0.0.1:80"},
		{"[127.0.0.1]:80", ""},
		{"127.0.0.1:81", "127.0.0.1:81"},
		{"[::1]:80", "[::1]:80"},
		{"::1:80", ""},
		{"[::1]:81", "[::1]:81"},
		{"[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80"},
		{"A.example:80", "a.example:80"},
		{"a.example:82", "a.example:82"},
		{"[a.example]:82", ""},
		{"a.example.:82", "a.example:82"},
		{":80", ""},
		{"a.example:0", ""},
		{"a.example:83", "a.example:83"},
	} {
		got, err := p.Authority([]byte(c.in))
		fresh, freshErr := hop.ParseAuthority([]byte(c.in))
		if got != fresh || err != freshErr || c.want != "" && got.String() != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %v, %v; a fresh parser says %v, %v", c.in, got, err, fresh, freshErr)
		}
	}
	if _, err := new(hop.Parser).Authority([]byte(":80")); err == nil {
		t.Error("a zero parser remembers the empty host")
	}
}

func TestTargetStrings(t *testing.T) {
	for _, c := range []struct {
		in           string
		full, of443  string
		of80, prefix string
	}{
		{"a.example:443", "a.example:443", "a.example", "a.example:443", ""},
		{"a.example:80", "a.example:80", "a.example:80", "a.example", "x"},
		{"[::1]:443", "[::1]:443", "[::1]", "[::1]:443", "x"},
		{"[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]", ""},
		{"1.2.3.4:65535", "1.2.3.4:65535", "1.2.3.4:65535", "1.2.3.4:65535", ""},
	} {
		g, err := hop.ParseAuthority([]byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		if s := g.String(); s != c.full {
			t.Errorf("String %q, want %q", s, c.full)
		}
		if s := string(g.AppendTo([]byte(c.prefix))); s != c.prefix+c.full {
			t.Errorf("AppendTo %q", s)
		}
		if s := string(g.AppendHost([]byte(c.prefix), 443)); s != c.prefix+c.of443 {
			t.Errorf("AppendHost(443) %q, want %q", s, c.of443)
		}
		if s := string(g.AppendHost([]byte(c.prefix), 80)); s != c.prefix+c.of80 {
			t.Errorf("AppendHost(80) %q, want %q", s, c.of80)
		}
	}
}
