package config_test

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/config"
)

// given are flags with one value each, from words: name=value.
func given(words ...string) map[string]config.Given {
	m := map[string]config.Given{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		m[name] = config.Given{Values: append(m[name].Values, value)}
	}
	return m
}

func TestNoFlagsAreTheDefaults(t *testing.T) {
	c, err := config.FromFlags(nil)
	if err != nil || !reflect.DeepEqual(c, config.Default()) {
		t.Errorf("%+v, %v", c, err)
	}
}

// The flags and their order, as people read them in the help.
func TestFlags(t *testing.T) {
	var names, repeat []string
	for _, f := range config.Flags() {
		names = append(names, f.Name)
		if f.Repeat {
			repeat = append(repeat, f.Name)
		}
		if f.Usage == "" || f.Env() != "VIADUCT_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")) {
			t.Errorf("%+v, %s", f, f.Env())
		}
		if (f.Word == "") != slices.Contains([]string{"open", "report-only", "allow-private"}, f.Name) {
			t.Errorf("--%s %s", f.Name, f.Word)
		}
	}
	want := "listen open tls-cert tls-key tls-client-ca users groups auth-url auth-timeout auth-cache allow deny report-only sni reload-tunnels contact inspect inspect-pass ca origin-ca egress egress-by allow-private connect-ports anonymity resolver max-conns max-conns-per-client max-header " +
		"header-timeout body-timeout dial-timeout response-timeout idle-timeout upstream-idle-timeout tunnel-idle-timeout half-close-timeout drain-timeout drain-grace " +
		"upstream balance hash-key health-check health-interval health-timeout health-fall health-rise retries retry-budget hedge-after upstream-resolve upstream-ca upstream-cert upstream-key " +
		"admin admin-token-file admin-hosts log-level access-log access-log-format"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("%s", got)
	}
	if got := strings.Join(repeat, " "); got != "listen tls-cert tls-key allow deny inspect inspect-pass egress connect-ports resolver upstream admin-hosts" {
		t.Errorf("repeat: %s", got)
	}
}

// A default that is shown can be given.
func TestDefaultsCanBeGiven(t *testing.T) {
	var all []string
	for _, f := range config.Flags() {
		if f.Default != "" {
			all = append(all, f.Name+"="+f.Default)
		}
	}
	c, err := config.FromFlags(given(all...))
	if err != nil || !reflect.DeepEqual(c, config.Default()) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestFlagsAreRead(t *testing.T) {
	c, err := config.FromFlags(given("listen=127.0.0.1:1, [::1]:2", "listen=http://127.0.0.1:3", "open=1", "allow-private=true", "egress=10.0.0.1,10.0.0.2",
		"egress-by=host", "connect-ports=any", "anonymity=via", "anonymity=transparent", "resolver=9.9.9.9,tls://dns.quad9.net", "max-conns=5", "max-header=8KiB",
		"idle-timeout=90s", "admin=:9090", "admin-token-file=token", "admin-hosts=a,b", "log-level=debug", "access-log=a.log", "access-log-format=combined"))
	want := with(func(c *config.Config, f *config.Forward) {
		f.Listen, f.Open, f.AllowPrivate = []string{"127.0.0.1:1", "[::1]:2", "http://127.0.0.1:3"}, true, true
		f.Egress, f.EgressBy = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}, "host"
		f.ConnectPorts, f.Anonymity, f.Resolver = nil, "transparent", []string{"9.9.9.9", "tls://dns.quad9.net"}
		f.MaxConns, f.MaxHeader, f.IdleTimeout = 5, 8<<10, 90*time.Second
		c.Admin = config.Admin{Listen: ":9090", TokenFile: "token", Hosts: []string{"a", "b"}}
		c.Log = config.Log{Level: "debug", Access: config.AccessLog{Path: "a.log", Format: "combined"}} // from where we stand
	})
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, c, want)
	}
}

func TestPortsAddUp(t *testing.T) {
	c, err := config.FromFlags(given("connect-ports=8443,443", "connect-ports= 80"))
	if err != nil || !slices.Equal(c.Forward[0].ConnectPorts, config.Ports{80, 443, 8443}) {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := config.FromFlags(given("connect-ports=any", "connect-ports=443")); err == nil || !strings.Contains(err.Error(), `--connect-ports any,443: "any" is no port`) {
		t.Errorf("%v", err)
	}
}

// What was given is read again on each reload, and stays as it was.
func TestGivenStays(t *testing.T) {
	g := given("listen= 127.0.0.1:1 , 127.0.0.1:2", "open=T", "access-log= a b ")
	for range 2 {
		c, err := config.FromFlags(g)
		if err != nil || c.Forward[0].Listen[1] != "127.0.0.1:2" || c.Log.Access.Path != " a b " {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if g["open"].Values[0] != "T" || g["listen"].Values[0] != " 127.0.0.1:1 , 127.0.0.1:2" {
		t.Errorf("%+v", g)
	}
}

// Mistakes read as in a file, but for what the operator would do about them.
func TestFlagProblems(t *testing.T) {
	for _, c := range []struct {
		given map[string]config.Given
		want  []string
	}{
		{given("listen=127.0.0.1:0,nonsense"), []string{"--listen nonsense: write host:port with a port up to 65535, such as 127.0.0.1:3128"}},
		{given("listen=0.0.0.0:1"), []string{"--listen 0.0.0.0:1: would let anyone who reaches this address use the proxy: listen on a loopback address, or add --users, --auth-url, --allow with client=, or --open if that is what you want"}},
		{given("listen=127.0.0.1:1,127.0.0.1:1"), []string{"--listen 127.0.0.1:1: is taken by --listen 127.0.0.1:1: take one out, or give one another port"}},
		{given("listen="), []string{`--listen "": write host:port`}},
		{given("listen=a b"), []string{`--listen "a b": write host:port`}},
		{given("listen=a\nb"), []string{`--listen "a\nb": write host:port`}},
		{given("open=yes"), []string{"--open yes: write true or false"}},
		{given("connect-ports=443,0,x"), []string{`--connect-ports 443,0,x: "0" is no port; write numbers from 1 to 65535 with commas between them, or any alone`, `--connect-ports 443,0,x: "x" is no port`}},
		{given("idle-timeout=60"), []string{"--idle-timeout 60: a time needs its unit: write 60s"}},
		{given("idle-timeout=0s"), []string{"--idle-timeout 0s: every wait is bounded; give a time above zero, such as 5m"}},
		{given("idle-timeout="), []string{`--idle-timeout "": write a time with its unit (ms, s, m, h), such as 5m`}},
		{given("max-header=64"), []string{"--max-header 64: write a size from 1KiB to 1MiB with its unit, such as 64KiB"}},
		{given("max-conns=-1"), []string{"--max-conns -1: write a number from 0 to 2147483647"}},
		{given("egress=10.0.0.1,x", "egress-by=client"), []string{"--egress x: write an IP address, such as 203.0.113.7"}},
		{given("egress=10.0.0.1", "egress-by=client"), []string{"--egress-by client: has nothing to choose from: give two addresses of one family with --egress, or take this out"}},
		{given("admin=0.0.0.0:1"), []string{"--admin 0.0.0.0:1: would tell anyone who reaches this address what the proxy does: listen on a loopback address, or add --admin-token-file with the token"}},
		{given("admin=127.0.0.1:3128"), []string{"--admin 127.0.0.1:3128: is taken by --listen: take one out, or give one another port"}},
		{given("listen=0.0.0.0:1,127.0.0.1:1", "open=1"), []string{"--listen 127.0.0.1:1: is taken by --listen 0.0.0.0:1: take one out, or give one another port"}},
		{given("admin=localhost:3128"), []string{"--admin localhost:3128: is taken by --listen: take one out, or give one another port"}},
		{given("admin-hosts=a,b"), []string{"--admin-hosts: does nothing without --admin: add that, or take this out"}},
		{given("access-log="), []string{`--access-log "": write a path, - for standard output, or off`}},
		{given("log-level=loud", "listen=x", "anonymity=y"), []string{"--log-level loud: choose", "--anonymity y: choose", "--listen x: write"}},
		{map[string]config.Given{"dial-timeout": {Values: []string{"soon"}, Env: true}}, []string{"VIADUCT_DIAL_TIMEOUT=soon (--dial-timeout): write a time"}},
		{map[string]config.Given{"listen": {Values: []string{"x,y"}, Env: true}}, []string{"VIADUCT_LISTEN=x (--listen): write host:port", "VIADUCT_LISTEN=y (--listen): write host:port"}},
	} {
		_, err := config.FromFlags(c.given)
		var all config.Problems
		if !errors.As(err, &all) || len(all) != len(c.want) {
			t.Errorf("%v: %v, want %q", c.given, err, c.want)
			continue
		}
		for i := range all {
			if !strings.HasPrefix(all[i].String(), c.want[i]) {
				t.Errorf("%v: %s, want %s", c.given, all[i], c.want[i])
			}
		}
	}
}

// Words of other programs are near the flags that they are here.
func TestNearestKnowsOtherPrograms(t *testing.T) {
	known := []string{"inspect", "inspect-pass", "listen", "upstream", "balance"}
	for word, want := range map[string]string{"decrypt": "inspect", "mitm": "inspect", "ssl-bump": "inspect", "pass": "inspect-pass", "splice": "inspect-pass", "lisen": "listen", "inspct": "inspect", "cache-peer": "upstream", "proxy": "upstream", "lb": "balance", "upstrea": "upstream", "zzz": "", "": ""} {
		if got := config.Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got := config.Nearest("decrypt", []string{"listen"}); got != "" {
		t.Errorf("%q", got)
	}
}
