package policy

import (
	"fmt"
	"maps"
	"slices"

	"viaduct/config"
)

// Remarks are what is taken as it stands, and may not be what the operator wanted.
func (p *Policy) Remarks() []string {
	return slices.Concat(p.rehearsed(), p.skipped(), p.uncertified(), p.unconnected(), p.unknown())
}

func (p *Policy) rehearsed() []string {
	if !p.conf.ReportOnly {
		return nil
	}
	return []string{"report_only: the rules only tell what they would deny"}
}

// skipped are lines of lists that say nothing.
func (p *Policy) skipped() (all []string) {
	for _, path := range slices.Sorted(maps.Keys(p.Lists)) {
		if l := p.Lists[path]; l.Skipped > 0 {
			all = append(all, fmt.Sprintf("%s: %d lines are skipped, the first is line %d; %d names are used", path, l.Skipped, l.First, l.Values))
		}
	}
	return all
}

// uncertified are listeners whose clients cannot say who they are.
func (p *Policy) uncertified() (all []string) {
	for _, address := range p.conf.Listen {
		if p.conf.TLS.ClientCA != "" && p.Gate == nil && !config.Secure(address) {
			all = append(all, fmt.Sprintf("listen %s: every request is refused there: without TLS no client can show a certificate, and there are no users", address))
		}
	}
	return all
}

// unknown are names that no user and no group has.
func (p *Policy) unknown() (all []string) {
	if p.Users == nil {
		return nil
	}
	if strangers := p.Users.Strangers(); len(strangers) > 0 {
		all = append(all, fmt.Sprintf("%s: %d names are no users, the first is %q", p.conf.Groups, len(strangers), strangers[0]))
	}
	if p.conf.TLS.ClientCA != "" {
		return all // a certificate may have names that no file has
	}
	for i := range p.conf.Rules {
		r := &p.conf.Rules[i]
		all = append(all, p.strangers("rule "+r.Name, r.Allow)...)
		all = append(all, p.strangers("rule "+r.Name, r.Deny)...)
	}
	for i := range p.conf.Route {
		r := &p.conf.Route[i]
		all = append(all, p.strangers("route "+r.Name, &r.Terms)...)
	}
	for i := range p.conf.Inspect {
		e := &p.conf.Inspect[i]
		all = append(all, p.strangers("inspect "+e.Name, e.Decrypt)...)
		all = append(all, p.strangers("inspect "+e.Name, e.Pass)...)
	}
	for i := range p.conf.Filters {
		f := &p.conf.Filters[i]
		all = append(all, p.strangers("filter "+f.Name, f.Match)...)
	}
	return all
}

// strangers are names in terms that nobody has.
func (p *Policy) strangers(where string, t *config.Terms) []string {
	if t == nil {
		return nil
	}
	var all []string
	for _, user := range t.User {
		if _, ok := p.Users.Identity(user); !ok && user[0] != '@' {
			all = append(all, fmt.Sprintf("%s: there is no user %q", where, user))
		}
	}
	for _, group := range t.Group {
		if !p.Users.HasGroup(group) && group[0] != '@' {
			all = append(all, fmt.Sprintf("%s: nobody is in a group %q", where, group))
		}
	}
	return all
}
