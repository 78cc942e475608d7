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

// badAbsolutes are targets that are no http address, and why.
var badAbsolutes = []struct {
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
}

func TestParseAbsoluteRefuses(t *testing.T) {
	for _, c := range badAbsolutes {
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
		if got != fresh || !errors.Is(err, freshErr) || c.want != "" && got.String() != c.want || (err != nil) != (c.want == "") {
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
