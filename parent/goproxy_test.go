package parent_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/elazarl/goproxy"

	"viaduct/fault"
	"viaduct/parent"
)

type mute struct{}

func (mute) Printf(string, ...any) {}

// library is goproxy as a parent that wants a password and denies one host.
func library(t *testing.T) *httptest.Server {
	t.Helper()
	g := goproxy.NewProxyHttpServer()
	g.Logger = mute{}
	g.ConnectDial, g.Tr.Proxy = nil, nil // of this process's environment
	g.OnRequest().HandleConnectFunc(func(host string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		_, password, _ := (&http.Request{Header: http.Header{"Authorization": ctx.Req.Header["Proxy-Authorization"]}}).BasicAuth()
		switch {
		case password != "secret":
			ctx.Resp = goproxy.NewResponse(ctx.Req, "text/plain", http.StatusProxyAuthRequired, "who?")
			return goproxy.RejectConnect, host
		case strings.HasPrefix(host, "denied"):
			ctx.Resp = goproxy.NewResponse(ctx.Req, "text/plain", http.StatusForbidden, "no")
			return goproxy.RejectConnect, host
		}
		return goproxy.OkConnect, host
	})
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	return s
}

func TestThroughGoproxy(t *testing.T) {
	target := peer(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 hello\r\n"); echo(c) })
	server := library(t)
	addr := server.Listener.Addr().String()
	p := proxy(t, parent.HTTP, addr)
	p.User, p.Password = "u", parent.Hide("secret")
	over, early, err := p.Tunnel(bounded(t), dial(t, addr), target)
	if err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, len("220 hello\r\n")-len(early))
	if _, err := io.ReadFull(over, rest); err != nil || string(early)+string(rest) != "220 hello\r\n" {
		t.Errorf("%q %q %v", early, rest, err)
	}
	passes(t, over)

	_, _, err = p.Tunnel(bounded(t), dial(t, addr), "denied.example:443")
	judged(t, err, fault.RequestDenied, 403, parent.Target)
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	_ = l.Close()
	_, _, err = p.Tunnel(bounded(t), dial(t, addr), l.Addr().String())
	if parent.Blame(err) != parent.Target {
		t.Errorf("%v: blamed: %v", err, parent.Blame(err))
	}
	p.Password = parent.Hide("wrong")
	_, _, err = p.Tunnel(bounded(t), dial(t, addr), target)
	judged(t, err, fault.ConfigurationError, 500, parent.Us)
}
