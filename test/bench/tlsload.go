package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// tlsGen is the generator where clients speak TLS: a goroutine a connection and
// crypto/tls in it, dearer than the epoll loop. It does request-and-answer jobs.
type tlsGen struct {
	job
	config *tls.Config
	dialer []net.Dialer // one for each source address

	mu sync.Mutex // guards what follows
	load
	dialed    int
	prefaced  int
	measuring bool
	over      bool
	agreed    string // version, cipher suite and key exchange
}

// oneCipher is what all have to encrypt with, as every proxy that knows TLS 1.3 can.
const oneCipher = tls.TLS_AES_128_GCM_SHA256

// errClosed is a kept-alive connection that ended between two units.
var errClosed = errors.New("connection closed between units")

// driveTLS runs the job to its end, and tells what client and proxy agreed on.
func driveTLS(j job) (*load, string, error) {
	g := &tlsGen{job: j, config: clientTLS()}
	g.config.ServerName = j.inside
	for n := range 64 {
		g.dialer = append(g.dialer, net.Dialer{
			LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n))},
			Control:   bindLate,
		})
	}
	var clients sync.WaitGroup
	for range g.conns {
		clients.Go(g.client)
	}
	<-time.After(g.warm)
	g.begin()
	begun := now()
	g.locked(func() { g.measuring, g.units, g.opened, g.lat = true, 0, 0, nil })
	<-time.After(g.measure)
	g.locked(func() { g.secs, g.over = float64(now()-begun)/1e9, true })
	g.end()
	clients.Wait()
	slices.Sort(g.lat)
	if g.errors >= tooMany {
		return nil, "", fmt.Errorf("gave up after %d errors, the first: %s", g.errors, g.first)
	}
	return &g.load, g.agreed, nil
}

// bindLate lets a source address have as many connections as there are ports for
// each destination.
func bindLate(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipBindAddressNoPort, 1)
	})
	return errors.Join(err, failed)
}

func (g *tlsGen) locked(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
}

// client opens one connection after the other until the job is over.
func (g *tlsGen) client() {
	for more := true; more; {
		err := g.connection()
		g.locked(func() {
			if late := errors.Is(err, os.ErrDeadlineExceeded); late || err != nil && !g.over && !errors.Is(err, errClosed) {
				g.fail(err)
			}
			more = !g.over && g.errors < tooMany
		})
	}
}

// connection opens a connection and does units on it until it or the job is over.
func (g *tlsGen) connection() error {
	start := now()
	var source int
	var preface []byte
	g.locked(func() {
		source = g.dialed % len(g.dialer)
		g.dialed++
		if len(g.preface) > 0 {
			preface = g.preface[g.prefaced%len(g.preface)]
			g.prefaced++
		}
	})
	raw, err := g.dialer[source].DialContext(context.Background(), "tcp", "127.0.0.1:"+strconv.Itoa(g.port))
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.SetDeadline(time.Now().Add(g.warm + g.measure + 5*time.Second)); err != nil {
		return err
	}
	c := tls.Client(raw, g.config)
	defer c.Close()
	buf := make([]byte, 16<<10)
	if g.inside != "" {
		if _, err := exchange(raw, preface, buf, -1); err != nil {
			return err
		}
		preface = nil
	}
	if err := g.handshake(c); err != nil {
		return err
	}
	if preface != nil {
		if _, err := exchange(c, preface, buf, -1); err != nil {
			return err
		}
	}
	return g.repeat(c, buf, start)
}

// handshake opens a connection in the one way in which all proxies have to do it:
// figures of different ciphers would not compare. A client of crypto/tls cannot
// leave out the other ciphers of TLS 1.3.
func (g *tlsGen) handshake(c *tls.Conn) error {
	if err := c.Handshake(); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	s := c.ConnectionState()
	agreed := fmt.Sprintf("%s %s %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.CurveID)
	if s.CipherSuite != oneCipher {
		return fmt.Errorf("the proxy chose %s: let it choose %s", agreed, tls.CipherSuiteName(oneCipher))
	}
	g.locked(func() { g.opened++; g.agreed = agreed })
	return nil
}

// repeat does units on an open connection.
func (g *tlsGen) repeat(c net.Conn, buf []byte, start int64) error {
	for first := true; ; first = false {
		if !g.newConn {
			start = now()
		}
		closes, err := exchange(c, g.unit, buf, g.body)
		switch {
		case err != nil && !first && errors.Is(err, errUnanswered) && !errors.Is(err, os.ErrDeadlineExceeded):
			return errClosed
		case err != nil:
			return err
		}
		over := false
		g.locked(func() {
			if over = g.over; !over && g.measuring {
				g.units++
				g.lat = append(g.lat, now()-start)
			}
		})
		if over || closes || g.newConn {
			return nil
		}
	}
}

var errUnanswered = errors.New("no byte of an answer")

// exchange sends a request and reads its answer, which must be good, fit the
// buffer and have a body of the right size; below 0 it is that of a tunnel.
func exchange(c net.Conn, out, buf []byte, body int64) (closes bool, err error) {
	if _, err := c.Write(out); err != nil {
		return false, fmt.Errorf("%w: %w", errUnanswered, err)
	}
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		n += m
		if h, ok := parseHead(buf[:n]); ok {
			switch left := h.length - int64(n-h.size); {
			case h.status() != 200:
				return false, fmt.Errorf("answer %q", bytes.Clone(h.first))
			case body < 0 && n == h.size:
				return false, nil
			case body < 0 || h.length != body || left < 0:
				return false, fmt.Errorf("body of %d bytes, %d announced, not %d", n-h.size, h.length, body)
			case left == 0:
				return h.closes, nil
			}
		}
		switch {
		case err != nil && n == 0:
			return false, fmt.Errorf("%w: %w", errUnanswered, err)
		case err != nil:
			return false, err
		case n == len(buf):
			return false, errors.New("answer too long")
		}
	}
}
