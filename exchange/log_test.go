package exchange_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Every exchange has one line, with what became of it.
func TestLogOfExchanges(t *testing.T) {
	const unreachable = "127.0.0.1:1"
	o := play(t, func(p *peer) {
		for h := p.request(); h != ""; h = p.request() {
			switch {
			case strings.HasPrefix(h, "POST"):
				p.hear("body")
				p.say("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
			case strings.HasPrefix(h, "HEAD"):
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
			default:
				p.say(ok)
			}
		}
	})
	at := "http://" + o.addr
	for _, c := range []struct {
		name, request string
		status        float64
		target        string
		received      float64
		sent          int // -1: the body of our own answer
		tries         float64
		endpoint      string
		fault         string
	}{
		{"GET", "GET " + at + "/a?secret HTTP/1.1\r\nHost: x\r\n\r\n", 200, at + "/a", 0, 2, 1, o.addr, ""},
		{"HEAD", "HEAD " + at + "/ HTTP/1.1\r\nHost: x\r\n\r\n", 200, at + "/", 0, 0, 1, o.addr, ""},
		{"POST", "POST " + at + "/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 201, at + "/", 4, 2, 1, o.addr, ""},
		{"refused connection", "GET http://" + unreachable + "/ HTTP/1.1\r\nHost: x\r\n\r\n", 502, "http://" + unreachable + "/", 0, -1, 0, "", "connection_refused"},
		{"refused tunnel", "CONNECT " + unreachable + " HTTP/1.1\r\nHost: x\r\n\r\n", 502, unreachable, 0, -1, 0, "", "connection_refused"},
		{"bad target", "GET http://joe:secret@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, "http://x/", 0, -1, 0, "", "http_request_error"},
		{"bad head", "GET " + at + "/ HTTP/1.1\r\nHost: x\r\nbad field\r\n\r\n", 400, at + "/", 0, -1, 0, "", "http_request_error"},
		{"not HTTP", "hello\r\n\r\n", 400, "", 0, -1, 0, "", "http_request_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := begin(t, nil)
			e := r.dial()
			e.say("%s", c.request)
			method, _, _ := strings.Cut(c.request, " ")
			a := e.answer(method)
			if c.sent < 0 {
				c.sent = len(a.body)
			}
			_ = e.CloseWrite()
			e.over()
			poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
			log := r.logged()
			if len(log) != 1 {
				t.Fatalf("%d lines: %v", len(log), log)
			}
			l := log[0]
			endpoint, _ := l["endpoint"].(string)
			kind, _ := l["fault"].(string)
			got := fmt.Sprint(l["status"], l["target"], l["bytes_received"], l["bytes_sent"], l["tries"], endpoint, kind)
			if want := fmt.Sprint(c.status, c.target, c.received, c.sent, c.tries, c.endpoint, c.fault); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if why, _ := l["error"].(string); strings.Contains(why, "connection refused") != (c.fault == "connection_refused") {
				t.Errorf("error %q", why)
			}
			if strings.Contains(fmt.Sprint(l), "secret") || l["client"] != e.LocalAddr().String() || l["mode"] != "test" {
				t.Errorf("%v", l)
			}
		})
	}
}

func TestLogOfATunnelTellsItsBytes(t *testing.T) {
	o := play(t, func(p *peer) {
		p.hear("ping, early")
		p.say("pong")
	})
	r := begin(t, nil)
	e := r.dial()
	e.say("CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\nping, early", o.addr)
	e.head()
	e.hear("pong")
	e.over()
	_ = e.Close()
	poll(t, "the tunnel has ended", func() bool { return r.tunnels.Len() == 0 })
	log := r.logged()
	if l := log[0]; len(log) != 1 || l["status"] != 200.0 || l["bytes_received"] != 11.0 || l["bytes_sent"] != 4.0 || l["endpoint"] != o.addr || l["fault"] != nil {
		t.Errorf("%v", log)
	}
}

// Time in the log is that of the exchange, not that of the wait for a client
// that does not hang up.
func TestLogDoesNotCountTheLingering(t *testing.T) {
	r := begin(t, nil)
	e := r.dial()
	began := time.Now()
	e.say("CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n")
	e.want("CONNECT", 400)
	<-time.After(100 * time.Millisecond) // peer: hangs up late
	_ = e.Close()
	poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
	lingered := time.Since(began).Seconds()
	if total, _ := r.logged()[0]["total_s"].(float64); total > lingered-0.05 {
		t.Errorf("total_s %v of %v", total, lingered)
	}
}
