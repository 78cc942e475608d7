package accesslog_test

import (
	"context"
	"fmt"
	"testing"

	"viaduct/accesslog"
)

var formats = map[string]accesslog.Format{"json": accesslog.JSON, "squid": accesslog.Squid, "combined": accesslog.Combined}

func TestAddAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	for name, f := range formats {
		t.Run(name, func(t *testing.T) {
			d := new(disk)
			d.bytes.Grow(4 << 20)
			w := accesslog.New(d, f)
			e := entry()
			e.User = "somebody with a name that does not fit into any small buffer"
			e.Pool, e.Parent = "parents", "https://first.example:3128 -> socks5://second.example:1080"
			e.Rule, e.SNI = "a rule \"with\" a name", "x\x00"
			e.Target = []byte("http://joe:pw@example.com/\x00?q")
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			for range 5000 { // buffers grow to their size
				w.Add(e)
			}
			w.Run(ctx, unexpected(t))
			if n := testing.AllocsPerRun(2000, func() { w.Add(e) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestLogThatIsOffCostsNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	w, e := accesslog.New(nil, accesslog.JSON), entry()
	if n := testing.AllocsPerRun(1000, func() { w.Add(e) }); n != 0 || w.Dropped() != 0 {
		t.Errorf("%v allocations, %d lines dropped", n, w.Dropped())
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, name := range []string{"json", "squid", "combined"} {
		b.Run(name, func(b *testing.B) {
			w := accesslog.New(new(nowhere), formats[name])
			defer run(w, func(error) {})() // lines are dropped when they come faster
			e := entry()
			b.ReportAllocs()
			for b.Loop() {
				w.Add(e)
			}
		})
	}
	b.Run("off", func(b *testing.B) {
		w, e := accesslog.New(nil, accesslog.JSON), entry()
		for b.Loop() {
			w.Add(e)
		}
	})
}

// nowhere takes everything.
type nowhere struct{}

func (*nowhere) Write(p []byte) (int, error) { return len(p), nil }

func ExampleParseFormat() {
	f, err := accesslog.ParseFormat("apache")
	fmt.Println(f == accesslog.JSON, err)
	// Output: true access log format "apache": use json, squid or combined
}
