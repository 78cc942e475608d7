// Package simulate plays requests to a pool of servers that exist in a model
// alone, balanced by the code that is shipped: it is package lb that chooses and
// package health that ejects, with the time and the dice of the model.
//
// Requests come as a Poisson process, at a load that is a share of what all
// servers together can do. A server works on as many requests at a time as it
// has slots, and the others wait in line. How long one takes is lognormal. The
// balancers are independent: each knows only what it sent, and what came back.
package simulate

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"viaduct/lb"
)

// Service times are lognormal with this mean. With this sigma the reference
// policies have the tails that are known of them: 20 servers with 4 slots each
// at a load of 0.8 have a p99 of 72 ms at random, and of 49 ms with the fewest
// requests in flight.
const (
	meanService  = 10 * time.Millisecond
	sigmaService = 0.82
)

// MostServers is the most that a scenario may have.
const MostServers = 1000

// failAfter is how fast a server that fails does so.
const failAfter = 500 * time.Microsecond

// What else a scenario may have: enough to see any effect, and bounded in time and
// memory.
const (
	mostSlots     = 1000
	mostBalancers = 100
	fewRequests   = 1000
	mostRequests  = 5_000_000
	mostLoad      = 2
	mostSlow      = 1000
	leastSlow     = 0.001
	mostTime      = 30 * 24 * time.Hour // of the play, and of what happens in it
)

// Scenario is what is played.
type Scenario struct {
	Name      string
	About     string // one line for people
	Servers   []Server
	Balancers int     // each with a pool of its own
	Load      float64 // of the work that all servers can do
	Requests  int
	Warm      time.Duration // what comes before is played, but not counted
	Keys      Keys
	Seed      uint64     // the same seed and scenario give the same result
	Options   lb.Options // but for Policy, Seed and Rand, which each run has of its own
	Outlier   bool       // with the outlier detection of package health
}

// Server is one of the pool.
type Server struct {
	Weight   uint32        // that the balancers are told
	Slots    int           // requests that it works on at a time
	Slow     float64       // factor on how long it takes: 1 is as the others
	FreezeAt time.Duration // when it stops to work
	Freeze   time.Duration // for how long; 0 is never
	Fails    bool          // answers everything at once, with an error
}

// Keys say how requests share the keys of the policies that have any.
type Keys uint8

// The distributions of keys.
const (
	Uniform Keys = iota
	Zipf         // the most frequent ones take a good part of all
)

// keys is how many there are, and skew the exponent of Zipf's law.
const (
	keys = 10_000
	skew = 1.1
)

var keyNames = [...]string{"uniform", "zipf"}

func (k Keys) String() string { return keyNames[k&1] }

// ParseKeys reads the name of a distribution.
func ParseKeys(s string) (Keys, error) {
	i := slices.Index(keyNames[:], s)
	if i < 0 {
		return 0, fmt.Errorf("%q is no way to share keys: write uniform or zipf", s)
	}
	return Keys(i), nil
}

// Contender is a policy that plays.
type Contender struct {
	Policy lb.Policy
	True   bool // is told what each server can do, by weights
}

func (c Contender) String() string {
	if c.True {
		return c.Policy.String() + ", true weights"
	}
	return c.Policy.String()
}

// Contenders are all that have something to show in a scenario: each policy,
// and where servers differ those that go by nothing but weight and count, with
// true weights, too.
func (s *Scenario) Contenders(policies []lb.Policy) []Contender {
	differ := slices.ContainsFunc(s.Servers, func(v Server) bool { return v.Slow != s.Servers[0].Slow })
	plain := !slices.ContainsFunc(s.Servers, func(v Server) bool { return v.Weight != 1 })
	var all []Contender
	for _, p := range policies {
		all = append(all, Contender{Policy: p})
		if differ && plain && (p == lb.Weighted || p == lb.LeastConn) {
			all = append(all, Contender{Policy: p, True: true})
		}
	}
	return all
}

// Result is what came of it.
type Result struct {
	Scenario  string
	Contender Contender
	Least     float64 // share of the server that got least, against its share of the weights
	Most      float64
	P50       time.Duration // of what was served
	P99       time.Duration
	P999      time.Duration
	Errors    float64 // share of the requests
	Unstable  bool    // a queue grows without end: the latencies say when the play was over
}

// Run plays a scenario with a policy of package lb.
func Run(s Scenario, c Contender) (Result, error) {
	if err := s.Check(); err != nil {
		return Result{}, err
	}
	if c.True {
		s.Servers = trueWeights(s.Servers)
	}
	balancers := make([]Balancer, s.Balancers)
	dice := newDice(s.Seed, forBalancers)
	for i := range balancers {
		b, err := newShipped(&s, c.Policy, dice)
		if err != nil {
			return Result{}, err
		}
		balancers[i] = b
	}
	r := play(&s, balancers)
	r.Contender = c
	return r, nil
}

// RunWith plays a scenario with balancers of one's own, made by number and with
// dice to throw.
func RunWith(s Scenario, each func(i int, dice func() uint64) Balancer) (Result, error) {
	if err := s.Check(); err != nil {
		return Result{}, err
	}
	dice := newDice(s.Seed, forBalancers)
	balancers := make([]Balancer, s.Balancers)
	for i := range balancers {
		balancers[i] = each(i, dice.Uint64)
	}
	return play(&s, balancers), nil
}

// weightUnit is the true weight of the slowest server, if that leaves the fastest
// one a weight that lb takes: enough for any factor to be met well.
const weightUnit = 10_000

// trueWeights are servers with weights that say what each of them can do.
func trueWeights(servers []Server) []Server {
	servers = slices.Clone(servers)
	slowest, fastest := 0.0, math.Inf(1)
	for _, v := range servers {
		slowest, fastest = max(slowest, v.Slow), min(fastest, v.Slow)
	}
	unit := min(weightUnit, lb.MostWeight*fastest/slowest)
	for i := range servers {
		servers[i].Weight = uint32(math.Round(unit * slowest / servers[i].Slow))
	}
	return servers
}

// Rate is how many requests come in a second.
func (s *Scenario) Rate() float64 {
	can := 0.0
	for _, v := range s.Servers {
		can += float64(v.Slots) / v.Slow
	}
	return can / meanService.Seconds() * s.Load
}

// took is how many seconds the requests need to come.
func (s *Scenario) took() float64 { return float64(s.Requests) / s.Rate() }

// Check finds what can't be played.
func (s *Scenario) Check() error {
	switch {
	case len(s.Servers) < 1 || len(s.Servers) > MostServers:
		return fmt.Errorf("%d servers: give 1 to %d", len(s.Servers), MostServers)
	case s.Balancers < 1 || s.Balancers > mostBalancers:
		return fmt.Errorf("%d balancers: give 1 to %d", s.Balancers, mostBalancers)
	case s.Requests < fewRequests || s.Requests > mostRequests:
		return fmt.Errorf("%d requests: give %d to %d", s.Requests, fewRequests, mostRequests)
	case !(s.Load > 0 && s.Load <= mostLoad):
		return fmt.Errorf("a load of %v: give a share of what all servers can do, more than 0 and at most %d", s.Load, mostLoad)
	case s.Warm < 0:
		return errors.New("a time is negative")
	}
	weight := uint64(0)
	for i, v := range s.Servers {
		if err := v.check(); err != nil {
			return fmt.Errorf("server %d: %w", i+1, err)
		}
		weight += uint64(v.Weight)
	}
	if s.took() > mostTime.Seconds() {
		return fmt.Errorf("%d requests take more than 30 days, with %.2g in a second: give more load, or fewer requests", s.Requests, s.Rate())
	}
	if weight == 0 {
		return errors.New("no server has a weight: give one of them more than 0")
	}
	_, err := newShipped(s, lb.First, newDice(s.Seed, forBalancers)) // which looks at the options
	return err
}

func (v *Server) check() error {
	switch {
	case v.Slots < 1 || v.Slots > mostSlots:
		return fmt.Errorf("%d slots: give 1 to %d", v.Slots, mostSlots)
	case !(v.Slow >= leastSlow && v.Slow <= mostSlow):
		return fmt.Errorf("%v times slower: give %v to %d", v.Slow, leastSlow, mostSlow)
	case v.Freeze < 0 || v.FreezeAt < 0:
		return errors.New("a time is negative")
	case v.Freeze > mostTime || v.FreezeAt > mostTime:
		return errors.New("it freezes for, or after, more than 30 days")
	}
	return nil
}
