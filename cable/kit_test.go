package cable_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"viaduct/cable"
)

const (
	patience = 20 * time.Second      // how long a test waits for what must come
	short    = 50 * time.Millisecond // a bound that a test waits for
)

var calm = cable.Bounds{Quiet: 8 * time.Second, Pong: 5 * time.Second, Idle: 90 * time.Second}

// TestMain wants nothing to be left of the tests: no goroutine and no socket.
func TestMain(m *testing.M) {
	flag.Parse()
	before := goroutines()
	code := m.Run()
	if code == 0 {
		code = leaks(before)
	}
	os.Exit(code)
}

func goroutines() int { return pprof.Lookup("goroutine").Count() }

// leaks is the exit code of the package.
func leaks(before int) int {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); goroutines() > before || sockets() > 0; <-tick.C {
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "%d goroutines, %d before; %d sockets\n", goroutines(), before, sockets())
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return 1
		}
	}
	return 0
}

// sockets counts the open ones.
func sockets() (n int) {
	list, _ := filepath.Glob("/proc/self/fd/*")
	for _, f := range list {
		if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// dial is a connection, after TLS, to a parent that does what play does. Both
// sides end with the test.
func dial(t testing.TB, play func(net.Conn)) *tls.Conn {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	nc := must[net.Conn](t)(net.Dial("tcp", l.Addr().String()))
	far := must[net.Conn](t)(l.Accept())
	var all sync.WaitGroup
	server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	all.Go(func() {
		defer server.Close()
		if server.Handshake() == nil {
			play(server)
		}
	})
	t.Cleanup(func() {
		_, _ = nc.Close(), far.Close()
		all.Wait()
	})
	c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// certificate is one that nobody trusts.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// lay is a cable to a parent.
func lay(t testing.TB, b cable.Bounds, play func(net.Conn)) *cable.Cable {
	t.Helper()
	nc := dial(t, play)
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := must[*cable.Cable](t)(cable.New(nc, b))
	_ = nc.SetDeadline(time.Time{})
	c.Start()
	t.Cleanup(c.Retire)
	return c
}

// serves is a cable to a parent that the library plays.
func serves(t testing.TB, b cable.Bounds, handle http.HandlerFunc) *cable.Cable {
	t.Helper()
	return lay(t, b, func(c net.Conn) {
		base := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		(&http2.Server{MaxConcurrentStreams: 250}).ServeConn(c, &http2.ServeConnOpts{BaseConfig: base, Handler: handle}) //nolint:staticcheck // what replaces it accepts connections by itself
	})
}

// bounded is a context that ends long after a test should have.
func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// ask is a stream that the test closes in the end.
func ask(t testing.TB, c *cable.Cable, target string) *cable.Stream {
	t.Helper()
	s, over := c.Ask(cable.Request{Target: target})
	if s == nil {
		t.Fatalf("it takes no tunnel; over: %v", over)
	}
	t.Cleanup(func() { _ = s.Close() })
	_ = s.SetDeadline(time.Now().Add(patience))
	return s
}

// open is a tunnel.
func open(t testing.TB, c *cable.Cable, target string) *cable.Stream {
	t.Helper()
	s := ask(t, c, target)
	if head, err := s.Answer(bounded(t)); err != nil || head.Status != 200 {
		t.Fatal(head.Status, err)
	}
	return s
}

// passes wants bytes to go both ways through a tunnel to an echo.
func passes(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	said(t, c, "ping")
}

func said(t testing.TB, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("%q %v", b, err)
	}
}

func closeWrite(t testing.TB, s *cable.Stream) {
	t.Helper()
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what must come to be.
func eventually(t testing.TB, look func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !look(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it never came to be")
		}
	}
}

// echoes is a target that sends back what comes, and ends when that does.
func echoes(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	b := make([]byte, 16<<10)
	for {
		n, err := r.Body.Read(b)
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// quiet listens, and says nothing.
func quiet(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// socket is the one below TLS.
func socket(c net.Conn) *net.TCPConn { return c.(*tls.Conn).NetConn().(*net.TCPConn) }

// raw is a parent that is written frame by frame.
type raw struct {
	*http2.Framer
	c       net.Conn
	out     bytes.Buffer
	encoder *hpack.Encoder
}

// rawServer plays after the first words.
func rawServer(play func(*raw)) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != http2.ClientPreface {
			return
		}
		s := &raw{Framer: http2.NewFramer(c, c), c: c}
		s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		s.AllowIllegalWrites = true
		s.encoder = hpack.NewEncoder(&s.out)
		_ = s.WriteSettings()
		play(s)
	}
}

// connect is the stream of the next CONNECT; 0 at the end.
func (s *raw) connect() uint32 {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return 0
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			return h.StreamID
		}
	}
}

func (s *raw) answer(id uint32, status string, more ...string) { s.head(id, status, false, more...) }

func (s *raw) head(id uint32, status string, end bool, more ...string) {
	s.out.Reset()
	_ = s.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	for i := 0; i < len(more); i += 2 {
		_ = s.encoder.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.out.Bytes(), EndHeaders: true, EndStream: end})
}

func (s *raw) data(id uint32, end bool, text string) { _ = s.WriteData(id, end, []byte(text)) }

// until is what a stream says until it ends, or how else it does.
func (s *raw) until(id uint32) string {
	var said []byte
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return err.Error()
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			said = append(said, f.Data()...)
			if f.StreamEnded() {
				return string(said)
			}
		case *http2.RSTStreamFrame:
			return f.ErrCode.String()
		}
	}
}

// drain answers what must be answered, until the other side leaves.
func (s *raw) drain() {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return
		}
		if p, ok := f.(*http2.PingFrame); ok && !p.IsAck() {
			_ = s.WritePing(true, p.Data)
		}
	}
}

// echoRaw answers all that comes.
func (s *raw) echoRaw() {
	for {
		f, err := s.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			s.answer(f.StreamID, "200")
		case *http2.DataFrame:
			_ = s.WriteData(f.StreamID, f.StreamEnded(), f.Data())
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = s.WritePing(true, f.Data)
			}
		}
	}
}
