package filter_test

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"viaduct/acl"
	"viaduct/filter"
	"viaduct/hop"
)

// compile makes a chain of rules, which are named f0, f1, ... in order.
func compile(t testing.TB, rules ...filter.Rule) *filter.Chain {
	t.Helper()
	for i := range rules {
		rules[i].Name = "f" + string(rune('0'+i%10))
	}
	c, err := filter.Compile(rules, hop.Strict)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// matching is the set of rules for a request that all of them match.
func matching(t testing.TB, rules ...filter.Rule) filter.Set {
	t.Helper()
	s := compile(t, rules...).Matching(query("GET", "/"))
	if len(s) != len(rules) {
		t.Fatalf("%v match", s.Names())
	}
	return s
}

func query(method, path string) *acl.Query {
	return &acl.Query{
		Client: netip.MustParseAddr("192.0.2.1"), User: "bob", Groups: []string{"ci"},
		Method: method, Host: "www.example.com", Port: 443, Path: []byte(path),
		Now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), // a Monday
	}
}

// request is one with fields "Name: value" and a body of so many bytes.
func request(t testing.TB, target string, length int64, lines ...string) *http.Request {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Request{Method: "POST", URL: u, Host: u.Host, Header: header(lines...), ContentLength: length}
}

func answer(r *http.Request, status int, length int64, lines ...string) *http.Response {
	return &http.Response{Request: r, StatusCode: status, Header: header(lines...), ContentLength: length}
}

func header(lines ...string) http.Header {
	h := make(http.Header)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

func lines(h http.Header) string {
	var list []string
	for name, values := range h {
		for _, v := range values {
			list = append(list, name+": "+v)
		}
	}
	slices.Sort(list)
	return strings.Join(list, "|")
}

// edits is an edit that everybody may make.
func edits() *filter.Edit { return &filter.Edit{Remove: []string{"X-Nobody"}} }

func TestMatching(t *testing.T) {
	for _, c := range []struct {
		name  string
		match *acl.Rule
		q     *acl.Query
		want  bool
	}{
		{"no match is every request", nil, query("GET", "/"), true},
		{"nor is one without terms a bound", &acl.Rule{}, query("GET", "/"), true},
		{"its name and effect are nothing", &acl.Rule{Name: "x", Effect: acl.Allow, Host: []string{".example.org"}}, query("GET", "/"), false},
		{"report", &acl.Rule{Report: true, Host: []string{".example.com"}}, query("GET", "/"), true},
		{"all terms", &acl.Rule{
			User: []string{"bob"}, Group: []string{"ci"}, Client: []string{"192.0.2.0/24"}, Host: []string{".example.com"},
			Port: []string{"443"}, Method: []string{"GET"}, Path: []string{"/a"}, Time: []string{"mon"},
		}, query("GET", "/a/b"), true},
		{"all but one", &acl.Rule{Host: []string{".example.com"}, Method: []string{"POST"}}, query("GET", "/"), false},
		{"a path in disguise", &acl.Rule{Path: []string{"/download"}}, query("GET", "/x/..//%64ownload;p/y?q"), true},
		{"a method in disguise", &acl.Rule{Method: []string{"GET"}}, query("get", "/"), true},
		{"another path", &acl.Rule{Path: []string{"/download"}}, query("GET", "/downloads"), false},
		{"CONNECT", nil, query("CONNECT", ""), false},
		{"a list", &acl.Rule{HostLists: []*acl.Names{names(".example.com")}}, query("GET", "/"), true},
		{"a list that is empty", &acl.Rule{HostLists: []*acl.Names{nil}}, query("GET", "/"), false},
		{"wrong day", &acl.Rule{Time: []string{"tue-sun"}}, query("GET", "/"), false},
	} {
		chain := compile(t, filter.Rule{Match: c.match, Request: edits()})
		if got := chain.Matching(c.q) != nil; got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if want := c.match != nil && c.match.Time != nil; chain.Timed() != want {
			t.Errorf("%s: timed is %v", c.name, chain.Timed())
		}
	}
}

func names(text string) *acl.Names {
	n, _ := acl.ParseNames([]byte(text))
	return n
}

func TestMatchingKeepsTheOrder(t *testing.T) {
	var rules []filter.Rule
	for i := range 40 {
		r := filter.Rule{Request: edits()}
		if i%2 == 1 {
			r.Match = &acl.Rule{Host: []string{"other.example"}}
		}
		rules = append(rules, r)
	}
	c := compile(t, rules...)
	if got := strings.Join(c.Matching(query("GET", "/")).Names(), ""); got != strings.Repeat("f0f2f4f6f8", 4) {
		t.Errorf("%s", got)
	}
	if got := strings.Join(c.Names(), ""); got != strings.Repeat("f0f1f2f3f4f5f6f7f8f9", 4) {
		t.Errorf("%s", got)
	}
}

func TestNoFilters(t *testing.T) {
	var c *filter.Chain
	empty, err := filter.Compile(nil, hop.Strict)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*filter.Chain{c, empty} {
		if c.Matching(query("GET", "/")) != nil || c.Timed() || len(c.Names()) != 0 {
			t.Errorf("%v is not empty", c)
		}
	}
	var s filter.Set
	r := request(t, "http://a.example/", -1)
	if most, o := s.RequestLimit(r); s.Request(r) != nil || most != -1 || o != nil || len(s.Names()) != 0 {
		t.Error("the nil set does something to requests")
	}
	a := answer(r, 200, -1)
	if most, o := s.AnswerLimit(a); s.Answer(a) != nil || most != -1 || o != nil {
		t.Error("the nil set does something to answers")
	}
}

func TestCompileRefuses(t *testing.T) {
	set := func(s string) *filter.Edit { return &filter.Edit{Set: []string{s}} }
	replace := func(s string) *filter.Edit { return &filter.Edit{Replace: []filter.Replace{{Header: s, Match: "."}}} }
	for _, c := range []struct {
		rule    filter.Rule
		profile hop.Anonymity
		want    string // "" is no complaint
	}{
		{filter.Rule{Request: edits()}, 0, ""},
		{filter.Rule{}, 0, "filter 1: does nothing: write request, answer, deny, respond or redirect"},
		{filter.Rule{Request: edits(), Name: "-"}, 0, "filter 1: has no name: give it one"},
		{filter.Rule{Request: set("Host: x")}, 0, "filter 1: request.set[0]: frames, routes or steers a message, which viaduct does itself: take it out"},
		{filter.Rule{Request: edits(), Match: &acl.Rule{Host: []string{"a.example", "https://x"}}}, 0, "filter 1: match.host[1]: a host has no scheme and no path"},
		{filter.Rule{Request: edits(), Match: &acl.Rule{User: []string{}}}, 0, "filter 1: match.user: has no value"},
		{filter.Rule{Request: edits(), Match: &acl.Rule{Addr: []string{"::1"}}}, 0, "filter 1: match.addr: is not known yet"},

		{filter.Rule{Request: set("X-Forwarded-For: x")}, hop.Strict, "filter 1: request.set[0]: does not go on to origins with anonymity strict: take it out, or choose another anonymity"},
		{filter.Rule{Request: set("X_FORWARDED_FOR: x")}, hop.Via, "filter 1: request.set[0]: does not go on to origins with anonymity via"},
		{filter.Rule{Request: set("X-Forwarded-For: x")}, hop.Transparent, ""},
		{filter.Rule{Request: replace("Client-IP")}, hop.Strict, "filter 1: request.replace[0].header: does not go on"},
		{filter.Rule{Request: replace("HTTP2-Settings")}, hop.Transparent, "filter 1: request.replace[0].header: never goes on to an origin: take it out"},
		{filter.Rule{Request: set("Proxy: x")}, hop.Transparent, "filter 1: request.set[0]: never goes on to an origin"},
		{filter.Rule{Answer: set("X-Forwarded-For: x")}, hop.Strict, ""},
		{filter.Rule{Answer: set("HTTP2-Settings: x")}, hop.Strict, "filter 1: answer.set[0]: never goes on to a client: take it out"},
		{filter.Rule{Request: &filter.Edit{Remove: []string{"X-Forwarded-For"}}}, hop.Strict, ""},
	} {
		switch c.rule.Name {
		case "":
			c.rule.Name = "x"
		case "-":
			c.rule.Name = ""
		}
		chain, err := filter.Compile([]filter.Rule{{Name: "first", Request: edits()}, c.rule}, c.profile)
		var bad *filter.RuleError
		switch {
		case c.want == "" && err == nil && chain != nil:
		case c.want == "" || err == nil || !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), c.want) || chain != nil:
			t.Errorf("%+v: %v, want %q", c.rule, err, c.want)
		}
	}
}
