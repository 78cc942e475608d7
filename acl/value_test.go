package acl_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"viaduct/acl"
)

// values are what an operator may write, and what the answer says to write
// instead; "" is no complaint.
var values = []struct{ field, value, want string }{
	{"user", "bob", ""},
	{"user", "Jörg Müller <j@example.com>", ""},
	{"user", "@x", ""},
	{"user", "", "leave the term out"},
	{"user", "a\tb", "control character"},
	{"group", "ci", ""},
	{"group", "c\u0085i", "control character"},
	{"group", "", "leave the term out"},

	{"client", "10.0.0.1", ""},
	{"client", "10.0.0.0/8", ""},
	{"client", "0.0.0.0/0", ""},
	{"client", "2001:db8::/32", ""},
	{"client", "::ffff:10.0.0.0/104", ""},
	{"client", "10.0.0.1/8", "write 10.0.0.0/8"},
	{"client", "2001:db8::1/32", "write 2001:db8::/32"},
	{"client", "::ffff:10.0.0.1/104", "write ::ffff:10.0.0.0/104"},
	{"client", "fe80::1%eth0", "write the address up to the %"},
	{"client", "fe80::%eth0/64", "write the address up to the %"},
	{"client", "example.com", "10.0.0.0/8"},
	{"client", "", "10.0.0.0/8"},
	{"client", "[::1]", "2001:db8::/32"},
	{"client", "10.0.0.1:80", "10.0.0.0/8"},
	{"client", "10.0.0.0/33", "10.0.0.0/8"},
	{"client", "10.0.0.0/08", "10.0.0.0/8"},
	{"client", "010.0.0.1", "10.0.0.0/8"},
	{"client", "10.1", "10.0.0.0/8"},
	{"client", "10.0.0.1-10.0.0.9", "10.0.0.0/8"},
	{"addr", "10.0.0.1", ""},
	{"addr", "192.168.1.1/24", "write 192.168.1.0/24"},
	{"addr", "localhost", "write an IP address"},

	{"host", "example.com", ""},
	{"host", ".example.com", ""},
	{"host", "*.example.com", ""},
	{"host", "EXAMPLE.com.", ""},
	{"host", "bücher.example", ""},
	{"host", "_dmarc.example.com", ""},
	{"host", "1.2.3.4", ""},
	{"host", "::1", ""},
	{"host", "[::1]", ""},
	{"host", "localhost", ""},
	{"host", "", "is empty: write a name such as example.com"},
	{"host", ".", "leave the term out"},
	{"host", "*", "leave the term out"},
	{"host", "*.", "leave the term out"},
	{"host", ".*", "leave the term out"},
	{"host", "*.*", "leave the term out"},
	{"host", "**.example.com", "a * stands at the start"},
	{"host", "a*.example.com", "a * stands at the start"},
	{"host", "www.*.com", "a * stands at the start"},
	{"host", "..example.com", "write a name such as example.com"},
	{"host", "example..com", "write a name such as example.com"},
	{"host", "example.com:443", "write example.com here, and port=443"},
	{"host", ".example.com:443", "write .example.com here, and port=443"},
	{"host", "*.example.com:443", "write *.example.com here, and port=443"},
	{"host", "1.2.3.4:443", "write 1.2.3.4 here, and port=443"},
	{"host", "[::1]:443", "write [::1] here, and port=443"},
	{"host", "example.com:", "write example.com here"},
	{"host", "https://example.com", "no scheme and no path"},
	{"host", "https://example.com:443/x", "no scheme and no path"},
	{"host", "example.com/x", "no scheme and no path"},
	{"host", "10.0.0.0/8", "write addr=10.0.0.0/8"},
	{"host", "2001:db8::/32", "write addr=2001:db8::/32"},
	{"host", ".1.2.3.4", "nothing is below an address: write 1.2.3.4"},
	{"host", "*.::1", "nothing is below an address: write ::1"},
	{"host", "127.1", "an IPv4 address must be written as four decimal numbers"},
	{"host", "0x7f000001", "an IPv4 address must be written as four decimal numbers"},
	{"host", "1.2.3.4.5", "an IPv4 address must be written as four decimal numbers"},
	{"host", "fe80::1%eth0", "a percent sign is not allowed"},
	{"host", "::1::2", "only a valid IPv6 address"},
	{"host", "[1.2.3.4]", "only a valid IPv6 address"},
	{"host", "a b", "a space"},
	{"host", "bob@example.com", "user names"},
	{"host", strings.Repeat("a", 64) + ".example", "write a name such as example.com"},
	{"host", "\xff.example", "write a name such as example.com"},
	{"host", "[", "write a name such as example.com"},
	{"host", "]", "write a name such as example.com"},
	{"host", ":", "port="},

	{"port", "443", ""},
	{"port", "1-65535", ""},
	{"port", "80-80", ""},
	{"port", "0", "1 to 65535"},
	{"port", "65536", "1 to 65535"},
	{"port", "-1", "1 to 65535"},
	{"port", "+80", "1 to 65535"},
	{"port", "", "1 to 65535"},
	{"port", "https", "1 to 65535"},
	{"port", "any", "1 to 65535"},
	{"port", "80-", "1 to 65535"},
	{"port", "0-80", "1 to 65535"},
	{"port", "80-90-100", "1 to 65535"},
	{"port", "9000-8000", "write 8000-9000"},

	{"method", "GET", ""},
	{"method", "PROPFIND", ""},
	{"method", "x!#$%&'*+-.^_`|~9", ""},
	{"method", "get", "write GET"},
	{"method", "Connect", "write CONNECT"},
	{"method", "", "such as GET"},
	{"method", "GET POST", "such as GET"},
	{"method", "GET,POST", "such as GET"},
	{"method", "GÉT", "such as GET"},

	{"path", "/", ""},
	{"path", "/v1/", ""},
	{"path", "/a%20b/ü", ""},
	{"path", "/.well-known/x..y", ""},
	{"path", "/a%2fb", ""},
	{"path", "", "begin it with /"},
	{"path", "v1", "begin it with /"},
	{"path", "https://example.com/v1", "begin it with /"},
	{"path", "*", "begin it with /"},
	{"path", "/v1?x=1", "write /v1"},
	{"path", "/v1#x", "write /v1"},
	{"path", "/v1;x/y", "write /v1"},
	{"path", "/v1%3bx", "before the ;"},
	{"path", "/v1%253bx", "before the ;"},
	{"path", "/a b", "write %20"},
	{"path", "/a\x00", "control character"},
	{"path", "/a\x7f", "control character"},
	{"path", "//v1", "write /v1"},
	{"path", "/x/../v1", "write /v1"},
	{"path", "/./v1/.", "write /v1/"},
	{"path", `\v1`, "begin it with /"},
	{"path", `/v1\x`, "write /v1/x"},
	{"path", "/..", "write /"},

	{"time", "mon", ""},
	{"time", "Mon-FRI", ""},
	{"time", "sat-sun", ""},
	{"time", "09:00-17:00", ""},
	{"time", "00:00-24:00", ""},
	{"time", "sat/22:00-06:00", ""},
	{"time", "", "mon-fri"},
	{"time", "/", "mon-fri"},
	{"time", "-", "mon-fri"},
	{"time", "mon-", "mon-fri"},
	{"time", "mon/", "mon-fri"},
	{"time", "/09:00-17:00", "mon-fri"},
	{"time", "montue", "mon-fri"},
	{"time", "ont", "mon-fri"},
	{"time", "monday", "mon-fri"},
	{"time", "9:00-17:00", "09:00-17:00"},
	{"time", "09:00", "09:00-17:00"},
	{"time", "09-17", "09:00-17:00"},
	{"time", "0a:00-17:00", "09:00-17:00"},
	{"time", "09:60-17:00", "09:00-17:00"},
	{"time", "09:00-24:01", "09:00-17:00"},
	{"time", "09:00-25:00", "09:00-17:00"},
	{"time", "24:00-06:00", "09:00-17:00"},
	{"time", "09:00-17:00-18:00", "09:00-17:00"},
	{"time", "09:00-17:00/mon", "mon-fri"},
	{"time", "mon/09:00-17:00/x", "mon-fri"},
	{"time", "09:00-09:00", "leave the hours out"},
	{"time", "２２:00-06:00", "mon-fri"},

	{"dst", "example.com", "write one of user, group, client, host, addr, port, method, path, time"},
}

func TestCheckValue(t *testing.T) {
	for _, c := range values {
		got := acl.CheckValue(c.field, c.value)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s=%q: %q, want %q", c.field, c.value, got, c.want)
		}
		// The place and the value are told by who calls.
		if got != "" && (got[0] < 'a' || got[0] > 'z' || strings.HasSuffix(got, ".") || strings.ContainsAny(got, "\n\x00")) {
			t.Errorf("%s=%q: %q is not the end of a sentence", c.field, c.value, got)
		}
	}
}

// TestCompileRefusesWhatCheckValueDoes: nothing else stands between what was
// written and what is done.
func TestCompileRefusesWhatCheckValueDoes(t *testing.T) {
	for _, c := range values {
		if !slices.Contains(acl.Fields(), c.field) {
			continue
		}
		rules := written("deny", "deny port=80")
		good := map[string]string{"client": "::1", "addr": "::1", "port": "1", "method": "GET", "path": "/", "time": "mon"}[c.field]
		if good == "" {
			good = "fine.example"
		}
		*term(&rules[1], c.field) = []string{good, c.value}
		_, err := acl.Compile(rules, acl.Options{})
		var bad *acl.RuleError
		if text := acl.CheckValue(c.field, c.value); text == "" {
			if err != nil {
				t.Errorf("%s=%q: %v", c.field, c.value, err)
			}
		} else if !errors.As(err, &bad) || *bad != (acl.RuleError{Rule: 1, Field: c.field, Value: 1, Text: text}) {
			t.Errorf("%s=%q: %v", c.field, c.value, err)
		}
	}
}

func TestCompileRefusesRules(t *testing.T) {
	for _, c := range []struct {
		rule acl.Rule
		want string
	}{
		{acl.Rule{}, "rule 0: has no name: give it one"},
		{acl.Rule{Name: "x", Effect: acl.Observe}, "rule 0: can deny or allow, nothing else"},
		{acl.Rule{Name: "x", Effect: acl.Allow, Report: true}, "rule 0: only a deny can report without refusing"},
		{acl.Rule{Name: "x", Effect: acl.Allow, User: []string{}}, "rule 0: user: has no value: write one, or leave the term out"},
		{acl.Rule{Name: "x", Host: []string{}, HostLists: []*acl.Names{{}}}, "rule 0: host: has no value: write one, or leave the term out"},
		{acl.Rule{Name: "x", Port: []string{"1", "x"}}, "rule 0: port, value 1: write a port from 1 to 65535, or a range such as 8000-8999"},
	} {
		p, err := acl.Compile([]acl.Rule{c.rule}, acl.Options{})
		if p != nil || err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v", c.rule, err)
		}
	}
}

func TestAListThatIsMissingHoldsForNoHost(t *testing.T) {
	p, err := acl.Compile([]acl.Rule{{Name: "x", HostLists: []*acl.Names{nil}}}, acl.Options{})
	if err != nil || brief(t, p.Decide(asked(t, ""))) != "allow" {
		t.Errorf("%v, %v", p, err)
	}
}

func TestFieldsAreTheirOwner(t *testing.T) {
	acl.Fields()[0] = "x"
	if got := strings.Join(acl.Fields(), " "); got != "user group client host addr port method path time" {
		t.Errorf("fields %s", got)
	}
}
