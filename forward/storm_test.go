package forward_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"viaduct/forward"
)

// parrot answers with the path that was asked for, and now and then leaves. A
// path that begins with "/slow" is answered never, "/large" many times over.
func parrot(nc net.Conn) {
	r := bufio.NewReader(nc)
	for {
		path, length, err := readRequest(r)
		if err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r, length); err != nil {
			return
		}
		switch {
		case strings.HasPrefix(path, "/slow"):
			_, _ = io.Copy(io.Discard, r)
			return
		case strings.HasPrefix(path, "/large"):
			path = strings.Repeat(path, 20_000)
		case strings.HasPrefix(path, "/upgrade"):
			_, _ = fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			_, _ = io.Copy(nc, r)
			return
		}
		_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
		if rand.IntN(20) == 0 {
			return
		}
	}
}

func readRequest(r *bufio.Reader) (path string, length int64, err error) {
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			return "", 0, err
		}
		if f := strings.Fields(line); path == "" && len(f) == 3 {
			path = f[1]
		}
		_, _ = fmt.Sscanf(line, "Content-Length: %d", &length)
	}
	return path, length, nil
}

// storm is clients of every kind at once, whose sessions are used again.
type storm struct {
	t      *testing.T
	h      *house
	at     string
	cutter bool // somebody cuts clients at random, so that any may fail
}

// dial opens a connection, or nil.
func (s *storm) dial() (net.Conn, *bufio.Reader) {
	nc, err := net.Dial("tcp", s.h.l.Addr().String())
	if err != nil {
		s.t.Error(err)
		return nil, nil
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	return nc, bufio.NewReader(nc)
}

// ask sends a request for path and expects its echo. It returns false when the
// connection is of no more use.
func (s *storm) ask(nc net.Conn, r *bufio.Reader, method, path, body string) bool {
	if _, err := fmt.Fprintf(nc, "%s http://%s%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, s.at, path, len(body), body); err != nil {
		return s.failed(err)
	}
	_, length, err := readRequest(r) // an answer's head is read alike
	if err != nil {
		return s.failed(err)
	}
	got := make([]byte, length)
	if _, err := io.ReadFull(r, got); err != nil {
		return s.failed(err)
	}
	want := path
	if strings.HasPrefix(path, "/large") {
		want = strings.Repeat(path, 20_000)
	}
	if string(got) != want && !strings.HasPrefix(string(got), "The ") {
		s.t.Errorf("%s %s: %.100q", method, path, got)
		return false
	}
	return true
}

func (s *storm) failed(err error) bool {
	if !s.cutter || isTimeout(err) {
		s.t.Errorf("%v", err)
	}
	return false
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func (s *storm) visit(id string) {
	nc, r := s.dial()
	if nc == nil {
		return
	}
	defer nc.Close()
	switch rand.IntN(9) {
	case 0, 1, 2:
		for i := range 1 + rand.IntN(8) {
			if !s.ask(nc, r, "GET", fmt.Sprintf("/%s/%d", id, i), "") {
				return
			}
		}
	case 3:
		_ = s.ask(nc, r, "POST", "/"+id, strings.Repeat("x", rand.IntN(100_000)))
	case 4:
		_ = s.ask(nc, r, "GET", "/large/"+id, "")
	case 5:
		s.tunnel(nc, r, "CONNECT "+s.at+" HTTP/1.1\r\nHost: x\r\n\r\n", "GET /"+id+" HTTP/1.1\r\n\r\n", "/"+id)
	case 6:
		s.tunnel(nc, r, "GET http://"+s.at+"/upgrade HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n", "echo "+id, "echo "+id)
	case 7: // leaves in the middle
		_, _ = fmt.Fprintf(nc, "POST http://%s/slow%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf", s.at, id)
		_ = nc.(*net.TCPConn).SetLinger(0)
	case 8: // asks for nonsense
		_, _ = fmt.Fprintf(nc, "GET http://%s/%s HTTP/1.1\r\nHost: x\r\nbad field\r\n\r\n", s.at, id)
		if head, err := r.ReadString('\n'); err == nil && !strings.HasPrefix(head, "HTTP/1.1 400 ") {
			s.t.Errorf("nonsense: %q", head)
		}
	}
}

// tunnel opens a tunnel, says something and expects an answer that ends like
// that.
func (s *storm) tunnel(nc net.Conn, r *bufio.Reader, request, say, want string) {
	_, _ = io.WriteString(nc, request)
	if _, _, err := readRequest(r); err != nil {
		s.failed(err)
		return
	}
	_, _ = io.WriteString(nc, say)
	var got strings.Builder
	for !strings.HasSuffix(got.String(), want) {
		b, err := r.ReadByte()
		if err != nil {
			s.failed(fmt.Errorf("tunnel: %q, %w; want %q", got.String(), err, want))
			return
		}
		got.WriteByte(b)
	}
}

func (s *storm) blow(visitors, visits int) {
	var wg sync.WaitGroup
	for v := range visitors {
		wg.Go(func() {
			for i := range visits {
				s.visit(fmt.Sprintf("%d.%d", v, i))
			}
		})
	}
	wg.Wait()
}

// Sessions are used again for other clients, whatever became of those before:
// everybody gets what they asked for.
func TestSessionsAreUsedAgain(t *testing.T) {
	s := &storm{t: t, at: origin(t, parrot), h: begin(t, nil)}
	s.blow(8, 60)
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if n := len(s.h.spare) + len(s.h.clients); n > 100 {
		t.Errorf("%d sessions for 480 connections of 8 clients: none is used again", n)
	}
}

// The same with limits that pass all the time, while clients come and go.
func TestSessionsAreUsedAgainAfterATimeout(t *testing.T) {
	s := &storm{t: t, at: origin(t, parrot), cutter: true}
	s.h = begin(t, func(h *house) {
		o := &h.exchange
		o.HeaderTimeout, o.IdleTimeout, o.BodyTimeout, o.ResponseTimeout = 2*time.Millisecond, 3*time.Millisecond, 4*time.Millisecond, 5*time.Millisecond
	})
	s.blow(8, 25)
}

// The same with clients that are cut at random, as at the end of a drain.
func TestSessionsAreUsedAgainAfterACut(t *testing.T) {
	s := &storm{t: t, at: origin(t, parrot), h: begin(t, nil), cutter: true}
	ended := make(chan struct{})
	go func() { defer close(ended); s.blow(8, 60) }()
	for {
		select {
		case <-ended:
			return
		case <-time.After(time.Duration(rand.IntN(2000)) * time.Microsecond):
			s.h.each(func(c *forward.Client) {
				switch rand.IntN(16) {
				case 0:
					c.Cut()
				case 1:
					c.Discard()
				}
			})
		}
	}
}
