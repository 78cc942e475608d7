package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"viaduct/relay"
)

// sides runs a test twice: the side that is told of acts in the part of the
// first connection, and the other in that of the second.
func sides(t *testing.T, test func(t *testing.T, networks [2]string, side relay.Side)) {
	for _, network := range []string{"tcp", "unix", "tls"} {
		t.Run("client "+network, func(t *testing.T) {
			t.Parallel()
			test(t, [2]string{network, "tcp"}, relay.Client)
		})
		t.Run("server "+network, func(t *testing.T) {
			t.Parallel()
			test(t, [2]string{"tcp", network}, relay.Server)
		})
	}
}

// of are the peers of a rig: the one on that side, and the other.
func (r *rig) of(side relay.Side) (one, other net.Conn) {
	if side == relay.Server {
		return r.server, r.client
	}
	return r.client, r.server
}

// endedBy expects that a tunnel was ended by that side.
func (e end) endedBy(t *testing.T, want relay.Side) {
	t.Helper()
	if e.stats.Ended != want {
		t.Errorf("ended by side %d, want %d: %v", e.stats.Ended, want, e.err)
	}
}

func TestFirstEndIsTold(t *testing.T) {
	sides(t, func(t *testing.T, networks [2]string, side relay.Side) {
		r := open(t, plan{networks: networks})
		first, second := r.of(side)
		r.say(first, second, "question")
		closeWrite(t, first)
		r.hearEnd(second, "")
		r.say(second, first, "answer")
		closeWrite(t, second)
		r.finishWith(nil).endedBy(t, side)
	})
}

// The other side answers an end with its own at once, and may be quicker than
// whoever passed the first one on.
func TestAnswerToAnEndIsNotTheFirst(t *testing.T) {
	for range 300 {
		r := open(t, plan{})
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_, _ = io.Copy(io.Discard, r.server)
			_ = r.server.Close()
		}()
		_ = r.client.Close()
		r.finishWith(nil).endedBy(t, relay.Client)
		<-closed
	}
}

func TestEndThatCannotBePassedOnIsTold(t *testing.T) {
	r := open(t, plan{networks: [2]string{"tcp", "pipe"}})
	closeWrite(t, r.client)
	r.finishWith(nil).endedBy(t, relay.Client)
	r = open(t, plan{networks: [2]string{"pipe", "tcp"}})
	closeWrite(t, r.server)
	r.finishWith(nil).endedBy(t, relay.Server)
}

func TestResetIsTold(t *testing.T) {
	for _, side := range []relay.Side{relay.Client, relay.Server} {
		r := open(t, plan{})
		first, second := r.of(side)
		r.say(first, second, "hello")
		reset(t, first)
		r.hearReset(second, "")
		e := r.finish()
		if e.err == nil {
			t.Error("a reset in good order")
		}
		e.endedBy(t, side)
	}
}

// The first end counts, not the failure that came of going on.
func TestResetAfterAnEndIsNotTheFirst(t *testing.T) {
	for _, side := range []relay.Side{relay.Client, relay.Server} {
		r := open(t, plan{})
		first, second := r.of(side)
		closeWrite(t, first)
		r.hearEnd(second, "")
		r.say(second, first, "part of the answer")
		reset(t, second)
		r.finish().endedBy(t, side)
	}
}

// A side that goes away with bytes unread resets; the other is writing. Whether
// reading or writing notices, it is the dead one that has ended the tunnel.
func TestWriteToADeadPeerIsItsEnd(t *testing.T) {
	for _, side := range []relay.Side{relay.Client, relay.Server} {
		for range 50 {
			r := open(t, plan{})
			dead, writer := r.of(side)
			written := make(chan struct{})
			go func() {
				defer close(written)
				flood(writer)
			}()
			if _, err := io.ReadFull(dead, make([]byte, 2<<10)); err != nil {
				t.Fatal(err)
			}
			_ = dead.Close()
			r.finish().endedBy(t, side)
			<-written
		}
	}
}

// failing takes no bytes.
type failing struct{ net.Conn }

func (failing) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestFailureToWriteIsOfTheOtherSide(t *testing.T) {
	client, inner := pair(t, "tcp")
	server, outer := pair(t, "tcp")
	r := &rig{t: t, client: client, server: server, ended: make(chan end, 1)}
	new(relay.Set).Go(inner, failing{outer}, []byte("early"), nil, relay.Options{},
		func(s relay.Stats, err error) { r.ended <- end{s, err} })
	e := r.finish()
	if w := (*relay.WriteError)(nil); !errors.As(e.err, &w) {
		t.Errorf("ended with %v", e.err)
	}
	e.endedBy(t, relay.Server)
}

// Bounds end a tunnel though a side ended first.
func TestBoundsAreOfNoSide(t *testing.T) {
	for _, c := range []struct {
		name string
		o    relay.Options
		half bool
		want error
	}{
		{"idle", relay.Options{Idle: 100 * time.Millisecond}, false, relay.ErrIdle},
		{"idle after one end", relay.Options{Idle: 100 * time.Millisecond}, true, relay.ErrIdle},
		{"half-close", relay.Options{HalfClose: 100 * time.Millisecond}, true, relay.ErrHalfClose},
		{"life", relay.Options{Life: 100 * time.Millisecond}, false, relay.ErrLife},
		{"life after one end", relay.Options{Life: 100 * time.Millisecond}, true, relay.ErrLife},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := open(t, plan{options: c.o})
			if c.half {
				closeWrite(t, r.client)
			}
			r.finishWith(c.want).endedBy(t, relay.None)
		})
	}
}

func TestDrainIsOfNoSide(t *testing.T) {
	var set relay.Set
	whole, half := open(t, plan{set: &set}), open(t, plan{set: &set})
	closeWrite(t, half.server)
	half.hearEnd(half.client, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if set.Drain(ctx) == nil {
		t.Error("nothing was cut")
	}
	whole.finishWith(relay.ErrDrained).endedBy(t, relay.None)
	half.finishWith(relay.ErrDrained).endedBy(t, relay.None)
}

func TestPanicIsOfNoSide(t *testing.T) {
	client, inner := pair(t, "tcp")
	server, outer := pair(t, "tcp")
	r := &rig{t: t, client: client, server: server, ended: make(chan end, 1)}
	new(relay.Set).Go(bomb{inner}, outer, nil, nil, relay.Options{}, func(s relay.Stats, err error) { r.ended <- end{s, err} })
	r.finishWith(relay.ErrPanic).endedBy(t, relay.None)
}
