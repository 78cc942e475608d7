package config

import (
	"strings"

	"viaduct/hop"
)

// reach tells of what no request reaches in a list of which one entry decides.
type reach struct {
	report
	last, why string // the entry that no request comes past
	told      bool
	byHosts   bool // also tell of entries whose hosts earlier ones have all
	// taken are hosts, and with a dot before them what is below one, with the entry
	// that no request for them comes past.
	taken map[string]string
}

// past goes past the entry at path, which ends every request for that reason.
func (r *reach) past(path, why string, ends bool) {
	switch {
	case r.last != "" && !r.told:
		r.Say(path, "", "is never reached: "+r.last+" before it "+r.why)
		r.told = true
	case r.last == "" && ends:
		r.last, r.why = r.Name(path), why
	}
}

// terms goes past the entry at path with its terms, which stand at another. Ends tells
// whether it decides whatever they hold for.
func (r *reach) terms(path, at string, t *Terms, ends bool) {
	switch {
	case len(t.Addr) > 0: // what is decided already may have the guard lifted here
		return
	case r.last == "" && r.byHosts:
		if by := r.takes(t.Host); by != "" {
			r.Say(path, "", "is never reached: "+by+" before it has all its hosts")
			return
		}
	}
	r.past(path, "has no terms", ends && r.all(t, at))
	rest := *t
	if rest.Host = nil; ends && r.all(&rest, at) {
		r.take(t.Host, r.Name(path))
	}
}

// take notes the hosts of the entry that is called by this name, those in its files
// aside.
func (r *reach) take(hosts []string, by string) {
	if r.taken == nil {
		r.taken = map[string]string{}
	}
	for _, host := range hosts {
		for _, name := range spans(host) {
			if r.taken[name] == "" {
				r.taken[name] = by
			}
		}
	}
}

// takes is who has taken all these hosts; "" if somebody may ask for one of them still.
func (r *reach) takes(hosts []string) (by string) {
	for _, host := range hosts {
		names := spans(host)
		if len(names) == 0 {
			return ""
		}
		for _, name := range names {
			switch first := r.taker(name); {
			case first == "":
				return ""
			case by != "" && by != first:
				by = "what stands"
			default:
				by = first
			}
		}
	}
	return by
}

// taker is who has taken one of them, by itself or with all that is below another.
func (r *reach) taker(name string) string {
	if by := r.taken[name]; by != "" {
		return by
	}
	for i := 1; i < len(name); i++ {
		if name[i] == '.' && r.taken[name[i:]] != "" {
			return r.taken[name[i:]]
		}
	}
	return ""
}

// spans are the two parts of what a value of host means: a name, and with a dot
// before it what is below. There is none in a file, nor in an address: that has forms
// of which an allow takes one, and a deny all.
func spans(value string) []string {
	name, only := strings.CutPrefix(value, "*.")
	name, below := strings.CutPrefix(name, ".")
	t, err := hop.ParseHost([]byte(name), 1)
	switch {
	case err != nil, t.Addr.IsValid(), strings.HasPrefix(value, "@"):
		return nil
	case only:
		return []string{"." + t.Host}
	case below:
		return []string{t.Host, "." + t.Host}
	}
	return []string{t.Host}
}
