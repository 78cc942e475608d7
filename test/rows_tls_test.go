package test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var tlsRows = []row{
	{"product-2/tls-requests", "–", "An https:// listener serves GET, HEAD, POST, pipelined and kept alive, and CONNECT; a plain listener stands beside it in the same proxy.", own, tlsRequests},
	{"9110-9.3.6/tls-client-half-closes", "T49", "A client of an https:// listener ends its side of a tunnel after it has sent all: the origin sees the end, and its later answer arrives complete.", own, tlsClientHalfCloses},
	{"9110-9.3.6/tls-origin-half-closes", "T49", "The origin of such a tunnel ends its side: the client reads an orderly end, and what it sends later still arrives.", own, tlsOriginHalfCloses},
	{"9110-9.3.6/tls-resets", "T51", "A reset on either side of such a tunnel is no orderly end on the other, and both sides are freed.", own, tlsResets},
	{"9112-8/tls-cut-answers", "T28, T29", "An answer that breaks off, by length, within chunks or for an HTTP/1.0 client, ends without the end of TLS.", own, tlsCutAnswers},
	{"9110-9.3.6/tls-early-bytes", "T48", "What comes behind a CONNECT, in the same record, is the first that the origin reads.", own, tlsEarlyBytes},
	{"9110-9.3.6/tls-bulk", "T49", "8 MiB each way at once through such a tunnel arrive unchanged.", own, tlsBulk},
	{"6066-3/tls-by-name", "–", "Each client gets the certificate for the name that it asks for; the first one where none fits and where it asks for none.", own, tlsByName},
	{"product-2/tls-renewed", "T69", "A certificate that is written anew, certificate first and key later, is shown to new connections; no connection is lost, and a pair that does not match is not taken.", own, tlsRenewed},
	{"product-2/tls-client-certificate", "–", "A client certificate of --tls-client-ca names the user: in the log, for rules by user and group, and without a password.", own, tlsPerson},
	{"product-2/tls-no-client-certificate", "–", "With --tls-client-ca and no certificate: 403 by rule auth, and 407 where there are users; a password lets in there.", own, tlsNobody},
	{"product-2/tls-foreign-certificate", "–", "A client certificate of another authority, or one that has ended: the handshake fails, and nothing is served.", own, tlsForeign},
	{"8446-4.1.2/tls-versions", "–", "TLS 1.2 and 1.3 are served, TLS 1.1 is refused with an alert.", own, tlsVersions},
	{"8446-2.2/tls-resumption", "–", "A session is resumed, after a reload too, and is still its user's; not when its authority has gone.", own, tlsResumption},
	{"product-2/tls-plain-request", "–", "A plain request to the TLS port: 400 that a person can read, and closed.", own, tlsPlainRequest},
	{"product-2/tls-to-plain-port", "–", "A ClientHello to the plain port: closed soon, without a word that is not HTTP.", own, tlsToPlainPort},
	{"product-2/tls-slow-handshake", "T67", "A handshake that stops, or drips, is cut at --header-timeout; a connection that says nothing, too.", own, tlsSlow},
	{"product-2/tls-idle", "–", "Hundreds of idle TLS connections hold little memory, are served when they speak up, and leave no descriptor.", own, tlsIdle},
	{"product-2/tls-vanished", "–", "Clients that leave at any point of the handshake leave no descriptor, and others are served.", own, tlsVanished},
	{"product-8/tls-drain", "T70", "SIGTERM: idle TLS connections end in order, an exchange ends whole, a tunnel is waited for; exit 0.", own, tlsDrain},
	{"product-2/tls-turned-away", "T71", "One client more than --max-conns: the connection is closed, and not a plain word is said into the handshake; the place is given back.", own, tlsTurnedAway},
	{"product-2/tls-misspelt", "–", "An https:// listener without a certificate, a key of another certificate, a file that is none, a client_ca without TLS: no start, and a sentence that says what to do.", own, tlsMisspelt},
	{"product-6/tls-metrics", "–", "Handshakes are counted, with their result, and the end of each certificate is a metric.", own, tlsMetrics},
}

// gate is a proxy that speaks TLS to its clients, by names of its authority.
type gate struct {
	*proxy
	issuer *issuer
	dir    string // of site.crt and site.key
}

// text is a lenient proxy with one TLS listener.
func (g *gate) text(tls string, more ...string) string {
	site := filepath.Join(g.dir, "site")
	lines := append([]string{fmt.Sprintf("tls: {cert: %s.crt, key: %s.key%s}", site, site, tls)}, more...)
	return strings.Replace(conf(lines...), "[127.0.0.1:0]", `["https://127.0.0.1:0"]`, 1)
}

// newGate starts one with more of tls: and of its proxy.
func newGate(t *testing.T, tls string, more ...string) *gate {
	t.Helper()
	g := &gate{issuer: authority(t, "proxies of the tests"), dir: t.TempDir()}
	g.renew(t, "127.0.0.1", "proxy.test")
	g.proxy = launch{conf: g.text(tls, more...)}.start(t)
	return g
}

// renew writes a new certificate for names, and its key.
func (g *gate) renew(t testing.TB, names ...string) *tls.Certificate {
	t.Helper()
	c := g.issuer.signs(t, named(names...))
	if err := savePair(c, filepath.Join(g.dir, "site.crt"), filepath.Join(g.dir, "site.key")); err != nil {
		t.Fatal(err)
	}
	return c
}

// trusting is how a client speaks TLS to the gate.
func (g *gate) trusting() *tls.Config {
	return &tls.Config{ServerName: "proxy.test", RootCAs: g.issuer.pool()}
}

// dial is a client behind the handshake.
func (g *gate) dial(t testing.TB, conf *tls.Config) *client {
	t.Helper()
	c := dial(t, g.proxy)
	if err := c.greet(conf); err != nil {
		t.Fatal(err)
	}
	return c
}

// stage is a client behind the handshake, and an origin.
func (g *gate) stage(t testing.TB, script func(*originConn)) (*client, *origin) {
	t.Helper()
	o := newOrigin(t, script)
	c := g.dial(t, g.trusting())
	c.fill = o.places
	return c, o
}

// shown is what the handshake has come to.
func (c *client) shown() *tls.ConnectionState {
	s := c.conn.(*tls.Conn).ConnectionState()
	return &s
}

func tlsRequests(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	text := strings.Replace(g.text(""), `["https://127.0.0.1:0"]`, `["https://127.0.0.1:0", "127.0.0.2:0"]`, 1)
	c, o := g.stage(t, serve(func(r *message) string {
		if r.method() == "HEAD" {
			return "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
		}
		return ok(r.method() + r.target() + r.body)
	}))
	c.ask("GET http://{O}/a HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/a")
	if m := c.ask("HEAD http://{O}/ HTTP/1.1", "Host: {O}").answerTo("HEAD"); m.status() != 200 {
		t.Errorf("HEAD: %q", m.raw)
	}
	c.send("POST http://{O}/b HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhelloPOST http://{O}/c HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n" + whole)
	c.answer().want(t, 200, "POST/bhello")
	c.answer().want(t, 200, "POST/chello")
	for n := range 50 { // byte by byte, a record each
		if request := o.places(lines("GET http://{O}/d HTTP/1.1", "Host: {O}")); n < len(request) {
			c.send(request[n : n+1])
		}
	}
	c.send(o.places(lines("GET http://{O}/d HTTP/1.1", "Host: {O}"))[50:]).answer().want(t, 200, "GET/d")
	c.ask("GET http://{O}/e HTTP/1.1", "Host: {O}", "Connection: close").answer().want(t, 200, "GET/e")
	c.endsOrderly()
	tunnel, _ := g.stage(t, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	g.reload(t, text)
	poll(t, "a plain listener", func() bool { return len(g.listeners()) == 2 })
	plain := dial(t, g.at(g.listeners()[1]))
	plain.fill = o.places
	plain.ask("GET http://{O}/f HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/f")
	tunnel.send("ping").read("ping")
	if line := g.lines(t, 6)[0]; line["status"] != 200.0 || line["target"] != "http://"+o.addr+"/a" {
		t.Errorf("the log says %v", line)
	}
}

func tlsClientHalfCloses(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, size := range []int{0, 1, 300_000} {
			answer := string(stuff(3, 1<<20))
			o := newOrigin(t, func(o *originConn) {
				all, err := io.ReadAll(o.in)
				if err != nil || len(all) != size {
					return
				}
				pause(50 * time.Millisecond) // the answer comes later
				o.send(answer)
			})
			conf := g.trusting()
			conf.MinVersion, conf.MaxVersion = version, version
			c := g.dial(t, conf)
			c.fill = o.places
			c.tunnel("{O}").send(strings.Repeat("u", size))
			c.closeWrite()
			if rest, err := c.rest(); rest != answer || err != nil {
				t.Errorf("TLS %x, %d bytes up: %d bytes came back, %v", version, size, len(rest), err)
			}
		}
	}
}

func tlsOriginHalfCloses(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	got := make(chan string, 1)
	c, _ := g.stage(t, func(o *originConn) {
		o.send("bye")
		o.closeWrite()
		all, err := io.ReadAll(o.in)
		got <- fmt.Sprint(string(all), err)
	})
	if rest, err := c.tunnel("{O}").rest(); rest != "bye" || err != nil {
		t.Fatalf("the client read %q, %v, want an orderly end", rest, err)
	}
	late := strings.Repeat("later ", 100_000)
	c.send(late[:600])
	pause(50 * time.Millisecond) // a client that has more to say after a while
	c.send(late[600:])
	c.closeWrite()
	if all := receive(t, "what the origin got", got); all != late+"<nil>" {
		t.Errorf("the origin got %q", clip(all))
	}
}

func tlsResets(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	c, o := g.stage(t, func(o *originConn) {
		o.in.Discard(4)
		reset(o)
	})
	if rest, err := c.tunnel("{O}").send("ping").rest(); rest != "" || err == nil || timed(err) {
		t.Errorf("the origin resets, and the client reads %q, %v", rest, err)
	}
	end := make(chan error, 1)
	c, p := g.stage(t, func(o *originConn) {
		o.in.Discard(4)
		o.send("pong")
		end <- o.drain()
	})
	c.tunnel("{O}").send("ping").read("pong")
	reset(c.conn)
	if err := receive(t, "the end at the origin", end); err == nil {
		t.Error("the client resets, and the origin sees an orderly end")
	}
	poll(t, "the origins are closed", func() bool { return o.open()+p.open() == 0 })
}

func tlsCutAnswers(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			c, _ := g.stage(t, func(o *originConn) {
				o.request()
				o.send(answer)
			})
			m, err := readAnswer(c.ask("GET http://{O}/ "+version, "Host: x").hurry().in, "GET")
			if err == nil && m.err == nil || timed(err) {
				t.Errorf("%s, %q: got %q with %q, which looks whole", version, answer, m.raw, m.body)
			}
			if rest, err := c.rest(); rest != "" || err == nil && version == "HTTP/1.0" && !m.has("Content-Length") {
				t.Errorf("%s, %q: the connection ends with %q, %v", version, answer, rest, err)
			}
		}
	}
	whole, _ := g.stage(t, saysAndCloses("HTTP/1.1 200 OK\r\n\r\nhello"))
	whole.ask("GET http://{O}/ HTTP/1.0", "Host: x").answer().want(t, 200, "hello")
	whole.endsOrderly()
}

func tlsEarlyBytes(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	for _, early := range []string{"x", hello(t, "a.test"), string(stuff(1, 100_000))} {
		c, o := g.stage(t, echo)
		if m := c.send(lines("CONNECT {O} HTTP/1.1", "Host: {O}") + early).answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
		c.read(early)
		c.send("more").read("more")
		o.arrives(t, "what was early", early+"more")
	}
	c, o := g.stage(t, echo)
	c.send(lines("CONNECT "+refusing(t)+" HTTP/1.1", "Host: x") + lines("GET http://{O}/ HTTP/1.1", "Host: {O}"))
	m := c.answerTo("CONNECT")
	m.wantOwn(t, 502, "connection_refused")
	c.endsOrderly()
	if o.dials() != 0 {
		t.Error("what came behind a refused CONNECT was read as a request")
	}
}

func tlsBulk(t *testing.T, _ *proxy) {
	const size = 8 << 20
	g := newGate(t, "")
	up, down := stuff(1, size), stuff(2, size)
	got := make(chan [sha256.Size]byte, 1)
	c, _ := g.stage(t, func(o *originConn) {
		go o.Conn.Write(down)
		all := make([]byte, size)
		io.ReadFull(o.in, all)
		got <- sha256.Sum256(all)
		o.drain()
	})
	c.tunnel("{O}").hurry()
	go c.conn.Write(up)
	all := make([]byte, size)
	if _, err := io.ReadFull(c.in, all); err != nil || !bytes.Equal(all, down) {
		t.Errorf("the client did not get what was sent: %v", err)
	}
	if receive(t, "all bytes", got) != sha256.Sum256(up) {
		t.Error("the origin did not get what was sent")
	}
}

func tlsByName(t *testing.T, _ *proxy) {
	g := &gate{issuer: authority(t, "proxies of the tests"), dir: t.TempDir()}
	for n, names := range [][]string{{"127.0.0.1", "first.test"}, {"second.test", "*.second.test"}, {"third.test"}} {
		c := g.issuer.signs(t, named(names...))
		if err := savePair(c, filepath.Join(g.dir, fmt.Sprint(n, ".crt")), filepath.Join(g.dir, fmt.Sprint(n, ".key"))); err != nil {
			t.Fatal(err)
		}
		cert, key, err := pemPair(c)
		if err == nil {
			err = os.WriteFile(filepath.Join(g.dir, fmt.Sprint(n, ".pem")), append(cert, key...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(kind string) string {
		return fmt.Sprintf("[%s/0.%s, %s/1.%s, %s/2.%s]", g.dir, kind, g.dir, kind, g.dir, kind)
	}
	for _, tls := range []string{"tls: {cert: " + at("crt") + ", key: " + at("key") + "}", "tls: {cert: " + at("pem") + "}"} {
		g.proxy = launch{conf: strings.Replace(conf(tls), "[127.0.0.1:0]", `["https://127.0.0.1:0"]`, 1)}.start(t)
		for name, want := range map[string]string{
			"first.test": "first.test", "second.test": "second.test", "www.second.test": "second.test", "THIRD.test": "third.test",
			"unknown.test": "first.test", "": "first.test", "127.0.0.1": "first.test",
		} {
			conf := g.trusting()
			conf.ServerName, conf.InsecureSkipVerify = name, true
			c := g.dial(t, conf)
			if got := c.shown().PeerCertificates[0]; got.VerifyHostname(want) != nil || got.CheckSignatureFrom(g.issuer.cert) != nil {
				t.Errorf("%q: the certificate is for %q %v", name, got.DNSNames, got.IPAddresses)
			}
		}
	}
}

// leaf is the number of the certificate that a new client is shown.
func (g *gate) leaf(t testing.TB) string {
	t.Helper()
	c := g.dial(t, g.trusting())
	defer c.conn.Close()
	return c.shown().PeerCertificates[0].SerialNumber.String()
}

func tlsRenewed(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	c, _ := g.stage(t, says(ok("fine")))
	get := func() { t.Helper(); c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine") }
	get()
	tunnel, _ := g.stage(t, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	before := g.leaf(t)

	fresh := g.issuer.signs(t, named("127.0.0.1", "proxy.test"))
	cert, key, err := pemPair(fresh)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, filepath.Join(g.dir, "site.crt"), string(cert))
	for range 20 { // until the key has come, the pair of before is shown
		if got := g.leaf(t); got != before {
			t.Fatalf("certificate %s is shown without its key", got)
		}
		pause(100 * time.Millisecond) // an operator's second file comes later
	}
	replaceFile(t, filepath.Join(g.dir, "site.key"), string(key))
	poll(t, "the new certificate is shown", func() bool { return g.leaf(t) != before })
	get()
	tunnel.send("ping").read("ping")

	now := g.leaf(t)
	replaceFile(t, filepath.Join(g.dir, "site.crt"), "nonsense")
	g.signal(t, syscall.SIGHUP)
	poll(t, "the mistake is told", func() bool { return g.says(notTaken) > 0 && strings.Contains(g.log(), "site.crt") })
	if got := g.leaf(t); got != now {
		t.Errorf("certificate %s is shown, want %s", got, now)
	}
	get()
	g.renew(t, "127.0.0.1", "proxy.test")
	g.reload(t, g.text(""))
	if g.leaf(t) == now {
		t.Error("SIGHUP did not take the new certificate")
	}
	get()
	tunnel.send("ping").read("ping")
	if strings.Contains(g.log()+g.accessLog(t), "PRIVATE KEY") {
		t.Error("a key stands in a log")
	}
}

// clientCA is an authority of clients, and the file with it.
func clientCA(t testing.TB) (*issuer, string) {
	t.Helper()
	i := authority(t, "clients of the tests")
	file := filepath.Join(t.TempDir(), "clients.crt")
	replaceFile(t, file, string(i.pem()))
	return i, file
}

// showing is trusting with a client certificate.
func (g *gate) showing(c *tls.Certificate) *tls.Config {
	conf := g.trusting()
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
	return conf
}

func tlsPerson(t *testing.T, _ *proxy) {
	people, file := clientCA(t)
	s := newNames(t, always("127.0.0.1"))
	g := newGate(t, ", client_ca: "+file, `resolver: ["`+s.addr+`"]`, "rules:",
		"  - {name: ann, allow: {user: [ann], host: [ann.test]}}", "  - {name: ops, allow: {group: [ops], host: [ops.test]}}")
	o := newOrigin(t, says(ok("fine")))
	for n, turn := range []struct {
		who    *tls.Certificate
		user   string
		host   string
		status int
		rule   string
	}{
		{people.signs(t, person("ann")), "ann", "ann.test", 200, "ann"},
		{people.signs(t, person("ann")), "ann", "ops.test", 403, "default"},
		{people.signs(t, person("ben", "ops", "ci")), "ben", "ops.test", 200, "ops"},
		{people.signs(t, person("ben", "ops")), "ben", "ann.test", 403, "default"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			conf := g.showing(turn.who)
			conf.MaxVersion = version
			c := g.dial(t, conf)
			// credentials that nobody asked for change nothing, and go nowhere
			m := c.ask("GET http://"+turn.host+":"+o.port+"/ HTTP/1.1", "Host: x", basic("mallory", "let me in")).answer()
			if m.status() != turn.status {
				t.Errorf("%s to %s: got %q %q", turn.user, turn.host, m.raw, m.body)
			}
			at := 2 * n
			if version == tls.VersionTLS13 {
				at++
			}
			wantFields(t, g.lines(t, at+1)[at], map[string]any{"user": turn.user, "rule": turn.rule, "status": float64(turn.status)})
		}
	}
	for _, r := range o.seen() {
		r.without(t, "Proxy-Authorization")
	}
	far := newOrigin(t, echo)
	c := g.dial(t, g.showing(people.signs(t, person("ann"))))
	c.tunnel("ann.test:" + far.port).send("ping").read("ping")
	c.conn.Close()
	wantFields(t, g.lineOf(t, "ann.test:"+far.port), map[string]any{"user": "ann", "rule": "ann"})
}

func tlsNobody(t *testing.T, _ *proxy) {
	people, file := clientCA(t)
	g := newGate(t, ", client_ca: "+file)
	c, o := g.stage(t, says(ok("fine")))
	m := c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer()
	m.wantDenied(t, "auth")
	if !strings.Contains(m.body, "This proxy asks for a client certificate.") {
		t.Errorf("the text is %q", m.body)
	}
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", alice).answer().wantDenied(t, "auth")
	c.ask("CONNECT {O} HTTP/1.1", "Host: {O}").answerTo("CONNECT").wantDenied(t, "auth")
	c.endsOrderly()
	wantFields(t, g.lines(t, 1)[0], map[string]any{"rule": "auth", "decision": "deny", "status": 403.0, "user": nil})
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}

	users := saved(t, hashed(t, "alice", "open sesame"))
	g = newGate(t, ", client_ca: "+file, "users: "+users)
	c, o = g.stage(t, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().wantChallenge(t)
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", guess).answer().wantChallenge(t)
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", alice).answer().want(t, 200, "fine")
	wantFields(t, g.lines(t, 3)[2], map[string]any{"user": "alice"})
	c = g.dial(t, g.showing(people.signs(t, person("ann"))))
	c.fill = o.places
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	wantFields(t, g.lines(t, 4)[3], map[string]any{"user": "ann"})
}

func tlsForeign(t *testing.T, _ *proxy) {
	people, file := clientCA(t)
	g := newGate(t, ", client_ca: "+file)
	late := person("ann")
	late.NotBefore, late.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	server := named("ann.test") // for servers, not for clients
	self := authority(t, "ann").cert
	o := newOrigin(t, says(ok("fine")))
	for what, c := range map[string]*tls.Certificate{
		"another authority": authority(t, "clients of the tests").signs(t, person("ann")), // of the same name
		"ended":             people.signs(t, late),
		"of a server":       people.signs(t, server),
		"of the proxy's":    g.issuer.signs(t, person("ann")),
		"no chain at all":   {Certificate: [][]byte{self.Raw}, PrivateKey: people.key}, // with a key of others
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			conf := g.showing(c)
			conf.MaxVersion = version
			turnedAway(t, what, g.proxy, conf, o)
		}
	}
	good := g.dial(t, g.showing(people.signs(t, person("ann"))))
	good.fill = o.places
	good.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
}

// turnedAway wants a handshake to fail, at the latest when the client reads
// (in TLS 1.3 a server refuses after the client is done), and no request served.
func turnedAway(t testing.TB, what string, p *proxy, conf *tls.Config, o *origin) {
	t.Helper()
	before := len(o.seen())
	c := dial(t, p)
	err := c.greet(conf)
	if err == nil {
		c.fill = o.places
		c.try(lines("GET http://{O}/ HTTP/1.1", "Host: {O}"))
		var rest string
		if rest, err = c.rest(); rest != "" {
			t.Errorf("%s: the client reads %q", what, clip(rest))
		}
	}
	if err == nil || timed(err) {
		t.Errorf("%s: the handshake ends with %v", what, err)
	}
	if len(o.seen()) != before {
		t.Errorf("%s: a request was served", what)
	}
}

func tlsVersions(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	o := newOrigin(t, says(ok("fine")))
	for version, served := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conf := g.trusting()
		conf.MinVersion, conf.MaxVersion = version, version
		c := dial(t, g.proxy)
		c.fill = o.places
		err := c.greet(conf)
		alert, isAlert := errors.AsType[*net.OpError](err)
		switch {
		case served && err != nil:
			t.Errorf("TLS %x: %v", version, err)
		case served:
			c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
		case !isAlert || !strings.Contains(alert.Error(), "protocol version"):
			t.Errorf("TLS %x is refused with %v", version, err)
		}
	}
}

func tlsResumption(t *testing.T, _ *proxy) {
	people, file := clientCA(t)
	g := newGate(t, ", client_ca: "+file)
	o := newOrigin(t, says(ok("fine")))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		g.reload(t, g.text(", client_ca: "+file))
		conf := g.showing(people.signs(t, person("ann")))
		conf.MaxVersion, conf.ClientSessionCache = version, tls.NewLRUClientSessionCache(8)
		again := func() *client {
			c := g.dial(t, conf)
			c.fill = o.places
			c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
			c.conn.Close()
			return c
		}
		if again().shown().DidResume {
			t.Fatal("the first session was resumed")
		}
		if !again().shown().DidResume {
			t.Errorf("TLS %x: a session was not resumed", version)
		}
		g.reload(t, g.text(", client_ca: "+file, "max_header: 32KiB"))
		if !again().shown().DidResume {
			t.Errorf("TLS %x: a session was not resumed after a reload", version)
		}
		all := g.lines(t, len(o.seen()))
		wantFields(t, all[len(all)-1], map[string]any{"user": "ann"})
		_, other := clientCA(t)
		g.reload(t, g.text(", client_ca: "+other))
		turnedAway(t, "the authority has gone", g.proxy, conf, o)
	}
}

func tlsPlainRequest(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	o := newOrigin(t, says(ok("fine")))
	for _, request := range []string{
		"GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n", "CONNECT {O} HTTP/1.1\r\nHost: {O}\r\n\r\n",
		"POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello", "GET / HTTP/1.0\r\n\r\n",
	} {
		c := dial(t, g.proxy)
		c.fill = o.places
		m := c.send(request).answer()
		if m.status() != 400 || m.err != nil || !strings.Contains(m.body, "https://") && !strings.Contains(m.body, "TLS") {
			t.Errorf("%q: got %q %q, %v", request, m.raw, m.body, m.err)
		}
		c.ends()
	}
	for _, noise := range []string{"SSH-2.0-x\r\n", "\x00\x00\x00\x00\x00\x00", "\x05\x01\x00\x00\x00", strings.Repeat("\xff", 5000)} {
		c := dial(t, g.proxy)
		c.try(noise)
		if rest, err := c.rest(); strings.Contains(rest, "HTTP/1.1 200") || timed(err) {
			t.Errorf("%q: got %q, %v", clip(noise), rest, err)
		}
	}
	if o.dials() != 0 {
		t.Errorf("%d dials", o.dials())
	}
}

func tlsToPlainPort(t *testing.T, _ *proxy) {
	p := start(t)
	for _, sent := range []string{hello(t, "proxy.test"), hello(t, "")} {
		c := dial(t, p)
		c.try(sent)
		rest, err := c.rest()
		if rest != "" && !strings.HasPrefix(rest, "HTTP/1.1 400 ") || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %q, %v", rest, err)
		}
	}
	c := dial(t, p)
	if err := c.greet(&tls.Config{InsecureSkipVerify: true}); err == nil || timed(err) {
		t.Errorf("the handshake ends with %v", err)
	}
}

func tlsSlow(t *testing.T, _ *proxy) {
	g := newGate(t, "", "header_timeout: 1s")
	whole := hello(t, "proxy.test")
	began := time.Now()
	for what, send := range map[string]func(*client){
		"silence":           func(*client) {},
		"half a hello":      func(c *client) { c.send(whole[:100]) },
		"a drip":            func(c *client) { c.drip(whole[:80], 50*time.Millisecond) },
		"a hello and no go": func(c *client) { c.send(whole) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := dial(t, g.proxy)
			send(c)
			rest, err := c.rest()
			if strings.HasPrefix(rest, "HTTP/") || timed(err) || time.Since(began) < 900*time.Millisecond {
				t.Errorf("it ended after %v with %q, %v", time.Since(began), clip(rest), err)
			}
		})
	}
	fine := newOrigin(t, says(ok("fine")))
	poll(t, "others are served", func() bool {
		c := dial(t, g.proxy)
		defer c.conn.Close()
		if c.greet(g.trusting()) != nil {
			return false
		}
		m, err := readAnswer(c.ask("GET http://"+fine.addr+"/ HTTP/1.1", "Host: x").in, "GET")
		return err == nil && m.status() == 200
	})
}

func tlsIdle(t *testing.T, _ *proxy) {
	g := newGate(t, "", "header_timeout: 5m", "upstream_idle_timeout: 1s")
	o := newOrigin(t, says(ok("fine")))
	ask := func(c *client) { c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine") }
	crowd := func() (all []*client) {
		for n := range 500 {
			c := g.dial(t, g.trusting())
			c.fill = o.places
			if n%2 == 0 {
				ask(c)
			}
			all = append(all, c)
		}
		return all
	}
	leave := func(all []*client) {
		for _, c := range all {
			ask(c)
			c.conn.Close()
		}
	}
	poll(t, "calm", func() bool { return o.open() == 0 })
	base := g.descriptors(t)
	before := g.resident(t)
	all := crowd()
	each := (g.resident(t) - before) / len(all)
	t.Logf("%d bytes of memory a connection", each)
	if each > 64<<10 && !raced() {
		t.Errorf("an idle TLS connection holds %d bytes", each)
	}
	leave(all)
	g.settles(t, base)
	after := g.resident(t)
	leave(crowd())
	g.settles(t, base)
	if grown := g.resident(t) - after; grown > 8<<20 && !raced() {
		t.Errorf("%d bytes more after the second time", grown)
	}
}

func tlsVanished(t *testing.T, _ *proxy) {
	g := newGate(t, "", "upstream_idle_timeout: 1s")
	c, o := g.stage(t, says(ok("fine")))
	ask := func() { t.Helper(); c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine") }
	ask()
	poll(t, "calm", func() bool { return o.open() == 0 })
	base := g.descriptors(t)
	whole := hello(t, "proxy.test")
	for n := range 200 {
		gone := dial(t, g.proxy)
		gone.try(whole[:min(n*len(whole)/150, len(whole))])
		if n%3 == 0 {
			reset(gone.conn)
		} else {
			gone.conn.Close()
		}
	}
	ask()
	g.settles(t, base)
}

func tlsDrain(t *testing.T, _ *proxy) {
	g := newGate(t, "")
	asked, release := make(chan struct{}, 1), make(chan struct{})
	busy, _ := g.stage(t, func(o *originConn) {
		o.head()
		asked <- struct{}{}
		<-release
		o.send(ok("worth the wait"))
		o.drain()
	})
	idle, _ := g.stage(t, says(ok("fine")))
	idle.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	fresh := g.dial(t, g.trusting())
	tunnel, _ := g.stage(t, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	busy.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	receive(t, "the request at the origin", asked)
	g.signal(t, syscall.SIGTERM)
	idle.endsOrderly()
	fresh.endsOrderly()
	tunnel.send("pong").read("pong")
	close(release)
	busy.answer().want(t, 200, "worth the wait")
	busy.endsOrderly()
	tunnel.closeWrite()
	tunnel.endsOrderly()
	if code := g.wait(t); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, g.log())
	}
}

func tlsTurnedAway(t *testing.T, _ *proxy) {
	g := newGate(t, "", "max_conns: 1")
	c, o := g.stage(t, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	for range 3 {
		d := dial(t, g.proxy)
		if err := d.greet(g.trusting()); err == nil { // told inside of TLS
			if m := d.answer(); m.status() != 503 {
				t.Errorf("got %q", m.raw)
			}
			continue
		} else if _, plain := errors.AsType[tls.RecordHeaderError](err); plain || timed(err) {
			t.Errorf("the handshake ends with %v", err)
		}
	}
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	c.conn.Close()
	poll(t, "a place", func() bool {
		d := dial(t, g.proxy)
		defer d.conn.Close()
		if d.greet(g.trusting()) != nil {
			return false
		}
		d.fill = o.places
		m, err := readAnswer(d.ask("GET http://{O}/ HTTP/1.1", "Host: x").in, "GET")
		return err == nil && m.status() == 200
	})
}

func tlsMisspelt(t *testing.T, _ *proxy) {
	g := &gate{issuer: authority(t, "proxies of the tests"), dir: t.TempDir()}
	g.renew(t, "127.0.0.1")
	at := func(name string) string { return filepath.Join(g.dir, name) }
	other := g.issuer.signs(t, named("other.test"))
	if err := savePair(other, at("other.crt"), at("other.key")); err != nil {
		t.Fatal(err)
	}
	replaceFile(t, at("none.pem"), "nothing of the kind")
	flags := func(more ...string) []string {
		return append([]string{"forward", "--access-log", "off"}, more...)
	}
	secure := []string{"--listen", "https://127.0.0.1:0"}
	for _, turn := range []struct {
		code  int // 0 for 1 or 2
		flags []string
		words []string
	}{
		{1, secure, []string{"--tls-cert", "https://"}},
		{1, []string{"--listen", "127.0.0.1:0", "--tls-cert", at("site.crt"), "--tls-key", at("site.key")}, []string{"https://"}},
		{1, []string{"--listen", "127.0.0.1:0", "--tls-client-ca", at("site.crt")}, []string{"https://"}},
		{1, append(secure, "--tls-cert", at("site.crt"), "--tls-cert", at("other.crt"), "--tls-key", at("site.key")), []string{"--tls-key"}},
		{0, append(secure, "--tls-cert", at("site.crt")), []string{"site.crt", "key"}},
		{0, append(secure, "--tls-cert", at("site.crt"), "--tls-key", at("other.key")), []string{"site.crt", "key"}},
		{0, append(secure, "--tls-cert", at("none.pem"), "--tls-key", at("site.key")), []string{"none.pem", "PEM"}},
		{2, append(secure, "--tls-cert", at("absent.crt"), "--tls-key", at("site.key")), []string{"absent.crt"}},
		{0, append(secure, "--tls-cert", at("site.crt"), "--tls-key", at("site.key"), "--tls-client-ca", at("none.pem")), []string{"none.pem", "PEM"}},
		{1, []string{"--listen", "tls://127.0.0.1:0"}, []string{"tls://", "https://"}},
	} {
		wontStart(t, turn.code, flags(turn.flags...), turn.words)
	}
}

func tlsMetrics(t *testing.T, _ *proxy) {
	g := &gate{issuer: authority(t, "proxies of the tests"), dir: t.TempDir()}
	ends := g.renew(t, "127.0.0.1", "proxy.test")
	g.proxy = launch{conf: "admin: {listen: 127.0.0.1:0}\n" + g.text("")}.start(t)
	for range 3 {
		g.dial(t, g.trusting()).conn.Close()
	}
	bad := dial(t, g.proxy)
	bad.try("\x16\x03\x01\x00\x05nonsense")
	bad.rest()
	listener := "https://127.0.0.1:0"
	if !strings.Contains(g.admin(t, "/metrics").body, listener) {
		listener = "127.0.0.1:0"
	}
	series := func(result string) string {
		return fmt.Sprintf(`viaduct_tls_handshakes_total{listener="%s",result="%s",side="client"}`, listener, result)
	}
	poll(t, "three handshakes and one that failed", func() bool {
		return g.metric(t, series("ok")) == 3 && g.metric(t, series("failed")) == 1
	})
	site := filepath.Join(g.dir, "site.crt")
	leaf, err := parseLeaf(ends)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.metric(t, `viaduct_certificate_not_after_timestamp_seconds{file="`+site+`"}`); int64(got) != leaf.NotAfter.Unix() {
		t.Errorf("%s ends at %v, want %v", site, got, leaf.NotAfter.Unix())
	}
}
