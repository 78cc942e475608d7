package health_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/health"
	"viaduct/lb"
	"viaduct/probe"
	"viaduct/verdict"
)

// patience is how long a test waits for what must happen: a loaded machine
// takes its time.
const patience = time.Minute

// TestMain fails the package if goroutines or descriptors are left.
func TestMain(m *testing.M) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the poller's own descriptors are open from here on
	if err != nil {
		panic(err)
	}
	_ = l.Close()
	fds, routines := descriptors(), runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if !fuzzing && !eventually(func() bool { return runtime.NumGoroutine() <= routines && descriptors() <= fds }) {
		buf := make([]byte, 1<<20)
		fmt.Printf("left: %d goroutines, were %d; %d descriptors, were %d\n%s\n",
			runtime.NumGoroutine(), routines, descriptors(), fds, buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func eventually(look func() bool) bool {
	for end := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		if look() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// bed is a board, its pool, and a clock that the test moves.
type bed struct {
	t    *testing.T
	b    *health.Board
	pool *lb.Pool
	ids  []string
	o    health.Options
	lo   lb.Options
	at   time.Duration
}

// newBed makes a pool of n endpoints: "a", "b" and so on.
func newBed(t *testing.T, o health.Options, n int) *bed {
	t.Helper()
	r := &bed{t: t, o: o, lo: lb.Options{Policy: lb.RoundRobin, PanicBelow: -1, Seed: 1}, at: time.Hour}
	for i := range n {
		r.ids = append(r.ids, string(rune('a'+i)))
	}
	pool, err := lb.New(r.lo, nil, r.at)
	if err != nil {
		t.Fatal(err)
	}
	r.pool = pool
	r.o.Now = r.now
	r.b = health.New(r.o, r.pool)
	r.update(r.ids...)
	return r
}

func (r *bed) now() time.Duration { return r.at }

func (r *bed) update(ids ...string) {
	r.t.Helper()
	var in []lb.Member
	var members []health.Member
	for _, id := range ids {
		in = append(in, lb.Member{ID: id, Weight: 10})
		members = append(members, health.Member{ID: id, Weight: 10, At: probe.Endpoint{Addr: id + ":80"}})
	}
	if err := r.pool.Update(r.lo, in, r.at); err != nil {
		r.t.Fatal(err)
	}
	r.b.Update(r.o, members)
}

// pass lets time pass on the bed's own clock.
func (r *bed) pass(d time.Duration) {
	r.at += d
	r.b.Advance(r.at)
}

func (r *bed) report(id string, n int, p health.Report) {
	for range n {
		r.b.Endpoint(id).Report(r.at, p)
	}
}

func (r *bed) facts(id string) verdict.Facts {
	r.t.Helper()
	f, _, ok := r.b.Facts(id)
	if !ok {
		r.t.Fatalf("%s: there is none", id)
	}
	return f
}

// stands checks what the pool was told, and that it agrees with the facts.
func (r *bed) stands(id string, want lb.Standing) {
	r.t.Helper()
	s, c := r.facts(id).Standing()
	if got := r.pool.Node(id).Standing(); got != want || s != want {
		r.t.Errorf("%s: the pool has %s, the facts say %s (%+v), want %s", id, got, s, c, want)
	}
}

// try picks endpoints until none is left that takes a request, and gives how
// many each took.
func (r *bed) try(most int) map[string]int {
	got, taken := map[string]int{}, []*lb.Node{}
	for range most {
		n, _ := r.pool.Pick(&lb.Ask{Now: r.at})
		if n == nil {
			break
		}
		got[n.ID()]++
		taken = append(taken, n)
	}
	for _, n := range taken {
		n.End()
	}
	return got
}

// errBroken is what a scripted check fails with.
var errBroken = errors.New("it is broken")

// script is a check that answers as the test says, and remembers when it was
// asked.
type script struct {
	key    string
	mu     sync.Mutex
	answer map[string]probe.Result // by address; none passes
	asked  map[string][]time.Time
	busy   atomic.Int32
}

func newScript(key string) *script {
	return &script{key: key, answer: map[string]probe.Result{}, asked: map[string][]time.Time{}}
}

func passing() probe.Result { return probe.Result{Weight: -1, Limit: -1} }
func failing() probe.Result { return probe.Result{Err: errBroken, Weight: -1, Limit: -1} }

func (s *script) Key() string { return s.key }

func (s *script) Run(_ context.Context, e probe.Endpoint) probe.Result {
	s.busy.Add(1)
	defer s.busy.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[e.Addr] = append(s.asked[e.Addr], time.Now())
	if r, ok := s.answer[e.Addr]; ok {
		return r
	}
	return passing()
}

func (s *script) set(id string, r probe.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer[id+":80"] = r
}

// times are when an endpoint was asked so far.
func (s *script) times(id string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.asked[id+":80"]...)
}

// running runs a test in a bubble whose time is the board's, with Run at work.
func running(t *testing.T, o health.Options, n int, test func(t *testing.T, r *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r := newBed(t, o, 0)
		r.o.Now = func() time.Duration { return time.Hour + time.Since(start) }
		r.b = health.New(r.o, r.pool)
		for i := range n {
			r.ids = append(r.ids, string(rune('a'+i)))
		}
		r.update(r.ids...)
		ctx, cancel := context.WithCancel(t.Context())
		var runs sync.WaitGroup
		runs.Go(func() { r.b.Run(ctx) })
		synctest.Wait()
		test(t, r)
		cancel()
		runs.Wait()
	})
}

// waits lets the time of a bubble pass until something is so, and gives how long
// that took.
func waits(t *testing.T, what string, so func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for range 200_000 {
		synctest.Wait()
		if so() {
			return time.Since(start)
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("%s: not so after %s", what, time.Since(start))
	return 0
}
