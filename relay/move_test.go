package relay_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"viaduct/relay"
)

// course is a way through Move: from is written, to is read.
type course struct{ from, src, dst, to net.Conn }

func lay(t testing.TB, in, out string) course {
	t.Helper()
	var c course
	c.from, c.src = pair(t, in)
	c.to, c.dst = pair(t, out)
	for _, conn := range []net.Conn{c.from, c.src, c.dst, c.to} {
		_ = conn.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { _ = conn.Close() })
	}
	return c
}

// noise is bytes by which loss, doubling and disorder show.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

// received reads n bytes in the background, all if n is negative.
func received(c net.Conn, n int64) <-chan []byte {
	got := make(chan []byte, 1)
	go func() {
		var b bytes.Buffer
		if n < 0 {
			_, _ = io.Copy(&b, c)
		} else {
			_, _ = io.CopyN(&b, c, n)
		}
		got <- b.Bytes()
	}()
	return got
}

func TestMoveExactly(t *testing.T) {
	networks := []string{"tcp", "unix", "tls", "pipe"}
	for _, in := range networks {
		for _, out := range networks {
			t.Run(in+"-"+out, func(t *testing.T) {
				c := lay(t, in, out)
				for _, n := range []int{1, 4 << 10, 32 << 10, 32<<10 + 1, 5<<20 + 3} {
					text := noise(n)
					go func() {
						_, _ = c.from.Write(text)
						_, _ = io.WriteString(c.from, "next")
					}()
					got := received(c.to, int64(n))
					pieces := 0
					moved, err := relay.Move(c.dst, c.src, int64(n), func(n int) { pieces += n })
					if err != nil || moved != int64(n) || pieces != n {
						t.Fatalf("moved %d, in pieces %d, of %d: %v", moved, pieces, n, err)
					}
					if !bytes.Equal(<-got, text) {
						t.Fatalf("of %d bytes, others arrived", n)
					}
					next := make([]byte, 4)
					if _, err := io.ReadFull(c.src, next); err != nil || string(next) != "next" {
						t.Fatalf("after %d bytes read %q, %v", n, next, err)
					}
				}
			})
		}
	}
}

func TestMoveUntilEnd(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		for _, size := range []int{0, 3, 3 << 20} {
			c := lay(t, network, "tcp")
			text := noise(size)
			go func() { _, _ = c.from.Write(text); _ = c.from.Close() }()
			got := received(c.to, int64(size))
			if moved, err := relay.Move(c.dst, c.src, -1, nil); err != nil || moved != int64(size) {
				t.Fatalf("%s: moved %d of %d: %v", network, moved, size, err)
			}
			if !bytes.Equal(<-got, text) {
				t.Fatalf("%s: of %d bytes, others arrived", network, size)
			}
		}
	}
}

func TestMoveMeetsAnEarlyEnd(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		for _, size := range []int{0, 3, 1 << 20} {
			c := lay(t, network, "tcp")
			go func() { _, _ = c.from.Write(noise(size)); _ = c.from.Close() }()
			got := received(c.to, int64(size))
			moved, err := relay.Move(c.dst, c.src, int64(size)+1, nil)
			if !errors.Is(err, io.ErrUnexpectedEOF) || moved != int64(size) {
				t.Fatalf("%s: moved %d of %d: %v", network, moved, size, err)
			}
			<-got
		}
	}
}

func TestMoveOfNothingTouchesNothing(t *testing.T) {
	if n, err := relay.Move(nil, nil, 0, nil); n != 0 || err != nil {
		t.Fatalf("moved %d: %v", n, err)
	}
}

func TestMoveHeedsDeadlines(t *testing.T) {
	c := lay(t, "tcp", "tcp")
	_ = c.src.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err := relay.Move(c.dst, c.src, 1, nil)
	if w := (*relay.WriteError)(nil); !errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &w) {
		t.Fatalf("src: %v", err)
	}
	_ = c.src.SetReadDeadline(time.Time{})
	_ = c.dst.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	go flood(c.from)
	_, err = relay.Move(c.dst, c.src, -1, nil)
	if w := (*relay.WriteError)(nil); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &w) {
		t.Fatalf("dst: %v", err)
	}
}

func TestMoveTellsWhoFailed(t *testing.T) {
	for _, network := range []string{"tcp", "tls", "pipe"} {
		c := lay(t, "tcp", network)
		_ = c.to.Close()
		go flood(c.from)
		_, err := relay.Move(c.dst, c.src, -1, nil)
		if w := (*relay.WriteError)(nil); !errors.As(err, &w) {
			t.Fatalf("%s: %v", network, err)
		}
	}
	c := lay(t, "tcp", "tcp")
	reset(t, c.from)
	_, err := relay.Move(c.dst, c.src, -1, nil)
	if w := (*relay.WriteError)(nil); !errors.Is(err, syscall.ECONNRESET) || errors.As(err, &w) {
		t.Fatal(err)
	}
	_ = c.src.Close()
	if _, err = relay.Move(c.dst, c.src, -1, nil); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
}

// A flow that swells and shrinks goes from copying to splicing and back.
func TestMoveOfChangingFlow(t *testing.T) {
	c := lay(t, "tcp", "tcp")
	text := noise(6 << 20)
	go func() {
		rest := text
		for i := 0; len(rest) > 0; i++ {
			n := 1 + i%7
			if i/64%2 == 0 {
				n = 128 << 10
			}
			n = min(n, len(rest))
			if _, err := c.from.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		_ = c.from.Close()
	}()
	got := received(c.to, int64(len(text)))
	if moved, err := relay.Move(c.dst, c.src, -1, nil); err != nil || moved != int64(len(text)) {
		t.Fatalf("moved %d: %v", moved, err)
	}
	if crc32.ChecksumIEEE(<-got) != crc32.ChecksumIEEE(text) {
		t.Fatal("other bytes arrived")
	}
}
