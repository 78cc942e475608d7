package test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// loads are the tests of many at once. They run one after the other, and not
// in the short run.
var loads = []row{
	{"load/thousand-tunnels", "T49", "1,000 tunnels at once, 64 KiB each way through all of them: every byte is right, every descriptor comes back.", own, thousandTunnels},
	{"load/idle-tunnels", "T67", "As many idle tunnels as the descriptor limit allows, up to 10,000: two descriptors each, all alive, others served.", own, idleTunnels},
	{"load/idle-connections", "T67", "3,000 connections that say nothing, half a head, or nothing more: others are served, each of them is served when it speaks up, and memory and descriptors come back.", own, idleConnections},
	{"load/slow-heads", "T67", "500 clients that drip their heads: others are served, the 500 are cut, and memory and descriptors come back.", own, slowHeads},
	{"load/flood", "–", "5,000 clients at once where there is room for 100: the 100 are served, the others told or closed, all are counted, memory stays flat.", own, flood},
	{"load/reloads", "T69", "Five reloads and five broken files under 500 requests a second and 200 tunnels: no request fails, no tunnel is cut, each exchange has its line in the log.", own, reloads},
	{"load/million-names", "T69", "A list of a million names changes twice under 500 requests a second: within seconds it is read, no request fails, none takes longer than a second.", own, millionNames},
	{"load/one-connection", "T38", "30,000 requests on one connection, ten at a time: each gets its own answer, and memory and descriptors come back.", own, oneConnection},
	{"load/descriptors-used-up", "T71", "More clients than there are descriptors: the proxy lives, and serves again soon after they have gone.", own, descriptorsUsedUp},
	{"load/killed-clients", "T71", "1,000 tunnels whose client process is killed: every descriptor comes back.", own, killedClients},
	{"load/aborts", "T71", "1,500 exchanges and tunnels broken off at random points: every descriptor comes back.", own, aborts},
	{"load/no-mixups", "T40", "24 clients, some leaving halfway, and origins that close, reset, break off and say too much: each whole answer is the right one, each POST is read at most once.", own, noMixups},
	{"load/memory-stays-flat", "T71", "20,000 connections in turn (100,000 with VIADUCT_LONG=1): less than 24 MiB more memory.", own, memoryStaysFlat},
	{"load/clients-that-never-read", "T71", "16 clients that read nothing of 64 MiB, by length, in chunks and through tunnels, or send requests without end; 16 origins that read nothing of an upload: less than 24 MiB more memory.", own, clientsThatNeverRead},
}

func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("heavy")
	}
	if _, err := build(); err != nil {
		t.Fatal(err)
	}
	for _, r := range loads {
		t.Run(r.name, func(t *testing.T) { r.run(t, nil) })
	}
}

// settles polls until the process has no more than base descriptors, and the
// few that a pool of pipes may keep.
func (p *proxy) settles(t *testing.T, base int) {
	t.Helper()
	const pooled = 24
	if !eventually(2*patience, func() bool { return p.descriptors(t) <= base+pooled }) {
		t.Errorf("%d descriptors stay open, %d before", p.descriptors(t), base)
	}
	t.Logf("%d descriptors, %d before", p.descriptors(t), base)
}

// warm lets the process open what it keeps, and counts its descriptors when
// nothing goes on.
func warm(t *testing.T, p *proxy) (base int) {
	t.Helper()
	c, o := stage(t, p, says(ok("warm")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close").answer().want(t, 200, "warm")
	c.ends()
	if err := tunnelOnce(p.addr, newOrigin(t, echo).addr); err != nil {
		t.Fatal(err)
	}
	poll(t, "calm", func() bool { return o.open() == 0 })
	return p.descriptors(t)
}

// quick are the limits under which what is left over goes soon.
var quick = []string{"--upstream-idle-timeout", "1s"}

// thousandTunnels opens 1,000 tunnels at once and sends 64 KiB each way
// through all of them; each side checks each byte.
func thousandTunnels(t *testing.T, _ *proxy) {
	p := start(t, quick...)
	base := warm(t, p)
	const tunnels, size = 1000, 64 << 10
	o := newOrigin(t, func(o *originConn) { swap(o.Conn, size) })
	var open, done sync.WaitGroup
	open.Add(tunnels)
	failures := make(chan error, tunnels)
	for n := range tunnels {
		done.Go(func() {
			if err := swapThrough(p.addr, o.addr, n, size, &open); err != nil {
				failures <- fmt.Errorf("tunnel %d: %w", n, err)
			}
		})
	}
	done.Wait()
	close(failures)
	count := 0
	for err := range failures {
		if count++; count < 5 {
			t.Error(err)
		}
	}
	if count > 0 {
		t.Errorf("%d of %d tunnels failed", count, tunnels)
	}
	p.settles(t, base)
}

// stuff is the content of a tunnel, another one for each number.
func stuff(n, size int) []byte {
	out := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16), 7})
	r.Read(out) // never fails
	return out
}

// swap is the origin's end: it reads a number and content, sends the content
// of the number's counterpart, and last the checksum of what it read.
func swap(conn net.Conn, size int) {
	number := make([]byte, 4)
	if _, err := io.ReadFull(conn, number); err != nil {
		return
	}
	n := int(number[0])<<8 | int(number[1])
	go conn.Write(stuff(n+1<<16, size))
	got := make([]byte, size)
	if _, err := io.ReadFull(conn, got); err != nil {
		return
	}
	sum := sha256.Sum256(got)
	if !bytes.Equal(got, stuff(n, size)) {
		sum[0]++
	}
	io.ReadFull(conn, number) // the client has read all
	conn.Write(sum[:])
	io.Copy(io.Discard, conn)
}

// swapThrough is the client's end of swap, once all tunnels stand.
func swapThrough(proxy, target string, n, size int, open *sync.WaitGroup) error {
	conn, err := openTunnel(proxy, target)
	open.Done()
	if err != nil {
		return err
	}
	defer conn.Close()
	open.Wait()
	conn.SetDeadline(time.Now().Add(4 * patience))
	mine := stuff(n, size)
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(append([]byte{byte(n >> 8), byte(n), 0, 0}, mine...))
		sent <- err
	}()
	got := make([]byte, size+sha256.Size)
	if _, err := io.ReadFull(conn, got[:size]); err != nil {
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	conn.Write(make([]byte, 4)) // reading tells
	if _, err := io.ReadFull(conn, got[size:]); err != nil {
		return err
	}
	if sum := sha256.Sum256(mine); !bytes.Equal(got[size:], sum[:]) || !bytes.Equal(got[:size], stuff(n+1<<16, size)) {
		return errors.New("bytes were changed or mixed up")
	}
	return nil
}

// idleTunnels holds as many idle tunnels as the descriptor limit allows,
// up to 10,000, with client and origin in processes of their own.
func idleTunnels(t *testing.T, _ *proxy) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := int(min(10_000, (limit.Max*15/16-100)/2)) // the proxy keeps a sixteenth back
	p := start(t, quick...)
	base, before := warm(t, p), p.resident(t)
	far := helping(t, "echo")
	near := helping(t, "hold", p.addr, far.hears(t), n)
	near.hears(t)
	if got := p.descriptors(t) - base; got > 2*n {
		t.Errorf("%d descriptors for %d idle tunnels, want 2 a tunnel", got, n)
	}
	perTunnel := (p.resident(t) - before) / n
	t.Logf("%d idle tunnels, %d bytes of memory a tunnel", n, perTunnel)
	if perTunnel > 16<<10 && !raced() {
		t.Errorf("%d bytes of memory for an idle tunnel", perTunnel)
	}
	c, _ := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	fmt.Fprintln(near.in, "are they alive?")
	near.hears(t)
	near.in.Close()
	c.conn.Close()
	p.settles(t, base)
}

// killedClients opens 1,000 tunnels from another process and kills it.
func killedClients(t *testing.T, _ *proxy) {
	p := start(t, quick...)
	base := warm(t, p)
	far := helping(t, "echo")
	near := helping(t, "hold", p.addr, far.hears(t), 1000)
	near.hears(t)
	if err := near.process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.settles(t, base)
}

// idleConnections keeps 3,000 connections that say nothing, half a head, or
// nothing more, looks whether others are served, and has all of them speak up;
// and once again, with what the first time has left.
func idleConnections(t *testing.T, _ *proxy) {
	p := start(t, append(quick, "--header-timeout", "5m")...)
	base := warm(t, p)
	o := newOrigin(t, says(ok("fine")))
	idle(t, p, o)
	p.settles(t, base)
	before := p.resident(t)
	idle(t, p, o)
	p.settles(t, base)
	p.slim(t, before)
}

func idle(t *testing.T, p *proxy, o *origin) {
	t.Helper()
	const whole = "GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n"
	const crowd, half = 3000, len("GET http://{O}")
	before := p.resident(t)
	clients := make([]*client, crowd)
	for n := range clients {
		c := dial(t, p)
		c.fill = o.places
		switch n % 3 {
		case 0:
			c.send(whole[:half])
		case 1:
			c.send(whole).answer().want(t, 200, "fine")
		}
		clients[n] = c
	}
	t.Logf("%d bytes of memory a connection", (p.resident(t)-before)/crowd)
	for range 100 {
		fetch(t, p, o.addr).want(t, 200, "fine")
	}
	for n, c := range clients {
		rest := whole
		if n%3 == 0 {
			rest = whole[half:]
		}
		c.send(rest).answer().want(t, 200, "fine")
		c.conn.Close()
	}
}

// aborts breaks 1,500 exchanges and tunnels off at random points; then
// every descriptor is back.
func aborts(t *testing.T, _ *proxy) {
	p := start(t, append(quick, "--header-timeout", "5s", "--body-timeout", "5s", "--idle-timeout", "5s")...)
	base := warm(t, p)
	o := newOrigin(t, slowOrigin)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 0))
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return dice.IntN(n)
	}
	if err := each(1500, func(n int) error { return abort(p.addr, o.addr, n, roll) }); err != nil {
		t.Fatal(err)
	}
	c, fine := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: close").answer().want(t, 200, "fine")
	c.ends()
	poll(t, "the origin has no connection any more", func() bool { return o.open() == 0 && fine.open() == 0 })
	p.settles(t, base)
}

// slowOrigin answers a tunnel or a request in pieces, so that there is always
// a middle to abort in.
func slowOrigin(o *originConn) {
	if b, err := o.in.Peek(1); err != nil || b[0] == '!' {
		echo(o)
		return
	}
	for r := o.request(); r != nil; r = o.request() {
		o.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 4 {
			pause(3 * time.Millisecond)
			if o.send("20000\r\n"+strings.Repeat("s", 0x20000)+"\r\n") != nil {
				return
			}
		}
		o.send("0\r\n\r\n")
	}
}

// abort starts something and leaves at a random point, by FIN or RST.
func abort(proxy, target string, n int, roll func(int) int) error {
	conn, err := net.DialTimeout("tcp", proxy, patience)
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(patience))
	request := [...]string{
		"GET http://%s/ HTTP/1.1\r\nHost: x\r\nX: 1\r\n\r\n",
		"POST http://%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n12345678901234567890",
		"POST http://%s/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n",
		"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n!early",
		"GET http://%s/1 HTTP/1.1\r\nHost: x\r\n\r\nGET http://x.invalid/2 HTTP/1.1\r\nHost: x\r\n\r\n",
	}[n%5]
	request = fmt.Sprintf(request, target)
	sent := len(request)
	if roll(2) == 0 {
		sent = roll(len(request) + 1)
	}
	io.WriteString(conn, request[:sent])
	if read := [...]int{300_000, 300_000, 300_000, 30, 300_000}[n%5]; sent == len(request) {
		io.CopyN(io.Discard, conn, int64(roll(read)))
	}
	if roll(2) == 0 {
		reset(conn)
	}
	conn.Close()
	return nil
}

// oneConnection asks 30,000 times on one connection.
func oneConnection(t *testing.T, _ *proxy) {
	p := start(t, append(quick, "--access-log", "off")...)
	base, before := warm(t, p), p.resident(t)
	c, _ := stage(t, p, serve(func(r *message) string { return ok(r.target()) }))
	for n := 0; n < 30_000; n += 10 {
		var ten strings.Builder
		for i := range 10 {
			fmt.Fprintf(&ten, "GET http://{O}/%d HTTP/1.1\r\nHost: {O}\r\n\r\n", n+i)
		}
		c.send(ten.String())
		for i := range 10 {
			c.answer().want(t, 200, fmt.Sprint("/", n+i))
		}
	}
	c.conn.Close()
	p.settles(t, base)
	p.slim(t, before)
}

// descriptorsUsedUp starts a proxy with 128 descriptors and sends 100 clients.
func descriptorsUsedUp(t *testing.T, _ *proxy) {
	p := launch{flags: append(slices.Clip(lenient), quick...), files: 128}.start(t)
	o := newOrigin(t, echo)
	var crowd []net.Conn
	for range 100 {
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", o.addr)
		crowd = append(crowd, conn)
	}
	poll(t, "all descriptors but those held back", func() bool { return p.descriptors(t) >= 104 })
	for _, conn := range crowd {
		conn.Close()
	}
	if !eventually(soon, func() bool { return tunnelOnce(p.addr, o.addr) == nil }) {
		t.Error("no tunnel can be opened after the crowd has gone")
	}
	if p.over() {
		t.Error("the proxy has ended")
	}
}
