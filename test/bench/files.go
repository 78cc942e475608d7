package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	userName = "bench"
	password = "bench"
	// usersFile is an htpasswd file of that user, bcrypt at the usual cost of 10.
	usersFile  = userName + ":$2y$10$HS00oDjYxccA8xn.3jSt6Obx6sE3vViXZUac2170KyMSpPAyuz0y.\n"
	listLength = 1_000_000
)

func proxyAuthorization(user, password string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + "\r\n"
}

// writeFiles makes the files that commands are told of: the certificate, the
// users, the lists and the authority. Proxies that change user must read them,
// the key too, which is thrown away after use; that of the authority some want
// to be private.
func (b *bench) writeFiles() error {
	cert, key, err := makeCert(false)
	if err != nil {
		return err
	}
	if err := b.writeAuthority(); err != nil {
		return err
	}
	list, dotlist := makeLists(listLength)
	b.denied = string(list[:bytes.IndexByte(list, '\n')])
	for name, text := range map[string][]byte{
		"cert": cert, "key": key, "certkey": slices.Concat(cert, key),
		"users": []byte(usersFile), "list": list, "dotlist": dotlist,
	} {
		b.vars[name] = filepath.Join(b.work, name)
		if err := os.WriteFile(b.vars[name], text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeAuthority makes the authority that certificates for inspection are minted by.
func (b *bench) writeAuthority() error {
	cert, key, err := makeCert(true)
	if err != nil {
		return err
	}
	b.ca = x509.NewCertPool()
	b.ca.AppendCertsFromPEM(cert)
	b.vars["ca"] = filepath.Join(b.work, "ca")
	if err := os.MkdirAll(b.vars["ca"], 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.vars["ca"], "ca.crt"), cert, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.vars["ca"], "ca.key"), key, 0o600)
}

// makeLists makes a list of n different names, one a line, and the same with a
// dot before each, which means all names below it. None is below another.
func makeLists(n int) (list, dotlist []byte) {
	tops := []string{"com", "net", "org", "example", "co.uk", "info", "io", "de"}
	for i := range uint32(n) {
		// Neighbours in the list look as different as in real ones: an odd
		// factor shuffles the numbers and gives none twice.
		name := fmt.Appendf(nil, "ads%x.%s\n", i*2654435761, tops[i%8])
		list = append(list, name...)
		dotlist = append(append(dotlist, '.'), name...)
	}
	return list, dotlist
}

// makeCert makes a self-signed certificate, for the loopback or of an authority,
// and its key, as PEM.
func makeCert(authority bool) (cert, key []byte, err error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(0, 0, 7),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if authority {
		t.Subject.CommonName, t.DNSNames, t.IPAddresses = "benchmark authority", nil, nil
		t.BasicConstraintsValid, t.IsCA, t.KeyUsage = true, true, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &priv.PublicKey, priv)
	if err != nil {
		return nil, nil, err
	}
	pk, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: pk})
	return cert, key, nil
}
