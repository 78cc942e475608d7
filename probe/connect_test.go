package probe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"viaduct/fault"
	"viaduct/parent"
	"viaduct/probe"
)

// through is a parent whose tunnels all end at addr.
func through(addr string, asked *string) probe.Endpoint {
	return probe.Endpoint{Addr: "parent.example:1", Tunnel: func(ctx context.Context, target string) (net.Conn, error) {
		*asked = target
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}}
}

func TestConnectOpensATunnelAndClosesIt(t *testing.T) {
	ended := make(chan error, 1)
	addr := peer(t, func(nc net.Conn) {
		_, err := nc.Read(make([]byte, 1))
		ended <- err
	})
	c, err := probe.Parse("connect:Canary.example:443")
	if err != nil {
		t.Fatal(err)
	}
	var asked string
	passes(t, runFor(t, patience, c, through(addr, &asked)))
	if asked != "canary.example:443" {
		t.Errorf("asked for %q", asked)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the tunnel ended with %v", err)
	}
}

func TestConnectWithTLSInside(t *testing.T) {
	cert, client := trusted(t)
	addr := secure(t, &tls.Config{Certificates: []tls.Certificate{cert}}, hang)
	c := probe.Check{Kind: probe.Connect, Target: "own.example:443", Secure: true, TLS: client}
	var asked string
	passes(t, runFor(t, patience, c, through(addr, &asked)))
	c.Target = "other.example:443"
	fails(t, runFor(t, patience, c, through(addr, &asked)), "other.example:443 through the tunnel: tls handshake: ")
	c.Host = "own.example"
	passes(t, runFor(t, patience, c, through(addr, &asked)))
	late(t, runFor(t, short, c, through(peer(t, hang), &asked)))
	fails(t, runFor(t, patience, c, through(peer(t, say("")), &asked)), "through the tunnel")
}

func TestConnectRefused(t *testing.T) {
	refused := errors.New("403 Forbidden")
	e := probe.Endpoint{Tunnel: func(context.Context, string) (net.Conn, error) { return nil, refused }}
	c := probe.Check{Kind: probe.Connect, Target: "a:1"}
	if r := runFor(t, patience, c, e); !errors.Is(r.Err, refused) {
		t.Errorf("error %v", r.Err)
	}
	e.Tunnel = func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, net.ErrClosed // as what is closed behind one's back
	}
	late(t, runFor(t, short, c, e))
	addr := peer(t, hang) // which must see the tunnel end
	late(t, runFor(t, short, c, probe.Endpoint{Tunnel: func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return net.Dial("tcp", addr)
	}}))
	fails(t, runFor(t, patience, c, probe.Endpoint{Addr: "a:1"}), "only for parent proxies")
	fails(t, runFor(t, patience, probe.Check{Kind: probe.Connect}, e), "write host:port")
}

// TestConnectSeesWhatTCPDoesNot: a parent that takes connections and refuses
// tunnels, one that opens them, and one that is silent.
func TestConnectSeesWhatTCPDoesNot(t *testing.T) {
	c := probe.Check{Kind: probe.Connect, Target: "canary.example:443"}
	ask := func(addr string) probe.Endpoint {
		return probe.Endpoint{Addr: addr, Tunnel: func(ctx context.Context, target string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			nc, _, err = parent.Proxy{Host: "parent.example", Port: 1}.Tunnel(ctx, nc, target)
			return nc, err
		}}
	}
	refuses := ask(peer(t, say("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")))
	passes(t, runFor(t, patience, probe.Check{}, refuses))
	r := runFor(t, patience, c, refuses)
	if no, ok := errors.AsType[*parent.RefusedError](r.Err); !ok || no.Status != 403 {
		t.Errorf("error %v", r.Err)
	}
	opens := make(chan string, 1)
	passes(t, runFor(t, patience, c, ask(peer(t, func(nc net.Conn) {
		opens <- request(nc)
		nc.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		hang(nc)
	}))))
	if s := <-opens; !strings.HasPrefix(s, "CONNECT canary.example:443 HTTP/1.1\r\n") {
		t.Errorf("sent %q", s)
	}
	r = runFor(t, short, c, ask(peer(t, hang)))
	late(t, r)
	if k := fault.Classify(r.Err); k == fault.InternalError {
		t.Errorf("%v is of kind %s", r.Err, k)
	}
}
