package relay_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/relay"
)

var past = time.Unix(1, 0)

func TestIdleTunnelIsCut(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			r := open(t, plan{networks: [2]string{network, "tcp"}, options: relay.Options{Idle: 200 * time.Millisecond}})
			r.say(r.client, r.server, "hello")
			e := r.finishWith(relay.ErrIdle)
			if k := fault.Classify(e.err); k != fault.ConnectionReadTimeout || e.stats.FromClient != 5 {
				t.Fatalf("ended as %v with %+v", k, e.stats)
			}
		})
	}
}

func TestTrickleKeepsTunnel(t *testing.T) {
	t.Parallel()
	const idle = 2 * time.Second
	r := open(t, plan{options: relay.Options{Idle: idle}})
	for range 15 { // three times the bound
		r.say(r.server, r.client, ".")
		nap(t, idle/5, idle)
	}
	closeWrite(t, r.client)
	closeWrite(t, r.server)
	r.finishWith(nil)
}

// nap is a pause of a scripted slow peer. If the machine makes it so long that a
// bound is near, the test can't tell anything.
func nap(t *testing.T, d, bound time.Duration) {
	t.Helper()
	start := time.Now()
	time.Sleep(d) // peer: slow, as scripted
	if time.Since(start) > bound/2 {
		t.Skip("the machine stood still")
	}
}

// Nobody reads at the client, so nothing moves, though the server would send.
func TestStuckWriterIsSilent(t *testing.T) {
	t.Parallel()
	r := open(t, plan{options: relay.Options{Idle: 500 * time.Millisecond}})
	go flood(r.server)
	r.finishWith(relay.ErrIdle)
}

// The server has sent all it has, and that waits in the tunnel's socket. The
// client reads slowly: nothing moves through the tunnel, and it lives.
func TestSlowReaderIsNotSilent(t *testing.T) {
	t.Parallel()
	const idle = 2 * time.Second
	r := open(t, plan{networks: [2]string{"narrow", "tcp"}, options: relay.Options{Idle: idle}})
	text := make([]byte, 256<<10)
	if _, err := r.server.Write(text); err != nil {
		t.Fatal(err)
	}
	left := len(text)
	for end := time.Now().Add(3 * idle); time.Now().Before(end); {
		n, err := r.client.Read(make([]byte, 1<<10))
		if err != nil {
			t.Fatalf("with %d bytes left: %v", left, err)
		}
		left -= n
		nap(t, idle/40, idle)
	}
	if left == 0 {
		t.Fatal("the client wasn't slow")
	}
	if _, err := io.ReadFull(r.client, text[:left]); err != nil {
		t.Fatal(err)
	}
	closeWrite(t, r.client)
	closeWrite(t, r.server)
	r.finishWith(nil)
}

func TestHalfCloseIsBoundedApart(t *testing.T) {
	t.Parallel()
	r := open(t, plan{options: relay.Options{Idle: time.Hour, HalfClose: 200 * time.Millisecond}})
	r.say(r.client, r.server, "hello")
	closeWrite(t, r.client)
	r.hearEnd(r.server, "")
	r.finishWith(relay.ErrHalfClose)
}

func TestHalfCloseBoundsSilenceNotTheAnswer(t *testing.T) {
	t.Parallel()
	const half = 2 * time.Second
	r := open(t, plan{options: relay.Options{HalfClose: half}})
	closeWrite(t, r.client)
	for range 10 { // twice the bound
		r.say(r.server, r.client, ".")
		nap(t, half/5, half)
	}
	closeWrite(t, r.server)
	r.finishWith(nil)
}

func TestIdleHoldsAfterHalfCloseToo(t *testing.T) {
	t.Parallel()
	r := open(t, plan{options: relay.Options{Idle: 200 * time.Millisecond, HalfClose: time.Hour}})
	closeWrite(t, r.server)
	r.finishWith(relay.ErrIdle)
}

func TestLifeIsBounded(t *testing.T) {
	t.Parallel()
	r := open(t, plan{options: relay.Options{Idle: time.Hour, Life: 500 * time.Millisecond}})
	go flood(r.server)
	go func() { _, _ = io.Copy(io.Discard, r.client) }()
	if e := r.finishWith(relay.ErrLife); e.stats.FromServer == 0 || e.stats.Duration < 500*time.Millisecond {
		t.Fatalf("counted %+v", e.stats)
	}
}

// A cut tunnel has not sent all: its TLS peer must not be told so.
func TestCutIsNoCloseNotify(t *testing.T) {
	t.Parallel()
	r := open(t, plan{networks: [2]string{"tls", "tcp"}, options: relay.Options{Idle: 200 * time.Millisecond}})
	r.say(r.server, r.client, "hello")
	r.finishWith(relay.ErrIdle)
	buf := make([]byte, 1)
	if _, err := r.client.Read(buf); err == nil {
		t.Fatal("read more")
	}
}

// deaf heeds no deadline.
type deaf struct{ net.Conn }

func (deaf) SetDeadline(time.Time) error { return nil }

func TestDeafConnectionIsClosed(t *testing.T) {
	t.Parallel()
	for _, writing := range []bool{false, true} {
		client, inner := pair(t, "tcp")
		server, outer := net.Pipe()
		r := &rig{t: t, client: client, server: server, ended: make(chan end, 1)}
		new(relay.Set).Go(inner, deaf{outer}, nil, nil, relay.Options{Idle: 100 * time.Millisecond},
			func(s relay.Stats, err error) { r.ended <- end{s, err} })
		if writing {
			_, _ = io.WriteString(client, "nobody reads this")
		}
		r.finishWith(relay.ErrIdle)
		_ = server.Close()
	}
}

func TestKeepAliveComesLate(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	t.Parallel()
	client, inner := pair(t, "tcp")
	server, outer := pair(t, "tcp")
	r := &rig{t: t, client: client, server: server, ended: make(chan end, 1)}
	new(relay.Set).Go(inner, outer, nil, nil, relay.Options{}, func(s relay.Stats, err error) { r.ended <- end{s, err} })
	r.say(client, server, "hello")
	if keepsAlive(t, inner) || keepsAlive(t, outer) {
		t.Fatal("keep-alive from the start")
	}
	if !poll(patience, func() bool { return keepsAlive(t, inner) && keepsAlive(t, outer) }) {
		t.Fatal("no keep-alive")
	}
	_ = client.Close()
	_ = server.Close()
	r.finishWith(nil)
}

func keepsAlive(t testing.TB, c net.Conn) (on bool) {
	t.Helper()
	descriptorOf(t, c, func(fd int) {
		n, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		on = n != 0 && err == nil
	})
	return on
}

// flood writes until it can't.
func flood(c net.Conn) {
	chunk := make([]byte, 256<<10)
	for {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}
