package config

import (
	"reflect"
	"slices"
	"strings"

	"viaduct/acl"
	"viaduct/option"
)

// Rule is one line of the policy: it allows or denies what all its terms hold for.
// One of Allow and Deny is set.
type Rule struct {
	Name       string `key:"name" place:"true" usage:"what logs and clients are told; the place of the rule when it has none"`
	Allow      *Terms `key:"allow" flag:"allow" word:"RULE" example:"host=.example.com" usage:"let pass what all these terms hold for"`
	Deny       *Terms `key:"deny" flag:"deny" word:"RULE" example:"host=.example.com" usage:"refuse what all these terms hold for"`
	ReportOnly bool   `key:"report_only" usage:"of a deny: log what it would refuse, and go on as if it were not there"`
}

// Terms are what a rule asks for: of each term that is there, one of its values. A
// value @FILE stands for those in a file, one a line.
type Terms struct {
	User   []string `key:"user" min:"1" file:"@" usage:"users, by the name that they authenticated with"`
	Group  []string `key:"group" min:"1" file:"@" usage:"groups of that user"`
	Client []string `key:"client" min:"1" file:"@" usage:"addresses of clients: 10.1.2.3 or 10.1.0.0/16"`
	Host   []string `key:"host" min:"1" file:"@" usage:"destinations by name: example.com, .example.com with all below it, *.example.com only what is below; or @FILE, a list"`
	Addr   []string `key:"addr" min:"1" file:"@" usage:"destinations by the address that is really dialled: 192.0.2.1 or 192.0.2.0/24; an allow lifts the guard for it"`
	Port   []string `key:"port" min:"1" file:"@" usage:"ports of destinations: 443 or 8000-8999"`
	Method []string `key:"method" min:"1" file:"@" usage:"methods of requests, CONNECT for tunnels"`
	Path   []string `key:"path" min:"1" file:"@" usage:"paths of requests that are no tunnels: /v1 with all below it, /v1/ only what is below"`
	Time   []string `key:"time" min:"1" file:"@" usage:"local times: mon-fri, 09:00-17:00 or mon-fri/09:00-17:00"`
}

// rules checks the policy of a proxy.
func (r report) rules(f *Forward, path string, names map[string]string) {
	reach := reach{report: r}
	for i := range f.Rules {
		rule, at := &f.Rules[i], option.Item(path+".rules", i)
		r.effect(rule, at)
		r.name(rule.Name, at, names)
		r.terms(f, rule.Allow, path, at+".allow", nil)
		r.terms(f, rule.Deny, path, at+".deny", nil)
		switch {
		case rule.Allow != nil:
			reach.terms(at, at+".allow", rule.Allow, true)
		case rule.Deny != nil:
			reach.terms(at, at+".deny", rule.Deny, !rule.ReportOnly)
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

// name checks what the entry of a list at path is called. Clients read it, and
// metrics have it as a label.
func (r report) name(name, path string, names map[string]string) {
	first, again := names[name]
	switch {
	case name == "" || !isLine(name, 100):
		r.Say(path+".name", name, "write a name of one line, with at most 100 bytes")
	case slices.Contains([]string{"default", "guard", "own_address", "clients", "connect_ports", "auth", "sni"}, name):
		r.Say(path+".name", name, "is what a check of viaduct's own is called: write another name")
	case again:
		r.Say(path+".name", name, "is the name of "+first+" already: write another one")
	default:
		names[name] = path[strings.LastIndexByte(path, '.')+1:]
	}
}

// terms checks what one effect of a rule asks for, but for terms that are refused
// with a reason.
func (r report) terms(f *Forward, t *Terms, entry, path string, refused map[string]string) {
	if t == nil {
		return
	}
	for i, values := range [...][]string{t.User, t.Group, t.Client, t.Host, t.Addr, t.Port, t.Method, t.Path, t.Time} {
		key := acl.Fields()[i]
		at := path + "." + key
		if text := refused[key]; text != "" && len(values) > 0 {
			r.Say(at, "", text)
			continue
		}
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
	case term == "group" && f.AuthURL == "" && !r.certificates(f, path) && !r.given(f.Groups, path, "groups"):
		return "never holds, as no user has groups: add " + groups
	}
	return ""
}

// all tells whether terms that are there hold for every request.
func (r report) all(t *Terms, path string) bool {
	return t != nil && reflect.ValueOf(*t).IsZero() && !r.Unread(path) && !r.Strange(path)
}
