package config_test

import (
	"reflect"
	"strings"
	"testing"

	"viaduct/config"
	"viaduct/filter"
)

// filtering is a file of one proxy with these filters.
func filtering(filters ...string) string {
	return "forward:\n- filters:\n  - " + strings.Join(filters, "\n  - ") + "\n"
}

// filterMistakes are filters with what is wrong with them.
var filterMistakes = []struct {
	name, text string
	want       []string // after "v.yaml:"
}{
	{"nothing to do", filtering("{}", "{name: a, match: {host: b}}", "~", "{request: {}}"), []string{
		"3:5: forward[0].filters[0]: does nothing: write request, answer, deny, respond or redirect",
		"4:5: forward[0].filters[1]: does nothing", "5:5: forward[0].filters[2]: does nothing",
		"6:6: forward[0].filters[3].request: has nothing to do: write set, remove or replace",
	}},
	{"half a sentence", filtering("{match: , deny: }", "{request: {set: }, respond: ~}"), []string{
		"3:6: forward[0].filters[0].match: nothing stands here: write keys and their values, such as user: …",
		"3:15: forward[0].filters[0].deny: nothing stands here: write keys and their values, such as request_type: …",
		"4:6: forward[0].filters[1].request: edits a request that goes no further, because respond ends it",
		"4:16: forward[0].filters[1].request.set[0]: nothing stands here: write one value",
		"4:24: forward[0].filters[1].respond: nothing stands here: write keys and their values, such as status: …",
	}},
	{"other forms", filtering("{deny: true}", "{request: {set: [X-Team: a], replace: {header: a}}}", "{respond: [200]}", "{redirect: https://x.example}", "block"), []string{
		`3:12: forward[0].filters[0].deny: "true" stands here: write keys and their values`,
		`4:22: forward[0].filters[1].request.set[0]: a section stands here: write one value, in quotes where ": " is in it`,
		`4:34: forward[0].filters[1].request.replace: a section stands here: write a list, with "- " before the first key of each entry`,
		"5:15: forward[0].filters[2].respond: a list stands here: write keys and their values, such as status: …",
		`6:16: forward[0].filters[3].redirect: "https://x.example" stands here: write keys and their values, such as to: …`,
		`7:5: forward[0].filters[4]: "block" stands here: write keys and their values, such as name: …`,
	}},
	{"several ends", filtering("{match: {port: 1}, deny: {}, respond: {}, redirect: {to: 'http://a'}}", "{match: {port: 1}, deny: {}, request: {remove: [A]}, answer: {remove: [A]}}"), []string{
		"3:34: forward[0].filters[0].respond: stands beside deny, and only one of them can end a request: write two filters",
		"3:47: forward[0].filters[0].redirect: stands beside deny",
		"4:34: forward[0].filters[1].request: edits a request that goes no further", "4:58: forward[0].filters[1].answer: edits answers of origins",
	}},
	{"never reached", filtering("{match: {port: 1}, respond: {}}", "{deny: {answer_size: 1MiB}}", "{match: {}, redirect: {to: 'http://a'}}", "{request: {remove: [A]}}", "{deny: {}}"), []string{
		"6:5: forward[0].filters[3]: is never reached: forward[0].filters[2] before it ends every request",
	}},
	{"match", filtering("{match: {addr: 10.0.0.1, method: [GET, CONNECT], host: 'a:1', user: x, hots: y}, deny: {}}"), []string{
		"3:14: forward[0].filters[0].match.addr: is not known yet when filters are chosen: write host or port instead",
		`3:44: forward[0].filters[0].match.method[1]: "CONNECT": matches nothing`,
		`3:60: forward[0].filters[0].match.host[0]: "a:1": a host has no port`,
		"3:67: forward[0].filters[0].match.user: never holds, as nobody authenticates: add users or auth_url",
		`3:76: unknown key "hots" in forward[0].filters[0].match: did you mean "host"?`,
	}},
	{"deny", filtering("{deny: {request_type: [zip, 'video/*'], request_size: 0B, answer_type: [], answer_size: 5}}", "{deny: {max_size: 1MiB, content_type: a/b, request_size: -1MiB}}"), []string{
		`3:28: forward[0].filters[0].deny.request_type[0]: "zip": write a media type such as image/png, video/* or */*`,
		`3:59: forward[0].filters[0].deny.request_size: "0B": write a size from 1B to 1024GiB with its unit, such as 10MiB`,
		"3:63: forward[0].filters[0].deny.answer_type: no value: write at least one, or take answer_type out",
		`3:93: forward[0].filters[0].deny.answer_size: "5": write a size from 1B to 1024GiB with its unit, such as 100MiB`,
		`4:13: unknown key "max_size" in forward[0].filters[1].deny: did you mean "answer_size" or "request_size"?`,
		`4:29: unknown key "content_type" in forward[0].filters[1].deny: did you mean "answer_type" or "request_type"?`,
		`4:62: forward[0].filters[1].deny.request_size: "-1MiB": write a size`,
	}},
	{"edits", filtering(`{request: {set: ["Host: a", no-colon, "X: a\nb", "Content-Length: 1", "A: 1", "a: 2"], remove: [Via, "a b", ""], replace: [{header: X-A, match: "(", with: a}, {}]}}`), []string{
		`3:22: forward[0].filters[0].request.set[0]: "Host: a": frames, routes or steers a message`,
		`3:33: forward[0].filters[0].request.set[1]: "no-colon": has no colon: write Name: value`,
		`3:43: forward[0].filters[0].request.set[2]: "X: a\nb": has a control character in its value`,
		`3:54: forward[0].filters[0].request.set[3]: "Content-Length: 1": frames`,
		`3:83: forward[0].filters[0].request.set[5]: "a: 2": names a field that request.set[4] names already`,
		`3:101: forward[0].filters[0].request.remove[0]: "Via": frames`, `3:106: forward[0].filters[0].request.remove[1]: "a b": is not the name of a field`,
		"3:113: forward[0].filters[0].request.remove[2]: has no name",
		`3:149: forward[0].filters[0].request.replace[0].match: "(": missing closing ): `,
		"3:164: forward[0].filters[0].request.replace[1].header: has no name", "3:164: forward[0].filters[0].request.replace[1].match: is empty",
	}},
	{"what the profile drops", "forward: [{anonymity: via, filters: [{request: {set: ['X-Forwarded-For: a']}}, {request: {replace: [{header: Forwarded, match: a}]}}]}, {listen: 127.0.0.1:1, anonymity: transparent, filters: [{request: {set: ['X-Forwarded-For: a']}}]}]\n", []string{
		`1:55: forward[0].filters[0].request.set[0]: "X-Forwarded-For: a": does not go on to origins with anonymity via: take it out, or choose another anonymity`,
		`1:110: forward[0].filters[1].request.replace[0].header: "Forwarded": does not go on`,
	}},
	{"answers of our own", filtering("{match: {port: 1}, respond: {status: 99, type: text}}", "{match: {port: 1}, respond: {status: 0, body: a, file: /b, type: ''}}", "{match: {port: 1}, respond: {status: 204, body: a}}", "{match: {port: 1}, respond: {status: ok, code: 1}}"), []string{
		`3:42: forward[0].filters[0].respond.status: "99": write a whole number from 200 to 599, such as 200`,
		`3:52: forward[0].filters[0].respond.type: "text": write a media type such as text/html; charset=utf-8`,
		`4:42: forward[0].filters[1].respond.status: "0": write a whole number from 200 to 599`,
		`4:60: forward[0].filters[1].respond.file: "/b": stands beside body: take one of them out`,
		"4:70: forward[0].filters[1].respond.type: is empty: write something, or leave it out",
		"5:53: forward[0].filters[2].respond.body: can't be sent, for an answer with status 204 has none",
		`6:42: forward[0].filters[3].respond.status: "ok": write a whole number from 200`,
		`6:46: unknown key "code" in forward[0].filters[3].respond: did you mean "status"?`,
	}},
	{"redirects", filtering("{match: {port: 1}, redirect: {}}", "{match: {port: 1}, redirect: {to: /a, status: 304}}", "{match: {port: 1}, redirect: {url: x}}", "{match: {port: 1}, redirect: {to: 'http://a?b', keep_path: yes, status: 0}}"), []string{
		"3:24: forward[0].filters[0].redirect.to: write a whole URL that begins with http:// or https:// and a host",
		`4:39: forward[0].filters[1].redirect.to: "/a": write a whole URL`, `4:51: forward[0].filters[1].redirect.status: "304": write one of 301, 302, 303, 307 and 308`,
		`5:35: unknown key "url" in forward[0].filters[2].redirect: did you mean "to"?`,
		`6:64: forward[0].filters[3].redirect.keep_path: "yes": write true or false`, `6:77: forward[0].filters[3].redirect.status: "0": write a whole number from 301 to 308, such as 302`,
	}},
	{"keys that stand elsewhere", "forward: [{redirect: {}, set: x, filter: y, answer_size: 1MiB}]\nfilters: []\n", []string{
		`1:12: unknown key "redirect" in forward[0]: it belongs under forward[].filters[]`,
		`1:26: unknown key "set" in forward[0]: it belongs under forward[].filters[].request, or under forward[].filters[].answer`,
		`1:34: unknown key "filter" in forward[0]: did you mean "filters"?`,
		`1:45: unknown key "answer_size" in forward[0]: it belongs under forward[].filters[].deny`,
		`2:1: unknown key "filters" at the top level: it belongs under forward[]`,
	}},
}

func TestFilterProblems(t *testing.T) {
	for _, c := range filterMistakes {
		t.Run(c.name, func(t *testing.T) { wantProblems(t, c.text, c.want) })
	}
}

const allFilters = `
forward:
- filters:
  - name: no-archives
    match: {host: [.example.com], method: [GET], path: [/download], client: '@lan.txt'}
    deny: {request_type: [application/zip], request_size: 10MiB, answer_type: 'video/*', answer_size: 100MiB}
  - match: {host: [old.example.com]}
    redirect: {to: "https://new.example.com", keep_path: true, status: 308}
  - match: {host: [ads.example.com]}
    respond: {body: "gone\n"}
  - match: {host: [page.example.com]}
    respond: {status: 503, type: text/html, file: page.html}
  - request: {set: ["X-Team: payments"], remove: [Cookie], replace: [{header: User-Agent, match: "curl/.*", with: curl}]}
    answer: {remove: [Server], set: ["X-Frame-Options: DENY"], replace: [{header: Location, match: "^http:", with: "https:"}]}
  - match: {port: 8080}
    redirect: {to: "http://a.example/"}
  - deny: {}
`

func TestFilters(t *testing.T) {
	want := []config.Filter{
		{
			Name: "no-archives", Match: &config.Terms{Host: []string{".example.com"}, Method: []string{"GET"}, Path: []string{"/download"}, Client: []string{"@/etc/viaduct/lan.txt"}},
			Deny: &config.Deny{RequestType: []string{"application/zip"}, RequestSize: 10 << 20, AnswerType: []string{"video/*"}, AnswerSize: 100 << 20},
		},
		{Name: "forward[0].filters[1]", Match: &config.Terms{Host: []string{"old.example.com"}}, Redirect: &config.Redirect{To: "https://new.example.com", KeepPath: true, Status: 308}},
		{Name: "forward[0].filters[2]", Match: &config.Terms{Host: []string{"ads.example.com"}}, Respond: &config.Respond{Status: 200, Type: "text/plain; charset=utf-8", Body: "gone\n"}},
		{Name: "forward[0].filters[3]", Match: &config.Terms{Host: []string{"page.example.com"}}, Respond: &config.Respond{Status: 503, Type: "text/html", File: "/etc/viaduct/page.html"}},
		{
			Name:    "forward[0].filters[4]",
			Request: &config.Edit{Set: []string{"X-Team: payments"}, Remove: []string{"Cookie"}, Replace: []config.Replace{{Header: "User-Agent", Match: "curl/.*", With: "curl"}}},
			Answer:  &config.Edit{Set: []string{"X-Frame-Options: DENY"}, Remove: []string{"Server"}, Replace: []config.Replace{{Header: "Location", Match: "^http:", With: "https:"}}},
		},
		{Name: "forward[0].filters[5]", Match: &config.Terms{Port: []string{"8080"}}, Redirect: &config.Redirect{To: "http://a.example/", Status: 302}},
		{Name: "forward[0].filters[6]", Deny: &config.Deny{}},
	}
	c := read(t, allFilters)
	if got := c.Forward[0].Filters; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	var b strings.Builder
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	if again := read(t, b.String()); !reflect.DeepEqual(again, c) {
		t.Errorf("it does not read back:\n%s", b.String())
	}
	for _, part := range []string{"  - match:\n      port: ['8080']\n    redirect:\n      to: http://a.example/\n      status: 302\n  - deny: {}\n", "      replace:\n      - header: Location\n        match: '^http:'\n        with: 'https:'\n"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("no\n%s\nin\n%s", part, b.String())
		}
	}
	if wrong := judge(t, allFilters); wrong != "" {
		t.Errorf("the schema says %s", wrong)
	}
}

// A filter is handed on with all that it says.
func TestFilterRules(t *testing.T) {
	filters := read(t, allFilters).Forward[0].Filters
	for i, want := range map[int]filter.Rule{
		0: {Name: "no-archives", Deny: &filter.Deny{RequestType: []string{"application/zip"}, RequestSize: 10 << 20, AnswerType: []string{"video/*"}, AnswerSize: 100 << 20}},
		1: {Name: "forward[0].filters[1]", Redirect: &filter.Redirect{To: "https://new.example.com", KeepPath: true, Status: 308}},
		2: {Name: "forward[0].filters[2]", Respond: &filter.Respond{Status: 200, Type: "text/plain; charset=utf-8", Body: []byte("gone\n")}},
		4: {
			Name:    "forward[0].filters[4]",
			Request: &filter.Edit{Set: []string{"X-Team: payments"}, Remove: []string{"Cookie"}, Replace: []filter.Replace{{Header: "User-Agent", Match: "curl/.*", With: "curl"}}},
			Answer:  &filter.Edit{Set: []string{"X-Frame-Options: DENY"}, Remove: []string{"Server"}, Replace: []filter.Replace{{Header: "Location", Match: "^http:", With: "https:"}}},
		},
		6: {Name: "forward[0].filters[6]", Deny: &filter.Deny{}},
	} {
		if got := filters[i].Rule(); !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %+v, want %+v", i, got, want)
		}
	}
}
