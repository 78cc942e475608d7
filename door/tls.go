package door

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// TLS is what a listener shows its clients, and asks them for. It is immutable.
type TLS struct {
	config *tls.Config
}

// NewTLS shows a client the first of the certificates that is for the name it
// asks for, else the first of all. Clients are asked for a certificate of these
// authorities, and may have none; where clients is nil, nobody is asked.
func NewTLS(certs []tls.Certificate, clients *x509.CertPool) *TLS {
	c := &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if clients != nil {
		c.ClientCAs, c.ClientAuth = clients, tls.VerifyClientCertIfGiven
	}
	return &TLS{c}
}

func (t *TLS) asks() bool { return t != nil && t.config.ClientAuth != tls.NoClientCert }

// Vault holds the TLS of a listener, and the keys of its session tickets, which
// stay when its certificates change. The zero value is ready for Change. Its
// methods are safe for concurrent use.
type Vault struct {
	now  atomic.Pointer[TLS]
	once sync.Once // makes what follows

	// crypto/tls keeps the keys with the configuration that a handshake begins
	// with, and changes them each day. Sessions of clients that nobody asked for a
	// certificate have keys of their own: those clients are to be asked.
	open, asking *tls.Config
}

var errNoTLS = errors.New("this listener has no certificate yet")

// Change is what holds for handshakes from now on. A client whose authority is
// gone cannot resume its session.
func (v *Vault) Change(t *TLS) { v.now.Store(t) }

// Server is the listener's side of TLS on a connection. It is for the caller to
// bound the handshake, which has not begun.
func (v *Vault) Server(nc net.Conn) *tls.Conn {
	v.once.Do(func() {
		v.open = &tls.Config{GetConfigForClient: v.config}
		v.asking = v.open.Clone()
	})
	if v.now.Load().asks() {
		return tls.Server(nc, v.asking)
	}
	return tls.Server(nc, v.open)
}

func (v *Vault) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	t := v.now.Load()
	if t == nil {
		return nil, errNoTLS
	}
	return t.config, nil
}

// Peer is the certificate that a client has shown in its handshake, verified, and
// behind it those that came with it; nil when it has shown none.
func Peer(c *tls.Conn) []*x509.Certificate {
	state := c.ConnectionState()
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.PeerCertificates
}

// Verify says whether a client that has shown this chain once would be let in with
// it now.
func (t *TLS) Verify(chain []*x509.Certificate) bool {
	if !t.asks() || len(chain) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: t.config.ClientCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}
