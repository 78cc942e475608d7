package policy

import (
	"reflect"
	"slices"
	"strings"

	"viaduct/acl"
	"viaduct/config"
)

// unconnected are rules that allow requests inside inspected tunnels, where no rule
// allows the CONNECT that such a tunnel begins with. Only what is certain is told.
func (p *Policy) unconnected() (all []string) {
	connects, certain := p.connects()
	if p.Inspect == nil || p.conf.ReportOnly || !certain {
		return nil
	}
	for i := range p.conf.Rules {
		r := &p.conf.Rules[i]
		if r.Allow != nil && !isAddrAlone(r.Allow) && !mayConnect(r.Allow) && p.unreached(r.Allow, connects) {
			all = append(all, "rule "+r.Name+": never holds for https://, as no rule allows the CONNECT: add one that allows method CONNECT for these hosts")
		}
	}
	return all
}

// connects are the hosts that a CONNECT may be allowed for, whoever asks. It is
// certain if there are no others.
func (p *Policy) connects() (hosts []string, certain bool) {
	for i := range p.conf.Rules {
		t := p.conf.Rules[i].Allow
		if t == nil || !mayConnect(t) {
			continue
		}
		if len(t.Host) == 0 || slices.ContainsFunc(t.Host, isFile) {
			return nil, false
		}
		hosts = append(hosts, t.Host...)
	}
	return hosts, true
}

// mayConnect tells whether an allow may let a CONNECT pass.
func mayConnect(t *config.Terms) bool {
	method := len(t.Method) == 0 || slices.Contains(t.Method, "CONNECT") || slices.ContainsFunc(t.Method, isFile)
	return len(t.Path) == 0 && method && !isAddrAlone(t)
}

// isAddrAlone tells whether an allow settles addresses, and lets nobody pass.
func isAddrAlone(t *config.Terms) bool {
	rest := *t
	rest.Addr = nil
	return len(t.Addr) > 0 && reflect.ValueOf(rest).IsZero()
}

// unreached tells whether a host of an allow is inspected, and none of them is among
// those that a CONNECT may be allowed for.
func (p *Policy) unreached(t *config.Terms, connects []string) bool {
	if len(t.Host) == 0 {
		return len(connects) == 0 && slices.ContainsFunc(p.conf.Inspect, func(e config.Inspection) bool { return e.Decrypt != nil })
	}
	for _, host := range t.Host {
		meets := func(other string) bool { return within(host, other) || within(other, host) }
		if isFile(host) || slices.ContainsFunc(connects, meets) {
			return false
		}
	}
	return slices.ContainsFunc(t.Host, p.inspected)
}

// within tells whether a value of host may lie in another one, or be the same.
func within(host, other string) bool {
	a, b := bare(host), bare(other)
	return a == b || b != other && strings.HasSuffix(a, "."+b)
}

// bare is a value of host without what says that more is meant.
func bare(host string) string {
	return strings.Trim(strings.ToLower(strings.TrimPrefix(host, "*")), ".")
}

// inspected tells whether a tunnel to a host is inspected, whoever asks.
func (p *Policy) inspected(host string) bool {
	name := bare(host)
	if strings.HasPrefix(host, "*") {
		name = "any." + name
	}
	q := acl.Query{Host: name, Port: 443, Method: "CONNECT"}
	if ports := p.conf.ConnectPorts; len(ports) > 0 && !slices.Contains(ports, q.Port) {
		q.Port = ports[0]
	}
	_, yes := p.Inspect.Decide(&q)
	return yes
}

func isFile(value string) bool { return strings.HasPrefix(value, "@") }
