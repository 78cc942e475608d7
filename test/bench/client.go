package main

import (
	"errors"
	"fmt"
	"syscall"
)

// The steps of a client's connection.
const (
	stepTunnel = iota
	stepUpgrade
	stepUnit
	stepIdle
)

// client is one connection of the generator.
type client struct {
	g      *gen
	fd     int
	step   int
	out    []byte
	file   int64  // filler bytes to send after out
	head   []byte // incomplete response head
	inBody bool
	toEOF  bool
	left   int64 // body bytes to come
	got    int64
	closes bool
	start  int64
	fresh  bool // no unit was done on this connection yet
	wants  uint32
}

// next moves on after a finished step.
func (c *client) next() {
	g := c.g
	switch {
	case c.step == stepTunnel && g.upgrade != nil:
		c.step, c.out = stepUpgrade, g.upgrade
	case g.unit == nil:
		c.step = stepIdle
		g.ready++
		if g.dialed < g.total {
			g.dial()
		}
		return
	default:
		if !g.newConn {
			c.start = now()
		}
		c.step, c.out, c.file = stepUnit, g.unit, g.upload
		if g.echo > 0 {
			c.left = int64(g.echo)
		}
	}
	c.flush()
}

func (c *client) ready(ev uint32) {
	if ev&evOut != 0 {
		c.flush()
	}
	if ev&^evOut != 0 && c.g.clients[c] {
		c.receive()
	}
}

func (c *client) flush() {
	for len(c.out) > 0 {
		n, err := syscall.Write(c.fd, c.out)
		if err != nil {
			c.blocked(err)
			return
		}
		c.out = c.out[n:]
	}
	for sent := 0; c.file > 0; sent++ {
		left, err := c.g.file.sendBulk(c.fd, c.file)
		if c.g.bulk {
			c.g.units += c.file - left
		}
		if c.file = left; err != nil || sent == 4 {
			c.blocked(err)
			return
		}
	}
	c.want(evIn)
}

func (c *client) blocked(err error) {
	if err == nil || errors.Is(err, syscall.EAGAIN) {
		c.want(evIn | evOut)
	} else {
		c.broken(err)
	}
}

func (c *client) want(ev uint32) {
	if c.wants != ev {
		c.wants = ev
		c.g.mod(c.fd, ev)
	}
}

func (c *client) receive() {
	g := c.g
	if c.inBody && c.left > smallPage {
		n, err := discard(c.fd, c.left-1)
		if n <= 0 {
			c.ended(err)
			return
		}
		c.count(n)
		return
	}
	n, err := syscall.Read(c.fd, g.buf)
	if n <= 0 {
		c.ended(err)
		return
	}
	c.feed(g.buf[:n])
}

// count takes note of n more bytes of a response body.
func (c *client) count(n int) {
	c.left -= int64(n)
	c.got += int64(n)
	if c.g.bulk && c.g.upload == 0 {
		c.g.units += int64(n)
	}
}

// ended handles an end of file or an error on the socket.
func (c *client) ended(err error) {
	switch {
	case errors.Is(err, syscall.EAGAIN):
	case err != nil:
		c.broken(err)
	case c.inBody && c.toEOF:
		c.closes = true
		c.complete()
	default:
		c.broken(errors.New("connection closed early"))
	}
}

func (c *client) feed(b []byte) {
	switch {
	case c.step == stepIdle:
		c.broken(errors.New("bytes on an idle tunnel"))
		return
	case c.step == stepUnit && c.g.echo > 0:
		if c.left -= int64(len(b)); c.left == 0 {
			c.done()
		} else if c.left < 0 {
			c.broken(errors.New("echo too long"))
		}
		return
	case !c.inBody:
		var ok bool
		if b, ok = c.feedHead(b); !ok {
			return
		}
	}
	c.count(len(b))
	if c.left < 0 {
		c.broken(errors.New("answer longer than announced"))
	} else if c.left == 0 {
		c.complete()
	}
}

// feedHead reads a response head and returns what follows; ok is false where no
// body begins: the head is incomplete or wrong, or that of a tunnel.
func (c *client) feedHead(b []byte) (rest []byte, ok bool) {
	if len(c.head) > 0 {
		c.head = append(c.head, b...)
		b = c.head
	}
	h, whole := parseHead(b)
	if !whole {
		if len(c.head) == 0 {
			c.head = append(c.head, b...)
		}
		return nil, false
	}
	c.head = nil
	want := int64(200)
	if c.step == stepUpgrade {
		want = 101
	}
	b = b[h.size:]
	switch {
	case h.status() != want:
		c.broken(fmt.Errorf("answer %q", h.first))
	case c.step != stepUnit && len(b) > 0:
		c.broken(errors.New("bytes after the tunnel answer"))
	case c.step != stepUnit:
		c.next()
	case h.chunked:
		c.broken(errors.New("chunked answer"))
	default:
		c.inBody, c.closes, c.got, c.left = true, h.closes, 0, h.length
		if c.left < 0 {
			c.toEOF, c.left = true, 1<<62
		}
		return b, true
	}
	return nil, false
}

// complete checks a whole response.
func (c *client) complete() {
	c.inBody, c.toEOF = false, false
	if c.got != c.g.body {
		c.broken(fmt.Errorf("body of %d bytes, not %d", c.got, c.g.body))
		return
	}
	c.done()
}

// done counts a finished unit and starts the next.
func (c *client) done() {
	g := c.g
	c.fresh = false
	if !g.bulk {
		g.units++
	}
	if g.measuring {
		g.lat = append(g.lat, now()-c.start)
	}
	if g.newConn || c.closes {
		c.reopen()
		return
	}
	c.next()
}

// broken gives up a connection. A kept-alive connection that the proxy closed before
// answering anything of the next request is no error: it is opened again.
func (c *client) broken(err error) {
	retry := c.step == stepUnit && !c.fresh && !c.inBody && len(c.head) == 0 && c.g.echo == 0 && c.g.upload == 0
	if !retry {
		c.g.fail(err)
	}
	c.reopen()
}

func (c *client) reopen() {
	g := c.g
	g.loop.close(c.fd)
	delete(g.clients, c)
	if !g.over && g.errors < tooMany && (g.total == 0 || g.dialed < g.total) {
		g.dial()
	}
}
