package config_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"viaduct/config"
)

// read reads a text that must be fine.
func read(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Read("/etc/viaduct/viaduct.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return c
}

func TestEveryKey(t *testing.T) {
	got := read(t, `
admin: {listen: "0.0.0.0:9090", token_file: token, hosts: [proxy.example.com, 10.0.0.1]}
log:
  level: warn
  access: {path: /var/log/viaduct/access.log, format: squid}
watch: true
forward:
  - listen: ["0.0.0.0:3128", "http://[::1]:8080/", "https://0.0.0.0:3129"]
    tls: {cert: [a.pem, /etc/b.pem], key: [tls/a.key, "@b"], client_ca: ca.pem}
    users: users.htpasswd
    groups: /etc/groups
    auth_cache: 1m
    rules:
      - {name: ads, deny: {host: ["@ads.txt", .example.com, "@/abs"]}, report_only: true}
      - allow: {user: [ann], group: ci, client: 10.0.0.0/8, host: .github.com, addr: [192.0.2.1], port: [443, 8000-8999], method: GET, path: /v1, time: mon-fri/09:00-17:00}
      - deny: {}
    report_only: true
    sni: enforce
    reload_tunnels: recheck
    contact: Ask Ünal, ☎ 12
    inspect:
      - {name: pinned, pass: {host: ["@pinned.txt", .bank.example]}}
      - decrypt: {user: ann, group: [ci], client: 10.0.0.0/8, port: 443, time: mon-fri}
    ca: authority
    origin_ca: ../origins.pem
    filters: [{name: cookies, match: {host: .example.com}, request: {remove: Cookie}}]
    egress: [203.0.113.7, "::ffff:203.0.113.8", 2001:db8::7]
    egress_by: client
    allow_private: true
    connect_ports: any
    anonymity: via
    resolver: [9.9.9.9, tls://dns.quad9.net]
    max_conns: 1000
    max_conns_per_client: 10
    max_header: 1MiB
    header_timeout: 1s
    body_timeout: 2s
    dial_timeout: 3s
    response_timeout: 4s
    idle_timeout: 5s
    upstream_idle_timeout: 6s
    tunnel_idle_timeout: 1h30m
    half_close_timeout: 1.5s
    drain_timeout: 500ms
    drain_grace: 10s
`)
	want := &config.Config{
		Admin: config.Admin{Listen: "0.0.0.0:9090", TokenFile: "/etc/viaduct/token", Hosts: []string{"proxy.example.com", "10.0.0.1"}},
		Log:   config.Log{Level: "warn", Access: config.AccessLog{Path: "/var/log/viaduct/access.log", Format: "squid"}},
		Watch: true,
		Forward: []config.Forward{{
			Listen: []string{"0.0.0.0:3128", "http://[::1]:8080/", "https://0.0.0.0:3129"},
			TLS:    config.TLS{Cert: []string{"/etc/viaduct/a.pem", "/etc/b.pem"}, Key: []string{"/etc/viaduct/tls/a.key", "/etc/viaduct/@b"}, ClientCA: "/etc/viaduct/ca.pem"},
			Users:  "/etc/viaduct/users.htpasswd", Groups: "/etc/groups", AuthTimeout: 2 * time.Second, AuthCache: time.Minute,
			Rules: []config.Rule{
				{Name: "ads", Deny: &config.Terms{Host: []string{"@/etc/viaduct/ads.txt", ".example.com", "@/abs"}}, ReportOnly: true},
				{Name: "forward[0].rules[1]", Allow: &config.Terms{
					User: []string{"ann"}, Group: []string{"ci"}, Client: []string{"10.0.0.0/8"}, Host: []string{".github.com"}, Addr: []string{"192.0.2.1"},
					Port: []string{"443", "8000-8999"}, Method: []string{"GET"}, Path: []string{"/v1"}, Time: []string{"mon-fri/09:00-17:00"},
				}},
				{Name: "forward[0].rules[2]", Deny: &config.Terms{}},
			},
			ReportOnly: true, SNI: "enforce", ReloadTunnels: "recheck", Contact: "Ask Ünal, ☎ 12",
			Inspect: []config.Inspection{
				{Name: "pinned", Pass: &config.Terms{Host: []string{"@/etc/viaduct/pinned.txt", ".bank.example"}}},
				{Name: "forward[0].inspect[1]", Decrypt: &config.Terms{User: []string{"ann"}, Group: []string{"ci"}, Client: []string{"10.0.0.0/8"}, Port: []string{"443"}, Time: []string{"mon-fri"}}},
			},
			CA: "/etc/viaduct/authority", OriginCA: "/etc/origins.pem",
			Filters: []config.Filter{{Name: "cookies", Match: &config.Terms{Host: []string{".example.com"}}, Request: &config.Edit{Remove: []string{"Cookie"}}}},
			Egress:  []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("203.0.113.8"), netip.MustParseAddr("2001:db8::7")},
			Via:     "direct", EgressBy: "client", AllowPrivate: true, ConnectPorts: nil, Anonymity: "via", Resolver: []string{"9.9.9.9", "tls://dns.quad9.net"},
			MaxConns: 1000, MaxConnsPerClient: 10, MaxHeader: 1 << 20,
			HeaderTimeout: time.Second, BodyTimeout: 2 * time.Second, DialTimeout: 3 * time.Second, ResponseTimeout: 4 * time.Second,
			IdleTimeout: 5 * time.Second, UpstreamIdleTimeout: 6 * time.Second, TunnelIdleTimeout: 90 * time.Minute,
			HalfCloseTimeout: 1500 * time.Millisecond, DrainTimeout: 500 * time.Millisecond, DrainGrace: 10 * time.Second,
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What is left out, or left empty, has its default.
func TestDefaults(t *testing.T) {
	want := &config.Config{
		Log: config.Log{Level: "info", Access: config.AccessLog{Path: "-", Format: "json"}},
		Forward: []config.Forward{{
			Listen: []string{"127.0.0.1:3128"}, AuthTimeout: 2 * time.Second, AuthCache: 5 * time.Minute, SNI: "off", ReloadTunnels: "keep", Via: "direct", EgressBy: "round_robin", ConnectPorts: config.Ports{443, 8443}, Anonymity: "strict", MaxHeader: 64 << 10,
			HeaderTimeout: 10 * time.Second, BodyTimeout: 30 * time.Second, DialTimeout: 4 * time.Second, ResponseTimeout: time.Minute,
			IdleTimeout: 5 * time.Minute, UpstreamIdleTimeout: 30 * time.Second, TunnelIdleTimeout: time.Hour,
			HalfCloseTimeout: 5 * time.Minute, DrainTimeout: 30 * time.Second,
		}},
	}
	if got := config.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, text := range []string{
		"forward: [{}]",
		"forward:\n-\n",
		"forward: [~]",
		"\xef\xbb\xbfforward: [{}]\r\nadmin:\r\nlog: {access: }\r\n",
		"# one\n---\nforward:\n  - listen: 127.0.0.1:3128 # the only one\n...\n",
		`{"forward": [{"listen": ["127.0.0.1:3128"]}]}`, // JSON is YAML
	} {
		if got := read(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", text, got, want)
		}
	}
}

func TestForms(t *testing.T) {
	first := func(text string) config.Forward { return read(t, "forward:\n- "+text).Forward[0] }
	for text, want := range map[string][]string{
		"listen: 127.0.0.1:1":                     {"127.0.0.1:1"},
		"listen: [127.0.0.1:1]":                   {"127.0.0.1:1"},
		"listen:\n  - 127.0.0.1:1\n  - '[::1]:2'": {"127.0.0.1:1", "[::1]:2"},
		"listen: &a [127.0.0.1:0]":                {"127.0.0.1:0"},
	} {
		if got := first(text).Listen; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
	for text, want := range map[string]config.Ports{
		"443":                nil,
		"any":                nil,
		"443,8443":           {443, 8443},
		"'8443, 443, 8443'":  {443, 8443},
		"[8443, 443]":        {443, 8443},
		"[\"443,80\", 8443]": {80, 443, 8443},
	} {
		if text == "443" {
			want = config.Ports{443}
		}
		if got := first("connect_ports: " + text).ConnectPorts; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", text, got)
		}
	}
	for text, want := range map[string]config.Size{"1KiB": 1024, "64 KiB": 65536, "1024B": 1024, "10kB": 10000, "1MB": 1000000, "1MiB": 1 << 20} {
		if got := first("max_header: " + text).MaxHeader; got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
	for text, want := range map[string]time.Duration{"1ms": time.Millisecond, "1m30s": 90 * time.Second, "0.5s": time.Second / 2, "'2h'": 2 * time.Hour} {
		if got := first("idle_timeout: " + text).IdleTimeout; got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// An alias stands for what its anchor names, wherever that is.
func TestAliases(t *testing.T) {
	c := read(t, `
forward:
  - listen: 127.0.0.1:1
    resolver: &dns [9.9.9.9]
    idle_timeout: &wait 30s
    drain_grace: *wait
  - {listen: 127.0.0.1:2, resolver: *dns, idle_timeout: *wait}
`)
	if f := c.Forward[1]; f.IdleTimeout != 30*time.Second || len(f.Resolver) != 1 || c.Forward[0].DrainGrace != 30*time.Second {
		t.Errorf("%+v", c.Forward)
	}
}

// Names of files are taken from the folder of the file that they stand in.
func TestFilesBeside(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, path, want string }{
		{"/etc/v/v.yaml", "log/a.log", "/etc/v/log/a.log"},
		{"/etc/v/v.yaml", "../a.log", "/etc/a.log"},
		{"/etc/v/v.yaml", "/var/a.log", "/var/a.log"},
		{"/etc/v/v.yaml", "-", "-"},
		{"/etc/v/v.yaml", "off", "off"},
		{"/etc/v/v.yaml", "./off", "/etc/v/off"},
		{"/etc/v/v.yaml", "@a", "/etc/v/@a"},
		{"v.yaml", "a.log", here + "/a.log"},
		{"sub/v.yaml", "a.log", here + "/sub/a.log"},
	} {
		got, err := config.Read(c.file, []byte("forward: [{}]\nlog: {access: {path: '"+c.path+"'}}"))
		if err != nil || got.Log.Access.Path != c.want {
			t.Errorf("%s in %s: %v, want %s", c.path, c.file, got, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "v.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("forward: [{}]\nadmin: {listen: '127.0.0.1:1', token_file: token}")
	c, err := config.Load(file)
	if err != nil || c.Admin.TokenFile != filepath.Join(dir, "token") {
		t.Errorf("%+v, %v", c, err)
	}
	var mistakes config.Problems
	for text, want := range map[string]string{
		"forwrd: []": file + ":1:1: unknown key",
		"forward: [{}]\n" + strings.Repeat("#", 1<<20): file + ":1:1: more than 1 MiB",
	} {
		write(text)
		if _, err := config.Load(file); !errors.As(err, &mistakes) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := config.Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || errors.As(err, &mistakes) {
		t.Errorf("%v", err)
	}
	if _, err := config.Load(dir); err == nil || errors.As(err, &mistakes) {
		t.Errorf("%v", err)
	}
	if _, err := config.Load("/dev/zero"); !errors.As(err, &mistakes) {
		t.Errorf("%v", err)
	}
}
