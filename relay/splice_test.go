package relay_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"viaduct/relay"
)

// A piece that a vanished peer left in a pipe must not reach the next peer.
func TestPipeOfVanishedPeerIsNotReused(t *testing.T) {
	for range 8 {
		c := lay(t, "tcp", "tcp")
		go flood(c.from)
		failed := make(chan error, 1)
		go func() {
			_, err := relay.Move(c.dst, c.src, -1, nil)
			failed <- err
		}()
		if _, err := io.CopyN(io.Discard, c.to, 1<<20); err != nil {
			t.Fatal(err)
		}
		if !poll(patience, func() bool { return unsentBytes(t, c.dst) > 1<<20 }) {
			t.Fatal("not stuck")
		}
		if err := errors.Join(c.to.(*net.TCPConn).SetLinger(0), c.to.Close()); err != nil {
			t.Fatal(err)
		}
		if w := (*relay.WriteError)(nil); !errors.As(<-failed, &w) {
			t.Fatal("no error of writing")
		}
		_ = c.from.Close()
		moveChecked(t, lay(t, "tcp", "tcp"))
	}
}

func moveChecked(t *testing.T, c course) {
	t.Helper()
	text := noise(2 << 20)
	go func() { _, _ = c.from.Write(text); _ = c.from.Close() }()
	got := received(c.to, int64(len(text)))
	if moved, err := relay.Move(c.dst, c.src, -1, nil); err != nil || moved != int64(len(text)) {
		t.Fatalf("moved %d: %v", moved, err)
	}
	if !bytes.Equal(<-got, text) {
		t.Fatal("other bytes arrived")
	}
}

// The kernel splices to no file in append mode, sockets included; by then the
// bytes are in the pipe.
func TestRefusedSpliceLosesNothing(t *testing.T) {
	c := lay(t, "tcp", "tcp")
	descriptorOf(t, c.dst, func(fd int) {
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFL, syscall.O_NONBLOCK|syscall.O_APPEND); errno != 0 {
			t.Fatal(errno)
		}
	})
	moveChecked(t, c)
}

// Without descriptors for a pipe all is copied.
func TestNoDescriptorsForPipes(t *testing.T) {
	courses := []course{lay(t, "tcp", "tcp"), lay(t, "tcp", "tcp"), lay(t, "unix", "tcp"), lay(t, "tcp", "unix")}
	defer limitDescriptors(t)()
	for _, c := range courses {
		moveChecked(t, c)
	}
}

// A peer that reads slowly keeps no pipe from others. What can't be read of the
// descriptors is which flow holds a pipe, hence several slow ones.
func TestSlowReaderKeepsNoPipe(t *testing.T) {
	const flows, kept = 8, 4
	before := descriptors() + 4*flows
	hurry := make(chan struct{})
	text := noise(12 << 20)
	var got []<-chan []byte
	for range flows {
		c := lay(t, "tcp", "tcp")
		_ = c.dst.(*net.TCPConn).SetWriteBuffer(64 << 10)
		_ = c.to.(*net.TCPConn).SetReadBuffer(64 << 10)
		go func() { _, _ = c.from.Write(text); _ = c.from.Close() }()
		go func() { _, _ = relay.Move(c.dst, c.src, -1, nil) }()
		got = append(got, slowly(c.to, int64(len(text)), hurry))
	}
	if !poll(patience/4, func() bool { return descriptors() > before+kept }) {
		t.Log("no pipes were seen in use")
	}
	if !poll(patience/4, func() bool { return descriptors() <= before+kept }) {
		t.Errorf("%d descriptors, want %d", descriptors(), before+kept)
	}
	close(hurry)
	for _, g := range got {
		if !bytes.Equal(<-g, text) {
			t.Fatal("other bytes arrived")
		}
	}
}

// slowly reads n bytes, few at a time until it is told to hurry.
func slowly(c net.Conn, n int64, hurry <-chan struct{}) <-chan []byte {
	got := make(chan []byte, 1)
	go func() {
		var b bytes.Buffer
		for slow := true; slow; {
			_, _ = io.CopyN(&b, c, 16<<10)
			select {
			case <-hurry:
				slow = false
			case <-time.After(10 * time.Millisecond):
			}
		}
		_, _ = io.CopyN(&b, c, n-int64(b.Len()))
		got <- b.Bytes()
	}()
	return got
}

// limitDescriptors lets the process open none until the returned function is
// called. Pipes that are spare remain.
func limitDescriptors(t *testing.T) func() {
	t.Helper()
	next, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Close(next)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = uint64(next)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}
}

// After bulk as after an exchange, an idle tunnel has its two sockets, and the
// pool a few spare pipes.
func TestIdleTunnelHoldsNoPipe(t *testing.T) {
	const tunnels, most = 40, 2 * 16
	before := descriptors()
	var set relay.Set
	var rigs []*rig
	text := noise(1 << 20)
	for range tunnels {
		r := open(t, plan{set: &set})
		rigs = append(rigs, r)
		go func() { _, _ = r.server.Write(text) }()
	}
	for _, r := range rigs {
		got := make([]byte, len(text))
		if _, err := io.ReadFull(r.client, got); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("other bytes arrived: %v", err)
		}
	}
	want := before + 4*tunnels + most // both ends of both connections are ours
	if !poll(patience, func() bool { return descriptors() <= want }) {
		t.Fatalf("%d descriptors, want %d", descriptors(), want)
	}
	for _, r := range rigs {
		_ = r.client.Close()
		_ = r.server.Close()
		r.finish()
	}
	if !poll(patience, func() bool { return descriptors() <= before+4 }) {
		t.Fatalf("%d descriptors, were %d", descriptors(), before)
	}
}
