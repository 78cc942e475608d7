package forward

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"viaduct/acl"
	"viaduct/auth"
	"viaduct/door"
	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/tap"
	"viaduct/wire"
)

// within is what a client inside a tunnel whose TLS is opened has from the
// CONNECT that opened it.
type within struct {
	target  hop.Target
	ask     Ask    // the CONNECT
	rule    string // by which it is inspected
	proxy   *Proxy // that has decided so last
	who     *auth.Identity
	shown   []byte       // the address of the present request, as logs have it
	failure *fault.Error // of the handshake
}

// why is what ended the tunnel, nil if it ended well.
func (w *within) why() error {
	if w.failure == nil {
		return nil
	}
	return w.failure
}

var (
	errNotTLS      = fault.Bad(400, "This port speaks TLS: write https:// before the address of the proxy.")
	errNotTLSHere  = fault.Bad(400, "This tunnel is inspected here: it may carry nothing but TLS.")
	errNested      = fault.Bad(501, "A tunnel inside a tunnel is not served.")
	errClosed      = fault.Bad(421, "This tunnel is not inspected any more: open it anew.")
	errMisdirected = fault.Bad(421, "This tunnel leads to another host: ask for this one through a tunnel of its own.")
	errUntrusted   = errors.New("the client may not trust the certificate")
)

// newInspection is the TLS that clients are shown inside of tunnels. Its session
// tickets are good for any tunnel of this proxy.
func (p *Proxy) newInspection() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: p.certificate,
	}
}

// certificate makes that of the host that a tunnel leads to. Where that is another
// one than the client means, it gets a certificate that lets it read so.
func (p *Proxy) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := hello.Conn.(*tap.Conn).Host
	if hello.ServerName != "" {
		named, err := hop.ParseHost([]byte(hello.ServerName), 443)
		if err != nil {
			return nil, fmt.Errorf("server name: %w", err)
		}
		host = named.Host
	}
	return p.o.Authority.Certificate(host)
}

// shake does the TLS handshake, where the client's connection has one.
func (c *Client) shake() bool {
	secure := c.Secure()
	if secure == nil {
		return true
	}
	side, plain := metrics.SideClient, errNotTLS
	if c.within != nil {
		side, plain = metrics.SideInspected, errNotTLSHere
	}
	err := c.Handshake(plain)
	c.current().o.Metrics.Handshake(side, err == nil)
	switch {
	case err != nil && c.within != nil:
		c.within.failure = shakeFault(err)
	case err != nil:
		c.Unshaken(shakeFault(err))
	case c.within == nil:
		c.certificate = newCertificate(door.Peer(secure))
	}
	return err == nil
}

// certificate is what a client has shown of itself.
type certificate struct {
	chain []*x509.Certificate
	who   *auth.Identity
	good  atomic.Pointer[door.TLS] // of the listener, when it was verified last
}

// newCertificate is nil for one that names nobody.
func newCertificate(chain []*x509.Certificate) *certificate {
	if len(chain) == 0 {
		return nil
	}
	who, ok := auth.Certificate(chain[0])
	if !ok {
		return nil
	}
	return &certificate{chain: chain, who: who}
}

// isGood tells whether a certificate would be taken now: it may have expired since
// the handshake, and its authority may not be trusted any more.
func (c *certificate) isGood(t *door.TLS) bool {
	if c == nil || t == nil || time.Now().After(c.chain[0].NotAfter) {
		return false
	}
	if c.good.Load() == t {
		return true
	}
	good := t.Verify(c.chain)
	if good {
		c.good.Store(t)
	}
	return good
}

// still says who asks now, if that is still somebody whom the proxy knows: by the
// certificate that made them known, or by a password.
func (p *Proxy) still(who *auth.Identity, by *certificate) (*auth.Identity, bool) {
	switch {
	case who != nil && by != nil && by.who == who:
		return who, by.isGood(p.o.TLS)
	case who != nil && p.o.Gate != nil:
		return p.o.Gate.Still(who)
	}
	return who, p.o.Gate == nil && p.o.TLS == nil
}

// shakeFault says for the access log why TLS could not be set up with a client. An
// alert means most often that it does not trust what it was shown.
func shakeFault(err error) *fault.Error {
	kind := fault.Classify(err)
	switch {
	case kind == fault.InternalError:
		kind = fault.TLSProtocolError
	case kind == fault.TLSAlertReceived, kind == fault.TLSProtocolError && !errors.As(err, new(tls.RecordHeaderError)):
		err = fmt.Errorf("%w: %w", errUntrusted, err)
	}
	return fault.New(kind, err)
}

// admitWithin asks whether who has opened the tunnel is still let in. There is
// nobody to ask inside: a challenge there would be the origin's.
func (c *Client) admitWithin() error {
	who, ok := c.proxy.still(c.within.who, c.certificate)
	if !ok {
		c.proxy.count(gone)
		return gone.denied()
	}
	if who != nil {
		c.meet(who)
	}
	return c.stillOpen()
}

// stillOpen asks about the tunnel again, when the configuration has changed and
// wants open tunnels to be rechecked.
func (c *Client) stillOpen() error {
	w := c.within
	if w.proxy == c.proxy || !c.proxy.o.Recheck {
		return nil
	}
	ask := w.ask
	ask.User, ask.Groups, ask.Now = c.ask.User, c.ask.Groups, time.Time{}
	v := c.proxy.Decide(&ask)
	switch {
	case v.Effect == acl.Deny:
		c.proxy.count(&v.Ruling)
		c.Last()
		return v.denied()
	case v.Inspect == "":
		c.Last()
		return errClosed
	}
	w.proxy, w.rule = c.proxy, v.Inspect
	return nil
}

// open opens the TLS inside the tunnel that the client asks for, and serves what is
// inside.
func (c *Client) open(target *hop.Target, rule string) {
	c.Inspected(rule)
	inside, end, err := c.Lend()
	if err != nil {
		return
	}
	inside.Host = target.Host
	in := newClient(c.current)
	in.within = &within{target: *target, ask: c.ask, rule: rule, proxy: c.proxy, who: c.who}
	in.certificate = c.certificate
	in.Session = exchange.Open(tls.Server(inside, c.proxy.inspection), c.home.Inside(in.turn, func() { end(in.within.why()) }))
	c.inner.Store(in)
	defer c.inner.Store(nil)
	in.Serve()
}

// Discard closes the connection if the client owes the first byte of a request,
// and tells so.
func (c *Client) Discard() bool {
	if in := c.inner.Load(); in != nil {
		return in.Discard()
	}
	return c.Session.Discard()
}

// Cut ends what the client does, wherever it is.
func (c *Client) Cut() {
	c.Session.Cut()
	if in := c.inner.Load(); in != nil {
		in.Cut()
	}
}

// inside finds out which path a request inside an opened tunnel asks for. It can
// ask for nothing but the host of the tunnel.
func (c *Client) inside(raw []byte, method string) (path []byte, err error) {
	w := c.within
	c.Inspected(w.rule)
	if method == "CONNECT" {
		return nil, errNested
	}
	named, path, err := c.targets.Inside(raw, method == "OPTIONS")
	if err != nil {
		return nil, err
	}
	if host := c.Request().Get(wire.Host); named.Host == "" && host != nil {
		named, err = c.targets.HostField(host, 443)
	} else if named.Host == "" { // HTTP/1.0
		named = w.target
	}
	if err != nil {
		return nil, err
	}
	w.shown = named.AppendHost(append(w.shown[:0], "https://"...), 443)
	w.shown = append(w.shown, path...)
	c.Show(w.shown)
	if named.Host != w.target.Host || named.Port != w.target.Port {
		return nil, errMisdirected
	}
	return path, nil
}
