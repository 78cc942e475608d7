package server_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"viaduct/config"
	"viaduct/server"
)

// A client is answered by the policy of the door it came in through, whatever
// becomes of the entry that the door belonged to.
func TestPolicyFollowsTheDoor(t *testing.T) {
	at, guests := origin(t)
	free := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	other := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	a, b := free.Addr().String(), other.Addr().String()
	_ = free.Close()
	_ = other.Close()
	both, one, two := plain(a, b), plain(a), plain(b)
	two.AllowPrivate = false
	r, change := changing(t, both)
	byA, byB := dialTo(t, a), dialTo(t, b)
	ask(t, byA, at, guests)
	ask(t, byB, at, guests)
	change(one, two)
	say(t, byB, get(at))
	if got := hear(t, byB, "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("by the door that is closed to inner addresses: %q", got)
	}
	ask(t, byA, at, guests)
	change(two, one) // another order is no other entry
	ask(t, byA, at, guests)
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

// A reload that hangs does not keep the process from ending.
func TestEndDoesNotWaitForAReload(t *testing.T) {
	conf := plain("127.0.0.1:0")
	hang, hanging := make(chan struct{}), make(chan struct{})
	first := true
	r := runWith(t, func() (*config.Config, error) {
		if !first {
			close(hanging)
			<-hang
		}
		first = false
		return conf.load()
	}, 1)
	reloaded := make(chan error)
	go func() { reloaded <- r.server.Reload() }()
	<-hanging
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	close(hang)
	if <-reloaded == nil {
		t.Error("a server that has ended was changed")
	}
}

func TestPipeThatNobodyReadsIsNoLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	piped := plain("127.0.0.1:0")
	piped.AccessLog = path
	if _, err := newServer(piped, new(journal)); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("at the start: %v", err)
	}
	src := new(source)
	src.set(entries(plain("127.0.0.1:0")), nil)
	r := runWith(t, src.load, 1)
	src.set(entries(piped), nil)
	if err := r.server.Reload(); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("at a reload: %v", err)
	}
	conf := entries(plain("127.0.0.1:0"))
	conf.Admin = config.Admin{Listen: "127.0.0.1:0", TokenFile: path}
	if _, err := server.New(server.Options{Load: func() (*config.Config, error) { return conf, nil }, Log: logger(new(journal))}); err == nil {
		t.Error("a pipe was taken for a token file")
	}
}

// What a former configuration has left is cut at its drain timeout, too.
func TestRetiredListenerIsBoundAtTheEnd(t *testing.T) {
	for range 5 {
		at, guests := origin(t)
		stays, goes := plain("127.0.0.1:0"), plain("127.0.0.2:0")
		goes.DrainTimeout = 200 * time.Millisecond
		r, change := changing(t, stays, goes)
		busy, tun := dialTo(t, r.addrs()[1]), dialTo(t, r.addrs()[1])
		say(t, tun, "CONNECT "+at+" HTTP/1.1\r\nHost: x\r\n\r\n")
		hear(t, tun, "\r\n\r\n")
		far := <-guests
		say(t, busy, get(at))
		g := guest(t, guests)
		late := dialTo(t, r.addrs()[1]) // in the queue, at the last call
		say(t, late, get(at))
		change(stays)
		r.stop()
		if err := r.finish(); !errors.Is(err, server.ErrCut) {
			t.Errorf("%v, want ErrCut", err)
		}
		_ = far.Close()
		_ = g.Close()
	}
}

func TestListenerMayGoAndComeBackAtOnce(t *testing.T) {
	free := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	addr := free.Addr().String()
	_ = free.Close()
	stays, goes := plain("127.0.0.1:0"), plain(addr)
	_, change := changing(t, stays, goes)
	for range 20 {
		change(stays)
		change(stays, goes)
		_ = dialTo(t, addr).Close()
	}
}

// A reload that is refused at its last step has touched no client.
func TestRefusedReloadTouchesNoClient(t *testing.T) {
	free := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	_, port, _ := net.SplitHostPort(free.Addr().String())
	_ = free.Close()
	wide, narrow := plain("0.0.0.0:"+port), plain("127.0.0.1:"+port)
	wide.Open = true
	taken := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	src := new(source)
	src.set(entries(wide), nil)
	r := runWith(t, src.load, 1)
	bad := entries(narrow)
	bad.Admin.Listen = taken.Addr().String()
	src.set(bad, nil)
	for range 20 {
		c := dialTo(t, "127.0.0.1:"+port)
		if r.server.Reload() == nil {
			t.Fatal("it was taken")
		}
		say(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if got := hear(t, c, "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%q", got)
		}
		_ = c.Close()
	}
}

// The last clients of a door that goes are answered by its own policy.
func TestLastClientsKeepTheirPolicy(t *testing.T) {
	at, _ := origin(t)
	a, b := plain("127.0.0.1:0", "127.0.0.2:0"), plain("127.0.0.1:0")
	a.AllowPrivate = false
	r, change := changing(t, a)
	addr := ""
	for _, l := range r.addrs() {
		if strings.HasPrefix(l, "127.0.0.2:") {
			addr = l
		}
	}
	for range 5 {
		c := dialTo(t, addr)
		change(b) // which may reach inner addresses, by the other door
		say(t, c, get(at))
		if got := hear(t, c, "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
			t.Errorf("%q", got)
		}
		before := len(r.addrs())
		change(a)
		poll(t, "it listens again", func() bool { return len(r.addrs()) > before })
		addr = r.addrs()[before]
	}
}

// A tunnel that begins when its listener has gone is waited for, too.
func TestTunnelMayBeginAfterItsListenerHasGone(t *testing.T) {
	at, guests := origin(t)
	stays, goes := plain("127.0.0.1:0"), plain("127.0.0.2:0")
	r, change := changing(t, stays, goes)
	c := dialTo(t, r.addrs()[1])
	say(t, c, "GET http://"+at+"/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	g := guest(t, guests)
	change(stays)
	poll(t, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", r.addrs()[1])
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	say(t, g, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	hear(t, c, "\r\n\r\n")
	r.stop()
	poll(t, "it drains", func() bool { return strings.Contains(r.log.String(), "msg=draining") })
	say(t, c, "ping")
	hear(t, g, "ping")
	select {
	case err := <-r.ended:
		t.Fatalf("it did not wait for the tunnel: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	_ = c.Close()
	_ = g.Close()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

// A configuration file that hangs does not keep the process from ending.
func TestEndDoesNotWaitForTheWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "viaduct.yaml")
	if err := os.WriteFile(path, []byte("watch: true\nlog: {access: {path: off}}\nforward: [{listen: 127.0.0.1:0}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, log: new(journal), ended: make(chan error, 1)}
	hang, hanging := make(chan struct{}), make(chan struct{})
	first := true
	load := func() (*config.Config, error) {
		if !first {
			close(hanging)
			<-hang
		}
		first = false
		return config.Load(path)
	}
	r.server = must[*server.Server](t)(server.New(server.Options{Load: load, File: path, Log: logger(r.log)}))
	r.begin(1)
	if err := os.WriteFile(path, []byte("watch: true\nforward: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-hanging
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	close(hang)
}
