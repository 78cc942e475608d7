package display_test

import (
	"strings"
	"testing"
	"time"

	"viaduct/display"
	"viaduct/forward"
	"viaduct/pool"
)

func explained(t testing.TB, all ...forward.Explanation) string {
	t.Helper()
	var b strings.Builder
	if err := display.Explanations(&b, all); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestExplainTellsOfThePool(t *testing.T) {
	e := forward.Explanation{
		Decision: "allow", Phase: "name", Rule: "ci", Via: "parents", Rules: []forward.RuleStep{{Rule: "ci", Effect: "allow", Result: "matches"}},
		Pool: &pool.Explanation{Name: "parents", Balance: "p2c_ewma", Chosen: "http://10.0.0.1:3128", How: "policy", Candidates: []pool.Candidate{
			{ID: "http://10.0.0.1:3128", Standing: "ready", InFlight: 3, Cost: 12345 * time.Microsecond, Score: 0.0493827, Part: 1},
			{ID: "socks5://proxy.example:1080", Standing: "sick", Cause: "down: tcp: connection refused", Part: 1, Excluded: "it is sick"},
			{ID: "http://10.0.0.3:3128", Standing: "ready", Score: 1e6, Part: 0.25, Resting: true, Excluded: "it rests for this destination"},
			{ID: "direct", Standing: "affine", Cause: "draining, says eve", Score: 123456, Part: 1, Resting: true},
		}},
	}
	const want = `allow by rule ci (name): by way of parents
  RULE  EFFECT  RESULT
  ci    allow   matches
pool parents: p2c_ewma chooses http://10.0.0.1:3128 (policy)
  ENDPOINT                     STATE   BUSY  LATENCY     SCORE
  http://10.0.0.1:3128         ready      3   12.3ms    0.0494
  socks5://proxy.example:1080  sick       0        -         -
    it is sick: down: tcp: connection refused
  http://10.0.0.3:3128         ready      0        -     1e+06
    it rests for this destination
    starts slowly: 25% of its weight
  direct                       affine     0        -  1.23e+05
    draining, says eve
    rests for this destination, and is chosen from all the same
`
	if got := explained(t, e); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestExplainTellsThatThereIsNoWayOut(t *testing.T) {
	for how, list := range map[string][]pool.Candidate{"none": {{ID: "a", Standing: "out", Part: 1, Excluded: "it is out"}}, "full": nil} {
		got := explained(t, forward.Explanation{Decision: "allow", Via: "p", Pool: &pool.Explanation{Name: "p", Balance: "hash", How: how, Candidates: list}})
		if !strings.HasPrefix(got, "allow: by way of p\npool p: hash finds no endpoint ("+how+")\n") || strings.Contains(got, "ENDPOINT") != (list != nil) {
			t.Errorf("got\n%s", got)
		}
	}
}

// TestExplainOfATunnelTellsOfThePoolInside, where its requests leave.
func TestExplainOfATunnelTellsOfThePoolInside(t *testing.T) {
	inside := forward.Explanation{Decision: "allow", Via: "p", Pool: &pool.Explanation{Name: "p", Balance: "hash", Chosen: "a", How: "home"}}
	if got, want := explained(t, forward.Explanation{Decision: "allow", Inside: &inside}), "tunnel: allow\ninside: allow: by way of p\npool p: hash chooses a (home)\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestExplainShowsNoControlsOfThePool(t *testing.T) {
	for _, hostile := range []string{"\x1b[2J", "a\tb", "a\nb", "\u202eevil", "\x00", "\u2028", "\xff"} {
		got := explained(t, forward.Explanation{Decision: "allow", Via: hostile, Pool: &pool.Explanation{
			Name: hostile, Balance: hostile, Chosen: hostile, How: hostile,
			Candidates: []pool.Candidate{{ID: hostile, Standing: hostile, Cause: hostile, Excluded: hostile, Part: 1}},
		}})
		if strings.ContainsAny(got, "\x1b\t\x00\u202e\u2028") || strings.Count(got, "\n") != 5 {
			t.Errorf("%q: it prints\n%s", hostile, got)
		}
	}
}
