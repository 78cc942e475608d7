package watch_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"viaduct/health"
	"viaduct/parent"
	"viaduct/pool"
	"viaduct/probe"
	"viaduct/watch"
)

const patience = time.Minute

func poll(t *testing.T, what string, look func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !look(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func makePool(t *testing.T, addr string) *pool.Pool {
	t.Helper()
	e, err := parent.ParseEndpoint("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pool.New(pool.Options{
		Name: addr, Endpoints: []parent.Endpoint{e}, Checks: []probe.Check{{}},
		Health: health.Options{Interval: 5 * time.Millisecond, Fast: 5 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPoolsAreWatchedAsLongAsTheyAreWanted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := runtime.NumGoroutine()
	one, two := makePool(t, l.Addr().String()), makePool(t, l.Addr().String())
	state := func(p *pool.Pool) string { return p.View().Endpoints[0].Active }
	var s watch.Set
	s.Only([]*pool.Pool{one})
	poll(t, "the first is checked", func() bool { return state(one) == "up" })
	if got := state(two); got != "unknown" {
		t.Errorf("the second is %s", got)
	}
	s.Only([]*pool.Pool{one, two})
	poll(t, "both are checked", func() bool { return state(two) == "up" })
	s.Only([]*pool.Pool{two})
	s.End()
	poll(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	(&watch.Set{}).End()
}
