package config

import (
	"net/netip"
	"slices"
	"strings"

	"viaduct/option"
)

// Check looks for everything that is wrong with c: what cannot work, what would
// be dangerous, and what would do nothing. The error is Problems. A
// configuration that came from Read, Load or FromFlags is checked already.
func (c *Config) Check() error { return option.Check(c, c.form()) }

// report is where mistakes are told.
type report struct{ *option.Report }

func (c *Config) check(to *option.Report) {
	r := report{to}
	if c.Log.Access.Path == "" {
		r.Say("log.access.path", "", "write a path, - for standard output, or off")
	}
	r.admin(&c.Admin)
	r.pools(c)
	used := map[address]string{}
	for i := range c.Forward {
		r.forward(&c.Forward[i], option.Item("forward", i), used)
		r.routes(c, &c.Forward[i], option.Item("forward", i))
	}
	if at, ok := parseAddress(c.Admin.Listen); ok && at.port != 0 {
		r.once(used, at, "admin.listen", c.Admin.Listen, "")
	}
	switch {
	case c.Forward == nil:
		r.Say("", "", "nothing to run: write a forward: section, such as forward: [{listen: 127.0.0.1:3128}]")
	case len(c.Forward) == 0:
		r.Say("forward", "", "nothing to run: list at least one proxy, such as [{listen: 127.0.0.1:3128}]")
	}
}

// admin checks the operator's door. What it tells is about everybody behind the
// proxy, so that beyond the loopback it is for those who know the token.
func (r report) admin(a *Admin) {
	for i, name := range a.Hosts {
		if !isHost(name) {
			r.Say(option.Item("admin.hosts", i), name, "write a name or an IP address, without port, such as proxy.example.com")
		}
	}
	at, ok := parseAddress(a.Listen)
	_, isPath := UnixPath(a.Listen)
	switch {
	case isPath && a.TokenFile != "":
		r.Say("admin.token_file", a.TokenFile, "does nothing, as a socket in the file system is for those whom the mode of that lets in: take this out")
	case isPath:
	case strings.HasPrefix(a.Listen, "unix:"):
		r.Say("admin.listen", a.Listen, "write the absolute path of a socket, with at most 107 bytes, such as unix:///run/viaduct.sock")
	case a.Listen == "":
		text := "does nothing without " + r.Option("admin", "listen") + ": add that, or take this out"
		if a.TokenFile != "" {
			r.Say("admin.token_file", a.TokenFile, text)
		}
		if len(a.Hosts) > 0 {
			r.Say("admin.hosts", "", text)
		}
	case !ok:
		r.Say("admin.listen", a.Listen, "write host:port with a port up to 65535, such as 127.0.0.1:9090")
	case !at.loopback() && a.TokenFile == "":
		r.Say("admin.listen", a.Listen, "would tell anyone who reaches this address what the proxy does: listen on a loopback address, or add "+
			r.Option("admin-token-file", "token_file")+" with the token that metrics ask for")
	}
}

// forward checks one proxy. The addresses that are listened on go into used.
func (r report) forward(f *Forward, path string, used map[address]string) {
	if len(f.Listen) == 0 {
		r.Say(path+".listen", "", "no address: write at least one, such as 127.0.0.1:3128")
	}
	for i := range f.Listen {
		r.listen(f, path, i, used)
	}
	for i, s := range f.Resolver {
		at := option.Item(path+".resolver", i)
		switch {
		case !isResolver(s):
			r.Say(at, s, "write a DNS server, such as 9.9.9.9, 9.9.9.9:53, udp://9.9.9.9, tcp://9.9.9.9, tls://dns.quad9.net or https://dns.quad9.net/dns-query")
		case slices.Contains(f.Resolver[:i], s):
			r.Say(at, s, "is given twice: take one out")
		}
	}
	if f.ConnectPorts != nil && len(f.ConnectPorts) == 0 {
		r.Say(path+".connect_ports", "", "no port: write numbers from 1 to 65535, or any")
	}
	r.tls(f, path)
	r.clients(f, path)
	names := map[string]string{}
	r.rules(f, path, names)
	r.inspect(f, path, names)
	r.filters(f, path, names)
	r.egress(f, path)
}

// listen checks an address to listen on. A proxy is not opened to the world by
// accident.
func (r report) listen(f *Forward, entry string, i int, used map[address]string) {
	path, s := option.Item(entry+".listen", i), f.Listen[i]
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		rest = s
	}
	at, fine := parseAddress(strings.TrimSuffix(rest, "/"))
	switch small := strings.ToLower(scheme); {
	case ok && small != scheme && (small == "http" || small == "https"):
		r.Say(path, s, "write "+small+":// in small letters")
	case ok && scheme != "http" && scheme != "https":
		r.Say(path, s, "only host:port, http:// and https:// are served")
	case !fine || !ok && strings.HasSuffix(s, "/"):
		r.Say(path, s, "write host:port with a port up to 65535, such as "+s[:len(s)-len(rest)]+"127.0.0.1:3128")
	case !at.loopback() && !f.Open && !f.welcomes() && !r.passwords(f, entry) && !(scheme == "https" && r.certificates(f, entry)):
		who := r.Option("users", "users") + ", " + r.Option("auth-url", "auth_url")
		if scheme == "https" {
			who += ", " + r.Option("tls-client-ca", "tls.client_ca")
		}
		r.Say(path, s, "would let anyone who reaches this address use the proxy: listen on a loopback address, or add "+
			who+", "+r.Option("allow with client=", "an allow rule with client")+", or "+r.Option("open", "open: true")+" if that is what you want")
	}
	if fine && at.port != 0 && (!ok || scheme == "http" || scheme == "https") {
		r.once(used, at, path, s, entry)
	}
}

// once refuses an address that overlaps with one that is listened on already: one
// socket of the two could not be opened. Port 0, another port each time, never does.
func (r report) once(used map[address]string, at address, path, s, entry string) {
	at = at.plain()
	under, among := at.overlap()
	me := r.Name(path)
	preset := entry != "" && r.Implied(entry+".listen")
	if preset {
		me = entry
	}
	for _, host := range among {
		first, ok := used[address{host, at.port}]
		switch {
		case !ok:
			continue
		case preset:
			r.Say(entry, "", "the default "+s+" is taken by "+first+": give this one its own listen")
		default:
			r.Say(path, s, "is taken by "+first+": take one out, or give one another port")
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
func (r report) egress(f *Forward, path string) {
	families, choice := map[bool]int{}, false
	for i, a := range f.Egress {
		at, a := option.Item(path+".egress", i), a.Unmap()
		switch {
		case !a.IsValid():
			r.Say(at, "", "write an IP address, such as 203.0.113.7")
			choice = true // perhaps, when it is one
		case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			r.Say(at, a.String(), "is no address of a machine: write one that this machine has")
		case slices.ContainsFunc(f.Egress[:i], func(b netip.Addr) bool { return b.Unmap() == a }):
			r.Say(at, a.String(), "is given twice: take one out")
		default:
			families[a.Is4()]++
			choice = choice || families[a.Is4()] > 1
		}
	}
	if !choice && slices.Contains([]string{"user", "client", "host"}, f.EgressBy) {
		r.Say(path+".egress_by", f.EgressBy, "has nothing to choose from: give two addresses of one family with "+r.Option("egress", "egress")+", or take this out")
	}
}
