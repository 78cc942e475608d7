package forward

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"

	"viaduct/acl"
	"viaduct/auth"
	"viaduct/clock"
	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/mirror"
	"viaduct/relay"
	"viaduct/rest"
	"viaduct/upstream"
	"viaduct/wire"
)

// Home is what the clients of a listener belong to.
type Home struct {
	Current  func() *Proxy // the proxy of the moment
	Draining *atomic.Bool  // see exchange.Home, as with what follows
	Tunnels  *relay.Set
	Ended    func(client netip.AddrPort)
}

func (h *Home) of(c *Client) exchange.Home {
	return exchange.Home{Current: c.turn, Draining: h.Draining, Tunnels: h.Tunnels, Ended: h.Ended}
}

// Client is one client connection of a proxy.
type Client struct {
	*exchange.Session
	home    exchange.Home
	current func() *Proxy
	proxy   *Proxy // that answers the present request
	targets hop.Parser
	turn    func() *exchange.Options // c.next, made once
	tag     func(netip.AddrPort) any // c.passage, made once
	recheck func(any) error          // c.stillGood, made once

	dialer  *upstream.Dialer // that of the proxy, with the client as its guard
	ask     Ask              // the present request
	way     exchange.Way     // that it goes
	via     string           // what parents are told of its way so far
	who     *auth.Identity   // nil when nobody is asked
	pending bool             // the address of the destination decides

	certificate *certificate           // that the client has shown; nil without one
	within      *within                // nil where the client is not inside a tunnel
	inner       atomic.Pointer[Client] // what is inside its tunnel, while that is open here
}

// Accept takes over a connection. Serve must follow. old, if not nil, is a client
// that has been served; it may be used again.
func Accept(nc net.Conn, h Home, old *Client) *Client {
	if old != nil && old.Released() {
		old.current, old.certificate = h.Current, nil
		old.home = h.of(old)
		old.Reopen(nc, old.home)
		return old
	}
	c := newClient(h.Current)
	c.home = h.of(c)
	c.Session = exchange.Open(nc, c.home)
	return c
}

func newClient(current func() *Proxy) *Client {
	c := &Client{current: current}
	c.turn, c.tag, c.recheck = c.next, c.passage, c.stillGood
	return c
}

// next makes the proxy of the moment that of the client.
func (c *Client) next() *exchange.Options {
	p := c.current()
	if p != c.proxy {
		c.proxy, c.dialer = p, p.o.Dialer
		if p.o.Policy != nil { // attempts of a dial that has ended may still have the old one
			d := *p.o.Dialer
			d.Guard = c
			c.dialer = &d
		}
	}
	return p.o.Exchange
}

// Serve answers the client's requests until its connection is done or belongs
// to a tunnel.
func (c *Client) Serve() {
	defer c.Close()
	for good := c.shake(); good && c.Next(); {
		c.answer(c.Request())
	}
}

// answer handles one request.
func (c *Client) answer(r *wire.Head) {
	method := wire.MethodName(r.Method)
	target, path, err := c.target(r.Target, method)
	if err != nil {
		c.Refuse(err)
		return
	}
	c.ask = Ask{
		Query:   acl.Query{Client: c.Remote().Addr(), Method: method, Host: target.Host, Port: target.Port, Path: path},
		Connect: method == "CONNECT", Literal: target.Addr.IsValid(),
	}
	denied := c.admit(r)
	if denied == nil {
		denied = c.turnedBack(r)
	}
	if denied != nil {
		c.Refuse(denied)
		return
	}
	v := c.proxy.Decide(&c.ask)
	if v.Effect == acl.Deny {
		c.proxy.count(&v.Ruling)
		c.Refuse(v.denied())
		return
	}
	c.Decided(v.record())
	if c.pending = v.Pending; !c.pending {
		c.proxy.count(&v.Ruling)
	}
	c.send(r, &v, &target, path)
}

// send has the request carried out.
func (c *Client) send(r *wire.Head, v *Verdict, target *hop.Target, path []byte) {
	c.way = c.proxy.way
	way := &c.way
	way.To = upstream.Destination{Host: target.Host, Port: target.Port, Addr: target.Addr, TLS: c.within != nil}
	way.Dialer = c.dialer
	c.chooseSource()
	way.Tag, way.Recheck = c.tag, c.recheck
	c.leave(r, v)
	switch {
	case v.Inspect != "":
		c.open(target, v.Inspect)
	case c.ask.Connect:
		way.Look = c.look(target)
		c.Tunnel(way)
	case c.lastHop(r):
	case v.Filters != nil:
		c.proxy.o.Metrics.Lane(metrics.LaneLibrary)
		c.library(v.Filters, target, path)
	default:
		c.proxy.o.Metrics.Lane(metrics.LaneFast)
		c.Forward(way, path)
	}
}

// chooseSource chooses the address to leave from, where there are several.
func (c *Client) chooseSource() {
	e := c.dialer.Egress
	if e == nil {
		return
	}
	c.way.SourceKey = e.Key(c.ask.Client, c.ask.User, c.ask.Host)
	to := rest.Destination{Host: c.way.To.Host, Port: c.way.To.Port}
	c.way.From = e.Choose(c.ask.Client, c.ask.User, c.ask.Host, to, clock.Now())
}

// Check is the guard of the present request, asked for each address that may be
// dialled and each idle connection that may be used.
func (c *Client) Check(a netip.AddrPort) error {
	v := c.proxy.DecideAddr(&c.ask, a)
	if v.Effect == acl.Deny {
		c.proxy.count(&v)
		return v.denied()
	}
	if c.pending { // once a request
		c.pending = false
		c.proxy.count(&v)
		c.Decided(v.record())
	}
	return nil
}

// passage is what is kept of a tunnel for Recheck.
func (c *Client) passage(at netip.AddrPort) any {
	t := &Passage{ask: c.ask, who: c.who, certificate: c.certificate, at: at, pool: c.way.Pool, by: c.Endpoint()}
	t.ask.Path = bytes.Clone(t.ask.Path) // of an upgrade; it stands in a buffer
	return t
}

// stillGood is asked about a tunnel that has just been opened. What was decided
// about it was decided before the dial.
func (c *Client) stillGood(tag any) error {
	now := c.current()
	if now == c.proxy || !now.o.Recheck {
		return nil
	}
	return now.Recheck(tag.(*Passage))
}

// Verdicts about who asks.
var (
	unknown = denialOfAsker(407, fault.RequestDenied, "This proxy asks for your user name and password.")
	wrong   = denialOfAsker(407, fault.RequestDenied, "This user name and password are not known here.")
	tooMany = denialOfAsker(429, fault.RequestDenied, "Too many wrong passwords came from here. Wait a moment.")
	busy    = denialOfAsker(503, fault.ConnectionLimitReached, "Too many passwords are being checked. Try again in a moment.")
	unsure  = denialOfAsker(503, fault.InternalError, "Who you are cannot be checked at the moment.")
	nobody  = denialOfAsker(403, fault.RequestDenied, "This proxy asks for a client certificate.")
	gone    = denialOfAsker(403, fault.RequestDenied, "Who opened this tunnel is not known here any more.")
)

func denialOfAsker(status int, kind fault.Kind, text string) *Ruling {
	return denial("auth", &fault.Error{Kind: kind, Code: status, Text: text}, metrics.PhaseAuth)
}

// admit finds out who asks, where clients authenticate. It returns why the
// request goes no further.
func (c *Client) admit(r *wire.Head) error {
	c.who = nil
	gate := c.proxy.o.Gate
	switch {
	case c.within != nil:
		return c.admitWithin()
	case c.certificate.isGood(c.proxy.o.TLS):
		c.proxy.o.Metrics.Authenticated(metrics.AuthOK)
		c.meet(c.certificate.who)
		return nil
	case gate == nil && c.proxy.o.TLS != nil:
		c.proxy.o.Metrics.Authenticated(metrics.AuthMissing)
		c.proxy.count(nobody)
		return nobody.denied()
	case gate == nil:
		return nil
	}
	who, err := c.recognize(gate, r.Get(wire.ProxyAuthorization))
	if err != nil && c.Left(err) {
		return err
	}
	v, result := onAsker(err)
	c.proxy.o.Metrics.Authenticated(result)
	if v != nil {
		c.proxy.count(v)
		denied := v.denied()
		if result == metrics.AuthUnavailable { // the operator wants to know why
			why := *denied.Fault
			why.Err, denied.Fault = err, &why
		}
		return denied
	}
	c.meet(who)
	return nil
}

// meet takes down who asks.
func (c *Client) meet(who *auth.Identity) {
	c.who, c.ask.User, c.ask.Groups = who, who.User, who.Groups
	c.Known(who.User)
}

// recognize asks the gate, as long as the client waits.
func (c *Client) recognize(gate *auth.Gate, field []byte) (*auth.Identity, error) {
	who, known := gate.Recall(c.ask.Client, field)
	if known {
		return who, nil
	}
	err := c.Wait(func(ctx context.Context) (err error) {
		who, err = gate.Admit(ctx, c.ask.Client, field)
		return err
	})
	return who, err
}

// onAsker is what an error of the gate means; no verdict when there is none.
func onAsker(err error) (*Ruling, metrics.AuthResult) {
	switch {
	case err == nil:
		return nil, metrics.AuthOK
	case errors.Is(err, auth.ErrMissing):
		return unknown, metrics.AuthMissing
	case errors.Is(err, auth.ErrMalformed):
		return unknown, metrics.AuthMalformed
	case errors.Is(err, auth.ErrWrong):
		return wrong, metrics.AuthWrong
	case errors.Is(err, auth.ErrThrottled):
		return tooMany, metrics.AuthThrottled
	case errors.Is(err, auth.ErrBusy):
		return busy, metrics.AuthBusy
	}
	return unsure, metrics.AuthUnavailable
}

// target finds out where a request goes.
func (c *Client) target(raw []byte, method string) (t hop.Target, path []byte, bad *fault.Error) {
	var err error
	switch {
	case c.within != nil:
		t = c.within.target
		path, err = c.inside(raw, method)
	case method == "CONNECT":
		t, err = c.targets.Authority(raw)
	default:
		t, path, err = c.targets.Absolute(raw)
	}
	if err != nil {
		bad, _ = errors.AsType[*fault.Error](err)
	}
	return t, path, bad
}

// lastHop answers a TRACE or OPTIONS that may go no further (RFC 9110 section
// 7.6.2), and tells whether it did.
func (c *Client) lastHop(r *wire.Head) bool {
	trace := string(r.Method) == "TRACE"
	if !trace && string(r.Method) != "OPTIONS" {
		return false
	}
	n, ok := hop.MaxForwards(r.Get(wire.MaxForwards))
	switch {
	case !ok || n > 0:
		return false
	case trace:
		c.Reply(exchange.Reply{Status: 200, Type: "message/http", Body: mirror.Traced(r)})
	default:
		c.Reply(exchange.Reply{Status: 200, Type: "text/plain; charset=utf-8", Body: []byte("This is viaduct, a proxy.\n")})
	}
	return true
}
