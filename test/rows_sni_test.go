package test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var sniRows = []row{
	{"product-2/sni-modes", "T68", "A tunnel to one name with a ClientHello for another: off passes it, report passes it and logs both names, enforce resets the client before a byte has reached the origin, and logs both.", own, sniModes},
	{"product-2/sni-right", "T68", "Under enforce the right name passes byte for byte: in any case, in packets of one byte, behind the CONNECT in one write, over two records; and no name to an address.", own, sniRight},
	{"product-2/sni-wrong", "T68", "Under enforce these are cut before a byte is passed on: another name however it is sent, none where there should be one, one where there should be none, what is TLS but no whole ClientHello.", own, sniWrong},
	{"product-2/sni-not-tls", "T68", "Under enforce what is not TLS passes: SSH both ways, SMTP, HTTP; a banner arrives while the client is silent, and while half its ClientHello is there.", own, sniNotTLS},
	{"product-2/sni-half-a-hello", "T68", "Half a ClientHello and then silence: cut within the header timeout under enforce, passed on then under report.", own, sniHalf},
	{"product-2/sni-session", "T68", "A real TLS session under enforce: 1 MiB each way, every byte right.", own, sniSession},
}

// hello is what a client sends first that wants TLS with a server of this name,
// or of none.
func hello(t testing.TB, name string) string {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go tls.Client(far, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake() // it fails in the end
	head := make([]byte, 5)
	if _, err := io.ReadFull(near, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(near, body); err != nil {
		t.Fatal(err)
	}
	return string(head) + string(body)
}

// split sends a hello in records of so many bytes.
func split(hello string, size int) string {
	var b strings.Builder
	for piece := range slices.Chunk([]byte(hello[5:]), size) {
		b.WriteString(hello[:3])
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(piece))))
		b.Write(piece)
	}
	return b.String()
}

// startSNI runs a lenient proxy with --sni, to which every name is the loopback.
func startSNI(t *testing.T, mode string, flags ...string) *proxy {
	t.Helper()
	return newNames(t, always("127.0.0.1")).start(t, append([]string{"--sni", mode}, flags...)...)
}

// lineOf waits for the line of a tunnel to a host.
func (p *proxy) lineOf(t testing.TB, host string) (line map[string]any) {
	t.Helper()
	poll(t, "a line for "+host+" in the access log", func() bool {
		for _, l := range p.lines(t, 1) {
			if target, _ := l["target"].(string); strings.HasPrefix(target, host) {
				line = l
			}
		}
		return line != nil
	})
	return line
}

// wantFields fails unless a line has these values; nil is a field that is not there.
func wantFields(t testing.TB, line, want map[string]any) {
	t.Helper()
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s is %v, want %v in %v", key, line[key], value, line)
		}
	}
}

// wantCut fails unless the client is reset, and the origin has seen nothing but
// the end. Whoever has written to the end has perhaps been told already.
func wantCut(t testing.TB, c *client, o *origin, what string, told ...error) {
	t.Helper()
	rest, err := c.rest()
	if err = errors.Join(append(told, err)...); rest != "" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: the client reads %q, %v, want a reset", what, clip(rest), err)
	}
	poll(t, what+": the origin's side is closed", func() bool { return o.open() == 0 })
	for _, got := range o.bytes() {
		if got != "" {
			t.Errorf("%s: the origin got %q", what, clip(got))
		}
	}
}

// drip sends byte by byte, each in a packet of its own, until it cannot.
func (c *client) drip(s string, every time.Duration) error {
	for i := range len(s) {
		if err := c.try(s[i : i+1]); err != nil {
			return err
		}
		if every > 0 {
			pause(every)
		}
	}
	return nil
}

// arrives polls until the origin has got these bytes by its last connection.
func (o *origin) arrives(t testing.TB, what, want string) {
	t.Helper()
	poll(t, what+" arrives at the origin", func() bool {
		all := o.bytes()
		return len(all) > 0 && all[len(all)-1] == want
	})
}

func sniModes(t *testing.T, _ *proxy) {
	seen := hello(t, "b.test")
	for mode, want := range map[string]map[string]any{
		"off":     {"decision": "allow", "rule": nil, "sni": nil, "fault": nil, "ended_by": "client"},
		"report":  {"decision": "observe", "rule": "sni", "phase": "sni", "sni": "b.test", "fault": nil, "ended_by": "client"},
		"enforce": {"decision": "deny", "rule": "sni", "phase": "sni", "sni": "b.test", "fault": "http_request_denied", "ended_by": "proxy", "bytes_received": 0.0},
	} {
		p := startSNI(t, mode, "--admin", "127.0.0.1:0")
		c, o := stage(t, p, echo)
		c.tunnel("a.test:{P}").send(seen)
		if mode == "enforce" {
			wantCut(t, c, o, mode)
		} else {
			c.read(seen)
			c.closeWrite()
			c.endsOrderly()
		}
		line := p.lineOf(t, "a.test")
		wantFields(t, line, want)
		wantFields(t, line, map[string]any{"target": "a.test:" + o.port, "status": 200.0, "method": "CONNECT"})
		if mode != "off" {
			series := fmt.Sprintf(`viaduct_decisions_total{decision="%s",listener="127.0.0.1:0",phase="sni",rule="sni"}`, want["decision"])
			if n := p.metric(t, series); n != 1 {
				t.Errorf("%s: %s is %v", mode, series, n)
			}
		}
	}
}

func sniRight(t *testing.T, _ *proxy) {
	p := startSNI(t, "enforce")
	for what, turn := range map[string]struct{ target, sent string }{
		"the name":             {"a.test:{P}", hello(t, "a.test")},
		"in upper case":        {"a.test:{P}", hello(t, "A.TEST")},
		"to a final dot":       {"A.test.:{P}", hello(t, "a.test")},
		"in two records":       {"a.test:{P}", split(hello(t, "a.test"), 1000)},
		"in tiny records":      {"a.test:{P}", split(hello(t, "a.test"), 1)},
		"with more behind":     {"a.test:{P}", hello(t, "a.test") + "\x14\x03\x03\x00\x01\x01"},
		"IDNA":                 {"bücher.test:{P}", hello(t, "xn--bcher-kva.test")},
		"an address, no name":  {"{O}", hello(t, "")},
		"an address in detail": {"[::ffff:127.0.0.1]:{P}", hello(t, "")},
	} {
		for how, send := range map[string]func(*client){
			"at once": func(c *client) { c.tunnel(turn.target).send(turn.sent) },
			"in packets of one byte": func(c *client) {
				if err := c.tunnel(turn.target).drip(turn.sent, 0); err != nil {
					c.Fatal(err)
				}
			},
			"behind the CONNECT": func(c *client) {
				if m := c.send(lines("CONNECT "+turn.target+" HTTP/1.1", "Host: x") + turn.sent).answerTo("CONNECT"); m.status() != 200 {
					c.Fatalf("got %q", m.raw)
				}
			},
		} {
			c, o := stage(t, p, echo)
			send(c)
			c.read(turn.sent)
			c.send("ping").read("ping")
			o.arrives(t, what+" "+how, turn.sent+"ping")
			c.conn.Close()
		}
	}
	for _, line := range p.lines(t, 27) {
		wantFields(t, line, map[string]any{"decision": "allow", "sni": nil, "fault": nil})
	}
}

func sniWrong(t *testing.T, _ *proxy) {
	p := startSNI(t, "enforce", "--header-timeout", "20s")
	right, wrong := hello(t, "a.test"), hello(t, "b.test")
	for what, turn := range map[string]struct{ target, sent string }{
		"another name":         {"a.test:{P}", wrong},
		"in two records":       {"a.test:{P}", split(wrong, 1000)},
		"in tiny records":      {"a.test:{P}", split(wrong, 1)},
		"a name below":         {"a.test:{P}", hello(t, "www.a.test")},
		"the name above":       {"www.a.test:{P}", right},
		"no name":              {"a.test:{P}", hello(t, "")},
		"a name to an address": {"{O}", right},
		"two hellos":           {"a.test:{P}", wrong + right},
		"an alert":             {"a.test:{P}", "\x15\x03\x01\x00\x02\x02\x28" + right},
		"an empty record":      {"a.test:{P}", "\x16\x03\x01\x00\x00" + right},
		"no ClientHello":       {"a.test:{P}", "\x16\x03\x01\x00\x04\x02\x00\x00\x00"},
		"a longer length":      {"a.test:{P}", right[:5] + "\x01\xff\xff\xff" + right[9:]},
		"SSL 2.0":              {"a.test:{P}", "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x00\x00\x04", 7) + strings.Repeat("r", 16)},
	} {
		c, o := stage(t, p, echo)
		c.send(lines("CONNECT "+turn.target+" HTTP/1.1", "Host: x") + turn.sent).answerTo("CONNECT")
		wantCut(t, c, o, what)
		c, o = stage(t, p, echo)
		wantCut(t, c.tunnel(turn.target), o, what+" in packets of one byte", c.drip(turn.sent, 0))
	}
	c, o := stage(t, p, echo)
	c.tunnel("a.test:{P}").send(right[:100])
	c.closeWrite()
	wantCut(t, c, o, "half a hello and the end")
	for _, line := range p.lines(t, 27) {
		wantFields(t, line, map[string]any{"decision": "deny", "rule": "sni", "phase": "sni", "ended_by": "proxy", "fault": "http_request_denied", "bytes_received": 0.0})
	}
}

func sniNotTLS(t *testing.T, _ *proxy) {
	p := startSNI(t, "enforce")
	for _, sent := range []string{"SSH-2.0-OpenSSH_9.9\r\n", "EHLO a.test\r\n", "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n", "\x00\x00\x00\x10", "\n", strings.Repeat("\xff", 70_000)} {
		c, o := stage(t, p, func(o *originConn) { o.send("banner\r\n"); echo(o) })
		c.tunnel("a.test:{P}").read("banner\r\n") // the client has said nothing
		c.send(sent).read(sent)
		c.closeWrite()
		c.endsOrderly()
		o.arrives(t, "what is not TLS", sent)
	}
	sent := hello(t, "a.test")
	now := make(chan struct{})
	c, _ := stage(t, p, func(o *originConn) { <-now; o.send("banner"); echo(o) })
	c.tunnel("a.test:{P}").send(sent[:50])
	close(now)
	c.read("banner")
	c.send(sent[50:]).read(sent)
	c, o := stage(t, p, func(o *originConn) { o.send("banner"); o.closeWrite(); o.drain() })
	c.tunnel("a.test:{P}").read("banner")
	c.closeWrite() // without a word
	c.endsOrderly()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func sniHalf(t *testing.T, _ *proxy) {
	half := hello(t, "a.test")[:77]
	p := startSNI(t, "enforce", "--header-timeout", "1s")
	c, o := stage(t, p, echo)
	c.tunnel("a.test:{P}")
	pause(1500 * time.Millisecond) // silence is no half hello
	c.send(half)
	wantCut(t, c, o, "half a hello")
	wantFields(t, p.lineOf(t, "a.test"), map[string]any{"decision": "deny", "phase": "sni", "ended_by": "proxy"})
	c, o = stage(t, p, echo)
	wantCut(t, c.tunnel("a.test:{P}"), o, "a hello that drips", c.drip(half, 50*time.Millisecond)) // a byte now and then gains no time
	p = startSNI(t, "report", "--header-timeout", "1s")
	c, o = stage(t, p, echo)
	c.tunnel("a.test:{P}").send(half).read(half)
	c.send("more").read("more")
	o.arrives(t, "half a hello", half+"more")
}

// certified is the configuration of a server of this name.
func certified(t *testing.T, name string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

func sniSession(t *testing.T, _ *proxy) {
	const size = 1 << 20
	conf, pool := certified(t, "a.test")
	p := startSNI(t, "enforce")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		got := make(chan [sha256.Size]byte, 1)
		up, down := stuff(1, size), stuff(2, size)
		c, _ := stage(t, p, func(o *originConn) {
			server := tls.Server(o, conf)
			go server.Write(down)
			all := make([]byte, size)
			io.ReadFull(server, all)
			got <- sha256.Sum256(all)
			o.drain()
		})
		c.tunnel("a.test:{P}").hurry()
		session := tls.Client(c.conn, &tls.Config{ServerName: "a.test", RootCAs: pool, MinVersion: version, MaxVersion: version})
		go session.Write(up)
		all := make([]byte, size)
		if _, err := io.ReadFull(session, all); err != nil || !bytes.Equal(all, down) {
			t.Errorf("the client did not get what was sent: %v", err)
		}
		if receive(t, "all bytes", got) != sha256.Sum256(up) {
			t.Error("the origin did not get what was sent")
		}
		session.Close()
	}
}
