package door_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"viaduct/door"
)

// TestMain fails the package if goroutines or descriptors are left.
func TestMain(m *testing.M) {
	flag.Parse()
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the poller's own descriptors are open from here on
		_ = l.Close()
	}
	fds, routines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if code == 0 && !fuzzing && os.Getenv("LISTEN_FDS") == "" {
		code = left(fds, routines)
	}
	os.Exit(code)
}

// left is the exit code of the package.
func left(fds, routines int) int {
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > routines || descriptors() > fds; <-time.After(2 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Printf("%d goroutines, were %d; %d descriptors, were %d\n%s\n",
				runtime.NumGoroutine(), routines, descriptors(), fds, buf[:runtime.Stack(buf, true)])
			return 1
		}
	}
	return 0
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// issuer is an authority of the tests.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newIssuer(t testing.TB, name string) *issuer {
	t.Helper()
	own := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, key := sign(t, own, nil, ecKey(t))
	return &issuer{cert, key}
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate, by itself when there is no issuer.
func sign(t testing.TB, c *x509.Certificate, by *issuer, key crypto.Signer) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = serial
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(365 * 24 * time.Hour)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

// server makes the certificate of a listener for some names.
func (i *issuer) server(t testing.TB, key crypto.Signer, names ...string) tls.Certificate {
	t.Helper()
	c, key := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, i, key)
	pair, err := door.ParsePair(certPEM(c), keyPEM(t, key))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// client makes the certificate of a client, which ends in some time.
func (i *issuer) client(t testing.TB, name string, lasts time.Duration, uses ...x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	c, key := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, ExtKeyUsage: uses, NotAfter: time.Now().Add(lasts),
		NotBefore: time.Now().Add(-1000 * time.Hour),
	}, i, ecKey(t))
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}

func (i *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.cert)
	return p
}

func certPEM(list ...*x509.Certificate) (out []byte) {
	for _, c := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func keyPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// pair is both ends of a TCP connection.
func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// outcome is what came of a handshake. err is that of the client, or of reading
// the byte that the listener sends after its handshake: in TLS 1.3 a client is
// told only there that its certificate is refused.
type outcome struct {
	err, refused error // of the client, of the listener
	state        tls.ConnectionState
	peer         *x509.Certificate
}

// as is the name of who came in, "" for nobody.
func (o outcome) as() string {
	if o.peer == nil {
		return ""
	}
	return o.peer.Subject.CommonName
}

func (o outcome) shown() string { return o.state.PeerCertificates[0].Subject.CommonName }

func shake(t testing.TB, v *door.Vault, c *tls.Config) (o outcome) {
	t.Helper()
	near, far := pair(t)
	client, server := tls.Client(near, c), v.Server(far)
	served := make(chan error)
	go func() {
		err := server.Handshake()
		if err == nil {
			_, err = server.Write([]byte{1})
		} else {
			_ = far.(*net.TCPConn).CloseWrite() // a close could overtake the alert
		}
		served <- err
	}()
	if o.err = client.Handshake(); o.err == nil {
		_, o.err = client.Read(make([]byte, 1))
	}
	if o.err != nil {
		_ = near.(*net.TCPConn).CloseWrite()
	}
	o.refused = <-served
	o.state = client.ConnectionState()
	if o.refused == nil {
		if chain := door.Peer(server); chain != nil {
			o.peer = chain[0]
		}
	}
	_, _ = near.Close(), far.Close()
	return o
}
