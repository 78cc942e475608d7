// Package parent asks another proxy for a tunnel: by CONNECT, over TCP or TLS,
// or by SOCKS5. It is handed a connection to that proxy and hands back one to
// the target, which may lead to a further proxy. Its errors say whose fault they
// are.
package parent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
	"unique"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/hop"
)

// Scheme is how a parent is spoken to. Zero is HTTP.
type Scheme uint8

// The ways to speak to a parent.
const (
	HTTP   Scheme = iota // CONNECT (RFC 9110 section 9.3.6)
	HTTPS                // the same over TLS
	SOCKS5               // RFC 1928; the parent resolves names
)

// String is the scheme of a URL.
func (s Scheme) String() string { return [...]string{"http", "https", "socks5"}[s] }

// Proxy is a parent. It may be copied, and used by several goroutines.
type Proxy struct {
	Scheme Scheme
	Host   string // a name or an address, without brackets
	Port   uint16

	// User and Password are ours at the parent: Basic (RFC 7617) or RFC 1929.
	// Both empty: none are sent.
	User     string
	Password Secret `json:"-"`

	// TLS is for HTTPS: roots, client certificate. Without a ServerName the
	// certificate must be for Host. nil: the system's roots.
	TLS *tls.Config `json:"-"`

	Via string // what CONNECT says in its Via field; "" is none
}

// A Secret is a text that nothing prints: package fmt calls no method of what is
// in an unexported field of another struct, and shows a string there. Secrets
// that hide the same text are equal; zero hides none.
type Secret struct{ text unique.Handle[string] }

// Hide makes a Secret.
func Hide(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{unique.Make(text)}
}

// Reveal is what is hidden.
func (s Secret) Reveal() string {
	if s == (Secret{}) {
		return ""
	}
	return s.text.Value()
}

// past is a deadline that ends a wait at once.
var past = time.Unix(1, 0)

// Tunnel asks for a tunnel to target, a host and a port, on nc, a connection to
// the parent that nothing was said on. It returns the connection to go on with,
// which is nc itself except for HTTPS, and what the target has said already.
// Everything ends with ctx, at once. On an error nc is closed.
//
// The error is a *fault.Error, with a *RefusedError in its chain where the
// parent said no, or one that wraps context.Canceled. See Blame.
func (p Proxy) Tunnel(ctx context.Context, nc net.Conn, target string) (net.Conn, []byte, error) {
	over, early, err := p.tunnel(ctx, nc, target)
	if err != nil {
		clock.Close(nc) // without a goodbye to a parent that is of no use
		return nil, nil, err
	}
	return over, early, nil
}

func (p Proxy) tunnel(ctx context.Context, nc net.Conn, target string) (net.Conn, []byte, error) {
	to, err := p.ready(target)
	if err != nil {
		return nil, nil, err
	}
	var over net.Conn
	var early []byte
	err = p.within(ctx, nc, func() (err error) {
		over, early, err = p.ask(nc, to)
		return err
	})
	return over, early, err
}

// within does something on nc as long as ctx lasts.
func (p Proxy) within(ctx context.Context, nc net.Conn, do func() error) error {
	if ctx.Err() != nil {
		return p.ended(ctx, nil)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(past) })
	err := do()
	if !stop() || ctx.Err() != nil { // it is over a moment before its functions run
		err = p.ended(ctx, err)
	}
	return err
}

// ready looks at everything that is going to be written, before it is.
func (p Proxy) ready(target string) (hop.Target, error) {
	if err := p.check(); err != nil {
		return hop.Target{}, fault.New(fault.ConfigurationError, err)
	}
	return hop.ParseAuthority([]byte(target))
}

// CheckTarget reads a target as Tunnel does, and returns the one spelling of it.
func CheckTarget(target string) (string, error) {
	to, err := hop.ParseAuthority([]byte(target))
	if err != nil {
		return "", err
	}
	return to.String(), nil
}

// ended is the error when ctx is over, with what went wrong by that, if anything.
func (p Proxy) ended(ctx context.Context, err error) error {
	if _, refused := errors.AsType[*RefusedError](err); refused {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("parent %s: %w", p, context.Canceled)
	}
	if err == nil {
		return p.fault("too late", fmt.Errorf("%w: %w", errUnclear, ctx.Err()), fault.ConnectionTimeout)
	}
	return err
}

// ask speaks the parent's protocol.
func (p Proxy) ask(nc net.Conn, to hop.Target) (over net.Conn, early []byte, err error) {
	switch p.Scheme {
	case SOCKS5:
		return nc, nil, p.socks(nc, to)
	case HTTPS:
		c, err := p.secure(nc, "http/1.1")
		if err != nil {
			return nil, nil, err
		}
		nc = c
	}
	early, err = p.connect(nc, to)
	return nc, early, err
}

// secure speaks TLS as the operator wants it, for this host and one of the
// protocols.
func (p Proxy) secure(nc net.Conn, protocols ...string) (*tls.Conn, error) {
	config := p.TLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config.ServerName = p.Host
	}
	config.NextProtos = protocols
	c := tls.Client(nc, config)
	if err := c.Handshake(); err != nil {
		return nil, p.fault("tls", err, fault.TLSProtocolError)
	}
	return c, nil
}
