package simulate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"viaduct/lb"
)

// Words of a description: first those that go with any scenario, then those that
// describe a pool.
func Words() []string { return slices.Concat(anyWords(), poolWords()) }

func anyWords() []string { return []string{"seed", "requests", "keys", "hash-bound", "slow-start"} }

func poolWords() []string {
	return []string{"servers", "slots", "load", "balancers", "weights", "slow", "freeze", "fail"}
}

// Read makes scenarios of what a person wrote for each word: the presets with
// these names, all if there are none, or the pool that is described. All of them
// can be played. An error begins with a word that was given.
func Read(given map[string]string, presets []string) ([]Scenario, error) {
	r := &reader{given: given}
	seed := r.seed()
	scenarios := Presets(seed)
	switch own := r.first(poolWords()); {
	case own != "" && len(presets) > 0:
		return nil, fmt.Errorf("%s describes a pool, and a scenario has one already: leave one of them out", own)
	case own != "":
		scenarios = []Scenario{r.own(seed)}
	case len(presets) > 0:
		scenarios = nil
		for _, name := range presets {
			s, err := Preset(name, seed)
			if err != nil {
				return nil, fmt.Errorf("scenario: %w", err)
			}
			if !slices.ContainsFunc(scenarios, func(o Scenario) bool { return o.Name == s.Name }) {
				scenarios = append(scenarios, s)
			}
		}
	}
	r.common(scenarios)
	return scenarios, r.err
}

// reader keeps the first error. What comes after it is of no use.
type reader struct {
	given map[string]string
	err   error
}

// mostEcho is the longest that an error repeats of what was written.
const mostEcho = 40

func (r *reader) fail(word, format string, args ...any) {
	if r.err != nil {
		return
	}
	place := word
	if text := r.given[word]; text != "" && len(text) <= mostEcho {
		place += " " + text
	}
	r.err = fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...))
}

func (r *reader) has(word string) bool {
	_, ok := r.given[word]
	return ok && r.err == nil
}

// first is the first of some words that is given, "" if none is.
func (r *reader) first(words []string) string {
	for _, w := range words {
		if r.has(w) {
			return w
		}
	}
	return ""
}

// DefaultSeed is where chance begins if nobody says otherwise.
const DefaultSeed = 42

func (r *reader) seed() uint64 {
	if !r.has("seed") {
		return DefaultSeed
	}
	seed, err := strconv.ParseUint(r.given["seed"], 10, 64)
	if err != nil {
		r.fail("seed", "give a whole number from 0 to %d", uint64(math.MaxUint64))
	}
	return seed
}

func (r *reader) whole(word string, otherwise, least, most int) int {
	if !r.has(word) {
		return otherwise
	}
	n, err := strconv.Atoi(r.given[word])
	if err != nil || n < least || n > most {
		r.fail(word, "give a whole number from %d to %d", least, most)
	}
	return n
}

// decimal reads a number as people write it: an x stands between two of them.
func decimal(text string) (x float64, ok bool) {
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil && !math.IsInf(x, 0) && !math.IsNaN(x) && !strings.ContainsAny(text, "xX")
}

func (r *reader) load() float64 {
	if !r.has("load") {
		return 0.8
	}
	load, ok := decimal(r.given["load"])
	if !ok || load <= 0 || load > mostLoad {
		r.fail("load", "give a share of what all servers can do, more than 0 and at most %d: 0.8", mostLoad)
	}
	return load
}

func (r *reader) bound() float64 {
	if !r.has("hash-bound") {
		return 0
	}
	bound, ok := decimal(r.given["hash-bound"])
	if !ok || bound <= 1 {
		r.fail("hash-bound", "give a number over 1: with 1.25, a server has at most a quarter more than the mean")
	}
	return bound
}

// span is the time in a text, which may be a part of what was written.
func (r *reader) span(word, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > mostTime {
		r.fail(word, "give a time with its unit, at most 720h: 1s, 500ms")
	}
	return d
}

// common changes all scenarios by the words that go with any.
func (r *reader) common(scenarios []Scenario) {
	keys := Uniform
	if r.has("keys") {
		k, err := ParseKeys(r.given["keys"])
		if err != nil {
			r.fail("keys", "write %s", strings.Join(keyNames[:], " or "))
		}
		keys = k
	}
	var ramp time.Duration
	if r.has("slow-start") {
		ramp = r.span("slow-start", r.given["slow-start"])
	}
	bound := r.bound()
	for i := range scenarios {
		s := &scenarios[i]
		if r.has("requests") {
			*s = s.Of(r.requests(s.Requests))
		}
		s.Keys, s.Options.HashBound, s.Options.SlowStart = keys, bound, ramp
	}
}

func (r *reader) requests(otherwise int) int {
	return r.whole("requests", otherwise, fewRequests, mostRequests)
}

// own is the scenario that is described.
func (r *reader) own(seed uint64) Scenario {
	weights := r.weights()
	equal := 20
	if weights != nil {
		equal = len(weights)
	}
	servers, slots := r.whole("servers", equal, 1, MostServers), r.whole("slots", 4, 1, mostSlots)
	s := Scenario{Name: "own", Balancers: r.whole("balancers", 4, 1, mostBalancers), Load: r.load(), Requests: r.requests(100_000), Seed: seed}
	if weights != nil && len(weights) != servers {
		r.fail("weights", "these are %d for %s: give one for each", len(weights), count(servers, "server"))
	}
	if r.err != nil {
		return s
	}
	s.About = count(servers, "server") + " with " + count(slots, "slot")
	s.Servers = Servers(servers, slots)
	for i, w := range weights {
		s.Servers[i].Weight = w
	}
	switch text := strings.ReplaceAll(r.given["weights"], " ", ""); {
	case len(text) > mostEcho:
		s.About += ", with weights"
	case text != "":
		s.About += ", weights " + text
	}
	r.slow(&s)
	if s.took() > mostTime.Seconds() {
		r.fail(r.first([]string{"load", "slow", "requests"}), "it takes more than 30 days: give more load, or fewer requests, or servers that are faster")
		return s
	}
	r.freeze(&s)
	r.fails(&s)
	return s
}

// weights are nil if none are given.
func (r *reader) weights() (weights []uint32) {
	if !r.has("weights") {
		return nil
	}
	for text := range strings.SplitSeq(r.given["weights"], ",") {
		w, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil || w > lb.MostWeight {
			r.fail("weights", "give whole numbers from 0 to %d, with commas between them: 5,1,1", lb.MostWeight)
		}
		weights = append(weights, uint32(w))
	}
	switch {
	case len(weights) > MostServers:
		r.fail("weights", "these are %d: give 1 to %d, one for each server", len(weights), MostServers)
	case !slices.ContainsFunc(weights, func(w uint32) bool { return w > 0 }):
		r.fail("weights", "no server has a weight: give one of them more than 0")
	}
	return weights
}

func (r *reader) slow(s *Scenario) {
	if !r.has("slow") {
		return
	}
	k, text, ok := r.some("slow", s)
	factor, number := decimal(text)
	if !ok || !number || factor < leastSlow || factor > mostSlow {
		r.fail("slow", "write how many servers, and how many times slower they are, %v to %d: 5x3", leastSlow, mostSlow)
		return
	}
	for i := range k {
		s.Servers[i].Slow = factor
	}
	much, word := factor, "slower"
	if factor < 1 {
		much, word = 1/factor, "faster"
	}
	s.About += fmt.Sprintf(", %d of them %.4g times %s", k, much, word)
}

func (r *reader) freeze(s *Scenario) {
	if !r.has("freeze") {
		return
	}
	k, text, ok := r.some("freeze", s)
	if !ok {
		k, text = 1, r.given["freeze"]
	}
	d := r.span("freeze", text)
	at := time.Duration(s.took() / 3 * float64(time.Second))
	for i := range k {
		s.Servers[i].FreezeAt, s.Servers[i].Freeze = at, d
	}
	s.About += fmt.Sprintf(", %s for %v", does(k, "freeze"), d)
}

func (r *reader) fails(s *Scenario) {
	k := r.whole("fail", 0, 0, len(s.Servers))
	if k == 0 || r.err != nil {
		return
	}
	for i := range k {
		s.Servers[len(s.Servers)-1-i].Fails = true
	}
	s.About += fmt.Sprintf(", %s at once", does(k, "fail"))
}

// some reads how many servers something is said of, before an x. What stands
// behind it is not looked at.
func (r *reader) some(word string, s *Scenario) (k int, what string, ok bool) {
	number, what, ok := strings.Cut(strings.ReplaceAll(r.given[word], "×", "x"), "x")
	if !ok {
		return 0, "", false
	}
	k, err := strconv.Atoi(number)
	if err != nil || k < 1 || k > len(s.Servers) {
		r.fail(word, "begin with how many servers, from 1 to %d, and an x", len(s.Servers))
		return 0, what, true
	}
	return k, what, true
}

// does words what some servers do.
func does(n int, verb string) string {
	if n == 1 {
		return "1 " + verb + "s"
	}
	return fmt.Sprintf("%d %s", n, verb)
}
