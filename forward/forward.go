// Package forward is the forward proxy: it makes sense of what a client asks
// for, decides whether and which way it may go, and has it carried out.
//
// The brain is one: Decide takes a small neutral question, whatever carried the
// request in, and returns a value; DecideAddr is asked again inside each dial,
// about the very address, and Recheck when the policy of an open tunnel has
// changed. Nothing else here or below says yes or no.
package forward

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"time"

	"viaduct/acl"
	"viaduct/auth"
	"viaduct/authority"
	"viaduct/door"
	"viaduct/exchange"
	"viaduct/fault"
	"viaduct/filter"
	"viaduct/hop"
	"viaduct/metrics"
	"viaduct/policy"
	"viaduct/pool"
	"viaduct/upstream"
)

// Options are one proxy. They are immutable once New has them.
type Options struct {
	Exchange *exchange.Options
	Dialer   *upstream.Dialer
	Idle     *upstream.Idle

	Policy       *acl.Policy  // nil: no rules, and the guard is that of the Dialer
	Gate         *auth.Gate   // that every client authenticates at; nil asks nobody
	Users        *auth.Users  // for Explain; may be nil
	Open         bool         // clients may come from anywhere
	AnyPort      bool         // CONNECT may reach every port
	ConnectPorts []uint16     // else only these
	SNI          SNI          // what is made of a ClientHello for another name
	TLS          *door.TLS    // where clients may authenticate by a certificate, and have to if there is no Gate; else nil
	Recheck      bool         // tunnels that are open are judged by a policy that has changed
	Listener     string       // its name, for Explain
	Listen       []string     // its addresses, for Explain
	Egress       []netip.Addr // the same

	Routes *policy.Routes // which requests leave by which of Outs; nil: none by those
	Outs   []Out
	Out    Out     // of all others
	Tag    hop.Tag // that parents know this proxy by

	Inspect   *policy.Inspection   // which tunnels are opened; nil opens none
	Authority *authority.Authority // that the certificates inside come from; required with Inspect
	Filters   *filter.Chain        // may be nil

	Metrics *metrics.Front // nil counts nothing
	Rules   *metrics.Rules // of the policy, behind them those of Reserved, and then the filters; the same
}

// Reserved are the names of what decides beside the rules of a policy.
func Reserved() []string {
	return []string{"clients", "auth", "connect_ports", "guard", "own_address", "sni"}
}

// Proxy is one forward proxy. It is immutable, and safe for concurrent use.
type Proxy struct {
	o          Options
	way        exchange.Way
	roams      bool           // requests leave by pools
	via        [2]string      // what parents are told by then of one that came by HTTP/1.0, or 1.1
	reserved   map[string]int // index of each of Reserved among the counted rules
	filters    int            // index of the first filter there
	timed      bool           // somebody asks for the time
	inspection *tls.Config    // nil: no tunnel is opened
	library    lane           // nil: there are no filters
}

// New makes a Proxy. It starts nothing.
func New(o Options) *Proxy {
	p := &Proxy{o: o, way: exchange.Way{Dialer: o.Dialer, Idle: o.Idle}, reserved: map[string]int{}}
	p.roams = p.goesOut()
	for minor := range p.via {
		p.via[minor] = string((&hop.Trail{}).AppendVia(nil, byte(minor), o.Tag))
	}
	if o.Policy != nil {
		first := len(o.Policy.Names())
		for i, name := range Reserved() {
			p.reserved[name] = first + i
		}
		p.filters = first + len(p.reserved)
		p.timed = o.Policy.Timed() || o.Inspect.Timed() || o.Filters.Timed() || o.Routes.Timed()
	}
	if o.Inspect != nil {
		p.inspection = p.newInspection()
	}
	if o.Filters != nil {
		p.library = newLibrary()
	}
	return p
}

// countFilter counts a request that a filter has ended.
func (p *Proxy) countFilter(o *filter.Outcome, e acl.Effect) {
	p.o.Rules.Decided(metrics.PhaseFilter, p.filters+o.Index, metrics.Decision(e))
}

// count counts a verdict, at the rule that decided if there was one.
func (p *Proxy) count(v *Ruling) {
	index := v.Index
	if i, ok := p.reserved[v.Rule]; ok && index < 0 {
		index = i
	}
	p.o.Rules.Decided(v.Phase, index, metrics.Decision(v.Effect))
}

// Ask is a question to the brain. Its Client is not valid on a unix socket; its
// Host, a name or an address, is in the form of package hop.
type Ask struct {
	acl.Query
	Connect bool
	Literal bool // the host is an address
}

// Verdict is an answer of the brain.
type Verdict struct {
	Ruling
	Inspect string     // the entry by which the tunnel is to be opened; "" leaves it closed
	Filters filter.Set // that match a request which is no tunnel: it takes the library lane
	Out     Out        // by which it leaves
}

// Ruling is whether a request may go.
type Ruling struct {
	acl.Decision
	Phase metrics.Phase
}

// denial is that of something that is no rule.
func denial(name string, f *fault.Error, p metrics.Phase) *Ruling {
	return &Ruling{acl.Decision{Rule: name, Index: -1, Fault: f}, p}
}

// record is what the log, the counters and the client are told of a verdict.
func (v *Ruling) record() exchange.Record {
	return exchange.Record{Decision: v.Effect.String(), Rule: v.Rule, Phase: v.Phase.String()}
}

// denied is a verdict that denies, as an error.
func (v *Ruling) denied() *exchange.Denied {
	return &exchange.Denied{Fault: v.Fault, Record: v.record()}
}

// Verdicts that need no rule.
var (
	noClient = denial("clients", &fault.Error{
		Kind: fault.RequestDenied, Text: "Clients from this address may not use this proxy.",
	}, metrics.PhaseClient)
	noPort = denial("connect_ports", &fault.Error{
		Kind: fault.RequestDenied, Text: "CONNECT may not reach this port here.",
	}, metrics.PhasePort)
	passed = Ruling{acl.Decision{Effect: acl.Allow, Index: -1}, metrics.PhaseName}
)

// Welcome says whether a client may ask for anything at all: from the loopback,
// from where the operator says, and from anywhere if it is open or everybody
// authenticates.
func (p *Proxy) Welcome(client netip.Addr) Ruling {
	if p.o.Open || p.o.Gate != nil || p.o.TLS != nil || !client.IsValid() || client.IsLoopback() || p.o.Policy != nil && p.o.Policy.Welcomes(client) {
		return passed
	}
	return *noClient
}

// Decide says what becomes of a request by what is known before any lookup. If
// it is Pending, DecideAddr has the last word. It allocates nothing, unless filters
// match.
func (p *Proxy) Decide(a *Ask) Verdict {
	if v := p.Welcome(a.Client); v.Effect == acl.Deny {
		return Verdict{Ruling: v}
	}
	if a.Connect && !p.o.AnyPort && !slices.Contains(p.o.ConnectPorts, a.Port) {
		return Verdict{Ruling: *noPort}
	}
	if p.o.Policy == nil {
		return Verdict{Ruling: passed, Out: p.out(&a.Query)}
	}
	if p.timed && a.Now.IsZero() {
		a.Now = time.Now()
	}
	v := Verdict{Ruling: Ruling{p.o.Policy.Decide(&a.Query), metrics.PhaseName}, Out: p.out(&a.Query)}
	if v.Pending && v.Out.ByName && !a.Literal { // nobody here sees the address
		v.Decision = p.o.Policy.DecideUnknown(&a.Query)
	}
	switch {
	case v.Effect == acl.Deny:
	case !a.Connect:
		v.Filters = p.o.Filters.Matching(&a.Query)
	default:
		if rule, yes := p.o.Inspect.Decide(&a.Query); yes {
			v.Inspect = rule
		}
	}
	return v
}

// DecideAddr says the same by the address that is really dialled. It needs a
// Policy.
func (p *Proxy) DecideAddr(a *Ask, at netip.AddrPort) Ruling {
	return Ruling{p.o.Policy.DecideAddr(&a.Query, at), metrics.PhaseAddress}
}

// Passage is an open tunnel: who asked for what, and where it leads.
type Passage struct {
	ask         Ask
	who         *auth.Identity
	certificate *certificate // of the client; may be nil
	at          netip.AddrPort
	pool        *pool.Pool     // nil: it left directly
	by          *pool.Endpoint // of that
}

// By tells whether a tunnel goes by an endpoint of a pool.
func (t *Passage) By(p *pool.Pool, id string) bool {
	return p != nil && t.pool == p && t.by != nil && t.by.ID() == id
}

// Recheck says whether a tunnel that is open would be let pass now: nil, or the
// reason why not.
func (p *Proxy) Recheck(t *Passage) error {
	ask := t.ask
	ask.Now = time.Time{}
	who, ok := p.still(t.who, t.certificate)
	if !ok {
		return gone.denied()
	}
	if who != nil {
		ask.User, ask.Groups = who.User, who.Groups
	}
	decided := p.Decide(&ask)
	v := decided.Ruling
	if v.Effect != acl.Deny && !t.at.IsValid() && !ask.Literal && t.pool != nil && !decided.Out.ByName {
		return errUnjudged
	}
	if v.Effect != acl.Deny && p.o.Policy != nil && t.at.IsValid() {
		v = p.DecideAddr(&ask, t.at)
	}
	switch {
	case v.Effect == acl.Deny:
		return v.denied()
	case decided.Inspect != "":
		return errOpened
	}
	return nil
}

// errUnjudged ends a tunnel whose address a parent has found, where it is to be judged
// now.
var errUnjudged = fault.New(fault.RequestDenied, errors.New("the address is to be judged now, and nobody here knows it"))

// errOpened ends a tunnel that would be opened now.
var errOpened = fault.New(fault.RequestDenied, errors.New("the tunnel is to be inspected now"))
