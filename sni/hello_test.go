package sni_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorder is a connection to nowhere. It keeps what is written, and has
// nothing to read.
type recorder struct {
	net.Conn
	written []byte
}

func (r *recorder) Read([]byte) (int, error) { return 0, io.EOF }
func (r *recorder) Write(b []byte) (int, error) {
	r.written = append(r.written, b...)
	return len(b), nil
}
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }
func (r *recorder) Close() error                     { return nil }

// said is what a client of crypto/tls sends first.
func said(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	if c.ServerName == "" {
		c.InsecureSkipVerify = true
	}
	var r recorder
	if err := tls.Client(&r, c).Handshake(); err == nil || len(r.written) == 0 {
		t.Fatalf("the client said %d bytes: %v", len(r.written), err)
	}
	return r.written
}

// protocols make a hello as large as they are, list and all.
func protocols(size int) (all []string) {
	for size > 1 {
		n := min(size-1, 255)
		all = append(all, strings.Repeat("p", n))
		size -= n + 1
	}
	return all
}

// echList is a list with the configuration of one server that takes encrypted
// hellos under a public name (RFC 9849 section 4).
func echList(t testing.TB, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	contents := slices.Concat(
		[]byte{7}, []byte{0x00, 0x20}, // id of the configuration; DHKEM(X25519, HKDF-SHA256)
		long(key.PublicKey().Bytes()),
		long([]byte{0x00, 0x01, 0x00, 0x01}), // HKDF-SHA256, AES-128-GCM
		[]byte{64}, short([]byte(public)),
		long(nil),
	)
	return long(slices.Concat([]byte{0xfe, 0x0d}, long(contents)))
}

// short and long put the length before b, in one byte and in two.
func short(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }

func long(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// parts of a hello by hand. A nil part is the usual one.
type parts struct {
	session, suites, methods []byte
	extensions               [][]byte // nil: there is no block of them
	behind                   []byte   // in the message
}

// message is a hello as a handshake message.
func (p parts) message() []byte {
	usual := func(b, otherwise []byte) []byte {
		if b == nil {
			return otherwise
		}
		return b
	}
	body := slices.Concat(
		[]byte{3, 3}, make([]byte, 32),
		usual(p.session, short(nil)),
		usual(p.suites, long([]byte{0x13, 0x01})),
		usual(p.methods, short([]byte{0})),
	)
	if p.extensions != nil {
		body = append(body, long(slices.Concat(p.extensions...))...)
	}
	return withHeader(append(body, p.behind...))
}

// withHeader makes a message of the body of a hello.
func withHeader(body []byte) []byte {
	n := len(body)
	return append([]byte{1, byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// records carries a message in records of size bytes each.
func records(message []byte, size int) (b []byte) {
	for piece := range slices.Chunk(message, size) {
		b = append(b, record(22, 1, piece)...)
	}
	return b
}

func record(kind, minor byte, content []byte) []byte {
	return append([]byte{kind, 3, minor}, long(content)...)
}

// carried is the message that is in records.
func carried(b []byte) (message []byte) {
	for len(b) > 5 {
		n := 5 + int(binary.BigEndian.Uint16(b[3:]))
		message = append(message, b[5:n]...)
		b = b[n:]
	}
	return message
}

func extension(kind uint16, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kind), long(content)...)
}

// named is the extension with names, each with its type before it.
func named(names ...string) []byte {
	var list []byte
	for _, n := range names {
		list = append(list, n[0])
		list = append(list, long([]byte(n[1:]))...)
	}
	return extension(0, long(list))
}

// calls is a hello that calls the server by a name.
func calls(name string) []byte {
	return records(parts{extensions: [][]byte{named("\x00" + name)}}.message(), 1<<14)
}
