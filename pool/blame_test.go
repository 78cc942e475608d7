package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/clock"
	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/parent"
	"viaduct/pool"
	"viaduct/rest"
	"viaduct/upstream"
	"viaduct/wire"
)

// fail has the first endpoint of a pool fail a request, and the next answer it.
func fail(t *testing.T, p *pool.Pool, a pool.Ask, now time.Duration, err error) {
	t.Helper()
	r := begin(t, p, a, now)
	if _, got := r.Pick(now); got != nil {
		t.Fatal(got)
	}
	r.Failed(now, err)
	if _, got := r.Pick(now); got == nil {
		r.Answered(now)
	}
	r.End(now, served)
}

func TestWhoIsToBlame(t *testing.T) {
	login := fault.New(fault.ConfigurationError, errors.New("ours"))
	for _, c := range []struct {
		name     string
		err      error
		errors   int  // counted against its health
		resting  int  // destinations, once another endpoint has answered
		shunned  bool // everywhere
		failures uint64
	}{
		{name: "refuses connections", err: errDown, errors: 1, failures: 1},
		{name: "takes no connections", err: errSlow, errors: 1, failures: 1},
		{name: "ends before it answers", err: answering("HTTP/1.1"), errors: 1, failures: 1},
		{name: "garbage", err: answering("SSH-2.0-x\r\n\r\n"), errors: 1, failures: 1},
		{name: "a redirect", err: answer("302 Found"), errors: 1, failures: 1},
		{name: "silence", err: silence(), resting: 1},
		{name: "500", err: answer("500 Broken"), resting: 1},
		{name: "501", err: answer("501 What"), errors: 1, failures: 1},
		{name: "502", err: answer("502 Bad"), resting: 1},
		{name: "503", err: answer("503 No"), resting: 1},
		{name: "504", err: answer("504 Late"), resting: 1},
		{name: "403", err: answer("403 No"), resting: 1},
		{name: "404", err: answer("404 No"), resting: 1},
		{name: "407", err: answer("407 Who"), shunned: true},
		{name: "400", err: answer("400 What")},
		{name: "405", err: answer("405 What")},
		{name: "421", err: answer("421 Loop")},
		{name: "429", err: answer("429 Slow down")},
		{name: "our own tag", err: errLoop},
		{name: "a plain 407", err: parent.Refused(&wire.Head{Status: 407, Reason: []byte("Who")}), shunned: true},
		{name: "the client left", err: fmt.Errorf("x: %w", context.Canceled)},
		{name: "no port left", err: fault.New(fault.DestinationUnavailable, upstream.ErrNoPort)},
		{name: "not a target", err: fault.Bad(400, "No.")},
		{name: "our guard", err: fault.New(fault.DestinationIPProhibited, nil)},
		{name: "our configuration", err: login},
		{name: "no descriptors", err: fault.New(fault.ConnectionLimitReached, nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHand()
			o := inOrder(2)
			o.Now = h.now
			p := newPool(t, o)
			fail(t, p, to("x.test"), h.now(), c.err)
			a := endpoint(t, p, "a")
			if a.Errors != c.errors || a.Resting != c.resting || a.RestsEverywhere != c.shunned || a.Failures != c.failures {
				t.Errorf("%v: errors %d, resting %d, everywhere %v, failures %d", c.err, a.Errors, a.Resting, a.RestsEverywhere, a.Failures)
			}
			if b := endpoint(t, p, "b"); b.Errors != 0 || b.Resting != 0 || b.RestsEverywhere || b.Failures != 0 {
				t.Errorf("who answered is blamed: %+v", b)
			}
			idle(t, p)
		})
	}
}

func TestEndsAreReported(t *testing.T) {
	for _, c := range []struct {
		name   string
		rep    health.Report
		direct bool
		errors int
	}{
		{name: "served", rep: served},
		{name: "its own 503", rep: health.Report{Status: 503}, errors: 1},
		{name: "the origin's 503", rep: health.Report{Status: 503, Blame: health.ByTarget}},
		{name: "404", rep: health.Report{Status: 404}},
		{name: "ended early", rep: health.Report{Fault: fault.ResponseIncomplete}, errors: 1},
		{name: "the client left", rep: health.Report{Fault: fault.ConnectionTerminated, Blame: health.ByClient}},
		{name: "direct, ended early", rep: health.Report{Fault: fault.ResponseIncomplete}, direct: true},
		{name: "direct, 503", rep: health.Report{Status: 503}, direct: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHand()
			o := inOrder(1)
			o.Now = h.now
			if c.direct {
				o.Endpoints[0].Hops = nil
			}
			p := newPool(t, o)
			r := begin(t, p, to("x.test"), h.now())
			_, _ = r.Pick(h.now())
			r.Answered(h.now())
			r.End(h.now(), c.rep)
			r.End(h.now(), c.rep)
			if a := endpoint(t, p, "a"); a.Errors != c.errors || int(a.Failures) != c.errors {
				t.Errorf("%d errors, %d failures", a.Errors, a.Failures)
			}
			idle(t, p)
		})
	}
}

func TestEndpointRestsForOneDestination(t *testing.T) {
	h := newHand()
	o := inOrder(2)
	o.Now = h.now
	p := newPool(t, o)
	fail(t, p, to("x.test"), h.now(), answer("403 No"))
	for host, want := range map[string]string{"x.test": "b", "y.test": "a"} {
		r := begin(t, p, to(host), h.now())
		if e, err := r.Pick(h.now()); err != nil || e.ID() != want {
			t.Errorf("%s: %v, %v", host, e, err)
		}
		r.End(h.now(), served)
	}
	x := p.Explain(to("x.test"))
	if x.Chosen != "b" || !x.Candidates[0].Resting || x.Candidates[0].Excluded == "" || x.Candidates[1].Resting {
		t.Errorf("%+v", x)
	}
	h.advance(time.Minute)
	r := begin(t, p, to("x.test"), h.now())
	if e, _ := r.Pick(h.now()); e.ID() != "a" {
		t.Error("it rests for ever")
	}
	r.Answered(h.now())
	r.End(h.now(), served)
}

func TestEndpointsThatRestAreUsedWhenThereIsNoOther(t *testing.T) {
	h := newHand()
	o := inOrder(1)
	o.Now = h.now
	p := newPool(t, o)
	for range 3 {
		r := begin(t, p, to("x.test"), h.now())
		if _, err := r.Pick(h.now()); err != nil {
			t.Fatal(err)
		}
		r.Failed(h.now(), answer("407 Who"))
		if _, err := r.Pick(h.now()); fault.Classify(err) != fault.ConfigurationError {
			t.Error(err)
		}
		r.End(h.now(), health.Report{})
	}
	if a := endpoint(t, p, "a"); a.Reason == "" || !a.RestsEverywhere {
		t.Errorf("%+v", a)
	}
}

func TestEndpointThatFailsFarAndWideIsBlamed(t *testing.T) {
	for name, err := range map[string]error{"it says so": answer("503 No"), "it is silent": silence()} {
		t.Run(name, func(t *testing.T) {
			h := newHand()
			o := inOrder(2)
			o.Now = h.now
			p := newPool(t, o)
			for i := range 8 {
				fail(t, p, to(fmt.Sprintf("%d.test", i)), h.now(), err)
				a := endpoint(t, p, "a")
				if want := max(0, i-2); a.Passive == "ok" && a.Errors != want || a.Resting != i+1 {
					t.Errorf("after %d destinations: errors %d, resting %d, %s", i+1, a.Errors, a.Resting, a.Passive)
				}
			}
			if a := endpoint(t, p, "a"); a.Passive != "ejected" {
				t.Errorf("after 8 destinations it is %s", a.Passive)
			}
		})
	}
}

func TestEndpointThatServesInBetweenIsNotBlamed(t *testing.T) {
	h := newHand()
	o := inOrder(2)
	o.Now = h.now
	p := newPool(t, o)
	for i := range 20 {
		fail(t, p, to(fmt.Sprintf("%d.test", i)), h.now(), answer("503 No"))
		if i%3 == 2 {
			r := begin(t, p, to("good.test"), h.now())
			_, _ = r.Pick(h.now())
			r.Answered(h.now())
			r.End(h.now(), served)
		}
	}
	if a := endpoint(t, p, "a"); a.Errors != 0 || a.Passive != "ok" {
		t.Errorf("%+v", a)
	}
}

func TestFailingEndpointIsEjected(t *testing.T) {
	h := newHand()
	o := inOrder(3)
	o.Now = h.now
	p := newPool(t, o)
	for range 5 {
		fail(t, p, to("x.test"), h.now(), errDown)
	}
	a := endpoint(t, p, "a")
	if a.Passive != "ejected" || a.Reason == "" {
		t.Errorf("%+v", a)
	}
	r := begin(t, p, to("x.test"), h.now())
	if e, _ := r.Pick(h.now()); e.ID() != "b" {
		t.Errorf("given %s", e.ID())
	}
	r.End(h.now(), served)
}

// Tunnels that were opened speak for their endpoint, whoever ends them and if
// nobody does.
func TestTunnelsProveTheirEndpoint(t *testing.T) {
	h := newHand()
	o := inOrder(3)
	o.Now = h.now
	p := newPool(t, o)
	hangsUp := func() { fail(t, p, to("bad.test"), h.now(), answering("HTTP/1.1")) }
	opens := func() pool.Lease {
		r := begin(t, p, to("x.test"), h.now())
		if e, err := r.Pick(h.now()); err != nil || e.ID() != "a" {
			t.Fatal(e, err)
		}
		r.Answered(h.now())
		return r.Take()
	}
	var stay []pool.Lease
	for i := range 20 {
		l := opens()
		switch i % 3 {
		case 0:
			l.End(h.now(), health.Report{Blame: health.ByClient})
		case 1:
			l.End(h.now(), health.Report{Received: 1})
		default:
			stay = append(stay, l)
		}
		hangsUp()
	}
	if a := endpoint(t, p, "a"); a.Passive != "ok" || a.Failures != 20 {
		t.Errorf("single failures have ejected it: %+v", a)
	}
	for range 4 {
		hangsUp()
	}
	if a := endpoint(t, p, "a"); a.Passive != "ejected" {
		t.Errorf("after five in a row it is %s", a.Passive)
	}
	for i := range stay {
		stay[i].End(h.now(), health.Report{Blame: health.ByClient})
	}
	idle(t, p)
}

// A tunnel is what brings back an endpoint that has been ejected, as long as it may
// then stand.
func TestTunnelThatStandsEndsATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, inOrder(3))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { p.Run(ctx) })
		for range 5 {
			fail(t, p, to("bad.test"), clock.Now(), errDown)
		}
		time.Sleep(time.Minute) // of the bubble
		if a := endpoint(t, p, "a"); a.Passive != "probing" {
			t.Errorf("after its time it is %s", a.Passive)
		}
		r := begin(t, p, to("x.test"), clock.Now())
		_, _ = r.Pick(clock.Now())
		r.Answered(clock.Now())
		l := r.Take()
		if a := endpoint(t, p, "a"); a.Passive != "ok" {
			t.Errorf("with a tunnel that stands it is %s", a.Passive)
		}
		l.End(clock.Now(), health.Report{Blame: health.ByClient})
		cancel()
		running.Wait()
		idle(t, p)
	})
}

// What an answer says may come from behind the endpoint.
func TestAnAnswerThatSaysNoIsADoubt(t *testing.T) {
	for _, err := range []error{
		parent.Refused(&wire.Head{Status: 407}), parent.Refused(&wire.Head{Status: 503}), io.EOF, errLoop,
	} {
		h := newHand()
		o := inOrder(2)
		o.Now = h.now
		p := newPool(t, o)
		for range 10 {
			r := begin(t, p, to("evil.test"), h.now())
			if _, got := r.Pick(h.now()); got != nil {
				t.Fatal(got)
			}
			r.Doubted(h.now(), err)
			if _, got := r.Pick(h.now()); got == nil {
				r.Answered(h.now())
			}
			r.End(h.now(), served)
			h.advance(time.Hour)
		}
		if a := endpoint(t, p, "a"); a.RestsEverywhere || a.Errors != 0 || a.Ejections != 0 {
			t.Errorf("%v: %+v", err, a)
		}
		idle(t, p)
	}
}

// One destination that has every tunnel die at once is that destination's doing.
func TestTunnelsToOneDestinationThatDieBlameNobody(t *testing.T) {
	h := newHand()
	o := inOrder(2)
	o.Now = h.now
	p := newPool(t, o)
	for n := range 60 {
		r := begin(t, p, to(fmt.Sprintf("x%d.test", n%3)), h.now())
		_, _ = r.Pick(h.now())
		r.Answered(h.now())
		l := r.Take()
		h.advance(time.Millisecond)
		l.End(h.now(), health.Report{Lived: time.Millisecond})
	}
	if a := endpoint(t, p, "a"); a.Passive != "ok" || a.Picks != 60 {
		t.Errorf("%+v", a)
	}
	idle(t, p)
}

// Who opens tunnels and kills each is no better for having opened them, and old
// tunnels that end do not help who opens no new ones.
func TestTunnelsThatDieAtOnceProveNothing(t *testing.T) {
	for name, atOnce := range map[string]int{"one after another": 1, "many at a time": 20} {
		t.Run(name, func(t *testing.T) {
			h := newHand()
			o := inOrder(2)
			o.Now = h.now
			p := newPool(t, o)
			for n := range 20 {
				var all []pool.Lease
				for range atOnce {
					r := begin(t, p, to(fmt.Sprintf("x%d.test", n)), h.now())
					_, _ = r.Pick(h.now())
					r.Answered(h.now())
					all = append(all, r.Take())
				}
				h.advance(time.Millisecond)
				for i := range all {
					all[i].End(h.now(), health.Report{Lived: time.Millisecond})
				}
			}
			if a := endpoint(t, p, "a"); a.Passive != "ejected" {
				t.Errorf("it is %s", a.Passive)
			}
			idle(t, p)
		})
	}
	h := newHand()
	o := inOrder(2)
	o.Now = h.now
	p := newPool(t, o)
	var old []pool.Lease
	for range 5 {
		r := begin(t, p, to("x.test"), h.now())
		_, _ = r.Pick(h.now())
		r.Answered(h.now())
		old = append(old, r.Take())
	}
	for i := range old {
		fail(t, p, to("x.test"), h.now(), errDown)
		old[i].End(h.now(), health.Report{Received: 100})
	}
	if a := endpoint(t, p, "a"); a.Passive != "ejected" {
		t.Errorf("it is %s", a.Passive)
	}
	idle(t, p)
}

// A parent that has rules is not ill, and neither is one that always fails the
// same destination.
func TestRulesOfAParentAreNotItsHealth(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		hosts int
	}{"rules": {answer("403 No"), 100}, "one destination": {answer("503 No"), 1}, "three": {silence(), 3}} {
		t.Run(name, func(t *testing.T) {
			h := newHand()
			o := inOrder(2)
			o.Now = h.now
			p := newPool(t, o)
			for i := range 50 {
				fail(t, p, to(fmt.Sprintf("%d.test", i%c.hosts)), h.now(), c.err)
				h.advance(10 * time.Minute)
			}
			if a := endpoint(t, p, "a"); a.Picks != 50 || a.Errors != 0 || a.Failures != 0 {
				t.Errorf("%+v", a)
			}
		})
	}
}

// A parent that takes connections and says nothing, as one that is stopped,
// costs the first requests some time and none its answer.
func TestFrozenEndpointIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inOrder(4)
		o.LB.Policy = lb.RoundRobin
		p := newPool(t, o)
		frozen := script{"a": hangs(silence())}
		slow := 0
		for i := range 400 {
			begun := time.Now()
			r := begin(t, p, to(fmt.Sprintf("%d.test", i)), clock.Now())
			if _, _, err := open(t.Context(), r, frozen); err != nil {
				t.Fatal(err)
			}
			r.Answered(clock.Now())
			r.End(clock.Now(), served)
			switch took := time.Since(begun); {
			case took > 2*time.Second:
				t.Errorf("request %d took %v", i, took)
			case took > 0:
				slow++
			}
		}
		if a := endpoint(t, p, "a"); a.Passive != "ejected" || slow > 8 {
			t.Errorf("%d requests were slow, and it is %s", slow, a.Passive)
		}
		synctest.Wait()
		idle(t, p)
	})
}

// What is said of an unknown destination would be said of all.
func TestNothingIsLearnedOfNoDestination(t *testing.T) {
	h := newHand()
	o := inOrder(2)
	o.Now = h.now
	p := newPool(t, o)
	fail(t, p, pool.Ask{}, h.now(), answer("503 No"))
	if a := endpoint(t, p, "a"); a.RestsEverywhere || a.Resting != 0 {
		t.Errorf("%+v", a)
	}
}

func TestDirectIsNotBlamedForItsDestinations(t *testing.T) {
	h := newHand()
	o := inOrder(2)
	o.Endpoints[0] = parent.Endpoint{ID: "direct", Weight: 1}
	o.Now = h.now
	p := newPool(t, o)
	for i := range 8 {
		fail(t, p, to(fmt.Sprintf("%d.test", i)), h.now(), errDown)
	}
	if d := endpoint(t, p, "direct"); d.Errors != 0 || d.Passive != "ok" || d.Resting != 8 || d.Failures != 0 {
		t.Errorf("%+v", d)
	}
	r := begin(t, p, to("8.test"), h.now())
	e, _ := r.Pick(h.now())
	r.Failed(h.now(), errDown)
	o.Endpoints = o.Endpoints[:1]
	if err := p.Update(o); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pick(h.now()); fault.Classify(err) != fault.ConnectionRefused || !e.Direct() {
		t.Errorf("the destination's refusal is hidden: %v", err)
	}
	r.End(h.now(), health.Report{})
}

func TestSilentEndpointGetsLess(t *testing.T) {
	h := newHand()
	o := inOrder(2)
	o.Now = h.now
	o.LB.Policy = lb.P2CEWMA
	p := newPool(t, o)
	slow := silence()
	before := endpoint(t, p, "a").Cost
	r := begin(t, p, pool.Ask{To: rest.Destination{Host: "x.test", Port: 1}}, h.now())
	for e, _ := r.Pick(h.now()); e.ID() != "a"; e, _ = r.Pick(h.now()) {
		r.End(h.now(), health.Report{Blame: health.ByUs})
		r = begin(t, p, to("x.test"), h.now())
	}
	h.advance(4 * time.Second)
	r.Failed(h.now(), slow)
	_, _ = r.Pick(h.now())
	r.Answered(h.now())
	r.End(h.now(), served)
	if after := endpoint(t, p, "a").Cost; after <= max(before, 4*time.Second) {
		t.Errorf("it costs %v after %v", after, before)
	}
}
