package passage_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/parent"
	"viaduct/passage"
)

// patience is how long a test waits for what must happen: a loaded machine
// takes its time.
const patience = time.Minute

// TestMain fails the package if goroutines or descriptors are left.
func TestMain(m *testing.M) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the poller's own descriptors are open from here on
	if err != nil {
		panic(err)
	}
	_ = l.Close()
	fds, routines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	runtime.GC()                                             // the pipes that io.Copy splices through go with their pool,
	runtime.GC()                                             // the second time
	if !fuzzing && !eventually(func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds }) {
		buf := make([]byte, 1<<20)
		fmt.Printf("left: %d goroutines, were %d; %d descriptors, were %d\n%s\n",
			runtime.NumGoroutine(), routines, descriptors(), fds, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func eventually(look func() bool) bool {
	for end := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		if look() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// peer is a scripted parent on a real socket: each connection is given to serve.
type peer struct {
	net.Listener
	open  sync.WaitGroup
	conns sync.Map
	asked atomic.Int32 // connections
}

func listen(t *testing.T, serve func(net.Conn)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l}
	p.open.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			p.asked.Add(1)
			p.conns.Store(nc, nil)
			p.open.Go(func() {
				defer p.conns.Delete(nc)
				defer nc.Close()
				serve(nc)
			})
		}
	})
	t.Cleanup(p.stop)
	return p
}

// stop ends all that the peer does, as a killed process would.
func (p *peer) stop() {
	_ = p.Close()
	p.conns.Range(func(nc, _ any) bool { _ = nc.(net.Conn).Close(); return true })
	p.open.Wait()
}

func (p *peer) port() uint16 { return uint16(p.Addr().(*net.TCPAddr).Port) }

func (p *peer) hop(s parent.Scheme) parent.Proxy {
	return parent.Proxy{Scheme: s, Host: "127.0.0.1", Port: p.port()}
}

// heads keeps the heads that proxies of a test were sent.
type heads struct {
	mu  sync.Mutex
	all []string
}

func (h *heads) add(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, s)
}

func (h *heads) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.all, "")
}

// connect is a proxy that opens tunnels to wherever to leads, or to what it is
// asked for if that is "".
func connect(h *heads, to string) func(net.Conn) {
	return func(nc net.Conn) {
		br := bufio.NewReader(nc)
		var head strings.Builder
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			if head.WriteString(line); line == "\r\n" {
				break
			}
		}
		h.add(head.String())
		method, rest, _ := strings.Cut(head.String(), " ")
		target, _, _ := strings.Cut(rest, " ")
		if method != "CONNECT" {
			_, _ = io.WriteString(nc, "HTTP/1.1 204 Absolute\r\n\r\n")
			return
		}
		if to != "" {
			target = to
		}
		up, err := net.Dial("tcp", target)
		if err != nil {
			_, _ = io.WriteString(nc, "HTTP/1.1 502 No\r\n\r\n")
			return
		}
		_, _ = io.WriteString(nc, "HTTP/1.1 201 Open\r\n\r\n")
		splice(nc, br, up)
	}
}

// splice is the rest of a tunnel.
func splice(nc net.Conn, from io.Reader, up net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(up, from)
		_ = up.Close()
	})
	_, _ = io.Copy(nc, up)
	_ = nc.Close()
	_ = up.Close()
	both.Wait()
}

// echo is a destination that greets and repeats.
func echo(nc net.Conn) {
	_, _ = io.WriteString(nc, "hello ")
	_, _ = io.Copy(nc, nc)
}

// certificate is one for 127.0.0.1, and the roots that trust it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// secured speaks TLS before it serves.
func secured(cert tls.Certificate, serve func(net.Conn)) func(net.Conn) {
	return func(nc net.Conn) {
		c := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
		if c.Handshake() == nil {
			serve(c)
			_ = c.Close()
		}
	}
}

// lead is a passage through some hops.
func lead(t *testing.T, config *tls.Config, hops ...parent.Proxy) *passage.Passage {
	t.Helper()
	p := passage.New(hops, passage.Setup{TLS: config})
	t.Cleanup(p.Close)
	return p
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// talk says something through a tunnel to echo.
func talk(t *testing.T, nc net.Conn, early []byte) {
	t.Helper()
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, "you"); err != nil {
		t.Fatal(err)
	}
	want := "hello you"
	got := make([]byte, len(want)-len(early))
	_, err := io.ReadFull(nc, got)
	if all := string(early) + string(got); all != want || err != nil {
		t.Errorf("heard %q, %v", all, err)
	}
}
