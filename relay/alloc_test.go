package relay_test

import (
	"io"
	"net"
	"testing"
	"time"

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

func atMost(t *testing.T, most float64, runs int, f func(i int)) {
	t.Helper()
	i := 0
	allocs := testing.AllocsPerRun(runs, func() { f(i); i++ })
	t.Logf("%v allocations", allocs)
	if allocs > most {
		t.Errorf("%v allocations, want %v at most", allocs, most)
	}
}
