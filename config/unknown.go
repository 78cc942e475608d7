package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// notYet are keys of the product that this version does not serve.
const notYet = " pools reverse registry users users_file auth rules allow deny report_only route via upstream balance" +
	" tls tls_cert tls_key tls_client_ca inspect ca pac rate_limit bandwidth "

// synonyms are keys of other programs, with ours.
const synonyms = " address=listen bind=listen port=listen dns=resolver token=token_file "

// find finds the option of a key among those of a section, or says what to write
// instead.
func (r *reader) find(section []field, key *yaml.Node, path string) (f field, text string) {
	switch {
	case key.Kind != yaml.ScalarNode || isNull(key):
		return f, "a key is one word: write key: value"
	case key.Tag == "!!merge":
		return f, "merge keys (<<) are not served: write out the keys that are meant"
	}
	if i := slices.IndexFunc(section, func(f field) bool { return f.key == key.Value }); i >= 0 {
		return section[i], ""
	}
	if r.homes == nil {
		r.homes = homes()
	}
	return f, fmt.Sprintf("unknown key %s%s: %s", quote(key.Value), in(path), r.meant(section, key.Value))
}

// in names a section.
func in(path string) string {
	if path == "" {
		return " at the top level"
	}
	return " in " + path
}

// meant says what to do about a key that the section with these options does not
// have.
func (r *reader) meant(section []field, key string) string {
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	keys := make([]string, len(section))
	for i := range section {
		keys[i] = section[i].key
	}
	_, same, _ := strings.Cut(synonyms, " "+key+"=")
	same, _, _ = strings.Cut(same, " ")
	same = cmp.Or(same, key)
	switch best := Nearest(key, keys); {
	case slices.Contains(keys, same):
		return fmt.Sprintf("did you mean %q?", same)
	case strings.Contains(notYet, " "+key+" "):
		return "it is not served by this version, take it out"
	case r.homes[same] != nil:
		return strings.TrimSuffix("it belongs "+strings.Join(r.homes[same], ", or ")+" as "+same, " as "+key)
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "write one of " + strings.Join(keys, ", ")
}

// homes are the places of each option, by its key and by the name of its flag.
func homes() map[string][]string {
	m := map[string][]string{}
	walk(reflect.ValueOf(Default()).Elem(), "", func(f field, _ reflect.Value, path string) {
		home := "at the top level"
		if section := above(path); section != "" {
			home = "under " + strings.ReplaceAll(section, "[0]", "[]")
		}
		m[f.key] = append(m[f.key], home)
		if flag := strings.ReplaceAll(f.flag, "-", "_"); flag != "" && flag != f.key {
			m[flag] = append(m[flag], home+" as "+f.key)
		}
	})
	return m
}

// Nearest is the word that is the fewest slips of the hand from s, if they are
// few for its length; "" when there is none.
func Nearest(s string, words []string) string {
	best, least := "", 2+len(s)/3
	for _, w := range words {
		if len(s) < 2*len(w) && slips(s, w) < least {
			best, least = w, slips(s, w)
		}
	}
	return best
}

// slips counts letters that are missing, too many or wrong between a and b.
func slips(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
