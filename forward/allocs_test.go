//go:build !race

package forward_test

import (
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"viaduct/accesslog"
)

// echoer answers each message of that length with the same bytes. It allocates
// nothing.
func echoer(length int, answer string) func(net.Conn) {
	return func(nc net.Conn) {
		out, in := []byte(answer), make([]byte, 64<<10)
		for n := 0; ; {
			m, err := nc.Read(in[n:])
			if err != nil {
				return
			}
			for n += m; n >= length; n -= length {
				if _, err := nc.Write(out); err != nil {
					return
				}
			}
		}
	}
}

// swap sends a request and waits for so many bytes.
func swap(t testing.TB, nc net.Conn, request []byte, in []byte) {
	if _, err := nc.Write(request); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(in); {
		m, err := nc.Read(in[n:])
		if err != nil {
			t.Fatalf("%v after %q", err, in[:n])
		}
		n += m
	}
}

// steadies are exchanges as they are repeated on a connection. Got is the request
// as it comes to the origin.
func steadies(at string) []struct{ name, request, got, answer, want string } {
	kib := strings.Repeat("0123456789abcdef", 64)
	const fields = "User-Agent: test\r\nAccept: */*\r\n"
	length := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + kib
	chunks := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + kib + "\r\n0\r\n\r\n"
	get := "GET http://" + at + "/path?query HTTP/1.1\r\nHost: " + at + "\r\n" + fields + "\r\n"
	got := "GET /path?query HTTP/1.1\r\nHost: " + at + "\r\n" + fields + "\r\n"
	post := strings.Replace(get, "\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody", 1)
	post, posted := "POST"+post[3:], "POST"+strings.Replace(got, "\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody", 1)[3:]
	large := "HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n" + strings.Repeat(kib, 256)
	empty := "HTTP/1.1 204 No Content\r\n\r\n"
	return []struct{ name, request, got, answer, want string }{
		{"GET", get, got, length, length},
		{"GET in chunks", get, got, chunks, chunks},
		{"GET of 256 KiB", get, got, large, large},
		{"GET with an interim answer", get, got, "HTTP/1.1 103 Early Hints\r\n\r\n" + length, "HTTP/1.1 103 Early Hints\r\n\r\n" + length},
		{"GET with hop-by-hop fields", strings.Replace(get, "\r\n\r\n", "\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nProxy-Connection: x\r\nVia: 1.1 x\r\n\r\n", 1), got, empty, empty},
		{"POST with its body", post, posted, length, length},
		{"HEAD", "HEAD" + get[3:], "HEAD" + got[3:], "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n"},
	}
}

// The fast lane allocates nothing per exchange, its line in the log and the
// metrics included.
func TestSteadyExchangeAllocatesNothing(t *testing.T) {
	const warm, exchanges, slack = 3000, 5000, 100
	each := map[string]uint64{"GET of 256 KiB": 8} // what is moved inside the kernel
	for i := range steadies("") {
		t.Run(steadies("")[i].name, func(t *testing.T) {
			var at string
			var act func(net.Conn)
			at = origin(t, func(nc net.Conn) { act(nc) })
			s := steadies(at)[i]
			act = echoer(len(s.got), s.answer)
			nc := begin(t, nil).dial().Conn
			request, in := []byte(s.request), make([]byte, len(s.want))
			for range warm {
				swap(t, nc, request, in)
			}
			if string(in) != s.want {
				t.Fatalf("answer %.300q", in)
			}
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range exchanges {
				swap(t, nc, request, in)
			}
			runtime.ReadMemStats(&after)
			n := after.Mallocs - before.Mallocs
			t.Logf("%d allocations in %d exchanges, %d bytes", n, exchanges, after.TotalAlloc-before.TotalAlloc)
			if n > slack+exchanges*each[s.name] {
				t.Errorf("%d allocations in %d exchanges", n, exchanges)
			}
		})
	}
}

func BenchmarkExchange(b *testing.B) {
	for i := range steadies("") {
		b.Run(steadies("")[i].name, func(b *testing.B) {
			var act func(net.Conn)
			at := origin(b, func(nc net.Conn) { act(nc) })
			s := steadies(at)[i]
			act = echoer(len(s.got), s.answer)
			nc := begin(b, nil).dial().Conn
			request, in := []byte(s.request), make([]byte, len(s.want))
			b.ReportAllocs()
			for b.Loop() {
				swap(b, nc, request, in)
			}
		})
	}
}

// What the line in the log and the metrics cost, of an exchange.
func BenchmarkObserved(b *testing.B) {
	for _, c := range []struct {
		name   string
		change func(*house)
	}{
		{"nothing", func(h *house) { h.exchange.Log, h.exchange.Metrics = nil, nil }},
		{"metrics", func(h *house) { h.exchange.Log = nil }},
		{"log and metrics", func(*house) {}},
		{"combined log and metrics", func(h *house) { h.exchange.Log = accesslog.New(nowhere{}, accesslog.Combined) }},
		{"squid log and metrics", func(h *house) { h.exchange.Log = accesslog.New(nowhere{}, accesslog.Squid) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			var act func(net.Conn)
			at := origin(b, func(nc net.Conn) { act(nc) })
			s := steadies(at)[0]
			act = echoer(len(s.got), s.answer)
			nc := begin(b, c.change).dial().Conn
			request, in := []byte(s.request), make([]byte, len(s.want))
			b.ReportAllocs()
			for b.Loop() {
				swap(b, nc, request, in)
			}
		})
	}
}
