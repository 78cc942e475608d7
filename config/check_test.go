package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"viaduct/config"
)

// with is the default configuration, changed.
func with(change func(c *config.Config, f *config.Forward)) *config.Config {
	c := config.Default()
	change(c, &c.Forward[0])
	return c
}

func TestListenAddresses(t *testing.T) {
	const fine, open, form, scheme = "", "listen on a loopback address, or add users, auth_url, an allow rule with client, or open: true if that is what you want", "write host:port with a port up to 65535", "only host:port, http:// and https:// are served"
	for _, c := range []struct {
		listen string
		open   bool
		want   string
	}{
		{"127.0.0.1:0", false, fine},
		{"127.7.7.7:0", false, fine},
		{"[::1]:0", false, fine},
		{"[::ffff:127.0.0.1]:0", false, fine},
		{"localhost:0", false, fine},
		{"http://127.0.0.1:0", false, fine},
		{"http://127.0.0.1:0/", false, fine},
		{"http://[::1]:0/", false, fine},
		{"127.0.0.1:65535", false, fine},
		{"0.0.0.0:0", false, open},
		{"[::]:0", false, open},
		{":0", false, open},
		{"http://:0", false, open},
		{"192.0.2.1:0", false, open},
		{"example.com:0", false, open},
		{"localhost.example.com:0", false, open},
		{"127.1:0", true, form}, // neither an address nor a name
		{"[fe80::1%eth0]:0", false, open},
		{"0.0.0.0:0", true, fine},
		{"[::]:0", true, fine},
		{":0", true, fine},
		{"192.0.2.1:0", true, fine},
		{"proxy.example.com:3128", true, fine},
		{"https://127.0.0.1:0", false, "has no certificate to show: add tls.cert with the file that it is in"},
		{"HTTPS://127.0.0.1:0", false, "write https:// in small letters"},
		{"https://127.0.0.1", false, form + ", such as https://127.0.0.1:3128"},
		{"https:127.0.0.1:0", false, form},
		{"https://127.0.0.1", false, form},
		{"https://127.0.0.1:0/path", false, form},
		{"socks5://127.0.0.1:0", true, scheme},
		{"unix:///tmp/x", true, scheme},
		{"http://127.0.0.1:0/path", true, form},
		{"127.0.0.1:0/", true, form},
		{"http://user@127.0.0.1:0", true, form},
		{"user@127.0.0.1:0", true, form},
		{"127.0.0.1", true, form},
		{"127.0.0.1:", false, form},
		{"127.0.0.1:http", false, form},
		{"127.0.0.1:65536", false, form},
		{"127.0.0.1:-1", false, form},
		{"127.0.0.1:+1", false, form},
		{"::1:0", false, form},
		{"[::1", false, form},
		{"[not an address]:1", true, form},
		{"two words:1", true, form},
		{"a..b:1", true, form},
		{"[a]:1", true, form},
		{"[127.0.0.1]:1", true, form},
		{"[localhost]:1", false, form},
		{"[]:1", true, form},
		{"0x7f000001:1", true, form},
		{"127.0x1:1", true, form},
		{strings.Repeat("a", 64) + ":1", true, form},
		{"", true, form},
	} {
		err := with(func(_ *config.Config, f *config.Forward) { f.Listen, f.Open = []string{c.listen}, c.open }).Check()
		if (c.want == fine) != (err == nil) || err != nil && (!strings.HasPrefix(err.Error(), "forward[0].listen[0]: ") || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("listen %s, open %v: %v, want %q", c.listen, c.open, err, c.want)
		}
	}
}

func TestSameAddressTwice(t *testing.T) {
	for listen, want := range map[string]bool{
		"127.0.0.1:1 127.0.0.1:2":          true,
		"127.0.0.1:1 [::1]:1":              true,
		"127.0.0.1:0 127.0.0.1:0":          true,
		"127.0.0.1:1 127.0.0.1:1":          false,
		"127.0.0.1:1 http://127.0.0.1:01/": false,
		"[::1]:1 [0:0::1]:1":               false,
		"a.example:1 A.example:1":          false,
		":1 [::]:1":                        false,
		"0.0.0.0:1 127.0.0.1:1":            false,
		"0.0.0.0:1 localhost:1":            false,
		"0.0.0.0:1 203.0.113.7:1":          false,
		"0.0.0.0:1 [::ffff:203.0.113.7]:1": false,
		"0.0.0.0:1 [::]:1":                 false,
		"0.0.0.0:1 :1":                     false,
		"0.0.0.0:1 [::1]:1":                true,
		"0.0.0.0:1 proxy.example:1":        true, // it may be one of IPv6
		"0.0.0.0:1 127.0.0.1:2":            true,
		"0.0.0.0:0 127.0.0.1:0":            true,
		"[::]:1 127.0.0.1:1":               false,
		"[::]:1 [fe80::1%eth0]:1":          false,
		":1 proxy.example:1":               false,
		":1 http://localhost:1/":           false,
		":1 :2":                            true,
		"localhost:1 127.0.0.1:1":          false,
		"localhost:1 [::1]:1":              false,
		"LocalHost.:1 localhost:1":         false,
		"localhost:1 127.0.0.2:1":          true,
		"127.0.0.1:1 127.0.0.2:1":          true,
		"[fe80::1%a]:1 [fe80::1%b]:1":      true,
	} {
		a, b, _ := strings.Cut(listen, " ")
		one := with(func(_ *config.Config, f *config.Forward) { f.Listen, f.Open = []string{a, b}, true })
		two := with(func(c *config.Config, f *config.Forward) {
			f.Listen, f.Open = []string{a}, true
			c.Forward = append(c.Forward, *f)
			c.Forward[1].Listen = []string{b}
		})
		swapped := with(func(_ *config.Config, f *config.Forward) { f.Listen, f.Open = []string{b, a}, true })
		if one.Check() == nil != want || two.Check() == nil != want || swapped.Check() == nil != want {
			t.Errorf("%s: %v, %v, %v", listen, one.Check(), two.Check(), swapped.Check())
		}
	}
}

func TestAdminAddress(t *testing.T) {
	for _, c := range []struct {
		admin config.Admin
		fine  bool
	}{
		{config.Admin{}, true},
		{config.Admin{Listen: "127.0.0.1:9090"}, true},
		{config.Admin{Listen: "[::1]:0"}, true},
		{config.Admin{Listen: "localhost:9090", Hosts: []string{"admin.example.com", "::1"}}, true},
		{config.Admin{Listen: "0.0.0.0:9090"}, false},
		{config.Admin{Listen: "10.0.0.1:9090"}, false},
		{config.Admin{Listen: "10.0.0.1:9090", TokenFile: "token"}, true},
		{config.Admin{Listen: ":9090", TokenFile: "token"}, true},
		{config.Admin{Listen: "nonsense", TokenFile: "token"}, false},
		{config.Admin{TokenFile: "token"}, false},
		{config.Admin{Hosts: []string{"a"}}, false},
		{config.Admin{Listen: "127.0.0.1:9090", Hosts: []string{""}}, false},
		{config.Admin{Listen: "127.0.0.1:9090", Hosts: []string{"http://a"}}, false},
		{config.Admin{Listen: "127.0.0.1:9090", Hosts: []string{"*.example.com"}}, false},
	} {
		if err := with(func(all *config.Config, _ *config.Forward) { all.Admin = c.admin }).Check(); err == nil != c.fine {
			t.Errorf("%+v: %v", c.admin, err)
		}
	}
}

func TestResolvers(t *testing.T) {
	for resolver, fine := range map[string]bool{
		"9.9.9.9": true, "9.9.9.9:53": true, "[2620:fe::fe]:53": true, "2620:fe::fe": true, "[2620:fe::fe]": true,
		"udp://9.9.9.9": true, "udp://9.9.9.9:5353": true, "tcp://[::1]:53": true, "tcp://[::1]": true,
		"tls://dns.quad9.net": true, "tls://dns.quad9.net:853": true, "tls://9.9.9.9": true, "TLS://dns.quad9.net": true, "dns.example.": true,
		"https://dns.quad9.net/dns-query": true, "https://dns.quad9.net": true, "https://9.9.9.9:5053/": true, "https://[2620:fe::fe]/dns-query": true,
		"": false, "udp://": false, "https://": false, "https:///dns-query": false, "9.9.9.9:": false, "9.9.9.9:0": false, "9.9.9.9:65536": false,
		":53": false, "udp://:53": false, "9.9.9.9/path": false, "tls://9.9.9.9/": false, "http://9.9.9.9": false, "sdns://x": false,
		"https://user:password@9.9.9.9/": false, "https://9.9.9.9/?dns=x": false, "https://9.9.9.9/#x": false, "https://9.9.9.9:x/": false,
		"[a]:53": false, "[a]": false, "[9.9.9.9]:53": false, "tls://[dns.example]:853": false, "[]:53": false, "::1]": false, "[[::1]]": false, "0x7f.1": false, "9.0x9": false,
		"two words": false, "[9.9.9.9]": false, "[::1": false, "9.9.9.9 , 8.8.8.8": false, "https://9.9.9.9/\x7f": false, "https://9.9.9.9/%2e": false, "9.9.9": false, "9.9.9.256": false,
	} {
		err := with(func(_ *config.Config, f *config.Forward) { f.Resolver = []string{resolver} }).Check()
		if err == nil != fine {
			t.Errorf("%q: %v", resolver, err)
		}
	}
}

func TestEgress(t *testing.T) {
	for _, c := range []struct {
		egress, by string
		want       string // path of the problem
	}{
		{"", "round_robin", ""},
		{"127.0.0.1", "round_robin", ""},
		{"127.0.0.1 ::1", "round_robin", ""},
		{"127.0.0.1 127.0.0.2", "client", ""},
		{"127.0.0.1 ::1 ::2", "host", ""},
		{"127.0.0.1 ::1 ::2", "user", ""},
		{"127.0.0.1", "user", "egress_by"},
		{"", "client", "egress_by"},
		{"127.0.0.1", "host", "egress_by"},
		{"127.0.0.1 ::1", "client", "egress_by"},
		{"127.0.0.1 127.0.0.1", "round_robin", "egress[1]"},
		{"127.0.0.1 ::ffff:127.0.0.1", "round_robin", "egress[1]"},
		{"0.0.0.0", "round_robin", "egress[0]"},
		{"::", "round_robin", "egress[0]"},
		{"224.0.0.1", "round_robin", "egress[0]"},
		{"ff02::1", "round_robin", "egress[0]"},
		{"255.255.255.255", "round_robin", "egress[0]"},
	} {
		err := with(func(_ *config.Config, f *config.Forward) {
			f.EgressBy, f.Users = c.by, "users"
			for a := range strings.FieldsSeq(c.egress) {
				f.Egress = append(f.Egress, netip.MustParseAddr(a))
			}
		}).Check()
		if got := fmt.Sprint(err); err == nil != (c.want == "") || err != nil && !strings.HasPrefix(got, "forward[0]."+c.want+":") {
			t.Errorf("%s by %s: %v", c.egress, c.by, err)
		}
	}
}

// What a program puts together is checked like what a person wrote.
func TestCheckByHand(t *testing.T) {
	if err := config.Default().Check(); err != nil {
		t.Error(err)
	}
	for path, c := range map[string]*config.Config{
		"nothing to run":            {Log: config.Default().Log},
		"forward: nothing to run":   {Log: config.Default().Log, Forward: []config.Forward{}},
		"forward[0].egress[0]":      with(func(_ *config.Config, f *config.Forward) { f.Egress = make([]netip.Addr, 1) }),
		"forward[0].egress_by":      with(func(_ *config.Config, f *config.Forward) { f.EgressBy = "" }),
		"forward[0].sni":            with(func(_ *config.Config, f *config.Forward) { f.SNI = "" }),
		"forward[0].reload_tunnels": with(func(_ *config.Config, f *config.Forward) { f.ReloadTunnels = "" }),
		"forward[0].auth_timeout":   with(func(_ *config.Config, f *config.Forward) { f.AuthURL, f.AuthTimeout = "http://a", 0 }),
		"forward[0].auth_cache":     with(func(_ *config.Config, f *config.Forward) { f.Users, f.AuthCache = "u", -1 }),
		"forward[0].contact":        with(func(_ *config.Config, f *config.Forward) { f.Contact = "\xff" }),
		"forward[0].rules[0]":       with(func(_ *config.Config, f *config.Forward) { f.Rules = []config.Rule{{Name: "a"}} }),
		"forward[0].rules[0].name":  with(func(_ *config.Config, f *config.Forward) { f.Rules = []config.Rule{{Deny: new(config.Terms)}} }),
		"forward[0].rules[0].deny.host": with(func(_ *config.Config, f *config.Forward) {
			f.Rules = []config.Rule{{Name: "a", Deny: &config.Terms{Host: []string{}}}}
		}),
		"forward[0].anonymity":     with(func(_ *config.Config, f *config.Forward) { f.Anonymity = "none" }),
		"forward[0].connect_ports": with(func(_ *config.Config, f *config.Forward) { f.ConnectPorts = config.Ports{} }),
		"forward[0].max_conns":     with(func(_ *config.Config, f *config.Forward) { f.MaxConns = -1 }),
		"forward[0].max_header":    with(func(_ *config.Config, f *config.Forward) { f.MaxHeader = -1 }),
		"forward[0].idle_timeout":  with(func(_ *config.Config, f *config.Forward) { f.IdleTimeout = 0 }),
		"forward[0].drain_grace":   with(func(_ *config.Config, f *config.Forward) { f.DrainGrace = -time.Second }),
		"log.level":                with(func(c *config.Config, _ *config.Forward) { c.Log.Level = "" }),
		"log.access.path":          with(func(c *config.Config, _ *config.Forward) { c.Log.Access.Path = "" }),
	} {
		var all config.Problems
		if err := c.Check(); !errors.As(err, &all) || len(all) != 1 || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%v, want a problem of %s", err, path)
		}
	}
}
