package parent_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/parent"
)

// onward joins a connection with a target.
func onward(c net.Conn, target string) {
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(far, c); _ = far.Close() })
	_, _ = io.Copy(c, far)
	_ = c.Close()
	both.Wait()
}

// connects is an HTTP proxy that does what it is asked.
func connects(c net.Conn) {
	head, err := readHead(c)
	if err != nil {
		return
	}
	target, _, _ := strings.Cut(strings.TrimPrefix(head, "CONNECT "), " ")
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	onward(c, target)
}

// TestChains: what Tunnel returns may lead to a further parent, TLS in TLS too.
func TestChains(t *testing.T) {
	ca := newIssuer(t)
	cert := ca.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	parents := map[parent.Scheme]parent.Proxy{
		parent.HTTP:  proxy(t, parent.HTTP, peer(t, connects)),
		parent.HTTPS: proxy(t, parent.HTTPS, peer(t, secure(config, connects))),
		parent.SOCKS5: proxy(t, parent.SOCKS5, peer(t, (&socksServer{onward: func(c net.Conn, target string) {
			onward(c, strings.TrimPrefix(target, "addr "))
		}}).serve)),
	}
	target := peer(t, echo)
	for _, first := range parents {
		for _, second := range parents {
			t.Run(first.Scheme.String()+" "+second.Scheme.String(), func(t *testing.T) {
				first.TLS = &tls.Config{RootCAs: ca.pool()}
				second.TLS = first.TLS
				over, early, err := first.Tunnel(bounded(t), dial(t, address(first)), address(second))
				if err != nil || early != nil {
					t.Fatal(early, err)
				}
				last, early, err := second.Tunnel(bounded(t), over, target)
				if err != nil || early != nil {
					t.Fatal(early, err)
				}
				passes(t, last)
				_ = last.Close()
			})
		}
	}
}

// address is where a parent listens.
func address(p parent.Proxy) string {
	_, addr, _ := strings.Cut(p.String(), "://")
	return addr
}

// TestContextEndsInAChain: a second parent that is silent behind TLS.
func TestContextEndsInAChain(t *testing.T) {
	ca := newIssuer(t)
	cert := ca.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	addr := peer(t, secure(&tls.Config{Certificates: []tls.Certificate{cert}}, connects))
	first := proxy(t, parent.HTTPS, addr)
	first.TLS = &tls.Config{RootCAs: ca.pool()}
	silent := peer(t, quiet)
	for _, scheme := range []parent.Scheme{parent.HTTP, parent.HTTPS, parent.SOCKS5} {
		nc := dial(t, addr)
		over, _, err := first.Tunnel(bounded(t), nc, silent)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), short)
		_, _, err = proxy(t, scheme, silent).Tunnel(ctx, over, "a:1")
		cancel()
		if fault.Classify(err) != fault.ConnectionTimeout {
			t.Error(err)
		}
		closed(t, nc)
	}
}

// TestPipe: a pipe will do for a connection.
func TestPipe(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go says("HTTP/1.1 200 OK\r\n\r\n")(far)
	over, _, err := parent.Proxy{Host: "p", Port: 1}.Tunnel(bounded(t), near, "a:1")
	if err != nil {
		t.Fatal(err)
	}
	_ = over.SetDeadline(time.Now().Add(short))
	_ = over.Close()
}
