package door

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"viaduct/pem"
)

var (
	errElsewhere = errors.New("its key is in another file: name it with --tls-key, or key in tls")
	errForeign   = errors.New("the key does not belong to the certificate: take both from one making, or look whether they stand in the same order")
	errKey       = errors.New("this is a private key: name the file with the certificates of the authorities here")
)

// ParsePair reads a certificate, with those between it and its authority, and
// its key, both PEM. A nil key stands in cert. An expired certificate is no
// error: that is for others to tell.
func ParsePair(cert, key []byte) (tls.Certificate, error) {
	list, err := pem.Certificates(cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("the certificate cannot be used: %w", err)
	}
	if key == nil && !pem.HoldsKey(cert) {
		return tls.Certificate{}, errElsewhere
	}
	if key == nil {
		key = cert
	}
	signer, err := pem.Key(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("the key cannot be used: %w", err)
	}
	fits := func(c *x509.Certificate) bool { return pem.Belongs(signer, c) }
	switch at := slices.IndexFunc(list, fits); at {
	case 0:
		return tls.X509KeyPair(cert, key)
	case -1:
		return tls.Certificate{}, errForeign
	default:
		return tls.Certificate{}, fmt.Errorf("the key belongs to certificate %d in its file: move that one to the top, those of its authorities follow", at+1)
	}
}

// ParseAuthorities reads the certificates of authorities, PEM. One that is no
// authority's is trusted for itself alone.
func ParseAuthorities(data []byte) (*x509.CertPool, error) {
	list, err := pem.Certificates(data)
	if errors.Is(err, pem.ErrOnlyKey) {
		err = errKey
	}
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range list {
		pool.AddCert(c)
	}
	return pool, nil
}
