package admin_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"viaduct/admin"
)

const most = 64

const healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

// visit asks for the health, and leaves the connection open.
func (d *door) visit() *net.TCPConn {
	d.t.Helper()
	nc := d.dial()
	d.again(nc)
	return nc
}

// again asks once more, and waits until the server knows the connection as idle.
func (d *door) again(nc net.Conn) {
	d.t.Helper()
	was := d.idle.Load()
	if _, err := io.WriteString(nc, healthz); err != nil {
		d.t.Fatal(err)
	}
	if a := read(d.t, bufio.NewReader(nc), "GET"); a.StatusCode != 200 {
		d.t.Errorf("%d", a.StatusCode)
	}
	if !eventually(func() bool { return d.idle.Load() > was }) {
		d.t.Error("it is not idle")
	}
}

// gone waits until the server has closed the connection.
func gone(nc net.Conn) bool {
	_, err := nc.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// TestIdleVisitorsAreBounded: whoever has no token still reaches the health, and
// must not hold the descriptors of the proxy with it. The ones that wait longest
// go, and who comes is always answered.
func TestIdleVisitorsAreBounded(t *testing.T) {
	d := serve(t, admin.Options{Token: "t"})
	first, second := d.visit(), d.visit()
	for range most - 2 {
		d.visit()
	}
	d.again(first) // now the second one waits longest
	d.visit()
	if !gone(second) {
		t.Error("the one that waits longest is still there")
	}
	d.again(first)
	for range 3 * most {
		d.visit()
	}
	if !eventually(func() bool { return d.open.Load() <= most }) {
		t.Errorf("%d connections are open, want %d", d.open.Load(), most)
	}
	if !gone(first) {
		t.Error("an old one is still there")
	}
}

// TestSilentVisitorsAreBounded: those that send nothing, or never end a head,
// wait as well.
func TestSilentVisitorsAreBounded(t *testing.T) {
	d := serve(t, admin.Options{}, func(s *http.Server) { s.ReadHeaderTimeout = time.Hour })
	for i := range 3 * most {
		nc := d.dial()
		if i%2 == 0 {
			_, _ = io.WriteString(nc, healthz[:20])
		}
	}
	d.visit()
	if !eventually(func() bool { return d.open.Load() <= most }) {
		t.Errorf("%d connections are open, want %d", d.open.Load(), most)
	}
}

// TestVisitorsThatAreAnsweredStay: where all are, it is the new one that goes.
func TestVisitorsThatAreAnsweredStay(t *testing.T) {
	entered, hold := make(chan bool, most), make(chan bool)
	d := serve(t, admin.Options{Ready: func() error { entered <- true; <-hold; return nil }})
	var held []net.Conn
	for range most {
		nc := d.dial()
		if _, err := io.WriteString(nc, strings.Replace(healthz, "healthz", "readyz", 1)); err != nil {
			t.Fatal(err)
		}
		held = append(held, nc)
		<-entered
	}
	if !gone(d.dial()) {
		t.Error("one too many was let in")
	}
	close(hold)
	for _, nc := range held {
		if a := read(t, bufio.NewReader(nc), "GET"); a.StatusCode != 200 {
			t.Errorf("%d", a.StatusCode)
		}
	}
	d.visit()
}

// TestStrangersAreSentAway: who has not the token, or not the name, has to
// connect again for another try.
func TestStrangersAreSentAway(t *testing.T) {
	d := serve(t, admin.Options{Token: "t"})
	for raw, want := range map[string]bool{
		"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n":                               true,
		"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n":                            true,
		"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\r\n":    false,
		"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\r\n":    false,
		"DELETE /healthz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\n\r\n": false,
		healthz: false,
	} {
		if a := d.ask(raw); a.Close != want {
			t.Errorf("%q: %d, closes %v, want %v", raw, a.StatusCode, a.Close, want)
		}
	}
}
