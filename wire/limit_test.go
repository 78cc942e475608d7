package wire_test

import (
	"strings"
	"testing"

	"viaduct/wire"
)

// repeat makes n lines of one.
func repeat(line string, n int) string { return strings.Repeat(line+"\r\n", n) }

// padded is a request whose head is exactly n bytes long.
func padded(n int) string {
	const start, end = "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n"
	return start + strings.Repeat("x", n-len(start)-len(end)) + end
}

// target is a request whose request line is exactly n bytes long, CR LF not
// counted.
func target(n int) string {
	return lines("GET /"+strings.Repeat("x", n-len("GET / HTTP/1.1"))+" HTTP/1.1", "Host: a")
}

func TestHeadsAreBounded(t *testing.T) {
	r := seeded(t)
	for _, limit := range []int{1 << 10, wire.BufferSize - 1, wire.BufferSize, wire.BufferSize + 1, 64 << 10} {
		for _, c := range []struct {
			name, in string
			status   int
		}{
			{"head of the limit", padded(limit), 0},
			{"head over the limit", padded(limit + 1), 431},
			{"head far over the limit", padded(3 * limit), 431},
			{"line over the limit", target(limit + 1), 414},
			{"line far over the limit", target(3 * limit), 414},
			{"line below, head over the limit", target(limit - 10), 431},
			{"head that never ends", strings.TrimSuffix(padded(limit+5), "\r\n\r\n"), 431},
			{"line that never ends", strings.Repeat("G", limit+1), 414},
			{"head of the limit without end", padded(limit + 100)[:limit], -1},
		} {
			for way, nc := range map[string]*script{"whole": whole(c.in), "cut": cut(r, c.in, 4096)} {
				conn := wire.New(nc, limit)
				var h wire.Head
				if err := conn.Await(0); err != nil {
					t.Fatal(err)
				}
				err := conn.ReadRequest(&h, 0)
				if got := status(err); c.status >= 0 && got != c.status || c.status < 0 && (err == nil || got != 0) {
					t.Errorf("limit %d, %s, %s: %v, want status %d", limit, c.name, way, err, c.status)
				}
			}
		}
	}
}

func TestFieldsAndOptionsAreBounded(t *testing.T) {
	const start = "GET / HTTP/1.1\r\nHost: a\r\n"
	for _, c := range []struct {
		name, in string
		status   int
	}{
		{"256 fields", start + repeat("X: y", 255) + "\r\n", 0},
		{"257 fields", start + repeat("X: y", 256) + "\r\n", 431},
		{"257 fields, no end", start + repeat("X: y", 256), 431},
		{"16 options", start + "Connection: " + strings.Repeat("x,", 16) + "close\r\n\r\n", 0},
		{"17 options", start + "Connection: " + strings.Repeat("x,", 17) + "close\r\n\r\n", 400},
		{"17 options in 17 fields", start + repeat("Connection: x", 17) + "\r\n", 400},
		{"options that name no field", start + "Connection: " + strings.Repeat("close,keep-alive,Upgrade,,", 1000) + "\r\n\r\n", 0},
	} {
		var h wire.Head
		if m := readRequest(open(t, whole(c.in)), &h); status(m.err) != c.status || c.status == 0 && m.err != nil {
			t.Errorf("%s: %v, want status %d", c.name, m.err, c.status)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	const start = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"256 fields", start + repeat("X: y", 255) + "\r\n", true},
		{"257 fields", start + repeat("X: y", 256) + "\r\n", false},
		{"long head", start + "X: " + strings.Repeat("x", maxHead) + "\r\n\r\n", false},
	} {
		var h wire.Head
		m := readResponse(open(t, whole(c.in)), &h, false)
		if want := "http_response_header_section_size"; (m.err == nil) != c.ok || !c.ok && kind(m.err).String() != want {
			t.Errorf("%s: %v", c.name, m.err)
		}
	}
}

// TestHeadOfAnotherMessageIsNotCounted: the limit is of one head, however many
// come at once.
func TestHeadOfAnotherMessageIsNotCounted(t *testing.T) {
	const limit = 1 << 10
	c := wire.New(whole(strings.Repeat(padded(limit-1), 100)), limit)
	var h wire.Head
	for i := range 100 {
		if m := readRequest(c, &h); m.err != nil {
			t.Fatalf("request %d: %v", i, m.err)
		}
	}
}
