package admin_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"viaduct/admin"
)

// TestHostMustBeOurs: a page that a browser loaded from another name cannot
// reach this address under that name (DNS rebinding).
func TestHostMustBeOurs(t *testing.T) {
	const ours, theirs, bad = 200, 421, 400
	d := serve(t, admin.Options{Hosts: []string{
		"Proxy.Example.com.", "proxy.internal:9090", "192.0.2.7", "[2001:db8::7]", "2001:db8::8", "", ".",
	}})
	for host, want := range map[string]int{
		"localhost":                 ours,
		"localhost:9090":            ours,
		"localhost:":                ours,
		"localhost:99999":           ours, // the port is not compared
		"LOCALHOST:1":               ours,
		"LocalHost.":                ours,
		"localhost.:80":             ours,
		"127.0.0.1":                 ours,
		"127.0.0.1:9090":            ours,
		"127.255.255.254":           ours,
		"[::1]":                     ours,
		"[::1]:9090":                ours,
		"[::ffff:127.0.0.1]:9090":   ours,
		"[0:0:0:0:0:0:0:1]":         ours,
		"proxy.example.com":         ours,
		"PROXY.example.com.:443":    ours,
		"proxy.internal":            ours,
		"proxy.internal:1":          ours,
		"192.0.2.7:9090":            ours,
		"[2001:db8::7]:9090":        ours,
		"[2001:DB8:0::8]":           ours,
		"evil.example":              theirs,
		"evil.example:9090":         theirs,
		"localhost.evil.example":    theirs,
		"localhostevil.example":     theirs,
		"evil.localhost":            theirs,
		"127.0.0.1.nip.io":          theirs,
		"127.0.0.1.":                theirs,
		"127.1":                     theirs,
		"2130706433":                theirs,
		"0x7f.0.0.1":                theirs,
		"0177.0.0.1":                theirs,
		"127.0.0.01":                theirs,
		"0.0.0.0":                   theirs,
		"0.0.0.0:9090":              theirs,
		"[::]:9090":                 theirs,
		"192.0.2.8":                 theirs,
		"10.0.0.1":                  theirs,
		"[::ffff:192.0.2.8]":        theirs,
		"[::1%25lo]":                theirs,
		"[::1%lo]":                  theirs,
		"[::1":                      theirs,
		"::1]":                      theirs,
		"[]":                        theirs,
		"[]:80":                     theirs,
		"[localhost]":               theirs,
		"[127.0.0.1]":               theirs,
		":9090":                     theirs,
		":":                         theirs,
		".":                         theirs,
		"..":                        theirs,
		"localhost..":               theirs,
		".localhost":                theirs,
		"localhost:80:80":           theirs,
		"localhost:x":               theirs,
		"localhost:80x":             theirs,
		"localhost@evil.example":    bad,
		"localhost:80@evil.example": bad,
		"evil.example,localhost":    theirs,
		"sub.proxy.example.com":     theirs,
		"":                          theirs,
		"localhost\t.evil.example":  bad,
		"localhost evil.example":    bad,
		"local\x00host":             bad,
		"localhost/":                bad,
		"löcalhost":                 bad,
	} {
		for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/nowhere"} {
			a := d.ask("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
			want := want
			if path == "/nowhere" && want == ours {
				want = 404
			}
			if a.StatusCode != want {
				t.Errorf("Host %q, %s: %d, want %d", host, path, a.StatusCode, want)
			}
			if want == theirs {
				wantGuarded(t, a)
			}
		}
	}
}

// TestTheRefusalRepeatsNothing that the client wrote.
func TestTheRefusalRepeatsNothing(t *testing.T) {
	d := serve(t, admin.Options{Token: "secret-word"})
	a := d.ask("GET /marker1 HTTP/1.1\r\nHost: marker2.example\r\nOrigin: http://marker3.example\r\nAuthorization: Bearer marker4\r\n\r\n")
	if a.StatusCode != 421 || strings.Contains(a.body, "marker") || strings.Contains(a.body, "secret") {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
	if n := strings.Count(strings.TrimSpace(a.body), "\n"); n != 0 {
		t.Errorf("%d lines, want one sentence: %q", n+1, a.body)
	}
}

// TestHostOfOtherForms: the target names the host where it has one (RFC 9112
// section 3.2.2), and what has no Host is no browser.
func TestHostOfOtherForms(t *testing.T) {
	d := serve(t, admin.Options{})
	for raw, want := range map[string]int{
		"GET /metrics HTTP/1.0\r\n\r\n":                                                                                   200,
		"GET /metrics HTTP/1.0\r\nHost:\r\n\r\n":                                                                          200,
		"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n":                                                                200,
		"GET /metrics HTTP/1.0\r\nHost: evil.example\r\n\r\n":                                                             421,
		"HEAD /healthz HTTP/1.0\r\n\r\n":                                                                                  200,
		"OPTIONS /healthz HTTP/1.0\r\n\r\n":                                                                               405,
		"GET /metrics HTTP/1.1\r\n\r\n":                                                                                   400,
		"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n":                                          400,
		"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n":                                             400,
		"GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n":                                             421,
		"GET http://localhost/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n":                                             200,
		"GET http://evil.example/metrics HTTP/1.0\r\n\r\n":                                                                421,
		"GET http://localhost@evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n":                                   421,
		"GET http:///metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n":                                                      421,
		"GET //evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n":                                                  404,
		"OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n":                                                                421,
		"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n":                                                                   404,
		"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n":                                             421,
		"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n":                                                   404,
		"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\n\r\n": 421,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                                                                421,
	} {
		if a := d.ask(raw); a.StatusCode != want {
			t.Errorf("%q: %d, want %d", raw, a.StatusCode, want)
		}
	}
}

// TestHostIsTheAddressThatWasCalled: an address cannot be rebound, so the one
// that the connection came to is good, and no other.
func TestHostIsTheAddressThatWasCalled(t *testing.T) {
	h := admin.New(admin.Options{})
	for _, c := range []struct {
		local net.Addr
		host  string
		want  int
	}{
		{&net.TCPAddr{IP: net.ParseIP("203.0.113.7").To4(), Port: 9090}, "203.0.113.7:9090", 200},
		{&net.TCPAddr{IP: net.ParseIP("203.0.113.7"), Port: 9090}, "203.0.113.7", 200},
		{&net.TCPAddr{IP: net.ParseIP("203.0.113.7"), Port: 9090}, "[::ffff:203.0.113.7]", 200},
		{&net.TCPAddr{IP: net.ParseIP("203.0.113.7"), Port: 9090}, "203.0.113.8", 421},
		{&net.TCPAddr{IP: net.ParseIP("203.0.113.7"), Port: 9090}, "evil.example", 421},
		{&net.TCPAddr{IP: net.ParseIP("203.0.113.7"), Port: 9090}, "localhost", 200},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 9090}, "[2001:db8:0:0::1]:9090", 200},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "[fe80::1]", 200},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "[fe80::1%eth0]", 421},
		{&net.TCPAddr{}, "evil.example", 421},
		{&net.TCPAddr{}, "0.0.0.0", 421},
		{&net.UnixAddr{Name: "/run/viaduct", Net: "unix"}, "203.0.113.7", 200}, // which no browser reaches
		{&net.UnixAddr{Name: "/run/viaduct", Net: "unix"}, "localhost", 200},
		{nil, "203.0.113.7", 421},
		{nil, "evil.example", 421},
	} {
		r := httptest.NewRequest("GET", "/healthz", http.NoBody)
		r.Host = c.host
		if c.local != nil {
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, c.local))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%v called %s: %d, want %d", c.local, c.host, w.Code, c.want)
		}
	}
}

// FuzzHost: what is let in means this machine to whoever reads it as the
// authority of a URL, as browsers do.
func FuzzHost(f *testing.F) {
	for _, host := range []string{"localhost:9090", "LOCALHOST.", "127.0.0.1:80", "[::1]:80", "[::ffff:7f00:1]", "::1", "[::1%25lo]", "evil.example", "localhost:80@evil.example", "[::1]evil", "]:1", ":"} {
		f.Add(host)
	}
	h := admin.New(admin.Options{})
	f.Fuzz(func(t *testing.T, host string) {
		r := httptest.NewRequest("GET", "/healthz", http.NoBody)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusMisdirectedRequest {
			return
		}
		name := host
		if u, err := url.Parse("http://" + host + "/"); err == nil {
			name = u.Hostname()
		}
		ip, _ := netip.ParseAddr(name)
		if !ip.Unmap().IsLoopback() && !strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
			t.Errorf("%q is let in, which is %q", host, name)
		}
	})
}
