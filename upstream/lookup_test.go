package upstream_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/upstream"
)

// Codes of RFC 1035 section 4.1.1.
const (
	noError  = 0
	servFail = 2
	nxDomain = 3
	silent   = 0xff
)

// nameServer answers every question with a code and no address, and returns a
// Lookup that asks it.
func nameServer(t *testing.T, code byte) func(context.Context, string) ([]netip.Addr, error) {
	t.Helper()
	c := must[net.PacketConn](t)(net.ListenPacket("udp", "127.0.0.1:0"))
	ended := make(chan struct{})
	go func() { defer close(ended); answerAll(c, code) }()
	t.Cleanup(func() { _ = c.Close(); <-ended })
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", c.LocalAddr().String())
	}}
	return func(ctx context.Context, host string) ([]netip.Addr, error) { return r.LookupNetIP(ctx, "ip", host) }
}

func answerAll(c net.PacketConn, code byte) {
	b := make([]byte, 1<<12)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if code == silent || n < 12 {
			continue
		}
		b[2] |= 0x80 // an answer
		b[3] = 0x80 | code
		_, _ = c.WriteTo(b[:n], from)
	}
}

func TestFailuresOfTheNameServer(t *testing.T) {
	for _, c := range []struct {
		name string
		code byte
		want fault.Kind
	}{
		{"silent", silent, fault.DNSTimeout},
		{"no such name", nxDomain, fault.DNSError},
		{"server failure", servFail, fault.DNSError},
		{"no address", noError, fault.DNSError},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := &upstream.Dialer{Lookup: nameServer(t, c.code), Guard: new(judge)}
			limit := patience
			if c.code == silent {
				limit = 300 * time.Millisecond
			}
			_, err := d.Connect(within(t, limit), upstream.Destination{Host: "origin.viaduct-test.", Port: 80}, nil)
			if got := fault.Classify(err); got != c.want {
				t.Errorf("%v is %v, want %v", err, got, c.want)
			}
		})
	}
}

// A resolver may say no more than that its context has ended.
func TestLookupThatOutlivesTheDialIsADNSTimeout(t *testing.T) {
	d := &upstream.Dialer{Guard: new(judge), Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, &net.DNSError{Err: "operation was canceled", Name: "origin.test"}
	}}
	_, err := d.Connect(within(t, 10*time.Millisecond), named(80), nil)
	if fault.Classify(err) != fault.DNSTimeout {
		t.Errorf("%v, want a DNS timeout", err)
	}
}
