package door_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/door"
	"viaduct/fault"
)

// listener is a vault with one certificate for proxy.test, which asks for
// certificates of the client's authority if there is one.
func listener(t testing.TB, by, clients *issuer) *door.Vault {
	t.Helper()
	v := new(door.Vault)
	v.Change(shows(t, by, clients))
	return v
}

func shows(t testing.TB, by, clients *issuer) *door.TLS {
	t.Helper()
	certs := []tls.Certificate{by.server(t, ecKey(t), "proxy.test")}
	if clients == nil {
		return door.NewTLS(certs, nil)
	}
	return door.NewTLS(certs, clients.pool())
}

// visitor is the configuration of a client that keeps its sessions.
func visitor(by *issuer, version uint16, certs ...tls.Certificate) *tls.Config {
	return &tls.Config{
		RootCAs: by.pool(), ServerName: "proxy.test", Certificates: certs,
		MinVersion: version, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
}

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

func TestOldVersionsAreRefused(t *testing.T) {
	site := newIssuer(t, "site")
	v := listener(t, site, nil)
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		if o := shake(t, v, visitor(site, version)); o.err == nil || o.refused == nil {
			t.Errorf("%s: %v, %v", tls.VersionName(version), o.err, o.refused)
		}
	}
	for name, version := range versions {
		if o := shake(t, v, visitor(site, version)); o.err != nil || o.state.Version != version {
			t.Errorf("%s: %v", name, o.err)
		}
	}
}

func TestNothingIsServedBeforeThereIsACertificate(t *testing.T) {
	if o := shake(t, new(door.Vault), visitor(newIssuer(t, "site"), tls.VersionTLS13)); o.err == nil || o.refused == nil {
		t.Errorf("%v, %v", o.err, o.refused)
	}
}

func TestProtocolIsHTTP1(t *testing.T) {
	site := newIssuer(t, "site")
	v := listener(t, site, nil)
	for _, c := range []struct {
		offers []string
		want   string
		fails  bool
	}{
		{nil, "", false},
		{[]string{"http/1.1"}, "http/1.1", false},
		{[]string{"h2", "http/1.1"}, "http/1.1", false},
		{[]string{"h2"}, "", true},
		{[]string{"acme-tls/1"}, "", true},
	} {
		config := visitor(site, tls.VersionTLS13)
		config.NextProtos = c.offers
		if o := shake(t, v, config); o.state.NegotiatedProtocol != c.want || (o.err != nil) != c.fails {
			t.Errorf("%q: %q, %v", c.offers, o.state.NegotiatedProtocol, o.err)
		}
	}
}

func TestCertificateIsChosenByName(t *testing.T) {
	site := newIssuer(t, "site")
	v := new(door.Vault)
	v.Change(door.NewTLS([]tls.Certificate{
		site.server(t, ecKey(t), "first.test"), site.server(t, ecKey(t), "a.test", "b.test"), site.server(t, ecKey(t), "*.wild.test"),
		site.server(t, ecKey(t), "exact.wild.test"),
	}, nil))
	for name, want := range map[string]string{
		"first.test": "first.test", "a.test": "a.test", "b.test": "a.test", "B.TEST": "a.test", "x.wild.test": "*.wild.test",
		"exact.wild.test": "*.wild.test", // in the order of the operator
		"x.y.wild.test":   "first.test", "wild.test": "first.test", "unknown.test": "first.test", "127.0.0.1": "first.test", "": "first.test",
	} {
		for _, version := range versions {
			config := visitor(site, version)
			config.ServerName, config.InsecureSkipVerify = name, true
			if o := shake(t, v, config); o.err != nil || o.shown() != want {
				t.Errorf("%q: %s, %v, want %s", name, o.shown(), o.err, want)
			}
		}
	}
}

// A name may have a certificate for clients that know no elliptic curves.
func TestCertificateIsChosenByWhatClientsKnow(t *testing.T) {
	site := newIssuer(t, "site")
	modern, old := site.server(t, ecKey(t), "proxy.test"), site.server(t, rsaKey(t), "proxy.test")
	v := new(door.Vault)
	v.Change(door.NewTLS([]tls.Certificate{modern, old}, nil))
	for suite, want := range map[uint16]tls.Certificate{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: modern,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   old,
	} {
		config := visitor(site, tls.VersionTLS12)
		config.CipherSuites = []uint16{suite}
		if o := shake(t, v, config); o.err != nil || !o.state.PeerCertificates[0].Equal(want.Leaf) {
			t.Errorf("%s: %v", tls.CipherSuiteName(suite), o.err)
		}
	}
}

func TestSessionOutlivesAChange(t *testing.T) {
	site, staff := newIssuer(t, "site"), newIssuer(t, "staff")
	for name, version := range versions {
		for _, asks := range []*issuer{nil, staff} {
			v := listener(t, site, asks)
			config := visitor(site, version, staff.client(t, "ada", time.Hour))
			want := ""
			if asks != nil {
				want = "ada"
			}
			if o := shake(t, v, config); o.err != nil || o.state.DidResume || o.as() != want {
				t.Fatalf("%s: %v, as %q", name, o.err, o.as())
			}
			if o := shake(t, v, config); o.err != nil || !o.state.DidResume || o.as() != want {
				t.Errorf("%s, before: resumed %v as %q, %v", name, o.state.DidResume, o.as(), o.err)
			}
			v.Change(shows(t, site, asks))
			if o := shake(t, v, config); o.err != nil || !o.state.DidResume || o.as() != want {
				t.Errorf("%s, after: resumed %v as %q, %v", name, o.state.DidResume, o.as(), o.err)
			}
		}
	}
}

// Who resumes a session is not asked for a certificate.
func TestClientsAreAskedWhoseSessionIsOlder(t *testing.T) {
	site, staff := newIssuer(t, "site"), newIssuer(t, "staff")
	for name, version := range versions {
		v := listener(t, site, nil)
		config := visitor(site, version, staff.client(t, "ada", time.Hour))
		shake(t, v, config)
		v.Change(shows(t, site, staff))
		if o := shake(t, v, config); o.err != nil || o.state.DidResume || o.as() != "ada" {
			t.Errorf("%s: resumed %v as %q, %v", name, o.state.DidResume, o.as(), o.err)
		}
		v.Change(shows(t, site, nil))
		if o := shake(t, v, config); o.err != nil || o.as() != "" {
			t.Errorf("%s, when nobody is asked again: as %q, %v", name, o.as(), o.err)
		}
	}
}

func TestRemovedAuthorityTakesEffect(t *testing.T) {
	site, staff, guests := newIssuer(t, "site"), newIssuer(t, "staff"), newIssuer(t, "guests")
	for name, version := range versions {
		v := listener(t, site, staff)
		config := visitor(site, version, staff.client(t, "ada", time.Hour))
		shake(t, v, config)
		v.Change(shows(t, site, guests))
		o := shake(t, v, config) // crypto/tls shows no certificate of an authority that is not asked for
		if o.err != nil || o.state.DidResume || o.as() != "" {
			t.Errorf("%s: resumed %v as %q, %v", name, o.state.DidResume, o.as(), o.err)
		}
		config.Certificates = append(config.Certificates, guests.client(t, "bob", time.Hour))
		config.ClientSessionCache = nil
		if o := shake(t, v, config); o.err != nil || o.as() != "bob" {
			t.Errorf("%s: as %q, %v", name, o.as(), o.err)
		}
	}
}

func TestCertificateOfAClientIsVerified(t *testing.T) {
	site, staff, guests := newIssuer(t, "site"), newIssuer(t, "staff"), newIssuer(t, "guests")
	v := listener(t, site, staff)
	for name, c := range map[string]struct {
		cert tls.Certificate
		as   string
		kind fault.Kind
	}{
		"good":                {staff.client(t, "ada", time.Hour), "ada", fault.None},
		"for clients":         {staff.client(t, "ada", time.Hour, x509.ExtKeyUsageClientAuth), "ada", fault.None},
		"for servers alone":   {staff.client(t, "ada", time.Hour, x509.ExtKeyUsageServerAuth), "", fault.TLSCertificateError},
		"expired":             {staff.client(t, "ada", -time.Hour), "", fault.TLSCertificateError},
		"of another":          {guests.client(t, "ada", time.Hour), "", fault.TLSCertificateError},
		"without its own key": {stolen(t, staff), "", fault.TLSProtocolError},
		"none":                {tls.Certificate{}, "", fault.None},
	} {
		for _, version := range versions {
			config := visitor(site, version)
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.cert, nil }
			o := shake(t, v, config)
			kind := fault.Classify(o.refused)
			if c.kind == fault.TLSProtocolError && kind == fault.InternalError {
				kind = fault.TLSProtocolError // crypto/tls has no type for it
			}
			if kind != c.kind || o.as() != c.as || (o.err != nil) != (c.kind != fault.None) {
				t.Errorf("%s: as %q, %v (%v), client %v", name, o.as(), o.refused, kind, o.err)
			}
			if o.err != nil && fault.Classify(o.err) != fault.TLSAlertReceived {
				t.Errorf("%s: the client is told %v", name, o.err)
			}
		}
	}
}

// stolen is a certificate whose key somebody does not have.
func stolen(t testing.TB, i *issuer) tls.Certificate {
	c := i.client(t, "ada", time.Hour)
	c.PrivateKey = ecKey(t)
	return c
}

func TestExpiredClientCannotResume(t *testing.T) {
	for name, version := range versions {
		synctest.Test(t, func(t *testing.T) {
			site, staff := newIssuer(t, "site"), newIssuer(t, "staff")
			v := listener(t, site, staff)
			config := visitor(site, version, staff.client(t, "ada", time.Hour))
			shake(t, v, config)
			<-time.After(59 * time.Minute)
			if o := shake(t, v, config); o.err != nil || !o.state.DidResume || o.as() != "ada" {
				t.Errorf("%s: resumed %v as %q, %v", name, o.state.DidResume, o.as(), o.err)
			}
			<-time.After(2 * time.Minute)
			if o := shake(t, v, config); o.refused == nil {
				t.Errorf("%s: resumed %v as %q", name, o.state.DidResume, o.as())
			}
		})
	}
}

// The keys of tickets change each day and end with their week, whatever else
// changes.
func TestTicketKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := newIssuer(t, "site")
		v := listener(t, site, nil)
		kept, left := visitor(site, tls.VersionTLS13), visitor(site, tls.VersionTLS13)
		shake(t, v, kept)
		shake(t, v, left)
		for day := range 12 {
			<-time.After(24*time.Hour + time.Second)
			v.Change(shows(t, site, nil))
			if o := shake(t, v, kept); o.err != nil || day < 6 && !o.state.DidResume {
				t.Errorf("day %d: resumed %v, %v", day, o.state.DidResume, o.err)
			}
		}
		if o := shake(t, v, left); o.err != nil || o.state.DidResume {
			t.Errorf("a session of long ago: resumed %v, %v", o.state.DidResume, o.err)
		}
	})
}

func TestVaultsDoNotShareSessions(t *testing.T) {
	site := newIssuer(t, "site")
	config := visitor(site, tls.VersionTLS13)
	shake(t, listener(t, site, nil), config)
	if o := shake(t, listener(t, site, nil), config); o.err != nil || o.state.DidResume {
		t.Errorf("resumed %v, %v", o.state.DidResume, o.err)
	}
}

func TestWhatIsNotTLS(t *testing.T) {
	v := listener(t, newIssuer(t, "site"), nil)
	for _, c := range []struct {
		name, sent string
		want       fault.Kind
	}{
		{"nothing", "", fault.ConnectionTerminated},
		{"HTTP", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", fault.TLSProtocolError},
		{"half a header", "\x16\x03", fault.ConnectionTerminated},
		{"half a record", "\x16\x03\x01\x02\x00\x01\x00", fault.ConnectionTerminated},
		{"a record too large", "\x16\x03\x01\xff\xff", fault.TLSProtocolError},
		{"an alert", "\x15\x03\x01\x00\x02\x02\x28", fault.TLSAlertReceived},
		{"SSL 2", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", fault.TLSProtocolError},
	} {
		near, far := pair(t)
		_, _ = io.WriteString(near, c.sent)
		_ = near.(*net.TCPConn).CloseWrite()
		server := v.Server(far)
		err := server.HandshakeContext(t.Context())
		if got := fault.Classify(err); got != c.want {
			t.Errorf("%s: %v is %v, want %v", c.name, err, got, c.want)
		}
		if door.Peer(server) != nil {
			t.Errorf("%s: it has a peer", c.name)
		}
	}
}

func TestHandshakeEndsWithItsTime(t *testing.T) {
	near, far := pair(t)
	_, _ = io.WriteString(near, "\x16\x03\x01\x02\x00") // and no more
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	server := listener(t, newIssuer(t, "site"), nil).Server(far)
	if err := server.HandshakeContext(ctx); fault.Classify(err) != fault.ConnectionReadTimeout {
		t.Errorf("%v", err)
	}
	if _, err := near.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

func TestChangeWhileClientsCome(t *testing.T) {
	site, staff := newIssuer(t, "site"), newIssuer(t, "staff")
	v := listener(t, site, nil)
	ada := staff.client(t, "ada", time.Hour)
	turns := []*door.TLS{shows(t, site, nil), shows(t, site, staff)}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			config := visitor(site, tls.VersionTLS13, ada)
			for range 30 {
				if o := shake(t, v, config); o.err != nil || o.refused != nil {
					t.Errorf("%v, %v", o.err, o.refused)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	for i := 0; ; i++ {
		v.Change(turns[i%2])
		select {
		case <-ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}
