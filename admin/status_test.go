package admin_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"viaduct/admin"
	"viaduct/metrics"
)

const statusPath = "/api/status"

func TestStatus(t *testing.T) {
	n := 0
	d := serve(t, admin.Options{Status: func() any {
		n++
		return map[string]any{"n": n, "pools": []string{"<a>\u2028\x00"}}
	}})
	const first = "{\n  \"n\": 1,\n  \"pools\": [\n    \"\\u003ca\\u003e\\u2028\\u0000\"\n  ]\n}\n"
	a := d.call("GET", statusPath)
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "application/json" || a.body != first {
		t.Errorf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	wantGuarded(t, a)
	if a := d.call("HEAD", statusPath); a.StatusCode != 200 || a.body != "" {
		t.Errorf("HEAD: %d %s", a.StatusCode, a.body)
	}
	if a := d.call("GET", statusPath+"?x=y"); !strings.Contains(a.body, `"n": 3`) {
		t.Errorf("it is not asked anew: %s", a.body)
	}
	if a := d.call("GET", "/"); !strings.Contains(a.body, "\n/api/status   pools and their endpoints\n") {
		t.Errorf("the index says %q", a.body)
	}
}

// TestWithoutStatusThereIsNothing: neither the page nor a word of it.
func TestWithoutStatusThereIsNothing(t *testing.T) {
	d := serve(t, admin.Options{})
	if a := d.call("GET", statusPath); a.StatusCode != 404 {
		t.Errorf("%d, want 404", a.StatusCode)
	}
	if a := d.call("GET", "/"); strings.Contains(a.body, "status") {
		t.Errorf("the index says %q", a.body)
	}
}

// TestStatusIsAsGuardedAsMetrics: it names the parents.
func TestStatusIsAsGuardedAsMetrics(t *testing.T) {
	d := serve(t, admin.Options{Token: "sesame", Status: func() any { t.Error("asked"); return 1 }})
	const token = "Authorization: Bearer sesame\r\n"
	for raw, want := range map[string]int{
		"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n":                                         401,
		"GET /api/status?token=sesame HTTP/1.1\r\nHost: localhost\r\n\r\n":                            401,
		"GET /api/status HTTP/1.1\r\nHost: evil.example\r\n" + token + "\r\n":                         421,
		"GET /api/status/ HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n":                           404,
		"GET /API/status HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n":                            404,
		"POST /api/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" + token + "\r\n":      405,
		"DELETE /api/status HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n":                         405,
		"GET http://evil.example/api/status HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n":         421,
		"GET /api/status HTTP/1.1\r\nHost: localhost\r\n" + token + token + "\r\n":                    401,
		"GET /api/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic c2VzYW1lOg==\r\n\r\n":    401,
		"OPTIONS /api/status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://a\r\n" + token + "\r\n":    405,
		"GET /api/status HTTP/1.1\r\nHost: localhost.evil.example\r\n" + token + "\r\n":               421,
		"GET /api/status%2f HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n":                         404,
		"GET /api/../api/status HTTP/1.1\r\nHost: localhost\r\n" + token + "\r\n":                     404,
		"GET /api/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sesame sesame\r\n\r\n":  401,
		"GET /api/status HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n":           401,
		"GET /api/status HTTP/1.1\r\nHost: localhost\r\nForwarded: for=\"unix:/run/viaduct\"\r\n\r\n": 401,
	} {
		if a := d.ask(raw); a.StatusCode != want {
			t.Errorf("%q: %d, want %d", raw, a.StatusCode, want)
		}
	}
}

// TestStatusThatPanicsIsCounted, and ends one connection.
func TestStatusThatPanicsIsCounted(t *testing.T) {
	m := metrics.New("test")
	d := serve(t, admin.Options{Metrics: m, Status: func() any { panic("broken") }})
	nc := d.dial()
	defer func() { _ = nc.Close() }()
	_, _ = io.WriteString(nc, "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if text, _ := io.ReadAll(nc); len(text) > 0 {
		t.Errorf("it answers %q", text)
	}
	if a := d.call("GET", "/metrics"); !strings.Contains(a.body, "viaduct_panics_total 1\n") {
		t.Error("the panic is not counted")
	}
}

// TestSocketInTheFileSystemNeedsNoToken, and has no name that it could be
// called by.
func TestSocketInTheFileSystemNeedsNoToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := admin.Server(admin.New(admin.Options{Token: "sesame", Status: func() any { return "fine" }}), nil)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	for raw, want := range map[string]int{
		"GET /api/status HTTP/1.1\r\nHost: viaduct\r\n\r\n":                                          200,
		"GET /api/status HTTP/1.1\r\nHost: \r\n\r\n":                                                 200,
		"GET /api/status HTTP/1.0\r\n\r\n":                                                           200,
		"GET /metrics HTTP/1.1\r\nHost: %2Frun%2Fviaduct.sock\r\n\r\n":                               200,
		"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer of another\r\n\r\n":       200,
		"POST /api/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n":                  405,
		"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n":                                           404,
		"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n":                                              404,
		"GET http://evil.example/api/status HTTP/1.1\r\nHost: evil.example\r\nConnection: a\r\n\r\n": 200,
	} {
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(nc, raw)
		if a := read(t, bufio.NewReader(nc), "GET"); a.StatusCode != want {
			t.Errorf("%q: %d %s, want %d", raw, a.StatusCode, a.body, want)
		}
		_ = nc.Close()
	}
}
