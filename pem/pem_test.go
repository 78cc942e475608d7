package pem_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"viaduct/pem"
)

func block(kind string, body []byte) []byte {
	return encoding.EncodeToMemory(&encoding.Block{Type: kind, Bytes: body})
}

// made is a certificate and its key.
func made(t testing.TB) (cert, key []byte, signer *ecdsa.PrivateKey) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", secret), signer
}

func TestCertificatesAndKeyOfOneFile(t *testing.T) {
	cert, key, signer := made(t)
	other, _, _ := made(t)
	for name, text := range map[string][]byte{
		"key first": bytes.Join([][]byte{key, cert, other}, nil),
		"key last":  bytes.Join([][]byte{cert, other, key}, nil),
		"words":     bytes.Join([][]byte{[]byte("Subject: x\n"), cert, []byte("\n# more\n"), key, other}, nil),
		"CRLF":      bytes.ReplaceAll(bytes.Join([][]byte{cert, key, other}, nil), []byte("\n"), []byte("\r\n")),
	} {
		certs, err := pem.Certificates(text)
		if err != nil || len(certs) != 2 || !pem.Belongs(signer, certs[0]) || pem.Belongs(signer, certs[1]) {
			t.Errorf("%s: %d certificates, %v", name, len(certs), err)
		}
		got, err := pem.Key(text)
		if err != nil || !signer.Equal(got.(crypto.PrivateKey)) || !pem.HoldsKey(text) {
			t.Errorf("%s: %T, %v", name, got, err)
		}
	}
	if pem.HoldsKey(cert) || pem.HoldsKey(nil) {
		t.Error("a key where there is none")
	}
}

func TestMistakesAreToldApart(t *testing.T) {
	cert, key, _ := made(t)
	der, _ := encoding.Decode(cert)
	for name, c := range map[string]struct {
		text            []byte
		certs, privates string
	}{
		"nothing":     {nil, "it is empty", "it is empty"},
		"blanks":      {[]byte(" \n"), "it is empty", "it is empty"},
		"prose":       {[]byte("hello"), "not PEM", "not PEM"},
		"DER":         {der.Bytes, "DER or PKCS #12", "DER or PKCS #12"},
		"cut":         {append(bytes.Clone(cert), key[:len(key)-9]...), "it is damaged", "it is damaged"},
		"not a body":  {block("CERTIFICATE", []byte("x")), "certificate 1 in it is damaged", "certificate and no private key"},
		"a request":   {block("CERTIFICATE REQUEST", []byte("x")), "request for a certificate", "no private key in it"},
		"key alone":   {key, "private key and no certificate: are the two files swapped?", ""},
		"certificate": {cert, "", "certificate and no private key: are the two files swapped?"},
		"damaged key": {block("PRIVATE KEY", []byte("x")), "no certificate", "damaged, or of a kind that is not known"},
		"encrypted":   {block("ENCRYPTED PRIVATE KEY", []byte("x")), "no certificate", "openssl pkey"},
	} {
		_, first := pem.Certificates(c.text)
		_, second := pem.Key(c.text)
		for want, err := range map[string]error{c.certs: first, c.privates: second} {
			if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	if _, err := pem.Certificates(key); !errors.Is(err, pem.ErrOnlyKey) {
		t.Error(err)
	}
	if _, err := pem.Key(block("PUBLIC KEY", nil)); !errors.Is(err, pem.ErrNoKey) {
		t.Error(err)
	}
}

func TestPrivate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.key")
	if err := pem.Private(file); !os.IsNotExist(err) {
		t.Errorf("%v of a file that is not there", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := file + ".link"
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o660: true, 0o000: true, 0o611: true, 0o644: false, 0o604: false, 0o602: false, 0o777: false} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{file, link} {
			err := pem.Private(path)
			if (err == nil) != ok || err != nil && err.Error() != path+" is open to every user of this machine: chmod 600 "+path {
				t.Errorf("%v: %v", mode, err)
			}
		}
	}
}
