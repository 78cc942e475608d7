package test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

var glassRows = []row{
	{"9110-7.6.1/glass-nominated", "T9", "A field that a filter sets is sent although the request, the answer, or a request to change protocols names it in Connection without having it; plain and in an opened tunnel.", own, glassNominated},
	{"9110-7.6.1/glass-nominated-type", "T9", "A Content-Type that is named in Connection is judged by filters all the same, of requests and of answers.", own, glassNominatedType},
	{"9110-14.6/glass-byteranges", "–", "An answer in several ranges has parts of any type: an answer_type denies it.", own, glassByteranges},
	{"9110-14.4/glass-part", "–", "A part of something larger than answer_size, or of something whose size nobody tells, is denied however small the part is.", own, glassPart},
	{"product-2/glass-first-read", "–", "An answer of unknown length that exceeds answer_size within its first packet is answered 403, not cut, and logged with the filter.", own, glassFirstRead},
	{"8446-6.1/glass-truncated", "T28", "An answer without length of a TLS origin is whole if TLS ends with close_notify, and broken off if TCP alone ends.", own, glassTruncated},
	{"8446-6/glass-alert", "–", "A handshake that fails, with more behind it, leaves an alert that can be read before the end, and its place is free soon; megabytes behind it are not read.", own, glassAlert},
	{"8446-5.1/glass-plain-bytes", "–", "HTTP behind a ClientHello ends the connection, with no panic; connections and tunnels are counted down.", own, glassPlainBytes},
	{"8446-4.6.3/glass-key-updates", "T67", "A client that asks for new keys on and on, reads none, and drips a head, is gone after --header-timeout.", own, glassKeyUpdates},
	{"product-2/glass-authority-gone", "T69", "When --tls-client-ca is replaced, a kept connection of a client of the old one is refused, and so is its opened tunnel; recheck ends its closed tunnel, keep does not. A client of the new one is let in.", own, glassAuthorityGone},
	{"product-2/glass-certificate-ends", "–", "A client certificate that ends while its connection is kept counts no longer.", own, glassCertificateEnds},
	{"product-2/glass-recheck", "T69", "With recheck, an opened tunnel whose port is no longer allowed, or that is to be passed now, refuses its next request and ends; a closed one that is to be opened now is cut. With keep they go on.", own, glassRecheck},
	{"product-6/glass-misdirected", "–", "The log's line of a 421 names the host that was asked for, without the query.", own, glassMisdirected},
}

// pane is a client on one of two ways to a.test: plain, or inside a tunnel that
// is opened.
type pane struct {
	*client
	o      *origin
	prefix string // of what it asks for, before the path
}

// panes are both ways, each to an origin of its own.
func panes(t testing.TB, p *proxy, script func(*originConn)) map[string]*pane {
	t.Helper()
	c, o := stage(t, p, script)
	in, secure := inside(t, p, script)
	return map[string]*pane{"plain": {c, o, "http://a.test:{P}"}, "opened": {in, secure, ""}}
}

func (c *pane) asks(request, path, version string, more ...string) *client {
	c.Helper()
	return c.ask(append([]string{request + " " + c.prefix + path + " " + version, "Host: a.test:{P}"}, more...)...)
}

func (c *pane) gets(path string, more ...string) *message {
	c.Helper()
	return c.asks("GET", path, "HTTP/1.1", more...).answer()
}

// line waits for the last of n lines about what it asked for.
func (c *pane) line(p *proxy, n int) map[string]any {
	c.Helper()
	scheme := "http"
	if c.prefix == "" {
		scheme = "https"
	}
	return p.of(c, scheme+"://a.test:"+c.o.port, n)[n-1]
}

func glassNominated(t *testing.T, _ *proxy) {
	p := startGlass(t, "filters:", `  - {request: {set: ["X-Tenant: ours", "Cookie2: x"]}, answer: {set: ["X-Frame-Options: DENY"]}}`)
	for _, named := range [][]string{
		{"Connection: X-Tenant"},
		{"Connection: keep-alive, x-tenant , cookie2"},
		{"Connection: keep-alive", "connection: X-TENANT"},
		{"Connection: x_tenant, X-Tenant", "X_Tenant: theirs", "X-Tenant: theirs"},
	} {
		answer := "HTTP/1.1 200 OK\r\n" + strings.NewReplacer("X-Tenant", "X-Frame-Options", "x-tenant", "x-frame-options", "X-TENANT", "X-FRAME-OPTIONS").Replace(strings.Join(named, "\r\n")) + "\r\nContent-Length: 4\r\n\r\nfine"
		for way, c := range panes(t, p, says(answer)) {
			for range 2 { // on a connection of the pool, too
				m := c.gets("/", named...)
				m.want(t, 200, "fine")
				if all := m.all("X-Frame-Options"); len(all) != 1 || all[0] != "DENY" {
					t.Errorf("%s, %q: the client got %q", way, named, m.raw)
				}
			}
			for _, got := range c.o.seen() {
				if all := got.all("X-Tenant"); len(all) != 1 || all[0] != "ours" || got.get("Cookie2") != "x" || got.has("X_Tenant") {
					t.Errorf("%s, %q: the origin got %q", way, named, got.raw)
				}
			}
		}
	}
	for way, c := range panes(t, p, func(o *originConn) {
		o.head()
		o.send(strings.Replace(switching, "Connection: ", "Connection: X-Frame-Options, ", 1))
		echo(o)
	}) {
		m := c.gets("/chat", "Connection: Upgrade, X-Tenant", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
		if got := c.o.seen()[0]; m.status() != 101 || m.get("X-Frame-Options") != "DENY" || got.get("X-Tenant") != "ours" {
			t.Errorf("%s: the client got %q, the origin %q", way, m.raw, got.raw)
		}
	}
}

func glassNominatedType(t *testing.T, _ *proxy) {
	p := startGlass(t, "filters:", `  - {name: up, deny: {request_type: [application/zip]}}`, `  - {name: down, deny: {answer_type: ["video/*"]}}`)
	for _, named := range []string{"Connection: Content-Type", "connection: keep-alive, CONTENT-TYPE"} {
		for _, c := range panes(t, p, says("HTTP/1.1 200 OK\r\n"+named+"\r\nContent-Type: video/mp4\r\nContent-Length: 6\r\n\r\nsecret")) {
			c.gets("/").wantDenied(t, "down")
			before := len(c.o.seen())
			c.asks("POST", "/", "HTTP/1.1", named, "Content-Type: application/zip", "Content-Length: 0").answer().wantDenied(t, "up")
			if len(c.o.seen()) != before {
				t.Errorf("%s: the origin got %q", named, c.o.bytes())
			}
			wantFields(t, c.line(p, 2), map[string]any{"decision": "deny", "rule": "up", "phase": "filter", "status": 403.0})
		}
		for way, c := range panes(t, p, says("HTTP/1.1 200 OK\r\n"+named+"\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nfine")) {
			m := c.gets("/", named, "Content-Type: text/plain")
			m.want(t, 200, "fine")
			if m.has("Content-Type") || c.o.seen()[0].has("Content-Type") {
				t.Errorf("%s: a named field went on: %q, %q", way, m.raw, c.o.seen()[0].raw)
			}
		}
	}
}

func glassByteranges(t *testing.T, _ *proxy) {
	p := startGlass(t, "filters:", `  - {name: movies, match: {path: [/media]}, deny: {answer_type: ["video/*"]}}`)
	body := "--x\r\nContent-Type: video/mp4\r\nContent-Range: bytes 0-0/2\r\n\r\na\r\n--x--\r\n"
	for _, kind := range []string{
		"multipart/byteranges; boundary=x", "Multipart/ByteRanges;boundary=x", "multipart/x-byteranges; boundary=x", "multipart/byteranges ;boundary=x",
		"text/plain, multipart/byteranges; boundary=x", "text/plain\r\nContent-Type: multipart/byteranges; boundary=x",
	} {
		for way, c := range panes(t, p, says(fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body))) {
			m := c.gets("/media", "Range: bytes=0-0,1-1")
			m.wantDenied(t, "movies")
			c.gets("/other").want(t, 206, body)
			if strings.Contains(m.body, "--x") {
				t.Errorf("%s, %q: got %q", way, kind, m.body)
			}
		}
	}
}

func glassPart(t *testing.T, _ *proxy) {
	p := startGlass(t, "filters:", `  - {name: large, deny: {answer_size: 1KiB}}`)
	const byLength, length = "Content-Length: 2\r\n\r\nok", "\r\nContent-Length: 2\r\n\r\nok"
	for fields, denied := range map[string]bool{
		"206 P\r\nContent-Range: bytes 0-1/9999999" + length:                                true,
		"206 P\r\nContent-Range: bytes 1023-1024/1025" + length:                             true,
		"206 P\r\nContent-Range: bytes 0-1/*" + length:                                      true,
		"206 P\r\nContent-Range: bytes 0-1/99999999999999999999" + length:                   true,
		"206 P\r\nContent-Range: bytes 0-1/10\r\nContent-Range: bytes 0-1/9999999" + length: true,
		"206 P\r\n" + byLength: true,
		"206 P\r\nContent-Range: bytes 0-1/9999999\r\nTransfer-Encoding: chunked\r\n\r\n" + "2\r\nok\r\n0\r\n\r\n": true,
		"206 P\r\nConnection: Content-Range\r\nContent-Range: bytes 0-1/9999999" + length:                          true,
		"206 P\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Range: bytes 0-1/10" + length:          true,
		"206 P\r\nContent-Range: bytes 0-1/1024" + length:                                                          false,
		"206 P\r\nContent-Range: bytes 0-1/2" + length:                                                             false,
		"200 OK\r\nContent-Range: bytes 0-1/9999999" + length:                                                      false, // it means nothing there
		"416 Range Not Satisfiable\r\nContent-Range: bytes */9999999" + length:                                     false,
	} {
		for way, c := range panes(t, p, says("HTTP/1.1 "+fields)) {
			m := c.gets("/", "Range: bytes=0-1")
			switch {
			case denied:
				m.wantDenied(t, "large")
			case m.body != "ok" || m.err != nil:
				t.Errorf("%s, %q: got %q %q, %v", way, fields, m.raw, m.body, m.err)
			}
		}
	}
	for _, c := range panes(t, p, says("HTTP/1.1 206 P\r\nContent-Range: bytes 0-1/9999999\r\nContent-Length: 2\r\n\r\n")) {
		if m := c.asks("HEAD", "/", "HTTP/1.1").answerTo("HEAD"); m.status() != 206 {
			t.Errorf("HEAD: got %q", m.raw)
		}
	}
}

func glassFirstRead(t *testing.T, _ *proxy) {
	p := startGlass(t, "filters:", `  - {name: large, deny: {answer_size: 3B}}`)
	for what, answer := range map[string]string{
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"many chunks":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked("hello", 1) + "0\r\n\r\n",
		"an endless one":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"until the end":   "HTTP/1.1 200 OK\r\n\r\nhello",
		"a larger packet": "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("a", 4000),
	} {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			for way, c := range panes(t, p, func(o *originConn) {
				if o.request() != nil {
					o.send(answer)
					if what != "until the end" {
						o.drain()
					}
				}
			}) {
				m := c.asks("GET", "/", version).answer()
				m.wantDenied(t, "large")
				if strings.Contains(m.raw+m.body, "hello") || strings.Contains(m.body, "aaa") {
					t.Errorf("%s, %s: got %q", what, way, m.body)
				}
				wantFields(t, c.line(p, 1), map[string]any{"decision": "deny", "rule": "large", "phase": "filter", "status": 403.0, "fault": "http_request_denied"})
				poll(t, "the origin's side is closed", func() bool { return c.o.open() == 0 })
				if !strings.EqualFold(m.get("Connection"), "close") && version == "HTTP/1.1" {
					c.gets("/").wantDenied(t, "large")
				}
			}
		}
	}
	for _, c := range panes(t, p, saysAndCloses("HTTP/1.1 200 OK\r\n\r\nyes")) {
		c.gets("/").want(t, 200, "yes")
	}
}

func glassTruncated(t *testing.T, _ *proxy) {
	p := startGlass(t, "filters:", `  - {match: {path: [/library]}, answer: {set: ["X-Edited: yes"]}}`)
	large := strings.Repeat("a", 300_000)
	for _, body := range []string{"hello", "", large} {
		for _, path := range []string{"/fast", "/library"} {
			for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
				cut, o := inside(t, p, func(o *originConn) {
					o.request()
					o.send("HTTP/1.1 200 OK\r\n\r\n" + body)
					pause(20 * time.Millisecond) // what was sent should be on its way
					o.Conn.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite()
					o.drain()
				})
				m := cut.ask("GET "+path+" "+version, "Host: a.test:{P}").answer()
				if m.status() != 502 && m.err == nil {
					t.Errorf("%s, %s, %d bytes: %q looks whole", path, version, len(body), m.raw)
				}
				if timed(m.err) {
					t.Errorf("%s, %s, %d bytes: %v", path, version, len(body), m.err)
				}
				wantFields(t, p.of(t, "https://a.test:"+o.port, 1)[0], map[string]any{"fault": "http_response_incomplete"})
				poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })

				whole, o := inside(t, p, saysAndCloses("HTTP/1.1 200 OK\r\n\r\n"+body))
				whole.ask("GET "+path+" "+version, "Host: a.test:{P}").answer().want(t, 200, body)
				wantFields(t, p.of(t, "https://a.test:"+o.port, 1)[0], map[string]any{"fault": nil, "status": 200.0})
			}
		}
	}
}

// atRest waits until nothing is counted as open any more.
func (p *proxy) atRest(t testing.TB) {
	t.Helper()
	for _, gauge := range []string{"viaduct_client_connections", "viaduct_tunnels"} {
		poll(t, "no "+gauge, func() bool { return p.metric(t, gauge+`{listener="127.0.0.1:0"}`) == 0 })
	}
	if n := p.metric(t, "viaduct_panics_total"); n != 0 {
		t.Errorf("%v panics:\n%s", n, p.log())
	}
}

// doorsOfTLS are ways to where a proxy expects a ClientHello, each time anew: at
// its listener, and inside a tunnel that is opened.
func doorsOfTLS(t testing.TB, more ...string) map[*proxy]func() *client {
	t.Helper()
	g := &gate{issuer: authority(t, "proxies of the tests"), dir: t.TempDir()}
	g.renew(t, "proxy.test")
	const admin = "admin: {listen: 127.0.0.1:0}\n"
	g.proxy = launch{conf: admin + g.text("", more...)}.start(t)
	s := newNames(t, always("127.0.0.1"))
	p := launch{conf: admin + glassText(t, everything, append(more, `resolver: ["`+s.addr+`"]`)...)}.start(t)
	return map[*proxy]func() *client{
		g.proxy: func() *client { return dial(t, g.proxy) },
		p:       func() *client { return dial(t, p).tunnel("a.test:443") },
	}
}

func glassAlert(t *testing.T, _ *proxy) {
	good := hello(t, "a.test")
	bad := good[:5] + "\x02" + good[6:] // a ServerHello
	for p, enter := range doorsOfTLS(t, "max_conns: 1") {
		for range 3 {
			c := enter()
			c.try(bad + strings.Repeat("x", 60_000))
			rest, err := c.rest()
			if !strings.HasPrefix(rest, "\x15\x03") || len(rest) != 7 || err != nil {
				t.Errorf("the client reads %q, %v, want an alert and the end", clip(rest), err)
			}
			p.atRest(t) // although the client does not leave
		}
		c := enter().send(bad)
		junk, sent := strings.Repeat("x", 64<<10), 0
		for sent < 32<<20 && c.try(junk) == nil {
			sent += len(junk)
		}
		if sent >= 32<<20 {
			t.Errorf("%d MiB were read behind a handshake that has failed", sent>>20)
		}
		p.atRest(t)
	}
}

func glassPlainBytes(t *testing.T, _ *proxy) {
	for p, enter := range doorsOfTLS(t) {
		for n, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT a.test:443 HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n"} {
			c := enter().send(hello(t, "a.test"))
			if n%2 == 0 { // before our part of the handshake, or behind it
				if _, err := c.hurry().in.Peek(1); err != nil {
					t.Fatal(err)
				}
			}
			c.try(text)
			if rest, err := c.rest(); strings.Contains(rest, "HTTP/1.1") || timed(err) {
				t.Errorf("%q: the client reads %q, %v", text, clip(rest), err)
			}
		}
		p.atRest(t)
	}
}

// rekeying speaks TLS 1.3 on behind a handshake, as clients of crypto/tls never do:
// it asks for new keys (RFC 8446 sections 4.6.3, 5.2 and 7).
type rekeying struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func (r *rekeying) expand(label string, size int) []byte {
	label = "tls13 " + label
	info := string(binary.BigEndian.AppendUint16(nil, uint16(size))) + string(rune(len(label))) + label + "\x00"
	out, err := hkdf.Expand(sha256.New, r.secret, info, size)
	if err != nil {
		panic(err)
	}
	return out
}

// use goes on with the keys of a secret.
func (r *rekeying) use(secret []byte) {
	r.secret, r.seq = secret, 0
	block, err := aes.NewCipher(r.expand("key", 16))
	if err == nil {
		r.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		panic(err)
	}
	r.iv = r.expand("iv", r.aead.NonceSize())
}

// seal adds a record to b.
func (r *rekeying) seal(b []byte, kind byte, content string) []byte {
	nonce := append([]byte(nil), r.iv...)
	for i, c := range binary.BigEndian.AppendUint64(nil, r.seq) {
		nonce[4+i] ^= c
	}
	r.seq++
	head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(content)+1+r.aead.Overhead()))
	return r.aead.Seal(append(b, head...), nonce, append([]byte(content), kind), head)
}

// update adds a KeyUpdate that asks for one of the other side.
func (r *rekeying) update(b []byte) []byte {
	b = r.seal(b, 22, "\x18\x00\x00\x01\x01")
	r.use(r.expand("traffic upd", sha256.Size))
	return b
}

func glassKeyUpdates(t *testing.T, _ *proxy) {
	for p, enter := range doorsOfTLS(t, "header_timeout: 6s") { // time to fill what lies between
		c := enter()
		under := c.conn.(*net.TCPConn)
		var secrets strings.Builder
		if err := c.greet(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: &secrets}); err != nil {
			t.Fatal(err)
		}
		if suite := c.shown().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
			t.Skipf("the cipher is %s", tls.CipherSuiteName(suite))
		}
		_, line, _ := strings.Cut(secrets.String(), "CLIENT_TRAFFIC_SECRET_0 ")
		secret, err := hex.DecodeString(strings.Fields(line)[1])
		if err != nil {
			t.Fatal(err)
		}
		r := new(rekeying)
		r.use(secret)
		began := time.Now()
		go r.flood(under)
		p.atRest(t)
		if time.Since(began) < time.Second {
			t.Error("it was gone at once: the records are not right")
		}
		under.Close()
	}
}

// flood drips a head, with as many updates between as are taken, until it cannot.
func (r *rekeying) flood(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(2 * patience))
	b := r.seal(nil, 23, "GET http://a.test/ HTTP/1.1\r\nHost: x\r\nX-Long: ")
	for {
		if _, err := conn.Write(b); err != nil {
			return
		}
		b = r.seal(b[:0], 23, "a")
		for range 12 { // more without a byte of data are too many
			b = r.update(b)
		}
	}
}

func glassAuthorityGone(t *testing.T, _ *proxy) {
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	names := newNames(t, always("127.0.0.1"))
	for _, mode := range []string{"recheck", "keep"} {
		people, file := clientCA(t)
		others, other := clientCA(t)
		more := []string{"ca: " + s.dir, "origin_ca: " + s.origins, "inspect: [{name: opened, decrypt: {host: [.test]}}]", `resolver: ["` + names.addr + `"]`, "reload_tunnels: " + mode}
		g := newGate(t, ", client_ca: "+file, more...)
		web, opened, far := newOrigin(t, says(ok("fine"))), newSecure(t, says(ok("fine"))), newOrigin(t, echo)
		ann := g.showing(people.signs(t, person("ann")))
		to := func(o *origin, conf *tls.Config) *client {
			c := g.dial(t, conf)
			c.fill = o.places
			return c
		}
		get := func(c *client) *message { return c.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer() }
		kept, in, blind := to(web, ann), to(opened, ann), to(far, ann)
		get(kept).want(t, 200, "fine")
		in.tunnel("a.test:{P}").greets(t, "a.test")
		in.gets("/").want(t, 200, "fine")
		blind.tunnel("{O}").send("ping").read("ping")

		g.reload(t, g.text(", client_ca: "+other, more...))
		get(kept).wantDenied(t, "auth")
		in.gets("/").wantDenied(t, "auth")
		wantFields(t, g.of(t, "https://a.test:"+opened.port, 2)[1], map[string]any{"decision": "deny", "rule": "auth", "phase": "auth", "status": 403.0})
		if len(web.seen()) != 1 || len(opened.seen()) != 1 {
			t.Errorf("%s: the origins got %q, %q", mode, web.bytes(), opened.bytes())
		}
		if mode == "recheck" {
			if rest, err := blind.rest(); rest != "" || timed(err) {
				t.Errorf("the tunnel ends with %q, %v", rest, err)
			}
			poll(t, "the origin's side is closed", func() bool { return far.open() == 0 })
			wantFields(t, g.lineOf(t, far.addr), map[string]any{"ended_by": "proxy", "user": "ann"})
		} else {
			blind.send("ping").read("ping")
		}
		get(to(web, g.showing(others.signs(t, person("ben"))))).want(t, 200, "fine")
		turnedAway(t, "the old authority", g.proxy, ann, web)
	}
}

func glassCertificateEnds(t *testing.T, _ *proxy) {
	people, file := clientCA(t)
	g := newGate(t, ", client_ca: "+file)
	short := person("ann")
	short.NotAfter = time.Now().Add(8 * time.Second)
	o := newOrigin(t, says(ok("fine")))
	c := g.dial(t, g.showing(people.signs(t, short)))
	c.fill = o.places
	get := func() *message { return c.ask("GET http://{O}/ HTTP/1.1", "Host: x").answer() }
	get().want(t, 200, "fine")
	var m *message
	poll(t, "the end of the certificate", func() bool { m = get(); return m.status() != 200 })
	m.wantDenied(t, "auth")
	if time.Now().Before(short.NotAfter.Truncate(time.Second)) {
		t.Error("it was refused before its certificate ended")
	}
}

func glassRecheck(t *testing.T, _ *proxy) {
	s := newNames(t, always("127.0.0.1"))
	for _, mode := range []string{"recheck", "keep"} {
		text := func(inspect string) string {
			return glassText(t, inspect, `resolver: ["`+s.addr+`"]`, "reload_tunnels: "+mode)
		}
		const some = "[{name: opened, decrypt: {host: [.test]}}]"
		ports := strings.Replace(text(some), "connect_ports: any", "connect_ports: [1]", 1)
		passed := text("[{name: passes, pass: {host: [a.test]}}, {name: opened, decrypt: {host: [.test]}}]")
		for what, turn := range map[string]struct {
			text   string
			refuse func(*message)
			line   map[string]any
		}{
			"port":   {ports, func(m *message) { m.wantDenied(t, "connect_ports") }, map[string]any{"decision": "deny", "rule": "connect_ports", "phase": "port", "status": 403.0, "inspect": "opened"}},
			"passed": {passed, func(m *message) { m.wantOwn(t, 421) }, map[string]any{"status": 421.0, "inspect": "opened", "fault": "http_request_error"}},
		} {
			p := launch{conf: text(some)}.start(t)
			c, o := inside(t, p, says(ok("fine")))
			idle := look(t, p, "a.test", o)
			c.gets("/").want(t, 200, "fine")
			p.reload(t, turn.text)
			if mode == "keep" {
				c.gets("/").want(t, 200, "fine")
				idle.gets("/").want(t, 200, "fine")
				continue
			}
			for n, in := range []*client{c, idle} {
				turn.refuse(in.gets("/late"))
				in.ends()
				wantFields(t, p.of(t, "https://a.test:"+o.port+"/late", n+1)[n], turn.line)
			}
			if len(o.seen()) != 1 {
				t.Errorf("%s: the origin got %q", what, o.bytes())
			}
		}

		p := launch{conf: text(some)}.start(t)
		far := newOrigin(t, echo)
		blind := map[string]*client{}
		for _, host := range []string{"b.example", "c.example"} {
			blind[host] = dial(t, p)
			blind[host].fill = far.places
			blind[host].tunnel(host + ":{P}").send("ping").read("ping")
		}
		p.reload(t, text("[{name: opened, decrypt: {host: [.test, b.example]}}]"))
		if mode == "recheck" {
			if rest, err := blind["b.example"].rest(); rest != "" || timed(err) {
				t.Errorf("the tunnel ends with %q, %v", rest, err)
			}
			wantFields(t, p.lineOf(t, "b.example"), map[string]any{"ended_by": "proxy", "inspect": nil})
			delete(blind, "b.example")
		}
		for _, c := range blind {
			c.send("ping").read("ping")
		}
	}
}

func glassMisdirected(t *testing.T, _ *proxy) {
	p := startGlass(t)
	c, o := inside(t, p, says(ok("fine")))
	for _, turn := range []struct{ target, host, want string }{
		{"/x?q=sesame", "b.test:{P}", "https://b.test:{P}/x"},
		{"/y", "b.test", "https://b.test/y"},
		{"/z", "a.test", "https://a.test/z"},
		{"https://B.test:{P}/v?q=sesame", "a.test:{P}", "https://b.test:{P}/v"},
		{"/w", "[2001:DB8::1]:{P}", "https://[2001:db8::1]:{P}/w"},
	} {
		c.ask("GET "+turn.target+" HTTP/1.1", "Host: "+turn.host).answer().wantOwn(t, 421)
		wantFields(t, p.of(t, o.places(turn.want), 1)[0], map[string]any{"status": 421.0, "method": "GET", "inspect": "opened", "target": o.places(turn.want)})
	}
	c.gets("/").want(t, 200, "fine")
	if strings.Contains(p.accessLog(t), "sesame") {
		t.Error("a query stands in the log")
	}
}
