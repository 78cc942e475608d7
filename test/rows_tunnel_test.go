package test

import (
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

var tunnelRows = []row{
	{"9110-9.3.6/client-half-closes", "T49", "The client ends its side, the origin answers later: the answer arrives complete.", "", clientHalfCloses},
	{"9110-9.3.6/origin-half-closes", "T50", "The origin ends its side, the client keeps sending: the origin still receives.", "", originHalfCloses},
	{"9110-9.3.6/half-close-with-early-bytes", "T49", "CONNECT, early bytes and the end of the client's side in one go: the answer arrives.", "", halfCloseEarly},
	{"9110-9.3.6/origin-resets", "T51", "A reset by the origin reaches the client as an error, after what was queued; both sides are freed.", "", originResets},
	{"9110-9.3.6/client-resets", "T51", "A reset by the client reaches the origin as an error.", "", clientResets},
	{"9110-9.3.6/bulk-both-ways", "T49", "16 MiB each way at once arrive unchanged.", "", bulkBothWays},
	{"9110-9.3.6/client-leaves-during-dial", "T52", "A client that closes, or resets, while its destination does not answer: the attempt ends, no descriptor stays. The same for plain requests.", own, leavesDuringDial},
	{"9110-9.3/client-leaves-while-silent", "T52", "A client that closes, or resets, while the origin is silent: the origin's connection is closed soon.", "", leavesWhileSilent},
	{"9110-9.3/client-leaves-in-body", "T52", "A client that leaves within its body: the origin sees no complete request, then the end.", "", leavesInBody},
	{"9110-9.3/client-leaves-in-answer", "T52", "A client that leaves within an endless answer: the origin's connection is closed soon.", "", leavesInAnswer},
}

// soon is what a proxy may take to notice that a peer has gone.
const soon = 8 * time.Second

func clientHalfCloses(t *testing.T, p *proxy) {
	for _, size := range []int{6, 300_000} {
		answer := strings.Repeat("answer", size/6)
		c, o := stage(t, p, func(o *originConn) {
			all, _ := io.ReadAll(o.in)
			o.send(answer + string(all))
		})
		c.tunnel("{O}").send("question")
		c.closeWrite()
		if got, err := c.rest(); err != nil || got != answer+"question" {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
	}
}

func originHalfCloses(t *testing.T, p *proxy) {
	got := make(chan string, 1)
	c, _ := stage(t, p, func(o *originConn) {
		o.send("that is all")
		o.closeWrite()
		all, _ := io.ReadAll(o.in)
		got <- string(all)
	})
	c.tunnel("{O}")
	if rest, err := c.rest(); rest != "that is all" || err != nil {
		t.Fatalf("got %q, %v", rest, err)
	}
	for range 5 {
		c.send("more ")
		pause(50 * time.Millisecond)
	}
	c.closeWrite()
	if all := receive(t, "what the origin received", got); all != "more more more more more " {
		t.Errorf("the origin received %q", all)
	}
}

func halfCloseEarly(t *testing.T, p *proxy) {
	c, _ := stage(t, p, func(o *originConn) {
		all, _ := io.ReadAll(o.in)
		o.send("got " + string(all))
	})
	c.send("CONNECT {O} HTTP/1.1\r\nHost: {O}\r\n\r\nquestion")
	c.closeWrite()
	if m := c.answerTo("CONNECT"); m.status() != 200 {
		t.Fatalf("got %q", m.raw)
	}
	if rest, err := c.rest(); rest != "got question" || err != nil {
		t.Errorf("got %q, %v", rest, err)
	}
}

func originResets(t *testing.T, p *proxy) {
	c, o := stage(t, p, func(o *originConn) {
		io.ReadFull(o.in, make([]byte, 4))
		o.send("last words")
		pause(50 * time.Millisecond)
		reset(o)
	})
	c.tunnel("{O}").send("ping").read("last words")
	c.isReset()
	poll(t, "the origin's side is closed", func() bool { return o.open() == 0 })
}

func clientResets(t *testing.T, p *proxy) {
	ended := make(chan error, 1)
	c, _ := stage(t, p, func(o *originConn) {
		o.send("ready")
		ended <- o.drain()
	})
	c.tunnel("{O}").read("ready")
	c.send("ping")
	reset(c.conn)
	if err := receive(t, "the end at the origin", ended); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the origin sees %v, want a reset", err)
	}
}

func bulkBothWays(t *testing.T, p *proxy) {
	const size = 16 << 20
	type sum = [sha256.Size]byte
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	want := sha256.Sum256(data)
	got := make(chan sum, 2)
	read := func(r io.Reader) {
		h := sha256.New()
		io.CopyN(h, r, size)
		got <- sum(h.Sum(nil))
	}
	c, _ := stage(t, p, func(o *originConn) {
		go o.Write(data)
		read(o.Conn)
		o.drain()
	})
	c.tunnel("{O}")
	go c.conn.Write(data)
	go read(c.in)
	for range 2 {
		if receive(t, "all bytes", got) != want {
			t.Error("bytes were changed or lost")
		}
	}
}

// leave are the two ways of a client to go.
var leave = map[string]func(*client){
	"closes": func(c *client) { c.conn.Close() },
	"resets": func(c *client) { reset(c.conn) },
}

func leavesDuringDial(t *testing.T, _ *proxy) {
	p := start(t, "--dial-timeout", "2m", "--response-timeout", "2m", "--upstream-idle-timeout", "1s")
	hole := blackhole(t, "127.0.0.1", 0)
	c, o := stage(t, p, says(ok("warm")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close").answer().want(t, 200, "warm")
	c.ends()
	poll(t, "the pooled connection is closed", func() bool { return o.open() == 0 })
	base := p.descriptors(t)
	for _, request := range []string{"CONNECT " + hole + " HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://" + hole + "/ HTTP/1.1\r\nHost: x\r\n\r\n"} {
		for name, away := range leave {
			c := dial(t, p).send(request)
			poll(t, "the attempt to begin", func() bool { return p.descriptors(t) >= base+2 })
			away(c)
			if !eventually(soon, func() bool { return p.descriptors(t) <= base }) {
				t.Errorf("%q, the client %s: %d descriptors, %d before", request, name, p.descriptors(t), base)
			}
		}
	}
}

func leavesWhileSilent(t *testing.T, p *proxy) {
	for name, away := range leave {
		for request, l := range map[string][]string{
			"get":       {"GET http://{O}/ HTTP/1.1", "Host: {O}"},
			"post":      {"POST http://{O}/ HTTP/1.1", "Host: {O}", "Content-Length: 0"},
			"http-1.0":  {"GET http://{O}/ HTTP/1.0"},
			"with-body": {"POST http://{O}/ HTTP/1.1", "Host: {O}", "Transfer-Encoding: chunked", "", "5\r\nhello\r\n0"},
		} {
			t.Run(request+"-"+name, func(t *testing.T) {
				t.Parallel()
				asked := make(chan struct{}, 1)
				c, o := stage(t, p, func(o *originConn) {
					o.request()
					asked <- struct{}{}
					o.drain()
				})
				c.ask(l...)
				receive(t, "the request at the origin", asked)
				away(c)
				if !eventually(soon, func() bool { return o.open() == 0 }) {
					t.Error("the origin's connection is still open")
				}
			})
		}
	}
}

func leavesInBody(t *testing.T, p *proxy) {
	for name, away := range leave {
		for _, f := range []string{"Content-Length: 100\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
			whole := make(chan error, 1)
			c, _ := stage(t, p, func(o *originConn) {
				r := o.head()
				if r == nil {
					return
				}
				whole <- r.readBody(o.in, false)
			})
			c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\n" + f)
			away(c)
			select {
			case err := <-whole:
				if err == nil {
					t.Errorf("%q, the client %s: the origin sees a whole request", f, name)
				}
			case <-time.After(soon):
				t.Errorf("%q, the client %s: the origin still waits", f, name)
			}
		}
	}
}

func leavesInAnswer(t *testing.T, p *proxy) {
	for name, away := range leave {
		c, o := stage(t, p, func(o *originConn) {
			o.head()
			o.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for o.send("5\r\nhello\r\n") == nil {
				pause(20 * time.Millisecond)
			}
		})
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
		c.piece(c.head(), 10)
		away(c)
		if !eventually(soon, func() bool { return o.open() == 0 }) {
			t.Errorf("the client %s: the origin still sends", name)
		}
	}
}
