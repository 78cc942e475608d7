package parent_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/parent"
)

// short is a bound that a test waits for.
const short = 50 * time.Millisecond

// expired is a context whose time is over.
func expired(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), -time.Second)
	t.Cleanup(cancel)
	return ctx
}

// drips answers a byte at a time, without end.
func drips(c net.Conn) {
	_, _ = readHead(c)
	for text := "HTTP/1.1 200 OK\r\nX: "; ; text = "y" {
		for i := range len(text) {
			if _, err := io.WriteString(c, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(short / 20)
		}
	}
}

// quiet listens, and says nothing.
func quiet(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// TestNothingLastsLongerThanItsContext: whatever the parent does, a deadline
// ends it, and so does a client that leaves.
func TestNothingLastsLongerThanItsContext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		scheme parent.Scheme
		play   func(net.Conn)
		party  parent.Party
	}{
		{"silence", parent.HTTP, quiet, parent.Unclear},
		{"silence after an interim answer", parent.HTTP, says("HTTP/1.1 100 x\r\n\r\n"), parent.Unclear},
		{"a slow drip", parent.HTTP, drips, parent.Unclear},
		{"silence instead of TLS", parent.HTTPS, quiet, parent.Parent},
		{"half a handshake", parent.HTTPS, func(c net.Conn) { _, _ = c.Write([]byte{0x16, 3, 3, 0, 80, 2}); quiet(c) }, parent.Parent},
		{"silence instead of a method", parent.SOCKS5, quiet, parent.Parent},
		{"half a method", parent.SOCKS5, func(c net.Conn) { _, _ = c.Write([]byte{5}); quiet(c) }, parent.Parent},
		{"silence instead of a reply", parent.SOCKS5, func(c net.Conn) { _, _ = c.Write([]byte{5, 0}); quiet(c) }, parent.Unclear},
		{"half a reply", parent.SOCKS5, func(c net.Conn) { _, _ = c.Write([]byte{5, 0, 5, 0, 0, 3, 200, 'a'}); quiet(c) }, parent.Unclear},
	} {
		addr := peer(t, tt.play)
		t.Run(tt.name+", deadline", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), short)
			defer cancel()
			nc := dial(t, addr)
			_, _, err := proxy(t, tt.scheme, addr).Tunnel(ctx, nc, "a:1")
			judged(t, err, fault.ConnectionTimeout, 504, tt.party)
			closed(t, nc)
		})
		t.Run(tt.name+", cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(short, cancel)
			defer timer.Stop()
			nc := dial(t, addr)
			_, _, err := proxy(t, tt.scheme, addr).Tunnel(ctx, nc, "a:1")
			if !errors.Is(err, context.Canceled) || parent.Blame(err) != parent.Unclear {
				t.Errorf("%v, blamed: %v", err, parent.Blame(err))
			}
			closed(t, nc)
		})
	}
}

func TestContextThatIsOver(t *testing.T) {
	addr := peer(t, says("HTTP/1.1 200 OK\r\n\r\n"))
	for _, scheme := range []parent.Scheme{parent.HTTP, parent.HTTPS, parent.SOCKS5} {
		nc := dial(t, addr)
		over, _, err := proxy(t, scheme, addr).Tunnel(expired(t), nc, "a:1")
		if over != nil {
			t.Error(scheme)
		}
		judged(t, err, fault.ConnectionTimeout, 504, parent.Unclear)
		closed(t, nc)
	}
}

// late is a parent that answers when nobody waits any more.
type late struct {
	script
	ctx    context.Context //nolint:containedctx // it is what the peer waits for
	cancel func()
}

func (l *late) Read(b []byte) (int, error) {
	l.cancel()
	<-l.ctx.Done()
	return l.script.Read(b)
}

// TestAnswerThatComesTooLate: such a yes makes no tunnel, but a no is told.
func TestAnswerThatComesTooLate(t *testing.T) {
	for answer, want := range map[string]parent.Party{
		"HTTP/1.1 200 OK\r\n\r\n": parent.Unclear,
		"HTTP/1.1 403 x\r\n\r\n":  parent.Target,
	} {
		gone, cancel := context.WithCancel(t.Context())
		over, cancelOver := context.WithTimeout(t.Context(), short)
		defer cancelOver()
		for _, l := range []*late{{ctx: gone, cancel: cancel}, {ctx: over, cancel: func() {}}} {
			l.script = script{left: []byte(answer), piece: 100}
			c, _, err := parent.Proxy{Host: "p", Port: 1}.Tunnel(l.ctx, l, "a:1")
			if err == nil || c != nil || !l.closed || parent.Blame(err) != want {
				t.Errorf("%q: %v, blamed: %v, closed: %v", answer, err, parent.Blame(err), l.closed)
			}
		}
	}
}

func TestConnectionThatIsClosed(t *testing.T) {
	for _, scheme := range []parent.Scheme{parent.HTTP, parent.HTTPS, parent.SOCKS5} {
		addr := peer(t, quiet)
		nc := dial(t, addr)
		_ = nc.Close()
		_, _, err := proxy(t, scheme, addr).Tunnel(bounded(t), nc, "a:1")
		judged(t, err, fault.ConnectionTerminated, 502, parent.Parent)
	}
}

// TestTunnelOutlivesItsContext: what ends after the tunnel is made ends nothing,
// and a deadline that the caller has set stays.
func TestTunnelOutlivesItsContext(t *testing.T) {
	for scheme, play := range map[parent.Scheme]func(net.Conn){
		parent.HTTP:   func(c net.Conn) { _, _ = readHead(c); _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); echo(c) },
		parent.SOCKS5: func(c net.Conn) { (&socksServer{}).serve(c) },
	} {
		addr := peer(t, play)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		nc := dial(t, addr)
		_ = nc.SetWriteDeadline(time.Now().Add(time.Hour))
		over, _, err := proxy(t, scheme, addr).Tunnel(ctx, nc, "a:1")
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		passes(t, over)
	}
}

// TestCancelledAtAnyMoment: either there is a tunnel that works, or an error and
// a closed connection.
func TestCancelledAtAnyMoment(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	addr := peer(t, func(c net.Conn) {
		_, _ = readHead(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		echo(c)
	})
	p := proxy(t, parent.HTTP, addr)
	made := 0
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Duration(random.IntN(1000))*time.Microsecond, cancel)
		nc := must[net.Conn](t)(net.Dial("tcp", addr))
		over, _, err := p.Tunnel(ctx, nc, "a:1")
		if err == nil {
			made++
			passes(t, over)
		} else {
			closed(t, nc)
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		timer.Stop()
		cancel()
		_ = nc.Close()
	}
	t.Logf("%d of 300 were made", made)
}
