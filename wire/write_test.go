package wire_test

import (
	"io"
	"testing"
	"time"

	"viaduct/clock"
	"viaduct/wire"
)

// narrow makes a connection over the loopback whose buffers are small, so that
// writing soon waits for the peer.
func narrow(t *testing.T) (c *wire.Conn, far io.ReadWriteCloser) {
	near, peer := loopback(t)
	near.SetWriteBuffer(64 << 10)
	peer.SetReadBuffer(64 << 10)
	return open(t, near), peer
}

// TestPeerThatTakesNothingIsCut, at once or after it has taken a part, and
// what was to be read ends with it.
func TestPeerThatTakesNothingIsCut(t *testing.T) {
	t.Parallel()
	for _, first := range []int{0, 1 << 20} {
		c, far := narrow(t)
		go io.CopyN(io.Discard, far, int64(first))
		read := make(chan error)
		go func() { read <- c.FillBody() }()
		const limit = 300 * time.Millisecond
		began := clock.Now()
		c.LimitWrite(began, limit)
		n, err := c.Write(make([]byte, 32<<20))
		if took := clock.Now() - began; !isDeadline(err) || n < first || !c.Aborted() || took < limit {
			t.Errorf("%d bytes, %v, aborted %v after %v", n, err, c.Aborted(), took)
		}
		if err := receive(t, "end of reading", read); !isDeadline(err) {
			t.Errorf("read: %v", err)
		}
	}
}

// TestNothingToWriteIsNoStandstill: the limit waits for who feeds the writer.
func TestNothingToWriteIsNoStandstill(t *testing.T) {
	t.Parallel()
	c, far := narrow(t)
	control, _ := narrow(t)
	c.LimitWrite(clock.Now(), 50*time.Millisecond)
	for range 10 {
		control.Revive()
		control.LimitRead(clock.Now(), 50*time.Millisecond)
		poll(t, "a limit as long passes", control.Aborted)
	}
	if c.Aborted() {
		t.Error("aborted with nothing to write")
	}
	if _, err := c.Write([]byte(answer)); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(far, make([]byte, len(answer))); err != nil {
		t.Error(err)
	}
}

// TestBodyThatDoesNotComeDoesNotEndTheAnswer: a limit on reading ends reading
// alone.
func TestBodyThatDoesNotComeDoesNotEndTheAnswer(t *testing.T) {
	near, far := loopback(t)
	c := open(t, near)
	c.LimitRead(clock.Now(), time.Millisecond)
	if err := c.FillBody(); !isDeadline(err) {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(answer)); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(far, make([]byte, len(answer))); err != nil {
		t.Error(err)
	}
	if c.Abort(); !c.Aborted() {
		t.Error("not aborted")
	}
	if _, err := c.Write([]byte(answer)); !isDeadline(err) {
		t.Errorf("written after Abort: %v", err)
	}
}
