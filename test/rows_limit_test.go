package test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var limitRows = []row{
	{"9110-15.5.15/line-too-long", "T67", "A request line over --max-header: 414, closed; the answer is not lost although the client still sends.", "", tooLarge(414, "GET http://{O}/%s HTTP/1.1\r\nHost: {O}\r\n\r\n")},
	{"6585-5/field-too-long", "T67", "One field over --max-header: 431, closed; the answer is not lost although the client still sends.", "", tooLarge(431, "GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\nX: %s\r\n\r\n")},
	{"9112-9.6/lingers", "T67", "After a refusal that closes, what the client still sends is taken for a while: no reset can overtake the answer.", "", lingers},
	{"6585-5/too-many-fields", "T67", "More fields than fit: 431, closed.", "", tooManyFields},
	{"6585-5/max-header", "T67", "--max-header 8KiB: heads of 6 KiB pass, heads of 12 KiB are refused.", "small", maxHeader},
	{"6585-5/default-limit", "T67", "By default heads of 60 KiB pass.", "", defaultLimit},
	{"6585-5/trailer-too-long", "T67", "A trailer section without end is refused.", "", trailerTooLong},
}

// tooLarge makes a row: a head with a part of each size is refused, to a
// client that reads while it sends and to one that sends first.
func tooLarge(status int, form string) func(*testing.T, *proxy) {
	return func(t *testing.T, p *proxy) {
		for _, size := range []int{70 << 10, 200 << 10, 2 << 20} {
			c, o := stage(t, p, says(ok("reached")))
			go c.try(fmt.Sprintf(form, strings.Repeat("a", size)))
			m := c.answer()
			m.wantOwn(t, status, "http_request_error")
			c.ends()
			if o.dials() != 0 {
				t.Error("the origin was dialled")
			}
		}
		c, _ := stage(t, p, says(ok("reached")))
		c.send(fmt.Sprintf(form, strings.Repeat("a", 300<<10))).answer().wantOwn(t, status, "http_request_error")
	}
}

func tooManyFields(t *testing.T, p *proxy) {
	for _, field := range []string{"X: 1\r\n", "X:\r\n", "a:\r\n"} {
		c, _ := stage(t, p, says(ok("reached")))
		go c.try("GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n" + strings.Repeat(field, 400_000) + "\r\n")
		c.answer().wantOwn(t, 431, "http_request_error")
		c.ends()
	}
}

func maxHeader(t *testing.T, p *proxy) {
	pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "X: "+strings.Repeat("a", 6<<10))
	pass(t, p, "GET http://{O}/"+strings.Repeat("a", 6<<10)+" HTTP/1.1", "Host: {O}")
	c, _ := stage(t, p, says(ok("reached")))
	c.send("GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\nX: "+strings.Repeat("a", 12<<10)+"\r\n\r\n").answer().wantOwn(t, 431, "http_request_error")
	c, _ = stage(t, p, says(ok("reached")))
	c.send("GET http://{O}/"+strings.Repeat("a", 12<<10)+" HTTP/1.1\r\nHost: {O}\r\n\r\n").answer().wantOwn(t, 414, "http_request_error")
}

func defaultLimit(t *testing.T, p *proxy) {
	got := pass(t, p, "GET http://{O}/ HTTP/1.1", "Host: {O}", "Cookie: "+strings.Repeat("c", 30<<10), "X: "+strings.Repeat("a", 30<<10))
	if len(got.get("Cookie")) != 30<<10 || len(got.get("X")) != 30<<10 {
		t.Errorf("the origin got a head of %d bytes", len(got.raw))
	}
}

func trailerTooLong(t *testing.T, p *proxy) {
	c, o := stage(t, p, says(ok("reached")))
	go c.try("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + strings.Repeat("X: 1\r\n", 400_000) + "\r\n")
	isRefused(t, c, "a trailer of 2 MB")
	if len(o.seen()) != 0 {
		t.Error("the origin got a whole request")
	}
}

func lingers(t *testing.T, p *proxy) {
	hole := refusing(t)
	for status, first := range map[int]string{
		414: "GET http://{O}/" + strings.Repeat("a", 100<<10),
		431: "GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\nX: " + strings.Repeat("a", 100<<10),
		400: "POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		501: "POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: gzip\r\n\r\n",
		502: "POST http://" + hole + "/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 10000000\r\n\r\n",
		0:   "CONNECT " + hole + " HTTP/1.1\r\nHost: {O}\r\n\r\nearly",
		413: "POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 10000000\r\n\r\n",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			c, _ := stage(t, p, func(o *originConn) {
				if o.head(); status != 413 {
					o.drain()
					return
				}
				o.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
			})
			if m := c.send(first).answer(); m.status() != status && status != 0 {
				t.Fatalf("got %q", m.line)
			}
			for n := range 10 {
				pause(20 * time.Millisecond)
				if err := c.try(strings.Repeat("b", 50_000)); err != nil {
					t.Fatalf("after %d bytes more: %v", n*50_000, err)
				}
			}
			c.closeWrite()
			c.endsOrderly()
		})
	}
}
