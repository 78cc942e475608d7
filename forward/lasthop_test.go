package forward_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// mirror answers with the head of the request.
func mirror(nc net.Conn) {
	r := bufio.NewReader(nc)
	for {
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if head.WriteString(line); line == "\r\n" {
				break
			}
		}
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nX-From: origin\r\nContent-Length: "+itoa(head.Len())+"\r\n\r\n"+head.String())
	}
}

func itoa(n int) string {
	var b [20]byte
	i := len(b)
	for ; n > 9; n /= 10 {
		i--
		b[i] = byte('0' + n%10)
	}
	i--
	b[i] = byte('0' + n)
	return string(b[i:])
}

func TestLastHop(t *testing.T) {
	at := origin(t, mirror)
	h := begin(t, nil)
	c := h.dial()
	for _, row := range []struct {
		name, method, target, fields string
		origin                       bool
		want, never                  string
	}{
		{"TRACE ends here", "TRACE", "/p", "Max-Forwards: 0\r\nX-A: 1\r\nCookie: c\r\nAuthorization: a\r\nProxy-Authorization: b\r\nVia: 1.1 inner\r\n", false, "X-A: 1\r\n", "uthorization|Cookie|inner"},
		{"TRACE goes on", "TRACE", "/p", "Max-Forwards: 2\r\n", true, "Max-Forwards: 1\r\n", ""},
		{"TRACE without a bound", "TRACE", "/p", "", true, "TRACE /p HTTP/1.1\r\n", "Max-Forwards"},
		{"OPTIONS ends here", "OPTIONS", "/p", "Max-Forwards: 0\r\n", false, "", "Max-Forwards"},
		{"OPTIONS goes on", "OPTIONS", "/p", "Max-Forwards: 1\r\n", true, "Max-Forwards: 0\r\n", ""},
		{"OPTIONS for all of it", "OPTIONS", "", "", true, "OPTIONS * HTTP/1.1\r\n", ""},
		{"OPTIONS with garbage", "OPTIONS", "/", "Max-Forwards: x\r\n", true, "Max-Forwards: x\r\n", ""},
		{"GET does not count", "GET", "/", "Max-Forwards: 0\r\n", true, "Max-Forwards: 0\r\n", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c.say("%s http://%s%s HTTP/1.1\r\nHost: x\r\n%s\r\n", row.method, at, row.target, row.fields)
			resp, body := c.answer(row.method)
			if resp.StatusCode != 200 || (resp.Header.Get("X-From") == "origin") != row.origin {
				t.Errorf("%d, from the origin: %q", resp.StatusCode, resp.Header.Get("X-From"))
			}
			if !strings.Contains(body, row.want) {
				t.Errorf("%q, want %q", body, row.want)
			}
			for word := range strings.SplitSeq(row.never, "|") {
				if word != "" && strings.Contains(body, word) {
					t.Errorf("%q has %q", body, word)
				}
			}
		})
	}
}

func TestTargets(t *testing.T) {
	at := origin(t, mirror)
	h := begin(t, nil)
	_, port, _ := net.SplitHostPort(at)
	for _, row := range []struct{ request, want string }{
		{"GET http://" + at + "/a%2Fb/../c?x=;&y=%zz HTTP/1.1\r\nHost: other\r\n", "GET /a%2Fb/../c?x=;&y=%zz HTTP/1.1\r\nHost: " + at + "\r\n"},
		{"GET HTTP://LOCALHOST.:" + port + "/ HTTP/1.1\r\nhOsT: other\r\n", "GET / HTTP/1.1\r\nhOsT: localhost:" + port + "\r\n"},
		{"GET http://" + at + "?q HTTP/1.1\r\nHost: x\r\n", "GET /?q HTTP/1.1\r\n"},
		{"GET http://" + at + " HTTP/1.0\r\n", "GET / HTTP/1.1\r\nHost: " + at + "\r\n"},
	} {
		c := h.dial()
		c.say("%s\r\n", row.request)
		if resp, body := c.answer("GET"); resp.StatusCode != 200 || !strings.HasPrefix(body, row.want) {
			t.Errorf("%q: the origin got %q, want %q", row.request, body, row.want)
		}
	}
	for target, status := range map[string]int{
		"/": 400, "*": 400, "http://": 400, "http://u:p@" + at + "/": 400, "http://" + at + "/#f": 400,
		"https://" + at + "/": 400, "ftp://" + at + "/": 501, "http://127.1/": 400, "http://x:0/": 400,
	} {
		c := h.dial()
		c.say("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
		if resp, _ := c.answer("GET"); resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", target, resp.StatusCode, status)
		}
	}
}
