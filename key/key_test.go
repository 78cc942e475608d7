package key_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"viaduct/hashing"
	"viaduct/key"
	"viaduct/wire"
)

func head(t *testing.T, fields string) *wire.Head {
	t.Helper()
	client, server := net.Pipe()
	go func() { _, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n"+fields+"\r\n") }()
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	h, c := new(wire.Head), wire.New(server, 1<<16)
	if err := c.ReadRequest(h, time.Minute); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestKeysAreOfWhatIsAskedFor(t *testing.T) {
	full := func() *key.Request {
		return &key.Request{
			Client: netip.MustParseAddr("192.0.2.1"), User: "ann", Host: "a.example", Path: []byte("/p?q"),
			Head: head(t, "X-Tenant: t1\r\nCookie: a=1; sid=abc\r\nCookie: late=2\r\n"),
		}
	}
	for _, c := range []struct {
		parts  string
		change func(*key.Request) // gives another key
		keeps  func(*key.Request) // does not
	}{
		{"client_ip", func(r *key.Request) { r.Client = netip.MustParseAddr("192.0.2.2") }, func(r *key.Request) { r.User = "bob" }},
		{"user", func(r *key.Request) { r.User = "bob" }, func(r *key.Request) { r.Host = "b" }},
		{"host", func(r *key.Request) { r.Host = "b.example" }, func(r *key.Request) { r.Path = nil }},
		{"path", func(r *key.Request) { r.Path = []byte("/other?q") }, func(r *key.Request) { r.Path = []byte("/p?z") }},
		{"url", func(r *key.Request) { r.Path = []byte("/p?z") }, func(r *key.Request) { r.User = "" }},
		{"header:x-tenant", func(r *key.Request) { r.Head = head(t, "x-tenant: t2\r\n") }, func(r *key.Request) { r.Head = head(t, "x-TENANT: t1\r\n") }},
		{"cookie:sid", func(r *key.Request) { r.Head = head(t, "Cookie: sid=abd\r\n") }, func(r *key.Request) { r.Head = head(t, "Cookie: SID=q;sid=abc\r\n") }},
		{"cookie:late", func(r *key.Request) { r.Head = head(t, "Cookie: late=3\r\n") }, func(r *key.Request) { r.Client = netip.Addr{} }},
		{"host,user", func(r *key.Request) { r.Host, r.User = "ann", "a.example" }, func(r *key.Request) { r.Path = nil }},
	} {
		t.Run(c.parts, func(t *testing.T) {
			parts, err := hashing.ParseKey(c.parts)
			if err != nil {
				t.Fatal(err)
			}
			of := func(change func(*key.Request)) uint64 {
				r := full()
				if change != nil {
					change(r)
				}
				k, some := key.Of(parts, r)
				if !some {
					t.Error("nothing of it is there")
				}
				return k
			}
			if base := of(nil); base != of(c.keeps) || base == of(c.change) {
				t.Errorf("%x, %x as well, but %x", base, of(c.keeps), of(c.change))
			}
		})
	}
}

func TestWhatIsNotThereIsNoKey(t *testing.T) {
	for _, text := range []string{"client_ip", "user", "host", "path", "url", "header:x", "cookie:x"} {
		parts, err := hashing.ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []*wire.Head{nil, head(t, "Cookie: y=1; x\r\n")} {
			if _, some := key.Of(parts, &key.Request{Head: h}); some {
				t.Errorf("%s is there", text)
			}
		}
	}
}
