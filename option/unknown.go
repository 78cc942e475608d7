package option

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

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
	same, _, _ := strings.Cut(cmp.Or(r.form.synonym(key), key), ",")
	near := r.form.among(section, key, 1)
	switch {
	case near != "":
		return near
	case strings.Contains(r.form.NotYet, " "+key+" "):
		return "it is not served by this version, take it out"
	case r.homes[same] != nil:
		return strings.TrimSuffix("it belongs "+strings.Join(r.homes[same][:min(2, len(r.homes[same]))], ", or ")+" as "+same, " as "+key)
	}
	return r.form.meant(section, key)
}

// meant says which of these options was meant, or which there are.
func (f Form) meant(section []field, key string) string {
	if near := f.among(section, key, len(key)); near != "" {
		return near
	}
	return "write one of " + strings.Join(keys(section), ", ")
}

// among asks whether one of these options was meant by a word of other
// programs, or by so many slips of the hand. It is empty when none was.
func (f Form) among(section []field, key string, most int) string {
	known := keys(section)
	same := slices.DeleteFunc(append(strings.Split(f.synonym(key), ","), key), func(s string) bool { return !slices.Contains(known, s) })
	if best := Nearest(key, known); len(same) == 0 && best != "" && slips(key, best) <= most {
		same = []string{best}
	}
	if len(same) == 0 {
		return ""
	}
	return `did you mean "` + strings.Join(same, `" or "`) + `"?`
}

// synonym lists what a word of other programs may be here.
func (f Form) synonym(key string) string {
	_, same, _ := strings.Cut(f.Synonyms, " "+key+"=")
	same, _, _ = strings.Cut(same, " ")
	return same
}

// offered are the options of a section that the tag oneof of f names, or all.
func (f field) offered(section []field) []field {
	return slices.DeleteFunc(slices.Clone(section), func(o field) bool { return len(f.oneof) > 0 && !slices.Contains(f.oneof, o.key) })
}

func keys(section []field) (all []string) {
	for i := range section {
		all = append(all, section[i].key)
	}
	return all
}

// homes are the places of each option, by its key and by the name of its flag.
func homes(root reflect.Type) map[string][]string {
	m := map[string][]string{}
	walk(everything(root), "", func(f field, _ reflect.Value, path string) {
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
