package acl

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"viaduct/guard"
)

// field is a term of a rule.
type field uint8

const (
	user field = iota
	group
	client
	host
	addr
	port
	method
	path
	clock
	fields
)

// table has of each field its name, its values in a Rule, and what reads one of
// them into a compiled rule or says what is wrong with it.
var table = [fields]struct {
	name   string
	values func(*Rule) []string
	read   func(*rule, string) string
}{
	user:   {"user", func(r *Rule) []string { return r.User }, (*rule).readUser},
	group:  {"group", func(r *Rule) []string { return r.Group }, (*rule).readGroup},
	client: {"client", func(r *Rule) []string { return r.Client }, (*rule).readClient},
	host:   {"host", func(r *Rule) []string { return r.Host }, (*rule).readHost},
	addr:   {"addr", func(r *Rule) []string { return r.Addr }, (*rule).readAddr},
	port:   {"port", func(r *Rule) []string { return r.Port }, (*rule).readPort},
	method: {"method", func(r *Rule) []string { return r.Method }, (*rule).readMethod},
	path:   {"path", func(r *Rule) []string { return r.Path }, (*rule).readPath},
	clock:  {"time", func(r *Rule) []string { return r.Time }, (*rule).readTime},
}

// byCost are the fields that are known by name, what costs least first.
var byCost = [...]field{port, method, client, user, group, clock, path, host}

// Fields are the names of the terms.
func Fields() []string {
	names := make([]string, fields)
	for f := range fields {
		names[f] = table[f].name
	}
	return names
}

// CheckValue says what is wrong with a value of a field and what to do, or ""
// if nothing is. The sentence does not repeat the value.
func CheckValue(field, value string) string {
	for f := range fields {
		if table[f].name == field {
			return table[f].read(&rule{}, value)
		}
	}
	return "there is no term " + strconv.Quote(field) + ": write one of " + strings.Join(Fields(), ", ")
}

// rule is a Rule, compiled.
type rule struct {
	name      string
	effect    Effect
	report    bool
	addressed bool // has addr=
	settles   bool // is an allow with nothing but addr=: it settles the address, and lets nothing pass

	terms  []field        // all but addr=, by cost
	labels [fields]string // of the values, for people

	users, groups  map[string]struct{}
	clients, addrs spans
	named          builder
	hosts          []*Names
	ports          []portRange
	methods        []string
	paths          []pathValue
	hours          []hours
}

// Compile makes a Policy of rules. Its errors are of type *RuleError.
func Compile(rules []Rule, o Options) (*Policy, error) {
	p := &Policy{rules: make([]rule, len(rules)), last: Allow, reports: o.ReportOnly, guard: o.Guard}
	p.asks.New = newAsk
	for i := range rules {
		r := &p.rules[i]
		if err := r.compile(&rules[i]); err != nil {
			err.Rule = i
			return nil, err
		}
		p.timed = p.timed || len(r.hours) > 0
		if r.effect == Allow && !r.settles {
			p.last = Deny
		}
	}
	return p, nil
}

func (r *rule) compile(from *Rule) *RuleError {
	switch {
	case from.Name == "":
		return &RuleError{Value: -1, Text: "has no name: give it one"}
	case from.Effect != Deny && from.Effect != Allow:
		return &RuleError{Value: -1, Text: "can deny or allow, nothing else"}
	case from.Report && from.Effect != Deny:
		return &RuleError{Value: -1, Text: "only a deny can report without refusing"}
	}
	r.name, r.effect, r.report = from.Name, from.Effect, from.Report
	for f := range fields {
		if err := r.compileTerm(from, f); err != nil {
			err.Field = table[f].name
			return err
		}
	}
	r.clients, r.addrs = merge(r.clients), merge(r.addrs)
	for _, f := range byCost {
		if r.labels[f] != "" {
			r.terms = append(r.terms, f)
		}
	}
	r.addressed = r.labels[addr] != ""
	r.settles = r.addressed && r.effect == Allow && len(r.terms) == 0
	return nil
}

func (r *rule) compileTerm(from *Rule, f field) *RuleError {
	values := table[f].values(from)
	if values != nil && len(values) == 0 {
		// Read as "any", a list that is empty by mistake would allow everything.
		return &RuleError{Value: -1, Text: "has no value: write one, or leave the term out"}
	}
	for i, v := range values {
		if text := table[f].read(r, v); text != "" {
			return &RuleError{Value: i, Text: text}
		}
	}
	shown := slices.Clone(values[:min(len(values), 3)])
	if more := len(values) - 3; more > 0 {
		shown = append(shown, strconv.Itoa(more)+" more")
	}
	if f == host && len(values) > 0 {
		r.hosts = append(r.hosts, r.named.names())
	}
	if f == host {
		for _, n := range from.HostLists {
			r.hosts = append(r.hosts, cmp.Or(n, new(Names)))
			shown = append(shown, "a list of "+strconv.Itoa(n.Len()))
		}
	}
	r.labels[f] = strings.Join(shown, ", ")
	return nil
}

// ask is a query while it is asked about: what a rule needs of it is made when
// the first one needs it, and once. It is too large to be made anew each time.
type ask struct {
	*Query
	policy *Policy
	client netip.Addr
	host   subject
	path   requestPath
}

func newAsk() any { return new(ask) }

// ask returns what done must be called of.
func (p *Policy) ask(q *Query) *ask {
	a := p.asks.Get().(*ask)
	a.Query, a.policy, a.client = q, p, q.Client.Unmap().WithZone("")
	a.host.taken = false
	return a
}

func (a *ask) done() {
	a.Query, a.host.text = nil, "" // belong to others
	a.path = requestPath{buffer: a.path.buffer}
	a.policy.asks.Put(a)
}

// meets says whether all terms of a rule hold, that of the address aside.
func (a *ask) meets(r *rule) bool {
	for _, f := range r.terms {
		if !a.holds(r, f) {
			return false
		}
	}
	return true
}

// holds says whether one term does. What a client can write in two ways counts
// against it: a deny holds for any of them, an allow for all.
func (a *ask) holds(r *rule, f field) bool {
	switch f {
	case port:
		return slices.ContainsFunc(r.ports, func(p portRange) bool { return p.first <= a.Port && a.Port <= p.last })
	case method:
		return r.hasMethod(a.Method)
	case client:
		return r.clients.has(a.client)
	case user:
		_, ok := r.users[a.User]
		return ok
	case group:
		return slices.ContainsFunc(a.Groups, func(g string) bool { _, ok := r.groups[g]; return ok })
	case clock:
		return slices.ContainsFunc(r.hours, func(h hours) bool { return h.has(a.Now) })
	case path:
		return a.hasPath(r)
	case host:
		return a.isIn(r)
	}
	return false
}

// hasMethod: methods are case-sensitive (RFC 9110 section 9.1), not on every origin.
func (r *rule) hasMethod(m string) bool {
	for _, v := range r.methods {
		if v == m || r.effect == Deny && strings.EqualFold(v, m) {
			return true
		}
	}
	return false
}

func (a *ask) isIn(r *rule) bool {
	if !a.host.taken {
		a.host.take(a.Host)
	}
	for _, n := range r.hosts {
		if n.has(&a.host, r.effect == Deny) {
			return true
		}
	}
	return false
}

// dialled is an address with the one inside it, if there is one.
type dialled struct{ addr, inner netip.Addr }

func newDialled(a netip.Addr) dialled {
	return dialled{a.Unmap().WithZone(""), guard.Unwrap(a)}
}

// names says whether a rule's addr= does. A deny means an address in whatever
// form. An allow means the very address, and a gateway that translates it leads
// on to the inner one: that has to be public, or allowed as well.
func (r *rule) names(d *dialled) bool {
	switch in := r.addrs.has(d.addr); {
	case r.effect == Deny:
		return in || r.addrs.has(d.inner)
	case !in || d.inner == d.addr:
		return in
	}
	return guard.Classify(d.inner) == guard.Public || r.addrs.has(d.inner)
}
