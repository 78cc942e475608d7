package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"viaduct/hashing"
)

// Balancer is one of the model's balancers, whoever chooses inside.
type Balancer interface {
	// Pick chooses a server by its number, -1 if none may be used.
	Pick(key uint64, now time.Duration) int
	// Done tells how a request ended that was given to a server.
	Done(server int, now, latency time.Duration, failed bool)
}

// Streams of random numbers, apart from each other so that all contenders of a
// scenario meet the same requests at the same times.
const (
	forArrivals uint64 = iota + 1
	forService
	forKeys
	forBalancers
)

func newDice(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(hashing.Mix(seed), stream))
}

// model is a play under way.
type model struct {
	s         *Scenario
	balancers []Balancer
	servers   []server
	ends      heap
	left      int // requests that were sent and have not ended

	arrivals, service, keys *rand.Rand
	zipf                    *rand.Zipf

	latencies []time.Duration
	picks     []int
	errors    int
}

// server is one at work.
type server struct {
	Server
	busy int
	line []request // those from first on wait
	head int
}

// request is one that was given to a server.
type request struct {
	balancer, server int32
	arrived          time.Duration
	takes            time.Duration
}

func play(s *Scenario, balancers []Balancer) Result {
	m := &model{
		s: s, balancers: balancers, servers: make([]server, len(s.Servers)), picks: make([]int, len(s.Servers)),
		arrivals: newDice(s.Seed, forArrivals), service: newDice(s.Seed, forService), keys: newDice(s.Seed, forKeys),
		latencies: make([]time.Duration, 0, s.Requests),
	}
	m.zipf = rand.NewZipf(m.keys, skew, 1, keys-1)
	for i, v := range s.Servers {
		m.servers[i].Server = v
	}
	gap := float64(time.Second) / s.Rate()
	next := m.after(0, gap)
	for sent := 0; sent < s.Requests; {
		if len(m.ends) > 0 && m.ends[0].at < next {
			m.end(m.ends.pop())
			continue
		}
		m.arrive(next)
		next = m.after(next, gap)
		sent++
	}
	backlog := m.left
	for len(m.ends) > 0 {
		m.end(m.ends.pop())
	}
	return m.result(backlog)
}

// after is when the next request comes.
func (m *model) after(now time.Duration, gap float64) time.Duration {
	return now + time.Duration(gap*m.arrivals.ExpFloat64())
}

// arrive gives a request to one of the balancers, and this to a server.
func (m *model) arrive(now time.Duration) {
	// What a request is has to be the same for all contenders, so it is thrown
	// before anybody chooses.
	by := m.arrivals.IntN(len(m.balancers))
	work := float64(meanService) * math.Exp(sigmaService*m.service.NormFloat64()-sigmaService*sigmaService/2)
	to := m.balancers[by].Pick(m.key(), now)
	if to < 0 {
		if now >= m.s.Warm {
			m.errors++
		}
		return
	}
	v := &m.servers[to]
	r := request{int32(by), int32(to), now, time.Duration(work * v.Slow)}
	if now >= m.s.Warm {
		m.picks[to]++
	}
	m.left++
	switch {
	case v.Fails:
		m.ends.push(event{now + failAfter, r})
	case v.busy < v.Slots:
		m.start(v, r, now)
	default:
		v.line = append(v.line, r)
	}
}

func (m *model) key() uint64 {
	if m.s.Keys == Zipf {
		return hashing.Mix(m.zipf.Uint64())
	}
	return hashing.Mix(m.keys.Uint64N(keys))
}

// start lets a server work on a request. While it is frozen it does nothing, so
// that what it has at that time ends later.
func (m *model) start(v *server, r request, now time.Duration) {
	v.busy++
	end := now + r.takes
	thaw := v.FreezeAt + v.Freeze
	switch {
	case now >= thaw || end <= v.FreezeAt:
	case now < v.FreezeAt:
		end += v.Freeze
	default:
		end += thaw - now
	}
	m.ends.push(event{end, r})
}

// end is the end of a request, which lets the next one in line begin.
func (m *model) end(e event) {
	m.left--
	r, v := e.request, &m.servers[e.server]
	m.balancers[r.balancer].Done(int(r.server), e.at, e.at-r.arrived, v.Fails)
	switch {
	case r.arrived < m.s.Warm:
	case v.Fails:
		m.errors++
	default:
		m.latencies = append(m.latencies, e.at-r.arrived)
	}
	if v.Fails {
		return
	}
	v.busy--
	if v.head < len(v.line) {
		first := v.line[v.head]
		v.head++
		m.start(v, first, e.at)
	}
	if v.head == len(v.line) {
		v.line, v.head = v.line[:0], 0
	}
}

// result sums a play up. Where a queue is left that is far more than the servers
// work on, and a good part of all requests, it will grow for ever.
func (m *model) result(backlog int) Result {
	slots, weight, sent := 0, uint64(0), 0
	for i, v := range m.s.Servers {
		slots += v.Slots
		weight += uint64(v.Weight)
		sent += m.picks[i]
	}
	r := Result{Scenario: m.s.Name, Unstable: backlog > 10*slots && backlog > m.s.Requests/50}
	r.Least = math.Inf(1)
	for i, v := range m.s.Servers {
		if v.Weight == 0 || sent == 0 {
			continue
		}
		share := float64(m.picks[i]) / float64(sent) * float64(weight) / float64(v.Weight)
		r.Least, r.Most = min(r.Least, share), max(r.Most, share)
	}
	if sent == 0 {
		r.Least = 0
	}
	if all := m.errors + len(m.latencies); all > 0 {
		r.Errors = float64(m.errors) / float64(all)
	}
	slices.Sort(m.latencies)
	r.P50, r.P99, r.P999 = m.quantile(0.5), m.quantile(0.99), m.quantile(0.999)
	return r
}

// quantile is of the latencies, in order.
func (m *model) quantile(q float64) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	return m.latencies[int(q*float64(len(m.latencies)-1))]
}

// event is the end of a request.
type event struct {
	at time.Duration
	request
}

// heap has the earliest event at its top. It is one of its own, as that of the
// standard library takes an allocation for each event.
type heap []event

func (h *heap) push(e event) {
	*h = append(*h, e)
	s := *h
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if s[up].at <= e.at {
			break
		}
		s[i] = s[up]
		i = up
	}
	s[i] = e
}

func (h *heap) pop() event {
	s := *h
	top, last := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	i := 0
	for {
		down := 2*i + 1
		if down >= len(s) {
			break
		}
		if down+1 < len(s) && s[down+1].at < s[down].at {
			down++
		}
		if last.at <= s[down].at {
			break
		}
		s[i] = s[down]
		i = down
	}
	if len(s) > 0 {
		s[i] = last
	}
	return top
}
