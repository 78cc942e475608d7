package probe_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/probe"
)

// patience is how long a test waits for what must happen; short is how long a
// check waits for what won't.
const (
	patience = 30 * time.Second
	short    = 100 * time.Millisecond
)

// TestMain wants nothing to be left of the checks: no goroutine and no socket.
func TestMain(m *testing.M) {
	flag.Parse()
	before := goroutines()
	code := m.Run()
	if fuzzing := flag.Lookup("test.fuzz").Value.String() != ""; code == 0 && !fuzzing {
		code = leaks(before)
	}
	os.Exit(code)
}

func goroutines() int { return pprof.Lookup("goroutine").Count() }

func leaks(before int) int {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); goroutines() > before || sockets() > 0; <-tick.C {
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "%d goroutines, %d before; %d sockets\n", goroutines(), before, sockets())
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return 1
		}
	}
	return 0
}

func sockets() (n int) {
	list, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return 0
	}
	for _, f := range list {
		if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// peer is a scripted server: play runs for each connection, which is closed
// behind it. It returns the address.
func peer(t *testing.T, play func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	on(t, l, play)
	return l.Addr().String()
}

func on(t *testing.T, l net.Listener, play func(net.Conn)) {
	t.Helper()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer nc.Close()
				play(nc)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait() // the checks must have hung up
	})
}

// hang waits for the end of the connection, whatever comes.
func hang(nc net.Conn) {
	b := make([]byte, 4096)
	for {
		if _, err := nc.Read(b); err != nil {
			return
		}
	}
}

// request reads what has come, once.
func request(nc net.Conn) string {
	b := make([]byte, 16<<10)
	n, _ := nc.Read(b)
	return string(b[:n])
}

// say reads a request, answers and closes.
func say(answer string) func(net.Conn) {
	return func(nc net.Conn) {
		request(nc)
		nc.Write([]byte(answer))
	}
}

// endless reads a request and sends part over and over.
func endless(first, part string) func(net.Conn) {
	return func(nc net.Conn) {
		request(nc)
		nc.Write([]byte(first))
		for b := []byte(strings.Repeat(part, max(1, 8192/len(part)))); ; {
			if _, err := nc.Write(b); err != nil {
				return
			}
		}
	}
}

// drip reads a request and sends a byte now and then.
func drip(text string) func(net.Conn) {
	return func(nc net.Conn) {
		request(nc)
		for i := range text {
			if _, err := nc.Write([]byte{text[i]}); err != nil {
				return
			}
			time.Sleep(time.Millisecond) // peer: drips
		}
		hang(nc)
	}
}

// reset reads a request and ends the connection by a reset.
func reset(nc net.Conn) {
	request(nc)
	nc.(*net.TCPConn).SetLinger(0)
}

// closed is an address that refuses.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

func run(t *testing.T, c probe.Check, addr string) probe.Result {
	t.Helper()
	return runFor(t, patience, c, probe.Endpoint{Addr: addr})
}

// runFor runs a check and wants it to be bounded.
func runFor(t *testing.T, d time.Duration, c probe.Check, e probe.Endpoint) probe.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	r := c.Run(ctx, e)
	if r.Took <= 0 || r.Took > d+patience {
		t.Errorf("took %v", r.Took)
	}
	return r
}

// passes wants a check to pass.
func passes(t *testing.T, r probe.Result) {
	t.Helper()
	if r.Err != nil {
		t.Errorf("%v", r.Err)
	}
}

// fails wants a check to fail, and its error to have some text.
func fails(t *testing.T, r probe.Result, text string) {
	t.Helper()
	if r.Err == nil || !strings.Contains(r.Err.Error(), text) {
		t.Errorf("error %v, want one with %q", r.Err, text)
	}
}

// late wants the check to have been ended by its context.
func late(t *testing.T, r probe.Result) {
	t.Helper()
	if !errors.Is(r.Err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a deadline", r.Err)
	}
}

// signer issues certificates.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newSigner(t *testing.T, until time.Time) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &signer{key: key, pool: x509.NewCertPool()}
	s.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, s.cert, s.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	s.pool.AddCert(s.cert)
	return s
}

func (s *signer) issue(t *testing.T, from, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: until, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, s.cert, key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// trusted is a certificate for localhost and 127.0.0.1 that is good for long,
// and the configuration of a client that trusts it.
func trusted(t *testing.T) (tls.Certificate, *tls.Config) {
	t.Helper()
	s := newSigner(t, time.Now().AddDate(10, 0, 0))
	cert := s.issue(t, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0), "localhost", "own.example")
	return cert, &tls.Config{RootCAs: s.pool, MinVersion: tls.VersionTLS12}
}

// secure is a scripted server over TLS.
func secure(t *testing.T, config *tls.Config, play func(net.Conn)) string {
	t.Helper()
	return peer(t, func(nc net.Conn) {
		tc := tls.Server(nc, config)
		if tc.Handshake() == nil {
			play(tc)
		}
		tc.Close()
	})
}
