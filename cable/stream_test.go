package cable_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"viaduct/cable"
	"viaduct/fault"
)

// TestStreamHalfCloses: the end of one direction is the end of that direction.
func TestStreamHalfCloses(t *testing.T) {
	heard := make(chan string, 1)
	k := serves(t, calm, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			b = []byte(err.Error())
		}
		heard <- string(b)
		_, _ = io.WriteString(w, "you said "+string(b))
	})
	c := open(t, k, "a:1")
	_, _ = io.WriteString(c, "hello")
	closeWrite(t, c)
	closeWrite(t, c)
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
	if b, err := io.ReadAll(c); string(b) != "you said hello" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	if got := <-heard; got != "hello" {
		t.Errorf("the parent heard %q", got)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestStreamEndsFirstAtTheTarget: what it still hears after its end arrives.
func TestStreamEndsFirstAtTheTarget(t *testing.T) {
	got := make(chan string, 1)
	k := lay(t, calm, rawServer(func(s *raw) {
		id := s.connect()
		s.answer(id, "200")
		s.data(id, true, "bye")
		got <- s.until(id)
		s.drain()
	}))
	c := open(t, k, "a:1")
	if b, err := io.ReadAll(c); string(b) != "bye" || err != nil {
		t.Fatalf("%q %v", b, err)
	}
	_, _ = io.WriteString(c, "one more ")
	_, _ = io.WriteString(c, "thing")
	_ = c.Close() // the target has ended: this is the other end
	if s := <-got; s != "one more thing" {
		t.Errorf("the parent heard %q", s)
	}
}

// TestStreamIsReset: by the parent, with what came before, and by us.
func TestStreamIsReset(t *testing.T) {
	heard := make(chan error, 1)
	k := serves(t, calm, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "before")
		_ = http.NewResponseController(w).Flush()
		b := make([]byte, 1)
		_, _ = io.ReadFull(r.Body, b)
		if b[0] == 'r' {
			panic(http.ErrAbortHandler)
		}
		_, err := io.ReadFull(r.Body, b)
		heard <- err
	})
	c := open(t, k, "a:1")
	_, _ = io.WriteString(c, "r")
	b, err := io.ReadAll(c)
	if string(b) != "before" || !errors.Is(err, syscall.ECONNRESET) || fault.Classify(err) != fault.ConnectionTerminated {
		t.Errorf("%q %v", b, err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	c = open(t, k, "a:1")
	_, _ = io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := <-heard; err == nil || err == io.EOF {
		t.Errorf("the parent heard %v", err)
	}
	for name, err := range map[string]error{"read": second(c.Read(b)), "write": second(c.Write(b)), "deadline": c.SetDeadline(time.Time{})} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ int, err error) error { return err }

// TestStreamUnreadStopsNoOther: not even 40 of them, each with all that its
// window has room for.
func TestStreamUnreadStopsNoOther(t *testing.T) {
	k := serves(t, calm, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "good:1" {
			echoes(w, r)
			return
		}
		for b := make([]byte, 16<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})
	for range 40 {
		open(t, k, "flood:1")
	}
	c := open(t, k, "good:1")
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = c.Write(sent)
		closeWrite(t, c)
	})
	got, err := io.ReadAll(c)
	both.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestStreamUnreadByTheParentStopsNoOther: one that is not read there, and takes
// all of the window, has the connection for itself after a while.
func TestStreamUnreadByTheParentStopsNoOther(t *testing.T) {
	k := serves(t, cable.Bounds{Quiet: short, Pong: time.Hour, Idle: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	deaf := open(t, k, "deaf:1")
	_ = deaf.SetWriteDeadline(time.Now().Add(2 * short))
	n, err := deaf.Write(make([]byte, 10<<20))
	if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d %v", n, err)
	}
	if s, over := k.Ask(cable.Request{Target: "a:1"}); s != nil || over {
		t.Error(s, over)
	}
}

func TestStreamDeadlines(t *testing.T) {
	k := serves(t, calm, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c := open(t, k, "a:1")
	past := time.Unix(1, 0)
	read := func() error { _, err := c.Read(make([]byte, 1)); return err }
	write := func() error { _, err := c.Write(make([]byte, 2<<20)); return err }
	for name, wait := range map[string]func() error{"read": read, "write": write} {
		for when, move := range map[string]func() *time.Timer{
			"past":        func() *time.Timer { _ = c.SetDeadline(past); return nil },
			"soon":        func() *time.Timer { _ = c.SetDeadline(time.Now().Add(short)); return nil },
			"while we do": func() *time.Timer { return time.AfterFunc(short, func() { _ = c.SetDeadline(past) }) },
			"sooner":      func() *time.Timer { return time.AfterFunc(short, func() { _ = c.SetDeadline(time.Now().Add(short)) }) },
			"later, twice": func() *time.Timer {
				_ = c.SetDeadline(time.Now().Add(short))
				_ = c.SetDeadline(time.Now().Add(2 * short))
				return nil
			},
		} {
			_ = c.SetDeadline(time.Time{})
			if timer := move(); timer != nil {
				defer timer.Stop()
			}
			if err := wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %s: %v", name, when, err)
			}
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(short / 10))
	_ = c.SetDeadline(time.Time{})
	timer := time.AfterFunc(2*short, func() { _ = c.Close() })
	defer timer.Stop()
	if err := read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a deadline that was taken back: %v", err)
	}
}
