package auth

import (
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"

	"github.com/tg123/go-htpasswd"
)

// The most that a hash may cost: with 20 bcrypt takes a minute, and ten million
// rounds of SHA-crypt several seconds. More would be an outage.
const (
	mostCost   = 20
	mostRounds = 10_000_000
	longSalt   = 64 // of {SSHA}
)

// kinds are the hashes that are read, each with the form that all of them have.
// The library looks at their beginning only, and panics at some of the rest.
var kinds = []struct {
	prefix string
	form   *regexp.Regexp
	accept htpasswd.PasswdParser
}{
	{"$2a$", bcryptForm, htpasswd.AcceptBcrypt},
	{"$2b$", bcryptForm, htpasswd.AcceptBcrypt},
	{"$2y$", bcryptForm, htpasswd.AcceptBcrypt},
	{"$6$", regexp.MustCompile(`^\$6\$` + shaSalt + `[./0-9A-Za-z]{86}$`), htpasswd.AcceptCryptSha},
	{"$5$", regexp.MustCompile(`^\$5\$` + shaSalt + `[./0-9A-Za-z]{43}$`), htpasswd.AcceptCryptSha},
	{"$apr1$", md5Form, htpasswd.AcceptMd5},
	{"$1$", md5Form, htpasswd.AcceptMd5},
	{"{SHA}", regexp.MustCompile(`^\{SHA\}[+/0-9A-Za-z]{27}=$`), htpasswd.AcceptSha},
	{"{SSHA}", regexp.MustCompile(`^\{SSHA\}[+/0-9A-Za-z]+={0,2}$`), htpasswd.AcceptSsha},
}

var (
	bcryptForm = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./0-9A-Za-z]{53}$`)
	md5Form    = regexp.MustCompile(`^\$(?:apr1|1)\$[!-#%-9;-~]{1,8}\$[./0-9A-Za-z]{22}$`)
)

// shaSalt is the cost and the salt of SHA-crypt. A salt with an equals sign
// could be taken for a cost.
const shaSalt = `(?:rounds=([1-9][0-9]{0,8})\$)?[!-#%-9;<>-~]{1,16}\$`

// What a person can do about a hash that is not taken.
const setAnew = ": set the password anew with viaduct passwd FILE USER"

// readHash makes ready what a password is compared with, or says what is wrong
// with the hash, without telling it.
func readHash(text string) (htpasswd.EncodedPasswd, string) {
	if text == "" {
		return nil, "there is no password" + setAnew
	}
	for _, k := range kinds {
		if !strings.HasPrefix(text, k.prefix) {
			continue
		}
		m := k.form.FindStringSubmatch(text)
		if m == nil || k.prefix == "{SSHA}" && !isSalted(text[len(k.prefix):]) {
			return nil, "the hash begins with " + k.prefix + " and goes on as none does: it was cut or changed" + setAnew
		}
		if wrong := wrongCost(k.form == bcryptForm, m[1:]); wrong != "" {
			return nil, wrong
		}
		hash, err := k.accept(text)
		if err != nil || hash == nil { // it would tell the hash
			return nil, "the hash is malformed" + setAnew
		}
		if k.form == bcryptForm {
			hash = first72{hash}
		}
		return hash, ""
	}
	if text[0] == '$' || text[0] == '{' {
		return nil, "the hash is none of bcrypt ($2y$), SHA-crypt ($5$, $6$), MD5 ($apr1$, $1$), {SHA} and {SSHA}" + setAnew
	}
	return nil, "the password stands there in plain text, or as DES crypt, which is hardly better" + setAnew
}

// first72 is a bcrypt hash, which sees 72 bytes of a password and no more: what is
// longer would be right whatever its end is.
type first72 struct{ htpasswd.EncodedPasswd }

// MatchesPassword costs the same for all.
func (f first72) MatchesPassword(password string) bool {
	return f.EncodedPasswd.MatchesPassword(password) && len(password) <= 72
}

// wrongCost judges the cost of a hash, if its form has one.
func wrongCost(bcrypt bool, cost []string) string {
	if len(cost) == 0 || cost[0] == "" {
		return ""
	}
	n, _ := strconv.Atoi(cost[0]) // the form has digits, and few
	switch {
	case bcrypt && (n < 4 || n > mostCost):
		return "bcrypt with a cost of " + cost[0] + ", but 4 to " + strconv.Itoa(mostCost) + " are taken" + setAnew
	case !bcrypt && (n < 1000 || n > mostRounds):
		return "SHA-crypt with " + cost[0] + " rounds, but 1000 to " + strconv.Itoa(mostRounds) + " are taken" + setAnew
	}
	return ""
}

// isSalted tells whether it is a SHA-1 hash with its salt behind it.
func isSalted(encoded string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(encoded)
	return err == nil && len(b) > 20 && len(b) <= 20+longSalt
}
