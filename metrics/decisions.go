package metrics

import (
	"strconv"
	"sync/atomic"
	"unicode/utf8"
)

// Phase is when a request was decided about.
type Phase uint8

// The phases, in the order in which a request comes through them.
const (
	PhaseClient  Phase = iota // by where it comes from
	PhaseAuth                 // by who asks
	PhaseName                 // by what is asked for, before any lookup
	PhasePort                 // by the port of a CONNECT
	PhaseAddress              // by the address that is dialled
	PhaseSNI                  // by the server that the ClientHello in a tunnel names
	PhaseFilter               // by what the request or its answer is
	phases
)

var phaseLabels = [phases]string{"client", "auth", "name", "port", "address", "sni", "filter"}

// String is the label. What is no Phase has none.
func (p Phase) String() string {
	if p >= phases {
		return ""
	}
	return phaseLabels[p]
}

// Decision is what was decided: the effects of the room acl, in their order, so
// that one converts into the other.
type Decision uint8

// The decisions.
const (
	Denied Decision = iota
	Allowed
	Observed // let pass, though it would be denied
	decisions
)

var decisionLabels = [decisions]string{"deny", "allow", "observe"}

// String is the label. What is no Decision reads as "deny".
func (d Decision) String() string {
	if d >= decisions {
		d = Denied
	}
	return decisionLabels[d]
}

// Rules count what the rules of one policy decide. Nil Rules count nothing.
type Rules struct {
	front   *Front
	made    uint64   // after how many others of the front
	tallies []*tally // by index; the last one is that of no rule
	series  []series // each name once
}

// series is what is told of a rule.
type series struct {
	rule  string
	tally *tally
}

// tally is what one rule has decided.
type tally [phases][decisions]atomic.Uint64

// Rules makes the counters of a policy whose rules have these names, by index.
// Rules of the same name go on where they were. It is called before it is known
// whether the policy comes into force: it does when it decides for the first
// time, and from then on the series of rules that are no more are gone.
//
// A series is there once it has counted something: a thousand rules in six
// phases would flood a scrape with zeros. So it begins at one, which is no
// increase to Prometheus: that something was denied at all is better asked of
// viaduct_faults_total, which begins at zero.
func (f *Front) Rules(names []string) *Rules {
	if f == nil {
		return nil
	}
	f.making.Lock()
	defer f.making.Unlock()
	known := map[string]*tally{}
	for _, old := range []*Rules{f.built, f.inForce.Load()} {
		for _, s := range old.all() {
			known[s.rule] = s.tally
		}
	}
	r := &Rules{front: f, tallies: make([]*tally, len(names)+1)}
	taken := make(map[string]*tally, len(names)+1)
	for i := range r.tallies {
		name := ""
		if i < len(names) {
			name = label(names[i])
		}
		t := taken[name]
		if t == nil {
			if t = known[name]; t == nil {
				t = new(tally)
			}
			taken[name] = t
			r.series = append(r.series, series{name, t})
		}
		r.tallies[i] = t
	}
	if f.built != nil {
		r.made = f.built.made + 1
	}
	f.built = r
	return r
}

func (r *Rules) all() []series {
	if r == nil {
		return nil
	}
	return r.series
}

// Decided counts a decision. An index that no rule has, such as -1, stands for
// none: nothing had to decide. It neither locks nor allocates.
func (r *Rules) Decided(p Phase, index int, d Decision) {
	if r == nil || p >= phases || d >= decisions {
		return
	}
	last := len(r.tallies) - 1
	if index < 0 || index > last {
		index = last
	}
	r.tallies[index][p][d].Add(1)
	if r.front.inForce.Load() != r {
		r.enter()
	}
}

// enter puts r into force, unless it was made before what is there: requests
// that began before a reload end under the rules that they began under.
func (r *Rules) enter() {
	for {
		now := r.front.inForce.Load()
		if now != nil && now.made > r.made || r.front.inForce.CompareAndSwap(now, r) {
			return
		}
	}
}

// collect sends what was counted.
func (r *Rules) collect(send func(value float64, labels ...string)) {
	for _, s := range r.all() {
		for p := range phases {
			for d := range decisions {
				if n := s.tally[p][d].Load(); n > 0 {
					send(float64(n), r.front.name, p.String(), d.String(), s.rule)
				}
			}
		}
	}
}

// label is text as a label may be: Prometheus refuses what is not UTF-8, with
// all the rest of the scrape.
func label(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	quoted := strconv.QuoteToASCII(text)
	return quoted[1 : len(quoted)-1]
}

// AuthResult is what came of a request for which clients must say who they are.
type AuthResult uint8

// The results.
const (
	AuthOK          AuthResult = iota
	AuthMissing                // no credentials, as clients try first
	AuthWrong                  // not those of a user
	AuthMalformed              // not to be read
	AuthThrottled              // not looked at, after too many wrong ones
	AuthBusy                   // not looked at, as too many others wait
	AuthUnavailable            // it could not be told
	authResults
)

var authLabels = [authResults]string{"ok", "missing", "wrong", "malformed", "throttled", "busy", "unavailable"}

// String is the label. What is no AuthResult reads as "unavailable".
func (a AuthResult) String() string {
	if a >= authResults {
		a = AuthUnavailable
	}
	return authLabels[a]
}

// Authenticated counts a request that was asked for credentials.
func (f *Front) Authenticated(a AuthResult) {
	if f != nil {
		f.authentications[min(a, AuthUnavailable)].Inc()
	}
}
