package filter_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"viaduct/acl"
	"viaduct/filter"
)

// strangers are so many filters, none of which matches what query asks.
func strangers(n int) []filter.Rule {
	rules := make([]filter.Rule, n)
	for i := range rules {
		m := &acl.Rule{Host: []string{fmt.Sprintf(".ads%d.example", i)}}
		switch i % 3 {
		case 1:
			m = &acl.Rule{Path: []string{fmt.Sprintf("/download%d", i)}}
		case 2:
			m = &acl.Rule{Method: []string{"POST"}, Client: []string{"10.0.0.0/8"}}
		}
		rules[i] = filter.Rule{Match: m, Request: edits()}
	}
	return rules
}

func TestMatchingAllocatesOnlyWhatItGives(t *testing.T) {
	skipUnderRace(t)
	for _, c := range []struct {
		name  string
		chain *filter.Chain
		most  float64
	}{
		{"nil", nil, 0},
		{"none", compile(t), 0},
		{"strangers", compile(t, strangers(100)...), 0},
		{"one", compile(t, append(strangers(10), filter.Rule{Request: edits()})...), 1},
		{"sixteen", compile(t, func() (rules []filter.Rule) {
			for range 16 {
				rules = append(rules, filter.Rule{Request: edits()})
			}
			return rules
		}()...), 1},
	} {
		for _, path := range []string{"/", "/x/%2e%2e/%64ownload?q"} {
			q := query("GET", path)
			if n := testing.AllocsPerRun(200, func() { c.chain.Matching(q) }); n > c.most {
				t.Errorf("%s, %s: %v allocations, %v are the most", c.name, path, n, c.most)
			}
		}
	}
}

func TestAskingForEditsAllocatesNothing(t *testing.T) {
	skipUnderRace(t)
	none := matching(t, filter.Rule{Deny: &filter.Deny{AnswerSize: 1}}, filter.Rule{Request: edits()})
	some := matching(t, filter.Rule{Answer: &filter.Edit{
		Set: []string{"X-A: a"}, Remove: []string{"X-B"}, Replace: []filter.Replace{{"X-C", "a", "b"}},
	}})
	name := []byte("X-" + strings.Repeat("long", 20))
	if n := testing.AllocsPerRun(200, func() { none.Edits(true, name); some.Edits(true, name); some.Edits(false, name) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAChainIsSafeForConcurrentUse: what one request finds is not another's.
func TestAChainIsSafeForConcurrentUse(t *testing.T) {
	c := compile(
		t,
		filter.Rule{
			Deny:    &filter.Deny{RequestType: []string{"a/b"}, AnswerType: []string{"video/*"}},
			Request: &filter.Edit{Set: []string{"X-A: b"}, Replace: []filter.Replace{{"X-C", "(.)", "$1$1"}}},
		},
		filter.Rule{Match: &acl.Rule{Path: []string{"/old"}}, Redirect: &filter.Redirect{To: "http://a.example", KeepPath: true}},
	)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			kind, path, want, where := "a/b", fmt.Sprintf("/x%d", i), content, ""
			if i%2 == 1 {
				kind, want = "a/c", ""
			}
			if i%4 > 1 {
				path = fmt.Sprintf("/old/%d", i)
				where = "f1 302 http://a.example" + path
			}
			for range 500 {
				s := c.Matching(query("GET", path))
				r := request(t, "http://old.example"+path, 1, "Content-Type: "+kind, "X-C: c")
				if got := told(s.Request(r)); got != where || r.Header.Get("X-C") != "cc" {
					t.Errorf("%s: %q, %s", path, got, lines(r.Header))
				}
				if got := told(s.Answer(answer(r, 200, 1, "Content-Type: video/mp4"))); got != want {
					t.Errorf("%s: %q, want %q", kind, got, want)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkMatching(b *testing.B) {
	for _, c := range []struct {
		name  string
		chain *filter.Chain
	}{
		{"none", compile(b)},
		{"one_stranger", compile(b, strangers(1)...)},
		{"100_strangers", compile(b, strangers(100)...)},
		{"one", compile(b, filter.Rule{Request: edits()})},
	} {
		q := query("GET", "/some/path?query")
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.chain.Matching(q)
			}
		})
	}
}
