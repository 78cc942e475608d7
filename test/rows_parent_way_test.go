package test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

var parentWayRows = []row{
	{"product-2/parent-kinds", "–", "Parents by http, https and socks5, with and without a password: GET, POST by length and in chunks, HEAD and CONNECT get there, and nothing goes direct.", own, parentKinds},
	{"product-2/parent-by-flag", "–", "`--upstream` alone: everything goes through it; the log says pool upstream and which endpoint.", own, parentByFlag},
	{"9110-9.3.6/parent-banner", "T48", "A server that speaks first, its banner in the same packet as the parent's 200, is heard: whatever the 2xx looks like, by HTTPS, SOCKS5 and a chain too.", own, parentBanner},
	{"9110-9.3.6/parent-tunnel-ends", "T49, T51", "Through a parent: each side's end arrives as an end, with what was sent before it, and a reset as a reset.", own, parentTunnelEnds},
	{"9110-9.3.6/parent-bulk", "T49", "Megabytes each way at once through a parent arrive unchanged.", own, parentBulk},
	{"9110-7.8/parent-upgrade", "T62", "A WebSocket through a parent: both ways, also what is sent behind the heads.", own, parentUpgrade},
	{"9110-11.7.2/parent-credentials", "T13", "A parent gets the operator's credentials and never the client's, in CONNECT and in plain requests; origins get none.", own, parentCredentials},
	{"product-2/parent-secrets", "–", "The password of a parent stands in no log, answer, status or explanation, and `check --print` hides it.", own, parentSecrets},
	{"9110-7.6.3/parent-via", "T15", "Under strict a parent learns nothing of the client, whatever it sends, but gets our Via tag, the same for every request and after a reload.", own, parentVia},
	{"9112-9.3/parent-kept-alive", "T40", "Plain requests go in absolute-form over connections to the parent that are kept, whatever the origin.", own, parentKeptAlive},
	{"9112-9.3.1/parent-stale", "T40", "A kept connection that the parent has closed is no failure: the next request, POST too, goes by a fresh one.", own, parentStale},
	{"product-2/parent-chain", "–", "A chain of two: the first is asked for the second, that for the destination; the wrong first is to blame.", own, parentChain},
	{"product-2/parent-own-ca", "–", "An https parent is verified: by --upstream-ca, for its name, in its time; --upstream-cert shows it who we are.", own, parentOwnCA},
	{"9113-8.5/parent-many-tunnels", "–", "60 tunnels at once to an https parent that speaks HTTP/2: one connection or two, each tunnel its own bytes.", own, parentManyTunnels},
	{"product-2/parent-environment", "T73", "HTTP_PROXY and the like in the environment change nothing on the way to a parent.", own, parentEnvironment},
	{"product-2/parent-inspected", "–", "A request inside an opened tunnel reaches its origin through the parent, over TLS that is verified.", own, parentInspected},
	{"product-2/parent-log", "–", "The log says which pool, which endpoint and how many tries, for GET and CONNECT; nothing of it for what went direct.", own, parentLog},
}

// tlsOption has parents verified by the authority of the tests.
func tlsOption(t testing.TB) (option string, conf *tls.Config) {
	t.Helper()
	s, err := testAuthorities()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("tls: {ca: %q}", s.origins), s.secure()
}

// echoes is a script: each answer is what was asked.
var echoes = serve(func(r *message) string {
	if r.method() == "HEAD" {
		return "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	}
	return ok(r.method() + r.target() + r.body)
})

// wantWay asks in every way, and wants it to arrive by parents alone.
func wantWay(t *testing.T, p *proxy) {
	t.Helper()
	c, o := stage(t, p, echoes)
	c.ask("GET http://{O}/a?q=1 HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/a?q=1")
	c.send("POST http://{O}/b HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello").answer().want(t, 200, "POST/bhello")
	c.send("POST http://{O}/c HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").answer().want(t, 200, "POST/chello")
	if m := c.ask("HEAD http://{O}/ HTTP/1.1", "Host: {O}").answerTo("HEAD"); m.status() != 200 || m.get("Content-Length") != "4" {
		t.Errorf("HEAD: %q", m.raw)
	}
	c.ask("GET http://{O}/d HTTP/1.1", "Host: {O}").answer().want(t, 200, "GET/d")
	tunnel, far := stage(t, p, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	if n := o.strangers() + far.strangers(); n > 0 {
		t.Errorf("%d connections came by no parent", n)
	}
	for _, r := range o.seen() {
		r.without(t, "Proxy-Authorization", "Proxy-Connection")
	}
}

func parentKinds(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	for _, s := range []upperSpec{
		{scheme: "http"},
		{scheme: "http", login: "ann:p@ss:w%rd/"},
		{scheme: "https", tls: conf},
		{scheme: "https", tls: conf, login: "ann:secret"},
		{scheme: "socks5"},
		{scheme: "socks5", login: "ann:p@ss:w%rd/"},
	} {
		t.Run(s.scheme+" "+s.login, func(t *testing.T) {
			t.Parallel()
			u := s.start(t)
			options := ""
			if s.tls != nil {
				options = option
			}
			wantWay(t, through(t, []string{u.url()}, options))
		})
	}
}

func parentByFlag(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := start(t, "--upstream", u.url(), "--health-check", "none")
	wantWay(t, p)
	for _, line := range p.lines(t, 5) {
		wantFields(t, line, map[string]any{"pool": "upstream", "endpoint": u.id(), "tries": 1.0})
	}
}

func parentBanner(t *testing.T, _ *proxy) {
	const banner = "SSH-2.0-test\r\n"
	option, conf := tlsOption(t)
	for name, s := range map[string]upperSpec{
		"200":           {act: grants("", banner)},
		"201":           {act: grants("HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\n", banner)},
		"204":           {act: grants("HTTP/1.1 204 No Content\r\n\r\n", banner)},
		"HTTP/1.0":      {act: grants("HTTP/1.0 200 OK\r\nProxy-Agent: x\r\nConnection: close\r\n\r\n", banner)},
		"chunked":       {act: grants("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", banner)},
		"interim first": {act: grants("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", banner)},
		"https":         {scheme: "https", tls: conf, act: grants("", banner)},
		"socks5":        {scheme: "socks5", act: grants("", banner)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := ""
			if s.tls != nil {
				options = option
			}
			u := s.start(t)
			chain := ""
			if name == "socks5" {
				chain = newUpper(t).url() + " -> "
			}
			p := through(t, []string{chain + u.url()}, options)
			c := dial(t, p).tunnel("a.test:22")
			c.read(banner)
			c.send("ping").read("ping")
			c = dial(t, p)
			c.send("CONNECT a.test:22 HTTP/1.1\r\nHost: a.test:22\r\n\r\nearly") // and the client does not wait
			if m := c.answerTo("CONNECT"); m.status() != 200 || m.has("Content-Length") || m.has("Transfer-Encoding") {
				t.Fatalf("got %q", m.raw)
			}
			c.read(banner + "early")
		})
	}
}

func parentTunnelEnds(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	for _, s := range []upperSpec{{scheme: "http"}, {scheme: "https", tls: conf}, {scheme: "socks5"}} {
		t.Run(s.scheme, func(t *testing.T) {
			t.Parallel()
			options := ""
			if s.tls != nil {
				options = option
			}
			p := through(t, []string{s.start(t).url()}, options)
			c, o := stage(t, p, func(o *originConn) { // answers when all has come
				all, _ := io.ReadAll(o.in)
				o.send("got " + string(all))
			})
			c.tunnel("{O}").send("all of it")
			c.closeWrite()
			c.read("got all of it")
			c.endsOrderly()
			poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })

			heard := make(chan string, 1)
			c, _ = stage(t, p, func(o *originConn) {
				o.send("bye")
				o.closeWrite()
				all, _ := io.ReadAll(o.in)
				heard <- string(all)
			})
			c.tunnel("{O}").read("bye")
			if rest, err := c.rest(); rest != "" || err != nil {
				t.Errorf("after the origin's end: %q, %v", rest, err)
			}
			c.send("still here")
			c.closeWrite()
			if got := receive(t, "the rest at the origin", heard); got != "still here" {
				t.Errorf("the origin got %q after its end", got)
			}

			c, _ = stage(t, p, func(o *originConn) {
				o.in.Discard(4)
				reset(o)
			})
			c.tunnel("{O}").send("ping").isReset()
			broken := make(chan error, 1)
			c, _ = stage(t, p, func(o *originConn) { broken <- o.drain() })
			c.tunnel("{O}").send("ping")
			reset(c.conn)
			if err := receive(t, "the end at the origin", broken); err == nil {
				t.Error("a client's reset is an orderly end at the origin")
			}
		})
	}
}

func parentBulk(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	for _, s := range []upperSpec{{scheme: "http"}, {scheme: "https", tls: conf}} {
		t.Run(s.scheme, func(t *testing.T) {
			t.Parallel()
			options := ""
			if s.tls != nil {
				options = option
			}
			p := through(t, []string{s.start(t).url()}, options)
			c, _ := stage(t, p, echo)
			c.tunnel("{O}")
			sent := strings.Repeat("0123456789abcdef", 2<<20/16)
			go func() {
				c.send(sent)
				c.conn.CloseWrite()
			}()
			if got, err := c.rest(); err != nil || got != sent {
				t.Errorf("%d bytes came back of %d, %v", len(got), len(sent), err)
			}
		})
	}
}

func parentUpgrade(t *testing.T, _ *proxy) {
	for _, scheme := range []string{"http", "socks5"} {
		p := through(t, []string{upperSpec{scheme: scheme}.start(t).url()}, "")
		c, o := stage(t, p, func(o *originConn) {
			if o.head() != nil {
				o.send(switching + "hello")
				echo(o)
			}
		})
		c.ask("GET http://{O}/chat HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket")
		if m := c.answer(); m.status() != 101 {
			t.Fatalf("%s: got %q", scheme, m.raw)
		}
		c.read("hello")
		c.send("ping").read("ping")
		if r := o.seen()[0]; r.target() != "/chat" || !strings.EqualFold(r.get("Upgrade"), "websocket") || o.strangers() > 0 {
			t.Errorf("%s: the origin got %q", scheme, r.raw)
		}
	}
}

func parentCredentials(t *testing.T, _ *proxy) {
	theirs := []string{basic("client", "client-secret"), "Proxy-Authenticate: Basic realm=x", "Proxy-Authentication-Info: x"}
	for _, login := range []string{"", "ours:our-secret"} {
		u := newUpper(t) // takes whatever comes
		endpoint := u.url()
		if login != "" {
			endpoint = strings.Replace(endpoint, "://", "://"+login+"@", 1)
		}
		p := through(t, []string{endpoint}, "")
		c, o := stage(t, p, says(ok("fine")))
		c.ask(append([]string{"GET http://{O}/ HTTP/1.1", "Host: {O}"}, theirs...)...).answer().want(t, 200, "fine")
		c.ask(append([]string{"CONNECT {O} HTTP/1.1", "Host: {O}"}, theirs...)...)
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
		c.ask("GET / HTTP/1.1", "Host: {O}", "Authorization: Basic inner").answer().want(t, 200, "fine")
		want := []string(nil)
		if login != "" {
			want = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(login))}
		}
		for _, r := range u.seen() {
			if got := r.all("Proxy-Authorization"); strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%q: the parent got %q, want %q", r.line, got, want)
			}
			if strings.Contains(r.raw, "client") || r.has("Proxy-Authenticate") || r.has("Proxy-Authentication-Info") {
				t.Errorf("the parent got %q", r.raw)
			}
		}
		for _, r := range o.seen() {
			r.without(t, "Proxy-Authorization", "Proxy-Authenticate")
		}
	}
}

func parentSecrets(t *testing.T, _ *proxy) {
	const secret = "our-s3cret-word"
	u := upperSpec{login: "ann:other"}.start(t) // it does not like ours
	endpoint := strings.Replace(u.id(), "://", "://ann:"+secret+"@", 1)
	p := through(t, []string{endpoint}, "")
	said := []string{secret, base64.StdEncoding.EncodeToString([]byte("ann:" + secret))}
	var all strings.Builder
	for _, l := range [][]string{{"GET http://a.test/ HTTP/1.1", "Host: a.test"}, {"CONNECT a.test:443 HTTP/1.1", "Host: a.test:443"}} {
		m := dial(t, p).ask(l...).answerTo(l[0][:3])
		m.wantOwn(t, 500, "proxy_configuration_error")
		all.WriteString(m.raw + m.body)
	}
	p.lines(t, 2)
	all.WriteString(p.log() + p.accessLog(t) + p.admin(t, "/api/status").body + p.admin(t, "/metrics").body)
	all.WriteString(p.admin(t, "/api/explain?url=http://a.test/").body)
	for _, args := range [][]string{{"check", "-c", p.conf, "--print"}, {"explain", "-c", p.conf, "http://a.test/"}} {
		code, stdout, stderr := exits(t, nil, args...)
		if code != 0 || args[0] == "check" && !strings.Contains(stdout, "http://ann:***@"+u.addr) {
			t.Errorf("%q: exit code %d, %q %q", args, code, stdout, stderr)
		}
		all.WriteString(stdout + stderr)
	}
	for _, word := range said {
		if i := strings.Index(all.String(), word); i >= 0 {
			t.Errorf("%q is told: …%q", word, all.String()[max(0, i-200):i+len(word)])
		}
	}
}

// tag is what parents see of us.
var tag = regexp.MustCompile(`^1\.1 viaduct-[0-9a-f]{16}$`)

func parentVia(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := through(t, []string{u.url()}, "")
	asks := func() {
		t.Helper()
		c, _ := stage(t, p, says(ok("fine")))
		c.ask(append([]string{"GET http://{O}/ HTTP/1.1", "Host: {O}", "X-Kept: 1"}, tellTale...)...).answer().want(t, 200, "fine")
		c.ask(append([]string{"CONNECT {O} HTTP/1.1", "Host: {O}"}, tellTale...)...)
		if m := c.answerTo("CONNECT"); m.status() != 200 {
			t.Fatalf("got %q", m.raw)
		}
	}
	asks()
	p.reload(t, way([]string{u.url()}, "retries: 1"))
	asks()
	via := u.seen()[0].get("Via")
	if !tag.MatchString(via) {
		t.Errorf("the parent reads Via %q", via)
	}
	for _, r := range u.seen() {
		if all := r.all("Via"); len(all) != 1 || all[0] != via {
			t.Errorf("%q: Via is %q, and was %q", r.line, all, via)
		}
		r.without(t, "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Client-IP", "Proxy-Anything", "Proxy-Connection", "User-Agent")
		if r.method() == "GET" && r.get("X-Kept") != "1" {
			t.Errorf("the parent got %q", r.raw)
		}
	}
	if other := through(t, []string{u.url()}, ""); true {
		fetch(t, other, "a.test:"+newOrigin(t, says(ok("fine"))).port).want(t, 200, "fine")
		if seen := u.seen(); seen[len(seen)-1].get("Via") == via {
			t.Errorf("two proxies have the same tag %q", via)
		}
	}
}

func parentKeptAlive(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := through(t, []string{u.url()}, "")
	a, b := newOrigin(t, says(ok("a"))), newOrigin(t, says(ok("b")))
	var want []string
	c := dial(t, p)
	for n := range 12 {
		if n == 6 { // another client, by the same connection
			c.conn.Close()
			c = dial(t, p)
		}
		c.ask("GET http://"+a.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "a")
		c.ask("GET http://b.test:"+b.port+"/x?y HTTP/1.1", "Host: x").answer().want(t, 200, "b")
		want = append(want, "GET http://"+a.addr+"/", "GET http://b.test:"+b.port+"/x?y")
	}
	u.wantAsked(t, want...)
	if n := u.dials(); n > 2 {
		t.Errorf("%d connections to the parent for requests one after another", n)
	}
	for _, r := range b.seen() {
		if r.get("Host") != "b.test:"+b.port {
			t.Errorf("the origin got %q", r.raw)
		}
	}
}

func parentStale(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	once := func(c *originConn, r *message) bool { // though it did not say so
		forwards(c, r)
		c.Close()
		return false
	}
	for _, s := range []upperSpec{{act: once}, {scheme: "https", tls: conf, act: once}} {
		u := s.start(t)
		options := "retries: 0"
		if s.tls != nil {
			options += ", " + option
		}
		p := through(t, []string{u.url()}, options)
		c, o := stage(t, p, echoes)
		for n := range 6 {
			poll(t, "the parent has closed", func() bool { return u.open() == 0 })
			body := fmt.Sprint(n)
			c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 1\r\n\r\n"+body).answer().want(t, 200, "POST/"+body)
		}
		if n := len(o.seen()); n != 6 {
			t.Errorf("%s: %d requests at the origin, want 6", u.scheme, n)
		}
		if e := p.endpoint(t, u.id()); e.Errors > 0 || e.Failures > 0 || e.Everywhere {
			t.Errorf("the parent is blamed for closing idle connections: %+v", e)
		}
	}
}

func parentChain(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	secure := upperSpec{scheme: "https", tls: conf, login: "one:first"}
	for n, pair := range [][2]upperSpec{
		{{login: "one:first"}, {login: "two:second"}},
		{{login: "one:first"}, {scheme: "socks5", login: "two:second"}},
		{secure, {login: "two:second"}},
		{{scheme: "socks5"}, secure},
		{secure, secure},
	} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			options := ""
			if pair[0].tls != nil || pair[1].tls != nil {
				options = option
			}
			first, second := pair[0].start(t), pair[1].start(t)
			p := through(t, []string{first.url() + " -> " + second.url() + "?weight=2"}, options)
			wantWay(t, p)
			for _, r := range first.seen() {
				if r.method() != "CONNECT" || r.target() != second.addr {
					t.Errorf("the first parent was asked for %q", r.line)
				}
			}
			if len(second.seen()) < 2 || first.dials() < 2 {
				t.Errorf("the second parent was asked for %q", second.asked())
			}
			if line := p.lines(t, 1)[0]; line["endpoint"] != first.id()+" -> "+second.id() {
				t.Errorf("the log says endpoint %v", line["endpoint"])
			}
			second.close()
			if m := connect(t, p, "a.test:443"); m.status() < 500 {
				t.Errorf("without the second: got %q", m.raw)
			}
		})
	}
}

func parentOwnCA(t *testing.T, _ *proxy) {
	ours, people := authority(t, "parents of the tests"), authority(t, "clients of parents")
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("ca.crt"), ours.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := savePair(people.signs(t, person("viaduct")), file("us.crt"), file("us.key")); err != nil {
		t.Fatal(err)
	}
	serving := func(i *issuer, leaf *x509.Certificate) *upper {
		return upperSpec{scheme: "https", tls: &tls.Config{
			Certificates: []tls.Certificate{*i.signs(t, leaf)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: people.pool(),
		}}.start(t)
	}
	shows := []string{"--upstream-cert", file("us.crt"), "--upstream-key", file("us.key")}
	trusts := []string{"--upstream-ca", file("ca.crt")}
	ended := named("127.0.0.1")
	ended.NotBefore, ended.NotAfter = ended.NotBefore.AddDate(2020, 0, 0), ended.NotBefore.AddDate(2021, 0, 0)
	for name, turn := range map[string]struct {
		u     *upper
		flags []string
		works bool
	}{
		"verified":            {serving(ours, named("127.0.0.1")), append(trusts, shows...), true},
		"no authority":        {serving(ours, named("127.0.0.1")), shows, false},
		"another authority":   {serving(authority(t, "strangers"), named("127.0.0.1")), append(trusts, shows...), false},
		"another name":        {serving(ours, named("other.test")), append(trusts, shows...), false},
		"ended":               {serving(ours, ended), append(trusts, shows...), false},
		"without certificate": {serving(ours, named("127.0.0.1")), trusts, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, append([]string{"--upstream", turn.u.url(), "--health-check", "none"}, turn.flags...)...)
			o := newOrigin(t, says(ok("fine")))
			if turn.works {
				fetch(t, p, o.addr).want(t, 200, "fine")
				dial(t, p).tunnel(o.addr).ask("GET / HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
				return
			}
			tokens := []string{"tls_certificate_error"}
			if name == "without certificate" {
				tokens = []string{"tls_alert_received", "tls_protocol_error", "connection_terminated"}
			}
			for _, m := range []*message{
				fetch(t, p, o.addr), dial(t, p).ask("CONNECT "+o.addr+" HTTP/1.1", "Host: x").answerTo("CONNECT"),
			} {
				m.wantOwn(t, 502, tokens...)
				if strings.Contains(m.body, "of the destination") {
					t.Errorf("the destination is blamed for the parent: %q", m.body)
				}
			}
			if len(turn.u.seen()) > 0 || o.dials() > 0 {
				t.Errorf("the parent was asked for %q", turn.u.asked())
			}
		})
	}
}

func parentManyTunnels(t *testing.T, _ *proxy) {
	option, conf := tlsOption(t)
	h := newManyTunnels(t, "", conf)
	p := through(t, []string{"https://" + h.addr}, option)
	o := newOrigin(t, echo)
	dial(t, p).tunnel(o.addr).send("first").read("first")
	const tunnels = 60
	clients := make([]*client, tunnels)
	var opening sync.WaitGroup
	for n := range clients {
		clients[n] = dial(t, p)
		opening.Go(func() {
			if clients[n].try(lines("CONNECT "+o.addr+" HTTP/1.1", "Host: x")) != nil {
				return
			}
			if m, err := readAnswer(clients[n].in, "CONNECT"); err != nil || m.status() != 200 {
				t.Errorf("tunnel %d: %v, %v", n, m, err)
			}
		})
	}
	opening.Wait()
	if t.Failed() {
		return
	}
	for n, c := range clients {
		c.send(fmt.Sprintf("%04d", n))
	}
	for n, c := range clients {
		c.read(fmt.Sprintf("%04d", n))
		c.closeWrite()
		c.endsOrderly()
	}
	if n, two := h.conns.Load(), h.two.Load(); n > 2 || two != tunnels+1 {
		t.Errorf("%d connections for %d tunnels, of which %d over HTTP/2", n, tunnels+1, two)
	}
	if n := o.strangers(); n > 0 {
		t.Errorf("%d connections came by no parent", n)
	}
}

func parentEnvironment(t *testing.T, _ *proxy) {
	trap := newOrigin(t, says(ok("trapped")))
	env := []string{"NO_PROXY=nothing.example"}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		env = append(env, name+"=http://"+trap.addr)
	}
	option, conf := tlsOption(t)
	for _, s := range []upperSpec{{scheme: "http"}, {scheme: "https", tls: conf}, {scheme: "socks5"}} {
		options := ""
		if s.tls != nil {
			options = option
		}
		p := launch{conf: way([]string{s.start(t).url()}, options), env: env}.start(t)
		wantWay(t, p)
		fetch(t, p, "a.test:"+newOrigin(t, says(ok("fine"))).port).want(t, 200, "fine")
	}
	if n := trap.dials(); n > 0 {
		t.Errorf("the proxy of the environment got %q", trap.bytes())
	}
}

func parentInspected(t *testing.T, _ *proxy) {
	u := newUpper(t)
	p := launch{conf: "pools:\n" + poolText("parents", []string{u.url()}, "") + glassText(t, everything, "via: parents")}.start(t)
	o := newSecure(t, echoes)
	c := look(t, p, "a.test", o)
	c.gets("/a").want(t, 200, "GET/a")
	c.send("POST /b HTTP/1.1\r\nHost: a.test:{P}\r\nContent-Length: 5\r\n\r\nhello").answer().want(t, 200, "POST/bhello")
	for _, r := range u.seen() {
		if r.line != "CONNECT a.test:"+o.port+" HTTP/1.1" {
			t.Errorf("the parent was asked for %q", r.line)
		}
	}
	if len(u.seen()) == 0 || o.strangers() > 0 {
		t.Errorf("the parent was asked for %q, %d connections came by no parent", u.asked(), o.strangers())
	}
	bad := newOriginTLS(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*authority(t, "strangers").signs(t, named("a.test"))}}, echoes)
	look(t, p, "a.test", bad).gets("/").wantOwn(t, 502, "tls_certificate_error")
	line := p.of(t, "https://a.test:"+o.port+"/a", 1)[0]
	wantFields(t, line, map[string]any{"pool": "parents", "endpoint": u.id()})
}

func parentLog(t *testing.T, _ *proxy) {
	good := newUpper(t)
	dead := "http://" + refusing(t)
	text := way([]string{dead, good.url()}, "balance: first", "route: [{host: [127.0.0.3], via: direct}]")
	p := launch{conf: text}.start(t)
	o := newOrigin(t, says(ok("fine")))
	fetch(t, p, o.addr).want(t, 200, "fine")
	line := p.lines(t, 1)[0]
	wantFields(t, line, map[string]any{"pool": "parents", "endpoint": good.id(), "tries": 2.0, "status": 200.0})
	tunnel := dial(t, p).tunnel("b.test:" + o.port)
	tunnel.closeWrite()
	tunnel.ends()
	line = p.lines(t, 2)[1]
	wantFields(t, line, map[string]any{"pool": "parents", "endpoint": good.id(), "method": "CONNECT", "status": 200.0})
	direct := newOriginAt(t, "127.0.0.3:0", says(ok("direct")))
	fetch(t, p, direct.addr).want(t, 200, "direct")
	line = p.lines(t, 3)[2]
	wantFields(t, line, map[string]any{"pool": nil, "endpoint": direct.addr, "tries": 1.0})
}
