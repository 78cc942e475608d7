package policy

import (
	"fmt"
	"maps"
	"slices"

	"viaduct/config"
)

// Remarks are what is taken as it stands, and may not be what the operator wanted.
func (p *Policy) Remarks() []string {
	var all []string
	if p.conf.ReportOnly {
		all = append(all, "report_only: the rules only tell what they would deny")
	}
	for _, path := range slices.Sorted(maps.Keys(p.Lists)) {
		if l := p.Lists[path]; l.Skipped > 0 {
			all = append(all, fmt.Sprintf("%s: %d lines are skipped, the first is line %d; %d names are used", path, l.Skipped, l.First, l.Values))
		}
	}
	if p.Users == nil {
		return all
	}
	if strangers := p.Users.Strangers(); len(strangers) > 0 {
		all = append(all, fmt.Sprintf("%s: %d names are no users, the first is %q", p.conf.Groups, len(strangers), strangers[0]))
	}
	for i := range p.conf.Rules {
		r := &p.conf.Rules[i]
		for _, t := range []*config.Terms{r.Allow, r.Deny} {
			if t != nil {
				all = append(all, p.strangers(r.Name, t)...)
			}
		}
	}
	return all
}

// strangers are names in a rule that nobody has.
func (p *Policy) strangers(rule string, t *config.Terms) []string {
	var all []string
	for _, user := range t.User {
		if _, ok := p.Users.Identity(user); !ok && user[0] != '@' {
			all = append(all, fmt.Sprintf("rule %s: there is no user %q", rule, user))
		}
	}
	for _, group := range t.Group {
		if !p.Users.HasGroup(group) && group[0] != '@' {
			all = append(all, fmt.Sprintf("rule %s: nobody is in a group %q", rule, group))
		}
	}
	return all
}
