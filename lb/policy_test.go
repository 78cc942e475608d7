package lb_test

import (
	"slices"
	"strings"
	"testing"

	"viaduct/lb"
)

func TestPoliciesAreReadAsTheyAreWritten(t *testing.T) {
	want := []string{"p2c_ewma", "round_robin", "weighted", "random", "least_conn", "p2c", "hash", "ring", "maglev", "first"}
	var got []string
	for _, p := range lb.Policies() {
		got = append(got, p.String())
		if read, err := lb.ParsePolicy(p.String()); err != nil || read != p {
			t.Errorf("%v is read as %v, %v", p, read, err)
		}
		if p.Keyed() != slices.Contains([]string{"hash", "ring", "maglev"}, p.String()) {
			t.Errorf("%v: keyed is %v", p, p.Keyed())
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("policies are %v", got)
	}
	if lb.Policy(0) != lb.P2CEWMA || lb.Policy(200).String() == "" {
		t.Error("the zero value is not the default, or a policy has no name")
	}
}

// A slip is answered with what was meant.
func TestPolicySlips(t *testing.T) {
	for slip, meant := range map[string]string{
		"round-robin": "round_robin", "RoundRobin": "round_robin", "leastconn": "least_conn", "least_con": "least_conn",
		"p2c-ewma": "p2c_ewma", "weightd": "weighted", "Hash": "hash", "": "p2c_ewma", "magleb": "maglev", "randon": "random",
	} {
		_, err := lb.ParsePolicy(slip)
		if err == nil {
			t.Errorf("%q is taken for a policy", slip)
			continue
		}
		if !strings.Contains(err.Error(), meant) || slip != "" && !strings.Contains(err.Error(), slip) {
			t.Errorf("%q: %v, want a word of %q", slip, err, meant)
		}
	}
}

func TestTokensOfHow(t *testing.T) {
	for how, want := range map[lb.How]string{
		lb.ByPolicy: "policy", lb.Sticky: "sticky", lb.Home: "home", lb.Overflow: "overflow", lb.Probe: "probe", lb.Ramp: "ramp",
		lb.Spill: "spill", lb.Zone: "zone", lb.Panic: "panic", lb.None: "none", lb.Full: "full", lb.Panicking: "panicking",
		lb.QueueFull: "queue_full", lb.QueueTimeout: "queue_timeout", lb.Gone: "gone",
	} {
		if how.String() != want {
			t.Errorf("%d is %q, want %q", how, how, want)
		}
	}
	if lb.How(99).String() == "" || lb.Sick.String() != "sick" {
		t.Error("something has no name")
	}
}
