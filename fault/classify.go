package fault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Classify finds the kind of an error: that of an *Error in its chain, else
// what the operating system and the resolver say. A nil error is None. What it
// doesn't know is InternalError.
func Classify(err error) Kind {
	if err == nil {
		return None
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if k := classifyDNS(err); k != None {
		return k
	}
	if k := classifyTLS(err); k != None {
		return k
	}
	var op *net.OpError
	dialing := errors.As(err, &op) && op.Op == "dial"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectionRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EINVAL) && dialing:
		return DestinationIPUnroutable
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS):
		return ConnectionLimitReached
	case isTimeout(err) && dialing:
		return ConnectionTimeout
	case isTimeout(err):
		return ConnectionReadTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return ConnectionTerminated
	}
	return InternalError
}

// ClassifyPeer is Classify for what went wrong with a peer: what it doesn't know
// is unknown, unless it is this machine that has no roots. crypto/tls has no type
// for most of what it refuses.
func ClassifyPeer(err error, unknown Kind) Kind {
	k := Classify(err)
	if _, ours := errors.AsType[x509.SystemRootsError](err); k == InternalError && !ours {
		return unknown
	}
	return k
}

func classifyDNS(err error) Kind {
	var d *net.DNSError
	switch {
	case !errors.As(err, &d):
		return None
	case d.IsNotFound:
		return DNSError
	case d.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		return DNSTimeout
	}
	return DNSError
}

// classifyTLS knows an alert by the operation of its net.OpError, which is all
// that crypto/tls tells of it: tls.AlertError is for QUIC.
func classifyTLS(err error) Kind {
	var (
		op     *net.OpError
		header tls.RecordHeaderError
	)
	switch {
	case isCertificate(err):
		return TLSCertificateError
	case errors.As(err, &op) && op.Op == "remote error":
		return TLSAlertReceived
	case op != nil && op.Op == "local error", errors.As(err, &header):
		return TLSProtocolError
	}
	return None
}

// isCertificate tells whether a certificate is the trouble. That the authorities
// of the system cannot be read is trouble of our own.
func isCertificate(err error) bool {
	var (
		roots   x509.SystemRootsError
		verify  *tls.CertificateVerificationError
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
	)
	return !errors.As(err, &roots) &&
		(errors.As(err, &verify) || errors.As(err, &invalid) || errors.As(err, &name) || errors.As(err, &unknown))
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &n) && n.Timeout()
}
