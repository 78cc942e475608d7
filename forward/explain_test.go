package forward_test

import (
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"viaduct/auth"
	"viaduct/config"
	"viaduct/door"
	"viaduct/files"
	"viaduct/forward"
	"viaduct/policy"
)

// hash is that of a password.
const hash = "$2y$04$/59WjnzHVAV0Wa9ZErn0gOt6VuJ7RiTPT0Pz/JcDzyzA.M4z3RaJ6"

// explaining is a proxy by the policy of an entry that is written in YAML. There
// is a file of users with joe in it, who is in the group ci.
func explaining(t *testing.T, yaml string) *forward.Proxy {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"users": "joe:" + hash + "\n", "groups": "ci: joe\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listen := "127.0.0.1:0"
	if strings.Contains(yaml, "tls:") {
		listen = "https://" + listen
	}
	text := "forward:\n  - listen: " + listen + "\n    " + strings.ReplaceAll(strings.TrimSpace(yaml), "\n", "\n    ") + "\n"
	conf := must[*config.Config](t)(config.Read(filepath.Join(dir, "viaduct.yaml"), []byte(text)))
	p := must[*policy.Policy](t)(policy.New(policy.Options{Conf: &conf.Forward[0], Files: files.New(nil), Memory: auth.NewMemory()}))
	var asking *door.TLS
	if conf.Forward[0].TLS.ClientCA != "" {
		asking = door.NewTLS(nil, x509.NewCertPool())
	}
	return forward.New(forward.Options{
		Policy: p.Rules, Inspect: p.Inspect, Filters: p.Filters, Gate: p.Gate, Users: p.Users,
		ConnectPorts: []uint16{443, 8443}, Listener: "forward[0]", Listen: []string{listen}, TLS: asking,
		Egress: []netip.Addr{netip.MustParseAddr("203.0.113.7")},
	})
}

// told is what an explanation comes to, in a line.
func told(e *forward.Explanation) string {
	words := []string{e.Decision, e.Phase, e.Rule}
	if e.Status > 0 {
		words = append(words, strconv.Itoa(e.Status), e.Says)
	}
	if e.Via != "" {
		words = append(words, e.Via, strings.Join(e.Egress, " "))
	}
	if e.Open != "" {
		words = append(words, "open")
	}
	if e.Inspect != nil {
		words = append(words, "["+e.Inspect.Effect, e.Inspect.Rule, e.Inspect.Result+"]")
	}
	if e.Filters != nil {
		words = append(words, "filters", strings.Join(e.Filters, ","))
	}
	if e.Inside != nil {
		words = append(words, "inside", told(e.Inside))
	}
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
}

const glass = `
ca: ca
rules:
  - {name: uploads, deny: {method: POST, path: /upload}}
  - {name: tracker, deny: {host: tracker.test}}
  - {name: shadow, deny: {path: /shadow}, report_only: true}
  - {name: cellar, deny: {addr: 10.0.0.0/8}}
inspect:
  - {name: bank, pass: {host: .bank.example}}
  - {name: glass, decrypt: {host: .example, port: 443}}
filters:
  - {name: team, request: {set: ["Content-Type: a/b"]}}
  - {name: typed, match: {path: /typed}, deny: {request_type: [a/b]}}
  - {name: zips, match: {path: /zip}, deny: {request_type: [application/zip], answer_type: [a/b]}}
  - {name: large, match: {path: /zip/large}, deny: {request_size: 1KiB, request_type: ["*/*"]}}
  - {name: none, match: {path: /zip/none, method: PUT}, deny: {}}
  - {name: old, match: {host: old.example}, redirect: {to: "https://new.example", keep_path: true, status: 308}}
  - {name: ads, match: {host: ads.example}, respond: {status: 204}}
  - {name: last, match: {host: .example}, answer: {remove: [Server]}}
`

func TestExplainLooksIntoTunnels(t *testing.T) {
	p := explaining(t, glass)
	const no, out = "This request is not allowed here.", "direct 203.0.113.7"
	const opened = "allow name [decrypt glass opens the tunnel] inside "
	for _, c := range []struct {
		name string
		q    forward.Question
		want string
	}{
		{"opened", forward.Question{Connect: true, Method: "GET", Host: "a.example", Path: "/"}, opened + "allow name " + out + " open filters team,last"},
		{"opened, refused inside", forward.Question{Connect: true, Method: "POST", Host: "a.example", Path: "/upload"}, opened + "deny name uploads 403 " + no},
		{"refused inside, by another spelling", forward.Question{Connect: true, Method: "POST", Host: "a.example", Path: "/x/../%75pload?q"}, opened + "deny name uploads 403 " + no},
		{"observed inside", forward.Question{Connect: true, Method: "GET", Host: "a.example", Path: "/shadow", Addr: netip.MustParseAddr("192.0.2.1")}, opened + "observe address shadow " + out + " filters team,last"},
		{"refused inside by the address", forward.Question{Connect: true, Method: "GET", Host: "a.example", Path: "/", Addr: netip.MustParseAddr("10.0.0.1")}, opened + "deny address cellar 403 " + no + " filters team,last"},
		{"answered inside, whatever the address", forward.Question{Connect: true, Method: "GET", Host: "old.example", Path: "/a?b", Addr: netip.MustParseAddr("10.0.0.1")}, opened + "allow filter old 308 https://new.example/a?b filters team,old"},
		{"answered inside", forward.Question{Connect: true, Method: "GET", Host: "ads.example", Path: "/"}, opened + "allow filter ads 204 filters team,ads"},
		{"refused inside by a filter", forward.Question{Connect: true, Method: "PUT", Host: "a.example", Path: "/zip/none"}, opened + "deny filter none 403 " + no + " open filters team,zips,none"},
		{"alone", forward.Question{Connect: true, Method: "CONNECT", Host: "a.example"}, "allow name open [decrypt glass opens the tunnel]"},
		{"passed", forward.Question{Connect: true, Method: "POST", Host: "a.bank.example", Path: "/upload"}, "allow name " + out + " open [pass bank keeps the tunnel closed: POST /upload in it is not seen]"},
		{"passed, alone", forward.Question{Connect: true, Method: "CONNECT", Host: "a.bank.example"}, "allow name " + out + " open [pass bank keeps the tunnel closed]"},
		{"not spoken of", forward.Question{Connect: true, Method: "CONNECT", Host: "a.test"}, "allow name " + out + " open [pass no entry speaks of it, and the tunnel stays closed]"},
		{"not spoken of, by its port", forward.Question{Connect: true, Method: "GET", Host: "a.example", Port: 8443, Path: "/x"}, "allow name " + out + " open [pass no entry speaks of it, and the tunnel stays closed: GET /x in it is not seen]"},
		{"refused", forward.Question{Connect: true, Method: "GET", Host: "tracker.test", Path: "/"}, "deny name tracker 403 " + no},
		{"refused by the port", forward.Question{Connect: true, Method: "GET", Host: "a.example", Port: 25, Path: "/"}, "deny port connect_ports 403 CONNECT may not reach this port here."},
		{"refused by the address", forward.Question{Connect: true, Method: "GET", Host: "a.test", Path: "/", Addr: netip.MustParseAddr("10.0.0.1")}, "deny address cellar 403 " + no},
		{"no host", forward.Question{Connect: true, Method: "GET", Host: "1.2.3", Path: "/"}, "deny 400 An IPv4 address must be written as four decimal numbers with dots between them."},
		{"plain", forward.Question{Method: "GET", Host: "a.test", Path: "/zip/x"}, "allow name " + out + " open filters team,zips"},
		{"plain, by what is not known", forward.Question{Method: "GET", Host: "a.test", Path: "/zip/large"}, "allow name " + out + " open filters team,zips,large"},
		{"plain, by what a filter makes of it", forward.Question{Method: "GET", Host: "a.example", Path: "/typed"}, "deny filter typed 403 This kind of content is not allowed here. filters team,typed"},
		{"plain, redirected", forward.Question{Method: "GET", Host: "old.example", Path: "/"}, "allow filter old 308 https://new.example/ filters team,old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.q.Port == 0 {
				c.q.Port = 443
			}
			e := p.Explain(&c.q)
			if got := told(&e); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if inside := e.Inside; inside != nil && (len(inside.Rules) != 4 || strings.Contains(string(must[[]byte](t)(json.Marshal(inside))), "listen")) {
				t.Errorf("%+v", inside)
			}
		})
	}
}

// TestExplainNothingToOpen: without inspection a path is still asked for in vain.
func TestExplainNothingToOpen(t *testing.T) {
	p := explaining(t, "contact: me")
	for _, c := range []struct {
		q    forward.Question
		want string
	}{
		{forward.Question{Connect: true, Method: "CONNECT", Host: "a.test", Port: 443}, "allow name direct 203.0.113.7 open"},
		{forward.Question{Connect: true, Method: "PUT", Host: "a.test", Port: 443, Path: "/x"}, "allow name direct 203.0.113.7 open [pass the tunnel stays closed: PUT /x in it is not seen]"},
	} {
		if e := p.Explain(&c.q); told(&e) != c.want {
			t.Errorf("got  %s\nwant %s", told(&e), c.want)
		}
	}
}

func TestExplainCertificates(t *testing.T) {
	const certificates, users, rules = "tls: {cert: a, client_ca: b}\n", "users: users\ngroups: groups\n", "rules: [{name: ci, allow: {group: ci}}, {name: ann, allow: {user: ann}}]"
	for _, c := range []struct {
		name, yaml string
		user, want string
		open       string // "": nothing
	}{
		{"nobody, certificates alone", certificates, "", "deny auth auth 403 This proxy asks for a client certificate.", ""},
		{"somebody, certificates alone", certificates + rules, "ann", "allow name ann", "a client certificate of ann has groups of its own, which are not known here"},
		{"somebody in no known group", certificates + rules, "joe", "deny name default 403 No rule allows this request.", "a client certificate of joe has groups"},
		{"nobody, passwords as well", certificates + users + rules, "", "deny auth auth 407 This proxy asks for your user name and password.", ""},
		{"a user, passwords as well", certificates + users + rules, "joe", "allow name ci", "a client certificate of joe has groups"},
		{"no user, passwords as well", certificates + users + rules, "ann", "allow name ann", "a client certificate of ann has groups"},
		{"no user, passwords alone", users + rules, "ann", "deny auth auth 407 This user name and password are not known here.", ""},
		{"a user, passwords alone", users + rules, "joe", "allow name ci", ""},
		{"nobody, a service", "auth_url: http://127.0.0.1:1/", "", "deny auth auth 407 This proxy asks for your user name and password.", ""},
		{"somebody, a service", "auth_url: http://127.0.0.1:1/", "ann", "allow name", "the service that knows the users may put ann into groups"},
		{"somebody, a service or certificates", certificates + "auth_url: http://127.0.0.1:1/", "ann", "allow name", "into groups; a client certificate of ann"},
		{"nobody is asked", "rules: [{allow: {client: 10.0.0.0/8}}]", "ann", "deny name default 403 No rule allows this request.", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := explaining(t, c.yaml).Explain(&forward.Question{User: c.user, Method: "GET", Host: "192.0.2.1", Port: 80, Path: "/"})
			open := e.Open
			e.Open, e.Via, e.Egress = "", "", nil
			got := told(&e)
			if got != c.want || !strings.Contains(open, c.open) || (c.open == "") != (open == "") {
				t.Errorf("got %q, open %q", got, open)
			}
		})
	}
}

// TestExplainAsOften changes nothing in what a next question is answered.
func TestExplainAsOften(t *testing.T) {
	p := explaining(t, glass)
	q := forward.Question{Connect: true, Method: "GET", Host: "old.example", Port: 443, Path: "/a"}
	want := p.Explain(&q)
	for range 3 {
		if e := p.Explain(&q); told(&e) != told(&want) {
			t.Errorf("%s, then %s", told(&want), told(&e))
		}
	}
	plain := forward.Question{Method: "GET", Host: "old.example", Port: 80, Path: "/a"}
	if e := p.Explain(&plain); e.Says != "https://new.example/a" || e.Inside != nil || e.Inspect != nil {
		t.Errorf("%s", told(&e))
	}
}
