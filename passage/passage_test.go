package passage_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/parent"
	"viaduct/passage"
	"viaduct/probe"
	"viaduct/upstream"
	"viaduct/wire"
)

func TestTunnels(t *testing.T) {
	cert, roots := certificate(t)
	far := listen(t, echo)
	for _, c := range []struct {
		name    string
		schemes []parent.Scheme
	}{
		{"http", []parent.Scheme{parent.HTTP}},
		{"https", []parent.Scheme{parent.HTTPS}},
		{"http, http", []parent.Scheme{parent.HTTP, parent.HTTP}},
		{"https, http", []parent.Scheme{parent.HTTPS, parent.HTTP}},
		{"http, https", []parent.Scheme{parent.HTTP, parent.HTTPS}},
		{"https, https", []parent.Scheme{parent.HTTPS, parent.HTTPS}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h heads
			var hops []parent.Proxy
			for _, s := range c.schemes {
				serve := connect(&h, "")
				if s == parent.HTTPS {
					serve = secured(cert, serve)
				}
				hop := listen(t, serve).hop(s)
				hop.User, hop.Password = "me", parent.Hide("secret")
				hops = append(hops, hop)
			}
			e := lead(t, &tls.Config{RootCAs: roots}, hops...)
			nc, early, err := e.Tunnel(within(t), nil, far.Addr().String(), "1.1 viaduct-1")
			if err != nil {
				t.Fatal(err)
			}
			talk(t, nc, early)
			text := h.text()
			if strings.Count(text, "Via: 1.1 viaduct-1\r\n") != len(hops) || strings.Count(text, "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") != len(hops) {
				t.Errorf("asked with %q", text)
			}
			if !strings.Contains(text, "CONNECT "+far.Addr().String()) {
				t.Errorf("asked with %q", text)
			}
			nc, err = e.Reach(within(t), nil, "1.1 viaduct-1")
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_, _ = io.WriteString(nc, "GET http://x.test/ HTTP/1.1\r\nHost: x.test\r\n\r\n")
			_ = nc.SetDeadline(time.Now().Add(patience))
			if line, _ := bufio.NewReader(nc).ReadString('\n'); line != "HTTP/1.1 204 Absolute\r\n" {
				t.Errorf("the last hop is not reached: %q", line)
			}
			if !e.Absolute() || e.Direct() || e.BasicAuth() != "Basic bWU6c2VjcmV0" || !e.Leads(hops) || e.Leads(hops[1:]) {
				t.Error(e.Absolute(), e.Direct(), e.BasicAuth())
			}
		})
	}
}

func TestReachEndsWithItsContext(t *testing.T) {
	silent := listen(t, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
	for _, hops := range [][]parent.Proxy{{silent.hop(parent.HTTPS)}, {silent.hop(parent.HTTP), silent.hop(parent.HTTP)}} {
		e := lead(t, nil, hops...)
		ctx, cancel := context.WithCancel(t.Context())
		before := silent.asked.Load()
		go func() {
			eventually(func() bool { return silent.asked.Load() > before })
			cancel()
		}()
		if _, err := e.Reach(ctx, nil, ""); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestDirectIsNoParent(t *testing.T) {
	e := lead(t, nil)
	if !e.Direct() || e.Absolute() || e.BasicAuth() != "" {
		t.Error("direct is taken for a parent")
	}
	if _, err := e.Reach(t.Context(), nil, ""); fault.Classify(err) != fault.InternalError {
		t.Error(err)
	}
	if _, _, err := e.Tunnel(t.Context(), nil, "x.test:1", ""); fault.Classify(err) != fault.InternalError {
		t.Error(err)
	}
}

func TestSocksTakesNoPlainRequests(t *testing.T) {
	hop := parent.Proxy{Scheme: parent.SOCKS5, Host: "127.0.0.1", Port: 1080, User: "me", Password: parent.Hide("secret")}
	e := lead(t, nil, hop)
	if e.Absolute() || e.BasicAuth() != "" || e.Direct() {
		t.Error(e.Absolute(), e.BasicAuth(), e.Direct())
	}
}

func TestTunnelLeavesFromItsSource(t *testing.T) {
	cert, roots := certificate(t)
	far := listen(t, echo)
	var from sync.Map
	serve := secured(cert, connect(new(heads), ""))
	l := listen(t, func(nc net.Conn) {
		host, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
		from.Store(host, nil)
		serve(nc)
	})
	e := lead(t, &tls.Config{RootCAs: roots}, l.hop(parent.HTTPS))
	for i := range 3 {
		host := fmt.Sprintf("127.0.0.%d", 2+i)
		nc, early, err := e.Tunnel(within(t), &upstream.Source{V4: netip.MustParseAddr(host)}, far.Addr().String(), "")
		if err != nil {
			t.Fatal(err)
		}
		talk(t, nc, early)
		if _, was := from.Load(host); !was {
			t.Errorf("a tunnel does not leave from %s", host)
		}
	}
	e.Close()
	nc, early, err := e.Tunnel(within(t), nil, far.Addr().String(), "") // it was chosen just before
	if err != nil {
		t.Fatal(err)
	}
	talk(t, nc, early)
}

func TestReachTellsWhatIsWrong(t *testing.T) {
	cert, _ := certificate(t)
	closed := listen(t, echo)
	_ = closed.Close()
	silent := listen(t, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
	lost := listen(t, connect(new(heads), closed.Addr().String()))
	chatty := listen(t, func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 4096))
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\nhello")
	})
	for _, c := range []struct {
		name  string
		hops  []parent.Proxy
		short bool
		kind  fault.Kind
		away  bool // nothing was said to a parent
	}{
		{"nobody listens", []parent.Proxy{closed.hop(parent.HTTP)}, false, fault.ConnectionRefused, true},
		{"a stranger's certificate", []parent.Proxy{listen(t, secured(cert, echo)).hop(parent.HTTPS)}, false, fault.TLSCertificateError, false},
		{"no TLS", []parent.Proxy{listen(t, echo).hop(parent.HTTPS)}, false, fault.TLSProtocolError, false},
		{"silence instead of TLS", []parent.Proxy{silent.hop(parent.HTTPS)}, true, fault.ConnectionTimeout, false},
		{"no such name", []parent.Proxy{{Host: "no.test", Port: 1}}, false, fault.DNSError, true},
		{"the first knows no way to the second", []parent.Proxy{lost.hop(parent.HTTP), closed.hop(parent.HTTP)}, false, fault.DestinationUnavailable, false},
		{"the second speaks first", []parent.Proxy{chatty.hop(parent.HTTP), closed.hop(parent.HTTP)}, false, fault.ProtocolError, false},
		{"the first is silent", []parent.Proxy{silent.hop(parent.HTTP), closed.hop(parent.HTTP)}, true, fault.ConnectionTimeout, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := passage.New(c.hops, passage.Setup{Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return nil, &net.DNSError{IsNotFound: true}
			}})
			ctx := within(t)
			if c.short {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 30*time.Millisecond)
				defer cancel()
			}
			nc, err := e.Reach(ctx, nil, "")
			if nc != nil {
				_ = nc.Close()
			}
			if kind := fault.Classify(err); kind != c.kind {
				t.Errorf("%v, want %v: %v", kind, c.kind, err)
			}
			if c.kind != fault.None && e.Blame(err) != parent.Parent {
				t.Errorf("%v is to blame: %v", e.Blame(err), err)
			}
			if e.Unconnected(err) != c.away {
				t.Errorf("unconnected %v: %v", !c.away, err)
			}
		})
	}
}

func TestChecksGoTheWay(t *testing.T) {
	cert, roots := certificate(t)
	far := listen(t, echo)
	setup := passage.Setup{TLS: &tls.Config{RootCAs: roots}, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}}
	canary, err := probe.Parse("connect:" + far.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closed := listen(t, echo)
	_ = closed.Close()
	good := listen(t, secured(cert, connect(new(heads), ""))).hop(parent.HTTPS)
	useless := listen(t, secured(cert, connect(new(heads), closed.Addr().String()))).hop(parent.HTTPS)
	named := parent.Proxy{Host: "proxy.test", Port: listen(t, connect(new(heads), "")).port()}
	for _, c := range []struct {
		name   string
		hops   []parent.Proxy
		tcp    bool
		canary bool
	}{
		{"good", []parent.Proxy{good}, true, true},
		{"useless", []parent.Proxy{useless}, true, false},
		{"by its name", []parent.Proxy{named}, true, true},
		{"closed", []parent.Proxy{closed.hop(parent.HTTP)}, false, false},
		{"a chain", []parent.Proxy{named, good}, true, true},
		{"a chain that ends", []parent.Proxy{good, closed.hop(parent.HTTP)}, true, false},
		{"direct", nil, true, true},
	} {
		p := passage.New(c.hops, setup)
		for want, check := range map[*bool]probe.Check{&c.tcp: {}, &c.canary: canary} {
			r := passage.Spared{Of: check}.Run(within(t), p.Probed())
			if (r.Err == nil) != *want {
				t.Errorf("%s, %v: %v", c.name, check, r.Err)
			}
		}
	}
	lost := passage.Spared{Of: canary}
	lost.Of.Target = closed.Addr().String()
	if r := lost.Run(within(t), passage.New(nil, setup).Probed()); r.Err == nil || lost.Key() != lost.Of.Key() || lost.String() != lost.Of.String() {
		t.Error("direct reaches what is closed")
	}
}

func TestChangeOfSetup(t *testing.T) {
	cert, roots := certificate(t)
	far := listen(t, echo)
	l := listen(t, secured(cert, connect(new(heads), "")))
	config := &tls.Config{RootCAs: roots}
	e := lead(t, nil, l.hop(parent.HTTPS))
	if _, _, err := e.Tunnel(within(t), nil, far.Addr().String(), ""); fault.Classify(err) != fault.TLSCertificateError {
		t.Fatal(err)
	}
	for range 2 {
		e.Change(passage.Setup{TLS: config})
		nc, early, err := e.Tunnel(within(t), nil, far.Addr().String(), "")
		if err != nil {
			t.Fatal(err)
		}
		talk(t, nc, early)
	}
}

func TestWhoIsToBlame(t *testing.T) {
	one, none := lead(t, nil, parent.Proxy{Host: "192.0.2.1", Port: 1}), lead(t, nil)
	for name, c := range map[string]struct {
		err           error
		one, none     parent.Party
		final, denial bool
	}{
		"refused":        {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, parent.Parent, parent.Target, false, false},
		"our guard":      {fault.New(fault.DestinationIPProhibited, nil), parent.Us, parent.Us, true, false},
		"the request":    {fault.Bad(400, "No."), parent.Us, parent.Us, true, false},
		"a loop":         {fault.New(fault.LoopDetected, nil), parent.Us, parent.Us, true, false},
		"a parent's 421": {parent.Refused(&wire.Head{Status: 421}), parent.Us, parent.Us, true, true},
		"a parent's 403": {parent.Refused(&wire.Head{Status: 403}), parent.Target, parent.Target, false, true},
		"a parent's 503": {parent.Refused(&wire.Head{Status: 503}), parent.Target, parent.Target, false, false},
		"no port":        {fault.New(fault.DestinationUnavailable, upstream.ErrNoPort), parent.Us, parent.Us, false, false},
		"nobody waits":   {context.Canceled, parent.Unclear, parent.Unclear, false, false},
	} {
		if got := one.Blame(c.err); got != c.one {
			t.Errorf("%s: a parent's failure is put down to %v", name, got)
		}
		if got := none.Blame(c.err); got != c.none {
			t.Errorf("%s: a failure of direct is put down to %v", name, got)
		}
		if passage.IsFinal(c.err) != c.final || passage.IsDenial(c.err) != c.denial || none.Unconnected(c.err) {
			t.Errorf("%s: final %v, denial %v", name, passage.IsFinal(c.err), passage.IsDenial(c.err))
		}
	}
}
