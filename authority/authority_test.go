package authority_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"viaduct/authority"
)

// made is a new authority, in a folder.
func made(t testing.TB, o authority.InitOptions) (dir string, a *authority.Authority) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ca")
	if _, err := authority.Init(dir, o); err != nil {
		t.Fatal(err)
	}
	a, err := authority.Parse(read(t, dir, authority.CertFile), read(t, dir, authority.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return dir, a
}

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func certificate(t testing.TB, a *authority.Authority, host string) *tls.Certificate {
	t.Helper()
	c, err := a.Certificate(host)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trusting are the roots of a client that was told to trust what is in a file.
func trusting(t testing.TB, text []byte) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no certificate")
	}
	return roots
}

// verify judges a chain as a client does that wants to speak to a host.
func verify(c *tls.Certificate, roots *x509.CertPool, host string) error {
	between := x509.NewCertPool()
	for _, der := range c.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(cert)
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	return err
}

var hosts = []string{
	"example.com", "a.b.c.example.com", "localhost", "_my_host.example", "xn--bcher-kva.example", "1.2.3.4.example",
	strings.Repeat("a", 63) + ".example", strings.Repeat("long.", 49) + "example",
	"192.0.2.1", "127.0.0.1", "2001:db8::1", "::1", "fe80::1",
}

func TestClientsTrustWhatIsMinted(t *testing.T) {
	dir, a := made(t, authority.InitOptions{})
	roots := trusting(t, read(t, dir, authority.CertFile))
	_, stranger := made(t, authority.InitOptions{})
	for _, host := range hosts {
		c := certificate(t, a, host)
		if err := verify(c, roots, host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if verify(c, roots, "other.example") == nil || verify(c, roots, "192.0.2.2") == nil || verify(c, roots, "www."+host) == nil {
			t.Errorf("the certificate of %s is good for others", host)
		}
		if verify(certificate(t, stranger, host), roots, host) == nil {
			t.Errorf("%s: what another authority signed is trusted", host)
		}
	}
	if got := a.Stats(); got != (authority.Stats{Minted: len(hosts), Cached: len(hosts)}) {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsInACertificate(t *testing.T) {
	dir, a := made(t, authority.InitOptions{})
	block, _ := pem.Decode(read(t, dir, authority.CertFile))
	for _, host := range hosts {
		c := certificate(t, a, host)
		l := c.Leaf
		if l == nil || len(c.Certificate) != 2 || string(c.Certificate[0]) != string(l.Raw) || string(c.Certificate[1]) != string(block.Bytes) {
			t.Fatalf("%s: not a leaf with its authority", host)
		}
		if want := host; l.Subject.CommonName != want && (len(host) <= 64 || l.Subject.CommonName != "") {
			t.Errorf("%s is called %q", host, l.Subject.CommonName)
		}
		addr := net.ParseIP(host)
		if addr == nil && (len(l.DNSNames) != 1 || l.DNSNames[0] != host || l.IPAddresses != nil) ||
			addr != nil && (len(l.IPAddresses) != 1 || !l.IPAddresses[0].Equal(addr) || l.DNSNames != nil) {
			t.Errorf("%s: it is for %v and %v", host, l.DNSNames, l.IPAddresses)
		}
		if l.IsCA || l.KeyUsage != x509.KeyUsageDigitalSignature || len(l.ExtKeyUsage) != 1 || l.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
			t.Errorf("%s: it may be used for too much: %+v", host, l)
		}
		if d := l.NotAfter.Sub(l.NotBefore); d > 31*24*time.Hour || l.SerialNumber.BitLen() < 64 || l.SerialNumber.Sign() <= 0 {
			t.Errorf("%s: it lasts %v, number %v", host, d, l.SerialNumber)
		}
		if string(l.AuthorityKeyId) == "" || l.PublicKeyAlgorithm != x509.ECDSA {
			t.Errorf("%s: authority %x, %v", host, l.AuthorityKeyId, l.PublicKeyAlgorithm)
		}
	}
	one, two := certificate(t, a, "one.example"), certificate(t, a, "two.example")
	if one.PrivateKey != two.PrivateKey || one.Leaf.SerialNumber.Cmp(two.Leaf.SerialNumber) == 0 {
		t.Error("two keys, or one number")
	}
}

func TestHandshake(t *testing.T) {
	dir, a := made(t, authority.InitOptions{})
	roots := trusting(t, read(t, dir, authority.CertFile))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		near, far := net.Pipe()
		served := make(chan error, 1)
		go func() {
			s := tls.Server(far, &tls.Config{MinVersion: version, MaxVersion: version, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return a.Certificate(h.ServerName) }})
			_, err := s.Write([]byte("hello"))
			s.Close()
			served <- err
		}()
		c := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "example.com"})
		if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		near.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// What openssl thinks of it, by the letter of RFC 5280.
func TestOpensslAgrees(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	dir, a := made(t, authority.InitOptions{})
	for _, host := range hosts {
		file := filepath.Join(t.TempDir(), "leaf.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t, a, host).Certificate[0]}), 0o600); err != nil {
			t.Fatal(err)
		}
		kind := "-verify_hostname"
		if net.ParseIP(host) != nil {
			kind = "-verify_ip"
		}
		out, err := exec.CommandContext(t.Context(), "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", filepath.Join(dir, authority.CertFile), kind, host, file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", host, err, out)
		}
	}
}

// signed makes a certificate of an authority; by itself without a parent.
func signed(t testing.TB, key, parentKey crypto.Signer, parent *x509.Certificate, change func(c *x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		Subject:               pkix.Name{CommonName: t.Name() + rand.Text()[:4]},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(1000 * time.Hour),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if change != nil {
		change(c)
	}
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func certPEM(certs ...*x509.Certificate) (text []byte) {
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

func keyPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Authorities that the operator brings.
func TestKindsOfKeys(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, e := rsaKey(t, 2048), ecKey(t)
	sec1, err := x509.MarshalECPrivateKey(e)
	if err != nil {
		t.Fatal(err)
	}
	ecText := append([]byte("words\n-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		text []byte
	}{
		{"Ed25519", ed, keyPEM(t, ed)},
		{"RSA", r, keyPEM(t, r)},
		{"RSA of PKCS 1", r, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(r)})},
		{"ECDSA", e, keyPEM(t, e)},
		{"ECDSA of SEC 1", e, ecText},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := append([]byte("Certificate:\n    Data:\n"), certPEM(signed(t, tt.key, nil, nil, nil))...)
			a, err := authority.Parse(text, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"example.com", "::1"} {
				if err := verify(certificate(t, a, host), trusting(t, text), host); err != nil {
					t.Errorf("%s: %v", host, err)
				}
			}
		})
	}
}

// An authority below another one shows those that lead to the root.
func TestAuthorityBelowARoot(t *testing.T) {
	rootKey, key := ecKey(t), ecKey(t)
	root := signed(t, rootKey, nil, nil, nil)
	middle := signed(t, key, rootKey, root, nil)
	for _, file := range [][]byte{certPEM(middle), certPEM(middle, root)} {
		a, err := authority.Parse(file, keyPEM(t, key))
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(certificate(t, a, "example.com"), trusting(t, certPEM(root)), "example.com"); err != nil {
			t.Error(err)
		}
	}
}
