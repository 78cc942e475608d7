package test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

var boundRows = []row{
	{"4559-6/handshake", "–", "NTLM and Negotiate, the scheme in any case: all steps of the handshake, and what follows without credentials, are on one connection of the origin, a POST with its body as the last step too.", "", boundHandshake},
	{"4559-6/nobody-else", "–", "A connection that was authenticated is nobody else's: not while its client is idle, not in the middle of the handshake, not when the client has gone.", "", boundNobodyElse},
	{"4559-6/offered", "–", "An answer that offers NTLM or Negotiate, among other schemes, binds its connection; one that offers Basic, or names them elsewhere, doesn't.", "", boundOffered},
	{"4559-6/another-destination", "–", "A client that turns to another destination and comes back starts on a fresh connection, and nobody else gets the one before.", "", boundElsewhere},
	{"4559-6/origin-closes", "–", "The origin closes an authenticated connection: the next request goes on a fresh one, a POST with its body too, which is read once.", "", boundStale},
	{"4559-6/tunnel", "–", "A client that turns to a tunnel gives up its authenticated connection, and an authenticated connection may become a WebSocket.", "", boundTunnel},
	{"4559-6/users", "–", "On one connection that carries requests of two users of the proxy, none is answered as the other.", own, boundUsers},
	{"4559-6/nothing-left", "–", "Hundreds of clients that authenticate at once, each known by its own name, and leave: no connection of the origin stays.", own, boundLeaves},
}

// gatekeeper is a script that authenticates its connection as NTLM does. The
// challenge is another one for each connection, and nobody is who they say they
// are without it.
func gatekeeper(scheme string) func(*originConn) {
	return func(c *originConn) {
		who := "nobody"
		challenge := fmt.Sprintf("challenge%d", c.n)
		for r := c.request(); r != nil; r = c.request() {
			credentials := r.get("Authorization")
			_, said, _ := strings.Cut(credentials, " ")
			name, fits := strings.CutPrefix(said, challenge+":")
			switch {
			case fits:
				who = name
			case said == "hello":
				c.send("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: " + scheme + " " + challenge + "\r\nContent-Length: 0\r\n\r\n")
				continue
			case credentials != "":
				c.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
				continue
			case r.has("Upgrade"):
				c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + who)
				c.drain()
				return
			}
			c.send(ok(who + r.body))
			if r.target() == "/last" {
				c.closeWrite()
				return
			}
		}
	}
}

// begins takes the first steps of a handshake, and returns the credentials of
// the last.
func begins(c *client, scheme, name string, more ...string) string {
	c.Helper()
	m := getAs(c, append(more, "Authorization: "+scheme+" hello")...)
	m.want(c, 401, "")
	_, challenge, _ := strings.Cut(m.get("WWW-Authenticate"), " ")
	return "Authorization: " + scheme + " " + challenge + ":" + name
}

// known takes all of them.
func known(c *client, name string, more ...string) {
	c.Helper()
	last := begins(c, "NTLM", name, more...)
	getAs(c, append(more, last)...).want(c, 200, name)
}

// another is a further client of the origin.
func another(t *testing.T, p *proxy, o *origin) *client {
	t.Helper()
	c := dial(t, p)
	c.fill = o.places
	return c
}

func boundHandshake(t *testing.T, p *proxy) {
	for _, scheme := range []string{"NTLM", "Negotiate", "ntlm", "NEGOTIATE"} {
		c, o := stage(t, p, gatekeeper(scheme))
		getAs(c, begins(c, scheme, "ann")).want(t, 200, "ann")
		getAs(c).want(t, 200, "ann")
		c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\n" + begins(c, scheme, "ben") + "\r\nContent-Length: 5\r\n\r\n, hey")
		c.answer().want(t, 200, "ben, hey")
		c.send("POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n, hey\r\n0\r\n\r\n")
		c.answer().want(t, 200, "ben, hey")
		if n := o.dials(); n != 1 {
			t.Errorf("%s: %d connections, want one", scheme, n)
		}
	}
}

func boundNobodyElse(t *testing.T, p *proxy) {
	c, o := stage(t, p, gatekeeper("NTLM"))
	last := begins(c, "NTLM", "ann")
	for range 4 {
		getAs(another(t, p, o)).want(t, 200, "nobody")
	}
	getAs(c, last).want(t, 200, "ann")
	for range 4 {
		getAs(another(t, p, o)).want(t, 200, "nobody")
		getAs(c).want(t, 200, "ann")
	}
	getAs(c, "Connection: close").want(t, 200, "ann")
	c.ends()
	for range 4 {
		getAs(another(t, p, o)).want(t, 200, "nobody")
	}
}

func boundOffered(t *testing.T, p *proxy) {
	for _, offer := range []struct {
		line  string
		bound bool
	}{
		{"WWW-Authenticate: NTLM", true},
		{"www-authenticate: negotiate", true},
		{"WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: NTLM", true},
		{"WWW-Authenticate: Basic realm=\"a, b\", Negotiate", true},
		{"WWW-Authenticate: Basic realm=\"NTLM\"", false},
		{"X: NTLM", false},
	} {
		c, o := stage(t, p, says("HTTP/1.1 401 Unauthorized\r\n"+offer.line+"\r\nContent-Length: 0\r\n\r\n"))
		getAs(c).want(t, 401, "")
		getAs(c).want(t, 401, "")
		c.ask("GET nonsense HTTP/1.1", "Host: x").answer().wantOwn(t, 400) // the proxy is done with the other one
		getAs(another(t, p, o)).want(t, 401, "")
		if bound := o.dials() == 2; bound != offer.bound {
			t.Errorf("%q: %d connections for three requests of two clients", offer.line, o.dials())
		}
	}
}

func boundElsewhere(t *testing.T, p *proxy) {
	c, o := stage(t, p, gatekeeper("NTLM"))
	far := newOrigin(t, says(ok("far")))
	known(c, "ann")
	c.ask("GET http://"+far.addr+"/ HTTP/1.1", "Host: x").answer().want(t, 200, "far")
	poll(t, "the connection is closed", func() bool { return o.open() == 0 })
	getAs(another(t, p, o)).want(t, 200, "nobody")
	getAs(c).want(t, 200, "nobody")
	known(c, "ann")
}

func boundStale(t *testing.T, p *proxy) {
	for _, request := range []string{
		"GET http://{O}/ HTTP/1.1\r\nHost: {O}\r\n\r\n",
		"POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nContent-Length: 1\r\n\r\n!",
		"POST http://{O}/ HTTP/1.1\r\nHost: {O}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n0\r\n\r\n",
	} {
		c, o := stage(t, p, gatekeeper("NTLM"))
		known(c, "ann")
		c.ask("GET http://{O}/last HTTP/1.1", "Host: {O}").answer().want(t, 200, "ann")
		poll(t, "the origin has closed it", func() bool { return o.open() == 0 })
		c.send(request)
		c.answer().want(t, 200, "nobody"+strings.Repeat("!", strings.Count(request, "!")))
		if n := len(o.seen()); n != 4 || o.dials() != 2 {
			t.Errorf("%d requests on %d connections, want 4 on 2", n, o.dials())
		}
	}
}

func boundTunnel(t *testing.T, p *proxy) {
	c, o := stage(t, p, gatekeeper("NTLM"))
	known(c, "ann")
	c.tunnel(newOrigin(t, echo).addr).send("ping").read("ping")
	poll(t, "the connection is closed", func() bool { return o.open() == 0 })
	c.send("pong").read("pong")

	c = another(t, p, o)
	known(c, "ann")
	c.ask("GET http://{O}/ HTTP/1.1", "Host: {O}", "Connection: upgrade", "Upgrade: websocket")
	if m := c.head(); m.status() != 101 {
		t.Fatalf("got %q", m.raw)
	}
	c.read("ann")
	c.closeWrite()
	c.ends()
	poll(t, "both are closed", func() bool { return o.open() == 0 })
}

func boundUsers(t *testing.T, _ *proxy) {
	p := startUsers(t)
	c, o := stage(t, p, gatekeeper("NTLM"))
	known(c, "ann", alice)
	getAs(c, alice).want(t, 200, "ann")
	getAs(c).wantChallenge(t)
	getAs(c, alice).want(t, 200, "ann")
	getAs(c, bob).want(t, 200, "nobody")
	poll(t, "the connection is closed", func() bool { return o.open() == 1 })
	getAs(c, alice).want(t, 200, "nobody")
}

func boundLeaves(t *testing.T, _ *proxy) {
	p := start(t, quick...)
	base := warm(t, p)
	o := newOrigin(t, gatekeeper("NTLM"))
	if err := each(400, func(i int) error { return authenticateOnce(p.addr, o.addr, fmt.Sprint("person", i)) }); err != nil {
		t.Error(err)
	}
	poll(t, "all are closed", func() bool { return o.open() == 0 })
	p.settles(t, base)
}

// authenticateOnce is a client that authenticates, asks again and leaves.
func authenticateOnce(proxy, target, name string) error {
	conn, err := net.DialTimeout("tcp", proxy, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	in, credentials := bufio.NewReader(conn), "Authorization: NTLM hello\r\n"
	for n := range 4 {
		fmt.Fprintf(conn, "GET http://%s/ HTTP/1.1\r\nHost: x\r\n%s\r\n", target, credentials)
		m, err := readAnswer(in, "GET")
		if err != nil {
			return err
		}
		if credentials = ""; n == 0 {
			credentials = "Authorization: " + m.get("WWW-Authenticate") + ":" + name + "\r\n"
		} else if m.body != name {
			return fmt.Errorf("%s is answered as %q", name, m.body)
		}
	}
	return nil
}
