package config

import (
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Check looks for everything that is wrong with c: what cannot work, what would
// be dangerous, and what would do nothing. The error is Problems. A
// configuration that came from Read, Load or FromFlags is checked already.
func (c *Config) Check() error {
	r := newReport("")
	r.check(c)
	return r.error()
}

func (r *report) check(c *Config) {
	r.checking = true
	walk(reflect.ValueOf(c).Elem(), "", r.bounds)
	if c.Log.Access.Path == "" {
		r.say("log.access.path", "", "write a path, - for standard output, or off")
	}
	r.admin(&c.Admin)
	used := map[address]string{}
	for i := range c.Forward {
		r.forward(&c.Forward[i], item("forward", i), used)
	}
	if at, ok := parseAddress(c.Admin.Listen); ok && at.port != 0 {
		r.once(used, at, "admin.listen", c.Admin.Listen)
	}
	switch {
	case c.Forward == nil:
		r.say("", "", "nothing to run: write a forward: section, such as forward: [{listen: 127.0.0.1:3128}]")
	case len(c.Forward) == 0:
		r.say("forward", "", "nothing to run: list at least one proxy, such as [{listen: 127.0.0.1:3128}]")
	}
}

// option is how the operator writes an option.
func (r *report) option(flag, key string) string {
	if r.flags {
		return "--" + flag
	}
	return key
}

// bounds checks an option against its tags.
func (r *report) bounds(f field, v reflect.Value, path string) {
	said := func(text string) { r.say(path, word(v), text) }
	switch x := v.Interface().(type) {
	case time.Duration:
		switch {
		case f.least == "" && x <= 0:
			said("every wait is bounded; give a time above zero, such as " + f.example())
		case x < 0:
			said("give a time of zero or more, such as " + f.example())
		}
	case Size:
		least, _ := parseSize(f.least)
		most, _ := parseSize(f.most)
		if x < least || x > most {
			said(f.sizes())
		}
	case int:
		if x < 0 || x > math.MaxInt32 {
			said("write a number from 0 to 2147483647")
		}
	case string:
		if last := len(f.oneof) - 1; last > 0 && !slices.Contains(f.oneof, x) {
			said("choose " + strings.Join(f.oneof[:last], ", ") + " or " + f.oneof[last])
		}
	}
}

// admin checks the operator's door. What it tells is about everybody behind the
// proxy, so that beyond the loopback it is for those who know the token.
func (r *report) admin(a *Admin) {
	for i, name := range a.Hosts {
		if !isHost(name) {
			r.say(item("admin.hosts", i), name, "write a name or an IP address, without port, such as proxy.example.com")
		}
	}
	at, ok := parseAddress(a.Listen)
	switch {
	case a.Listen == "":
		text := "does nothing without " + r.option("admin", "listen") + ": add that, or take this out"
		if a.TokenFile != "" {
			r.say("admin.token_file", a.TokenFile, text)
		}
		if len(a.Hosts) > 0 {
			r.say("admin.hosts", "", text)
		}
	case !ok:
		r.say("admin.listen", a.Listen, "write host:port with a port up to 65535, such as 127.0.0.1:9090")
	case !at.loopback() && a.TokenFile == "":
		r.say("admin.listen", a.Listen, "would tell anyone who reaches this address what the proxy does: listen on a loopback address, or add "+
			r.option("admin-token-file", "token_file")+" with the token that metrics ask for")
	}
}

// forward checks one proxy. The addresses that are listened on go into used.
func (r *report) forward(f *Forward, path string, used map[address]string) {
	if len(f.Listen) == 0 {
		r.say(join(path, "listen"), "", "no address: write at least one, such as 127.0.0.1:3128")
	}
	for i, s := range f.Listen {
		r.listen(f, item(join(path, "listen"), i), s, used)
	}
	for i, s := range f.Resolver {
		at := item(join(path, "resolver"), i)
		switch {
		case !isResolver(s):
			r.say(at, s, "write a DNS server, such as 9.9.9.9, 9.9.9.9:53, udp://9.9.9.9, tcp://9.9.9.9, tls://dns.quad9.net or https://dns.quad9.net/dns-query")
		case slices.Contains(f.Resolver[:i], s):
			r.say(at, s, "is given twice: take one out")
		}
	}
	if f.ConnectPorts != nil && len(f.ConnectPorts) == 0 {
		r.say(join(path, "connect_ports"), "", "no port: write numbers from 1 to 65535, or any")
	}
	r.egress(f, path)
}

// listen checks an address to listen on. A proxy is not opened to the world by
// accident.
func (r *report) listen(f *Forward, path, s string, used map[address]string) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		rest = s
	}
	at, fine := parseAddress(strings.TrimSuffix(rest, "/"))
	switch {
	case ok && scheme != "http":
		r.say(path, s, "only http:// and host:port are served")
	case !fine || !ok && strings.HasSuffix(s, "/"):
		r.say(path, s, "write host:port with a port up to 65535, such as 127.0.0.1:3128")
	case !at.loopback() && !f.Open:
		r.say(path, s, "would let anyone who reaches this address use the proxy: listen on a loopback address, or add "+
			r.option("open", "open: true")+" if that is what you want")
	}
	if fine && at.port != 0 && (!ok || scheme == "http") {
		r.once(used, at, path, s)
	}
}

// once refuses an address that overlaps with one that is listened on already: one
// socket of the two could not be opened. Port 0, another port each time, never does.
func (r *report) once(used map[address]string, at address, path, s string) {
	at = at.plain()
	under, among := at.overlap()
	me, entry := r.place(path).name, above(above(path))
	_, written := r.places[above(path)]
	preset := !written && entry != "" && r.places[""].line > 0 // an entry of a file without listen
	if preset {
		me = entry
	}
	for _, host := range among {
		first, ok := used[address{host, at.port}]
		switch {
		case !ok:
			continue
		case preset:
			r.say(entry, "", "the default "+s+" is taken by "+first+": give this one its own listen")
		default:
			r.say(path, s, "is taken by "+first+": take one out, or give one another port")
		}
		return
	}
	for _, host := range under {
		if key := (address{host, at.port}); used[key] == "" {
			used[key] = me
		}
	}
}

// egress checks the source addresses. The family of the destination says which
// of them can be used, so that a choice needs two of one family.
func (r *report) egress(f *Forward, path string) {
	families, choice := map[bool]int{}, false
	for i, a := range f.Egress {
		at, a := item(join(path, "egress"), i), a.Unmap()
		switch {
		case !a.IsValid():
			r.say(at, "", "write an IP address, such as 203.0.113.7")
			choice = true // perhaps, when it is one
		case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			r.say(at, a.String(), "is no address of a machine: write one that this machine has")
		case slices.ContainsFunc(f.Egress[:i], func(b netip.Addr) bool { return b.Unmap() == a }):
			r.say(at, a.String(), "is given twice: take one out")
		default:
			families[a.Is4()]++
			choice = choice || families[a.Is4()] > 1
		}
	}
	if !choice && (f.EgressBy == "client" || f.EgressBy == "host") {
		r.say(join(path, "egress_by"), f.EgressBy, "has nothing to choose from: give two addresses of one family with "+r.option("egress", "egress")+", or take this out")
	}
}
