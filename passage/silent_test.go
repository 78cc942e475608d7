package passage_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"viaduct/parent"
)

func TestSilentIsWhoSaysNothingAtAll(t *testing.T) {
	cert, _ := certificate(t)
	mute := func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }
	frozen := listen(t, mute)
	says := func(text string) *peer {
		return listen(t, func(nc net.Conn) {
			_, _ = nc.Read(make([]byte, 4096))
			_, _ = io.WriteString(nc, text)
		})
	}
	closed := listen(t, mute)
	closed.stop()
	var asked heads
	through := listen(t, connect(&asked, ""))
	for _, c := range []struct {
		name   string
		hops   []parent.Proxy
		silent bool
	}{
		{"frozen", []parent.Proxy{frozen.hop(parent.HTTP)}, true},
		{"frozen in TLS", []parent.Proxy{frozen.hop(parent.HTTPS)}, true},
		{"frozen, asked for its methods", []parent.Proxy{frozen.hop(parent.SOCKS5)}, true},
		{"the first of two is frozen", []parent.Proxy{frozen.hop(parent.HTTP), through.hop(parent.HTTP)}, true},
		{"the second of two is", []parent.Proxy{through.hop(parent.HTTP), frozen.hop(parent.HTTP)}, true},
		{"answers", []parent.Proxy{through.hop(parent.HTTP)}, false},
		{"answers as the second of two", []parent.Proxy{through.hop(parent.HTTP), through.hop(parent.HTTP)}, false},
		{"refuses what it was asked", []parent.Proxy{says("HTTP/1.1 400 What\r\n\r\n").hop(parent.HTTP)}, false},
		{"has no method for us", []parent.Proxy{says("\x05\xff").hop(parent.SOCKS5)}, false},
		{"talks nonsense", []parent.Proxy{says("x").hop(parent.HTTP)}, false},
		{"ends the connection", []parent.Proxy{says("").hop(parent.HTTP)}, false},
		{"has another certificate", []parent.Proxy{listen(t, secured(cert, mute)).hop(parent.HTTPS)}, false},
		{"takes no more connections", []parent.Proxy{closed.hop(parent.HTTP)}, false},
		{"direct", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			patience := patience
			if c.silent {
				patience = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if got := lead(t, nil, c.hops...).Silent(ctx, nil, ""); got != c.silent {
				t.Errorf("silent: %v", got)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if lead(t, nil, frozen.hop(parent.HTTP)).Silent(ctx, nil, "") {
		t.Error("silent, when nobody waited")
	}
}

func TestWhatASilentParentIsAsked(t *testing.T) {
	var asked heads
	p := listen(t, connect(&asked, ""))
	hop := p.hop(parent.HTTP)
	hop.User = "us"
	if lead(t, nil, hop).Silent(within(t), nil, "") {
		t.Error("it has answered")
	}
	want := "OPTIONS * HTTP/1.1\r\nHost: " + p.Addr().String() + "\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n"
	if got := asked.text(); got != want {
		t.Errorf("%q", got)
	}
}
