package policy_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"viaduct/acl"
	"viaduct/auth"
	"viaduct/config"
	"viaduct/files"
	"viaduct/policy"
)

// read makes the policy of an entry that is written in YAML; DIR in it is the
// folder with the files.
func read(t *testing.T, yaml string, texts map[string]string) (*policy.Policy, error) {
	t.Helper()
	return readWith(t, yaml, "", texts)
}

// readWith does so with more of the file behind the entry.
func readWith(t *testing.T, yaml, more string, texts map[string]string) (*policy.Policy, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf, err := config.Read(filepath.Join(dir, "viaduct.yaml"), []byte("forward:\n  - "+strings.ReplaceAll(strings.TrimSpace(yaml), "\n", "\n    ")+"\n"+more))
	if err != nil {
		t.Fatal(err)
	}
	return policy.New(policy.Options{Conf: &conf.Forward[0], Files: files.New(nil), Memory: auth.NewMemory()})
}

// hash is that of the password bench, by bcrypt.
const hash = "$2y$04$gnz0lBN3jzb.ZwaLbHv6xO5ANJfj0jAtj0gqzlUUDJKXzdQvoZg0K"

func TestRulesHaveTheValuesOfTheirFiles(t *testing.T) {
	p, err := read(t, `
rules:
  - {name: ads, deny: {host: [one.example, "@ads"]}}
  - {name: bots, deny: {client: ["@bots"]}}
  - {name: rest, allow: {host: [.example]}}`, map[string]string{
		"ads": "||two.example^\n0.0.0.0 three.example\n@@||four.example^\n", "bots": "10.0.0.0/8 # all of them\n\n192.0.2.1\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ client, host, rule string }{
		{"127.0.0.1", "one.example", "ads"},
		{"127.0.0.1", "below.two.example", "ads"},
		{"127.0.0.1", "three.example", "ads"},
		{"127.0.0.1", "four.example", "rest"},
		{"10.1.2.3", "four.example", "bots"},
		{"192.0.2.1", "four.example", "bots"},
		{"127.0.0.1", "elsewhere.test", "default"},
	} {
		d := p.Rules.Decide(&acl.Query{Client: netip.MustParseAddr(c.client), Host: c.host, Port: 80, Method: "GET"})
		if d.Rule != c.rule {
			t.Errorf("%s from %s: rule %q, want %q", c.host, c.client, d.Rule, c.rule)
		}
	}
	for path, list := range p.Lists {
		want := policy.List{Values: 2}
		if filepath.Base(path) == "ads" {
			want.Skipped, want.First = 1, 3
		}
		if list != want {
			t.Errorf("%s: %+v, want %+v", path, list, want)
		}
	}
	if remarks := p.Remarks(); len(remarks) != 1 || !strings.Contains(remarks[0], "ads: 1 lines are skipped, the first is line 3") {
		t.Errorf("%q", remarks)
	}
	if p.Gate != nil || p.Users != nil {
		t.Error("somebody is asked who they are")
	}
}

func TestUsersAreInTheirGroups(t *testing.T) {
	p, err := read(t, "users: users\ngroups: groups\n", map[string]string{"users": "bench:" + hash + "\n", "groups": "ci: bench\n"})
	if err != nil {
		t.Fatal(err)
	}
	who, ok := p.Users.Identity("bench")
	if !ok || len(who.Groups) != 1 || who.Groups[0] != "ci" || p.Gate == nil {
		t.Errorf("%+v %v", who, ok)
	}
}

func TestMistakesInFilesSayWhere(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		texts      map[string]string
		want       []string
	}{
		{"no list", `rules: [{deny: {host: "@ads"}}]`, nil, []string{"forward[0].rules[0]", "host", "ads", "no such file"}},
		{"empty list", `rules: [{deny: {host: "@ads"}}]`, map[string]string{"ads": "# nothing\n"}, []string{"forward[0].rules[0]", "ads", "nothing in it"}},
		{"empty values", `rules: [{deny: {client: "@bots"}}]`, map[string]string{"bots": "\n"}, []string{"bots", "nothing in it"}},
		{"bad value", `rules: [{name: bots, deny: {client: "@bots"}}]`, map[string]string{"bots": "10.0.0.0/33\n"}, []string{"rule bots", "client", "10.0.0.0/33"}},
		{"no users", "users: users", nil, []string{"users:", "no such file"}},
		{"plain password", "users: users", map[string]string{"users": "bench:sesame\n"}, []string{"users:", "line 1"}},
		{"no groups", "users: users\ngroups: groups", map[string]string{"users": "bench:" + hash + "\n"}, []string{"groups:", "no such file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(t, c.yaml, c.texts)
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q says nothing of %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "sesame") {
				t.Errorf("%q tells the password", err)
			}
		})
	}
}

func TestRemarks(t *testing.T) {
	p, err := read(t, `
users: users
groups: groups
report_only: true
rules:
  - deny: {user: [bench, nobody], group: [ci, staff, typo]}`, map[string]string{
		"users": "bench:" + hash + "\n", "groups": "ci: bench, gone\nstaff: bench,gone\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(p.Remarks(), "\n")
	for _, want := range []string{"only tell", `2 names are no users, the first is "gone"`, `no user "nobody"`, `group "typo"`} {
		if !strings.Contains(all, want) {
			t.Errorf("%s says nothing of %s", all, want)
		}
	}
	for _, known := range []string{`"bench"`, `"ci"`, `"staff"`} {
		if strings.Contains(all, known) {
			t.Errorf("%s tells of %s", all, known)
		}
	}
}
