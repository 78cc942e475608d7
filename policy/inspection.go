package policy

import (
	"fmt"

	"viaduct/acl"
)

// Inspection says which tunnels are inspected. The nil Inspection inspects none. It
// may be used by any number of goroutines at once.
type Inspection struct {
	rules   *acl.Policy
	entries int
}

// inspection makes a policy of what the operator wrote: one that denies to pass a
// tunnel on. A deny holds for any way in which a host can be read, so that no
// spelling of a name leads past it.
func (p *Policy) inspection(o *Options) (*Inspection, error) {
	if len(o.Conf.Inspect) == 0 {
		return nil, nil
	}
	i := &Inspection{entries: len(o.Conf.Inspect)}
	rules := make([]acl.Rule, len(o.Conf.Inspect))
	for n := range o.Conf.Inspect {
		c, r := &o.Conf.Inspect[n], &rules[n]
		r.Name = c.Name
		terms := c.Decrypt
		if c.Pass != nil {
			r.Effect, terms = acl.Allow, c.Pass
		}
		if err := p.terms(o.Files, r, terms); err != nil {
			return nil, fmt.Errorf("inspect %s: %w", c.Name, err)
		}
	}
	var err error
	i.rules, err = compile("inspect", rules, acl.Options{})
	return i, err
}

// Decide says whether the tunnel that q asks for is inspected, and which entry says
// so, or that it is not; "" when none speaks of it. Without allocation.
func (i *Inspection) Decide(q *acl.Query) (rule string, yes bool) {
	if i == nil {
		return "", false
	}
	d := i.rules.Decide(q)
	if d.Index < 0 || d.Index >= i.entries {
		return "", false // the last word, which inspects nothing
	}
	return d.Rule, d.Effect == acl.Deny
}

// Timed says whether an entry asks for the time.
func (i *Inspection) Timed() bool { return i != nil && i.rules.Timed() }
