package test

import (
	"io"
	"strings"
	"testing"
	"time"
)

var timeoutRows = []row{
	{"product-2/header-timeout", "T67", "A head dripped byte by byte is cut at --header-timeout: 408 or the end. Others are not disturbed.", "impatient", drippedHead},
	{"product-2/silent-client", "T67", "A connection that says nothing is closed.", "impatient", silentClient},
	{"product-2/idle-timeout", "T67", "An idle keep-alive connection is closed after --idle-timeout, in order.", "impatient", idleClient},
	{"product-2/body-timeout", "T67", "A body that stops coming: 408 or the end; the origin's request stays incomplete.", "impatient", bodyStops},
	{"product-2/slow-body", "T67", "A body that comes slowly but steadily passes.", "impatient", slowBody},
	{"product-2/client-never-reads", "T67", "A client that does not read its answer is cut after --body-timeout, and the origin freed.", "impatient", neverReads},
	{"product-2/response-timeout", "T54", "An origin that does not answer: 504 http_response_timeout after --response-timeout; its connection is closed.", "impatient", noResponse},
	{"product-2/dripped-answer-head", "T54", "An origin that drips its head is cut at --response-timeout: 504.", "impatient", drippedAnswerHead},
	{"product-2/endless-interim", "T33", "An origin that says 103 for ever is cut at --response-timeout.", "impatient", endlessInterim},
	{"product-2/answer-stops", "T28", "An answer that stops midway is cut after --idle-timeout and does not look whole.", "impatient", answerStops},
	{"product-2/slow-answer", "T31", "An answer that comes slowly but steadily passes.", "impatient", slowAnswer},
	{"product-2/tunnel-idle-timeout", "T53", "A tunnel that says nothing for --tunnel-idle-timeout is cut, on both sides.", "impatient", idleTunnel},
	{"product-2/tunnel-trickle", "T53", "A tunnel in which a byte trickles, in one direction only, lives.", "impatient", trickle},
	{"product-2/half-close-timeout", "T53", "A tunnel whose other half says nothing for --half-close-timeout is cut.", "impatient", halfCloseTimeout},
	{"product-7/upgraded-is-a-tunnel", "T53", "An upgraded connection knows the tunnel's limits only.", "impatient", upgradedIsTunnel},
	{"product-2/upstream-idle-timeout", "T40", "A pooled connection is closed after --upstream-idle-timeout.", own, upstreamIdle},
}

func drippedHead(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says(ok("fine")))
	go func() {
		for _, b := range []byte("GET http://x/ HTTP/1.1\r\nX: " + strings.Repeat("drip", 100)) {
			if c.try(string(b)) != nil {
				return
			}
			pause(200 * time.Millisecond)
		}
	}()
	other := dial(t, p)
	other.fill = c.fill
	other.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	cut(t, c, "HTTP/1.1 408 ")
}

// cut wants the connection to end, after an answer with that beginning or
// without a word.
func cut(t *testing.T, c *client, answer string) {
	t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	all, err := io.ReadAll(c.in)
	if timed(err) {
		t.Fatalf("not cut within %v; got %q", patience, clip(string(all)))
	}
	if len(all) > 0 && !strings.HasPrefix(string(all), answer) {
		t.Errorf("before the end came %q", clip(string(all)))
	}
}

func silentClient(t *testing.T, p *proxy) {
	cut(t, dial(t, p), "HTTP/1.1 408 ")
}

func idleClient(t *testing.T, p *proxy) {
	c, _ := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	c.endsOrderly()
}

func bodyStops(t *testing.T, p *proxy) {
	for name, f := range map[string]string{
		"length": "Content-Length: 10\r\n\r\nhello", "chunks": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "at once": "Content-Length: 10\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := make(chan error, 1)
			c, _ := stage(t, p, func(o *originConn) {
				if r := o.head(); r != nil {
					whole <- r.readBody(o.in, false)
				}
			})
			c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\n" + f)
			cut(t, c, "HTTP/1.1 408 ")
			if err := receive(t, "the end of the request at the origin", whole); err == nil || timed(err) {
				t.Errorf("the origin sees %v", err)
			}
		})
	}
}

func slowBody(t *testing.T, p *proxy) {
	c, _ := stage(t, p, serve(func(r *message) string { return ok(r.body) }))
	c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 12\r\n\r\n")
	for range 12 {
		pause(300 * time.Millisecond)
		c.send("s")
	}
	c.answer().want(t, 200, "ssssssssssss")
}

func neverReads(t *testing.T, p *proxy) {
	ended := make(chan error, 1)
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		piece := strings.Repeat("x", 1<<20)
		for range 1000 {
			if err := o.send(piece); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	if err := receive(t, "the end of the answer", ended); err == nil || timed(err) {
		t.Errorf("the origin's answer ended with %v", err)
	}
}

func noResponse(t *testing.T, p *proxy) {
	for _, request := range []string{"GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n", "POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 5\r\n\r\nhello"} {
		c, o := stage(t, p, func(o *originConn) {
			o.request()
			o.drain()
		})
		c.send(request).answer().wantOwn(t, 504, "http_response_timeout")
		poll(t, "the origin's connection is closed", func() bool { return o.open() == 0 })
		if o.dials() != 1 {
			t.Errorf("the origin was dialled %d times", o.dials())
		}
	}
}

func answerStops(t *testing.T, p *proxy) {
	for _, part := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		c, o := stage(t, p, func(o *originConn) {
			o.head()
			o.send(part)
			o.drain()
		})
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		if m := c.answer(); m.body != "hello" || m.err == nil || timed(m.err) {
			t.Errorf("got %q with body %q, %v", m.raw, m.body, m.err)
		}
		poll(t, "the origin's connection is closed", func() bool { return o.open() == 0 })
	}
}

func slowAnswer(t *testing.T, p *proxy) {
	c, _ := stage(t, p, func(o *originConn) {
		o.head()
		o.send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
		for range 12 {
			pause(300 * time.Millisecond)
			o.send("s")
		}
		o.drain()
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "ssssssssssss")
}

func idleTunnel(t *testing.T, p *proxy) {
	c, o := stage(t, p, echo)
	c.tunnel("{O}").send("ping").read("ping")
	c.ends()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func trickle(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) { o.drain() })
	c.tunnel("{O}")
	for range 16 {
		pause(300 * time.Millisecond)
		c.send(".")
	}
	poll(t, "all bytes at the origin", func() bool { return strings.Join(o.bytes(), "") == strings.Repeat(".", 16) })
	if o.open() != 1 {
		t.Error("the tunnel is cut")
	}
}

func halfCloseTimeout(t *testing.T, p *proxy) {
	over := make(chan struct{})
	defer close(over)
	c, _ := stage(t, p, func(o *originConn) {
		o.drain()
		<-over
	})
	c.tunnel("{O}").send("ping")
	c.closeWrite()
	c.ends()
	c, o := stage(t, p, func(o *originConn) {
		o.closeWrite()
		o.drain()
	})
	c.tunnel("{O}").endsOrderly()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func upgradedIsTunnel(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		o.head()
		o.send(switching)
		echo(o)
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket")
	if m := c.answer(); m.status() != 101 {
		t.Fatalf("got %q", m.raw)
	}
	for range 10 {
		pause(400 * time.Millisecond)
		c.send(".").read(".")
	}
	c.ends()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func upstreamIdle(t *testing.T, _ *proxy) {
	p := start(t, "--upstream-idle-timeout", "1s")
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	poll(t, "the pooled connection is closed", func() bool { return o.dials() == 1 && o.open() == 0 })
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
}

func drippedAnswerHead(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		o.head()
		for _, b := range []byte("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("drip", 100)) {
			if o.send(string(b)) != nil {
				return
			}
			pause(200 * time.Millisecond)
		}
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().wantOwn(t, 504, "http_response_timeout")
	poll(t, "the origin's connection is closed", func() bool { return o.open() == 0 })
}

// endlessInterim lets the origin say 103 for ever. Each may reach the client;
// the end must come, and no memory for them.
func endlessInterim(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		o.head()
		for o.send(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", 10)) == nil {
			pause(20 * time.Millisecond)
		}
	})
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
	poll(t, "the end of the hints", func() bool {
		m, err := readAnswer(c.hurry().in, "GET")
		return err != nil || m.status() != 103
	})
	poll(t, "the origin's connection is closed", func() bool { return o.open() == 0 })
}
