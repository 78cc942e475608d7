package pool

import (
	"time"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/rest"
)

// View is what a status page shows of a pool, as plain data.
type View struct {
	Name        string            `json:"name"`
	Balance     string            `json:"balance"`
	InFlight    int               `json:"in_flight"`
	Waiting     int               `json:"waiting"`
	Requests    GuardView         `json:"requests"`
	Pending     GuardView         `json:"pending"`
	Throttle    *ThrottleView     `json:"throttle,omitempty"` // if it is on
	Adaptive    *GuardView        `json:"adaptive,omitempty"` // if it is on
	Retries     RetriesView       `json:"retries"`
	Hedges      uint64            `json:"hedges"`      // retries that joined another try
	Unavailable map[string]uint64 `json:"unavailable"` // requests without a way out, by Reasons
	Endpoints   []EndpointView    `json:"endpoints"`
}

// GuardView is of a guard that counts.
type GuardView struct {
	InUse   int    `json:"in_use"`
	Limit   int    `json:"limit"` // 0 is none
	Refused uint64 `json:"refused"`
}

// ThrottleView is of the throttle.
type ThrottleView struct {
	Chance  float64 `json:"chance"` // of a refusal, now
	Refused uint64  `json:"refused"`
}

// RetriesView is of tries that are not the first.
type RetriesView struct {
	Taken   uint64 `json:"taken"`
	Refused uint64 `json:"refused"`
	Left    int    `json:"left"` // that the budget would allow now
	InUse   int    `json:"in_use"`
	Limit   int    `json:"limit"` // 0 is none
}

// EndpointView is what it shows of one endpoint. Weight and Limit are the list's;
// the endpoint's own, which health.View has under these names, are heeded in
// them.
type EndpointView struct {
	health.View
	Weight          uint32        `json:"weight"`
	Limit           int           `json:"limit"`
	Tier            int           `json:"tier"`
	Zone            string        `json:"zone"`
	Picks           uint64        `json:"picks"`
	Failures        uint64        `json:"failures"`
	Cost            time.Duration `json:"cost_ns"`
	Part            float64       `json:"part"`    // of its weight, in a slow start; 1 is all
	Resting         int           `json:"resting"` // for how many destinations
	RestsEverywhere bool          `json:"rests_everywhere"`
	Reason          string        `json:"reason"` // why it takes no new requests, or not all; "" where it does
}

// View is the pool as it is now.
func (p *Pool) View() View {
	p.change.Lock()
	defer p.change.Unlock()
	now, rules := p.now(), p.rules.Load()
	v := View{
		Name: rules.name, Balance: p.o.LB.Policy.String(), InFlight: int(p.nodes.InFlight()), Waiting: p.nodes.Waiting(),
		Requests: p.guard(overload.Requests), Pending: p.guard(overload.Pending), Hedges: p.tally.hedges.Load(),
		Retries: RetriesView{
			Taken: p.tally.retries.Load(), Refused: p.tally.refused.Load(), Left: rules.budget.Left(now),
			InUse: p.circuit.InUse(overload.Retries), Limit: p.circuit.Limit(overload.Retries),
		},
		Unavailable: map[string]uint64{}, Endpoints: []EndpointView{},
	}
	if t := rules.throttle; t != nil {
		v.Throttle = &ThrottleView{Chance: t.Chance(now), Refused: t.Refused()}
	}
	if g := rules.gradient; g != nil {
		v.Adaptive = &GuardView{InUse: g.InUse(), Limit: g.Limit(), Refused: g.Refused()}
	}
	for i, why := range Reasons() {
		v.Unavailable[why] = p.tally.unavailable[i].Load()
	}
	parts := map[*lb.Node]float64{}
	for _, c := range p.nodes.Explain(&lb.Ask{Now: now}).Candidates {
		parts[c.Node] = c.Part
	}
	for _, e := range p.endpoints {
		v.Endpoints = append(v.Endpoints, p.view(e, now, parts[e.node.Load()]))
	}
	return v
}

func (p *Pool) guard(k overload.Kind) GuardView {
	return GuardView{p.circuit.InUse(k), p.circuit.Limit(k), p.circuit.Refused(k)}
}

func (p *Pool) view(e *Endpoint, now time.Duration, part float64) EndpointView {
	h, _ := p.board.View(e.id)
	n := e.node.Load()
	v := EndpointView{
		View: h, Weight: n.Weight(), Limit: n.Limit(), Tier: n.Tier(), Zone: n.Zone(),
		Picks: n.Picks(), Failures: e.failures.Load(), Cost: n.Cost(now), Part: part, Reason: h.Text,
	}
	v.Resting, v.RestsEverywhere = p.rests.Count(e, now)
	switch why := e.why.Load(); {
	case v.Reason != "":
	case v.RestsEverywhere && why != nil:
		v.Reason = "it rests: " + *why
	case v.Weight == 0:
		v.Reason = "its weight is 0"
	case v.Limit > 0 && v.InFlight >= v.Limit:
		v.Reason = "it is full"
	case v.Resting > 0:
		v.Reason = "it rests for destinations that it failed to reach"
	}
	return v
}

// Explanation is a choice with all that it was made from, as plain data.
type Explanation struct {
	Name       string      `json:"name"`
	Balance    string      `json:"balance"`
	Chosen     string      `json:"chosen"` // "" is none
	How        string      `json:"how"`
	Candidates []Candidate `json:"candidates"`
}

// Candidate is an endpoint as the choice saw it.
type Candidate struct {
	ID       string        `json:"id"`
	Standing string        `json:"standing"`
	Cause    string        `json:"cause,omitempty"` // why it does not take new requests
	InFlight int           `json:"in_flight"`
	Cost     time.Duration `json:"cost_ns"`
	Score    float64       `json:"score"` // the lower the better; 0 where loads do not count
	Part     float64       `json:"part"`  // of its weight, in a slow start
	Excluded string        `json:"excluded,omitempty"`
	Resting  bool          `json:"resting"` // for this destination
}

// Explain chooses as the first Pick of a request would, and changes nothing. A
// policy that draws may draw another one the next time.
func (p *Pool) Explain(a Ask) Explanation {
	now := p.now()
	r := Request{pool: p, rules: p.rules.Load(), ask: a, look: lb.Ask{Key: a.Key, Keyed: a.Keyed}}
	avoids := r.seek(now)
	x := p.nodes.Explain(&r.look)
	if x.Chosen == nil && avoids {
		r.look.Tried = r.avoiding(nil)
		x = p.nodes.Explain(&r.look)
	}
	if x.Chosen == nil && len(r.rules.resorts) > 0 {
		r.look.Tried = nil
		x = p.nodes.Explain(&r.look)
	}
	e := Explanation{Name: p.Name(), Balance: x.Policy.String(), How: x.How.String(), Candidates: []Candidate{}}
	if x.Chosen != nil {
		e.Chosen = x.Chosen.ID()
	}
	for i := range x.Candidates {
		e.Candidates = append(e.Candidates, p.candidate(&x.Candidates[i], a.To, now))
	}
	return e
}

func (p *Pool) candidate(c *lb.Candidate, to rest.Destination, now time.Duration) Candidate {
	e := c.Node.Of().(*Endpoint)
	v := Candidate{
		ID: e.id, Standing: c.Standing.String(), InFlight: int(c.InFlight), Cost: c.Cost, Score: c.Score, Part: c.Part,
		Excluded: c.Excluded, Resting: p.rests.Rests(to, e, now),
	}
	if _, cause, some := p.board.Facts(e.id); some {
		v.Cause = cause.Text
	}
	switch {
	case v.Excluded != "it was tried":
	case v.Resting:
		v.Excluded = "it rests for this destination"
	default:
		v.Excluded = "it is the last resort"
	}
	return v
}
