package fault_test

import (
	"crypto/x509"
	"errors"
	"testing"

	"viaduct/fault"
)

func TestTokensAreNames(t *testing.T) {
	for k := fault.None; k <= fault.LoopDetected; k++ {
		if got := fault.Named(k.String()); got != k {
			t.Errorf("%q is %q", k, got)
		}
	}
	if got := fault.Named("no_such_error"); got != fault.None {
		t.Errorf("a token that is none is %q", got)
	}
}

func TestWhatIsNotKnownIsThePeers(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want fault.Kind
	}{
		{errors.New("what is this"), fault.TLSProtocolError},
		{x509.HostnameError{}, fault.TLSCertificateError},
		{x509.SystemRootsError{}, fault.InternalError},
		{nil, fault.None},
	} {
		if got := fault.ClassifyPeer(tt.err, fault.TLSProtocolError); got != tt.want {
			t.Errorf("%v is %q, want %q", tt.err, got, tt.want)
		}
	}
}
