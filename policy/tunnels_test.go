package policy_test

import (
	"strings"
	"testing"
)

// What is allowed inside tunnels that nobody may open is told, if that is certain.
func TestRemarksAboutTunnels(t *testing.T) {
	const reads = "{name: reads, allow: {host: .api.example, method: [GET, HEAD], path: /v1}}"
	for _, c := range []struct {
		name, inspect, rules string
		told                 bool
	}{
		{"no rule for the CONNECT", "{decrypt: {host: .example}}", reads, true},
		{"a method alone", "{decrypt: {}}", "{name: reads, allow: {host: '*.api.example', method: GET}}", true},
		{"another port", "{decrypt: {port: 8443}}", reads, false},
		{"a rule for other hosts", "{decrypt: {}}", reads + ", {allow: {host: [other.example, xapi.example], method: CONNECT}}", true},
		{"an address that is settled", "{decrypt: {}}", "{allow: {addr: 10.0.0.1}}, " + reads, true},
		{"a deny", "{decrypt: {}}", reads + ", {deny: {host: .api.example}}", true},
		{"behind a pass of others", "{pass: {host: other.example}}, {decrypt: {}}", reads, true},
		{"no hosts", "{decrypt: {host: a.example}}", "{name: reads, allow: {path: /v1}}", true},

		{"a rule for the CONNECT", "{decrypt: {}}", reads + ", {allow: {host: API.example., method: [CONNECT]}}", false},
		{"a rule for all methods", "{decrypt: {}}", reads + ", {allow: {host: .example, port: 443}}", false},
		{"a rule for one below", "{decrypt: {}}", reads + ", {allow: {host: a.b.api.example, method: CONNECT}}", false},
		{"a rule for all hosts", "{decrypt: {}}", reads + ", {allow: {method: CONNECT}}", false},
		{"a rule for a list", "{decrypt: {}}", reads + ", {allow: {host: '@hosts', method: CONNECT}}", false},
		{"methods in a list", "{decrypt: {}}", "{name: reads, allow: {host: api.example, method: '@methods'}}", false},
		{"hosts in a list", "{decrypt: {}}", "{name: reads, allow: {host: '@hosts', path: /v1}}", false},
		{"not inspected", "{decrypt: {host: other.example}}", reads, false},
		{"passed on", "{pass: {host: .api.example}}, {decrypt: {}}", reads, false},
		{"inspected for some clients", "{decrypt: {client: 10.0.0.1}}", reads, false},
		{"no hosts, but some for the CONNECT", "{decrypt: {}}", "{name: reads, allow: {path: /v1}}, {allow: {host: a.example}}", false},
		{"denies alone", "{decrypt: {}}", "{deny: {path: /v1}}", false},
	} {
		p, err := read(t, "ca: ca\ninspect: ["+c.inspect+"]\nrules: ["+c.rules+"]", map[string]string{"hosts": "api.example\n", "methods": "GET\n"})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want := ""
		if c.told {
			want = "rule reads: never holds for https://, as no rule allows the CONNECT: add one that allows method CONNECT for these hosts"
		}
		if got := strings.Join(p.Remarks(), "\n"); got != want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	for _, rest := range []string{"report_only: true\nca: ca\ninspect: [{decrypt: {}}]", "contact: me"} {
		p, err := read(t, rest+"\nrules: ["+reads+"]", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(p.Remarks(), "\n"); strings.Contains(got, "CONNECT") {
			t.Errorf("%s: %q", rest, got)
		}
	}
	p, err := read(t, "connect_ports: 8443\nca: ca\ninspect: [{decrypt: {port: 8443}}]\nrules: ["+reads+"]", nil)
	if err != nil || len(p.Remarks()) != 1 {
		t.Errorf("%v, %v", p.Remarks(), err)
	}
}
