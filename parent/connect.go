package parent

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"

	"viaduct/fault"
	"viaduct/hop"
	"viaduct/wire"
)

// Bounds of an answer to CONNECT.
const (
	maxHead    = 16 << 10 // bytes of a head
	maxInterim = 8        // answers before it
	maxReason  = 100      // bytes kept of its own words
)

var (
	errInterim = errors.New("too many interim answers")
	errSwitch  = errors.New("it changes to another protocol")
)

// connect asks for a tunnel (RFC 9110 section 9.3.6) and returns what came
// behind the answer.
func (p Proxy) connect(nc net.Conn, to hop.Target) (early []byte, err error) {
	if _, err := nc.Write(p.request(to)); err != nil {
		return nil, p.fault("CONNECT", err, fault.ConnectionTerminated)
	}
	w := wire.New(nc, maxHead)
	defer w.Drop()
	var h wire.Head
	for range maxInterim + 1 {
		if err := w.ReadResponse(&h, false); err != nil {
			return nil, p.fault("CONNECT", fmt.Errorf("%w: %w", errUnclear, err), fault.ConnectionTerminated)
		}
		switch {
		case h.Status == 101: // nobody asked for that
			return nil, p.fault("CONNECT", errSwitch, fault.ProtocolError)
		case h.Status >= 300:
			return nil, p.refused(answered(&h))
		case h.Status >= 200: // without a body, whatever its fields say
			return append(early, w.TakeBuffered()...), nil
		}
	}
	return nil, p.fault("CONNECT", errInterim, fault.ProtocolError)
}

// request is the whole CONNECT. The target cannot add anything to it, being
// written by hop.
func (p Proxy) request(to hop.Target) []byte {
	b := to.AppendTo([]byte("CONNECT "))
	b = to.AppendTo(append(b, " HTTP/1.1\r\nHost: "...))
	if login := p.BasicAuth(); login != "" {
		b = append(append(b, "\r\nProxy-Authorization: "...), login...)
	}
	if p.Via != "" {
		b = append(append(b, "\r\nVia: "...), p.Via...)
	}
	return append(b, "\r\n\r\n"...)
}

// BasicAuth is the value of Proxy-Authorization (RFC 7617), "" when there are no
// credentials.
func (p Proxy) BasicAuth() string {
	secret := p.Password.Reveal()
	if p.User == "" && secret == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(p.User+":"+secret))
}

// refusal is what a status alone says.
func refusal[T string | []byte](status int, reason T) *RefusedError {
	return &RefusedError{Status: status, Reason: string(reason[:min(len(reason), maxReason)]), verdict: byStatus(status)}
}

// answered is the refusal in an answer's head.
func answered(h *wire.Head) *RefusedError {
	e := refusal(h.Status, h.Reason)
	if e.party == Us || h.Status < 400 {
		return e
	}
	if k := told(h); k != fault.None {
		e.verdict = byKind(k)
	}
	return e
}
