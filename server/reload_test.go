package server_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/config"
	"viaduct/resolve"
	"viaduct/server"
)

// source is a configuration that changes.
type source struct {
	mu   sync.Mutex // guards conf and err
	conf *config.Config
	err  error
}

func (s *source) load() (*config.Config, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return checked(s.conf)
}

func (s *source) set(c *config.Config, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conf, s.err = c, err
}

// entries is a configuration of several settings, with the log of the first.
func entries(list ...setting) *config.Config {
	conf := list[0].config()
	conf.Forward = nil
	for _, c := range list {
		conf.Forward = append(conf.Forward, c.Forward)
	}
	return conf
}

// changing runs a server whose configuration is changed by change.
func changing(t *testing.T, list ...setting) (r *running, change func(list ...setting)) {
	t.Helper()
	src, listeners := new(source), 0
	for _, c := range list {
		listeners += len(c.Listen)
	}
	src.set(entries(list...), nil)
	r = runWith(t, src.load, listeners)
	return r, func(list ...setting) {
		t.Helper()
		src.set(entries(list...), nil)
		if err := r.server.Reload(); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a request on a connection and answers it as the origin.
func ask(t *testing.T, c net.Conn, at string, guests <-chan net.Conn) {
	t.Helper()
	say(t, c, get(at))
	say(t, guest(t, guests), lastAnswer)
	hear(t, c, "ok")
}

// lastAnswer makes the next request come on another connection.
const lastAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

func TestReloadHoldsForTheNextRequest(t *testing.T) {
	at, guests := origin(t)
	conf := plain("127.0.0.1:0")
	r, change := changing(t, conf)
	c := r.dial()
	ask(t, c, at, guests)
	closed := conf
	closed.AllowPrivate = false
	change(closed)
	say(t, c, get(at))
	if got := hear(t, c, "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("%q", got)
	}
}

func TestBadConfigurationChangesNothing(t *testing.T) {
	at, guests := origin(t)
	taken := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer taken.Close()
	good := plain("127.0.0.1:0")
	good.AccessLog = filepath.Join(t.TempDir(), "log")
	src := new(source)
	src.set(entries(good), nil)
	r := runWith(t, src.load, 1)
	c := r.dial()
	ask(t, c, at, guests)
	before := descriptors()
	busy, foreign, nowhere := good, good, good
	busy.Listen = append([]string{"127.0.0.2:0"}, append(good.Listen, taken.Addr().String())...)
	foreign.Egress = must[*config.Config](t)(config.Read("x", []byte("forward: [{egress: 198.51.100.1}]"))).Forward[0].Egress
	nowhere.AccessLog = "/nowhere/at/all/log"
	for name, bad := range map[string]setting{"address in use": busy, "egress": foreign, "access log": nowhere} {
		src.set(entries(bad), nil)
		if err := r.server.Reload(); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	src.set(nil, errors.New("a mistake"))
	if err := r.server.Reload(); err == nil || !strings.Contains(r.log.String(), "a mistake") {
		t.Errorf("%v; the log says %s", err, r.log)
	}
	poll(t, "nothing is left open", func() bool { return descriptors() <= before })
	again := r.dial()
	say(t, again, "CONNECT "+at+" HTTP/1.1\r\nHost: x\r\n\r\n")
	hear(t, again, "\r\n\r\n")
}

func TestListenersComeAndGo(t *testing.T) {
	at, guests := origin(t)
	first, second := plain("127.0.0.1:0"), plain("127.0.0.2:0")
	r, change := changing(t, first)
	stays := r.dial()
	change(first, second)
	poll(t, "it listens", func() bool { return len(r.addrs()) == 2 })
	addr := r.addrs()[1]
	if !strings.HasPrefix(addr, "127.0.0.2:") {
		t.Fatalf("addresses %v", r.addrs())
	}
	busy, idle := dialTo(t, addr), dialTo(t, addr)
	tun := dialTo(t, addr)
	say(t, tun, "CONNECT "+at+" HTTP/1.1\r\nHost: x\r\n\r\n")
	hear(t, tun, "\r\n\r\n")
	far := <-guests
	defer far.Close()
	say(t, idle, "GET http://"+at+"/ HTTP/1.1\r\nHost: x\r\n\r\n")
	say(t, guest(t, guests), lastAnswer)
	hear(t, idle, "ok")
	say(t, busy, get(at))
	g := guest(t, guests)

	change(first)
	poll(t, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	if got := over(t, idle); got != "" {
		t.Errorf("the idle connection hears %q", got)
	}
	say(t, g, lastAnswer)
	if got := over(t, busy); !strings.Contains(got, "\r\nConnection: close\r\n") || !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("the exchange ends with %q", got)
	}
	say(t, tun, "ping")
	hear(t, far, "ping")
	ask(t, stays, at, guests)

	r.stop() // the tunnel of the former configuration is waited for
	poll(t, "it drains", func() bool { return strings.Contains(r.log.String(), "msg=draining") })
	say(t, far, "pong")
	hear(t, tun, "pong")
	_ = tun.Close()
	_ = far.Close()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

// quietPort is free at every address, and not one that a connection of somebody
// else's could leave by meanwhile.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(10000))
		if free, err := net.Listen("tcp", "0.0.0.0:"+port); err == nil {
			_ = free.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// 127.0.0.1:port becomes 0.0.0.0:port and back, while both cannot be bound at a
// time in the ordinary way.
func TestListenAddressMayWidenOnTheSamePort(t *testing.T) {
	port := quietPort(t)
	narrow, wide := plain("127.0.0.1:"+port), plain("0.0.0.0:"+port)
	wide.Open = true
	_, change := changing(t, narrow)
	for range 3 {
		change(wide)
		poll(t, "127.0.0.2 is served", func() bool {
			c, err := net.Dial("tcp", "127.0.0.2:"+port)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
		change(narrow)
		poll(t, "127.0.0.2 is not", func() bool {
			c, err := net.Dial("tcp", "127.0.0.2:"+port)
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		_ = dialTo(t, "127.0.0.1:"+port).Close()
	}
	if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
		_ = l.Close()
		t.Error("another process could share the port")
	}
}

func TestReloadOpensTheAccessLogAnew(t *testing.T) {
	at, guests := origin(t)
	dir := t.TempDir()
	conf := plain("127.0.0.1:0")
	conf.AccessLog = filepath.Join(dir, "log")
	r, change := changing(t, conf)
	lines := func(path string) int {
		text, _ := os.ReadFile(path)
		return strings.Count(string(text), "\n")
	}
	exchange := func(log string, want int) {
		t.Helper()
		c := r.dial()
		ask(t, c, at, guests)
		_ = c.Close()
		if log != "" {
			poll(t, "the line is written", func() bool { return lines(log) == want })
		}
	}
	exchange(conf.AccessLog, 1)
	if err := os.Rename(conf.AccessLog, conf.AccessLog+".1"); err != nil {
		t.Fatal(err)
	}
	exchange(conf.AccessLog+".1", 2)
	change(conf)
	exchange(conf.AccessLog, 1)
	elsewhere := conf
	elsewhere.AccessLog = filepath.Join(dir, "other")
	change(elsewhere)
	exchange(elsewhere.AccessLog, 1)
	off := conf
	off.AccessLog = "off"
	change(off)
	exchange("", 0)
	change(conf)
	exchange(conf.AccessLog, 2)
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
}

func TestReloadIsForARunningServer(t *testing.T) {
	r := run(t, plain("127.0.0.1:0"))
	r.stop()
	if err := r.finish(); err != nil {
		t.Error(err)
	}
	if r.server.Reload() == nil {
		t.Error("a server that has ended was changed")
	}
}

func TestReloadBeforeTheStartIsPutOff(t *testing.T) {
	conf := entries(plain("127.0.0.1:0"))
	loads := 0
	load := func() (*config.Config, error) { loads++; return checked(conf) }
	r := &running{t: t, log: new(journal), ended: make(chan error, 1)}
	r.server = must[*server.Server](t)(server.New(server.Options{Load: load, Log: logger(r.log)}))
	if r.server.Reload() == nil {
		t.Error("it was changed before it ran")
	}
	r.begin(1)
	poll(t, "it is changed", func() bool { return strings.Contains(r.log.String(), "configuration is taken") })
	r.stop()
	if err := r.finish(); err != nil || loads != 2 {
		t.Errorf("%v after %d loads, want 2", err, loads)
	}
}

// What the configuration takes for a DNS server is what the resolver knows.
func TestResolverIsOneForConfigurationAndResolver(t *testing.T) {
	for _, addr := range []string{
		"9.9.9.9", "9.9.9.9:53", "[2620:fe::fe]:53", "2620:fe::fe", "udp://9.9.9.9", "tcp://9.9.9.9:5353", "tls://dns.example",
		"tls://9.9.9.9:853", "https://dns.example/dns-query", "https://9.9.9.9", "https://dns.example:8443/q", "dns.example",
		"", "9.9.9.256", "tls://", "http://9.9.9.9", "quic://9.9.9.9", "9.9.9.9:0", "9.9.9.9:99999", "tls://9.9.9.9/path",
		"https://user@dns.example/", "udp://9.9.9.9/x", "9.9.9.9 ", "[::1", "127.1", "[a]:53", "[9.9.9.9]:53", "::1]", "TLS://x", "[fe80::1%eth0]:53", "[::%[]:1", "https://dns.example/q?x=1", "https://dns.example/q#f",
	} {
		conf := plain("127.0.0.1:0")
		conf.Resolver = []string{addr}
		_, bad := conf.load()
		if _, err := resolve.New(resolve.Options{Servers: []string{addr}}); (err == nil) != (bad == nil) {
			t.Errorf("%q: the configuration says %v, the resolver %v", addr, bad, err)
		}
	}
}

func TestFileIsWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "viaduct.yaml")
	write := func(text string) {
		t.Helper()
		tmp := path + ".new"
		if err := errors.Join(os.WriteFile(tmp, []byte(text), 0o600), os.Rename(tmp, path)); err != nil {
			t.Fatal(err)
		}
	}
	const text = "watch: %v\nlog: {access: {path: off}}\nforward:\n  - listen: [127.0.0.1:0]\n    max_conns: %d\n"
	write(fmt.Sprintf(text, true, 1))
	r := runFile(t, path, 1)
	taken := func(n int) func() bool {
		return func() bool { return strings.Count(r.log.String(), "configuration is taken") == n }
	}
	write(fmt.Sprintf(text, true, 2))
	poll(t, "the change is taken", taken(1))
	write("watch: true\nforward: [")
	poll(t, "the mistake is told", func() bool { return strings.Contains(r.log.String(), "configuration is not taken") })
	write(fmt.Sprintf(text, false, 3))
	poll(t, "the next change is taken", taken(2))
	write(fmt.Sprintf(text, false, 4))
	<-time.After(1500 * time.Millisecond) // nothing is to happen
	if !taken(2)() {
		t.Error("a file that is not watched was taken")
	}
}
