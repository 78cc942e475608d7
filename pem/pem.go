// Package pem reads the certificates and private keys that stand in files. What
// is wrong with one it says in words that tell what to do, and nothing of a key.
package pem

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Errors that mean something else where the file was expected to hold something else.
var (
	ErrOnlyKey = errors.New("it holds a private key and no certificate: are the two files swapped?")
	ErrNoKey   = errors.New("there is no private key in it, which begins with -----BEGIN PRIVATE KEY-----")
)

var (
	errEmpty     = errors.New("it is empty")
	errDER       = errors.New("it is DER or PKCS #12: make it PEM with openssl x509, pkey or pkcs12")
	errNoPEM     = errors.New("it is not PEM, which begins with -----BEGIN")
	errDamaged   = errors.New("it is damaged: what begins with -----BEGIN does not end as it should")
	errRequest   = errors.New("it holds a request for a certificate: let an authority sign it")
	errNoPart    = errors.New("there is no certificate in it, which begins with -----BEGIN CERTIFICATE-----")
	errSwapped   = errors.New("it holds a certificate and no private key: are the two files swapped?")
	errEncrypted = errors.New("it is encrypted, and nobody is there to be asked for its password: decrypt it with openssl pkey, and chmod 600 it")
	errBadKey    = errors.New("its private key is damaged, or of a kind that is not known: give an ECDSA, RSA or Ed25519 key")
	errNoSigner  = errors.New("its private key cannot sign: give an ECDSA, RSA or Ed25519 key")
)

const certificate = "CERTIFICATE"

// Certificates reads all certificates of a text, of which there is at least one.
// Words around them are allowed, as openssl writes some, and so are keys.
func Certificates(text []byte) ([]*x509.Certificate, error) {
	blocks, err := split(text)
	if err != nil {
		return nil, err
	}
	var list []*x509.Certificate
	other := errNoPart
	for _, b := range blocks {
		switch {
		case b.Type == certificate:
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate %d in it is damaged: %w", len(list)+1, err)
			}
			list = append(list, c)
		case isKey(b):
			other = ErrOnlyKey
		case strings.HasSuffix(b.Type, "CERTIFICATE REQUEST"):
			other = errRequest
		}
	}
	if list == nil {
		return nil, other
	}
	return list, nil
}

// Key reads the first private key of a text: ECDSA, RSA or Ed25519. It is
// ErrNoKey if there is nothing like one in it.
func Key(text []byte) (crypto.Signer, error) {
	blocks, err := split(text)
	if err != nil {
		return nil, err
	}
	missing := ErrNoKey
	for _, b := range blocks {
		switch {
		case isKey(b):
			return parseKey(b)
		case b.Type == certificate:
			missing = errSwapped
		}
	}
	return nil, missing
}

// Belongs tells whether a certificate is for a key.
func Belongs(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(x crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// HoldsKey tells whether a private key stands in a text, be it of use or not.
func HoldsKey(text []byte) bool {
	blocks, _ := split(text)
	return slices.ContainsFunc(blocks, isKey)
}

// Private is nil if a file, one with a key, is closed to those who are neither its
// owner nor of its group. The group may be let in: so do containers with their
// secrets.
func Private(path string) error {
	const others fs.FileMode = 0o006
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode()&others != 0 {
		return fmt.Errorf("%s is open to every user of this machine: chmod 600 %[1]s", path)
	}
	return nil
}

// isKey tells private keys, encrypted or not, by what openssl calls them.
func isKey(b *pem.Block) bool { return strings.HasSuffix(b.Type, "PRIVATE KEY") }

// parseKey reads a key in any of the forms there are. Their own errors speak of
// bytes of the key.
func parseKey(b *pem.Block) (crypto.Signer, error) {
	if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" { // RFC 7468 section 11, RFC 1421 section 4.6.1.3
		return nil, errEncrypted
	}
	if key, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		return nil, errBadKey
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errNoSigner
	}
	return signer, nil
}

// split finds the parts of a text. The standard library skips what it cannot
// read, and an authority that is missing is not noticed before it is needed.
func split(text []byte) (blocks []*pem.Block, err error) {
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		blocks = append(blocks, b)
	}
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errEmpty
	case len(blocks) < bytes.Count(text, []byte("-----BEGIN ")):
		return nil, errDamaged
	case len(blocks) > 0:
		return blocks, nil
	case text[0] == 0x30: // SEQUENCE
		return nil, errDER
	}
	return nil, errNoPEM
}
