package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/clock"
	"viaduct/hashing"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/overload"
	"viaduct/parent"
	"viaduct/pool"
	"viaduct/verdict"
)

func TestListsThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*pool.Options){
		"the same endpoint twice": func(o *pool.Options) { o.Endpoints[1].ID = "a" },
		"without a name":          func(o *pool.Options) { o.Endpoints[1].ID = "" },
		"a bound below the mean":  func(o *pool.Options) { o.LB.HashBound = 0.5 },
	} {
		o := inOrder(2)
		change(&o)
		if _, err := pool.New(o); err == nil || !strings.Contains(err.Error(), "pool parents: ") {
			t.Errorf("%s: %v", name, err)
		}
		p := newPool(t, inOrder(2))
		if err := p.Update(o); err == nil {
			t.Errorf("%s: an update takes it", name)
		}
		if v := p.View(); len(v.Endpoints) != 2 || v.Endpoints[1].ID != "b" {
			t.Errorf("%s: an update that was refused has changed the pool: %+v", name, v)
		}
	}
	p := newPool(t, inOrder(2))
	if err := p.Add(letters(1)[0]); err == nil || !strings.Contains(err.Error(), `"a" stands in the list twice`) {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"remove": p.Remove("x"), "weight": p.SetWeight("x", 1), "admin": p.SetAdmin("x", verdict.Maint, "me"),
	} {
		if err == nil || !strings.Contains(err.Error(), `no endpoint "x"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Drain(t.Context(), "x", "me"); err == nil {
		t.Error("what is not there drains")
	}
}

func TestWhatWasChangedStaysUntilTheListChanges(t *testing.T) {
	o := inOrder(3)
	p := newPool(t, o)
	if err := errors.Join(p.Add(letters(4)[3]), p.Remove("b"), p.SetWeight("a", 7), p.SetAdmin("c", verdict.Maint, "me")); err != nil {
		t.Fatal(err)
	}
	ids := func() (all []string) {
		for _, e := range p.View().Endpoints {
			all = append(all, e.ID)
		}
		return all
	}
	o.Retries = 5
	if err := p.Update(o); err != nil {
		t.Fatal(err)
	}
	if got := ids(); !slices.Equal(got, []string{"a", "c", "d"}) {
		t.Errorf("after a reload of the same list: %v", got)
	}
	if a, c := endpoint(t, p, "a"), endpoint(t, p, "c"); a.Weight != 7 || c.Admin != "maint" || c.AdminBy != "me" {
		t.Errorf("weight %d, %s by %s", a.Weight, c.Admin, c.AdminBy)
	}
	o.Endpoints = letters(3)
	o.Endpoints[2].Zone = "z"
	if err := p.Update(o); err != nil {
		t.Fatal(err)
	}
	if got := ids(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("after a reload of another list: %v", got)
	}
	if a, c := endpoint(t, p, "a"), endpoint(t, p, "c"); a.Weight != 1 || c.Admin != "maint" || c.Zone != "z" {
		t.Errorf("weight %d, %s, zone %s", a.Weight, c.Admin, c.Zone)
	}
}

func TestEndpointStaysAsLongAsItsHops(t *testing.T) {
	h := newHand()
	o := inOrder(2)
	o.Now = h.now
	p := newPool(t, o)
	fail(t, p, to("x.test"), h.now(), errDown)
	fail(t, p, to("x.test"), h.now(), answer("407 Who"))
	pick := func() (*pool.Request, *pool.Endpoint) {
		r := begin(t, p, to("x.test"), h.now())
		e, err := r.Pick(h.now())
		if err != nil {
			t.Fatal(err)
		}
		return r, e
	}
	if a := endpoint(t, p, "a"); !a.RestsEverywhere || a.Errors != 1 {
		t.Fatalf("%+v", a)
	}
	if err := p.Update(o); err != nil {
		t.Fatal(err)
	}
	if a := endpoint(t, p, "a"); !a.RestsEverywhere || a.Errors != 1 || a.Picks != 2 {
		t.Errorf("a reload forgets: %+v", a)
	}
	o.Endpoints = letters(2)
	o.Endpoints[0].Hops[0].User = "me" // which is what a 407 asks for
	if err := p.Update(o); err != nil {
		t.Fatal(err)
	}
	if a := endpoint(t, p, "a"); a.RestsEverywhere || a.Picks != 2 || a.Failures != 1 {
		t.Errorf("a new login: %+v", a)
	}
	r, e := pick()
	if e.ID() != "a" || e.BasicAuth() == "" {
		t.Errorf("given %s", e.ID())
	}
	r.End(h.now(), served)
	idle(t, p)
}

func TestRemovedEndpointEndsWhatItHas(t *testing.T) {
	h := newHand()
	o := inOrder(2)
	o.Now = h.now
	p := newPool(t, o)
	r := begin(t, p, to("x.test"), h.now())
	_, _ = r.Pick(h.now())
	r.Answered(h.now())
	l := r.Take()
	if err := p.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if v := p.View(); v.InFlight != 1 || v.Requests.InUse != 1 {
		t.Errorf("%+v", v)
	}
	if err := p.Add(o.Endpoints[0]); err != nil { // it is another one
		t.Fatal(err)
	}
	l.End(h.now(), health.Report{})
	l.End(h.now(), health.Report{})
	idle(t, p)
	if err := errors.Join(p.Remove("a"), p.Remove("b")); err != nil {
		t.Fatal(err)
	}
	r = begin(t, p, to("x.test"), h.now())
	if _, err := r.Pick(h.now()); err == nil {
		t.Error("an empty pool has a way out")
	}
	r.End(h.now(), health.Report{})
	idle(t, p)
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(2))
		r := begin(t, p, to("x.test"), clock.Now())
		_, _ = r.Pick(clock.Now())
		r.Answered(clock.Now())
		l := r.Take()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if left, err := p.Drain(ctx, "a", "me"); left != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d left, %v", left, err)
		}
		r = begin(t, p, to("x.test"), clock.Now())
		if e, _ := r.Pick(clock.Now()); e.ID() != "b" {
			t.Error("what drains is given requests")
		}
		r.End(clock.Now(), served)
		time.AfterFunc(time.Second, func() { l.End(clock.Now(), health.Report{Received: 1}) })
		begun := time.Now()
		if left, err := p.Drain(t.Context(), "a", "me"); left != 0 || err != nil || time.Since(begun) > time.Second+time.Millisecond*50 {
			t.Errorf("%d left, %v, after %v", left, err, time.Since(begun))
		}
		idle(t, p)
		if err := p.SetAdmin("a", verdict.Enabled, "me"); err != nil {
			t.Fatal(err)
		}
		r = begin(t, p, to("x.test"), clock.Now())
		if e, _ := r.Pick(clock.Now()); e.ID() != "a" {
			t.Error("what is ready again gets nothing")
		}
		time.AfterFunc(time.Second, func() { _ = p.SetAdmin("a", verdict.Enabled, "you") })
		if left, err := p.Drain(t.Context(), "a", "me"); left != 1 || err == nil {
			t.Errorf("somebody else said ready: %d left, %v", left, err)
		}
		r.End(clock.Now(), served)
	})
}

// Whatever becomes of the list, each request is counted once, and out again.
func TestChangesUnderLoadLoseNothing(t *testing.T) {
	o := inOrder(4)
	o.LB.Policy = lb.P2C
	o.Retries = 0
	p := newPool(t, o)
	var users, changers sync.WaitGroup
	var stop atomic.Bool
	var given [2]atomic.Uint64 // to a and b, which stay
	for range 4 {
		users.Go(func() {
			var r pool.Request
			for !stop.Load() {
				now := clock.Now()
				if err := r.Begin(p, to("x.test"), now); err != nil {
					t.Error(err)
					return
				}
				e, err := r.Pick(now)
				if err == nil && e.ID() <= "b" {
					given[e.ID()[0]-'a'].Add(1)
				}
				if err == nil {
					r.Answered(now)
				}
				l := r.Take()
				l.End(clock.Now(), health.Report{Received: 1})
			}
		})
	}
	changes := []func() error{
		func() error { return p.Add(letters(5)[4]) },
		func() error { return p.Remove("e") },
		func() error { return p.SetWeight("a", uint32(1+clock.Now()%5)) },
		func() error { return p.SetAdmin("b", verdict.Admin(clock.Now()%3), "me") },
		func() error { return p.Update(o) },
		func() error { p.View(); p.Explain(to("x.test")); return nil },
	}
	for _, change := range changes {
		changers.Go(func() {
			for range 100 {
				_ = change() // twice the same endpoint is refused, and so it should be
			}
		})
	}
	changers.Wait()
	stop.Store(true)
	users.Wait()
	idle(t, p)
	for i, id := range []string{"a", "b"} {
		if picks := endpoint(t, p, id).Picks; picks != given[i].Load() || picks == 0 && id == "a" { // b may have been in maintenance
			t.Errorf("%s: %d picks, given %d", id, picks, given[i].Load())
		}
	}
}

func TestNodesFollowTheirChecks(t *testing.T) {
	var told atomic.Int32
	o := inOrder(2)
	o.Changed = func(name string, tr verdict.Transition) {
		if name == "parents" && tr.Endpoint == "a" {
			told.Add(1)
		}
	}
	p := newPool(t, o)
	if err := p.SetAdmin("a", verdict.Maint, "me"); err != nil {
		t.Fatal(err)
	}
	if told.Load() != 1 {
		t.Errorf("told of %d changes", told.Load())
	}
}

func TestWhatAPoolSaysOfItself(t *testing.T) {
	o := inOrder(2)
	o.Resolve = pool.Here
	p := newPool(t, o)
	if p.Name() != "parents" || p.Resolve() != pool.Here || !p.Parents() || p.Key() != nil {
		t.Error(p.Name(), p.Resolve(), p.Parents(), p.Key())
	}
	o.LB.Policy = lb.Hash
	o.Endpoints = []parent.Endpoint{{ID: "direct", Weight: 1}}
	if err := p.Update(o); err != nil {
		t.Fatal(err)
	}
	if p.Parents() || len(p.Key()) != 1 || p.Key()[0].Source != hashing.ClientIP {
		t.Error(p.Parents(), p.Key())
	}
	for _, word := range []string{"auto", "here", "parent"} {
		if r, err := pool.ParseResolve(word); err != nil || r.String() != word {
			t.Error(word, r, err)
		}
	}
	if _, err := pool.ParseResolve("there"); err == nil {
		t.Error("there is no there")
	}
}

func TestGuardsRefuse(t *testing.T) {
	h := newHand()
	o := inOrder(1)
	o.Now, o.Limits = h.now, overload.Limits{Requests: 1}
	p := newPool(t, o)
	r := begin(t, p, to("x.test"), h.now())
	var other pool.Request
	if err := other.Begin(p, to("x.test"), h.now()); err == nil {
		t.Error("the limit is no limit")
	}
	other.End(h.now(), served) // which it need not
	r.End(h.now(), served)
	idle(t, p)
	o.Limits, o.Adaptive = overload.Limits{}, true
	if err := p.Update(o); err != nil {
		t.Fatal(err)
	}
	var all []*pool.Request
	for range p.View().Adaptive.Limit {
		all = append(all, begin(t, p, to("x.test"), h.now()))
	}
	if err := other.Begin(p, to("x.test"), h.now()); err == nil {
		t.Error("the adaptive limit is no limit")
	}
	for _, r := range all {
		r.End(h.now(), served)
	}
	idle(t, p)
	o.Adaptive, o.Throttle, o.LB.Rand = false, true, func() uint64 { return 0 }
	if err := p.Update(o); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if err := other.Begin(p, to("x.test"), h.now()); err != nil {
			break
		}
		_, _ = other.Pick(h.now())
		other.Answered(h.now())
		other.End(h.now(), health.Report{Status: 503, Blame: health.ByTarget})
	}
	if v := p.View(); v.Throttle == nil || v.Throttle.Refused == 0 || v.Unavailable["throttle"] == 0 || v.Unavailable["limit"] != 1 || v.Unavailable["adaptive"] != 1 {
		t.Errorf("%+v", v)
	}
	idle(t, p)
}

// What a view shows can be written as JSON, at any time: no number in it is none.
func TestViewOfASlowStart(t *testing.T) {
	h := newHand()
	o := inOrder(3)
	o.Now, o.Throttle, o.Adaptive = h.now, true, true
	o.LB.Policy, o.LB.SlowStart = lb.P2CEWMA, time.Minute
	p := newPool(t, o)
	show := func(want float64) {
		t.Helper()
		if _, err := json.Marshal(p.View()); err != nil {
			t.Error(err)
		}
		if _, err := json.Marshal(p.Explain(to("x.test"))); err != nil {
			t.Error(err)
		}
		if got := endpoint(t, p, "a").Part; got != want {
			t.Errorf("it has %v of its weight, want %v", got, want)
		}
		if got := endpoint(t, p, "b").Part; got != 1 {
			t.Errorf("another one has %v", got)
		}
	}
	show(1)
	for _, a := range []verdict.Admin{verdict.Maint, verdict.Enabled} {
		if err := p.SetAdmin("a", a, "eve"); err != nil {
			t.Fatal(err)
		}
		h.advance(time.Second)
	}
	h.advance(29 * time.Second)
	show(0.5)
	h.advance(time.Minute)
	show(1)
	if err := p.SetWeight("a", 0); err != nil {
		t.Fatal(err)
	}
	show(1)
}
