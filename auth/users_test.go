package auth_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"viaduct/auth"
)

// hashes are those of a password by the tools that are in use.
var hashes = []struct{ name, hash, password string }{
	{"htpasswd -B", "$2y$05$WVYWP1uFj4nUas8kLVG8BukAzIQ.MW61G/1f5q6Dlg1Qik3GuejQ.", "correct horse"},
	{"crypt 2b, UTF-8", "$2b$04$abcdefghijklmnopqrstuuukcFUuF1uD2.SsVXl2Kxf7oTFxL3IEq", "grüße"},
	{"openssl -apr1", "$apr1$saltsalt$EGVZDNN6gOqijy.tv9axG/", "correct horse"},
	{"htpasswd -m, UTF-8", "$apr1$iIJk9T7h$PobJg0sIPwwHgTBOcga4K.", "grüße"},
	{"openssl -1", "$1$abc$mEYYKBYwc4Odg5SoPgnFr/", "correct horse"},
	{"openssl -5", "$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC", "correct horse"},
	{"htpasswd -5", "$5$t1fIxBs2osurx14Q$EJeV5UH73pRvSGXumVGjq5RFR2JuRuX4qI8hfuOoxe/", "x"},
	{"crypt 5 with rounds", "$5$rounds=1000$mysalt$f/i4NVrYHAz60hntLqwywskmqrKTiqn4U4wiR5cc07.", "correct horse"},
	{"openssl -6", "$6$saltstring$.r0X7ub5wGR2v4Xz7svCIozfnlorFh19V89t8KC9Umd81uGhFgsyTRNyzQDXDIm17fFcR9z3z7oBNdsyYBbtm/", "correct horse"},
	{"htpasswd -6", "$6$6NAtSS.Onp0p6B7I$hYzG4MAsltJj.HemNiVhPlS.Zyy2POlSygmfr7thgTO/7RRrqD6xEEmOUxeUqLQX8EsK34FlfKpMsO06nCOQe.", "x"},
	{"crypt 6 with rounds", "$6$rounds=1234$mysalt$xNNTTUadB/LH5NetcqTWrZZr/Gua/dDy1F51.ZjlUuCy..joaCnNQwwuSCcGOqW2j5HrjajgFCbTDaqMsAtvu/", "correct horse"},
	{"of the paper on SHA-crypt", "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.", "Hello world!"},
	{"htpasswd -s", "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=", "correct horse"},
	{"salted", "{SSHA}Ki+Q9Ri8Nn2QN1jUbcaqfsgK/pJOYUNs", "correct horse"},
}

func TestEveryScheme(t *testing.T) {
	all := hashes
	b, err := bcrypt.GenerateFromPassword([]byte("made here"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, struct{ name, hash, password string }{"bcrypt of the library", string(b), "made here"})
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			u := users(t, "joe:"+tt.hash, "")
			for password, want := range map[string]bool{
				tt.password: true, "": false, tt.password + " ": false, tt.password[1:]: false, tt.hash: false,
				strings.ToUpper(tt.password) + "!": false, strings.Repeat("long ", 200): false,
			} {
				id, err := u.Verify(t.Context(), &auth.Credentials{User: "joe", Password: password})
				if want && (err != nil || id.User != "joe") || !want && (!errors.Is(err, auth.ErrWrong) || id != nil) {
					t.Errorf("%q: %v, %v", password, id, err)
				}
			}
			for _, name := range []string{"", "Joe", "joe ", "jo", "joe:", "jane"} {
				if _, err := u.Verify(t.Context(), &auth.Credentials{User: name, Password: tt.password}); !errors.Is(err, auth.ErrWrong) {
					t.Errorf("%q: %v", name, err)
				}
			}
		})
	}
}

// with is the hash of a scheme with something else in its place.
func with(i int, old, text string) string { return strings.Replace(hashes[i].hash, old, text, 1) }

func TestHashesThatAreNotTaken(t *testing.T) {
	const bc, apr, sha5, sha6, sha, ssha = 0, 2, 7, 8, 12, 13
	for _, tt := range []struct{ name, hash, says string }{
		{"none", "", "there is no password"},
		{"plain", "hunter2", "plain text"},
		{"plain that looks like nothing", "a b c", "plain text"},
		{"DES", "N9GssQJlSJvxc", "plain text, or as DES crypt"},
		{"DES of BSD", "_J9..rasmBYk8r9AiWNc", "plain text, or as DES"},
		{"of nginx", "{PLAIN}hunter2", "none of bcrypt"},
		{"lower case", "{sha}L55TUjtiq8FBorTWAZ0jy6g129A=", "none of bcrypt"},
		{"yescrypt", "$y$j9T$abcdefgh$4mqd6JVlUo/.JMgenptcdPqIowfqDPoC9lSyWQhPMf1", "none of bcrypt"},
		{"argon2", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "none of bcrypt"},
		{"bcrypt with the bug", with(bc, "$2y$", "$2x$"), "none of bcrypt"},
		{"bcrypt of old", with(bc, "$2y$", "$2$"), "none of bcrypt"},
		{"bcrypt cut", hashes[bc].hash[:59], "cut or changed"},
		{"bcrypt with more", hashes[bc].hash + "x", "cut or changed"},
		{"bcrypt with a space", hashes[bc].hash[:40] + " " + hashes[bc].hash[41:], "cut or changed"},
		{"bcrypt too dear", with(bc, "$05$", "$21$"), "a cost of 21"},
		{"bcrypt of years", with(bc, "$05$", "$31$"), "a cost of 31"},
		{"bcrypt beyond", with(bc, "$05$", "$99$"), "a cost of 99"},
		{"bcrypt too cheap", with(bc, "$05$", "$03$"), "a cost of 03"},
		{"bcrypt with a cost of no number", with(bc, "$05$", "$a5$"), "cut or changed"},
		{"bcrypt with a short cost", with(bc, "$05$", "$5$"), "cut or changed"},
		{"md5 without salt", "$apr1$" + hashes[apr].hash[15:], "cut or changed"},
		{"md5 with an empty salt", with(apr, "saltsalt", ""), "cut or changed"},
		{"md5 with a long salt", with(apr, "saltsalt", "saltsalts"), "cut or changed"},
		{"md5 cut", hashes[apr].hash[:30], "cut or changed"},
		{"md5 prefix", "$1$", "cut or changed"},
		{"sha-crypt prefix", "$6$", "cut or changed"},
		{"sha-crypt without salt", "$6$$" + hashes[sha6].hash[14:], "cut or changed"},
		{"sha-crypt cut", hashes[sha6].hash[:90], "cut or changed"},
		{"sha-crypt of the other length", with(sha5, "$5$", "$6$"), "cut or changed"},
		{"rounds of no number", with(sha5, "rounds=1000", "rounds=x"), "cut or changed"},
		{"rounds of nothing", with(sha5, "rounds=1000", "rounds="), "cut or changed"},
		{"rounds below zero", with(sha5, "rounds=1000", "rounds=-1"), "cut or changed"},
		{"rounds with a zero first", with(sha5, "rounds=1000", "rounds=01000"), "cut or changed"},
		{"rounds without salt", "$5$rounds=1000$" + hashes[sha5].hash[22:], "cut or changed"},
		{"rounds for a salt", with(sha5, "$mysalt$", "$"), "cut or changed"},
		{"rounds for a salt again", with(sha5, "$mysalt$", "$rounds=5$"), "cut or changed"},
		{"too few rounds", with(sha5, "rounds=1000", "rounds=999"), "with 999 rounds"},
		{"too many rounds", with(sha5, "rounds=1000", "rounds=10000001"), "with 10000001 rounds"},
		{"the most rounds there are", with(sha5, "rounds=1000", "rounds=999999999"), "with 999999999 rounds"},
		{"rounds beyond numbers", with(sha5, "rounds=1000", "rounds=99999999999999999999"), "cut or changed"},
		{"sha cut", hashes[sha].hash[:20], "cut or changed"},
		{"sha of nothing", "{SHA}", "cut or changed"},
		{"ssha of nothing", "{SSHA}", "cut or changed"},
		{"ssha without salt", "{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A=", "cut or changed"},
		{"ssha with a long salt", "{SSHA}" + strings.Repeat("AAAA", 29), "cut or changed"},
		{"ssha with odd padding", hashes[ssha].hash + "=", "cut or changed"},
		{"ssha with bits behind", "{SSHA}" + strings.Repeat("A", 29) + "B==", "cut or changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := auth.ParseUsers([]byte("# users\n\njoe:"+tt.hash), nil)
			e, ok := errors.AsType[*auth.LineError](err)
			if !ok || e.Line != 3 || e.Groups || !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "users line 3: ") {
				t.Fatalf("%v, want line 3 and %q", err, tt.says)
			}
			if !strings.Contains(err.Error(), "viaduct passwd") {
				t.Errorf("does not tell what to do: %v", err)
			}
			if len(tt.hash) > 6 && strings.Contains(err.Error(), tt.hash[3:]) || len(tt.hash) > 20 && strings.Contains(err.Error(), tt.hash[len(tt.hash)-10:]) {
				t.Errorf("tells the hash: %v", err)
			}
		})
	}
}

const (
	horse = "$1$abc$mEYYKBYwc4Odg5SoPgnFr/" // correct horse
	plus  = "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A="
)

func TestUsersFile(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string // users, or what is wrong
	}{
		{"one", "joe:" + horse, []string{"joe"}},
		{"two", "joe:" + horse + "\njane:" + plus + "\n", []string{"jane", "joe"}},
		{"comments and blank lines", "# a: b\n\n  \t\n #c\njoe:" + horse + "\n\n", []string{"joe"}},
		{"CRLF", "joe:" + horse + "\r\njane:" + plus + "\r\n", []string{"jane", "joe"}},
		{"BOM", "\ufeffjoe:" + horse, []string{"joe"}},
		{"BOM and a comment", "\ufeff# x\njoe:" + horse, []string{"joe"}},
		{"white space around", "  joe:" + horse + " \t\n", []string{"joe"}},
		{"more behind the hash", "joe:" + horse + ":Joe Doe:x@example.com", []string{"joe"}},
		{"space and letters", "joe doe:" + horse + "\nпётр:" + horse + "\na@b/c:" + horse, []string{"a@b/c", "joe doe", "пётр"}},
		{"letter case", "joe:" + horse + "\nJoe:" + horse, []string{"Joe", "joe"}},
		{"empty", "", []string{"users: there are none"}},
		{"comments only", "# nobody\n\n", []string{"users: there are none"}},
		{"BOM only", "\ufeff", []string{"users: there are none"}},
		{"no colon", "joe:" + horse + "\njane\n", []string{"users line 2: there is no colon"}},
		{"no name", ":" + horse, []string{"users line 1: the user has no name"}},
		{"name of space", " :" + horse, []string{"users line 1: the user has no name"}},
		{"space behind the name", "joe :" + horse, []string{"users line 1: user \"joe \" has a space"}},
		{"twice", "joe:" + horse + "\n#\njoe:" + plus, []string{`users line 3: user "joe" is on line 1 already`}},
		{"control", "jo\x01e:" + horse, []string{"users line 1: user \"jo\\x01e\" has a control character"}},
		{"tab", "jo\te:" + horse, []string{"has a control character"}},
		{"CR alone", "joe:" + horse + "\rjane:" + horse, []string{"cut or changed"}},
		{"not UTF-8", "jo\xe9:" + horse, []string{"not UTF-8"}},
		{"long", strings.Repeat("x", 256) + ":" + horse, []string{"256 bytes, 255 are the most"}},
		{"binary", "\x00\x01\x02\x03", []string{"users line 1: there is no colon"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := auth.ParseUsers([]byte(tt.text), nil)
			if err != nil {
				if len(tt.want) != 1 || !strings.Contains(err.Error(), tt.want[0]) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				return
			}
			if u.Len() != len(tt.want) {
				t.Errorf("%d users, want %v", u.Len(), tt.want)
			}
			for _, name := range tt.want {
				if id, ok := u.Identity(name); !ok || id.User != name || len(id.Groups) != 0 {
					t.Errorf("%q: %v, %v", name, id, ok)
				}
			}
			if id, ok := u.Identity("nobody"); ok || id != nil {
				t.Error("somebody is nobody")
			}
		})
	}
}

func TestGroupsFile(t *testing.T) {
	const text = "joe:" + horse + "\njane:" + horse + "\nthe boss:" + horse
	for _, tt := range []struct {
		name, groups string
		want         map[string]string // or what is wrong
	}{
		{"none", "", map[string]string{"joe": "", "jane": ""}},
		{"two", "ci: joe\nops: joe jane\n", map[string]string{"joe": "ci ops", "jane": "ops"}},
		{"sorted, each once", "z: joe joe\na: joe\nz: joe jane", map[string]string{"joe": "a z", "jane": "z"}},
		{"comments, blanks, CRLF, BOM", "\ufeff# x: joe\r\n\r\n  ci :\tjoe\t jane \r\n", map[string]string{"joe": "ci", "jane": "ci"}},
		{"others, who are nobody here", "ci: root joe admin", map[string]string{"joe": "ci", "root": ""}},
		{"empty group", "ci:\nops: joe", map[string]string{"joe": "ops"}},
		{"colon in a member", "ci: a:b joe", map[string]string{"joe": "ci"}},
		{"letters", "büro eins: joe", map[string]string{"joe": "büro eins"}},
		{"no colon", "ci: joe\n#\nops joe", map[string]string{"groups line 3: there is no colon": ""}},
		{"no name", ": joe", map[string]string{"groups line 1: the group has no name": ""}},
		{"control", "c\x01i: joe", map[string]string{"groups line 1: there is a control character": ""}},
		{"tab in the name", "c\ti: joe", map[string]string{"groups line 1: there is a control character": ""}},
		{"not UTF-8", "ci: \xff", map[string]string{"groups line 1: there is a control character, or something that is not UTF-8": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := auth.ParseUsers([]byte(text), []byte(tt.groups))
			if err != nil {
				e, ok := errors.AsType[*auth.LineError](err)
				says := slices.Collect(maps.Keys(tt.want))[0]
				if !ok || !e.Groups || !strings.Contains(err.Error(), says) {
					t.Errorf("%v, want %v", err, says)
				}
				return
			}
			for name, want := range tt.want {
				id, ok := u.Identity(name)
				if ok != (name != "root") {
					t.Fatalf("%s: %v", name, ok)
				}
				if ok && strings.Join(id.Groups, " ") != want {
					t.Errorf("%s: %v, want %s", name, id.Groups, want)
				}
			}
		})
	}
}

// Whoever there is not costs the hash of somebody who there is: exactly one, and
// always the same, also when the file is read again.
func TestUnknownUserCostsOneHash(t *testing.T) {
	text, all := "", []string{}
	for i, h := range hashes[:12] {
		name := string(rune('a' + i))
		text += name + ":" + h.hash + "\n"
		all = append(all, name)
	}
	seen, first := make(map[string]int), make(map[string]string)
	for again := range 2 {
		u := users(t, text, "")
		var asked []string
		u.CountHashes(func(user string) { asked = append(asked, user) })
		for _, name := range append([]string{"", "nobody", "root", "A"}, strings.Split(strings.Repeat("x ", 60), " ")...) {
			name += strings.Repeat("'", len(seen)%17)
			asked = nil
			if _, err := u.Verify(t.Context(), &auth.Credentials{User: name, Password: "correct horse"}); !errors.Is(err, auth.ErrWrong) {
				t.Errorf("%q: %v", name, err)
			}
			if len(asked) != 1 || again == 1 && first[name] != "" && first[name] != asked[0] {
				t.Fatalf("%q costs %v", name, asked)
			}
			first[name] = asked[0]
			seen[asked[0]]++
		}
		for _, name := range all {
			asked = nil
			if _, err := u.Verify(t.Context(), &auth.Credentials{User: name, Password: "wrong"}); err == nil || len(asked) != 1 || asked[0] != name {
				t.Errorf("%s: %v, %v", name, err, asked)
			}
		}
	}
	if len(seen) < 2 {
		t.Errorf("all decoys are %v", seen)
	}
}

// What somebody was admitted by holds as long as the hash is the same.
func TestStill(t *testing.T) {
	old := users(t, "joe:"+horse+"\njane:"+horse, "ci: joe")
	joe, _ := old.Identity("joe")
	for _, tt := range []struct{ name, text, groups, want string }{
		{"same", "joe:" + horse, "ci: joe", "joe ci"},
		{"moved", "# x\nmia:" + plus + "\n  joe:" + horse + ":comment\r\n", "ci: joe", "joe ci"},
		{"other groups", "joe:" + horse, "ops: joe\nall: joe", "joe all ops"},
		{"no groups", "joe:" + horse, "", "joe "},
		{"other password", "joe:" + plus, "ci: joe", ""},
		{"gone", "jane:" + horse, "ci: joe", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, ok := users(t, tt.text, tt.groups).Still(joe)
			if ok != (tt.want != "") || ok && id.User+" "+strings.Join(id.Groups, " ") != tt.want {
				t.Errorf("%v %v, want %s", id, ok, tt.want)
			}
		})
	}
	for name, id := range map[string]*auth.Identity{"nobody": nil, "somebody else's": {User: "joe", Groups: []string{"ci"}}} {
		if _, ok := old.Still(id); ok {
			t.Errorf("%s is joe", name)
		}
	}
}

// FuzzUsers: no file breaks the reader or a library behind it, and no error
// tells a hash.
func FuzzUsers(f *testing.F) {
	for _, h := range hashes {
		f.Add("joe:"+h.hash+"\n", "ci: joe\n", "joe", h.password)
	}
	f.Add("\ufeff# x\r\njoe:$5$rounds=1000$$x:\n", "a:b\n:", "joe", "")
	f.Add("joe:$6$rounds=$$$\njoe:{SSHA}\n", "\xff: joe", "", "x")
	f.Fuzz(func(t *testing.T, text, groups, user, password string) {
		u, err := auth.ParseUsers([]byte(text), []byte(groups))
		if err != nil {
			for line := range strings.SplitSeq(text, "\n") {
				name, secret, _ := strings.Cut(line, ":")
				if len(secret) >= 30 && !strings.Contains(name, secret) && strings.Contains(err.Error(), secret) {
					t.Errorf("%v tells %q", err, secret)
				}
			}
			return
		}
		count := 0
		for line := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
			line = strings.Trim(line, " \t\r")
			if line == "" || line[0] == '#' {
				continue
			}
			count++
			name, _, _ := strings.Cut(line, ":")
			if id, ok := u.Identity(name); !ok || id.User != name {
				t.Errorf("%q is not there", name)
			} else if again, ok := u.Still(id); !ok || again != id {
				t.Errorf("%q is not still there", name)
			}
		}
		if count != u.Len() || count == 0 {
			t.Errorf("%d users on %d lines", u.Len(), count)
		}
		if strings.Contains(text, "$2") || strings.Contains(text, "rounds=") || len(password) > auth.Longest { // dear
			return
		}
		id, err := u.Verify(context.Background(), &auth.Credentials{User: user, Password: password})
		if (id == nil) == (err == nil) || err != nil && !errors.Is(err, auth.ErrWrong) || id != nil && id.User != user {
			t.Errorf("%v, %v", id, err)
		}
	})
}
