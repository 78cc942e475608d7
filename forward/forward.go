// Package forward is the forward proxy: it makes sense of what a client asks
// for, decides whether and which way it may go, and has it carried out.
//
// Decide is the one brain. It takes a small neutral question, whatever carried
// the request in, and returns a value; nothing else here or below says yes or
// no, save the guard, which is asked inside each dial about the address.
package forward

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"viaduct/acl"
	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/hop"
	"viaduct/relay"
	"viaduct/upstream"
	"viaduct/wire"
)

// Options are what a Proxy is made of. Exchange, Dialer and Pool are required.
type Options struct {
	Exchange *exchange.Options
	Dialer   *upstream.Dialer
	Pool     *upstream.Pool

	Open         bool     // clients may come from anywhere
	AnyPort      bool     // CONNECT may reach every port
	ConnectPorts []uint16 // else only these
}

// Proxy is a forward proxy with one policy. It is immutable and safe for
// concurrent use.
type Proxy struct {
	o   Options
	way exchange.Way
}

// New makes a proxy.
func New(o Options) *Proxy {
	return &Proxy{o: o, way: exchange.Way{Dialer: o.Dialer, Pool: o.Pool}}
}

// Ask is what the brain is asked: who, from where, wants what of whom.
type Ask struct {
	Client  netip.AddrPort // invalid for a client on a unix socket
	Method  string
	Host    string // lower-case A-label, or an address
	Port    uint16
	Connect bool
}

// Verdict is the answer: what is to happen, and why.
type Verdict struct {
	Effect acl.Effect
	Rule   string       // name of the rule that decided; "" for the default
	Error  *fault.Error // what the client is told when denied
}

var (
	errClient = &fault.Error{Kind: fault.RequestDenied, Text: "Clients from this address may not use this proxy."}
	errPort   = &fault.Error{Kind: fault.RequestDenied, Text: "CONNECT may not reach this port here."}
)

// Decide says whether a request may go on to its destination, before anything
// is looked up. It allocates nothing.
func (p *Proxy) Decide(a *Ask) Verdict {
	if !p.o.Open && a.Client.IsValid() && !a.Client.Addr().IsLoopback() {
		return Verdict{Rule: "clients", Error: errClient}
	}
	if a.Connect && !p.mayConnect(a.Port) {
		return Verdict{Rule: "connect_ports", Error: errPort}
	}
	return Verdict{Effect: acl.Allow}
}

func (p *Proxy) mayConnect(port uint16) bool {
	return p.o.AnyPort || slices.Contains(p.o.ConnectPorts, port)
}

// Home is what a client belongs to for as long as it lasts: exchange.Home, with
// the proxy of the moment.
type Home struct {
	Current  func() *Proxy
	Draining *atomic.Bool
	Tunnels  *relay.Set
	Ended    func(client netip.AddrPort)
}

// of is the same for a session of c.
func (h *Home) of(c *Client) exchange.Home {
	return exchange.Home{Current: c.turn, Draining: h.Draining, Tunnels: h.Tunnels, Ended: h.Ended}
}

// Client is one client connection of a proxy.
type Client struct {
	*exchange.Session
	current func() *Proxy
	proxy   *Proxy // that answers the present request
	targets hop.Parser
	turn    func() *exchange.Options // c.next, made once
}

// Accept takes over a connection. Serve must follow. old, if not nil, is a client
// that has been served; it may be used again.
func Accept(nc net.Conn, h Home, old *Client) *Client {
	if old != nil && old.Released() {
		old.current = h.Current
		old.Reopen(nc, h.of(old))
		return old
	}
	c := &Client{current: h.Current}
	c.turn = c.next
	c.Session = exchange.Open(nc, h.of(c))
	return c
}

// next makes the proxy of the moment that of the client.
func (c *Client) next() *exchange.Options {
	c.proxy = c.current()
	return c.proxy.o.Exchange
}

// Serve answers the client's requests until its connection is done or belongs
// to a tunnel.
func (c *Client) Serve() {
	defer c.Close()
	for c.Next() {
		c.answer(c.Request())
	}
}

// answer handles one request.
func (c *Client) answer(r *wire.Head) {
	connect := string(r.Method) == "CONNECT"
	target, path, err := c.target(r.Target, connect)
	if err != nil {
		c.Refuse(err, "")
		return
	}
	ask := Ask{Client: c.Remote(), Method: method(r.Method), Host: target.Host, Port: target.Port, Connect: connect}
	v := c.proxy.Decide(&ask)
	if v.Effect == acl.Deny {
		c.Refuse(v.Error, v.Rule)
		return
	}
	way := c.proxy.way
	way.To, way.Rule = upstream.Destination(target), v.Rule
	way.From = way.Dialer.Egress.Choose(ask.Client.Addr(), ask.Host)
	switch {
	case connect:
		c.Tunnel(&way)
	case c.lastHop(r):
	default:
		c.Forward(&way, path)
	}
}

// target finds out where a request goes.
func (c *Client) target(raw []byte, connect bool) (t hop.Target, path []byte, bad *fault.Error) {
	var err error
	if connect {
		t, err = c.targets.Authority(raw)
	} else {
		t, path, err = c.targets.Absolute(raw)
	}
	if err != nil {
		bad, _ = errors.AsType[*fault.Error](err)
	}
	return t, path, bad
}

// method is the method as a string, without allocating for the common ones.
func method(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "HEAD":
		return "HEAD"
	case "PUT":
		return "PUT"
	case "CONNECT":
		return "CONNECT"
	case "OPTIONS":
		return "OPTIONS"
	}
	return string(b)
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
		c.Reply("message/http", traced(r))
	default:
		c.Reply("text/plain; charset=utf-8", []byte("This is viaduct, a proxy.\n"))
	}
	return true
}

// traced is the request as it came, without what must not be shown around
// (RFC 9110 section 9.3.8).
func traced(r *wire.Head) []byte {
	b := append(append([]byte("TRACE "), r.Target...), " HTTP/1."...)
	b = append(b, '0'+r.Minor, '\r', '\n')
	for i := range r.Fields {
		f := &r.Fields[i]
		if wire.Fold(f.Name, "cookie") || wire.Fold(f.Name, "authorization") || hop.Strict.DropRequest(f.Name) {
			continue
		}
		b = wire.AppendField(b, f.Name, f.Value)
	}
	return append(b, '\r', '\n')
}
