package parent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/proxy"

	"viaduct/fault"
	"viaduct/hop"
)

// Bytes of SOCKS5 (RFC 1928 and RFC 1929).
const (
	version    = 5
	noPassword = 0
	password   = 2
	noMethod   = 0xff
)

var errMethod = errors.New("it wants to be told something that it was not offered")

// socks asks for a tunnel by SOCKS5. The library reads no byte more than the
// answers have, but says in words only what they are: so its talk is listened to.
func (p Proxy) socks(nc net.Conn, to hop.Target) error {
	e := &ear{nc: nc}
	var login *proxy.Auth
	if p.User != "" {
		login = &proxy.Auth{User: p.User, Password: p.Password.Reveal()}
	}
	d, err := proxy.SOCKS5("tcp", p.address(), login, dialled{e})
	if err == nil {
		_, err = d.Dial("tcp", to.String()) // without a context: ours is watched already
	}
	if refusal := e.refusal(); refusal != nil {
		return p.refused(refusal)
	}
	if _, asked := e.reply(); asked && err != nil {
		err = fmt.Errorf("%w: %w", errUnclear, err)
	}
	if err == nil && e.heard[1] != noPassword && login == nil {
		err = errMethod // the library went on without looking
	}
	if err != nil {
		return p.fault("socks5", err, fault.ProtocolError)
	}
	return nil
}

// refusal is what the parent said no with, if it did.
func (e *ear) refusal() *RefusedError {
	r, asked := e.reply()
	switch {
	case len(e.heard) < 2 || e.heard[0] != version:
		return nil
	case e.heard[1] == noMethod:
		return &RefusedError{Reason: "it wants a user and a password, or none", verdict: badLogin}
	case !asked && e.heard[1] == password && len(e.heard) == 4:
		return &RefusedError{Reason: "user or password not accepted", verdict: badLogin}
	case len(r) < 2 || r[0] != version || r[1] == 0:
		return nil
	}
	row := replies[min(int(r[1]), len(replies)-1)]
	return &RefusedError{Reason: row.reason, verdict: row.verdict}
}

// reply is what was heard of the answer to the request itself. It is asked as
// soon as the parent has agreed on a method and, if that is so, on a password.
func (e *ear) reply() (b []byte, asked bool) {
	switch h := e.heard; {
	case len(h) < 2 || h[0] != version || h[1] == noMethod:
		return nil, false
	case h[1] != password:
		return h[2:], true
	case len(h) < 4 || h[3] != 0:
		return nil, false
	default:
		return h[4:], true
	}
}

// replies are the codes of RFC 1928 section 6. The last row is for all others.
var replies = [...]struct {
	reason string
	verdict
}{
	1: {"general failure", verdict{fault.DestinationUnavailable, 502, Unclear, sayUnreached}}, // many servers know no other
	2: {"not allowed by its rules", verdict{fault.RequestDenied, 0, Target, sayDenied}},
	3: {"network unreachable", verdict{fault.DestinationIPUnroutable, 0, Target, ""}},
	4: {"host unreachable", verdict{fault.DestinationIPUnroutable, 0, Target, ""}},
	5: {"connection refused", verdict{fault.ConnectionRefused, 0, Target, ""}},
	6: {"TTL expired", verdict{fault.ConnectionTimeout, 0, Target, ""}},
	7: {"it does not know CONNECT", verdict{fault.ProtocolError, 0, Parent, sayGarbage}},
	8: {"it does not know this type of address", verdict{fault.DestinationIPUnroutable, 0, Target, ""}},
	9: {"a code without meaning", verdict{fault.ProtocolError, 0, Parent, sayGarbage}},
}

// dialled is a dialer that has dialled.
type dialled struct{ c net.Conn }

func (d dialled) Dial(string, string) (net.Conn, error) { return d.c, nil }

// DialContext spares the library a goroutine.
func (d dialled) DialContext(context.Context, string, string) (net.Conn, error) { return d.c, nil }

// ear keeps what the parent says while SOCKS is spoken, and is gone afterwards:
// no tunnel sees it.
type ear struct {
	nc    net.Conn
	heard []byte
}

func (e *ear) Read(b []byte) (int, error) {
	n, err := e.nc.Read(b)
	e.heard = append(e.heard, b[:n]...)
	return n, err
}

func (e *ear) Write(b []byte) (int, error)        { return e.nc.Write(b) }
func (e *ear) Close() error                       { return nil } // Tunnel does it
func (e *ear) LocalAddr() net.Addr                { return e.nc.LocalAddr() }
func (e *ear) RemoteAddr() net.Addr               { return e.nc.RemoteAddr() }
func (e *ear) SetDeadline(t time.Time) error      { return e.nc.SetDeadline(t) }
func (e *ear) SetReadDeadline(t time.Time) error  { return e.nc.SetReadDeadline(t) }
func (e *ear) SetWriteDeadline(t time.Time) error { return e.nc.SetWriteDeadline(t) }
