package test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// traffic is what goes through a proxy while it is changed: clients that keep
// their connection, clients that come anew, and tunnels.
type traffic struct {
	proxy, web, echo string

	working  sync.WaitGroup
	over     chan struct{}
	requests atomic.Int64
	pings    atomic.Int64

	mu       sync.Mutex
	failures []error
}

// begin opens so many tunnels, and sends about 500 requests a second.
func (f *traffic) begin(t *testing.T, tunnels int) {
	t.Helper()
	const hands, each = 10, 40 * time.Millisecond // of either kind: 25 a second
	f.over = make(chan struct{})
	conns := make([]net.Conn, tunnels)
	if err := eachOf(16, tunnels, func(n int) (err error) {
		conns[n], err = openTunnel(f.proxy, f.echo)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for n, conn := range conns {
		f.working.Go(func() { f.every(500*time.Millisecond, func() error { return f.ping(conn, n) }) })
		t.Cleanup(func() { conn.Close() })
	}
	for range hands {
		kept := &keeper{proxy: f.proxy}
		t.Cleanup(kept.close)
		f.working.Go(func() {
			f.every(each, func() error { return f.asked(kept.get(f.web)) })
		})
		f.working.Go(func() {
			f.every(each, func() error { return f.asked(getOnce(f.proxy, f.web)) })
		})
	}
}

// every does something again and again until the traffic is over or it fails.
func (f *traffic) every(d time.Duration, do func() error) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-f.over:
			return
		case <-tick.C:
		}
		if err := do(); err != nil {
			f.mu.Lock()
			f.failures = append(f.failures, err)
			f.mu.Unlock()
			return
		}
	}
}

func (f *traffic) asked(err error) error {
	f.requests.Add(1)
	return err
}

func (f *traffic) ping(conn net.Conn, n int) error {
	sent := fmt.Appendf(nil, "%08d", n)
	got := make([]byte, len(sent))
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(sent); err != nil {
		return fmt.Errorf("tunnel %d: %w", n, err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
		return fmt.Errorf("tunnel %d: %q, %w", n, got, err)
	}
	f.pings.Add(1)
	return nil
}

// goesOn waits until so much more has gone through.
func (f *traffic) goesOn(t *testing.T, requests int64) {
	t.Helper()
	until := f.requests.Load() + requests
	pings := f.pings.Load() + 200
	if !eventually(4*patience, func() bool {
		return f.requests.Load() >= until && f.pings.Load() >= pings || len(f.failed()) > 0
	}) {
		t.Fatalf("only %d of %d requests went through", f.requests.Load(), until)
	}
}

func (f *traffic) failed() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failures
}

// end stops the traffic, and fails the test for each failure.
func (f *traffic) end(t *testing.T) {
	t.Helper()
	close(f.over)
	f.working.Wait()
	for _, err := range f.failed() {
		t.Errorf("it failed: %v", err)
	}
	t.Logf("%d requests, %d echoes through tunnels", f.requests.Load(), f.pings.Load())
}

// keeper is a client that keeps its connection.
type keeper struct {
	proxy string
	conn  net.Conn
	in    *bufio.Reader
}

func (k *keeper) get(target string) error {
	if k.conn == nil {
		conn, err := net.DialTimeout("tcp", k.proxy, patience)
		if err != nil {
			return err
		}
		k.conn, k.in = conn, bufio.NewReader(conn)
	}
	k.conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(k.conn, "GET http://%s/ HTTP/1.1\r\nHost: x\r\n\r\n", target); err != nil {
		return err
	}
	m, err := readAnswer(k.in, "GET")
	if err != nil {
		return fmt.Errorf("on a kept connection: %w", err)
	}
	if m.err != nil || m.status() != 200 || m.body != "fine" {
		return fmt.Errorf("got %q %q, %w", m.line, m.body, m.err)
	}
	return nil
}

func (k *keeper) close() {
	if k.conn != nil {
		k.conn.Close()
	}
}

// twoDoors is a configuration of two proxies: the one with the traffic, and one
// whose rules are asked after.
func twoDoors(log, first, second string) string {
	return fmt.Sprintf(`admin: {listen: 127.0.0.1:0}
log: {access: {path: %s}}
forward:
  - listen: [127.0.0.1:0]
    allow_private: true
    connect_ports: any
    drain_timeout: 20s
    %s
  - listen: [127.0.0.2:0]
    connect_ports: any
    %s
`, log, first, second)
}

// reloads changes something five times, and tries five files that cannot be
// taken, under traffic.
func reloads(t *testing.T, _ *proxy) {
	p := launch{conf: twoDoors("access.log", "", "")}.start(t)
	poll(t, "two listeners", func() bool { return len(p.listeners()) == 2 })
	web, far := newOrigin(t, says(ok("fine"))), newOrigin(t, echo)
	f := &traffic{proxy: p.addr, web: web.addr, echo: far.addr}
	const tunnels = 200
	f.begin(t, tunnels)
	others := int64(0) // requests beside the traffic
	probe := func(q *proxy, status int) {
		t.Helper()
		others++
		if m := fetch(t, q, web.addr); m.status() != status {
			t.Fatalf("got %q %q, want status %d", m.raw, m.body, status)
		}
	}
	second := p.at(p.listeners()[1])
	probe(second, 403)
	f.goesOn(t, 500)

	p.reload(t, twoDoors("access.log", "max_conns: 5000", "")) // a limit
	f.goesOn(t, 500)
	p.reload(t, twoDoors("access.log", "anonymity: via", "")) // the anonymity
	probe(p, 200)
	poll(t, "the anonymity has changed", func() bool { seen := web.seen(); return seen[len(seen)-1].has("Via") })
	f.goesOn(t, 500)
	third := "  - {listen: [127.0.0.3:0], allow_private: true, max_conns: 10}\n" // a listener
	p.reload(t, twoDoors("access.log", "anonymity: via", "")+third)
	poll(t, "a third listener", func() bool { return len(p.listeners()) == 3 })
	gone := p.at(p.listeners()[2])
	probe(gone, 200)
	f.goesOn(t, 500)
	p.reload(t, twoDoors("other.log", "anonymity: via", "")) // the log, and the listener goes
	gone.deaf(t)
	f.goesOn(t, 500)
	p.reload(t, twoDoors("other.log", "anonymity: strict", "allow_private: true")) // a rule
	probe(second, 200)
	f.goesOn(t, 500)

	for _, bad := range []mistake{
		{name: "yaml", text: "forward: [", says: "FILE:"},
		{name: "unknown key", text: twoDoors("access.log", "anonymous: via", ""), says: "FILE:8:5"},
		{name: "address in use", text: twoDoors("access.log", "", "") + "  - listen: \"" + web.addr + "\"\n", says: web.addr},
		{name: "egress", text: twoDoors("access.log", "egress: 198.51.100.7", ""), says: "198.51.100.7"},
		{name: "log", text: twoDoors("/nonexistent/dir/log", "", ""), says: "/nonexistent/dir/log"},
	} {
		before := len(p.log())
		p.write(t, bad.text)
		p.signal(t, syscall.SIGHUP)
		poll(t, bad.name+" is told", func() bool { return strings.Contains(p.log()[before:], notTaken) })
		if says := strings.ReplaceAll(bad.says, "FILE", p.conf); !strings.Contains(p.log()[before:], says) {
			t.Errorf("%s: standard error says %q, not %s", bad.name, p.log()[before:], says)
		}
		f.goesOn(t, 250)
	}
	probe(second, 200) // the last good one goes on
	p.write(t, twoDoors("other.log", "", "allow_private: true"))
	for before := p.says(taken); p.says(taken) < before+5; { // one signal on another's heels
		p.signal(t, syscall.SIGHUP)
	}
	f.goesOn(t, 250)
	f.end(t)
	if n := p.metric(t, `viaduct_tunnels{listener="127.0.0.1:0"}`); n != tunnels {
		t.Errorf("%v tunnels stand, want %d", n, tunnels)
	}
	p.whole(t, f, others)
}

// whole counts the lines of both logs: one for each exchange.
func (p *proxy) whole(t *testing.T, f *traffic, others int64) {
	t.Helper()
	dir := filepath.Dir(p.conf)
	lines := func() (n int64) {
		for _, name := range []string{"access.log", "other.log"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			n += int64(strings.Count(string(text), "\n"))
		}
		return n
	}
	want := f.requests.Load() + others
	poll(t, "the last lines", func() bool { return lines() >= want })
	if n := lines(); n != want {
		t.Errorf("%d lines for %d exchanges", n, want)
	}
	for _, name := range []string{"access.log", "other.log"} {
		for _, line := range parseLines(t, filepath.Join(dir, name)) {
			if line["status"] != 200.0 && line["status"] != 403.0 {
				t.Errorf("the log says %v", line)
			}
		}
	}
}
