package config_test

import (
	"strings"
	"testing"

	"viaduct/config"
)

// secureMistakes are about TLS between clients and the proxy.
var secureMistakes = []struct {
	name, text string
	want       []string // after "v.yaml:"
}{
	{"no certificate", "forward: [{listen: [127.0.0.1:1, 'https://127.0.0.1:2', 'https://127.0.0.1:3'], tls: {key: k}}]\n", []string{
		`1:34: forward[0].listen[1]: "https://127.0.0.1:2": has no certificate to show: add tls.cert with the file that it is in`,
	}},
	{"no section", "forward: [{listen: 'https://127.0.0.1:2'}]\n", []string{`1:20: forward[0].listen[0]: "https://127.0.0.1:2": has no certificate to show`}},
	{"unread certificate", "forward: [{listen: 'https://127.0.0.1:2', tls: {cert: {a: b}}}]\n", []string{`1:55: forward[0].tls.cert[0]: a section stands here: write one value`}},
	{"misspelled certificate", "forward: [{listen: 'https://127.0.0.1:2', tls: {certificate: a, crt: b, private_key: c, ca_file: d}}]\n", []string{
		`1:49: unknown key "certificate" in forward[0].tls: did you mean "cert"?`,
		`1:65: unknown key "crt" in forward[0].tls: did you mean "cert"?`,
		`1:73: unknown key "private_key" in forward[0].tls: did you mean "key"?`,
		`1:89: unknown key "ca_file" in forward[0].tls: did you mean "client_ca"?`,
	}},
	{"keys that stand elsewhere", "forward: [{cert: a, tls_key: b, client_ca: c, ssl: d}]\ntls: {}\n", []string{
		`1:12: unknown key "cert" in forward[0]: it belongs under forward[].tls`,
		`1:21: unknown key "tls_key" in forward[0]: it belongs under forward[].tls as key`,
		`1:33: unknown key "client_ca" in forward[0]: it belongs under forward[].tls`,
		`1:47: unknown key "ssl" in forward[0]: did you mean "tls"?`,
		`2:1: unknown key "tls" at the top level: it belongs under forward[]`,
	}},
	{"nobody to show it to", "forward: [{tls: {cert: a, key: b, client_ca: c}}]\n", []string{
		"1:18: forward[0].tls.cert: does nothing without an https:// address in listen: add that, or take this out",
		"1:27: forward[0].tls.key: does nothing without an https:// address in listen: ",
		"1:46: forward[0].tls.client_ca: does nothing without an https:// address in listen: ",
	}},
	{"unread listeners", "forward: [{listen: {a: b}, tls: {cert: a}}]\n", []string{"1:20: forward[0].listen[0]: a section stands here"}},
	{"listeners that may be meant", "forward: [{listen: 'HTTPS://127.0.0.1:1', tls: {cert: a}}, {listen: 'tls://127.0.0.1:1', tls: {cert: a, client_ca: b}}]\n", []string{
		`1:20: forward[0].listen[0]: "HTTPS://127.0.0.1:1": write https:// in small letters`,
		`1:69: forward[1].listen[0]: "tls://127.0.0.1:1": only host:port, http:// and https:// are served`,
	}},
	{"files", "forward: [{listen: 'https://127.0.0.1:1', tls: {cert: [/a, /a, ''], key: [/b, ''], client_ca: ''}}]\n", []string{
		`1:60: forward[0].tls.cert[1]: "/a": is given twice: take one out`,
		"1:64: forward[0].tls.cert[2]: is empty: write a file, or leave it out",
		"1:69: forward[0].tls.key: 2 for 3 certificates: write one key for each, in the same order, or none when the certificate files hold theirs",
		"1:79: forward[0].tls.key[1]: is empty: write a file, or leave it out",
		"1:95: forward[0].tls.client_ca: is empty: write something, or leave it out",
	}},
	{"open to all who have a certificate", "forward: [{listen: 'https://127.0.0.1:1', open: true, tls: {cert: a, client_ca: b}}]\n", []string{
		"1:49: forward[0].open: every client authenticates then: take open out",
	}},
	{"one socket", "forward: [{listen: ['http://127.0.0.1:1', 'https://127.0.0.1:1'], tls: {cert: a}}]\n", []string{
		`1:43: forward[0].listen[1]: "https://127.0.0.1:1": is taken by forward[0].listen[0]: take one out, or give one another port`,
	}},
	{"what nobody needs", "forward: [{listen: 'https://127.0.0.1:1', tls: {cert: a, client_ca: b}, auth_cache: 1m, groups: /g}]\n", []string{
		"1:85: forward[0].auth_cache: does nothing without users or auth_url", `1:97: forward[0].groups: "/g": does nothing without users`,
	}},
}

func TestSecureProblems(t *testing.T) {
	for _, c := range secureMistakes {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.text, c.want) })
	}
}

// Beyond the loopback a client certificate is enough where one can be shown.
func TestCertificatesLetClientsCome(t *testing.T) {
	for listen, fine := range map[string]bool{
		"https://0.0.0.0:1":                     true,
		"https://0.0.0.0:1 https://192.0.2.1:2": true,
		"https://0.0.0.0:1 127.0.0.1:2":         true,
		"https://0.0.0.0:1 192.0.2.1:2":         false,
		"https://0.0.0.0:1 http://192.0.2.1:2":  false,
	} {
		for _, with := range []string{"", "users=u", "allow=client=10.0.0.0/8"} {
			words := []string{"listen=" + strings.ReplaceAll(listen, " ", ","), "tls-cert=a", "tls-client-ca=b"}
			if with != "" {
				words = append(words, with)
			}
			_, err := config.FromFlags(given(words...))
			if want := fine || with != ""; err == nil != want {
				t.Errorf("%s %s: %v", listen, with, err)
			}
		}
	}
	_, err := config.FromFlags(given("listen=https://0.0.0.0:1", "tls-cert=a"))
	want := "--listen https://0.0.0.0:1: would let anyone who reaches this address use the proxy: listen on a loopback address, or add --users, --auth-url, --tls-client-ca, --allow with client=, or --open if that is what you want"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// What a certificate says of a client is known to rules, too.
func TestCertificatesAuthenticate(t *testing.T) {
	for _, text := range []string{"rules: [{deny: {user: ann, group: staff}}]", "egress_by: user\n  egress: [10.0.0.1, 10.0.0.2]", "inspect: [{decrypt: {user: ann, group: ci}}]\n  ca: /ca", "filters: [{match: {group: ci}, deny: {}}]"} {
		read(t, "forward:\n- listen: https://127.0.0.1:1\n  tls: {cert: a, client_ca: b}\n  "+text+"\n")
		if _, err := config.Read("v.yaml", []byte("forward:\n- "+text+"\n")); err == nil {
			t.Errorf("%s: nobody is known, and nothing is told", text)
		}
	}
}

func TestSecureFlags(t *testing.T) {
	c, err := config.FromFlags(given("listen=127.0.0.1:1,https://127.0.0.1:2", "tls-cert=a.pem,b.pem", "tls-cert=c d.pem", "tls-key=a.key", "tls-key=b.key,c.key", "tls-client-ca=ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	got := c.Forward[0].TLS
	if strings.Join(got.Cert, "|") != "a.pem|b.pem|c d.pem" || strings.Join(got.Key, "|") != "a.key|b.key|c.key" || got.ClientCA != "ca.pem" {
		t.Errorf("%+v", got)
	}
	for _, c := range []struct {
		given map[string]config.Given
		want  string
	}{
		{given("tls-cert=a"), "--tls-cert: does nothing without --listen https://host:port: add that, or take this out"},
		{given("listen=https://127.0.0.1:1"), "--listen https://127.0.0.1:1: has no certificate to show: add --tls-cert with the file that it is in"},
		{given("listen=https://127.0.0.1:1", "tls-cert=a,b", "tls-key=c"), "--tls-key: 1 for 2 certificates: write one key for each, in the same order, or none when the certificate files hold theirs"},
		{given("listen=https://127.0.0.1:1", "tls-cert="), `--tls-cert "": is empty: write a file, or leave it out`},
		{map[string]config.Given{"listen": {Values: []string{"https://127.0.0.1:1"}}, "tls-cert": {Values: []string{"a,a"}, Env: true}}, "VIADUCT_TLS_CERT=a (--tls-cert): is given twice: take one out"},
		{map[string]config.Given{"tls-client-ca": {Values: []string{""}, Env: true}}, `VIADUCT_TLS_CLIENT_CA="" (--tls-client-ca): is empty: write something, or leave it out`},
	} {
		if _, err := config.FromFlags(c.given); err == nil || err.Error() != c.want {
			t.Errorf("%v:\n%v\nwant %s", c.given, err, c.want)
		}
	}
}

func TestSecure(t *testing.T) {
	for listen, want := range map[string]bool{"https://127.0.0.1:1": true, "http://127.0.0.1:1": false, "127.0.0.1:1": false, "https:1": false} {
		if config.Secure(listen) != want {
			t.Error(listen)
		}
	}
}
