package test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const mib = 1 << 20

// memoryStaysFlat makes many connections in turn: memory and descriptors
// do not grow.
func memoryStaysFlat(t *testing.T, _ *proxy) {
	many := 20_000
	switch {
	case long():
		many = 100_000
	case raced():
		many = 5000
	}
	p := start(t, quick...)
	base := warm(t, p)
	o := newOrigin(t, says(ok("fine")))
	e := newOrigin(t, echo)
	once := func(i int) error {
		if i%4 == 0 {
			return tunnelOnce(p.addr, e.addr)
		}
		return getOnce(p.addr, o.addr)
	}
	if err := each(4000, once); err != nil {
		t.Fatal(err)
	}
	before := p.resident(t)
	if err := each(many, once); err != nil {
		t.Fatal(err)
	}
	grown := p.resident(t) - before
	t.Logf("%d connections, %d KiB grown", many, grown>>10)
	if grown > 24*mib && !raced() {
		t.Errorf("%d MiB more memory after %d connections", grown/mib, many)
	}
	p.settles(t, base)
}

func tunnelOnce(proxy, target string) error {
	conn, err := openTunnel(proxy, target)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	buf := []byte("ping")
	if _, err := conn.Write(buf); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, buf)
	return err
}

func getOnce(proxy, target string) error {
	conn, err := net.DialTimeout("tcp", proxy, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "GET http://%s/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target); err != nil {
		return err
	}
	all, err := io.ReadAll(conn)
	if err == nil && !strings.HasSuffix(string(all), "\r\n\r\nfine") {
		err = fmt.Errorf("got %q", all)
	}
	return err
}

// clientsThatNeverRead lets 16 clients ask for 64 MiB and read nothing, in
// each way the bytes can come, and then turns it round: memory stays bounded.
func clientsThatNeverRead(t *testing.T, _ *proxy) {
	for _, way := range []string{"length", "chunked", "tunnel", "pipelined", "upload", "chunked upload"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			p := start(t, quick...)
			warm(t, p)
			before := p.resident(t)
			o := newOrigin(t, func(o *originConn) { pourOut(o, way) })
			for range 16 {
				c := dial(t, p)
				c.fill = o.places
				switch way {
				case "tunnel":
					c.tunnel("{O}")
				case "pipelined", "upload", "chunked upload":
					go pourIn(c, way)
				default:
					c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}")
				}
			}
			o.stalls(t)
			grown := p.resident(t) - before
			t.Logf("%d KiB grown", grown>>10)
			if grown > 24*mib && !raced() {
				t.Errorf("%d MiB more memory for 16 clients that do not read", grown/mib)
			}
		})
	}
}

// pourIn sends requests without end, or one with 64 MiB of body.
func pourIn(c *client, way string) {
	piece := strings.Repeat("x", mib)
	switch way {
	case "pipelined":
		piece = c.fill(strings.Repeat("GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n", 1000))
	case "upload":
		io.WriteString(c.conn, c.fill(fmt.Sprintf("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: %d\r\n\r\n", 64*mib)))
	case "chunked upload":
		io.WriteString(c.conn, c.fill("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n"))
		piece = fmt.Sprintf("%x\r\n%s\r\n", mib, piece)
	}
	for range 64 {
		if _, err := io.WriteString(c.conn, piece); err != nil {
			return
		}
	}
}

// pourOut sends 64 MiB as fast as they are taken, or reads nothing.
func pourOut(o *originConn, way string) {
	piece := strings.Repeat("x", mib)
	switch way {
	case "pipelined":
		says(ok(piece))(o)
		return
	case "upload", "chunked upload":
		o.head()
		o.mu.Lock()
		o.poured = 1
		o.mu.Unlock()
		<-o.o.over
		return
	case "length":
		o.head()
		o.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 64*mib))
	case "chunked":
		o.head()
		o.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		piece = fmt.Sprintf("%x\r\n%s\r\n", mib, piece)
	}
	for n := range 64 {
		if o.send(piece) != nil {
			return
		}
		o.mu.Lock()
		o.poured = n + 1
		o.mu.Unlock()
	}
	o.drain()
}

// stalls waits until all origins' connections have been written to and none
// gets any further.
func (o *origin) stalls(t *testing.T) {
	t.Helper()
	sum := func() (all, conns int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, c := range o.conns {
			c.mu.Lock()
			all += c.poured
			c.mu.Unlock()
		}
		return all, len(o.conns)
	}
	last, since := 0, time.Now()
	poll(t, "16 stalled answers", func() bool {
		all, conns := sum()
		if all != last {
			last, since = all, time.Now()
		}
		return conns == 16 && time.Since(since) > 2*time.Second
	})
}
