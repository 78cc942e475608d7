package acl

import (
	"net/netip"
	"sync"

	"viaduct/fault"
	"viaduct/guard"
)

// lastWord is the name of what decides when no rule does.
const lastWord = "default"

// Policy is a compiled list of rules.
type Policy struct {
	rules   []rule
	last    Effect // the last word
	reports bool   // all that the rules deny is only reported
	timed   bool
	guard   *guard.Guard
	asks    sync.Pool // *ask
}

// Decide says by name what becomes of a query, before anything is looked up. It
// decides where every address would lead to the same effect; else the Decision
// is to Allow, and Pending. Without allocation.
func (p *Policy) Decide(q *Query) Decision {
	a := p.ask(q)
	defer a.done()
	// could are the effects that the rules with addr= among those so far have
	// for some address or other, a bit each.
	could, reported, observed := uint8(0), false, -1
	deciding := len(p.rules)
	for i := range p.rules {
		r := &p.rules[i]
		if r.settles || !a.meets(r) {
			continue
		}
		if !r.addressed && !r.report {
			deciding = i
			break
		}
		switch {
		case r.report && r.addressed:
			reported = true
		case r.report && observed < 0:
			observed = i
		case !r.report:
			could |= p.could(r.effect, reported, observed)
		}
	}
	d := p.verdict(deciding, observed)
	if could |= p.could(p.effect(deciding), reported, observed); could != 1<<d.Effect {
		return Decision{Effect: Allow, Index: -1, Pending: true}
	}
	return d
}

// could is what an effect may come to, a bit each: to let pass is to Observe if
// a rule that reports came before, and perhaps if only some address makes it match.
func (p *Policy) could(e Effect, reported bool, observed int) uint8 {
	switch {
	case e == Deny && p.reports, e == Allow && observed >= 0:
		return 1 << Observe
	case e == Allow && reported:
		return 1<<Allow | 1<<Observe
	}
	return 1 << e
}

// DecideAddr says what becomes of a query for an address that is about to be
// dialled, or to which a connection is about to be used again. The guard is
// asked, too. No rule names an address that is not valid, and a guard refuses
// it. Without allocation.
func (p *Policy) DecideAddr(q *Query, addr netip.AddrPort) Decision {
	refusal, isOwn := p.guard.Refusal(addr)
	if isOwn {
		return Decision{Rule: "own_address", Index: -1, Fault: refusal}
	}
	a := p.ask(q)
	defer a.done()
	deciding, observed, lifted := a.first(newDialled(addr.Addr()), refusal != nil)
	d := p.verdict(deciding, observed)
	if d.Effect != Deny && refusal != nil && !lifted {
		return Decision{Rule: "guard", Index: -1, Fault: refusal}
	}
	return d
}

// DecideUnknown is DecideAddr where the address stays unknown, because the name is
// looked up elsewhere: no rule names it, and the guard is not asked.
func (p *Policy) DecideUnknown(q *Query) Decision {
	a := p.ask(q)
	defer a.done()
	deciding, observed, _ := a.first(newDialled(netip.Addr{}), false)
	return p.verdict(deciding, observed)
}

// first finds the rule that decides for an address, the first before it that
// reports, and whether the guard is lifted: by an allow that is the first to
// name the address among the rules with addr=, even after the one that decides.
func (a *ask) first(d dialled, guarded bool) (deciding, observed int, lifted bool) {
	rules := a.policy.rules
	deciding, observed = len(rules), -1
	decided, named := false, false // named: a rule with addr= has spoken
	for i := range rules {
		r := &rules[i]
		switch {
		case decided && (named || !guarded):
			return deciding, observed, lifted
		case named && r.addressed, decided && (r.report || !r.addressed), !a.meets(r), r.addressed && !r.names(&d):
			continue
		case r.report:
			if observed < 0 {
				observed = i
			}
			continue
		case r.addressed:
			named, lifted = true, r.effect == Allow
		}
		if !decided && !r.settles {
			deciding, decided = i, true
		}
	}
	return deciding, observed, lifted
}

// effect is that of a rule by its index, or of the last word.
func (p *Policy) effect(i int) Effect {
	if i == len(p.rules) {
		return p.last
	}
	return p.rules[i].effect
}

// errDenied is what a client is told; who answers adds the name of the rule.
var (
	errDenied = fault.New(fault.RequestDenied, nil)
	errNoRule = &fault.Error{Kind: fault.RequestDenied, Text: "No rule allows this request."}
)

// verdict makes the decision of a rule, given the first before it that reports.
func (p *Policy) verdict(i, observed int) Decision {
	d := Decision{Effect: p.effect(i), Index: i}
	switch {
	case d.Effect == Deny && p.reports:
		d.Effect = Observe
	case d.Effect == Deny && i == len(p.rules):
		d.Fault = errNoRule
	case d.Effect == Deny:
		d.Fault = errDenied
	case observed >= 0:
		d.Effect, d.Index = Observe, observed
	case i == len(p.rules):
		d.Index = -1
		return d
	}
	d.Rule = p.name(d.Index)
	return d
}

func (p *Policy) name(i int) string {
	if i == len(p.rules) {
		return lastWord
	}
	return p.rules[i].name
}

// Timed says whether a rule asks for the time.
func (p *Policy) Timed() bool { return p.timed }

// Names are those of the rules, in order, and "default" at the end.
func (p *Policy) Names() []string {
	names := make([]string, 0, len(p.rules)+1)
	for i := range cap(names) {
		names = append(names, p.name(i))
	}
	return names
}

// Welcomes says whether a client= term of an allow rule names a client, whatever
// the other terms of that rule are.
func (p *Policy) Welcomes(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for i := range p.rules {
		if r := &p.rules[i]; r.effect == Allow && r.clients.has(client) {
			return true
		}
	}
	return false
}
