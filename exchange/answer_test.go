package exchange_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// one plays a script to the first request and leaves.
func one(script func(*peer)) func(*peer) {
	return func(p *peer) {
		p.request()
		script(p)
	}
}

func says(text string) func(*peer) { return func(p *peer) { p.say("%s", text) } }

// A truncated answer is seen as truncated, whatever its framing; never
// completed silently (RFC 9112 section 8).
func TestTruncatedAnswerIsSeenAsTruncated(t *testing.T) {
	large := strings.Repeat("x", 200<<10)
	for _, c := range []struct {
		name, version string
		script        func(*peer)
	}{
		{"length", "1.1", says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")},
		{"length, large", "1.1", says("HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + large)},
		{"length, reset", "1.1", func(p *peer) { p.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"); p.reset() }},
		{"chunks", "1.1", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n")},
		{"in a chunk", "1.1", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n1234")},
		{"in a large chunk", "1.1", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + large)},
		{"in the trailer", "1.1", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\nX: y\r\n")},
		{"bad chunk", "1.1", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\nzz\r\n")},
		{"until close, reset", "1.1", func(p *peer) { p.say("HTTP/1.1 200 OK\r\n\r\n1234"); p.reset() }},
		{"chunks, HTTP/1.0", "1.0", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n")},
		{"length, HTTP/1.0", "1.0", says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")},
		{"until close, reset, HTTP/1.0", "1.0", func(p *peer) { p.say("HTTP/1.1 200 OK\r\n\r\n1234"); p.reset() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := play(t, one(c.script))
			r := begin(t, nil)
			e := r.dial()
			e.say("GET http://%s/ HTTP/%s\r\nHost: x\r\n\r\n", o.addr, c.version)
			a, err := io.ReadAll(e.r)
			if err == nil && seemsWhole(string(a)) {
				t.Errorf("it looks whole: %.200q", a)
			}
			poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
			log := r.logged()
			if f := log[0]["fault"]; f != "http_response_incomplete" && !(strings.Contains(c.name, "reset") && f == "connection_terminated") {
				t.Errorf("fault %v", f)
			}
		})
	}
}

// seemsWhole tells whether a client would take an answer, which ended without
// an error, for a whole one.
func seemsWhole(a string) bool {
	head, body, ok := strings.Cut(a, "\r\n\r\n")
	switch {
	case !ok:
		return false
	case strings.Contains(head, "Content-Length: "):
		_, n, _ := strings.Cut(head, "Content-Length: ")
		n, _, _ = strings.Cut(n, "\r\n")
		size, _ := strconv.Atoi(n)
		return len(body) >= size
	case strings.Contains(head, "chunked"):
		return strings.HasSuffix(body, "0\r\n\r\n")
	}
	return true
}

func TestAnswersInEveryFraming(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 20<<10)
	for _, c := range []struct{ name, answer, want string }{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", "body"},
		{"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
		{"large", "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(large)) + "\r\n\r\n" + large, large},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n", "body"},
		{"large chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(large)), 16) + "\r\n" + large + "\r\n0\r\n\r\n", large},
		{"until close", "HTTP/1.1 200 OK\r\n\r\nbody", "body"},
		{"until close, large", "HTTP/1.0 200 OK\r\n\r\n" + large, large},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"not modified", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", ""},
	} {
		for _, version := range []string{"1.1", "1.0"} {
			t.Run(c.name+", HTTP/"+version, func(t *testing.T) {
				o := play(t, one(says(c.answer)))
				e := begin(t, nil).dial()
				e.say("GET http://%s/ HTTP/%s\r\nHost: x\r\n\r\n", o.addr, version)
				a := e.answer("GET")
				if a.err != nil || a.body != c.want {
					t.Errorf("%.200q %v, want %.200q", a.body, a.err, c.want)
				}
				if version == "1.0" {
					e.over()
				}
			})
		}
	}
}

func TestHeadAnswerHasNoBody(t *testing.T) {
	o := play(t, func(p *peer) {
		for h := p.request(); h != ""; h = p.request() {
			if strings.HasPrefix(h, "HEAD") {
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			} else {
				p.say(ok)
			}
		}
	})
	e := begin(t, nil).dial()
	for range 3 {
		e.say("%s", o.request("HEAD", "")+o.get())
		if a := e.answer("HEAD"); a.ContentLength != 1000 {
			t.Errorf("length %d", a.ContentLength)
		}
		e.want("GET", 200)
	}
	if o.visits() != 1 {
		t.Errorf("%d connections", o.visits())
	}
}

func TestBadAnswersAreNamed(t *testing.T) {
	for _, c := range []struct{ name, answer, kind string }{
		{"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", "http_protocol_error"},
		{"length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", "http_protocol_error"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "http_protocol_error"},
		{"other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "http_response_transfer_coding"},
		{"huge head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", "http_response_header_section_size"},
		{"a challenge of its own", "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", "http_protocol_error"},
		{"half a head", "HTTP/1.1 200 OK\r\nConte", "connection_terminated"},
		{"nothing", "", "connection_terminated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := play(t, one(says(c.answer)))
			e := begin(t, nil).dial()
			e.say("%s", o.get())
			e.wantFault("GET", 502, c.kind)
			e.say("%s", o.get()) // the client's connection is not to blame
			e.wantFault("GET", 502, c.kind)
			if o.visits() != 2 {
				t.Errorf("%d connections: one of them was used again", o.visits())
			}
		})
	}
}

// An origin that says it will answer, again and again, still has to; meanwhile
// nothing is kept of what it says.
func TestFloodOfInterimAnswersIsBounded(t *testing.T) {
	o := play(t, one(func(p *peer) {
		hint := []byte("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n")
		for err := error(nil); err == nil; {
			_, err = p.Write(hint)
		}
	}))
	e := begin(t, func(r *rig) { r.o.ResponseTimeout = time.Second }).dial()
	e.say("%s", o.get())
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, flood := heap(), 0
	head := e.head()
	for ; strings.HasPrefix(head, "HTTP/1.1 103 "); head = e.head() {
		flood++
	}
	if !strings.HasPrefix(head, "HTTP/1.1 504 ") || !strings.Contains(head, "http_response_timeout") {
		t.Errorf("after %d interim answers: %q", flood, head)
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("%d bytes more after %d interim answers", grown, flood)
	}
}

func TestInterimAnswersOfOldClients(t *testing.T) {
	o := play(t, one(says("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"+ok)))
	e := begin(t, nil).dial()
	e.say("GET http://%s/ HTTP/1.0\r\n\r\n", o.addr)
	e.want("GET", 200)
}

func TestSilenceOfTheOriginIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		script func(*peer)
	}{
		{"nothing", func(*peer) {}},
		{"half a head", says("HTTP/1.1 200 OK\r\n")},
		{"an interim answer", says("HTTP/1.1 100 Continue\r\n\r\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := play(t, one(func(p *peer) { c.script(p); p.over() }))
			e := begin(t, func(r *rig) { r.o.ResponseTimeout = 2 * time.Second }).dial()
			e.say("%s", o.get())
			if c.name == "an interim answer" {
				e.want("GET", 100)
			}
			e.wantFault("GET", 504, "http_response_timeout")
			e.say("%s", o.get())
		})
	}
}

func TestGapInAnAnswerIsBounded(t *testing.T) {
	t.Parallel()
	o := play(t, one(func(p *peer) { p.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"); p.over() }))
	r := begin(t, func(r *rig) { r.o.IdleTimeout = 200 * time.Millisecond })
	e := r.dial()
	e.say("%s", o.get())
	if a := e.answer("GET"); a.body != "1234" || !errors.Is(a.err, io.ErrUnexpectedEOF) {
		t.Errorf("%q %v", a.body, a.err)
	}
	if f := r.logged()[0]["fault"]; f != "connection_read_timeout" {
		t.Errorf("fault %v", f)
	}
}

func TestClientThatDoesNotReadIsBounded(t *testing.T) {
	left := make(chan struct{})
	o := play(t, one(func(p *peer) {
		defer close(left)
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		if _, err := io.Copy(p, endless{}); err == nil || errors.Is(err, net.ErrClosed) {
			p.t.Errorf("%v, want that the proxy leaves", err)
		}
	}))
	r := begin(t, func(r *rig) { r.o.BodyTimeout = 300 * time.Millisecond })
	e := r.dial()
	e.say("%s", o.get())
	receive(t, "the end at the origin", left)
	poll(t, "the session has ended", func() bool { return r.sessionCount() == 0 })
	if l := r.logged()[0]; l["fault"] != "connection_terminated" || l["status"] != 200.0 {
		t.Errorf("%v", l)
	}
	if _, err := e.rest(); err == nil || errors.Is(err, syscall.ETIMEDOUT) {
		t.Logf("the client saw %v", err)
	}
}
