package relay_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"viaduct/relay"
)

// unsentBytes are in the send queue of c, unacknowledged.
func unsentBytes(t testing.TB, c net.Conn) (n int) {
	t.Helper()
	descriptorOf(t, c, func(fd int) { n, _ = ioctl(fd, syscall.TIOCOUTQ) })
	return n
}

func reset(t testing.TB, c net.Conn) {
	t.Helper()
	if !poll(patience, func() bool { return unsentBytes(t, c) == 0 }) {
		t.Fatal("what was sent didn't leave")
	}
	if err := errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
}

// hearReset expects text and then a reset.
func (r *rig) hearReset(at net.Conn, text string) {
	r.t.Helper()
	got, err := io.ReadAll(at)
	if !errors.Is(err, syscall.ECONNRESET) || string(got) != text {
		r.t.Fatalf("read %d bytes, %v; want %d and a reset", len(got), err, len(text))
	}
}

func TestResetIsPassedOn(t *testing.T) {
	for _, fromServer := range []bool{false, true} {
		r := open(t, plan{})
		from, to := r.client, r.server
		if fromServer {
			from, to = to, from
		}
		r.say(from, to, "hello")
		reset(t, from)
		r.hearReset(to, "")
		r.finishWith(syscall.ECONNRESET)
	}
}

// The peer doesn't read until the reset has been sent: it must get all that was
// sent before.
func TestResetComesAfterTheBytes(t *testing.T) {
	text := bytes.Repeat([]byte("viaduct "), 12<<10)
	for range 20 {
		r := open(t, plan{})
		if _, err := r.server.Write(text); err != nil {
			t.Fatal(err)
		}
		reset(t, r.server)
		r.finishWith(syscall.ECONNRESET)
		r.hearReset(r.client, string(text))
	}
}

// The server answers and closes with requests unread, which resets; the client
// is writing. Whether reading or writing notices first, the answer arrives, and
// after it a reset: an end in good order would be a lie.
func TestResetMetWhileWriting(t *testing.T) {
	for range 200 {
		r := open(t, plan{})
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			chunk := make([]byte, 1<<10)
			for {
				if _, err := r.client.Write(chunk); err != nil {
					return
				}
			}
		}()
		if _, err := io.ReadFull(r.server, make([]byte, 2<<10)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(r.server, "no more"); err != nil {
			t.Fatal(err)
		}
		_ = r.server.Close()
		// The client's own writes can meet the reset, and then its reads don't:
		// the tunnel's verdict is the one to look at.
		e := r.finish()
		if !errors.Is(e.err, syscall.ECONNRESET) && !errors.Is(e.err, syscall.EPIPE) {
			t.Fatalf("ended with %v", e.err)
		}
		if e.stats.FromServer != 7 {
			t.Fatalf("counted %+v", e.stats)
		}
		r.hear(r.client, "no more")
		<-stop
	}
}

// The server has answered, ended, and only then resets, as the client goes on
// writing. The client must get the answer and its end, however late it reads.
func TestEndBeforeResetIsPassedOn(t *testing.T) {
	answer := noise(3 << 20)
	for range 20 {
		r := open(t, plan{})
		sent := make(chan error, 1)
		go func() {
			_, err := r.server.Write(answer)
			sent <- err
		}()
		part := make([]byte, 1<<20)
		if _, err := io.ReadFull(r.client, part); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		closeWrite(t, r.server)
		// What its own kernel has not sent when the reset comes is lost, with its
		// end: nobody could pass that on.
		if !poll(patience, func() bool { return arrived(r.server) }) {
			t.Fatal("the tunnel does not take the answer")
		}
		if err := r.server.Close(); err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := io.WriteString(r.client, "more "); err != nil {
					return
				}
				<-time.After(time.Millisecond)
			}
		}()
		got, err := io.ReadAll(r.client)
		if err != nil || !bytes.Equal(slices.Concat(part, got), answer) {
			t.Fatalf("read %d bytes of %d: %v", len(part)+len(got), len(answer), err)
		}
		if e := r.finish(); e.stats.FromServer != int64(len(answer)) {
			t.Fatalf("counted %+v: %v", e.stats, e.err)
		}
	}
}

func TestResetFromHalfClosedServer(t *testing.T) {
	r := open(t, plan{})
	closeWrite(t, r.client)
	r.hearEnd(r.server, "")
	r.say(r.server, r.client, "part of the answer")
	reset(t, r.server)
	r.hearReset(r.client, "")
	r.finishWith(syscall.ECONNRESET)
}

// The client doesn't read, so nothing of what is queued for it leaves.
func TestResetDoesNotWaitForever(t *testing.T) {
	r := open(t, plan{})
	chunk := make([]byte, 64<<10)
	for {
		_ = r.server.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		if _, err := r.server.Write(chunk); err != nil {
			break
		}
	}
	if err := errors.Join(r.server.(*net.TCPConn).SetLinger(0), r.server.Close()); err != nil {
		t.Fatal(err)
	}
	// The tunnel meets the reset when it next writes there.
	_, _ = io.WriteString(r.client, "hello")
	e := r.finish()
	if e.err == nil {
		t.Fatal("ended in good order")
	}
}

func TestResetThroughTLSIsNoCloseNotify(t *testing.T) {
	r := open(t, plan{networks: [2]string{"tls", "tcp"}})
	r.say(r.server, r.client, "part of the answer")
	reset(t, r.server)
	if n, err := r.client.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	r.finishWith(syscall.ECONNRESET)
}

func TestBrokenTLSIsPassedOnAsReset(t *testing.T) {
	r := open(t, plan{networks: [2]string{"tcp", "tls"}})
	r.say(r.server, r.client, "part of the answer")
	under := socketUnder(r.server)
	_, _ = io.WriteString(under, "this is no record of TLS")
	r.hearReset(r.client, "")
	e := r.finish()
	if w := (*relay.WriteError)(nil); e.err == nil || errors.As(e.err, &w) {
		t.Fatalf("ended with %v", e.err)
	}
}
