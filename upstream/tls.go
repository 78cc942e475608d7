package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"viaduct/fault"
	"viaduct/tap"
)

// shake sets up TLS on a new connection, and closes it if that fails. The error
// is a *fault.Error, unless nobody waits any more.
func (o *Origin) shake(ctx context.Context, l Link) (*tls.Conn, error) {
	host := o.to.Host
	if o.to.Addr.IsValid() {
		host = o.to.Addr.Unmap().String() // a spelling that is found in a certificate
	}
	// Sessions are not resumed: a ticket would tell the origin that two egress
	// addresses are one proxy, and two users come through it.
	c := tls.Client(tap.New(l.Conn, l.Early), &tls.Config{
		ServerName: host,
		RootCAs:    o.idle.options.Roots,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
	})
	if err := c.HandshakeContext(ctx); err != nil {
		_ = l.Conn.Close()
		return nil, shakeFault(err)
	}
	return c, nil
}

// shakeFault is the failure of a handshake. What only a handshake can say gets a
// sentence of its own.
func shakeFault(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	bad := fault.New(fault.ClassifyPeer(err, fault.TLSProtocolError), err)
	switch bad.Kind {
	case fault.TLSCertificateError:
		bad.Text = certificateText(err)
	case fault.ConnectionTimeout, fault.ConnectionReadTimeout:
		bad.Kind, bad.Text = fault.ConnectionTimeout, "The destination did not set up TLS in time."
	case fault.TLSProtocolError:
		if first, ok := errors.AsType[tls.RecordHeaderError](err); ok && first.Conn != nil {
			bad.Text = "The destination does not speak TLS."
		}
	}
	return bad
}

// certificateText says what is wrong with a certificate; "" leaves it at that it
// is not valid.
func certificateText(err error) string {
	var (
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &name):
		return "The certificate of the destination is for another name."
	case errors.As(err, &unknown):
		return "The certificate of the destination comes from an unknown authority."
	case !errors.As(err, &invalid) || invalid.Reason != x509.Expired:
		return ""
	case time.Now().Before(invalid.Cert.NotBefore):
		return "The certificate of the destination is not valid yet."
	}
	return "The certificate of the destination has expired."
}
