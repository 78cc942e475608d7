package wire_test

import (
	"io"
	"strings"
	"testing"

	"viaduct/wire"
)

var chunkedHead = lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")

// goodChunks are chunked bodies and what is in them; the trailer fields stand
// behind a "|".
var goodChunks = []struct{ name, in, want string }{
	{"empty", "0\r\n\r\n", ""},
	{"many zeros", "000000000000000\r\n\r\n", ""},
	{"one", "3\r\nabc\r\n0\r\n\r\n", "abc"},
	{"two", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"},
	{"hexadecimal in both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
	{"zeros before the size", "00000000000000a\r\n0123456789\r\n0\r\n\r\n", "0123456789"},
	{"data looks like a chunk", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"},
	{"extension", "1;a\r\nb\r\n0;c=d\r\n\r\n", "b"},
	{"extensions", "1;a;b=c;d=\"e\"\r\nb\r\n0\r\n\r\n", "b"},
	{"extension quotes", "1;a=\";\\\"\\\\ \t\xff\"\r\nb\r\n0\r\n\r\n", "b"},
	{"extension quotes nothing", "1;a=\"\"\r\nb\r\n0\r\n\r\n", "b"},
	{"trailer", "0\r\nX: y\r\n\r\n", "|x: y"},
	{"trailers", "1\r\na\r\n0\r\nX: y\r\nZ:\r\nx:\tw \r\n\r\n", "a|x: y|z: |x: w"},
	{"framing in the trailer", "0\r\nA: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b\r\nB: 2\r\n\r\n", "|a: 1|b: 2"},
	{"steering in the trailer", "0\r\nTrailer: x\r\nTE: x\r\nExpect: 100-continue\r\nUpgrade: x\r\nMax-Forwards: 1\r\nVia: x\r\nB: 2\r\n\r\n", "|b: 2"},
	{"connection in the trailer", "0\r\nConnection: x, close\r\nX: y\r\nZ: w\r\n\r\n", "|z: w"},
}

// badChunks are chunked bodies that are refused; each is followed by a good end.
var badChunks = []struct{ name, in string }{
	{"no size", "\r\n"},
	{"no size, and the end", "\r\n\r\n"},
	{"no size, but an extension", ";a\r\n\r\n"},
	{"size is no number", "x\r\na\r\n"},
	{"size has 0x", "0x1\r\na\r\n"},
	{"size has a plus", "+1\r\na\r\n"},
	{"size is negative", "-1\r\na\r\n"},
	{"size has an underscore", "1_0\r\n0123456789abcdef\r\n"},
	{"space before the size", " 1\r\na\r\n"},
	{"space after the size", "1 \r\na\r\n"},
	{"tab after the size", "1\t\r\na\r\n"},
	{"size of 16 digits", "0000000000000001\r\na\r\n"},
	{"size over 64 bits", "10000000000000001\r\na\r\n"},
	{"size of all bits", "ffffffffffffffff\r\na\r\n"},
	{"size has a point", "1.0\r\na\r\n"},
	{"size has a comma", "1,1\r\na\r\n"},
	{"size in wide digits", "\uff11\r\na\r\n"},
	{"NUL after the size", "1\x00\r\na\r\n"},
	{"LF alone after the size", "1\na\r\n"},
	{"LF alone after a longer size", "11\na\r\n"},
	{"CR alone after the size", "1\ra\r\n"},
	{"two CR after the size", "1\r\r\na\r\n"},
	{"data too short", "2\r\na\r\n"},
	{"data too long", "1\r\nab\r\n"},
	{"nothing after the data", "1\r\na"},
	{"LF alone after the data", "1\r\na\n"},
	{"CR alone after the data", "1\r\na\r"},
	{"CR and something else after the data", "1\r\na\rb"},
	{"something else and LF after the data", "1\r\nab\n"},
	{"space after the data", "1\r\na \r\n"},

	{"space before an extension", "1 ;a\r\nb\r\n"},
	{"space in an extension", "1; a\r\nb\r\n"},
	{"space after an extension", "1;a \r\nb\r\n"},
	{"extension without name", "1;\r\nb\r\n"},
	{"extension without name, with value", "1;=a\r\nb\r\n"},
	{"extension without value", "1;a=\r\nb\r\n"},
	{"extension with two values", "1;a=b=c\r\nb\r\n"},
	{"extension is no token", "1;a@b\r\nb\r\n"},
	{"extension has obs-text", "1;\xe9\r\nb\r\n"},
	{"extension has CR", "1;a\rb\r\nb\r\n"},
	{"extension has LF", "1;a\nb\r\nb\r\n"},
	{"extension has NUL", "1;\x00\r\nb\r\n"},
	{"quote without end", "1;a=\"b\r\nb\r\n"},
	{"quote ends in a backslash", "1;a=\"b\\\r\nb\r\n"},
	{"quote has LF", "1;a=\"\n\"\r\nb\r\n"},
	{"quote has CR", "1;a=\"\r\"\r\nb\r\n"},
	{"quote has NUL", "1;a=\"\x00\"\r\nb\r\n"},
	{"quote goes on", "1;a=\"b\"c\r\nb\r\n"},

	{"LF alone ends the last size", "0\n\r\n"},
	{"LF alone ends the body", "0\r\n\n"},
	{"LF alone ends a trailer", "0\r\nX: y\n\r\n"},
	{"LF alone ends the trailers", "0\r\nX: y\r\n\n"},
	{"CR alone in a trailer", "0\r\nX: y\rZ: w\r\n\r\n"},
	{"NUL in a trailer", "0\r\nX: \x00\r\n\r\n"},
	{"space before the colon of a trailer", "0\r\nX : y\r\n\r\n"},
	{"fold in a trailer", "0\r\nX: y\r\n z\r\n\r\n"},
	{"trailer without colon", "0\r\nX\r\n\r\n"},
	{"request in the trailer", "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{"trailer length is no number", "0\r\nContent-Length: x\r\n\r\n"},
}

// chunkings are all chunked bodies of the tables.
func chunkings() (list []string) {
	for _, c := range goodChunks {
		list = append(list, c.in, c.in+c.in, c.in[:len(c.in)-1])
	}
	for _, c := range badChunks {
		list = append(list, c.in+"0\r\n\r\n")
	}
	return list
}

func TestChunkedBodies(t *testing.T) {
	for _, c := range goodChunks {
		t.Run(c.name, func(t *testing.T) {
			for _, nc := range []*script{whole(chunkedHead + c.in), bytewise(chunkedHead + c.in)} {
				conn := open(t, nc)
				var h wire.Head
				m := readRequest(conn, &h)
				got := strings.Join(append([]string{m.body}, m.trailer...), "|")
				if m.err != nil || got != c.want || conn.Buffered() > 0 || !conn.BodyDone() {
					t.Errorf("%q\n got %q, %v\nwant %q", c.in, got, m.err, c.want)
				}
			}
		})
	}
}

func TestChunkedBodiesThatAreRefused(t *testing.T) {
	for _, c := range badChunks {
		t.Run(c.name, func(t *testing.T) {
			for _, nc := range []*script{whole(chunkedHead + c.in + "0\r\n\r\n"), bytewise(chunkedHead + c.in + "0\r\n\r\n")} {
				conn := open(t, nc)
				var h wire.Head
				if m := readRequest(conn, &h); !refused(m.err) || !m.inBody || conn.BodyDone() {
					t.Errorf("%q: %s", c.in, &m)
				}
			}
		})
	}
}

// TestTruncatedChunks: a chunked body is whole or it isn't, wherever it ends.
func TestTruncatedChunks(t *testing.T) {
	for _, c := range goodChunks {
		for n := range c.in {
			var h wire.Head
			m := readRequest(open(t, whole(chunkedHead+c.in[:n])), &h)
			if m.err != io.ErrUnexpectedEOF || !m.inBody {
				t.Errorf("%q without %q: %s", c.in[:n], c.in[n:], &m)
			}
		}
	}
}

// TestChunkOverheadIsBounded: what is no data is limited, in one place and in
// all.
func TestChunkOverheadIsBounded(t *testing.T) {
	one := func(n int) string { return "1;" + strings.Repeat("e", n) + "\r\nx\r\n" }
	const end = "0\r\n\r\n"
	trailer := func(n int) string { return "T: " + strings.Repeat("t", n-len("T: \r\n")) + "\r\n" }
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"chunk line of 1024", one(1021) + end, true}, // with CR, without LF
		{"chunk line of 1025", one(1022) + end, false},
		{"chunk line without end", "1;" + strings.Repeat("e", 1100), false},
		{"extensions of 16 K", strings.Repeat(one(1023-8), 16) + "1;" + strings.Repeat("e", 127) + "\r\nx\r\n" + end, true},
		{"extensions over 16 K", strings.Repeat(one(1023-8), 16) + "1;" + strings.Repeat("e", 145) + "\r\nx\r\n" + end, false}, // and 17 of data
		{"extensions over 16 K in small pieces", strings.Repeat(one(1), 16385) + end, false},
		{"extensions no longer than the data", strings.Repeat("50;"+strings.Repeat("e", 79)+"\r\n"+strings.Repeat("x", 80)+"\r\n", 1000) + end, true},
		{"small chunks without extensions", strings.Repeat("1\r\nx\r\n", 50000) + end, true},
		{"trailer of 16 K", "0\r\n" + trailer(16<<10-2) + "\r\n", true},
		{"trailer over 16 K", "0\r\n" + trailer(16<<10-1) + "\r\n", false},
		{"trailer without end", "0\r\n" + strings.TrimSuffix(trailer(17<<10), "\r\n"), false},
		{"trailer of 256 fields", "0\r\n" + repeat("X: y", 256) + "\r\n", true},
		{"trailer of 257 fields", "0\r\n" + repeat("X: y", 257) + "\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := seeded(t)
			for _, nc := range []*script{whole(chunkedHead + c.in), cut(r, chunkedHead+c.in, 2000)} {
				var h wire.Head
				if m := readRequest(open(t, nc), &h); (m.err == nil) != c.ok || !c.ok && !refused(m.err) {
					t.Errorf("%v", m.err)
				}
			}
		})
	}
}

// TestChunkingsAgree: one body in any chunks, in any pieces, is the same body.
func TestChunkingsAgree(t *testing.T) {
	r := seeded(t)
	for range 200 {
		body := make([]byte, size(r, 100<<10))
		for i := range body {
			body[i] = byte(r.UintN(256))
		}
		in := chunkedHead + chunk(r, string(body)) + trailers(r) + "GET"
		c := wire.New(cut(r, in, 1+r.IntN(60<<10)), maxHead)
		var h wire.Head
		m := readRequest(c, &h)
		rest := string(c.TakeBuffered()) // as much of it as came
		if m.err != nil || m.body != string(body) || rest != "GET"[:len(rest)] {
			t.Fatalf("%s", &m)
		}
		c.Drop()
	}
}

// TestChunksStandAcrossBuffers: wherever in a chunk a buffer ends, the rest is
// found in the next.
func TestChunksStandAcrossBuffers(t *testing.T) {
	const n = 5 * wire.BufferSize / len("1\r\nx\r\n")
	for k := range 12 {
		first := string(wire.AppendChunk(nil, []byte(strings.Repeat("a", k+1))))
		var h wire.Head
		m := readRequest(open(t, whole(chunkedHead+first+strings.Repeat("1\r\nx\r\n", n)+"0\r\n\r\n")), &h)
		if m.err != nil || m.body != strings.Repeat("a", k+1)+strings.Repeat("x", n) {
			t.Errorf("after %d bytes: %v, %d bytes of body", k+1, m.err, len(m.body))
		}
	}
}

func TestChunksAreWritten(t *testing.T) {
	b := wire.AppendChunk(wire.AppendChunkSize(nil, 0xbeef), []byte("0123456789abcdef!"))
	b = wire.AppendField(b, []byte("X"), []byte("y z"))
	if want := "beef\r\n11\r\n0123456789abcdef!\r\nX: y z\r\n"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
}
