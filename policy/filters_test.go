package policy_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"viaduct/acl"
	"viaduct/auth"
	"viaduct/config"
	"viaduct/files"
	"viaduct/policy"
)

func TestFiltersHaveTheirFiles(t *testing.T) {
	p, err := read(t, `
filters:
  - {name: ads, match: {host: ["@ads", one.example]}, respond: {status: 404, type: text/html, file: gone.html}}
  - {name: night, match: {time: 22:00-06:00}, request: {remove: Cookie}}
  - {name: team, request: {set: ["X-Team: a"]}}`, map[string]string{"ads": "two.example\n", "gone.html": "<p>gone\n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Filters.Names(); !slices.Equal(got, []string{"ads", "night", "team"}) || !p.Filters.Timed() {
		t.Errorf("%q", got)
	}
	r, err := http.NewRequest(http.MethodGet, "http://two.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"one.example": "<p>gone\n", "two.example": "<p>gone\n", "three.example": ""} {
		got := ""
		if o := p.Filters.Matching(&acl.Query{Host: host, Port: 80, Method: "GET"}).Request(r); o != nil {
			got = string(o.Body)
			if o.Status != 404 || o.Type != "text/html" || o.Name != "ads" || o.Index != 0 {
				t.Errorf("%s: %+v", host, o)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	if r.Header.Get("X-Team") != "a" {
		t.Errorf("%q", r.Header)
	}
	if p.Lists == nil || len(p.Lists) != 1 {
		t.Errorf("%+v", p.Lists)
	}
}

func TestNoFilters(t *testing.T) {
	if p, err := read(t, "filters: []", nil); err != nil || p.Filters != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestMistakesInFilters(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		texts      map[string]string
		want       []string
	}{
		{"no list", `filters: [{name: x, match: {host: "@ads"}, deny: {}}]`, nil, []string{"filter x: match: host: ", "no such file"}},
		{"bad value", `filters: [{name: x, match: {method: "@m"}, deny: {}}]`, map[string]string{"m": "get\n"}, []string{"filter x: match: method: ", "write GET"}},
		{"no page", `filters: [{name: x, respond: {file: page}}]`, nil, []string{"filter x: respond: ", "page", "no such file"}},
		{"large page", `filters: [{name: x, respond: {file: page}}]`, map[string]string{"page": strings.Repeat("x", 1<<20+1)}, []string{"filter x: respond: ", "page", "larger than 1 MiB"}},
		{"page of what has none", `filters: [{name: x, respond: {status: 204, file: page}}]`, map[string]string{"page": "x"}, []string{"filter x: respond.body: ", "204"}},
		{"CONNECT from a list", `filters: [{name: x, match: {method: "@m"}, deny: {}}]`, map[string]string{"m": "CONNECT\n"}, []string{"filter x: match.method[0]: ", "matches nothing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(t, c.yaml, c.texts)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v says nothing of %q", err, want)
				}
			}
		})
	}
	// What config has not looked at is refused all the same.
	f := config.Default().Forward[0]
	f.Filters = []config.Filter{{Name: "x", Request: &config.Edit{Set: []string{"Via: a"}}}}
	if _, err := policy.New(policy.Options{Conf: &f, Files: files.New(nil)}); err == nil || !strings.Contains(err.Error(), "filter x: request.set[0]: ") {
		t.Error(err)
	}
	f.Anonymity = "none"
	if _, err := policy.New(policy.Options{Conf: &f, Files: files.New(nil)}); err == nil || !strings.Contains(err.Error(), "anonymity") {
		t.Error(err)
	}
}

// A page that changes is another file of the next configuration, as lists are.
func TestPageIsReadAgain(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page")
	f := config.Default().Forward[0]
	f.Filters = []config.Filter{{Name: "x", Respond: &config.Respond{Status: 200, Type: "text/plain", File: page}}}
	var set *files.Set
	for _, text := range []string{"one", "another"} {
		if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		set = files.New(set)
		p, err := policy.New(policy.Options{Conf: &f, Files: set, Memory: auth.NewMemory()})
		if err != nil {
			t.Fatal(err)
		}
		set.Done()
		r := &http.Request{Method: http.MethodGet, Header: http.Header{}}
		if o := p.Filters.Matching(&acl.Query{Host: "a", Port: 80, Method: "GET"}).Request(r); o == nil || string(o.Body) != text {
			t.Errorf("%+v, want %q", o, text)
		}
	}
}

func TestRemarksAboutCertificates(t *testing.T) {
	const listen = "listen: [\"127.0.0.1:1\", \"https://127.0.0.1:2\"]\ntls: {cert: c, client_ca: ca}\n"
	for _, c := range []struct {
		yaml string
		want string
	}{
		{listen, "listen 127.0.0.1:1: every request is refused there: without TLS no client can show a certificate, and there are no users"},
		{listen + "users: users\nrules: [{deny: {user: spiffe-one, group: certs}}]", ""},
		{"users: users\ngroups: users2\nca: ca\ninspect: [{name: i, decrypt: {user: a}}]\nfilters: [{name: f, match: {group: b}, deny: {}}]", "inspect i: there is no user \"a\"\nfilter f: nobody is in a group \"b\""},
	} {
		p, err := read(t, c.yaml, map[string]string{"users": "bench:" + hash + "\n", "users2": "x: bench\n"})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(p.Remarks(), "\n"); got != c.want {
			t.Errorf("%s\nremarks %q, want %q", c.yaml, got, c.want)
		}
	}
}
