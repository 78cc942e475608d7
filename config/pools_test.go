package config_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/config"
	"viaduct/lb"
)

const allPools = `
forward:
  - listen: 127.0.0.1:1
    via: parents
    route:
      - {name: partner, host: [.partner.example, "@partner.txt"], method: CONNECT, via: partner}
      - {client: 10.0.0.0/8, port: 443, path: /v1, time: mon-fri, via: direct}
  - {listen: 127.0.0.1:2, via: partner}
pools:
  parents:
    endpoints: ["http://10.0.0.1:3128", "https://ann:s%40same@10.0.0.2?weight=2&zone=a", "http://10.0.0.3 -> socks5h://b:c@10.0.0.4?backup=true", direct?tier=2]
    balance: ring
    hash_key: user, header:X-Team
    hash_bound: 125%
    health: {check: "connect:example.com:443", interval: 1s, timeout: 500ms, fall: 1, rise: 4}
    slow_start: 30s
    zone: a
    queue: 100
    queue_timeout: 250ms
    retries: 1
    retry_budget: 0.07
    hedge_after: 300ms
    resolve: here
    tls: {ca: ca.pem, cert: ./us.pem, key: /us.key}
    limits: {requests: 1000, pending: 50, retries: 10}
    throttle: true
    adaptive: true
    panic: refuse
    panic_below: 33.3%
    eject: {errors: 3, time: 10s, most_time: 1m, share: 0}
  partner: {endpoints: socks5://10.9.9.9}
`

func everyPool() []config.Pool {
	return []config.Pool{
		{
			Name: "parents", Endpoints: []string{"http://10.0.0.1:3128", "https://ann:s%40same@10.0.0.2?weight=2&zone=a", "http://10.0.0.3 -> socks5h://b:c@10.0.0.4?backup=true", "direct?tier=2"},
			Balance: "ring", HashKey: "user, header:X-Team", HashBound: 1.25,
			Health:    config.Health{Check: "connect:example.com:443", Interval: time.Second, Timeout: time.Second / 2, Fall: 1, Rise: 4},
			SlowStart: 30 * time.Second, Zone: "a", Queue: 100, QueueTimeout: time.Second / 4,
			Retries: 1, RetryBudget: 0.07, HedgeAfter: 300 * time.Millisecond, Resolve: "here",
			TLS:    config.PoolTLS{CA: "/etc/viaduct/ca.pem", Cert: "/etc/viaduct/us.pem", Key: "/us.key"},
			Limits: config.Limits{Requests: 1000, Pending: 50, Retries: 10}, Throttle: true, Adaptive: true, Panic: "refuse", PanicBelow: 0.333,
			Eject: config.Eject{Errors: 3, Time: 10 * time.Second, MostTime: time.Minute},
		},
		usual("partner", "socks5://10.9.9.9"),
	}
}

// usual is a pool of which nothing else is said.
func usual(name string, endpoints ...string) config.Pool {
	return config.Pool{
		Name: name, Endpoints: endpoints, Balance: "p2c_ewma", HashKey: "client_ip",
		Health:       config.Health{Check: "tcp", Interval: 5 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 2},
		QueueTimeout: time.Second, Retries: 2, RetryBudget: 0.2, Resolve: "auto", Panic: "spread", PanicBelow: 0.5,
		Eject: config.Eject{Errors: 5, Time: 30 * time.Second, MostTime: 5 * time.Minute, Share: 0.5},
	}
}

func TestEveryKeyOfPools(t *testing.T) {
	got := read(t, allPools)
	if want := everyPool(); !reflect.DeepEqual(got.Pools, want) {
		t.Errorf("got  %+v\nwant %+v", got.Pools, want)
	}
	routes := []config.Route{
		{Name: "partner", Via: "partner", Terms: config.Terms{Host: []string{".partner.example", "@/etc/viaduct/partner.txt"}, Method: []string{"CONNECT"}}},
		{Name: "forward[0].route[1]", Via: "direct", Terms: config.Terms{Client: []string{"10.0.0.0/8"}, Port: []string{"443"}, Path: []string{"/v1"}, Time: []string{"mon-fri"}}},
	}
	if f := got.Forward; f[0].Via != "parents" || f[1].Via != "partner" || !reflect.DeepEqual(f[0].Route, routes) {
		t.Errorf("%+v", f)
	}
}

// What is printed reads back, but for passwords: what stands for them is refused.
func TestPrintOfPools(t *testing.T) {
	c := read(t, allPools)
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  - name: partner\n    host: [.partner.example, '@/etc/viaduct/partner.txt']\n    method: [CONNECT]\n    via: partner\n  - client: [10.0.0.0/8]\n",
		"pools:\n  parents:\n    endpoints: ['http://10.0.0.1:3128', ", "https://ann:***@10.0.0.2:443?weight=2&zone=a", "http://10.0.0.3:80 -> socks5://b:***@10.0.0.4:1080?tier=1", "?tier=1', 'direct?tier=2']\n",
		"    hash_bound: 1.25\n", "    retry_budget: 7%\n", "    panic_below: 33.3%\n", "      share: 0%\n", "  partner:\n    endpoints: ['socks5://10.9.9.9']\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "same") {
		t.Errorf("it shows the password:\n%s", b.String())
	}
	if _, err := config.Read("v.yaml", []byte(b.String())); err == nil || strings.Count(err.Error(), "*** stands for a password that is not shown: write the password itself") != 2 {
		t.Errorf("%v", err)
	}
	text := strings.NewReplacer("ann:***@", "ann:s%40same@", "b:***@", "b:c@").Replace(b.String())
	again, err := config.Read("elsewhere.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	again.Pools[0].Endpoints[1], again.Pools[0].Endpoints[2] = c.Pools[0].Endpoints[1], c.Pools[0].Endpoints[2]
	if !reflect.DeepEqual(again, c) {
		t.Errorf("got  %+v\nwant %+v", again, c)
	}
}

// pools is a file with pools of which one is used.
func pools(text string) string {
	return "forward: [{via: p}]\npools:\n  p: " + text + "\n"
}

var poolMistakes = []struct {
	name, text string
	want       []string
}{
	{"a list", "forward: [{}]\npools: [{name: p, endpoints: direct}]\n", []string{"2:1: pools: a list stands here: write a name for each entry, such as first: {endpoints: …}"}},
	{"names", "forward: [{}]\npools: {A: {}, 'a b': {}, '': {}, ~: {}, [a]: {}, <<: {}, p.q: {}, direct: {endpoints: direct}, p: {endpoints: direct}, p: {endpoints: direct}, " + strings.Repeat("p", 65) + ": {}}\n", []string{
		"2:9: a name in pools has small letters, digits, - and _, and at most 64 of them", "2:16: a name", "2:27: a name", "2:35: a name", "2:42: a name", "2:51: a name", "2:59: a name",
		"2:68: pools.direct: direct is the way out without a pool: give this one another name", `2:121: duplicate name "p" in pools: it stands in line 2 already`, "2:145: a name",
	}},
	{"no endpoint", "forward: [{}]\npools: {p: , q: {endpoints: []}, r: {endpoints: }, s: x}\n", []string{
		"2:9: pools.p.endpoints: no endpoint: write at least one, such as http://10.0.0.1:3128, or direct",
		"2:18: pools.q.endpoints: no value: write at least one, or take endpoints out",
		"2:38: pools.r.endpoints[0]: nothing stands here: write one value",
		`2:55: pools.s: "x" stands here: write keys and their values, such as endpoints: …, with a space after the colon`,
	}},
	{"no URLs", pools("{endpoints: [10.0.0.1:3128, 'ftp://a', '', 'http://a?wieght=3']}"), []string{
		`3:19: pools.p.endpoints[0]: "10.0.0.1:3128": not a URL: write http://host:port`,
		`3:34: pools.p.endpoints[1]: "ftp://a": a parent proxy begins with http://, https:// or socks5://`,
		`3:45: pools.p.endpoints[2]: `,
		`3:49: pools.p.endpoints[3]: "http://a?wieght=3": there is no option "wieght": did you mean "weight"?`,
	}},
	{"endpoints twice", pools("{endpoints: ['http://u:p@a:80', 'http://v:q@A?weight=2', direct, direct?weight=3, 'http://a?id=b', 'http://c?id=b']}"), []string{
		`3:38: pools.p.endpoints[1]: "http://***@a:80?weight=2": http://a:80 stands at pools.p.endpoints[0] already: take one out, or call this one something else with ?id=NAME`,
		`3:71: pools.p.endpoints[3]: "direct?weight=3": is given twice: take one out`,
		`3:105: pools.p.endpoints[5]: "http://c?id=b": b stands at pools.p.endpoints[4] already`,
	}},
	{"choices", pools("{endpoints: direct, balance: fastest, resolve: there, panic: never, hash_bound: 1, retry_budget: 120%, panic_below: half, retries: -1}"), []string{
		`3:35: pools.p.balance: "fastest": choose p2c_ewma, round_robin, weighted, random, least_conn, p2c, hash, ring, maglev or first`,
		`3:53: pools.p.resolve: "there": choose auto, here or parent`,
		`3:67: pools.p.panic: "never": choose spread or refuse`,
		`3:86: pools.p.hash_bound: write a number above 1, such as 1.25, or 0 for no bound`,
		`3:103: pools.p.retry_budget: "120%": write a number from 0% to 100%, such as 20%`,
		`3:122: pools.p.panic_below: "half": write a number from 0% to 100%, such as 50%`,
		`3:137: pools.p.retries: "-1": write a whole number from 0 to 100, such as 2`,
	}},
	{"no key", pools("{endpoints: direct, hash_key: user, hash_bound: 1.5}"), []string{
		"3:36: pools.p.hash_key: does nothing with balance: p2c_ewma: choose hash, ring or maglev there, or take this out",
		"3:54: pools.p.hash_bound: does nothing with balance: p2c_ewma",
	}},
	{"bad key", pools("{endpoints: direct, balance: hash, hash_key: hots}"), []string{`3:51: pools.p.hash_key: key "hots": "hots" is none of client_ip, user, host, path, url, header:NAME, cookie:NAME`}},
	{"health", pools("{endpoints: direct, health: {check: 'connect:a:1', fall: 0}}"), []string{
		`3:42: pools.p.health.check: "connect:a:1": asks parents, and no endpoint is one: write tcp or none`,
		`3:63: pools.p.health.fall: "0": write a whole number from 1 to 100, such as 3`,
	}},
	{"bad check", pools("{endpoints: 'http://a', health: {check: ping}}"), []string{`3:46: pools.p.health.check: health check "ping" is not known: write one of tcp, `}},
	{"no check", pools("{endpoints: 'http://a', health: {check: none, rise: 5, timeout: 2s}}"), []string{`3:58: pools.p.health.rise: does nothing where nothing is checked: write a check, or take this out`}},
	{"idle", pools("{endpoints: direct, retries: 0, hedge_after: 1s, retry_budget: 1%, limits: {retries: 1}, queue_timeout: 5s, zone: a, resolve: parent, eject: {time: 1m, most_time: 59s}}"), []string{
		"3:51: pools.p.hedge_after: does nothing without retries: allow one, or take this out", "3:69: pools.p.retry_budget: does nothing without retries", "3:91: pools.p.limits.retries: does nothing without retries",
		"3:110: pools.p.queue_timeout: does nothing without queue: write how many may wait, or take this out",
		"3:120: pools.p.zone: does nothing as no endpoint has a zone: write one, such as ?zone=a, or take this out",
		"3:132: pools.p.resolve: does nothing as no endpoint is a parent that could: write here or auto, or take this out",
		"3:169: pools.p.eject.most_time: is less than time: write as much at least",
	}},
	{"no TLS", pools("{endpoints: 'http://a', tls: {ca: a, cert: b}}"), []string{
		"3:40: pools.p.tls.ca: does nothing without an https:// endpoint: add that, or take this out", "3:49: pools.p.tls.cert: does nothing without",
	}},
	{"no weight", pools("{endpoints: ['http://a?weight=0', direct?weight=0]}"), []string{"3:7: pools.p.endpoints: no endpoint has a weight, so that nothing is sent to any: give one of them more than 0"}},
	{"cert alone", pools("{endpoints: 'https://a', tls: {cert: /b}}"), []string{`3:43: pools.p.tls.cert: "/b": has no key: add key with the file that it is in`}},
	{"key alone", pools("{endpoints: 'https://a', tls: {key: /b, ca: ''}}"), []string{`3:42: pools.p.tls.key: "/b": has no certificate: add cert with the file that it is in`, "3:50: pools.p.tls.ca: is empty: write something, or leave it out"}},
	{"what may be an endpoint", pools("{endpoints: [htp://a], zone: a, tls: {ca: a}, health: {check: 'connect:a:1'}, resolve: parent}"), []string{`3:19: pools.p.endpoints[0]: "htp://a": a parent`}},
	{"words of other programs", "forward: [{upstream: a, cache_peer: b, pool: c, parents: d, routes: []}]\nupstreams: {}\npools: {p: {endpoints: direct, servers: [], lb: x, policy: y, weight: 3, outlier_detection: {}, health_check: {}, tls: {ca_file: a}}}\n", []string{
		`1:12: unknown key "upstream" in forward[0]: did you mean "via"?`, `1:25: unknown key "cache_peer" in forward[0]: it belongs at the top level as pools`,
		`1:40: unknown key "pool" in forward[0]: did you mean "via"?`, `1:49: unknown key "parents" in forward[0]: did you mean "via"?`, `1:61: unknown key "routes" in forward[0]: did you mean "route"?`,
		`2:1: unknown key "upstreams" at the top level: did you mean "pools"?`,
		`3:32: unknown key "servers" in pools.p: did you mean "endpoints"?`, `3:45: unknown key "lb" in pools.p: did you mean "balance"?`, `3:52: unknown key "policy" in pools.p: did you mean "balance"?`,
		`3:63: unknown key "weight" in pools.p: did you mean "endpoints"?`, `3:74: unknown key "outlier_detection" in pools.p: did you mean "eject"?`,
		`3:97: unknown key "health_check" in pools.p: did you mean "health"?`, `3:121: unknown key "ca_file" in pools.p.tls: did you mean "ca"?`,
	}},
}

func TestPoolProblems(t *testing.T) {
	for _, c := range poolMistakes {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.text, c.want) })
	}
}

// Whatever is wrong, and wherever it stands, no problem shows a password.
func TestProblemsShowNoPassword(t *testing.T) {
	for _, secret := range []string{
		"http://ann:sesame@a", "http://ann:sesame@a:x", "http:/ann:sesame@a", "ann:sesame@a", "socks5://sesame@", "http://a -> http://b:sesame@c -> http://d", "http://ann:sesame@a/b", "http://ann:ses@sesame@a",
		"http://ann:sesame@a?id=b&id=c", "http://ann:sesame@a?zoen=b", "http://:sesame#@a", "http://ann:sesame@[::1", "socks5://:sesame@a", "http://sesame:***@a", "http://ann:sesame%@a", "http://ann:sesame@\u00a0",
	} {
		for _, text := range []string{
			pools("{endpoints: ['" + secret + "', '" + secret + "', 'http://x:***@y']}"), pools("{endpoints: {'" + secret + "': 1}}"),
			"forward: [{}]\npools: {p: {endpoints: direct}, '" + secret + "': {}}", "forward: [{}]\npools: ['" + secret + "']",
		} {
			if _, err := config.Read("v.yaml", []byte(text)); err == nil || strings.Contains(strings.ReplaceAll(err.Error(), "sesame:***@", ""), "sesame") {
				t.Errorf("%s\nsays %v", text, err)
			}
		}
		_, err := config.FromFlags(given("upstream="+secret, "upstream="+secret, "upstream=x"))
		env, err2 := config.FromFlags(map[string]config.Given{"upstream": {Values: []string{secret + ",x"}, Env: true}})
		if err == nil || err2 == nil || env != nil || strings.Contains(strings.ReplaceAll(err.Error()+err2.Error(), "sesame:***@", ""), "sesame") {
			t.Errorf("%s says %v and %v", secret, err, err2)
		}
	}
	for _, text := range []string{pools("'http://ann:sesame@a'"), "forward: [{via: 'http://ann:sesame@a'}]", "forward: [{'http://ann:sesame@a': x}]", "pools: 'http://ann:sesame@a'"} {
		if _, err := config.Read("v.yaml", []byte(text)); err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s\nsays %v", text, err)
		}
	}
}

// Flags make one pool, by which everything leaves.
func TestPoolOfFlags(t *testing.T) {
	c, err := config.FromFlags(given("upstream=http://a:1,socks5://b", "upstream=https://c?backup=true", "balance=hash", "hash-key=user", "health-check=tls", "health-interval=1s", "health-timeout=1s", "health-fall=1", "health-rise=1",
		"retries=4", "retry-budget=0.5", "hedge-after=1s", "upstream-resolve=parent", "upstream-ca=ca", "upstream-cert=cert", "upstream-key=key"))
	want := usual("upstream", "http://a:1", "socks5://b", "https://c?backup=true")
	want.Balance, want.HashKey, want.Retries, want.RetryBudget, want.HedgeAfter, want.Resolve = "hash", "user", 4, 0.5, time.Second, "parent"
	want.Health = config.Health{Check: "tls", Interval: time.Second, Timeout: time.Second, Fall: 1, Rise: 1}
	want.TLS = config.PoolTLS{CA: "ca", Cert: "cert", Key: "key"}
	if err != nil || c.Forward[0].Via != "upstream" || !reflect.DeepEqual(c.Pools, []config.Pool{want}) {
		t.Errorf("%v\n%+v", err, c)
	}
	for words, want := range map[string]string{
		"upstream=":                          `--upstream "": a parent proxy begins with`,
		"upstream=a":                         "--upstream a: ",
		"upstream=ftp:a":                     "--upstream ftp:a: a parent proxy begins with",
		"upstream=http://a http://a:80":      "--upstream http://a:80: http://a:80 stands at --upstream http://a already",
		"upstream=http://u:p@a http://u:q@a": "--upstream \"http://***@a:80\": http://a:80 stands at --upstream \"http://***@a:80\" already",
		"retries=1":                          "--retries 1: does nothing without --upstream: add that, or take this out",
		"upstream-ca=x":                      "--upstream-ca x: does nothing without --upstream: add that, or take this out",
		"upstream=http://a hash-key=user":    "--hash-key user: does nothing with --balance p2c_ewma: choose hash, ring or maglev there",
		"upstream=http://a upstream-cert=c":  "--upstream-cert c: does nothing without --upstream https://host:port: add that",
		"upstream=https://a upstream-key=c":  "--upstream-key c: has no certificate: add --upstream-cert",
		"upstream=http://a upstream-resolve=parent deny=addr=10.0.0.0/8": "--deny addr=10.0.0.0/8: addr: is not known here, as the parents of pool upstream look names up: write --upstream-resolve here for it, or deny by host",
	} {
		var all []string
		for word := range strings.FieldsSeq(words) {
			if !strings.Contains(word, "=") || strings.HasPrefix(word, "http") {
				word = "upstream=" + word
			}
			all = append(all, word)
		}
		if _, err := config.FromFlags(given(all...)); err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s says %v\nwant %s", words, err, want)
		}
	}
	if _, err := config.FromFlags(map[string]config.Given{"balance": {Values: []string{"first"}, Env: true}}); err == nil || !strings.HasPrefix(err.Error(), "VIADUCT_BALANCE=first (--balance): does nothing without --upstream") {
		t.Errorf("%v", err)
	}
}

// The names of package lb are those of the configuration.
func TestBalanceHasEveryPolicy(t *testing.T) {
	for _, policy := range lb.Policies() {
		read(t, pools("{endpoints: direct, balance: "+policy.String()+"}"))
	}
	if lb.Policies()[0].String() != usual("").Balance {
		t.Errorf("the default is %s", lb.Policies()[0])
	}
}

// A configuration that was not read is checked as well.
func TestCheckOfPools(t *testing.T) {
	c := with(func(c *config.Config, f *config.Forward) {
		c.Pools, f.Via = []config.Pool{usual("p", "http://a", "http://A:80")}, "p"
		c.Pools[0].RetryBudget, c.Pools[0].PanicBelow = -1, 1.01
	})
	got := strings.Split(c.Check().Error(), "\n")
	want := []string{
		`pools.p.retry_budget: "-1": write a number from 0% to 100%, such as 20%`, `pools.p.panic_below: "101%": write a number from 0% to 100%, such as 50%`,
		`pools.p.endpoints[1]: "http://A:80": http://a:80 stands at pools.p.endpoints[0] already: take one out, or call this one something else with ?id=NAME`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
