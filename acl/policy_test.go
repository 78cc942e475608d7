package acl_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/acl"
	"viaduct/fault"
	"viaduct/guard"
	"viaduct/hop"
)

// written makes rules of lines such as "report deny host=a.example,.b.example
// port=443"; they are called r0, r1, …
func written(lines ...string) []acl.Rule {
	rules := make([]acl.Rule, len(lines))
	for i, line := range lines {
		r := &rules[i]
		r.Name = fmt.Sprint("r", i)
		for word := range strings.FieldsSeq(line) {
			field, values, _ := strings.Cut(word, "=")
			list := strings.Split(values, ",")
			switch field {
			case "report":
				r.Report = true
			case "deny":
			case "allow":
				r.Effect = acl.Allow
			case "list":
				n, _ := acl.ParseNames([]byte(strings.Join(list, "\n")))
				r.HostLists = append(r.HostLists, n)
			default:
				*term(r, field) = list
			}
		}
	}
	return rules
}

// term is the field of a rule.
func term(r *acl.Rule, field string) *[]string {
	return map[string]*[]string{
		"user": &r.User, "group": &r.Group, "client": &r.Client, "host": &r.Host, "addr": &r.Addr,
		"port": &r.Port, "method": &r.Method, "path": &r.Path, "time": &r.Time,
	}[field]
}

func compile(t testing.TB, o acl.Options, lines ...string) *acl.Policy {
	t.Helper()
	p, err := acl.Compile(written(lines...), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// brief is a decision in words: "deny r1", "allow", "allow pending". It is an
// error for its parts not to fit together.
func brief(t testing.TB, d acl.Decision) string {
	t.Helper()
	if (d.Fault != nil) != (d.Effect == acl.Deny) || d.Pending && (d.Effect != acl.Allow || d.Rule != "") {
		t.Errorf("odd: %+v", d)
	}
	if named := d.Rule != "" && d.Rule != "guard" && d.Rule != "own_address"; named != (d.Index >= 0) {
		t.Errorf("the index is not that of the rule: %+v", d)
	}
	s := strings.TrimSpace(d.Effect.String() + " " + d.Rule)
	if d.Pending {
		s += " pending"
	}
	return s
}

// asked makes a query of words such as "user=bob host=EXAMPLE.com. port=80". The
// host is brought to its normal form, as whoever asks does.
func asked(t testing.TB, words string) *acl.Query {
	t.Helper()
	q := &acl.Query{Client: netip.MustParseAddr("10.0.0.1"), Method: "GET", Host: "example.com", Port: 80, Path: root}
	for word := range strings.FieldsSeq(words) {
		field, value, _ := strings.Cut(word, "=")
		switch field {
		case "client":
			q.Client, _ = netip.ParseAddr(value)
		case "user":
			q.User = value
		case "groups":
			q.Groups = strings.Split(value, ",")
		case "method":
			q.Method = value
		case "host":
			q.Host = normal(t, value)
		case "port":
			_, err := fmt.Sscan(value, &q.Port)
			if err != nil {
				t.Fatal(err)
			}
		case "path":
			q.Path = []byte(value)
		case "connect":
			q.Method, q.Path = "CONNECT", nil
		case "at":
			var err error
			if q.Now, err = time.ParseInLocation("2006-01-02T15:04:05", value, time.FixedZone("there", 5*3600)); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("what is %s?", word)
		}
	}
	return q
}

var root = []byte("/")

func normal(t testing.TB, host string) string {
	t.Helper()
	target, err := hop.ParseHost([]byte(host), 80)
	if err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	return target.Host
}

// at is an address that is dialled; "" is none.
func at(s string) netip.AddrPort {
	a, _ := netip.ParseAddr(s)
	return netip.AddrPortFrom(a, 80)
}

// cases are rules, and what becomes of queries: by name, and where an address is
// given, by that.
var cases = []struct {
	name  string
	rules []string
	o     acl.Options
	asks  []string // query | address | want
}{
	{
		"no rules", nil,
		acl.Options{},
		[]string{"||allow", "|10.0.0.1|allow", "||allow"},
	},
	{
		"the first that matches decides",
		[]string{"allow host=a.example", "deny host=.example", "allow host=b.example", "deny"},
		acl.Options{},
		[]string{"host=a.example||allow r0", "host=b.example||deny r1", "host=example||deny r1", "host=c.test||deny r3", "host=a.example|1.1.1.1|allow r0", "host=c.test|1.1.1.1|deny r3"},
	},
	{
		"all terms must hold",
		[]string{"allow user=bob host=.example port=80,443 method=GET", "deny"},
		acl.Options{},
		[]string{
			"user=bob host=x.example||allow r0", "user=bob host=x.example port=443||allow r0", "user=ann host=x.example||deny r1", "host=x.example||deny r1",
			"user=bob host=x.test||deny r1", "user=bob host=x.example port=81||deny r1", "user=bob host=x.example method=POST||deny r1",
		},
	},
	{
		"the last word is no as soon as one allow stands",
		[]string{"deny host=a.example", "allow host=b.example"},
		acl.Options{},
		[]string{"host=a.example||deny r0", "host=b.example||allow r1", "host=c.example||deny default", "host=c.example|1.1.1.1|deny default"},
	},
	{
		"the last word is yes otherwise",
		[]string{"deny host=a.example", "allow addr=10.0.0.0/8"},
		acl.Options{},
		[]string{"host=a.example||deny r0", "host=b.example||allow", "host=b.example|10.0.0.1|allow", "host=b.example|1.1.1.1|allow"},
	},
	{
		"an allow without terms is no lone addr",
		[]string{"deny host=a.example", "allow", "deny"},
		acl.Options{},
		[]string{"host=b.example||allow r1", "host=a.example||deny r0"},
	},
	{
		"an allow with addr and more has its last word",
		[]string{"allow addr=10.0.0.0/8 user=bob"},
		acl.Options{},
		[]string{"user=bob||allow pending", "user=bob|10.0.0.1|allow r0", "user=bob|11.0.0.1|deny default", "user=ann||deny default", "user=ann|10.0.0.1|deny default"},
	},
	{
		"the name alone decides without a lookup",
		[]string{"deny addr=10.0.0.0/8", "deny host=.evil.example"},
		acl.Options{},
		[]string{"host=evil.example||deny r1", "host=evil.example|10.0.0.1|deny r0", "host=good.example||allow pending", "host=good.example|10.0.0.1|deny r0", "host=good.example|1.1.1.1|allow"},
	},
	{
		"an addr rule that cannot match leaves nothing open",
		[]string{"deny addr=10.0.0.0/8 port=25", "allow host=a.example"},
		acl.Options{},
		[]string{"host=a.example||allow r1", "host=a.example port=25||allow pending", "host=b.example port=25||deny default"},
	},
	{
		"an addr rule that would allow as well leaves nothing open",
		[]string{"allow addr=10.0.0.0/8 port=80", "allow host=a.example"},
		acl.Options{},
		[]string{"host=a.example||allow r1", "host=a.example|10.0.0.1|allow r0", "host=b.example||allow pending"},
	},
	{
		"an addr rule after the one that decides leaves nothing open",
		[]string{"allow host=a.example", "deny addr=10.0.0.0/8", "deny"},
		acl.Options{},
		[]string{"host=a.example||allow r0", "host=a.example|10.0.0.1|allow r0", "host=b.example||deny r2", "host=b.example|10.0.0.1|deny r1"},
	},
	{
		"a report is told and passed over",
		[]string{"report deny host=.example", "report deny host=a.example", "deny host=b.example", "allow host=.example"},
		acl.Options{},
		[]string{"host=a.example||observe r0", "host=c.example||observe r0", "host=b.example||deny r2", "host=a.test||deny default", "host=a.example|1.1.1.1|observe r0"},
	},
	{
		"a report never opens",
		[]string{"report deny", "deny host=a.example", "allow host=b.example"},
		acl.Options{},
		[]string{"host=a.example||deny r1", "host=b.example||observe r0", "host=c.example||deny default"},
	},
	{
		"a report after the one that decides is not read",
		[]string{"allow host=a.example", "report deny"},
		acl.Options{},
		[]string{"host=a.example||allow r0", "host=b.example||deny default"},
	},
	{
		"a report with addr is open by name",
		[]string{"report deny addr=10.0.0.0/8", "allow host=a.example", "report deny host=b.example", "allow host=b.example"},
		acl.Options{},
		[]string{
			"host=a.example||allow pending", "host=a.example|10.0.0.1|observe r0", "host=a.example|1.1.1.1|allow r1",
			"host=b.example||observe r2", "host=b.example|10.0.0.1|observe r0", "host=b.example|1.1.1.1|observe r2", "host=c.example||deny default",
		},
	},
	{
		"an allow by addr before a report",
		[]string{"allow addr=10.0.0.0/8 port=80", "report deny host=.example", "allow"},
		acl.Options{},
		[]string{"host=a.example||allow pending", "host=a.example|10.0.0.1|allow r0", "host=a.example|1.1.1.1|observe r1", "host=a.test||allow r2"},
	},
	{
		"report only",
		[]string{"deny host=a.example", "report deny host=b.example", "deny host=b.example", "allow host=c.example", "deny addr=10.0.0.0/8"},
		acl.Options{ReportOnly: true},
		[]string{
			"host=a.example||observe r0", "host=b.example||observe r2", "host=c.example||allow r3", "host=d.example||observe default",
			"host=d.example|10.0.0.1|observe r4", "host=d.example|1.1.1.1|observe default", "host=c.example|10.0.0.1|allow r3",
		},
	},
	{
		"report only leaves open by name what an addr rule allows",
		[]string{"allow addr=10.0.0.0/8 port=80", "deny"},
		acl.Options{ReportOnly: true},
		[]string{"||allow pending", "|10.0.0.1|allow r0", "|1.1.1.1|observe r1", "port=81||observe r1"},
	},
	{
		"a lone addr settles the address for the rules after it",
		[]string{"deny addr=10.9.0.0/16", "allow addr=10.0.0.0/8", "deny addr=10.8.0.0/16", "report deny addr=10.7.0.0/16", "deny addr=1.1.1.1", "deny host=evil.example"},
		acl.Options{},
		[]string{
			"|10.9.0.1|deny r0", "|10.8.0.1|allow", "|10.7.0.1|allow", "|10.0.0.1|allow", "|1.1.1.1|deny r4", "|2.2.2.2|allow",
			"host=evil.example||deny r5", "host=evil.example|10.0.0.1|deny r5", "||allow pending",
		},
	},
	{
		"the guard is asked",
		[]string{"allow host=.example"},
		acl.Options{Guard: &guard.Guard{}},
		[]string{
			"||deny default", "host=a.example||allow r0", "host=a.example|1.1.1.1|allow r0", "host=a.example|10.0.0.1|deny guard",
			"host=a.example|::ffff:10.0.0.1|deny guard", "host=a.example|64:ff9b::a00:1|deny guard", "host=a.test|10.0.0.1|deny default", "host=a.example|none|deny guard",
		},
	},
	{
		"a lone addr lifts the guard wherever it stands, and nothing else",
		[]string{"deny host=evil.example", "allow host=.example", "allow addr=10.1.0.0/16,fd00::/8"},
		acl.Options{Guard: &guard.Guard{}},
		[]string{
			"host=a.example|10.1.0.1|allow r1", "host=a.example|fd00::1|allow r1", "host=a.example|10.2.0.1|deny guard", "host=evil.example|10.1.0.1|deny r0",
			"host=a.test|10.1.0.1|deny default", "host=a.example||allow r1", "host=a.example|64:ff9b::a01:1|deny guard",
		},
	},
	{
		"the first addr rule that matches says whether the guard is lifted",
		[]string{"deny addr=10.1.2.0/24 host=.example", "allow addr=10.1.0.0/16 user=bob", "allow host=.test", "deny addr=10.0.0.0/8", "allow addr=10.0.0.0/8"},
		acl.Options{Guard: &guard.Guard{}},
		[]string{
			"user=bob host=a.test|10.1.2.1|allow r1", "user=bob host=a.example|10.1.2.1|deny r0", "user=ann host=a.test|10.1.2.1|deny guard",
			"user=ann host=a.test|10.3.0.1|deny guard", "user=ann host=a.test|1.1.1.1|allow r2", "user=bob host=a.test|11.1.1.1|allow r2",
		},
	},
	{
		"a report is passed over where the guard is lifted, too",
		[]string{"report deny addr=10.0.0.0/8", "allow addr=10.0.0.0/8"},
		acl.Options{Guard: &guard.Guard{}},
		[]string{"|10.0.0.1|observe r0", "|192.168.0.1|deny guard"},
	},
	{
		"a report after the one that decides is not read where the guard is lifted, either",
		[]string{"allow host=.example", "report deny", "allow addr=10.0.0.0/8"},
		acl.Options{Guard: &guard.Guard{}},
		[]string{"host=a.example|10.0.0.1|allow r0", "host=a.test|10.0.0.1|deny default"},
	},
	{
		"report only does not lift the guard",
		[]string{"deny addr=10.9.0.0/16", "allow addr=10.0.0.0/8"},
		acl.Options{Guard: &guard.Guard{}, ReportOnly: true},
		[]string{"|10.9.0.1|deny guard", "|10.8.0.1|allow", "|192.168.0.1|deny guard"},
	},
	{
		"own addresses stay closed",
		[]string{"allow addr=0.0.0.0/0,::/0", "allow"},
		acl.Options{ReportOnly: true, Guard: guard.New(guard.Options{AllowPrivate: true, Own: own("0.0.0.0:80"), LocalAddrs: machine("1.1.1.1")})},
		[]string{"|127.0.0.1|deny own_address", "|1.1.1.1|deny own_address", "|::ffff:1.1.1.1|deny own_address", "|10.0.0.1|allow r1"},
	},
	{
		"this machine's addresses open like private ones",
		[]string{"allow addr=1.1.1.1"},
		acl.Options{Guard: guard.New(guard.Options{Own: own("0.0.0.0:3128"), LocalAddrs: machine("1.1.1.1", "1.1.1.2")})},
		[]string{"|1.1.1.1|allow", "|1.1.1.2|deny guard", "|1.1.1.3|allow"},
	},
}

func TestPolicy(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := compile(t, c.o, c.rules...)
			for _, ask := range c.asks {
				part := strings.Split(ask, "|")
				q := asked(t, part[0])
				d := p.Decide(q)
				if part[1] != "" {
					d = p.DecideAddr(q, at(part[1]))
				}
				if got := brief(t, d); got != part[2] {
					t.Errorf("%q at %q: %s, want %s", part[0], part[1], got, part[2])
				}
			}
		})
	}
}

func TestWhatAClientIsTold(t *testing.T) {
	p := compile(t, acl.Options{Guard: guard.New(guard.Options{Own: own("127.0.0.1:80")})}, "deny host=a.example", "allow host=.example")
	for _, c := range []struct {
		host, addr string
		want       fault.Kind
	}{
		{"a.example", "", fault.RequestDenied},
		{"a.test", "", fault.RequestDenied},
		{"b.example", "10.0.0.1", fault.DestinationIPProhibited},
		{"b.example", "127.0.0.1", fault.LoopDetected},
	} {
		q := asked(t, "host="+c.host)
		d, again := p.Decide(q), p.Decide(q)
		if c.addr != "" {
			d, again = p.DecideAddr(q, at(c.addr)), p.DecideAddr(q, at(c.addr))
		}
		if d.Fault == nil || d.Fault.Kind != c.want || d.Fault != again.Fault {
			t.Errorf("%s at %s: %+v, then %+v", c.host, c.addr, d, again)
		}
	}
}

func TestPolicyTellsItsNamesAndWhetherTimeCounts(t *testing.T) {
	p := compile(t, acl.Options{}, "deny", "allow user=bob")
	if got := p.Names(); !slices.Equal(got, []string{"r0", "r1", "default"}) || p.Timed() {
		t.Errorf("%q, timed: %v", got, p.Timed())
	}
	if p := compile(t, acl.Options{}, "deny", "deny time=mon"); !p.Timed() {
		t.Error("a rule asks for the time")
	}
	if got := compile(t, acl.Options{}).Names(); !slices.Equal(got, []string{"default"}) {
		t.Errorf("%q", got)
	}
}

func TestWelcomes(t *testing.T) {
	p := compile(t, acl.Options{}, "deny client=10.9.0.0/16", "allow client=10.0.0.0/8,2001:db8::1 user=bob", "allow user=ann", "report deny client=11.0.0.0/8")
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "10.9.0.1": true, "::ffff:10.1.2.3": true, "2001:db8::1": true, "2001:db8::1%eth0": true, "2001:db8::2": false,
		"11.0.0.1": false, "127.0.0.1": false, "64:ff9b::a01:203": false,
	} {
		if got := p.Welcomes(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if p.Welcomes(netip.Addr{}) || compile(t, acl.Options{}).Welcomes(netip.MustParseAddr("10.1.2.3")) {
		t.Error("nobody named this client")
	}
}
