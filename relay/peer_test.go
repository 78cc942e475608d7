package relay_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
)

// words are the lines that the benchmarks and their peer process exchange.
type words struct {
	in  *bufio.Reader
	out io.Writer
}

func (w *words) read(r io.Reader) { w.in = bufio.NewReader(r) }

func (w *words) tell(a ...any) { _, _ = fmt.Fprintln(w.out, a...) }

func (w *words) hear() string {
	line, _ := w.in.ReadString('\n')
	return strings.TrimSpace(line)
}

// ask has the peer do n units of work.
func (w *words) ask(b *testing.B, work string, n int) {
	b.Helper()
	w.tell(work, n)
	if answer := w.hear(); answer != "ok" {
		b.Fatalf("peer: %s", answer)
	}
}

// peer is the process of clients and origin. It does the work that it is asked
// for through the proxy at args[0].
func peer(args []string) int {
	w := &words{out: os.Stdout}
	w.read(os.Stdin)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 1
	}
	go origin(l)
	w.tell(l.Addr())
	clients := clients{proxy: args[0]}
	for {
		var work string
		var n int
		if _, err := fmt.Sscan(w.hear(), &work, &n); err != nil {
			return 0
		}
		if err := clients.work(work, n); err != nil {
			w.tell(err)
			continue
		}
		w.tell("ok")
	}
}

// origin does what the first byte of a connection asks for.
func origin(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go serve(c)
	}
}

func serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		return
	}
	if first[0] == 'b' {
		flood(c)
		return
	}
	echo(c)
}

func echo(c net.Conn) {
	buf := make([]byte, 64)
	for {
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

type clients struct {
	proxy      string
	idle       []net.Conn
	echo, bulk []net.Conn
}

func (c *clients) work(work string, n int) (err error) {
	switch work {
	case "idle":
		for range n {
			conn, err := c.open('e')
			if err != nil {
				return err
			}
			c.idle = append(c.idle, conn)
		}
		return nil
	case "setup":
		return inParallel(16, n, func(_, n int) error { return c.setUp(n) })
	case "pingpong":
		if c.echo, err = c.more(c.echo, 16, 'e'); err != nil {
			return err
		}
		return inParallel(16, n, func(i, n int) error { return exchange(c.echo[i], n) })
	case "bulk":
		if c.bulk, err = c.more(c.bulk, 8, 'b'); err != nil {
			return err
		}
		return inParallel(8, n, func(i, n int) error { return c.swallow(c.bulk[i], n) })
	}
	return errors.New("unknown work: " + work)
}

func (c *clients) open(kind byte) (net.Conn, error) {
	conn, err := net.Dial("tcp", c.proxy)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{kind}); err != nil {
		return nil, err
	}
	if kind == 'e' {
		return conn, exchange(conn, 1)
	}
	return conn, nil
}

func (c *clients) more(conns []net.Conn, n int, kind byte) ([]net.Conn, error) {
	for len(conns) < n {
		conn, err := c.open(kind)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// inParallel shares n units among hands.
func inParallel(hands, n int, work func(hand, n int) error) error {
	var group sync.WaitGroup
	errs := make([]error, hands)
	for i := range hands {
		share := n / hands
		if i < n%hands {
			share++
		}
		group.Go(func() { errs[i] = work(i, share) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (c *clients) setUp(n int) error {
	for range n {
		conn, err := c.open('e')
		if err != nil {
			return err
		}
		_ = conn.Close()
	}
	return nil
}

func exchange(c net.Conn, n int) error {
	buf := make([]byte, 64)
	for range n {
		if _, err := c.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
	}
	return nil
}

// swallow reads n MiB.
func (*clients) swallow(c net.Conn, n int) error {
	_, err := io.CopyN(io.Discard, struct{ io.Reader }{c}, int64(n)<<20)
	return err
}
