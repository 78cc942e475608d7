package wire_test

import (
	"io"
	"strings"
	"testing"

	"viaduct/clock"
	"viaduct/wire"
)

// watched makes a connection that tells, each time it waits, whether it holds
// a buffer meanwhile.
func watched(t *testing.T) (c *wire.Conn, far io.ReadWriteCloser, waits chan bool) {
	near, peer := loopback(t)
	c = bounded(t, near)
	waits = make(chan bool, 100)
	c.OnWait(func(holds bool) { waits <- holds })
	return c, peer, waits
}

// TestIdleConnectionHoldsNoBuffer: neither before the first request, nor
// between two.
func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	c, far, waits := watched(t)
	got := make(chan message)
	go func() {
		var h wire.Head
		for range 3 {
			got <- readRequest(c, &h)
		}
	}()
	for i := range 3 {
		if receive(t, "the connection waits", waits) {
			t.Errorf("request %d: the idle connection holds a buffer", i)
		}
		if _, err := io.WriteString(far, framed(wire.BufferSize-50, "abc", i == 1)[:100]); err != nil {
			t.Fatal(err)
		}
		if !receive(t, "the connection waits for the rest", waits) {
			t.Errorf("request %d: half a head is kept nowhere", i)
		}
		if _, err := io.WriteString(far, framed(wire.BufferSize-50, "abc", i == 1)[100:]); err != nil {
			t.Fatal(err)
		}
		for m, wait := (message{}), true; wait; {
			select {
			case m = <-got:
				wait = false
			case <-waits:
			}
			if m.err != nil || !wait && m.body != "abc" {
				t.Fatalf("request %d: %s", i, &m)
			}
		}
	}
}

// TestWaitForAnAnswerHoldsNoBuffer: the time of the origin costs no memory.
func TestWaitForAnAnswerHoldsNoBuffer(t *testing.T) {
	c, far, waits := watched(t)
	for i := range 3 {
		done := make(chan error)
		go func() {
			var h wire.Head
			done <- ask(c, &h, i > 0)
		}()
		if receive(t, "the connection waits", waits) {
			t.Errorf("exchange %d: holds a buffer while it waits", i)
		}
		if _, err := io.ReadFull(far, make([]byte, len(question))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(far, answer); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, "answer", done); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBodyBehindAHeadOfItsOwnHoldsNoSecondBuffer: the head keeps its buffer,
// and what waits for the body behind it takes none.
func TestBodyBehindAHeadOfItsOwnHoldsNoSecondBuffer(t *testing.T) {
	c, far, waits := watched(t)
	if _, err := io.WriteString(far, framed(wire.BufferSize*3/4, strings.Repeat("b", 10), false)[:wire.BufferSize*3/4]); err != nil {
		t.Fatal(err)
	}
	var h wire.Head
	if err := c.ReadRequest(&h, 0); err != nil {
		t.Fatal(err)
	}
	for len(waits) > 0 {
		<-waits
	}
	filled := make(chan error)
	go func() { filled <- c.FillBody() }()
	if receive(t, "the connection waits", waits) {
		t.Error("holds a buffer for a body that has not come")
	}
	if _, err := io.WriteString(far, "bbbbbbbbbb"); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "body", filled); err != nil {
		t.Fatal(err)
	}
	if p, whole := c.WholeBody(); !whole || string(p) != "bbbbbbbbbb" || len(h.Get(wire.ContentLength)) != 2 {
		t.Errorf("%q, %v", p, whole)
	}
}

// TestAwaitEndsWithItsClient: the end of a client between requests is io.EOF,
// within one it is io.ErrUnexpectedEOF.
func TestAwaitEndsWithItsClient(t *testing.T) {
	for _, c := range []struct {
		in   string
		want error
	}{
		{"", io.EOF},
		{question, io.EOF},
		{"GET", io.ErrUnexpectedEOF},
		{question + question[:len(question)-1], io.ErrUnexpectedEOF},
		{question + "\r\n", io.ErrUnexpectedEOF},
	} {
		near, far := loopback(t)
		send(t, far, c.in)
		far.CloseWrite()
		conn := bounded(t, near)
		if conn.Used() {
			t.Error("used before its first request")
		}
		var h wire.Head
		m := readRequest(conn, &h)
		for m.err == nil {
			m = readRequest(conn, &h)
		}
		if m.err != c.want || conn.Used() != strings.HasPrefix(c.in, question) {
			t.Errorf("%q: %v, want %v", c.in, m.err, c.want)
		}
	}
}

// TestRequestHasATimeFromItsFirstByte: the limit of a head runs from its first
// byte on, not anew with every other.
func TestRequestHasATimeFromItsFirstByte(t *testing.T) {
	near, far := loopback(t)
	c := open(t, near)
	stop := make(chan struct{})
	defer close(stop)
	go drip(far, padded(8000), stop)
	var h wire.Head
	if err := c.Await(patience); err != nil {
		t.Fatal(err)
	}
	began := clock.Now()
	if err := c.ReadRequest(&h, patience/100); !isDeadline(err) || !c.Aborted() {
		t.Fatalf("%v after %v", err, clock.Now()-began)
	}
	c.Revive()
	if _, err := c.Write([]byte(answer)); err != nil {
		t.Errorf("the client cannot be told: %v", err)
	}
}
