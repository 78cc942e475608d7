// Package policy makes what the operator wrote about who may go where ready for
// use: rules with their lists, the users with their groups, which way out is taken,
// which tunnels are inspected, and what is done to the messages in them.
package policy

import (
	"errors"
	"fmt"
	"strings"

	"viaduct/acl"
	"viaduct/auth"
	"viaduct/config"
	"viaduct/files"
	"viaduct/filter"
	"viaduct/guard"
)

// Options are what a Policy is made of. Conf and Files are required.
type Options struct {
	Conf   *config.Forward
	Files  *files.Set
	Guard  *guard.Guard
	Memory *auth.Memory // what is known of clients already; required when they authenticate
	Failed func(auth.Failure)
}

// Policy is who may go where through one entry of the configuration.
type Policy struct {
	conf    *config.Forward
	Rules   *acl.Policy
	Routes  *Routes       // nil: there are none
	Inspect *Inspection   // nil: no tunnel is inspected
	Filters *filter.Chain // nil: there are none
	Gate    *auth.Gate    // nil: nobody is asked for a password
	Users   *auth.Users   // nil: somebody else knows them
	Lists   map[string]List
}

// List is how much of a file is understood.
type List struct {
	Values  int
	Skipped int // lines that say nothing to us
	First   int // the first of them
}

// New reads what the configuration names, and compiles it. Its errors say which
// option and which file is meant.
func New(o Options) (*Policy, error) {
	p := &Policy{conf: o.Conf, Lists: map[string]List{}}
	rules, err := p.rules(&o)
	if err == nil {
		p.Rules, err = compile("rule", rules, acl.Options{ReportOnly: o.Conf.ReportOnly, Guard: o.Guard})
	}
	if err == nil {
		p.Routes, err = p.routes(&o)
	}
	if err == nil {
		p.Inspect, err = p.inspection(&o)
	}
	if err == nil {
		p.Filters, err = p.filters(&o)
	}
	if err != nil {
		return nil, err
	}
	verifier, err := p.verifier(&o)
	if err != nil || verifier == nil {
		return p, err
	}
	p.Gate = auth.NewGate(auth.Options{Verifier: verifier, Memory: o.Memory, Name: o.Conf.AuthURL, TTL: o.Conf.AuthCache, Failed: o.Failed})
	return p, nil
}

// compile names the rule, which is one of that kind, that something is wrong with.
func compile(kind string, rules []acl.Rule, o acl.Options) (*acl.Policy, error) {
	p, err := acl.Compile(rules, o)
	wrong, ok := errors.AsType[*acl.RuleError](err)
	if !ok {
		return p, err
	}
	r := &rules[wrong.Rule]
	for _, t := range termsOf(new(config.Terms), r) {
		if t.field == wrong.Field && wrong.Value >= 0 {
			return nil, fmt.Errorf("%s %s: %s %.60q: %s", kind, r.Name, t.field, (*t.to)[wrong.Value], wrong.Text)
		}
	}
	return nil, fmt.Errorf("%s %s: %s %s", kind, r.Name, wrong.Field, wrong.Text)
}

// term is the way of a term from the configuration to a rule.
type term struct {
	field string
	from  []string
	to    *[]string
}

func termsOf(t *config.Terms, r *acl.Rule) []term {
	return []term{
		{"user", t.User, &r.User},
		{"group", t.Group, &r.Group},
		{"client", t.Client, &r.Client},
		{"host", t.Host, &r.Host},
		{"addr", t.Addr, &r.Addr},
		{"port", t.Port, &r.Port},
		{"method", t.Method, &r.Method},
		{"path", t.Path, &r.Path},
		{"time", t.Time, &r.Time},
	}
}

// verifier is who knows the users; nil when nobody is asked.
func (p *Policy) verifier(o *Options) (auth.Verifier, error) {
	c := o.Conf
	switch {
	case c.AuthURL != "":
		return auth.NewExternal(auth.ExternalOptions{URL: c.AuthURL, Timeout: c.AuthTimeout}), nil
	case c.Users == "":
		return nil, nil
	}
	users, err := files.Load(o.Files, c.Users, "users", func(text []byte) ([]byte, error) {
		_, err := auth.ParseUsers(text, nil)
		return text, err
	})
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	var groups []byte
	if c.Groups != "" {
		groups, err = files.Load(o.Files, c.Groups, "groups", func(text []byte) ([]byte, error) {
			_, err := auth.ParseUsers(users, text)
			return text, err
		})
		if err != nil {
			return nil, fmt.Errorf("groups: %w", err)
		}
	}
	p.Users, err = auth.ParseUsers(users, groups)
	return p.Users, err
}

// rules are those of the configuration with what their files say.
func (p *Policy) rules(o *Options) ([]acl.Rule, error) {
	rules := make([]acl.Rule, len(o.Conf.Rules))
	for i := range o.Conf.Rules {
		c, r := &o.Conf.Rules[i], &rules[i]
		r.Name, r.Report = c.Name, c.ReportOnly
		terms := c.Deny
		if c.Allow != nil {
			r.Effect, terms = acl.Allow, c.Allow
		}
		if err := p.terms(o.Files, r, terms); err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
	}
	return rules, nil
}

// terms gives a rule its terms, with what their files say.
func (p *Policy) terms(f *files.Set, r *acl.Rule, terms *config.Terms) error {
	for _, t := range termsOf(terms, r) {
		if err := p.fill(f, r, t); err != nil {
			return fmt.Errorf("%s: %w", t.field, err)
		}
	}
	return nil
}

// fill gives a rule the values of a term. A list without a single one would
// turn its rule into one that always, or never, holds.
func (p *Policy) fill(f *files.Set, r *acl.Rule, t term) error {
	for _, value := range t.from {
		path, isFile := strings.CutPrefix(value, "@")
		if !isFile {
			*t.to = append(*t.to, value)
			continue
		}
		var err error
		if t.field == "host" {
			err = p.hosts(f, r, path)
		} else {
			err = p.values(f, path, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errNothing = errors.New("there is nothing in it that can be used")

// hostList is a list of hosts, and how it was read.
type hostList struct {
	names *acl.Names
	list  List
}

func (p *Policy) hosts(f *files.Set, r *acl.Rule, path string) error {
	h, err := files.Load(f, path, "hosts", func(text []byte) (hostList, error) {
		names, read := acl.ParseNames(text)
		if names.Len() == 0 {
			return hostList{}, errNothing
		}
		return hostList{names, List{names.Len(), read.Skipped, read.FirstSkipped}}, nil
	})
	if err == nil {
		p.Lists[path] = h.list
		r.HostLists = append(r.HostLists, h.names)
	}
	return err
}

func (p *Policy) values(f *files.Set, path string, t term) error {
	values, err := files.Load(f, path, t.field, func(text []byte) ([]string, error) {
		values := acl.Values(text)
		for _, v := range values {
			if wrong := acl.CheckValue(t.field, v); wrong != "" {
				return nil, fmt.Errorf("%.60q: %s", v, wrong)
			}
		}
		if len(values) == 0 {
			return nil, errNothing
		}
		return values, nil
	})
	if err == nil {
		p.Lists[path] = List{Values: len(values)}
		*t.to = append(*t.to, values...)
	}
	return err
}
