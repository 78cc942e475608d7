package relay_test

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"viaduct/relay"
)

var networks = []string{"tcp", "unix", "tls"}

func onNetworks(t *testing.T, test func(t *testing.T, networks [2]string)) {
	for _, client := range networks {
		for _, server := range networks {
			t.Run(client+"-"+server, func(t *testing.T) {
				t.Parallel()
				test(t, [2]string{client, server})
			})
		}
	}
}

func TestEarlyBytesComeFirst(t *testing.T) {
	onNetworks(t, func(t *testing.T, networks [2]string) {
		r := open(t, plan{networks: networks, fromClient: "early up, ", fromServer: "early down, "})
		r.hear(r.server, "early up, ")
		r.hear(r.client, "early down, ")
		r.say(r.client, r.server, "late up")
		r.say(r.server, r.client, "late down")
		_ = r.client.Close()
		_ = r.server.Close()
		r.finish()
	})
}

func TestEarlyBytesLargerThanTheSocket(t *testing.T) {
	early := strings.Repeat("viaduct ", 1<<20)
	r := open(t, plan{fromClient: early})
	r.hear(r.server, early)
	closeWrite(t, r.client)
	closeWrite(t, r.server)
	if e := r.finishWith(nil); e.stats.FromClient != int64(len(early)) || e.stats.FromServer != 0 {
		t.Fatalf("counted %+v", e.stats)
	}
}

func TestClientHalfClosesAndReadsTheAnswer(t *testing.T) {
	onNetworks(t, func(t *testing.T, networks [2]string) {
		r := open(t, plan{networks: networks})
		r.say(r.client, r.server, "question")
		closeWrite(t, r.client)
		r.hearEnd(r.server, "")
		r.say(r.server, r.client, "answer")
		closeWrite(t, r.server)
		r.hearEnd(r.client, "")
		if e := r.finishWith(nil); e.stats.FromClient != 8 || e.stats.FromServer != 6 || e.stats.Duration <= 0 {
			t.Fatalf("counted %+v", e.stats)
		}
	})
}

func TestServerHalfClosesAndGoesOnReading(t *testing.T) {
	onNetworks(t, func(t *testing.T, networks [2]string) {
		r := open(t, plan{networks: networks})
		closeWrite(t, r.server)
		r.hearEnd(r.client, "")
		for range 3 {
			r.say(r.client, r.server, "still here")
		}
		closeWrite(t, r.client)
		r.hearEnd(r.server, "")
		r.finishWith(nil)
	})
}

func TestBytesAndEndInOneSegment(t *testing.T) {
	for range 200 {
		r := open(t, plan{})
		_, _ = io.WriteString(r.client, "last words")
		closeWrite(t, r.client)
		r.hearEnd(r.server, "last words")
		_, _ = io.WriteString(r.server, "last answer")
		_ = r.server.Close()
		r.hearEnd(r.client, "last answer")
		r.finishWith(nil)
	}
}

// An end that can't be half-closed can only be told by closing it.
func TestEndWithoutHalfCloseEndsTheTunnel(t *testing.T) {
	r := open(t, plan{networks: [2]string{"tcp", "pipe"}})
	r.say(r.client, r.server, "question")
	r.say(r.server, r.client, "answer")
	closeWrite(t, r.client)
	r.hearEnd(r.server, "")
	r.hearEnd(r.client, "")
	r.finishWith(nil)
}

func TestPipesOnBothEnds(t *testing.T) {
	r := open(t, plan{networks: [2]string{"pipe", "pipe"}, fromServer: "early"})
	r.hear(r.client, "early")
	r.say(r.client, r.server, "question")
	r.say(r.server, r.client, "answer")
	_ = r.server.Close()
	r.hearEnd(r.client, "")
	r.finishWith(nil)
}

func TestDeadlinesOfBeforeAreCleared(t *testing.T) {
	client, inner := pair(t, "tcp")
	server, outer := pair(t, "tcp")
	_ = inner.SetDeadline(past)
	_ = outer.SetDeadline(past)
	r := &rig{t: t, client: client, server: server, ended: make(chan end, 1)}
	new(relay.Set).Go(inner, outer, nil, nil, relay.Options{}, func(s relay.Stats, err error) { r.ended <- end{s, err} })
	r.say(client, server, "hello")
	_ = client.Close()
	_ = server.Close()
	r.finish()
}

func TestNoDoneIsFine(t *testing.T) {
	var set relay.Set
	client, inner := pair(t, "tcp")
	server, outer := pair(t, "tcp")
	set.Go(inner, outer, nil, nil, relay.Options{}, nil)
	_ = client.Close()
	_ = server.Close()
	if !poll(patience, func() bool { return set.Len() == 0 }) {
		t.Fatal("the tunnel didn't end")
	}
	if _, err := inner.Write(nil); err == nil {
		t.Fatal("the connection is open")
	}
}

// descriptorOf is for tests that look at a socket's options.
func descriptorOf(t testing.TB, c net.Conn, f func(fd int)) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		t.Fatal(err)
	}
}
