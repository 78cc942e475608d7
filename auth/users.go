package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/tg123/go-htpasswd"
)

// LineError is a mistake in a file of users or groups.
type LineError struct {
	Groups bool // in the file of groups, not in that of users
	Line   int  // from 1; 0 is the file as a whole
	Text   string
}

func (e *LineError) Error() string {
	file := "users"
	if e.Groups {
		file = "groups"
	}
	if e.Line == 0 {
		return file + ": " + e.Text
	}
	return fmt.Sprintf("%s line %d: %s", file, e.Line, e.Text)
}

// Users are those of an htpasswd file. Immutable; a Verifier.
type Users struct {
	byName map[string]*user
	all    []*user
	secret [sha256.Size]byte // chooses decoys; the same as long as the file is

	groups    map[string]struct{} // that have a user
	strangers []string            // in groups, and not among the users
}

type user struct {
	id   Identity
	hash htpasswd.EncodedPasswd
	line int
}

// ParseUsers reads an htpasswd file, and a group file as Apache has it ("group:
// user user"), which may be nil. Who is in a group but not among the users is
// nobody here. The error is a *LineError and tells no hash.
func ParseUsers(text, groups []byte) (*Users, error) {
	u := &Users{byName: make(map[string]*user), groups: make(map[string]struct{}), secret: sha256.Sum256(text)}
	for n, line := range lines(text) {
		if wrong := u.add(n, line); wrong != "" {
			return nil, &LineError{Line: n, Text: wrong}
		}
	}
	if len(u.all) == 0 {
		return nil, &LineError{Text: "there are none: add one with viaduct passwd FILE USER"}
	}
	for n, line := range lines(groups) {
		if wrong := u.join(line); wrong != "" {
			return nil, &LineError{Groups: true, Line: n, Text: wrong}
		}
	}
	for _, who := range u.all {
		who.id.Groups = sorted(who.id.Groups)
	}
	return u, nil
}

// lines are those of a file with something on them, by their number. A comment
// is nothing.
func lines(text []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range bytes.SplitSeq(bytes.TrimPrefix(text, []byte(byteOrderMark)), []byte("\n")) {
			n++
			s := string(bytes.Trim(line, blank))
			if s != "" && s[0] != '#' && !yield(n, s) {
				return
			}
		}
	}
}

const (
	byteOrderMark = "\ufeff"
	blank         = " \t\r"
)

// add takes a user in, and says what is wrong with the line.
func (u *Users) add(n int, line string) string {
	name, rest, found := strings.Cut(line, ":")
	if !found {
		return "there is no colon between a user and a password: write the line with viaduct passwd FILE USER"
	}
	if err := CheckUser(name); err != nil {
		return err.Error()
	}
	text, _, _ := strings.Cut(rest, ":") // Apache, too, takes what follows for a comment
	hash, wrong := readHash(text)
	if wrong != "" {
		return wrong
	}
	if first := u.byName[name]; first != nil {
		return fmt.Sprintf("user %q is on line %d already: take one of them out", name, first.line)
	}
	who := &user{id: Identity{User: name, proof: sha256.Sum256([]byte(text)), lasting: true}, hash: hash, line: n}
	u.byName[name] = who
	u.all = append(u.all, who)
	return ""
}

// join puts users into a group, and says what is wrong with the line.
func (u *Users) join(line string) string {
	group, members, found := strings.Cut(line, ":")
	group = strings.Trim(group, blank)
	switch {
	case !found:
		return "there is no colon behind the group: write group: user user"
	case group == "":
		return "the group has no name: write group: user user"
	case !isText(group), !isText(strings.ReplaceAll(members, "\t", " ")):
		return "there is a control character, or something that is not UTF-8"
	}
	for name := range strings.FieldsFuncSeq(members, func(r rune) bool { return strings.ContainsRune(blank, r) }) {
		if u.byName[name] != nil {
			u.enter(name, group)
			continue
		}
		for part := range strings.SplitSeq(name, ",") { // as other programs write lists
			u.enter(part, group)
		}
	}
	return ""
}

func (u *Users) enter(name, group string) {
	switch who := u.byName[name]; {
	case who != nil:
		who.id.Groups = append(who.id.Groups, group)
		u.groups[group] = struct{}{}
	case name != "":
		u.strangers = append(u.strangers, name)
	}
}

// HasGroup tells whether somebody is in a group.
func (u *Users) HasGroup(name string) bool {
	_, ok := u.groups[name]
	return ok
}

// Strangers are the names in groups that no user has, in order and as often as
// they stand there.
func (u *Users) Strangers() []string { return u.strangers }

func sorted(groups []string) []string {
	slices.Sort(groups)
	return slices.Compact(groups)
}

// Len is how many users there are.
func (u *Users) Len() int { return len(u.all) }

// Identity is what a user of the file is known as.
func (u *Users) Identity(name string) (*Identity, bool) {
	who := u.byName[name]
	if who == nil {
		return nil, false
	}
	return &who.id, true
}

// Verify compares the password with the user's hash. For somebody who is not in
// the file it compares with another's, so that it takes as long.
func (u *Users) Verify(_ context.Context, c *Credentials) (*Identity, error) {
	who, known := u.byName[c.User]
	if !known {
		who = u.decoy(c.User)
	}
	if right := who.hash.MatchesPassword(c.Password); !right || !known {
		return nil, ErrWrong
	}
	return &who.id, nil
}

// decoy is the user who is asked in place of one that there is not: always the
// same for a name. Where hashes differ in cost, those who are not in the file
// take as long as those who are, some this long and some that.
func (u *Users) decoy(name string) *user {
	sum := sha256.Sum256(append(u.secret[:len(u.secret):len(u.secret)], name...))
	return u.all[binary.BigEndian.Uint64(sum[:])%uint64(len(u.all))]
}

// Still says whether the user's hash is the one that was verified.
func (u *Users) Still(id *Identity) (*Identity, bool) {
	if id == nil {
		return nil, false
	}
	who := u.byName[id.User]
	if who == nil || who.id.proof != id.proof {
		return nil, false
	}
	return &who.id, true
}
