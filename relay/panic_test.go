package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"viaduct/relay"
)

// bomb goes off when it is read.
type bomb struct{ net.Conn }

func (bomb) Read([]byte) (int, error) { panic("boom") }

func TestPanicOfConnectionEndsItsTunnelOnly(t *testing.T) {
	var set relay.Set
	other := open(t, plan{set: &set})
	client, inner := pair(t, "tcp")
	server, outer := pair(t, "tcp")
	r := &rig{t: t, client: client, server: server, ended: make(chan end, 1)}
	set.Go(bomb{inner}, outer, nil, nil, relay.Options{}, func(s relay.Stats, err error) { r.ended <- end{s, err} })
	e := r.finishWith(relay.ErrPanic)
	if text := e.err.Error(); !strings.Contains(text, "boom") || !strings.Contains(text, "panic_test.go") {
		t.Fatalf("ended with %v", e.err)
	}
	if _, err := io.ReadAll(client); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("the client sees %v", err)
	}
	other.say(other.client, other.server, "still here")
	closeWrite(t, other.client)
	closeWrite(t, other.server)
	other.finishWith(nil)
}

func TestPanicOfDoneIsReportedByDrain(t *testing.T) {
	var set relay.Set
	client, inner := pair(t, "tcp")
	server, outer := pair(t, "tcp")
	calls := 0
	set.Go(inner, outer, nil, nil, relay.Options{}, func(relay.Stats, error) {
		calls++
		panic("boom")
	})
	_ = client.Close()
	_ = server.Close()
	err := set.Drain(context.Background())
	if !errors.Is(err, relay.ErrPanic) || !strings.Contains(err.Error(), "boom") || calls != 1 {
		t.Fatalf("after %d calls, drain: %v", calls, err)
	}
}
