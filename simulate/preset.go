package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// warm is how long balancers get to know their servers, where it is not the
// question how they do.
const warm = 2 * time.Second

// Presets are the scenarios that every policy should be seen in.
func Presets(seed uint64) []Scenario {
	base := Scenario{Servers: Servers(20, 4), Load: 0.8, Requests: 100_000, Warm: warm, Seed: seed}
	equal := base
	equal.Name, equal.Balancers = "equal", 4
	equal.About = "20 equal servers"

	slow := base
	slow.Name, slow.Balancers, slow.Servers = "slow-quarter", 10, Servers(20, 4)
	slow.About = "5 of 20 servers are 3 times slower"
	for i := range 5 {
		slow.Servers[i].Slow = 3
	}
	slower := slow
	slower.Name, slower.Load = "slow-quarter-95", 0.95

	freeze := base
	freeze.Name, freeze.Balancers, freeze.Servers = "freeze", 10, Servers(20, 4)
	freeze.About = "1 of 20 servers freezes for 1 s"
	freeze.Requests = 200_000 // its p99.9 is what counts
	freeze.Servers[0].FreezeAt, freeze.Servers[0].Freeze = 10*time.Second, time.Second

	fail := base
	fail.Name, fail.Balancers, fail.Load, fail.Servers = "fail-fast", 10, 0.7, Servers(20, 4)
	fail.About = "1 of 20 servers fails at once, from the start"
	fail.Warm, fail.Servers[0].Fails = 0, true
	eject := fail
	eject.Name, eject.Outlier, eject.Warm = "fail-fast-outlier", true, 5*time.Second
	eject.About = "1 of 20 servers fails at once, counted after 5 s"
	return []Scenario{equal, slow, slower, freeze, fail, eject}
}

// Preset is one of them by its name.
func Preset(name string, seed uint64) (Scenario, error) {
	var names []string
	for _, s := range Presets(seed) {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("%q is no scenario: write one of %s", name, strings.Join(names, ", "))
}

// Servers are n equal ones.
func Servers(n, slots int) []Server {
	return slices.Repeat([]Server{{Weight: 1, Slots: slots, Slow: 1}}, n)
}

// Of is the same scenario with another number of requests. Where there are fewer,
// all that happens at a time of its own happens sooner.
func (s *Scenario) Of(requests int) Scenario {
	sooner := min(1, float64(max(requests, 0))/float64(s.Requests))
	o := *s
	o.Requests = requests
	o.Warm = time.Duration(sooner * float64(s.Warm))
	o.Servers = slices.Clone(s.Servers)
	for i := range o.Servers {
		o.Servers[i].FreezeAt = time.Duration(sooner * float64(s.Servers[i].FreezeAt))
	}
	return o
}
