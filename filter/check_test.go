package filter_test

import (
	"strings"
	"testing"

	"viaduct/acl"
	"viaduct/filter"
	"viaduct/hop"
)

// said are the problems of a rule, one a line.
func said(r filter.Rule) string {
	var list []string
	for _, p := range filter.CheckRule(&r, hop.Transparent) {
		list = append(list, p.Field+": "+p.Text)
	}
	return strings.Join(list, "\n")
}

// complain checks that there is one problem, or none where want is "", and that
// it reads as the end of a sentence: the place and the value are told by who calls.
func complain(t *testing.T, what string, r filter.Rule, want string) {
	t.Helper()
	problems := filter.CheckRule(&r, hop.Transparent)
	switch {
	case want == "" && len(problems) == 0:
		return
	case want == "" || len(problems) != 1 || !strings.HasPrefix(said(r), want):
		t.Errorf("%s:\n%s\nwant %s", what, said(r), want)
		return
	}
	if s := problems[0].Text; s == "" || s[0] < 'a' || s[0] > 'z' || strings.HasSuffix(s, ".") || strings.ContainsAny(s, "\n\x00") {
		t.Errorf("%s: %q is not the end of a sentence", what, s)
	}
}

func TestCheckParts(t *testing.T) {
	e, d, a, to := edits(), &filter.Deny{}, &filter.Respond{}, &filter.Redirect{To: "http://a.example"}
	typed := &filter.Deny{RequestType: []string{"a/b"}}
	for _, c := range []struct {
		rule filter.Rule
		want string
	}{
		{filter.Rule{Request: e}, ""},
		{filter.Rule{Request: e, Answer: e, Deny: typed}, ""},
		{filter.Rule{Deny: d}, ""},
		{filter.Rule{Respond: a}, ""},
		{filter.Rule{Redirect: to}, ""},
		{filter.Rule{Match: &acl.Rule{}}, ": does nothing: write request, answer, deny, respond or redirect"},
		{filter.Rule{Deny: typed, Respond: a}, "respond: stands beside deny, and only one of them can end a request"},
		{filter.Rule{Deny: d, Redirect: to}, "redirect: stands beside deny"},
		{filter.Rule{Respond: a, Redirect: to}, "redirect: stands beside respond"},
		{filter.Rule{Request: e, Deny: d}, "request: edits a request that goes no further, because deny ends it: take it out"},
		{filter.Rule{Request: e, Redirect: to}, "request: edits a request"},
		{filter.Rule{Answer: e, Respond: a}, "answer: edits answers of origins, and with respond no request gets that far: take it out"},
		{filter.Rule{Request: &filter.Edit{}}, "request: has nothing to do: write set, remove or replace"},
		{filter.Rule{Answer: &filter.Edit{Set: []string{}}}, "answer: has nothing to do"},
		{filter.Rule{Request: e, Match: &acl.Rule{Addr: []string{}}}, "match.addr: is not known yet when filters are chosen"},
		{filter.Rule{Request: e, Match: &acl.Rule{Method: []string{"GET", "CONNECT"}}}, "match.method[1]: matches nothing"},
	} {
		complain(t, said(c.rule), c.rule, c.want)
	}
}

func TestCheckSays(t *testing.T) {
	r := filter.Rule{
		Match:    &acl.Rule{Addr: []string{"::1"}},
		Request:  &filter.Edit{Set: []string{"X-A"}, Remove: []string{"Host", "a b"}},
		Deny:     &filter.Deny{RequestType: []string{"x", "a/b"}, AnswerSize: -1},
		Respond:  &filter.Respond{Status: 1},
		Redirect: &filter.Redirect{Status: 300},
	}
	var fields []string
	for _, p := range filter.CheckRule(&r, hop.Transparent) {
		fields = append(fields, p.Field)
	}
	want := "respond redirect match.addr request.set[0] request.remove[0] request.remove[1] deny.request_type[0] deny.answer_size respond.status redirect.status redirect.to"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestCheckFields(t *testing.T) {
	const mine, bad = "frames, routes or steers a message", "is not the name of a field"
	for _, c := range []struct{ line, want string }{
		{"X-Team: payments", ""},
		{"x_team:", ""},
		{"X-Team:a:b\tc\xff\u00fc", ""},
		{"Viaduct: x", ""},
		{"", "has no colon: write Name: value"},
		{"X-Team", "has no colon"},
		{":", "has no name"},
		{": x", "has no name"},
		{"X-Team : x", "has a space before the colon"},
		{" X-Team: x", bad},
		{"X Team: x", bad},
		{"X-Te\u00e4m: x", bad},
		{"X-Team\x00: x", bad},
		{"X\r\nHost: x", bad},
		{"(X): x", bad},
		{"X-Team: a\r\nX-B: c", "has a control character in its value"},
		{"X-Team: a\nb", "has a control character"},
		{"X-Team: a\x00b", "has a control character"},
		{"X-Team: a\x7f", "has a control character"},
		{"Connection: x", mine},
		{"content-length: 1", mine},
		{"CONTENT_LENGTH: 1", mine},
		{"Transfer-Encoding: x", mine},
		{"Host: x", mine},
		{"TE: x", mine},
		{"Trailer: x", mine},
		{"Upgrade: x", mine},
		{"Keep-Alive: x", mine},
		{"Expect: x", mine},
		{"Via: x", mine},
		{"Max-Forwards: x", mine},
		{"Proxy-Authorization: x", mine},
		{"proxy_x: x", mine},
		{"Proxy-: x", mine},
	} {
		set := filter.Rule{Request: &filter.Edit{Set: []string{"X-First: a", c.line}}}
		want := c.want
		if want != "" {
			want = "request.set[1]: " + want
		}
		complain(t, "set "+c.line, set, want)

		name, _, hasColon := strings.Cut(c.line, ":")
		if !hasColon || strings.Contains(c.want, "control character") || strings.Contains(c.want, "colon") {
			continue
		}
		if want != "" {
			want = "answer.remove[0]: " + c.want
		}
		complain(t, "remove "+name, filter.Rule{Answer: &filter.Edit{Remove: []string{name}}}, want)
		if want != "" {
			want = "answer.replace[0].header: " + c.want
		}
		complain(t, "replace "+name, filter.Rule{Answer: &filter.Edit{Replace: []filter.Replace{{Header: name, Match: "x"}}}}, want)
	}
}

func TestCheckFieldsThatAreNamedTwice(t *testing.T) {
	for _, c := range []struct {
		edit filter.Edit
		want string
	}{
		{filter.Edit{Set: []string{"X-A: a", "x_a: b"}}, "request.set[1]: names a field that request.set[0] names already: keep one of them"},
		{filter.Edit{Remove: []string{"X-A", "X-A"}}, "request.remove[1]: names a field that request.remove[0] names already"},
		{filter.Edit{Set: []string{"X-A: a"}, Remove: []string{"X-A"}}, "request.remove[0]: names a field that request.set[0] names already"},
		{filter.Edit{Set: []string{"X-A: a"}, Replace: []filter.Replace{{"X-A", "a", "b"}}}, "request.replace[0].header: names a field that request.set[0]"},
		{filter.Edit{Remove: []string{"X-A"}, Replace: []filter.Replace{{"X-A", "a", "b"}}}, "request.replace[0].header: names a field that request.remove[0]"},
		{filter.Edit{Replace: []filter.Replace{{"X-A", "a", "b"}, {"X-A", "c", "d"}}}, ""},
	} {
		complain(t, c.want, filter.Rule{Request: &c.edit}, c.want)
	}
}

func TestCheckReplacements(t *testing.T) {
	const group, dollar = "request.replace[0].with: means the group", "request.replace[0].with: has a $ that names no group"
	for _, c := range []struct{ match, with, want string }{
		{"a", "", ""},
		{"(a)(?P<x>b)", "$0 $1 ${2}z $x ${x} $$ $$9 $$", ""},
		{"a", "b\xff\tc", ""},
		{"", "b", "request.replace[0].match: is empty"},
		{"(", "b", "request.replace[0].match: missing closing ): `(`: write an expression of RE2"},
		{`(a)\1`, "b", `request.replace[0].match: invalid escape sequence`},
		{"a(?=b)", "b", "request.replace[0].match: invalid or unsupported Perl syntax"},
		{strings.Repeat("(", 2000) + strings.Repeat(")", 2000), "b", "request.replace[0].match: expression nests too deeply"},
		{"(((a{100}){100}){100})", "b", "request.replace[0].match: invalid repeat count"},
		{"a", "b\r\nX: y", "request.replace[0].with: has a control character"},
		{"(a)", "$2", group + ` "2"`},
		{"(a)", "$1x", group + ` "1x"`},
		{"(a)", "$01", ""},
		{"(a)", "${y}", group + ` "y"`},
		{"(a)", "$99999999999999999999", group},
		{"a", "$", dollar},
		{"a", "$ 1", dollar},
		{"a", "$$$", dollar},
		{"a", "${0", dollar},
		{"a", "${}", dollar},
		{"a", "${a b}", dollar},
		{"a", "$\u00e4", dollar},
	} {
		complain(t, c.match+" with "+c.with, filter.Rule{Request: &filter.Edit{Replace: []filter.Replace{{"X-A", c.match, c.with}}}}, c.want)
	}
}

func TestCheckDenials(t *testing.T) {
	const write = "write a media type such as image/png, video/* or */*"
	for _, c := range []struct{ value, want string }{
		{"image/png", ""},
		{"Application/Vnd.x+JSON", ""},
		{"video/*", ""},
		{"*/*", ""},
		{"", write},
		{"png", write},
		{"*", write},
		{"/", write},
		{"image/", write},
		{"/png", write},
		{"image/png/x", write},
		{"image /png", write},
		{"image/png,image/gif", write},
		{"image/p\u00f6ng", write},
		{"text/html; charset=utf-8", "parameters are not compared: write what stands before the ;"},
		{"*/png", "a * stands for all that may follow the /"},
		{"image/p*", "a * stands"},
		{"image/**", "a * stands"},
		{"image*/*", "a * stands"},
	} {
		want := c.want
		if want != "" {
			want = "deny.answer_type[1]: " + want
		}
		complain(t, c.value, filter.Rule{Deny: &filter.Deny{AnswerType: []string{"a/b", c.value}}}, want)
	}
	for _, c := range []struct {
		deny filter.Deny
		want string
	}{
		{filter.Deny{RequestSize: 1, AnswerSize: 1 << 60}, ""},
		{filter.Deny{RequestSize: -1}, "deny.request_size: is less than nothing"},
		{filter.Deny{AnswerSize: -1}, "deny.answer_size: is less than nothing"},
		{filter.Deny{RequestType: []string{}}, "deny.request_type: has no value: write one, or leave it out"},
	} {
		complain(t, c.want, filter.Rule{Deny: &c.deny}, c.want)
	}
}

func TestCheckAnswersOfOurOwn(t *testing.T) {
	const kind = "respond.type: write a media type such as text/html; charset=utf-8"
	for _, c := range []struct {
		respond filter.Respond
		want    string
	}{
		{filter.Respond{Status: 200, Type: "text/html; charset=utf-8", Body: []byte("x")}, ""},
		{filter.Respond{Status: 204}, ""},
		{filter.Respond{Status: 599}, ""},
		{filter.Respond{Status: 199}, "respond.status: is not the status of an answer"},
		{filter.Respond{Status: 101}, "respond.status: is not"},
		{filter.Respond{Status: 600}, "respond.status: is not"},
		{filter.Respond{Status: -1}, "respond.status: is not"},
		{filter.Respond{Status: 302}, "respond.status: sends the client elsewhere"},
		{filter.Respond{Status: 204, Body: []byte("x")}, "respond.body: can't be sent"},
		{filter.Respond{Status: 205, Body: []byte("x")}, "respond.body: can't be sent"},
		{filter.Respond{Status: 304, Body: []byte("x")}, "respond.body: can't be sent"},
		{filter.Respond{Type: "text"}, kind},
		{filter.Respond{Type: "text/*"}, kind},
		{filter.Respond{Type: "text/html;"}, ""},
		{filter.Respond{Type: "text/html; charset"}, kind},
		{filter.Respond{Type: "text/html\r\nSet-Cookie: a=b"}, kind},
		{filter.Respond{Type: "text/html; x=\"\u00fc\""}, kind},
	} {
		complain(t, c.respond.Type+" "+c.want, filter.Rule{Respond: &c.respond}, c.want)
	}
}

func TestCheckRedirects(t *testing.T) {
	const whole, byteOf, host = "write a whole URL", "has a character that a URL can't have", "has no valid host"
	for _, c := range []struct {
		to   string
		keep bool
		want string
	}{
		{"http://a.example", true, ""},
		{"https://a.example:8443/b%20c/", true, ""},
		{"HTTPS://A.example/b?c=d#e", false, ""},
		{"https://[2001:db8::1]:1/", false, ""},
		{"http://1.2.3.4/", false, ""},
		{"", false, whole},
		{"/new", false, whole},
		{"//a.example/", false, whole},
		{"a.example", false, whole},
		{"ftp://a.example/", false, whole},
		{"javascript:alert(1)", false, whole},
		{"https:a.example", false, whole},
		{"https:///x", false, whole},
		{"https://a.example:x/", false, whole},
		{"https://a.example/%zz", false, whole},
		{"https://a.example:0/", false, host},
		{"https://a.example:70000/", false, host},
		{"https://a.example:/", false, host},
		{"https://127.1/", false, host},
		{"https://a..example/", false, host},
		{"https://a_b*c/", false, host},
		{"https://bob@a.example/", false, "has a user name in it"},
		{"https://bob:secret@a.example/", false, "has a user name in it"},
		{"https://b\u00fccher.example/", false, byteOf},
		{"https://a.example/b c", false, byteOf},
		{"https://a.example/\r\nX: y", false, byteOf},
		{`https://a.example\b`, false, byteOf},
		{`https://a.example/"><script>`, false, byteOf},
		{"https://a.example/?", true, "gets path and query of the request appended"},
		{"https://a.example/?b", true, "gets path"},
		{"https://a.example/#b", true, "gets path"},
	} {
		want := c.want
		if want != "" {
			want = "redirect.to: " + want
		}
		complain(t, c.to, filter.Rule{Redirect: &filter.Redirect{To: c.to, KeepPath: c.keep}}, want)
	}
	for status, want := range map[int]string{
		0: "", 301: "", 302: "", 303: "", 307: "", 308: "", 300: "redirect.status: write one of", 304: "redirect.status: write one of", 200: "redirect.status: write", -1: "redirect.status: write",
	} {
		complain(t, want, filter.Rule{Redirect: &filter.Redirect{To: "http://a.example", Status: status}}, want)
	}
}
