package relay_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"viaduct/relay"
)

// Hundreds of tunnels at once, each with a stream of its own in either
// direction, in writes of all sizes, some through TLS and unix sockets.
func TestStorm(t *testing.T) {
	const tunnels = 220
	var set relay.Set
	var group sync.WaitGroup
	failures := make(chan error, 2*tunnels)
	for i := range tunnels {
		networks := [2]string{"tcp", "tcp"}
		switch {
		case i%11 == 3:
			networks[i%2] = "tls"
		case i%7 == 3:
			networks[i%2] = "unix"
		}
		r := open(t, plan{set: &set, networks: networks, fromClient: string(noise(i % 3 * 100))})
		_ = r.client.SetDeadline(time.Now().Add(3 * patience))
		_ = r.server.SetDeadline(time.Now().Add(3 * patience))
		early := noise(i % 3 * 100)
		up, down := stream(i, 1), stream(i, 2)
		group.Go(func() { failures <- send(r.client, up, i) })
		group.Go(func() { failures <- send(r.server, down, -i) })
		group.Go(func() { failures <- expect(r.server, append(early, up...)) })
		group.Go(func() { failures <- expect(r.client, down) })
		group.Go(func() {
			e := <-r.ended
			want := relay.Stats{FromClient: int64(len(early) + len(up)), FromServer: int64(len(down)), Duration: e.stats.Duration, Ended: e.stats.Ended}
			if e.err != nil || e.stats != want || want.Ended == relay.None {
				failures <- fmt.Errorf("tunnel %d ended with %w, %+v, want %+v", i, e.err, e.stats, want)
			}
		})
	}
	go func() {
		group.Wait()
		close(failures)
	}()
	for err := range failures {
		if err != nil {
			t.Error(err)
		}
	}
	if err := set.Drain(context.Background()); err != nil {
		t.Error(err)
	}
}

// stream is what one peer sends: mostly little, for some a lot.
func stream(i, way int) []byte {
	size := 1000 + 97*i
	if (i+way)%8 == 0 {
		size = 1<<20 + i
	}
	return noise(size + way)
}

// send writes b in chunks of all sizes and half-closes.
func send(c net.Conn, b []byte, seed int) error {
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	for len(b) > 0 {
		n := 1 + r.IntN(200)
		if r.IntN(3) == 0 {
			n = 1 + r.IntN(200<<10)
		}
		n = min(n, len(b))
		if _, err := c.Write(b[:n]); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		b = b[n:]
	}
	return c.(interface{ CloseWrite() error }).CloseWrite()
}

// expect reads b, in reads of all sizes, and the end.
func expect(c net.Conn, b []byte) error {
	sum := crc32.NewIEEE()
	n, err := io.CopyBuffer(sum, struct{ io.Reader }{c}, make([]byte, 1+len(b)%9000))
	if err != nil || n != int64(len(b)) || sum.Sum32() != crc32.ChecksumIEEE(b) {
		return fmt.Errorf("received %d bytes of %d: %w", n, len(b), errors.Join(err, errors.New("or others")))
	}
	return nil
}

// Sixteen peers that don't read, and those behind them would send without end.
func TestStuckTunnelsHoldLittle(t *testing.T) {
	const tunnels, most = 16, 8 << 20
	var set relay.Set
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var rigs []*rig
	for range tunnels {
		r := open(t, plan{set: &set})
		rigs = append(rigs, r)
		go flood(r.server)
	}
	for _, r := range rigs {
		last := -1
		if !poll(patience, func() bool {
			n := unsentBytes(t, r.server)
			stuck := n > 0 && n == last
			last = n
			return stuck
		}) {
			t.Fatal("not stuck")
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse); grown > most {
		t.Errorf("%d stuck tunnels hold %d KiB", tunnels, grown>>10)
	}
	// They aren't stuck for good.
	for _, r := range rigs {
		if _, err := io.CopyN(io.Discard, r.client, 16<<20); err != nil {
			t.Fatal(err)
		}
		_ = r.client.Close()
		_ = r.server.Close()
		r.finish()
	}
}

// Peers that come and vanish leave nothing behind.
func TestVanishingClients(t *testing.T) {
	var set relay.Set
	for i := range 300 {
		r := open(t, plan{set: &set})
		if i%3 == 0 {
			r.say(r.client, r.server, "hello")
		}
		if i%2 == 0 {
			_ = r.client.(*net.TCPConn).SetLinger(0)
		}
		_ = r.client.Close()
		if _, err := r.server.Read(make([]byte, 1)); err == nil {
			t.Fatal("read something")
		}
		_ = r.server.Close()
		r.finish()
	}
	if err := set.Drain(context.Background()); err != nil || set.Len() != 0 {
		t.Fatalf("%d tunnels: %v", set.Len(), err)
	}
}
