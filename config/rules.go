package config

import (
	"fmt"
	"reflect"
	"slices"

	"viaduct/acl"
	"viaduct/option"
)

// rules checks the policy of a proxy.
func (r report) rules(f *Forward, path string) {
	names, last := map[string]int{}, ""
	for i := range f.Rules {
		rule, at := &f.Rules[i], option.Item(path+".rules", i)
		r.effect(rule, at)
		r.name(rule.Name, at+".name", i, names)
		r.terms(f, rule.Allow, path, at+".allow")
		r.terms(f, rule.Deny, path, at+".deny")
		switch {
		case last != "" && last != "told":
			r.Say(at, "", "is never reached: "+last+" before it has no terms")
			last = "told"
		case last == "" && r.decidesAll(rule, at):
			last = r.Name(at)
		}
	}
}

// effect checks that a rule has one.
func (r report) effect(rule *Rule, path string) {
	switch {
	case rule.Allow == nil && rule.Deny == nil && !r.Strange(path):
		r.Say(path, "", "write allow or deny with its terms, such as deny: {host: [.example.com]}")
	case rule.Allow != nil && rule.Deny != nil:
		r.Say(path, "", "is allow and deny at once: write two rules")
	case rule.Allow != nil && rule.ReportOnly:
		r.Say(path+".report_only", "", "is for deny: an allow refuses nothing that could be told, so take this out")
	}
}

// name checks what a rule is called. Clients read it, and metrics have it as a
// label.
func (r report) name(name, path string, i int, names map[string]int) {
	first, again := names[name]
	switch {
	case name == "" || !isLine(name, 100):
		r.Say(path, name, "write a name of one line, with at most 100 bytes")
	case slices.Contains([]string{"default", "guard", "own_address", "clients", "connect_ports", "auth", "sni"}, name):
		r.Say(path, name, "is what a check of viaduct's own is called: write another name")
	case again:
		r.Say(path, name, fmt.Sprintf("is the name of rules[%d] already: write another one", first))
	default:
		names[name] = i
	}
}

// terms checks what one effect of a rule asks for.
func (r report) terms(f *Forward, t *Terms, entry, path string) {
	if t == nil {
		return
	}
	for i, values := range [...][]string{t.User, t.Group, t.Client, t.Host, t.Addr, t.Port, t.Method, t.Path, t.Time} {
		key := acl.Fields()[i]
		at := path + "." + key
		for j, value := range values {
			r.value(key, value, option.Item(at, j))
		}
		if text := r.nobody(f, key, entry); text != "" && len(values) > 0 {
			r.Say(at, "", text)
		}
	}
}

// value checks one value of a term.
func (r report) value(term, value, path string) {
	switch {
	case value == "":
		r.Say(path, "", "no value: write one, or take "+term+" out")
	case value == "@":
		r.Say(path, value, "write the file behind its @, such as @list.txt")
	case value[0] != '@':
		if text := acl.CheckValue(term, value); text != "" {
			r.Say(path, value, text)
		}
	}
}

// nobody says why a term about who asks holds for nobody, if that is so.
func (r report) nobody(f *Forward, term, path string) string {
	users, groups := r.Option("users", "users"), r.Option("groups", "groups")
	switch {
	case term != "user" && term != "group":
	case !r.authenticates(f, path):
		return "never holds, as nobody authenticates: add " + users + " or " + r.Option("auth-url", "auth_url")
	case term == "group" && f.AuthURL == "" && !r.given(f.Groups, path, "groups"):
		return "never holds, as no user has groups: add " + groups
	}
	return ""
}

// decidesAll tells whether no request comes past a rule.
func (r report) decidesAll(rule *Rule, path string) bool {
	terms, at := rule.Allow, path+".allow"
	if terms == nil {
		terms, at = rule.Deny, path+".deny"
	}
	return terms != nil && reflect.ValueOf(*terms).IsZero() && !rule.ReportOnly && !r.Unread(at) && !r.Strange(at)
}
