package wire_test

import (
	"testing"

	"viaduct/fault"
	"viaduct/wire"
)

// goodAnswers are heads that are understood, and as what. What follows a head
// is its body, as far as its framing takes it.
var goodAnswers = []struct {
	name, in   string
	toHead     bool
	want, body string
}{
	{"length", lines("HTTP/1.1 200 OK", "Content-Length: 3") + "abc", false, "1.1 200 OK|Content-Length:3 length=3", "abc"},
	{"chunked", lines("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked") + "3\r\nabc\r\n0\r\n\r\n", false, "1.1 200 OK|Transfer-Encoding:Chunked chunked", "abc"},
	{"until close", lines("HTTP/1.1 200 OK") + "abc", false, "1.1 200 OK close", "abc"},
	{"until close, keep-alive", lines("HTTP/1.1 200 OK", "Connection: keep-alive") + "abc", false, "1.1 200 OK|Connection:keep-alive close", "abc"},
	{"until close, 1.0", lines("HTTP/1.0 200 OK") + "abc", false, "1.0 200 OK close", "abc"},
	{
		"1.0 with length", lines("HTTP/1.0 200 OK", "Content-Length: 3", "Connection: keep-alive") + "abc", false,
		"1.0 200 OK|Content-Length:3|Connection:keep-alive length=3 close", "abc",
	},
	{
		"close", lines("HTTP/1.1 200 OK", "Content-Length: 0", "Connection: close, x", "X: y"), false,
		"1.1 200 OK|Content-Length:0|Connection:close, x|X:y(nominated) length=0 close", "",
	},

	{
		"Host and Expect mean nothing", lines("HTTP/1.1 200 OK", "Host: a/b", "Host: c", "Expect: x", "Content-Length: 0"), false,
		"1.1 200 OK|Host:a/b|Host:c|Expect:x|Content-Length:0 length=0", "",
	},
	{"no reason", lines("HTTP/1.1 200", "Content-Length: 0"), false, "1.1 200 |Content-Length:0 length=0", ""},
	{"reason is empty", lines("HTTP/1.1 200 ", "Content-Length: 0"), false, "1.1 200 |Content-Length:0 length=0", ""},
	{"reason of words", lines("HTTP/1.1 404 \tNot  \xe9 Found ", "Content-Length: 0"), false, "1.1 404 \tNot  \xe9 Found |Content-Length:0 length=0", ""},
	{"unknown status", lines("HTTP/1.1 599 X", "Content-Length: 0"), false, "1.1 599 X|Content-Length:0 length=0", ""},

	{"100", lines("HTTP/1.1 100 Continue") + "HTTP", false, "1.1 100 Continue length=0", ""},
	{"103 with length", lines("HTTP/1.1 103 Early", "Content-Length: 3") + "abc", false, "1.1 103 Early|Content-Length:3 length=0", ""},
	{"100 with coding", lines("HTTP/1.1 100 Continue", "Transfer-Encoding: chunked") + "abc", false, "1.1 100 Continue|Transfer-Encoding:chunked length=0", ""},
	{"101", lines("HTTP/1.1 101 Switching", "Connection: upgrade", "Upgrade: x") + "abc", false, "1.1 101 Switching|Connection:upgrade|Upgrade:x length=0 upgrade", ""},
	{"204 with length", lines("HTTP/1.1 204 No", "Content-Length: 3") + "abc", false, "1.1 204 No|Content-Length:3 length=0", ""},
	{"204 with coding", lines("HTTP/1.1 204 No", "Transfer-Encoding: chunked") + "abc", false, "1.1 204 No|Transfer-Encoding:chunked length=0", ""},
	{"304 with length", lines("HTTP/1.1 304 Same", "Content-Length: 3") + "abc", false, "1.1 304 Same|Content-Length:3 length=0", ""},
	{"304 without", lines("HTTP/1.1 304 Same") + "abc", false, "1.1 304 Same length=0", ""},
	{"205 has a body", lines("HTTP/1.1 205 Reset", "Content-Length: 3") + "abc", false, "1.1 205 Reset|Content-Length:3 length=3", "abc"},
	{"HEAD with length", lines("HTTP/1.1 200 OK", "Content-Length: 3") + "abc", true, "1.1 200 OK|Content-Length:3 length=0", ""},
	{"HEAD with coding", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + "abc", true, "1.1 200 OK|Transfer-Encoding:chunked length=0", ""},
	{"HEAD with neither", lines("HTTP/1.1 200 OK") + "abc", true, "1.1 200 OK length=0", ""},
}

func TestAnswersThatAreUnderstood(t *testing.T) {
	for _, c := range goodAnswers {
		t.Run(c.name, func(t *testing.T) {
			for _, nc := range []*script{whole(c.in), bytewise(c.in)} {
				var h wire.Head
				m := readResponse(open(t, nc), &h, c.toHead)
				if m.err != nil || m.head != c.want || m.body != c.body {
					t.Errorf("%q\n got %q, body %q, %v\nwant %q, body %q", c.in, m.head, m.body, m.err, c.want, c.body)
				}
			}
		})
	}
}

// badAnswers are heads that are refused, and as what kind of failure.
var badAnswers = []struct {
	name, in string
	kind     fault.Kind
}{
	{"empty line before it", "\r\n" + lines("HTTP/1.1 200 OK", "Content-Length: 0"), fault.ProtocolError},
	{"LF before it", "\n" + lines("HTTP/1.1 200 OK", "Content-Length: 0"), fault.ProtocolError},
	{"space before it", lines(" HTTP/1.1 200 OK", "Content-Length: 0"), fault.ProtocolError},
	{"HTTP/0.9", "<html>\r\n", fault.ProtocolError},
	{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", fault.ProtocolError},
	{"ICY", lines("ICY 200 OK"), fault.ProtocolError},
	{"lower case", lines("http/1.1 200 OK"), fault.ProtocolError},
	{"HTTP/1.2", lines("HTTP/1.2 200 OK"), fault.ProtocolError},
	{"HTTP/2.0", lines("HTTP/2.0 200 OK"), fault.ProtocolError},
	{"HTTP/2", lines("HTTP/2 200 OK"), fault.ProtocolError},
	{"version of three", lines("HTTP/1.10 200 OK"), fault.ProtocolError},
	{"no status", lines("HTTP/1.1"), fault.ProtocolError},
	{"status is empty", lines("HTTP/1.1  OK"), fault.ProtocolError},
	{"two spaces before the status", lines("HTTP/1.1  200 OK"), fault.ProtocolError},
	{"tab before the status", lines("HTTP/1.1\t200 OK"), fault.ProtocolError},
	{"tab behind the status", lines("HTTP/1.1 200\tOK"), fault.ProtocolError},
	{"status of two digits", lines("HTTP/1.1 20 OK"), fault.ProtocolError},
	{"status of four digits", lines("HTTP/1.1 2000 OK"), fault.ProtocolError},
	{"status with sign", lines("HTTP/1.1 +20 OK"), fault.ProtocolError},
	{"status is negative", lines("HTTP/1.1 -20 OK"), fault.ProtocolError},
	{"status with letter", lines("HTTP/1.1 2O0 OK"), fault.ProtocolError},
	{"000", lines("HTTP/1.1 000 OK"), fault.ProtocolError},
	{"099", lines("HTTP/1.1 099 OK"), fault.ProtocolError},
	{"600", lines("HTTP/1.1 600 OK"), fault.ProtocolError},
	{"999", lines("HTTP/1.1 999 OK"), fault.ProtocolError},
	{"NUL in the reason", lines("HTTP/1.1 200 O\x00K"), fault.ProtocolError},
	{"CR in the reason", lines("HTTP/1.1 200 O\rK"), fault.ProtocolError},
	{"CR behind the reason", "HTTP/1.1 200 OK\r\r\n\r\n", fault.ProtocolError},
	{"LF alone", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", fault.ProtocolError},
	{"LF alone ends a field", "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", fault.ProtocolError},
	{"LF alone ends the head", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", fault.ProtocolError},

	{"space before the colon", lines("HTTP/1.1 200 OK", "Content-Length : 0"), fault.ProtocolError},
	{"fold", lines("HTTP/1.1 200 OK", "X: a", " b", "Content-Length: 0"), fault.ProtocolError},
	{"no colon", lines("HTTP/1.1 200 OK", "X", "Content-Length: 0"), fault.ProtocolError},
	{"NUL in a value", lines("HTTP/1.1 200 OK", "X: a\x00", "Content-Length: 0"), fault.ProtocolError},
	{"CR in a value", lines("HTTP/1.1 200 OK", "X: a\rSet-Cookie: b", "Content-Length: 0"), fault.ProtocolError},
	{"connection names length", lines("HTTP/1.1 200 OK", "Connection: Content-Length", "Content-Length: 0"), fault.ProtocolError},

	{"two lengths", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6"), fault.ProtocolError},
	{"two lengths alike", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"), fault.ProtocolError},
	{"length list", lines("HTTP/1.1 200 OK", "Content-Length: 5, 5"), fault.ProtocolError},
	{"length is negative", lines("HTTP/1.1 200 OK", "Content-Length: -1"), fault.ProtocolError},
	{"length is no number, HEAD or not", lines("HTTP/1.1 304 OK", "Content-Length: x"), fault.ProtocolError},
	{"length beside coding", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"), fault.ProtocolError},
	{"coding in 1.0", lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), fault.ProtocolError},
	{"gzip", lines("HTTP/1.1 200 OK", "Transfer-Encoding: gzip"), fault.ResponseTransferCoding},
	{"identity", lines("HTTP/1.1 200 OK", "Transfer-Encoding: identity"), fault.ResponseTransferCoding},
	{"gzip, chunked", lines("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"), fault.ResponseTransferCoding},
	{"chunked, identity", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked, identity"), fault.ResponseTransferCoding},
	{"chunked twice", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), fault.ResponseTransferCoding},
}

func TestAnswersThatAreRefused(t *testing.T) {
	for _, c := range badAnswers {
		t.Run(c.name, func(t *testing.T) {
			for _, nc := range []*script{whole(c.in + "0\r\n\r\n"), bytewise(c.in + "0\r\n\r\n")} {
				var h wire.Head
				m := readResponse(open(t, nc), &h, false)
				if kind(m.err) != c.kind || m.inBody {
					t.Errorf("%q\ngot %q, %v, want %v", c.in, m.head, m.err, c.kind)
				}
			}
		})
	}
}

// TestAnswersComeOneAfterAnother: what is interim has no body, and what follows
// it is read as the next head; nothing may stand between them.
func TestAnswersComeOneAfterAnother(t *testing.T) {
	const interim, final = "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
	for _, c := range []struct {
		name, in string
		statuses []int
	}{
		{"two interim", interim + "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + final, []int{100, 103, 200}},
		{"empty line between", interim + "\r\n" + final, []int{100, 0}},
		{"body of an interim", "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc" + final, []int{100, 0}},
		{"end after an interim", interim, []int{100, 0}},
	} {
		for way, nc := range map[string]*script{"whole": whole(c.in), "bytewise": bytewise(c.in)} {
			conn := open(t, nc)
			for i, want := range c.statuses {
				var h wire.Head
				m := readResponse(conn, &h, false)
				if (m.err == nil) != (want != 0) || want != 0 && h.Status != want {
					t.Errorf("%s, %s, answer %d: %s, want status %d", c.name, way, i, &m, want)
				}
			}
		}
	}
}
