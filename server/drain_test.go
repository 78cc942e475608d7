package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"viaduct/server"
)

func get(addr string) string { return "GET http://" + addr + "/ HTTP/1.1\r\nHost: x\r\n\r\n" }

const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestDrainLetsExchangesEnd(t *testing.T) {
	at, guests := origin(t)
	r := run(t, plain("127.0.0.1:0"))
	idle, busy := r.dial(), r.dial()
	say(t, busy, get(at))
	guest(t, guests) // the exchange is under way
	say(t, idle, get(at))
	say(t, guest(t, guests), answer)
	hear(t, idle, "ok")
	r.stop()
	if got := over(t, idle); got != "" {
		t.Errorf("the idle connection hears %q", got)
	}
	poll(t, "the listener refuses clients", func() bool { // it closes beside the clients, not before them
		nc, err := net.Dial("tcp", r.addrs()[0])
		if err == nil {
			_ = nc.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	select {
	case err := <-r.ended:
		t.Fatalf("it did not wait for the exchange: %v", err)
	default:
	}
	_ = busy.(*net.TCPConn).SetLinger(0) // a reset is noticed soon
	_ = busy.Close()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

// A connection that waits in a listener's queue is open to its client, which has
// sent its request: it is served, though the listener is about to close.
func TestQueueOfAListenerIsServedAtTheEnd(t *testing.T) {
	at, guests := origin(t)
	free := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	addr := free.Addr().String()
	_ = free.Close()
	s := must[*server.Server](t)(newServer(plain(addr), new(journal)))
	var clients []net.Conn
	for range 50 {
		c := dialTo(t, addr)
		say(t, c, get(at))
		clients = append(clients, c)
	}
	over, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(over)
		var asked []net.Conn // all of them, before an answer makes a connection idle
		for range clients {
			g := <-guests
			defer g.Close()
			hear(t, g, "\r\n\r\n")
			asked = append(asked, g)
		}
		for _, g := range asked {
			say(t, g, answer)
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	go func() { ended <- s.Run(ctx, t.Context()) }()
	for _, c := range clients {
		if got := hear(t, c, "ok"); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("%q", got)
		}
	}
	<-over
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestExchangeInFlightEndsWithClose(t *testing.T) {
	at, guests := origin(t)
	r := run(t, plain("127.0.0.1:0"))
	c := r.dial()
	say(t, c, get(at))
	g := guest(t, guests)
	r.stop()
	poll(t, "it drains", func() bool { return strings.Contains(r.log.String(), "msg=draining") })
	say(t, g, answer)
	if got := over(t, c); !strings.Contains(got, "\r\nConnection: close\r\n") || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("%q", got)
	}
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

func TestDrainGraceGoesOnAccepting(t *testing.T) {
	at, guests := origin(t)
	conf := plain("127.0.0.1:0")
	conf.DrainGrace = patience
	r := run(t, conf)
	r.stop()
	poll(t, "the grace begins", func() bool { return strings.Contains(r.log.String(), `msg="drain grace"`) })
	for range 3 {
		c := r.dial()
		say(t, c, get(at))
		select {
		case g := <-guests:
			hear(t, g, "\r\n\r\n")
			say(t, g, answer[:len(answer)-6]+"\r\nConnection: close\r\n\r\nok")
			_ = g.Close()
		case <-time.After(patience):
			t.Fatal("it is not served in its grace")
		}
		if got := hear(t, c, "ok"); strings.Contains(got, "close") {
			t.Errorf("the connection ends in the grace already: %q", got)
		}
	}
	r.rush()
	if err := r.finish(); err != nil && !errors.Is(err, server.ErrCut) {
		t.Error(err)
	}
}

// tunnel opens a tunnel and returns both ends.
func tunnel(t *testing.T, r *running, at string, guests <-chan net.Conn) (client, server net.Conn) {
	t.Helper()
	client = r.dial()
	say(t, client, "CONNECT "+at+" HTTP/1.1\r\nHost: x\r\n\r\n")
	hear(t, client, "\r\n\r\n")
	server = <-guests
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

func TestDrainLetsTunnelsEnd(t *testing.T) {
	at, guests := origin(t)
	r := run(t, plain("127.0.0.1:0"))
	client, far := tunnel(t, r, at, guests)
	r.stop()
	poll(t, "it drains", func() bool { return strings.Contains(r.log.String(), "msg=draining") })
	say(t, client, "still here?")
	hear(t, far, "still here?")
	_ = client.Close()
	_ = far.Close()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

// What does not end by itself is cut at the drain timeout: each of these waits
// for something that never comes.
func TestDrainCutsWhatDoesNotEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		hang func(t *testing.T, r *running, at string, guests <-chan net.Conn)
	}{
		{"tunnel", func(t *testing.T, r *running, at string, guests <-chan net.Conn) { tunnel(t, r, at, guests) }},
		{"silent origin", func(t *testing.T, r *running, at string, guests <-chan net.Conn) {
			say(t, r.dial(), get(at))
			guest(t, guests)
		}},
		{"half an answer", func(t *testing.T, r *running, at string, guests <-chan net.Conn) {
			c := r.dial()
			say(t, c, get(at))
			say(t, guest(t, guests), answer[:len(answer)-1])
			hear(t, c, "o")
		}},
		{"half a head", func(t *testing.T, r *running, _ string, _ <-chan net.Conn) { say(t, r.dial(), "GET http://") }},
		{"half a body", func(t *testing.T, r *running, at string, guests <-chan net.Conn) {
			say(t, r.dial(), "POST http://"+at+"/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
			hear(t, guest(t, guests), "half")
		}},
		{"half a body, answered", func(t *testing.T, r *running, at string, guests <-chan net.Conn) {
			c := r.dial()
			say(t, c, "POST http://"+at+"/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
			g := guest(t, guests)
			hear(t, g, "half")
			say(t, g, answer)
			hear(t, c, "ok")
		}},
		{"origin that does not read", stalledUpload},
		{"origin that answers, and does not read", answeredStalledUpload},
		{"client that does not read", unreadAnswer},
		{"refused and still sending", func(t *testing.T, r *running, _ string, _ <-chan net.Conn) {
			c := r.dial()
			say(t, c, "CONNECT nonsense HTTP/1.1\r\nHost: x\r\n\r\n")
			hear(t, c, "\r\n\r\n")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, guests := origin(t)
			conf := plain("127.0.0.1:0")
			conf.DrainTimeout = time.Hour
			// No other bound may be what ends it.
			conf.HeaderTimeout, conf.BodyTimeout, conf.ResponseTimeout = time.Hour, time.Hour, time.Hour
			conf.IdleTimeout, conf.TunnelIdleTimeout = time.Hour, time.Hour
			r := run(t, conf)
			c.hang(t, r, at, guests)
			r.stop()
			poll(t, "it drains", func() bool { return strings.Contains(r.log.String(), "msg=draining") })
			r.rush()
			// Half a head may still be unread, and its connection idle to us.
			if err := r.finish(); !errors.Is(err, server.ErrCut) && (err != nil || c.name != "half a head") {
				t.Errorf("%v, want ErrCut", err)
			}
		})
	}
}

// flood writes until the other side takes no more.
func flood(t *testing.T, c net.Conn) {
	t.Helper()
	b := make([]byte, 64<<10)
	for {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := c.Write(b); err != nil {
			break
		}
	}
	_ = c.SetDeadline(time.Now().Add(patience))
}

const upload = "POST http://%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"

func stalledUpload(t *testing.T, r *running, at string, guests <-chan net.Conn) {
	c := r.dial()
	say(t, c, strings.Replace(upload, "%s", at, 1))
	guest(t, guests)
	flood(t, c)
}

func answeredStalledUpload(t *testing.T, r *running, at string, guests <-chan net.Conn) {
	c := r.dial()
	say(t, c, strings.Replace(upload, "%s", at, 1))
	g := guest(t, guests)
	say(t, g, answer)
	hear(t, c, "ok")
	flood(t, c)
}

func unreadAnswer(t *testing.T, r *running, at string, guests <-chan net.Conn) {
	c := r.dial()
	say(t, c, get(at))
	g := guest(t, guests)
	say(t, g, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
	flood(t, g)
}

func TestAccessLogIsAppendedToAndWrittenAtTheEnd(t *testing.T) {
	at, guests := origin(t)
	conf := plain("127.0.0.1:0")
	conf.AccessLog = filepath.Join(t.TempDir(), "log")
	mask := syscall.Umask(0)
	defer syscall.Umask(mask)
	for round := 1; round <= 2; round++ {
		r := run(t, conf)
		c := r.dial()
		say(t, c, get(at))
		say(t, guest(t, guests), answer)
		hear(t, c, "ok")
		client, far := tunnel(t, r, at, guests)
		r.stop()
		_ = client.Close()
		_ = far.Close()
		if err := r.finish(); err != nil {
			t.Error(err)
		}
		lines := strings.Split(strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(conf.AccessLog)))), "\n")
		if len(lines) != 2*round {
			t.Fatalf("%d lines in round %d: %q", len(lines), round, lines)
		}
		for _, line := range lines {
			if !json.Valid([]byte(line)) {
				t.Errorf("not JSON: %s", line)
			}
		}
	}
	if mode := must[os.FileInfo](t)(os.Stat(conf.AccessLog)).Mode().Perm(); mode != 0o640 {
		t.Errorf("the log has mode %o: others may read whom clients talk to", mode)
	}
}

// Run joins what it has started.
func TestNothingIsLeftAfterRun(t *testing.T) {
	at, guests := origin(t)
	routines, fds := runtime.NumGoroutine(), descriptors()
	r := run(t, plain("127.0.0.1:0"))
	var clients []net.Conn
	for range 100 {
		c := r.dial()
		say(t, c, get(at))
		clients = append(clients, c)
	}
	var asked []net.Conn // all of them, before an answer makes a connection idle
	for range 100 {
		g := <-guests
		hear(t, g, "\r\n\r\n")
		asked = append(asked, g)
	}
	for _, g := range asked {
		say(t, g, answer)
		defer g.Close()
	}
	for _, c := range clients {
		hear(t, c, "ok")
		_ = c.Close()
	}
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	poll(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= routines })
	poll(t, "descriptors are closed", func() bool { return descriptors() <= fds+100 }) // the origin's
}
