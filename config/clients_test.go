package config_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"viaduct/config"
)

// A listener beyond the loopback says who may come.
func TestWhoMayCome(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *config.Forward)
		fine   bool
	}{
		"nothing": {func(*config.Forward) {}, false},
		"open":    {func(f *config.Forward) { f.Open = true }, true},
		"users":   {func(f *config.Forward) { f.Users = "u" }, true},
		"service": {func(f *config.Forward) { f.AuthURL = "http://a" }, true},
		"allow of clients": {func(f *config.Forward) {
			f.Rules = []config.Rule{{Name: "a", Allow: &config.Terms{Client: []string{"10.0.0.0/8"}}}}
		}, true},
		"allow of listed clients": {func(f *config.Forward) {
			f.Rules = []config.Rule{{Name: "a", Allow: &config.Terms{Client: []string{"@f"}, Port: []string{"443"}}}}
		}, true},
		"allow of hosts": {func(f *config.Forward) {
			f.Rules = []config.Rule{{Name: "a", Allow: &config.Terms{Host: []string{"a"}}}}
		}, false},
		"allow of all": {func(f *config.Forward) { f.Rules = []config.Rule{{Name: "a", Allow: &config.Terms{}}} }, false},
		"deny of clients": {func(f *config.Forward) {
			f.Rules = []config.Rule{{Name: "a", Deny: &config.Terms{Client: []string{"10.0.0.0/8"}}}}
		}, false},
		"report only": {func(f *config.Forward) { f.ReportOnly = true }, false},
	} {
		err := with(func(_ *config.Config, f *config.Forward) {
			f.Listen = []string{"0.0.0.0:0"}
			c.change(f)
		}).Check()
		if err == nil != c.fine || err != nil && !strings.HasPrefix(err.Error(), `forward[0].listen[0]: "0.0.0.0:0": would let anyone who reaches this address use the proxy: `) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// clientMistakes are about who asks.
var clientMistakes = []struct {
	name, text string
	want       []string // after "v.yaml:"
}{
	{"open with users", "forward: [{open: true, users: u}, {listen: 127.0.0.1:1, open: true, auth_url: 'http://a'}]\n", []string{
		"1:18: forward[0].open: every client authenticates then: take open out",
		"1:63: forward[1].open: every client authenticates then: take open out",
	}},
	{"two who know", "forward: [{users: u, auth_url: 'http://a'}]\n", []string{
		"1:32: forward[0].auth_url: asks a service about the users that users has in a file: take one of them out",
	}},
	{"groups of nobody", "forward: [{groups: /g}, {listen: 127.0.0.1:1, groups: /g, auth_url: 'http://a'}]\n", []string{
		`1:20: forward[0].groups: "/g": does nothing without users: add that, or take this out`,
		`1:55: forward[1].groups: "/g": does nothing without users: add that, or take this out`,
	}},
	{"what does nothing", "forward: [{auth_timeout: 3s, auth_cache: 1m, egress_by: user, egress: [10.0.0.1, 10.0.0.2]}, {listen: 127.0.0.1:1, users: u, auth_timeout: 3s, auth_cache: 1m}]\n", []string{
		"1:26: forward[0].auth_timeout: does nothing without auth_url: add that, or take this out",
		"1:42: forward[0].auth_cache: does nothing without users or auth_url: add that, or take this out",
		`1:57: forward[0].egress_by: "user": does nothing without users or auth_url: add that, or take this out`,
		"1:140: forward[1].auth_timeout: does nothing without auth_url: add that, or take this out",
	}},
	{"bounds", "forward: [{users: u, auth_timeout: 0s, auth_cache: -1s, sni: yes, reload_tunnels: Keep}]\n", []string{
		`1:36: forward[0].auth_timeout: "0s": every wait is bounded; give a time above zero, such as 2s`,
		"1:36: forward[0].auth_timeout: does nothing without auth_url",
		`1:52: forward[0].auth_cache: "-1s": every wait is bounded; give a time above zero, such as 5m`,
		`1:62: forward[0].sni: "yes": choose off, report or enforce`,
		`1:83: forward[0].reload_tunnels: "Keep": choose keep or recheck`,
	}},
	{"password", "forward: [{auth_url: 'https://ann:secret@auth.example/'}]\n", []string{
		"1:22: forward[0].auth_url: take the user and password out: the service is sent those of the client",
	}},
	{"perhaps a password", "forward: [{auth_url: 'https://ann:se cret@auth.example/'}]\n", []string{
		"1:22: forward[0].auth_url: write the http:// or https:// address of a service, such as https://auth.example.com/check",
	}},
	{"contact", "forward: [{contact: \"a\\nb\"}, {listen: 127.0.0.1:1, contact: '" + strings.Repeat("é", 101) + "'}, {listen: 127.0.0.1:2, contact: \"\\u009b\"}]\n", []string{
		`1:21: forward[0].contact: "a\nb": write one line that people can read, with at most 200 bytes`,
		`1:61: forward[1].contact: "` + strings.Repeat("é", 30) + `…": write one line`,
		`1:198: forward[2].contact: "\u009b": write one line`,
	}},
}

func TestClientProblems(t *testing.T) {
	for _, c := range clientMistakes {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.text, c.want) })
	}
}

func TestAuthURLs(t *testing.T) {
	for s, fine := range map[string]bool{
		"http://a": true, "http://a/": true, "https://auth.example.com/check?x=y": true, "https://127.0.0.1:9000": true, "http://[::1]:80/x": true, "http://[::1]": true, "HTTP://a": true, "http://a/x@y": true,
		"a": false, "a:80": false, "//a": false, "/a": false, "http:a": false, "http://": false, "http:///x": false, "ftp://a": false, "unix:///x": false, "https://:80": false,
		"http://a:0": false, "http://a:65536": false, "http://a:x": false, "http://a/#f": false, "http://a#": false, "http://a b": false, "http://a/b c": false, "http://a/\n": false, "http://a/é": false,
		"http://u@a": false, "http://u:p@a": false, "http://@a": false, "http://1.2.3": false, "http://::1/": false, "http://a..b": false,
	} {
		err := with(func(_ *config.Config, f *config.Forward) { f.AuthURL = s }).Check()
		if err == nil != fine {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// What may be a password is shown by no message, also by none about something else.
func TestPasswordsAreNotShown(t *testing.T) {
	for _, s := range []string{"http://ann:secret@a", "http://ann:se%zzcret@a", "ann:secret@a", "http://ann:secret@a b"} {
		for _, env := range []bool{false, true} {
			_, err := config.FromFlags(map[string]config.Given{"auth-url": {Values: []string{s}, Env: env}, "users": {Values: []string{"u"}}, "open": {Values: []string{"1"}}})
			if err == nil || strings.Contains(err.Error(), "cret") || strings.Count(err.Error(), "--auth-url") < 2 {
				t.Errorf("%s: %v", s, err)
			}
		}
		if err := with(func(_ *config.Config, f *config.Forward) { f.AuthURL, f.Users = s, "u" }).Check(); err == nil || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestClientFlags(t *testing.T) {
	c, err := config.FromFlags(given("listen=0.0.0.0:1", "users=u", "groups=off", "auth-cache=1m", "report-only=1", "sni=report", "reload-tunnels=recheck", "contact=Ask me, or her"))
	if err != nil {
		t.Fatal(err)
	}
	f := c.Forward[0]
	if f.Users != "u" || f.Groups != "off" || f.AuthCache != time.Minute || !f.ReportOnly || f.SNI != "report" || f.ReloadTunnels != "recheck" || f.Contact != "Ask me, or her" {
		t.Errorf("%+v", f)
	}
	_, err = config.FromFlags(given("users=u", "open=1", "auth-timeout=1s"))
	want := "--open 1: every client authenticates then: take --open out\n--auth-timeout 1s: does nothing without --auth-url: add that, or take this out"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// A variable that is not set must not turn authentication off.
func TestWhatIsWrittenEmptyIsAMistake(t *testing.T) {
	for _, key := range []string{"users", "groups", "auth_url"} {
		_, err := config.Read("v.yaml", []byte("forward:\n  - "+key+": \"\"\n"))
		if want := "v.yaml:2:" + strconv.Itoa(len(key)+7) + ": forward[0]." + key; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", key, err, want)
		}
		flag := strings.ReplaceAll(key, "_", "-")
		for _, env := range []bool{false, true} {
			_, err = config.FromFlags(map[string]config.Given{flag: {Values: []string{""}, Env: env}})
			if err == nil || !strings.Contains(err.Error(), "--"+flag) || !strings.Contains(err.Error(), "is empty") {
				t.Errorf("--%s: %v", flag, err)
			}
		}
	}
}
