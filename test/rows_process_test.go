package test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

var processRows = []row{
	{"product-8/term-idle", "T70", "SIGTERM or SIGINT with idle connections only: they are closed, exit 0.", own, termIdle},
	{"product-8/term-in-flight", "T70", "SIGTERM: the listener closes at once, an exchange in flight ends in peace, exit 0.", own, termInFlight},
	{"product-8/term-crowd", "T70", "SIGTERM with 40 exchanges in flight and a tunnel: nothing is lost, exit 0.", own, termCrowd},
	{"product-8/term-tunnel", "T70", "SIGTERM: an open tunnel goes on until it ends by itself, exit 0.", own, termTunnel},
	{"product-8/drain-grace", "T70", "With --drain-grace the listener goes on for that long after SIGTERM, then it closes.", own, drainGrace},
	{"product-8/drain-timeout", "T70", "SIGTERM with a tunnel that never ends: cut at --drain-timeout, exit 3.", own, drainTimeout},
	{"product-8/second-signal", "T70", "A second SIGTERM ends at once, exit 3.", own, secondSignal},
	{"product-2/environment-ignored", "T73", "HTTP_PROXY, HTTPS_PROXY and ALL_PROXY in the environment change nothing for egress.", own, environmentIgnored},
	{"product-2/access-log", "T7", "One line an exchange in the access log; no query string and no credentials in it.", own, accessLogLines},
	{"product-7/access-log-is-json", "T7", "Whatever stands in a request, each line of the access log is one JSON object.", own, accessLogIsJSON},
	{"product-2/ipv6-listener", "T60", "A listener on [::1] serves, and knows its own address.", own, ipv6Listener},
	{"product-7/own-address-of-each-listener", "T60", "With two listeners, the address of either is the proxy's own at both.", own, twoListeners},
}

func termIdle(t *testing.T, _ *proxy) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := start(t)
		c, _ := stage(t, p, says(ok("fine")))
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
		silent := dial(t, p)
		p.signal(t, signal)
		c.ends()
		silent.ends()
		if code := p.wait(t); code != 0 {
			t.Errorf("%v: exit code %d, want 0", signal, code)
		}
	}
}

// deaf wants the listener closed.
func (p *proxy) deaf(t *testing.T) {
	t.Helper()
	poll(t, "the listener is closed", func() bool {
		conn, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func termInFlight(t *testing.T, _ *proxy) {
	p := start(t)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		asked <- struct{}{}
		<-release
		o.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		pause(100 * time.Millisecond)
		o.send("world")
		o.drain()
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	receive(t, "the request at the origin", asked)
	p.signal(t, syscall.SIGTERM)
	p.deaf(t)
	close(release)
	c.answer().want(t, 200, "helloworld")
	c.endsOrderly()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func termTunnel(t *testing.T, _ *proxy) {
	p := start(t)
	c, _ := stage(t, p, echo)
	c.tunnel("{O}")
	p.signal(t, syscall.SIGTERM)
	p.deaf(t)
	for range 5 {
		c.send("ping").read("ping")
	}
	c.closeWrite()
	c.endsOrderly()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func drainTimeout(t *testing.T, _ *proxy) {
	p := start(t, "--drain-timeout", "1s")
	c, o := stage(t, p, echo)
	c.tunnel("{O}").send("ping").read("ping")
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	c.ends()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func secondSignal(t *testing.T, _ *proxy) {
	p := start(t, "--drain-timeout", "10m")
	c, _ := stage(t, p, echo)
	c.tunnel("{O}").send("ping").read("ping")
	p.signal(t, syscall.SIGTERM)
	p.deaf(t)
	c.send("ping").read("ping")
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	c.ends()
}

func environmentIgnored(t *testing.T, _ *proxy) {
	trap := newOrigin(t, says(ok("trapped")))
	var env []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		env = append(env, name+"=http://"+trap.addr)
	}
	p := launch{flags: lenient, env: env}.start(t)
	c, _ := stage(t, p, says(ok("direct")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "direct")
	c.tunnel("{O}").ask("GET / HTTP/1.1", "Host: {O}").answer().want(t, 200, "direct")
	// Go leaves loopback addresses out of its own proxy rules, so ask for others too.
	for _, target := range []string{"192.0.2.7:9", "name.invalid:80"} {
		dial(t, p).try("GET http://" + target + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
		dial(t, p).try("CONNECT " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	if eventually(2*time.Second, func() bool { return trap.dials() != 0 }) {
		t.Errorf("the proxy of the environment got %q", trap.bytes())
	}
}

func accessLogLines(t *testing.T, _ *proxy) {
	p := start(t)
	c, o := stage(t, p, says(ok("fine")))
	for range 3 {
		c.ask("GET http://{O}/path?q=sesame HTTP/1.1", "Host: {O}", "Cookie: sesame", "Authorization: sesame", "Proxy-Authorization: sesame").answer().want(t, 200, "fine")
	}
	c.ask("GET http://"+refusing(t)+"/?q=sesame HTTP/1.1", "Host: x").answer().wantOwn(t, 502, "connection_refused")
	tunnel := dial(t, p)
	tunnel.ask("CONNECT "+o.addr+" HTTP/1.1", "Host: x", "Proxy-Authorization: sesame").answerTo("CONNECT")
	tunnel.conn.Close()
	c.conn.Close()
	p.signal(t, syscall.SIGTERM)
	p.wait(t)
	log := p.accessLog(t)
	if n := strings.Count(log, "\n"); n != 5 {
		t.Errorf("%d lines for 5 exchanges:\n%s", n, log)
	}
	for _, want := range []string{"200", "502", "connection_refused", "CONNECT", o.addr} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in the access log:\n%s", want, log)
		}
	}
	if strings.Contains(log+p.log(), "sesame") {
		t.Errorf("a secret stands in a log:\n%s", log+p.log())
	}
}

func twoListeners(t *testing.T, _ *proxy) {
	p := start(t, "--listen", "127.0.0.1:0")
	var addrs []string
	poll(t, "two listeners", func() bool {
		addrs = nil
		for _, m := range addrOf.FindAllStringSubmatch(p.log(), -1) {
			addrs = append(addrs, m[1])
		}
		return len(addrs) == 2
	})
	for _, at := range addrs {
		for _, target := range addrs {
			c := dial(t, &proxy{addr: at})
			c.ask("GET http://"+target+"/ HTTP/1.1", "Host: x").answer().wantOwn(t, 421, "proxy_loop_detected")
		}
	}
}

func drainGrace(t *testing.T, _ *proxy) {
	p := start(t, "--drain-grace", "2s")
	c, o := stage(t, p, says(ok("fine")))
	p.signal(t, syscall.SIGTERM)
	poll(t, "the draining is logged", func() bool { return strings.Contains(p.log(), "drain") })
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close").answer().want(t, 200, "fine")
	late := dial(t, p)
	late.fill = o.places
	late.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close").answer().want(t, 200, "fine")
	p.deaf(t)
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func accessLogIsJSON(t *testing.T, _ *proxy) {
	p := start(t)
	c, _ := stage(t, p, says(ok("fine")))
	sent := 0
	for _, path := range []string{`/"`, `/\`, `/"}`, "/\x80\xff", "/ü", "/<script>", "/%00", `/\u0000`, "/\xe2\x80\xa8", `/",""status":1,"`, "/" + strings.Repeat("a", 20_000)} {
		c.ask("GET http://{O}"+path+" HTTP/1.1", "Host: {O}", `User-Agent: "\`)
		if m := c.answer(); m.status() == 400 {
			c, _ = stage(t, p, says(ok("fine")))
		}
		sent++
	}
	for _, first := range []string{`G"T`, "GET", `CONNECT`} {
		c := dial(t, p)
		c.send(first+" http://x\"\\/ HTTP/1.1\r\nHost: x\r\n\r\n").answer().wantOwn(t, 400)
	}
	p.stop(t)
	log := strings.TrimSuffix(p.accessLog(t), "\n")
	if n := strings.Count(log, "\n") + 1; n < sent {
		t.Errorf("%d lines for %d requests", n, sent)
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) || !utf8.ValidString(line) {
			t.Errorf("no JSON: %q", line)
		}
	}
}

func ipv6Listener(t *testing.T, _ *proxy) {
	bound(t, "::1", 0) // skips where there is no IPv6
	p := launch{args: []string{"forward", "--listen", "[::1]:0", "--allow-private", "--connect-ports", "any", "--access-log", "off"}}.start(t)
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}")
	for _, name := range []string{"[::1]:", "127.0.0.1:", "localhost:"} {
		dial(t, p).ask("GET http://"+name+p.port+"/ HTTP/1.1", "Host: x").answer().wantOwn(t, 421, "proxy_loop_detected")
	}
}

func termCrowd(t *testing.T, _ *proxy) {
	const crowd = 40
	p := start(t)
	asked, release := make(chan struct{}, crowd), make(chan struct{})
	web := newOrigin(t, func(o *originConn) {
		r := o.request()
		asked <- struct{}{}
		<-release
		o.send(ok(r.target()))
		o.drain()
	})
	c, _ := stage(t, p, echo)
	c.tunnel("{O}")
	var clients []*client
	for n := range crowd {
		w := dial(t, p)
		w.ask(fmt.Sprintf("GET http://%s/%d HTTP/1.1", web.addr, n), "Host: x")
		clients = append(clients, w)
	}
	for range crowd {
		receive(t, "a request at the origin", asked)
	}
	p.signal(t, syscall.SIGTERM)
	p.deaf(t)
	close(release)
	for n, w := range clients {
		w.answer().want(t, 200, fmt.Sprint("/", n))
		w.endsOrderly()
	}
	c.send("ping").read("ping")
	c.closeWrite()
	c.endsOrderly()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
