package admin_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"viaduct/admin"
	"viaduct/metrics"
)

// echo explains with the question.
func echo(q admin.ExplainQuery) (any, error) { return q, nil }

const (
	explainPath = "/api/explain?url=http://example.com/"
	loopback    = "127.0.0.1"
)

func TestExplain(t *testing.T) {
	var got admin.ExplainQuery
	d := serve(t, admin.Options{Explain: func(q admin.ExplainQuery) (any, error) {
		got = q
		return []map[string]any{{"listener": "forward[0]", "says": "<b>\u2028\x00"}}, nil
	}})
	for _, method := range []string{"GET", "HEAD"} {
		a := d.call(method, "/api/explain?url=http%3A%2F%2FExample.com%2Fa%3Fb&user=joe&client=192.0.2.7&addr=2001:db8::1&method=POST&listener=forward%5B0%5D")
		if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", method, a.StatusCode, a.Header)
		}
		wantGuarded(t, a)
		want := "[\n  {\n    \"listener\": \"forward[0]\",\n    \"says\": \"\\u003cb\\u003e\\u2028\\u0000\"\n  }\n]\n"
		if method == "HEAD" {
			want = ""
		}
		if a.body != want {
			t.Errorf("%s: got %s\nwant %s", method, a.body, want)
		}
	}
	want := admin.ExplainQuery{
		Listener: "forward[0]", Client: netip.MustParseAddr("192.0.2.7"), User: "joe", Method: "POST",
		Host: "example.com", Port: 80, Path: "/a?b", Addr: netip.MustParseAddr("2001:db8::1"),
	}
	if got != want {
		t.Errorf("asked was\n%+v, want\n%+v", got, want)
	}
}

// TestWithoutExplainThereIsNothing: neither the page nor a word of it.
func TestWithoutExplainThereIsNothing(t *testing.T) {
	d := serve(t, admin.Options{})
	if a := d.call("GET", explainPath); a.StatusCode != 404 {
		t.Errorf("%d, want 404", a.StatusCode)
	}
	if a := d.call("GET", "/"); strings.Contains(a.body, "explain") {
		t.Errorf("the index says %q", a.body)
	}
	d = serve(t, admin.Options{Explain: echo})
	if a := d.call("GET", "/"); !strings.Contains(a.body, "\n/api/explain  what would happen to ?url=") {
		t.Errorf("the index says %q", a.body)
	}
}

// TestExplainIsAsGuardedAsMetrics: what the policy is tells a stranger what to
// try.
func TestExplainIsAsGuardedAsMetrics(t *testing.T) {
	asked := 0
	d := serve(t, admin.Options{Token: "sesame", Explain: func(admin.ExplainQuery) (any, error) { asked++; return 1, nil }})
	const token = "Authorization: Bearer sesame"
	for _, c := range []struct {
		raw  string
		want int
	}{
		{"GET " + explainPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 401},
		{"GET " + explainPath + "&token=sesame HTTP/1.1\r\nHost: localhost\r\n\r\n", 401},
		{"GET " + explainPath + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n", 401},
		{"GET " + explainPath + " HTTP/1.1\r\nHost: evil.example\r\n" + token + "\r\n\r\n", 421},
		{"GET " + explainPath + " HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n", 421},
		{"GET http://evil.example" + explainPath + " HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n\r\n", 421},
		{"GET " + explainPath + " HTTP/1.1\r\n" + token + "\r\n\r\n", 400},
		{"GET /api/explain/?url=http://h/ HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n\r\n", 404},
		{"GET //api/explain?url=http://h/ HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n\r\n", 404},
		{"GET /API/explain?url=http://h/ HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n\r\n", 404},
		{"POST " + explainPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 401},
		{"POST " + explainPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" + token + "\r\n\r\n", 405},
		{"PUT " + explainPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" + token + "\r\n\r\n", 405},
		{"DELETE " + explainPath + " HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n\r\n", 405},
		{"OPTIONS " + explainPath + " HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n\r\n", 405},
		{"get " + explainPath + " HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n\r\n", 405},
	} {
		a := d.ask(c.raw)
		if a.StatusCode != c.want || strings.Contains(a.body, "example.com") {
			t.Errorf("%q: %d %q, want %d", c.raw, a.StatusCode, a.body, c.want)
		}
	}
	if asked != 0 {
		t.Errorf("%d questions came through", asked)
	}
	if a := d.call("GET", explainPath, token); a.StatusCode != 200 || asked != 1 {
		t.Errorf("%d with the token", a.StatusCode)
	}
}

// wantError wants a 400 whose JSON has exactly one sentence.
func wantError(t *testing.T, a answer, word string) {
	t.Helper()
	var v map[string]string
	if err := json.Unmarshal([]byte(a.body), &v); err != nil || a.StatusCode != 400 || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %q: %v", a.StatusCode, a.body, err)
	}
	if len(v) != 1 || !strings.Contains(v["error"], word) {
		t.Errorf("it says %q, want %q", v, word)
	}
	wantGuarded(t, a)
}

func TestExplainSaysWhatIsWrong(t *testing.T) {
	d := serve(t, admin.Options{Explain: func(admin.ExplainQuery) (any, error) { t.Error("asked"); return 1, nil }})
	for query, want := range map[string]string{
		"":                                   "url: say what is asked for, such as http://example.com/ or example.com:443",
		"?":                                  "url: say what",
		"?url=":                              "url: say what",
		"?user=joe":                          "url: say what",
		"?url=http://h/&usr=joe":             `"usr": no such parameter: there are url, method, user, client, addr, listener`,
		"?url=http://h/&URL=x":               `"URL": no such parameter`,
		"?url=http://h/&=x":                  `"": no such parameter`,
		"?url=http://h/&%00%1b=x":            `"\x00\x1b": no such parameter`,
		"?url=http://h/&url=http://i/":       "url: it is there twice",
		"?url=http://h/&user=a&user=b":       "user: it is there twice",
		"?url=http://h/%00":                  "url: there is a control character in it",
		"?url=http://h/&user=a%0Ab":          "user: there is a control character in it",
		"?url=http://h/&listener=%7f":        "listener: there is a control character in it",
		"?url=http://h/&client=x":            `client: "x" is no address`,
		"?url=http://h/&client=10.0.0.0%2f8": `client: "10.0.0.0/8" is no address`,
		"?url=http://h/&client=fe80::1%25lo": `client: "fe80::1%lo" is no address`,
		"?url=http://h/&addr=1.2.3":          `addr: "1.2.3" is no address`,
		"?url=http://h/&addr=%5b::1%5d":      `addr: "[::1]" is no address`,
		"?url=%zz":                           "the query cannot be read",
		"?url=http://h/;user=a":              "the query cannot be read",
		"?url=http://h/a+b":                  "url: there is a space in it: write %20",
	} {
		wantError(t, d.call("GET", "/api/explain"+query), want)
	}
}

// TestExplainersErrorsAreTold in the same form, whatever they have in them.
func TestExplainersErrorsAreTold(t *testing.T) {
	const text = "no listener \"\x00\n</script>\" here: there are forward[0], 127.0.0.1:3128"
	d := serve(t, admin.Options{Explain: func(admin.ExplainQuery) (any, error) { return nil, errors.New(text) }})
	a := d.call("GET", explainPath)
	wantError(t, a, text)
	if strings.Contains(a.body, "<") {
		t.Errorf("it says %s", a.body)
	}
}

// TestExplainThatPanics ends its connection, and nothing else.
func TestExplainThatPanics(t *testing.T) {
	m := metrics.New("test")
	d := serve(t, admin.Options{Metrics: m, Explain: func(q admin.ExplainQuery) (any, error) {
		if q.Host == "channel" {
			return make(chan int), nil // is no JSON
		}
		panic("oh dear")
	}})
	for _, host := range []string{"x", "channel"} {
		nc := d.dial()
		if _, err := io.WriteString(nc, "GET /api/explain?url=http://"+host+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(nc); len(got) > 0 {
			t.Errorf("the client reads %q", got)
		}
	}
	if a := d.call("GET", "/metrics"); !strings.Contains(a.body, "\nviaduct_panics_total 2\n") {
		t.Error("they are not counted")
	}
}

func TestHugeQuestions(t *testing.T) {
	d := serve(t, admin.Options{Explain: echo})
	for length, want := range map[int]int{1 << 10: 200, 7 << 10: 200} {
		a := d.call("GET", explainPath+strings.Repeat("x", length))
		if a.StatusCode != want || len(a.body) < length {
			t.Errorf("%d bytes: %d, want %d", length, a.StatusCode, want)
		}
	}
	if a := d.call("GET", explainPath+strings.Repeat("x", 12<<10)); a.StatusCode != 431 {
		t.Errorf("%d, want 431", a.StatusCode)
	}
	if a := d.call("GET", "/api/explain?"+strings.Repeat("a=&", 2000)); a.StatusCode != 400 || len(a.body) > 1000 {
		t.Errorf("%d with %d bytes", a.StatusCode, len(a.body))
	}
}

func TestQuestions(t *testing.T) {
	for _, c := range []struct{ url, method, want string }{
		{"http://example.com/", "", "GET example.com 80 /"},
		{"http://example.com", "", "GET example.com 80 /"},
		{"HTTP://Example.COM.:8080/A?b=c#d", "", "GET example.com 8080 /A?b=c"},
		{"http://example.com?q", "", "GET example.com 80 /?q"},
		{"http://example.com#f", "", "GET example.com 80 /"},
		{"http://example.com/%2e%2E//;x\\y?a://b", "", "GET example.com 80 /%2e%2E//;x\\y?a://b"},
		{"http://example.com/@a:b", "", "GET example.com 80 /@a:b"},
		{"http://example.com/", "POST", "POST example.com 80 /"},
		{"http://example.com/", "get", "get example.com 80 /"},
		{"http://example.com/", "M-SEARCH", "M-SEARCH example.com 80 /"},
		{"http://192.0.2.1/", "", "GET 192.0.2.1 80 /"},
		{"http://[2001:DB8:0::1]:81/", "", "GET 2001:db8::1 81 /"},
		{"http://[::ffff:192.0.2.1]", "", "GET ::ffff:192.0.2.1 80 /"},
		{"http://bücher.example/ü", "", "GET bücher.example 80 /ü"},
		{"https://example.com/any/path?q", "", "tunnel GET example.com 443 /any/path?q"},
		{"https://example.com", "", "tunnel GET example.com 443 /"},
		{"https://example.com", "GET", "tunnel GET example.com 443 /"},
		{"HTTPS://Example.com.:444?q#f", "POST", "tunnel POST example.com 444 /?q"},
		{"https://[::1]", "", "tunnel GET ::1 443 /"},
		{"https://example.com:8443", "CONNECT", "tunnel CONNECT example.com 8443"},
		{"https://example.com/x?y", "CONNECT", "tunnel CONNECT example.com 443"},
		{"example.com:443", "", "tunnel CONNECT example.com 443"},
		{"Example.com.:22", "CONNECT", "tunnel CONNECT example.com 22"},
		{"[::1]:443", "", "tunnel CONNECT ::1 443"},
		{"localhost:65535", "", "tunnel CONNECT localhost 65535"},

		{"example.com", "", "url: write http://example.com, or host:port for a CONNECT"},
		{"example.com/a", "", "url: write http://example.com/a, or host:port for a CONNECT"},
		{"example.com/a:1", "", "url: write http://example.com/a:1, or host:port for a CONNECT"},
		{"example.com:443/", "", "url: write http://example.com:443/, or host:port for a CONNECT"},
		{"/etc", "", "url: write http:///etc, or host:port for a CONNECT"},
		{"http:/example.com:80", "", "url: write http://http:/example.com:80, or host:port for a CONNECT"},
		{"[::1]", "", "url: write http://[::1], or host:port for a CONNECT"},
		{"ftp://example.com/", "", `url: "ftp" is no scheme of a proxy's: write http://, https:// or host:port`},
		{"://example.com/", "", `url: "" is no scheme of a proxy's: write http://, https:// or host:port`},
		{"a/b://c:1", "", `url: "a/b" is no scheme of a proxy's: write http://, https:// or host:port`},
		{"http://", "", `url: "" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http:///a", "", `url: "" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://./", "", `url: "." is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://:80/", "", `url: "" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"::1:443", "", `url: "::1" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://[1.2.3.4]/", "", `url: "[1.2.3.4]" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://[fe80::1%25lo]/", "", `url: "[fe80::1%25lo]" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://[::1/", "", `url: "[:" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://[::1]x/", "", `url: "[::1]x" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://a%41/", "", `url: "a%41" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://a\\b/", "", `url: "a\\b" is no host: write a name, or an address, in brackets if it is IPv6`},
		{"http://joe:pw@example.com/", "", "url: leave the user name and password out"},
		{"https://joe@example.com", "", "url: leave the user name and password out"},
		{"joe@example.com:443", "", "url: leave the user name and password out"},
		{"example.com:", "", `url: "" is no port: they are from 1 to 65535`},
		{"http://example.com:/", "", `url: "" is no port: they are from 1 to 65535`},
		{"example.com:0", "", `url: "0" is no port: they are from 1 to 65535`},
		{"example.com:080", "", `url: "080" is no port: they are from 1 to 65535`},
		{"example.com:65536", "", `url: "65536" is no port: they are from 1 to 65535`},
		{"example.com:+80", "", `url: "+80" is no port: they are from 1 to 65535`},
		{"example.com:https", "", `url: "https" is no port: they are from 1 to 65535`},
		{"example.com:443", "GET", `method: host:port means a CONNECT: leave "GET" out, or write https:// or http:// before it`},
		{"example.com:443", "connect", `method: host:port means a CONNECT: leave "connect" out, or write https:// or http:// before it`},
		{"https://example.com/", "GET /", `method: "GET /" is none`},
		{"https://joe@example.com", "POST", "url: leave the user name and password out"},
		{"http\u017f://example.com/", "", "url: \"http\u017f\" is no scheme of a proxy's: write http://, https:// or host:port"},
		{"http://example.com/", "CONNECT", "method: CONNECT asks for host:port, such as example.com:443"},
		{"http://example.com/", "GET /", `method: "GET /" is none`},
		{"http://example.com/", "GÉT", `method: "GÉT" is none`},
	} {
		q, err := admin.ParseExplain(url.Values{"url": {c.url}, "method": {c.method}})
		got := q.Method + " " + q.Host + " " + netip.AddrPortFrom(netip.AddrFrom4([4]byte{}), q.Port).String()[len("0.0.0.0:"):]
		if q.Connect {
			got = "tunnel " + got
		}
		if q.Path != "" {
			got += " " + q.Path
		}
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s: got %s\nwant %s", c.method, c.url, got, c.want)
		}
		if err == nil && ((q.Path == "") != (q.Method == "CONNECT") || q.Path == "" && !q.Connect || q.Client != netip.MustParseAddr(loopback)) {
			t.Errorf("%s: %+v", c.url, q)
		}
	}
}

// FuzzParseExplain: what is taken has all its parts, and means the same to
// package net/url; what is not is told by its parameter.
func FuzzParseExplain(f *testing.F) {
	for _, text := range []string{"http://example.com/a?b#c", "https://[::1]:8443/x", "example.com:443", "http://a@b:80/", "HTTP://A.:1", "::1:443", "http://[::ffff:1.2.3.4]", "\x00", "http://\xff/"} {
		f.Add(text, "", "", "")
		f.Add(text, "GET", "192.0.2.1", "::1")
	}
	f.Fuzz(func(t *testing.T, text, method, client, addr string) {
		v := url.Values{"url": {text}, "method": {method}, "client": {client}, "addr": {addr}}
		q, err := admin.ParseExplain(v)
		if err != nil {
			if wrong, ok := errors.AsType[*admin.ParameterError](err); !ok || len(v[wrong.Name]) == 0 {
				t.Errorf("%q: %v", v, err)
			}
			return
		}
		if q.Host == "" || q.Port == 0 || q.Method == "" || !q.Client.IsValid() || (q.Method == "CONNECT") == strings.HasPrefix(q.Path, "/") || q.Path == "" && !q.Connect {
			t.Errorf("%q: %+v", v, q)
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" {
			return
		}
		host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
			host = a.String()
		}
		path := u.EscapedPath()
		if q.Host != host || u.Port() != "" && !strings.HasSuffix(netip.AddrPortFrom(q.Client, q.Port).String(), ":"+u.Port()) {
			t.Errorf("%q: %+v is not %+v", text, q, u)
		}
		if strings.HasPrefix(path, "/") && q.Path != "" && !strings.HasPrefix(q.Path, path) && u.RawPath == "" && path == u.Path {
			t.Errorf("%q: the path is %q, not %q", text, q.Path, path)
		}
	})
}
