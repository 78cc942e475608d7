package admin_test

import (
	"bufio"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/admin"
	"viaduct/metrics"
)

func TestTokenIsNeeded(t *testing.T) {
	const token = "correct horse+battery/staple="
	d := serve(t, admin.Options{Token: token, Metrics: metrics.New("test")})
	for _, c := range []struct {
		fields string
		want   int
	}{
		{"Authorization: Bearer " + token, 200},
		{"authorization: bearer " + token, 200},
		{"Authorization:BEARER   " + token + " ", 200},
		{"X: y", 401},
		{"Authorization:", 401},
		{"Authorization: Bearer", 401},
		{"Authorization: Bearer ", 401},
		{"Authorization: " + token, 401},
		{"Authorization: Bearer" + token, 401},
		{"Authorization: Bearer\t" + token, 401},
		{"Authorization: Basic " + token, 401},
		{"Authorization: Basic OmNvcnJlY3Q=", 401},
		{"Authorization: Bearer " + token + "x", 401},
		{"Authorization: Bearer " + token[:len(token)-1], 401},
		{"Authorization: Bearer " + strings.ToUpper(token), 401},
		{"Authorization: Bearer \"" + token + "\"", 401},
		{"Authorization: Bearer " + token + "," + token, 401},
		{"Authorization: Bearer " + strings.Repeat("a", 4000), 401},
		{"Authorization: Bearer " + token + "\r\nAuthorization: Bearer " + token, 401},
		{"Authorization: Bearer x\r\nAuthorization: Bearer " + token, 401},
		{"Proxy-Authorization: Bearer " + token, 401},
		{"Cookie: token=" + token, 401},
	} {
		for _, path := range []string{"/", "/metrics", "/nowhere", "/metrics?token=" + strings.ReplaceAll(token, " ", "+"), "/healthz", "/readyz", "//healthz", "/healthz/../metrics"} {
			want := c.want
			switch path {
			case "/healthz", "/readyz":
				want = 200
			case "/nowhere", "//healthz", "/healthz/../metrics":
				if want == 200 {
					want = 404
				}
			}
			a := d.call("GET", path, c.fields)
			if a.StatusCode != want {
				t.Errorf("%q, %s: %d, want %d", c.fields, path, a.StatusCode, want)
			}
			if challenge := a.Header.Get("WWW-Authenticate"); (want == 401) != (challenge == `Bearer realm="viaduct"`) {
				t.Errorf("%q, %s: %d with the challenge %q", c.fields, path, a.StatusCode, challenge)
			}
			if strings.Contains(a.body, token) || want == 401 && strings.Contains(a.body, "viaduct_") {
				t.Errorf("%q, %s: tells %q", c.fields, path, a.body)
			}
		}
	}
	if a := d.call("POST", "/metrics"); a.StatusCode != 401 {
		t.Errorf("POST without the token: %d, want 401", a.StatusCode)
	}
	if a := d.ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer " + token + "\r\n\r\n"); a.StatusCode != 421 {
		t.Errorf("the token under another name: %d, want 421", a.StatusCode)
	}
	if log := d.log.String(); log != "" {
		t.Errorf("the log says %q", log)
	}
}

// TestEveryWaitIsBounded in what Server returns.
func TestEveryWaitIsBounded(t *testing.T) {
	s := reflect.ValueOf(admin.Server(http.NotFoundHandler(), nil)).Elem()
	for _, name := range []string{"ReadHeaderTimeout", "ReadTimeout", "WriteTimeout", "IdleTimeout", "MaxHeaderBytes"} {
		if s.FieldByName(name).Int() <= 0 {
			t.Errorf("%s is not set", name)
		}
	}
}

// wantClosed waits until the server has closed all connections.
func (d *door) wantClosed() {
	d.t.Helper()
	if !eventually(func() bool { return d.open.Load() == 0 }) {
		d.t.Fatalf("%d connections are open", d.open.Load())
	}
}

const short = 50 * time.Millisecond

func TestSlowClientsAreCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*http.Server)
		send   string
	}{
		"says nothing":             {func(s *http.Server) { s.ReadHeaderTimeout = short }, ""},
		"half a line":              {func(s *http.Server) { s.ReadHeaderTimeout = short }, "GET /met"},
		"half a head":              {func(s *http.Server) { s.ReadHeaderTimeout = short }, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: "},
		"idle":                     {func(s *http.Server) { s.IdleTimeout = short }, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		"a body that doesn't come": {func(s *http.Server) { s.ReadTimeout = short }, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx"},
		"chunks that don't come":   {func(s *http.Server) { s.ReadTimeout = short }, "POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"},
		"waits for a 100":          {func(s *http.Server) { s.ReadTimeout = short }, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d := serve(t, admin.Options{}, c.change)
			nc := d.dial()
			if _, err := io.WriteString(nc, c.send); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("not within %v: %v", patience, err)
			}
			d.wantClosed()
		})
	}
}

// TestTrickledHead: a byte now and then buys no time.
func TestTrickledHead(t *testing.T) {
	d := serve(t, admin.Options{}, func(s *http.Server) { s.ReadHeaderTimeout = 4 * short })
	nc := d.dial()
	head := "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
	sent := 0
	cut := eventually(func() bool {
		b := byte('a')
		if sent < len(head) {
			b = head[sent]
		}
		sent++
		_, err := nc.Write([]byte{b})
		return err != nil
	})
	if !cut {
		t.Errorf("%d bytes were taken", sent)
	}
	d.wantClosed()
}

// TestClientThatDoesNotRead is cut off, however much it asks for.
func TestClientThatDoesNotRead(t *testing.T) {
	d := serve(t, admin.Options{Metrics: metrics.New("test")}, func(s *http.Server) { s.WriteTimeout = 4 * short })
	nc := d.dial()
	_ = nc.SetReadBuffer(4 << 10)
	one := []byte(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 100))
	if !eventually(func() bool { _, err := nc.Write(one); return err != nil }) {
		t.Error("all was taken")
	}
	d.wantClosed()
}

func TestHugeHeads(t *testing.T) {
	d := serve(t, admin.Options{})
	huge := strings.Repeat("a", 64<<10)
	for name, raw := range map[string]string{
		"target": "GET /" + huge + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"method": huge + " / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"host":   "GET / HTTP/1.1\r\nHost: " + huge + "\r\n\r\n",
		"field":  "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + huge + "\r\n\r\n",
		"name":   "GET / HTTP/1.1\r\nHost: localhost\r\n" + huge + ": x\r\n\r\n",
		"fields": "GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X: y\r\n", 16<<10) + "\r\n",
		"token":  "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + huge + "\r\n\r\n",
	} {
		nc := d.dial()
		go func() { _, _ = io.WriteString(nc, raw) }() // it may be cut off in the middle
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err == nil && resp.StatusCode != 431 {
			t.Errorf("%s: %d, want 431", name, resp.StatusCode)
		}
		_ = nc.Close()
	}
	d.wantClosed()
	if a := d.call("GET", "/healthz"); a.StatusCode != 200 {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
}

func TestMalformedRequests(t *testing.T) {
	d := serve(t, admin.Options{})
	for _, raw := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 100) + "\r\n\r\n",
		"GET /metrics\r\n\r\n",
		"GET  /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /metrics HTTP/9.9\r\nHost: localhost\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
		"\r\n\r\n",
		"\x00\r\n\r\n",
	} {
		nc := d.dial()
		if _, err := io.WriteString(nc, raw); err != nil {
			t.Fatal(err)
		}
		_ = nc.CloseWrite()
		got, _ := io.ReadAll(nc)
		if strings.Contains(string(got), " 200 ") {
			t.Errorf("%q is answered with %q", raw, got)
		}
	}
	d.wantClosed()
}

// TestHalfClosedClientIsAnswered: it has said all it had to say.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	d := serve(t, admin.Options{})
	nc := d.dial()
	if _, err := io.WriteString(nc, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = nc.CloseWrite()
	if a := read(t, bufio.NewReader(nc), "GET"); a.StatusCode != 200 || a.body != "ok\n" {
		t.Errorf("%d %q", a.StatusCode, a.body)
	}
	d.wantClosed()
}

// TestBodiesAreLeftAlone: what comes with a GET is passed over, and the next
// request is not looked for in it.
func TestBodiesAreLeftAlone(t *testing.T) {
	d := serve(t, admin.Options{})
	nc := d.dial()
	inner := "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	raw := "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + strconv.Itoa(len(inner)) + "\r\n\r\n" + inner +
		"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
	if _, err := io.WriteString(nc, raw); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	for _, want := range []int{200, 404} {
		if a := read(t, r, "GET"); a.StatusCode != want {
			t.Errorf("%d %q, want %d", a.StatusCode, a.body, want)
		}
	}
}

// TestCrowd: scrapes, health checks, strangers and clients that vanish, all at
// once, while others count.
func TestCrowd(t *testing.T) {
	m := metrics.New("test")
	d := serve(t, admin.Options{Metrics: m, Token: "t"})
	const each = 20
	var all sync.WaitGroup
	several := func(do func()) {
		for range 4 {
			all.Go(func() {
				for range each {
					do()
				}
			})
		}
	}
	want := func(a answer, status int) {
		if a.StatusCode != status {
			t.Errorf("%d, want %d", a.StatusCode, status)
		}
	}
	several(func() { want(d.call("GET", "/metrics", "Authorization: Bearer t"), 200) })
	several(func() { want(d.call("GET", "/metrics", "Authorization: Bearer t", "Accept-Encoding: gzip"), 200) })
	several(func() { want(d.call("HEAD", "/healthz"), 200) })
	several(func() { want(d.call("GET", "/metrics"), 401) })
	several(func() { want(d.ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 421) })
	several(func() {
		nc := d.dial()
		_, _ = io.WriteString(nc, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\r\n")
		_, _ = nc.Read(make([]byte, 1)) // else there would soon be more of them than are let in
		_ = nc.SetLinger(0)
		_ = nc.Close()
	})
	several(func() {
		m.Front("forward[0]").Exchange(metrics.Exchange{Status: 200})
		m.Read(metrics.Readings{UpstreamIdle: func() int { return 1 }})
		m.Reloaded(true)
	})
	all.Wait()
	d.wantClosed()
	a := d.call("GET", "/metrics", "Authorization: Bearer t")
	if !strings.Contains(a.body, "\nviaduct_requests_total{code=\"2xx\",listener=\"forward[0]\"} "+strconv.Itoa(4*each)+"\n") {
		t.Error("something was not counted")
	}
}
