package policy

import (
	"fmt"

	"viaduct/acl"
	"viaduct/config"
)

// Routes say which way out requests take. The nil Routes name none. They may be used
// by any number of goroutines at once.
type Routes struct {
	rules *acl.Policy
	names []string
}

// routes makes a policy of what the operator wrote: each route is a rule that allows.
// So a host that can be read in several ways takes a route only by its usual one.
func (p *Policy) routes(o *Options) (*Routes, error) {
	if len(o.Conf.Route) == 0 {
		return nil, nil
	}
	r := &Routes{}
	rules := make([]acl.Rule, len(o.Conf.Route))
	for i := range o.Conf.Route {
		c := &o.Conf.Route[i]
		rules[i].Name, rules[i].Effect = c.Name, acl.Allow
		r.names = append(r.names, c.Name)
		if err := p.terms(o.Files, &rules[i], &c.Terms); err != nil {
			return nil, fmt.Errorf("route %s: %w", c.Name, err)
		}
	}
	var err error
	r.rules, err = compile("route", rules, acl.Options{})
	return r, err
}

// Decide is the index of the first route whose terms all hold, -1 where there is none.
// Without allocation.
func (r *Routes) Decide(q *acl.Query) (index int) {
	if r == nil {
		return -1
	}
	if d := r.rules.Decide(q); d.Index < len(r.names) {
		return d.Index
	}
	return -1 // the last word, which leads nowhere
}

// Timed says whether a route asks for the time.
func (r *Routes) Timed() bool { return r != nil && r.rules.Timed() }

// Names are those of the routes, in order.
func (r *Routes) Names() []string {
	if r == nil {
		return nil
	}
	return r.names
}

// JudgesAddr tells whether a rule asks for the address of the destination. Where nobody
// but a parent looks names up, it holds for none.
func (p *Policy) JudgesAddr() bool {
	for i := range p.conf.Rules {
		for _, t := range []*config.Terms{p.conf.Rules[i].Allow, p.conf.Rules[i].Deny} {
			if t != nil && len(t.Addr) > 0 {
				return true
			}
		}
	}
	return false
}
