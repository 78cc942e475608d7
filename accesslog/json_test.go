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
		`"fault":"connection_terminated","error":"read: connection reset","decision":"observe","rule":"deny#2","phase":"address","sni":"www.example.org","bytes_received":17,"bytes_sent":1099511627776,` +
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
		e.Target, e.User, e.Rule, e.SNI = e.Method, string(e.Method), string(e.Method), string(e.Method)
		v := read(t, lineOf(t, e, accesslog.JSON))
		for _, key := range []string{"method", "target", "user", "rule", "sni"} {
			if want := "a" + string(rune(b)) + "z"; v[key] != want {
				t.Errorf("byte %#x: %s is %q", b, key, v[key])
			}
		}
	}
}

// A log without what the policy decided is that of before.
func TestDecisionIsTold(t *testing.T) {
	for _, c := range []struct{ decision, rule, phase, sni, want string }{
		{"", "", "", "", `"status":502,"fault":"connection_terminated","error":"read: connection reset","bytes_received"`},
		{"allow", "", "name", "", `reset","decision":"allow","phase":"name","bytes_received"`},
		{"deny", "forward[0].rules[2]", "name", "", `reset","decision":"deny","rule":"forward[0].rules[2]","phase":"name","bytes_received"`},
		{"observe", "sni", "sni", "other.example", `reset","decision":"observe","rule":"sni","phase":"sni","sni":"other.example","bytes_received"`},
	} {
		e := entry()
		e.Decision, e.Rule, e.Phase, e.SNI = c.decision, c.rule, c.phase, c.sni
		if line := lineOf(t, e, accesslog.JSON); !strings.Contains(line, c.want) {
			t.Errorf("no %s in %s", c.want, line)
		}
	}
}

// Who asks a parent is told of the parent, not of where its name led.
func TestWayOutIsTold(t *testing.T) {
	for _, c := range []struct{ pool, parent, want string }{
		{"", "", `"egress":"2001:db8::2","endpoint":"[2001:db8::1]:80","tries"`},
		{"parents", "http://10.0.0.1:3128", `"egress":"2001:db8::2","pool":"parents","endpoint":"http://10.0.0.1:3128","tries"`},
		{"parents", "", `"egress":"2001:db8::2","pool":"parents","endpoint":"[2001:db8::1]:80","tries"`}, // direct stands in it
		{"a\"b", "http://a:1 -> socks5://b:2", `"pool":"a\u0022b","endpoint":"http://a:1 -> socks5://b:2","tries"`},
		{strings.Repeat("p", 129), strings.Repeat("e", 601), `"pool":"` + strings.Repeat("p", 128) + `","endpoint":"` + strings.Repeat("e", 600) + `","tries"`},
	} {
		e := entry()
		e.Pool, e.Parent = c.pool, c.parent
		line := lineOf(t, e, accesslog.JSON)
		if read(t, line); !strings.Contains(line, c.want) {
			t.Errorf("no %s in %s", c.want, line)
		}
	}
}

// A name that a client or an external service chose forges nothing: neither a
// key of this line nor a line of its own.
func TestHostileNamesForgeNothing(t *testing.T) {
	keys := len(read(t, lineOf(t, entry(), accesslog.JSON))) + 1 // pool
	for _, hostile := range []string{
		`x","status":200,"user":"admin`, `x"}` + "\n" + `{"time":"`, "x\r\n192.0.2.1 - root", `\"`, `\u0022,`,
		"\x1b[2J\x1b]0;pwned\a", "\u202euser", "\xff\xfe\x80", "\x00", "\u2028", strings.Repeat("\"", 1000),
	} {
		e := entry()
		e.User, e.Rule, e.SNI, e.Cause = hostile, hostile, hostile, hostile
		e.Pool, e.Parent = hostile, hostile
		v := read(t, lineOf(t, e, accesslog.JSON))
		if len(v) != keys || v["status"] != json.Number("502") {
			t.Errorf("%q: there are %d keys, want %d", hostile, len(v), keys)
		}
		for key, length := range map[string]int{"user": 128, "rule": 128, "sni": 256, "error": 512, "pool": 128, "endpoint": 600} {
			if got := latin1(t, v[key]); got != most(hostile, length) {
				t.Errorf("%q: %s is %q", hostile, key, got)
			}
		}
		if got := readSquid(t, lineOf(t, e, accesslog.Squid)); got.status != "502" || got.user != percent(most(hostile, 128), "%") {
			t.Errorf("%q: %+v", hostile, got)
		}
		if got := readCombined(t, lineOf(t, e, accesslog.Combined)); got.status != "502" || got.user != most(hostile, 128) {
			t.Errorf("%q: %+v", hostile, got)
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
