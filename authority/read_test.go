package authority_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os/exec"
	"strings"
	"testing"
	"time"

	"viaduct/authority"
)

func TestParseSaysWhatIsWrong(t *testing.T) {
	key, other := ecKey(t), ecKey(t)
	good, goodKey := certPEM(signed(t, key, nil, nil, nil)), keyPEM(t, key)
	with := func(change func(c *x509.Certificate)) []byte { return certPEM(signed(t, key, nil, nil, change)) }
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small := rsaKey(t, 1024)
	block, _ := pem.Decode(good)
	secret, _ := pem.Decode(goodKey)
	damaged := func(b *pem.Block) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes[:len(b.Bytes)-9]})
	}
	typed := func(name string, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: name, Headers: headers, Bytes: secret.Bytes})
	}
	for _, tt := range []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{"empty", nil, goodKey, "ca.crt: it is empty"},
		{"zeros", make([]byte, 4096), goodKey, "ca.crt: it is not PEM"},
		{"DER", block.Bytes, goodKey, "ca.crt: it is DER or PKCS #12: make it PEM with openssl x509"},
		{"cut", good[:len(good)/2], goodKey, "ca.crt: it is damaged: what begins with"},
		{"damaged", damaged(block), goodKey, "ca.crt: certificate 1 in it is damaged: "},
		{"second damaged", append(bytes.Clone(good), damaged(block)...), goodKey, "ca.crt: certificate 2 in it is damaged: "},
		{"key in the certificate", append(bytes.Clone(good), goodKey...), goodKey, "ca.crt: a private key is in it"},
		{"swapped", goodKey, good, "ca.crt: it holds a private key and no certificate: are the two files swapped?"},
		{"leaf", with(func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = 0 }), goodKey, "ca.crt: it is not the certificate of an authority (CA:TRUE)"},
		{"no constraints", with(func(c *x509.Certificate) { c.BasicConstraintsValid = false; c.IsCA = false; c.KeyUsage = 0 }), goodKey, "ca.crt: it is not the certificate of an authority (CA:TRUE)"},
		{"key usage", with(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }), goodKey, "ca.crt: it may not sign certificates (key usage)"},
		{"purpose", with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), goodKey, "ca.crt: it may not sign certificates of servers (extended key usage)"},
		{"ended", with(func(c *x509.Certificate) {
			c.NotAfter = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
			c.NotBefore = c.NotAfter
		}), goodKey, "ca.crt: it ended on 2020-01-02: make a new one with viaduct ca init DIR"},
		{"not begun", with(func(c *x509.Certificate) {
			c.NotBefore = time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)
			c.NotAfter = c.NotBefore
		}), goodKey, "ca.crt: it begins on 2100-01-02 only"},
		{"RSA of 1024 bits", certPEM(signed(t, small, nil, nil, nil)), keyPEM(t, small), "ca.crt: its RSA key has 1024 bits, and clients want 2048"},
		{"a bundle", append(bytes.Clone(good), certPEM(signed(t, other, nil, nil, nil))...), goodKey, "ca.crt: certificate 2 in it did not sign the one before it"},

		{"no key", good, nil, "ca.key: it is empty"},
		{"cut key", good, goodKey[:len(goodKey)/2], "ca.key: it is damaged: what begins with"},
		{"certificate for a key", good, good, "ca.key: it holds a certificate and no private key: are the two files swapped?"},
		{"damaged key", good, damaged(secret), "ca.key: its private key is damaged, or of a kind that is not known: give an"},
		{"unknown type of key", good, pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1\x00")}), "ca.key: its private key is damaged, or of a kind that is not known: give an"},
		{"encrypted", good, typed("ENCRYPTED PRIVATE KEY", nil), "ca.key: it is encrypted"},
		{"encrypted of old", good, typed("EC PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}), "ca.key: it is encrypted"},
		{"another key", good, keyPEM(t, other), "ca.key: it is not the key of ca.crt"},
		{"another kind of key", good, keyPEM(t, small), "ca.key: it is not the key of ca.crt"},
		{"a key that cannot sign", good, keyPEM(t, x), "ca.key: its private key cannot sign"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := authority.Parse(tt.cert, tt.key)
			if err == nil || a != nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("%v, want %s", err, tt.want)
			}
			wantNothingTold(t, err, tt.key)
		})
	}
	if _, err := authority.Parse(good, goodKey); err != nil {
		t.Error(err)
	}
}

// wantNothingTold holds that an error is one line, without any of a key.
func wantNothingTold(t *testing.T, err error, key []byte) {
	t.Helper()
	text := err.Error()
	if len(text) > 600 || strings.Contains(text, "\n") {
		t.Errorf("not a line: %q", text)
	}
	for line := range bytes.Lines(key) {
		if line := bytes.TrimSpace(line); len(line) > 30 && strings.Contains(text, string(line)) {
			t.Errorf("the key is told: %q", text)
		}
	}
}

// Files as openssl writes them.
func TestOpensslFiles(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	openssl := func(words string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "openssl", strings.Fields(words)...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", words, err, out)
		}
	}
	openssl("ecparam -name prime256v1 -genkey -out ec.key")
	openssl("genrsa -out rsa.key 2048")
	openssl("genpkey -algorithm ed25519 -out ed.key")
	for _, kind := range []string{"ec", "rsa", "ed"} {
		openssl("req -x509 -new -key " + kind + ".key -subj /CN=Corp -days 30 -text -out " + kind + ".crt")
		a, err := authority.Parse(read(t, dir, kind+".crt"), read(t, dir, kind+".key"))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if err := verify(certificate(t, a, "example.com"), trusting(t, read(t, dir, kind+".crt")), "example.com"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		openssl("pkcs8 -topk8 -passout pass:secret -in " + kind + ".key -out locked.key")
		if _, err := authority.Parse(read(t, dir, kind+".crt"), read(t, dir, "locked.key")); err == nil || !strings.HasPrefix(err.Error(), "ca.key: it is encrypted") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// Whatever the files hold, it is refused in one line, or it works.
func FuzzParse(f *testing.F) {
	dir, _ := made(f, authority.InitOptions{})
	cert, key := read(f, dir, authority.CertFile), read(f, dir, authority.KeyFile)
	f.Add(cert, key)
	f.Add(key, cert)
	f.Add(append(bytes.Clone(cert), cert...), append([]byte("-----BEGIN EC PARAMETERS-----\n\n-----END EC PARAMETERS-----\n"), key...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: x\n\nMAA=\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		a, err := authority.Parse(cert, key)
		if err != nil {
			if a != nil {
				t.Error("an authority and an error")
			}
			wantNothingTold(t, err, key)
			return
		}
		if c := certificate(t, a, "example.com"); c.Leaf.VerifyHostname("example.com") != nil {
			t.Error("it is for another host")
		}
	})
}
