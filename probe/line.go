package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	mostExpected = 64 << 10 // of what a peer sends, when text is expected
	shown        = 100      // bytes of a peer's text in a note or an error
	soon         = 14 * 24 * time.Hour
)

// socket dials without keep-alive probes: a check is over before they begin.
var socket = net.Dialer{KeepAlive: -1}

// place is where an endpoint is.
type place struct {
	network, addr string
	host, port    string // port is "" for a unix socket
}

func (c Check) place(addr string) (place, error) {
	path, isURL := strings.CutPrefix(addr, "unix://")
	switch {
	case isURL && !strings.HasPrefix(path, "/"):
		return place{}, fmt.Errorf("endpoint %q: write unix:///path", addr)
	case strings.HasPrefix(path, "/") && c.Port != 0:
		return place{}, fmt.Errorf("endpoint %q: a unix socket has no port %d", addr, c.Port)
	case strings.HasPrefix(path, "/"):
		return place{network: "unix", addr: path, host: "localhost"}, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return place{}, fmt.Errorf("endpoint %q: write host:port or unix:///path: %w", addr, err)
	}
	if c.Port != 0 {
		port = strconv.Itoa(int(c.Port))
	}
	return place{network: "tcp", addr: net.JoinHostPort(host, port), host: host, port: port}, nil
}

// authority is whom a request is for: host, and the port unless it is usual.
func (c Check) authority(at place) string {
	usual := "80"
	if c.Secure {
		usual = "443"
	}
	switch {
	case c.Host != "":
		return c.Host
	case at.port != "" && at.port != usual:
		return net.JoinHostPort(at.host, at.port)
	case strings.Contains(at.host, ":"):
		return "[" + at.host + "]"
	}
	return at.host
}

// bareHost is a host without its port.
func bareHost(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return strings.Trim(s, "[]")
}

// line is the connection of one check. It ends with its context.
type line struct {
	conn net.Conn             // what is spoken on
	raw  net.Conn             // below it
	tls  *tls.ConnectionState // nil: in the clear
	at   place
	stop func() bool
}

// hold ties a connection to ctx. It is closed, not given a deadline: only that
// ends whatever a library does with it.
func hold(ctx context.Context, nc net.Conn) *line {
	return &line{conn: nc, raw: nc, stop: context.AfterFunc(ctx, func() { nc.Close() })}
}

// open dials the endpoint and, when the check is a secure one, shakes hands.
func (c Check) open(ctx context.Context, e Endpoint, protocols ...string) (*line, error) {
	at, err := c.place(e.Addr)
	if err != nil {
		return nil, err
	}
	dial := e.Dial
	if dial == nil {
		dial = socket.DialContext
	}
	nc, err := dial(ctx, at.network, at.addr)
	if err != nil {
		return nil, both(overdue(ctx, err), err)
	}
	l := hold(ctx, nc)
	l.at = at
	if !c.Secure {
		return l, nil
	}
	config := c.config(bareHost(cmp.Or(c.Host, at.host)))
	if len(protocols) > 0 {
		config.NextProtos = protocols
	}
	if err := l.secure(ctx, config); err != nil {
		l.close()
		return nil, fmt.Errorf("%s: %w", at.addr, err)
	}
	return l, nil
}

func (l *line) close() {
	l.conn.Close() // over TLS it says goodbye
	l.stop()
	l.raw.Close()
}

func (l *line) secure(ctx context.Context, config *tls.Config) error {
	tc := tls.Client(l.raw, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("tls handshake: %w", overdue(ctx, err))
	}
	state := tc.ConnectionState()
	l.conn, l.tls = tc, &state
	return nil
}

func (c Check) config(name string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS != nil {
		config = c.TLS.Clone()
	}
	config.ServerName = cmp.Or(config.ServerName, name)
	return config
}

// expiry tells of a certificate that ends soon: within two weeks, or within
// the last third of a short life. One that has ended failed the handshake.
func (c Check) expiry(s *tls.ConnectionState) string {
	if s == nil || len(s.PeerCertificates) == 0 {
		return ""
	}
	leaf, now := s.PeerCertificates[0], time.Now()
	if c.TLS != nil && c.TLS.Time != nil {
		now = c.TLS.Time()
	}
	left := end(s).Sub(now)
	switch {
	case left > min(soon, leaf.NotAfter.Sub(leaf.NotBefore)/3):
		return ""
	case left <= 0:
		return "certificate has expired" // and nobody verifies it
	case left < 48*time.Hour:
		return fmt.Sprintf("certificate expires in %d hours", int(left.Hours()))
	}
	return fmt.Sprintf("certificate expires in %d days", int(left.Hours())/24)
}

// end is when the last good chain of certificates ends: its leaf, or the first
// of those above it.
func end(s *tls.ConnectionState) (last time.Time) {
	for _, chain := range s.VerifiedChains {
		first := chain[0].NotAfter
		for _, cert := range chain[1:] {
			if cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
		if first.After(last) {
			last = first
		}
	}
	if len(s.VerifiedChains) == 0 {
		last = s.PeerCertificates[0].NotAfter
	}
	return last
}

// askTCP connects, sends and waits for what is expected. Without either, that
// the connection opens is enough: the system of a hung program does as much.
func (c Check) askTCP(ctx context.Context, e Endpoint) error {
	c.Secure = false
	l, err := c.speak(ctx, e)
	if err != nil {
		return err
	}
	defer l.close()
	return l.expect(ctx, []byte(c.Expect))
}

// speak opens a connection and sends what is to be sent.
func (c Check) speak(ctx context.Context, e Endpoint) (*line, error) {
	l, err := c.open(ctx, e)
	if err != nil || c.Send == "" {
		return l, err
	}
	if _, err := io.WriteString(l.conn, c.Send); err != nil {
		l.close()
		return nil, overdue(ctx, err)
	}
	return l, nil
}

// expect reads until text has come. What is read twice is no longer than text,
// so that a peer who drips costs no more than one who doesn't.
func (l *line) expect(ctx context.Context, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	var got []byte
	part := make([]byte, 4<<10)
	for len(got) < mostExpected {
		n, err := l.conn.Read(part[:min(len(part), mostExpected-len(got))])
		from := max(0, len(got)-len(text)+1)
		got = append(got, part[:n]...)
		switch {
		case bytes.Contains(got[from:], text):
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("expected %.60q, and it closed after %.60q: %w", text, got, io.ErrUnexpectedEOF)
		case err != nil:
			return fmt.Errorf("expected %.60q, and %.60q came: %w", text, got, overdue(ctx, err))
		}
	}
	return fmt.Errorf("expected %.60q within %d bytes, which began with %.60q", text, mostExpected, got)
}

// overdue is why ctx ended, if it did: whatever broke then broke by it.
func overdue(ctx context.Context, err error) error {
	why := context.Cause(ctx)
	if at, ok := ctx.Deadline(); why == nil && ok && !time.Now().Before(at) {
		why = context.DeadlineExceeded // a dial knows it before ctx does
	}
	if err == nil || why == nil || errors.Is(err, why) {
		return err
	}
	return why
}

// clean makes a peer's text fit for a note: short, and without what could
// change a terminal.
func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), shown)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s))
}

// join puts two notes together.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
