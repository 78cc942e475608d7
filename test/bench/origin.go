package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// origin is the server behind every proxy:
//
//	GET  /bytes/N   N filler bytes
//	POST anything   reads the body, answers "ok"
//	GET  /echo      answers 101, then sends back every byte it gets
//	GET  /asked     how many requests each parent got until now, as JSON
//
// A request with the field that filters are to take off is a bad one.
//
// At some of its ports it is a parent proxy, the cheapest there can be: it answers
// what it is asked to fetch by itself, and is the far end of every tunnel.
type origin struct {
	*loop
	file    bulk
	pages   map[int64][]byte // whole answers of small pages
	parents []*parent
}

const smallPage = 64 << 10

// serveOrigin is what the program does as origin, in a process of its own.
func (o *options) serveOrigin() error {
	l, err := newLoop()
	if err != nil {
		return err
	}
	file, err := newBulk()
	if err != nil {
		return err
	}
	s := &origin{loop: l, file: file, pages: map[int64][]byte{}}
	if err := s.listenAt(o.originPorts, false); err != nil {
		return fmt.Errorf("-origin: %w", err)
	}
	if o.originParents != "" {
		if err := s.listenAt(o.originParents, true); err != nil {
			return fmt.Errorf("-origin-parent: %w", err)
		}
	}
	if o.originTLS != 0 {
		ln, err := listenTLS(o.originTLS, o.originPEM)
		if err != nil {
			return err
		}
		go acceptTLS(ln)
	}
	return s.run(func() bool { return true })
}

// listenAt opens ports, each that of another parent where they are to be some.
func (o *origin) listenAt(ports string, parents bool) error {
	for text := range strings.SplitSeq(ports, ",") {
		port, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := o.listen(port, parents); err != nil {
			return err
		}
	}
	return nil
}

func (o *origin) listen(port int, asParent bool) error {
	fd, err := tcpSocket()
	if err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := syscall.Bind(fd, loopback(port)); err != nil {
		return fmt.Errorf("origin port %d: %w", port, err)
	}
	if err := syscall.Listen(fd, 4096); err != nil {
		return err
	}
	ln := &listener{o: o, fd: fd}
	if asParent {
		ln.parent = new(parent)
		o.parents = append(o.parents, ln.parent)
	}
	return o.add(fd, evIn, ln)
}

func newBulk() (bulk, error) {
	f, err := os.CreateTemp("", "bench-bulk-")
	if err != nil {
		return bulk{}, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return bulk{}, err
	}
	if _, err := f.Write(bytes.Repeat([]byte("x"), bulkSize)); err != nil {
		return bulk{}, err
	}
	fd, err := syscall.Dup(int(f.Fd()))
	syscall.CloseOnExec(fd)
	return bulk{fd}, err
}

type listener struct {
	o      *origin
	fd     int
	parent *parent // nil: it is an origin
}

// parent is one of the parent proxies.
type parent struct{ asked int64 }

func (ln *listener) ready(uint32) {
	for range 64 {
		fd, _, err := syscall.Accept4(ln.fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		if ln.o.add(fd, evIn, &peer{o: ln.o, fd: fd, parent: ln.parent}) != nil {
			_ = syscall.Close(fd)
		}
	}
}

// peer is one connection accepted by the origin.
type peer struct {
	o       *origin
	fd      int
	parent  *parent // speak as this one
	in      []byte  // bytes of an incomplete request
	skip    int64   // request body still to come
	chunked bool    // inside a chunked request body
	echo    bool
	out     []byte // answer bytes the socket did not take yet
	file    int64  // filler bytes to send after out
	last    bool   // close after the answer
	waitOut bool
}

func (p *peer) ready(ev uint32) {
	if p.waitOut {
		if ev&^evIn != 0 {
			p.flush()
		}
		return
	}
	if p.skip > smallPage {
		n, err := discard(p.fd, p.skip-1) // the end is read below and answered
		if n > 0 {
			p.skip -= int64(n)
		} else {
			p.ended(err)
		}
		return
	}
	n, err := syscall.Read(p.fd, p.o.buf)
	if n <= 0 {
		p.ended(err)
		return
	}
	if p.echo {
		p.out = append(p.out, p.o.buf[:n]...)
	} else {
		p.take(p.o.buf[:n])
	}
	if len(p.out) > 0 || p.file > 0 {
		p.flush()
	}
}

func (p *peer) ended(err error) {
	if !errors.Is(err, syscall.EAGAIN) {
		p.close()
	}
}

func (p *peer) take(b []byte) {
	if len(p.in) > 0 {
		b, p.in = append(p.in, b...), nil
	}
	for len(b) > 0 && !p.last {
		used := p.consume(b)
		if used == 0 {
			p.in = bytes.Clone(b)
			return
		}
		b = b[used:]
	}
}

// consume takes what it can use from b and queues the answer of a request that is
// complete; it answers 0 when it needs more.
func (p *peer) consume(b []byte) int {
	switch {
	case p.skip > 0:
		n := min(p.skip, int64(len(b)))
		if p.skip -= n; p.skip == 0 {
			p.answer(2, "200 OK")
		}
		return int(n)
	case p.chunked: // the filler has no line ends, so the last chunk is unmistakable
		end := bytes.Index(b, []byte("0\r\n\r\n"))
		if end < 0 {
			return max(0, len(b)-4)
		}
		p.chunked = false
		p.answer(2, "200 OK")
		return end + 5
	}
	h, ok := parseHead(b)
	if !ok {
		return 0
	}
	p.request(h)
	return h.size
}

func (p *peer) request(h head) {
	old := bytes.HasSuffix(h.first, []byte("HTTP/1.0"))
	p.last = h.closes || old && !h.keepAlive
	method, rest, _ := bytes.Cut(h.first, []byte(" "))
	path, _, _ := bytes.Cut(rest, []byte(" "))
	if p.parent != nil {
		p.parent.asked++
		if string(method) == "CONNECT" {
			p.parent, p.last = nil, false // from here on it is the origin
			p.out = append(p.out, "HTTP/1.1 200 OK\r\n\r\n"...)
			return
		}
		path = afterAuthority(path)
	}
	switch {
	case h.nothing:
		p.last = true
		p.answer(0, "400 Bad Request")
	case string(method) == "POST" && h.chunked:
		p.chunked = true
	case string(method) == "POST" && h.length > 0:
		p.skip = h.length
	case bytes.HasPrefix(path, []byte("/bytes/")):
		p.answer(atoi(path[7:]), "200 OK")
	case string(path) == "/asked":
		p.out = append(p.out, p.o.asked()...)
	case string(path) == "/echo":
		p.echo, p.last = true, false
		p.out = append(p.out, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"...)
	default:
		p.answer(0, "404 Not Found")
	}
}

// asked is the answer that tells how many requests each parent got.
func (o *origin) asked() []byte {
	list := make([]int64, len(o.parents))
	for i, p := range o.parents {
		list[i] = p.asked
	}
	text, _ := json.Marshal(list)
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

// afterAuthority is the path of an absolute http URI; of anything else, nothing.
func afterAuthority(uri []byte) []byte {
	rest, ok := bytes.CutPrefix(uri, []byte("http://"))
	slash := bytes.IndexByte(rest, '/')
	if !ok || slash < 0 {
		return nil
	}
	return rest[slash:]
}

func (p *peer) answer(n int64, status string) {
	page, short := p.o.pages[n]
	if !short || p.last || status != "200 OK" {
		conn := ""
		if p.last {
			conn = "Connection: close\r\n"
		}
		page = fmt.Appendf(nil, "HTTP/1.1 %s\r\nServer: origin\r\nContent-Type: application/octet-stream\r\n%sContent-Length: %d\r\n\r\n", status, conn, n)
		if short = n <= smallPage; short {
			page = append(page, bytes.Repeat([]byte("x"), int(max(n, 0)))...)
			if !p.last && status == "200 OK" {
				p.o.pages[n] = page
			}
		}
	}
	if len(p.out) == 0 {
		p.out = slices.Clip(page)
	} else {
		p.out = append(p.out, page...)
	}
	if !short {
		p.file = n
	}
}

func (p *peer) flush() {
	for len(p.out) > 0 {
		flags := syscall.MSG_NOSIGNAL
		if p.file > 0 {
			flags |= msgMore
		}
		n, err := syscall.SendmsgN(p.fd, p.out, nil, nil, flags)
		if err != nil {
			p.blocked(err)
			return
		}
		p.out = p.out[n:]
	}
	p.out = nil
	for sent := 0; p.file > 0; sent++ {
		var err error
		if p.file, err = p.o.file.sendBulk(p.fd, p.file); err != nil {
			p.blocked(err)
			return
		}
		if sent == 4 { // let the others have a turn
			p.blocked(syscall.EAGAIN)
			return
		}
	}
	if p.last {
		p.close()
	} else if p.waitOut {
		p.waitOut = false
		p.o.mod(p.fd, evIn)
	}
}

func (p *peer) blocked(err error) {
	if !errors.Is(err, syscall.EAGAIN) {
		p.close()
	} else if !p.waitOut {
		p.waitOut = true
		p.o.mod(p.fd, evOut)
	}
}

func (p *peer) close() { p.o.loop.close(p.fd) }
