package probe_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"viaduct/fault"
	"viaduct/probe"
)

func TestTCPPassesWhenItOpens(t *testing.T) {
	r := run(t, probe.Check{}, peer(t, hang))
	passes(t, r)
	if r.Weight != -1 || r.Limit != -1 || r.Word != probe.NoWord {
		t.Errorf("says %+v", r)
	}
}

func TestTCPRefused(t *testing.T) {
	r := run(t, probe.Check{}, closed(t))
	if !errors.Is(r.Err, syscall.ECONNREFUSED) || fault.Classify(r.Err) != fault.ConnectionRefused {
		t.Errorf("error %v", r.Err)
	}
}

func TestTCPAnswers(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(net.Conn)
		want string // of the error
	}{
		{"whole", say("+PONG\r\n"), ""},
		{"first connection data", func(nc net.Conn) { nc.Write([]byte("220 hi +PONG")); hang(nc) }, ""},
		{"dripped", drip("-ERR no\r\n+PONG\r\n"), ""},
		{"at the last byte", say(strings.Repeat("x", 64<<10-5) + "+PONG"), ""},
		{"a byte too late", say(strings.Repeat("x", 64<<10-4) + "+PONG"), "within 65536 bytes"},
		{"other", say("-ERR \x1b[2J\r\n"), `after "-ERR \x1b[2J\r\n"`},
		{"half", say("+PON"), "unexpected EOF"},
		{"nothing", say(""), `after "": unexpected EOF`},
		{"gigabytes", endless("", "+PIN"), "within 65536 bytes"},
		{"reset", reset, "reset by peer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, probe.Check{Send: "PING\r\n", Expect: "+PONG"}, peer(t, tt.play))
			if tt.want == "" {
				passes(t, r)
			} else {
				fails(t, r, tt.want)
			}
		})
	}
}

func TestTCPBannerWithoutASend(t *testing.T) {
	addr := peer(t, func(nc net.Conn) { nc.Write([]byte("SSH-2.0-x\r\n")); hang(nc) })
	passes(t, run(t, probe.Check{Expect: "SSH-2.0"}, addr))
}

func TestTCPSendsAlone(t *testing.T) {
	got := make(chan string, 1)
	addr := peer(t, func(nc net.Conn) { got <- request(nc) })
	passes(t, run(t, probe.Check{Send: "QUIT\r\n"}, addr))
	if s := <-got; s != "QUIT\r\n" {
		t.Errorf("sent %q", s)
	}
}

// TestEveryCheckIsBounded: a peer that takes the connection and says nothing,
// or never enough.
func TestEveryCheckIsBounded(t *testing.T) {
	checks := []probe.Check{
		{Expect: "x"},
		{Send: strings.Repeat("x", 64<<20)}, // more than the system takes in
		{Kind: probe.TLS},
		{Kind: probe.HTTP},
		{Kind: probe.HTTP, Secure: true},
		{Kind: probe.GRPC},
		{Kind: probe.GRPC, Secure: true},
		{Kind: probe.Agent},
		{Kind: probe.Agent, Path: "/"},
		{Kind: probe.Agent, Secure: true},
	}
	done := make(chan struct{})
	addr := peer(t, func(net.Conn) { <-done }) // it reads nothing
	t.Cleanup(func() { close(done) })
	for _, c := range checks {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			late(t, runFor(t, short, c, probe.Endpoint{Addr: addr}))
		})
	}
}

func TestACancelledCheckEnds(t *testing.T) {
	asked := make(chan struct{})
	addr := peer(t, func(nc net.Conn) { close(asked); hang(nc) })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan probe.Result, 1)
	go func() { ended <- probe.Check{Expect: "x"}.Run(ctx, probe.Endpoint{Addr: addr}) }()
	<-asked
	cancel()
	if r := <-ended; !errors.Is(r.Err, context.Canceled) {
		t.Errorf("error %v", r.Err)
	}
}

func TestUnixSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 9)
	on(t, l, func(nc net.Conn) {
		got <- request(nc)
		nc.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
	})
	for _, addr := range []string{path, "unix://" + path} {
		r := run(t, probe.Check{Kind: probe.HTTP}, addr)
		passes(t, r)
		if s := <-got; !strings.Contains(s, "\r\nHost: localhost\r\n") {
			t.Errorf("sent %q", s)
		}
	}
	fails(t, run(t, probe.Check{Port: 1}, path), "has no port")
	fails(t, run(t, probe.Check{}, "unix://x"), "write unix:///path")
	fails(t, run(t, probe.Check{}, path+"x"), "no such file")
}

func TestAnotherPort(t *testing.T) {
	addr := peer(t, hang)
	_, port, _ := net.SplitHostPort(addr)
	c, err := probe.Parse("agent:" + port)
	if err != nil {
		t.Fatal(err)
	}
	passes(t, run(t, probe.Check{Port: c.Port}, "127.0.0.1:1"))
}

func TestWhatIsNoEndpoint(t *testing.T) {
	for _, addr := range []string{"", "host", "::1", "a:b:c"} {
		fails(t, run(t, probe.Check{}, addr), "write host:port or unix:///path")
	}
}

func TestItsOwnDialer(t *testing.T) {
	refused := errors.New("not today")
	dialed := ""
	e := probe.Endpoint{Addr: "h:1", Dial: func(_ context.Context, network, addr string) (net.Conn, error) {
		dialed += network + " " + addr + "|"
		return nil, refused
	}}
	for _, c := range []probe.Check{{}, {Kind: probe.HTTP, Port: 2}, {Kind: probe.GRPC}, {Kind: probe.Agent}, {Kind: probe.TLS}} {
		if r := runFor(t, patience, c, e); !errors.Is(r.Err, refused) {
			t.Errorf("%s: error %v", c, r.Err)
		}
	}
	if dialed != "tcp h:1|tcp h:2|tcp h:1|tcp h:1|tcp h:1|" {
		t.Errorf("dialed %s", dialed)
	}
}

func TestNoneAsksNothing(t *testing.T) {
	passes(t, run(t, probe.Check{Kind: probe.None}, ""))
	fails(t, run(t, probe.Check{Kind: 99}, ""), "kind 99")
}

// The deadline of a dial can pass a moment before its context tells.
func TestDialThatIsLate(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
	}
	if r := (probe.Check{}).Run(ctx, probe.Endpoint{Addr: "127.0.0.1:1", Dial: dial}); !errors.Is(r.Err, context.DeadlineExceeded) {
		t.Errorf("error %v", r.Err)
	}
}
