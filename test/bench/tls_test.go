package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
)

// secureOrigin is an origin that speaks TLS at a port of its own.
func secureOrigin(t *testing.T) (b *bench, port int) {
	t.Helper()
	b = &bench{options: &options{work: t.TempDir()}, vars: map[string]string{}}
	if err := b.writeFiles(); err != nil {
		t.Fatal(err)
	}
	port = freePort()
	ln, err := listenTLS(port, b.vars["certkey"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go acceptTLS(ln)
	return b, port
}

// tunneler is a proxy of tunnels; with a certificate it looks into them.
func tunneler(t *testing.T, to int, cert *tls.Certificate) int {
	t.Helper()
	pipe := func(a, b net.Conn) {
		defer a.Close()
		defer b.Close()
		_, _ = io.Copy(a, b)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(to))
		if err != nil || r.Method != http.MethodConnect {
			w.WriteHeader(502)
			return
		}
		client, _, _ := w.(http.Hijacker).Hijack()
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		if cert != nil {
			client = tls.Server(client, &tls.Config{Certificates: []tls.Certificate{*cert}})
			server = tls.Client(server, &tls.Config{InsecureSkipVerify: true})
		}
		go pipe(client, server)
		pipe(server, client)
	}))
	t.Cleanup(srv.Close)
	return int(atoi([]byte(srv.URL[strings.LastIndexByte(srv.URL, ':')+1:])))
}

// minted is a certificate for localhost by the authority of b.
func minted(t *testing.T, b *bench) *tls.Certificate {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	ca, err := tls.X509KeyPair(read(b.vars["ca"]+"/ca.crt"), read(b.vars["ca"]+"/ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(b.vars["certkey"], b.vars["certkey"])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, own.Leaf, ca.Leaf, own.Leaf.PublicKey, ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own.PrivateKey}
}

func TestInspectedTunnels(t *testing.T) {
	b, port := secureOrigin(t)
	b.secure = port
	for _, tt := range []struct {
		name string
		cert *tls.Certificate
		good bool
	}{
		{"inspected", minted(t, b), true},
		{"not inspected", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := workloadOf("F3in")
			to := b.target(w.kind, tunneler(t, port, tt.cert))
			if err := b.check(w, w.kind, to); (err == nil) != tt.good {
				t.Errorf("check: %v", err)
			}
			for _, work := range []func(target) job{keptTunnels, setUp} {
				j := work(to)
				j.port, j.inside, j.begin, j.end = to.port, "localhost", func() {}, func() {}
				var agreed string
				l, err := longEnough(j, func(j job) (l *load, err error) {
					l, agreed, err = driveTLS(j)
					return l, err
				})
				if err != nil || l.units == 0 || l.errors > 0 || !strings.HasPrefix(agreed, "TLS 1.3 ") {
					t.Errorf("%+v, %q, %v", l, agreed, err)
				}
			}
		})
	}
}

// What is no small page is not answered halfway.
func TestTLSOriginHangsUpOnWhatItCannotServe(t *testing.T) {
	b, port := secureOrigin(t)
	roots := x509.NewCertPool()
	text, err := os.ReadFile(b.vars["cert"])
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	for _, tt := range []struct{ request, status string }{
		{string(request("GET", bytesPath(10), "a", "", -1)), "HTTP/1.1 200 OK"},
		{string(request("GET", bytesPath(10), "a", nothing+": 1\r\n", -1)), "HTTP/1.1 400 Bad Request"},
		{string(request("GET", bytesPath(huge), "a", "", -1)), ""},
		{echoUpgrade, ""},
	} {
		d := tls.Dialer{Config: &tls.Config{RootCAs: roots}}
		c, err := d.DialContext(context.Background(), "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, strings.Replace(tt.request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(c)
		if first, _, _ := strings.Cut(string(answer), "\r\n"); first != tt.status {
			t.Errorf("%.20q: %q", tt.request, first)
		}
		_ = c.Close()
	}
}

func TestAnotherCipherIsAnError(t *testing.T) {
	b, _ := secureOrigin(t)
	cert, err := tls.LoadX509KeyPair(b.vars["certkey"], b.vars["certkey"])
	if err != nil {
		t.Fatal(err)
	}
	// No server of crypto/tls prefers another one: an older version has it.
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go acceptTLS(ln)
	j := keptAlive(target{port: ln.Addr().(*net.TCPAddr).Port, hosts: []string{""}})
	j.port, j.begin, j.end = ln.Addr().(*net.TCPAddr).Port, func() {}, func() {}
	g := &tlsGen{job: j, config: &tls.Config{InsecureSkipVerify: true}, dialer: make([]net.Dialer, 1)}
	if err := g.connection(); err == nil || !strings.Contains(err.Error(), "let it choose TLS_AES_128_GCM_SHA256") {
		t.Error(err)
	}
}
