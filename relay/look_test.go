package relay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/relay"
)

// sight is what a Look was shown.
type sight struct {
	bytes string
	last  bool
}

// sights are all of a tunnel. Its flow writes them, the test reads them.
type sights struct {
	sync.Mutex
	all []sight
}

// look is a Look that keeps what it is shown and then decides.
func (s *sights) look(decide func(sight) (bool, error)) func([]byte, bool) (bool, error) {
	return func(b []byte, last bool) (bool, error) {
		s.Lock()
		now := sight{string(b), last}
		s.all = append(s.all, now)
		s.Unlock()
		more, err := decide(now)
		clear(b[len(b):cap(b)]) // nothing that is ours is behind it
		return more, err
	}
}

func (s *sights) seen() []sight {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.all)
}

// await waits until a Look has been shown as much.
func (s *sights) await(t *testing.T, text string) {
	t.Helper()
	if !poll(patience, func() bool { return slices.ContainsFunc(s.seen(), func(w sight) bool { return w.bytes == text }) }) {
		t.Fatalf("not shown %q: %v", text, s.seen())
	}
}

// upToLine asks for more until there is a whole line.
func upToLine(s sight) (bool, error) { return !strings.Contains(s.bytes, "\n"), nil }

func waits(sight) (bool, error) { return true, nil }

var errUnwanted = fault.New(fault.RequestDenied, errors.New("unwanted"))

func refuses(sight) (bool, error) { return true, errUnwanted }

func silently(s sight) (bool, error) {
	if s.last {
		return false, errUnwanted
	}
	return true, nil
}

// silent expects that nothing arrives at c.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	silentFor(t, c, 20*time.Millisecond)
}

func silentFor(t *testing.T, c net.Conn, d time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

// onClients runs a test with each kind of client that there is.
func onClients(t *testing.T, test func(t *testing.T, networks [2]string)) {
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			test(t, [2]string{network, "tcp"})
		})
	}
}

func TestDribblingClientIsHeldBack(t *testing.T) {
	onClients(t, func(t *testing.T, networks [2]string) {
		var s sights
		r := open(t, plan{networks: networks, options: relay.Options{Look: s.look(upToLine), LookFor: time.Hour}})
		for i, c := range []byte("first") {
			if _, err := r.client.Write([]byte{c}); err != nil {
				t.Fatal(err)
			}
			s.await(t, "first"[:i+1])
		}
		silent(t, r.server)
		_, _ = io.WriteString(r.client, " line\nand more")
		r.hear(r.server, "first line\nand more")
		r.say(r.client, r.server, "unseen")
		r.say(r.server, r.client, "answer")
		text := "first line\nand more"
		for _, w := range s.seen() {
			if w.last || !strings.HasPrefix(text, w.bytes) {
				t.Errorf("shown %+v", w)
			}
		}
		_ = r.client.Close()
		_ = r.server.Close()
		r.finish()
	})
}

func TestEarlyBytesAreLookedAtFirst(t *testing.T) {
	onClients(t, func(t *testing.T, networks [2]string) {
		var s sights
		r := open(t, plan{networks: networks, fromClient: "early, ", options: relay.Options{Look: s.look(upToLine), LookFor: time.Hour}})
		s.await(t, "early, ")
		_, _ = io.WriteString(r.client, "late\n")
		r.hear(r.server, "early, late\n")
		_ = r.client.Close()
		_ = r.server.Close()
		r.finish()
		if want := []sight{{"early, ", false}, {"early, late\n", false}}; networks[0] != "tls" && !slices.Equal(s.seen(), want) {
			t.Errorf("shown %v, want %v", s.seen(), want)
		}
	})
}

func TestEarlyBytesMaySuffice(t *testing.T) {
	var s sights
	r := open(t, plan{fromClient: "early\n", options: relay.Options{Look: s.look(upToLine)}})
	r.hear(r.server, "early\n")
	r.say(r.client, r.server, "late")
	if want := []sight{{"early\n", false}}; !slices.Equal(s.seen(), want) {
		t.Errorf("shown %v, want %v", s.seen(), want)
	}
}

// However much a client sends, so much is looked at, and all of it arrives.
func TestLookIsBoundedInBytes(t *testing.T) {
	onClients(t, func(t *testing.T, networks [2]string) {
		for _, early := range []int{0, 1, 4 << 10, relay.LookMost - 1, relay.LookMost, relay.LookMost + 1, 1 << 20} {
			var s sights
			text := string(noise(early + 3*relay.LookMost))
			r := open(t, plan{networks: networks, fromClient: text[:early], options: relay.Options{Look: s.look(waits), LookFor: time.Hour}})
			go func() { _, _ = io.WriteString(r.client, text[early:]) }()
			r.hear(r.server, text)
			all := s.seen()
			for _, w := range all[:len(all)-1] {
				if w.last || len(w.bytes) >= relay.LookMost || !strings.HasPrefix(text, w.bytes) {
					t.Fatalf("shown %d bytes, last %v", len(w.bytes), w.last)
				}
			}
			if w := all[len(all)-1]; !w.last || w.bytes != text[:relay.LookMost] {
				t.Fatalf("shown %d bytes at last, last %v", len(w.bytes), w.last)
			}
			_ = r.client.Close()
			_ = r.server.Close()
			r.finish()
		}
	})
}

func TestClientEndsWhileItIsLookedAt(t *testing.T) {
	onNetworks(t, func(t *testing.T, networks [2]string) {
		var s sights
		r := open(t, plan{networks: networks, options: relay.Options{Look: s.look(waits), LookFor: time.Hour}})
		_, _ = io.WriteString(r.client, "half a line")
		s.await(t, "half a line")
		closeWrite(t, r.client)
		r.hearEnd(r.server, "half a line")
		r.say(r.server, r.client, "answer")
		closeWrite(t, r.server)
		r.hearEnd(r.client, "")
		e := r.finishWith(nil)
		e.endedBy(t, relay.Client)
		if all := s.seen(); e.stats.FromClient != 11 || all[len(all)-1] != (sight{"half a line", true}) {
			t.Errorf("counted %+v, shown %v", e.stats, all)
		}
	})
}

func TestClientEndsWithNothingSent(t *testing.T) {
	onNetworks(t, func(t *testing.T, networks [2]string) {
		var s sights
		r := open(t, plan{networks: networks, options: relay.Options{Look: s.look(refuses), LookFor: time.Millisecond}})
		closeWrite(t, r.client)
		r.hearEnd(r.server, "")
		r.say(r.server, r.client, "answer")
		closeWrite(t, r.server)
		r.hearEnd(r.client, "")
		r.finishWith(nil).endedBy(t, relay.Client)
		if all := s.seen(); len(all) > 0 {
			t.Errorf("shown %v", all)
		}
	})
}

// LookFor counts from the first byte, and its end is no end of the tunnel.
func TestLookIsBoundedInTime(t *testing.T) {
	onClients(t, func(t *testing.T, networks [2]string) {
		for _, early := range []string{"", "ear"} {
			var s sights
			r := open(t, plan{networks: networks, fromClient: early, options: relay.Options{Look: s.look(waits), LookFor: 100 * time.Millisecond}})
			if early == "" {
				silent(t, r.server)
				if all := s.seen(); len(all) > 0 {
					t.Errorf("shown %v", all)
				}
				_, _ = io.WriteString(r.client, "lat")
				early = "lat"
			}
			r.hear(r.server, early)
			if want := []sight{{early, false}, {early, true}}; !slices.Equal(s.seen(), want) {
				t.Errorf("shown %v, want %v", s.seen(), want)
			}
			r.say(r.client, r.server, "more")
			r.say(r.server, r.client, "answer")
			_ = r.client.Close()
			_ = r.server.Close()
			r.finish()
		}
	})
}

// A client that was let through may be silent for longer than the look was
// bound to last.
func TestBoundOfTheLookEndsWithIt(t *testing.T) {
	onClients(t, func(t *testing.T, networks [2]string) {
		const bound = 300 * time.Millisecond
		var s sights
		r := open(t, plan{networks: networks, options: relay.Options{Look: s.look(upToLine), LookFor: bound}})
		_, _ = io.WriteString(r.client, "li")
		s.await(t, "li")
		_, _ = io.WriteString(r.client, "ne\n")
		r.hear(r.server, "line\n")
		silentFor(t, r.server, 2*bound)
		r.say(r.client, r.server, "more")
		r.say(r.server, r.client, "answer")
		_ = r.client.Close()
		_ = r.server.Close()
		r.finish()
	})
}

// A client that says little by little is not silent.
func TestDribbleKeepsTunnel(t *testing.T) {
	t.Parallel()
	const idle = 2 * time.Second
	var s sights
	r := open(t, plan{options: relay.Options{Look: s.look(upToLine), Idle: idle}})
	for range 10 { // twice the bound
		_, _ = io.WriteString(r.client, ".")
		nap(t, idle/5, idle)
	}
	_, _ = io.WriteString(r.client, "\n")
	r.hear(r.server, "..........\n")
}

// A byte now and then doesn't stretch it.
func TestDribbleDoesNotStretchTheLook(t *testing.T) {
	t.Parallel()
	var s sights
	r := open(t, plan{options: relay.Options{Look: s.look(silently), LookFor: 200 * time.Millisecond}})
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for {
			if _, err := io.WriteString(r.client, "."); err != nil {
				return
			}
			<-time.After(5 * time.Millisecond)
		}
	}()
	r.finishWith(errUnwanted)
	r.hearEnd(r.server, "")
	<-stop
}

// refused expects that the tunnel was ended by Look.
func (r *rig) refused(want error) {
	r.t.Helper()
	e := r.finishWith(want)
	if look := (*relay.LookError)(nil); !errors.As(e.err, &look) {
		r.t.Errorf("ended with %v", e.err)
	}
	if e.stats.Ended != relay.None || e.stats.FromClient != 0 {
		r.t.Errorf("counted %+v", e.stats)
	}
}

func TestRefusedClientIsReset(t *testing.T) {
	for _, tt := range []struct {
		name   string
		early  string
		decide func(sight) (bool, error)
		within time.Duration
		ends   bool
	}{
		{"at once", "", refuses, time.Hour, false},
		{"for what came early", "early", refuses, time.Hour, false},
		{"after a while", "", silently, 50 * time.Millisecond, false},
		{"at its end", "", silently, time.Hour, true},
	} {
		for _, server := range networks {
			t.Run(tt.name+" "+server, func(t *testing.T) {
				t.Parallel()
				var s sights
				r := open(t, plan{networks: [2]string{"tcp", server}, fromClient: tt.early, options: relay.Options{Look: s.look(tt.decide), LookFor: tt.within}})
				if tt.early == "" {
					_, _ = io.WriteString(r.client, "hello")
				}
				if tt.ends {
					closeWrite(t, r.client)
				}
				r.hearEnd(r.server, "")
				r.hearReset(r.client, "")
				r.refused(errUnwanted)
				if k := fault.Classify(errUnwanted); k != fault.RequestDenied {
					t.Errorf("it is %v", k)
				}
			})
		}
	}
}

// A client that can't be reset is closed. One behind TLS is not told that all
// was sent.
func TestRefusedClientOfAnotherKind(t *testing.T) {
	for _, network := range []string{"unix", "tls", "pipe"} {
		var s sights
		r := open(t, plan{networks: [2]string{network, "tcp"}, options: relay.Options{Look: s.look(refuses)}})
		_, _ = io.WriteString(r.client, "hello")
		r.hearEnd(r.server, "")
		if n, err := r.client.Read(make([]byte, 1)); n != 0 || err == nil || network == "tls" && err == io.EOF {
			t.Errorf("%s: read %d bytes, %v", network, n, err)
		}
		r.refused(errUnwanted)
	}
}

// The server has sent what nobody has read, which would make a reset of a plain
// close: its end comes first.
func TestRefusalIsAnEndForATalkativeServer(t *testing.T) {
	var s sights
	r := open(t, plan{options: relay.Options{Look: s.look(upToBang), LookFor: time.Hour}})
	_ = r.server.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	flood(r.server) // nobody writes any more, who would be told of a reset
	_, _ = io.WriteString(r.client, "hello!")
	if n, err := r.server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
	r.refused(errUnwanted)
}

func upToBang(s sight) (bool, error) {
	if strings.Contains(s.bytes, "!") {
		return false, errUnwanted
	}
	return true, nil
}

func TestClientResetsWhileItIsLookedAt(t *testing.T) {
	var s sights
	r := open(t, plan{options: relay.Options{Look: s.look(waits), LookFor: time.Hour}})
	_, _ = io.WriteString(r.client, "half a line")
	s.await(t, "half a line")
	reset(t, r.client)
	r.hearReset(r.server, "")
	e := r.finishWith(syscall.ECONNRESET)
	e.endedBy(t, relay.Client)
	if look := (*relay.LookError)(nil); errors.As(e.err, &look) || e.stats.FromClient != 0 {
		t.Errorf("ended with %v, %+v", e.err, e.stats)
	}
}

func TestServerSpeaksFirst(t *testing.T) {
	onNetworks(t, func(t *testing.T, networks [2]string) {
		var s sights
		r := open(t, plan{networks: networks, fromServer: "early, ", options: relay.Options{Look: s.look(upToLine), LookFor: time.Hour}})
		r.hear(r.client, "early, ")
		r.say(r.server, r.client, "while the client is silent")
		_, _ = io.WriteString(r.client, "half ")
		s.await(t, "half ")
		r.say(r.server, r.client, "while it has said half")
		_, _ = io.WriteString(r.client, "a line\n")
		r.hear(r.server, "half a line\n")
		r.say(r.server, r.client, "and after")
		closeWrite(t, r.client)
		closeWrite(t, r.server)
		r.finishWith(nil)
	})
}

func TestServerEndsWhileTheClientIsLookedAt(t *testing.T) {
	onNetworks(t, func(t *testing.T, networks [2]string) {
		var s sights
		r := open(t, plan{networks: networks, options: relay.Options{Look: s.look(upToLine), LookFor: time.Hour}})
		_, _ = io.WriteString(r.client, "half ")
		s.await(t, "half ")
		_, _ = io.WriteString(r.server, "goodbye")
		closeWrite(t, r.server)
		r.hearEnd(r.client, "goodbye")
		_, _ = io.WriteString(r.client, "a line\n")
		closeWrite(t, r.client)
		r.hearEnd(r.server, "half a line\n")
		r.finishWith(nil).endedBy(t, relay.Server)
	})
}

func TestRefusalAfterTheServersEnd(t *testing.T) {
	var s sights
	r := open(t, plan{options: relay.Options{Look: s.look(upToBang), LookFor: time.Hour}})
	closeWrite(t, r.server)
	r.hearEnd(r.client, "")
	_, _ = io.WriteString(r.client, "hello!")
	r.hearEnd(r.server, "")
	r.refused(errUnwanted)
	if _, err := r.client.Write([]byte("more")); err == nil {
		t.Error("the client is still heard")
	}
}

func TestServerResetsWhileTheClientIsLookedAt(t *testing.T) {
	onClients(t, func(t *testing.T, networks [2]string) {
		for _, said := range []string{"", "half a line"} {
			var s sights
			r := open(t, plan{networks: networks, options: relay.Options{Look: s.look(waits), LookFor: time.Hour}})
			if said != "" {
				_, _ = io.WriteString(r.client, said)
				s.await(t, said)
			}
			reset(t, r.server)
			if networks[0] == "tcp" {
				r.hearReset(r.client, "")
			}
			r.finishWith(syscall.ECONNRESET).endedBy(t, relay.Server)
		}
	})
}

func TestPanicOfLookRefuses(t *testing.T) {
	var s sights
	r := open(t, plan{options: relay.Options{Look: s.look(func(sight) (bool, error) { panic("boom") })}})
	_, _ = io.WriteString(r.client, "hello")
	r.hearEnd(r.server, "")
	r.hearReset(r.client, "")
	r.refused(relay.ErrPanic)
}

// Bounds and drain end a tunnel that is looked at as any other.
func TestBoundsHoldWhileTheClientIsLookedAt(t *testing.T) {
	const soon = 100 * time.Millisecond
	for _, tt := range []struct {
		name string
		o    relay.Options
		want error
	}{
		{"idle", relay.Options{Idle: soon}, relay.ErrIdle},
		{"idle before the look is over", relay.Options{Idle: soon, LookFor: time.Hour}, relay.ErrIdle},
		{"life", relay.Options{Life: soon, LookFor: time.Hour}, relay.ErrLife},
		{"half-close", relay.Options{HalfClose: soon, LookFor: time.Hour}, relay.ErrHalfClose},
		{"drain", relay.Options{LookFor: time.Hour}, relay.ErrDrained},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onClients(t, func(t *testing.T, networks [2]string) {
				if errors.Is(tt.want, relay.ErrHalfClose) && networks[0] == "pipe" {
					return // has no half to close
				}
				for _, said := range []string{"", "half a line"} {
					cutWhileLookedAt(t, networks, said, tt.o, tt.want)
				}
			})
		})
	}
}

func cutWhileLookedAt(t *testing.T, networks [2]string, said string, o relay.Options, want error) {
	t.Helper()
	var s sights
	var set relay.Set
	o.Look = s.look(waits)
	r := open(t, plan{set: &set, networks: networks, options: o})
	_, _ = io.WriteString(r.client, said)
	if said != "" && (errors.Is(want, relay.ErrHalfClose) || errors.Is(want, relay.ErrDrained)) {
		s.await(t, said)
	}
	if errors.Is(want, relay.ErrHalfClose) {
		closeWrite(t, r.server)
	}
	if errors.Is(want, relay.ErrDrained) {
		cut(t, &set)
	}
	e := r.finishWith(want)
	e.endedBy(t, relay.None)
	if got, _ := io.ReadAll(r.server); len(got) > 0 || e.stats.FromClient != 0 {
		t.Errorf("the server got %q, %+v", got, e.stats)
	}
}

// What has been looked at goes on as ever: also by splice.
func TestFlowAfterTheLook(t *testing.T) {
	onNetworks(t, func(t *testing.T, networks [2]string) {
		var s sights
		r := open(t, plan{networks: networks, options: relay.Options{Look: s.look(upToLine), LookFor: time.Hour}})
		up, down := append([]byte("line\n"), noise(6<<20)...), noise(3<<20)
		var group sync.WaitGroup
		failures := make(chan error, 4)
		group.Go(func() { failures <- send(r.client, up, 1) })
		group.Go(func() { failures <- send(r.server, down, 2) })
		group.Go(func() { failures <- expect(r.server, up) })
		group.Go(func() { failures <- expect(r.client, down) })
		group.Wait()
		close(failures)
		for err := range failures {
			if err != nil {
				t.Error(err)
			}
		}
		r.finishWith(nil)
	})
}

func TestSpliceIsKeptAfterTheLook(t *testing.T) {
	const flows, kept = 8, 4 // descriptors of pipes that may be there before
	before := descriptors() + 4*flows
	var rigs []*rig
	for range flows {
		var s sights
		r := open(t, plan{fromClient: "line\n", options: relay.Options{Look: s.look(upToLine)}})
		rigs = append(rigs, r)
		go flood(r.client)
		go func() { _, _ = io.Copy(io.Discard, struct{ io.Reader }{r.server}) }()
	}
	if !poll(patience, func() bool { return descriptors() > before+kept }) {
		t.Error("no pipe was seen")
	}
	for _, r := range rigs {
		_ = r.client.Close()
		_ = r.server.Close()
		r.finish()
	}
}

// A thousand clients, of whom each does something else.
func TestLookLeaksNothing(t *testing.T) {
	const tunnels, hands = 1000, 50
	var set relay.Set
	turns := make(chan turn)
	failures := make(chan error, tunnels)
	var group sync.WaitGroup
	for range hands {
		group.Go(func() {
			for turn := range turns {
				failures <- turn.take()
			}
		})
	}
	for i := range tunnels {
		decide := []func(sight) (bool, error){upToLine, waits, refuses, silently}[i%4]
		network := []string{"tcp", "tcp", "tcp", "tls", "unix"}[i%5]
		o := relay.Options{Look: new(sights).look(decide), LookFor: 20 * time.Millisecond, Idle: time.Minute}
		turns <- turn{i, open(t, plan{set: &set, networks: [2]string{network, "tcp"}, options: o})}
	}
	close(turns)
	group.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			t.Error(err)
		}
	}
	if err := set.Drain(t.Context()); err != nil || set.Len() != 0 {
		t.Errorf("%d tunnels: %v", set.Len(), err)
	}
}

// turn is one tunnel of many.
type turn struct {
	i int
	*rig
}

// take goes through the tunnel from its beginning to its end.
func (r turn) take() error {
	text := noise([]int{1, 100, 5 << 10, 40 << 10, 100 << 10}[r.i/4%5])
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = r.client.Write(text)
		switch r.i / 20 % 4 {
		case 0:
			_ = r.client.(interface{ CloseWrite() error }).CloseWrite()
		case 1:
			if c, ok := r.client.(*net.TCPConn); ok {
				_ = c.SetLinger(0)
			}
			_ = r.client.Close()
		case 2:
			_ = r.client.Close()
		}
	}()
	got := make([]byte, len(text))
	n, _ := io.ReadFull(r.server, got)
	_ = r.server.Close()
	<-sent
	_ = r.client.Close()
	e := <-r.ended
	look := (*relay.LookError)(nil)
	switch refused := errors.As(e.err, &look); {
	case refused && (n > 0 || e.stats.FromClient > 0 || e.stats.Ended != relay.None):
		return fmt.Errorf("tunnel %d was refused, and %d bytes arrived, %+v", r.i, n, e.stats)
	case !bytes.HasPrefix(text, got[:n]):
		return fmt.Errorf("tunnel %d: other bytes arrived", r.i)
	}
	return nil
}
