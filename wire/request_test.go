package wire_test

import (
	"strings"
	"testing"

	"viaduct/wire"
)

// goodRequests are heads that are understood, and as what.
var goodRequests = []struct{ name, in, want string }{
	{"plain", lines("GET / HTTP/1.1", "Host: a"), "GET / 1.1|Host:a"},
	{"1.0 ends the connection", lines("GET / HTTP/1.0"), "GET / 1.0 close"},
	{"1.0 ends it whatever it says", lines("GET / HTTP/1.0", "Connection: keep-alive"), "GET / 1.0|Connection:keep-alive close"},
	{"one empty line before it", "\r\n" + lines("GET / HTTP/1.1", "Host: a"), "GET / 1.1|Host:a"},
	{"method is any token", lines("M-x!#$%&'*+.^_`|~09 / HTTP/1.1", "Host: a"), "M-x!#$%&'*+.^_`|~09 / 1.1|Host:a"},
	{"methods have a case", lines("get / HTTP/1.1", "Host: a"), "get / 1.1|Host:a"},
	{"absolute form", lines("GET http://b/c?d HTTP/1.1", "Host: a"), "GET http://b/c?d 1.1|Host:a"},
	{"authority form", lines("CONNECT a:443 HTTP/1.1", "Host: b"), "CONNECT a:443 1.1|Host:b"},
	{"asterisk form", lines("OPTIONS * HTTP/1.1", "Host: a"), "OPTIONS * 1.1|Host:a"},
	{"target is not looked into", lines("GET \"<>\\^`{|}%zz#\xff HTTP/1.1", "Host: a"), "GET \"<>\\^`{|}%zz#\xff 1.1|Host:a"},

	{"white space around a value", lines("GET / HTTP/1.1", "Host:a", "X: \t b \t", "Y:\tc\td"), "GET / 1.1|Host:a|X:b|Y:c\td"},
	{"value is empty", lines("GET / HTTP/1.1", "Host: a", "X:", "Y: \t "), "GET / 1.1|Host:a|X:|Y:"},
	{"value has obs-text", lines("GET / HTTP/1.1", "Host: a", "X: \x80\xff"), "GET / 1.1|Host:a|X:\x80\xff"},
	{"value has colons", lines("GET / HTTP/1.1", "Host: a", "X::b:"), "GET / 1.1|Host:a|X::b:"},
	{"field twice", lines("GET / HTTP/1.1", "Host: a", "X: 1", "x: 2"), "GET / 1.1|Host:a|X:1|x:2"},
	{
		"names that look like framing", lines("GET / HTTP/1.1", "Host: a", "Content_Length: 5", "Transfer_Encoding: chunked", "Content-Lengthy: 6"),
		"GET / 1.1|Host:a|Content_Length:5|Transfer_Encoding:chunked|Content-Lengthy:6",
	},

	{"length", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0"), "POST / 1.1|Host:a|Content-Length:0 length=0"},
	{"length has zeros", lines("POST / HTTP/1.0", "content-LENGTH:\t00 "), "POST / 1.0|content-LENGTH:00 length=0 close"},
	{"chunked", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "0\r\n\r\n", "POST / 1.1|Host:a|Transfer-Encoding:chunked chunked"},
	{"chunked in any case", lines("POST / HTTP/1.1", "Host: a", "tRANSFER-eNCODING:ChUnKeD \t") + "0\r\n\r\n", "POST / 1.1|Host:a|tRANSFER-eNCODING:ChUnKeD chunked"},
	{"connect with length 0", lines("CONNECT a:1 HTTP/1.1", "Host: a", "Content-Length: 0"), "CONNECT a:1 1.1|Host:a|Content-Length:0 length=0"},

	{"host is empty", lines("GET / HTTP/1.1", "Host:"), "GET / 1.1|Host:"},
	{"host is an address", lines("GET / HTTP/1.1", "hOST: [::1]:80"), "GET / 1.1|hOST:[::1]:80"},
	{"host is in a script of its own", lines("GET / HTTP/1.1", "Host: b\xc3\xbccher:80"), "GET / 1.1|Host:b\xc3\xbccher:80"},
	{"host has an empty port", lines("GET / HTTP/1.1", "Host: a:"), "GET / 1.1|Host:a:"},
	{"host is a name", lines("GET / HTTP/1.1", "Host: a_b-c.~d:80"), "GET / 1.1|Host:a_b-c.~d:80"},

	{"close", lines("GET / HTTP/1.1", "Host: a", "Connection: cLoSe"), "GET / 1.1|Host:a|Connection:cLoSe close"},
	{"close among others", lines("GET / HTTP/1.1", "Host: a", "Connection: x, ,\tclose ,,"), "GET / 1.1|Host:a|Connection:x, ,\tclose ,, close"},
	{"close in the second", lines("GET / HTTP/1.1", "Host: a", "Connection:", "Connection: close"), "GET / 1.1|Host:a|Connection:|Connection:close close"},
	{
		"named fields", lines("GET / HTTP/1.1", "Connection: X-A,y", "Host: a", "x-a: 1", "Y: 2", "Z: 3"),
		"GET / 1.1|Connection:X-A,y|Host:a|x-a:1(nominated)|Y:2(nominated)|Z:3",
	},
	{"keep-alive names no field", lines("GET / HTTP/1.1", "Host: a", "Connection: keep-alive", "Keep-Alive: 5"), "GET / 1.1|Host:a|Connection:keep-alive|Keep-Alive:5"},
	{"proxy-connection says nothing", lines("GET / HTTP/1.1", "Host: a", "Proxy-Connection: close"), "GET / 1.1|Host:a|Proxy-Connection:close"},
	{"upgrade", lines("GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: x/1"), "GET / 1.1|Host:a|Connection:Upgrade|Upgrade:x/1 upgrade"},
	{"upgrade without the field", lines("GET / HTTP/1.1", "Host: a", "Connection: upgrade"), "GET / 1.1|Host:a|Connection:upgrade"},
	{"upgrade without the option", lines("GET / HTTP/1.1", "Host: a", "Upgrade: x/1"), "GET / 1.1|Host:a|Upgrade:x/1"},
	{"no upgrade in 1.0", lines("GET / HTTP/1.0", "Connection: upgrade", "Upgrade: x/1"), "GET / 1.0|Connection:upgrade|Upgrade:x/1 close"},

	{"expect", lines("GET / HTTP/1.1", "Host: a", "Expect: 100-Continue"), "GET / 1.1|Host:a|Expect:100-Continue expect"},
	{"expect twice", lines("GET / HTTP/1.1", "Host: a", "Expect: 100-continue", "Expect: 100-continue"), "GET / 1.1|Host:a|Expect:100-continue|Expect:100-continue expect"},
	{"1.0 expects nothing", lines("GET / HTTP/1.0", "Expect: 100-continue"), "GET / 1.0|Expect:100-continue close"}, // RFC 9110 section 10.1.1
}

func TestRequestsThatAreUnderstood(t *testing.T) {
	for _, c := range goodRequests {
		t.Run(c.name, func(t *testing.T) {
			var h wire.Head
			m := readRequest(open(t, whole(c.in)), &h)
			if m.err != nil || m.head != c.want {
				t.Errorf("%q\n got %q, %v\nwant %q", c.in, m.head, m.err, c.want)
			}
		})
	}
}

// request is a request with one line more.
func request(line string) string { return lines("POST / HTTP/1.1", "Host: a", line) }

// badRequests are heads that are refused, and with which status. Those of
// fields stand between good lines, so that only they are the reason.
var badRequests = []struct {
	name, in string
	status   int
}{
	{"two empty lines before it", "\r\n\r\n" + lines("GET / HTTP/1.1", "Host: a"), 400},
	{"empty line without CR", "\n" + lines("GET / HTTP/1.1", "Host: a"), 400},
	{"empty line with two CR", "\r\r\n" + lines("GET / HTTP/1.1", "Host: a"), 400},
	{"space before it", lines(" GET / HTTP/1.1", "Host: a"), 400},
	{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n", 400},
	{"no target", lines("GET HTTP/1.1", "Host: a"), 400},
	{"target is empty", lines("GET  HTTP/1.1", "Host: a"), 400},
	{"two spaces before the target", lines("GET  / HTTP/1.1", "Host: a"), 400},
	{"two spaces after the target", lines("GET /  HTTP/1.1", "Host: a"), 400},
	{"space in the target", lines("GET /a b HTTP/1.1", "Host: a"), 400},
	{"tab after the method", lines("GET\t/ HTTP/1.1", "Host: a"), 400},
	{"tab in the target", lines("GET /\t HTTP/1.1", "Host: a"), 400},
	{"NUL in the target", lines("GET /\x00 HTTP/1.1", "Host: a"), 400},
	{"DEL in the target", lines("GET /\x7f HTTP/1.1", "Host: a"), 400},
	{"CR in the target", lines("GET /\r HTTP/1.1", "Host: a"), 400},
	{"method is no token", lines("G@T / HTTP/1.1", "Host: a"), 400},
	{"method has obs-text", lines("G\xc9T / HTTP/1.1", "Host: a"), 400},
	{"NUL in the method", lines("G\x00T / HTTP/1.1", "Host: a"), 400},
	{"no method", lines(" / HTTP/1.1", "Host: a"), 400},

	{"no version", lines("GET /", "Host: a"), 400},
	{"version is empty", lines("GET / ", "Host: a"), 400},
	{"version in lower case", lines("GET / http/1.1", "Host: a"), 400},
	{"space after the version", lines("GET / HTTP/1.1 ", "Host: a"), 400},
	{"CR after the version", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
	{"more after the version", lines("GET / HTTP/1.1 HTTP/1.1", "Host: a"), 400},
	{"version without dot", lines("GET / HTTP/11", "Host: a"), 400},
	{"version with comma", lines("GET / HTTP/1,1", "Host: a"), 400},
	{"long minor version", lines("GET / HTTP/1.10", "Host: a"), 400},
	{"long major version", lines("GET / HTTP/01.1", "Host: a"), 400},
	{"version is a letter", lines("GET / HTTP/1.x", "Host: a"), 400},
	{"another protocol", lines("GET / HTTQ/1.1", "Host: a"), 400},
	{"RTSP", lines("OPTIONS * RTSP/1.0"), 400},
	{"HTTP/0.9", lines("GET / HTTP/0.9", "Host: a"), 505},
	{"HTTP/1.2", lines("GET / HTTP/1.2", "Host: a"), 505},
	{"HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"HTTP/3.0", lines("GET / HTTP/3.0", "Host: a"), 505},

	{"LF alone ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
	{"LF alone ends a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
	{"LF alone ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"CR alone ends a field", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400},
	{"CR LF backwards", "GET / HTTP/1.1\r\nHost: a\n\rX: b\r\n\r\n", 400},
	{"two CR", "GET / HTTP/1.1\r\nHost: a\r\r\nX: b\r\n\r\n", 400},
	{"two CR at the end", "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", 400},

	{"space before the colon", request("X : b"), 400},
	{"tab before the colon", request("X\t: b"), 400},
	{"space before the colon of a length", request("Content-Length : 0"), 400},
	{"space before the colon of a coding", request("Transfer-Encoding : chunked"), 400},
	{"space before the first name", lines("GET / HTTP/1.1", " Host: a"), 400},
	{"fold with space", request("X: b\r\n c"), 400},
	{"fold with tab", request("X: b\r\n\tc"), 400},
	{"fold with nothing", request("X: b\r\n "), 400},
	{"fold of framing", request("Transfer-Encoding:\r\n chunked"), 501},
	{"no colon", request("X"), 400},
	{"no name", request(": b"), 400},
	{"NUL in a name", request("X\x00: b"), 400},
	{"CR in a name", request("X\r: b"), 400},
	{"name is no token", request("X(y): b"), 400},
	{"name has obs-text", request("X\xe9: b"), 400},
	{"NUL behind a name of framing", request("Transfer-Encoding\x00: chunked"), 400},
	{"NUL in a value", request("X: b\x00"), 400},
	{"CR in a value", request("X: b\rc"), 400},
	{"VT in a value", request("X: \x0bb"), 400},
	{"DEL in a value", request("X: b\x7f"), 400},

	{"no host", lines("GET / HTTP/1.1", "X: b"), 400},
	{"no host, absolute form", lines("GET http://a/ HTTP/1.1"), 400},
	{"no host, connect", lines("CONNECT a:1 HTTP/1.1"), 400},
	{"two hosts", request("Host: b"), 400},
	{"two hosts alike", request("host: a"), 400},
	{"two hosts in 1.0", lines("GET / HTTP/1.0", "Host: a", "Host: a"), 400},
	{"host list", lines("GET / HTTP/1.1", "Host: a,b"), 400},
	{"host with space", lines("GET / HTTP/1.1", "Host: a b"), 400},
	{"host with path", lines("GET / HTTP/1.1", "Host: a/b"), 400},
	{"host with user", lines("GET / HTTP/1.1", "Host: a@b"), 400},
	{"host with query", lines("GET / HTTP/1.1", "Host: a?b"), 400},
	{"host with fragment", lines("GET / HTTP/1.1", "Host: a#b"), 400},
	{"host with backslash", lines("GET / HTTP/1.1", "Host: a\\b"), 400},
	{"host with two ports", lines("GET / HTTP/1.1", "Host: a:80:80"), 400},
	{"host with a name for a port", lines("GET / HTTP/1.1", "Host: a:b"), 400},
	{"host is an address without brackets", lines("GET / HTTP/1.1", "Host: ::1"), 400},
	{"host with a bracket open", lines("GET / HTTP/1.1", "Host: [::1"), 400},
	{"host with a bracket too many", lines("GET / HTTP/1.1", "Host: [[::1]]"), 400},
	{"host with a bracket in the name", lines("GET / HTTP/1.1", "Host: a]"), 400},
	{"host goes on behind the bracket", lines("GET / HTTP/1.1", "Host: [::1]a"), 400},
	{"host with escape", lines("GET / HTTP/1.1", "Host: a%00b"), 400},

	{"connection names length", request("Connection: content-length"), 400},
	{"connection names coding", request("Connection: close, Transfer-Encoding"), 400},
	{"connection names host", request("Connection: HOST"), 400},
	{"connection is no list of tokens", request("Connection: close;x"), 400},
	{"connection has a space", request("Connection: x y"), 400},
	{"connection has obs-text", request("Connection: \xe9"), 400},

	{"expects something else", request("Expect: 200-ok"), 417},
	{"expects more", request("Expect: 100-continue, x"), 417},
	{"expects nothing", request("Expect:"), 417},
	{"connect with a body", lines("CONNECT a:1 HTTP/1.1", "Host: a", "Content-Length: 1") + "x", 400},
	{"connect with chunks", lines("CONNECT a:1 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "0\r\n\r\n", 400},
}

// badFramings are the lines that make a request's framing ambiguous.
var badFramings = []struct {
	name, line string
	status     int
}{
	{"length is empty", "Content-Length:", 400},
	{"length has a plus", "Content-Length: +5", 400},
	{"length is negative", "Content-Length: -5", 400},
	{"length is minus nothing", "Content-Length: -0", 400},
	{"length list", "Content-Length: 5, 5", 400},
	{"length list of two", "Content-Length: 5,6", 400},
	{"length has a space", "Content-Length: 5 5", 400},
	{"length has a comma", "Content-Length: 5,", 400},
	{"length is hexadecimal", "Content-Length: 0x5", 400},
	{"length has a point", "Content-Length: 5.0", 400},
	{"length has an exponent", "Content-Length: 1e1", 400},
	{"length has an underscore", "Content-Length: 1_0", 400},
	{"length is quoted", "Content-Length: \"5\"", 400},
	{"length in wide digits", "Content-Length: \uff15", 400},
	{"length behind a wide space", "Content-Length: \u00a05", 400},
	{"length of 19 digits", "Content-Length: 1000000000000000000", 400},
	{"length over 63 bits", "Content-Length: 9223372036854775808", 400},
	{"length over 64 bits", "Content-Length: 18446744073709551621", 400},
	{"two lengths alike", "Content-Length: 5\r\nContent-Length: 5", 400},
	{"two lengths apart", "Content-Length: 5\r\nContent-length: 6", 400},
	{"coding beside length", "Content-Length: 5\r\nTransfer-Encoding: chunked", 400},
	{"length beside coding", "Transfer-Encoding: chunked\r\nContent-Length: 5", 400},
	{"length 0 beside coding", "Transfer-Encoding: chunked\r\nContent-Length: 0", 400},
	{"coding is empty", "Transfer-Encoding:", 501},
	{"identity", "Transfer-Encoding: identity", 501},
	{"gzip", "Transfer-Encoding: gzip", 501},
	{"gzip, chunked", "Transfer-Encoding: gzip, chunked", 501},
	{"chunked, gzip", "Transfer-Encoding: chunked, gzip", 501},
	{"chunked, identity", "Transfer-Encoding: chunked, identity", 501},
	{"chunked, chunked", "Transfer-Encoding: chunked, chunked", 501},
	{"chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501},
	{"chunked, then identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", 501},
	{"empty, then chunked", "Transfer-Encoding:\r\nTransfer-Encoding: chunked", 501},
	{"comma before chunked", "Transfer-Encoding: ,chunked", 501},
	{"comma after chunked", "Transfer-Encoding: chunked,", 501},
	{"chunked with parameter", "Transfer-Encoding: chunked;q=0", 501},
	{"chunked quoted", "Transfer-Encoding: \"chunked\"", 501},
	{"xchunked", "Transfer-Encoding: xchunked", 501},
	{"chunke", "Transfer-Encoding: chunke", 501},
	{"wide space before chunked", "Transfer-Encoding: \u00a0chunked", 501},
	{"long s in chunked", "Transfer-Encoding: chun\u212aed", 501}, // the Kelvin sign folds to k elsewhere
	{"VT before chunked", "Transfer-Encoding: \x0bchunked", 400},
	{"VT after chunked", "Transfer-Encoding: chunked\x0b", 400},
	{"NUL after chunked", "Transfer-Encoding: chunked\x00", 400},
}

func TestRequestsThatAreRefused(t *testing.T) {
	for _, c := range badRequests {
		t.Run(c.name, func(t *testing.T) { refuse(t, c.in, c.status) })
	}
	for _, c := range badFramings {
		t.Run(c.name, func(t *testing.T) {
			refuse(t, lines("POST / HTTP/1.1", "Host: a", c.line, "X: b")+"0\r\n\r\n", c.status)
		})
	}
	t.Run("coding in 1.0", func(t *testing.T) {
		refuse(t, lines("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked")+"0\r\n\r\n", 400)
	})
}

// refuse wants a request to be refused in the same way however it comes.
func refuse(t *testing.T, in string, want int) {
	t.Helper()
	var h wire.Head
	for _, nc := range []*script{whole(in), bytewise(in)} {
		c := open(t, nc)
		if err := c.Await(0); err != nil {
			t.Fatal(err)
		}
		if err := c.ReadRequest(&h, 0); status(err) != want || strings.Contains(err.Error(), "%!") {
			t.Errorf("%q\ngot %q, %v, want status %d", in, describe(&h), err, want)
		}
	}
}
