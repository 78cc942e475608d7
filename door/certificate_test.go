package door_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"viaduct/door"
)

func TestMistakesInCertificatesAreToldApart(t *testing.T) {
	site := newIssuer(t, "site")
	key := ecKey(t)
	leaf, _ := sign(t, &x509.Certificate{DNSNames: []string{"proxy.test"}}, site, key)
	cert, good := certPEM(leaf), keyPEM(t, key)
	block := func(kind string, body []byte, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: body, Headers: headers})
	}
	legacy := block("RSA PRIVATE KEY", []byte("x"), map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"})
	for name, c := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"nothing":                  {nil, good, "certificate cannot be used: it is empty"},
		"blanks":                   {[]byte(" \n"), good, "certificate cannot be used: it is empty"},
		"prose":                    {[]byte("hello"), good, "certificate cannot be used: it is not PEM"},
		"DER":                      {leaf.Raw, good, "certificate cannot be used: it is DER"},
		"a request":                {block("CERTIFICATE REQUEST", leaf.Raw, nil), good, "request for a certificate"},
		"another thing":            {block("PUBLIC KEY", leaf.Raw, nil), good, "there is no certificate in it"},
		"swapped":                  {good, cert, "swapped"},
		"cut":                      {cert[:len(cert)/2], good, "certificate cannot be used: it is damaged"},
		"an authority that is cut": {append(bytes.Clone(cert), cert[:len(cert)-9]...), good, "certificate cannot be used: it is damaged"},
		"not a certificate":        {append(bytes.Clone(cert), block("CERTIFICATE", []byte("x"), nil)...), good, "certificate 2 in it is damaged"},
		"no key anywhere":          {cert, nil, "its key is in another file: name it with --tls-key"},
		"no key":                   {cert, cert, "it holds a certificate and no private key: are the two files swapped?"},
		"an empty key":             {cert, []byte{}, "key cannot be used: it is empty"},
		"a key in DER":             {cert, []byte{0x30, 1}, "key cannot be used: it is DER"},
		"a key that is cut":        {cert, good[:50], "key cannot be used: it is damaged"},
		"an encrypted key":         {cert, block("ENCRYPTED PRIVATE KEY", []byte("x"), nil), "openssl pkey"},
		"one as of old":            {cert, legacy, "openssl pkey"},
		"a damaged key":            {cert, block("PRIVATE KEY", []byte("x"), nil), "give an ECDSA, RSA or Ed25519 key"},
		"another's key":            {cert, keyPEM(t, ecKey(t)), "key does not belong to the certificate"},
		"a key of another kind":    {cert, keyPEM(t, rsaKey(t)), "key does not belong to the certificate"},
		"the authority first":      {append(certPEM(site.cert), cert...), good, "key belongs to certificate 2"},
	} {
		pair, err := door.ParsePair(c.cert, c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if pair.PrivateKey != nil || err != nil && strings.Contains(err.Error(), "tls: tls:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGoodPairsAreRead(t *testing.T) {
	site := newIssuer(t, "site")
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ends := time.Now().Add(-time.Hour).Truncate(time.Second) // that it is over is for others to tell
	for name, key := range map[string]crypto.Signer{"ECDSA": ecKey(t), "RSA": rsaKey(t), "Ed25519": edwards} {
		leaf, _ := sign(t, &x509.Certificate{DNSNames: []string{"proxy.test"}, NotAfter: ends}, site, key)
		chain := append([]byte("Subject: proxy.test\n"), certPEM(leaf, site.cert)...)
		modern := keyPEM(t, key)
		for form, file := range map[string][2][]byte{
			"apart":     {chain, modern},
			"together":  {append(bytes.Clone(modern), chain...), nil},
			"key last":  {append(bytes.Clone(chain), modern...), nil},
			"of old":    {chain, oldKey(t, key)},
			"CRLF":      {bytes.ReplaceAll(chain, []byte("\n"), []byte("\r\n")), modern},
			"one twice": {append(bytes.Clone(modern), chain...), append(bytes.Clone(modern), chain...)},
		} {
			pair, err := door.ParsePair(file[0], file[1])
			if err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
				continue
			}
			if len(pair.Certificate) != 2 || !pair.Leaf.Equal(leaf) || !pair.Leaf.NotAfter.Equal(ends) {
				t.Errorf("%s, %s: %d certificates, until %v", name, form, len(pair.Certificate), pair.Leaf.NotAfter)
			}
		}
	}
}

// oldKey is a key as tools of old write it, if they know its kind, with the
// parameters that OpenSSL puts before it.
func oldKey(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})
		return append(parameters, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
	case *rsa.PrivateKey:
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	}
	return keyPEM(t, key)
}

func TestAuthoritiesAreRead(t *testing.T) {
	a, b := newIssuer(t, "a"), newIssuer(t, "b")
	pool, err := door.ParseAuthorities(append([]byte("# two\n"), certPEM(a.cert, b.cert)...))
	if err != nil {
		t.Fatal(err)
	}
	want := a.pool()
	want.AddCert(b.cert)
	if !pool.Equal(want) {
		t.Error("other authorities than in the file")
	}
	own, _ := sign(t, &x509.Certificate{DNSNames: []string{"self.test"}}, nil, ecKey(t))
	if pool, err = door.ParseAuthorities(certPEM(own)); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Verify(x509.VerifyOptions{Roots: pool, DNSName: "self.test"}); err != nil {
		t.Errorf("a certificate that signed itself: %v", err)
	}
	both := certPEM(a.cert, b.cert)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":            {nil, "empty"},
		"a key":              {keyPEM(t, a.key), "this is a private key: name the file with the certificates"},
		"DER":                {a.cert.Raw, "DER"},
		"one is cut":         {both[:len(both)-30], "damaged"},
		"the first is cut":   {append(bytes.Clone(both[:100]), both...), "damaged"},
		"damaged in between": {bytes.Replace(both, []byte("MII"), []byte("M*I"), 1), "damaged"},
	} {
		if pool, err := door.ParseAuthorities(c.data); pool != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParsePair(f *testing.F) {
	site := newIssuer(f, "site")
	key := ecKey(f)
	leaf, _ := sign(f, &x509.Certificate{DNSNames: []string{"proxy.test"}}, site, key)
	f.Add(certPEM(leaf, site.cert), keyPEM(f, key))
	f.Add(append(keyPEM(f, key), certPEM(leaf)...), []byte(nil))
	f.Add(leaf.Raw, []byte("-----BEGIN "))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		pair, err := door.ParsePair(cert, key)
		if err == nil && (pair.Leaf == nil || pair.PrivateKey == nil) {
			t.Error("a pair without its parts")
		}
		if pool, err := door.ParseAuthorities(cert); (pool == nil) == (err == nil) {
			t.Errorf("%v, %v", pool, err)
		}
	})
}
