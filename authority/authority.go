// Package authority is the local certificate authority of inspection: it signs
// the certificates that are shown to clients where TLS is opened, each for one
// host. Only clients that were told to trust it accept them.
package authority

import (
	"container/list"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"viaduct/pem"
)

// Files of a folder that holds an authority.
const (
	CertFile = "ca.crt" // what clients trust; may be shown to anybody
	KeyFile  = "ca.key" // whoever has it can pretend to be any site to them
)

// Authority signs certificates, and remembers them for a while. It is safe for
// concurrent use.
type Authority struct {
	cert  *x509.Certificate
	chain [][]byte // cert, and those behind it in its file
	key   crypto.Signer

	leafKey func() (*ecdsa.PrivateKey, error) // of every leaf: so that one costs a signature, and no key
	minted  atomic.Int64

	mu     sync.Mutex               // guards what follows
	leaves map[string]*list.Element // by host; their values are *leaf
	recent *list.List               // the one asked for last is in front
}

// Own is the authority's own certificate, which clients trust.
func (a *Authority) Own() *x509.Certificate { return a.cert }

// Stats is what an authority has done.
type Stats struct {
	Minted int // certificates signed so far
	Cached int // certificates kept now
}

// Parse reads an authority: its certificate, behind which those may stand that
// lead to the root, and its private key, both PEM. The key may be ECDSA, RSA or
// Ed25519. An error begins with the name of the file that it is about, and tells
// nothing of the key.
func Parse(cert, key []byte) (*Authority, error) {
	certs, err := pem.Certificates(cert)
	switch {
	case err == nil && pem.HoldsKey(cert):
		err = errors.New("a private key is in it, and it is handed out to clients: the key belongs into " + KeyFile)
	case err == nil:
		err = check(certs, time.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", CertFile, err)
	}
	signer, err := pem.Key(key)
	if err == nil && !pem.Belongs(signer, certs[0]) {
		err = errors.New("it is not the key of " + CertFile + ": take both from one viaduct ca init")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyFile, err)
	}
	a := &Authority{cert: certs[0], key: signer, leafKey: sync.OnceValues(newKey), leaves: map[string]*list.Element{}, recent: list.New()}
	for _, c := range certs {
		a.chain = append(a.chain, c.Raw)
	}
	return a, nil
}

// check says why clients would not take what the first certificate signs.
func check(certs []*x509.Certificate, now time.Time) error {
	c := certs[0]
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("it is not the certificate of an authority (CA:TRUE): make one with viaduct ca init DIR")
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("it may not sign certificates (key usage): make one that may with viaduct ca init DIR")
	case !signsServers(c):
		return errors.New("it may not sign certificates of servers (extended key usage): make one that may with viaduct ca init DIR")
	case now.After(c.NotAfter):
		return errors.New("it ended on " + day(c.NotAfter) + ": make a new one with viaduct ca init DIR, and let clients trust it")
	case now.Before(c.NotBefore):
		return errors.New("it begins on " + day(c.NotBefore) + " only: is the clock of this machine right?")
	}
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < leastRSA {
		return fmt.Errorf("its RSA key has %d bits, and clients want %d: make one with viaduct ca init DIR", k.N.BitLen(), leastRSA)
	}
	for i, c := range certs[1:] {
		if err := certs[i].CheckSignatureFrom(c); err != nil {
			return fmt.Errorf("certificate %d in it did not sign the one before it: leave in it the authority alone, or with those that lead to the root in order: %w", i+2, err)
		}
	}
	return nil
}

// leastRSA is what TLS clients accept of an RSA key, in bits.
const leastRSA = 2048

// signsServers tells whether the extended key usage of an authority, which
// clients hold against what it signs, leaves it servers.
func signsServers(c *x509.Certificate) bool {
	for _, u := range c.ExtKeyUsage {
		if u == x509.ExtKeyUsageAny || u == x509.ExtKeyUsageServerAuth {
			return true
		}
	}
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Certificate returns the certificate of a host, a name in A-label form or an IP
// address, with its chain: a kept one, or else a new one, for which all wait who
// ask for it meanwhile. It is shared, and must not be changed.
func (a *Authority) Certificate(host string) (*tls.Certificate, error) {
	host, err := canonical(host)
	if err != nil {
		return nil, err
	}
	now := time.Now().Round(0) // by the clock on the wall, as clients judge it
	if now.After(a.cert.NotAfter) {
		return nil, errors.New("the certificate authority ended on " + day(a.cert.NotAfter) + ": make a new one with viaduct ca init DIR")
	}
	l := a.leaf(host, now)
	cert, err := l.mint()
	if err != nil {
		a.forget(l)
		return nil, fmt.Errorf("certificate of %s: %w", host, err)
	}
	return cert, nil
}

// Stats tells what the authority has done so far.
func (a *Authority) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Stats{Minted: int(a.minted.Load()), Cached: len(a.leaves)}
}
