package forward

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"viaduct/acl"
	"viaduct/fault"
	"viaduct/hop"
)

// Question is what would be asked of a proxy.
type Question struct {
	Listener string // name of the entry, or one of its addresses; "" is every one
	Client   netip.Addr
	User     string
	Method   string
	Host     string // as package hop has it
	Port     uint16
	Connect  bool
	Path     string
	Addr     netip.Addr // what the host would turn out to be; not valid: not known
}

// Explanation says what would become of it, and why.
type Explanation struct {
	Listener string     `json:"listener"`
	Listen   []string   `json:"listen"`
	Decision string     `json:"decision"` // allow, deny or observe
	Phase    string     `json:"phase,omitempty"`
	Rule     string     `json:"rule,omitempty"`
	Status   int        `json:"status,omitempty"` // of a refusal
	Says     string     `json:"says,omitempty"`   // what the client would read
	Open     string     `json:"open,omitempty"`   // what cannot be told without asking the network
	Rules    []RuleStep `json:"rules,omitempty"`
	Via      string     `json:"via,omitempty"`
	Egress   []string   `json:"egress,omitempty"`
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
	ask := Ask{Query: acl.Query{
		Client: q.Client, User: q.User, Method: q.Method, Host: target.Host, Port: target.Port, Now: time.Now(),
	}, Connect: q.Connect}
	if !q.Connect {
		ask.Path = []byte(q.Path)
	}
	if !ask.Client.IsValid() {
		ask.Client = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	addr := q.Addr
	if target.Addr.IsValid() {
		addr = target.Addr
	}
	at := netip.AddrPortFrom(addr.Unmap(), q.Port)
	v, asked := p.identify(&ask)
	if asked {
		v = p.Decide(&ask)
	}
	if v.Effect != acl.Deny && p.o.Policy != nil {
		v = p.explainAddr(&e, &ask, v, at)
	}
	if p.o.Gate != nil && p.o.Users == nil {
		e.open("the service that knows the users may put " + ask.User + " into groups")
	}
	e.Decision, e.Phase, e.Rule = v.Effect.String(), v.Phase.String(), v.Rule
	if v.Effect == acl.Deny {
		e.Status, e.Says = v.Fault.Status(), v.Fault.Say()
	} else {
		e.Via = p.o.Via
		for _, a := range p.o.Egress {
			e.Egress = append(e.Egress, a.String())
		}
	}
	if p.o.Policy != nil {
		for _, s := range p.o.Policy.Explain(&ask.Query, at) {
			e.Rules = append(e.Rules, RuleStep(s))
		}
	}
	return e
}

// identify gives the user of a question the groups that they are in. It is false
// with the refusal of one that the gate would not let pass.
func (p *Proxy) identify(ask *Ask) (Verdict, bool) {
	switch {
	case p.o.Gate == nil:
		ask.User = ""
		return Verdict{}, true
	case ask.User == "":
		return *unknown, false
	case p.o.Users == nil: // somebody else knows them
		return Verdict{}, true
	}
	who, ok := p.o.Users.Identity(ask.User)
	if !ok {
		return *wrong, false
	}
	ask.Groups = who.Groups
	return Verdict{}, true
}

// explainAddr goes on with the address, or says that it is open.
func (p *Proxy) explainAddr(e *Explanation, ask *Ask, v Verdict, at netip.AddrPort) Verdict {
	switch {
	case at.Addr().IsValid():
		if d := p.DecideAddr(ask, at); d.Effect == acl.Deny || v.Pending {
			return d
		}
	case v.Pending:
		e.open("the address of " + ask.Host + " decides, by a rule with addr and by the guard: say which one it has with addr")
	default:
		e.open("the guard still judges the address that " + ask.Host + " turns out to have")
	}
	return v
}

// open notes what cannot be told.
func (e *Explanation) open(what string) {
	if e.Open != "" {
		e.Open += "; "
	}
	e.Open += what
}
