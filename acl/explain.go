package acl

import (
	"net/netip"
	"strings"
)

// Explain says of each rule, in order, whether it matches and what keeps it from
// that. An address that is not valid is one that is not known. It is for people,
// and takes its time.
func (p *Policy) Explain(q *Query, addr netip.AddrPort) []Step {
	a := p.ask(q)
	defer a.done()
	d := newDialled(addr.Addr())
	steps := make([]Step, len(p.rules))
	decided, settled := "", ""
	for i := range p.rules {
		r := &p.rules[i]
		s := &steps[i]
		s.Rule, s.Effect = r.name, r.effect.String()
		if r.report {
			s.Effect = "report"
		}
		if s.Result = a.missing(r); s.Result != "" {
			continue
		}
		s.Result = r.result(&d, settled)
		switch {
		case s.Result != "matches":
		case decided != "":
			s.Result = "would match, but " + decided + " decides before it"
		case r.report:
			s.Result = "matches, and only reports it"
		case r.settles:
			s.Result, settled = "matches: lifts the guard for this address, and lets nothing pass by itself", r.name
		default:
			decided = r.name
		}
	}
	return steps
}

// missing names the terms of a rule that do not hold, and then those that do; it
// is "" if all hold, that of the address aside.
func (a *ask) missing(r *rule) string {
	var missing, held []string
	for f := range fields {
		switch name := table[f].name; {
		case f == addr || r.labels[f] == "":
		case a.holds(r, f):
			held = append(held, name)
		case f == path && a.path.none:
			missing = append(missing, "a tunnel has no path")
		case f == user && a.User == "":
			missing = append(missing, "user is not known")
		default:
			missing = append(missing, name+" is not in "+r.labels[f])
		}
	}
	if len(missing) > 0 && len(held) > 0 {
		missing[len(missing)-1] += " (what holds: " + strings.Join(held, ", ") + ")"
	}
	return strings.Join(missing, "; ")
}

// result says how a rule whose other terms hold stands to an address, given the
// rule that settled the address before it.
func (r *rule) result(d *dialled, settled string) string {
	switch {
	case !r.addressed:
	case settled != "":
		return "is not asked: " + settled + " settles the address before it"
	case !d.addr.IsValid():
		return "would match if the address were in " + r.labels[addr]
	case !r.names(d):
		return "address is not in " + r.labels[addr]
	}
	return "matches"
}
