package relay_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"viaduct/relay"
)

func TestDrainWaitsForTunnels(t *testing.T) {
	var set relay.Set
	var rigs []*rig
	for range 5 {
		rigs = append(rigs, open(t, plan{set: &set}))
	}
	if set.Len() != len(rigs) {
		t.Fatalf("%d tunnels", set.Len())
	}
	drained := make(chan error, 2)
	for range cap(drained) {
		go func() { drained <- set.Drain(context.Background()) }()
	}
	for _, r := range rigs {
		if len(drained) > 0 {
			t.Fatal("drained with tunnels open")
		}
		r.say(r.client, r.server, "still open")
		closeWrite(t, r.client)
		closeWrite(t, r.server)
		r.finishWith(nil)
	}
	for range cap(drained) {
		if err := <-drained; err != nil {
			t.Fatal(err)
		}
	}
	if set.Len() != 0 {
		t.Fatalf("%d tunnels", set.Len())
	}
}

func TestDrainCutsWhatIsLeft(t *testing.T) {
	var set relay.Set
	var rigs []*rig
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		rigs = append(rigs, open(t, plan{set: &set, networks: [2]string{network, "tcp"}}))
	}
	stuck := open(t, plan{set: &set})
	go flood(stuck.server)
	rigs = append(rigs, stuck)

	over := errors.New("the grace period is over")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(over)
	err := set.Drain(ctx)
	if !errors.Is(err, over) || !strings.Contains(err.Error(), "5 tunnels") {
		t.Fatalf("drain: %v", err)
	}
	if set.Len() != 0 {
		t.Fatalf("%d tunnels", set.Len())
	}
	for _, r := range rigs {
		select {
		case e := <-r.ended:
			if !errors.Is(e.err, relay.ErrDrained) {
				t.Errorf("ended with %v", e.err)
			}
		default:
			t.Error("drained before done was called")
		}
	}
	late := open(t, plan{set: &set})
	late.finishWith(relay.ErrDrained)
}

func TestDrainOfNothing(t *testing.T) {
	var set relay.Set
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 10 {
		if err := set.Drain(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// A tunnel that waits for the bytes before its reset to leave is cut too.
func TestDrainCutsFarewell(t *testing.T) {
	var set relay.Set
	r := open(t, plan{set: &set})
	go flood(r.server)
	if !poll(patience, func() bool { return unsentBytes(t, r.server) > 1<<20 }) {
		t.Fatal("not stuck")
	}
	if err := errors.Join(r.client.(*net.TCPConn).SetLinger(0), r.client.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = set.Drain(ctx) // cuts it, or comes late
	r.finish()
}

// cut ends all tunnels of a set.
func cut(t testing.TB, set *relay.Set) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = set.Drain(ctx)
	if set.Len() != 0 {
		t.Fatalf("%d tunnels", set.Len())
	}
}
