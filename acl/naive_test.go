package acl_test

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"viaduct/acl"
	"viaduct/guard"
	"viaduct/hop"
)

// naive judges rules as they are written, one word of the contract after the
// other, and shares nothing with the compiled policy but the classes of addresses.
type naive struct {
	rules []acl.Rule
	lists []string // the text of a list for each rule, "" for none
	o     acl.Options
}

// others says whether all terms of a rule hold, that of the address aside.
func (n *naive) others(i int, q *acl.Query) bool {
	r := n.rules[i]
	deny := r.Effect == acl.Deny
	some := func(values []string, holds func(v string) bool) bool {
		return len(values) == 0 || slices.ContainsFunc(values, holds)
	}
	hosts := r.Host
	if n.lists[i] != "" {
		hosts = append(slices.Clone(hosts), strings.Split(n.lists[i], "\n")...)
	}
	return some(r.User, func(v string) bool { return v == q.User }) &&
		some(r.Group, func(v string) bool { return slices.Contains(q.Groups, v) }) &&
		some(r.Client, func(v string) bool { return naiveRange(v, q.Client) }) &&
		some(hosts, func(v string) bool { return naiveHost(v, q.Host, deny) }) &&
		some(r.Port, func(v string) bool {
			from, to, isRange := strings.Cut(v, "-")
			if !isRange {
				to = from
			}
			a, _ := strconv.Atoi(from)
			b, _ := strconv.Atoi(to)
			return a <= int(q.Port) && int(q.Port) <= b
		}) &&
		some(r.Method, func(v string) bool { return v == q.Method || deny && strings.EqualFold(v, q.Method) }) &&
		some(r.Path, func(v string) bool { return q.Method != "CONNECT" && naivePath(v, string(q.Path), deny) }) &&
		some(r.Time, func(v string) bool { return naiveTime(v, q.Now) })
}

// naiveRange: an address or a prefix, IPv4-mapped or not.
func naiveRange(v string, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !strings.Contains(v, "/") {
		return netip.MustParseAddr(v).Unmap() == a
	}
	p := netip.MustParsePrefix(v)
	if a.Is4() && p.Addr().Is4In6() {
		return p.Contains(netip.AddrFrom16(a.As16()))
	}
	return p.Contains(a)
}

func (n *naive) addr(i int, a netip.Addr) bool {
	r := n.rules[i]
	in := func(a netip.Addr) bool {
		return a.IsValid() && slices.ContainsFunc(r.Addr, func(v string) bool { return naiveRange(v, a) })
	}
	inner := guard.Unwrap(a)
	switch {
	case len(r.Addr) == 0:
		return true
	case r.Effect == acl.Deny:
		return in(a) || in(inner)
	}
	return in(a) && (inner == a.Unmap().WithZone("") || guard.Classify(inner) == guard.Public || in(inner))
}

func naiveHost(v, host string, deny bool) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(v, "*"), ".")
	if strings.Count(name, ":") > 1 && !strings.HasPrefix(name, "[") {
		name = "[" + name + "]"
	}
	target, err := hop.ParseHost([]byte(name), 80)
	if err != nil {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap() == target.Addr.Unmap() || deny && guard.Unwrap(a) == target.Addr.Unmap()
	}
	is, isBelow := host == target.Host, strings.HasSuffix(host, "."+target.Host)
	switch v[0] {
	case '*':
		return isBelow
	case '.':
		return is || isBelow
	}
	return is
}

var escape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// naivePath: raw, and decoded with and without "..".
func naivePath(v, p string, deny bool) bool {
	p, _, _ = strings.Cut(p, "?")
	if p == "" {
		p = "/"
	}
	under := func(p, v string) bool { return p == v || strings.HasPrefix(p, strings.TrimSuffix(v, "/")+"/") }
	raw, flat, tidy := under(p, v), under(naiveNormal(p, true), naiveNormal(v, false)), under(naiveNormal(p, false), naiveNormal(v, false))
	return raw && tidy || deny && (raw || flat || tidy)
}

func naiveNormal(p string, dots bool) string {
	for last := ""; p != last; {
		last, p = p, escape.ReplaceAllStringFunc(p, func(e string) string {
			c, _ := strconv.ParseUint(e[1:], 16, 8)
			return string([]byte{byte(c)})
		})
	}
	var kept []string
	all := strings.Split(strings.ReplaceAll(p, `\`, "/"), "/")
	for i, segment := range all {
		for _, end := range []string{";", "?", "#", "\x00"} {
			segment, _, _ = strings.Cut(segment, end)
		}
		isLast := i == len(all)-1
		switch {
		case segment == "" || segment == ".":
			segment = ""
		case segment == ".." && !dots:
			kept, segment = kept[:max(0, len(kept)-1)], ""
		}
		if segment != "" || isLast {
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// naiveTime walks through the minutes of the span that began today or yesterday.
func naiveTime(v string, now time.Time) bool {
	week := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	var days, span string
	for part := range strings.SplitSeq(v, "/") {
		if strings.Contains(part, ":") {
			span = part
		} else {
			days = part
		}
	}
	on := func(day int) bool {
		from, to, isRange := strings.Cut(days, "-")
		if !isRange {
			to = from
		}
		for i := slices.Index(week, from); days != "" && week[i] != week[day]; i = (i + 1) % 7 {
			if week[i] == to {
				return false
			}
		}
		return true
	}
	minutes := func(s string) int {
		h, m, _ := strings.Cut(s, ":")
		a, _ := strconv.Atoi(h)
		b, _ := strconv.Atoi(m)
		return a*60 + b
	}
	from, to := 0, 1440
	if a, b, ok := strings.Cut(span, "-"); ok {
		if from, to = minutes(a), minutes(b); to < from {
			to += 1440
		}
	}
	today := int(now.Weekday())
	for m := from; m < to; m++ {
		day := today // on which it began
		if m >= 1440 {
			day = (today + 6) % 7
		}
		if m%1440 == now.Hour()*60+now.Minute() && on(day) {
			return true
		}
	}
	return false
}

func (n *naive) isLone(i int) bool {
	r := n.rules[i]
	return r.Effect == acl.Allow && len(r.Addr) > 0 && n.lists[i] == "" &&
		len(r.User)+len(r.Group)+len(r.Client)+len(r.Host)+len(r.Port)+len(r.Method)+len(r.Path)+len(r.Time) == 0
}

// outcome is what becomes of a query of which the rules that match are known.
func (n *naive) outcome(matches []bool) string {
	observed, settled := "", false
	for i, r := range n.rules {
		if !matches[i] || settled && len(r.Addr) > 0 {
			continue
		}
		switch {
		case n.isLone(i):
			settled = true
		case r.Report && observed == "":
			observed = r.Name
		case r.Report:
		case r.Effect == acl.Deny && n.o.ReportOnly:
			return "observe " + r.Name
		case r.Effect == acl.Deny:
			return "deny " + r.Name
		case observed != "":
			return "observe " + observed
		default:
			return "allow " + r.Name
		}
	}
	isAllow := func(i int) bool { return n.rules[i].Effect == acl.Allow && !n.isLone(i) }
	strict := false
	for i := range n.rules {
		strict = strict || isAllow(i)
	}
	switch {
	case strict && n.o.ReportOnly:
		return "observe default"
	case strict:
		return "deny default"
	case observed != "":
		return "observe " + observed
	}
	return "allow"
}

// decide tries for each rule with addr= that could match what would follow if it
// did, and if it did not.
func (n *naive) decide(q *acl.Query) string {
	matches, open := make([]bool, len(n.rules)), []int{}
	for i, r := range n.rules {
		matches[i] = n.others(i, q)
		if matches[i] && len(r.Addr) > 0 {
			open = append(open, i)
		}
	}
	effects := map[string]bool{}
	last := ""
	for choice := range 1 << len(open) {
		for bit, i := range open {
			matches[i] = choice>>(len(open)-1-bit)&1 == 0
		}
		last = n.outcome(matches) // in the end that of none
		effect, _, _ := strings.Cut(last, " ")
		effects[effect] = true
	}
	if len(effects) > 1 {
		return "allow pending"
	}
	return last
}

func (n *naive) decideAddr(q *acl.Query, a netip.AddrPort) string {
	g := n.o.Guard
	if g != nil && g.IsOwn(a) {
		return "deny own_address"
	}
	matches, lifted, named := make([]bool, len(n.rules)), false, false
	for i, r := range n.rules {
		matches[i] = n.others(i, q) && n.addr(i, a.Addr())
		if matches[i] && len(r.Addr) > 0 && !r.Report && !named {
			named, lifted = true, r.Effect == acl.Allow
		}
	}
	outcome := n.outcome(matches)
	if !strings.HasPrefix(outcome, "deny") && !lifted && g != nil && g.Check(a) != nil {
		return "deny guard"
	}
	return outcome
}

// choices are drawn from the bytes of a fuzzer, and end with them.
type choices struct{ b []byte }

func (c *choices) next(n int) int {
	if len(c.b) == 0 {
		return 0
	}
	k := int(c.b[0]) % n
	c.b = c.b[1:]
	return k
}

// words draws some words, most often none.
func (c *choices) words(list string) []string {
	all := strings.Fields(list)
	var some []string
	for range max(0, c.next(8)-5) {
		some = append(some, all[c.next(len(all))])
	}
	return some
}

func (c *choices) word(list string) string {
	all := strings.Fields(list)
	return all[c.next(len(all))]
}

const (
	someAddrs = "1.2.3.4 1.2.3.0/24 1.2.3.255 10.0.0.0/8 0.0.0.0/0 127.0.0.1 ::1 ::/0 fd00::/8 64:ff9b::/96 64:ff9b::102:304 ::ffff:1.2.3.0/120 2002::/16 9.9.9.9"
	targets   = "1.2.3.4 1.2.2.255 1.2.4.0 10.1.2.3 127.0.0.1 ::1 ::2 fd00::1 64:ff9b::102:304 64:ff9b::a00:1 ::ffff:1.2.3.4 ::ffff:10.0.0.1 2002:102:304:: 2002:a00:1::1 9.9.9.9 8.8.8.8 2a00::1 2a00::5efe:a00:1 fe80::1%eth0 255.255.255.255"
	someHosts = "example.com .example.com *.example.com com .com *.com a.example.com .b.a.example.com Example.COM. bücher.example .xn--bcher-kva.example 1.2.3.4 ::1 [::1] ::ffff:1.2.3.4 64:ff9b::1.2.3.4"
	hosts     = "example.com a.example.com b.a.example.com x.b.a.example.com com xexample.com bücher.example www.bücher.example 1.2.3.4 [::1] [::ffff:1.2.3.4] [64:ff9b::1.2.3.4] [2002:102:304::] [::1.2.3.4]"
	somePaths = "/ /a /a/ /a/b /a%20b /%61 /.a"
	paths     = `/ /a /a/ /a/b /ab /%61 /%2561/b //a /./a /x/../a /x/%2e%2e/a /a;x /;/a \a /%5ca/ /a/..  /a/%2e./x /a%2fb /a%20b /a%2520b /%61/..;x/y ?x /a?b /.a /%2ea /..a /a/... /x/..;/..;y/a/b /%25%36%31 %`
	someTimes = "mon mon-fri fri-mon 09:00-17:00 22:00-06:00 sat/22:00-06:00 mon-fri/09:00-17:00 sun-mon/23:59-00:01 00:00-24:00"
)

func (c *choices) naive() *naive {
	n := &naive{}
	for i := range 1 + c.next(5) {
		r := acl.Rule{Name: "r" + strconv.Itoa(i), Effect: acl.Effect(c.next(2))}
		r.Report = r.Effect == acl.Deny && c.next(4) == 1
		r.Addr = c.words(someAddrs)
		list := ""
		if c.next(3) > 0 { // no other terms is a case of its own
			r.User, r.Group = c.words("bob ann"), c.words("ci ops")
			r.Client = c.words("10.0.0.0/8 ::1 ::ffff:192.168.0.0/112 0.0.0.0/0")
			r.Host, list = c.words(someHosts), strings.Join(c.words(someHosts), "\n")
			r.Port, r.Method = c.words("80 443 8000-8999 1-65535"), c.words("GET POST CONNECT x")
			r.Path, r.Time = c.words(somePaths), c.words(someTimes)
		}
		if list != "" {
			names, _ := acl.ParseNames([]byte(list))
			r.HostLists = []*acl.Names{names}
		}
		n.rules, n.lists = append(n.rules, r), append(n.lists, list)
	}
	n.o.ReportOnly = c.next(5) == 1
	n.o.Guard = [...]*guard.Guard{
		nil,
		{},
		guard.New(guard.Options{AllowPrivate: true, Own: own("127.0.0.1:80"), LocalAddrs: machine("9.9.9.9")}),
		guard.New(guard.Options{Own: own("0.0.0.0:81"), LocalAddrs: machine("9.9.9.9")}),
	}[c.next(4)]
	return n
}

// path makes a path of what is of two minds.
func (c *choices) path() []byte {
	p := []byte("/")
	for range c.next(30) {
		p = append(p, `//..%%256ea1;\?b`[c.next(15)])
	}
	return p
}

func (c *choices) query(t *testing.T) *acl.Query {
	q := &acl.Query{
		User: c.word("bob ann eve"), Groups: c.words("ci ops x"), Host: normal(t, c.word(hosts)),
		Port: []uint16{80, 443, 8080, 1}[c.next(4)], Method: c.word("GET get POST X CONNECT"), Path: []byte(c.word(paths)),
		Now: time.Date(2026, 11, 20+c.next(9), []int{0, 5, 6, 9, 16, 17, 22, 23}[c.next(8)], c.next(2)*59, 30, 0, time.FixedZone("", c.next(9)*3600)),
	}
	q.Client, _ = netip.ParseAddr(c.word("10.0.0.1 ::1 192.168.1.1 ::ffff:192.168.1.1 2001:db8::1 none"))
	if c.next(2) == 1 {
		q.Path = c.path()
	}
	if c.next(4) == 1 || q.Method == "CONNECT" {
		q.User, q.Path = "", nil
	}
	return q
}

// FuzzPolicy holds the compiled policy against the naive one, and a decision by
// name against those by every address.
func FuzzPolicy(f *testing.F) {
	for i := range 300 {
		seed := make([]byte, 0, 200)
		for x := uint32(i*7919 + 1); len(seed) < cap(seed); x = x*1664525 + 1013904223 {
			seed = append(seed, byte(x>>24))
		}
		f.Add(seed)
	}
	f.Fuzz(checkPolicy)
}

func checkPolicy(t *testing.T, b []byte) {
	c := &choices{b}
	n := c.naive()
	p, err := acl.Compile(n.rules, n.o)
	if err != nil {
		t.Fatal(err)
	}
	for range 1 + c.next(4) {
		q := c.query(t)
		named := p.Decide(q)
		if got, want := brief(t, named), n.decide(q); got != want {
			t.Errorf("%+v\nof %+v\n%s by name, want %s", *q, n.rules, got, want)
		}
		for target := range strings.FieldsSeq(targets) {
			a := at(target)
			d := p.DecideAddr(q, a)
			if got, want := brief(t, d), n.decideAddr(q, a); got != want {
				t.Errorf("%+v\nof %+v\n%s for %s, want %s", *q, n.rules, got, a, want)
			}
			byGuard := d.Rule == "guard" || d.Rule == "own_address"
			if !named.Pending && !byGuard && d.Effect != named.Effect {
				t.Errorf("%+v\nof %+v\n%v by name and %v for %s", *q, n.rules, named, d, a)
			}
			p.Explain(q, a)
		}
	}
}
