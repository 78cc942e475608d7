package health_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/probe"
	"viaduct/verdict"
)

// origin is a real server that is ill when told to be, and counts its checks.
type origin struct {
	*httptest.Server
	ill     atomic.Bool
	good    atomic.Int32
	bad     atomic.Int32
	hang    chan struct{}
	hanging atomic.Bool
}

func newOrigin(t *testing.T) *origin {
	o := &origin{hang: make(chan struct{})}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.hanging.Load() {
			select {
			case <-o.hang:
			case <-r.Context().Done():
			}
		}
		if o.ill.Load() {
			o.bad.Add(1)
			http.Error(w, "ill", http.StatusInternalServerError)
			return
		}
		o.good.Add(1)
	}))
	t.Cleanup(o.Close)
	return o
}

// pool is the list of origins, as pool and board know it.
func (r *bed) serve(origins ...*origin) {
	r.t.Helper()
	var in []lb.Member
	var members []health.Member
	for _, o := range origins {
		addr := o.Listener.Addr().String()
		in = append(in, lb.Member{ID: addr, Weight: 1})
		members = append(members, health.Member{ID: addr, Weight: 1, At: probe.Endpoint{Addr: addr}})
	}
	if err := r.pool.Update(r.lo, in, r.o.Now()); err != nil {
		r.t.Fatal(err)
	}
	r.b.Update(r.o, members)
}

// TestRealServers runs a board over servers that fall ill, recover, hang, come
// and go. TestMain sees to it that nothing is left.
func TestRealServers(t *testing.T) {
	check, err := probe.Parse("http:/healthz")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	var mu sync.Mutex
	var told []verdict.Transition
	r := newBed(t, health.Options{}, 0)
	var board atomic.Pointer[health.Board]
	r.o = health.Options{
		Checks: []health.Checker{check}, Interval: 20 * time.Millisecond, Fast: 10 * time.Millisecond, Timeout: 2 * time.Second, Thresholds: verdict.Thresholds{Fall: 4, Rise: 3},
		Now: func() time.Duration { return time.Since(start) },
		Changed: func(l verdict.Transition) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, l)
			_ = board.Load().Views() // it may ask
		},
	}
	r.b = health.New(r.o, r.pool)
	board.Store(r.b)
	one, two, three := newOrigin(t), newOrigin(t), newOrigin(t)
	id := func(o *origin) string { return o.Listener.Addr().String() }
	is := func(o *origin, want verdict.Active) {
		t.Helper()
		if !eventually(func() bool { f, _, _ := r.b.Facts(id(o)); return f.Active == want }) {
			t.Fatalf("%s is not %s: %+v", id(o), want, r.b.Ledger(id(o)))
		}
	}
	r.serve(one, two)
	ctx, cancel := context.WithCancel(t.Context())
	var runs sync.WaitGroup
	runs.Go(func() { r.b.Run(ctx) })
	is(one, verdict.Up)
	is(two, verdict.Up)

	one.ill.Store(true)
	is(one, verdict.Down)
	down := r.b.Ledger(id(one))
	if l := down[len(down)-1]; l.Streak != 4 || l.From != "falling" || !strings.HasPrefix(l.Cause, "http:/healthz: ") || !strings.Contains(l.Cause, "status 500") {
		t.Errorf("%+v", l)
	}
	r.stands(id(one), lb.Sick)
	one.ill.Store(false)
	is(one, verdict.Up)
	up := r.b.Ledger(id(one))
	if l := up[len(up)-1]; l.Streak != 3 || l.From != "rising" {
		t.Errorf("%+v", l)
	}

	two.hanging.Store(true)
	r.serve(one, three) // while one is checked, perhaps
	is(three, verdict.Up)
	if _, _, ok := r.b.Facts(id(two)); ok {
		t.Error("two is still there")
	}
	three.Listener.Close()
	is(three, verdict.Down)
	cancel()
	runs.Wait()
	close(two.hang)
	asked := one.good.Load()
	again, stop := context.WithCancel(t.Context())
	runs.Go(func() { r.b.Run(again) }) // a board may be run once more
	if !eventually(func() bool { return one.good.Load() > asked+3 }) {
		t.Error("no more checks")
	}
	stop()
	runs.Wait()
	mu.Lock()
	defer mu.Unlock()
	for i := range told[1:] {
		if told[i+1].At < told[i].At {
			t.Errorf("told out of order: %+v, %+v", told[i], told[i+1])
		}
	}
	if data, err := json.Marshal(r.b.Views()); err != nil || !json.Valid(data) {
		t.Error(err)
	}
}

// TestAddressChangeForgets: the same ID at another address is another endpoint,
// whatever a check that is under way there still finds.
func TestAddressChangeForgets(t *testing.T) {
	begun, gate := make(chan string, 100), make(chan struct{})
	check := &hooked{key: "x", run: func(ctx context.Context, e probe.Endpoint) probe.Result {
		begun <- e.Addr
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return failing()
	}}
	o := health.Options{Checks: []health.Checker{check}, Interval: time.Millisecond, Timeout: time.Hour}
	b := health.New(o, nil)
	at := func(addr string) { b.Update(o, []health.Member{{ID: "a", At: probe.Endpoint{Addr: addr}}}) }
	at("old")
	ctx, cancel := context.WithCancel(t.Context())
	var runs sync.WaitGroup
	runs.Go(func() { b.Run(ctx) })
	<-begun
	at("new")
	if got := <-begun; got != "new" {
		t.Error(got)
	}
	if f, _, _ := b.Facts("a"); f.Active != verdict.Unknown {
		t.Errorf("%+v", f)
	}
	gate <- struct{}{}
	if !eventually(func() bool { f, _, _ := b.Facts("a"); return f.Active == verdict.Down }) {
		t.Error("the new one is not down")
	}
	cancel()
	runs.Wait()
}

// TestListenerThatPanics hurts who told it, and is told what comes after.
func TestListenerThatPanics(t *testing.T) {
	var told []string
	o := health.Options{Changed: func(l verdict.Transition) {
		told = append(told, l.To)
		if len(told) == 1 {
			panic("ouch")
		}
	}}
	r := newBed(t, o, 2)
	say := func(a verdict.Admin) (panicked bool) {
		defer func() { panicked = recover() != nil }()
		_ = r.b.SetAdmin("a", a, "eve")
		return false
	}
	if !say(verdict.Drain) || say(verdict.Maint) || say(verdict.Enabled) {
		t.Error("the wrong one panicked")
	}
	if !slices.Equal(told, []string{"drain", "maint", "ready"}) {
		t.Error(told)
	}
}

// TestHandleOfOneThatIsGone may still be reported on, and changes nothing.
func TestHandleOfOneThatIsGone(t *testing.T) {
	r := newBed(t, health.Options{}, 3)
	e := r.b.Endpoint("a")
	r.update("b", "c")
	for range 20 {
		e.Report(r.at, broken)
	}
	r.update("a", "b", "c")
	if f := r.facts("a"); f.Passive != verdict.Fine || r.b.Endpoint("a") == e || e.ID() != "a" {
		t.Errorf("%+v", f)
	}
	r.report("b", 5, broken)
	r.stands("b", lb.Sick)
	if r.b.Endpoint("z") != nil || r.b.Ledger("z") != nil {
		t.Error("z is there")
	}
	if _, ok := r.b.View("z"); ok {
		t.Error("z has a view")
	}
}

// TestLedgerKeepsTheLast, in order, when its size changes too.
func TestLedgerKeepsTheLast(t *testing.T) {
	r := newBed(t, health.Options{}, 2)
	flip := func(n int) {
		for i := range n {
			_ = r.b.SetAdmin("a", verdict.Admin(1+i%2), fmt.Sprintf("person %d\x1b[31m", i))
		}
	}
	last := func(size, n int) {
		t.Helper()
		l := r.b.Ledger("a")
		if len(l) != size {
			t.Fatalf("%d transitions", len(l))
		}
		for i := range l {
			if want := fmt.Sprintf("said by person %d [31m", n-size+i); l[i].Cause != want {
				t.Fatalf("%d: %q, want %q", i, l[i].Cause, want)
			}
		}
	}
	flip(101)
	last(32, 101)
	r.o.Ledger = 5
	r.update(r.ids...)
	_ = r.b.SetAdmin("a", verdict.Drain, "x")
	_ = r.b.SetAdmin("a", verdict.Enabled, "x")
	flip(57)
	last(5, 57)
	r.o.Ledger = 8
	r.update(r.ids...)
	_ = r.b.SetAdmin("a", verdict.Enabled, "x")
	flip(9)
	last(8, 9)
}
