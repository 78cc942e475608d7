package exchange_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// insist writes n bytes, whatever becomes of them.
func (e *end) insist(n int) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := []byte(strings.Repeat("x", 64<<10)); n > 0; n -= len(b) {
			if _, err := e.Write(b); err != nil {
				return
			}
		}
	}()
	return ended
}

// An answer that ends the connection must not be lost to the reset that unread
// input would cause (RFC 9112 section 9.6).
func TestAnswerReachesAClientThatIsStillSending(t *testing.T) {
	t.Parallel()
	silent := play(t, func(p *peer) { _, _ = p.rest() })
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"head too large", "GET http://" + silent.addr + "/ HTTP/1.1\r\nHost: x\r\nX-Long: ", 431},
		{"request line too long", "GET http://" + silent.addr + "/", 414},
		{"not HTTP", "\x16\x03\x01 hello\r\n", 400},
		{"bad target, with a body", "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", 400},
		{"bad field", "POST http://x/ HTTP/1.1\r\nHost: x\r\nbad field: x\r\n\r\n", 400},
		{"other scheme", "POST ftp://x/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 501},
		{"refused tunnel", "CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"bad chunk", "POST http://" + silent.addr + "/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := begin(t, nil).dial()
			e.say("%s", c.request)
			ended := e.insist(6 << 20)
			receive(t, "the end of the sending", ended)
			a := e.want("POST", c.status)
			if !a.Close || !strings.HasSuffix(a.body, ".\n") {
				t.Errorf("%v %q", a.Close, a.body)
			}
		})
	}
}

func TestFailureReachesAClientThatIsStillSending(t *testing.T) {
	o := play(t, func(p *peer) { p.request(); p.reset() })
	e := begin(t, nil).dial()
	e.say("%s", o.request("POST", "Content-Length: 100000000\r\n"))
	ended := e.insist(6 << 20)
	receive(t, "the end of the sending", ended)
	e.wantFault("POST", 502, "connection_terminated")
}

// What a client sends behind its last request is not read any more; the answer
// must arrive whole all the same.
func TestLastAnswerIsWholeThoughMoreCame(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	for _, c := range []struct{ name, version, fields string }{
		{"asked to close", "1.1", "Connection: close\r\n"},
		{"HTTP/1.0", "1.0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := play(t, func(p *peer) {
				p.request()
				p.say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
				_, _ = io.Copy(p, io.LimitReader(endless{}, size))
				p.request()
			})
			e := begin(t, nil).dial()
			_ = e.SetReadBuffer(64 << 10)
			e.say("GET http://%s/ HTTP/%s\r\nHost: x\r\n%s\r\n", o.addr, c.version, c.fields)
			_, _ = e.r.Peek(1) // the answer has begun
			e.say("\r\n\r\n")  // a relic of old clients
			a := e.answer("GET")
			if a.err != nil || len(a.body) != size {
				t.Errorf("%d bytes, %v", len(a.body), a.err)
			}
		})
	}
}

// endless reads as the same byte for ever.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// A rejected plain request does not end the connection, unless its body was not
// read; one that came whole has been.
func TestRefusalKeepsTheConnectionWhereItCan(t *testing.T) {
	e := begin(t, nil).dial()
	for _, request := range []string{
		"GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
		"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
		"HEAD http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		method, _, _ := strings.Cut(request, " ")
		e.say("%s", request)
		if a := e.answer(method); a.err != nil || a.Close || a.StatusCode < 400 {
			t.Fatalf("%q: %d %v %v", request, a.StatusCode, a.Close, a.err)
		}
	}
	e.say("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbody")
	if a := e.want("POST", 400); !a.Close {
		t.Error("the connection stays, in the middle of a body")
	}
	e.over()
}

// Requests that came in one piece are answered in order, also around a refusal.
func TestPipelineSurvivesARefusal(t *testing.T) {
	o := play(t, func(p *peer) {
		for h := p.request(); h != ""; h = p.request() {
			path := strings.Fields(h)[1]
			p.say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
		}
	})
	e := begin(t, nil).dial()
	one := func(path string) string {
		return fmt.Sprintf("GET http://%s%s HTTP/1.1\r\nHost: x\r\n\r\n", o.addr, path)
	}
	e.say("%s", one("/1")+"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n"+one("/2")+
		"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"+one("/3"))
	for _, want := range []string{"/1", "", "/2", "", "/3"} {
		a := e.answer("GET")
		if want == "" && a.StatusCode < 400 || want != "" && a.body != want {
			t.Errorf("%d %q, want %q", a.StatusCode, a.body, want)
		}
	}
}
