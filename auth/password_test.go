package auth_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"viaduct/auth"
)

func TestPlaceOfAPassword(t *testing.T) {
	for _, tt := range []struct{ name, file, user, want string }{ // * is the new hash
		{"new file", "", "joe", "joe:*\n"},
		{"BOM only", "\ufeff", "joe", "\ufeffjoe:*\n"},
		{"added", "jane:" + horse + "\n", "joe", "jane:" + horse + "\njoe:*\n"},
		{"added behind a line without end", "jane:" + horse, "joe", "jane:" + horse + "\njoe:*\n"},
		{"added behind CRLF", "jane:" + horse + "\r\n", "joe", "jane:" + horse + "\r\njoe:*\n"},
		{"changed", "a:1\njoe:" + horse + "\nb:2\n", "joe", "a:1\njoe:*\nb:2\n"},
		{"changed, first", "joe:old\nb:2", "joe", "joe:*\nb:2"},
		{"changed, last without end", "a:1\njoe:old", "joe", "a:1\njoe:*"},
		{"changed, CRLF", "a:1\r\njoe:old\r\nb:2\r\n", "joe", "a:1\r\njoe:*\r\nb:2\r\n"},
		{"changed behind BOM", "\ufeffjoe:old\n", "joe", "\ufeffjoe:*\n"},
		{"changed between white space", "\t joe:old \t\n", "joe", "\t joe:* \t\n"},
		{"changed before a comment", "joe:old:Joe Doe\n", "joe", "joe:*:Joe Doe\n"},
		{"changed from nothing", "joe:\n", "joe", "joe:*\n"},
		{"changed from nothing with a comment", "joe::x\n", "joe", "joe:*:x\n"},
		{"in a comment", "# joe:old\n#joe:old\n", "joe", "# joe:old\n#joe:old\njoe:*\n"},
		{"of another case", "Joe:old\n", "joe", "Joe:old\njoe:*\n"},
		{"the beginning of another", "joey:old\nxjoe:old\n", "joe", "joey:old\nxjoe:old\njoe:*\n"},
		{"rubbish stays", "no colon\njoe:old\n:::\n\x00\xff\n\n\n", "joe", "no colon\njoe:*\n:::\n\x00\xff\n\n\n"},
		{"blank lines", "\n\n\njoe:old\n\n", "joe", "\n\n\njoe:*\n\n"},
		{"with spaces", "joe doe:old\n", "joe doe", "joe doe:*\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			was := strings.Clone(tt.file)
			got, err := auth.Place([]byte(tt.file), tt.user, plus)
			if err != nil || tt.file != was || string(got) != strings.Replace(tt.want, "*", plus, 1) {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestSetPasswordHashesByBcrypt(t *testing.T) {
	got, err := auth.SetPassword([]byte("# x\njoe:old:Joe\n"), "joe", "пароль 1")
	if err != nil {
		t.Fatal(err)
	}
	hash, ok := strings.CutPrefix(string(got), "# x\njoe:")
	hash, ok2 := strings.CutSuffix(hash, ":Joe\n")
	if cost, err := bcrypt.Cost([]byte(hash)); !ok || !ok2 || err != nil || cost < 10 {
		t.Fatalf("%q: cost %d, %v", got, cost, err)
	}
	matches, wrong := auth.Hash(hash)
	if wrong != "" || !matches("пароль 1") || matches("") {
		t.Errorf("%s", wrong)
	}
}

func TestSetPasswordRefuses(t *testing.T) {
	for _, tt := range []struct{ name, file, user, password, says string }{
		{"no name", "", "", "x", "the user has no name"},
		{"colon", "", "a:b", "x", `user "a:b" has a colon`},
		{"line end", "", "a\nb", "x", `user "a\nb" has a control character`},
		{"NUL", "", "a\x00", "x", "control character"},
		{"C1", "", "a\u0085", "x", "control character"},
		{"not UTF-8", "", "a\xff", "x", "not UTF-8"},
		{"comment", "", "#a", "x", "would be a comment"},
		{"BOM", "", "\ufeffa", "x", "would be a comment, or no line"},
		{"space first", "", " a", "x", "a space at an end"},
		{"space last", "", "a ", "x", "a space at an end"},
		{"long", "", strings.Repeat("ü", 128), "x", "256 bytes, 255 are the most"},
		{"no password", "", "a", "", "the password is empty"},
		{"long password", "", "a", strings.Repeat("x", 73), "73 bytes, but bcrypt looks at 72 only"},
		{"long in bytes", "", "a", strings.Repeat("ü", 37), "74 bytes"},
		{"control in the password", "", "a", "secret\tword", "control character"},
		{"password not UTF-8", "", "a", "secret\xff", "not UTF-8"},
		{"twice", "a:1\n\n#\n a:2\n", "a", "x", `user "a" is on lines 1 and 4`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := auth.SetPassword([]byte(tt.file), tt.user, tt.password)
			if err == nil || got != nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%q, %v, want %s", got, err, tt.says)
			}
			if len(tt.password) > 1 && strings.Contains(err.Error(), tt.password[:6]) {
				t.Errorf("tells the password: %v", err)
			}
		})
	}
	for _, password := range []string{strings.Repeat("x", 72), " ", " x ", "a:b", "#", strings.Repeat("ü", 36)} {
		text, err := auth.SetPassword(nil, "joe", password)
		if err != nil {
			t.Errorf("%q: %v", password, err)
			continue
		}
		if _, err := users(t, string(text), "").Verify(t.Context(), &auth.Credentials{User: "joe", Password: password}); err != nil {
			t.Errorf("%q: %v", password, err)
		}
	}
}

// FuzzSetPassword: whatever the file, one user is changed or added and nothing
// else, and a file that could be read can be read.
func FuzzSetPassword(f *testing.F) {
	f.Add("a:"+horse+"\nb:"+plus, "b")
	f.Add("\ufeff joe:"+horse+":x\r\n\r\n", "joe")
	f.Add("# x\n\n\xff\r\r\nb: :", "b")
	f.Fuzz(func(t *testing.T, file, user string) {
		const hash = "{SSHA}Ki+Q9Ri8Nn2QN1jUbcaqfsgK/pJOYUNs" // correct horse
		if auth.CheckUser(user) != nil {
			return
		}
		got, err := auth.Place([]byte(file), user, hash)
		if err != nil {
			if !utf8.ValidString(err.Error()) {
				t.Errorf("%q", err)
			}
			return
		}
		old, _ := auth.ParseUsers([]byte(file), nil)
		u, err := auth.ParseUsers(got, nil)
		if err != nil {
			if old != nil {
				t.Errorf("%v, which was none before", err)
			}
			return
		}
		if _, err := u.Verify(t.Context(), &auth.Credentials{User: user, Password: "correct horse"}); err != nil {
			t.Errorf("%q, %q in %q: %v", file, user, got, err)
		}
		if old == nil {
			return
		}
		_, there := old.Identity(user)
		if there && u.Len() != old.Len() || !there && u.Len() != old.Len()+1 {
			t.Errorf("%d users became %d", old.Len(), u.Len())
		}
		again, err := auth.Place(got, user, hash)
		if err != nil || string(again) != string(got) {
			t.Errorf("%q, once more %q: %v", got, again, err)
		}
	})
}

func TestBcryptSeesNoMoreThan72Bytes(t *testing.T) {
	long := strings.Repeat("p", 72)
	file, err := auth.SetPassword(nil, "alice", long)
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.ParseUsers(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for password, right := range map[string]bool{long: true, long + "x": false, long[1:]: false} {
		_, err := users.Verify(t.Context(), &auth.Credentials{Scheme: "basic", User: "alice", Password: password})
		if (err == nil) != right {
			t.Errorf("%d bytes: %v", len(password), err)
		}
	}
}
