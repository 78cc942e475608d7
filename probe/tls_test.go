package probe_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/probe"
)

func TestTLSPasses(t *testing.T) {
	cert, client := trusted(t)
	names := make(chan string, 9)
	server := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- h.ServerName
		return &cert, nil
	}}
	addr := secure(t, server, hang)
	for _, tt := range []struct{ host, sent string }{{"", ""}, {"own.example", "own.example"}, {"own.example:99", "own.example"}} {
		r := run(t, probe.Check{Kind: probe.TLS, Host: tt.host, TLS: client}, addr)
		passes(t, r)
		if r.Note != "TLS 1.3" {
			t.Errorf("note %q", r.Note)
		}
		if sent := <-names; sent != tt.sent {
			t.Errorf("sent the name %q, want %q", sent, tt.sent)
		}
	}
}

func TestTLSCertificates(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	for _, tt := range []struct {
		name        string
		from, until time.Duration
		signer      time.Duration
		host        string
		note        string
		bad         bool
	}{
		{name: "good for long", from: -day, until: 90 * day, signer: 1000 * day, note: "TLS 1.3"},
		{name: "ends soon", from: -80 * day, until: 3*day + time.Hour, signer: 1000 * day, note: "TLS 1.3; certificate expires in 3 days"},
		{name: "ends today", from: -80 * day, until: 5*time.Hour + time.Minute, signer: 1000 * day, note: "TLS 1.3; certificate expires in 5 hours"},
		{name: "short-lived and fresh", from: -time.Hour, until: 5 * day, signer: 1000 * day, note: "TLS 1.3"},
		{name: "short-lived and old", from: -5 * day, until: day - time.Minute, signer: 1000 * day, note: "TLS 1.3; certificate expires in 23 hours"},
		{name: "its authority ends soon", from: -80 * day, until: 90 * day, signer: 4*day + time.Hour, note: "TLS 1.3; certificate expires in 4 days"},
		{name: "has ended", from: -day, until: -time.Hour, signer: 1000 * day, bad: true},
		{name: "not yet", from: time.Hour, until: day, signer: 1000 * day, bad: true},
		{name: "authority has ended", from: -day, until: day, signer: -time.Hour, bad: true},
		{name: "other name", from: -day, until: day, signer: 1000 * day, host: "other.example", bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSigner(t, now.Add(tt.signer))
			cert := s.issue(t, now.Add(tt.from), now.Add(tt.until), "own.example")
			addr := secure(t, &tls.Config{Certificates: []tls.Certificate{cert}}, hang)
			r := run(t, probe.Check{Kind: probe.TLS, Host: tt.host, TLS: &tls.Config{RootCAs: s.pool}}, addr)
			if tt.bad {
				fails(t, r, "tls handshake: ")
				if fault.Classify(r.Err) != fault.TLSCertificateError {
					t.Errorf("error %v", r.Err)
				}
				return
			}
			passes(t, r)
			if r.Note != tt.note {
				t.Errorf("note %q, want %q", r.Note, tt.note)
			}
		})
	}
}

func TestTLSUnverifiedStillTellsOfTheEnd(t *testing.T) {
	s := newSigner(t, time.Now().Add(time.Hour))
	cert := s.issue(t, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	addr := secure(t, &tls.Config{Certificates: []tls.Certificate{cert}}, hang)
	r := run(t, probe.Check{Kind: probe.TLS, TLS: &tls.Config{InsecureSkipVerify: true}}, addr)
	passes(t, r)
	if r.Note != "TLS 1.3; certificate has expired" {
		t.Errorf("note %q", r.Note)
	}
}

func TestTLSTrustsTheSystemAlone(t *testing.T) {
	cert, _ := trusted(t)
	r := run(t, probe.Check{Kind: probe.TLS}, secure(t, &tls.Config{Certificates: []tls.Certificate{cert}}, hang))
	if _, ok := errors.AsType[x509.UnknownAuthorityError](r.Err); !ok {
		t.Errorf("error %v", r.Err)
	}
}

func TestTLSGarbage(t *testing.T) {
	for _, play := range []func(net.Conn){say("HTTP/1.1 400 Bad Request\r\n\r\n"), endless("", "\x16\x03\x03"), endless("", "\x00"), reset, say("")} {
		fails(t, run(t, probe.Check{Kind: probe.TLS}, peer(t, play)), "tls handshake: ")
	}
}
