package filter_test

import (
	"net/http"
	"strings"
	"testing"

	"viaduct/filter"
)

func TestEdits(t *testing.T) {
	replace := func(header, match, with string) filter.Edit {
		return filter.Edit{Replace: []filter.Replace{{Header: header, Match: match, With: with}}}
	}
	for _, c := range []struct {
		name   string
		edit   filter.Edit
		fields string
		want   string
	}{
		{"add", filter.Edit{Set: []string{"X-Team:  payments \t"}}, "Accept: x", "Accept: x|X-Team: payments"},
		{"take the place of all", filter.Edit{Set: []string{"x-TEAM: a:b"}}, "X-Team: c|X-Team: d", "X-Team: a:b"},
		{"an empty value", filter.Edit{Set: []string{"X-Team:"}}, "X-Team: c", "X-Team: "},
		{"what stands for it behind a gateway", filter.Edit{Set: []string{"X-Team: a"}}, "X_team: c|x_TEAM: d|X-Teams: e", "X-Team: a|X-Teams: e"},
		{"remove", filter.Edit{Remove: []string{"cookie", "X-Nobody"}}, "Cookie: a|Cookie: b|Cookies: c", "Cookies: c"},
		{"remove what stands for it behind a gateway", filter.Edit{Remove: []string{"X_User-Id"}}, "X-User-Id: a|X_user_id: b|X-User_id: c|Xuser-Id: d", "Xuser-Id: d"},
		{"replace", replace("user-agent", "^curl/.*", "curl"), "User-Agent: curl/8.1|User-Agent: x curl/8.1", "User-Agent: curl|User-Agent: x curl/8.1"},
		{"replace with what was found", replace("Location", `^http://([^/]+)`, "https://${1}x$$"), "Location: http://a.example/b", "Location: https://a.examplex$/b"},
		{"replace with a named one", replace("X-A", `(?P<first>\w)(\w)`, "$2$first"), "X-A: abcd", "X-A: badc"},
		{"each match", replace("X-A", "a*", "-"), "X-A: baac", "X-A: -b-c-"},
		{"replace what stands for it behind a gateway", replace("X-A", "b", "c"), "X-A: b|X_a: b|X.a: b", "X-A: c|X.a: b|X_a: c"},
		{"what is not there is not added", replace("X-A", "", "c"), "X-B: b", "X-B: b"},
		{"no space remains", replace("X-A", "b", " "), "X-A: b c b", "X-A: c"},
		{"to nothing", replace("X-A", ".*", ""), "X-A: b", "X-A: "},
		{"what is no UTF-8 stays", replace("X-A", "b", "c"), "X-A: \xffb\xfe", "X-A: \xffc\xfe"},
		{"in steps", filter.Edit{Replace: []filter.Replace{{"X-A", "a", "b"}, {"X-A", "b", "c"}}}, "X-A: a", "X-A: c"},
		{"all of them", filter.Edit{Set: []string{"X-A: 1"}, Remove: []string{"X-B"}, Replace: []filter.Replace{{"X-C", "c", "d"}}}, "X-B: b|X-C: c", "X-A: 1|X-C: d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.edit.Replace != nil && c.edit.Replace[0].Match == "" {
				c.edit.Replace[0].Match = "^"
			}
			s := matching(t, filter.Rule{Request: &c.edit}, filter.Rule{Answer: &c.edit})
			r := request(t, "http://a.example/", 0, strings.Split(c.fields, "|")...)
			if o := s.Request(r); o != nil || lines(r.Header) != c.want {
				t.Errorf("request: %s, want %s", lines(r.Header), c.want)
			}
			a := answer(r, 200, 0, strings.Split(c.fields, "|")...)
			if o := s.Answer(a); o != nil || lines(a.Header) != c.want {
				t.Errorf("answer: %s, want %s", lines(a.Header), c.want)
			}
		})
	}
}

// TestAReplacementIsBounded: what a client sends can't be blown up.
func TestAReplacementIsBounded(t *testing.T) {
	long := strings.Repeat("a", 40<<10)
	for _, c := range []struct{ match, with, value, want string }{
		{"a", "bb", "aa", "X-A: bbbb|X-B: b"},
		{"a", "bb", strings.Repeat("a", 8<<10), "X-A: " + strings.Repeat("b", 16<<10) + "|X-B: b"},
		{"a", "bb", strings.Repeat("a", 8<<10+1), "X-B: b"},
		{"a", "b", long, "X-A: " + strings.Repeat("b", 40<<10) + "|X-B: b"},
		{"a", "bb", long, "X-B: b"},
		{"^(.*)$", strings.Repeat("$1", 100), long, "X-B: b"},
		{"z", "", long, "X-A: " + long + "|X-B: b"},
	} {
		s := matching(t, filter.Rule{Request: &filter.Edit{Replace: []filter.Replace{{"X-A", c.match, c.with}}}})
		r := request(t, "http://a.example/", 0, "X-A: "+c.value, "X-B: b")
		if s.Request(r); lines(r.Header) != c.want {
			t.Errorf("%s with %.10s: %d bytes, want %d", c.match, c.with, len(lines(r.Header)), len(c.want))
		}
	}
}

func TestMessagesWithoutFields(t *testing.T) {
	e := &filter.Edit{Set: []string{"X-A: b"}}
	s := matching(t, filter.Rule{Request: e, Answer: e})
	r, a := new(http.Request), new(http.Response)
	if s.Request(r) != nil || s.Answer(a) != nil || lines(r.Header) != "X-A: b" || lines(a.Header) != "X-A: b" {
		t.Errorf("%s, %s", lines(r.Header), lines(a.Header))
	}
}

// TestEditsShareNothing: what one request does to a value is not seen by another.
func TestEditsShareNothing(t *testing.T) {
	s := matching(t, filter.Rule{Request: &filter.Edit{Set: []string{"X-A: b"}}})
	for range 2 {
		r := request(t, "http://a.example/", 0)
		if s.Request(r); lines(r.Header) != "X-A: b" {
			t.Fatal(lines(r.Header))
		}
		r.Header["X-A"][0] = "changed"
	}
}

// TestFieldsThatAreEdited: the same names as the edits take for equal.
func TestFieldsThatAreEdited(t *testing.T) {
	s := matching(
		t,
		filter.Rule{Deny: &filter.Deny{AnswerSize: 1}},
		filter.Rule{Answer: &filter.Edit{
			Set: []string{"x-set: b"}, Remove: []string{"X_Removed-Field", "Digest"}, Replace: []filter.Replace{{"Etag", "a", "b"}, {"X-R", "a", "b"}},
		}},
		filter.Rule{Request: &filter.Edit{Remove: []string{"X-Asked"}}, Answer: &filter.Edit{Remove: []string{"X-Last"}}},
	)
	for _, c := range []struct {
		name            string
		asked, answered bool
	}{
		{"X-Set", false, true},
		{"X_SET", false, true},
		{"x-removed_field", false, true},
		{"DIGEST", false, true},
		{"etag", false, true},
		{"x_r", false, true},
		{"X-Last", false, true},
		{"x_asked", true, false},
		{"", false, false},
		{"X", false, false},
		{"X-Sett", false, false},
		{"XSet", false, false},
		{"X.Set", false, false},
		{"Dige\xc5\xbft", false, false}, // a letter whose capital is S
	} {
		for _, answer := range []bool{false, true} {
			want := c.asked && !answer || c.answered && answer
			if got := s.Edits(answer, []byte(c.name)); got != want {
				t.Errorf("%q, answer %v: %v", c.name, answer, got)
			}
			// What it says is what happens.
			h := header(c.name + ": a")
			if answer {
				s.Answer(&http.Response{StatusCode: 204, Header: h})
			} else {
				s.Request(&http.Request{Header: h})
			}
			if value, there := h[http.CanonicalHeaderKey(c.name)]; want && there && value[0] == "a" || !want && !there {
				t.Errorf("%q, answer %v: %s", c.name, answer, lines(h))
			}
		}
	}
	var none filter.Set
	if none.Edits(true, []byte("X-Set")) || none.Edits(false, nil) {
		t.Error("the nil set edits")
	}
}
