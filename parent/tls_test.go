package parent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/parent"
)

// issuer is an authority of the tests.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := new(issuer)
	made := i.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	i.cert, i.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	return i
}

// sign makes a certificate, by itself when the issuer is new.
func (i *issuer) sign(t testing.TB, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c.SerialNumber = must[*big.Int](t)(rand.Int(rand.Reader, big.NewInt(1<<62)))
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	above, signer := i.cert, i.key
	if above == nil {
		above, signer = c, key
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, above, key.Public(), signer))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must[*x509.Certificate](t)(x509.ParseCertificate(der))}
}

func (i *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.cert)
	return p
}

// secure plays over TLS.
func secure(config *tls.Config, play func(net.Conn)) func(net.Conn) {
	return func(nc net.Conn) {
		c := tls.Server(nc, config)
		if err := c.Handshake(); err != nil {
			if tcp, ok := nc.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // a close could overtake the alert
			}
			quiet(nc)
			return
		}
		defer c.Close()
		play(c)
	}
}

func TestTLSToTheParent(t *testing.T) {
	ca, other := newIssuer(t), newIssuer(t)
	named := ca.sign(t, &x509.Certificate{DNSNames: []string{"proxy.example"}})
	addressed := ca.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	client := ca.sign(t, &x509.Certificate{})
	trusts := func(i *issuer) *tls.Config { return &tls.Config{RootCAs: i.pool()} }
	wants := &tls.Config{Certificates: []tls.Certificate{addressed}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool()}
	shows := trusts(ca)
	shows.Certificates = []tls.Certificate{client}
	calls := trusts(ca)
	calls.ServerName = "proxy.example"
	speaksBoth := trusts(ca)
	speaksBoth.NextProtos = []string{"h2", "http/1.1"}
	old := &tls.Config{Certificates: []tls.Certificate{addressed}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}

	for _, tt := range []struct {
		name, host string
		server     *tls.Config
		client     *tls.Config
		kind       fault.Kind
	}{
		{"by name", "proxy.example", &tls.Config{Certificates: []tls.Certificate{named}}, trusts(ca), fault.None},
		{"by address", "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{addressed}}, trusts(ca), fault.None},
		{"by address in ipv6", "::ffff:127.0.0.1", &tls.Config{Certificates: []tls.Certificate{addressed}}, trusts(ca), fault.None},
		{"by another name", "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{named}}, calls, fault.None},
		{"never h2", "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{addressed}, NextProtos: []string{"h2", "http/1.1"}}, speaksBoth, fault.None},
		{"client certificate", "127.0.0.1", wants, shows, fault.None},
		{"no client certificate", "127.0.0.1", wants, trusts(ca), fault.TLSAlertReceived},
		{"wrong name", "proxy.example", &tls.Config{Certificates: []tls.Certificate{addressed}}, trusts(ca), fault.TLSCertificateError},
		{"unknown authority", "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{addressed}}, trusts(other), fault.TLSCertificateError},
		{"the system's roots", "127.0.0.1", &tls.Config{Certificates: []tls.Certificate{addressed}}, nil, fault.TLSCertificateError},
		{"an old version", "127.0.0.1", old, trusts(ca), fault.TLSAlertReceived},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := peer(t, secure(tt.server, says("HTTP/1.1 200 OK\r\n\r\nbanner")))
			p := proxy(t, parent.HTTPS, addr)
			p.Host, p.TLS = tt.host, tt.client
			nc := dial(t, addr)
			over, early, err := p.Tunnel(bounded(t), nc, "a:1")
			if tt.kind != fault.None {
				judged(t, err, tt.kind, 502, parent.Parent)
				closed(t, nc)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer over.Close()
			if c, ok := over.(*tls.Conn); !ok || c.NetConn() != net.Conn(nc) || c.ConnectionState().NegotiatedProtocol == "h2" {
				t.Errorf("%T", over)
			}
			rest := make([]byte, len("banner")-len(early))
			if _, err := io.ReadFull(over, rest); err != nil || string(early)+string(rest) != "banner" {
				t.Errorf("%q %q %v", early, rest, err)
			}
		})
	}
}

func TestParentWithoutTLS(t *testing.T) {
	for name, play := range map[string]func(net.Conn){
		"http":       func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); quiet(c) },
		"other tls?": func(c net.Conn) { _, _ = c.Write(make([]byte, 100)); quiet(c) },
	} {
		t.Run(name, func(t *testing.T) {
			addr := peer(t, play)
			nc := dial(t, addr)
			_, _, err := proxy(t, parent.HTTPS, addr).Tunnel(bounded(t), nc, "a:1")
			judged(t, err, fault.TLSProtocolError, 502, parent.Parent)
			closed(t, nc)
		})
	}
	addr := peer(t, func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 16)) })
	_, _, err := proxy(t, parent.HTTPS, addr).Tunnel(bounded(t), dial(t, addr), "a:1")
	judged(t, err, fault.ConnectionTerminated, 502, parent.Parent)
}

// TestTLSParentRefuses: the refusal comes over TLS, and all of it is closed.
func TestTLSParentRefuses(t *testing.T) {
	ca := newIssuer(t)
	cert := ca.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	addr := peer(t, secure(&tls.Config{Certificates: []tls.Certificate{cert}}, says("HTTP/1.1 407 x\r\n\r\n")))
	p := proxy(t, parent.HTTPS, addr)
	p.TLS = &tls.Config{RootCAs: ca.pool()}
	nc := dial(t, addr)
	_, _, err := p.Tunnel(bounded(t), nc, "a:1")
	judged(t, err, fault.ConfigurationError, 500, parent.Us)
	closed(t, nc)
	if p.TLS.ServerName != "" || p.TLS.NextProtos != nil {
		t.Error("the operator's configuration was changed")
	}
}
