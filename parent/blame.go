package parent

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"viaduct/fault"
	"viaduct/wire"
)

// Party is who is to blame for a tunnel that was not made. Zero is Unclear.
type Party uint8

// The parties.
const (
	Unclear Party = iota // nobody waits any more, or the parent was silent: it may have waited for the target
	Parent               // it would fail for other targets too
	Target               // the parent did its part; another one may know a way, or have other rules
	Us                   // what we are configured to say, or were asked for
)

// String is a word for a log.
func (p Party) String() string { return [...]string{"unclear", "parent", "target", "us"}[p] }

// errUnclear stands in the chain of errors that came after the parent was told
// the target: if time has run out then, nobody knows who has used it up.
var errUnclear = errors.New("after the request")

// Blame says whose fault an error of Tunnel is, or of the dial before it.
func Blame(err error) Party {
	if e, ok := errors.AsType[*RefusedError](err); ok {
		return e.party
	}
	if errors.Is(err, context.Canceled) {
		return Unclear
	}
	switch fault.Classify(err) {
	case fault.None:
		return Unclear
	case fault.RequestError, fault.ConfigurationError, fault.InternalError, fault.ConnectionLimitReached:
		return Us
	case fault.ConnectionTimeout:
		if errors.Is(err, errUnclear) {
			return Unclear
		}
	}
	return Parent
}

// RefusedError is the parent's no.
type RefusedError struct {
	Status int    // of the answer to CONNECT; 0 for SOCKS5
	Reason string // the parent's words, or what its code means
	verdict
}

// verdict is what a refusal means: to a client, and to whom it is put down.
type verdict struct {
	kind  fault.Kind
	code  int // status for a client; 0 is the kind's
	party Party
	say   string // sentence for a client; "" is the kind's
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Status == 0 {
		return "refused: " + e.Reason
	}
	return fmt.Sprintf("refused: %d %+q", e.Status, e.Reason)
}

// Blame is whose fault it is.
func (e *RefusedError) Blame() Party { return e.party }

// Sentences for clients.
const (
	sayLogin     = "The parent proxy does not accept the credentials of this proxy."
	sayRequest   = "The parent proxy does not understand what it was asked for."
	sayDenied    = "The parent proxy does not allow this request."
	sayUnreached = "The parent proxy could not reach the destination."
	sayBroken    = "The parent proxy met an error of its own."
	sayGarbage   = "The answer of the parent proxy is not valid."
	sayLate      = "The parent proxy did not answer in time."
	sayGone      = "The parent proxy ended the connection before it answered."
	sayTLS       = "The parent proxy failed to set up TLS."
	sayCert      = "The certificate of the parent proxy is not valid."
)

// badLogin is the verdict on our own credentials. That is nothing a client could
// cure: it never sees a 407 that is not for itself.
var badLogin = verdict{fault.ConfigurationError, 0, Us, sayLogin}

// byStatus is the verdict on an answer to CONNECT by its status alone. A 4xx is
// never put down to the parent, which has understood and decided; 502, 503 and
// 504 are what proxies say of a target that they do not reach.
func byStatus(status int) verdict {
	switch status {
	case 401, 407: // tinyproxy has it the one way
		return badLogin
	case 400, 405:
		return verdict{fault.ConfigurationError, 0, Us, sayRequest}
	case 421:
		return verdict{fault.LoopDetected, 0, Us, ""}
	case 429:
		return verdict{fault.ConnectionLimitReached, 0, Us, ""}
	case 502, 503:
		return verdict{fault.DestinationUnavailable, status, Target, sayUnreached}
	case 500: // tinyproxy says so of a target that refuses
		return verdict{fault.DestinationUnavailable, 502, Target, sayBroken}
	case 504:
		return verdict{fault.ConnectionTimeout, 0, Target, ""}
	}
	switch {
	case status < 400:
		return verdict{fault.ProtocolError, 0, Parent, sayGarbage}
	case status < 500:
		return verdict{fault.RequestDenied, 0, Target, sayDenied}
	}
	return verdict{fault.DestinationUnavailable, 502, Parent, sayBroken}
}

// byKind is the verdict on what a parent says in Proxy-Status.
func byKind(k fault.Kind) verdict {
	switch k {
	case fault.ConnectionLimitReached, fault.InternalError, fault.ConfigurationError:
		return verdict{fault.DestinationUnavailable, 502, Parent, sayBroken}
	case fault.RequestError:
		return verdict{fault.ConfigurationError, 0, Us, sayRequest}
	case fault.LoopDetected:
		return verdict{k, 0, Us, ""}
	case fault.RequestDenied:
		return verdict{k, 0, Target, sayDenied}
	}
	return verdict{k, 0, Target, ""}
}

// told is the error in a head's Proxy-Status (RFC 9209 section 2.1.1): the first
// of several, which stands nearest to the target. None where nothing is told.
func told(h *wire.Head) fault.Kind {
	for i := range h.Fields {
		f := &h.Fields[i]
		for v := f.Value; len(v) > 0 && wire.Fold(f.Name, "proxy-status"); {
			var part []byte
			part, v = cutPart(v)
			name, value, _ := bytes.Cut(part, []byte("="))
			if string(bytes.TrimSpace(name)) != "error" {
				continue
			}
			if k := fault.Named(string(bytes.TrimSpace(value))); k.Status() >= 400 {
				return k
			}
		}
	}
	return fault.None
}

// cutPart cuts a structured field at its first comma or semicolon that is not
// quoted.
func cutPart(v []byte) (part, rest []byte) {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ';' || c == ','):
			return v[:i], v[i+1:]
		}
	}
	return v, nil
}

// refused is the error of a parent that said no.
func (p Proxy) refused(e *RefusedError) *fault.Error {
	return &fault.Error{Kind: e.kind, Code: e.code, Text: e.say, Err: fmt.Errorf("parent %s: %w", p, e)}
}

// fault is the error of a parent that did not answer as it should; unknown is
// its kind where the cause does not tell.
func (p Proxy) fault(doing string, err error, unknown fault.Kind) *fault.Error {
	kind := fault.ClassifyPeer(err, unknown)
	bad := fault.New(kind, fmt.Errorf("parent %s: %s: %w", p, doing, err))
	switch kind {
	case fault.ConnectionReadTimeout, fault.ConnectionTimeout:
		bad.Kind, bad.Text = fault.ConnectionTimeout, sayLate
	case fault.ConnectionTerminated:
		bad.Text = sayGone
	case fault.TLSProtocolError, fault.TLSAlertReceived:
		bad.Text = sayTLS
	case fault.TLSCertificateError:
		bad.Text = sayCert
	case fault.ProtocolError, fault.ResponseHeaderSize, fault.ResponseTransferCoding:
		bad.Text = sayGarbage
	}
	return bad
}
