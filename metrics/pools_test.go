package metrics_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"viaduct/metrics"
)

func TestPoolsAreReadAtEachScrape(t *testing.T) {
	m := metrics.New("test")
	pools := []metrics.Pool{
		{
			Name: "parents", InFlight: 1, Retries: 2, RetriesRefused: 3, Hedges: 4, Unavailable: map[string]uint64{"none": 5, "full": 0},
			Endpoints: []metrics.Endpoint{
				{ID: "http://10.0.0.1:3128", Ready: true, InFlight: 6, Picks: 7, Failures: 8, Resting: 9},
				{ID: "a -> b", Picks: 1},
			},
		},
		{Name: "upstream", Endpoints: []metrics.Endpoint{{ID: "a -> b", Ready: true}}},
	}
	m.Read(metrics.Readings{Pools: func() []metrics.Pool { return pools }})
	v := scrape(t, m)
	v.want(t,
		`pool_in_flight{pool="parents"} 1`, `pool_retries_total{pool="parents"} 2`, `pool_retries_refused_total{pool="parents"} 3`,
		`pool_hedges_total{pool="parents"} 4`, `pool_unavailable_total{pool="parents",reason="none"} 5`,
		`pool_unavailable_total{pool="parents",reason="full"} 0`,
		`endpoint_ready{endpoint="http://10.0.0.1:3128",pool="parents"} 1`, `endpoint_in_flight{endpoint="http://10.0.0.1:3128",pool="parents"} 6`,
		`endpoint_picks_total{endpoint="http://10.0.0.1:3128",pool="parents"} 7`, `endpoint_failures_total{endpoint="http://10.0.0.1:3128",pool="parents"} 8`,
		`endpoint_resting_destinations{endpoint="http://10.0.0.1:3128",pool="parents"} 9`,
		`endpoint_ready{endpoint="a -> b",pool="parents"} 0`, `endpoint_picks_total{endpoint="a -> b",pool="parents"} 1`,
		`endpoint_ready{endpoint="a -> b",pool="upstream"} 1`,
	)
	pools = pools[1:] // a reload took the first one away
	if v = scrape(t, m); count(v, "pool_")+count(v, "endpoint_") != 4+5 {
		t.Errorf("there are %v", slices.Sorted(maps.Keys(v)))
	}
	pools = nil
	if v = scrape(t, m); count(v, "pool_")+count(v, "endpoint_") != 0 {
		t.Errorf("there are %v", slices.Sorted(maps.Keys(v)))
	}
}

// TestPoolNamesCannotBreakAScrape, whatever an operator calls them.
func TestPoolNamesCannotBreakAScrape(t *testing.T) {
	m := metrics.New("test")
	names := []string{"", "\xff", "\"}\n", strings.Repeat("x", 1<<16), "\u202e"}
	m.Read(metrics.Readings{Pools: func() (all []metrics.Pool) {
		for _, name := range names {
			all = append(all, metrics.Pool{Name: name, InFlight: 1, Unavailable: map[string]uint64{name: 1}, Endpoints: []metrics.Endpoint{{ID: name, Picks: 1}}})
		}
		return all
	}})
	v := scrape(t, m)
	for _, family := range []string{"pool_in_flight{", "pool_unavailable_total{", "endpoint_picks_total{"} {
		if n := count(v, family); n != len(names) {
			t.Errorf("%d of %s, want %d", n, family, len(names))
		}
	}
}
