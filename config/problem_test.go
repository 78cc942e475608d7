package config_test

import (
	"errors"
	"strings"
	"testing"

	"viaduct/config"
)

// mistakes are texts with all that is wrong with them.
var mistakes = []struct {
	name, text string
	want       []string // after "v.yaml:"
}{
	{"empty", "", []string{"1:1: nothing to run: write a forward: section, such as forward: [{listen: 127.0.0.1:3128}]"}},
	{"comments", "# a\n\n# b\n", []string{"1:1: nothing to run: "}},
	{"null", "~", []string{"1:1: nothing to run: "}},
	{"empty document", "---\n...\n", []string{"1:1: nothing to run: "}},
	{"no forward", "watch: true\n", []string{"1:1: nothing to run: "}},
	{"forward without value", "forward:\n", []string{"1:1: nothing to run: "}},
	{"forward without entry", "watch: true\nforward: []\n", []string{"2:1: forward: nothing to run: list at least one proxy, such as [{listen: 127.0.0.1:3128}]"}},

	{"misspelled section", "forwad:\n- listen: 127.0.0.1:1\n", []string{`1:1: unknown key "forwad" at the top level: did you mean "forward"?`}},
	{"misspelled key", "forward:\n- lisen: 127.0.0.1:1\n", []string{`2:3: unknown key "lisen" in forward[0]: did you mean "listen"?`}},
	{"swapped letters", "forward: [{lsiten: 127.0.0.1:1}]\n", []string{`1:12: unknown key "lsiten" in forward[0]: did you mean "listen"?`}},
	{"dashes", "forward: [{header-timeout: 1s}]\n", []string{`1:12: unknown key "header-timeout" in forward[0]: did you mean "header_timeout"?`}},
	{"capitals", "forward: [{}]\nLog: {}\n", []string{`2:1: unknown key "Log" at the top level: did you mean "log"?`}},
	{"key of another section", "forward: [{}]\ndrain_timeout: 3s\n", []string{`2:1: unknown key "drain_timeout" at the top level: it belongs under forward[]`}},
	{"key of the top level", "forward: [{watch: true}]\n", []string{`1:12: unknown key "watch" in forward[0]: it belongs at the top level`}},
	{"key of several sections", "forward: [{}]\nlisten: x\n", []string{`2:1: unknown key "listen" at the top level: it belongs under admin, or under forward[]`}},
	{"name of a flag", "forward: [{access-log: off}]\n", []string{`1:12: unknown key "access-log" in forward[0]: it belongs under log.access as path`}},
	{"not served", "forward: [{pac: x}]\nreverse: {}\n", []string{
		`1:12: unknown key "pac" in forward[0]: it is not served by this version, take it out`,
		`2:1: unknown key "reverse" at the top level: it is not served by this version, take it out`,
	}},
	{"no idea", "forward: [{}]\nadmin: {zzz: 1}\n", []string{`2:9: unknown key "zzz" in admin: write one of listen, token_file, hosts`}},
	{"long key", "forward: [{}]\n" + strings.Repeat("listen", 20) + ": 1\n", []string{`2:1: unknown key "` + strings.Repeat("listen", 10) + `…" at the top level: write one of admin, log, watch, forward, pools`}},
	{"duplicate key", "forward:\n- open: false\n  listen: 127.0.0.1:1\n  open: true\n", []string{`4:3: duplicate key "open" in forward[0]: it stands in line 2 already`}},
	{"duplicate section", "forward: [{}]\nforward: [{}]\n", []string{`2:1: duplicate key "forward" at the top level: it stands in line 1 already`}},
	{"merge key", "forward:\n- &a {listen: 127.0.0.1:1}\n- {<<: *a, listen: 127.0.0.1:2}\n", []string{"3:4: merge keys (<<) are not served: write out the keys that are meant"}},
	{"list as key", "? [a]\n: 1\n", []string{"1:3: a key is one word: write key: value"}},
	{"null as key", "~: 1\n", []string{"1:1: a key is one word: write key: value"}},

	{"word as file", "forward\n", []string{`1:1: "forward" stands here: write keys and their values, such as admin: …`}},
	{"list as file", "- listen: x\n", []string{"1:1: a list stands here: write keys and their values, such as admin: …"}},
	{"section as list", "forward: {listen: x}\n", []string{`1:1: forward: a section stands here: write a list, with "- " before the first key of each entry`}},
	{"word as section", "forward: [{}]\nlog: debug\n", []string{`2:6: log: "debug" stands here: write keys and their values, such as level: …`}},
	{"word as entry", "forward: [127.0.0.1:1]\n", []string{`1:11: forward[0]: "127.0.0.1:1" stands here: write keys and their values, such as listen: …`}},
	{"list as word", "forward:\n- anonymity: [strict]\n", []string{"2:14: forward[0].anonymity: a list stands here: write one value, such as strict"}},
	{"section as word", "forward:\n- drain_grace: {a: b}\n", []string{"2:16: forward[0].drain_grace: a section stands here: write one value, such as 5s"}},
	{"list in list", "forward:\n- listen: [[127.0.0.1:1]]\n", []string{"2:12: forward[0].listen[0]: a list stands here: write one value, such as 127.0.0.1:3128"}},
	{"nothing as word", "forward:\n- idle_timeout:\n  egress: ~\n", []string{
		"2:3: forward[0].idle_timeout: nothing stands here: write one value, such as 5m",
		"3:3: forward[0].egress[0]: nothing stands here: write one value",
	}},

	{"units", "forward: [{dial_timeout: 30, idle_timeout: 0, drain_grace: 0, body_timeout: 1d, half_close_timeout: 5 s, tunnel_idle_timeout: 9999999h, header_timeout: -1s, max_header: 65536}]\n", []string{
		`1:26: forward[0].dial_timeout: "30": a time needs its unit: write 30s`,
		`1:44: forward[0].idle_timeout: "0s": every wait is bounded; give a time above zero, such as 5m`,
		`1:60: forward[0].drain_grace: "0": a time needs its unit: write 0s`,
		`1:77: forward[0].body_timeout: "1d": the units are ms, s, m and h, without a space: write 24h`,
		`1:101: forward[0].half_close_timeout: "5 s": the units are ms, s, m and h, without a space: write 5s`,
		`1:127: forward[0].tunnel_idle_timeout: "9999999h": is too long: write a time below 292 years, such as 1h`,
		`1:153: forward[0].header_timeout: "-1s": every wait is bounded; give a time above zero, such as 10s`,
		`1:170: forward[0].max_header: "65536": write a size from 1KiB to 1MiB with its unit, such as 64KiB`,
	}},
	{"grace", "forward: [{drain_grace: -1s}]\n", []string{`1:25: forward[0].drain_grace: "-1s": give a time of zero or more, such as 5s`}},
	{"booleans", "watch: yes\nforward: [{open: on, allow_private: tRUE}]\n", []string{
		`1:8: watch: "yes": write true or false`,
		`2:18: forward[0].open: "on": write true or false`,
		`2:37: forward[0].allow_private: "tRUE": write true or false`,
	}},
	{"numbers", "forward: [{max_conns: -1, max_conns_per_client: 1e3, max_header: 2MiB}]\n", []string{
		`1:23: forward[0].max_conns: "-1": write a number from 0 to 2147483647`,
		`1:49: forward[0].max_conns_per_client: "1e3": write a whole number`,
		`1:66: forward[0].max_header: "2MiB": write a size from 1KiB to 1MiB with its unit, such as 64KiB`,
	}},
	{"choices", "log: {level: loud, access: {format: JSON, path: ''}}\nforward: [{anonymity: Strict, egress_by: User}]\n", []string{
		`1:14: log.level: "loud": choose debug, info, warn or error`,
		`1:37: log.access.format: "JSON": choose json, squid or combined`,
		`1:49: log.access.path: write a path, - for standard output, or off`,
		`2:23: forward[0].anonymity: "Strict": choose strict, via or transparent`,
		`2:42: forward[0].egress_by: "User": choose round_robin, user, client or host`,
	}},
	{"ports", "forward: [{connect_ports: [443, 0, any]}, {listen: 127.0.0.1:1, connect_ports: 443,}, {listen: 127.0.0.1:2, connect_ports: []}]\n", []string{
		`1:33: forward[0].connect_ports[1]: "0" is no port; write numbers from 1 to 65535 with commas between them, or any alone`,
		`1:36: forward[0].connect_ports[2]: "any" is no port; write`,
		`1:109: forward[2].connect_ports: no port: write numbers from 1 to 65535, or any`,
	}},
	{"ports in a word", "forward: [{connect_ports: 'x, 443, 0'}]\n", []string{
		`1:27: forward[0].connect_ports[0]: "x" is no port`,
		`1:27: forward[0].connect_ports[0]: "0" is no port`,
	}},
	{"listen", "forward:\n- listen: [nonsense, 0.0.0.0:1, 'socks://127.0.0.1:1', '']\n- listen: []\n", []string{
		`2:12: forward[0].listen[0]: "nonsense": write host:port with a port up to 65535, such as 127.0.0.1:3128`,
		`2:22: forward[0].listen[1]: "0.0.0.0:1": would let anyone who reaches this address use the proxy: listen on a loopback address, or add users, auth_url, an allow rule with client, or open: true if that is what you want`,
		`2:33: forward[0].listen[2]: "socks://127.0.0.1:1": only host:port, http:// and https:// are served`,
		`2:56: forward[0].listen[3]: write host:port`,
		`3:3: forward[1].listen: no address: write at least one, such as 127.0.0.1:3128`,
	}},
	{"same address", "admin: {listen: 127.0.0.1:1}\nforward:\n- listen: 127.0.0.1:1\n- listen: ['http://127.0.0.1:1/', '[::ffff:127.0.0.1]:1']\n", []string{
		`1:17: admin.listen: "127.0.0.1:1": is taken by forward[0].listen[0]: take one out, or give one another port`,
		`4:12: forward[1].listen[0]: "http://127.0.0.1:1/": is taken by forward[0].listen[0]: take one out, or give one another port`,
		`4:35: forward[1].listen[1]: "[::ffff:127.0.0.1]:1": is taken by forward[0].listen[0]: take one out, or give one another port`,
	}},
	{"default address twice", "forward:\n- open: false\n- open: false\n- listen: 127.0.0.1:3128\n- listen: '[::]:3128'\n  open: true\n", []string{
		`3:3: forward[1]: the default 127.0.0.1:3128 is taken by forward[0]: give this one its own listen`,
		`4:11: forward[2].listen[0]: "127.0.0.1:3128": is taken by forward[0]: take one out, or give one another port`,
		`5:11: forward[3].listen[0]: "[::]:3128": is taken by forward[0]: take one out, or give one another port`,
	}},
	{"default address taken", "forward: [{listen: '0.0.0.0:3128', open: true}, {}]\nadmin: {listen: 'localhost:3128'}\n", []string{
		`1:49: forward[1]: the default 127.0.0.1:3128 is taken by forward[0].listen[0]: give this one its own listen`,
		`2:17: admin.listen: "localhost:3128": is taken by forward[0].listen[0]: take one out, or give one another port`,
	}},
	{"stars", "forward: [{listen: ['*:3128', '*:x', '*:']}]\n", []string{
		`1:21: forward[0].listen[0]: "*:3128": write host:port`,
		`1:31: forward[0].listen[1]: "*:x": write host:port`,
		`1:38: forward[0].listen[2]: "*:": write host:port`,
	}},
	{"keys of other programs", "forward: [{bind: x, port: 1, address: y, dns: z, users_file: f, auth: g}]\nadmin: {token: t}\ndns: z\n", []string{
		`1:12: unknown key "bind" in forward[0]: did you mean "listen"?`,
		`1:21: unknown key "port" in forward[0]: did you mean "listen"?`,
		`1:30: unknown key "address" in forward[0]: did you mean "listen"?`,
		`1:42: unknown key "dns" in forward[0]: did you mean "resolver"?`,
		`1:50: unknown key "users_file" in forward[0]: did you mean "users"?`,
		`1:65: unknown key "auth" in forward[0]: did you mean "users" or "auth_url"?`,
		`2:9: unknown key "token" in admin: did you mean "token_file"?`,
		`3:1: unknown key "dns" at the top level: it belongs under forward[] as resolver`,
	}},
	{"egress", "forward:\n- egress: [203.0.113.7, bogus, 0.0.0.0, 224.0.0.1, '::ffff:203.0.113.7']\n  egress_by: client\n", []string{
		`2:25: forward[0].egress[1]: "bogus": write an IP address, such as 203.0.113.7`,
		`2:32: forward[0].egress[2]: "0.0.0.0": is no address of a machine: write one that this machine has`,
		`2:41: forward[0].egress[3]: "224.0.0.1": is no address of a machine: write one that this machine has`,
		`2:52: forward[0].egress[4]: "203.0.113.7": is given twice: take one out`,
	}},
	{"no choice of egress", "forward:\n- egress: [203.0.113.7, 2001:db8::1]\n  egress_by: host\n", []string{
		`3:14: forward[0].egress_by: "host": has nothing to choose from: give two addresses of one family with egress, or take this out`,
	}},
	{"resolver", "forward: [{resolver: [9.9.9.9, ftp://x, 9.9.9.9]}]\n", []string{
		`1:32: forward[0].resolver[1]: "ftp://x": write a DNS server, such as 9.9.9.9, 9.9.9.9:53, udp://9.9.9.9,`,
		`1:41: forward[0].resolver[2]: "9.9.9.9": is given twice: take one out`,
	}},
	{"admin", "forward: [{}]\nadmin: {listen: ':9090', hosts: ['a b', 'x:1']}\n", []string{
		`2:17: admin.listen: ":9090": would tell anyone who reaches this address what the proxy does: listen on a loopback address, or add token_file with the token that metrics ask for`,
		`2:34: admin.hosts[0]: "a b": write a name or an IP address, without port, such as proxy.example.com`,
		`2:41: admin.hosts[1]: "x:1": write a name or an IP address, without port, such as proxy.example.com`,
	}},
	{"admin without address", "forward: [{}]\nadmin: {token_file: /x, hosts: [a]}\n", []string{
		`2:21: admin.token_file: "/x": does nothing without listen: add that, or take this out`,
		`2:25: admin.hosts: does nothing without listen: add that, or take this out`,
	}},
	{"admin as a path", "forward: [{}]\nadmin: {listen: 'unix://run/v'}\n", []string{`2:17: admin.listen: "unix://run/v": write the absolute path of a socket, with at most 107 bytes, such as unix:///run/viaduct.sock`}},
	{"admin as a path with a token", "forward: [{}]\nadmin: {listen: 'unix:///run/v', token_file: /t}\n", []string{`2:46: admin.token_file: "/t": does nothing, as a socket in the file system is for those whom the mode of that lets in: take this out`}},
	{"admin with a scheme", "forward: [{}]\nadmin: {listen: 'http://127.0.0.1:9090'}\n", []string{
		`2:17: admin.listen: "http://127.0.0.1:9090": write host:port with a port up to 65535, such as 127.0.0.1:9090`,
	}},

	{"tab", "forward:\n\t- listen: x\n", []string{"2:1: not valid YAML: found character that cannot start any token; if it is a tab, indent with spaces; else put the value in quotes"}},
	{"indentation", "log:\n  level: info\n watch: true\n", []string{"3:2: not valid YAML: did not find expected key while parsing a block mapping from line 1 on; let the keys of a section begin in the same column"}},
	{"open list", "forward: [{}\n", []string{"2:1: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence from line 1 on; close the list or section"}},
	{"open quotes", "forward: \"\n", []string{"2:1: not valid YAML: found unexpected end of stream while scanning a quoted scalar from line 1 on; close the quotes"}},
	{"two colons", "log: level: info\n", []string{"1:11: not valid YAML: mapping values are not allowed in this context; put a value"}},
	{"dash", "log: {access: {path: -}}\n", []string{"1:22: not valid YAML: "}},
	{"bare dash", "log:\n  access:\n    path: -\n", []string{`3:11: not valid YAML: block sequence entries are not allowed in this context; write "-" with quotes when it is a value`}},
	{"unknown anchor", "forward: *x # not a * alone\n", []string{"1:10: not valid YAML: unknown anchor 'x' referenced"}},
	{"star", "forward:\n- listen: *:3128\n", []string{`2:11: not valid YAML: unknown anchor ':3128' referenced; "*" begins an alias in YAML: write 0.0.0.0:3128`}},
	{"star alone", "forward:\n- listen: *\n", []string{`2:12: not valid YAML: did not find expected alphabetic or numeric character; put "*" or "&" in quotes when it is a value`}},
	{"bare IPv6", "forward:\n- listen: [::1]:3128\n  open: true\n", []string{"2:16: not valid YAML: did not find expected key; put an IPv6 address in quotes"}},
	{"bare IPv6 in a section", "forward: [{listen: [fd00::5]:3128}]\n", []string{"1:29: not valid YAML: did not find expected ',' or '}'; put an IPv6 address in quotes"}},
	{"bare IPv6 in a list", "forward:\n- listen: [[::1]:3128]\n", []string{"2:12: forward[0].listen[0]: an IPv6 address without quotes stands here: write one value, such as 127.0.0.1:3128"}},
	{"directive", "%YAML 1.2\n---\nforward: [{}]\n", []string{"1:1: not valid YAML: found incompatible YAML document; take the %YAML line out"}},
	{"directive of no meaning", "%FOO\n---\nforward: [{}]\n", []string{"1:5: not valid YAML: found unknown directive name; take the line that begins with % out"}},
	{"star of a host", "forward: [{rules: [{deny: {host: *.example.com}}]}]\n", []string{`1:34: not valid YAML: unknown anchor '.example.com' referenced; "*" begins an alias in YAML: put "*.example.com" in quotes`}},
	{"at", "forward: [{rules: [{deny: {host: @list.txt}}]}]\n", []string{"1:34: not valid YAML: found character that cannot start any token; if it is a tab, indent with spaces; else put the value in quotes"}},
	{"no space after the colon", "forward:\n- listen:127.0.0.1:3128\n", []string{`2:3: forward[0]: "listen:127.0.0.1:3128" stands here: write keys and their values, such as listen: …, with a space after the colon`}},
	{"no space before more", "forward:\n- listen:127.0.0.1:3128\n  open: true\n", []string{"3:7: not valid YAML: mapping values are not allowed in this context; put a value with \": \" in it in quotes, and begin each key on a line of its own, with a space after its colon"}},
	{"two documents", "forward: [{}]\n---\nforward: [{}]\n", []string{"2:1: a second document begins here: a file holds one configuration"}},
	{"broken second document", "forward: [{}]\n---\n[\n", []string{"4:1: not valid YAML: "}},
	{"tags", "forward: !!seq [{open: !yes true}]\n", []string{`1:10: tags mean nothing here: take "!!seq" out`, `1:24: tags mean nothing here: take "!yes" out`}},
	{"alias in its anchor", "forward: &a [*a]\n", []string{"1:1: more than 100000 values, its aliases unfolded: that is no configuration"}},
	{"not UTF-8", "forward: [{}]\n# caf\xe9\n", []string{"2:6: not UTF-8 (byte 0xe9): save the file as UTF-8"}},
	{"UTF-16", "\xff\xfef\x00", []string{"1:1: not UTF-8 (byte 0xff): save the file as UTF-8"}},
	{"UTF-16 without mark", "f\x00o\x00", []string{"1:2: a control character (U+0000): take it out"}},
	{"control character", "# é\x1b[0m\n", []string{"1:4: a control character (U+001B): take it out"}},

	{"all at once, in order", "watch: maybe\nforward:\n- {listen: x, anonymty: via}\n- {dial_timeout: 4}\nadmin: {listen: y}\n", []string{
		`1:8: watch: "maybe": write true or false`,
		`3:12: forward[0].listen[0]: "x": write host:port`,
		`3:15: unknown key "anonymty" in forward[0]: did you mean "anonymity"?`,
		`4:18: forward[1].dial_timeout: "4": a time needs its unit: write 4s`,
		`5:17: admin.listen: "y": write host:port`,
	}},
}

func TestProblems(t *testing.T) {
	for _, c := range mistakes {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.text, c.want) })
	}
}

// wantProblems reads a text, and wants these lines about it, "v.yaml:" before each.
func wantProblems(t *testing.T, text string, want []string) {
	t.Helper()
	got, err := config.Read("v.yaml", []byte(text))
	var all config.Problems
	if !errors.As(err, &all) || got != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		if i >= len(want) || !strings.HasPrefix(line, "v.yaml:"+want[i]) {
			t.Errorf("it says\n%s\nwant\n%s", err, strings.Join(want, "\n"))
			return
		}
	}
	if len(lines) < len(want) {
		t.Errorf("it says only\n%s\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

func TestTimes(t *testing.T) {
	for word, want := range map[string]string{
		"5 s": "write 5s", "5S": "write 5s", "1h 30M": "write 1h30m", "1h 30min": "write 1h30m", "5min": "write 5m", "5 Minutes": "write 5m", "90 sec": "write 90s", "1.5d": "with its unit", "3 days": "write 72h", "2w": "with its unit",
		"10msec": "with its unit", "5 ms": "write 5ms", "5": "write 5s", "5 ": "write 5s", "+5": "write +5s", "1 hour": "write 1h",
		"9999999h": "is too long", "99999999999999999999": "is too long", "9999999d": "is too long", "9999999 hours": "is too long", "99999999999999999999 s": "is too long", "1e9s": "with its unit (ms, s, m, h), such as 5m",
		"s": "with its unit", "": "with its unit", " ": "with its unit", "d": "with its unit", "5y": "with its unit", "-5": "with its unit", "-5 s": "with its unit", "-5d": "with its unit", "soon": "with its unit", "5s5": "write 5s5s", ".": "with its unit",
		"1d12h": "with its unit", "0." + strings.Repeat("0", 100_000): "write 0.000000000000000000s",
	} {
		_, err := config.Read("v.yaml", []byte("forward: [{idle_timeout: '"+word+"'}]"))
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 200 {
			t.Errorf("%.50q: %.200v, want %s", word, err, want)
		}
	}
}

// Nobody reads forty thousand lines: the last one counts what is not told.
func TestManyProblemsAreCounted(t *testing.T) {
	for n, more := range map[int]string{50: "", 51: "v.yaml:52:3: … and 1 more", 5000: "v.yaml:52:3: … and 4950 more"} {
		_, err := config.Read("v.yaml", []byte("forward:\n- open: no\n"+strings.Repeat("  x: 1\n", n-1)))
		lines := strings.Split(err.Error(), "\n")
		if want := min(n, 51); len(lines) != want || more != "" && lines[50] != more {
			t.Errorf("%d lines for %d problems, the last one %s", len(lines), n, lines[len(lines)-1])
		}
	}
	_, err := config.FromFlags(given("listen=" + strings.Repeat("x,", 99)))
	if err == nil || !strings.HasSuffix(err.Error(), "\n… and 50 more") {
		t.Errorf("%v", err)
	}
}

// A problem has its place in fields too, for programs.
func TestProblemHasItsPlace(t *testing.T) {
	_, err := config.Read("v.yaml", []byte("forward:\n- egress: [10.0.0.1, x]"))
	var all config.Problems
	if !errors.As(err, &all) || len(all) != 1 {
		t.Fatal(err)
	}
	want := config.Problem{File: "v.yaml", Line: 2, Col: 22, Path: "forward[0].egress[1]", Text: `"x": write an IP address, such as 203.0.113.7`}
	if all[0] != want {
		t.Errorf("%+v", all[0])
	}
}
