package auth_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"viaduct/auth"
)

func TestField(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct{ name, in, user, password, want string }{
		{"of RFC 7617 section 2", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame", "ok"},
		{"of RFC 7617 section 2.1", "Basic dGVzdDoxMjPCow==", "test", "123£", "ok"},
		{"lower case", "basic " + b64("a:b"), "a", "b", "ok"},
		{"odd case", "bAsIC " + b64("a:b"), "a", "b", "ok"},
		{"many spaces", "Basic    " + b64("a:b"), "a", "b", "ok"},
		{"colons in the password", "Basic " + b64("a:b:c::"), "a", "b:c::", "ok"},
		{"no password", "Basic " + b64("a:"), "a", "", "ok"},
		{"no user", "Basic " + b64(":b"), "", "b", "ok"},
		{"neither", "Basic " + b64(":"), "", "", "ok"},
		{"spaces inside", "Basic " + b64(" a b : c "), " a b ", " c ", "ok"},
		{"UTF-8", "Basic " + b64("jörg:пароль 🔑"), "jörg", "пароль 🔑", "ok"},
		{"Latin-1 password", "Basic " + b64("a:\xe9"), "a", "\xe9", "ok"},
		{"both alphabets' last letters", "Basic " + b64("a:\xff\xfe\xfb?>"), "a", "\xff\xfe\xfb?>", "ok"},
		{"longest", "Basic " + b64("a:"+strings.Repeat("x", 1022)), "a", strings.Repeat("x", 1022), "ok"},

		{"nothing", "", "", "", "missing"},
		{"bearer", "Bearer abc", "", "", "missing"},
		{"digest", `Digest username="joe", realm="x"`, "", "", "missing"},
		{"negotiate", "NTLM TlRMTVNTUAABAAAA", "", "", "missing"},
		{"begins alike", "Basically " + b64("a:b"), "", "", "missing"},
		{"begins alike, shorter", "Basi " + b64("a:b"), "", "", "missing"},
		{"another scheme alone", "Negotiate", "", "", "missing"},
		{"folds to it beyond ASCII", "Ba\u017fic " + b64("a:b"), "", "", "malformed"},

		{"scheme alone", "Basic", "", "", "malformed"},
		{"scheme and a space", "Basic ", "", "", "malformed"},
		{"spaces only", "   ", "", "", "malformed"},
		{"space first", " Basic " + b64("a:b"), "", "", "malformed"},
		{"tab between", "Basic\t" + b64("a:b"), "", "", "malformed"},
		{"tab behind the space", "Basic \t" + b64("a:b"), "", "", "malformed"},
		{"colon between", "Basic:" + b64("a:b"), "", "", "malformed"},
		{"no colon", "Basic " + b64("ab"), "", "", "malformed"},
		{"empty inside", "Basic =", "", "", "malformed"},
		{"not base64", "Basic !!!!", "", "", "malformed"},
		{"plain", "Basic a:b", "", "", "malformed"},
		{"no padding", "Basic YTpiYw", "", "", "malformed"},
		{"half the padding", "Basic YTpiYw=", "", "", "malformed"},
		{"too much padding", "Basic YTpi====", "", "", "malformed"},
		{"padding inside", "Basic YTpiYw==YTpi", "", "", "malformed"},
		{"bits behind the last byte", "Basic YTpiYx==", "", "", "malformed"},
		{"of URLs", "Basic " + base64.URLEncoding.EncodeToString([]byte("a:\xff\xfe\xfb?>")), "", "", "malformed"},
		{"space behind", "Basic " + b64("a:b") + " ", "", "", "malformed"},
		{"parameters", "Basic " + b64("a:b") + ", realm=x", "", "", "malformed"},
		{"two", "Basic " + b64("a:b") + " " + b64("c:d"), "", "", "malformed"},
		{"line end inside", "Basic YTpi\r\n", "", "", "malformed"},
		{"line end within", "Basic YT\npi", "", "", "malformed"},
		{"NUL behind", "Basic YTpi\x00", "", "", "malformed"},
		{"control in the user", "Basic " + b64("a\nb:c"), "", "", "malformed"},
		{"NUL in the user", "Basic " + b64("a\x00:c"), "", "", "malformed"},
		{"DEL in the user", "Basic " + b64("a\x7f:c"), "", "", "malformed"},
		{"C1 in the user", "Basic " + b64("a\u0085:c"), "", "", "malformed"},
		{"Latin-1 user", "Basic " + b64("\xe9:c"), "", "", "malformed"},
		{"control in the password", "Basic " + b64("a:b\rc"), "", "", "malformed"},

		{"too long", "Basic " + b64(strings.Repeat("x", 1027)), "", "", "wrong"},
		{"much too long", "Basic " + strings.Repeat("YTpi", 16<<10), "", "", "wrong"},
		{"too long and nothing", "Basic " + strings.Repeat("!", 64<<10), "", "", "wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked *auth.Credentials
			g := auth.NewGate(auth.Options{Verifier: &clerk{verify: func(_ context.Context, c *auth.Credentials) (*auth.Identity, error) {
				asked = c
				return &auth.Identity{User: "x"}, nil
			}}})
			_, err := g.Admit(t.Context(), addr("192.0.2.1"), []byte(tt.in))
			if got := verdict(err); got != tt.want || (asked != nil) != (tt.want == "ok") {
				t.Fatalf("%s (%v), want %s", got, asked, tt.want)
			}
			if asked != nil && (asked.User != tt.user || asked.Password != tt.password || asked.Scheme != "basic" || asked.Client != addr("192.0.2.1")) {
				t.Errorf("%+v", asked)
			}
		})
	}
}

func TestChallenge(t *testing.T) {
	g := auth.NewGate(auth.Options{Verifier: new(clerk)})
	if got := g.Challenge(); got != `Basic realm="viaduct", charset="UTF-8"` {
		t.Error(got)
	}
}

// naive reads a field as the RFCs say, letter by letter.
func naive(field string) (user, password, verdict string) {
	if field == "" {
		return "", "", "missing"
	}
	scheme, rest := field, ""
	for i := range len(field) {
		if field[i] == ' ' {
			scheme, rest = field[:i], field[i:]
			break
		}
	}
	lower := ""
	for i := range len(scheme) {
		switch c := scheme[i]; {
		case c >= 'A' && c <= 'Z':
			lower += string(rune(c + 'a' - 'A'))
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
			lower += string(rune(c))
		default:
			return "", "", "malformed"
		}
	}
	for rest != "" && rest[0] == ' ' {
		rest = rest[1:]
	}
	switch {
	case scheme == "":
		return "", "", "malformed"
	case lower != "basic":
		return "", "", "missing"
	case rest == "":
		return "", "", "malformed"
	case len(rest) > 1368:
		return "", "", "wrong"
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	bits, held, plain := 0, 0, ""
	signs := strings.TrimRight(rest, "=")
	for i := range len(signs) {
		n := strings.IndexByte(alphabet, signs[i])
		if n < 0 {
			return "", "", "malformed"
		}
		bits, held = bits<<6|n, held+6
		if held >= 8 {
			held -= 8
			plain += string([]byte{byte(bits >> held)})
			bits &= 1<<held - 1
		}
	}
	if len(rest)%4 != 0 || len(rest)-len(signs) != (4-len(signs)%4)%4 || len(signs)%4 == 1 || bits != 0 {
		return "", "", "malformed"
	}
	i := strings.Index(plain, ":")
	if i < 0 {
		return "", "", "malformed"
	}
	for _, c := range []byte(plain) {
		if c < 32 || c == 127 {
			return "", "", "malformed"
		}
	}
	for _, r := range plain[:i] {
		if unicode.IsControl(r) {
			return "", "", "malformed"
		}
	}
	if !utf8.ValidString(plain[:i]) {
		return "", "", "malformed"
	}
	return plain[:i], plain[i+1:], "ok"
}

func FuzzField(f *testing.F) {
	for _, s := range []string{
		"", "Basic", "Basic ", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "basic  YTpi", "Bearer x", "Basic YTpiYw", "Basic YTpiYx==", "Basic YTpi\n",
		"Basic /////zo=", "Digest a=\"b\"", "Ba\u017fic YTpi", "Basic\tYTpi", "Basic Og==", "Basic YQpiOmM=",
	} {
		f.Add(s, []byte("a:b"))
	}
	f.Fuzz(func(t *testing.T, text string, plain []byte) {
		if len(text)+len(plain) > 4*auth.Longest {
			return
		}
		for _, text := range []string{text, "Basic " + text, "Basic " + base64.StdEncoding.EncodeToString(plain)} {
			u, p, want := naive(text)
			user, password, err := auth.ReadField([]byte(text))
			if user != u || password != p || verdict(err) != want {
				t.Errorf("%q: %q %q %v, want %q %q %s", text, user, password, err, u, p, want)
			}
		}
	})
}
