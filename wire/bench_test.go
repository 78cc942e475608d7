package wire_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"viaduct/wire"
)

// browser is a request as browsers send them.
var browser = lines("GET /index.html HTTP/1.1",
	"Host: www.example.com",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
	"Accept-Language: en-US,en;q=0.5",
	"Accept-Encoding: gzip, deflate",
	"Connection: keep-alive",
	"Referer: http://www.example.com/",
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
	"Upgrade-Insecure-Requests: 1")

// served is an answer as servers send them.
var served = lines("HTTP/1.1 200 OK",
	"Server: nginx/1.27.0",
	"Date: Mon, 23 Nov 2026 12:00:00 GMT",
	"Content-Type: text/html; charset=utf-8",
	"Content-Length: 1024",
	"Last-Modified: Mon, 23 Nov 2026 11:00:00 GMT",
	"Connection: keep-alive",
	"ETag: \"6740c5a0-400\"",
	"Accept-Ranges: bytes") + strings.Repeat("b", 1024)

func BenchmarkParseRequest(b *testing.B) {
	for name, in := range map[string]string{"host": question, "browser": browser} {
		b.Run(name, func(b *testing.B) {
			var h wire.Head
			p := []byte(in)
			b.ReportAllocs()
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				if err := h.ParseRequest(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseResponse(b *testing.B) {
	var h wire.Head
	p := []byte(served[:len(served)-1024])
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if err := h.ParseResponse(p); err != nil {
			b.Fatal(err)
		}
	}
}

// repeated delivers the same bytes again and again, as much as there is room
// for.
type repeated struct {
	script
	in []byte
	at int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.in[r.at:])
	if r.at += n; r.at == len(r.in) {
		r.at = 0
	}
	return n, nil
}

// BenchmarkReadRequest adds what the connection does around the parser.
func BenchmarkReadRequest(b *testing.B) {
	c := open(b, &repeated{in: []byte(browser)})
	var h wire.Head
	b.ReportAllocs()
	for b.Loop() {
		if c.Await(time.Minute) != nil || c.ReadRequest(&h, time.Minute) != nil {
			b.Fatal("not read")
		}
	}
}

func BenchmarkChunkedBody(b *testing.B) {
	for name, size := range map[string]int{"chunks of 16": 16, "chunks of 1000": 1000, "chunks of 16384": 16384} {
		b.Run(name, func(b *testing.B) {
			body := strings.Repeat(string(wire.AppendChunk(nil, []byte(strings.Repeat("b", size)))), (64<<10)/size)
			c := open(b, &repeated{in: []byte(chunkedHead + body + "0\r\n\r\n")})
			var h wire.Head
			b.ReportAllocs()
			b.SetBytes(int64((64 << 10) / size * size))
			for b.Loop() {
				if c.Await(0) != nil || c.ReadRequest(&h, 0) != nil {
					b.Fatal("not read")
				}
				discardBody(b, c)
			}
		})
	}
}

func discardBody(t testing.TB, c *wire.Conn) {
	for {
		p, err := c.NextBody()
		if err == nil && p == nil {
			err = c.FillBody()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
