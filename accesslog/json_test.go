package accesslog_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"viaduct/accesslog"
)

// read parses a line as JSON, and makes sure that it is one line.
func read(t testing.TB, line string) map[string]any {
	t.Helper()
	body := oneLine(t, line)
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	if d.More() {
		t.Fatalf("more than one object in %s", line)
	}
	return v
}

// oneLine is a line without its end. It has nothing but plain characters.
func oneLine(t testing.TB, line string) string {
	t.Helper()
	body, ok := strings.CutSuffix(line, "\n")
	if !ok {
		t.Fatalf("not one line: %q", line)
	}
	for _, c := range []byte(body) {
		if c < ' ' || c > '~' {
			t.Fatalf("byte %#x in %q", c, line)
		}
	}
	return body
}

// latin1 gives back the bytes that were written as Latin-1.
func latin1(t testing.TB, v any) string {
	t.Helper()
	s, ok := v.(string)
	if !ok {
		t.Fatalf("%v is not a string", v)
	}
	var b []byte
	for _, r := range s {
		if r > 0xff {
			t.Fatalf("%q is more than a byte", r)
		}
		b = append(b, byte(r))
	}
	return string(b)
}

func TestLineHasAllThatIsKnown(t *testing.T) {
	const want = `{"time":"2026-11-23T12:04:05.006Z","mode":"forward","client":"192.0.2.7:40000","user":"joe","method":"GET",` +
		`"target":"http://example.com/a/b","egress":"2001:db8::2","endpoint":"[2001:db8::1]:80","tries":2,"status":502,` +
		`"fault":"connection_terminated","error":"read: connection reset","rule":"deny#2","bytes_received":17,"bytes_sent":1099511627776,` +
		`"dial_s":0.000234,"first_byte_s":0.001234,"total_s":62.000005,"ended_by":"server"}` + "\n"
	if got := lineOf(t, entry(), accesslog.JSON); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestLineLeavesOutWhatIsNot(t *testing.T) {
	const want = `{"time":"2026-01-01T00:00:00.000Z","mode":"forward","client":"[::1]:9","method":"","target":"",` +
		`"tries":0,"status":0,"bytes_received":0,"bytes_sent":0,"dial_s":0.000000,"first_byte_s":0.000000,"total_s":0.000000}` + "\n"
	e := &accesslog.Entry{Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Mode: "forward", Client: netip.MustParseAddrPort("[::1]:9")}
	if got := lineOf(t, e, accesslog.JSON); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	e.Client = netip.AddrPort{}
	if v := read(t, lineOf(t, e, accesslog.JSON)); v["client"] != "" {
		t.Errorf("client %q", v["client"])
	}
}

func TestWhoEndedIt(t *testing.T) {
	for end, want := range map[accesslog.End]any{
		accesslog.None: nil, accesslog.Client: "client", accesslog.Server: "server", accesslog.Proxy: "proxy",
	} {
		e := entry()
		e.Ended = end
		if v := read(t, lineOf(t, e, accesslog.JSON)); v["ended_by"] != want {
			t.Errorf("ended by %v, want %v", v["ended_by"], want)
		}
	}
}

func TestTargetTellsNoSecret(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "http://example.com/a;b=c", "http://example.com/a;b=c"},
		{"query", "http://example.com/a?token=s3cret", "http://example.com/a"},
		{"only a query", "http://example.com?s3cret", "http://example.com"},
		{"nothing but a query", "?s3cret", ""},
		{"second question mark", "http://example.com/?a=s3cret?b=s3cret", "http://example.com/"},
		{"user and password", "http://joe:s3cret@example.com/a", "http://example.com/a"},
		{"password with an at sign", "http://joe:s3c@s3cret@example.com/", "http://example.com/"},
		{"password longer than what is logged", "http://joe:s3cret" + strings.Repeat("x", 10_000) + "@example.com/", "http://example.com/"},
		{"of CONNECT", "joe:s3cret@example.com:443", "example.com:443"},
		{"of CONNECT, with a path", "joe:s3cret@example.com:443/", "example.com:443/"},
		{"in front of a scheme", "joe:s3cret@http://example.com/", "http://example.com/"},
		{"in front of a path with a scheme", "joe:s3cret@example.com/http://example.org/", "example.com/http://example.org/"},
		{"one slash", "http:/joe:s3cret@example.com/", "example.com/"},
		{"three slashes", "http:///joe:s3cret@example.com/", "http://example.com/"},
		{"no scheme", "//joe:s3cret@example.com/", "example.com/"},
		{"no scheme, half turned", `/\joe:s3cret@example.com/`, "example.com/"},
		{"other scheme", "ftp://joe:s3cret@example.com/", "ftp://example.com/"},
		{"at sign in the path", "http://example.com/@scope/a@1.0", "http://example.com/@scope/a@1.0"},
		{"at sign in a path alone", "/@scope/a@1.0", "/@scope/a@1.0"},
		{"path alone", "/", "/"},
		{"fragment", "http://example.com/#s3cret", "http://example.com/"},
		{"very long", "http://example.com/" + strings.Repeat("x", 10_000), "http://example.com/" + strings.Repeat("x", 2029)},
		{"very long scheme", strings.Repeat("x", 10_000) + "://example.com/", strings.Repeat("x", 2048)},
		{"authority", "example.com:443", "example.com:443"},
		{"star", "*", "*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := entry()
			e.Target, e.Referer = []byte(c.in), []byte(c.in)
			for name, f := range formats {
				if line := lineOf(t, e, f); strings.Contains(line, "s3c") {
					t.Errorf("a secret is in the log, %s: %s", name, line)
				}
			}
			if got := read(t, lineOf(t, e, accesslog.JSON))["target"]; got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestNoByteBreaksTheLine(t *testing.T) {
	for b := range 256 {
		if b == '?' || b == '#' || b == '@' {
			continue
		}
		e := entry()
		e.Method = []byte{'a', byte(b), 'z'}
		e.Target, e.User = e.Method, string(e.Method)
		v := read(t, lineOf(t, e, accesslog.JSON))
		if want := "a" + string(rune(b)) + "z"; v["method"] != want || v["target"] != want || v["user"] != want {
			t.Errorf("byte %#x: %q, %q and %q", b, v["method"], v["target"], v["user"])
		}
	}
}

// The name of an interface is free text, nearly.
func TestZoneIsNotTold(t *testing.T) {
	e := entry()
	zoned := netip.MustParseAddr("fe80::1").WithZone("a \"\n/")
	e.Client, e.Egress, e.Endpoint = netip.AddrPortFrom(zoned, 1), zoned, netip.AddrPortFrom(zoned, 2)
	v := read(t, lineOf(t, e, accesslog.JSON))
	if v["client"] != "[fe80::1]:1" || v["egress"] != "fe80::1" || v["endpoint"] != "[fe80::1]:2" {
		t.Errorf("got %v", v)
	}
	if f := readSquid(t, lineOf(t, e, accesslog.Squid)); f.client != "fe80::1" || f.peer != "fe80::1" {
		t.Errorf("got %+v", f)
	}
	if f := readCombined(t, lineOf(t, e, accesslog.Combined)); f.client != "fe80::1" {
		t.Errorf("got %+v", f)
	}
}
