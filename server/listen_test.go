package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"viaduct/config"
	"viaduct/server"
)

func TestListenAddresses(t *testing.T) {
	const usage, start, fine = "usage", "start", ""
	for _, c := range []struct {
		listen string
		open   bool
		want   string
	}{
		{"127.0.0.1:0", false, fine},
		{"127.7.7.7:0", false, fine},
		{"[::1]:0", false, fine},
		{"[::ffff:127.0.0.1]:0", false, fine},
		{"localhost:0", false, fine},
		{"http://127.0.0.1:0", false, fine},
		{"http://127.0.0.1:0/", false, fine},
		{"http://[::1]:0/", false, fine},
		{"0.0.0.0:0", false, usage},
		{"[::]:0", false, usage},
		{":0", false, usage},
		{"http://:0", false, usage},
		{"192.0.2.1:0", false, usage},
		{"example.com:0", false, usage},
		{"localhost.example.com:0", false, usage},
		{"127.1:0", false, usage}, // a name, to us
		{"0.0.0.0:0", true, fine},
		{"[::]:0", true, fine},
		{":0", true, fine},
		{"https://127.0.0.1:0", false, usage},
		{"socks5://127.0.0.1:0", true, usage},
		{"unix:///tmp/x", true, usage},
		{"http://127.0.0.1:0/path", true, usage},
		{"http://127.0.0.1:0?x", false, usage},
		{"127.0.0.1", true, usage},
		{"127.0.0.1:", false, usage},
		{"127.0.0.1:http", false, usage},
		{"127.0.0.1:65536", false, usage},
		{"127.0.0.1:-1", false, usage},
		{"::1:0", false, usage},
		{"", true, usage},
		{"198.51.100.1:0", true, start}, // not an address of this machine
	} {
		t.Run(c.listen, func(t *testing.T) {
			conf := plain(c.listen)
			conf.Open = c.open
			before := descriptors()
			s, err := newServer(conf, new(journal))
			var mistake config.Problems
			switch {
			case c.want == fine && err == nil:
				end(t, s)
			case c.want == fine, err == nil:
				t.Errorf("%v, want %s error", err, c.want)
			case errors.As(err, &mistake) != (c.want == usage):
				t.Errorf("%v, want a %s error", err, c.want)
			case c.want == usage && !strings.Contains(err.Error(), c.listen):
				t.Errorf("%v does not name the value", err)
			}
			poll(t, "nothing is left open", func() bool { return descriptors() <= before })
		})
	}
}

// end runs a server that ends at once.
func end(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRefusalSaysWhatToDo(t *testing.T) {
	_, err := newServer(plain("0.0.0.0:3128"), new(journal))
	if err == nil || !strings.Contains(err.Error(), "open: true") || !strings.Contains(err.Error(), "0.0.0.0:3128") {
		t.Errorf("%v", err)
	}
}

func TestAddressInUseLeavesNothingOpen(t *testing.T) {
	taken := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close it, later
	before := descriptors()
	conf := plain("127.0.0.1:0", "[::1]:0", taken.Addr().String())
	conf.AccessLog = filepath.Join(t.TempDir(), "log")
	_, err := newServer(conf, new(journal))
	var mistake config.Problems
	if !errors.Is(err, syscall.EADDRINUSE) || errors.As(err, &mistake) {
		t.Errorf("%v, want address in use", err)
	}
	poll(t, "nothing is left open", func() bool { return descriptors() <= before })
}

func TestUsageErrorComesBeforeAnythingIsOpened(t *testing.T) {
	conf := plain("127.0.0.1:0", "0.0.0.0:0")
	conf.AccessLog = filepath.Join(t.TempDir(), "log")
	if _, err := newServer(conf, new(journal)); err == nil {
		t.Fatal("it opened a proxy to the world")
	}
	if _, err := os.Stat(conf.AccessLog); err == nil {
		t.Error("the log was made for nothing")
	}
}

func TestAllListenersServe(t *testing.T) {
	at, guests := origin(t)
	r := run(t, plain("127.0.0.1:0", "[::1]:0", "http://localhost:0/"))
	for _, addr := range r.addrs() {
		c := dialTo(t, addr)
		say(t, c, "GET http://"+at+"/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		say(t, guest(t, guests), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		if got := over(t, c); !strings.HasPrefix(got, "HTTP/1.1 204 No Content\r\n") {
			t.Errorf("%s: %q", addr, got)
		}
	}
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

func TestOwnAddressesAreLoops(t *testing.T) {
	r := run(t, plain("127.0.0.1:0", "[::1]:0"))
	for _, addr := range r.addrs() {
		_, port, _ := net.SplitHostPort(addr)
		for _, host := range []string{"127.0.0.1", "[::1]", "127.9.9.9", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0"} {
			for _, request := range []string{
				"GET http://" + host + ":" + port + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
				"CONNECT " + host + ":" + port + " HTTP/1.1\r\nHost: x\r\n\r\n",
			} {
				c := r.dial()
				say(t, c, request)
				if got := hear(t, c, "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 421 ") || !strings.Contains(got, "proxy_loop_detected") {
					t.Errorf("%q: %q", request, got)
				}
				_ = c.Close()
			}
		}
	}
}

func TestGuardStandsByDefault(t *testing.T) {
	at, guests := origin(t)
	conf := plain("127.0.0.1:0")
	conf.AllowPrivate = false
	r := run(t, conf)
	for _, request := range []string{
		"GET http://" + at + "/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"CONNECT " + at + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		c := r.dial()
		say(t, c, request)
		if got := hear(t, c, "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") || !strings.Contains(got, "destination_ip_prohibited") {
			t.Errorf("%q", got)
		}
		_ = c.Close()
	}
	if len(guests) > 0 {
		t.Error("an inner address was dialled")
	}
}
