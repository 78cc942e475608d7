package tap_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"viaduct/tap"
)

// pair is TLS over a tap and whom it speaks with, by TCP.
func pair(t *testing.T) (over *tls.Conn, under *tap.Conn, other *tls.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	under = tap.New(nc, nil)
	over = tls.Client(under, &tls.Config{InsecureSkipVerify: true})
	other = tls.Server(&hold{Conn: far}, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	t.Cleanup(func() { _, _ = nc.Close(), far.Close() })
	shaken := make(chan error, 1)
	go func() { shaken <- other.Handshake() }()
	if err := over.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return over, under, other
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// hear reads exactly what is wanted.
func hear(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); string(got) != want {
		t.Fatalf("got %q, %v", got[:n], err)
	}
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// TestQuietConnectionGoesOn: asking does no harm.
func TestQuietConnectionGoesOn(t *testing.T) {
	over, under, other := pair(t)
	for _, word := range []string{"one", "two", "three"} {
		say(t, other, word)
		hear(t, over, word)
		if n, something := under.Pending(over, make([]byte, 1)); n > 0 || something {
			t.Fatalf("something is left behind %q", word)
		}
	}
}

// TestWhatWasReadAheadIsPending: the rest of a record, a further one, a part of
// one, the end.
func TestWhatWasReadAheadIsPending(t *testing.T) {
	for name, send := range map[string]func(t *testing.T, other *tls.Conn){
		"in the record": func(t *testing.T, other *tls.Conn) { say(t, other, "answer and more") },
		"a further one": func(t *testing.T, other *tls.Conn) { atOnce(t, other, 0, "answer", "more") },
		"a part of one": func(t *testing.T, other *tls.Conn) { atOnce(t, other, 3, "answer", "more") },
		"a byte of one": func(t *testing.T, other *tls.Conn) { atOnce(t, other, len("more")+17+4, "answer", "more") },
		"the end": func(t *testing.T, other *tls.Conn) {
			say(t, other, "answer")
			_ = other.CloseWrite()
		},
	} {
		t.Run(name, func(t *testing.T) {
			over, under, other := pair(t)
			send(t, other)
			hear(t, over, "answer")
			if name == "the end" { // it may come in a segment of its own, and is read by who comes next
				if _, err := over.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
				return
			}
			if _, something := under.Pending(over, make([]byte, 1)); !something {
				t.Error("nothing is pending")
			}
		})
	}
}

// TestEarlyBytesComeFirst, and count.
func TestEarlyBytesComeFirst(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		_, _ = io.WriteString(far, "late")
		_ = far.Close()
	}()
	c := tap.New(near, []byte("early "))
	got, err := io.ReadAll(c)
	if read, written := c.Moved(); string(got) != "early late" || err != nil || read != 10 || written != 0 {
		t.Errorf("got %q, %v; %d read, %d written", got, err, read, written)
	}
	if c.CloseWrite() == nil {
		t.Error("a pipe can end one side")
	}
}

// hold is a connection whose writes can be kept back, to leave in one segment.
type hold struct {
	net.Conn
	holding bool
	kept    []byte
}

func (h *hold) Write(p []byte) (int, error) {
	if !h.holding {
		return h.Conn.Write(p)
	}
	h.kept = append(h.kept, p...)
	return len(p), nil
}

// atOnce sends a record a word in one segment, without so many of the last bytes.
func atOnce(t *testing.T, other *tls.Conn, without int, words ...string) {
	t.Helper()
	h := other.NetConn().(*hold)
	h.holding = true
	for _, w := range words {
		say(t, other, w)
	}
	if _, err := h.Conn.Write(h.kept[:len(h.kept)-without]); err != nil {
		t.Fatal(err)
	}
}
