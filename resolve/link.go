package resolve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	idleFor  = 10 * time.Second // what servers grant, more or less
	mostIdle = 8                // connections

	// Queries at a time, which bounds descriptors and what a server has to bear.
	mostDatagrams = 2048
	mostStreams   = 256
)

// past is a deadline that ends a wait at once.
var past = time.Unix(1, 0)

// link is the way to a server.
type link struct {
	Server
	timeout time.Duration
	system  *Resolver // of the server's name
	slots   chan struct{}
	tls     *tls.Config // of tls and https
	web     *web        // of https

	idle    chan net.Conn
	sweeper *time.Timer // closes them when none has been used for a while
}

func newLink(s Server, o Options, timeout time.Duration, system *Resolver) *link {
	l := &link{Server: s, timeout: timeout, system: system, slots: make(chan struct{}, mostStreams), idle: make(chan net.Conn, mostIdle)}
	l.sweeper = time.AfterFunc(idleFor, l.closeIdle)
	l.sweeper.Stop()
	switch s.scheme {
	case "udp":
		l.slots = make(chan struct{}, mostDatagrams)
	case "tls", "https":
		l.tls = &tls.Config{
			ServerName: s.host, RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(mostIdle),
		}
	}
	if s.scheme == "https" {
		l.web = newWeb(l)
	}
	return l
}

// ask puts a question to the server. All of it is bounded by ctx.
func (l *link) ask(ctx context.Context, q question) (*answer, error) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.slots }()
	a, err := l.exchange(ctx, q, true)
	if errors.Is(err, rcodeError(dns.RcodeFormatError)) { // older than EDNS: RFC 6891 section 7
		a, err = l.exchange(ctx, q, false)
	}
	return a, err
}

func (l *link) exchange(ctx context.Context, q question, edns bool) (*answer, error) {
	var id uint16
	if l.web == nil { // RFC 8484 section 4.1 has zero, so that answers can be cached
		id = dns.Id()
	}
	query, err := q.pack(id, edns)
	if err != nil {
		return nil, err
	}
	switch l.scheme {
	case "https":
		return l.web.ask(ctx, q, query)
	case "udp":
		a, err := l.datagram(ctx, q, query, id)
		if !errors.Is(err, errCut) {
			return a, err
		}
	}
	return l.stream(ctx, q, query, id)
}

// datagram asks over UDP, from a port of its own. The socket is connected, so
// that it receives from the server alone; what others send in its name is passed
// over unless they guess port, number and question.
func (l *link) datagram(ctx context.Context, q question, query []byte, id uint16) (*answer, error) {
	c, err := l.dial(ctx, "udp")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })()
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	b := make([]byte, 4*datagram) // there are servers that send more than was asked for
	for {
		n, err := c.Read(b)
		if err != nil {
			return nil, err
		}
		if a, err := q.read(b[:n], id); !errors.Is(err, errStranger) {
			return a, err
		}
	}
}

// stream asks over TCP or TLS, on a connection that is at hand if there is one.
func (l *link) stream(ctx context.Context, q question, query []byte, id uint16) (*answer, error) {
	var b []byte
	var err error
	c := l.take()
	if c != nil {
		b, err = converse(ctx, c, query)
	}
	if c == nil || err != nil && ctx.Err() == nil { // the server may have closed it meanwhile
		if c, err = l.connect(ctx); err == nil {
			b, err = converse(ctx, c, query)
		}
	}
	if err != nil {
		return nil, err
	}
	a, err := q.read(b, id)
	if code := rcodeError(0); err == nil || errors.As(err, &code) {
		l.keep(c)
	} else {
		_ = c.Close()
	}
	return a, err
}

// converse sends a query and reads the message that comes. It closes a
// connection that fails.
func converse(ctx context.Context, c net.Conn, query []byte) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
	framed := dns.Conn{Conn: c}
	_, err := framed.Write(query)
	var b []byte
	if err == nil {
		b, err = framed.ReadMsgHeader(nil)
	}
	if !stop() {
		err = errors.Join(ctx.Err(), err) // the deadline may come only now
	}
	if err != nil {
		_ = c.Close()
	}
	return b, err
}

// connect opens a connection for queries.
func (l *link) connect(ctx context.Context) (net.Conn, error) {
	c, err := l.dial(ctx, "tcp")
	if err != nil || l.tls == nil {
		return c, err
	}
	t := tls.Client(c, l.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return t, nil
}

// dial connects to the server, looking its name up if it has one.
func (l *link) dial(ctx context.Context, network string) (net.Conn, error) {
	addrs := []netip.Addr{l.addr}
	if !l.addr.IsValid() {
		var err error
		if addrs, err = l.system.Lookup(ctx, l.host); err != nil {
			return nil, fmt.Errorf("by the system's servers: %w", err)
		}
	}
	// IPv4 first: without a race it is the family that rarely leads nowhere.
	d := net.Dialer{KeepAlive: -1, Timeout: l.timeout / time.Duration(len(addrs))}
	var err error
	for _, a := range slices.Backward(addrs) {
		var c net.Conn
		if c, err = d.DialContext(ctx, network, netip.AddrPortFrom(a, l.port).String()); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// take takes an idle connection, or returns nil.
func (l *link) take() net.Conn {
	select {
	case c := <-l.idle:
		return c
	default:
		return nil
	}
}

// keep keeps a connection for the next question.
func (l *link) keep(c net.Conn) {
	select {
	case l.idle <- c:
		l.sweeper.Reset(idleFor)
	default:
		_ = c.Close()
	}
}

func (l *link) closeIdle() {
	for c := l.take(); c != nil; c = l.take() {
		_ = c.Close()
	}
}

// close closes idle connections.
func (l *link) close() {
	l.sweeper.Stop()
	l.closeIdle()
	if l.web != nil {
		l.web.client.CloseIdleConnections()
	}
}
