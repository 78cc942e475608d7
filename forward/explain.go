package forward

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"viaduct/acl"
	"viaduct/fault"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/pool"
	"viaduct/rest"
)

// Question is what would be asked of a proxy.
type Question struct {
	Listener string // name of the entry, or one of its addresses; "" is every one
	Client   netip.Addr
	User     string
	Method   string // of a tunnel with a path: that of the request inside
	Host     string // as package hop has it
	Port     uint16
	Connect  bool       // a tunnel
	Path     string     // of a tunnel: that of a request inside; "" asks about the tunnel alone
	Addr     netip.Addr // what the host would turn out to be; not valid: not known
}

// Explanation says what would become of it, and why.
type Explanation struct {
	Listener string            `json:"listener,omitempty"`
	Listen   []string          `json:"listen,omitempty"`
	Decision string            `json:"decision"` // allow, deny or observe
	Phase    string            `json:"phase,omitempty"`
	Rule     string            `json:"rule,omitempty"`
	Status   int               `json:"status,omitempty"` // of a refusal, or of what a filter answers
	Says     string            `json:"says,omitempty"`   // what the client would read, or where a filter sends it
	Open     string            `json:"open,omitempty"`   // what cannot be told without asking the network
	Rules    []RuleStep        `json:"rules,omitempty"`
	Via      string            `json:"via,omitempty"`  // direct, or a pool; as Egress, of what leaves the proxy: of an opened tunnel only the requests do
	Pool     *pool.Explanation `json:"pool,omitempty"` // of a request that leaves by one: who would get it now
	Egress   []string          `json:"egress,omitempty"`
	Inspect  *RuleStep         `json:"inspect,omitempty"` // of a tunnel: the entry that speaks of it, if there is one, to decrypt or to pass it
	Filters  []string          `json:"filters,omitempty"` // that apply, up to one that surely ends the request
	Inside   *Explanation      `json:"inside,omitempty"`  // of the request inside an opened tunnel, which has the same listener
}

// RuleStep is one rule on the way to a decision.
type RuleStep struct {
	Rule   string `json:"rule"`
	Effect string `json:"effect"`
	Result string `json:"result"`
}

// Explain says what would become of a request. It sends nothing and asks nobody.
func (p *Proxy) Explain(q *Question) Explanation {
	e := Explanation{Listener: p.o.Listener, Listen: p.o.Listen}
	host := q.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	target, err := hop.ParseHost([]byte(host), q.Port)
	if err != nil {
		bad, _ := errors.AsType[*fault.Error](err)
		e.Decision, e.Status, e.Says = acl.Deny.String(), bad.Status(), bad.Say()
		return e
	}
	x := examination{Proxy: p, target: target, addr: target.Addr, ask: Ask{Query: acl.Query{
		Client: q.Client, User: q.User, Method: q.Method, Host: target.Host, Port: target.Port, Path: []byte(q.Path), Now: time.Now(),
	}, Connect: q.Connect, Literal: target.Addr.IsValid()}}
	if !x.ask.Client.IsValid() {
		x.ask.Client = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !x.addr.IsValid() {
		x.addr = q.Addr.Unmap()
	}
	if q.Connect {
		x.ask.Method, x.ask.Path = "CONNECT", nil
	}
	if denied := p.identify(&x.ask); denied != nil {
		x.request(&e, Verdict{Ruling: *denied})
		return e
	}
	v := p.Decide(&x.ask)
	x.request(&e, v)
	if q.Connect && e.Decision != acl.Deny.String() {
		x.tunnel(&e, v, q)
	}
	x.groups(&e)
	return e
}

// identify gives the user of a question the groups that they are in, or returns
// the refusal of one that would not be let in.
func (p *Proxy) identify(ask *Ask) *Ruling {
	switch {
	case p.o.Gate == nil && p.o.TLS == nil:
		ask.User = ""
		return nil
	case ask.User == "" && p.o.Gate == nil:
		return nobody
	case ask.User == "":
		return unknown
	case p.o.Users == nil: // somebody else knows them
		return nil
	}
	who, ok := p.o.Users.Identity(ask.User)
	switch {
	case ok:
		ask.Groups = who.Groups
	case p.o.TLS == nil: // which may name anybody
		return wrong
	}
	return nil
}

// examination is a question on its way to an explanation.
type examination struct {
	*Proxy
	ask    Ask
	target hop.Target
	addr   netip.Addr // of the target; not valid: not known
	within bool       // the request is inside a tunnel
}

// request explains the verdict on a request, as far as it goes. An opened tunnel
// dials nothing, nor does a request that a filter ends.
func (x *examination) request(e *Explanation, v Verdict) {
	r, at := v.Ruling, netip.AddrPortFrom(x.addr, x.target.Port)
	ended := x.filtered(e, v.Filters)
	leaves := r.Effect != acl.Deny && v.Inspect == "" && ended == nil
	seen := !v.Out.ByName || x.ask.Literal // the address, by us
	switch {
	case ended != nil:
		r = Ruling{acl.Decision{Effect: acl.Allow, Rule: ended.Name}, metrics.PhaseFilter}
		if e.Status, e.Says = ended.Status, ended.Location; ended.Deny != nil {
			r = *denial(ended.Name, ended.Deny, r.Phase)
		}
	case leaves && seen && x.o.Policy != nil:
		r = x.byAddr(e, r, at)
	}
	e.Decision, e.Phase, e.Rule = r.Effect.String(), r.Phase.String(), r.Rule
	switch {
	case r.Effect == acl.Deny:
		e.Status, e.Says = r.Fault.Status(), r.Fault.Say()
	case leaves:
		x.leaves(e, v.Out)
		for _, a := range x.o.Egress {
			e.Egress = append(e.Egress, a.String())
		}
	}
	if x.o.Policy != nil {
		for _, s := range x.o.Policy.Explain(&x.ask.Query, at) {
			e.Rules = append(e.Rules, RuleStep(s))
		}
	}
}

// leaves says by which way, and who of a pool would get the request.
func (x *examination) leaves(e *Explanation, out Out) {
	e.Via = "direct"
	if out.Pool == nil {
		return
	}
	key, keyed := keyOf(out.Pool.Key(), &x.ask, nil)
	found := out.Pool.Explain(pool.Ask{Key: key, Keyed: keyed, To: rest.Destination{Host: x.target.Host, Port: x.target.Port}})
	e.Via, e.Pool = out.Pool.Name(), &found
	if out.ByName && !x.ask.Literal {
		e.open("the parent looks " + x.ask.Host + " up, and nobody here judges its address")
	}
}

// byAddr goes on with the address, or says that it is open.
func (x *examination) byAddr(e *Explanation, r Ruling, at netip.AddrPort) Ruling {
	switch {
	case at.Addr().IsValid():
		if d := x.DecideAddr(&x.ask, at); d.Effect == acl.Deny || r.Pending {
			return d
		}
	case r.Pending:
		e.open("the address of " + x.ask.Host + " decides, by a rule with addr and by the guard: say which one it has with addr")
	default:
		e.open("the guard still judges the address that " + x.ask.Host + " turns out to have")
	}
	return r
}

// tunnel goes on with what is inside a tunnel that is let pass.
func (x *examination) tunnel(e *Explanation, v Verdict, q *Question) {
	rule, _ := x.o.Inspect.Decide(&x.ask.Query)
	step := &RuleStep{Rule: rule, Effect: "pass"}
	switch {
	case v.Inspect != "":
		step.Effect, step.Result = "decrypt", "opens the tunnel"
	case rule != "":
		step.Result = "keeps the tunnel closed"
	case x.o.Inspect != nil:
		step.Result = "no entry speaks of it, and the tunnel stays closed"
	case q.Path == "":
		return
	default:
		step.Result = "the tunnel stays closed"
	}
	e.Inspect = step
	switch {
	case v.Inspect == "" && q.Path != "":
		step.Result += ": " + q.Method + " " + q.Path + " in it is not seen"
	case v.Inspect == "":
	case q.Path == "":
		e.open("each request inside is judged by itself: ask for one, such as https://" + string(x.target.AppendHost(nil, 443)) + "/")
	default:
		in := *x
		in.within, in.ask.Connect, in.ask.Method, in.ask.Path = true, false, q.Method, []byte(q.Path)
		e.Inside = &Explanation{}
		in.request(e.Inside, in.Decide(&in.ask))
	}
}

// groups says that a user may be in groups which nobody here knows of.
func (x *examination) groups(e *Explanation) {
	if x.ask.User == "" {
		return
	}
	if x.o.Gate != nil && x.o.Users == nil {
		e.open("the service that knows the users may put " + x.ask.User + " into groups")
	}
	if x.o.TLS != nil {
		e.open("a client certificate of " + x.ask.User + " has groups of its own, which are not known here")
	}
}

// open notes what cannot be told.
func (e *Explanation) open(what string) {
	if e.Open != "" {
		e.Open += "; "
	}
	e.Open += what
}
