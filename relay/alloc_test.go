package relay_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
	"weak"

	"viaduct/relay"
)

// With -v these tell the figure.

func TestMoveAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	c := lay(t, "tcp", "tcp")
	text := noise(64)
	got := make([]byte, len(text))
	atMost(t, 5, 500, func(int) {
		_, _ = c.from.Write(text)
		if _, err := relay.Move(c.dst, c.src, int64(len(text)), nil); err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(c.to, got)
	})
}

func TestGoAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const runs = 100
	var set relay.Set
	var ends [][2]net.Conn
	for range runs + 1 {
		_, client := pair(t, "tcp")
		_, server := pair(t, "tcp")
		ends = append(ends, [2]net.Conn{client, server})
	}
	atMost(t, 14, runs, func(i int) {
		set.Go(ends[i][0], ends[i][1], nil, nil, relay.Options{Idle: time.Minute}, nil)
	})
	cut(t, &set)
}

// A message through a tunnel that is open costs nothing.
func TestMessageAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := open(t, plan{options: relay.Options{Idle: time.Minute}})
	text, got := noise(64), make([]byte, 64)
	atMost(t, 0, 500, func(int) {
		_, _ = r.client.Write(text)
		_, _ = io.ReadFull(r.server, got)
		_, _ = r.server.Write(text)
		_, _ = io.ReadFull(r.client, got)
	})
}

// Thousands of clients may be silent: a tunnel that looks at them holds no more
// than any other.
func TestSilentClientIsLookedAtWithNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const tunnels, most = 400, 512 // bytes for a look, without its closure
	held := func(o relay.Options) int64 {
		var set relay.Set
		var before, after runtime.MemStats
		var ends [][2]net.Conn
		for range tunnels {
			_, client := pair(t, "tcp")
			_, server := pair(t, "tcp")
			ends = append(ends, [2]net.Conn{client, server})
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, e := range ends {
			set.Go(e[0], e[1], nil, nil, o, nil)
		}
		if !poll(patience, func() bool { return waiting(2 * tunnels) }) {
			t.Fatal("they don't wait")
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		cut(t, &set)
		return int64(after.HeapAlloc) - int64(before.HeapAlloc)
	}
	held(relay.Options{}) // the runtime keeps what goroutines were made of
	without := held(relay.Options{Idle: time.Minute})
	with := held(relay.Options{Idle: time.Minute, Look: new(sights).look(waits), LookFor: time.Minute})
	t.Logf("a tunnel holds %d bytes, with a look %d", without/tunnels, with/tunnels)
	if with-without > tunnels*most {
		t.Errorf("a look at a silent client holds %d bytes", (with-without)/tunnels)
	}
}

// waiting tells whether so many goroutines wait in the poller.
func waiting(n int) bool {
	all := make([]runtime.StackRecord, runtime.NumGoroutine()+100)
	count, ok := runtime.GoroutineProfile(all)
	if !ok {
		return false
	}
	for _, r := range all[:count] {
		frames := runtime.CallersFrames(r.Stack())
		for more := true; more; {
			var f runtime.Frame
			if f, more = frames.Next(); strings.HasSuffix(f.Function, "runtime_pollWait") {
				n--
				break
			}
		}
	}
	return n <= 0
}

// What a look has held goes back to the pools, however it ended.
func TestLookGivesItsMemoryBack(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties the pools")
	}
	const tunnels, most = 200, 20 << 10 // bytes for a tunnel, its sockets and its test
	text := append(bytes.Repeat([]byte("x"), 50<<10), '!')
	for name, verdict := range map[string]error{"passes": nil, "refuses": errUnwanted} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would empty the pools
			for i := range tunnels + 1 {
				if i == 1 {
					runtime.ReadMemStats(&before)
				}
				client, inner := pair(t, "tcp")
				server, outer := pair(t, "tcp")
				ended := make(chan struct{})
				look := func(b []byte, _ bool) (bool, error) {
					if bytes.HasSuffix(b, []byte("!")) {
						return false, verdict
					}
					return true, nil
				}
				new(relay.Set).Go(inner, outer, nil, nil, relay.Options{Look: look, LookFor: time.Minute},
					func(relay.Stats, error) { close(ended) })
				_, _ = client.Write(text)
				_ = client.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, server)
				_ = server.Close()
				<-ended
				_ = client.Close()
			}
			runtime.ReadMemStats(&after)
			grown := int64(after.TotalAlloc-before.TotalAlloc) / tunnels
			t.Logf("a tunnel with a look, and its test, allocate %d bytes", grown)
			if grown > most {
				t.Errorf("want %d at most", most)
			}
		})
	}
}

// What a Look knows is not kept for the days that a tunnel may last.
func TestLookIsForgotten(t *testing.T) {
	knowing := func() (weak.Pointer[[1 << 20]byte], relay.Options) {
		known := new([1 << 20]byte)
		return weak.Make(known), relay.Options{Look: func([]byte, bool) (bool, error) {
			clear(known[:])
			return false, nil
		}}
	}
	kept, o := knowing()
	r := open(t, plan{options: o})
	r.say(r.client, r.server, "hello")
	if !poll(patience, func() bool { runtime.GC(); return kept.Value() == nil }) {
		t.Error("it is kept")
	}
	r.say(r.client, r.server, "still here")
}

func atMost(t *testing.T, most float64, runs int, f func(i int)) {
	t.Helper()
	i := 0
	allocs := testing.AllocsPerRun(runs, func() { f(i); i++ })
	t.Logf("%v allocations", allocs)
	if allocs > most {
		t.Errorf("%v allocations, want %v at most", allocs, most)
	}
}
