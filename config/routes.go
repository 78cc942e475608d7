package config

import (
	"slices"
	"strings"

	"viaduct/option"
)

// Route is one line about the way out: requests that all its terms hold for leave by
// that.
type Route struct {
	Name string `key:"name" place:"true" usage:"what it is called; the place of the route when it has no name"`
	Terms
	Via string `key:"via" min:"1" usage:"their way out: a pool, or direct"`
}

// unrouted are terms that no way out is chosen by.
var unrouted = map[string]string{
	"addr": "is not known before the way out is chosen: write host, or take this out",
}

// routes checks which way out is taken.
func (r report) routes(c *Config, f *Forward, path string) {
	reach, names := reach{report: r, byHosts: true}, map[string]string{}
	for i := range f.Route {
		route, at := &f.Route[i], option.Item(path+".route", i)
		r.name(route.Name, at, names)
		r.terms(f, &route.Terms, path, at, unrouted)
		reach.terms(at, at, &route.Terms, true)
		if r.via(c, route.Via, at) && i == len(f.Route)-1 && route.Via == f.Via && reach.last == "" {
			r.Say(at, "", "does nothing, as what no route names leaves by "+f.Via+", too: take it out")
		}
	}
	if r.via(c, f.Via, path) && f.Via != Direct && reach.last != "" {
		r.Say(path+".via", f.Via, "is never reached: "+reach.last+" "+reach.why)
	}
	r.unjudged(c, f, path)
}

// via checks a way out, and tells whether it is one.
func (r report) via(c *Config, via, path string) bool {
	at := path + ".via"
	names := []string{Direct}
	for i := range c.Pools {
		names = append(names, c.Pools[i].Name)
	}
	switch {
	case slices.Contains(names, via):
		return true
	case via == "" && r.Strange(path), r.Strange("pools"), r.Unread("pools"): // it may be what nobody knows
	case via == "":
		r.Say(at, "", "write the way out, such as "+names[len(names)-1])
	case len(names) == 1:
		r.Say(at, via, "there is no pool: write one under pools, or direct")
	case option.Nearest(via, names) != "":
		r.Say(at, via, "there is no such pool: did you mean "+option.Nearest(via, names)+"?")
	default:
		r.Say(at, via, "there is no such pool: write one of "+strings.Join(names[:min(len(names), 10)], ", "))
	}
	return false
}

// unjudged tells of rules that refuse by an address which nobody here knows, as parents
// look the names up.
func (r report) unjudged(c *Config, f *Forward, path string) {
	for i := range c.Pools {
		p := &c.Pools[i]
		used := f.Via == p.Name || slices.ContainsFunc(f.Route, func(route Route) bool { return route.Via == p.Name })
		if !used || p.Resolve != "parent" {
			continue
		}
		for j := range f.Rules {
			if t := f.Rules[j].Deny; t != nil && len(t.Addr) > 0 {
				r.Say(option.Item(path+".rules", j)+".deny.addr", "", "is not known here, as the parents of pool "+p.Name+" look names up: write "+
					r.Option("upstream-resolve here", "resolve: here")+" for it, or deny by host")
			}
		}
		return // once is enough
	}
}
