package fault_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"viaduct/fault"
)

// kinds are all but None.
func kinds() (all []fault.Kind) {
	defer func() { _ = recover() }() // behind the last one
	for k := fault.None + 1; ; k++ {
		_ = k.String()
		all = append(all, k)
	}
}

func TestEveryKindIsComplete(t *testing.T) {
	token, sentence := regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`), regexp.MustCompile(`^[A-Z][^.]+\.$`)
	seen := map[string]bool{}
	all := kinds()
	if len(all) < 20 || all[len(all)-1] != fault.LoopDetected {
		t.Fatalf("%d kinds", len(all))
	}
	for _, k := range all {
		if !token.MatchString(k.String()) || seen[k.String()] {
			t.Errorf("%d: token %q", k, k)
		}
		seen[k.String()] = true
		if k.Status() < 200 || k.Status() > 599 || !sentence.MatchString(k.Say()) {
			t.Errorf("%v: status %d, %q", k, k.Status(), k.Say())
		}
	}
	for _, k := range []fault.Kind{fault.TLSProtocolError, fault.TLSCertificateError, fault.TLSAlertReceived} {
		if k.Status() != 502 || !strings.HasPrefix(k.String(), "tls_") { // RFC 9209 sections 2.3.14 to 2.3.16
			t.Errorf("%v: status %d", k, k.Status())
		}
	}
}

// remote and local are what crypto/tls makes of alerts.
func remote(cause error) error { return &net.OpError{Op: "remote error", Err: cause} }

func local(cause error) error { return &net.OpError{Op: "local error", Err: cause} }

func TestClassify(t *testing.T) {
	alert := errors.New("tls: handshake failure")
	during := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	verify := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	for _, c := range []struct {
		err  error
		want fault.Kind
	}{
		{nil, fault.None},
		{errors.New("x"), fault.InternalError},
		{fault.Bad(400, "x"), fault.RequestError},
		{fault.New(fault.TLSProtocolError, verify(io.EOF)), fault.TLSProtocolError},
		{&net.DNSError{IsNotFound: true}, fault.DNSError},
		{&net.DNSError{IsTimeout: true}, fault.DNSTimeout},
		{during("dial", syscall.ECONNREFUSED), fault.ConnectionRefused},
		{during("dial", syscall.EHOSTUNREACH), fault.DestinationIPUnroutable},
		{during("dial", os.ErrDeadlineExceeded), fault.ConnectionTimeout},
		{during("read", os.ErrDeadlineExceeded), fault.ConnectionReadTimeout},
		{during("read", syscall.ECONNRESET), fault.ConnectionTerminated},
		{context.DeadlineExceeded, fault.ConnectionReadTimeout},
		{syscall.EMFILE, fault.ConnectionLimitReached},
		{io.EOF, fault.ConnectionTerminated},
		{io.ErrUnexpectedEOF, fault.ConnectionTerminated},

		{remote(alert), fault.TLSAlertReceived},
		{local(alert), fault.TLSProtocolError},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, fault.TLSProtocolError},
		{verify(errors.New("x")), fault.TLSCertificateError},
		{verify(x509.UnknownAuthorityError{}), fault.TLSCertificateError},
		{x509.UnknownAuthorityError{}, fault.TLSCertificateError},
		{x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}, fault.TLSCertificateError},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}, fault.TLSCertificateError},
		{verify(x509.SystemRootsError{Err: os.ErrNotExist}), fault.InternalError}, // ours, not the destination's
	} {
		if got := fault.Classify(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := fault.Classify(fmt.Errorf("send: %w", c.err)); got != c.want {
			t.Errorf("%v, wrapped: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestErrorSpeaksForItsKind(t *testing.T) {
	cause := errors.New("dial 192.0.2.1:80: cause")
	for _, c := range []struct {
		err       *fault.Error
		code      int
		say, text string
	}{
		{fault.New(fault.DNSError, nil), 502, fault.DNSError.Say(), "dns_error"},
		{fault.New(fault.DNSError, cause), 502, fault.DNSError.Say(), "dns_error: dial 192.0.2.1:80: cause"},
		{fault.Bad(417, "No."), 417, "No.", "http_request_error: No."},
		{&fault.Error{Kind: fault.TLSCertificateError, Text: "Old.", Err: cause}, 502, "Old.", "tls_certificate_error: dial 192.0.2.1:80: cause"},
	} {
		if c.err.Status() != c.code || c.err.Say() != c.say || c.err.Error() != c.text || !errors.Is(c.err, c.err.Err) && c.err.Err != nil {
			t.Errorf("%d, %q, %q", c.err.Status(), c.err.Say(), c.err.Error())
		}
	}
}
