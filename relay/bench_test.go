package relay_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"viaduct/relay"
)

// The benchmarks measure CPU time and memory of this process, which holds the
// tunnels and nothing else: clients and origin are in another (peer_test.go).

// pump is a way to make a tunnel of two connections.
type pump struct {
	name string
	join func(set *relay.Set, client, server net.Conn)
}

var pumps = []pump{
	{"relay", func(set *relay.Set, client, server net.Conn) {
		set.Go(client, server, nil, nil, relay.Options{Idle: time.Hour, HalfClose: time.Minute}, nil)
	}},
	{"look", func(set *relay.Set, client, server net.Conn) {
		set.Go(client, server, nil, nil, relay.Options{Idle: time.Hour, HalfClose: time.Minute, Look: pass, LookFor: time.Minute}, nil)
	}},
	{"iocopy", func(_ *relay.Set, client, server net.Conn) {
		go copyAndEnd(server, client)
		go copyAndEnd(client, server)
	}},
}

func pass([]byte, bool) (more bool, err error) { return false, nil }

func copyAndEnd(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_ = dst.(*net.TCPConn).CloseWrite()
	_ = src.SetReadDeadline(past) // both have ended when both have been here
}

// proxy joins what is accepted with the origin of the peer process.
func proxy(b *testing.B, p pump) *words {
	b.Helper()
	listen := net.ListenConfig{KeepAlive: -1}
	l := must[net.Listener](b)(listen.Listen(context.Background(), "tcp", "127.0.0.1:0"))
	cmd := exec.Command(os.Args[0], "peer", l.Addr().String())
	cmd.Stderr = os.Stderr
	w := &words{out: must[io.WriteCloser](b)(cmd.StdinPipe())}
	w.read(must[io.ReadCloser](b)(cmd.StdoutPipe()))
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	origin := w.hear()
	var set relay.Set
	b.Cleanup(func() {
		w.tell("end")
		_ = cmd.Wait()
		_ = l.Close()
		_ = set.Drain(context.Background())
	})
	go accept(l, origin, func(client, server net.Conn) { p.join(&set, client, server) })
	return w
}

func accept(l net.Listener, origin string, join func(client, server net.Conn)) {
	dial := net.Dialer{KeepAlive: -1}
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			server, err := dial.Dial("tcp", origin)
			if err != nil {
				_ = client.Close()
				return
			}
			join(client, server)
		}()
	}
}

// cpu is the time that this process has used.
func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// measure lets the peer do its work b.N times, with some tunnels idle beside.
func measure(b *testing.B, work string, unit string, scale float64) {
	for _, idle := range []int{0, 500} {
		for _, p := range pumps {
			b.Run(fmt.Sprintf("idle=%d/%s", idle, p.name), func(b *testing.B) {
				w := proxy(b, p)
				w.ask(b, "idle", idle)
				w.ask(b, work, 64) // warm
				before := cpu()
				b.ReportAllocs()
				b.ResetTimer()
				w.ask(b, work, b.N)
				b.StopTimer()
				b.ReportMetric(float64(cpu()-before)/float64(b.N)*scale, unit)
			})
		}
	}
}

// One op is 64 bytes there and back.
func BenchmarkPingPong(b *testing.B) { measure(b, "pingpong", "cpu-ns/op", 1) }

// One op is 1 MiB, through one of eight tunnels.
func BenchmarkBulk(b *testing.B) {
	b.SetBytes(1 << 20)
	measure(b, "bulk", "cpu-s/GB", 1/float64(1<<20))
}

// One op is a tunnel made, used for 64 bytes there and back, and ended.
func BenchmarkSetUp(b *testing.B) { measure(b, "setup", "cpu-ns/op", 1) }

// BenchmarkIdleTunnel tells what thousands of tunnels hold that carried one
// exchange. For a true figure run it alone, with -benchtime 1x: memory that was
// used before is not counted.
func BenchmarkIdleTunnel(b *testing.B) {
	const tunnels = 3000
	for _, p := range pumps {
		b.Run(p.name, func(b *testing.B) {
			w := proxy(b, p)
			w.ask(b, "idle", 10)
			runtime.GC()
			size, fds := proportional(), descriptors()
			w.ask(b, "idle", tunnels)
			b.ReportMetric(float64(proportional()-size)/tunnels, "KiB/tunnel")
			b.ReportMetric(float64(descriptors()-fds)/tunnels, "fds/tunnel")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// proportional is the set size of this process in KiB.
func proportional() (kib int) {
	text, _ := os.ReadFile("/proc/self/smaps_rollup")
	for line := range strings.Lines(string(text)) {
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
			return kib
		}
	}
	return 0
}
