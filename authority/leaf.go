package authority

import (
	"container/list"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	mostLeaves = 4096                // certificates that are kept: some 20 MB
	lasting    = 30 * 24 * time.Hour // of a certificate
	renewal    = 24 * time.Hour      // how long before its end another one is made
	tolerance  = 24 * time.Hour      // by which the clock of a client may be slow
)

const (
	maxName       = 253 // RFC 1035 section 2.3.4, without the root
	maxLabel      = 63  // the same
	maxCommonName = 64  // RFC 5280 appendix A.1, ub-common-name
)

// leaf is the certificate of a host, made or being made.
type leaf struct {
	host  string
	renew time.Time
	mint  func() (*tls.Certificate, error) // does it once
}

// leaf finds the leaf of a host, or makes room for a new one. Nothing is signed
// while the others are kept waiting.
func (a *Authority) leaf(host string, now time.Time) *leaf {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := a.leaves[host]; at != nil {
		if l := at.Value.(*leaf); now.Before(l.renew) {
			a.recent.MoveToFront(at)
			return l
		}
		a.remove(at)
	}
	end := now.Add(lasting)
	renew := end.Add(-renewal)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
		renew = end // a new one would not last any longer
	}
	host = strings.Clone(host) // it may be part of a message, whose memory is used again
	l := &leaf{host: host, renew: renew, mint: sync.OnceValues(func() (*tls.Certificate, error) { return a.sign(host, now, end) })}
	a.leaves[host] = a.recent.PushFront(l)
	if a.recent.Len() > mostLeaves {
		a.remove(a.recent.Back())
	}
	return l
}

// forget takes a leaf out that could not be made.
func (a *Authority) forget(l *leaf) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := a.leaves[l.host]; at != nil && at.Value == l {
		a.remove(at)
	}
}

// remove takes a leaf out. The caller holds a.mu.
func (a *Authority) remove(at *list.Element) {
	delete(a.leaves, a.recent.Remove(at).(*leaf).host)
}

// sign makes a certificate.
func (a *Authority) sign(host string, now, end time.Time) (*tls.Certificate, error) {
	key, err := a.leafKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		NotBefore:             now.Add(-tolerance),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if len(host) <= maxCommonName {
		template.Subject = pkix.Name{CommonName: host} // for people: clients look at what follows
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = []net.IP{addr.AsSlice()}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key) // with a random serial number
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a.minted.Add(1)
	return &tls.Certificate{Certificate: append([][]byte{der}, a.chain...), PrivateKey: key, Leaf: parsed}, nil
}

// canonical is the one spelling of a host, which must be an address or a name
// that a certificate can be for.
func canonical(host string) (string, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().WithZone("").String(), nil // a zone means nothing to others: RFC 4007 section 6
	}
	if len(host) > maxName {
		return "", errors.New("certificate of a host: its name is too long")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > maxLabel || strings.ContainsFunc(label, isForeign) {
			return "", errors.New("certificate of a host: what it is called is no name and no address")
		}
	}
	return strings.ToLower(host), nil
}

// isForeign tells what has no place in a name: a star, for one, which would make
// the certificate one of many hosts.
func isForeign(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}
