package config_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"viaduct/config"
)

func TestPrintReadsBack(t *testing.T) {
	for name, c := range map[string]*config.Config{
		"default": config.Default(),
		"full": with(func(c *config.Config, f *config.Forward) {
			c.Admin = config.Admin{Listen: "[::1]:1", TokenFile: "/a b/: # 'x' \"y\"\t\\", Hosts: []string{"a", "10.0.0.1", "true", "null", "1e3"}}
			c.Log = config.Log{Level: "debug", Access: config.AccessLog{Path: "off", Format: "squid"}}
			c.Watch = true
			f.Egress = []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("10.0.0.1")}
			f.ConnectPorts, f.Open = nil, true
			f.MaxHeader, f.MaxConns, f.DrainGrace = 1500, 1<<31-1, 1
			f.Resolver = []string{"https://dns.example/q", strings.Repeat("a.", 100) + "example"}
			c.Forward = append(c.Forward, config.Default().Forward[0])
			c.Forward[1].Listen = []string{":80", "http://[::]:81/"}
			c.Forward[1].Open = true
			c.Forward[1].Rules = []config.Rule{
				{Name: "ads \u00fc: # 'x'", Deny: &config.Terms{Host: []string{"@/a b/: # 'x'", ".example.com"}, Port: []string{"443"}}, ReportOnly: true},
				{Name: "forward[1].rules[1]", Allow: &config.Terms{Time: []string{"sat/22:00-06:00"}}},
				{Name: "true", Deny: &config.Terms{Addr: []string{"::1"}}},
				{Name: "deny#2", Deny: &config.Terms{}},
			}
			c.Forward = append(c.Forward, config.Default().Forward[0])
			f = &c.Forward[2]
			f.Listen, f.AuthURL, f.AuthTimeout, f.AuthCache, f.EgressBy = []string{":82"}, "https://auth.example/?x=%20", 1, time.Hour, "user"
			f.Egress = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
			f.ReportOnly, f.SNI, f.ReloadTunnels, f.Contact = true, "report", "recheck", "null"
			f.Listen = append(f.Listen, "https://:83")
			f.TLS = config.TLS{Cert: []string{"/a, b", "/c: d"}, Key: []string{"/k", "/k"}, ClientCA: "/~"}
			f.CA, f.OriginCA = "/ca", "/origins"
			f.Inspect = []config.Inspection{{Name: "forward[2].inspect[0]", Pass: &config.Terms{Host: []string{"@/p"}}}, {Name: "yes", Decrypt: &config.Terms{}}}
			f.Filters = []config.Filter{
				{Name: "forward[2].filters[0]", Match: &config.Terms{}, Request: &config.Edit{Set: []string{"X-A: # 'b'", "X-B:"}}, Answer: &config.Edit{Replace: []config.Replace{{Header: "Location", Match: "^ *(a|b)$", With: "${1}"}, {Header: "Location", Match: "\\t", With: ""}}}},
				{Name: "2", Match: &config.Terms{Port: []string{"1"}}, Deny: &config.Deny{}},
				{Name: "3", Deny: &config.Deny{AnswerSize: 1, RequestSize: 1 << 40, RequestType: []string{"*/*"}}},
				{Name: "4", Match: &config.Terms{Port: []string{"2"}}, Respond: &config.Respond{Status: 200, Type: "text/plain", Body: "\n a: b\r\n\t\u0085'\"\\ \u2028# c\n\n"}},
				{Name: "5", Match: &config.Terms{Port: []string{"3"}}, Respond: &config.Respond{Status: 404, Type: "text/html", File: "/f"}},
				{Name: "6", Redirect: &config.Redirect{To: "http://[::1]:8080/a?b#c", Status: 301}},
			}
			f.Rules = []config.Rule{{Name: "a", Deny: &config.Terms{User: []string{"1", "~", "no", " ", "o'k, \"x\""}, Group: []string{"g"}}}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := c.Print(&b); err != nil {
				t.Fatal(err)
			}
			got, err := config.Read("other/v.yaml", []byte(b.String()))
			if err != nil || !reflect.DeepEqual(got, c) {
				t.Errorf("%v\n%s\ngot  %+v\nwant %+v", err, b.String(), got, c)
			}
		})
	}
}

// Of a rule is printed what it says, and no name that it has from its place: that
// would be another one's when a rule is put before it.
func TestPrintOfRules(t *testing.T) {
	c := with(func(_ *config.Config, f *config.Forward) {
		f.Rules = []config.Rule{
			{Name: "forward[0].rules[0]", Deny: &config.Terms{Host: []string{"@/ads"}}, ReportOnly: true},
			{Name: "forward[0].rules[0]x", Allow: &config.Terms{Port: []string{"443"}}},
			{Name: "forward[0].rules[2]", Deny: &config.Terms{}},
		}
	})
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	want := "  rules:\n  - deny:\n      host: ['@/ads']\n    report_only: true\n  - name: forward[0].rules[0]x\n    allow:\n      port: ['443']\n  - deny: {}\n  report_only: false\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("no\n%s\nin\n%s", want, b.String())
	}
}

func TestPrintShowsEverything(t *testing.T) {
	var b strings.Builder
	if err := config.Default().Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"admin:\n  listen: ''\n  hosts: []\n", "log:\n  level: info\n  access:\n    path: '-'\n    format: json\n", "watch: false\n",
		"forward:\n- listen: ['127.0.0.1:3128']\n  open: false\n  tls:\n    cert: []\n    key: []\n", "  inspect: []\n  filters: []\n  via: direct\n  route: []\n", "pools: {}\n", "  connect_ports: [443, 8443]\n", "  max_header: 64KiB\n", "  response_timeout: 1m\n",
		"  idle_timeout: 5m\n", "  tunnel_idle_timeout: 1h\n", "  drain_grace: 0s\n",
	} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no %q in\n%s", line, b.String())
		}
	}
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestPrintTellsWhenItCannot(t *testing.T) {
	if err := config.Default().Print(full{}); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}
