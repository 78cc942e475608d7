package test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var inspectRows = []row{
	{"product-2/inspect-opens", "–", "A tunnel that an inspect rule names is opened: the client sees a certificate of our authority for the very host, the origin an ordinary request over verified TLS, the log both, with the rule's name.", own, inspectOpens},
	{"product-2/inspect-passes", "–", "The first rule that holds decides: a tunnel that passes, or that none names, has the origin's own certificate, and nothing is read in it.", own, inspectPasses},
	{"product-2/inspect-no-dial", "–", "The CONNECT is answered without a dial; a destination that refuses, or is not there, is a 502 inside, and the next request is served.", own, inspectNoDial},
	{"9110-7.4/inspect-other-host", "–", "A request inside for another host or port than the tunnel's: 421, nothing dialled; absolute-form of the tunnel's own host is served.", own, inspectOtherHost},
	{"9110-9.3.6/inspect-connect-inside", "–", "CONNECT inside an opened tunnel: 501, nothing dialled.", own, inspectConnectInside},
	{"product-2/inspect-not-tls", "–", "What is not TLS in a tunnel that is to be opened: the tunnel is closed and logged, the origin never dialled.", own, inspectNotTLS},
	{"7301-3.2/inspect-alpn", "–", "Inside, http/1.1 is agreed on; a client that speaks h2 alone, or another protocol, is refused by alert and logged.", own, inspectALPN},
	{"product-2/inspect-rules", "T55", "Inside, rules see method and path: 403 by name of the rule, a page for a browser, the connection goes on; the CONNECT itself has no path.", own, inspectRules},
	{"9110-7.8/inspect-websocket", "T62", "A WebSocket inside: first frames in the same packet as the heads, both ways.", own, inspectWebSocket},
	{"product-7/inspect-bad-origin", "–", "An origin whose certificate has expired, is for another name, or is of an unknown authority: 502 tls_certificate_error, each with its sentence, a page for a browser, without an address; nothing of the request is sent.", own, inspectBadOrigin},
	{"product-7/inspect-bad-handshake", "–", "An origin that speaks no TLS, answers with an alert, closes or says nothing: 502 or 504 inside, with its own kind.", own, inspectBadHandshake},
	{"9112-9.3/inspect-reuse", "T40", "Requests of one tunnel, and of the next one to the same host, share connections to the origin.", own, inspectReuse},
	{"product-2/inspect-guard", "T45", "The guard and rules by address are asked for each request inside: after a reload the next one is refused in a tunnel that stands.", own, inspectGuard},
	{"product-2/inspect-user-gone", "–", "Inside, the user is that of the CONNECT: for rules, in the log, and refused at the next request when a reload has taken the user away.", own, inspectUserGone},
	{"product-2/inspect-bulk", "–", "Megabytes each way inside, by length and in chunks, arrive unchanged.", own, inspectBulk},
	{"9112-8/inspect-truncated", "T28", "An origin that breaks off inside, by length, within chunks, or by a reset: the client does not take it for whole.", own, inspectTruncated},
	{"9110-15.2/inspect-interim", "T33", "103, 100 and trailer fields pass inside, both ways.", own, inspectInterim},
	{"9110-11.7.2/inspect-credentials", "T13", "Credentials for the proxy, of the CONNECT or inside, in any form, never reach an origin.", own, inspectCredentials},
	{"product-8/inspect-drain", "T70", "SIGTERM: idle opened tunnels end in order, exchanges inside end whole; exit 0.", own, inspectDrain},
	{"product-2/inspect-not-trusted", "–", "A client that does not trust us: the tunnel is closed and logged, nothing dialled.", own, inspectNotTrusted},
	{"product-2/inspect-handshake-timeout", "T67", "A handshake inside that stops or drips is cut at --header-timeout.", own, inspectSlow},
	{"product-2/inspect-vanished", "–", "Clients that leave within the handshake inside, or behind it, leave no descriptor.", own, inspectVanished},
	{"product-2/inspect-idle", "–", "Hundreds of idle opened tunnels hold little memory, are served when they speak up, and leave no descriptor.", own, inspectIdle},
	{"product-2/inspect-mixups", "T40", "16 clients inside tunnels, some leaving halfway, and origins that close, reset, break off and say too much: each whole answer is the right one, each POST is read at most once, nothing is left.", own, inspectMixups},
	{"product-2/inspect-early-hello", "T48", "A ClientHello behind its CONNECT in one packet, and a request behind the handshake: served.", own, inspectEarlyHello},
	{"product-8/inspect-drain-cuts", "T70", "An exchange inside that does not end is cut at the drain deadline: exit 3, and the client does not take it for whole.", own, inspectDrainCuts},
	{"product-2/inspect-recheck", "T69", "--reload-tunnels recheck ends a WebSocket inside an opened tunnel that the new rules forbid, by path; keep does not.", own, inspectRecheck},
	{"product-2/inspect-limits", "–", "An opened tunnel is one connection for --max-conns and --max-conns-per-client, and gives its place back.", own, inspectLimits},
	{"product-2/inspect-egress", "T72", "Requests inside leave by the egress address of their user, never by a kept connection of another one.", own, inspectEgress},
	{"product-2/inspect-hostile-hello", "–", "Server names that are none, too long, addresses, wildcards, or thousands of them: the handshake fails or is for that name; others are served.", own, inspectHostileHello},
	{"product-2/inspect-names", "–", "The certificate is for the host of the CONNECT: a name in any case, IDNA, with a final dot, an address of either family. A client whose SNI names another one gets a certificate for that, and a 421 that it can read.", own, inspectNames},
	{"product-2/inspect-in-tls", "–", "The same through an https:// listener: TLS inside TLS. The user of the outer certificate is the user inside.", own, inspectInTLS},
	{"product-2/inspect-reload", "T69", "A reload changes which new tunnels are opened; those that are open go on, a new authority signs from the next tunnel on.", own, inspectReload},
	{"product-1/ca-init", "–", "`viaduct ca init DIR` makes an authority that works as it is, with the key for its owner alone; it never writes over one.", own, caInit},
	{"product-2/inspect-key-private", "–", "A ca.key that others may read: no start, and chmod is named.", own, inspectKeyPrivate},
	{"product-2/inspect-misspelt", "–", "An inspect rule without an authority, an authority without a rule, terms that are not known when a tunnel is opened, files that make no authority: no start, and a sentence.", own, inspectMisspelt},
	{"product-6/inspect-metrics", "–", "Handshakes inside and with origins are counted, and the certificates made.", own, inspectMetrics},
}

// glassText is a lenient proxy that opens tunnels by the rules of inspect.
func glassText(t testing.TB, inspect string, more ...string) string {
	t.Helper()
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	return conf(append([]string{"ca: " + s.dir, "origin_ca: " + s.origins, "inspect: " + inspect}, more...)...)
}

const everything = "[{name: opened, decrypt: {}}]"

// startGlass opens every tunnel, and has all names lead to 127.0.0.1.
func startGlass(t testing.TB, more ...string) *proxy {
	t.Helper()
	return startGlassBy(t, everything, more...)
}

func startGlassBy(t testing.TB, inspect string, more ...string) *proxy {
	t.Helper()
	s := newNames(t, always("127.0.0.1"))
	return launch{conf: glassText(t, inspect, append(more, `resolver: ["`+s.addr+`"]`)...)}.start(t)
}

// newSecure is an origin that speaks TLS with the certificate that is asked for.
func newSecure(t testing.TB, script func(*originConn)) *origin {
	t.Helper()
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	return newOriginTLS(t, "127.0.0.1:0", s.secure(), script)
}

// trust is what clients of opened tunnels believe in.
func trust(t testing.TB, name string) *tls.Config {
	t.Helper()
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{ServerName: name, RootCAs: s.inspection.pool()}
}

// look is a client inside the tunnel to a host of its origin's port.
func look(t testing.TB, p *proxy, host string, o *origin, more ...string) *client {
	t.Helper()
	c := dial(t, p)
	c.fill = o.places
	c.ask(append([]string{"CONNECT " + host + ":{P} HTTP/1.1", "Host: " + host + ":{P}"}, more...)...)
	if m := c.answerTo("CONNECT"); m.status() != 200 {
		t.Fatalf("CONNECT %s: %q %q", host, m.raw, m.body)
	}
	c.greets(t, host)
	return c
}

// greets is greet with our authority.
func (c *client) greets(t testing.TB, name string) {
	t.Helper()
	if err := c.greet(trust(t, name)); err != nil {
		t.Fatal(err)
	}
}

// inside is look with an origin of its own.
func inside(t testing.TB, p *proxy, script func(*originConn)) (*client, *origin) {
	t.Helper()
	o := newSecure(t, script)
	return look(t, p, "a.test", o), o
}

// gets asks for something inside.
func (c *client) gets(path string, more ...string) *message {
	c.Helper()
	return c.ask(append([]string{"GET " + path + " HTTP/1.1", "Host: a.test:{P}"}, more...)...).answer()
}

// of are the lines of the log whose target starts with something, once there
// are so many.
func (p *proxy) of(t testing.TB, target string, n int) (lines []map[string]any) {
	t.Helper()
	if !eventually(patience, func() bool {
		lines = nil
		for _, l := range p.lines(t, n) {
			if got, _ := l["target"].(string); strings.HasPrefix(got, target) {
				lines = append(lines, l)
			}
		}
		return len(lines) >= n
	}) {
		t.Fatalf("%d lines about %s, not %d:\n%s", len(lines), target, n, p.accessLog(t))
	}
	return lines
}

func inspectOpens(t *testing.T, _ *proxy) {
	p := startGlass(t)
	c, o := inside(t, p, says(ok("fine")))
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	leaf := c.shown().PeerCertificates[0]
	if leaf.CheckSignatureFrom(s.inspection.cert) != nil || len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != "a.test" || leaf.IsCA {
		t.Errorf("the certificate is of %v for %q", leaf.Issuer, leaf.DNSNames)
	}
	if strings.Contains(strings.ToLower(fmt.Sprint(leaf.Subject, leaf.Issuer)), "goproxy") {
		t.Errorf("the certificate is for %v, by %v", leaf.Subject, leaf.Issuer)
	}
	c.gets("/x?q=sesame", "X-A: 1").want(t, 200, "fine")
	got := o.seen()[0]
	if got.line != "GET /x?q=sesame HTTP/1.1" || got.get("Host") != "a.test:"+o.port || got.get("X-A") != "1" {
		t.Errorf("the origin got %q", got.raw)
	}
	got.without(t, "Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto")
	line := p.of(t, "https://a.test:"+o.port+"/x", 1)[0]
	wantFields(t, line, map[string]any{"method": "GET", "status": 200.0, "inspect": "opened", "endpoint": o.addr, "target": "https://a.test:" + o.port + "/x", "bytes_sent": 4.0})
	c.conn.Close()
	wantFields(t, p.of(t, "a.test:", 1)[0], map[string]any{"method": "CONNECT", "status": 200.0, "inspect": "opened", "target": "a.test:" + o.port})
	if strings.Contains(p.accessLog(t), "sesame") {
		t.Error("a query stands in the log")
	}
}

func inspectPasses(t *testing.T, _ *proxy) {
	p := startGlassBy(t, "[{name: bank, pass: {host: [.bank.test]}}, {name: one, decrypt: {host: [.test], port: [1]}}, {name: rest, decrypt: {host: [.test]}}]")
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	for host, opened := range map[string]any{"a.test": "rest", "www.bank.test": nil, "BANK.test.": nil, "other.example": nil} {
		o := newSecure(t, says(ok("fine")))
		c := dial(t, p)
		c.fill = o.places
		c.tunnel(host + ":{P}")
		roots := x509.NewCertPool()
		roots.AddCert(s.origin.cert)
		roots.AddCert(s.inspection.cert)
		if err := c.greet(&tls.Config{ServerName: strings.TrimSuffix(host, "."), RootCAs: roots}); err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		by := s.origin.cert
		if opened != nil {
			by = s.inspection.cert
		}
		if leaf := c.shown().PeerCertificates[0]; leaf.CheckSignatureFrom(by) != nil {
			t.Errorf("%s: the certificate is of %v", host, leaf.Issuer)
		}
		c.ask("GET /secret HTTP/1.1", "Host: "+strings.ToLower(strings.TrimSuffix(host, "."))+":{P}").answer().want(t, 200, "fine")
		c.conn.Close()
		wantFields(t, p.of(t, host+":"+o.port, 1)[0], map[string]any{"inspect": opened, "status": 200.0})
		if opened == nil && strings.Contains(p.accessLog(t), o.port+"/secret") {
			t.Errorf("%s: what was inside stands in the log", host)
		}
	}
}

func inspectNoDial(t *testing.T, _ *proxy) {
	p := startGlass(t, "dial_timeout: 1s")
	o := newSecure(t, says(ok("fine")))
	look(t, p, "a.test", o)
	if o.dials() != 0 {
		t.Error("the CONNECT was a dial")
	}
	gone := freePort(t)
	_, port, _ := net.SplitHostPort(gone)
	c := dial(t, p)
	c.fill = o.places
	c.tunnel("a.test:"+port).greets(t, "a.test")
	for range 2 {
		c.ask("GET / HTTP/1.1", "Host: a.test:"+port).answer().wantOwn(t, 502, "connection_refused")
	}
	again := newOriginTLS(t, gone, o.tls, says(ok("back")))
	c.ask("GET / HTTP/1.1", "Host: a.test:"+port).answer().want(t, 200, "back")
	if again.dials() != 1 {
		t.Errorf("%d dials", again.dials())
	}
	nowhere := newNames(t, func(query) reply { return reply{code: 3} })
	q := launch{conf: glassText(t, everything, `resolver: ["`+nowhere.addr+`"]`)}.start(t)
	c = look(t, q, "a.test", o)
	c.gets("/").wantOwn(t, 502, "dns_error")
}

func inspectOtherHost(t *testing.T, _ *proxy) {
	p := startGlass(t)
	o := newSecure(t, serve(func(r *message) string { return ok(r.line + "|" + r.get("Host")) }))
	fine := func(path string) string { return "GET " + path + " HTTP/1.1|a.test:" + o.port }
	for host, status := range map[string]int{
		"a.test:{P}": 200, "A.TEST:{P}": 200, "a.test.:{P}": 200, "b.test:{P}": 421, "a.test": 421, "a.test:1": 421, "127.0.0.1:{P}": 421, "www.a.test:{P}": 421,
		"b.a.test:{P}": 421, "a.test:{P}:1": 400, "a.test:{P}, b.test": 400, "": 421,
	} {
		c := look(t, p, "a.test", o)
		m := c.ask("GET /x HTTP/1.1", "Host: "+host).answer()
		switch {
		case m.status() == 200 && status == 200:
			m.want(t, 200, fine("/x"))
		case status == 421 && host == "" && m.status() == 400:
		default:
			m.wantOwn(t, status)
		}
	}
	for target, status := range map[string]int{
		"https://a.test:{P}/y": 200, "HTTPS://A.test:{P}/y": 200, "https://b.test:{P}/y": 421, "https://a.test/y": 421, "http://a.test:{P}/y": 421, "ftp://a.test:{P}/y": 400, "https://u@a.test:{P}/y": 400,
	} {
		c := look(t, p, "a.test", o)
		m := c.ask("GET "+target+" HTTP/1.1", "Host: a.test:{P}").answer()
		if status == 200 {
			m.want(t, 200, fine("/y"))
			continue
		}
		if m.status() != status && (status != 421 || m.status() != 400) {
			t.Errorf("%s: got %q %q, want %d", target, m.raw, m.body, status)
		}
	}
	if n := len(o.seen()); n != 3+2 {
		t.Errorf("the origin got %d requests, want 5: %q", n, o.bytes())
	}
	c := look(t, p, "a.test", o) // a refusal is for its request alone
	c.ask("GET / HTTP/1.1", "Host: b.test:{P}").answer().wantOwn(t, 421)
	c.gets("/z").want(t, 200, fine("/z"))
}

func inspectConnectInside(t *testing.T, _ *proxy) {
	p := startGlass(t)
	c, o := inside(t, p, says(ok("fine")))
	c.ask("CONNECT a.test:{P} HTTP/1.1", "Host: a.test:{P}").answer().wantOwn(t, 501)
	c.ends()
	c = look(t, p, "a.test", o)
	c.send(o.places("CONNECT "+refusing(t)+" HTTP/1.1\r\nHost: x\r\n\r\n")+"early").answer().wantOwn(t, 501)
	c.ends()
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}
}

func inspectNotTLS(t *testing.T, _ *proxy) {
	p := startGlass(t, "header_timeout: 1s")
	o := newSecure(t, says(ok("fine")))
	sent := []string{
		lines("GET / HTTP/1.1", "Host: a.test:{P}"), "SSH-2.0-OpenSSH_9.9\r\n", "\x00", strings.Repeat("\xff", 70_000),
		"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "\x16\x03\x01\x00\x00", "\x15\x03\x01\x00\x02\x02\x28", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	}
	for _, text := range sent {
		for _, early := range []bool{false, true} {
			c := dial(t, p)
			c.fill = o.places
			head := lines("CONNECT a.test:{P} HTTP/1.1", "Host: a.test:{P}")
			if early {
				c.try(head + text)
			} else {
				c.send(head)
			}
			if m := c.answerTo("CONNECT"); m.status() != 200 {
				t.Fatalf("%q: got %q", clip(text), m.raw)
			}
			if !early {
				c.try(text)
			}
			rest, err := c.rest()
			isHTTP := strings.HasPrefix(text, "GET ") // whoever speaks HTTP is told in HTTP
			if strings.HasPrefix(rest, "HTTP/1.1 400 ") != isHTTP || len(rest) > 500 || timed(err) {
				t.Errorf("%q: the client reads %q, %v", clip(text), clip(rest), err)
			}
		}
	}
	for _, line := range p.of(t, "a.test:", 2*len(sent)) {
		if line["fault"] == nil || line["inspect"] != "opened" || line["ended_by"] == "server" {
			t.Errorf("the log says %v", line)
		}
	}
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}
}

func inspectALPN(t *testing.T, _ *proxy) {
	p := startGlass(t)
	o := newSecure(t, says(ok("fine")))
	offered := func(protocols ...string) (*client, error) {
		c := dial(t, p)
		c.fill = o.places
		c.tunnel("a.test:{P}")
		conf := trust(t, "a.test")
		conf.NextProtos = protocols
		return c, c.greet(conf)
	}
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"h2", "http/1.1"}, {"http/1.0", "http/1.1", "h3"}} {
		c, err := offered(protocols...)
		if err != nil {
			t.Errorf("%q: %v", protocols, err)
			continue
		}
		if got := c.shown().NegotiatedProtocol; got != "http/1.1" && protocols != nil || got != "" && protocols == nil {
			t.Errorf("%q: agreed on %q", protocols, got)
		}
		c.gets("/").want(t, 200, "fine")
		c.conn.Close()
	}
	for _, protocols := range [][]string{{"h2"}, {"acme-tls/1"}, {"h2", "h3", "ftp"}} {
		c, err := offered(protocols...)
		if err == nil || timed(err) || !strings.Contains(err.Error(), "protocol") {
			t.Errorf("%q: the handshake ends with %v", protocols, err)
		}
		c.conn.Close()
	}
	faults := 0
	for _, line := range p.of(t, "a.test:", 4+3) {
		if line["fault"] != nil {
			faults++
		}
	}
	if faults != 3 {
		t.Errorf("%d lines with a fault, want 3:\n%s", faults, p.accessLog(t))
	}
}

func inspectRules(t *testing.T, _ *proxy) {
	p := startGlass(t, "contact: ask us", "rules:", "  - {name: no-admin, deny: {host: [.test], path: [/admin]}}", "  - {name: no-put, deny: {method: [PUT]}}",
		"  - {name: no-connect-to-b, deny: {host: [b.test], method: [CONNECT]}}")
	c, o := inside(t, p, says(ok("fine")))
	for _, path := range []string{"/admin", "/admin/x?y", "/%61dmin", "//admin", "/./admin", "/x/../admin"} {
		c.gets(path).wantDenied(t, "no-admin")
	}
	m := c.gets("/admin", "Accept: text/html")
	m.wantDenied(t, "no-admin")
	if m.get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(m.body, "ask us") {
		t.Errorf("got %q %q", m.raw, m.body)
	}
	c.send("PUT / HTTP/1.1\r\nHost: a.test:{P}\r\nContent-Length: 0\r\n\r\n").answer().wantDenied(t, "no-put")
	if o.dials() != 0 {
		t.Errorf("%d dials for what was denied", o.dials())
	}
	c.gets("/administration").want(t, 200, "fine")
	all := p.of(t, "https://a.test:"+o.port, 9)
	wantFields(t, all[0], map[string]any{"decision": "deny", "rule": "no-admin", "phase": "name", "inspect": "opened", "status": 403.0})
	wantFields(t, all[8], map[string]any{"decision": "allow", "inspect": "opened", "status": 200.0})
	b := dial(t, p)
	b.fill = o.places
	b.ask("CONNECT b.test:{P} HTTP/1.1", "Host: x").answerTo("CONNECT").wantDenied(t, "no-connect-to-b")
	b.ends()
}

func inspectWebSocket(t *testing.T, _ *proxy) {
	p := startGlass(t)
	c, o := inside(t, p, func(o *originConn) {
		o.head()
		o.send(switching + "hello")
		echo(o)
	})
	c.send("GET /chat HTTP/1.1\r\nHost: a.test:{P}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\nfirst")
	if m := c.answer(); m.status() != 101 || !strings.EqualFold(m.get("Upgrade"), "websocket") || m.get("Sec-WebSocket-Accept") == "" {
		t.Fatalf("got %q", m.raw)
	}
	c.read("hellofirst")
	big := string(stuff(5, 1<<20))
	go c.try(big)
	c.read(big)
	if got := o.seen()[0]; !strings.EqualFold(got.get("Upgrade"), "websocket") || got.get("Sec-WebSocket-Key") != "x" {
		t.Errorf("the origin got %q", got.raw)
	}
	c.closeWrite()
	c.endsOrderly()
	wantFields(t, p.of(t, "https://a.test:"+o.port+"/chat", 1)[0], map[string]any{"status": 101.0, "inspect": "opened", "fault": nil})
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func inspectBadOrigin(t *testing.T, _ *proxy) {
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	p := startGlass(t)
	old, early := named("a.test"), named("a.test")
	old.NotBefore, old.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	early.NotBefore, early.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
	client := person("a.test")
	client.DNSNames = []string{"a.test"}
	texts := map[string]string{}
	for what, c := range map[string]*tls.Certificate{
		"expired":           s.origin.signs(t, old),
		"not yet":           s.origin.signs(t, early),
		"another name":      s.origin.signs(t, named("inner.corp.test", "127.0.0.1")),
		"unknown authority": authority(t, "origins of the tests").signs(t, named("a.test")),
		"not for servers":   s.origin.signs(t, client),
	} {
		o := newOriginTLS(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*c}}, says(ok("fine")))
		in := look(t, p, "a.test", o)
		m := in.gets("/x", "Cookie: sesame")
		m.wantOwn(t, 502, "tls_certificate_error")
		texts[what] = m.body
		page := in.gets("/x", "Accept: text/html")
		page.wantOwn(t, 502, "tls_certificate_error")
		if page.get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: a browser gets %q", what, page.raw)
		}
		if strings.Contains(m.body+page.body, "inner.corp") || strings.Contains(m.body+page.body, "x509") {
			t.Errorf("%s: the answer tells %q", what, m.body)
		}
		if len(o.seen()) != 0 {
			t.Errorf("%s: the origin got %q", what, o.bytes())
		}
		wantFields(t, p.of(t, "https://a.test:"+o.port, 2)[0], map[string]any{"status": 502.0, "fault": "tls_certificate_error", "inspect": "opened"})
	}
	for what, word := range map[string]string{"expired": "expired", "another name": "name", "unknown authority": "authority"} {
		if !strings.Contains(texts[what], word) {
			t.Errorf("%s: the text is %q", what, texts[what])
		}
	}
	if texts["expired"] == texts["another name"] || texts["another name"] == texts["unknown authority"] || texts["expired"] == texts["unknown authority"] {
		t.Errorf("the texts are alike: %q", texts)
	}
}

func inspectBadHandshake(t *testing.T, _ *proxy) {
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	p := startGlass(t)
	asks := s.secure()
	asks.ClientAuth, asks.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
	asks13 := s.secure()
	asks13.ClientAuth = tls.RequireAnyClientCert
	ancient := s.secure()
	ancient.MinVersion, ancient.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for what, turn := range map[string]struct {
		conf   *tls.Config
		script func(*originConn)
		status int
		kinds  []string
	}{
		"plain HTTP":         {nil, func(o *originConn) { o.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"); o.drain() }, 502, []string{"tls_protocol_error"}},
		"garbage":            {nil, func(o *originConn) { o.in.Peek(1); o.send("\x16\x03\x03\x00\x10garbagegarbagega"); o.drain() }, 502, []string{"tls_protocol_error"}},
		"alert":              {nil, func(o *originConn) { o.in.Peek(1); o.send("\x15\x03\x03\x00\x02\x02\x28"); o.drain() }, 502, []string{"tls_alert_received"}},
		"closes":             {nil, func(o *originConn) { o.in.Peek(1) }, 502, []string{"connection_terminated", "tls_protocol_error"}},
		"resets":             {nil, func(o *originConn) { o.in.Peek(1); reset(o) }, 502, []string{"connection_terminated"}},
		"silent":             {nil, waits, 504, []string{"connection_timeout"}},
		"asks for a client":  {asks, waits, 502, []string{"tls_alert_received"}},
		"and in TLS 1.3":     {asks13, waits, 502, []string{"tls_alert_received", "connection_terminated"}},
		"speaks TLS 1.1":     {ancient, waits, 502, []string{"tls_protocol_error", "tls_alert_received"}},
		"half a record, end": {nil, func(o *originConn) { o.in.Peek(1); o.send("\x16\x03\x03\x10") }, 502, []string{"connection_terminated", "tls_protocol_error"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			o := newOriginTLS(t, "127.0.0.1:0", turn.conf, turn.script)
			c := look(t, p, "a.test", o)
			m := c.gets("/")
			m.wantOwn(t, turn.status, turn.kinds...)
			if strings.Contains(m.body, "tls:") || strings.Contains(m.body, "remote error") {
				t.Errorf("the answer tells %q", m.body)
			}
			poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
		})
	}
}

func inspectReuse(t *testing.T, _ *proxy) {
	p := startGlass(t)
	c, o := inside(t, p, says(ok("fine")))
	for range 5 {
		c.gets("/").want(t, 200, "fine")
	}
	d := look(t, p, "a.test", o)
	d.gets("/").want(t, 200, "fine")
	c.conn.Close()
	d.gets("/").want(t, 200, "fine")
	if o.dials() != 1 {
		t.Errorf("%d connections for 7 requests", o.dials())
	}
	look(t, p, "b.test", o).ask("GET / HTTP/1.1", "Host: b.test:{P}").answer().want(t, 200, "fine")
	if o.dials() != 2 {
		t.Errorf("%d connections: one verified for a.test served b.test", o.dials())
	}
	plain := newOrigin(t, says(ok("plain")))
	fetch(t, p, "a.test:"+plain.port).want(t, 200, "plain")
}

func inspectGuard(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	resolver := `resolver: ["` + s.addr + `"]`
	p := launch{conf: glassText(t, everything, resolver)}.start(t)
	c, o := inside(t, p, says(ok("fine")))
	get := func() *message { return c.gets("/") }
	get().want(t, 200, "fine")
	p.reload(t, strings.Replace(glassText(t, everything, resolver), "allow_private: true", "allow_private: false", 1))
	get().wantOwn(t, 403, "destination_ip_prohibited") // although a connection is kept
	wantFields(t, p.of(t, "https://a.test:"+o.port, 2)[1], map[string]any{"rule": "guard", "phase": "address", "decision": "deny"})
	p.reload(t, glassText(t, everything, resolver, "rules:", "  - {name: cellar, deny: {addr: [127.0.0.1]}}"))
	get().wantDenied(t, "cellar")
	p.reload(t, glassText(t, everything, resolver, "rules:", "  - {name: paths, deny: {path: [/]}}"))
	get().wantDenied(t, "paths")
	p.reload(t, glassText(t, everything, resolver))
	get().want(t, 200, "fine")
	me := dial(t, p)
	me.tunnel("127.0.0.1:"+p.port).greets(t, "127.0.0.1")
	me.ask("GET / HTTP/1.1", "Host: 127.0.0.1:"+p.port).answer().wantOwn(t, 421)
}

func inspectUserGone(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	users := saved(t, hashed(t, "alice", "open sesame", "bob", "swordfish"))
	text := glassText(t, "[{name: bobs, pass: {user: [bob]}}, {name: opened, decrypt: {}}]", `resolver: ["`+s.addr+`"]`, "users: "+users, "rules:",
		"  - {name: her, allow: {user: [alice], path: [/hers]}}", "  - {name: tunnels, allow: {method: [CONNECT]}}")
	p := launch{conf: text}.start(t)
	o := newSecure(t, says(ok("fine")))
	c := dial(t, p)
	c.fill = o.places
	c.ask("CONNECT a.test:{P} HTTP/1.1", "Host: x").answerTo("CONNECT").wantChallenge(t)
	c = look(t, p, "a.test", o, alice)
	c.gets("/hers").want(t, 200, "fine")
	c.gets("/his").wantDenied(t, "default")
	for _, line := range p.of(t, "https://a.test:"+o.port, 2) {
		wantFields(t, line, map[string]any{"user": "alice", "inspect": "opened"})
	}
	replaceFile(t, users, hashed(t, "bob", "swordfish"))
	p.signal(t, syscall.SIGHUP)
	poll(t, "the users are taken", func() bool { return p.says(taken) > 0 })
	seen := len(o.seen())
	m := c.gets("/hers")
	if m.status() != 403 && m.status() != 407 {
		t.Errorf("a user who has gone gets %q %q", m.raw, m.body)
	}
	m.without(t, "WWW-Authenticate")
	if len(o.seen()) != seen {
		t.Error("the request of a user who has gone reached the origin")
	}
}

func inspectBulk(t *testing.T, _ *proxy) {
	size := 8 << 20
	if raced() { // TLS at both ends, slowly: it has to come within the patience of a client
		size = 2 << 20
	}
	p := startGlass(t)
	up, down := string(stuff(1, size)), string(stuff(2, size))
	for what, turn := range map[string]struct{ request, answer string }{
		"by length": {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, up), fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, down)},
		"in chunks": {"Transfer-Encoding: chunked\r\n\r\n" + chunked(up, 70_001) + "0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(down, 9_999) + "0\r\n\r\n"},
	} {
		c, o := inside(t, p, says(turn.answer))
		go c.try("POST / HTTP/1.1\r\nHost: a.test:{P}\r\n" + turn.request)
		m := c.answer()
		if m.status() != 200 || m.err != nil || m.body != down {
			t.Errorf("%s: %q with %d bytes, %v", what, m.line, len(m.body), m.err)
		}
		if got := o.seen()[0]; got.body != up {
			t.Errorf("%s: the origin got %d bytes", what, len(got.body))
		}
	}
}

func inspectTruncated(t *testing.T, _ *proxy) {
	p := startGlass(t)
	for what, answer := range map[string]string{
		"short of its length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"within a chunk":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
		"between chunks":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"until the end":       "HTTP/1.1 200 OK\r\n\r\nhello",
	} {
		for how, end := range map[string]func(*originConn){
			"FIN":   func(o *originConn) { o.Conn.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite(); o.drain() },
			"RST":   func(o *originConn) { reset(o) },
			"close": func(*originConn) {},
		} {
			if what == "until the end" && how != "RST" {
				continue // it is an end: some servers have no other, and no client minds
			}
			c, _ := inside(t, p, func(o *originConn) {
				o.request()
				o.send(answer)
				pause(20 * time.Millisecond) // what was sent should arrive before the end
				end(o)
			})
			m := c.gets("/")
			if m.status() == 502 && m.err == nil {
				continue // nothing was passed on yet
			}
			if m.err == nil {
				t.Errorf("%s, %s: %q with %q looks whole", what, how, m.raw, m.body)
			}
		}
	}
	c, _ := inside(t, p, saysAndCloses("HTTP/1.1 200 OK\r\n\r\nhello"))
	c.gets("/").want(t, 200, "hello") // an orderly end is one
}

func inspectInterim(t *testing.T, _ *proxy) {
	p := startGlass(t)
	c, o := inside(t, p, func(o *originConn) {
		m := o.head()
		o.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
		m.readBody(o.in, false)
		o.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: down\r\n\r\n")
		o.drain()
	})
	c.send("POST / HTTP/1.1\r\nHost: a.test:{P}\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
	for m := c.answer(); ; m = c.answer() {
		if m.status() == 100 {
			break
		}
		if m.status() != 103 || m.get("Link") != "</x>" {
			t.Fatalf("got %q", m.raw)
		}
	}
	c.send("5\r\nhello\r\n0\r\nX-Sum: up\r\n\r\n")
	m := c.answer()
	m.want(t, 200, "hello")
	if got, _ := find(m.trailer, "X-Sum"); got != "down" {
		t.Errorf("the client got the trailer %q", m.trailer)
	}
	if got, _ := find(o.seen()[0].trailer, "X-Sum"); got != "up" {
		t.Errorf("the origin got the trailer %q", o.seen()[0].trailer)
	}
}

func inspectCredentials(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	users := saved(t, hashed(t, "alice", "open sesame"))
	for _, anonymity := range []string{"strict", "via", "transparent"} {
		p := launch{conf: glassText(t, everything, `resolver: ["`+s.addr+`"]`, "users: "+users, "anonymity: "+anonymity)}.start(t)
		o := newSecure(t, says(ok("fine")))
		c := look(t, p, "a.test", o, alice, "X-Of-Connect: 1")
		c.gets("/").want(t, 200, "fine")
		c.gets("/", alice).want(t, 200, "fine")
		c.gets("/", guess).want(t, 200, "fine")
		c.gets("/", "Connection: Proxy-Authorization", alice).want(t, 200, "fine")
		c.gets("/", "Authorization: Basic x").want(t, 200, "fine")
		for _, r := range o.seen() {
			r.without(t, "Proxy-Authorization", "X-Of-Connect")
		}
		if seen := o.seen(); seen[4].get("Authorization") != "Basic x" {
			t.Errorf("Authorization is for the origin, which got %q", seen[4].raw)
		}
		if all := strings.Join(o.bytes(), ""); strings.Contains(all, token("alice", "open sesame")) {
			t.Errorf("%s: the origin got %q", anonymity, all)
		}
	}
}

func inspectDrain(t *testing.T, _ *proxy) {
	p := startGlass(t)
	asked, release := make(chan struct{}, 1), make(chan struct{})
	busy, _ := inside(t, p, func(o *originConn) {
		o.head()
		asked <- struct{}{}
		<-release
		o.send(ok("worth the wait"))
		o.drain()
	})
	idle, _ := inside(t, p, says(ok("fine")))
	idle.gets("/").want(t, 200, "fine")
	fresh, _ := inside(t, p, says(ok("fine")))
	busy.ask("GET / HTTP/1.1", "Host: a.test:{P}")
	receive(t, "the request at the origin", asked)
	p.signal(t, syscall.SIGTERM)
	idle.endsOrderly()
	fresh.endsOrderly()
	close(release)
	busy.answer().want(t, 200, "worth the wait")
	busy.endsOrderly()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, p.log())
	}
}

func inspectNotTrusted(t *testing.T, _ *proxy) {
	p := startGlass(t)
	o := newSecure(t, says(ok("fine")))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := dial(t, p)
		c.fill = o.places
		err := c.tunnel("a.test:{P}").greet(&tls.Config{ServerName: "a.test", RootCAs: x509.NewCertPool(), MaxVersion: version})
		if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); !unknown {
			t.Errorf("the handshake ends with %v", err)
		}
		c.ends()
	}
	for _, line := range p.of(t, "a.test:", 2) {
		if line["fault"] == nil || line["inspect"] != "opened" || line["ended_by"] == "server" {
			t.Errorf("the log says %v", line)
		}
	}
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}
}

func inspectSlow(t *testing.T, _ *proxy) {
	p := startGlass(t, "header_timeout: 1s")
	o := newSecure(t, says(ok("fine")))
	whole := hello(t, "a.test")
	for what, send := range map[string]func(*client){
		"silence":           func(*client) {},
		"half a hello":      func(c *client) { c.send(whole[:100]) },
		"a drip":            func(c *client) { c.drip(whole[:80], 50*time.Millisecond) },
		"a hello and no go": func(c *client) { c.send(whole) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := dial(t, p)
			c.fill = o.places
			send(c.tunnel("a.test:{P}"))
			if rest, err := c.rest(); strings.Contains(rest, "HTTP/") || timed(err) {
				t.Errorf("it ended with %q, %v", clip(rest), err)
			}
		})
	}
}

func inspectVanished(t *testing.T, _ *proxy) {
	p := startGlass(t, "upstream_idle_timeout: 1s")
	c, o := inside(t, p, says(ok("fine")))
	c.gets("/").want(t, 200, "fine")
	poll(t, "calm", func() bool { return o.open() == 0 })
	base := p.descriptors(t)
	whole := hello(t, "a.test")
	for n := range 200 {
		gone := dial(t, p)
		gone.fill = o.places
		gone.send(lines("CONNECT a.test:{P} HTTP/1.1", "Host: x") + whole[:min(n*len(whole)/150, len(whole))])
		if n%2 == 0 {
			gone.answerTo("CONNECT")
		}
		if n%3 == 0 {
			reset(gone.conn)
		} else {
			gone.conn.Close()
		}
	}
	for n := range 50 {
		gone := look(t, p, "a.test", o)
		if n%2 == 0 {
			gone.send("GET / HTTP/1.1\r\nHost: a.test")
		}
		reset(gone.conn)
	}
	c.gets("/").want(t, 200, "fine")
	p.settles(t, base)
}

func inspectIdle(t *testing.T, _ *proxy) {
	p := startGlass(t, "header_timeout: 5m", "upstream_idle_timeout: 1s")
	o := newSecure(t, says(ok("fine")))
	base, before := p.descriptors(t), p.resident(t)
	all := make([]*client, 300)
	for n := range all {
		all[n] = look(t, p, "a.test", o)
		if n%2 == 0 {
			all[n].gets("/").want(t, 200, "fine")
		}
	}
	each := (p.resident(t) - before) / len(all)
	t.Logf("%d bytes of memory a tunnel", each)
	if each > 96<<10 && !raced() {
		t.Errorf("an idle opened tunnel holds %d bytes", each)
	}
	if n := o.open(); n > 2 {
		t.Errorf("%d connections to the origin for tunnels that say nothing", n)
	}
	for _, c := range all {
		c.gets("/").want(t, 200, "fine")
		c.conn.Close()
	}
	poll(t, "the origin has no connection any more", func() bool { return o.open() == 0 })
	p.settles(t, base)
}

// joined is a connection whose first bytes go out with what is written next, and
// whose peer's first answer is taken away.
type joined struct {
	net.Conn
	first string
	in    *bufio.Reader
	m     *message
}

func (j *joined) Write(p []byte) (int, error) {
	n, first := len(p), j.first
	j.first = ""
	_, err := j.Conn.Write(append([]byte(first), p...))
	return n, err
}

func (j *joined) Read(p []byte) (n int, err error) {
	if j.m == nil {
		if j.m, err = readAnswer(j.in, "CONNECT"); err != nil {
			return 0, err
		}
	}
	return j.in.Read(p)
}

func inspectEarlyHello(t *testing.T, _ *proxy) {
	p := startGlass(t)
	o := newSecure(t, says(ok("fine")))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := dial(t, p)
		j := &joined{Conn: c.conn, in: c.in, first: o.places(lines("CONNECT a.test:{P} HTTP/1.1", "Host: a.test:{P}"))}
		conf := trust(t, "a.test")
		conf.MaxVersion = version
		secure := tls.Client(j, conf)
		fmt.Fprintf(secure, "GET / HTTP/1.1\r\nHost: a.test:%s\r\nConnection: close\r\n\r\n", o.port)
		m, err := readAnswer(bufio.NewReader(secure), "GET")
		if err != nil {
			t.Fatalf("%v; the CONNECT was answered %v", err, j.m)
		}
		m.want(t, 200, "fine")
	}
}

func inspectDrainCuts(t *testing.T, _ *proxy) {
	p := startGlass(t, "drain_timeout: 1s")
	c, _ := inside(t, p, half(waits))
	c.ask("GET / HTTP/1.1", "Host: a.test:{P}").head()
	c.read("hello")
	d, _ := inside(t, p, saysHalf)
	d.ask("GET / HTTP/1.0", "Host: a.test:{P}").head()
	d.read("hello")
	p.signal(t, syscall.SIGTERM)
	if code := p.wait(t); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if rest, err := d.rest(); rest != "" || err == nil {
		t.Errorf("an answer without length ends with %q, %v", rest, err)
	}
	if rest, _ := c.rest(); rest != "" {
		t.Errorf("more came: %q", rest)
	}
	for _, line := range p.of(t, "https://a.test:", 2) {
		wantFields(t, line, map[string]any{"ended_by": "proxy", "status": 200.0, "inspect": "opened"})
	}
	if n := len(p.of(t, "a.test:", 2)); n != 2 {
		t.Errorf("%d lines of tunnels", n)
	}
}

// saysHalf is a script: the beginning of an answer that has no length.
func saysHalf(o *originConn) {
	o.request()
	o.send("HTTP/1.1 200 OK\r\n\r\nhello")
	o.drain()
}

func inspectRecheck(t *testing.T, _ *proxy) {
	for _, mode := range []string{"recheck", "keep"} {
		s := newNames(t, always("127.0.0.1"))
		text := func(rules string) string {
			return glassText(t, everything, `resolver: ["`+s.addr+`"]`, "reload_tunnels: "+mode, "rules: ["+rules+"]")
		}
		p := launch{conf: text("{deny: {host: [nobody.test]}}")}.start(t)
		o := newSecure(t, func(o *originConn) { o.head(); o.send(switching); echo(o) })
		chats := map[string]*client{}
		for _, path := range []string{"/chat", "/ws"} {
			c := look(t, p, "a.test", o)
			if m := c.ask("GET "+path+" HTTP/1.1", "Host: a.test:{P}", "Connection: Upgrade", "Upgrade: websocket").answer(); m.status() != 101 {
				t.Fatalf("got %q", m.raw)
			}
			chats[path] = c.send("ping").read2("ping")
		}
		p.reload(t, text("{name: no-chat, deny: {host: [a.test], path: [/chat]}}"))
		if mode == "recheck" {
			if rest, err := chats["/chat"].rest(); rest != "" || timed(err) {
				t.Errorf("the chat ends with %q, %v", rest, err)
			}
			wantFields(t, p.of(t, "https://a.test:"+o.port+"/chat", 1)[0], map[string]any{"ended_by": "proxy", "decision": "deny", "rule": "no-chat", "status": 101.0})
			delete(chats, "/chat")
		}
		for _, c := range chats {
			c.send("ping").read("ping")
		}
	}
}

func inspectLimits(t *testing.T, _ *proxy) {
	p := startGlass(t, "max_conns: 2", "max_conns_per_client: 1")
	o := newSecure(t, says(ok("fine")))
	for range 3 {
		var conn net.Conn
		poll(t, "a place", func() bool {
			c, err := enters(p.addr, o.port, trust(t, "a.test"))
			conn = c
			return err == nil
		})
		in := bufio.NewReader(conn)
		for range 2 {
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a.test:%s\r\n\r\n", o.port)
			m, err := readAnswer(in, "GET")
			if err != nil {
				t.Fatal(err)
			}
			m.want(t, 200, "fine")
			if m := dial(t, p).answer(); m.status() != 429 {
				t.Errorf("got %q", m.raw)
			}
		}
		conn.Close()
	}
}

func inspectEgress(t *testing.T, _ *proxy) {
	users := saved(t, hashed(t, "alice", "open sesame", "bob", "swordfish"))
	p := startGlass(t, "users: "+users, "egress: [127.0.3.1, 127.0.3.2, 127.0.3.3]", "egress_by: user")
	o := newSecure(t, func(o *originConn) {
		from, _, _ := net.SplitHostPort(o.RemoteAddr().String())
		says(ok(from))(o)
	})
	seen := map[string]string{}
	for n := range 8 {
		for name, who := range map[string]string{"alice": alice, "bob": bob} {
			c := look(t, p, "a.test", o, who)
			m := c.gets("/")
			if seen[name] == "" {
				seen[name] = m.body
			}
			if m.status() != 200 || m.body != seen[name] || !strings.HasPrefix(m.body, "127.0.3.") {
				t.Errorf("%d: %s leaves by %q, before by %q", n, name, m.body, seen[name])
			}
			c.conn.Close()
		}
	}
	t.Logf("%v, %d connections", seen, o.dials())
}

func inspectHostileHello(t *testing.T, _ *proxy) {
	p := startGlass(t)
	o := newSecure(t, says(ok("fine")))
	for _, name := range []string{
		"*.test", "_x.test", "a..test", "-a.test", "a b.test", "\x00.test", "a.test\x00.evil.test", strings.Repeat("a", 64) + ".test", strings.Repeat("abcdefg.", 40) + "test",
		"<script>.test", "1.2.3.4", "xn--.test", "xn--a.test", "a.test:443", "user@a.test", "../../ca.key", "test", "localhost", "127.1", "0x7f000001",
	} {
		c := dial(t, p)
		c.fill = o.places
		conf := trust(t, name)
		conf.InsecureSkipVerify = true
		if err := c.tunnel("a.test:{P}").greet(conf); err == nil {
			if leaf := c.shown().PeerCertificates[0]; leaf.VerifyHostname("b.test") == nil || len(leaf.DNSNames)+len(leaf.IPAddresses) != 1 || strings.Contains(fmt.Sprint(leaf.DNSNames), "*") {
				t.Errorf("%q: the certificate is for %q %v", name, leaf.DNSNames, leaf.IPAddresses)
			}
			c.gets("/").want(t, 200, "fine")
		} else if timed(err) {
			t.Errorf("%q: %v", name, err)
		}
		c.conn.Close()
	}
	before := p.resident(t)
	if err := eachOf(16, 6000, func(n int) error {
		conf := trust(t, fmt.Sprintf("host%d.test", n))
		conf.CurvePreferences = []tls.CurveID{tls.X25519}
		c, err := enters(p.addr, o.port, conf)
		if err == nil {
			c.(*tls.Conn).NetConn().Close()
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	grown := p.resident(t) - before
	t.Logf("%d KiB grown by 6,000 names", grown>>10)
	if grown > 64<<20 && !raced() {
		t.Errorf("%d bytes grown by 6,000 names", grown)
	}
	look(t, p, "a.test", o).gets("/").want(t, 200, "fine")
}

// enters is a connection inside the tunnel to a.test at a port.
func enters(proxy, port string, conf *tls.Config) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", proxy, patience)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(4 * patience))
	fmt.Fprintf(conn, "CONNECT a.test:%s HTTP/1.1\r\nHost: a.test:%s\r\n\r\n", port, port)
	m, err := readAnswer(bufio.NewReader(conn), "CONNECT")
	if err == nil && m.status() != 200 {
		err = fmt.Errorf("CONNECT: %q", m.line)
	}
	secure := tls.Client(conn, conf)
	if err == nil {
		err = secure.Handshake()
	}
	if err != nil {
		conn.Close()
	}
	return secure, err
}

func inspectMixups(t *testing.T, _ *proxy) {
	p := startGlass(t, "upstream_idle_timeout: 1s")
	conf, seed := trust(t, "a.test"), mathrand.Uint64()
	t.Logf("seed %d", seed)
	l := &ledger{read: map[string]int{}}
	o := newSecure(t, l.unruly(seed))
	poll(t, "calm", func() bool { return o.open() == 0 })
	base := p.descriptors(t)
	var whole atomic.Int64
	if err := eachOf(16, 16, func(n int) error {
		dice := mathrand.New(mathrand.NewPCG(seed, uint64(n)))
		var conn net.Conn
		var in *bufio.Reader
		leave := func() { conn.Close(); conn = nil }
		defer func() {
			if conn != nil {
				leave()
			}
		}()
		for i := range 60 {
			if conn == nil {
				c, err := enters(p.addr, o.port, conf)
				if err != nil {
					return err
				}
				conn, in = c, bufio.NewReader(c)
			}
			path, body := fmt.Sprintf("/%d/%d", n, i), strings.Repeat("b", dice.IntN(40_000))
			request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a.test:%s\r\nContent-Length: %d\r\n\r\n%s", path, o.port, len(body), body)
			if dice.IntN(15) == 0 {
				io.WriteString(conn, request[:dice.IntN(len(request))])
				leave()
				continue
			}
			_, err := io.WriteString(conn, request)
			var m *message
			if err == nil {
				m, err = readAnswer(in, "POST")
			}
			switch {
			case timed(err):
				return fmt.Errorf("%s: no answer", path)
			case err != nil || m.err != nil:
				leave()
				continue
			case m.status() == 200 && m.body != "POST "+path+" "+body:
				return fmt.Errorf("%s got the answer %q", path, clip(m.body))
			case m.status() == 200:
				whole.Add(1)
			case m.status() != 502:
				return fmt.Errorf("%s got %q", path, m.raw)
			}
			if strings.EqualFold(m.get("Connection"), "close") {
				leave()
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d whole answers of %d", whole.Load(), 16*60)
	if whole.Load() < 16*60/4 {
		t.Errorf("only %d answers were whole", whole.Load())
	}
	l.mu.Lock()
	for id, times := range l.read {
		if times > 1 {
			t.Errorf("%s was read %d times", id, times)
		}
	}
	l.mu.Unlock()
	poll(t, "the origin has no connection any more", func() bool { return o.open() == 0 })
	p.settles(t, base)
}

func inspectNames(t *testing.T, _ *proxy) {
	p := startGlass(t)
	o := newSecure(t, says(ok("fine")))
	for target, turn := range map[string]struct{ sni, name, host string }{
		"a.test":             {"a.test", "a.test", "a.test"},
		"A.Test":             {"a.test", "a.test", "A.TEST"},
		"a.test.":            {"a.test", "a.test", "a.test"},
		"d.test":             {"D.test", "d.test", "d.test."},
		"bücher.test":        {"xn--bcher-kva.test", "xn--bcher-kva.test", "xn--bcher-kva.test"},
		"127.0.0.1":          {"", "127.0.0.1", "127.0.0.1"},
		"[::ffff:127.0.0.1]": {"", "127.0.0.1", "[::ffff:127.0.0.1]"},
		"b.test":             {"evil.test", "evil.test", "b.test"}, // whoever calls it so may read why not
		"c.test":             {"", "c.test", "c.test"},
	} {
		c := dial(t, p)
		c.fill = o.places
		c.tunnel(target + ":{P}")
		conf := trust(t, turn.sni)
		conf.InsecureSkipVerify = true
		if err := c.greet(conf); err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		leaf := c.shown().PeerCertificates[0]
		if err := leaf.VerifyHostname(turn.name); err != nil || len(leaf.DNSNames)+len(leaf.IPAddresses) != 1 {
			t.Errorf("%s: the certificate is for %q %v, %v", target, leaf.DNSNames, leaf.IPAddresses, err)
		}
		if m := c.ask("GET / HTTP/1.1", "Host: "+turn.host+":{P}").answer(); m.status() != 200 {
			t.Errorf("%s: got %q %q", target, m.raw, m.body)
		}
	}
	if n := o.dials(); n > 7 {
		t.Errorf("%d connections to the origin", n)
	}
	c := dial(t, p) // a client that means another host than it says is told inside
	c.fill = o.places
	c.tunnel("b.test:{P}").greets(t, "evil.test")
	c.ask("GET / HTTP/1.1", "Host: evil.test:{P}").answer().wantOwn(t, 421)
}

func inspectInTLS(t *testing.T, _ *proxy) {
	g := &gate{issuer: authority(t, "proxies of the tests"), dir: t.TempDir()}
	g.renew(t, "proxy.test")
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	n := newNames(t, always("127.0.0.1"))
	people, file := clientCA(t)
	g.proxy = launch{conf: g.text(", client_ca: "+file, "ca: "+s.dir, "origin_ca: "+s.origins, "inspect: "+everything, `resolver: ["`+n.addr+`"]`)}.start(t)
	o := newSecure(t, serve(func(r *message) string { return ok(r.body) }))
	c := g.dial(t, g.showing(people.signs(t, person("ann", "ops"))))
	c.fill = o.places
	outer := c.tunnel("a.test:{P}").conn
	inner := tls.Client(outer, trust(t, "a.test"))
	body := string(stuff(1, 1<<20))
	go io.WriteString(inner, "POST / HTTP/1.1\r\nHost: a.test:"+o.port+"\r\nConnection: close\r\nContent-Length: "+fmt.Sprint(len(body))+"\r\n\r\n"+body)
	got, err := io.ReadAll(inner)
	if err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) || !bytes.HasSuffix(got, []byte("\r\n\r\n"+body)) {
		t.Errorf("got %q…, %v", clip(string(got)), err)
	}
	wantFields(t, g.of(t, "https://a.test:"+o.port, 1)[0], map[string]any{"user": "ann", "inspect": "opened", "status": 200.0})
	o.seen()[0].without(t, "Proxy-Authorization")
}

func inspectReload(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	resolver := `resolver: ["` + s.addr + `"]`
	text := glassText(t, everything, resolver)
	p := launch{conf: text}.start(t)
	c, o := inside(t, p, says(ok("fine")))
	c.gets("/").want(t, 200, "fine")
	p.reload(t, glassText(t, "[{name: opened, decrypt: {host: [elsewhere.test]}}]", resolver))
	c.gets("/").want(t, 200, "fine")
	d := dial(t, p)
	d.fill = o.places
	if err := d.tunnel("a.test:{P}").greet(trust(t, "a.test")); err == nil {
		t.Error("a tunnel is opened that no rule names any more")
	}
	other := authority(t, "another inspection")
	dir := t.TempDir()
	if err := other.save(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	first, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	p.reload(t, strings.Replace(text, "ca: "+first.dir, "ca: "+dir, 1))
	d = dial(t, p)
	d.fill = o.places
	if err := d.tunnel("a.test:{P}").greet(&tls.Config{ServerName: "a.test", RootCAs: other.pool()}); err != nil {
		t.Errorf("the new authority: %v", err)
	}
	d.gets("/").want(t, 200, "fine")
	c.gets("/").want(t, 200, "fine")
	p.reload(t, conf(resolver))
	if m := c.gets("/"); m.status() != 200 {
		m.wantOwn(t, 502, "tls_certificate_error") // --origin-ca has gone, too
	}
	d = dial(t, p)
	d.fill = o.places
	if err := d.tunnel("a.test:{P}").greet(&tls.Config{ServerName: "a.test", RootCAs: other.pool()}); err == nil {
		t.Error("a tunnel is opened although nothing asks for it any more")
	}
}

func caInit(t *testing.T, _ *proxy) {
	dir := filepath.Join(t.TempDir(), "new", "ca")
	if err := os.Mkdir(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := exits(t, nil, "ca", "init", dir, "--name", "tests of viaduct", "--days", "3")
	if code != 0 {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	for name, mode := range map[string]os.FileMode{"": 0o755, "ca.key": 0o600, "ca.crt": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	cert, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stdout+stderr, "PRIVATE KEY") || !strings.Contains(stdout, filepath.Join(dir, "ca.crt")) {
		t.Errorf("it says %q", stdout)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cert) {
		t.Fatalf("no certificate in %q", cert)
	}
	if code, _, stderr := exits(t, nil, "ca", "init", dir); code != 1 || !strings.Contains(stderr, dir) {
		t.Errorf("a second time: exit code %d, %q", code, stderr)
	}
	if again, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || !bytes.Equal(again, cert) {
		t.Errorf("it was written over: %v", err)
	}
	for _, args := range [][]string{{"ca"}, {"ca", "init"}, {"ca", "inti", dir}, {"ca", "init", dir, "more"}, {"ca", "init", dir, "--days", "0"}, {"ca", "init", dir, "--days", "x"}} {
		if code, stdout, stderr := exits(t, nil, args...); code != 1 && (len(args) > 1 || code != 0) || stdout+stderr == "" {
			t.Errorf("%q: exit code %d, %q %q", args, code, stdout, stderr)
		}
	}
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	n := newNames(t, always("127.0.0.1"))
	p := start(t, "--ca", dir, "--origin-ca", s.origins, "--inspect-pass", "host=b.test", "--inspect", "host=.test", "--resolver", n.addr)
	o := newSecure(t, says(ok("fine")))
	for host, pool := range map[string]*x509.CertPool{"a.test": roots, "b.test": s.origin.pool()} {
		c := dial(t, p)
		c.fill = o.places
		if err := c.tunnel(host + ":{P}").greet(&tls.Config{ServerName: host, RootCAs: pool}); err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		c.ask("GET / HTTP/1.1", "Host: "+host+":{P}").answer().want(t, 200, "fine")
	}
}

func inspectKeyPrivate(t *testing.T, _ *proxy) {
	dir := t.TempDir()
	key := filepath.Join(dir, "ca.key")
	if err := authority(t, "open to all").save(filepath.Join(dir, "ca.crt"), key); err != nil {
		t.Fatal(err)
	}
	flags := []string{"forward", "--listen", "127.0.0.1:0", "--access-log", "off", "--ca", dir, "--inspect", "all"}
	for _, mode := range []os.FileMode{0o644, 0o604, 0o666} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := exits(t, nil, flags...)
		if code != 1 && code != 2 || !strings.Contains(stderr, "chmod") || !strings.Contains(stderr, key) || strings.Contains(stderr, "PRIVATE KEY") {
			t.Errorf("mode %o: exit code %d, %q", mode, code, stderr)
		}
	}
	if err := os.Chmod(key, 0o640); err != nil { // a secret of a container
		t.Fatal(err)
	}
	launch{args: flags}.start(t)
}

func inspectMisspelt(t *testing.T, _ *proxy) {
	good, other, broken := t.TempDir(), t.TempDir(), t.TempDir()
	one, two := authority(t, "one"), authority(t, "two")
	leaf := one.signs(t, named("leaf.test"))
	in := func(dir, name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		one.save(in(good, "ca.crt"), in(good, "ca.key")),
		two.save(in(other, "ca.crt"), in(other, "two.key")), one.save(in(other, "one.crt"), in(other, "ca.key")), // a key of another
		savePair(leaf, in(broken, "ca.crt"), in(broken, "ca.key")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	base := []string{"forward", "--listen", "127.0.0.1:0", "--access-log", "off"}
	for _, turn := range []struct {
		code  int // 0 for 1 or 2
		flags []string
		words []string
	}{
		{1, []string{"--inspect", "host=.test"}, []string{"--ca", "viaduct ca init"}},
		{1, []string{"--ca", good}, []string{"--ca", "--inspect"}},
		{1, []string{"--origin-ca", in(good, "ca.crt")}, []string{"--origin-ca"}},
		{1, []string{"--ca", good, "--inspect-pass", "host=.test"}, []string{"--inspect"}},
		{1, []string{"--ca", good, "--inspect", "path=/x"}, []string{"path"}},
		{1, []string{"--ca", good, "--inspect", "method=GET"}, []string{"method"}},
		{1, []string{"--ca", good, "--inspect", "addr=10.0.0.0/8"}, []string{"addr"}},
		{1, []string{"--ca", good, "--inspect", "user=ann"}, []string{"--users"}},
		{1, []string{"--ca", good, "--inspect", "all", "--inspect-pass", "host=.test"}, []string{"never reached"}},
		{2, []string{"--ca", in(good, "none"), "--inspect", "all"}, []string{"none"}},
		{0, []string{"--ca", other, "--inspect", "all"}, []string{"ca.key"}},
		{0, []string{"--ca", broken, "--inspect", "all"}, []string{"ca.crt"}},
		{0, []string{"--ca", good, "--inspect", "all", "--origin-ca", in(good, "ca.key")}, []string{"ca.key"}},
	} {
		wontStart(t, turn.code, append(base, turn.flags...), turn.words)
	}
}

func inspectMetrics(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	p := launch{conf: "admin: {listen: 127.0.0.1:0}\n" + glassText(t, everything, `resolver: ["`+s.addr+`"]`)}.start(t)
	c, o := inside(t, p, says(ok("fine")))
	c.gets("/").want(t, 200, "fine")
	look(t, p, "a.test", o).gets("/").want(t, 200, "fine")
	bad := dial(t, p)
	bad.fill = o.places
	bad.tunnel("a.test:{P}").try("nonsense")
	bad.rest()
	count := func(side, result string) float64 {
		return p.metric(t, fmt.Sprintf(`viaduct_tls_handshakes_total{listener="127.0.0.1:0",result="%s",side="%s"}`, result, side))
	}
	poll(t, "the handshakes are counted", func() bool {
		return count("inspected", "ok") == 2 && count("inspected", "failed") == 1 && count("origin", "ok") == 1
	})
	if n := p.metric(t, "viaduct_inspection_certificates_minted_total"); n != 1 {
		t.Errorf("%v certificates were made for one host", n)
	}
}
