package door_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"viaduct/door"
)

func open(t *testing.T, addr string) *door.Listener {
	t.Helper()
	l, err := door.Open(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func dial(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
}

func TestLastCallLetsTheQueueIn(t *testing.T) {
	l := open(t, "127.0.0.1:0")
	const waiting = 20
	for range waiting {
		dial(t, l.Addr().String())
	}
	l.CallLast()
	for i := range waiting {
		c, err := l.Accept()
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		_ = c.Close()
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the socket is still open")
	}
}

func TestLastCallWakesWhoAccepts(t *testing.T) {
	l := open(t, "127.0.0.1:0")
	ended := make(chan error)
	go func() { _, err := l.Accept(); ended <- err }()
	l.CallLast()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
}

// quietPort is free at every address, and not one that a connection of somebody
// else's could leave by meanwhile.
func quietPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(10000))
		if free, err := net.Listen("tcp", "0.0.0.0:"+port); err == nil {
			_ = free.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

func TestPortIsSharedForAMomentOnly(t *testing.T) {
	port := quietPort(t)
	narrow, wide := open(t, "127.0.0.1:"+port), "0.0.0.0:"+port
	if l, err := door.Open(wide); err == nil {
		l.Close()
		t.Fatal("both were open without asking for it")
	}
	l, err := door.OpenBeside(wide, []*door.Listener{narrow})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	narrow.Close()
	for _, addr := range []string{wide, narrow.Addr().String()} {
		if other, err := door.Open(addr); err == nil {
			other.Close()
			t.Errorf("%s may be shared still", addr)
		}
	}
	dial(t, narrow.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// What is written as IPv4 is open to IPv4 alone.
func TestFamilies(t *testing.T) {
	six, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6")
	}
	_ = six.Close()
	for addr, want := range map[string]bool{
		"0.0.0.0:0": false, "[::ffff:0.0.0.0]:0": false, "127.0.0.1:0": false, ":0": true, "[::]:0": true, "[::1]:0": true,
	} {
		l := open(t, addr)
		port := strconv.Itoa(int(l.Addr().Port()))
		c, err := net.Dial("tcp6", "[::1]:"+port)
		if err == nil {
			_ = c.Close()
		}
		if got := err == nil; got != want {
			t.Errorf("%s is open to IPv6: %v, want %v", addr, got, want)
		}
		if addr == "[::1]:0" {
			continue
		}
		dial(t, "127.0.0.1:"+port)
	}
}

// A host of IPv4 is beside one of both families, and the other way round.
func TestFamiliesChangeOnOnePort(t *testing.T) {
	four := open(t, "0.0.0.0:0")
	both := "[::]:" + strconv.Itoa(int(four.Addr().Port()))
	l, err := door.OpenBeside(both, []*door.Listener{four})
	if err != nil {
		t.Fatal(err)
	}
	four.Close()
	again, err := door.OpenBeside("0.0.0.0:"+strconv.Itoa(int(l.Addr().Port())), []*door.Listener{l})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	l.Close()
}

func TestClaimFindsTheSocketOfAnAddress(t *testing.T) {
	one, all, four, six := open(t, "127.0.0.1:0"), open(t, "[::]:0"), open(t, "0.0.0.0:0"), open(t, ":0")
	port := func(l *door.Listener) string { return ":" + strconv.Itoa(int(l.Addr().Port())) }
	list := []*door.Listener{one, all, four, six}
	for _, c := range []struct {
		addr string
		want *door.Listener
	}{
		{"127.0.0.2" + port(one), nil},
		{"127.0.0.1:1", nil},
		{"0.0.0.0" + port(one), nil},
		{"[::ffff:127.0.0.1]" + port(one), one},
		{"127.0.0.1" + port(one), nil}, // it has been taken
		{"0.0.0.0" + port(all), nil},   // it would let IPv6 in
		{port(all), all},
		{port(four), nil},
		{"[::]" + port(four), nil},
		{"0.0.0.0" + port(four), four},
		{"[::]" + port(six), six},
	} {
		if got, err := door.Claim(&list, c.addr); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.addr, got, err)
		}
	}
	if len(list) != 0 {
		t.Errorf("%d are left", len(list))
	}
}

// The test runs itself once more, as systemd would.
func TestInheritTakesWhatSystemdPasses(t *testing.T) {
	if os.Getenv("LISTEN_FDS") != "" {
		list, err := door.Inherit()
		if err != nil {
			_, _ = os.Stdout.WriteString("error: " + err.Error())
		}
		for _, l := range list {
			_, _ = os.Stdout.WriteString("has " + l.Addr().String() + "\n")
		}
		return
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, c := range []struct {
		socket interface{ File() (*os.File, error) }
		want   string
	}{
		{tcp.(*net.TCPListener), "has " + tcp.Addr().String()},
		{udp.(*net.UDPConn), "error: socket "},
	} {
		f, err := c.socket.File()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestInheritTakesWhatSystemdPasses$'`, os.Args[0])
		cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=proxy.socket")
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.CombinedOutput()
		_ = f.Close()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%v: %s, want %q", err, out, c.want)
		}
	}
}
