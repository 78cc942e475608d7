package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var overloadRows = []row{
	{"product-2/max-conns", "–", "--max-conns: one client more is told at once, before it has said anything: 503 connection_limit_reached, Retry-After, closed; it is counted. Those who are in notice nothing.", own, maxConns},
	{"product-2/max-conns-place-is-free", "–", "A place is free again when its client closes, resets, is refused or cut, or when its tunnel ends on either side.", own, placeIsFree},
	{"product-2/max-conns-hasty-client", "–", "A client that is turned away while it sends gets its answer all the same.", own, hastyClient},
	{"product-2/max-conns-per-client", "–", "--max-conns-per-client: 429 for one address, tunnels among its connections; others are served.", own, maxConnsPerClient},
	{"product-2/per-client-dual-stack", "–", "IPv4 clients of a listener for both families are told apart; an IPv6 network is one client.", own, perClientDualStack},
	{"product-7/descriptors", "T71", "More clients than descriptors: some are turned away with 503 or closed, and counted; tunnels go on, and all is served when the others have gone.", own, descriptorsLow},
	{"product-7/idle-clients-give-way", "T71", "When descriptors run out, idle connections of clients are closed for new ones; exchanges under way are not.", own, idleClientsGiveWay},
	{"product-7/idle-origins-give-way", "T71", "When descriptors run out, idle connections to origins are closed for connections to others: no request fails.", own, idleOriginsGiveWay},
	{"product-7/idle-origins-give-way-to-clients", "T71", "The same for new clients: none is turned away while there are idle connections to origins.", own, idleOriginsGiveWayToClients},
}

// wantTurnedAway reads the answer to a client that there is no room for.
func (c *client) wantTurnedAway(status int) {
	c.Helper()
	m := c.answer()
	m.wantOwn(c, status, "connection_limit_reached")
	if atoi(m.get("Retry-After")) < 1 || !strings.EqualFold(m.get("Connection"), "close") {
		c.Errorf("got %q", m.raw)
	}
	c.ends()
}

func maxConns(t *testing.T, _ *proxy) {
	p := start(t, "--max-conns", "3", "--admin", "127.0.0.1:0")
	c, o := stage(t, p, says(ok("fine")))
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	silent := dial(t, p)
	tunnel, _ := stage(t, p, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	for range 3 {
		dial(t, p).wantTurnedAway(503)
		dial(t, p).ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").wantTurnedAway(503)
		dial(t, p).ask("CONNECT "+o.addr+" HTTP/1.1", "Host: x").wantTurnedAway(503)
	}
	tunnel.send("ping").read("ping")
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	silent.fill = o.places
	silent.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(t, 200, "fine")
	const front = `viaduct_client_connections%s{listener="127.0.0.1:0"%s}`
	for series, want := range map[string]float64{
		fmt.Sprintf(front, "", ""): 3, fmt.Sprintf(front, "_total", ""): 3, fmt.Sprintf(front, "_refused_total", `,reason="max_conns"`): 9,
	} {
		if got := p.metric(t, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	if n := len(o.seen()); n != 3 {
		t.Errorf("the origin got %d requests", n)
	}
}

// placeIsFree fills the one place there is in each way, and gives it up in each
// way.
func placeIsFree(t *testing.T, _ *proxy) {
	closing := func(o *originConn) { o.in.Peek(1) } // leaves at the first byte
	tunnel := func(c *client) { c.tunnel("{O}") }
	upgrade := func(c *client) {
		c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: Upgrade", "Upgrade: websocket")
		if m := c.answer(); m.status() != 101 {
			c.Fatalf("got %q", m.raw)
		}
	}
	get := func(c *client) { c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}").answer().want(c, 200, "fine") }
	closes, resets := leave["closes"], leave["resets"]
	for name, turn := range map[string]struct {
		script func(*originConn)
		fill   func(*client)
		empty  func(*client)
	}{
		"silent closes":  {echo, func(*client) {}, closes},
		"silent resets":  {echo, func(*client) {}, resets},
		"idle closes":    {says(ok("fine")), get, closes},
		"idle resets":    {says(ok("fine")), get, resets},
		"silent for too": {echo, func(*client) {}, func(*client) {}},
		"no sense":       {echo, func(*client) {}, func(c *client) { c.send("no sense\r\n\r\n").answer() }},
		"tunnel closes":  {echo, tunnel, closes},
		"tunnel resets":  {echo, tunnel, resets},
		"origin closes":  {closing, tunnel, func(c *client) { c.send("x"); c.closeWrite() }},
		"upgrade closes": {func(o *originConn) { o.head(); o.send(switching); echo(o) }, upgrade, closes},
		"refused tunnel": {echo, func(*client) {}, func(c *client) { c.ask("CONNECT "+refusing(c)+" HTTP/1.1", "Host: x").answer() }},
		"half a head":    {echo, func(c *client) { c.send("GET http://x") }, closes},
		"last request":   {says(ok("fine")), func(*client) {}, func(c *client) { c.ask("GET http://{O}/ HTTP/1.1", "Host: x", "Connection: close").answer() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "--max-conns", "1", "--header-timeout", "2s", "--half-close-timeout", "2s")
			c, _ := stage(t, p, turn.script)
			turn.fill(c)
			if name != "silent for too" {
				dial(t, p).wantTurnedAway(503)
			}
			turn.empty(c)
			fine := newOrigin(t, says(ok("fine")))
			poll(t, "a place", func() bool { return fetch(t, p, fine.addr).status() == 200 })
		})
	}
}

func hastyClient(t *testing.T, _ *proxy) {
	p := start(t, "--max-conns", "1")
	first := dial(t, p)
	defer first.conn.Close()
	for range 5 {
		c := dial(t, p)
		c.try("POST http://x.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("b", 100_000))
		pause(50 * time.Millisecond) // a reset would come by now
		c.answer().wantOwn(t, 503, "connection_limit_reached")
	}
}

func maxConnsPerClient(t *testing.T, _ *proxy) {
	p := start(t, "--max-conns-per-client", "2")
	o := newOrigin(t, says(ok("fine")))
	e := newOrigin(t, echo)
	idle := dialFrom(t, p, "127.0.1.1")
	tunnel := dialFrom(t, p, "127.0.1.1").tunnel(e.addr)
	for range 3 {
		dialFrom(t, p, "127.0.1.1").wantTurnedAway(429)
		dialFrom(t, p, "127.0.1.1").ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").wantTurnedAway(429)
		dialFrom(t, p, "127.0.1.2").ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x", "Connection: close").answer().want(t, 200, "fine")
	}
	idle.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
	tunnel.send("ping").read("ping")
	tunnel.conn.Close()
	poll(t, "a place", func() bool {
		c := dialFrom(t, p, "127.0.1.1")
		defer c.conn.Close()
		return c.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().status() == 200
	})
}

func perClientDualStack(t *testing.T, _ *proxy) {
	bound(t, "::1", 0) // skips where there is no IPv6
	p := launch{args: []string{"forward", "--listen", "[::]:0", "--open", "--allow-private", "--max-conns-per-client", "2", "--access-log", "off"}}.start(t)
	four, six := p.at("127.0.0.1:"+p.port), p.at("[::1]:"+p.port)
	o := newOrigin(t, says(ok("fine")))
	for n := range 4 {
		ip := fmt.Sprintf("127.0.1.%d", n+1)
		for range 2 {
			dialFrom(t, four, ip).ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
		}
		dialFrom(t, four, ip).wantTurnedAway(429)
	}
	for range 2 {
		dial(t, six).ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "fine")
	}
	dial(t, six).wantTurnedAway(429)
}

// outcome of a client in a crowd: its answer, or that it was closed.
func outcome(conn net.Conn, request string) (status int, err error) {
	conn.SetDeadline(time.Now().Add(2 * patience))
	io.WriteString(conn, request) // it may be closed already
	var line [12]byte
	_, err = io.ReadFull(conn, line[:])
	switch {
	case err == nil:
		return atoi(string(line[9:])), nil
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return 0, nil
	}
	return 0, err
}

func descriptorsLow(t *testing.T, _ *proxy) {
	flags := slices.Concat(lenient, quick, []string{"--admin", "127.0.0.1:0"})
	p := launch{flags: flags, files: 128}.start(t)
	base := warm(t, p)
	o := newOrigin(t, says(ok("fine")))
	tunnel, _ := stage(t, p, echo)
	tunnel.tunnel("{O}").send("ping").read("ping")
	const crowd = 300
	conns := make(chan net.Conn, crowd)
	var served, told, closed atomic.Int32
	if err := eachOf(crowd, crowd, func(int) error {
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			return err
		}
		conns <- conn
		status, err := outcome(conn, "GET http://"+o.addr+"/ HTTP/1.1\r\nHost: x\r\n\r\n")
		switch {
		case err != nil:
			return err
		case status == 200:
			served.Add(1)
		case status == 503:
			told.Add(1)
		case status == 0:
			closed.Add(1)
		default:
			return fmt.Errorf("status %d", status)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d served, %d told, %d closed", served.Load(), told.Load(), closed.Load())
	if served.Load() < 10 || told.Load() == 0 {
		t.Errorf("of %d clients %d were served, %d told that there is no room", crowd, served.Load(), told.Load())
	}
	tunnel.send("ping").read("ping")
	close(conns)
	for conn := range conns {
		conn.Close()
	}
	poll(t, "everybody is served again", func() bool {
		conn, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			return false
		}
		defer conn.Close()
		status, _ := outcome(conn, "GET http://"+o.addr+"/ HTTP/1.1\r\nHost: x\r\n\r\n") // 0 while there is still no room
		return status == 200 && tunnelOnce(p.addr, newOrigin(t, echo).addr) == nil
	})
	refused := p.metric(t, `viaduct_client_connections_refused_total{listener="127.0.0.1:0",reason="descriptors"}`)
	failed := p.metric(t, `viaduct_faults_total{fault="connection_limit_reached",listener="127.0.0.1:0"}`) // let in, but no way on
	if refused == 0 || refused+failed < float64(told.Load()) {
		t.Errorf("%v refused and %v failed by count, %d told", refused, failed, told.Load())
	}
	tunnel.send("ping").read("ping")
	tunnel.conn.Close()
	for range 100 {
		fetch(t, p, o.addr).want(t, 200, "fine")
	}
	p.settles(t, base)
}

func idleClientsGiveWay(t *testing.T, _ *proxy) {
	p := launch{flags: lenient, files: 128}.start(t)
	asked, release := make(chan struct{}, 10), make(chan struct{})
	var busy []*client
	for range 10 {
		c, _ := stage(t, p, func(o *originConn) {
			o.head()
			asked <- struct{}{}
			<-release
			o.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate")
		})
		busy = append(busy, c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}"))
		receive(t, "the request at the origin", asked)
	}
	o := newOrigin(t, sayOnce("fine"))
	refusals := 0
	for range 160 { // all of whom stay
		poll(t, "a new client is served", func() bool {
			c := dial(t, p)
			m, err := readAnswer(c.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").in, "GET")
			if err == nil && m.status() == 200 {
				return true
			}
			refusals++
			c.conn.Close()
			return false
		})
	}
	t.Logf("%d had to come again", refusals)
	close(release)
	for _, c := range busy {
		c.answer().want(t, 200, "late")
	}
}

func idleOriginsGiveWay(t *testing.T, _ *proxy) {
	p := launch{flags: lenient, files: 128}.start(t)
	dial(t, p).visit(150)
}

// visit asks n origins for something, whose connections are kept.
func (c *client) visit(n int) {
	c.Helper()
	for i := range n {
		body := fmt.Sprint(i)
		o := newOrigin(c, says(ok(body)))
		c.ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x").answer().want(c, 200, body)
	}
}

func idleOriginsGiveWayToClients(t *testing.T, _ *proxy) {
	p := launch{flags: lenient, files: 128}.start(t)
	dial(t, p).visit(108) // which leaves a few
	for range 20 {
		tunnel, _ := stage(t, p, echo)
		tunnel.tunnel("{O}").send("ping").read("ping")
	}
}

// flood keeps 100 places taken, sends 5,000 clients more at once, and lets the
// 100 have their answer.
func flood(t *testing.T, _ *proxy) {
	const places, crowd = 100, 5000
	p := start(t, append(quick, "--max-conns", fmt.Sprint(places), "--admin", "127.0.0.1:0")...)
	base := warm(t, p)
	asked, release := make(chan struct{}, places), make(chan struct{})
	o := newOrigin(t, func(o *originConn) {
		o.request()
		asked <- struct{}{}
		<-release
		o.send(ok("late"))
		o.drain()
	})
	var in []*client
	for range places {
		in = append(in, dial(t, p).ask("GET http://"+o.addr+"/ HTTP/1.1", "Host: x"))
	}
	for range places {
		receive(t, "a request at the origin", asked)
	}
	before := p.resident(t)
	var most atomic.Int64
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-over:
				tick.Stop()
				return
			case <-tick.C:
				most.Store(max(most.Load(), int64(p.resident(t))))
			}
		}
	})
	var told, closed atomic.Int32
	err := eachOf(crowd, crowd, func(int) error {
		conn, err := net.DialTimeout("tcp", p.addr, 2*patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		switch status, err := outcome(conn, "GET http://"+o.addr+"/ HTTP/1.1\r\nHost: x\r\n\r\n"); {
		case err != nil || status != 0 && status != 503:
			return fmt.Errorf("status %d, %w", status, err)
		case status == 503:
			told.Add(1)
		default:
			closed.Add(1)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	close(over)
	watching.Wait()
	grown := int(most.Load()) - before
	t.Logf("%d told, %d closed, %d KiB grown at most", told.Load(), closed.Load(), grown>>10)
	if grown > 24*mib && !raced() {
		t.Errorf("%d MiB more memory for %d clients that there is no room for", grown/mib, crowd)
	}
	if n := p.metric(t, `viaduct_client_connections_refused_total{listener="127.0.0.1:0",reason="max_conns"}`); n != crowd {
		t.Errorf("%v counted, %d came", n, crowd)
	}
	close(release)
	for _, c := range in {
		c.answer().want(t, 200, "late")
		c.conn.Close()
	}
	fine := newOrigin(t, says(ok("fine")))
	poll(t, "a place", func() bool { return fetch(t, p, fine.addr).status() == 200 })
	o.close()
	p.settles(t, base)
}

// slowHeads lets 500 clients drip their heads; others are served meanwhile, and
// the 500 are cut.
func slowHeads(t *testing.T, _ *proxy) {
	const crowd = 500
	p := start(t, append(quick, "--header-timeout", "4s")...)
	base, before := warm(t, p), p.resident(t)
	o := newOrigin(t, says(ok("fine")))
	cut := make(chan error, 1)
	go func() {
		cut <- eachOf(crowd, crowd, func(int) error { return dripHead(p.addr) })
	}()
	for range 100 {
		fetch(t, p, o.addr).want(t, 200, "fine")
		if err := tunnelOnce(p.addr, newOrigin(t, echo).addr); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-cut:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(4 * patience):
		t.Fatal("slow clients are not cut")
	}
	p.slim(t, before)
	p.settles(t, base)
}

// dripHead sends a head byte by byte until it is cut: 408 or the end.
func dripHead(proxy string) error {
	conn, err := net.DialTimeout("tcp", proxy, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, b := range []byte("GET http://x.example/ HTTP/1.1\r\nX: " + strings.Repeat("drip", 400)) {
		if _, err := conn.Write([]byte{b}); err != nil {
			return nil
		}
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		var line [12]byte
		n, err := io.ReadFull(conn, line[:])
		switch {
		case n > 0 && string(line[:n]) != "HTTP/1.1 408"[:n]:
			return fmt.Errorf("got %q", line[:n])
		case n > 0 || !timed(err):
			return nil
		}
	}
	return errors.New("a head was dripped to its end")
}

// slim fails when the process has grown much.
func (p *proxy) slim(t *testing.T, before int) {
	t.Helper()
	grown := p.resident(t) - before
	t.Logf("%d KiB grown", grown>>10)
	if grown > 24*mib && !raced() {
		t.Errorf("%d MiB more memory", grown/mib)
	}
}
