package sni_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"

	"viaduct/sni"
)

var errSeen = errors.New("seen")

// player is a client that has said all it has to say.
type player struct {
	recorder
	left *bytes.Reader
}

func (p *player) Read(b []byte) (int, error) { return p.left.Read(b) }

// understood is the name that a server of crypto/tls understands, if it
// understands the hello at all.
func understood(b []byte) (name string, ok bool) {
	server := tls.Server(&player{left: bytes.NewReader(b)}, &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name, ok = h.ServerName, true
			return nil, errSeen
		},
	})
	_ = server.Handshake()
	return name, ok
}

// FuzzHello: a hello that a server understands is never taken for another
// protocol or for a part, nor for one with another name. It may be refused.
func FuzzHello(f *testing.F) {
	hello := said(f, &tls.Config{ServerName: "www.example.com", NextProtos: []string{"h2"}})
	for _, b := range [][]byte{
		hello,
		records(carried(hello), 7),
		said(f, &tls.Config{ServerName: "www.example.com", MaxVersion: tls.VersionTLS12}),
		said(f, &tls.Config{}),
		said(f, &tls.Config{ServerName: "secret.example", MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: echList(f, "public.example")}),
		append(record(21, 3, []byte{1, 0}), hello...),
		append([]byte{21, 0, 0, 0, 2, 1, 0}, hello...),
		append([]byte{22, 2, 0}, hello[3:]...),
		slices.Concat(record(22, 1, carried(hello)[:9]), record(21, 3, []byte{1, 0}), record(22, 1, carried(hello)[9:])),
		calls("a.example"), calls("A.example."), calls("2001:db8::1"),
		records(parts{extensions: [][]byte{named("\x00a.example", "\x01b.example")}}.message(), 1<<14),
		records(parts{extensions: [][]byte{named("\x00a.example"), named("\x00b.example")}}.message(), 1<<14),
		records(parts{}.message(), 1<<14),
		[]byte("\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"),
		[]byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, r := sni.Read(b)
		if r != sni.TLS && h != (sni.Hello{}) {
			t.Fatalf("result %d with %+v", r, h)
		}
		if len(b) < 4<<10 {
			steady(t, b)
		}
		name, ok := understood(b)
		name = strings.ToLower(name)
		switch {
		case !ok || r == sni.Malformed:
		case r != sni.TLS:
			t.Fatalf("the server understands %q, here it is result %d", name, r)
		case h.Name != name:
			t.Fatalf("the server understands %q, here it is %q", name, h.Name)
		}
	})
}
