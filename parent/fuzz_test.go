package parent_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/parent"
)

// script is a parent that says what it has to say, in pieces of some bytes, and
// ends.
type script struct {
	left   []byte
	piece  int
	closed bool
}

func (s *script) Read(b []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.piece)], s.left)
	s.left = s.left[n:]
	return n, nil
}

func (s *script) Write(b []byte) (int, error)      { return len(b), nil }
func (s *script) Close() error                     { s.closed = true; return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswer: whatever a parent answers, Tunnel takes for a yes only what
// net/http takes for one too, and not one byte of the target gets lost.
func FuzzAnswer(f *testing.F) {
	for _, in := range []string{
		"HTTP/1.1 200 OK\r\n\r\nbanner",
		"HTTP/1.0 201\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"y\"\r\n\r\n",
		"HTTP/1.1 502 x\r\nProxy-Status: a; details=\"\\\"; error=\", b; error=dns_error\r\n\r\n",
		"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\n",
		"SSH-2.0-x\r\n",
		"\x05\x00\x05\x00\x00\x03\x02ab\x00\x01banner",
		"\x05\x02\x01\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00",
	} {
		f.Add([]byte(in), uint8(7), false)
		f.Add([]byte(in), uint8(1), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece uint8, socks bool) {
		s := &script{left: in, piece: int(piece) + 1}
		p := parent.Proxy{Host: "p", Port: 1, User: "u"}
		if socks {
			p.Scheme = parent.SOCKS5
		}
		over, early, err := p.Tunnel(context.Background(), s, "a:1")
		if (err == nil) != (over == net.Conn(s)) || (err != nil) != s.closed {
			t.Fatalf("%v, %v, closed: %v", over, err, s.closed)
		}
		if err != nil {
			bad, ok := errors.AsType[*fault.Error](err)
			refused, no := errors.AsType[*parent.RefusedError](err)
			if !ok || bad.Status() < 400 || bad.Status() == 407 || bad.Say() == "" || no && !socks && refused.Status < 300 {
				t.Fatalf("%v", err)
			}
			if !no && parent.Blame(err) != parent.Parent {
				t.Fatalf("%v: blamed: %v", err, parent.Blame(err))
			}
			return
		}
		if rest := string(early) + string(s.left); !socks && rest != string(behind(t, in)) {
			t.Fatalf("%q: the target said %q", in, rest)
		}
	})
}

// behind is what follows the answer, as net/http reads it.
func behind(t *testing.T, in []byte) []byte {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(string(in)))
	for {
		a, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
		if err != nil || a.StatusCode >= 300 || a.StatusCode == 101 {
			t.Fatalf("%q is no yes: %v", in, err)
		}
		if a.StatusCode >= 200 {
			rest, _ := io.ReadAll(r) // past the body, which is none
			return rest
		}
	}
}
