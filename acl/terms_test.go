package acl_test

import (
	"strings"
	"testing"

	"viaduct/acl"
	"viaduct/guard"
)

// holds says whether a term holds for a query, in a deny and in an allow.
func holds(t *testing.T, term, query, addr string) (deny, allow bool) {
	t.Helper()
	q := asked(t, query)
	d := compile(t, acl.Options{}, "deny "+term).DecideAddr(q, at(addr))
	a := compile(t, acl.Options{}, "allow "+term, "deny").DecideAddr(q, at(addr))
	if isAlone := strings.HasPrefix(term, "addr="); isAlone {
		// An allow of nothing but addr= lets nothing pass: it only lifts the guard.
		a = compile(t, acl.Options{Guard: &guard.Guard{}}, "allow "+term).DecideAddr(q, at(addr))
	}
	return d.Effect == acl.Deny, a.Effect == acl.Allow
}

// terms are values, queries for which a deny and an allow of them hold, those for
// which only a deny does, and those for which neither does. Alternatives stand
// between bars.
var terms = []struct{ term, both, deny, none string }{
	{"user=bob,Ann", "user=bob|user=Ann", "", "user=ann|user=bo|user=bobb||user=BOB"},
	{"group=ci,ops", "groups=ci|groups=x,ops", "", "groups=x,y||groups=CI|user=ci"},
	{"client=10.1.0.0/16,2001:db8::/32,192.0.2.7", "client=10.1.255.255|client=2001:db8:ffff::1|client=192.0.2.7|client=::ffff:10.1.0.0|client=2001:db8::1%eth0|client=::ffff:192.0.2.7", "", "client=10.2.0.0|client=10.0.255.255|client=192.0.2.8|client=2001:db9::|client=none|client=64:ff9b::a01:1"},
	{"client=::ffff:10.1.0.0/112", "client=10.1.2.3|client=::ffff:10.1.2.3", "", "client=10.2.0.1|client=::10.1.2.3"},
	{"client=10.1.2.0/24,10.0.0.0/8,11.0.0.0/16,10.1.0.0/16,11.0.0.0/8,9.9.9.9", "client=10.1.2.3|client=10.255.0.1|client=11.0.0.0|client=11.255.255.255|client=9.9.9.9", "", "client=12.0.0.0|client=9.9.9.8|client=9.9.9.10|client=::1"},
	{"client=0.0.0.0/0", "client=0.0.0.0|client=255.255.255.255|client=::ffff:1.1.1.1", "", "client=::|client=none"},
	{"client=::/0", "client=::|client=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "client=1.1.1.1|client=::ffff:1.1.1.1|client=none"},
	{"port=443,8000-8999", "port=443|port=8000|port=8500|port=8999", "", "port=442|port=444|port=7999|port=9000|port=0|port=65535"},
	{"port=1-65535", "port=1|port=65535", "", "port=0"},
	{"method=GET,PROPFIND,x-y", "method=GET|method=PROPFIND|method=x-y", "method=get|method=Get|method=pRoPfInD|method=X-Y", "method=GETT|method=GE|method=POST|method=G%45T|connect"},
	{"method=CONNECT", "connect", "method=connect", "method=GET"},

	{"host=example.com", "host=example.com|host=EXAMPLE.Com|host=example.com.|host=example。com|host=ｅxample．com|host=example｡com", "", "host=www.example.com|host=example.co|host=com|host=xexample.com|host=example.com.evil.test|host=1.2.3.4"},
	{"host=Example.COM.", "host=example.com|host=example.com.", "", "host=a.example.com"},
	{"host=.example.com", "host=example.com|host=a.example.com|host=A.b.Example.com.|host=a_b.-.example.com", "", "host=xexample.com|host=com|host=example.com.test|host=example.org"},
	{"host=*.example.com", "host=a.example.com|host=a.b.c.d.e.example.com", "", "host=example.com|host=aexample.com"},
	{"host=.com", "host=com|host=a.com|host=a.b.com", "", "host=com.test|host=xcom"},
	{"host=bücher.example", "host=bücher.example|host=BÜCHER.example|host=xn--bcher-kva.example|host=XN--BCHER-KVA.EXAMPLE.|host=bu\u0308cher。example", "", "host=bucher.example|host=www.bücher.example"},
	{"host=.xn--bcher-kva.example", "host=bücher.example|host=www.BÜCHER.example", "", "host=bcher.example"},
	{"host=faß.example", "host=faß.example|host=xn--fa-hia.example", "", "host=fass.example"},
	{"host=1.2.3.4", "host=1.2.3.4|host=[::ffff:1.2.3.4]|host=[::FFFF:102:304]|host=1.2.3.4.", "host=[64:ff9b::1.2.3.4]|host=[2002:102:304::9]|host=[::1.2.3.4]|host=[::ffff:0:1.2.3.4]|host=[2a00::5efe:1.2.3.4]", "host=1.2.3.5|host=x.1.2.3.4.example|host=a.test"},
	{"host=[2001:DB8:0::1]", "host=[2001:db8::1]|host=[2001:db8:0:0:0:0:0:1]", "", "host=[2001:db8::2]|host=2001.example"},
	{"host=2001:db8::1", "host=[2001:db8::1]", "", "host=[2001:db8::1:1]"},
	{"host=::ffff:1.2.3.4", "host=1.2.3.4|host=[::ffff:1.2.3.4]", "host=[64:ff9b::1.2.3.4]", "host=[::1.2.3.5]"},
	{"host=[64:ff9b::1.2.3.4]", "host=[64:ff9b::102:304]", "", "host=1.2.3.4|host=[::ffff:1.2.3.4]"},
	{"list=.a.example,b.example,1.2.3.4", "host=x.a.example|host=b.example|host=1.2.3.4", "host=[64:ff9b::1.2.3.4]", "host=x.b.example|host=1.2.3.5"},
	{"host=c.example list=a.example list=b.example", "host=a.example|host=b.example|host=c.example", "", "host=d.example|host=example"},
	{"list=#nothing", "", "", "host=a.example|host=1.2.3.4"},

	{"path=/v1", "path=/v1|path=/v1/|path=/v1/x|path=/v1?q|path=/v1/x?/../..", "path=/v1%3fx|path=/v1%23x|path=/v1%00.png|path=/%761|path=/v%31/x|path=//v1|path=/./v1|path=/.//%2e/v1/x|path=/v1;x|path=/;p/v1|path=/v1;x/y|path=/v1%3Bx|path=\\v1|path=/%5cv1\\x|path=/%5Cv1/|path=/x/../v1|path=/x/%2e%2E/v1|path=/x/..;p/v1|path=/../../v1|path=/x/..%2fv1|path=/x\\..\\v1|path=/%2fv1|path=/%252fv1/|path=/%25252e/%25%37%36%31|path=/v1/../x|path=/v1/%2e%2e/x|path=/v1%2f..%2fx|path=/%761/../x|path=/%76%31/%252e%252e/x|path=/v1/..", "path=/|path=/v10|path=/v|path=/V1|path=/x/v1|path=/?/v1|path=/x?/v1|path=/v1x/|path=/v%321|path=/%|path=/%7|path=/%7g1|path=/v1%|path=/v1%20|connect|path=/.v1|path=/..v1"},
	{"path=/v1/", "path=/v1/|path=/v1/x|path=/v1/?q", "path=//v1//|path=/v1;/x|path=/v1%2fx|path=/%76%31/|path=/v1/..|path=/v1%5c|path=/x/../v1/.", "path=/v1|path=/v10|path=/v1;x|path=/v1?/|path=/%761"},
	{"path=/", "path=/|path=/x|path=|path=?q|path=/%|path=//|path=/..|path=/a//b", "path=*", "connect"},
	{"path=/a%20b", "path=/a%20b|path=/a%20b/c", "path=/a%2520b|path=/%61%20b", "path=/a|path=/a%20bc|path=/a+b"},
	{"path=/%61", "path=/%61|path=/%61/b", "path=/a|path=/a/b|path=/%2561", "path=/b"},
	{"path=/a,/b/c", "path=/a/b|path=/b/c", "path=/x/../b/c", "path=/b|path=/b/d"},
	{"path=/ü", "path=/ü|path=/ü/x", "path=/%c3%bc|path=/%C3%BC/x", "path=/u|path=/%c3"},

	{"time=mon-fri", "at=2026-11-23T00:00:00|at=2026-11-27T23:59:59", "", "at=2026-11-22T23:59:59|at=2026-11-28T00:00:00"},
	{"time=Sat", "at=2026-11-28T12:00:00", "", "at=2026-11-29T12:00:00|at=2026-11-27T12:00:00"},
	{"time=fri-mon", "at=2026-11-27T12:00:00|at=2026-11-28T12:00:00|at=2026-11-29T12:00:00|at=2026-11-30T12:00:00", "", "at=2026-11-24T12:00:00|at=2026-11-26T12:00:00"},
	{"time=mon-sun", "at=2026-11-22T12:00:00|at=2026-11-23T12:00:00|at=2026-11-28T12:00:00", "", ""},
	{"time=09:00-17:00", "at=2026-11-23T09:00:00|at=2026-11-29T16:59:59", "", "at=2026-11-23T08:59:59|at=2026-11-23T17:00:00"},
	{"time=00:00-24:00", "at=2026-11-23T00:00:00|at=2026-11-23T23:59:59", "", ""},
	{"time=22:00-00:00", "at=2026-11-23T22:00:00|at=2026-11-23T23:59:59", "", "at=2026-11-23T00:00:00|at=2026-11-23T21:59:59"},
	{"time=mon-fri/09:00-17:00", "at=2026-11-27T16:59:00", "", "at=2026-11-28T10:00:00|at=2026-11-27T17:00:00"},
	{"time=SAT/22:00-06:00", "at=2026-11-28T22:00:00|at=2026-11-29T05:59:59", "", "at=2026-11-28T05:00:00|at=2026-11-29T06:00:00|at=2026-11-29T22:00:00|at=2026-11-28T21:59:59"},
	{"time=sun-mon/23:59-00:01", "at=2026-11-29T23:59:30|at=2026-11-30T00:00:30|at=2026-12-01T00:00:00", "", "at=2026-11-29T00:00:00|at=2026-12-01T00:01:00"},
	{"time=mon,tue/10:00-11:00", "at=2026-11-23T23:00:00|at=2026-11-24T10:30:00", "", "at=2026-11-24T12:00:00"},
}

func TestTerms(t *testing.T) {
	for _, c := range terms {
		for _, group := range []struct {
			queries     string
			deny, allow bool
		}{{c.both, true, true}, {c.deny, true, false}, {c.none, false, false}} {
			for query := range strings.SplitSeq(group.queries, "|") {
				if query == "" && (group.queries == "" || !strings.HasPrefix(c.term, "user") && !strings.HasPrefix(c.term, "group")) {
					continue
				}
				deny, allow := holds(t, c.term, query, "1.1.1.1")
				if deny != group.deny || allow != group.allow {
					t.Errorf("%s for %q: deny %v, allow %v; want %v, %v", c.term, query, deny, allow, group.deny, group.allow)
				}
			}
		}
	}
}

func TestAddrTerm(t *testing.T) {
	for _, c := range []struct{ value, both, deny, none string }{
		{
			"10.1.0.0/16", "10.1.2.3 ::ffff:10.1.2.3 ::ffff:10.1.2.3%eth0",
			"64:ff9b::10.1.2.3 64:ff9b:1::10.1.2.3 64:ff9b:1:a01:2:300:: ::10.1.2.3 ::ffff:0:10.1.2.3 2002:a01:203::1 2001:0:909:909::f5fe:fdfc 2a00::5efe:10.1.2.3",
			"10.2.0.0 10.0.255.255 64:ff9b::10.2.0.0 fd00::1",
		},
		{"fd00::/8,fe80::1", "fd12::1 fdff:ffff::1%eth0 fe80::1%eth0 fe80::1", "", "fc00::1 fe80::2 10.0.0.1"},
		// Who allows a gateway allows what it leads to only where that is public, or allowed as well.
		{"64:ff9b::/96", "64:ff9b::8.8.8.8", "64:ff9b::10.0.0.1 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254", "10.0.0.1 2002:808:808::"},
		{"64:ff9b::/96,10.0.0.0/8", "64:ff9b::10.0.0.1 10.0.0.1 64:ff9b::8.8.8.8", "64:ff9b::11.0.0.1 64:ff9b::192.168.0.1 2002:a00:1::", "192.168.0.1"},
		{"::/0", "fd00::1 64:ff9b::8.8.8.8 ::8.8.8.8", "64:ff9b::10.0.0.1 ::1.0.0.0%x ::127.0.0.1", "10.0.0.1 ::ffff:10.0.0.1"},
	} {
		for i, list := range []string{c.both, c.deny, c.none} {
			for addr := range strings.FieldsSeq(list) {
				deny, allow := holds(t, "addr="+c.value, "", addr)
				// 11.0.0.1 and 1.0.0.0 are public: the gateway's deny counts, and its allow does.
				wantAllow := i == 0 || strings.Contains(addr, "11.0.0.1") || strings.Contains(addr, "::1.0.0.0")
				if deny != (i < 2) || allow != wantAllow {
					t.Errorf("addr=%s for %s: deny %v, allow %v", c.value, addr, deny, allow)
				}
			}
		}
	}
}

// TestPathsOfAnySize: nothing that a client can send takes more than its length.
func TestPathsOfAnySize(t *testing.T) {
	p := compile(t, acl.Options{}, "deny path=/v1", "allow path=/a", "deny")
	for _, c := range []struct{ path, want string }{
		{strings.Repeat("/x", 30000) + strings.Repeat("/..", 30000) + "/v1", "deny r0"},
		{"/%" + strings.Repeat("25", 40000) + "761", "deny r0"},
		{"/%" + strings.Repeat("25", 40000), "deny r2"},
		{strings.Repeat("/", 60000) + "v1", "deny r0"},
		{strings.Repeat("/.", 30000) + "/v1", "deny r0"},
		{"/a" + strings.Repeat("/x%2f", 12000), "allow r1"},
		{"/a" + strings.Repeat("/x%2f", 12000) + strings.Repeat("/..", 12001), "deny r2"},
		{"/v1" + strings.Repeat(";", 60000), "deny r0"},
	} {
		for range 2 {
			if got := brief(t, p.Decide(asked(t, "path="+c.path))); got != c.want {
				t.Errorf("%.20s… of %d bytes: %s, want %s", c.path, len(c.path), got, c.want)
			}
		}
	}
}

// TestHostsOfAnyLength: a name may come from where nobody bounds it.
func TestHostsOfAnyLength(t *testing.T) {
	p := compile(t, acl.Options{}, "deny host=.evil.example", "deny host=a.good.example")
	deep := strings.Repeat("a.", 126) + "b"
	for _, c := range []struct{ host, want string }{
		{strings.Repeat("a.", 120) + "evil.example", "deny r0"},
		{strings.Repeat("a.", 5000) + "evil.example", "deny r0"},
		{strings.Repeat("x", 5000) + ".evil.example", "deny r0"},
		{strings.Repeat("a.", 5000) + "good.example", "allow"},
		{strings.Repeat("x", 500) + "a.good.example", "allow"},
		{deep, "allow"},
		{strings.Repeat(".", 300), "allow"},
		{strings.Repeat(".", 300) + "evil.example", "deny r0"},
		{"", "allow"},
		{".", "allow"},
		{"1.2.3.4.5", "allow"},
		{"a:b", "allow"},
	} {
		q := asked(t, "")
		q.Host = c.host
		if got := brief(t, p.Decide(q)); got != c.want {
			t.Errorf("%.20q of %d bytes: %s, want %s", c.host, len(c.host), got, c.want)
		}
	}
	q := asked(t, "")
	q.Host = "x." + deep[2:]
	for value, want := range map[string]string{deep: "allow", q.Host: "deny r0", "." + deep[2:]: "deny r0", "." + deep[4:]: "deny r0", "*." + q.Host[2:]: "deny r0", ".b": "deny r0"} {
		if got := brief(t, compile(t, acl.Options{}, "deny host="+value).Decide(q)); got != want {
			t.Errorf("127 labels, %.10s…: %s, want %s", value, got, want)
		}
	}
	// A name of 253 bytes is the end of a longer one, and not that one.
	longest := strings.Repeat("a", 60) + strings.Repeat("."+strings.Repeat("b", 60), 3) + ".evil.test"
	p = compile(t, acl.Options{}, "deny host="+longest)
	for host, want := range map[string]string{longest: "deny r0", "x" + longest: "allow", "x." + longest: "allow"} {
		q.Host = host
		if got := brief(t, p.Decide(q)); got != want {
			t.Errorf("%.4s… of %d bytes: %s, want %s", host, len(host), got, want)
		}
	}
}
