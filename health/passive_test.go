package health_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"viaduct/fault"
	"viaduct/health"
	"viaduct/lb"
	"viaduct/probe"
	"viaduct/verdict"
)

var (
	served = health.Report{Status: 200}
	broken = health.Report{Status: 503}
)

func TestFiveErrorsInARowEject(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	r.report("a", 4, broken)
	r.report("a", 1, served)
	r.report("a", 4, broken)
	r.stands("a", lb.Ready)
	r.report("a", 1, health.Report{Fault: fault.ConnectionRefused})
	r.stands("a", lb.Sick)
	f := r.facts("a")
	if left := f.Until - r.at; f.Ejections != 1 || left < 27*time.Second || left > 33*time.Second {
		t.Errorf("%+v, %s left", f, left)
	}
	if l := r.b.Ledger("a"); len(l) != 1 || l[0].Cause != "5 errors in a row, the last was connection_refused" || l[0].Streak != 5 || l[0].To != "ejected" {
		t.Errorf("%+v", l)
	}
	r.report("a", 50, served) // sent before, or in panic: they change nothing
	r.report("a", 50, broken)
	if got := r.facts("a"); got != f {
		t.Errorf("%+v", got)
	}
}

func TestWhoseErrorItIs(t *testing.T) {
	second := time.Second
	for _, c := range []struct {
		name  string
		in    health.Report
		any   bool
		eject bool
	}{
		{name: "404", in: health.Report{Status: 404}},
		{name: "429", in: health.Report{Status: 429}},
		{name: "500", in: health.Report{Status: 500}},
		{name: "500 where any counts", in: health.Report{Status: 500}, any: true, eject: true},
		{name: "500 of a parent", in: health.Report{Status: 500, Fault: fault.DestinationUnavailable, Blame: health.ByEndpoint}, eject: true},
		{name: "200 of a parent that is garbage", in: health.Report{Status: 200, Blame: health.ByEndpoint}, eject: true},
		{name: "407 of a parent", in: health.Report{Status: 407, Fault: fault.ConfigurationError, Blame: health.ByUs}},
		{name: "502 of a parent", in: health.Report{Status: 502, Fault: fault.ConnectionRefused, Blame: health.ByTarget}},
		{name: "silent parent", in: health.Report{Fault: fault.ConnectionTimeout, Blame: health.Unsaid}, eject: true},
		{name: "502", in: health.Report{Status: 502}, eject: true},
		{name: "504", in: health.Report{Status: 504}, eject: true},
		{name: "slow target behind a parent", in: health.Report{Status: 504, Blame: health.ByTarget}},
		{name: "client left", in: health.Report{Fault: fault.ConnectionTerminated, Blame: health.ByClient}},
		{name: "dial", in: health.Report{Fault: fault.ConnectionTimeout}, eject: true},
		{name: "certificate", in: health.Report{Fault: fault.TLSCertificateError}, eject: true},
		{name: "silent", in: health.Report{Fault: fault.ResponseTimeout}, eject: true},
		{name: "cut answer", in: health.Report{Fault: fault.ResponseIncomplete, Status: 200}, eject: true},
		{name: "our descriptors", in: health.Report{Fault: fault.ConnectionLimitReached}},
		{name: "our queue", in: health.Report{Fault: fault.DestinationUnavailable}},
		{name: "our rules", in: health.Report{Fault: fault.DestinationIPProhibited}},
		{name: "bad request", in: health.Report{Fault: fault.RequestError}},
		{name: "our bug", in: health.Report{Fault: fault.InternalError}},
		{name: "blank tunnel", in: health.Report{Tunnel: true, Lived: second / 2}, eject: true},
		{name: "blank tunnel that lasted", in: health.Report{Tunnel: true, Lived: second}},
		{name: "blank tunnel of unknown age", in: health.Report{Tunnel: true}},
		{name: "short tunnel", in: health.Report{Tunnel: true, Lived: second / 2, Received: 1}},
	} {
		r := newBed(t, health.Options{Passive: health.PassiveOptions{Any5xx: c.any}}, 3)
		r.report("a", 5, c.in)
		if got := r.facts("a").Passive == verdict.Ejected; got != c.eject {
			t.Errorf("%s: ejected %v", c.name, got)
		}
	}
	r := newBed(t, health.Options{Passive: health.PassiveOptions{Off: true}}, 3)
	r.report("a", 500, broken)
	r.stands("a", lb.Ready)
}

func TestCapCountsTheNextEjection(t *testing.T) {
	for _, c := range []struct {
		n    int
		most float64
		want int
	}{
		{1, 0, 0},
		{2, 0, 1},
		{3, 0, 1},
		{4, 0, 2},
		{5, 0, 2},
		{20, 0, 10},
		{20, 0.1, 2},
		{9, 0.1, 0},
		{10, 0.1, 1},
		{4, 1, 3},
		{2, 1, 1},
		{1, 1, 0},
		{4, -1, 0},
	} {
		r := newBed(t, health.Options{Ejection: verdict.Ejection{Share: c.most}}, c.n)
		for range 4 {
			for _, id := range r.ids {
				r.report(id, 5, broken)
			}
		}
		got := 0
		for _, id := range r.ids {
			if r.facts(id).Passive == verdict.Ejected {
				got++
			}
		}
		if got != c.want {
			t.Errorf("%d endpoints, share %v: %d ejected, want %d", c.n, c.most, got, c.want)
		}
		if r.b.Capped() == 0 {
			t.Errorf("%d endpoints: nothing was counted", c.n)
		}
	}
}

func TestTheLastOneStays(t *testing.T) {
	r := newBed(t, health.Options{Ejection: verdict.Ejection{Share: 1}}, 3)
	for _, id := range []string{"a", "b"} {
		if err := r.b.SetAdmin(id, verdict.Maint, ""); err != nil {
			t.Fatal(err)
		}
	}
	r.report("c", 100, broken)
	r.stands("c", lb.Ready)
	_ = r.b.SetAdmin("b", verdict.Enabled, "")
	r.report("c", 5, broken)
	r.stands("c", lb.Sick)
	_ = r.b.SetAdmin("b", verdict.Drain, "") // now nothing else is left
	r.stands("c", lb.Ready)
	if got := r.try(8); got["c"] != 8 {
		t.Errorf("a trial of one keeps the pool from working: %v", got)
	}
	r.report("c", 1, broken)
	r.stands("c", lb.Ready)
	if f := r.facts("c"); f.Passive != verdict.Fine {
		t.Error(f.Passive)
	}
}

func TestEjectionsGrowAndAreForgiven(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	r := newBed(t, health.Options{Rand: random.Uint64}, 3)
	for n := 1; n <= 14; n++ {
		if n == 1 {
			r.report("a", 5, broken)
		} else {
			r.report("a", 1, broken) // the trial
		}
		want, left := float64(min(30*n, 300)), (r.facts("a").Until - r.at).Seconds()
		if f := r.facts("a"); f.Passive != verdict.Ejected || f.Ejections != n || left < want*0.9 || left > want*1.1 {
			t.Fatalf("ejection %d: %+v, %v s left, want %v", n, f, left, want)
		}
		r.pass(time.Duration(left*1e9) - 1e6)
		r.stands("a", lb.Sick)
		r.pass(2e6)
		r.stands("a", lb.Ready)
	}
	r.pass(time.Hour)
	if f := r.facts("a"); f.Ejections != 14 || f.Passive != verdict.Probing {
		t.Errorf("forgiven without a request: %+v", f)
	}
	r.report("a", 1, served)
	for n := 13; n >= 0; n-- {
		r.pass(10*time.Second - 1)
		if got := r.facts("a").Ejections; got != n+1 {
			t.Fatalf("%d, want %d", got, n+1)
		}
		r.pass(1)
	}
	if _, more := r.b.Advance(r.at); more || r.facts("a").Ejections != 0 {
		t.Errorf("%+v", r.facts("a"))
	}
}

// eject ejects a and lets its time pass.
func (r *bed) eject() {
	r.t.Helper()
	r.report("a", 5, broken)
	r.pass(34 * time.Second)
	if f := r.facts("a"); f.Passive != verdict.Probing {
		r.t.Fatalf("%+v", f)
	}
}

// TestTrialIsOneAtATime: after an ejection one request at a time is let through,
// whatever the endpoint still has from before.
func TestTrialIsOneAtATime(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	a, old := r.b.Endpoint("a"), []*lb.Node{}
	for range 30 { // ten each
		n, _ := r.pool.Pick(&lb.Ask{Now: r.at})
		old = append(old, n)
	}
	r.eject()
	gets := func(want int) {
		t.Helper()
		if got := r.try(60); got["a"] != want || got["b"] < 29 {
			t.Fatalf("%v, want %d", got, want)
		}
	}
	gets(1)
	for i, n := range old {
		if n.ID() == "a" {
			a.Report(r.at, health.Report{Status: 503 * (i % 2), Lived: 34*time.Second + 1}) // says nothing of now
			n.End()
			gets(0)
		}
	}
	for range 3 {
		r.pass(1)
		a.Report(r.at, health.Report{Blame: health.ByClient, Lived: 1})
		gets(1)
	}
	r.report("a", 1, served)
	if got := r.try(60); got["a"] != 20 {
		t.Errorf("%v", got)
	}
	for _, n := range old {
		if n.ID() != "a" {
			n.End()
		}
	}
}

// TestTrialThatSaysNothingIsNotTheLast: a tunnel lives for a day, and holds
// nobody out for that day; another trial comes each half minute, one.
func TestTrialThatSaysNothingIsNotTheLast(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	r.eject()
	hold := func() (got int) {
		for range 30 {
			if n, _ := r.pool.Pick(&lb.Ask{Now: r.at}); n.ID() == "a" {
				got++
			}
		}
		return got
	}
	for i := range 5 {
		if got := hold(); got != 1 {
			t.Fatalf("%d trials, want 1", got)
		}
		_ = r.b.SetAdmin("a", verdict.Enabled, "eve") // settles, and lets no other through
		if got := hold(); got != 0 {
			t.Fatalf("%d trials more", got)
		}
		if i == 0 {
			r.pass(30*time.Second - 4*time.Second - 1) // it was released somewhere in 7 s
			if got := hold(); got > 1 {
				t.Fatalf("%d trials before their time", got)
			}
		}
		r.pass(30 * time.Second)
	}
	r.report("a", 1, health.Report{Status: 200, Lived: time.Second})
	if got := hold(); got < 5 {
		t.Errorf("%d after a trial that was served", got)
	}
}

// TestReportedIsNotEnded: what has told its status before the release and streams
// on makes no room for more than one trial when it ends.
func TestReportedIsNotEnded(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	var old []*lb.Node
	for range 60 {
		n, _ := r.pool.Pick(&lb.Ask{Now: r.at})
		old = append(old, n)
	}
	r.eject()
	for _, n := range old {
		n.End()
	}
	if got := r.try(60); got["a"] != 1 {
		t.Errorf("%v", got)
	}
	if n := r.pool.Node("a").Limit(); n != 0 {
		t.Errorf("a trial changes the limit: %d", n)
	}
}

// TestMovedIsAnotherEndpoint: what still ends at the old address is not put down
// to the new one, and a trial there does not ration this one.
func TestMovedIsAnotherEndpoint(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	_ = r.b.SetDiscovery("b", verdict.Draining)
	for _, ejected := range []bool{false, true} {
		if ejected {
			r.eject()
		}
		old := r.b.Endpoint("a")
		var members []health.Member
		for _, id := range r.ids {
			members = append(members, health.Member{ID: id, Weight: 10, At: probe.Endpoint{Addr: fmt.Sprint(id, ejected)}})
		}
		r.b.Update(r.o, members)
		for range 20 {
			old.Report(r.at, health.Report{Fault: fault.ConnectionTerminated, Lived: 10 * time.Second})
		}
		if f := r.facts("a"); f.Passive != verdict.Fine || f.Ejections != 0 || old == r.b.Endpoint("a") {
			t.Errorf("%+v", f)
		}
		r.stands("a", lb.Ready)
		r.stands("b", lb.Affine)
		if got := r.try(60); got["a"] != 30 {
			t.Errorf("%v", got)
		}
	}
	if l := r.b.Ledger("a"); len(l) != 3 || l[2].Cause != "its address changed: atrue" || l[2].To != "ok" {
		t.Errorf("%+v", l)
	}
	r.report("a", 5, broken) // the caps have counted it once
	r.stands("a", lb.Sick)
}

// TestClockCanBeRead by who has none to give: an ejection lasts as long as it
// should.
func TestClockCanBeRead(t *testing.T) {
	b := health.New(health.Options{}, nil)
	b.Update(health.Options{}, []health.Member{{ID: "a"}, {ID: "b"}})
	for range 5 {
		b.Endpoint("a").Report(b.Now(), broken)
	}
	if v, _ := b.View("a"); time.Until(v.Ends) < 20*time.Second || time.Until(v.Ends) > 34*time.Second {
		t.Errorf("%+v", v)
	}
}

func TestChecksEndAnEjectionEarly(t *testing.T) {
	check := newScript("x")
	running(t, health.Options{Checks: []health.Checker{check}}, 3, func(t *testing.T, r *bed) {
		waits(t, "up", func() bool { return r.facts("a").Active == verdict.Up })
		for range 5 {
			r.b.Endpoint("a").Report(r.o.Now(), broken)
		}
		r.stands("a", lb.Sick)
		before := len(check.times("a"))
		took := waits(t, "back", func() bool { return r.facts("a").Passive == verdict.Probing })
		if n := len(check.times("a")) - before; n != 2 || took > 13*time.Second {
			t.Errorf("back after %d checks and %s", n, took)
		}
		r.b.Endpoint("a").Report(r.o.Now(), broken) // the trial
		if f := r.facts("a"); f.Passive != verdict.Ejected || f.Ejections != 2 {
			t.Errorf("%+v", f)
		}
	})
}

// TestCheckUnderWayDoesNotEndAnEjection: it says nothing of what came after it
// began.
func TestCheckUnderWayDoesNotEndAnEjection(t *testing.T) {
	gate, began := make(chan struct{}), make(chan struct{}, 100)
	slow := health.Checker(&hooked{key: "slow", run: func(ctx context.Context, e probe.Endpoint) probe.Result {
		if e.Addr == "a:80" {
			began <- struct{}{}
			<-gate
		}
		return passing()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	r := newBed(t, health.Options{}, 3)
	var mu sync.Mutex
	at := time.Hour
	r.o = health.Options{
		Checks: []health.Checker{slow}, Interval: time.Millisecond, Fast: time.Millisecond, Timeout: time.Hour, Thresholds: verdict.Thresholds{Rise: 1},
		Now: func() time.Duration { mu.Lock(); defer mu.Unlock(); at++; return at },
	}
	r.b = health.New(r.o, r.pool)
	r.update(r.ids...)
	var runs sync.WaitGroup
	runs.Go(func() { r.b.Run(ctx) })
	<-began
	for range 5 {
		r.b.Endpoint("a").Report(r.o.Now(), broken)
	}
	gate <- struct{}{}
	<-began
	if f := r.facts("a"); f.Passive != verdict.Ejected || f.Active != verdict.Up {
		t.Errorf("%+v", f)
	}
	gate <- struct{}{}
	<-began
	if f := r.facts("a"); f.Passive != verdict.Probing {
		t.Errorf("%+v", f)
	}
	cancel()
	close(gate)
	runs.Wait()
}

// hooked is a check that is a function.
type hooked struct {
	key string
	run func(context.Context, probe.Endpoint) probe.Result
}

func (h *hooked) Key() string { return h.key }

func (h *hooked) Run(ctx context.Context, e probe.Endpoint) probe.Result { return h.run(ctx, e) }

// TestReportsAtTheSameTimeHoldTheCap: whatever the order of reports and ticks, no
// more than half are ejected, and the counts agree at the end.
func TestReportsAtTheSameTimeHoldTheCap(t *testing.T) {
	r := newBed(t, health.Options{Ejection: verdict.Ejection{Base: 10, Most: 100, Heal: 5}}, 8)
	var wg sync.WaitGroup
	handles := make([]*health.Endpoint, len(r.ids))
	for i, id := range r.ids {
		handles[i] = r.b.Endpoint(id)
	}
	for w := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 7))
			for i := range 20_000 {
				p := served
				if random.Uint64()%8 != 0 {
					p = broken
				}
				handles[random.IntN(len(handles))].Report(time.Hour+time.Duration(i), p)
				if i%16 == 0 {
					r.b.Advance(time.Hour + time.Duration(i))
				}
				if i%256 == 0 {
					out := 0
					for _, v := range r.b.Views() {
						if v.Passive == "ejected" {
							out++
						}
					}
					if out > 4 {
						t.Errorf("%d of 8 ejected", out)
					}
				}
			}
		})
	}
	wg.Wait()
	for range 200 {
		r.pass(1000)
		for _, id := range r.ids {
			r.report(id, 1, served)
		}
	}
	for _, id := range r.ids {
		r.stands(id, lb.Ready)
		if f := r.facts(id); f.Passive != verdict.Fine || f.Ejections != 0 || r.pool.Node(id).Limit() != 0 {
			t.Errorf("%s: %+v", id, f)
		}
	}
}

func TestReportCostsNothingWhileAllIsWell(t *testing.T) {
	skipUnderRace(t)
	r := newBed(t, health.Options{}, 3)
	e := r.b.Endpoint("a")
	if n := testing.AllocsPerRun(1000, func() {
		e.Report(r.at, served)
		e.Report(r.at, broken)
		e.Report(r.at, served)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkReport(b *testing.B) {
	board := health.New(health.Options{}, nil)
	board.Update(health.Options{}, []health.Member{{ID: "a"}, {ID: "b"}})
	e := board.Endpoint("a")
	for b.Loop() {
		e.Report(time.Hour, served)
	}
}

// TestWeightlessIsNotLeft: an endpoint that takes nothing does not make another
// one dispensable.
func TestWeightlessIsNotLeft(t *testing.T) {
	r := newBed(t, health.Options{}, 2)
	r.pool.SetWeight(r.pool.Node("b"), 0, r.at)
	r.b.Update(r.o, []health.Member{{ID: "a", Weight: 10}, {ID: "b"}})
	r.report("a", 50, broken)
	r.stands("a", lb.Ready)
}
