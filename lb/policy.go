package lb

import (
	"fmt"
	"strings"
)

// Policy is a way to choose. Weights count in all of them.
type Policy uint8

// The policies, by their names in the configuration.
const (
	P2CEWMA    Policy = iota // p2c_ewma: two at random, the one with the lower latency times load
	RoundRobin               // round_robin: in turn, exact over a cycle
	Weighted                 // weighted: eligible-EDF, every prefix within one request of the ideal
	Random                   // random
	LeastConn                // least_conn: the fewest requests in flight for its weight
	P2C                      // p2c: two at random, the one with fewer requests in flight
	Hash                     // hash: rendezvous for up to 64 members, Maglev for more
	Ring                     // ring: ketama
	Maglev                   // maglev
	First                    // first: in the order of the list
)

var names = [...]string{"p2c_ewma", "round_robin", "weighted", "random", "least_conn", "p2c", "hash", "ring", "maglev", "first"}

func (p Policy) String() string {
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// Policies are all of them, the default first.
func Policies() []Policy {
	all := make([]Policy, len(names))
	for i := range all {
		all[i] = Policy(i)
	}
	return all
}

// Keyed policies choose by the key of a request.
func (p Policy) Keyed() bool { return p == Hash || p == Ring || p == Maglev }

// ParsePolicy reads the name of a policy.
func ParsePolicy(s string) (Policy, error) {
	for i, name := range names {
		if s == name {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no way to balance: write one of %s", s, strings.Join(names[:], ", "))
}
